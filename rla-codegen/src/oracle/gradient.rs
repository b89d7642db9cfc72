//! The exact gradient of the definition: reverse mode through the same evaluation, token by token.
//!
//! The states are kept every sqrt(T)-th token; between two of them a stretch is evaluated again, keeping each token's
//! values, and then walked backward, one token's expressions at a time. Memory grows with sqrt(T).
use super::kink::OwnBranches;
use super::plan::{Operation, Plan};
use super::token::Token;
use super::{At, Kinks, Misfit, Walk, place_of_input, shape, zero_outputs};
use crate::data::{Cotangents, Gradients, Inputs, Outputs};
use rla_dsl::recurrence::Recurrence;
use std::ops::Range;

/// Outputs, and the gradients of `sum(cotangent * output)` over outputs and final states, for every input, parameter and
/// initial state.
pub fn gradient(
    recurrence: &Recurrence,
    inputs: &Inputs,
    cotangents: &Cotangents,
) -> Result<(Outputs, Gradients), Misfit> {
    gradient_with(recurrence, inputs, cotangents, &mut OwnBranches)
}

/// [`gradient`], where `kinks` sees every argument of a kink and says which branch it takes, forward and backward.
pub fn gradient_with(
    recurrence: &Recurrence,
    inputs: &Inputs,
    cotangents: &Cotangents,
    kinks: &mut dyn Kinks,
) -> Result<(Outputs, Gradients), Misfit> {
    reverse(recurrence, inputs, cotangents, kinks, &mut |_, _| {})
}

/// [`gradient_with`]; `see` is shown each token once its adjoints are there.
pub(super) fn reverse(
    recurrence: &Recurrence,
    inputs: &Inputs,
    cotangents: &Cotangents,
    kinks: &mut dyn Kinks,
    see: &mut dyn FnMut(&Plan, &Token),
) -> Result<(Outputs, Gradients), Misfit> {
    shape::check(recurrence, inputs)?;
    shape::check_cotangents(recurrence, inputs, cotangents)?;
    let mut walk = Walk::new(recurrence, inputs);
    let mut outputs = zero_outputs(recurrence, inputs);
    let mut gradients = Gradients {
        inputs: inputs.tensors.iter().map(|t| vec![0.0; t.len()]).collect(),
        states: outputs.states.iter().map(|s| vec![0.0; s.len()]).collect(),
    };
    for (sequence, tokens) in inputs.sequences().into_iter().enumerate() {
        for head in 0..inputs.dims.value_heads {
            let at = |position: usize| At { position, head };
            let mut states = walk.initial_states(inputs, sequence, head);
            let mut stretches = vec![];
            for stretch in split(tokens.clone(), walk.plan.size) {
                stretches.push((stretch.clone(), states.clone()));
                for position in stretch {
                    walk.evaluate(&inputs.tensors, at(position), &states, kinks);
                    walk.advance(&mut states);
                    walk.store_outputs(at(position), &mut outputs.outputs);
                }
            }
            walk.store_states(sequence, head, &states, &mut outputs.states);
            let mut adjoints = walk.final_adjoints(cotangents, sequence, head);
            while let Some((stretch, mut states)) = stretches.pop() {
                let mut kept = vec![];
                for position in stretch.clone() {
                    walk.evaluate(&inputs.tensors, at(position), &states, kinks);
                    walk.advance(&mut states);
                    kept.push(walk.token.keep());
                }
                for position in stretch.rev() {
                    walk.token.restore(kept.pop().expect("one entry a token"));
                    walk.backward(at(position), cotangents, &mut adjoints, &mut gradients);
                    see(&walk.plan, &walk.token);
                }
            }
            walk.store_states(sequence, head, &adjoints, &mut gradients.states);
        }
    }
    Ok((outputs, gradients))
}

/// Cuts a sequence into about sqrt(T) stretches of about sqrt(T) tokens, fewer where a token has many values.
fn split(tokens: Range<usize>, values: usize) -> impl Iterator<Item = Range<usize>> {
    /// Values that one stretch may keep: 128 MiB.
    const MOST: usize = 1 << 24;
    let root = (tokens.len() as f64).sqrt().ceil() as usize;
    let step = root.min(MOST / values.max(1)).max(1);
    let end = tokens.end;
    tokens.step_by(step).map(move |start| start..(start + step).min(end))
}

impl Walk<'_> {
    fn final_adjoints(&self, cotangents: &Cotangents, sequence: usize, head: usize) -> Vec<Vec<f64>> {
        let states = self.plan.state_sizes.iter().zip(&cotangents.states);
        states
            .map(|(&size, cotangent)| match cotangent {
                Some(cotangent) => cotangent[self.row(sequence, head, size)].to_vec(),
                None => vec![0.0; size],
            })
            .collect()
    }

    /// One token in reverse: `adjoints` are those of the states after it, and become those of the states before it.
    fn backward(&mut self, at: At, cotangents: &Cotangents, adjoints: &mut [Vec<f64>], gradients: &mut Gradients) {
        self.token.clear();
        for (adjoint, &node) in adjoints.iter().zip(&self.plan.assigned) {
            self.token.seed(&self.plan, node, adjoint);
        }
        for (cotangent, &node) in cotangents.outputs.iter().zip(&self.plan.outputs) {
            if let Some(cotangent) = cotangent {
                let place = self.row(at.position, at.head, self.plan.nodes[node].place().len());
                self.token.seed(&self.plan, node, &cotangent[place]);
            }
        }
        self.token.backward(&self.plan);
        adjoints.iter_mut().for_each(|a| a.fill(0.0));
        for (id, node) in self.plan.nodes.iter().enumerate() {
            let target = match node.operation {
                Operation::State(i) => &mut adjoints[i][..],
                Operation::Input(i) => {
                    let place = place_of_input(&self.recurrence.inputs[i], &self.dims, at);
                    &mut gradients.inputs[i][place]
                }
                _ => continue,
            };
            target.iter_mut().zip(self.token.adjoint(&self.plan, id)).for_each(|(t, a)| *t += a);
        }
    }
}
