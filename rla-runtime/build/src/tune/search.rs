//! The search: cost-ordered candidates and neighbours of the best so far, in batches that are halved by ever longer timing. What
//! is fastest at the end must pass a last proof where there is one; the next fastest takes the place of what does not.
use super::call::{Call, Kernels};
use super::check::{Cases, Evidence};
use super::time::{Comparison, Pairs, Timer};
use super::{Source, Task};
use crate::clock::Clock;
use crate::draw::{self, Gates, Keys, Plan, Rng};
use crate::error::Error;
use rla_codegen::data::Inputs;
use rla_codegen::schedule::cost::Cost;
use rla_codegen::schedule::{Choices, space};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How a search is run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Wall time for all of it; the choices that it starts from are checked and timed in any case.
    pub budget: Duration,
    /// What kernels are timed by.
    pub clock: Clock,
    /// Compilers at a time.
    pub workers: usize,
    /// Of the cases.
    pub seed: u64,
}

/// What became of a candidate.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is what the search began with.
    Start,
    /// It may not be used: why.
    Refused(String),
    /// Its text is that of an earlier candidate.
    Same(usize),
    /// Right, and not faster than the best so far.
    Slower,
    /// Right, and the best so far from here on.
    Best,
}

/// One line of the log.
#[derive(Clone, Debug)]
pub struct Record {
    /// Counted from 0, which is what the search began with.
    pub number: usize,
    /// The candidate.
    pub choices: Choices,
    /// Predicted cycles per token and value head.
    pub predicted: f64,
    /// What was measured beside the best of that time; `None` for what was not timed.
    pub measured: Option<Comparison>,
    /// What became of it.
    pub outcome: Outcome,
    /// Seconds since the search began.
    pub at: f64,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The choices it began with.
    pub start: Choices,
    /// The fastest right ones.
    pub best: Choices,
    /// Fingerprint of their text.
    pub text: String,
    /// Their checks.
    pub evidence: Evidence,
    /// Best beside start, measured once more at the end; where start is the best its spread beside itself.
    pub comparison: Comparison,
    /// Every candidate.
    pub records: Vec<Record>,
    /// Wall seconds spent.
    pub seconds: f64,
    /// Whether it was asked to stop.
    pub interrupted: bool,
    /// Whether the best passed the last proof; `None` where it was not put to it.
    pub verified: Option<bool>,
}

/// What the last proof says of choices: `None` that there is none, else that they pass, or why not. It is asked of what would be kept,
/// after all timing.
pub type Prove<'a> = dyn Fn(&Choices) -> Result<Option<Result<(), String>>, Error> + 'a;

/// A seed that no earlier search had.
pub fn fresh_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    // a table holds it as a signed integer
    Rng::stream(since.as_secs(), u64::from(since.subsec_nanos())).bits() >> 1
}

/// Rounds of the first, second and last comparison.
const ROUNDS: [usize; 3] = [4, 8, 24];
/// What the first comparison lets through.
const NEAR: f64 = 1.03;

struct Candidate {
    number: usize,
    kernels: Kernels,
    evidence: Evidence,
    choices: Choices,
    text: String,
    /// Beside the best of its time.
    pairs: Pairs,
    /// Time over the start's.
    relative: f64,
}

