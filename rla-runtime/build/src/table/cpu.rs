//! Rows of tables that hold for a processor: `[[tuned]]`.
use super::Table;
use super::measured::{Entry, Measured, Search, short};
use super::mode::Mode;
use crate::machine;
use crate::tune::Task;
use crate::tune::check::Evidence;
use crate::tune::search::Found;
use rla_codegen::schedule::{Choices, Slot, space};
use serde::{Deserialize, Serialize};

/// What a search found for one pass of one variant on a processor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What all rows say.
    #[serde(flatten)]
    pub measured: Measured,
    /// Instruction set.
    pub level: String,
    /// H and HV.
    pub heads: [usize; 2],
    /// B and T of the call that was timed.
    pub timed: [usize; 2],
    /// Threads of that call.
    pub threads: usize,
    /// Executed operations over the machine's f32 product rate, where that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_matrix: Option<f64>,
    /// The parameters.
    pub choices: Choices,
    /// What is known of their being right.
    pub evidence: Proof,
}

/// The evidence of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Random cases against the oracle.
    pub cases: usize,
    /// Their seed.
    pub seed: u64,
    /// Runs of each with equal bits.
    pub repeats: usize,
    /// Largest relative error of outputs and states.
    pub outputs: f64,
    /// Largest relative error of gradients.
    pub gradients: f64,
    /// Largest error over its bound.
    pub worst: f64,
    /// Whether the whole ladder and the laws passed (`rla verify`), where they were run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
}

impl From<Evidence> for Proof {
    fn from(e: Evidence) -> Proof {
        let Evidence { cases, seed, repeats, outputs, gradients, worst } = e;
        let [outputs, gradients, worst] = [outputs, gradients, worst].map(short);
        Proof { cases, seed, repeats, outputs, gradients, worst, verified: None }
    }
}

impl Row {
    /// What a search found for a task, `compiler` having written the candidates.
    pub fn new(task: &Task, found: &Found, compiler: &str) -> Row {
        let dims = &task.dims;
        let measured = Measured::from(Search {
            recurrence: &task.recurrence,
            pass: task.slot.name(),
            dtype: task.element.name(),
            sizes: &dims.sizes,
            mode: task.mode,
            work: task.work(),
            comparison: found.comparison,
            seconds: found.seconds,
            candidates: found.records.len(),
            compiler,
            text: &found.text,
        });
        Row {
            measured,
            level: task.level.name().into(),
            heads: [dims.key_heads, dims.value_heads],
            timed: [dims.batch, dims.tokens],
            threads: task.threads,
            of_matrix: None,
            choices: found.best,
            evidence: Proof { verified: found.verified, ..Proof::from(found.evidence) },
        }
    }
}

impl Entry for Row {
    const NAME: &'static str = "tuned";

    fn measured(&self) -> &Measured {
        &self.measured
    }

    fn machine(&self) -> &str {
        &self.level
    }

    fn heads(&self) -> &[usize] {
        &self.heads
    }

    fn has_parameter(name: &str) -> bool {
        space::parameter(name).is_some()
    }

    fn refusal(&self) -> Option<String> {
        let pass = &self.measured.pass;
        let Some(slot) = Slot::named(pass) else { return Some(format!("`{pass}` is no pass")) };
        let Some(level) = machine::LEVELS.into_iter().find(|l| l.name() == self.level) else {
            return Some(format!("`{}` is no instruction set", self.level));
        };
        if self.measured.mode == Mode::Invariant && self.choices.threads != 0 {
            return Some("threads is 0 in mode invariant: one number would hold for all B, N and T".into());
        }
        space::refusal_on(&self.choices, slot, level)
    }

    fn of(table: &mut Table) -> &mut Vec<Row> {
        &mut table.rows
    }
}
