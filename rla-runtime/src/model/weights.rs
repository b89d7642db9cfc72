//! Named variables of a model: drawn, or taken from a checkpoint.

use crate::draw::Rng;
use crate::error::{Error, Result};
use candle_core::{Device, Tensor, Var};
use std::collections::BTreeMap;

/// How a variable is drawn.
#[derive(Clone, Copy, Debug)]
pub enum Init {
    /// Normal with this standard deviation.
    Normal(f32),
    /// Uniform between the bounds.
    Uniform(f32, f32),
    /// All ones (norms).
    Ones,
    /// Mamba-2's A: the log of a uniform draw from [1, 16).
    DecayLog,
    /// Mamba-2's dt bias: softplus of it is log-uniform in [0.001, 0.1), at least 1e-4.
    StepBias,
}

impl Init {
    fn draw(self, rng: &mut Rng) -> f32 {
        match self {
            Init::Normal(deviation) => deviation * rng.normal() as f32,
            Init::Uniform(low, high) => rng.between(f64::from(low), f64::from(high)) as f32,
            Init::Ones => 1.0,
            Init::DecayLog => rng.between(1.0, 16.0).ln() as f32,
            Init::StepBias => {
                let step = rng.between(0.001f64.ln(), 0.1f64.ln()).exp().max(1e-4);
                // the inverse of softplus
                (step + (-(-step).exp_m1()).ln()) as f32
            }
        }
    }

    /// Whether weight decay applies: to matrices, not to norms, gates' parameters and the convolution.
    fn decays(self) -> bool {
        matches!(self, Init::Normal(_))
    }
}

/// A variable with its name.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name in the checkpoint.
    pub name: String,
    /// The variable.
    pub var: Var,
    /// Whether weight decay applies.
    pub decays: bool,
}

/// Where a model under construction gets its variables from.
pub struct Weights {
    source: Source,
    device: Device,
    parameters: Vec<Parameter>,
}

enum Source {
    Drawn(u64),
    Loaded(BTreeMap<String, Tensor>),
    Shared(BTreeMap<String, Var>),
}

impl Weights {
    /// Drawn from a seed. A tensor's draws depend on the seed and its name only.
    pub fn drawn(seed: u64) -> Self {
        Self { source: Source::Drawn(seed), device: Device::Cpu, parameters: Vec::new() }
    }

    /// Taken from tensors by name.
    pub fn loaded(tensors: BTreeMap<String, Tensor>) -> Self {
        Self { source: Source::Loaded(tensors), device: Device::Cpu, parameters: Vec::new() }
    }

    /// The same, put on a device.
    pub fn on(self, device: &Device) -> Self {
        Self { device: device.clone(), ..self }
    }

    /// Another model's variables, seen as plain tensors: no graph is recorded, and later changes are seen.
    pub fn shared(parameters: &[Parameter]) -> Self {
        let vars = parameters.iter().map(|p| (p.name.clone(), p.var.clone())).collect();
        Self { source: Source::Shared(vars), device: Device::Cpu, parameters: Vec::new() }
    }

    /// The variable `name` of a shape.
    pub fn take(&mut self, name: String, shape: &[usize], init: Init) -> Result<Tensor> {
        let missing = || Error::argument(format!("weights.{name}"), "a tensor of that name", "none");
        let var = match &mut self.source {
            Source::Drawn(seed) => {
                let mut rng = Rng::stream(*seed, fnv(name.as_bytes()));
                let data: Vec<f32> = (0..shape.iter().product()).map(|_| init.draw(&mut rng)).collect();
                Var::from_tensor(&Tensor::from_vec(data, shape, &self.device)?)?
            }
            Source::Loaded(tensors) => {
                Var::from_tensor(&tensors.remove(&name).ok_or_else(missing)?.to_device(&self.device)?)?
            }
            Source::Shared(vars) => vars.remove(&name).ok_or_else(missing)?,
        };
        if var.dims() != shape || var.dtype() != candle_core::DType::F32 {
            let found = format!("{:?} {:?}", var.dtype(), var.dims());
            return Err(Error::argument(format!("weights.{name}"), format!("F32 {shape:?}"), found));
        }
        let tensor = match self.source {
            Source::Shared(_) => var.as_detached_tensor(),
            _ => var.as_tensor().clone(),
        };
        self.parameters.push(Parameter { name, var, decays: init.decays() });
        Ok(tensor)
    }

    /// All variables, in the order they were taken; an error if a loaded tensor is left over.
    pub fn finish(self) -> Result<Vec<Parameter>> {
        let left = match self.source {
            Source::Loaded(tensors) => tensors.into_keys().next(),
            _ => None,
        };
        match left {
            Some(name) => Err(Error::argument(format!("weights.{name}"), "no such tensor in this model", "one")),
            None => Ok(self.parameters),
        }
    }
}

/// FNV-1a, for streams and fingerprints.
pub fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gate_parameters_start_in_mamba_2s_ranges() {
        let mut rng = Rng::new(0);
        for _ in 0..1000 {
            let a = Init::DecayLog.draw(&mut rng).exp();
            assert!((0.999..16.001).contains(&a), "{a}");
            let step = Init::StepBias.draw(&mut rng).exp().ln_1p();
            assert!((0.000_9..0.101).contains(&step), "{step}");
        }
    }

    #[test]
    fn loaded_weights_must_fit_exactly() {
        let tensors = |shape: &[usize]| {
            let tensor = Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
            BTreeMap::from([("a".to_string(), tensor)])
        };
        let take = |shape: &[usize], name: &str| {
            let mut weights = Weights::loaded(tensors(shape));
            weights.take(name.into(), &[2, 3], Init::Ones).map(|_| weights)
        };
        assert_eq!(take(&[2, 3], "a").unwrap().finish().unwrap().len(), 1);
        assert!(take(&[3, 2], "a").is_err());
        assert!(take(&[2, 3], "b").is_err());
        assert!(Weights::loaded(tensors(&[1])).finish().is_err());
    }
}