/// Searches from `start`, after it among `hints`, for as long as the budget lasts and `stop` is false. `watch` is told of every candidate,
/// once more of one that fails the last proof, which a search that was stopped leaves out.
///
/// # Errors
/// The start itself cannot be made, or is not right.
#[allow(clippy::too_many_arguments)]
pub fn search(
    task: &Task,
    source: &dyn Source,
    start: Choices,
    hints: &[Choices],
    settings: &Settings,
    stop: &(dyn Fn() -> bool + Sync),
    prove: Option<&Prove>,
    watch: &mut dyn FnMut(&Record),
) -> Result<Found, Error> {
    let began = Instant::now();
    let ended = || stop() || began.elapsed() >= settings.budget;
    let sizes = &task.dims.sizes;
    let mut cases = Cases::draw(&task.recurrence, task.slot, task.element, sizes, settings.seed)?;
    let mut call = timed_call(task);
    let order = source.order();
    let costs: BTreeMap<Choices, f64> = order.iter().map(|(choices, cost)| (*choices, cost.cycles())).collect();
    let mut hints: Vec<Choices> = hints.iter().copied().filter(|c| costs.contains_key(c)).collect();
    hints.reverse();
    let mut state = Searching {
        task,
        hints,
        order,
        costs,
        seen: BTreeSet::from([start]),
        texts: BTreeMap::new(),
        count: 0,
        numbers: BTreeMap::new(),
        records: vec![],
    };

    let refused = |what: String| {
        Error::Compile(format!("`{}`, {}: what the search begins with: {what}", task.recurrence.name, task.slot.name()))
    };
    let text = source.fingerprint(&start).map_err(refused)?;
    let since = Instant::now();
    let made = source.make(&start).map_err(refused)?;
    // nothing if it was in the cache
    let mut longest = since.elapsed();
    let kernels = Kernels::open(&made.path, &made.symbol, task.level)?.divided(start.threads);
    let evidence = cases.check(&kernels)?.map_err(refused)?;
    state.texts.insert((text.clone(), start.threads), 0);
    let first =
        Candidate { number: 0, kernels, evidence, choices: start, text, pairs: Pairs::default(), relative: 1.0 };
    let mut timer = Timer::new(&mut call, task.slot, settings.clock, &first.kernels)?;
    let mut itself = Pairs::default();
    timer.rounds(&first.kernels, &first.kernels, ROUNDS[0], &mut itself)?;
    let record = state.record(&first, Some(itself.comparison()), Outcome::Start, began);
    watch(&record);

    let mut contest = Contest { first, best: None, right: vec![] };
    while !ended() {
        // a batch that cannot be over in time is not begun
        if source.compiles() && settings.budget.saturating_sub(began.elapsed()) < longest {
            break;
        }
        let incumbent = contest.incumbent().choices;
        let size = if source.compiles() { 2 * settings.workers.max(1) } else { 4 };
        let (batch, same) = state.next(source, &incumbent, size, began, &ended);
        same.iter().for_each(&mut *watch);
        if batch.is_empty() {
            break;
        }
        let since = Instant::now();
        let mut made = make_all(source, &batch, settings.workers, &ended);
        longest = longest.max(since.elapsed());
        if stop() {
            // a compiler that was interrupted is no refusal
            made.retain(|(_, result)| result.is_ok());
        }
        let mut right = vec![];
        for (choices, result) in made {
            match state.checked(task, choices, result, &mut cases, began)? {
                Ok(candidate) => right.push(candidate),
                Err(record) => watch(&record),
            }
        }
        for record in contest.hold(&mut timer, right, &mut state, began)? {
            watch(&record);
        }
    }

    let Contest { first, best, mut right } = contest;
    // the best, then whatever else is right and was faster than the start, the fastest first: what fails the last proof is passed over
    right.retain(|candidate| best.is_some() && candidate.relative < 1.0);
    right.sort_by(|a, b| a.relative.total_cmp(&b.relative));
    let prove = prove.filter(|_| !stop());
    let mut kept = None;
    for candidate in best.into_iter().chain(right) {
        // measured once more: the best of many is partly the luckiest
        let mut last = Pairs::default();
        timer.rounds(&candidate.kernels, &first.kernels, ROUNDS[2], &mut last)?;
        let comparison = last.comparison();
        if !comparison.wins() {
            break;
        }
        match proved(prove, &candidate.choices)? {
            Ok(verified) => {
                kept = Some((candidate, comparison, verified));
                break;
            }
            Err(reason) => {
                let record = state.records.iter_mut().find(|record| record.number == candidate.number);
                let record = record.expect("every candidate has a record");
                record.outcome = Outcome::Refused(reason);
                watch(record);
            }
        }
    }
    let (winner, comparison, verified) = match kept {
        Some(kept) => kept,
        None => {
            let verified = proved(prove, &start)?.map_err(refused)?;
            let mut itself = Pairs::default();
            timer.rounds(&first.kernels, &first.kernels, ROUNDS[1], &mut itself)?;
            // beside itself it differs by noise, of which the spread tells
            let comparison = itself.comparison();
            (first, Comparison { ratio: 1.0, other: comparison.seconds, ..comparison }, verified)
        }
    };
    Ok(Found {
        start,
        best: winner.choices,
        text: winner.text,
        evidence: winner.evidence,
        comparison,
        records: state.records,
        seconds: began.elapsed().as_secs_f64(),
        interrupted: stop(),
        verified,
    })
}

/// Whether choices passed the last proof, `None` where there is none; or why they did not.
fn proved(prove: Option<&Prove>, choices: &Choices) -> Result<Result<Option<bool>, String>, Error> {
    let Some(prove) = prove else { return Ok(Ok(None)) };
    Ok(match prove(choices)? {
        None => Ok(None),
        Some(Ok(())) => Ok(Some(true)),
        Some(Err(reason)) => Err(format!("it does not pass `rla verify`: {reason}")),
    })
}

