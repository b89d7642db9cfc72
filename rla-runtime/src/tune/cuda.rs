//! `rla tune --backend cuda`: the search over the choices of a variant's kernels on this GPU. A candidate is compiled, must not
//! spill, must pass checks of the ladder and the laws, and is only then timed, in turns with the best so far.
use super::round;
use crate::bench::Pass;
use crate::device::cuda::bench::{Ready, Settings as Timing, moved};
use crate::device::cuda::ceiling::Ceilings;
use crate::device::cuda::kernels::{self, Key, Source};
use crate::device::cuda::memory::Buffer;
use crate::device::cuda::{Device, host, time};
use crate::error::{Error, Result};
use crate::ladder::Setting;
use crate::op::{Backend, Operation};
use crate::problem::{Problem, StateLayout};
use crate::tensor::DType;
use crate::verify::{self, Calls};
use rla_build::table::cuda::{Proof, Row};
use rla_build::table::{self};
use rla_build::tune::search::Outcome;
use rla_build::tune::time::{Comparison, Pairs};
use rla_codegen::schedule::cuda::{self, Choices, Cost, Schedule, Slot};
use rla_dsl::Recurrence;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
            "number": self.number, "choices": self.choices, "text": cuda::text(&self.choices, Some(slot)),
            "predicted_bytes": round(self.cost.total(), 1), "flops": self.cost.flops, "bytes": self.cost.bytes,
        });
        super::judge(&mut object, &self.outcome, self.measured.as_ref());
        object
    }
}

/// The fingerprint of a candidate's texts and what they are predicted to cost; or why they cannot be written.
pub type Written = std::result::Result<(String, Cost), String>;

/// Candidates of a slot for sizes and a type by predicted cost, at the end those that cannot be written.
pub fn ordered(source: &Source, slot: Slot, key: &Key, shared: usize) -> Vec<(Choices, Written)> {
    let mut all: Vec<_> = cuda::all(slot)
        .into_iter()
        .map(|choices| {
            let written = source.predict(slot, &Key { choices, ..key.clone() }, shared);
            (choices, written.map_err(|e| e.to_string()))
        })
        .collect();
    let cost = |written: &Written| written.as_ref().map_or(f64::INFINITY, |(_, cost)| cost.total());
    all.sort_by(|a, b| cost(&a.1).total_cmp(&cost(&b.1)));
    all
}

/// What choices are held to on this GPU: random cases of the sizes that are tuned, twice for equal bits; `all`: the ladder and
/// the laws of `rla verify` too.
fn checked(task: &Task, choices: Choices, all: bool) -> Result<std::result::Result<Proof, String>> {
    let mut schedule = Schedule::default();
    *schedule.of_mut(task.slot) = choices;
    let operation = Operation::cuda((*task.recurrence).clone(), Some(schedule))?;
    let setting = Setting { layout: StateLayout::ValueMajor, dtype: task.dtype, ..Setting::of(Backend::Cuda) };
    let calls = match task.slot {
        Slot::Forward => Calls::Forward,
        Slot::Training => Calls::Training,
        Slot::Decode => Calls::Decode,
    };
    let mut rows = verify::of_sizes(&operation, &setting, &task.problem.sizes, calls)?;
    if all {
        rows.extend(verify::verify(&operation, &setting, 1, |_| true, |_| ())?);
    }
    if let Some(row) = rows.iter().find(|row| !row.passed) {
        return Ok(Err(format!("{}: {}", row.check, row.remark)));
    }
    Ok(Ok(Proof {
        cases: rows.iter().map(|row| row.cases).sum(),
        repeats: 2,
        worst: rows.iter().filter_map(|row| row.worst).fold(0.0, f64::max),
        verified: all,
    }))
}

/// Rounds of the first and of the last comparison.
const ROUNDS: [usize; 2] = [7, 25];
/// What the first comparison lets through.
const NEAR: f64 = 1.02;

struct Timer {
    flush: Buffer,
    byte: u8,
}

impl Timer {
    /// Rounds of both in turns, each going first every other time.
    fn rounds(&mut self, a: &Ready, b: &Ready, rounds: usize, pairs: &mut Pairs) -> Result<()> {
        let mut sample = |ready: &Ready| -> Result<f64> {
            self.byte = self.byte.wrapping_add(1);
            Ok(ready.sample(0, &self.flush, self.byte)? / 1e3)
        };
        for round in 0..rounds {
            let pair = if round % 2 == 0 {
                let first = sample(a)?;
                (first, sample(b)?)
            } else {
                let first = sample(b)?;
                (sample(a)?, first)
            };
            pairs.rounds.push(pair);
        }
        Ok(())
    }
}

