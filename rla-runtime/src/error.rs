//! Everything that a call may answer instead of a result.
use crate::case::CaseError;
use std::fmt;
use std::path::PathBuf;

/// Why a call was refused or could not be done.
#[derive(Debug)]
pub enum Error {
    /// An argument does not fit: which one, what was expected, what came.
    Argument {
        /// The argument, by its name in the recurrence (`q`, `S0`, `cu_seqlens`, `cot.o` ...).
        argument: String,
        /// What would have been accepted.
        expected: String,
        /// What was given.
        found: String,
    },
    /// The request is meaningful, but nothing here can do it.
    Unsupported {
        /// What was asked for.
        what: String,
        /// Why it is not to be had.
        reason: String,
    },
    /// A case file does not fit, or is none.
    Case(CaseError),
    /// The text is not a recurrence; the diagnostics, rendered with their source lines.
    Recurrence(String),
    /// The compiler refused or failed.
    Compile(String),
    /// rustc is missing, or failed on a generated text.
    Build(String),
    /// A file could not be read or written.
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// The result of everything fallible here.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An argument that does not fit.
    pub fn argument(argument: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Error {
        Error::Argument { argument: argument.into(), expected: expected.into(), found: found.into() }
    }

    /// Something that cannot be had, and why.
    pub fn unsupported(what: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Unsupported { what: what.into(), reason: reason.into() }
    }

    /// A file that could not be read or written.
    pub fn file(path: impl Into<PathBuf>, reason: impl fmt::Display) -> Error {
        Error::File { path: path.into(), reason: reason.to_string() }
    }

    /// The exit code of the program: 2 bad input, 3 cannot be had, 4 compiler, 5 rustc, 6 files.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Argument { .. } | Error::Case(_) | Error::Recurrence(_) => 2,
            Error::Unsupported { .. } => 3,
            Error::Compile(_) => 4,
            Error::Build(_) => 5,
            Error::File { .. } => 6,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Argument { argument, expected, found } => {
                write!(f, "`{argument}`: expected {expected}, found {found}")
            }
            Error::Case(error) => write!(f, "{error}"),
            Error::Unsupported { what, reason } => write!(f, "{what}: {reason}"),
            Error::Recurrence(text) | Error::Compile(text) | Error::Build(text) => f.write_str(text),
            Error::File { path, reason } => write!(f, "{}: {reason}", path.display()),
        }
    }
}

impl From<rla_build::Error> for Error {
    fn from(error: rla_build::Error) -> Error {
        match error {
            rla_build::Error::Recurrence(text) => Error::Recurrence(text),
            rla_build::Error::Compile(text) => Error::Compile(text),
            rla_build::Error::File { path, reason } => Error::File { path, reason },
            other => Error::Build(other.to_string()),
        }
    }
}

impl std::error::Error for Error {}
