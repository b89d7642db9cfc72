//! Generation: prefill in pieces, then one token at a time by the decode kernels against a state pool.

use crate::draw::Rng;
use crate::error::{Error, Result};
use crate::model::Lm;
use crate::model::memory::Memory;
use candle_core::Tensor;

/// Tokens of one prefill call.
const PREFILL: usize = 512;

/// How the next byte is drawn.
#[derive(Clone, Debug)]
pub struct Sampling {
    /// Divides the logits; 0 takes the likeliest byte.
    pub temperature: f64,
    /// Only the so many likeliest bytes; 0: all.
    pub top_k: usize,
    /// Only the likeliest bytes whose probabilities reach this sum; 1: all.
    pub top_p: f64,
    /// Seed; sequence i draws from stream i.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.8, top_k: 0, top_p: 0.95, seed: 0 }
    }
}

impl Sampling {
    /// Refuses what nothing can be drawn with.
    pub fn check(&self) -> Result<()> {
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return Err(Error::argument("temperature", "a number from 0", self.temperature.to_string()));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(Error::argument("top_p", "a number above 0 and at most 1", self.top_p.to_string()));
        }
        Ok(())
    }

    /// Draws a byte from logits.
    pub fn draw(&self, logits: &[f32], rng: &mut Rng) -> u8 {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        if self.temperature == 0.0 {
            return order[0] as u8;
        }
        if self.top_k > 0 {
            order.truncate(self.top_k);
        }
        let top = f64::from(logits[order[0]]);
        let mut weights: Vec<f64> =
            order.iter().map(|&i| ((f64::from(logits[i]) - top) / self.temperature).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        let kept = weights.iter().take_while(|w| {
            let before = sum;
            sum += *w;
            before < self.top_p * total
        });
        let kept = kept.count().max(1);
        weights.truncate(kept);
        let mut at = rng.uniform() * weights.iter().sum::<f64>();
        for (&i, w) in order.iter().zip(&weights) {
            at -= w;
            if at < 0.0 {
                return i as u8;
            }
        }
        order[kept - 1] as u8
    }
}

/// Sequences that grow together, one slot each.
pub struct Generator<'a> {
    lm: &'a Lm,
    memory: Memory,
    slots: Vec<usize>,
    sampling: Sampling,
    rngs: Vec<Rng>,
    /// `[B, 256]` logits of the next byte.
    logits: Vec<Vec<f32>>,
    /// On a GPU: the step of all sequences, captured.
    #[cfg(feature = "cuda-models")]
    step: Option<crate::model::graph::Step>,
}

impl<'a> Generator<'a> {
    /// Reads the prompt into `count` sequences. An empty prompt is the start of a text, a zero byte.
    pub fn new(lm: &'a Lm, prompt: &[u8], count: usize, sampling: &Sampling) -> Result<Self> {
        sampling.check()?;
        if count == 0 {
            return Err(Error::argument("count", "at least 1", "0"));
        }
        let mut memory = lm.memory(count)?;
        let prompt = if prompt.is_empty() { &[0][..] } else { prompt };
        // one pass over the prompt, whatever the count: the other slots get copies of the first one's memory
        let logits = prefill(lm, prompt, &mut memory, 0, PREFILL)?;
        memory.copy_first(count)?;
        Ok(Self {
            #[cfg(feature = "cuda-models")]
            step: crate::model::graph::Step::new(lm, &memory, count)?,
            lm,
            memory,
            slots: (0..count).collect(),
            sampling: sampling.clone(),
            rngs: (0..count).map(|i| Rng::stream(sampling.seed, i as u64)).collect(),
            logits: vec![logits; count],
        })
    }

    /// The next byte of every sequence.
    pub fn next_bytes(&mut self) -> Result<Vec<u8>> {
        let draws = self.logits.iter().zip(&mut self.rngs);
        let bytes: Vec<u8> = draws.map(|(logits, rng)| self.sampling.draw(logits, rng)).collect();
        self.push(&bytes)?;
        Ok(bytes)
    }

    /// The logits of every sequence's next byte.
    pub fn logits(&self) -> &[Vec<f32>] {
        &self.logits
    }

    /// Goes on with given bytes, one of each sequence.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        #[cfg(feature = "cuda-models")]
        if let Some(step) = &mut self.step {
            self.logits = step.logits(bytes)?;
            return Ok(());
        }
        self.logits = self.lm.next(bytes, &mut self.memory, &self.slots)?.to_vec2()?;
        Ok(())
    }
}

/// Reads a prompt into a slot, `piece` tokens a call; the logits after its last token.
pub fn prefill(lm: &Lm, prompt: &[u8], memory: &mut Memory, slot: usize, piece: usize) -> Result<Vec<f32>> {
    let mut last: Option<Tensor> = None;
    for part in prompt.chunks(piece.max(1)) {
        let logits = lm.next(part, memory, &[slot])?;
        last = Some(logits.narrow(0, part.len() - 1, 1)?);
    }
    let last = last.ok_or_else(|| Error::argument("prompt", "at least one byte", "none"))?;
    Ok(last.flatten_all()?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(sampling: &Sampling, logits: &[f32]) -> Vec<usize> {
        let mut rng = Rng::new(7);
        let mut counts = vec![0; logits.len()];
        (0..10_000).for_each(|_| counts[usize::from(sampling.draw(logits, &mut rng))] += 1);
        counts
    }

    #[test]
    fn draws_follow_temperature_top_k_and_top_p() {
        // probabilities 1/2, 1/4, 1/8, 1/8
        let logits = [0.25f32.ln(), 0.5f32.ln(), 0.125f32.ln(), 0.125f32.ln()];
        let all = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, seed: 0 };
        let counts = histogram(&all, &logits);
        assert!((counts[1] as f64 / 1e4 - 0.5).abs() < 0.02 && (counts[3] as f64 / 1e4 - 0.125).abs() < 0.02);
        assert_eq!(histogram(&Sampling { top_k: 2, ..all.clone() }, &logits)[2..], [0, 0]);
        assert_eq!(histogram(&Sampling { top_p: 0.7, ..all.clone() }, &logits)[2..], [0, 0]);
        assert_eq!(histogram(&Sampling { top_p: 0.4, ..all.clone() }, &logits)[1], 10_000);
        assert_eq!(histogram(&Sampling { temperature: 0.0, ..all.clone() }, &logits)[1], 10_000);
        assert!(Sampling { temperature: f64::NAN, ..all.clone() }.check().is_err());
        assert!(Sampling { top_p: 0.0, ..all }.check().is_err());
    }
}
