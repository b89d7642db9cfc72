//! Register tiles: M rows of N vectors, kept in registers through a chain of products, scalings and epilogues.
//!
//! The left operand of a product is read element by element and broadcast, so its two strides are free and a transposed
//! operand costs nothing; the right operand and the tile have their lanes along the same axis.
use super::abi::*;
use super::simd::*;

/// Rows to fetch ahead of their use, taken one line at a time from inside the product loops.
///
/// Rows of one head lie far apart, further than the hardware follows; in bursts the requests stall the tile's own loads.
#[derive(Clone, Copy)]
pub struct Ahead {
    at: *const f32,
    left: usize,
    step: usize,
    next: *const (*const f32, usize),
    /// Lines a request.
    rate: usize,
}

impl Ahead {
    /// Nothing to fetch: one line of `base`, again and again.
    #[inline(always)]
    pub unsafe fn nothing(base: *const f32) -> Ahead {
        Ahead { at: base, left: usize::MAX, step: 0, next: core::ptr::null(), rate: 1 }
    }
    /// The rows of a list of (start, lines), which gets one more entry as its end; to be fetched within `requests` requests.
    #[inline(always)]
    pub unsafe fn list(list: *mut (*const f32, usize), rows: usize, requests: usize) -> Ahead {
        let mut lines = 0;
        for i in 0..rows {
            lines += (*list.add(i)).1;
        }
        *list.add(rows) = (list as *const f32, usize::MAX);
        let (at, left) = *list;
        let step = if left == usize::MAX { 0 } else { 16 };
        Ahead { at, left, step, next: list.add(1), rate: lines.div_ceil(requests + 1) }
    }
    /// Fetches the next lines.
    #[inline(always)]
    pub unsafe fn lines(&mut self) {
        for _ in 0..self.rate {
            self.line();
        }
    }
    /// Fetches one line.
    #[inline(always)]
    unsafe fn line(&mut self) {
        prefetch(self.at);
        self.at = self.at.wrapping_add(self.step);
        self.left -= 1;
        if self.left == 0 {
            (self.at, self.left) = *self.next;
            self.step = if self.left == usize::MAX { 0 } else { 16 };
            self.next = self.next.add(1);
        }
    }
}

/// Adds the rows of tokens `t0..t0 + rows` of a view to a list of rows to fetch.
#[inline(always)]
pub unsafe fn fetch_rows(list: *mut (*const f32, usize), count: &mut usize, view: &View, t0: usize, rows: usize, n: usize) {
    if view.ptr.is_null() {
        return;
    }
    let size = if view.dtype == DTYPE_F32 { 4 } else { 2 };
    for t in t0..t0 + rows {
        let at = view.ptr.offset(t as isize * view.stride * size);
        let lines = (at as usize % 64 + n * size as usize).div_ceil(64);
        *list.add(*count) = (at as *const f32, lines);
        *count += 1;
    }
}
/// Adds a block of memory to a list of rows to fetch.
#[inline(always)]
pub unsafe fn fetch_block(list: *mut (*const f32, usize), count: &mut usize, at: *const f32, floats: usize) {
    if floats > 0 {
        *list.add(*count) = (at, floats.div_ceil(16));
        *count += 1;
    }
}

/// A tile of zeros.
#[inline(always)]
pub unsafe fn zeros<const M: usize, const N: usize>() -> [[V; N]; M] {
    [[zero(); N]; M]
}

#[inline(always)]
unsafe fn step<const M: usize, const N: usize, const SUB: bool>(
    acc: &mut [[V; N]; M],
    a: *const f32,
    row: usize,
    b: *const f32,
) {
    let mut bv = [zero(); N];
    for j in 0..N {
        bv[j] = load(b.add(j * L));
    }
    for i in 0..M {
        let av = splat(*a.add(i * row));
        for j in 0..N {
            acc[i][j] = if SUB { fnma(av, bv[j], acc[i][j]) } else { fma(av, bv[j], acc[i][j]) };
        }
    }
}

