//! Decode: a state stays in the caller's memory, rows `ld` floats apart; no row is copied.
//!
//! Vectors of n elements lie in arrays of whole vectors; what is in their padding is of no meaning, and never counts.
use super::abi::*;
use super::pack::*;
use super::simd::*;

/// Vectors that a loop over rows may keep in registers: half of them.
const HELD: usize = REGISTERS / 2;

/// A row of an input: where it lies if it can be read as it is, else copied to `to`.
#[inline(always)]
pub unsafe fn input(view: &View, t: usize, n: usize, to: *mut f32) -> *mut f32 {
    if view.dtype == DTYPE_F32 && n % L == 0 {
        return (view.ptr as *mut f32).offset(t as isize * view.stride);
    }
    pack(view, t, 1, 1, n, to, n.next_multiple_of(L), 0);
    to
}
/// One number of an input.
#[inline(always)]
pub unsafe fn number(view: &View, t: usize) -> V {
    splat(read(view.ptr, t as isize * view.stride, view.dtype))
}
/// Where a row of an output is computed: in place, if whole vectors of f32 fit.
#[inline(always)]
pub unsafe fn output(view: &View, t: usize, n: usize, scratch: *mut f32) -> *mut f32 {
    let direct = view.dtype == DTYPE_F32 && n % L == 0 && !view.ptr.is_null();
    if direct { (view.ptr as *mut f32).offset(t as isize * view.stride) } else { scratch }
}
/// Writes a row of an output, if it was not computed in place.
#[inline(always)]
pub unsafe fn finish(view: &View, t: usize, n: usize, from: *const f32) {
    if from != (view.ptr as *const f32).wrapping_offset(t as isize * view.stride) {
        unpack(view, t, 1, n, from, n.next_multiple_of(L), 0);
    }
}
/// Bytes of an element.
#[inline(always)]
fn width(dtype: u32) -> isize {
    if dtype == DTYPE_F32 { 4 } else { 2 }
}
/// Writes one number of an output.
#[inline(always)]
pub unsafe fn finish_number(view: &View, t: usize, x: V) {
    let mut lanes = [0.0; L];
    store(lanes.as_mut_ptr(), x);
    if view.ptr.is_null() {
        return;
    }
    let at = t as isize * view.stride;
    unpack_scalars(&View { ptr: view.ptr.wrapping_offset(at * width(view.dtype)), ..*view }, 0, 1, lanes.as_ptr());
}
/// A vector state, copied: what reads it must not see the next one.
#[inline(always)]
pub unsafe fn vector_state(view: &StateView, n: usize, to: *mut f32) {
    if view.col_stride != 1 || view.ptr.is_null() {
        return load_vector_state(view, n, to);
    }
    let mut i = 0;
    while i + L <= n {
        store(to.add(i), load(view.ptr.add(i)));
        i += L;
    }
    if i < n {
        store(to.add(i), load_first(view.ptr.add(i), n - i));
    }
}
/// Writes a vector state's next value.
#[inline(always)]
pub unsafe fn next_vector_state(view: &StateView, n: usize, from: *const f32) {
    if view.col_stride != 1 || view.ptr.is_null() {
        return store_vector_state(view, n, from);
    }
    let mut i = 0;
    while i + L <= n {
        store(view.ptr.add(i), load(from.add(i)));
        i += L;
    }
    if i < n {
        store_first(view.ptr.add(i), load(from.add(i)), n - i);
    }
}
/// A state of any strides as rows at `to`; a null view is zero.
#[inline(always)]
pub unsafe fn gather(view: &StateView, rows: usize, cols: usize, to: *mut f32) -> StateView {
    for r in 0..rows {
        for c in 0..cols {
            let at = view.ptr.wrapping_offset(r as isize * view.row_stride + c as isize * view.col_stride);
            *to.add(r * cols + c) = if view.ptr.is_null() { 0.0 } else { *at };
        }
    }
    StateView { ptr: to, row_stride: cols as isize, col_stride: 1 }
}
/// The way back.
#[inline(always)]
pub unsafe fn scatter(view: &StateView, rows: usize, cols: usize, from: *const f32) {
    if view.ptr.is_null() {
        return;
    }
    for r in 0..rows {
        for c in 0..cols {
            *view.ptr.offset(r as isize * view.row_stride + c as isize * view.col_stride) = *from.add(r * cols + c);
        }
    }
}

