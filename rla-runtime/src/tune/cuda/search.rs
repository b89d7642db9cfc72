//! The search over candidates of one pass. It knows no device: what writes, runs and times them is behind [`Card`].
use super::check::check;
use super::{Record, Task, Written};
use crate::error::{Error, Result};
use crate::op::Operation;
use rla_build::table::cuda::Proof;
use rla_build::tune::search::Outcome;
use rla_build::tune::time::{Comparison, Pairs};
use rla_codegen::schedule::cuda::{Choices, Cost};
use std::collections::BTreeMap;
use std::time::Instant;

/// What runs the kernels of candidates.
pub trait Card {
    /// A candidate's kernels with memory of their own, ready to be timed.
    type Ready;

    /// All candidates in the order in which they are tried.
    fn candidates(&self) -> Vec<(Choices, Written)>;

    /// A candidate's kernels as an operation, to be checked.
    fn operation(&self, choices: Choices) -> Result<Operation>;

    /// Makes machine code of candidates that come next, side by side; what fails does so again when its turn comes.
    fn compile_ahead(&self, _: &[Choices]) {}

    /// Makes a candidate ready to be timed.
    fn ready(&self, choices: Choices) -> Result<Self::Ready>;

    /// What calls of the task's shape have where no table says.
    fn start(&self) -> Choices {
        Choices::default()
    }

    /// Bytes of registers that a candidate spills.
    fn spilled(&self, ready: &Self::Ready) -> usize;

    /// Seconds of one call.
    fn sample(&mut self, ready: &Self::Ready) -> Result<f64>;
}

/// What a search found.
pub struct Found {
    /// The best parameters; the default's where none was faster.
    pub choices: Choices,
    /// Fingerprint of their texts.
    pub text: String,
    /// They beside the default, measured at the end.
    pub comparison: Comparison,
    /// Their checks.
    pub evidence: Proof,
    /// Every candidate.
    pub records: Vec<Record>,
}

/// Candidates whose machine code is made at a time.
const AHEAD: usize = 8;
/// Rounds of the first and of the last comparison.
const ROUNDS: [usize; 2] = [7, 25];
/// What the first comparison lets through.
const NEAR: f64 = 1.02;

/// Rounds of both in turns, each going first every other time.
fn rounds<C: Card>(card: &mut C, a: &C::Ready, b: &C::Ready, rounds: usize, pairs: &mut Pairs) -> Result<()> {
    for round in 0..rounds {
        let pair = if round % 2 == 0 {
            let first = card.sample(a)?;
            (first, card.sample(b)?)
        } else {
            let first = card.sample(b)?;
            (card.sample(a)?, first)
        };
        pairs.rounds.push(pair);
    }
    Ok(())
}

/// What a pass of a variant is called in errors.
fn what(task: &Task, reason: String) -> Error {
    Error::unsupported(format!("`{}` {}", task.recurrence.name, task.slot.name()), reason)
}

fn checked<C: Card>(card: &C, task: &Task, choices: Choices, all: bool) -> Result<std::result::Result<Proof, String>> {
    check(&card.operation(choices)?, task.slot, &task.problem.sizes, task.dtype, all)
}

