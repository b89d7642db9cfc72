//! How far the reference itself moves when its inputs are rounded otherwise: the D of a bound.
use super::by_oracle;
use crate::case::Case;
use crate::draw::Rng;
use crate::error::{Error, Result};
use rla_codegen::oracle::kink::OwnBranches;
use rla_dsl::recurrence::Recurrence;

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
        let own = by_oracle(self.recurrence, self.case, &mut OwnBranches)?;
        let run = |seed: u64| {
            let mut random = Rng::new(seed);
            let mut case = self.case.clone();
            let states = case.inputs.states.iter_mut().flatten();
            for x in case.inputs.tensors.iter_mut().chain(states).flatten() {
                *x *= 1.0 + if random.chance(0.5) { self.half_unit } else { -self.half_unit };
            }
            let moved = by_oracle(self.recurrence, &case, &mut OwnBranches)?;
            let change = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| a - b).collect();
            Ok(moved.iter().zip(&own).map(change).collect())
        };
        (0..TRIES).map(run).collect()
    }
}