/// Who is the fastest of those that are right.
struct Contest {
    first: Candidate,
    /// What wins over the first.
    best: Option<Candidate>,
    /// Others that are right.
    right: Vec<Candidate>,
}

impl Contest {
    fn incumbent(&self) -> &Candidate {
        self.best.as_ref().unwrap_or(&self.first)
    }

    /// Times a batch beside the best so far, the promising ones longer; the fastest becomes the best if it wins.
    fn hold(
        &mut self,
        timer: &mut Timer,
        mut batch: Vec<Candidate>,
        state: &mut Searching,
        began: Instant,
    ) -> Result<Vec<Record>, Error> {
        let mut records = vec![];
        for (stage, rounds) in ROUNDS.into_iter().enumerate() {
            let other = self.incumbent();
            for candidate in &mut batch {
                timer.rounds(&candidate.kernels, &other.kernels, rounds, &mut candidate.pairs)?;
                candidate.relative = candidate.pairs.comparison().ratio * other.relative;
            }
            batch.sort_by(|a, b| a.relative.total_cmp(&b.relative));
            let near = batch.iter().filter(|c| c.pairs.comparison().ratio < NEAR).count();
            let keep = match stage {
                0 => near.min(batch.len().div_ceil(2)),
                1 => near.min(1),
                _ => usize::from(batch.first().is_some_and(|c| c.pairs.comparison().wins())),
            };
            for loser in batch.drain(keep..) {
                records.push(state.record(&loser, Some(loser.pairs.comparison()), Outcome::Slower, began));
                self.right.push(loser);
            }
            // the last comparison is of rounds that chose nothing
            if stage + 2 == ROUNDS.len() {
                batch.iter_mut().for_each(|c| c.pairs.rounds.clear());
            }
        }
        if let Some(winner) = batch.pop() {
            records.push(state.record(&winner, Some(winner.pairs.comparison()), Outcome::Best, began));
            self.right.extend(self.best.replace(winner));
        }
        Ok(records)
    }
}

type MadeAll = Vec<(Choices, Result<super::Made, String>)>;

/// Makes a batch, several at a time.
fn make_all(source: &dyn Source, batch: &[Choices], workers: usize, ended: &(dyn Fn() -> bool + Sync)) -> MadeAll {
    let next = AtomicUsize::new(0);
    let made = Mutex::new(vec![]);
    std::thread::scope(|scope| {
        for _ in 0..workers.clamp(1, batch.len()) {
            scope.spawn(|| {
                while !ended() {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(choices) = batch.get(index) else { return };
                    let result = source.make(choices);
                    made.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, *choices, result));
                }
            });
        }
    });
    let mut made = made.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    made.sort_by_key(|(index, ..)| *index);
    made.into_iter().map(|(_, choices, result)| (choices, result)).collect()
}

struct Searching<'a> {
    task: &'a Task,
    /// What is known of other searches, the best last.
    hints: Vec<Choices>,
    order: Vec<(Choices, Cost)>,
    costs: BTreeMap<Choices, f64>,
    seen: BTreeSet<Choices>,
    /// Number of the candidate with a text, for as many threads.
    texts: BTreeMap<(String, usize), usize>,
    /// Number of the latest candidate.
    count: usize,
    /// Number and text of those that are being made.
    numbers: BTreeMap<Choices, (usize, String)>,
    records: Vec<Record>,
}

