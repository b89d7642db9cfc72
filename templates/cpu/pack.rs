//! Between the caller's arrays and the kernel's: types, strides and tails end here.
//!
//! Inside, a matrix with its lanes along an axis of size n is stored in panels of `w` lanes: `[n / w][rows][w]`.
use super::abi::*;
use super::simd::*;

/// bfloat16 bits of x, rounded to nearest even; a NaN stays one.
#[inline(always)]
fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}
/// The half-precision number with these bits.
#[inline(always)]
fn from_f16(h: u16) -> f32 {
    let (sign, rest) = (((h & 0x8000) as u32) << 16, (h & 0x7fff) as u32);
    // exponents rebiased by one multiplication, which also makes subnormals normal
    let x = if rest >= 0x7c00 { f32::from_bits(0x7f80_0000 | rest << 13) } else { f32::from_bits(rest << 13) * f32::from_bits(0x7780_0000) };
    f32::from_bits(x.to_bits() | sign)
}
/// Half-precision bits of x, rounded to nearest even; a NaN stays one.
#[inline(always)]
fn to_f16(x: f32) -> u16 {
    let bits = x.to_bits();
    let (sign, rest) = ((bits >> 16 & 0x8000) as u16, bits & 0x7fff_ffff);
    let h = if rest > 0x7f80_0000 {
        0x7e00
    } else if rest >= 0x4780_0000 {
        0x7c00
    } else if rest >= 0x3880_0000 {
        // normal: a carry out of the mantissa moves into the exponent, as it should
        ((rest - 0x3800_0000).wrapping_add(0xfff + (rest >> 13 & 1)) >> 13) as u16
    } else {
        // subnormal: adding 0.5 rounds the last place to 2^-24
        (f32::from_bits(f32::from_bits(rest).to_bits()) + 0.5).to_bits().wrapping_sub(0x3f00_0000) as u16
    };
    sign | h
}
/// Element `i` from `p`.
#[inline(always)]
pub unsafe fn read(p: *const u8, i: isize, dtype: u32) -> f32 {
    match dtype {
        DTYPE_F32 => *(p as *const f32).offset(i),
        DTYPE_BF16 => f32::from_bits((*(p as *const u16).offset(i) as u32) << 16),
        _ => from_f16(*(p as *const u16).offset(i)),
    }
}
#[inline(always)]
unsafe fn write(p: *mut u8, i: isize, dtype: u32, x: f32) {
    match dtype {
        DTYPE_F32 => *(p as *mut f32).offset(i) = x,
        DTYPE_BF16 => *(p as *mut u16).offset(i) = to_bf16(x),
        _ => *(p as *mut u16).offset(i) = to_f16(x),
    }
}

