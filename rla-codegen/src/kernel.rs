//! A compiled variant as text: all that a caller may rely on.

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