impl Searching<'_> {
    fn predicted(&self, choices: &Choices) -> f64 {
        // the start may name the level's own tile in other words than the space
        self.costs.get(choices).copied().unwrap_or(f64::NAN)
    }

    fn record(
        &mut self,
        candidate: &Candidate,
        measured: Option<Comparison>,
        outcome: Outcome,
        began: Instant,
    ) -> Record {
        self.push(candidate.number, candidate.choices, measured, outcome, began)
    }

    fn push(
        &mut self,
        number: usize,
        choices: Choices,
        measured: Option<Comparison>,
        outcome: Outcome,
        began: Instant,
    ) -> Record {
        let predicted = self.predicted(&choices);
        let record = Record { number, choices, predicted, measured, outcome, at: began.elapsed().as_secs_f64() };
        self.records.push(record.clone());
        record
    }

    /// Candidates that come next: in turn the cheapest that differs from all seen in what costs most, and the cheapest
    /// neighbour of the best. Beside them the records of those whose text had been seen, or could not be written.
    fn next(
        &mut self,
        source: &dyn Source,
        best: &Choices,
        size: usize,
        began: Instant,
        ended: &dyn Fn() -> bool,
    ) -> (Vec<Choices>, Vec<Record>) {
        let (mut batch, mut records) = (vec![], vec![]);
        let coarse = |c: &Choices| (c.chunk, c.rows, c.vectors, c.solve);
        let mut tried: BTreeSet<_> = self.seen.iter().map(coarse).collect();
        let mut neighbours = space::neighbours(best, self.task.slot, self.task.level);
        neighbours.retain(|c| !self.seen.contains(c) && self.costs.contains_key(c));
        neighbours.sort_by(|a, b| self.predicted(a).total_cmp(&self.predicted(b)));
        let mut neighbours = neighbours.into_iter();
        let start = Choices::chunk(best.chunk);
        let plain = |c: &Choices| {
            let of = |c: &Choices| (c.prefetch, c.unroll, c.stream);
            of(c) == of(&start) && c.threads == best.threads
        };
        let mut far: Vec<Choices> = vec![];
        for (choices, _) in &self.order {
            if plain(choices) && tried.insert(coarse(choices)) {
                far.push(*choices);
            }
        }
        let mut far = far.into_iter();
        while batch.len() < size && (batch.is_empty() || !ended()) {
            let one = match batch.len() % 2 == 1 {
                _ if !self.hints.is_empty() => self.hints.pop(),
                true => neighbours.next().or_else(|| far.next()),
                false => far.next().or_else(|| neighbours.next()),
            };
            // when both are through, whatever is left
            let left = || self.order.iter().map(|(c, _)| *c).find(|c| !self.seen.contains(c));
            let Some(choices) = one.or_else(left) else { break };
            if !self.seen.insert(choices) {
                continue;
            }
            self.count += 1;
            let outcome = match source.fingerprint(&choices) {
                Err(reason) => Outcome::Refused(reason),
                Ok(text) => match self.texts.get(&(text.clone(), choices.threads)) {
                    Some(&same) => Outcome::Same(same),
                    None => {
                        self.texts.insert((text.clone(), choices.threads), self.count);
                        self.numbers.insert(choices, (self.count, text));
                        batch.push(choices);
                        continue;
                    }
                },
            };
            records.push(self.push(self.count, choices, None, outcome, began));
        }
        (batch, records)
    }

    /// Checks what was made. A candidate, or the record of why it is none.
    fn checked(
        &mut self,
        task: &Task,
        choices: Choices,
        made: Result<super::Made, String>,
        cases: &mut Cases,
        began: Instant,
    ) -> Result<Result<Candidate, Record>, Error> {
        let (number, text) = self.numbers.remove(&choices).unwrap_or_default();
        let made = match made {
            Ok(made) => made,
            Err(reason) => return Ok(Err(self.push(number, choices, None, Outcome::Refused(reason), began))),
        };
        let kernels = Kernels::open(&made.path, &made.symbol, task.level)?.divided(choices.threads);
        match cases.check(&kernels)? {
            Ok(evidence) => {
                let (pairs, relative) = (Pairs::default(), f64::NAN);
                Ok(Ok(Candidate { number, kernels, evidence, choices, text, pairs, relative }))
            }
            Err(reason) => Ok(Err(self.push(number, choices, None, Outcome::Refused(reason), began))),
        }
    }
}

/// The call that is timed: inputs as their domains say, states zero.
fn timed_call(task: &Task) -> Call {
    let (recurrence, dims) = (&task.recurrence, &task.dims);
    let mut rng = Rng::new(0);
    let (gates, keys) = (Gates::Weak, Keys::Independent);
    let plan = Plan { dims: dims.clone(), cu_seqlens: None, gates, keys, initial_states: false };
    let inputs = Inputs {
        dims: dims.clone(),
        consts: recurrence.const_defaults(&dims.sizes),
        tensors: recurrence.inputs.iter().map(|input| draw::tensor(input, &plan, &mut rng)).collect(),
        states: vec![None; recurrence.states.len()],
        cu_seqlens: None,
    };
    let training = task.slot.trains();
    let cotangents = training.then(|| {
        let mut cotangents = draw::cotangents(recurrence, &inputs, &mut rng);
        cotangents.states.iter_mut().for_each(|state| *state = None);
        cotangents
    });
    Call::new(recurrence, &inputs, cotangents.as_ref(), (task.element, task.element), task.threads)
}
