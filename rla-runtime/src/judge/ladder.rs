//! All tensors of a call against a reference, with the bounds of the kernel's rung.
use super::{Layout, Verdict, judge, rms_of_cotangents, rms_of_values};
use crate::case::Results;
use crate::draw::Rng;
use rla_codegen::data::{Cotangents, Inputs, Outputs};
use rla_codegen::oracle::kink::{Branches, Forced, Kinks};
use rla_codegen::oracle::{Misfit, forward_with, gradient_with};
use rla_dsl::recurrence::{Input, InputKind, Recurrence};

/// Bounds on relative L2 errors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Of outputs.
    pub outputs: f64,
    /// Of final states.
    pub states: f64,
    /// Of gradients.
    pub gradients: f64,
    /// Of the gradients of gates, other scalars and parameters.
    pub gate_gradients: f64,
}

impl Bounds {
    /// The oracle against results computed elsewhere.
    pub const ORACLE: Bounds = Bounds::new(1e-12, 1e-12, 1e-11, 1e-11);
    /// The tile interpreter against the oracle.
    pub const TILE: Bounds = Bounds::new(1e-11, 1e-11, 1e-11, 1e-11);
    /// f32 arithmetic, whatever the type of the inputs.
    pub const F32: Bounds = Bounds::new(2e-6, 2e-6, 1e-5, 1e-5);
    /// Products in a 16-bit type on the CPU (forward and decode).
    pub const CPU_16_BIT_PRODUCTS: Bounds = Bounds::new(2e-3, 4e-3, 1e-2, 1e-2);
    /// CUDA kernels with bf16 inputs.
    pub const CUDA_BF16: Bounds = Bounds::new(5e-3, 5e-3, 8e-3, 2e-2);

    const fn new(outputs: f64, states: f64, gradients: f64, gate_gradients: f64) -> Bounds {
        Bounds { outputs, states, gradients, gate_gradients }
    }
}

/// One tensor's outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// `out.o`, `out.S`, `grad.q`, `grad.S0` ...
    pub name: String,
    /// How it was judged.
    pub verdict: Verdict,
}

/// Judges every tensor that `reference` holds; one that `got` lacks fails. `movements` gives the reference's results under
/// perturbed inputs, see [`super::judge`]; it is called once at most.
pub fn compare(
    recurrence: &Recurrence,
    inputs: &Inputs,
    cotangents: &Cotangents,
    got: &Results,
    reference: &Results,
    bounds: &Bounds,
    movements: &mut dyn FnMut() -> Vec<Results>,
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
    let mut perturbed: Option<Vec<Results>> = None;
    let mut judged = vec![];
    let mut add = |name: String, part: Part, index: usize, layout: &dyn Fn(usize) -> Layout, bound: f64, rms: f64| {
        let Some(expected) = part.of(reference, index) else { return };
        let mut moved = || {
            let runs = perturbed.get_or_insert_with(&mut *movements).iter();
            let difference =
                |run: &[f64]| run.iter().zip(expected).map(|(a, b)| if a == b { 0.0 } else { a - b }).collect();
            runs.filter_map(|run| part.of(run, index)).map(difference).collect()
        };
        let got = part.of(got, index).unwrap_or(&[]);
        let verdict = match (got.len() == expected.len(), expected.len()) {
            (true, size) => judge(got, expected, &layout(size), bound, rms, &mut moved),
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
        let gate = decl.gate || decl.side.is_none() || decl.kind == InputKind::Param;
        let bound = if gate { bounds.gate_gradients } else { bounds.gradients };
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
pub fn oracle(
    recurrence: &Recurrence,
    inputs: &Inputs,
    cotangents: Option<&Cotangents>,
    kinks: &mut dyn Kinks,
) -> Result<Results, Misfit> {
    Ok(match cotangents {
        None => Results::new(forward_with(recurrence, inputs, kinks)?, None),
        Some(cotangents) => {
            let (outputs, gradients): (Outputs, _) = gradient_with(recurrence, inputs, cotangents, kinks)?;
            Results::new(outputs, Some(gradients))
        }
    })
}

/// The oracle's results under three random relative perturbations of all inputs by half a `unit` of the kernel's type
/// (`f32::EPSILON` and its like), each argument of a kink on the branch it has without them.
pub fn perturbed(
    recurrence: &Recurrence,
    inputs: &Inputs,
    cotangents: Option<&Cotangents>,
    unit: f64,
    seed: u64,
) -> Result<Vec<Results>, Misfit> {
    let mut branches = Branches::default();
    forward_with(recurrence, inputs, &mut branches)?;
    let mut rng = Rng::new(seed);
    let runs = (0..3).map(|_| {
        let mut moved = inputs.clone();
        let tensors = moved.tensors.iter_mut().chain(moved.states.iter_mut().flatten());
        tensors.flatten().for_each(|x| *x *= 1.0 + 0.5 * unit * rng.between(-1.0, 1.0));
        oracle(recurrence, &moved, cotangents, &mut Forced::new(branches.taken.clone()))
    });
    runs.collect()
}