/// Copies `rows` rows of `n` elements from token `t0` on into panels `panel` floats apart; rows past `valid` repeat the last one.
#[inline(always)]
pub unsafe fn pack(view: &View, t0: usize, valid: usize, rows: usize, n: usize, to: *mut f32, w: usize, panel: usize) {
    for t in 0..rows {
        let from = (t0 + if t < valid { t } else { valid - 1 }) as isize * view.stride;
        pack_row(view, from, n, to.add(t * w), w, panel);
    }
}
#[inline(always)]
unsafe fn pack_row(view: &View, from: isize, n: usize, to: *mut f32, w: usize, panel: usize) {
    // whole panels of whole vectors: nothing to decide inside
    if view.dtype == DTYPE_F32 && n % w == 0 && w % L == 0 {
        let (from, mut to) = ((view.ptr as *const f32).offset(from), to);
        for c in (0..n).step_by(w) {
            for i in (0..w).step_by(L) {
                store(to.add(i), load(from.add(c + i)));
            }
            to = to.add(panel);
        }
        return;
    }
    let (mut at, mut left, mut to) = (from, n, to);
    while left > 0 {
        let m = if left < w { left } else { w };
        let mut i = 0;
        if view.dtype == DTYPE_F32 {
            let p = (view.ptr as *const f32).offset(at);
            while i + L <= m {
                store(to.add(i), load(p.add(i)));
                i += L;
            }
            while i < m {
                *to.add(i) = *p.add(i);
                i += 1;
            }
        } else if view.dtype == DTYPE_BF16 {
            let p = (view.ptr as *const u16).offset(at);
            while i < m {
                *to.add(i) = f32::from_bits((*p.add(i) as u32) << 16);
                i += 1;
            }
        } else {
            let p = (view.ptr as *const u16).offset(at);
            while i < m {
                *to.add(i) = from_f16(*p.add(i));
                i += 1;
            }
        }
        at += m as isize;
        left -= m;
        to = to.add(panel);
    }
}
/// The same of a cotangent: rows past `valid`, and a null view, are zero.
#[inline(always)]
pub unsafe fn pack_or_zero(
    view: &View,
    t0: usize,
    valid: usize,
    rows: usize,
    n: usize,
    to: *mut f32,
    w: usize,
    panel: usize,
) {
    for t in 0..rows {
        if t < valid && !view.ptr.is_null() {
            pack_row(view, (t0 + t) as isize * view.stride, n, to.add(t * w), w, panel);
        } else {
            let mut at = 0;
            while at < n {
                for i in 0..w {
                    *to.add(at / w * panel + t * w + i) = 0.0;
                }
                at += w;
            }
        }
    }
}
/// One number a token.
#[inline(always)]
pub unsafe fn pack_scalars(view: &View, t0: usize, valid: usize, rows: usize, to: *mut f32) {
    for t in 0..rows {
        let at = (t0 + if t < valid { t } else { valid - 1 }) as isize * view.stride;
        *to.add(t) = read(view.ptr, at, view.dtype);
    }
}
/// One cotangent a token.
#[inline(always)]
pub unsafe fn pack_scalars_or_zero(view: &View, t0: usize, valid: usize, rows: usize, to: *mut f32) {
    for t in 0..rows {
        let live = t < valid && !view.ptr.is_null();
        *to.add(t) = if live { read(view.ptr, (t0 + t) as isize * view.stride, view.dtype) } else { 0.0 };
    }
}
/// A vector without tokens: a parameter.
#[inline(always)]
pub unsafe fn pack_vector(view: &View, n: usize, to: *mut f32) {
    for i in 0..n {
        *to.add(i) = read(view.ptr, i as isize, view.dtype);
    }
}

/// Writes `valid` rows of `n` elements from panels; a null view is not wanted.
#[inline(always)]
pub unsafe fn unpack(view: &View, t0: usize, valid: usize, n: usize, from: *const f32, w: usize, panel: usize) {
    if view.ptr.is_null() {
        return;
    }
    for t in 0..valid {
        let mut at = (t0 + t) as isize * view.stride;
        let (mut left, mut from) = (n, from.add(t * w));
        while left > 0 {
            let m = if left < w { left } else { w };
            let mut i = 0;
            if view.dtype == DTYPE_F32 {
                let p = (view.ptr as *mut f32).offset(at);
                if view.accumulate != 0 {
                    while i + L <= m {
                        store(p.add(i), add(load(p.add(i)), load(from.add(i))));
                        i += L;
                    }
                    while i < m {
                        *p.add(i) += *from.add(i);
                        i += 1;
                    }
                } else {
                    while i + L <= m {
                        store(p.add(i), load(from.add(i)));
                        i += L;
                    }
                    while i < m {
                        *p.add(i) = *from.add(i);
                        i += 1;
                    }
                }
            } else {
                while i < m {
                    write(view.ptr, at + i as isize, view.dtype, *from.add(i));
                    i += 1;
                }
            }
            at += m as isize;
            left -= m;
            from = from.add(panel);
        }
    }
}
/// Writes one number a token.
#[inline(always)]
pub unsafe fn unpack_scalars(view: &View, t0: usize, valid: usize, from: *const f32) {
    if view.ptr.is_null() {
        return;
    }
    for t in 0..valid {
        let at = (t0 + t) as isize * view.stride;
        let old = if view.accumulate != 0 { read(view.ptr, at, view.dtype) } else { 0.0 };
        write(view.ptr, at, view.dtype, if view.accumulate != 0 { old + *from.add(t) } else { *from.add(t) });
    }
}
/// Writes a vector without tokens: a parameter's gradient.
#[inline(always)]
pub unsafe fn unpack_vector(view: &View, n: usize, from: *const f32) {
    if view.ptr.is_null() {
        return;
    }
    for i in 0..n {
        let old = if view.accumulate != 0 { read(view.ptr, i as isize, view.dtype) } else { 0.0 };
        write(view.ptr, i as isize, view.dtype, if view.accumulate != 0 { old + *from.add(i) } else { *from.add(i) });
    }
}

