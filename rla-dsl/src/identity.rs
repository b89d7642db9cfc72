//! What makes two recurrences the same to a compiler, as a number: kernels are named and found by it.

use crate::print::print;
use crate::recurrence::Recurrence;

/// A hash of the canonical text without documentation and visibility, which change no kernel. Equal on every machine.
pub fn identity(recurrence: &Recurrence) -> u128 {
    let mut bare = recurrence.clone();
    bare.public = true;
    bare.docs.clear();
    bare.inputs.iter_mut().for_each(|decl| decl.docs.clear());
    bare.consts.iter_mut().for_each(|decl| decl.docs.clear());
    bare.states.iter_mut().for_each(|decl| decl.docs.clear());
    bare.statements.iter_mut().for_each(|statement| statement.docs.clear());
    fingerprint(&[&print(&bare)])
}

/// FNV-1a of 128 bits over the parts and their lengths.
pub fn fingerprint(parts: &[&str]) -> u128 {
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for part in parts {
        for byte in part.len().to_le_bytes().iter().chain(part.as_bytes()) {
            hash = (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
    hash
}

/// The environment variable by which a crate's build script tells `rla_variant!` where the kernels of a recurrence are:
/// a Rust file that describes them.
pub fn kernels_variable(recurrence: &Recurrence) -> String {
    format!("RLA_KERNELS_{:032X}", identity(recurrence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_and_visibility_are_no_part_of_it() {
        let of = |text: &str| identity(&crate::parse(text).unwrap().variants[0]);
        let body = "{ input v: value; state S: value; S[t] = S[t-1] + v; output o = S[t]; }";
        let bare = of(&format!("variant a {body}"));
        assert_eq!(
            bare,
            of(&format!("/// Sums.\npub variant a {}", body.replace("input", "/// What is summed.\ninput")))
        );
        assert_ne!(bare, of(&format!("variant b {body}")));
        assert_ne!(bare, of(&format!("variant a {}", body.replace('+', "-"))));
    }
}
