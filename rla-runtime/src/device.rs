//! What a device offers. Only the CPU so far.
pub mod cpu;
