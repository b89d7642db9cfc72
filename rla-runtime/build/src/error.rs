//! What may go wrong between a text and its code.
use std::fmt;
use std::path::{Path, PathBuf};

/// Why there is no compiled kernel.
#[derive(Debug)]
pub enum Error {
    /// The text is not a recurrence: diagnostics with their source lines.
    Recurrence(String),
    /// The kernel compiler refused or failed.
    Compile(String),
    /// No rustc was found.
    NoRustc {
        /// What was tried.
        program: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// rustc refused a generated text: a defect of ours.
    Rustc {
        /// The text.
        source: PathBuf,
        /// What rustc said.
        message: String,
    },
    /// NVRTC was not found; what the system said.
    NoNvrtc(String),
    /// NVRTC refused a generated text: a defect of ours.
    Nvrtc {
        /// The kernel.
        name: String,
        /// What it said.
        message: String,
    },
    /// A file or folder.
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A table of tunings that cannot be read.
    Table {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    pub(crate) fn file(path: &Path, reason: impl fmt::Display) -> Error {
        Error::File { path: path.to_path_buf(), reason: reason.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Recurrence(text) | Error::Compile(text) => f.write_str(text),
            Error::NoRustc { program, reason } => write!(
                f,
                "a variant that is not compiled in needs rustc, and `{}` does not run ({reason}); install Rust, or name a \
                 rustc in RUSTC, or use the interpreters (backend oracle or tile)",
                program.display()
            ),
            Error::Rustc { source, message } => {
                write!(f, "rustc refused the generated text {} (a defect of ours):\n{message}", source.display())
            }
            Error::NoNvrtc(reason) => write!(
                f,
                "CUDA kernels are compiled by NVRTC 13, which was not found ({reason}); install it with `python3 -m venv .cuda \
                 && .cuda/bin/pip install nvidia-cuda-nvrtc==13.0.88`, or name its folder in RLA_NVRTC"
            ),
            Error::Nvrtc { name, message } => {
                write!(f, "NVRTC refused the generated kernel {name} (a defect of ours):\n{message}")
            }
            Error::File { path, reason } => write!(f, "{}: {reason}", path.display()),
            Error::Table { path, reason } => write!(f, "{}: {reason}", path.display()),
        }
    }
}

impl std::error::Error for Error {}
