//! A look over a call before it is used as a case: how large its states get, how near its kinks are, and whether it
//! stays within small integers.
use super::gradient::reverse;
use super::kink::{Nearest, OwnBranches, Site};
use super::plan::Operation;
use super::{At, Misfit, Walk, shape};
use crate::data::{Cotangents, Inputs};
use rla_dsl::recurrence::{Func, Recurrence};

/// Attempts to move one token's kinks before it counts as stuck.
const ATTEMPTS: usize = 200;

/// What [`survey`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    /// The largest absolute element of any state, initial ones included; infinite if one is not finite.
    pub largest_state: f64,
    /// How many times a token was moved.
    pub moved: usize,
    /// A kink that no attempt could move away; the walk ended there.
    pub stuck: Option<Site>,
}

/// Walks forward with no argument of a kink within `distance` of it: where one is, `shift` changes that token's inputs (those of
/// the site's value head alone, or other heads would notice) and the token is evaluated anew.
pub fn survey(
    recurrence: &Recurrence,
    inputs: &mut Inputs,
    distance: f64,
    shift: &mut dyn FnMut(&mut [Vec<f64>], Site),
) -> Result<Survey, Misfit> {
    shape::check(recurrence, inputs)?;
    let mut walk = Walk::new(recurrence, inputs);
    let mut found = Survey { largest_state: 0.0, moved: 0, stuck: None };
    for (sequence, tokens) in inputs.sequences().into_iter().enumerate() {
        for head in 0..inputs.dims.value_heads {
            let mut states = walk.initial_states(inputs, sequence, head);
            found.see_states(&states);
            for position in tokens.clone() {
                let at = At { position, head };
                for attempt in 0.. {
                    let mut kinks = Nearest::within(distance);
                    walk.evaluate(&inputs.tensors, at, &states, &mut kinks);
                    if kinks.near.is_empty() {
                        break;
                    }
                    if attempt == ATTEMPTS {
                        found.stuck = Some(kinks.near[0].0);
                        return Ok(found);
                    }
                    found.moved += 1;
                    kinks.near.iter().for_each(|(site, _)| shift(&mut inputs.tensors, *site));
                }
                walk.advance(&mut states);
                found.see_states(&states);
            }
        }
    }
    Ok(found)
}

impl Survey {
    fn see_states(&mut self, states: &[Vec<f64>]) {
        for x in states.iter().flatten() {
            self.largest_state = if x.is_finite() { self.largest_state.max(x.abs()) } else { f64::INFINITY };
        }
    }
}

/// How large and how integral the numbers of a call are, forward and backward.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Magnitudes {
    /// The largest absolute operand of a product.
    pub operand: f64,
    /// The largest absolute sum: any value, adjoint or gradient.
    pub sum: f64,
    /// Whether some value or adjoint is not an integer (an infinite log decay may be one).
    pub fractions: bool,
}

/// [`Magnitudes`] of a call.
pub fn magnitudes(recurrence: &Recurrence, inputs: &Inputs, cotangents: &Cotangents) -> Result<Magnitudes, Misfit> {
    let mut found = Magnitudes::default();
    let mut see = |plan: &super::plan::Plan, token: &super::token::Token| {
        token.look(plan, |node, value, adjoint| {
            let infinite_decay = |x: &f64| *x == f64::NEG_INFINITY && matches!(node.operation, Operation::Input(_));
            let mut numbers = value.iter().filter(|x| !infinite_decay(x)).chain(adjoint);
            found.fractions |= numbers.any(|x| x.fract() != 0.0 || !x.is_finite());
            let largest = |x: &[f64]| x.iter().filter(|x| x.is_finite()).fold(0.0, |most: f64, x| most.max(x.abs()));
            found.sum = found.sum.max(largest(value)).max(largest(adjoint));
            let operands: &[usize] = match &node.operation {
                Operation::Scale(a, b) | Operation::Product(a, b) | Operation::Divide(a, b) => &[*a, *b],
                Operation::Call(Func::Dot | Func::Sq, args) => args,
                _ => return,
            };
            for &operand in operands {
                found.operand = found.operand.max(largest(token.value(plan, operand)));
            }
            found.operand = found.operand.max(largest(adjoint));
        });
    };
    let (_, gradients) = reverse(recurrence, inputs, cotangents, &mut OwnBranches, &mut see)?;
    let largest =
        gradients.inputs.iter().chain(&gradients.states).flatten().fold(0.0, |most: f64, x| most.max(x.abs()));
    found.sum = found.sum.max(largest);
    Ok(found)
}