/// Sets `n` floats to zero.
#[inline(always)]
pub unsafe fn clear(to: *mut f32, n: usize) {
    for i in 0..n {
        *to.add(i) = 0.0;
    }
}

/// Loads a state into panels of its free side: element (f, c) is `to[f / w][c][f % w]`. A null view is a zero state.
#[inline(always)]
pub unsafe fn load_state(view: &StateView, transposed: bool, free: usize, contracted: usize, to: *mut f32, w: usize, rows: usize) {
    let (fs, cs) = if transposed { (view.col_stride, view.row_stride) } else { (view.row_stride, view.col_stride) };
    let mut f0 = 0;
    while f0 < free {
        let m = if free - f0 < w { free - f0 } else { w };
        let panel = to.add(f0 * rows);
        if view.ptr.is_null() {
            clear(panel, contracted * w);
        } else {
            let from = view.ptr.offset(f0 as isize * fs);
            let mut c = 0;
            if cs == 1 && fs > 0 {
                while c + L <= contracted {
                    let mut f = 0;
                    while f + L <= m {
                        transpose(from.add(f * fs as usize + c), fs as usize, panel.add(c * w + f), w);
                        f += L;
                    }
                    while f < m {
                        for i in 0..L {
                            *panel.add((c + i) * w + f) = *from.offset(f as isize * fs + (c + i) as isize);
                        }
                        f += 1;
                    }
                    c += L;
                }
            }
            while c < contracted {
                for f in 0..m {
                    *panel.add(c * w + f) = *from.offset(f as isize * fs + c as isize * cs);
                }
                c += 1;
            }
        }
        f0 += w;
    }
}
/// Stores a state from panels. A null view is not wanted.
#[inline(always)]
pub unsafe fn store_state(view: &StateView, transposed: bool, free: usize, contracted: usize, from: *const f32, w: usize, rows: usize) {
    if view.ptr.is_null() {
        return;
    }
    let (fs, cs) = if transposed { (view.col_stride, view.row_stride) } else { (view.row_stride, view.col_stride) };
    let mut f0 = 0;
    while f0 < free {
        let m = if free - f0 < w { free - f0 } else { w };
        let panel = from.add(f0 * rows);
        let to = view.ptr.offset(f0 as isize * fs);
        let mut c = 0;
        if cs == 1 && fs > 0 {
            while c + L <= contracted {
                let mut f = 0;
                while f + L <= m {
                    transpose(panel.add(c * w + f), w, to.add(f * fs as usize + c), fs as usize);
                    f += L;
                }
                while f < m {
                    for i in 0..L {
                        *to.offset(f as isize * fs + (c + i) as isize) = *panel.add((c + i) * w + f);
                    }
                    f += 1;
                }
                c += L;
            }
        }
        while c < contracted {
            for f in 0..m {
                *to.offset(f as isize * fs + c as isize * cs) = *panel.add(c * w + f);
            }
            c += 1;
        }
        f0 += w;
    }
}

