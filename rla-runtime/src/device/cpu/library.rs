//! Libraries of kernels that rustc made at run time.
use crate::error::{Error, Result};
use rla_codegen::abi;
use rla_codegen::kernel::Level;
use std::error::Error as _;
use std::path::Path;

/// A loaded library. Its functions live as long as the program: a library is never closed.
#[derive(Debug)]
pub struct Library(libloading::Library);

impl Library {
    /// Loads a library that rla-build compiled from a generated text.
    pub fn open(path: &Path) -> Result<Library> {
        // SAFETY: the file was made from text that our emitter wrote; it has no initialiser to run.
        let library = unsafe { libloading::Library::new(path) };
        let reason = |e: libloading::Error| e.source().map_or_else(|| e.to_string(), ToString::to_string);
        library.map(Library).map_err(|e| Error::Build(format!("{} cannot be loaded: {}", path.display(), reason(e))))
    }

    /// The kernels of one level, where the library has them.
    pub fn entry(&self, symbol: &str, level: Level) -> Option<abi::Entry> {
        let name = format!("{symbol}_{}\0", level.name());
        // SAFETY: the emitter gives a function of this name this signature; both sides compile the same `abi` text.
        let function = unsafe { self.0.get::<unsafe extern "C" fn() -> abi::Entry>(name.as_bytes()) }.ok()?;
        // SAFETY: as above; the function takes nothing and only fills in a table.
        Some(unsafe { function() })
    }

    /// Keeps the library until the program ends, so that its functions stay valid.
    pub fn leak(self) {
        std::mem::forget(self);
    }
}
