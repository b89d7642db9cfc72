//! Which kernel runs: a function of variant, types, sizes and device, never of B, N or T.
use crate::error::{Error, Result};
use rla_codegen::abi;
use rla_codegen::kernel::{Form, Level};

/// A kernel that can be called.
pub struct Kernel {
    pub(super) entry: abi::Entry,
    /// What it is and why others were passed over.
    pub report: Report,
}

/// Which kernel runs, and why others do not.
#[derive(Clone, Debug)]
pub struct Report {
    /// Instruction set.
    pub level: Level,
    /// Chunk-parallel or token by token.
    pub form: Form,
    /// Tokens of a chunk; 1 for token by token.
    pub chunk: usize,
    /// One line: the configuration that was compiled.
    pub configuration: String,
    /// Compiled into this program, or a library made by rustc.
    pub origin: String,
    /// What would have come first, and why it was passed over.
    pub passed_over: Vec<String>,
}

impl Kernel {
    /// Floats of working memory.
    pub(super) fn scratch(&self, pass: u32, sizes: &[usize]) -> Result<usize> {
        let ask = self.entry.scratch.ok_or_else(|| Error::unsupported("kernel", "it states no scratch size"))?;
        // SAFETY: `sizes` has one entry a side, checked by `args`.
        Ok(unsafe { ask(pass, sizes.as_ptr()) })
    }

    /// Floats that forward keeps for one sequence and head.
    pub(super) fn saved(&self, tokens: usize, sizes: &[usize]) -> Result<usize> {
        let ask = self.entry.saved.ok_or_else(|| Error::unsupported("kernel", "it keeps nothing for backward"))?;
        // SAFETY: as for `scratch`.
        Ok(unsafe { ask(tokens, sizes.as_ptr()) })
    }
}