/// Dots of `m` rows (L, or fewer at the end) with R vectors of n elements: lane i is row i. Every row is loaded once.
#[inline(always)]
pub unsafe fn dots<const R: usize>(x: *const f32, ld: usize, m: usize, n: usize, p: [*const f32; R]) -> [V; R] {
    let mut y = [zero(); R];
    if m < L {
        let mut lanes = [[0.0; L]; R];
        for i in 0..m {
            let one = dots1(x.add(i * ld), n, p);
            for r in 0..R {
                *lanes[r].as_mut_ptr().add(i) = one[r];
            }
        }
        for r in 0..R {
            y[r] = load(lanes[r].as_ptr());
        }
        return y;
    }
    match n / L {
        8 if n % L == 0 => dots_block::<R, 8>(x, ld, n, p),
        4 if n % L == 0 => dots_block::<R, 4>(x, ld, n, p),
        _ => dots_block::<R, 0>(x, ld, n, p),
    }
}
/// A whole block; N vectors a row, 0 for any number.
#[inline(always)]
unsafe fn dots_block<const R: usize, const N: usize>(x: *const f32, ld: usize, n: usize, p: [*const f32; R]) -> [V; R] {
    let mut y = [zero(); R];
    let n = if N > 0 { N * L } else { n };
    let mut parts = [[zero(); L / 4]; R];
    // what is read again for every row stays in registers, where there are as many
    let held = N > 0 && N * R <= HELD;
    let mut v = [[zero(); N]; R];
    if held {
        for r in 0..R {
            for j in 0..N {
                v[r][j] = load(p[r].add(j * L));
            }
        }
    }
    for g in 0..L / 4 {
        let x = x.add(4 * g * ld);
        let (x0, x1, x2, x3) = (x, x.add(ld), x.add(2 * ld), x.add(3 * ld));
        let mut acc = [[zero(); 4]; R];
        if held {
            for j in 0..N {
                let s = [load(x0.add(j * L)), load(x1.add(j * L)), load(x2.add(j * L)), load(x3.add(j * L))];
                for r in 0..R {
                    for i in 0..4 {
                        acc[r][i] = if j == 0 { mul(s[i], v[r][j]) } else { fma(s[i], v[r][j], acc[r][i]) };
                    }
                }
            }
            for r in 0..R {
                parts[r][g] = quad(acc[r][0], acc[r][1], acc[r][2], acc[r][3]);
            }
            continue;
        }
        let mut j = 0;
        while j + L <= n {
            let s = [load(x0.add(j)), load(x1.add(j)), load(x2.add(j)), load(x3.add(j))];
            for r in 0..R {
                let p = load(p[r].add(j));
                acc[r][0] = fma(s[0], p, acc[r][0]);
                acc[r][1] = fma(s[1], p, acc[r][1]);
                acc[r][2] = fma(s[2], p, acc[r][2]);
                acc[r][3] = fma(s[3], p, acc[r][3]);
            }
            j += L;
        }
        if j < n {
            let left = n - j;
            let s = [
                load_first(x0.add(j), left),
                load_first(x1.add(j), left),
                load_first(x2.add(j), left),
                load_first(x3.add(j), left),
            ];
            for r in 0..R {
                let p = load_first(p[r].add(j), left);
                acc[r][0] = fma(s[0], p, acc[r][0]);
                acc[r][1] = fma(s[1], p, acc[r][1]);
                acc[r][2] = fma(s[2], p, acc[r][2]);
                acc[r][3] = fma(s[3], p, acc[r][3]);
            }
        }
        for r in 0..R {
            parts[r][g] = quad(acc[r][0], acc[r][1], acc[r][2], acc[r][3]);
        }
    }
    for r in 0..R {
        y[r] = quads(parts[r]);
    }
    y
}
#[inline(always)]
unsafe fn dots1<const R: usize>(x: *const f32, n: usize, p: [*const f32; R]) -> [f32; R] {
    let mut acc = [zero(); R];
    let mut j = 0;
    while j + L <= n {
        let s = load(x.add(j));
        for r in 0..R {
            acc[r] = fma(s, load(p[r].add(j)), acc[r]);
        }
        j += L;
    }
    if j < n {
        let s = load_first(x.add(j), n - j);
        for r in 0..R {
            acc[r] = fma(s, load_first(p[r].add(j), n - j), acc[r]);
        }
    }
    let mut y = [0.0; R];
    for r in 0..R {
        y[r] = sum(acc[r]);
    }
    y
}

