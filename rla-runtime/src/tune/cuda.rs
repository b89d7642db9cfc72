//! `rla tune --backend cuda`: the search over the choices of a variant's kernels on this GPU. A candidate is compiled, must not
//! spill, must pass checks of the ladder and the laws, and is only then timed, in turns with the best so far.
use super::round;
use crate::bench::Pass;
use crate::device::cuda::bench::{Ready, Settings as Timing, moved};
use crate::device::cuda::ceiling::Ceilings;
use crate::device::cuda::kernels::{self, Key, Source};
use crate::device::cuda::memory::Buffer;
use crate::device::cuda::{Device, host, time, tunings};
use crate::error::Result;
use crate::op::Operation;
use crate::problem::{Problem, StateLayout};
use crate::tensor::DType;
use rla_build::table::Mode;
use rla_build::table::cuda::Row;
use rla_build::table::measured::{Measured, Search};
use rla_build::tune::search::Outcome;
use rla_build::tune::time::Comparison;
use rla_codegen::schedule::cuda::{self, Choices, Cost, Load, Schedule, Slot};
use rla_dsl::Recurrence;
use search::{Card, Found};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub mod check;
pub mod search;

/// What is tuned.
pub struct Task {
    /// The variant.
    pub recurrence: Arc<Recurrence>,
    /// The pass.
    pub slot: Slot,
    /// The call that is timed.
    pub problem: Problem,
    /// Type of q, k, v and the like.
    pub dtype: DType,
    /// Wall time; the default is checked and timed in any case.
    pub budget: Duration,
    /// What the configuration may depend on: in mode throughput a row is written for a bucket.
    pub mode: Mode,
}

impl Task {
    fn pass(&self) -> Pass {
        match self.slot {
            Slot::Forward => Pass::Forward,
            Slot::Training => Pass::Train,
            Slot::Decode => Pass::Decode,
        }
    }
}

/// One line of the log.
#[derive(Clone, Debug)]
pub struct Record {
    /// Counted from 0, which is the default.
    pub number: usize,
    /// The candidate.
    pub choices: Choices,
    /// What it was predicted to cost.
    pub cost: Cost,
    /// What was measured beside the best of that time; `None` for what was not timed.
    pub measured: Option<Comparison>,
    /// What became of it.
    pub outcome: Outcome,
}

impl Record {
    /// The record as one object.
    pub fn json(&self, slot: Slot) -> Value {
        let mut object = json!({
            "number": self.number, "choices": self.choices, "text": cuda::text(&self.choices, slot),
            "predicted_bytes": round(self.cost.total(), 1), "flops": self.cost.flops, "bytes": self.cost.bytes,
        });
        super::judge(&mut object, &self.outcome, self.measured.as_ref());
        object
    }
}

/// The fingerprint of a candidate's texts and what they are predicted to cost; or why they cannot be written.
pub type Written = std::result::Result<(String, Cost), String>;

/// What a card works on in a call.
pub fn load(source: &Source, problem: &Problem, multiprocessors: usize) -> Load {
    tunings::load(source, &problem.sizes, problem.sequence_count() * problem.value_heads, multiprocessors)
}

/// Candidates of a slot for sizes and a type by predicted cost, at the end those that cannot be written.
pub fn ordered(source: &Source, slot: Slot, key: &Key, shared: usize, load: &Load) -> Vec<(Choices, Written)> {
    let mut all: Vec<_> = cuda::all(slot)
        .into_iter()
        .map(|choices| {
            let written = source.predict(slot, &Key { choices, ..key.clone() }, shared);
            (choices, written.map(|(text, cost)| (text, cost.on(&choices, load))).map_err(|e| e.to_string()))
        })
        .collect();
    let cost = |written: &Written| written.as_ref().map_or(f64::INFINITY, |(_, cost)| cost.total());
    all.sort_by(|a, b| cost(&a.1).total_cmp(&cost(&b.1)));
    all
}

/// The first GPU: kernels by NVRTC, times of captured graphs with the second-level cache flushed before each call.
struct Gpu<'a> {
    task: &'a Task,
    source: Source,
    device: &'a Device,
    shared: usize,
    flush: Buffer,
    byte: u8,
}

