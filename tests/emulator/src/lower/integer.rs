//! Operations on integers and bits.
use crate::program::Scalar;

/// First of the generic addresses of a block's shared memory.
pub const SHARED_WINDOW: u64 = 0x7000_0000_0000;

/// `cvta`: shared memory has a window of its own among the generic addresses.
pub(super) fn convert_address(name: &str) -> Option<Scalar> {
    Some(match name {
        "cvta.to.global.u64" | "cvta.global.u64" => |a, _, _| a,
        "cvta.to.shared.u64" => |a, _, _| a.wrapping_sub(SHARED_WINDOW),
        "cvta.shared.u64" => |a, _, _| a.wrapping_add(SHARED_WINDOW),
        _ => return None,
    })
}

/// `bfi`: `c` is the place of the field in its second byte, and its length in the first.
pub(super) fn insert(a: u64, b: u64, c: u64) -> u64 {
    let (place, length) = (c >> 8, c & 255);
    let mask = (((1u64 << length) - 1) << place) & u64::from(u32::MAX);
    (b as u32 as u64 & !mask) | ((a << place) & mask)
}

fn permute(a: u64, b: u64, c: u64) -> u64 {
    let bytes = u64::from(a as u32) | (u64::from(b as u32) << 32);
    (0..4).fold(0, |out, i| {
        let pick = c >> (4 * i) & 15;
        let byte = bytes >> (8 * (pick & 7)) & 255;
        let byte = if pick & 8 != 0 { if byte & 128 != 0 { 255 } else { 0 } } else { byte };
        out | byte << (8 * i)
    })
}

macro_rules! pair {
    ($t:ty, $f:expr) => {
        Some(
            (|a, b, _| {
                let f: fn($t, $t) -> $t = $f;
                f(a as $t, b as $t) as u64
            }) as Scalar,
        )
    };
}

macro_rules! compare {
    ($t:ty, $word:expr) => {
        match $word {
            "eq" => Some((|a, b, _| u64::from(a as $t == b as $t)) as Scalar),
            "ne" => Some((|a, b, _| u64::from(a as $t != b as $t)) as Scalar),
            "lt" | "lo" => Some((|a, b, _| u64::from((a as $t) < b as $t)) as Scalar),
            "le" | "ls" => Some((|a, b, _| u64::from(a as $t <= b as $t)) as Scalar),
            "gt" | "hi" => Some((|a, b, _| u64::from(a as $t > b as $t)) as Scalar),
            "ge" | "hs" => Some((|a, b, _| u64::from(a as $t >= b as $t)) as Scalar),
            _ => None,
        }
    };
}

/// Shifts by more than the width leave nothing, or the sign.
macro_rules! shifts {
    ($t:ty, $left:expr) => {
        if $left {
            Some((|a, b, _| (a as $t).checked_shl(b as u32).unwrap_or(0) as u64) as Scalar)
        } else {
            Some(
                (|a, b, _| {
                    let inside = <$t>::MIN != 0 || (b as u32) < <$t>::BITS;
                    if inside { ((a as $t) >> (b as u32).min(<$t>::BITS - 1)) as u64 } else { 0 }
                }) as Scalar,
            )
        }
    };
}

