//! AdamW (Loshchilov and Hutter 2019) with global-norm clipping, its state ours to save.

use crate::error::{Error, Result};
use crate::model::fused::vectorised;
use crate::model::weights::Parameter;
use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, InplaceOp2, Layout, bail};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Mutex;

#[cfg(feature = "cuda-models")]
mod gpu;

/// Elements of one unit of work, and of one partial sum of the norm: independent of the number of threads.
const BLOCK: usize = 1 << 14;

/// What AdamW is run with, the learning rate apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamWSettings {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay of the matrices.
    pub weight_decay: f64,
    /// Largest global norm of the gradient.
    pub clip_norm: f64,
}

impl Default for AdamWSettings {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, clip_norm: 1.0 }
    }
}

/// First and second moments of one parameter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// Running mean of the gradient.
    pub first: Vec<f32>,
    /// Running mean of its square.
    pub second: Vec<f32>,
}

/// The optimiser and its state.
pub struct AdamW {
    settings: AdamWSettings,
    steps: usize,
    /// By parameter name; empty where they live on a GPU.
    moments: BTreeMap<String, Moments>,
    #[cfg(feature = "cuda-models")]
    on_device: Option<gpu::OnDevice>,
}

impl AdamW {
    /// Zero moments.
    pub fn new(settings: AdamWSettings, parameters: &[Parameter]) -> Result<Self> {
        let zero = |p: &Parameter| vec![0.0; p.var.elem_count()];
        let moments =
            parameters.iter().map(|p| (p.name.clone(), Moments { first: zero(p), second: zero(p) })).collect();
        Self::of(settings, 0, moments, parameters)
    }

    /// Where the parameters live on a GPU, the moments go there too.
    fn of(
        settings: AdamWSettings,
        steps: usize,
        moments: BTreeMap<String, Moments>,
        _parameters: &[Parameter],
    ) -> Result<Self> {
        #[cfg(feature = "cuda-models")]
        if let Some(on_device) = gpu::OnDevice::new(&moments, _parameters)? {
            return Ok(Self { settings, steps, moments: BTreeMap::new(), on_device: Some(on_device) });
        }
        Ok(Self {
            settings,
            steps,
            moments,
            #[cfg(feature = "cuda-models")]
            on_device: None,
        })
    }

    /// From saved moments, which must be those of these parameters.
    pub fn restored(
        settings: AdamWSettings,
        steps: usize,
        moments: BTreeMap<String, Moments>,
        parameters: &[Parameter],
    ) -> Result<Self> {
        for p in parameters {
            let n = p.var.elem_count();
            let fits = moments.get(&p.name).is_some_and(|m| m.first.len() == n && m.second.len() == n);
            if !fits {
                return Err(Error::argument(
                    format!("optimizer.{}", p.name),
                    format!("two moments of {n} numbers"),
                    "others",
                ));
            }
        }
        if moments.len() != parameters.len() {
            let found = moments.len().to_string();
            return Err(Error::argument("optimizer", format!("moments of {} parameters", parameters.len()), found));
        }
        Self::of(settings, steps, moments, parameters)
    }

    /// The moments, by parameter name.
    pub fn moments(&self) -> Result<Cow<'_, BTreeMap<String, Moments>>> {
        #[cfg(feature = "cuda-models")]
        if let Some(on_device) = &self.on_device {
            return on_device.moments().map(Cow::Owned);
        }
        Ok(Cow::Borrowed(&self.moments))
    }

    /// One step with a learning rate; returns the gradient's global norm before clipping.
    ///
    /// A norm that is not finite is an error, and nothing is changed.
    pub fn step(&mut self, parameters: &[Parameter], grads: &GradStore, rate: f64) -> Result<f64> {
        #[cfg(feature = "cuda-models")]
        if let Some(on_device) = &mut self.on_device {
            let norm = on_device.step(&self.settings, self.steps + 1, parameters, grads, rate)?;
            self.check(norm)?;
            self.steps += 1;
            return Ok(norm);
        }
        let mut squares = 0.0;
        for p in parameters {
            if let Some(grad) = grads.get(&p.var) {
                squares += square_sum(&grad.flatten_all()?)?;
            }
        }
        let norm = squares.sqrt();
        self.check(norm)?;
        self.steps += 1;
        let s = &self.settings;
        let scale = if norm > s.clip_norm { s.clip_norm / norm } else { 1.0 };
        let correct = |beta: f64| 1.0 - beta.powi(self.steps.min(1 << 30) as i32);
        let (correct1, correct2) = (correct(s.beta1), correct(s.beta2));
        for p in parameters {
            let Some(grad) = grads.get(&p.var) else { continue };
            let moments = self.moments.get_mut(&p.name).expect("every parameter has its moments");
            let update = Update {
                scale: scale as f32,
                beta1: s.beta1 as f32,
                beta2: s.beta2 as f32,
                // m / correct1 / (sqrt(v / correct2) + eps)
                rate: (rate / correct1) as f32,
                root: (1.0 / correct2.sqrt()) as f32,
                eps: s.eps as f32,
                keep: if p.decays { (1.0 - rate * s.weight_decay) as f32 } else { 1.0 },
                moments: Mutex::new(moments),
            };
            p.var.inplace_op2(&grad.contiguous()?, &update)?;
        }
        Ok(norm)
    }

    fn check(&self, norm: f64) -> Result<()> {
        if norm.is_finite() {
            return Ok(());
        }
        let reason = format!("the gradient's norm is {norm}; a lower learning rate may help");
        Err(Error::unsupported(format!("training step {}", self.steps + 1), reason))
    }
}

