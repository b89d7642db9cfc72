//! The definition in f64, token by token.
pub mod shape;