/// `acc += A B` (SUB: `-=`) over `n` inner steps. A has row stride `row` and inner stride `inner`; B has row stride `ldb`.
#[inline(always)]
pub unsafe fn product<const M: usize, const N: usize, const SUB: bool>(
    acc: &mut [[V; N]; M],
    a: *const f32,
    row: usize,
    inner: usize,
    b: *const f32,
    ldb: usize,
    n: usize,
) {
    let (mut a, mut b) = (a, b);
    for _ in 0..n / 4 {
        step::<M, N, SUB>(acc, a, row, b);
        step::<M, N, SUB>(acc, a.add(inner), row, b.add(ldb));
        step::<M, N, SUB>(acc, a.add(2 * inner), row, b.add(2 * ldb));
        step::<M, N, SUB>(acc, a.add(3 * inner), row, b.add(3 * ldb));
        a = a.add(4 * inner);
        b = b.add(4 * ldb);
    }
    for _ in 0..n % 4 {
        step::<M, N, SUB>(acc, a, row, b);
        a = a.add(inner);
        b = b.add(ldb);
    }
}

/// [`product`] that fetches lines ahead every four steps.
#[inline(always)]
pub unsafe fn product_ahead<const M: usize, const N: usize, const SUB: bool>(
    acc: &mut [[V; N]; M],
    a: *const f32,
    row: usize,
    inner: usize,
    b: *const f32,
    ldb: usize,
    n: usize,
    ahead: &mut Ahead,
) {
    let (mut a, mut b) = (a, b);
    // in registers for the loop
    let mut lines = *ahead;
    for _ in 0..n / 4 {
        lines.lines();
        step::<M, N, SUB>(acc, a, row, b);
        step::<M, N, SUB>(acc, a.add(inner), row, b.add(ldb));
        step::<M, N, SUB>(acc, a.add(2 * inner), row, b.add(2 * ldb));
        step::<M, N, SUB>(acc, a.add(3 * inner), row, b.add(3 * ldb));
        a = a.add(4 * inner);
        b = b.add(4 * ldb);
    }
    *ahead = lines;
    for _ in 0..n % 4 {
        step::<M, N, SUB>(acc, a, row, b);
        a = a.add(inner);
        b = b.add(ldb);
    }
}

/// `acc += A B` where the inner axis is A's lane axis, in panels of `w` lanes `panel` floats apart.
#[inline(always)]
pub unsafe fn product_across<const M: usize, const N: usize, const SUB: bool>(
    acc: &mut [[V; N]; M],
    a: *const f32,
    row: usize,
    w: usize,
    panel: usize,
    b: *const f32,
    ldb: usize,
    n: usize,
) {
    let (mut a, mut b, mut n) = (a, b, n);
    while n > w {
        product::<M, N, SUB>(acc, a, row, 1, b, ldb, w);
        a = a.add(panel);
        b = b.add(w * ldb);
        n -= w;
    }
    product::<M, N, SUB>(acc, a, row, 1, b, ldb, n);
}

/// [`product_across`] that fetches lines ahead.
#[inline(always)]
pub unsafe fn product_across_ahead<const M: usize, const N: usize, const SUB: bool>(
    acc: &mut [[V; N]; M],
    a: *const f32,
    row: usize,
    w: usize,
    panel: usize,
    b: *const f32,
    ldb: usize,
    n: usize,
    ahead: &mut Ahead,
) {
    let (mut a, mut b, mut n) = (a, b, n);
    while n > w {
        product_ahead::<M, N, SUB>(acc, a, row, 1, b, ldb, w, ahead);
        a = a.add(panel);
        b = b.add(w * ldb);
        n -= w;
    }
    product_ahead::<M, N, SUB>(acc, a, row, 1, b, ldb, n, ahead);
}

/// [`product_across`] over the inner steps from `start` to `end`.
#[inline(always)]
pub unsafe fn product_between<const M: usize, const N: usize, const SUB: bool>(
    acc: &mut [[V; N]; M],
    a: *const f32,
    row: usize,
    w: usize,
    panel: usize,
    b: *const f32,
    ldb: usize,
    start: usize,
    end: usize,
) {
    let mut s = start;
    while s < end {
        let m = if w - s % w < end - s { w - s % w } else { end - s };
        product::<M, N, SUB>(acc, a.add(s / w * panel + s % w), row, 1, b.add(s * ldb), ldb, m);
        s += m;
    }
}

/// The lanes of columns `s0..` that lie below row `t` of a matrix (`s < t`), the others 0.
#[inline(always)]
pub unsafe fn below_diagonal(x: V, t: usize, s0: usize) -> V {
    first(x, t as isize - s0 as isize)
}

/// The same of the transposed matrix: lanes are rows `t0..`, kept where `t > s`.
#[inline(always)]
pub unsafe fn beside_diagonal(x: V, s: usize, t0: usize) -> V {
    from(x, s as isize + 1 - t0 as isize)
}
