//! Mode throughput: which kernel runs, and on how many threads, may depend on B, N and T too, by rows of tables that hold for a bucket of
//! them. A call for which no row holds runs as in mode invariant.
use super::dispatch::{self, Kernel};
use crate::error::Result;
use crate::problem::Problem;
use crate::tensor::DType;
use rla_build::compile::Cache;
use rla_build::table::{Bucketed, Work};
use rla_codegen::data::Dims;
use rla_codegen::kernel::{Form, Level};
use rla_codegen::pipeline::{self, Programs};
use rla_codegen::schedule::{Choices, Schedule, Slot};
use rla_dsl::recurrence::Recurrence;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The kernel of a call, and how its work is divided.
#[derive(Clone)]
pub struct Chosen {
    /// The kernel.
    pub kernel: Arc<Kernel>,
    /// Threads that sequences and heads are divided among, at most; 0: all.
    pub threads: usize,
}

/// What a call asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The pass.
    pub slot: Slot,
    /// Type of q, k, v and the like.
    pub dtype: DType,
    /// K, V, declared dims.
    pub sizes: &'a [usize],
    /// Sequences, heads, tokens.
    pub work: Work,
}

impl<'a> Asked<'a> {
    /// What a call of a problem asks for.
    pub fn of(problem: &'a Problem, slot: Slot, dtype: DType) -> Asked<'a> {
        Asked { slot, dtype, sizes: &problem.sizes, work: problem.work() }
    }
}

/// Rows of mode throughput over the kernel of mode invariant.
pub struct Throughput {
    base: Arc<Kernel>,
    /// What that one was written with, where it is known.
    schedule: Option<Schedule>,
    recurrence: Arc<Recurrence>,
    programs: Option<Programs>,
    rows: Vec<Bucketed>,
    passed_over: Vec<String>,
    /// Kernels of other texts, compiled at the first call that asks for them.
    made: Mutex<BTreeMap<(Slot, Choices), Arc<Kernel>>>,
}

impl Throughput {
    /// By rows, the first that holds first.
    pub fn new(recurrence: Arc<Recurrence>, base: Arc<Kernel>, rows: Vec<Bucketed>, passed_over: Vec<String>) -> Self {
        let programs = pipeline::chunk_programs(&recurrence).ok().map(|(_, programs)| programs);
        let schedule = match &programs {
            Some(programs) if !rows.is_empty() => dispatch::schedule_of(&recurrence, programs, &base.report),
            _ => None,
        };
        Throughput { base, schedule, recurrence, programs, rows, passed_over, made: Mutex::default() }
    }

    /// The slot of a pass that trains.
    pub fn training(&self) -> Slot {
        self.programs.as_ref().map_or(Slot::Training, |programs| Slot::of_training(&programs.forward_save))
    }

    /// The row that holds for a call.
    pub fn row(&self, asked: Asked) -> Option<&Bucketed> {
        let holds = |row: &&Bucketed| {
            row.slot == asked.slot && row.row.measured.holds_for(asked.dtype.name(), asked.sizes, asked.work)
        };
        self.rows.iter().find(holds)
    }

    /// The kernel for a call.
    ///
    /// # Errors
    /// It is of another text, which cannot be compiled here.
    pub fn choose(&self, asked: Asked) -> Result<Chosen> {
        let Some(row) = self.row(asked) else { return Ok(Chosen { kernel: self.base.clone(), threads: 0 }) };
        let (threads, choices) = (row.row.choices.threads, row.row.choices.with_threads(0));
        let same = self.schedule.is_some_and(|schedule| schedule.of(row.slot).with_threads(0) == choices);
        let (Some(programs), false) = (&self.programs, same) else {
            return Ok(Chosen { kernel: self.base.clone(), threads });
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = made.get(&(row.slot, choices)) {
            return Ok(Chosen { kernel: kernel.clone(), threads });
        }
        let kernel = Arc::new(self.compile(programs, row.slot, self.base.report.level, choices)?);
        made.insert((row.slot, choices), kernel.clone());
        Ok(Chosen { kernel, threads })
    }

    /// The very text that was checked and timed, from where the search left it if that was here.
    fn compile(&self, programs: &Programs, slot: Slot, level: Level, choices: Choices) -> Result<Kernel> {
        let dims = Dims { sizes: vec![], batch: 1, tokens: 1, key_heads: 1, value_heads: 1 };
        let task = rla_build::tune::Task {
            recurrence: (*self.recurrence).clone(),
            slot,
            level,
            element: rla_build::tune::Element::F32,
            dims,
            threads: 1,
            mode: rla_build::table::Mode::Throughput,
        };
        let text = rla_build::tune::write(&task, programs, &choices).map_err(crate::Error::Compile)?;
        Kernel::from_text_in(&Cache::of_search(), &self.recurrence.name, Form::Chunk, &text)
    }

    /// The longest chunk that a forward that keeps nothing may have.
    pub fn longest_chunk(&self) -> usize {
        let forward = self.rows.iter().filter(|row| row.slot == Slot::Forward).map(|row| row.row.choices.chunk);
        forward.fold(self.base.report.chunk, usize::max)
    }

    /// Which row holds for a call, and why others do not: a line each.
    pub fn explain(&self, asked: Asked) -> Vec<String> {
        let Work { heads, tokens } = asked.work;
        let holds = self.row(asked);
        let call = format!("mode throughput, {}, {heads} heads of {tokens} tokens", asked.slot.name());
        let mut lines = vec![match holds {
            Some(row) => {
                let choices = rla_codegen::schedule::space::text(&row.row.choices);
                format!("{call}: by {}: {choices}", row.from)
            }
            None => format!("{call}: no row holds, as in mode invariant"),
        }];
        for row in self.rows.iter().filter(|row| row.slot == asked.slot) {
            let reason = row.row.measured.not_for(asked.dtype.name(), asked.sizes, asked.work);
            match reason {
                Some(reason) => lines.push(format!("not {}: {reason}", row.from)),
                None if holds.is_some_and(|first| first.from != row.from) => {
                    lines.push(format!("not {}: another row comes first", row.from));
                }
                None => {}
            }
        }
        lines.extend(self.passed_over.iter().map(|reason| format!("not {reason}")));
        lines
    }
}