/// Sum of squares in f64, block by block in order.
fn square_sum(grad: &candle_core::Tensor) -> Result<f64> {
    let grad = grad.contiguous()?;
    let (storage, layout) = grad.storage_and_layout();
    let (candle_core::Storage::Cpu(CpuStorage::F32(data)), Some((start, end))) =
        (&*storage, layout.contiguous_offsets())
    else {
        return Err(Error::argument("gradient", "f32 on the CPU", format!("{:?}", grad.dtype())));
    };
    let block = |b: &[f32]| b.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    let partial: Vec<f64> = data[start..end].par_chunks(BLOCK).map(block).collect();
    Ok(partial.iter().sum())
}

/// One parameter's step, in place.
struct Update<'a> {
    scale: f32,
    beta1: f32,
    beta2: f32,
    rate: f32,
    root: f32,
    eps: f32,
    keep: f32,
    moments: Mutex<&'a mut Moments>,
}

impl Update<'_> {
    #[inline(always)]
    fn block(&self, m: &mut [f32], v: &mut [f32], p: &mut [f32], g: &[f32]) {
        for ((m, v), (p, g)) in m.iter_mut().zip(v).zip(p.iter_mut().zip(g)) {
            let g = g * self.scale;
            *m = self.beta1 * *m + (1.0 - self.beta1) * g;
            *v = self.beta2 * *v + (1.0 - self.beta2) * g * g;
            *p = *p * self.keep - self.rate * *m / (v.sqrt() * self.root + self.eps);
        }
    }
}

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, p: &mut CpuStorage, lp: &Layout, g: &CpuStorage, lg: &Layout) -> candle_core::Result<()> {
        let (CpuStorage::F32(p), CpuStorage::F32(g)) = (p, g) else { bail!("adamw: expected f32") };
        let (Some((p0, p1)), Some((g0, g1))) = (lp.contiguous_offsets(), lg.contiguous_offsets()) else {
            bail!("adamw: expected contiguous tensors")
        };
        let mut moments = self.moments.lock().expect("no other thread holds the moments");
        let Moments { first, second } = &mut **moments;
        let parts = first.par_chunks_mut(BLOCK).zip(second.par_chunks_mut(BLOCK));
        let parts = parts.zip(p[p0..p1].par_chunks_mut(BLOCK)).zip(g[g0..g1].par_chunks(BLOCK));
        parts.for_each(|(((m, v), p), g)| {
            vectorised(
                #[inline(always)]
                || self.block(m, v, p, g),
            )
        });
        Ok(())
    }
}

/// Linear warm-up to `peak`, then a cosine down to a tenth of it at the last step. `step` counts from 0.
pub fn learning_rate(step: usize, steps: usize, warmup: usize, peak: f64) -> f64 {
    if step < warmup {
        return peak * (step + 1) as f64 / warmup as f64;
    }
    let done = (step - warmup) as f64 / steps.saturating_sub(warmup + 1).max(1) as f64;
    peak * (0.1 + 0.9 * 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor, Var};

    fn parameter(x: &[f32], decays: bool) -> Parameter {
        let tensor = Tensor::from_vec(x.to_vec(), x.len(), &Device::Cpu).unwrap();
        Parameter { name: "x".into(), var: Var::from_tensor(&tensor).unwrap(), decays }
    }

    #[test]
    fn two_steps_equal_the_formula_in_f64() {
        let parameters = [parameter(&[3.0, -2.0], true)];
        let settings = AdamWSettings::default();
        let mut adamw = AdamW::new(settings.clone(), &parameters).unwrap();
        let (mut x, mut m, mut v) = ([3.0f64, -2.0], [0.0f64; 2], [0.0f64; 2]);
        for t in 1..=2 {
            let var = &parameters[0].var;
            let grads = (var.as_tensor() * 2.0).unwrap().sqr().unwrap().sum_all().unwrap().backward().unwrap();
            let g = x.map(|x| 8.0 * x);
            let norm = (g[0] * g[0] + g[1] * g[1]).sqrt();
            let found = adamw.step(&parameters, &grads, 0.01).unwrap();
            assert!((found - norm).abs() < 1e-5 * norm);
            for i in 0..2 {
                let g = g[i] / norm;
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.95 * v[i] + 0.05 * g * g;
                let (mh, vh) = (m[i] / (1.0 - 0.9f64.powi(t)), v[i] / (1.0 - 0.95f64.powi(t)));
                x[i] = x[i] * (1.0 - 0.01 * 0.1) - 0.01 * mh / (vh.sqrt() + 1e-8);
            }
            let now = var.to_vec1::<f32>().unwrap();
            assert!((0..2).all(|i| (f64::from(now[i]) - x[i]).abs() < 1e-6), "{now:?} {x:?}");
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let parameters = [parameter(&[1.0], true)];
        let mut adamw = AdamW::new(AdamWSettings::default(), &parameters).unwrap();
        let grads = (parameters[0].var.as_tensor() * f64::NAN).unwrap().sum_all().unwrap().backward().unwrap();
        assert!(adamw.step(&parameters, &grads, 0.1).is_err());
        assert_eq!(parameters[0].var.to_vec1::<f32>().unwrap(), [1.0]);
    }

    #[test]
    fn the_rate_rises_then_falls_to_a_tenth() {
        let rate = |step| learning_rate(step, 100, 10, 1.0);
        assert!((rate(0) - 0.1).abs() < 1e-12 && (rate(9) - 1.0).abs() < 1e-12 && (rate(10) - 1.0).abs() < 1e-12);
        assert!((rate(99) - 0.1).abs() < 1e-12);
        assert!((10..99).all(|s| rate(s + 1) < rate(s)));
    }
}
