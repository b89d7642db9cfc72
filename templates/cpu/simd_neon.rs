//! AArch64 Advanced SIMD: 4 lanes, 32 registers.
use core::arch::aarch64::*;

/// One vector.
pub type V = float32x4_t;
/// Lanes of a vector.
pub const L: usize = 4;
/// Vector registers.
pub const REGISTERS: usize = 32;

#[inline(always)]
pub unsafe fn zero() -> V {
    vdupq_n_f32(0.0)
}
#[inline(always)]
pub unsafe fn splat(x: f32) -> V {
    vdupq_n_f32(x)
}
#[inline(always)]
pub unsafe fn load(p: *const f32) -> V {
    vld1q_f32(p)
}
#[inline(always)]
pub unsafe fn store(p: *mut f32, x: V) {
    vst1q_f32(p, x)
}
/// A plain store here.
#[inline(always)]
pub unsafe fn stream(p: *mut f32, x: V) {
    vst1q_f32(p, x)
}
/// Nothing to order here.
#[inline(always)]
pub unsafe fn fence() {}
#[inline(always)]
pub unsafe fn add(a: V, b: V) -> V {
    vaddq_f32(a, b)
}
#[inline(always)]
pub unsafe fn sub(a: V, b: V) -> V {
    vsubq_f32(a, b)
}
#[inline(always)]
pub unsafe fn mul(a: V, b: V) -> V {
    vmulq_f32(a, b)
}
#[inline(always)]
pub unsafe fn div(a: V, b: V) -> V {
    vdivq_f32(a, b)
}
/// `a * b + c`
#[inline(always)]
pub unsafe fn fma(a: V, b: V, c: V) -> V {
    vfmaq_f32(c, a, b)
}
/// `c - a * b`
#[inline(always)]
pub unsafe fn fnma(a: V, b: V, c: V) -> V {
    vfmsq_f32(c, a, b)
}
#[inline(always)]
pub unsafe fn sqrt(a: V) -> V {
    vsqrtq_f32(a)
}
#[inline(always)]
pub unsafe fn abs(a: V) -> V {
    vabsq_f32(a)
}
/// The larger of a bound and x; a NaN x passes.
#[inline(always)]
pub unsafe fn at_least(bound: V, x: V) -> V {
    vmaxq_f32(bound, x)
}
/// The smaller of a bound and x; a NaN x passes.
#[inline(always)]
pub unsafe fn at_most(bound: V, x: V) -> V {
    vminq_f32(bound, x)
}
/// `y` where `a < b`, else `n`.
#[inline(always)]
pub unsafe fn if_less(a: V, b: V, y: V, n: V) -> V {
    vbslq_f32(vcltq_f32(a, b), y, n)
}
/// `y` where x is a NaN, else `n`.
#[inline(always)]
pub unsafe fn if_nan(x: V, y: V, n: V) -> V {
    vbslq_f32(vceqq_f32(x, x), n, y)
}
/// `y` where `mask` is not 0, else 0.
#[inline(always)]
pub unsafe fn if_nonzero(mask: V, y: V) -> V {
    vbslq_f32(vceqq_f32(mask, zero()), zero(), y)
}
#[inline(always)]
unsafe fn below(n: isize) -> uint32x4_t {
    let n = if n < 0 { 0 } else if n > 4 { 4 } else { n };
    let lane: [i32; 4] = [0, 1, 2, 3];
    vcgtq_s32(vdupq_n_s32(n as i32), vld1q_s32(lane.as_ptr()))
}
/// The first `n` lanes, the others 0.
#[inline(always)]
pub unsafe fn first(x: V, n: isize) -> V {
    vbslq_f32(below(n), x, zero())
}
/// The lanes from `n` on, the others 0.
#[inline(always)]
pub unsafe fn from(x: V, n: isize) -> V {
    vbslq_f32(below(n), zero(), x)
}
/// `x` with lane `n` replaced by `y`'s.
#[inline(always)]
pub unsafe fn insert(x: V, n: usize, y: V) -> V {
    let lane: [i32; 4] = [0, 1, 2, 3];
    vbslq_f32(vceqq_s32(vdupq_n_s32(n as i32), vld1q_s32(lane.as_ptr())), y, x)
}
/// To the nearest integer, ties to even.
#[inline(always)]
pub unsafe fn round(x: V) -> V {
    vrndnq_f32(x)
}
#[inline(always)]
unsafe fn power(n: int32x4_t) -> V {
    vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(n, vdupq_n_s32(127))))
}
/// `x * 2^n` for an integer n within +-200: two factors, each a normal number.
#[inline(always)]
pub unsafe fn scale(x: V, n: V) -> V {
    let n = vcvtq_s32_f32(n);
    let half = vshrq_n_s32::<1>(n);
    mul(mul(x, power(half)), power(vsubq_s32(n, half)))
}
/// `(m, e)` with `x = m * 2^e`, m in [0.5, 1), for positive finite x.
#[inline(always)]
pub unsafe fn split(x: V) -> (V, V) {
    let tiny = vcltq_f32(x, vdupq_n_f32(1.175_494_4e-38));
    let x = vbslq_f32(tiny, mul(x, vdupq_n_f32(16_777_216.0)), x);
    let bits = vreinterpretq_u32_f32(x);
    let e = vsubq_s32(vreinterpretq_s32_u32(vshrq_n_u32::<23>(bits)), vdupq_n_s32(126));
    let m = vorrq_u32(vandq_u32(bits, vdupq_n_u32(0x007f_ffff)), vdupq_n_u32(0x3f00_0000));
    let e = vcvtq_f32_s32(e);
    (vreinterpretq_f32_u32(m), vbslq_f32(tiny, sub(e, vdupq_n_f32(24.0)), e))
}
/// Sum of all lanes.
#[inline(always)]
pub unsafe fn sum(x: V) -> f32 {
    vaddvq_f32(x)
}
/// Largest lane.
#[inline(always)]
pub unsafe fn largest(x: V) -> f32 {
    vmaxvq_f32(x)
}
/// Left to the hardware here.
#[inline(always)]
pub unsafe fn prefetch(_p: *const f32) {}
/// Left to the hardware here.
#[inline(always)]
pub unsafe fn prefetch_near(_p: *const f32) {}
/// `b[c][r] = a[r][c]` for a block of L rows and columns.
#[inline(always)]
pub unsafe fn transpose(a: *const f32, lda: usize, b: *mut f32, ldb: usize) {
    let (r0, r1, r2, r3) = (load(a), load(a.add(lda)), load(a.add(2 * lda)), load(a.add(3 * lda)));
    let (t0, t1) = (vtrn1q_f32(r0, r1), vtrn2q_f32(r0, r1));
    let (t2, t3) = (vtrn1q_f32(r2, r3), vtrn2q_f32(r2, r3));
    store(b, vcombine_f32(vget_low_f32(t0), vget_low_f32(t2)));
    store(b.add(ldb), vcombine_f32(vget_low_f32(t1), vget_low_f32(t3)));
    store(b.add(2 * ldb), vcombine_f32(vget_high_f32(t0), vget_high_f32(t2)));
    store(b.add(3 * ldb), vcombine_f32(vget_high_f32(t1), vget_high_f32(t3)));
}
/// The first `n` lanes from `p`, 1 <= n < L, the others 0; nothing past them is read.
#[inline(always)]
pub unsafe fn load_first(p: *const f32, n: usize) -> V {
    let mut lanes = [0.0; L];
    for i in 0..n {
        *lanes.as_mut_ptr().add(i) = *p.add(i);
    }
    load(lanes.as_ptr())
}
/// Writes the first `n` lanes, 1 <= n < L.
#[inline(always)]
pub unsafe fn store_first(p: *mut f32, x: V, n: usize) {
    let mut lanes = [0.0; L];
    store(lanes.as_mut_ptr(), x);
    for i in 0..n {
        *p.add(i) = *lanes.as_ptr().add(i);
    }
}
/// Sums of four vectors: lane r is the sum of vector r.
#[inline(always)]
pub unsafe fn quad(a: V, b: V, c: V, d: V) -> V {
    vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d))
}
/// The sums of L vectors in L lanes, from their quads.
#[inline(always)]
pub unsafe fn quads(g: [V; L / 4]) -> V {
    g[0]
}