/// `y_r = sum over rows i of p_r[i] x[i]`, rows of n elements: panels of up to `N` vectors, whole rows where they fit.
#[inline(always)]
pub unsafe fn sums<const N: usize, const R: usize>(
    x: *const f32,
    ld: usize,
    rows: usize,
    n: usize,
    p: [*const f32; R],
    y: [*mut f32; R],
) {
    let mut c = 0;
    while c + N * L <= n {
        sums_panel::<N, R>(x, ld, rows, c, p, y);
        c += N * L;
    }
    while c + 4 * L <= n {
        sums_panel::<4, R>(x, ld, rows, c, p, y);
        c += 4 * L;
    }
    while c + L <= n {
        sums_panel::<1, R>(x, ld, rows, c, p, y);
        c += L;
    }
    if c < n {
        let mut acc = [zero(); R];
        for i in 0..rows {
            let s = load_first(x.add(i * ld + c), n - c);
            for r in 0..R {
                acc[r] = fma(splat(*p[r].add(i)), s, acc[r]);
            }
        }
        for r in 0..R {
            store(y[r].add(c), acc[r]);
        }
    }
}
#[inline(always)]
unsafe fn sums_panel<const N: usize, const R: usize>(
    x: *const f32,
    ld: usize,
    rows: usize,
    c: usize,
    p: [*const f32; R],
    y: [*mut f32; R],
) {
    let mut acc = [[zero(); N]; R];
    let mut x = x.add(c);
    for i in 0..rows {
        let mut b = [zero(); R];
        for r in 0..R {
            b[r] = splat(*p[r].add(i));
        }
        for j in 0..N {
            let s = load(x.add(j * L));
            for r in 0..R {
                acc[r][j] = fma(b[r], s, acc[r][j]);
            }
        }
        x = x.wrapping_add(ld);
    }
    for r in 0..R {
        for j in 0..N {
            store(y[r].add(c + j * L), acc[r][j]);
        }
    }
}

/// No decay of the rows, one number for all, or a number a row.
pub const NONE: u8 = 0;
pub const NUMBER: u8 = 1;
pub const ROWS: u8 = 2;

