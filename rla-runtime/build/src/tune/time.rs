//! Times side by side: what is compared runs in turns, in one process, on the same clock.
use super::call::{Call, Kernels};
use crate::clock::Clock;
use crate::error::Error;
use crate::quantile::quantile;
use rla_codegen::schedule::Slot;

/// Times of one candidate beside another's, round by round.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    /// Seconds of both in each round.
    pub rounds: Vec<(f64, f64)>,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The median of the candidate's time over the other's.
    pub ratio: f64,
    /// Half the distance between the quartiles of that.
    pub spread: f64,
    /// Median seconds of the candidate.
    pub seconds: f64,
    /// Median seconds of the other.
    pub other: f64,
}

impl Comparison {
    /// Faster by more than the spread.
    pub fn wins(&self) -> bool {
        1.0 - self.ratio > self.spread.max(LEAST_GAIN)
    }
}

/// A smaller gain is no gain, however small the spread.
pub const LEAST_GAIN: f64 = 0.003;

impl Pairs {
    /// The outcome so far.
    pub fn comparison(&self) -> Comparison {
        let of = |f: fn(&(f64, f64)) -> f64| self.rounds.iter().map(f).collect::<Vec<f64>>();
        let ratios = of(|(a, b)| a / b);
        Comparison {
            ratio: quantile(&ratios, 0.5),
            spread: (quantile(&ratios, 0.75) - quantile(&ratios, 0.25)) / 2.0,
            seconds: quantile(&of(|(a, _)| *a), 0.5),
            other: quantile(&of(|(_, b)| *b), 0.5),
        }
    }
}

/// What is timed: a call of the sizes that are tuned for, on memory of its own.
pub struct Timer<'a> {
    call: &'a mut Call,
    slot: Slot,
    clock: Clock,
    /// Runs in one sample, so that it lasts half a millisecond at least.
    repeats: usize,
}

impl<'a> Timer<'a> {
    /// Measures how many runs a sample takes.
    pub fn new(call: &'a mut Call, slot: Slot, clock: Clock, kernels: &Kernels) -> Result<Timer<'a>, Error> {
        let mut timer = Timer { call, slot, clock, repeats: 1 };
        timer.sample(kernels)?;
        let once = timer.sample(kernels)?.max(1e-9);
        timer.repeats = (5e-4 / once).ceil().max(1.0) as usize;
        Ok(timer)
    }

    /// Seconds of one run. Of short ones the first, which warms the caches, is not counted.
    fn sample(&mut self, kernels: &Kernels) -> Result<f64, Error> {
        self.call.reserve(kernels, self.slot)?;
        if self.repeats > 1 {
            self.call.run(kernels, self.slot)?;
        }
        let start = self.clock.now();
        for _ in 0..self.repeats {
            self.call.run(kernels, self.slot)?;
        }
        Ok(start.seconds() / self.repeats as f64)
    }

    /// Rounds of both in turns, each going first every other time.
    pub fn rounds(&mut self, a: &Kernels, b: &Kernels, rounds: usize, pairs: &mut Pairs) -> Result<(), Error> {
        for round in 0..rounds {
            let pair = if round % 2 == 0 {
                let first = self.sample(a)?;
                (first, self.sample(b)?)
            } else {
                let first = self.sample(b)?;
                (self.sample(a)?, first)
            };
            pairs.rounds.push(pair);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_winner_is_faster_by_more_than_the_spread() {
        let pairs = |ratio: f64, noise: f64| Pairs {
            rounds: (0..40).map(|i| (ratio * (1.0 + noise * (f64::from(i % 5) - 2.0)), 1.0)).collect(),
        };
        assert!(pairs(0.9, 0.01).comparison().wins());
        assert!(!pairs(0.9, 0.12).comparison().wins());
        assert!(!pairs(1.0, 0.0).comparison().wins());
        assert!(!pairs(0.999, 0.0).comparison().wins());
    }
}
