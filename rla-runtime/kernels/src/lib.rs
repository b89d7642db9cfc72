//! The CPU kernels of built-in variants, generated and compiled by the build script.
//!
//! By default those of the variants that the models use; with the feature `all-variants` all of them. The kernels are
//! optimised in every profile: the build script compiles them by itself. With the feature `cubins` CUDA machine code beside them.
// what the table names; one without rows, as for documentation, names less
#[allow(unused_imports)]
use rla_codegen::{
    abi::Entry,
    kernel::{Compiled, Form, Level},
};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// The kernels of a symbol, where they were compiled in.
pub fn lookup(symbol: &str) -> Option<&'static Compiled> {
    KERNELS.iter().find(|kernel| kernel.symbol == symbol)
}

#[cfg(feature = "cubins")]
mod cubins {
    include!(concat!(env!("OUT_DIR"), "/cubins.rs"));

    /// CUDA machine code by the name of its text and architecture, and what the assembler said, where it was compiled in.
    pub fn cubin(stem: &str) -> Option<(&'static [u8], &'static str)> {
        CUBINS.iter().find(|(name, ..)| *name == stem).map(|(_, bytes, log)| (*bytes, *log))
    }
}
#[cfg(feature = "cubins")]
pub use cubins::cubin;