impl Card for Gpu<'_> {
    type Ready = Ready;

    fn candidates(&self) -> Vec<(Choices, Written)> {
        // a type that kernels do not take is refused where they are made ready
        let elem = host::elem(self.task.dtype).unwrap_or(rla_codegen::emit::cuda::Elem::F32);
        let key = Key::usual(&self.task.recurrence, &self.task.problem.sizes, elem);
        let load = load(&self.source, &self.task.problem, self.device.multiprocessors);
        ordered(&self.source, self.task.slot, &key, self.shared, &load)
    }

    fn start(&self) -> Choices {
        let Ok(elem) = host::elem(self.task.dtype) else { return Choices::default() };
        // what a call of this shape has
        let load = load(&self.source, &self.task.problem, self.device.multiprocessors);
        tunings::usual_of(&self.source, self.task.slot, &self.task.problem.sizes, &load, self.device.overlaps(), elem)
    }

    fn operation(&self, choices: Choices) -> Result<Operation> {
        let mut schedule = Schedule::default();
        *schedule.of_mut(self.task.slot) = choices;
        Operation::cuda((*self.task.recurrence).clone(), Some(schedule))
    }

    fn compile_ahead(&self, choices: &[Choices]) {
        let Ok(elem) = host::elem(self.task.dtype) else { return };
        let key = Key::usual(&self.task.recurrence, &self.task.problem.sizes, elem);
        kernels::compile_all(self.device, &self.source, self.task.slot, &key, choices);
    }

    fn ready(&self, choices: Choices) -> Result<Ready> {
        let pass = self.task.pass();
        let timing = Timing {
            passes: vec![pass],
            dtype: self.task.dtype,
            choices: Some(choices),
            mode: Mode::Invariant,
            // short calls in a row, as in a model
            layers: if pass == Pass::Decode { 8 } else { 1 },
            layout: StateLayout::ValueMajor,
            budget: Duration::ZERO,
        };
        Ready::new(&self.task.recurrence, &self.task.problem, &timing)
    }

    fn spilled(&self, ready: &Ready) -> usize {
        ready.spilled(0)
    }

    fn sample(&mut self, ready: &Ready) -> Result<f64> {
        self.byte = self.byte.wrapping_add(1);
        Ok(ready.sample(0, &self.flush, self.byte)? / 1e3)
    }
}

/// [`search::search`] on the first GPU. The row of the best, and every candidate's record.
///
/// # Errors
/// As of the search.
pub fn tune(task: &Task, stop: &dyn Fn() -> bool, watch: &mut dyn FnMut(&Record)) -> Result<(Row, Vec<Record>)> {
    let began = Instant::now();
    let device = Device::first()?;
    let source = kernels::source(&task.recurrence)?;
    let mut card =
        Gpu { task, source, device: &device, shared: device.shared, flush: time::flusher(&device)?, byte: 0 };
    let Found { choices, text, comparison, evidence, records } = search::search(&mut card, task, stop, watch)?;
    let mut ceilings = Ceilings::new(&device)?;
    (0..3).try_for_each(|_| ceilings.measure())?;
    let pass = task.pass();
    let problem =
        Problem { tokens: if pass == Pass::Decode { 1 } else { task.problem.tokens }, ..task.problem.clone() };
    let bytes = moved(&task.recurrence, &problem, pass, task.dtype);
    let nvrtc = rla_build::compile_cuda::Nvrtc::get()
        .map_or(String::new(), |n| format!(", NVRTC {}.{}", n.version.0, n.version.1));
    let measured = Measured::from(Search {
        recurrence: &task.recurrence,
        pass: task.slot.name(),
        dtype: task.dtype.name(),
        sizes: &task.problem.sizes,
        mode: task.mode,
        work: problem.work(),
        comparison,
        seconds: began.elapsed().as_secs_f64(),
        candidates: records.len(),
        compiler: &format!("rla {}{nvrtc}, driver API {}", env!("CARGO_PKG_VERSION"), device.driver),
        text: &text,
    });
    let row = Row {
        measured,
        architecture: device.architecture()?.into(),
        timed: [problem.batch, problem.tokens, problem.key_heads, problem.value_heads],
        of_copy: bytes / comparison.seconds / 1e9 / ceilings.copy_gbs(),
        choices,
        evidence,
    };
    let row = row.rounded();
    Ok((row, records))
}
