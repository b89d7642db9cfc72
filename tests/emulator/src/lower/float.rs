//! Operations on floats. Everything is rounded as PTX says; approximations of the hardware are better here than there.
use crate::program::Scalar;
use half::{bf16, f16};

fn f(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn bits(x: f32) -> u64 {
    u64::from(x.to_bits())
}

/// The sum of two f64 rounded to f32, down or towards zero. What the f64 sum itself loses says to which side it leans.
fn directed(a: f64, b: f64, down: bool) -> f32 {
    let sum = a + b;
    let back = sum - a;
    let lost = (a - (sum - back)) + (b - back);
    let near = sum as f32;
    if !near.is_finite() {
        return near;
    }
    // the difference is exact: both are f64, less than one f32 step apart
    let over = f64::from(near) - sum;
    let (above, below) = (over > lost, over < lost);
    if above && (down || sum > 0.0) {
        near.next_down()
    } else if below && !down && sum < 0.0 {
        near.next_up()
    } else {
        near
    }
}

fn round_tf32(x: f32) -> f32 {
    if !x.is_finite() {
        return x;
    }
    // to nearest, ties away from zero: half a unit of the last of ten bits is added, and the rest is cut
    f32::from_bits((x.to_bits().wrapping_add(0x1000)) & !0x1fff)
}

fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0.0f32.copysign(x) } else { x }
}

macro_rules! compare {
    ($word:expr, $read:expr) => {
        match $word {
            "eq" => Some((|a, b, _| u64::from($read(a) == $read(b))) as Scalar),
            "ne" => Some((|a, b, _| u64::from($read(a) < $read(b) || $read(a) > $read(b))) as Scalar),
            "neu" => Some((|a, b, _| u64::from($read(a) != $read(b))) as Scalar),
            "lt" => Some((|a, b, _| u64::from($read(a) < $read(b))) as Scalar),
            "le" => Some((|a, b, _| u64::from($read(a) <= $read(b))) as Scalar),
            "gt" => Some((|a, b, _| u64::from($read(a) > $read(b))) as Scalar),
            "ge" => Some((|a, b, _| u64::from($read(a) >= $read(b))) as Scalar),
            "ltu" => Some((|a, b, _| u64::from(!($read(a) >= $read(b)))) as Scalar),
            "leu" => Some((|a, b, _| u64::from(!($read(a) > $read(b)))) as Scalar),
            "gtu" => Some((|a, b, _| u64::from(!($read(a) <= $read(b)))) as Scalar),
            "geu" => Some((|a, b, _| u64::from(!($read(a) < $read(b)))) as Scalar),
            "equ" => Some((|a, b, _| u64::from(!($read(a) < $read(b) || $read(a) > $read(b)))) as Scalar),
            "nan" => Some((|a, b, _| u64::from($read(a).is_nan() || $read(b).is_nan())) as Scalar),
            _ => None,
        }
    };
}

/// The smaller or larger number; of a number and a NaN the number, or with `.NaN` the NaN.
fn extreme(a: f32, b: f32, larger: bool, nan: bool) -> f32 {
    if nan && (a.is_nan() || b.is_nan()) {
        return f32::from_bits(0x7fff_ffff);
    }
    if larger { a.max(b) } else { a.min(b) }
}

