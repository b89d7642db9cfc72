//! The definition: a recurrence evaluated in f64, token by token, exactly as it is written.
//!
//! Nothing is expanded or rearranged: every expression is computed densely by its type, a matrix as a row-major array, so
//! that any recurrence the checker accepts can be evaluated, in the class or not. All else in the project is judged
//! against this. [`gradient`] is its exact derivative by reverse mode.
//!
//! Reading order: [`shape`] (what a call must bring), `plan` (the expressions in order of evaluation), `token` (one token,
//! forward and in reverse), `arith`, `product`, `function`, [`kink`] (the operations, each beside its adjoint), `gradient`.
mod arith;
mod function;
mod gradient;
pub mod kink;
mod plan;
mod product;
pub mod shape;
mod token;

pub use gradient::{gradient, gradient_with};
pub use kink::{Branch, Kink, Kinks, Site};
pub use shape::Misfit;

use crate::data::{Dims, Inputs, Outputs};
use kink::OwnBranches;
use plan::Plan;
use rla_dsl::recurrence::{InputKind, Recurrence};
use std::ops::Range;
use token::Token;

/// Outputs and final states.
pub fn forward(recurrence: &Recurrence, inputs: &Inputs) -> Result<Outputs, Misfit> {
    forward_with(recurrence, inputs, &mut OwnBranches)
}

/// [`forward`], where `kinks` sees every argument of a kink and says which branch it takes.
pub fn forward_with(recurrence: &Recurrence, inputs: &Inputs, kinks: &mut dyn Kinks) -> Result<Outputs, Misfit> {
    shape::check(recurrence, inputs)?;
    let mut walk = Walk::new(recurrence, inputs);
    let mut outputs = zero_outputs(recurrence, inputs);
    for (sequence, tokens) in inputs.sequences().into_iter().enumerate() {
        for head in 0..inputs.dims.value_heads {
            let mut states = walk.initial_states(sequence, head);
            for position in tokens.clone() {
                walk.forward(position, head, &mut states, kinks);
                walk.store_outputs(position, head, &mut outputs.outputs);
            }
            walk.store_states(sequence, head, &states, &mut outputs.states);
        }
    }
    Ok(outputs)
}

fn zero_outputs(recurrence: &Recurrence, inputs: &Inputs) -> Outputs {
    let zeros = |shape: Vec<usize>| vec![0.0; shape.iter().product()];
    let sequences = inputs.sequence_count();
    Outputs {
        outputs: (0..recurrence.outputs.len()).map(|i| zeros(shape::output(recurrence, i, &inputs.dims))).collect(),
        states: recurrence.states.iter().map(|s| zeros(shape::state(s, &inputs.dims, sequences))).collect(),
    }
}

/// One call: its plan, its data, and the buffer of one token. The states of one sequence and head travel beside it.
struct Walk<'a> {
    inputs: &'a Inputs,
    places: Places<'a>,
    plan: Plan,
    token: Token,
}

/// Where a token's or a sequence's numbers lie in the call's tensors.
#[derive(Clone, Copy)]
struct Places<'a> {
    recurrence: &'a Recurrence,
    dims: &'a Dims,
}

impl Places<'_> {
    /// Input `index` for this token and value head.
    fn input(self, index: usize, position: usize, head: usize) -> Range<usize> {
        let (decl, dims) = (&self.recurrence.inputs[index], self.dims);
        let width = decl.side.map_or(1, |side| dims.sizes[side.0 as usize]);
        let row = match decl.kind {
            InputKind::Param => head,
            InputKind::Input if decl.per_key_head() => position * dims.key_heads + dims.key_head(head),
            InputKind::Input => position * dims.value_heads + head,
        };
        row * width..(row + 1) * width
    }

    /// The `width` numbers of one token's (or sequence's) value head.
    fn row(self, row: usize, head: usize, width: usize) -> Range<usize> {
        let at = (row * self.dims.value_heads + head) * width;
        at..at + width
    }
}

impl<'a> Walk<'a> {
    fn new(recurrence: &'a Recurrence, inputs: &'a Inputs) -> Walk<'a> {
        let plan = Plan::new(recurrence, &inputs.dims.sizes);
        let token = Token::new(&plan, &inputs.consts);
        Walk { inputs, places: Places { recurrence, dims: &inputs.dims }, plan, token }
    }

    /// One token of one head: reads and replaces `states`, leaves every expression's value in the token's buffer.
    fn forward(&mut self, position: usize, head: usize, states: &mut [Vec<f64>], kinks: &mut dyn Kinks) {
        let (inputs, places) = (self.inputs, self.places);
        let input = |i: usize| &inputs.tensors[i][places.input(i, position, head)];
        self.token.load(&self.plan, input, states);
        self.token.forward(&self.plan, position, head, kinks);
        for (state, &node) in states.iter_mut().zip(&self.plan.assigned) {
            state.copy_from_slice(self.token.value(&self.plan, node));
        }
    }

    fn initial_states(&self, sequence: usize, head: usize) -> Vec<Vec<f64>> {
        let states = self.plan.state_sizes.iter().zip(&self.inputs.states);
        states
            .map(|(&size, initial)| match initial {
                Some(initial) => initial[self.places.row(sequence, head, size)].to_vec(),
                None => vec![0.0; size],
            })
            .collect()
    }

    fn store_outputs(&self, position: usize, head: usize, outputs: &mut [Vec<f64>]) {
        for (output, &node) in outputs.iter_mut().zip(&self.plan.outputs) {
            let value = self.token.value(&self.plan, node);
            output[self.places.row(position, head, value.len())].copy_from_slice(value);
        }
    }

    fn store_states(&self, sequence: usize, head: usize, states: &[Vec<f64>], finals: &mut [Vec<f64>]) {
        for (state, last) in states.iter().zip(finals) {
            last[self.places.row(sequence, head, state.len())].copy_from_slice(state);
        }
    }
}
