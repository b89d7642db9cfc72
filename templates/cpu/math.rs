//! Elementary functions on vectors, about 1 to 2 units in the last place; a NaN passes through each.
use super::simd::*;

/// `-x`, the sign of zeros included.
#[inline(always)]
pub unsafe fn neg(x: V) -> V {
    mul(splat(-1.0), x)
}
/// `e^x`: 0 at -inf, inf above 88.8. Argument reduction by ln 2 in two parts, then Cephes' polynomial.
#[inline(always)]
pub unsafe fn exp(x: V) -> V {
    let x = at_most(splat(100.0), at_least(splat(-120.0), x));
    let n = round(mul(x, splat(core::f32::consts::LOG2_E)));
    let r = fnma(n, splat(0.693_359_4), x);
    let r = fnma(n, splat(-2.121_944_4e-4), r);
    let mut y = splat(1.987_569_1e-4);
    y = fma(y, r, splat(1.398_199_9e-3));
    y = fma(y, r, splat(8.333_452e-3));
    y = fma(y, r, splat(4.166_579_6e-2));
    y = fma(y, r, splat(1.666_666_5e-1));
    y = fma(y, r, splat(0.5));
    scale(add(fma(y, mul(r, r), r), splat(1.0)), n)
}
/// `ln x`: -inf at 0, NaN below, inf at inf.
#[inline(always)]
pub unsafe fn log(x: V) -> V {
    let (m, e) = split(x);
    // mantissa within [sqrt 1/2, sqrt 2)
    let low = splat(core::f32::consts::FRAC_1_SQRT_2);
    let e = if_less(m, low, sub(e, splat(1.0)), e);
    let f = sub(if_less(m, low, add(m, m), m), splat(1.0));
    let z = mul(f, f);
    let mut y = splat(7.037_683_6e-2);
    y = fma(y, f, splat(-1.151_461e-1));
    y = fma(y, f, splat(1.167_699_9e-1));
    y = fma(y, f, splat(-1.242_014_1e-1));
    y = fma(y, f, splat(1.424_932_3e-1));
    y = fma(y, f, splat(-1.666_805_8e-1));
    y = fma(y, f, splat(2.000_071_5e-1));
    y = fma(y, f, splat(-2.499_999_4e-1));
    y = fma(y, f, splat(3.333_333_1e-1));
    y = mul(mul(y, f), z);
    y = fma(e, splat(-2.121_944_4e-4), y);
    y = fnma(splat(0.5), z, y);
    let y = fma(e, splat(0.693_359_4), add(f, y));
    let y = if_less(x, splat(0.0), splat(f32::NAN), y);
    let y = if_less(abs(x), splat(1.0e-45), splat(f32::NEG_INFINITY), y);
    let y = if_less(splat(f32::MAX), x, x, y);
    if_nan(x, x, y)
}
/// `ln(1 + y)` for y in [0, 1]: the rounding of 1 + y is put back.
#[inline(always)]
unsafe fn log1p(y: V) -> V {
    let u = add(splat(1.0), y);
    add(log(u), div(sub(y, sub(u, splat(1.0))), u))
}
/// `1 / (1 + e^-x)`
#[inline(always)]
pub unsafe fn sigmoid(x: V) -> V {
    div(splat(1.0), add(splat(1.0), exp(neg(x))))
}
/// `ln sigmoid x`
#[inline(always)]
pub unsafe fn log_sigmoid(x: V) -> V {
    sub(at_most(splat(0.0), x), log1p(exp(neg(abs(x)))))
}
/// `x sigmoid x`
#[inline(always)]
pub unsafe fn silu(x: V) -> V {
    div(x, add(splat(1.0), exp(neg(x))))
}
/// `ln(1 + e^x)`
#[inline(always)]
pub unsafe fn softplus(x: V) -> V {
    add(at_least(splat(0.0), x), log1p(exp(neg(abs(x)))))
}
/// `tanh x`: a polynomial near 0, else by `e^2x`.
#[inline(always)]
pub unsafe fn tanh(x: V) -> V {
    let a = abs(x);
    let z = mul(x, x);
    let mut y = splat(-5.704_988_7e-3);
    y = fma(y, z, splat(2.063_908_9e-2));
    y = fma(y, z, splat(-5.373_971_5e-2));
    y = fma(y, z, splat(1.333_144_1e-1));
    y = fma(y, z, splat(-3.333_328_2e-1));
    let near = fma(mul(y, z), x, x);
    let far = sub(splat(1.0), div(splat(2.0), add(exp(add(a, a)), splat(1.0))));
    let far = if_less(x, splat(0.0), neg(far), far);
    if_nan(x, x, if_less(a, splat(0.625), near, far))
}
/// `1 / sqrt x`
#[inline(always)]
pub unsafe fn rsqrt(x: V) -> V {
    div(splat(1.0), sqrt(x))
}
/// `max(x, 0)`, a NaN passes.
#[inline(always)]
pub unsafe fn relu(x: V) -> V {
    at_least(splat(0.0), x)
}
/// x within the interval; a NaN passes.
#[inline(always)]
pub unsafe fn clamp(x: V, lo: V, hi: V) -> V {
    at_most(hi, at_least(lo, x))
}
/// d where `lo < x < hi` or x is a NaN, else 0.
#[inline(always)]
pub unsafe fn inside(x: V, lo: V, hi: V, d: V) -> V {
    if_nan(x, d, if_less(lo, x, if_less(x, hi, d, zero()), zero()))
}
/// d where `x > 0` or x is a NaN, else 0.
#[inline(always)]
pub unsafe fn positive(x: V, d: V) -> V {
    if_nan(x, d, if_less(zero(), x, d, zero()))
}
/// d, 0 or -d by the sign of x; a NaN passes.
#[inline(always)]
pub unsafe fn sign(x: V, d: V) -> V {
    if_nan(x, x, if_less(zero(), x, d, if_less(x, zero(), neg(d), zero())))
}