/// The operation of a name.
#[allow(clippy::neg_cmp_op_on_partial_ord)] // "less or unordered" is "not greater or equal"
pub(super) fn of(name: &str) -> Option<Scalar> {
    if let Some(rest) = name.strip_prefix("setp.") {
        let (word, kind) = rest.split_once('.')?;
        return match kind {
            "f32" | "ftz.f32" => compare!(word, f),
            "f64" => compare!(word, f64::from_bits),
            _ => None,
        };
    }
    Some(match name {
        "add.f32" | "add.rn.f32" => |a, b, _| bits(f(a) + f(b)),
        "sub.f32" | "sub.rn.f32" => |a, b, _| bits(f(a) - f(b)),
        "mul.f32" | "mul.rn.f32" => |a, b, _| bits(f(a) * f(b)),
        "fma.rn.f32" => |a, b, c| bits(f(a).mul_add(f(b), f(c))),
        "fma.rm.f32" => |a, b, c| bits(directed(f64::from(f(a)) * f64::from(f(b)), f64::from(f(c)), true)),
        "add.rz.f32" => |a, b, _| bits(directed(f64::from(f(a)), f64::from(f(b)), false)),
        "neg.f32" => |a, _, _| bits(-f(a)),
        "abs.f32" => |a, _, _| bits(f(a).abs()),
        "min.f32" => |a, b, _| bits(extreme(f(a), f(b), false, false)),
        "max.f32" => |a, b, _| bits(extreme(f(a), f(b), true, false)),
        "min.NaN.f32" => |a, b, _| bits(extreme(f(a), f(b), false, true)),
        "max.NaN.f32" => |a, b, _| bits(extreme(f(a), f(b), true, true)),
        "div.rn.f32" | "div.full.f32" | "div.approx.f32" => |a, b, _| bits(f(a) / f(b)),
        "rcp.rn.f32" | "rcp.approx.f32" => |a, _, _| bits(1.0 / f(a)),
        "rcp.approx.ftz.f32" => |a, _, _| bits(flush(1.0 / flush(f(a)))),
        "sqrt.rn.f32" => |a, _, _| bits(f(a).sqrt()),
        "rsqrt.approx.f32" | "rsqrt.approx.ftz.f32" => |a, _, _| bits((1.0 / f64::from(f(a)).sqrt()) as f32),
        "ex2.approx.f32" => |a, _, _| bits(f64::from(f(a)).exp2() as f32),
        "ex2.approx.ftz.f32" => |a, _, _| bits(flush(f64::from(flush(f(a))).exp2() as f32)),
        "lg2.approx.f32" | "lg2.approx.ftz.f32" => |a, _, _| bits(f64::from(f(a)).log2() as f32),
        "tanh.approx.f32" => |a, _, _| bits(f64::from(f(a)).tanh() as f32),
        "add.f64" | "add.rn.f64" => |a, b, _| (f64::from_bits(a) + f64::from_bits(b)).to_bits(),
        "sub.f64" | "sub.rn.f64" => |a, b, _| (f64::from_bits(a) - f64::from_bits(b)).to_bits(),
        "mul.f64" | "mul.rn.f64" => |a, b, _| (f64::from_bits(a) * f64::from_bits(b)).to_bits(),
        "fma.rn.f64" => |a, b, c| f64::from_bits(a).mul_add(f64::from_bits(b), f64::from_bits(c)).to_bits(),
        "cvt.rn.f32.f64" => |a, _, _| bits(f64::from_bits(a) as f32),
        "cvt.f64.f32" => |a, _, _| f64::from(f(a)).to_bits(),
        "cvt.rn.bf16.f32" => |a, _, _| u64::from(bf16::from_f32(f(a)).to_bits()),
        "cvt.rn.f16.f32" => |a, _, _| u64::from(f16::from_f32(f(a)).to_bits()),
        "cvt.f32.f16" => |a, _, _| bits(f16::from_bits(a as u16).to_f32()),
        "cvt.f32.bf16" => |a, _, _| bits(bf16::from_bits(a as u16).to_f32()),
        "cvt.rn.bf16x2.f32" => {
            |a, b, _| u64::from(bf16::from_f32(f(a)).to_bits()) << 16 | u64::from(bf16::from_f32(f(b)).to_bits())
        }
        "cvt.rn.f16x2.f32" => {
            |a, b, _| u64::from(f16::from_f32(f(a)).to_bits()) << 16 | u64::from(f16::from_f32(f(b)).to_bits())
        }
        "cvt.rna.tf32.f32" => |a, _, _| bits(round_tf32(f(a))),
        "cvt.sat.f32.f32" => |a, _, _| bits(if f(a).is_nan() { 0.0 } else { f(a).clamp(0.0, 1.0) }),
        "cvt.rn.f32.s32" => |a, _, _| bits(a as i32 as f32),
        "cvt.rn.f32.u32" => |a, _, _| bits(a as u32 as f32),
        "cvt.rn.f32.s64" => |a, _, _| bits(a as i64 as f32),
        "cvt.rn.f32.u64" => |a, _, _| bits(a as f32),
        "cvt.rzi.s32.f32" => |a, _, _| f(a) as i32 as u32 as u64,
        "cvt.rni.s32.f32" => |a, _, _| f(a).round_ties_even() as i32 as u32 as u64,
        "cvt.rni.f32.f32" => |a, _, _| bits(f(a).round_ties_even()),
        "cvt.rmi.f32.f32" => |a, _, _| bits(f(a).floor()),
        "cvt.rzi.f32.f32" => |a, _, _| bits(f(a).trunc()),
        "copysign.f32" => |a, b, _| bits(f(b).copysign(f(a))),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_rounded_in_their_direction() {
        let one = 1.0f32;
        let tiny = f64::from(f32::EPSILON) / 8.0;
        assert_eq!(directed(1.0, tiny, true), one);
        assert_eq!(directed(1.0, -tiny, true), one.next_down());
        assert_eq!(directed(-1.0, -tiny, true), (-one).next_down());
        assert_eq!(directed(1.0, -tiny, false), one.next_down());
        assert_eq!(directed(-1.0, tiny, false), (-one).next_up());
        assert_eq!(directed(-1.0, -tiny, false), -one);
        // the f64 sum itself is rounded: what is lost counts
        assert_eq!(directed(1.0, -1e-300, true), one.next_down());
        assert_eq!(directed(1.0, 1e-300, true), one);
        assert_eq!(round_tf32(1.0 + 2.0f32.powi(-11)), 1.0 + 2.0f32.powi(-10));
    }
}
