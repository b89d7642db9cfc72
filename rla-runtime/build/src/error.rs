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
            Error::File { path, reason } => write!(f, "{}: {reason}", path.display()),
            Error::Table { path, reason } => write!(f, "{}: {reason}", path.display()),
        }
    }
}

impl std::error::Error for Error {}