/// Searches until all candidates were seen, the budget is spent or `stop` says so. The row of the best, and every candidate's
/// record, of which `watch` is told as they come.
///
/// # Errors
/// The default itself is not right on this GPU, or what was found does not pass `rla verify`.
pub fn tune(task: &Task, stop: &dyn Fn() -> bool, watch: &mut dyn FnMut(&Record)) -> Result<(Row, Vec<Record>)> {
    let began = Instant::now();
    let device = Device::first()?;
    let source = kernels::source(&task.recurrence)?;
    let key = Key::usual(&task.recurrence, &task.problem.sizes, host::elem(task.dtype)?);
    let pass = match task.slot {
        Slot::Forward => Pass::Forward,
        Slot::Training => Pass::Train,
        Slot::Decode => Pass::Decode,
    };
    let prepare = |choices: Choices| {
        let timing = Timing {
            passes: vec![pass],
            dtype: task.dtype,
            choices: Some(choices),
            // short calls in a row, as in a model
            layers: if pass == Pass::Decode { 8 } else { 1 },
            layout: StateLayout::ValueMajor,
            budget: Duration::ZERO,
        };
        Ready::new(&task.recurrence, &task.problem, &timing)
    };
    let what = |reason: String| Error::unsupported(format!("`{}` {}", task.recurrence.name, task.slot.name()), reason);
    let start = Choices::default();
    let mut candidates = ordered(&source, task.slot, &key, device.shared);
    let first = candidates.iter().position(|(choices, _)| *choices == start).map(|i| candidates.remove(i));
    let (text, cost) = first.ok_or_else(|| what("the space lacks the default".into()))?.1.map_err(what)?;
    let mut proof =
        checked(task, start, false)?.map_err(|reason| what(format!("the default is not right: {reason}")))?;
    let default = prepare(start)?;
    let mut timer = Timer { flush: time::flusher(&device)?, byte: 0 };
    let mut itself = Pairs::default();
    timer.rounds(&default, &default, ROUNDS[0], &mut itself)?;
    let mut records =
        vec![Record { number: 0, choices: start, cost, measured: Some(itself.comparison()), outcome: Outcome::Start }];
    watch(&records[0]);
    let mut texts = BTreeMap::from([(text.clone(), 0)]);
    let mut best: Option<(Choices, String, Ready)> = None;
    for (number, (choices, written)) in (1..).zip(candidates) {
        if stop() || began.elapsed() > task.budget {
            break;
        }
        let mut record = Record { number, choices, cost: Cost::default(), measured: None, outcome: Outcome::Slower };
        let outcome = match written {
            Err(reason) => Outcome::Refused(reason),
            Ok((text, cost)) => {
                record.cost = cost;
                match texts.get(&text) {
                    Some(same) => Outcome::Same(*same),
                    None => {
                        texts.insert(text.clone(), number);
                        let incumbent = best.as_ref().map_or(&default, |(_, _, ready)| ready);
                        let (outcome, measured, ready) = contest(task, choices, &prepare, incumbent, &mut timer)?;
                        record.measured = measured;
                        if let (Outcome::Best, Some((ready, seen))) = (&outcome, ready) {
                            best = Some((choices, text, ready));
                            proof = seen;
                        }
                        outcome
                    }
                }
            }
        };
        record.outcome = outcome;
        watch(&record);
        records.push(record);
    }
    // measured once more: the best of many is partly the luckiest
    let mut last = Pairs::default();
    let ready = best.as_ref().map_or(&default, |(_, _, ready)| ready);
    timer.rounds(ready, &default, ROUNDS[1], &mut last)?;
    let mut comparison = last.comparison();
    let (mut choices, mut found) = (start, text);
    match best {
        Some((better, text, _)) if comparison.wins() => (choices, found) = (better, text),
        _ => comparison = Comparison { ratio: 1.0, seconds: comparison.other, ..comparison },
    }
    let evidence = match checked(task, choices, true)? {
        Ok(all) => Proof { worst: all.worst.max(proof.worst), cases: all.cases + proof.cases, ..all },
        Err(reason) => return Err(what(format!("what was found does not pass `rla verify`: {reason}"))),
    };
    let mut ceilings = Ceilings::new(&device)?;
    (0..3).try_for_each(|_| ceilings.measure())?;
    let problem =
        Problem { tokens: if pass == Pass::Decode { 1 } else { task.problem.tokens }, ..task.problem.clone() };
    let bytes = moved(&task.recurrence, &problem, pass, task.dtype);
    let nvrtc = rla_build::compile_cuda::Nvrtc::get()
        .map_or(String::new(), |n| format!(", NVRTC {}.{}", n.version.0, n.version.1));
    let row = Row::new(table::cuda::Result {
        recurrence: &task.recurrence,
        slot: task.slot,
        architecture: device.architecture()?,
        dtype: task.dtype.name(),
        sizes: &task.problem.sizes,
        timed: [problem.batch, problem.tokens, problem.key_heads, problem.value_heads],
        comparison,
        of_copy: bytes / comparison.seconds / 1e9 / ceilings.copy_gbs(),
        searched: began.elapsed().as_secs_f64(),
        candidates: records.len(),
        compiler: format!("rla {}{nvrtc}, driver API {}", env!("CARGO_PKG_VERSION"), device.driver),
        text: found,
        choices,
        evidence,
    });
    Ok((row, records))
}

type Contest = (Outcome, Option<Comparison>, Option<(Ready, Proof)>);

/// Compiles, checks and times one candidate beside the best so far.
fn contest(
    task: &Task,
    choices: Choices,
    prepare: &dyn Fn(Choices) -> Result<Ready>,
    incumbent: &Ready,
    timer: &mut Timer,
) -> Result<Contest> {
    let refused = |reason: String| Ok((Outcome::Refused(reason), None, None));
    let proof = match checked(task, choices, false) {
        Ok(Ok(proof)) => proof,
        Ok(Err(reason)) => return refused(reason),
        Err(error) => return refused(error.to_string()),
    };
    let ready = prepare(choices)?;
    if ready.spilled(0) > 0 {
        return refused(format!("{} bytes of registers spilled", ready.spilled(0)));
    }
    let mut pairs = Pairs::default();
    timer.rounds(&ready, incumbent, ROUNDS[0], &mut pairs)?;
    if pairs.comparison().ratio < NEAR {
        // of rounds that chose nothing
        pairs.rounds.clear();
        timer.rounds(&ready, incumbent, ROUNDS[1], &mut pairs)?;
    }
    let comparison = pairs.comparison();
    if !comparison.wins() {
        return Ok((Outcome::Slower, Some(comparison), None));
    }
    Ok((Outcome::Best, Some(comparison), Some((ready, proof))))
}
