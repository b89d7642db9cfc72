//! AdamW where the parameters live: one kernel a parameter, the norm summed in parts and then in order.

use super::{AdamWSettings, Moments};
use crate::error::Result;
use crate::model::fused::gpu::{Gpu, with_addresses};
use crate::model::weights::Parameter;
use candle_core::backprop::GradStore;
use candle_core::cuda::cudarc::driver::CudaSlice;
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;

/// Elements of one part of the norm, as `fused.cu` has it.
const PART: usize = 16_384;

/// First and second moments on a GPU.
pub struct OnDevice {
    gpu: Gpu,
    moments: BTreeMap<String, [CudaSlice<f32>; 2]>,
}

impl OnDevice {
    /// Moments of the host put beside parameters on a GPU; `None` where they are not on one.
    pub fn new(moments: &BTreeMap<String, Moments>, parameters: &[Parameter]) -> Result<Option<OnDevice>> {
        let Some(Device::Cuda(device)) = parameters.first().map(|p| p.var.device()) else { return Ok(None) };
        let put = |m: &Moments| -> Result<_> { Ok([device.clone_htod(&m.first)?, device.clone_htod(&m.second)?]) };
        let moments = moments.iter().map(|(name, m)| Ok((name.clone(), put(m)?)));
        Ok(Some(OnDevice { gpu: Gpu::on(device)?, moments: moments.collect::<Result<_>>()? }))
    }

    /// Copies on the host.
    pub fn moments(&self) -> Result<BTreeMap<String, Moments>> {
        let get = |[first, second]: &[CudaSlice<f32>; 2]| -> Result<_> {
            let device = &self.gpu.device;
            Ok(Moments { first: device.clone_dtoh(first)?, second: device.clone_dtoh(second)? })
        };
        self.moments.iter().map(|(name, m)| Ok((name.clone(), get(m)?))).collect()
    }

    /// One step, number `step` from 1; the gradient's norm. Nothing is changed where that is not finite.
    pub fn step(
        &mut self,
        s: &AdamWSettings,
        step: usize,
        parameters: &[Parameter],
        grads: &GradStore,
        rate: f64,
    ) -> Result<f64> {
        let gpu = &self.gpu;
        let pairs = parameters.iter().filter_map(|p| Some((p, grads.get(&p.var)?)));
        let pairs: Vec<(&Parameter, &Tensor)> = pairs.collect();
        let count: usize = pairs.iter().map(|(p, _)| p.var.elem_count().div_ceil(PART)).sum();
        let (parts, norm) = (gpu.memory::<f64>(count)?, gpu.memory::<f64>(1)?);
        let norm_at = gpu.address(&norm);
        let mut at = gpu.address(&parts);
        for (p, grad) in &pairs {
            let n = p.var.elem_count();
            with_addresses(&[grad], "adamw", |gpu, grad| {
                gpu.queue("squares", n.div_ceil(PART), 256, &[grad[0], at, n as u64])
            })?;
            at += 8 * n.div_ceil(PART) as u64;
        }
        gpu.queue("root", 1, 256, &[gpu.address(&parts), norm_at, count as u64])?;
        let correct = |beta: f64| 1.0 - beta.powi(step.min(1 << 30) as i32);
        let (correct1, correct2) = (correct(s.beta1), correct(s.beta2));
        for (p, grad) in &pairs {
            let n = p.var.elem_count();
            let [first, second] = &self.moments[&p.name];
            let keep = if p.decays { 1.0 - rate * s.weight_decay } else { 1.0 };
            let numbers = [s.clip_norm, s.beta1, s.beta2, rate / correct1, 1.0 / correct2.sqrt(), s.eps, keep];
            with_addresses(&[p.var.as_tensor(), grad], "adamw", |gpu, at| {
                let mut words = vec![at[0], at[1], gpu.address(first), gpu.address(second), norm_at, n as u64];
                words.extend(numbers.map(f64::to_bits));
                gpu.queue("adamw", n.div_ceil(256), 256, &words)
            })?;
        }
        Ok(gpu.device.clone_dtoh(&norm)?[0])
    }
}
