//! Generated kernels to code: from build scripts, and for variants that come at run time.
//!

#![forbid(unsafe_code)]

pub mod compile;
pub mod error;
pub mod find;

pub use error::Error;
