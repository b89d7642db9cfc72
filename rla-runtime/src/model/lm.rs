//! A language model over bytes: embedding, blocks, norm, head.

use super::block::Block;
use super::config::{Config, VOCABULARY};
use super::fused::embedding::embedding;
use super::fused::entropy::cross_entropy;
use super::fused::norm::rms_norm;
use super::memory::{Memory, Turn};
use super::weights::{Init, Parameter, Weights};
use crate::error::{Error, Result};
use crate::op::Backend;
use crate::op::candle::Pool;
use candle_core::{Device, Tensor};
use std::sync::Arc;
use std::time::Duration;

/// A model and its variables.
pub struct Lm {
    config: Config,
    backend: Backend,
    /// `[256, D]`
    pub(super) embedding: Tensor,
    pub(super) blocks: Vec<Block>,
    /// `[D]`
    pub(super) norm: Tensor,
    /// `[256, D]`; the embedding where the head is tied.
    pub(super) head: Tensor,
    parameters: Vec<Parameter>,
    without_residual: bool,
}

impl Lm {
    /// A model with drawn or loaded weights.
    pub fn new(config: &Config, backend: Backend, mut weights: Weights) -> Result<Self> {
        config.check()?;
        let d = config.width;
        let embedding = weights.take("embedding.weight".into(), &[VOCABULARY, d], Init::Normal(0.02))?;
        let block = |i| Block::new(config, i, backend, &mut weights);
        let blocks = (0..config.mixers.len()).map(block).collect::<Result<Vec<_>>>()?;
        let norm = weights.take("norm.weight".into(), &[d], Init::Ones)?;
        let head = match config.tied_head {
            true => embedding.clone(),
            false => weights.take("head.weight".into(), &[VOCABULARY, d], Init::Normal(0.02))?,
        };
        let parameters = weights.finish()?;
        Ok(Self { config: config.clone(), backend, embedding, blocks, norm, head, parameters, without_residual: false })
    }

    /// What the model is made of.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where its tensors live.
    pub fn device(&self) -> &Device {
        self.embedding.device()
    }

    /// Its variables, in a fixed order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// From now on, evaluates with the residual memory R forced to zero (gamma = 0), to see what it contributes.
    pub fn remove_residual(&mut self) {
        self.without_residual = true;
    }

    /// The same model with the same variables, recording no graph: for evaluation and generation. It sees later
    /// changes of the variables.
    pub fn frozen(&self) -> Result<Self> {
        Self::new(&self.config, self.backend, Weights::shared(&self.parameters))
    }

    /// Time spent in the recurrences' kernels so far.
    pub fn kernel_time(&self) -> Duration {
        self.blocks.iter().map(|b| b.mixer.recurrent().time()).sum()
    }

    /// One line on the kernels that run: which form and configuration.
    pub fn kernels(&self) -> String {
        let mut lines: Vec<String> = self.blocks.iter().map(|b| b.mixer.recurrent().describe()).collect();
        lines.dedup();
        lines.join("; ")
    }

    /// Memory for `slots` sequences, all empty.
    pub fn memory(&self, slots: usize) -> Result<Memory> {
        let layers: Vec<_> = self.blocks.iter().map(|b| (b.mixer.recurrent(), b.mixer.problem(1, 1))).collect();
        let pools = Pool::of_layers(&layers, slots, self.embedding.device())?;
        let layers = self.blocks.iter().zip(pools).map(|(block, pool)| block.mixer.memory(pool, slots));
        Ok(Memory::new(layers.collect::<Result<_>>()?, slots))
    }

    /// Logits `[B T, 256]` of `batch` sequences of equal length, from zero states, with gradients.
    pub fn logits(&self, tokens: &[u8], batch: usize) -> Result<Tensor> {
        self.run(tokens, batch, None, &[])
    }

    /// Logits `[B T, 256]` of the next tokens of sequences that live in memory: sequence b goes on from `slots[b]`.
    /// One token a sequence runs the decode kernels, more of them the chunk kernels.
    pub fn next(&self, tokens: &[u8], memory: &mut Memory, slots: &[usize]) -> Result<Tensor> {
        memory.check(slots)?;
        self.run(tokens, slots.len(), Some(memory), slots)
    }

    /// Mean loss in nats a byte of windows `[B, T+1]`: each byte but the first is predicted from those before it.
    pub fn loss(&self, windows: &[u8], batch: usize) -> Result<Tensor> {
        let length = windows.len() / batch.max(1);
        if batch == 0 || length < 2 || windows.len() != batch * length {
            return Err(Error::argument("windows", "rows of equal length, at least 2", format!("{}", windows.len())));
        }
        let rows = || windows.chunks_exact(length);
        let inputs: Vec<u8> = rows().flat_map(|row| &row[..length - 1]).copied().collect();
        let targets: Vec<u8> = rows().flat_map(|row| &row[1..]).copied().collect();
        Ok(cross_entropy(&self.logits(&inputs, batch)?, Arc::new(targets))?)
    }

    fn run(&self, tokens: &[u8], batch: usize, mut memory: Option<&mut Memory>, slots: &[usize]) -> Result<Tensor> {
        if batch == 0 || tokens.is_empty() || !tokens.len().is_multiple_of(batch) {
            let found = format!("{} tokens for {batch} sequences", tokens.len());
            return Err(Error::argument("tokens", "as many for each sequence, at least one", found));
        }
        let length = tokens.len() / batch;
        let mut x = embedding(&self.embedding, tokens)?;
        for (i, block) in self.blocks.iter().enumerate() {
            let memory = memory.as_mut().map(|m| &mut m.layers[i]);
            x = block.forward(&x, batch, length, Turn { memory, slots, without_residual: self.without_residual })?;
        }
        Ok(rms_norm(&x, &self.norm)?.matmul(&self.head.t()?)?)
    }
}
