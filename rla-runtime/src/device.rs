//! What a device offers.
pub mod cpu;
pub mod cuda;
