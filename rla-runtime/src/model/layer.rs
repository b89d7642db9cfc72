//! The mixer of a block: projections, short convolution, gates, the recurrence, gated norm, projection back.

use super::config::Config;
use super::fused::conv::{self, short_conv};
use super::fused::gates::gates;
use super::fused::norm::gated_norm;
use super::memory::{LayerMemory, Turn};
use super::weights::{Init, Weights};
use crate::error::{Error, Result};
use crate::op::Backend;
use crate::op::candle::{Columns, Pool, Recurrent};
use crate::problem::Problem;
use candle_core::Tensor;

/// One layer's mixer. N = B T rows in and out; the recurrence sees `[B,T,heads,size]` as views of packed rows.
pub struct Mixer {
    pub(super) recurrent: Recurrent,
    /// Where the recurrence's inputs lie, in its order: source 0 is q|k|v, source 1 the gates.
    pub(super) columns: Vec<Columns>,
    pub(super) heads: Heads,
    /// `[D, 2HK + HV V]`
    pub(super) project: Tensor,
    /// `[4, 2HK + HV V]`
    pub(super) convolution: Tensor,
    /// `[D, groups HV]`
    pub(super) project_gates: Tensor,
    /// `[HV]`
    pub(super) a_log: Tensor,
    /// `[HV]`
    pub(super) dt_bias: Tensor,
    /// `[D, HV V]`
    pub(super) project_output_gate: Tensor,
    /// `[V]`
    pub(super) norm: Tensor,
    /// `[HV V, D]`
    pub(super) project_output: Tensor,
    /// Whether gamma is an input: the residual memory R is then written and read through it alone.
    gamma: Option<usize>,
}

#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub(super) key_heads: usize,
    pub(super) value_heads: usize,
    pub(super) key_size: usize,
    pub(super) value_size: usize,
}

impl Mixer {
    /// Layer `index` of a checked configuration.
    pub fn new(config: &Config, index: usize, backend: Backend, weights: &mut Weights) -> Result<Self> {
        let variant = &config.mixers[index];
        let recurrent = Recurrent::builtin(variant, backend, &[("clip", config.clip)])?;
        let heads = Heads {
            key_heads: config.key_heads,
            value_heads: config.value_heads,
            key_size: config.key_size,
            value_size: config.value_size,
        };
        let key = heads.key_heads * heads.key_size;
        let hv = heads.value_heads;
        let mut groups = 0;
        let mut gamma = None;
        let mut columns = Vec::new();
        // The log decay is the first group of gates, whatever the variant's order; sigmoids follow.
        let mut sigmoids = 1;
        for input in &recurrent.recurrence().inputs {
            let mut sigmoid = || {
                sigmoids += 1;
                Columns { source: 1, start: (sigmoids - 1) * hv }
            };
            columns.push(match input.name.as_str() {
                "q" => Columns { source: 0, start: 0 },
                "k" => Columns { source: 0, start: key },
                "v" => Columns { source: 0, start: 2 * key },
                "g" => Columns { source: 1, start: 0 },
                "beta" => sigmoid(),
                "gamma" => {
                    let columns = sigmoid();
                    gamma = Some(columns.start / hv);
                    columns
                }
                other => {
                    let reason = format!("its input `{other}` is none that the layer makes (q, k, v, g, beta, gamma)");
                    return Err(Error::unsupported(format!("a layer of `{variant}`"), reason));
                }
            });
            groups = sigmoids;
        }
        let (d, packed, value) = (config.width, config.packed(), hv * heads.value_size);
        // the residual stream adds two outputs a layer: their scale falls with depth, as in GPT-2
        let output = 0.02 / (2.0 * config.mixers.len() as f32).sqrt();
        let mut take =
            |name: &str, shape: &[usize], init| weights.take(format!("layers.{index}.mixer.{name}"), shape, init);
        let normal = Init::Normal(0.02);
        Ok(Self {
            project: take("qkv.weight", &[d, packed], normal)?,
            convolution: take("convolution.weight", &[conv::WIDTH, packed], Init::Uniform(-0.5, 0.5))?,
            project_gates: take("gates.weight", &[d, groups * hv], normal)?,
            a_log: take("A_log", &[hv], Init::DecayLog)?,
            dt_bias: take("dt_bias", &[hv], Init::StepBias)?,
            project_output_gate: take("output_gate.weight", &[d, value], normal)?,
            norm: take("norm.weight", &[heads.value_size], Init::Ones)?,
            project_output: take("output.weight", &[value, d], Init::Normal(output))?,
            recurrent,
            columns,
            heads,
            gamma,
        })
    }

    /// The recurrence and its kernels.
    pub fn recurrent(&self) -> &Recurrent {
        &self.recurrent
    }

    /// Memory of this layer for `slots` sequences, with states in a pool.
    pub fn memory(&self, states: Pool, slots: usize) -> Result<LayerMemory> {
        LayerMemory::new(states, slots, self.convolution.dims2()?.1, self.convolution.device())
    }

    pub(super) fn problem(&self, batch: usize, tokens: usize) -> Problem {
        let h = self.heads;
        Problem::new(batch, tokens, h.key_heads, h.value_heads, h.key_size, h.value_size)
    }

    /// `x [B T, D]` to `[B T, D]`. With memory, the sequences go on from their slots and leave their states there.
    pub fn forward(&self, x: &Tensor, batch: usize, tokens: usize, turn: Turn) -> Result<Tensor> {
        let h = self.heads;
        let packed = x.matmul(&self.project)?.reshape((batch, tokens, ()))?;
        let gates = gates(&x.matmul(&self.project_gates)?, &self.a_log, &self.dt_bias)?;
        let gates = if turn.without_residual { self.without_residual(&gates)? } else { gates };
        let problem = self.problem(batch, tokens);
        let (mixed, o) = match turn.memory {
            None => {
                let mixed = short_conv(&packed, &self.convolution, None, 2 * h.key_heads, h.key_size)?;
                let o = self.recurrent.apply(&problem, &[mixed.clone(), gates], &self.columns)?;
                (mixed, o)
            }
            Some(memory) => {
                let tail = memory.tail(turn.slots)?;
                let mixed = short_conv(&packed, &self.convolution, Some(&tail), 2 * h.key_heads, h.key_size)?;
                memory.push(turn.slots, &packed)?;
                let o = self.recurrent.step(
                    &problem,
                    &[mixed.clone(), gates],
                    &self.columns,
                    &mut memory.states,
                    turn.slots,
                )?;
                (mixed, o)
            }
        };
        drop(mixed);
        // rows of one value head: [B T HV, V]
        let rows = |t: Tensor| t.reshape((batch * tokens * h.value_heads, h.value_size));
        let gate = x.matmul(&self.project_output_gate)?;
        let y = gated_norm(&rows(o)?, &self.norm, &rows(gate)?)?;
        Ok(y.reshape((batch * tokens, ()))?.matmul(&self.project_output)?)
    }

    /// The gates with gamma = 0: R then stays 0 and is not read.
    fn without_residual(&self, gates: &Tensor) -> Result<Tensor> {
        let Some(group) = self.gamma else { return Ok(gates.clone()) };
        let hv = self.heads.value_heads;
        let (rows, width) = gates.dims2()?;
        let start = group * hv;
        let zero = Tensor::zeros((rows, hv), gates.dtype(), gates.device())?;
        let rest = width - start - hv;
        Ok(Tensor::cat(&[&gates.narrow(1, 0, start)?, &zero, &gates.narrow(1, start + hv, rest)?], 1)?)
    }
}
