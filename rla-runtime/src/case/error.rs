//! What can be wrong with a case file.
use rla_codegen::oracle::Misfit;
use std::fmt;
use std::path::PathBuf;

/// Why a case could not be read or written. Each names the file or the tensor.
#[derive(Debug)]
pub enum CaseError {
    /// The file could not be read.
    Read(PathBuf, std::io::Error),
    /// The file could not be written.
    Write(PathBuf, std::io::Error),
    /// Not a safetensors file, or a damaged one.
    Format(PathBuf, String),
    /// A tensor that belongs to no input, state, output, cotangent or gradient of the variant.
    UnknownTensor(String),
    /// An input or parameter that the file lacks.
    MissingInput(String),
    /// A tensor of a type that is not read.
    Type {
        /// The tensor.
        name: String,
        /// Which types would do.
        expected: &'static str,
        /// Its type.
        found: String,
    },
    /// A tensor whose shape does not fit the others.
    Shape {
        /// The tensor.
        name: String,
        /// The axes, with the sizes that earlier tensors gave.
        expected: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A size that no tensor of the file tells.
    UnknownSize(String),
    /// The metadata's `constants` is not a JSON object of numbers.
    Constants(String),
    /// A constant that the variant lacks.
    UnknownConstant(String),
    /// Offsets or head counts that do not fit.
    Misfit(Misfit),
}

impl fmt::Display for CaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaseError::Read(path, error) => write!(f, "{}: cannot be read: {error}", path.display()),
            CaseError::Write(path, error) => write!(f, "{}: cannot be written: {error}", path.display()),
            CaseError::Format(path, reason) => write!(f, "{}: not a safetensors file: {reason}", path.display()),
            CaseError::UnknownTensor(name) => write!(
                f,
                "tensor `{name}`: neither an input, an initial state, `cu_seqlens`, nor out.*, cot.* or grad.* of the variant"
            ),
            CaseError::MissingInput(name) => write!(f, "input `{name}`: missing from the case"),
            CaseError::Type { name, expected, found } => {
                write!(f, "tensor `{name}`: expected {expected}, found {found}")
            }
            CaseError::Shape { name, expected, found } => {
                write!(f, "tensor `{name}`: expected shape {expected}, found {found:?}")
            }
            CaseError::UnknownSize(size) => write!(f, "no tensor of the case tells {size}"),
            CaseError::Constants(reason) => write!(f, "metadata `constants`: {reason}"),
            CaseError::UnknownConstant(name) => write!(f, "constant `{name}`: the variant has no such constant"),
            CaseError::Misfit(misfit) => write!(f, "{misfit}"),
        }
    }
}

impl std::error::Error for CaseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CaseError::Read(_, error) | CaseError::Write(_, error) => Some(error),
            CaseError::Misfit(misfit) => Some(misfit),
            _ => None,
        }
    }
}

impl From<Misfit> for CaseError {
    fn from(misfit: Misfit) -> CaseError {
        CaseError::Misfit(misfit)
    }
}
