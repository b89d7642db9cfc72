//! The CPU kernels of built-in variants, generated and compiled by the build script.
//!
//! By default those of the variants that the models use; with the feature `all-variants` all of them. The kernels are
//! optimised in every profile: the build script compiles them by itself.
use rla_codegen::abi::Entry;
use rla_codegen::kernel::{Form, Level};

/// The kernels of one recurrence.
pub struct Kernel {
    /// Its entry name without the level: the hash of the recurrence's text.
    pub symbol: &'static str,
    /// Chunk-parallel or token by token.
    pub form: Form,
    /// Tokens of a chunk.
    pub chunk: usize,
    /// The configuration, in one line.
    pub configuration: &'static str,
    /// By level, best first.
    pub entries: &'static [(Level, unsafe extern "C" fn() -> Entry)],
}

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// The kernels of a symbol, where they were compiled in.
pub fn lookup(symbol: &str) -> Option<&'static Kernel> {
    KERNELS.iter().find(|kernel| kernel.symbol == symbol)
}
