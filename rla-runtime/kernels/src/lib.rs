//! The CPU kernels of built-in variants, generated and compiled by the build script.
//!
//! By default those of the variants that the models use; with the feature `all-variants` all of them. The kernels are
//! optimised in every profile: the build script compiles them by itself.
use rla_codegen::abi::Entry;
use rla_codegen::kernel::{Compiled, Form, Level};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// The kernels of a symbol, where they were compiled in.
pub fn lookup(symbol: &str) -> Option<&'static Compiled> {
    KERNELS.iter().find(|kernel| kernel.symbol == symbol)
}
