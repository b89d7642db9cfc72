//! The definition: a recurrence evaluated in f64, token by token, exactly as it is written.
//!
//! Nothing is expanded or rearranged: every expression is computed densely by its type, a matrix as a row-major array, so
//! that any recurrence the checker accepts can be evaluated, in the class or not. All else in the project is judged
//! against this. [`gradient`] is its exact derivative by reverse mode.
//!
//! Reading order: [`shape`] (what a call must bring), `plan` (the expressions in order of evaluation), `token` (one token,
//! forward and in reverse), `arith`, `product`, `function`, [`kink`] (the operations, each beside its adjoint), `gradient`;
//! `survey` looks over a call before it is used as a case.
mod arith;
mod function;
mod gradient;
pub mod kink;
mod plan;
mod product;
pub mod shape;
mod survey;
mod token;

pub use gradient::{gradient, gradient_with};
pub use kink::{Branch, Kink, Kinks, Site};
pub use shape::Misfit;
pub use survey::{Magnitudes, Survey, magnitudes, survey};

use crate::data::{Dims, Inputs, Outputs};
use kink::OwnBranches;
use plan::Plan;
use rla_dsl::recurrence::{Input, InputKind, Recurrence};
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
            let mut states = walk.initial_states(inputs, sequence, head);
            for position in tokens.clone() {
                let at = At { position, head };
                walk.evaluate(&inputs.tensors, at, &states, kinks);
                walk.advance(&mut states);
                walk.store_outputs(at, &mut outputs.outputs);
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

/// One call: its plan, its sizes, and the buffer of one token. The states of one sequence and head travel beside it.
struct Walk<'a> {
    recurrence: &'a Recurrence,
    dims: Dims,
    plan: Plan,
    token: Token,
}

impl<'a> Walk<'a> {
    fn new(recurrence: &'a Recurrence, inputs: &Inputs) -> Walk<'a> {
        let plan = Plan::new(recurrence, &inputs.dims.sizes);
        let token = Token::new(&plan, &inputs.consts);
        Walk { recurrence, dims: inputs.dims.clone(), plan, token }
    }

    /// One token of one head: leaves every expression's value in the token's buffer.
    fn evaluate(&mut self, tensors: &[Vec<f64>], at: At, states: &[Vec<f64>], kinks: &mut dyn Kinks) {
        let (recurrence, dims) = (self.recurrence, &self.dims);
        let input = |i: usize| &tensors[i][place_of_input(&recurrence.inputs[i], dims, at)];
        self.token.load(&self.plan, input, states);
        self.token.forward(&self.plan, at, kinks);
    }

    /// The states after the evaluated token.
    fn advance(&self, states: &mut [Vec<f64>]) {
        for (state, &node) in states.iter_mut().zip(&self.plan.assigned) {
            state.copy_from_slice(self.token.value(&self.plan, node));
        }
    }

    /// The `width` numbers of one token's (or sequence's) value head.
    fn row(&self, row: usize, head: usize, width: usize) -> Range<usize> {
        let at = (row * self.dims.value_heads + head) * width;
        at..at + width
    }

    fn initial_states(&self, inputs: &Inputs, sequence: usize, head: usize) -> Vec<Vec<f64>> {
        let states = self.plan.state_sizes.iter().zip(&inputs.states);
        states
            .map(|(&size, initial)| match initial {
                Some(initial) => initial[self.row(sequence, head, size)].to_vec(),
                None => vec![0.0; size],
            })
            .collect()
    }

    fn store_outputs(&self, at: At, outputs: &mut [Vec<f64>]) {
        for (output, &node) in outputs.iter_mut().zip(&self.plan.outputs) {
            let value = self.token.value(&self.plan, node);
            output[self.row(at.position, at.head, value.len())].copy_from_slice(value);
        }
    }

    fn store_states(&self, sequence: usize, head: usize, states: &[Vec<f64>], finals: &mut [Vec<f64>]) {
        for (state, last) in states.iter().zip(finals) {
            last[self.row(sequence, head, state.len())].copy_from_slice(state);
        }
    }
}

/// A token, on the flat `B * T` axis, and a value head.
#[derive(Clone, Copy)]
struct At {
    position: usize,
    head: usize,
}

/// Where an input lies for a token and value head.
fn place_of_input(input: &Input, dims: &Dims, at: At) -> Range<usize> {
    let width = input.side.map_or(1, |side| dims.sizes[side.0 as usize]);
    let row = match input.kind {
        InputKind::Param => at.head,
        InputKind::Input if input.per_key_head() => at.position * dims.key_heads + dims.key_head(at.head),
        InputKind::Input => at.position * dims.value_heads + at.head,
    };
    row * width..(row + 1) * width
}
