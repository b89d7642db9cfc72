//! A compiled variant as text: all that a caller may rely on.

use rla_dsl::Recurrence;

/// Instruction sets of the CPU target, best first within an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// AVX-512 F, BW, DQ, VL.
    Avx512,
    /// AVX2 with FMA.
    Avx2,
    /// AArch64 Advanced SIMD.
    Neon,
    /// Arrays that the compiler may vectorise; any machine.
    Portable,
}

impl Level {
    /// The name used in entry names and tables.
    pub fn name(self) -> &'static str {
        match self {
            Level::Avx512 => "avx512",
            Level::Avx2 => "avx2",
            Level::Neon => "neon",
            Level::Portable => "portable",
        }
    }
}

/// Which family of kernels a text holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Chunk-parallel kernels: variants of the class.
    Chunk,
    /// Token-by-token kernels: every variant.
    Token,
}

/// Generated source of one variant's CPU kernels.
///
/// The text is `no_std` Rust that stands alone. For every level it defines
/// `#[unsafe(no_mangle)] pub extern "C" fn {symbol}_{level}() -> abi::Entry`.
#[derive(Clone, Debug)]
pub struct CpuKernel {
    /// Entry name without the level: `rla_` and the content hash of the recurrence.
    pub symbol: String,
    /// The levels the text holds.
    pub levels: Vec<Level>,
    /// The Rust source.
    pub source: String,
    /// The chunk length, 1 for token kernels.
    pub chunk: usize,
    /// One line that says which configuration this is.
    pub configuration: String,
}

/// Entry name of a recurrence's kernels, without the level: `rla_`, the form, and a hash of the recurrence's canonical
/// text. Equal texts have equal names, in every crate and on every machine.
pub fn symbol(recurrence: &Recurrence, form: Form) -> String {
    let form = match form {
        Form::Chunk => 'c',
        Form::Token => 't',
    };
    format!("rla_{form}_{:032x}", fingerprint(&[&rla_dsl::print(&undocumented(recurrence))]))
}

/// Without what does not change kernels: documentation and visibility.
fn undocumented(recurrence: &Recurrence) -> Recurrence {
    let mut bare = recurrence.clone();
    bare.public = true;
    bare.docs.clear();
    bare.inputs.iter_mut().for_each(|decl| decl.docs.clear());
    bare.consts.iter_mut().for_each(|decl| decl.docs.clear());
    bare.states.iter_mut().for_each(|decl| decl.docs.clear());
    bare.statements.iter_mut().for_each(|statement| statement.docs.clear());
    bare
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
