//! Language models of linear-attention layers over bytes: embedding, blocks of [norm, mixer, norm, SwiGLU], head.
//!
//! Dense products and their autodiff are candle's; the mixers' recurrences are compiled kernels behind
//! [`crate::op::candle`]; elementwise parts are fused (see [`fused`]). N = B T rows of the residual stream run through
//! all layers as `[N, D]`.

pub mod block;
pub mod config;
pub mod fused;
#[cfg(feature = "cuda-models")]
pub mod graph;
pub mod layer;
pub mod lm;
pub mod memory;
pub mod place;
pub mod weights;

pub use config::Config;
pub use lm::Lm;
pub use place::Place;
