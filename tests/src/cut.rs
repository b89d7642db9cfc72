//! Parts of a case: one of its sequences, some of its tokens, tensors with other values.
use rla_codegen::data::{Cotangents, Inputs};
use rla_codegen::oracle::shape;
use rla_dsl::recurrence::{InputKind, Recurrence};
use rla_runtime::case::{Case, Results};
use std::ops::Range;

/// Elements of one token of input `index`; 0 for a parameter.
pub fn input_row(recurrence: &Recurrence, inputs: &Inputs, index: usize) -> usize {
    let decl = &recurrence.inputs[index];
    match decl.kind {
        InputKind::Input => shape::input(decl, &inputs.dims)[2..].iter().product(),
        InputKind::Param => 0,
    }
}

/// Elements of one token of output `index`.
pub fn output_row(recurrence: &Recurrence, inputs: &Inputs, index: usize) -> usize {
    shape::output(recurrence, index, &inputs.dims)[2..].iter().product()
}

/// Elements of one sequence of state `index`.
pub fn state_row(recurrence: &Recurrence, inputs: &Inputs, index: usize) -> usize {
    shape::state(&recurrence.states[index], &inputs.dims, 1).iter().product()
}

fn part(data: &[f64], row: usize, range: &Range<usize>) -> Vec<f64> {
    data[range.start * row..range.end * row].to_vec()
}

/// Positions `range` of the flat token axis as a call of its own, with the initial states and final cotangents of
/// sequence `sequence`.
pub fn positions(recurrence: &Recurrence, case: &Case, sequence: usize, range: &Range<usize>) -> Case {
    let inputs = &case.inputs;
    let states = |states: &[Option<Vec<f64>>]| {
        let one = |(i, state): (usize, &Option<Vec<f64>>)| {
            let row = state_row(recurrence, inputs, i);
            state.as_ref().map(|data| part(data, row, &(sequence..sequence + 1)))
        };
        states.iter().enumerate().map(one).collect::<Vec<_>>()
    };
    let tensors = inputs.tensors.iter().enumerate().map(|(i, data)| match input_row(recurrence, inputs, i) {
        0 => data.clone(),
        row => part(data, row, range),
    });
    let outputs = case.cotangents.outputs.iter().enumerate().map(|(i, data)| {
        let row = output_row(recurrence, inputs, i);
        data.as_ref().map(|data| part(data, row, range))
    });
    let mut dims = inputs.dims.clone();
    (dims.batch, dims.tokens) = (1, range.len());
    Case {
        cotangents: Cotangents { outputs: outputs.collect(), states: states(&case.cotangents.states) },
        inputs: Inputs {
            dims,
            consts: inputs.consts.clone(),
            tensors: tensors.collect(),
            states: states(&inputs.states),
            cu_seqlens: None,
        },
        results: Results::default(),
    }
}

/// The same for results of the whole call: what belongs to the sequence and the positions. Gradients of parameters, which
/// are sums over all sequences, are left out.
pub fn results(
    recurrence: &Recurrence,
    inputs: &Inputs,
    all: &Results,
    sequence: usize,
    range: &Range<usize>,
) -> Results {
    let take = |data: &Option<Vec<f64>>, row: usize, range: &Range<usize>| match row {
        0 => None,
        row => data.as_ref().map(|data| part(data, row, range)),
    };
    let states = |list: &[Option<Vec<f64>>]| {
        let one = |(i, data)| take(data, state_row(recurrence, inputs, i), &(sequence..sequence + 1));
        list.iter().enumerate().map(one).collect()
    };
    let outputs = all.outputs.iter().enumerate();
    let gradients = all.input_gradients.iter().enumerate();
    Results {
        outputs: outputs.map(|(i, data)| take(data, output_row(recurrence, inputs, i), range)).collect(),
        states: states(&all.states),
        input_gradients: gradients.map(|(i, data)| take(data, input_row(recurrence, inputs, i), range)).collect(),
        state_gradients: states(&all.state_gradients),
    }
}

/// Without cotangents: forward only, and not the forward that keeps.
pub fn forward_only(case: &Case) -> Case {
    let mut case = case.clone();
    case.cotangents.outputs.fill(None);
    case.cotangents.states.fill(None);
    case
}

/// The first tensor whose bits differ, by name; every tensor that both hold is compared.
pub fn difference(recurrence: &Recurrence, a: &Results, b: &Results) -> Option<String> {
    let mut compared = 0;
    let mut found = None;
    let mut pair = |name: &dyn Fn(usize) -> String, a: &[Option<Vec<f64>>], b: &[Option<Vec<f64>>]| {
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            let (Some(a), Some(b)) = (a, b) else { continue };
            compared += 1;
            let at = a.iter().zip(b).position(|(x, y)| x.to_bits() != y.to_bits());
            let at = if a.len() == b.len() { at } else { Some(a.len().min(b.len())) };
            if let (Some(at), None) = (at, &found) {
                let (x, y) = (a.get(at), b.get(at));
                found = Some(format!("{}, element {at} of {}: {x:?} and {y:?}", name(i), a.len()));
            }
        }
    };
    pair(&|i| format!("out.{}", recurrence.outputs[i]), &a.outputs, &b.outputs);
    pair(&|i| format!("out.{}", recurrence.states[i].name), &a.states, &b.states);
    pair(&|i| format!("grad.{}", recurrence.inputs[i].name), &a.input_gradients, &b.input_gradients);
    pair(&|i| format!("grad.{}0", recurrence.states[i].name), &a.state_gradients, &b.state_gradients);
    assert!(compared > 0, "{}: nothing to compare", recurrence.name);
    found
}
