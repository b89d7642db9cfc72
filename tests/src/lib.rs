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

/// Says what ran, past the capture of the test runner: it is part of the result also where all is well.
pub fn say(line: impl std::fmt::Display) {
    use std::io::Write;
    let written = writeln!(std::io::stderr(), "{line}");
    // a closed stderr is no failure of the test
    drop(written);
}
