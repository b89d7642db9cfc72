//! Tuning: which choices of the schedule are fastest on this machine, of those that are right.
//!
//! A candidate is generated and compiled, then checked (`check`) against the oracle on cases drawn for this search and run
//! twice for equal bits, and only then timed (`time`) in turns with the best so far. `search` decides who comes next, `pack`
//! takes compiled candidates to a machine without a compiler. Everything works on memory of its own (`call`, `memory`).
use crate::compile::Cache;
use crate::error::Error;
use crate::table::{Mode, Work};
use rla_codegen::data::Dims;
use rla_codegen::kernel::{CpuKernel, Form, Level, fingerprint};
use rla_codegen::pipeline::{self, Programs};
use rla_codegen::schedule::cost::{self, Caches, Cost};
use rla_codegen::schedule::{Choices, Schedule, Slot, space};
use rla_dsl::recurrence::Recurrence;
use std::path::PathBuf;

pub mod call;
pub mod check;
pub mod memory;
pub mod pack;
pub mod search;
pub mod time;

pub use memory::Element;

/// Sequences of which decode is timed with a token each, where nothing else is asked for: no cache holds their states.
pub const DECODE_SEQUENCES: usize = 64;

/// What is tuned: one pass of one variant for one instruction set, timed at one shape.
#[derive(Clone, Debug)]
pub struct Task {
    /// The variant.
    pub recurrence: Recurrence,
    /// The pass.
    pub slot: Slot,
    /// The instruction set.
    pub level: Level,
    /// Type of q, k, v and the like.
    pub element: Element,
    /// The shape that is timed.
    pub dims: Dims,
    /// Threads that run sequences and heads.
    pub threads: usize,
    /// What the configuration may depend on: in mode throughput a row is written for a bucket, and may name fewer threads.
    pub mode: Mode,
}

impl Task {
    /// What the timed call has to do.
    pub fn work(&self) -> Work {
        let Dims { batch, tokens, value_heads, .. } = self.dims;
        Work::new(batch, value_heads, batch * tokens)
    }

    /// Candidates for each number of threads that they may be divided among, in mode throughput as many as are there, else as the call
    /// is; cheapest first. Their costs are of a call that all threads share.
    fn divided(&self, ordered: impl IntoIterator<Item = (Choices, Cost)>) -> Vec<(Choices, Cost)> {
        let to_try = if self.mode == Mode::Throughput { self.threads } else { 1 };
        let (threads, heads) = (self.threads.max(1) as f64, self.work().heads as f64);
        let turns = |threads: f64| (heads / threads).ceil();
        let mut all: Vec<(Choices, Cost)> = vec![];
        for (choices, cost) in ordered {
            for divided in space::divided(choices, to_try) {
                let among = if divided.threads == 0 { threads } else { divided.threads as f64 };
                all.push((divided, cost.times(turns(among) / turns(threads))));
            }
        }
        all.sort_by(|a, b| a.1.cycles().total_cmp(&b.1.cycles()));
        all
    }

    /// The programs that the pass runs, in order.
    pub fn programs<'a>(&self, programs: &'a Programs) -> Vec<&'a rla_codegen::tile::Program> {
        match self.slot {
            Slot::Forward | Slot::Bf16 => vec![&programs.forward],
            Slot::Decode => vec![&programs.decode],
            Slot::Training | Slot::TrainingChannel => vec![&programs.forward_save, &programs.backward],
        }
    }
}

/// A compiled candidate.
#[derive(Clone, Debug)]
pub struct Made {
    /// The library.
    pub path: PathBuf,
    /// Its entry without the level.
    pub symbol: String,
}

/// Where candidates come from.
pub trait Source: Sync {
    /// All candidates with their predicted cost, cheapest first.
    fn order(&self) -> Vec<(Choices, Cost)>;
    /// A fingerprint of the text: equal texts are one candidate.
    fn fingerprint(&self, choices: &Choices) -> Result<String, String>;
    /// The candidate's library.
    fn make(&self, choices: &Choices) -> Result<Made, String>;
    /// Whether making takes a compiler's time.
    fn compiles(&self) -> bool;
}

/// Writes the text of the kernels that a task needs: its pass, and what no text is without.
pub type Write<'a> = dyn Fn(&Choices) -> Result<CpuKernel, String> + Sync + 'a;

/// Candidates that this machine generates and compiles.
pub struct Compiler<'a> {
    task: Task,
    programs: Programs,
    write: Box<Write<'a>>,
    cache: Cache,
    caches: Caches,
}

/// The text of a pass of a variant under choices.
pub fn write(task: &Task, programs: &Programs, choices: &Choices) -> Result<CpuKernel, String> {
    let mut schedule = Schedule::default();
    *schedule.of_mut(task.slot) = *choices;
    let symbol = rla_codegen::kernel::symbol(&task.recurrence, Form::Chunk);
    let training = task.slot.trains();
    pipeline::cpu_of(&task.recurrence, programs, training, &schedule, &symbol, &[task.level]).map_err(|e| e.to_string())
}

impl<'a> Compiler<'a> {
    /// Candidates of a task. Variants outside the class run token by token and have no choices.
    pub fn new(task: &Task, cache: Cache, caches: Caches) -> Result<Compiler<'a>, Error> {
        let (_, programs) = pipeline::chunk_programs(&task.recurrence).map_err(|outside| {
            let (name, line) = (&task.recurrence.name, outside.span.line);
            Error::Compile(format!("`{name}` has nothing to tune: outside the class, line {line}: {}", outside.reason))
        })?;
        let (own, kept) = (task.clone(), programs.clone());
        let write = Box::new(move |choices: &Choices| write(&own, &kept, choices));
        Ok(Compiler { task: task.clone(), programs, write, cache, caches })
    }

    /// The same with texts written by another: a test plants wrong ones.
    pub fn written_by(self, write: Box<Write<'a>>) -> Compiler<'a> {
        Compiler { write, ..self }
    }
}

impl Source for Compiler<'_> {
    fn order(&self) -> Vec<(Choices, Cost)> {
        let task = &self.task;
        let programs = task.programs(&self.programs);
        let ordered = cost::ordered(&programs, task.slot, task.level, &task.dims.sizes, &self.caches);
        task.divided(ordered)
    }

    fn fingerprint(&self, choices: &Choices) -> Result<String, String> {
        Ok(format!("{:032x}", fingerprint(&[&(self.write)(choices)?.source])))
    }

    fn make(&self, choices: &Choices) -> Result<Made, String> {
        let text = (self.write)(choices)?;
        let compiled = self.cache.library("rla", &text.source, || {}).map_err(|e| e.to_string())?;
        Ok(Made { path: compiled.path, symbol: text.symbol })
    }

    fn compiles(&self) -> bool {
        true
    }
}
