//! What goes wrong: a text that is not understood, or a kernel that does what it must not.
use std::fmt;

/// A refusal or a kernel's mistake, with the line of the PTX text where it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line of the text, from 1.
    pub line: usize,
    /// What it is.
    pub message: String,
}

impl Fault {
    /// A fault at a line.
    pub fn at(line: usize, message: impl Into<String>) -> Fault {
        Fault { line, message: message.into() }
    }

    /// The same with where it happened before it.
    pub fn within(self, place: &str) -> Fault {
        Fault { message: format!("{place}: {}", self.message), ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.message),
            line => write!(f, "line {line} of the PTX: {}", self.message),
        }
    }
}

impl std::error::Error for Fault {}

/// A result or a [`Fault`].
pub type Result<T> = std::result::Result<T, Fault>;
