//! What the tests share: golden cases, comparison with the bounds of each rung, and random variants from a seed.
#![deny(unsafe_code)]

pub mod compare;
pub mod golden;
#[allow(unsafe_code)] // calls generated code
pub mod kernel;
pub mod random_variant;
pub mod tile;
