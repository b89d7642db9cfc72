//! How a run trains, and how far it is: stored in a checkpoint as `training.json`.

use super::optimizer::AdamWSettings;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Settings of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Steps in all; the learning rate's schedule ends there.
    pub steps: usize,
    /// B, windows of a step.
    pub batch: usize,
    /// T, bytes a window predicts.
    pub tokens: usize,
    /// Peak learning rate.
    pub rate: f64,
    /// Steps of linear warm-up.
    pub warmup: usize,
    /// The optimiser.
    pub optimizer: AdamWSettings,
    /// Seed of the weights and of the windows.
    pub seed: u64,
    /// Steps from one checkpoint to the next.
    pub checkpoint_every: usize,
    /// Steps from one held-out evaluation to the next.
    pub evaluate_every: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            steps: 400,
            batch: 16,
            tokens: 256,
            rate: 3e-3,
            warmup: 50,
            optimizer: AdamWSettings::default(),
            seed: 0,
            checkpoint_every: 100,
            evaluate_every: 100,
        }
    }
}

impl Settings {
    /// Refuses settings that cannot be trained with; the message names the field.
    pub fn check(&self) -> Result<()> {
        let at_least_one = [
            ("steps", self.steps),
            ("batch", self.batch),
            ("tokens", self.tokens),
            ("checkpoint_every", self.checkpoint_every),
            ("evaluate_every", self.evaluate_every),
        ];
        if let Some((name, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
            return Err(Error::argument(*name, "at least 1", "0"));
        }
        if self.batch.saturating_mul(self.tokens) > 1 << 24 {
            let found = format!("{} x {}", self.batch, self.tokens);
            return Err(Error::argument("batch", "at most 2^24 bytes in a step", found));
        }
        let o = &self.optimizer;
        let numbers = [
            ("rate", self.rate, 0.0, f64::MAX),
            ("beta1", o.beta1, 0.0, 0.999_999),
            ("beta2", o.beta2, 0.0, 0.999_999),
            ("eps", o.eps, 0.0, 1.0),
            ("weight_decay", o.weight_decay, 0.0, 1.0),
            ("clip_norm", o.clip_norm, 1e-12, f64::MAX),
        ];
        for (name, value, low, high) in numbers {
            if !(low..=high).contains(&value) {
                return Err(Error::argument(name, format!("a number from {low} to {high}"), value.to_string()));
            }
        }
        Ok(())
    }
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// How it trains.
    pub settings: Settings,
    /// The training text's fingerprint.
    pub text: String,
}
