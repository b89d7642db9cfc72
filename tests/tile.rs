//! The tile programs in f64 against the oracle and the golden cases: every built-in variant, several chunk lengths.

use rayon::prelude::*;
use rla_codegen::data::{Cotangents, Inputs};
use rla_codegen::interpret::Interpreter;
use rla_codegen::oracle;
use rla_codegen::pipeline::{Programs, chunk_programs, token_programs};
use rla_codegen::tile::{Axis, Leaf, Op};
use rla_dsl::Recurrence;
use rla_tests::golden;
use std::path::Path;

/// Relative L2 error; NaN where either is not finite.
fn error(x: &[f64], reference: &[f64]) -> f64 {
    assert_eq!(x.len(), reference.len());
    let difference: f64 = x.iter().zip(reference).map(|(a, b)| (a - b) * (a - b)).sum();
    let norm: f64 = reference.iter().map(|b| b * b).sum();
    if difference == 0.0 { 0.0 } else { (difference / norm.max(1e-12)).sqrt() }
}

/// Runs forward and backward in the tile interpreter; the worst error against the oracle.
fn worst(
    recurrence: &Recurrence,
    programs: &Programs,
    (inputs, cotangents): (&Inputs, &Cotangents),
    chunk: usize,
    fill: bool,
) -> (f64, String) {
    let run = Interpreter { recurrence, forward: &programs.forward_save, backward: &programs.backward, chunk, fill };
    let reference = oracle::forward(recurrence, inputs).expect("the case fits");
    let slopes = oracle::gradient(recurrence, inputs, cotangents).expect("the case fits");
    let (outputs, kept) = run.forward(inputs);
    let gradients = run.backward(inputs, cotangents, &kept);
    let mut worst = (0.0, String::new());
    let mut see = |name: String, x: &[f64], r: &[f64]| {
        let e = error(x, r);
        if e.is_nan() || e > worst.0 {
            worst = (e, name);
        }
    };
    for (i, name) in recurrence.outputs.iter().enumerate() {
        see(format!("out.{name}"), &outputs.outputs[i], &reference.outputs[i]);
    }
    for (i, state) in recurrence.states.iter().enumerate() {
        see(format!("out.{}", state.name), &outputs.states[i], &reference.states[i]);
        see(format!("grad.{}0", state.name), &gradients.states[i], &slopes.1.states[i]);
    }
    for (i, input) in recurrence.inputs.iter().enumerate() {
        see(format!("grad.{}", input.name), &gradients.inputs[i], &slopes.1.inputs[i]);
    }
    worst
}

/// How many runs of a case there were, and which are off.
fn runs(path: &Path) -> (usize, Vec<String>) {
    let golden = golden::read(path);
    let (recurrence, file) = (golden.recurrence, golden.name);
    let case = (&golden.case.inputs, &golden.case.cotangents);
    let (_, programs) = chunk_programs(&recurrence).unwrap_or_else(|o| panic!("{file}: {o:?}"));
    let (for_cuda, token) = (programs.for_cuda(), token_programs(&recurrence));
    let mut all = [(1, false), (7, true), (16, true), (64, false)].map(|run| ("", &programs, run)).to_vec();
    all.extend([7, 32].map(|chunk| (" for CUDA", &for_cuda, (chunk, true))));
    all.push((" by tokens", &token, (1, false)));
    let mut bad = vec![];
    for (of, programs, (chunk, fill)) in &all {
        let (error, what) = worst(&recurrence, programs, case, *chunk, *fill);
        if error.is_nan() || error > 1e-11 {
            bad.push(format!("{file}{of}, chunk {chunk} fill {fill}: {what} {error:.1e}"));
        }
    }
    (all.len(), bad)
}

#[test]
fn golden_cases_in_chunks() {
    let (counts, bad): (Vec<usize>, Vec<Vec<String>>) = golden::files().par_iter().map(|path| runs(path)).unzip();
    let (ran, bad) = (counts.iter().sum::<usize>(), bad.concat());
    println!("tile: {ran} runs");
    assert!(ran > 0);
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// Readouts of tokens and their gradients are the same in any division of a sequence; decays since a chunk's start are not.
#[test]
fn values_of_tokens_are_told_from_those_of_chunks() {
    for name in ["rdn", "rla", "gated_delta_net", "gdn_raw", "comba"] {
        let recurrence = rla_runtime::op::builtin(name).expect("it is built in");
        let programs = chunk_programs(&recurrence).expect("a built-in is in the class").1.for_cuda();
        let of_tokens = rla_codegen::pass::division::of_tokens(&programs.forward_save, &programs.backward);
        let all = |is: fn(&Op) -> bool| {
            let nodes = programs.backward.nodes.iter().zip(&of_tokens);
            nodes.filter(|(n, _)| is(&n.op) && n.shape.rows == Axis::Token).map(|(_, same)| *same).collect::<Vec<_>>()
        };
        let kept = all(|op| matches!(op, Op::Leaf(Leaf::Saved(_))));
        assert!(!kept.is_empty() && kept.iter().all(|same| *same), "{name}: kept {kept:?}");
        let parts = all(|op| matches!(op, Op::Part(..)));
        assert!(parts.iter().all(|same| *same), "{name}: parts of systems {parts:?}");
        let decays = all(|op| matches!(op, Op::Decay(..)));
        assert!(!decays.is_empty() && decays.iter().all(|same| !same), "{name}: decays {decays:?}");
    }
}
