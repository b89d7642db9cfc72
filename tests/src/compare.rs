//! All tensors of a call against a reference, with the bounds of a rung. The runtime's ladder does the same for `rla eval`,
//! rounding and other branches included; this one is its counterpart without them, for results that tests hold in hand.
use rla_codegen::data::{Cotangents, Inputs};
use rla_codegen::oracle::gradient;
use rla_dsl::recurrence::{Input, InputKind, Recurrence};
use rla_runtime::case::Results;
pub use rla_runtime::judge::Bounds;
use rla_runtime::judge::{Layout, Verdict, judge, rms_of_cotangents, rms_of_values};
use std::fmt::Write;

/// One tensor's outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// `out.o`, `out.S`, `grad.q`, `grad.S0` ...
    pub name: String,
    /// How it was judged.
    pub verdict: Verdict,
}

/// Judges every tensor that `reference` holds; one that `got` lacks fails, and so does one that only a D would excuse.
pub fn compare(
    recurrence: &Recurrence,
    inputs: &Inputs,
    cotangents: &Cotangents,
    got: &Results,
    reference: &Results,
    bounds: &Bounds,
) -> Vec<Row> {
    let (values, cotangents) = (rms_of_values(recurrence, inputs), rms_of_cotangents(cotangents));
    let sequences = inputs.sequence_count();
    let dims = &inputs.dims;
    let tokens = |heads: usize, size: usize| {
        let rows = dims.batch * dims.tokens * heads;
        Layout::Tokens { sequences: inputs.sequences(), heads, width: size.checked_div(rows).unwrap_or(0) }
    };
    let rows = |rows: usize, size: usize| {
        let heads = dims.value_heads;
        Layout::Rows { rows, heads, width: size.checked_div(rows * heads).unwrap_or(0) }
    };
    let input_layout = |decl: &Input, size: usize| match decl.kind {
        InputKind::Param => rows(1, size),
        InputKind::Input => tokens(if decl.per_key_head() { dims.key_heads } else { dims.value_heads }, size),
    };
    let mut judged = vec![];
    let mut add = |name: String, part: Part, index: usize, layout: &dyn Fn(usize) -> Layout, bound: f64, rms: f64| {
        let Some(expected) = part.of(reference, index) else { return };
        let got = part.of(got, index).unwrap_or(&[]);
        let verdict = match (got.len() == expected.len(), expected.len()) {
            (true, size) => judge(got, expected, &layout(size), bound, rms, &mut Vec::new),
            (false, _) => Verdict::missing(bound),
        };
        judged.push(Row { name, verdict });
    };
    for (i, name) in recurrence.outputs.iter().enumerate() {
        let layout = |size| tokens(dims.value_heads, size);
        add(format!("out.{name}"), Part::Output, i, &layout, bounds.outputs, values);
    }
    for (i, decl) in recurrence.states.iter().enumerate() {
        add(format!("out.{}", decl.name), Part::State, i, &|size| rows(sequences, size), bounds.states, values);
    }
    for (i, decl) in recurrence.inputs.iter().enumerate() {
        let bound = bounds.of_gradient(decl);
        let layout = |size| input_layout(decl, size);
        add(format!("grad.{}", decl.name), Part::InputGradient, i, &layout, bound, cotangents);
    }
    for (i, decl) in recurrence.states.iter().enumerate() {
        let layout = |size| rows(sequences, size);
        add(format!("grad.{}0", decl.name), Part::StateGradient, i, &layout, bounds.gradients, cotangents);
    }
    judged
}

#[derive(Clone, Copy)]
enum Part {
    Output,
    State,
    InputGradient,
    StateGradient,
}

impl Part {
    fn of(self, results: &Results, index: usize) -> Option<&[f64]> {
        let all = match self {
            Part::Output => &results.outputs,
            Part::State => &results.states,
            Part::InputGradient => &results.input_gradients,
            Part::StateGradient => &results.state_gradients,
        };
        all.get(index)?.as_deref()
    }
}

/// The oracle's results.
pub fn oracle(recurrence: &Recurrence, inputs: &Inputs, cotangents: &Cotangents) -> Results {
    let (outputs, gradients) = gradient(recurrence, inputs, cotangents).unwrap_or_else(|e| panic!("{e}"));
    Results::new(outputs, Some(gradients))
}

/// Rows that do not pass, as text; empty if all do. Panics where nothing was compared: such a check could not fail.
pub fn failures(
    recurrence: &Recurrence,
    inputs: &Inputs,
    cotangents: &Cotangents,
    got: &Results,
    reference: &Results,
    bounds: &Bounds,
) -> String {
    let rows = compare(recurrence, inputs, cotangents, got, reference, bounds);
    assert!(!rows.is_empty(), "{}: nothing to compare", recurrence.name);
    let mut text = String::new();
    for Row { name, verdict } in rows.iter().filter(|row| !row.verdict.passed) {
        let (error, slice, bound) = (verdict.error, verdict.slice_error, verdict.bound);
        write!(text, "\n  {name}: error {error:.2e}, in a slice {slice:.2e}, bound {bound:.1e}").expect("text");
        if let Some(slice) = &verdict.failed_slice {
            write!(text, " (sequence {}, head {}, tokens {:?})", slice.sequence, slice.head, slice.rows).expect("text");
        }
    }
    text
}
