//! Tile programs to source text, one module a target.

pub mod cpu;
pub mod cuda;
pub(crate) mod graph;
pub(crate) mod step;
pub(crate) mod system;
pub(crate) mod text;
