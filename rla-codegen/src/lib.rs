//! The compiler: a recurrence in, kernels' text out.
//!
//! Reading order: `data`, `oracle` (the definition); `canon` (the class); `tile` (the program of one chunk);
//! `pass` (how one becomes the other, and its derivative); `schedule`, `emit` (text); `pipeline` (all of it, in order).
#![forbid(unsafe_code)]

pub mod abi;
pub mod canon;
pub mod data;
pub mod emit;
pub mod explain;
pub mod interpret;
pub mod kernel;
pub mod oracle;
pub mod pass;
pub mod pipeline;
pub mod schedule;
mod stack;
pub mod tile;
