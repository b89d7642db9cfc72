//! Kernels: arguments checked, a kernel chosen, the call made.
pub mod args;
pub mod dispatch;
pub mod launch;
mod place;
pub mod throughput;
