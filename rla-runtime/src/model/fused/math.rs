//! Elementwise functions written so that the compiler vectorises the loops that call them.

/// `exp(x)`, relative error below 2e-7; 0 below -87, capped at exp(88). A NaN stays a NaN.
///
/// Branch-free (range reduction to |r| <= ln 2 / 2, Cephes' polynomial, the exponent by bits), where the library's
/// function is a call that keeps a loop scalar.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let y = if x > 88.0 { 88.0 } else { x };
    let y = if y < -87.0 { -87.0 } else { y };
    let n = (y * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = (y - n * LN2_HIGH) - n * LN2_LOW;
    let p = 1.987_569_2e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    // `n` is an integer in -126..=127 here (a NaN gives 0), so the bits are those of 2^n
    let scale = f32::from_bits((((n + ROUND).to_bits() as i32 - ROUND.to_bits() as i32 + 127) as u32) << 23);
    if x < -87.0 { 0.0 } else { p * scale }
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Derivative of `x sigmoid(x)`, given `s = sigmoid(x)`.
#[inline(always)]
pub fn silu_slope(x: f32, s: f32) -> f32 {
    s * (1.0 + x * (1.0 - s))
}

/// `log(1 + exp(x))` without overflow.
#[inline(always)]
pub fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `sum x y`, in 16 running sums that fit vector registers.
#[inline(always)]
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0; LANES];
    let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let rest = xs.remainder().iter().zip(ys.remainder()).map(|(x, y)| x * y).sum::<f32>();
    for (x, y) in xs.zip(ys) {
        for i in 0..LANES {
            sums[i] += x[i] * y[i];
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
        half /= 2;
    }
    sums[0] + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate_and_keeps_the_special_values() {
        let mut worst = 0.0f64;
        for i in -86_990..87_990 {
            let x = i as f32 * 1e-3;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
        }
        assert!(worst < 2e-7, "relative error {worst:e}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1e4), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(1e4).is_finite());
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(sigmoid(-1e4), 1.0 / (1.0 + exp(1e4)));
    }
}
