//! What the configuration of a call may depend on, and for which calls a row holds that depends on more.
use serde::{Deserialize, Serialize};
use std::fmt;

/// The environment variable that names the mode of operations that are told none.
pub const MODE_VARIABLE: &str = "RLA_MODE";

/// What the configuration of a call may depend on beside variant, types, K, V, H, HV and device, and so which laws hold bit for bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// On nothing else: all laws hold.
    #[default]
    Invariant,
    /// On B, N and T too: *repeat*, *pool*, *causal* and *roll back* hold bit for bit, the others within the bound.
    Throughput,
}

impl Mode {
    /// The name in tables, options and the environment.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Invariant => "invariant",
            Mode::Throughput => "throughput",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Mode> {
        [Mode::Invariant, Mode::Throughput].into_iter().find(|mode| mode.name() == name)
    }

    /// What the user's environment says; [`Mode::Invariant`] where it says nothing.
    ///
    /// # Errors
    /// `RLA_MODE` is neither, but this.
    pub fn of_environment() -> Result<Mode, String> {
        let Some(value) = std::env::var_os(MODE_VARIABLE).filter(|value| !value.is_empty()) else {
            return Ok(Mode::Invariant);
        };
        let found = value.to_string_lossy();
        Mode::named(found.trim()).ok_or_else(|| found.to_string())
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How much there is to do in a call, and how far it can be divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Work {
    /// Sequences times value heads: what can run side by side.
    pub heads: usize,
    /// Tokens of a sequence; where they differ the mean, rounded up.
    pub tokens: usize,
}

impl Work {
    /// Of so many sequences, which have `tokens` tokens together.
    pub fn new(sequences: usize, value_heads: usize, tokens: usize) -> Work {
        Work { heads: sequences * value_heads, tokens: tokens.div_ceil(sequences.max(1)) }
    }
}

/// The calls that a row of [`Mode::Throughput`] holds for: ranges, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Sequences times value heads.
    pub heads: [usize; 2],
    /// Tokens of a sequence; where they differ their mean, rounded up.
    pub tokens: [usize; 2],
}

/// From the power of two that is not above a number to the next, which is left out.
fn octave(number: usize) -> [usize; 2] {
    let low = 1 << number.max(1).ilog2();
    [low, 2 * low - 1]
}

impl Bucket {
    /// The bucket that a search at this work writes: both numbers between two powers of two.
    pub fn of(work: Work) -> Bucket {
        Bucket { heads: octave(work.heads), tokens: octave(work.tokens) }
    }

    /// Whether a call lies in it.
    pub fn holds(&self, work: Work) -> bool {
        let within = |[low, high]: [usize; 2], number: usize| (low..=high).contains(&number);
        within(self.heads, work.heads) && within(self.tokens, work.tokens)
    }

    /// Why it is none.
    pub(super) fn refusal(&self) -> Option<String> {
        let ranges = [("heads", self.heads), ("tokens", self.tokens)];
        let (name, [low, high]) = ranges.into_iter().find(|(_, [low, high])| *low == 0 || low > high)?;
        Some(format!("bucket.{name}: expected two numbers from 1 on, the lower first, found [{low}, {high}]"))
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([h, heads], [t, tokens]) = (self.heads, self.tokens);
        write!(f, "{h} to {heads} heads of {t} to {tokens} tokens")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_reaches_from_a_power_of_two_to_the_next() {
        for (sequences, value_heads, tokens, heads, each) in [
            (1, 16, 8192, [16, 31], [8192, 16383]),
            (3, 16, 3 * 2000, [32, 63], [1024, 2047]),
            (1, 1, 1, [1, 1], [1, 1]),
            // packed: five sequences of 70 tokens together have 14 each
            (5, 2, 70, [8, 15], [8, 15]),
            (0, 4, 0, [1, 1], [1, 1]),
        ] {
            let bucket = Bucket::of(Work::new(sequences, value_heads, tokens));
            assert_eq!((bucket.heads, bucket.tokens), (heads, each));
        }
    }

    #[test]
    fn both_ends_belong_to_a_bucket() {
        let bucket = Bucket { heads: [16, 31], tokens: [1024, 2047] };
        for (heads, tokens, inside) in [
            (16, 1024, true),
            (31, 2047, true),
            (15, 1024, false),
            (32, 1024, false),
            (16, 1023, false),
            (16, 2048, false),
        ] {
            assert_eq!(bucket.holds(Work { heads, tokens }), inside, "{heads} {tokens}");
        }
        assert_eq!(bucket.to_string(), "16 to 31 heads of 1024 to 2047 tokens");
    }

    #[test]
    fn modes_have_names() {
        for mode in [Mode::Invariant, Mode::Throughput] {
            assert_eq!(Mode::named(mode.name()), Some(mode));
        }
        assert_eq!(Mode::named("fast"), None);
    }
}