/// Searches until all candidates were seen, the budget is spent or `stop` says so. `watch` is told of every candidate as it comes.
///
/// # Errors
/// The default itself is not right on this card.
pub fn search<C: Card>(
    card: &mut C,
    task: &Task,
    stop: &dyn Fn() -> bool,
    watch: &mut dyn FnMut(&Record),
) -> Result<Found> {
    let began = Instant::now();
    let start = card.start();
    let mut candidates = card.candidates();
    let first = candidates.iter().position(|(choices, _)| *choices == start).map(|i| candidates.remove(i));
    let first = first.ok_or_else(|| what(task, "the space lacks the default".into()))?;
    let (text, cost) = first.1.map_err(|reason| what(task, reason))?;
    let proof = checked(card, task, start, false)?
        .map_err(|reason| what(task, format!("the default is not right: {reason}")))?;
    let default = card.ready(start)?;
    let mut itself = Pairs::default();
    rounds(card, &default, &default, ROUNDS[0], &mut itself)?;
    let mut records =
        vec![Record { number: 0, choices: start, cost, measured: Some(itself.comparison()), outcome: Outcome::Start }];
    watch(&records[0]);
    let mut texts = BTreeMap::from([(text.clone(), 0)]);
    // the best so far; and all that are right, the seconds of each
    let mut best: Option<(usize, C::Ready)> = None;
    let mut right: Vec<Right> = vec![];
    let order: Vec<Choices> = candidates.iter().filter(|(_, w)| w.is_ok()).map(|(choices, _)| *choices).collect();
    let mut compiled = 0;
    for (number, (choices, written)) in (1..).zip(candidates) {
        if stop() || began.elapsed() > task.budget {
            break;
        }
        if order.get(compiled) == Some(&choices) {
            let batch = &order[compiled..order.len().min(compiled + AHEAD)];
            card.compile_ahead(batch);
            compiled += batch.len();
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
                        let incumbent = best.as_ref().map_or(&default, |(_, ready)| ready);
                        let (outcome, measured, ready) = contest(card, task, choices, incumbent)?;
                        record.measured = measured;
                        if let (Some((ready, proof)), Some(measured)) = (ready, measured) {
                            if outcome == Outcome::Best {
                                best = Some((number, ready));
                            }
                            right.push(Right { number, choices, text, seconds: measured.seconds, proof });
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
    // the best, then whatever else is right, the fastest first: what does not pass everything is passed over
    let winner = best.as_ref().map(|(number, _)| *number);
    right.retain(|_| winner.is_some());
    right.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    right.sort_by_key(|candidate| Some(candidate.number) != winner);
    for candidate in right {
        let ready = match best.take_if(|(number, _)| *number == candidate.number) {
            Some((_, ready)) => ready,
            // memory may have become short
            None => match card.ready(candidate.choices) {
                Ok(ready) => ready,
                Err(_) => continue,
            },
        };
        // measured once more: the best of many is partly the luckiest
        let mut last = Pairs::default();
        rounds(card, &ready, &default, ROUNDS[1], &mut last)?;
        let comparison = last.comparison();
        if !comparison.wins() {
            break;
        }
        match all_checks(card, task, candidate.choices, &candidate.proof) {
            Ok(evidence) => {
                let Right { choices, text, .. } = candidate;
                return Ok(Found { choices, text, comparison, evidence, records });
            }
            Err(reason) => {
                let record = records.iter_mut().find(|r| r.number == candidate.number).expect("it was recorded");
                record.outcome = Outcome::Refused(format!("it does not pass `rla verify`: {reason}"));
                watch(record);
            }
        }
    }
    let mut last = Pairs::default();
    rounds(card, &default, &default, ROUNDS[1], &mut last)?;
    let comparison = last.comparison();
    let comparison = Comparison { ratio: 1.0, seconds: comparison.other, ..comparison };
    let evidence = all_checks(card, task, start, &proof)
        .map_err(|reason| what(task, format!("the default does not pass `rla verify`: {reason}")))?;
    Ok(Found { choices: start, text, comparison, evidence, records })
}

/// A candidate that passed the checks before timing.
struct Right {
    number: usize,
    choices: Choices,
    text: String,
    seconds: f64,
    proof: Proof,
}

/// The ladder and the laws too; the evidence with that of before.
fn all_checks<C: Card>(card: &C, task: &Task, choices: Choices, before: &Proof) -> std::result::Result<Proof, String> {
    let all = checked(card, task, choices, true).map_err(|error| error.to_string())??;
    Ok(Proof { worst: all.worst.max(before.worst), cases: all.cases + before.cases, ..all })
}

type Contest<Ready> = (Outcome, Option<Comparison>, Option<(Ready, Proof)>);

/// Checks one candidate and times it beside the best so far.
fn contest<C: Card>(card: &mut C, task: &Task, choices: Choices, incumbent: &C::Ready) -> Result<Contest<C::Ready>> {
    let refused = |reason: String| Ok((Outcome::Refused(reason), None, None));
    let ready = match card.ready(choices) {
        Ok(ready) => ready,
        Err(error) => return refused(error.to_string()),
    };
    let spilled = card.spilled(&ready);
    if spilled > 0 {
        return refused(format!("{spilled} bytes of registers spilled"));
    }
    let proof = match checked(card, task, choices, false) {
        Ok(Ok(proof)) => proof,
        Ok(Err(reason)) => return refused(reason),
        Err(error) => return refused(error.to_string()),
    };
    let mut pairs = Pairs::default();
    rounds(card, &ready, incumbent, ROUNDS[0], &mut pairs)?;
    if pairs.comparison().ratio < NEAR {
        // of rounds that chose nothing
        pairs.rounds.clear();
        rounds(card, &ready, incumbent, ROUNDS[1], &mut pairs)?;
    }
    let comparison = pairs.comparison();
    let outcome = if comparison.wins() { Outcome::Best } else { Outcome::Slower };
    Ok((outcome, Some(comparison), Some((ready, proof))))
}
