//! How far the definition itself moves under roundings: the D of a bound, and draws that no arithmetic of their type can hold.
//!
//! Moved or not, the oracle takes the branches that it takes on the case as it stands: a kink crossed is no rounding.
use super::{Judged, by_oracle};
use crate::case::Case;
use crate::draw::Rng;
use crate::error::{Error, Result};
use crate::judge;
use rla_codegen::oracle::kink::{Branch, Branches, Forced, Kink, Kinks, Site};
use rla_dsl::recurrence::Recurrence;
use std::collections::BTreeMap;

/// Perturbations that are tried.
const TRIES: u64 = 3;

/// Changes of every tensor, computed when first asked for.
pub(super) struct Movement<'a> {
    recurrence: &'a Recurrence,
    case: &'a Case,
    half_unit: f64,
    changes: Option<Vec<Vec<Vec<f64>>>>,
    /// Why the oracle refused, should it.
    pub refused: Option<Error>,
}

impl<'a> Movement<'a> {
    pub fn new(recurrence: &'a Recurrence, case: &'a Case, half_unit: f64) -> Movement<'a> {
        Movement { recurrence, case, half_unit, changes: None, refused: None }
    }

    /// Changes of tensor `index`, one for each perturbation.
    pub fn of(&mut self, index: usize) -> Vec<Vec<f64>> {
        if self.changes.is_none() {
            match self.compute() {
                Ok(changes) => self.changes = Some(changes),
                Err(error) => {
                    self.refused = Some(error);
                    self.changes = Some(vec![]);
                }
            }
        }
        self.changes.iter().flatten().map(|run| run[index].clone()).collect()
    }

    fn compute(&self) -> Result<Vec<Vec<Vec<f64>>>> {
        let own = Standing::of(self.recurrence, self.case)?;
        let run = |seed: u64| {
            let case = rounded_inputs(self.case, self.half_unit, seed);
            let moved = by_oracle(self.recurrence, &case, &mut own.branches())?;
            let change = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| a - b).collect();
            Ok(moved.iter().zip(&own.results).map(change).collect())
        };
        (0..TRIES).map(run).collect()
    }
}

/// The oracle on the case as it stands.
struct Standing {
    results: Vec<Vec<f64>>,
    branches: BTreeMap<Site, Branch>,
}

impl Standing {
    fn of(recurrence: &Recurrence, case: &Case) -> Result<Standing> {
        let mut branches = Branches::default();
        let results = by_oracle(recurrence, case, &mut branches)?;
        Ok(Standing { results, branches: branches.taken })
    }

    fn branches(&self) -> Forced {
        Forced::new(self.branches.clone())
    }
}

/// The case with each element of its inputs and initial states half a unit larger or smaller.
fn rounded_inputs(case: &Case, half_unit: f64, seed: u64) -> Case {
    let mut random = Rng::new(seed);
    let mut case = case.clone();
    let states = case.inputs.states.iter_mut().flatten();
    for x in case.inputs.tensors.iter_mut().chain(states).flatten() {
        *x *= 1.0 + if random.chance(0.5) { half_unit } else { -half_unit };
    }
    case
}

/// Each value of a function half a unit larger or smaller, one and the same for all elements of a column.
struct RoundedFunctions {
    branches: Forced,
    half_unit: f64,
    seed: u64,
}

impl Kinks for RoundedFunctions {
    fn branch(&mut self, kink: &Kink<'_>) -> Branch {
        self.branches.branch(kink)
    }

    fn value(&mut self, site: Site, value: &mut [f64]) {
        // a function of the site, since tokens are evaluated again
        let place = [site.call.0 as usize, site.head, site.position];
        let stream = place.iter().fold(self.seed, |stream, &x| Rng::stream(stream, x as u64).bits());
        let factor = 1.0 + if stream & 1 == 0 { self.half_unit } else { -self.half_unit };
        value.iter_mut().for_each(|x| *x *= factor);
    }
}

/// Whether the definition, with its inputs and the values of its functions half a unit off, misses the bounds itself.
pub(super) fn ill_posed(recurrence: &Recurrence, case: &Case, half_unit: f64, judged: &[Judged]) -> Result<bool> {
    let own = Standing::of(recurrence, case)?;
    for seed in 0..TRIES {
        let case = rounded_inputs(case, half_unit, seed);
        let mut rounded = RoundedFunctions { branches: own.branches(), half_unit, seed };
        let moved = by_oracle(recurrence, &case, &mut rounded)?;
        let holds = |(tensor, (moved, own)): (&Judged, (&Vec<f64>, &Vec<f64>))| {
            judge::judge(moved, own, &tensor.layout, tensor.bound, tensor.rms, &mut Vec::new).passed
        };
        if !judged.iter().zip(moved.iter().zip(&own.results)).all(holds) {
            return Ok(true);
        }
    }
    Ok(false)
}
