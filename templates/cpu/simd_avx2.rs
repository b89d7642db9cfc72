//! AVX2 with FMA: 8 lanes, 16 registers.
//!
//! Every function is `inline(always)` and is only called from functions that enable the level's features.
use core::arch::x86_64::*;

/// One vector.
pub type V = __m256;
/// Lanes of a vector.
pub const L: usize = 8;
/// Vector registers.
pub const REGISTERS: usize = 16;

#[inline(always)]
pub unsafe fn zero() -> V {
    _mm256_setzero_ps()
}
#[inline(always)]
pub unsafe fn splat(x: f32) -> V {
    _mm256_set1_ps(x)
}
#[inline(always)]
pub unsafe fn load(p: *const f32) -> V {
    _mm256_loadu_ps(p)
}
#[inline(always)]
pub unsafe fn store(p: *mut f32, x: V) {
    _mm256_storeu_ps(p, x)
}
/// A store that passes the caches by; `p` is aligned to a vector.
#[inline(always)]
pub unsafe fn stream(p: *mut f32, x: V) {
    _mm256_stream_ps(p, x)
}
/// Orders streamed stores before what follows.
#[inline(always)]
pub unsafe fn fence() {
    _mm_sfence()
}
#[inline(always)]
pub unsafe fn add(a: V, b: V) -> V {
    _mm256_add_ps(a, b)
}
#[inline(always)]
pub unsafe fn sub(a: V, b: V) -> V {
    _mm256_sub_ps(a, b)
}
#[inline(always)]
pub unsafe fn mul(a: V, b: V) -> V {
    _mm256_mul_ps(a, b)
}
#[inline(always)]
pub unsafe fn div(a: V, b: V) -> V {
    _mm256_div_ps(a, b)
}
/// `a * b + c`
#[inline(always)]
pub unsafe fn fma(a: V, b: V, c: V) -> V {
    _mm256_fmadd_ps(a, b, c)
}
/// `c - a * b`
#[inline(always)]
pub unsafe fn fnma(a: V, b: V, c: V) -> V {
    _mm256_fnmadd_ps(a, b, c)
}
#[inline(always)]
pub unsafe fn sqrt(a: V) -> V {
    _mm256_sqrt_ps(a)
}
#[inline(always)]
pub unsafe fn abs(a: V) -> V {
    _mm256_andnot_ps(_mm256_set1_ps(-0.0), a)
}
/// The larger of a bound and x; the operand order lets a NaN x pass.
#[inline(always)]
pub unsafe fn at_least(bound: V, x: V) -> V {
    _mm256_max_ps(bound, x)
}
/// The smaller of a bound and x; a NaN x passes.
#[inline(always)]
pub unsafe fn at_most(bound: V, x: V) -> V {
    _mm256_min_ps(bound, x)
}
/// `y` where `a < b`, else `n`.
#[inline(always)]
pub unsafe fn if_less(a: V, b: V, y: V, n: V) -> V {
    _mm256_blendv_ps(n, y, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b))
}
/// `y` where x is a NaN, else `n`.
#[inline(always)]
pub unsafe fn if_nan(x: V, y: V, n: V) -> V {
    _mm256_blendv_ps(n, y, _mm256_cmp_ps::<_CMP_UNORD_Q>(x, x))
}
/// `y` where `mask` is not 0, else 0.
#[inline(always)]
pub unsafe fn if_nonzero(mask: V, y: V) -> V {
    _mm256_and_ps(_mm256_cmp_ps::<_CMP_NEQ_UQ>(mask, _mm256_setzero_ps()), y)
}
#[inline(always)]
unsafe fn below(n: isize) -> V {
    let n = if n < 0 { 0 } else if n > 8 { 8 } else { n };
    _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)))
}
/// The first `n` lanes, the others 0.
#[inline(always)]
pub unsafe fn first(x: V, n: isize) -> V {
    _mm256_and_ps(below(n), x)
}
/// The lanes from `n` on, the others 0.
#[inline(always)]
pub unsafe fn from(x: V, n: isize) -> V {
    _mm256_andnot_ps(below(n), x)
}
/// `x` with lane `n` replaced by `y`'s.
#[inline(always)]
pub unsafe fn insert(x: V, n: usize, y: V) -> V {
    let lane = _mm256_cmpeq_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    _mm256_blendv_ps(x, y, _mm256_castsi256_ps(lane))
}
/// To the nearest integer, ties to even.
#[inline(always)]
pub unsafe fn round(x: V) -> V {
    _mm256_round_ps::<8>(x)
}
#[inline(always)]
unsafe fn power(n: __m256i) -> V {
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(n, _mm256_set1_epi32(127))))
}
/// `x * 2^n` for an integer n within +-200: two factors, each a normal number.
#[inline(always)]
pub unsafe fn scale(x: V, n: V) -> V {
    let n = _mm256_cvtps_epi32(n);
    let half = _mm256_srai_epi32::<1>(n);
    mul(mul(x, power(half)), power(_mm256_sub_epi32(n, half)))
}
/// `(m, e)` with `x = m * 2^e`, m in [0.5, 1), for positive finite x.
#[inline(always)]
pub unsafe fn split(x: V) -> (V, V) {
    let tiny = _mm256_cmp_ps::<_CMP_LT_OQ>(x, _mm256_set1_ps(1.175_494_4e-38));
    let x = _mm256_blendv_ps(x, mul(x, _mm256_set1_ps(16_777_216.0)), tiny);
    let bits = _mm256_castps_si256(x);
    let e = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_srli_epi32::<23>(bits), _mm256_set1_epi32(126)));
    let m = _mm256_or_si256(_mm256_and_si256(bits, _mm256_set1_epi32(0x007f_ffff)), _mm256_set1_epi32(0x3f00_0000));
    (_mm256_castsi256_ps(m), sub(e, _mm256_and_ps(tiny, _mm256_set1_ps(24.0))))
}
/// Sum of all lanes.
#[inline(always)]
pub unsafe fn sum(x: V) -> f32 {
    let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
}
/// Largest lane.
#[inline(always)]
pub unsafe fn largest(x: V) -> f32 {
    let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)))
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
    let mut r = [zero(); 8];
    for i in 0..8 {
        r[i] = load(a.add(i * lda));
    }
    let mut t = r;
    for i in 0..4 {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for i in 0..2 {
        r[4 * i] = _mm256_shuffle_ps::<0x44>(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm256_shuffle_ps::<0xee>(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm256_shuffle_ps::<0x44>(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm256_shuffle_ps::<0xee>(t[4 * i + 1], t[4 * i + 3]);
    }
    for i in 0..4 {
        store(b.add(i * ldb), _mm256_permute2f128_ps::<0x20>(r[i], r[i + 4]));
        store(b.add((i + 4) * ldb), _mm256_permute2f128_ps::<0x31>(r[i], r[i + 4]));
    }
}
#[inline(always)]
unsafe fn mask(n: usize) -> __m256i {
    _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}
/// The first `n` lanes from `p`, 1 <= n < L, the others 0; nothing past them is read.
#[inline(always)]
pub unsafe fn load_first(p: *const f32, n: usize) -> V {
    _mm256_maskload_ps(p, mask(n))
}
/// Writes the first `n` lanes, 1 <= n < L.
#[inline(always)]
pub unsafe fn store_first(p: *mut f32, x: V, n: usize) {
    _mm256_maskstore_ps(p, mask(n), x)
}
/// Sums of four vectors within each four lanes: lane `4 i + r` is the part of vector r that lies in lanes `4 i ..`.
#[inline(always)]
pub unsafe fn quad(a: V, b: V, c: V, d: V) -> V {
    let ab = _mm256_castps_pd(add(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)));
    let cd = _mm256_castps_pd(add(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d)));
    add(_mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd)), _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd)))
}
/// The sums of L vectors in L lanes, from their quads.
#[inline(always)]
pub unsafe fn quads(g: [V; L / 4]) -> V {
    add(_mm256_permute2f128_ps::<0x20>(g[0], g[1]), _mm256_permute2f128_ps::<0x31>(g[0], g[1]))
}
