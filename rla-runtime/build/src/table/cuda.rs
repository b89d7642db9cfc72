//! Rows of tables that hold for a GPU: `[[cuda]]`.
use super::{Table, identity, today};
use crate::error::Error;
use crate::tune::time::Comparison;
use crate::whole;
use rla_codegen::schedule::cuda::{Choices, Slot, refusal};
use rla_dsl::recurrence::Recurrence;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a search found for one pass of one variant, sizes and type on a GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Name of the variant.
    pub variant: String,
    /// Hash of its canonical text.
    pub identity: String,
    /// The pass: `forward`, `training`, `decode`.
    pub pass: String,
    /// Architecture that the kernels were compiled for.
    pub architecture: String,
    /// Type of q, k, v and the like.
    pub dtype: String,
    /// K, V, declared dims.
    pub sizes: Vec<usize>,
    /// Which laws hold: `invariant`, the configuration does not depend on B, N, T.
    pub mode: String,
    /// B, T, H, HV of the call that was timed.
    pub timed: [usize; 4],
    /// Milliseconds of that call, captured in a graph, the second-level cache flushed.
    pub ms: f64,
    /// Of the default parameters beside it.
    pub ms_default: f64,
    /// Median of the ratio of the two.
    pub ratio: f64,
    /// Half the distance between that ratio's quartiles.
    pub spread: f64,
    /// Time to move inputs and results once at the card's copy rate, over the time.
    pub of_copy: f64,
    /// Wall seconds of the search.
    pub searched: f64,
    /// Candidates that it looked at.
    pub candidates: usize,
    /// The day.
    pub date: String,
    /// This compiler, NVRTC and the driver.
    pub compiler: String,
    /// Fingerprint of the texts that were checked and timed.
    pub text: String,
    /// The parameters.
    pub choices: Choices,
    /// What is known of their being right.
    pub evidence: Proof,
}

/// The evidence of a row: checks of `rla verify` on that GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Random cases against the oracle, exact cases and cases of laws.
    pub cases: usize,
    /// Runs with equal bits.
    pub repeats: usize,
    /// Largest error over its bound.
    pub worst: f64,
    /// Whether the whole ladder and the laws passed.
    pub verified: bool,
}

/// What was tuned, and how it went.
pub struct Result<'a> {
    /// The variant.
    pub recurrence: &'a Recurrence,
    /// The pass.
    pub slot: Slot,
    /// Architecture.
    pub architecture: &'a str,
    /// Type of q, k, v and the like.
    pub dtype: &'a str,
    /// K, V, declared dims.
    pub sizes: &'a [usize],
    /// B, T, H, HV.
    pub timed: [usize; 4],
    /// Best beside the default.
    pub comparison: Comparison,
    /// Time to move inputs and results at the copy rate over the time.
    pub of_copy: f64,
    /// Wall seconds.
    pub searched: f64,
    /// Candidates.
    pub candidates: usize,
    /// Compiler, NVRTC and driver.
    pub compiler: String,
    /// Fingerprint of the texts.
    pub text: String,
    /// The best.
    pub choices: Choices,
    /// Its checks.
    pub evidence: Proof,
}

impl Row {
    /// The row of a search.
    pub fn new(found: Result) -> Row {
        let short = |x: f64| format!("{x:.3e}").parse().unwrap_or(x);
        Row {
            variant: found.recurrence.name.clone(),
            identity: identity(found.recurrence),
            pass: found.slot.name().into(),
            architecture: found.architecture.into(),
            dtype: found.dtype.into(),
            sizes: found.sizes.to_vec(),
            mode: "invariant".into(),
            timed: found.timed,
            ms: short(found.comparison.seconds * 1e3),
            ms_default: short(found.comparison.other * 1e3),
            ratio: short(found.comparison.ratio),
            spread: short(found.comparison.spread),
            of_copy: short(found.of_copy),
            searched: (found.searched * 10.0).round() / 10.0,
            candidates: found.candidates,
            date: today(),
            compiler: found.compiler,
            text: found.text,
            choices: found.choices,
            evidence: Proof { worst: short(found.evidence.worst), ..found.evidence },
        }
    }

    /// The part of the key that two rows may not share: the newer replaces the older.
    fn key(&self) -> (&str, &str, &str, &str, &[usize], &str) {
        (&self.variant, &self.pass, &self.architecture, &self.dtype, &self.sizes, &self.mode)
    }

    /// A name for messages.
    pub fn name(&self) -> String {
        let sizes = self.sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        format!("{} {} {} {} {sizes}", self.variant, self.pass, self.architecture, self.dtype)
    }

    pub(super) fn refusal(&self) -> Option<String> {
        if Slot::named(&self.pass).is_none() {
            return Some(format!("`{}` is no pass", self.pass));
        }
        refusal(&self.choices)
    }
}

impl Table {
    /// What searches on a GPU found.
    pub fn cuda_rows(&self) -> &[Row] {
        &self.cuda
    }

    /// Puts a row in the place of one with its key.
    pub fn put_cuda(&mut self, row: Row) {
        match self.cuda.iter_mut().find(|old| old.key() == row.key()) {
            Some(old) => *old = row,
            None => self.cuda.push(row),
        }
        self.cuda.sort_by(|a, b| a.key().cmp(&b.key()));
    }

    /// Writes a row into the table in a file, which is whole at any moment.
    ///
    /// # Errors
    /// The file is of another device, or no table; or it cannot be written.
    pub fn merge_cuda(path: &Path, device: &str, row: Row) -> std::result::Result<(), Error> {
        let mut table = Table::of_file(path, device)?;
        table.put_cuda(row);
        whole::write(path, &table.text()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(chunk: usize) -> Row {
        let parsed = rla_dsl::parse(rla_dsl::builtin::builtin("rdn").expect("a built-in")).expect("it is right");
        Row::new(Result {
            recurrence: parsed.variant("rdn").expect("it is there"),
            slot: Slot::Training,
            architecture: "sm_90a",
            dtype: "bf16",
            sizes: &[128, 128],
            timed: [1, 8192, 16, 16],
            comparison: Comparison { ratio: 0.9, spread: 0.01, seconds: 9e-4, other: 1e-3 },
            of_copy: 0.2,
            searched: 12.34,
            candidates: 9,
            compiler: "here".into(),
            text: "0".repeat(32),
            choices: Choices { chunk, ..Choices::default() },
            evidence: Proof { cases: 4, repeats: 2, worst: 0.5, verified: true },
        })
    }

    #[test]
    fn a_row_comes_back_as_it_was_and_a_newer_one_replaces_it() {
        let mut table = Table::of_device("a card");
        table.put_cuda(row(16));
        table.put_cuda(row(64));
        let read = Table::parse("t.toml", &table.text().unwrap()).unwrap();
        assert_eq!(read.cuda_rows(), [row(64)]);
        assert_eq!(read.device(), "a card");
    }

    #[test]
    fn an_illegal_row_is_refused() {
        let mut table = Table::of_device("a card");
        table.put_cuda(row(48));
        let error = Table::parse("t.toml", &table.text().unwrap()).unwrap_err().to_string();
        assert!(error.contains("the row rdn training sm_90a bf16 128,128") && error.contains("chunk is 16"), "{error}");
    }
}
