//! What the tests share: golden cases, comparison with the bounds of each rung, and random variants from a seed.
#![deny(unsafe_code)]

pub mod batch;
pub mod compare;
pub mod cut;
pub mod decode;
pub mod exact;
pub mod golden;
#[allow(unsafe_code)] // calls generated code
pub mod kernel;
pub mod mutant;
pub mod random_variant;
pub mod tile;