/// The other orientation of one panel of lanes: `[rows][w]` at `from` becomes rows of `w2` lanes, panels of which lie
/// `panel` floats apart, from `to` on.
#[inline(always)]
pub unsafe fn turn(from: *const f32, rows: usize, w: usize, to: *mut f32, w2: usize, panel: usize) {
    let mut r = 0;
    while r < rows {
        let out = to.add(r / w2 * panel + r % w2);
        let mut c = 0;
        while c < w {
            transpose(from.add(r * w + c), w, out.add(c * w2), w2);
            c += L;
        }
        r += L;
    }
}

/// Floats rounded up to whole cache lines.
#[inline(always)]
pub fn lines(floats: usize) -> usize {
    floats.div_ceil(16) * 16
}
/// The next `floats` of working memory.
#[inline(always)]
pub unsafe fn take(base: *mut f32, used: &mut usize, floats: usize) -> *mut f32 {
    let at = base.wrapping_add(*used);
    *used += lines(floats);
    at
}
/// Copies whole vectors.
#[inline(always)]
pub unsafe fn copy(from: *const f32, to: *mut f32, floats: usize) {
    for i in (0..floats).step_by(L) {
        store(to.add(i), load(from.add(i)));
    }
}
/// Loads a vector state.
#[inline(always)]
pub unsafe fn load_vector_state(view: &StateView, n: usize, to: *mut f32) {
    for i in 0..n {
        *to.add(i) = if view.ptr.is_null() { 0.0 } else { *view.ptr.offset(i as isize * view.col_stride) };
    }
}
/// Stores a vector state.
#[inline(always)]
pub unsafe fn store_vector_state(view: &StateView, n: usize, from: *const f32) {
    if !view.ptr.is_null() {
        for i in 0..n {
            *view.ptr.offset(i as isize * view.col_stride) = *from.add(i);
        }
    }
}
/// The gradient of an input that nothing depends on.
#[inline(always)]
pub unsafe fn no_gradient(view: &View, tokens: usize, n: usize) {
    if view.ptr.is_null() || view.accumulate != 0 {
        return;
    }
    for t in 0..tokens {
        for i in 0..n {
            write(view.ptr, t as isize * view.stride + i as isize, view.dtype, 0.0);
        }
    }
}
/// Whether whole rows of a view can be written past the cache: f32, not added to, of whole panels at a vector's boundary.
#[inline(always)]
pub unsafe fn streams(view: &View, n: usize, w: usize) -> bool {
    let plain = view.dtype == DTYPE_F32 && view.accumulate == 0 && !view.ptr.is_null();
    plain && n % w == 0 && view.ptr as usize % (4 * L) == 0 && view.stride % L as isize == 0
}
/// [`unpack`] past the cache where that can be: nobody reads these rows soon, and what they held need not be fetched.
#[inline(always)]
pub unsafe fn unpack_streamed(view: &View, t0: usize, valid: usize, n: usize, from: *const f32, w: usize, panel: usize) {
    if !streams(view, n, w) {
        return unpack(view, t0, valid, n, from, w, panel);
    }
    for t in 0..valid {
        let to = (view.ptr as *mut f32).offset((t0 + t) as isize * view.stride);
        for at in (0..n).step_by(L) {
            stream(to.add(at), load(from.add(at / w * panel + t * w + at % w)));
        }
    }
}
/// Where a chunk's rows lie: (start, floats from panel to panel, from row to row). In the caller's memory where that
/// holds whole panels of f32 and all of the chunk's rows, to be overwritten if at all; else in the kernel's own.
#[inline(always)]
pub unsafe fn place(view: &View, t0: usize, whole: bool, n: usize, w: usize, own: *mut f32, panel: usize) -> (*mut f32, usize, usize) {
    let plain = view.dtype == DTYPE_F32 && view.accumulate == 0 && view.stride > 0 && !view.ptr.is_null();
    if whole && plain && n % w == 0 {
        return ((view.ptr as *mut f32).add(t0 * view.stride as usize), w, view.stride as usize);
    }
    (own, panel, w)
}
