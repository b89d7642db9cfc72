//! A whole case through decode: a pool of states, a few tokens a call.
use rla_codegen::data::{Inputs, Outputs};
use rla_codegen::oracle::shape;
use rla_runtime::case::Case;
use rla_runtime::ladder::{self, Setting};
use rla_runtime::op::Problem;
use rla_runtime::{DType, Operation, StateLayout, Tensor, View, ViewMut};

/// Tokens `start..start + count` of every sequence of a batch, as tensors of the setting's types.
pub fn tokens(
    operation: &Operation,
    inputs: &Inputs,
    setting: &Setting,
    start: usize,
    count: usize,
) -> (Problem, Vec<Tensor>) {
    let recurrence = operation.recurrence();
    let problem = Problem { tokens: count, ..ladder::problem(inputs) };
    let tensor = |(index, data): (usize, &Vec<f64>)| {
        let decl = &recurrence.inputs[index];
        let dtype = if decl.carries_values() { setting.dtype } else { DType::F32 };
        let values = match decl.kind {
            rla_dsl::recurrence::InputKind::Param => data.clone(),
            rla_dsl::recurrence::InputKind::Input => {
                let row: usize = shape::input(decl, &inputs.dims)[2..].iter().product();
                let sequence = |b: usize| (b * inputs.dims.tokens + start) * row;
                (0..inputs.dims.batch).flat_map(|b| &data[sequence(b)..sequence(b) + count * row]).copied().collect()
            }
        };
        Tensor::from_f64(dtype, &values, &problem.input_shape(recurrence, index)).expect("the values fit")
    };
    let tensors = inputs.tensors.iter().enumerate().map(tensor).collect();
    (problem, tensors)
}

/// The initial states of a case as a pool in which slot i belongs to sequence i.
pub fn pool(operation: &Operation, inputs: &Inputs, layout: StateLayout) -> Vec<Tensor> {
    let recurrence = operation.recurrence();
    let (problem, count) = (ladder::problem(inputs), inputs.sequence_count());
    let state = |index: usize| {
        let declared = problem.state_shape(recurrence, index, count, StateLayout::ValueMajor);
        let shape = problem.state_shape(recurrence, index, count, layout);
        let zeros = vec![0.0; shape.iter().product()];
        let values = inputs.states[index].as_deref().unwrap_or(&zeros);
        let values = if shape == declared && layout == StateLayout::ValueMajor {
            values.to_vec()
        } else {
            transposed(values, &declared)
        };
        Tensor::from_f64(DType::F32, &values, &shape).expect("the values fit")
    };
    (0..recurrence.states.len()).map(state).collect()
}

/// Blocks `[.., rows, columns]` of a matrix state as `[.., columns, rows]`; a vector state as it is.
pub fn transposed(values: &[f64], shape: &[usize]) -> Vec<f64> {
    let &[_, _, rows, columns] = shape else { return values.to_vec() };
    let mut out = vec![0.0; values.len()];
    for (to, from) in out.chunks_exact_mut(rows * columns).zip(values.chunks_exact(rows * columns)) {
        for r in 0..rows {
            for c in 0..columns {
                to[c * rows + r] = from[r * columns + c];
            }
        }
    }
    out
}

/// One call: the outputs, f32.
pub fn step(
    operation: &Operation,
    (problem, inputs): &(Problem, Vec<Tensor>),
    slots: &[i64],
    consts: &[f64],
    pool: &mut [Tensor],
    layout: StateLayout,
) -> Vec<Vec<f64>> {
    let recurrence = operation.recurrence();
    let views: Vec<View> = inputs.iter().map(Tensor::view).collect();
    let poisoned = |index: usize| {
        let shape = problem.output_shape(recurrence, index);
        Tensor::from_f64(DType::F32, &vec![f64::NAN; shape.iter().product()], &shape).expect("the shape fits")
    };
    let mut outputs: Vec<Tensor> = (0..recurrence.outputs.len()).map(poisoned).collect();
    let mut out: Vec<ViewMut> = outputs.iter_mut().map(Tensor::view_mut).collect();
    let mut pool: Vec<ViewMut> = pool.iter_mut().map(Tensor::view_mut).collect();
    let decoded = operation.decode_into(problem, slots, &views, Some(consts), &mut pool, layout, &mut out);
    decoded.unwrap_or_else(|e| panic!("{}: {e}", recurrence.name));
    outputs.iter().map(Tensor::to_f64).collect()
}

/// All tokens of a case that is not packed, `at_once` (1 to 8) a call.
pub fn run(operation: &Operation, case: &Case, setting: &Setting, at_once: usize) -> Outputs {
    let (recurrence, inputs) = (operation.recurrence(), &case.inputs);
    let dims = &inputs.dims;
    let slots: Vec<i64> = (0..dims.batch as i64).collect();
    let mut pool = pool(operation, inputs, setting.layout);
    let shapes = (0..recurrence.outputs.len()).map(|i| shape::output(recurrence, i, dims));
    let mut outputs: Vec<Vec<f64>> = shapes.map(|s| vec![f64::NAN; s.iter().product()]).collect();
    for start in (0..dims.tokens).step_by(at_once) {
        let count = at_once.min(dims.tokens - start);
        let call = tokens(operation, inputs, setting, start, count);
        let got = step(operation, &call, &slots, &inputs.consts, &mut pool, setting.layout);
        for (to, from) in outputs.iter_mut().zip(&got) {
            let row = from.len() / (dims.batch * count);
            for b in 0..dims.batch {
                let at = (b * dims.tokens + start) * row;
                to[at..at + count * row].copy_from_slice(&from[b * count * row..(b + 1) * count * row]);
            }
        }
    }
    let problem = ladder::problem(inputs);
    let state = |(index, tensor): (usize, &Tensor)| match setting.layout {
        StateLayout::ValueMajor => tensor.to_f64(),
        layout => transposed(&tensor.to_f64(), &problem.state_shape(recurrence, index, dims.batch, layout)),
    };
    Outputs { outputs, states: pool.iter().enumerate().map(state).collect() }
}
