//! Generated kernels to code: from build scripts, and for variants that come at run time.
//!
//! A crate that defines variants of its own has one line in its build script: [`kernels`].
#![deny(unsafe_code)] // but for opening NVRTC, and for calling candidates of a search

pub mod clock;
pub mod compile;
pub mod compile_cuda;
pub mod draw;
pub mod error;
pub mod find;
pub mod judge;
pub mod machine;
pub mod memory;
pub mod quantile;
pub mod script;
pub mod table;
pub mod tune;
pub mod whole;

pub use error::Error;
pub use script::{builtin, builtin_names, cubins, kernels};
