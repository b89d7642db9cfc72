//! Scalar operations by name: a register's bits to bits, of which only as many count as the type has.
use super::{float, integer};
use crate::program::Scalar;

/// Reads so many bytes of a number.
pub(super) fn read(bytes: usize, signed: bool) -> Option<Scalar> {
    Some(match (bytes, signed) {
        (1, false) => |a, _, _| a as u8 as u64,
        (1, true) => |a, _, _| a as i8 as u64,
        (2, false) => |a, _, _| a as u16 as u64,
        (2, true) => |a, _, _| a as i16 as u64,
        (4, false) => |a, _, _| a as u32 as u64,
        (4, true) => |a, _, _| a as i32 as u64,
        (8, _) => |a, _, _| a,
        _ => return None,
    })
}

/// The operation of a name such as `add.s32`.
pub(super) fn of(name: &str) -> Option<Scalar> {
    if let Some(rest) = name.strip_prefix("mov.") {
        return Some(match rest {
            "u16" | "b16" | "s16" => |a, _, _| a as u16 as u64,
            "u32" | "b32" | "s32" | "f32" => |a, _, _| a as u32 as u64,
            "u64" | "b64" | "s64" | "f64" | "pred" => |a, _, _| a,
            _ => return None,
        });
    }
    // an address of one space is the same number in all of them
    if name.starts_with("cvta.") {
        return integer::convert_address(name);
    }
    if name.starts_with("selp.") {
        return Some(|a, b, p| if p != 0 { a } else { b });
    }
    integer::of(name).or_else(|| float::of(name))
}
