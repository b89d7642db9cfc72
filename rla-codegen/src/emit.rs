//! Tile programs to source text, one module a target.

pub mod cpu;
