//! AVX-512: 16 lanes, 32 registers.
//!
//! Every function is `inline(always)` and is only called from functions that enable the level's features.
use core::arch::x86_64::*;

/// One vector.
pub type V = __m512;
/// Lanes of a vector.
pub const L: usize = 16;
/// Vector registers.
pub const REGISTERS: usize = 32;

#[inline(always)]
pub unsafe fn zero() -> V {
    _mm512_setzero_ps()
}
#[inline(always)]
pub unsafe fn splat(x: f32) -> V {
    _mm512_set1_ps(x)
}
#[inline(always)]
pub unsafe fn load(p: *const f32) -> V {
    _mm512_loadu_ps(p)
}
#[inline(always)]
pub unsafe fn store(p: *mut f32, x: V) {
    _mm512_storeu_ps(p, x)
}
/// A store that passes the caches by; `p` is aligned to a vector.
#[inline(always)]
pub unsafe fn stream(p: *mut f32, x: V) {
    _mm512_stream_ps(p, x)
}
/// Orders streamed stores before what follows.
#[inline(always)]
pub unsafe fn fence() {
    _mm_sfence()
}
#[inline(always)]
pub unsafe fn add(a: V, b: V) -> V {
    _mm512_add_ps(a, b)
}
#[inline(always)]
pub unsafe fn sub(a: V, b: V) -> V {
    _mm512_sub_ps(a, b)
}
#[inline(always)]
pub unsafe fn mul(a: V, b: V) -> V {
    _mm512_mul_ps(a, b)
}
#[inline(always)]
pub unsafe fn div(a: V, b: V) -> V {
    _mm512_div_ps(a, b)
}
/// `a * b + c`
#[inline(always)]
pub unsafe fn fma(a: V, b: V, c: V) -> V {
    _mm512_fmadd_ps(a, b, c)
}
/// `c - a * b`
#[inline(always)]
pub unsafe fn fnma(a: V, b: V, c: V) -> V {
    _mm512_fnmadd_ps(a, b, c)
}
#[inline(always)]
pub unsafe fn sqrt(a: V) -> V {
    _mm512_sqrt_ps(a)
}
#[inline(always)]
pub unsafe fn abs(a: V) -> V {
    _mm512_abs_ps(a)
}
/// The larger of a bound and x; the operand order lets a NaN x pass.
#[inline(always)]
pub unsafe fn at_least(bound: V, x: V) -> V {
    _mm512_max_ps(bound, x)
}
/// The smaller of a bound and x; a NaN x passes.
#[inline(always)]
pub unsafe fn at_most(bound: V, x: V) -> V {
    _mm512_min_ps(bound, x)
}
/// `y` where `a < b`, else `n`.
#[inline(always)]
pub unsafe fn if_less(a: V, b: V, y: V, n: V) -> V {
    _mm512_mask_mov_ps(n, _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y)
}
/// `y` where x is a NaN, else `n`.
#[inline(always)]
pub unsafe fn if_nan(x: V, y: V, n: V) -> V {
    _mm512_mask_mov_ps(n, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x), y)
}
/// `y` where `mask` is not 0, else 0.
#[inline(always)]
pub unsafe fn if_nonzero(mask: V, y: V) -> V {
    _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(mask, _mm512_setzero_ps()), y)
}
/// The first `n` lanes, the others 0.
#[inline(always)]
pub unsafe fn first(x: V, n: isize) -> V {
    let n = if n < 0 { 0 } else if n > 16 { 16 } else { n };
    _mm512_maskz_mov_ps(((1u32 << n) - 1) as u16, x)
}
/// The lanes from `n` on, the others 0.
#[inline(always)]
pub unsafe fn from(x: V, n: isize) -> V {
    let n = if n < 0 { 0 } else if n > 16 { 16 } else { n };
    _mm512_maskz_mov_ps(!((1u32 << n) - 1) as u16, x)
}
/// `x` with lane `n` replaced by `y`'s.
#[inline(always)]
pub unsafe fn insert(x: V, n: usize, y: V) -> V {
    _mm512_mask_mov_ps(x, (1u32 << n) as u16, y)
}
/// To the nearest integer, ties to even.
#[inline(always)]
pub unsafe fn round(x: V) -> V {
    _mm512_roundscale_ps::<8>(x)
}
/// `x * 2^n` for an integer n within +-200.
#[inline(always)]
pub unsafe fn scale(x: V, n: V) -> V {
    _mm512_scalef_ps(x, n)
}
/// `(m, e)` with `x = m * 2^e`, m in [0.5, 1), for positive finite x.
#[inline(always)]
pub unsafe fn split(x: V) -> (V, V) {
    let m = _mm512_getmant_ps::<_MM_MANT_NORM_P5_1, _MM_MANT_SIGN_SRC>(x);
    (m, _mm512_add_ps(_mm512_getexp_ps(x), _mm512_set1_ps(1.0)))
}
/// Sum of all lanes.
#[inline(always)]
pub unsafe fn sum(x: V) -> f32 {
    _mm512_reduce_add_ps(x)
}
/// Largest lane.
#[inline(always)]
pub unsafe fn largest(x: V) -> f32 {
    _mm512_reduce_max_ps(x)
}
/// Fetches the line at `p` into the second-level cache.
#[inline(always)]
pub unsafe fn prefetch(p: *const f32) {
    _mm_prefetch::<_MM_HINT_T1>(p as *const i8)
}
/// Fetches the line at `p` into the first-level cache.
#[inline(always)]
pub unsafe fn prefetch_near(p: *const f32) {
    _mm_prefetch::<_MM_HINT_T0>(p as *const i8)
}
/// `b[c][r] = a[r][c]` for a block of L rows and columns.
#[inline(always)]
pub unsafe fn transpose(a: *const f32, lda: usize, b: *mut f32, ldb: usize) {
    let mut r = [zero(); 16];
    for i in 0..16 {
        r[i] = load(a.add(i * lda));
    }
    let mut t = r;
    for i in 0..8 {
        t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for i in 0..4 {
        let d0 = _mm512_castps_pd(t[4 * i]);
        let d1 = _mm512_castps_pd(t[4 * i + 1]);
        let d2 = _mm512_castps_pd(t[4 * i + 2]);
        let d3 = _mm512_castps_pd(t[4 * i + 3]);
        r[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(d0, d2));
        r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(d0, d2));
        r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(d1, d3));
        r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(d1, d3));
    }
    for i in 0..4 {
        t[i] = _mm512_shuffle_f32x4::<0x88>(r[i], r[i + 4]);
        t[i + 4] = _mm512_shuffle_f32x4::<0xdd>(r[i], r[i + 4]);
        t[i + 8] = _mm512_shuffle_f32x4::<0x88>(r[i + 8], r[i + 12]);
        t[i + 12] = _mm512_shuffle_f32x4::<0xdd>(r[i + 8], r[i + 12]);
    }
    for i in 0..8 {
        store(b.add(i * ldb), _mm512_shuffle_f32x4::<0x88>(t[i], t[i + 8]));
        store(b.add((i + 8) * ldb), _mm512_shuffle_f32x4::<0xdd>(t[i], t[i + 8]));
    }
}
/// The first `n` lanes from `p`, 1 <= n < L, the others 0; nothing past them is read.
#[inline(always)]
pub unsafe fn load_first(p: *const f32, n: usize) -> V {
    _mm512_maskz_loadu_ps(((1u32 << n) - 1) as u16, p)
}
/// Writes the first `n` lanes, 1 <= n < L.
#[inline(always)]
pub unsafe fn store_first(p: *mut f32, x: V, n: usize) {
    _mm512_mask_storeu_ps(p, ((1u32 << n) - 1) as u16, x)
}
/// Sums of four vectors within each four lanes: lane `4 i + r` is the part of vector r that lies in lanes `4 i ..`.
#[inline(always)]
pub unsafe fn quad(a: V, b: V, c: V, d: V) -> V {
    let ab = _mm512_castps_pd(add(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
    let cd = _mm512_castps_pd(add(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
    add(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)), _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)))
}
#[inline(always)]
unsafe fn fold(a: V, b: V) -> V {
    add(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b))
}
/// The sums of L vectors in L lanes, from their quads.
#[inline(always)]
pub unsafe fn quads(g: [V; L / 4]) -> V {
    fold(fold(g[0], g[1]), fold(g[2], g[3]))
}
