//! A compiled variant as text: all that a caller may rely on.

use crate::abi::Entry;
use rla_dsl::Recurrence;
pub use rla_dsl::identity::fingerprint;

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
    /// The chunk length of the forward with bf16 products; 0: there is none.
    pub chunk_bf16: usize,
    /// One line that says which configuration this is.
    pub configuration: String,
}

/// Kernels that were compiled into a program: one row of what a build script writes.
#[derive(Debug)]
pub struct Compiled {
    /// Entry name without the level.
    pub symbol: &'static str,
    /// Chunk-parallel or token by token.
    pub form: Form,
    /// The chunk length, 1 for token kernels.
    pub chunk: usize,
    /// The chunk length of the forward with bf16 products; 0: there is none.
    pub chunk_bf16: usize,
    /// One line that says which configuration this is.
    pub configuration: &'static str,
    /// Where the parameters come from, and which others were passed over, and why.
    pub tuning: &'static str,
    /// The entries by level, best first. Each fills in a table and does nothing else.
    pub entries: &'static [(Level, unsafe extern "C" fn() -> Entry)],
}

/// Entry name of a recurrence's kernels, without the level: `rla_`, the form, and a hash of the recurrence's canonical
/// text. Equal texts have equal names, in every crate and on every machine.
pub fn symbol(recurrence: &Recurrence, form: Form) -> String {
    let form = match form {
        Form::Chunk => 'c',
        Form::Token => 't',
    };
    format!("rla_{form}_{:032x}", rla_dsl::identity::identity(recurrence))
}
