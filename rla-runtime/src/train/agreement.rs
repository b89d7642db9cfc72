//! Whether a model gives the same on the GPU as on the CPU.

use super::corpus::Corpus;
use super::settings::Settings;
use crate::checkpoint;
use crate::error::Result;
use crate::model::{Lm, Place};
use crate::op::Backend;
use crate::sample::{Generator, Sampling};
use candle_core::{Device, Tensor};
use serde::Serialize;
use std::path::Path;

/// Largest relative difference of logits: both sides round f32 sums in other orders.
pub const LOGITS: f64 = 1e-4;
/// Largest relative difference of a parameter's gradient: a kink whose argument rounds to its other side moves one term.
pub const GRADIENTS: f64 = 1e-2;
/// Bytes generated for the comparison of the decode step.
const STEPS: usize = 32;

/// Differences by the norm of the CPU's numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Agreement {
    /// Of the logits of a batch of windows.
    pub logits: f64,
    /// Of the logits after each of some bytes, one at a time.
    pub decode: f64,
    /// Of the gradient that differs most.
    pub gradient: f64,
    /// The parameter it is of.
    pub parameter: String,
}

impl Agreement {
    /// Whether all are within the bounds.
    pub fn holds(&self) -> bool {
        // a NaN is not
        self.logits <= LOGITS && self.decode <= LOGITS && self.gradient <= GRADIENTS
    }
}

/// Loads a checkpoint here and on the CPU, and compares logits, gradients and the decode step on the first training windows.
pub fn agreement(path: &Path, place: &Place, corpus: &Corpus) -> Result<Agreement> {
    let (progress, _) = checkpoint::load_training(path)?;
    let (there, here) = (checkpoint::load_model(path, place.clone())?, checkpoint::load_model(path, Backend::Cpu)?);
    between(&there, &here, &progress.settings, corpus)
}

/// Compares a model with one of the same configuration on the CPU.
pub fn between(there: &Lm, here: &Lm, s: &Settings, corpus: &Corpus) -> Result<Agreement> {
    corpus.check(s.tokens)?;
    let windows = corpus.windows(s.seed, 0, s.batch, s.tokens);
    let inputs: Vec<u8> = windows.chunks_exact(s.tokens + 1).flat_map(|w| &w[..s.tokens]).copied().collect();
    let logits = difference(&there.logits(&inputs, s.batch)?, &here.logits(&inputs, s.batch)?)?;
    let grads = (there.loss(&windows, s.batch)?.backward()?, here.loss(&windows, s.batch)?.backward()?);
    let mut worst = (0.0f64, String::new());
    for (a, b) in there.parameters().iter().zip(here.parameters()) {
        if let (Some(x), Some(y)) = (grads.0.get(&a.var), grads.1.get(&b.var)) {
            let found = difference(x, y)?;
            // a NaN is the worst
            if !worst.0.is_nan() && (found.is_nan() || found > worst.0) {
                worst = (found, a.name.clone());
            }
        }
    }
    let text = &windows[..(2 * STEPS).min(windows.len())];
    let decode = difference(&stepped(&there.frozen()?, text)?, &stepped(&here.frozen()?, text)?)?;
    Ok(Agreement { logits, decode, gradient: worst.0, parameter: worst.1 })
}

/// Logits after a prompt, the first half of a text, and then after each byte of the rest.
fn stepped(lm: &Lm, text: &[u8]) -> Result<Tensor> {
    let (prompt, rest) = text.split_at(text.len() / 2);
    let mut generator = Generator::new(lm, prompt, 1, &Sampling::default())?;
    let mut rows = vec![generator.logits()[0].clone()];
    for byte in rest {
        generator.push(&[*byte])?;
        rows.push(generator.logits()[0].clone());
    }
    let (count, width) = (rows.len(), rows[0].len());
    Ok(Tensor::from_vec(rows.concat(), (count, width), &Device::Cpu)?)
}

/// `|a - b| / |b|`, Euclidean.
fn difference(a: &Tensor, b: &Tensor) -> Result<f64> {
    let values = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
    let (a, b) = (values(a)?, values(b)?);
    let square = |x: f64| x * x;
    let apart: f64 = a.iter().zip(&b).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    let size: f64 = b.iter().map(|b| square(f64::from(*b))).sum();
    Ok((apart / size.max(f64::MIN_POSITIVE)).sqrt())
}
