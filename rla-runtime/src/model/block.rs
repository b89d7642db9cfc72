//! One block: `x + mixer(norm(x))`, then `x + down(swiglu(up(norm(x))))`.

use super::config::Config;
use super::fused::norm::rms_norm;
use super::fused::swiglu::swiglu;
use super::layer::Mixer;
use super::memory::Turn;
use super::weights::{Init, Weights};
use crate::error::Result;
use crate::op::Backend;
use candle_core::Tensor;

/// A block of the residual stream `[B T, D]`.
pub struct Block {
    /// The mixer over tokens.
    pub mixer: Mixer,
    /// `[D]`
    pub(super) norm_mixer: Tensor,
    /// `[D]`
    pub(super) norm_ff: Tensor,
    /// `[D, 2F]`, gate then value
    pub(super) up: Tensor,
    /// `[F, D]`
    pub(super) down: Tensor,
}

impl Block {
    /// Layer `index` of a checked configuration.
    pub fn new(config: &Config, index: usize, backend: Backend, weights: &mut Weights) -> Result<Self> {
        let mixer = Mixer::new(config, index, backend, weights)?;
        let (d, f) = (config.width, config.ff_size);
        let output = 0.02 / (2.0 * config.mixers.len() as f32).sqrt();
        let mut take = |name: &str, shape: &[usize], init| weights.take(format!("layers.{index}.{name}"), shape, init);
        Ok(Self {
            mixer,
            norm_mixer: take("norm_mixer.weight", &[d], Init::Ones)?,
            norm_ff: take("norm_ff.weight", &[d], Init::Ones)?,
            up: take("ff.up.weight", &[d, 2 * f], Init::Normal(0.02))?,
            down: take("ff.down.weight", &[f, d], Init::Normal(output))?,
        })
    }

    /// `x [B T, D]` to `[B T, D]`.
    pub fn forward(&self, x: &Tensor, batch: usize, tokens: usize, turn: Turn) -> Result<Tensor> {
        let x = (x + self.mixer.forward(&rms_norm(x, &self.norm_mixer)?, batch, tokens, turn)?)?;
        let inner = swiglu(&rms_norm(&x, &self.norm_ff)?.matmul(&self.up)?)?;
        Ok((&x + inner.matmul(&self.down)?)?)
    }
}