/// The operation of a name.
pub(super) fn of(name: &str) -> Option<Scalar> {
    if let Some(rest) = name.strip_prefix("setp.") {
        let (word, kind) = rest.split_once('.')?;
        return match kind {
            "s16" => compare!(i16, word),
            "u16" | "b16" => compare!(u16, word),
            "s32" => compare!(i32, word),
            "u32" | "b32" => compare!(u32, word),
            "s64" => compare!(i64, word),
            "u64" | "b64" => compare!(u64, word),
            _ => None,
        };
    }
    if let Some(rest) = name.strip_prefix("cvt.") {
        return convert(rest);
    }
    match name {
        "add.s16" | "add.u16" => pair!(u16, |a, b| a.wrapping_add(b)),
        "add.s32" | "add.u32" => pair!(u32, |a, b| a.wrapping_add(b)),
        "add.s64" | "add.u64" => pair!(u64, |a, b| a.wrapping_add(b)),
        "sub.s16" | "sub.u16" => pair!(u16, |a, b| a.wrapping_sub(b)),
        "sub.s32" | "sub.u32" => pair!(u32, |a, b| a.wrapping_sub(b)),
        "sub.s64" | "sub.u64" => pair!(u64, |a, b| a.wrapping_sub(b)),
        "mul.lo.s16" | "mul.lo.u16" => pair!(u16, |a, b| a.wrapping_mul(b)),
        "mul.lo.s32" | "mul.lo.u32" => pair!(u32, |a, b| a.wrapping_mul(b)),
        "mul.lo.s64" | "mul.lo.u64" => pair!(u64, |a, b| a.wrapping_mul(b)),
        "mul.hi.u32" => Some(|a, b, _| (u64::from(a as u32) * u64::from(b as u32)) >> 32),
        "mul.hi.s32" => Some(|a, b, _| ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32 as u64),
        "mul.hi.u64" => Some(|a, b, _| ((u128::from(a) * u128::from(b)) >> 64) as u64),
        "mul.wide.u16" => Some(|a, b, _| u64::from(a as u16) * u64::from(b as u16)),
        "mul.wide.s16" => Some(|a, b, _| (i32::from(a as i16) * i32::from(b as i16)) as u32 as u64),
        "mul.wide.u32" => Some(|a, b, _| u64::from(a as u32) * u64::from(b as u32)),
        "mul.wide.s32" => Some(|a, b, _| (i64::from(a as i32) * i64::from(b as i32)) as u64),
        "mad.lo.s32" | "mad.lo.u32" => Some(|a, b, c| (a as u32).wrapping_mul(b as u32).wrapping_add(c as u32) as u64),
        "mad.lo.s64" | "mad.lo.u64" => Some(|a, b, c| a.wrapping_mul(b).wrapping_add(c)),
        "mad.wide.u32" => Some(|a, b, c| (u64::from(a as u32) * u64::from(b as u32)).wrapping_add(c)),
        "mad.wide.s32" => Some(|a, b, c| ((i64::from(a as i32) * i64::from(b as i32)) as u64).wrapping_add(c)),
        // a divisor of zero gives what the hardware's code gives: anything
        "div.s32" => pair!(i32, |a, b| a.checked_div(b).unwrap_or(-1)),
        "div.u32" => pair!(u32, |a, b| a.checked_div(b).unwrap_or(u32::MAX)),
        "div.s64" => pair!(i64, |a, b| a.checked_div(b).unwrap_or(-1)),
        "div.u64" => pair!(u64, |a, b| a.checked_div(b).unwrap_or(u64::MAX)),
        "rem.s32" => pair!(i32, |a, b| a.checked_rem(b).unwrap_or(-1)),
        "rem.u32" => pair!(u32, |a, b| a.checked_rem(b).unwrap_or(u32::MAX)),
        "rem.s64" => pair!(i64, |a, b| a.checked_rem(b).unwrap_or(-1)),
        "rem.u64" => pair!(u64, |a, b| a.checked_rem(b).unwrap_or(u64::MAX)),
        "min.s16" => pair!(i16, |a, b| a.min(b)),
        "max.s16" => pair!(i16, |a, b| a.max(b)),
        "min.s32" => pair!(i32, |a, b| a.min(b)),
        "max.s32" => pair!(i32, |a, b| a.max(b)),
        "min.u32" => pair!(u32, |a, b| a.min(b)),
        "max.u32" => pair!(u32, |a, b| a.max(b)),
        "min.s64" => pair!(i64, |a, b| a.min(b)),
        "max.s64" => pair!(i64, |a, b| a.max(b)),
        "min.u64" => pair!(u64, |a, b| a.min(b)),
        "max.u64" => pair!(u64, |a, b| a.max(b)),
        "neg.s32" => Some(|a, _, _| (a as u32).wrapping_neg() as u64),
        "neg.s64" => Some(|a, _, _| a.wrapping_neg()),
        "abs.s32" => Some(|a, _, _| (a as i32).unsigned_abs() as u64),
        "abs.s64" => Some(|a, _, _| (a as i64).unsigned_abs()),
        "and.b16" | "and.b32" | "and.b64" | "and.pred" => Some(|a, b, _| a & b),
        "or.b16" | "or.b32" | "or.b64" | "or.pred" => Some(|a, b, _| a | b),
        "xor.b16" | "xor.b32" | "xor.b64" | "xor.pred" => Some(|a, b, _| a ^ b),
        "not.pred" => Some(|a, _, _| u64::from(a == 0)),
        "not.b16" => Some(|a, _, _| !a as u16 as u64),
        "not.b32" => Some(|a, _, _| !a as u32 as u64),
        "not.b64" => Some(|a, _, _| !a),
        "shl.b16" => shifts!(u16, true),
        "shl.b32" => shifts!(u32, true),
        "shl.b64" => shifts!(u64, true),
        "shr.u16" | "shr.b16" => shifts!(u16, false),
        "shr.u32" | "shr.b32" => shifts!(u32, false),
        "shr.u64" | "shr.b64" => shifts!(u64, false),
        "shr.s16" => shifts!(i16, false),
        "shr.s32" => shifts!(i32, false),
        "shr.s64" => shifts!(i64, false),
        "popc.b32" => Some(|a, _, _| u64::from((a as u32).count_ones())),
        "brev.b32" => Some(|a, _, _| u64::from((a as u32).reverse_bits())),
        "bfind.shiftamt.u32" => {
            Some(|a, _, _| if a as u32 == 0 { u64::from(!0u32) } else { u64::from((a as u32).leading_zeros()) })
        }
        "clz.b32" => Some(|a, _, _| u64::from((a as u32).leading_zeros())),
        "prmt.b32" => Some(permute),
        "bfi.b32" => Some(insert),
        _ => None,
    }
}

/// Conversions between integers: what a narrower type cannot hold is cut.
fn convert(rest: &str) -> Option<Scalar> {
    let (to, from) = rest.split_once('.')?;
    Some(match (to, from) {
        ("u16" | "s16", "u32" | "s32" | "u64" | "s64") => |a, _, _| a as u16 as u64,
        ("u16" | "u32" | "u64" | "s16" | "s32" | "s64", "u8") => |a, _, _| a as u8 as u64,
        ("u16" | "s16", "s8") => |a, _, _| a as i8 as u16 as u64,
        ("u32" | "s32", "s8") => |a, _, _| a as i8 as u32 as u64,
        ("u64" | "s64", "s8") => |a, _, _| a as i8 as u64,
        ("u32" | "u64" | "s32" | "s64", "u16") => |a, _, _| a as u16 as u64,
        ("u32" | "s32", "s16") => |a, _, _| a as i16 as u32 as u64,
        ("u64" | "s64", "s16") => |a, _, _| a as i16 as u64,
        ("u32" | "s32", "u64" | "s64") => |a, _, _| a as u32 as u64,
        ("u64" | "s64", "u32") => |a, _, _| a as u32 as u64,
        ("u64" | "s64", "s32") => |a, _, _| a as i32 as u64,
        ("u8" | "s8", _) => |a, _, _| a as u8 as u64,
        _ => return None,
    })
}