/// `x = decay x + sum_j u_j w_j^T` on `m` rows of n elements, in place. `u_j` and `row` start at the first row, `w_j` and
/// `col` at the first column; `col` is a decay by columns where `COL` is set. Each line fetches the one `AHEAD` floats
/// further on, unless that is 0.
#[inline(always)]
pub unsafe fn update<const W: usize, const ROW: u8, const COL: bool, const AHEAD: usize>(
    x: *mut f32,
    ld: usize,
    m: usize,
    n: usize,
    scale: V,
    row: *const f32,
    col: *const f32,
    u: [*const f32; W],
    w: [*const f32; W],
) {
    match n / L {
        8 if n % L == 0 => update_block::<W, ROW, COL, AHEAD, 8>(x, ld, m, n, scale, row, col, u, w),
        4 if n % L == 0 => update_block::<W, ROW, COL, AHEAD, 4>(x, ld, m, n, scale, row, col, u, w),
        _ => update_block::<W, ROW, COL, AHEAD, 0>(x, ld, m, n, scale, row, col, u, w),
    }
}
/// The same; N vectors a row, 0 for any number.
#[inline(always)]
unsafe fn update_block<const W: usize, const ROW: u8, const COL: bool, const AHEAD: usize, const N: usize>(
    x: *mut f32,
    ld: usize,
    m: usize,
    n: usize,
    scale: V,
    row: *const f32,
    col: *const f32,
    u: [*const f32; W],
    w: [*const f32; W],
) {
    let n = if N > 0 { N * L } else { n };
    if N > 0 && N * (W + COL as usize) <= HELD {
        return update_held::<W, ROW, COL, AHEAD, N>(x, ld, m, scale, row, col, u, w);
    }
    let mut i = 0;
    while i + 4 <= m {
        update_rows::<4, W, ROW, COL, AHEAD>(x.add(i * ld), ld, i, n, scale, row, col, u, w);
        i += 4;
    }
    while i < m {
        update_rows::<1, W, ROW, COL, AHEAD>(x.add(i * ld), ld, i, n, scale, row, col, u, w);
        i += 1;
    }
}
/// Row by row; what every row is updated with stays in registers.
#[inline(always)]
unsafe fn update_held<const W: usize, const ROW: u8, const COL: bool, const AHEAD: usize, const N: usize>(
    x: *mut f32,
    ld: usize,
    m: usize,
    scale: V,
    row: *const f32,
    col: *const f32,
    u: [*const f32; W],
    w: [*const f32; W],
) {
    let (mut g, mut d) = ([[zero(); N]; W], [zero(); N]);
    for c in 0..N {
        for j in 0..W {
            g[j][c] = load(w[j].add(c * L));
        }
        if COL {
            d[c] = load(col.add(c * L));
        }
    }
    for i in 0..m {
        let f = if ROW == ROWS { splat(*row.add(i)) } else { scale };
        let mut b = [zero(); W];
        for j in 0..W {
            b[j] = splat(*u[j].add(i));
        }
        for c in 0..N {
            let at = x.add(i * ld + c * L);
            let mut y = load(at);
            if COL {
                y = mul(y, d[c]);
            }
            if ROW != NONE {
                y = mul(y, f);
            }
            for j in 0..W {
                y = fma(b[j], g[j][c], y);
            }
            if AHEAD > 0 {
                prefetch_near(at.wrapping_add(AHEAD));
            }
            store(at, y);
        }
    }
}
#[inline(always)]
unsafe fn update_rows<const M: usize, const W: usize, const ROW: u8, const COL: bool, const AHEAD: usize>(
    x: *mut f32,
    ld: usize,
    i: usize,
    n: usize,
    scale: V,
    row: *const f32,
    col: *const f32,
    u: [*const f32; W],
    w: [*const f32; W],
) {
    let mut f = [scale; M];
    let mut b = [[zero(); W]; M];
    for r in 0..M {
        if ROW == ROWS {
            f[r] = splat(*row.add(i + r));
        }
        for j in 0..W {
            b[r][j] = splat(*u[j].add(i + r));
        }
    }
    let mut c = 0;
    while c + L <= n {
        let mut g = [zero(); W];
        for j in 0..W {
            g[j] = load(w[j].add(c));
        }
        let d = if COL { load(col.add(c)) } else { zero() };
        for r in 0..M {
            let at = x.add(r * ld + c);
            let mut y = load(at);
            if COL {
                y = mul(y, d);
            }
            if ROW != NONE {
                y = mul(y, f[r]);
            }
            for j in 0..W {
                y = fma(b[r][j], g[j], y);
            }
            store(at, y);
            if AHEAD > 0 {
                prefetch_near(at.wrapping_add(AHEAD));
            }
        }
        c += L;
    }
    if c < n {
        for r in 0..M {
            let at = x.add(r * ld + c);
            let mut y = load_first(at, n - c);
            if COL {
                y = mul(y, load_first(col.add(c), n - c));
            }
            if ROW != NONE {
                y = mul(y, f[r]);
            }
            for j in 0..W {
                y = fma(b[r][j], load_first(w[j].add(c), n - c), y);
            }
            store_first(at, y, n - c);
        }
    }
}
