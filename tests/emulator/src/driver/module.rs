//! Modules and their kernels.
#![allow(unsafe_code)] // an image's length is known only by reading it
use crate::lower::lower;
use crate::program::Program;
use crate::ptx::module::parse;
use std::ffi::{CStr, c_char};
use std::sync::Arc;

/// Loaded kernels, by handle.
#[derive(Default)]
pub(super) struct Modules {
    modules: usize,
    /// A kernel's module and its program.
    kernels: Vec<(usize, Arc<Program>)>,
}

/// The PTX of an image.
///
/// # Safety
/// The image is PTX that ends in NUL, or a machine code, which begins with a byte that is none of PTX's.
pub(super) unsafe fn text(image: *const c_char) -> Result<String, String> {
    // SAFETY: an image has a first byte.
    if unsafe { *image } == 0x7f {
        return Err("machine code; set RLA_CUDA_ARCH=compute_90a to hand over PTX".into());
    }
    // SAFETY: the caller's promise is the same.
    Ok(unsafe { CStr::from_ptr(image) }.to_string_lossy().into_owned())
}

impl Modules {
    /// The handle of a text's module.
    pub fn load(&mut self, text: &str) -> Result<usize, String> {
        for entry in parse(text).map_err(|fault| fault.to_string())? {
            let program = lower(&entry).map_err(|fault| fault.within(&entry.name).to_string())?;
            self.kernels.push((self.modules + 1, Arc::new(program)));
        }
        self.modules += 1;
        Ok(self.modules)
    }

    /// The handle of a module's kernel.
    pub fn function(&self, module: usize, name: &str) -> Option<usize> {
        self.kernels.iter().position(|(m, program)| *m == module && program.name == name).map(|at| at + 1)
    }

    /// The program of a handle.
    pub fn program(&self, function: usize) -> Option<Arc<Program>> {
        self.kernels.get(function.checked_sub(1)?).map(|(_, program)| program.clone())
    }
}
