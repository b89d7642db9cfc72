//! A CUDA driver library (`libcuda`) that executes PTX on the CPU.
//!
//! Where no GPU is, the generated CUDA kernels can still be run, slowly: this library answers the driver's calls that
//! `rla-runtime` makes, takes PTX for machine code (`RLA_CUDA_ARCH=compute_90a`), and executes it lane by lane, with warps in any
//! order, asynchronous copies and products of four warps as late as the text allows or at once, launches that overlap or do not,
//! and with every address checked.
//! So each rung of the ladder that runs on a GPU runs in a test.
//!
//! Reading order: `ptx` (text to statements), `lower` (statements to steps), `flow` (where ways meet), `warp` (32 lanes), `block` (warps, shared memory and
//! barriers), `race` (accesses that nothing orders), `launch` (grids), `memory` (the device's), `driver` (the C interface).
//!
//! Not a model of time, of caches or of the order in which the device's memory is seen by other blocks.
#![deny(unsafe_code)]

pub mod block;
pub mod driver;
pub mod fault;
pub mod flow;
pub mod launch;
pub mod lower;
pub mod memory;
pub mod order;
pub mod program;
pub mod ptx;
pub mod race;
pub mod warp;
