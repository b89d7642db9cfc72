//! What the tests share: golden cases, comparison with the bounds of each rung, and random variants from a seed.
#![forbid(unsafe_code)]

pub mod compare;
pub mod golden;
pub mod random_variant;
