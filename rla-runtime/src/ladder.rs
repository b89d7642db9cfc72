//! The ladder: a case through a backend, every tensor judged against its reference.
//!
//! The reference is what the case holds where the element type is f64 or f32; else, and where it holds nothing, the
//! oracle on the same rounded inputs. Bounds by rung are those of [`Bounds`].
use crate::case::{Case, Results};
use crate::error::{Error, Result};
use crate::judge::{self, Bounds, Judged, Slice};
use crate::kernel::launch::Poison;
use crate::op::{Backend, BackwardOptions, ForwardOptions, Operation, Saved};
use crate::problem::{Problem, Products, StateLayout};
use crate::tensor::{DType, Tensor, View, ViewMut};
use rla_codegen::data::{Cotangents, Gradients, Inputs, Outputs};
use rla_codegen::oracle;
use rla_dsl::recurrence::Recurrence;

mod decode;
mod kinks;
mod movement;

/// How a case is run.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Element type of q, k, v and the like; gates, parameters and states are f32 with 16-bit types.
    pub dtype: DType,
    /// Type of products.
    pub products: Products,
    /// Layout of states in the call.
    pub layout: StateLayout,
}

impl Setting {
    /// The type that a backend computes in where nobody says otherwise.
    pub fn of(backend: Backend) -> Setting {
        let dtype = match backend {
            Backend::Oracle | Backend::Tile => DType::F64,
            Backend::Recurrent | Backend::Cpu => DType::F32,
            Backend::Cuda => DType::Bf16,
        };
        let products = if backend == Backend::Cuda { Products::Input } else { Products::F32 };
        Setting { dtype, products, layout: StateLayout::ValueMajor }
    }

    /// The bounds that results are held to.
    pub fn bounds(&self, backend: Backend) -> Bounds {
        match (backend, self.dtype, self.products) {
            (Backend::Oracle, DType::F64, _) => Bounds::ORACLE,
            (Backend::Tile, DType::F64, _) => Bounds::TILE,
            (Backend::Cuda, DType::Bf16 | DType::F16, _) => Bounds::CUDA_BF16,
            (_, DType::Bf16 | DType::F16, Products::Input) => Bounds::CPU_16_BIT_PRODUCTS,
            _ => Bounds::F32,
        }
    }

    /// Half a unit of the type that arithmetic is done in, relative.
    fn half_unit(&self) -> f64 {
        match (self.dtype, self.products) {
            (DType::F64, _) => f64::EPSILON / 2.0,
            (DType::Bf16, Products::Input) => f64::powi(2.0, -9),
            (DType::F16, Products::Input) => f64::powi(2.0, -12),
            _ => f64::from(f32::EPSILON) / 2.0,
        }
    }
}

/// One tensor's outcome.
#[derive(Clone, Debug)]
pub struct Line {
    /// `out.o`, `grad.q` ...
    pub name: String,
    /// Relative L2 error; `None` where there is nothing to compare with.
    pub error: Option<f64>,
    /// The bound on it.
    pub bound: f64,
    /// Within the bound.
    pub passed: bool,
    /// The oracle's own movement, where the bound alone did not hold.
    pub movement: Option<f64>,
    /// The first slice that failed.
    pub slice: Option<Slice>,
}

/// The outcome of a case.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Every tensor.
    pub lines: Vec<Line>,
    /// What was computed.
    pub results: Results,
    /// Elements of kinks that lay on another branch than the oracle's: distance to the kink over the allowed one.
    pub moved_kinks: usize,
    /// All lines passed.
    pub passed: bool,
}

/// Rounds a case's inputs to the setting's types, so that every backend and the oracle see the same numbers.
pub fn rounded(recurrence: &Recurrence, case: &Case, setting: &Setting) -> Case {
    let round = |values: &[f64], dtype: DType| -> Vec<f64> {
        match dtype {
            DType::F64 => values.to_vec(),
            _ => Tensor::from_f64(dtype, values, &[values.len()]).expect("a vector fits").to_f64(),
        }
    };
    let state_dtype = wide(setting.dtype);
    let states = |states: &[Option<Vec<f64>>]| -> Vec<Option<Vec<f64>>> {
        states.iter().map(|state| state.as_ref().map(|s| round(s, state_dtype))).collect()
    };
    let mut case = case.clone();
    for (decl, values) in recurrence.inputs.iter().zip(&mut case.inputs.tensors) {
        *values = round(values, input_dtype(decl, setting));
    }
    case.inputs.states = states(&case.inputs.states);
    case.cotangents = Cotangents { outputs: states(&case.cotangents.outputs), states: states(&case.cotangents.states) };
    case
}

/// The type of gates, parameters, states and gradients beside inputs of `dtype`.
fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

fn input_dtype(decl: &rla_dsl::recurrence::Input, setting: &Setting) -> DType {
    if decl.carries_values() { setting.dtype } else { wide(setting.dtype) }
}

/// Sizes of a case as a problem.
pub fn problem(inputs: &Inputs) -> Problem {
    let dims = &inputs.dims;
    Problem {
        batch: dims.batch,
        tokens: dims.tokens,
        key_heads: dims.key_heads,
        value_heads: dims.value_heads,
        sizes: dims.sizes.clone(),
        cu_seqlens: inputs.cu_seqlens.clone(),
    }
}

/// A tensor of NaN, so that what a kernel leaves unwritten shows.
fn poisoned(dtype: DType, shape: &[usize]) -> Result<Tensor> {
    let count = shape.iter().product();
    Tensor::from_f64(dtype, &vec![f64::NAN; count], shape)
}

/// A state from the case (declared layout) in the layout of the call.
fn state_tensor(dtype: DType, values: &[f64], shape: &[usize], layout: StateLayout) -> Result<Tensor> {
    let mut tensor = Tensor::zeros(dtype, shape)?;
    crate::op::interpret::write_state(&mut tensor.view_mut(), values, layout);
    Ok(tensor)
}

fn some_views(tensors: &[Option<Tensor>]) -> Vec<Option<View<'_>>> {
    tensors.iter().map(|t| t.as_ref().map(Tensor::view)).collect()
}

fn some_views_mut(tensors: &mut [Tensor]) -> Vec<Option<ViewMut<'_>>> {
    tensors.iter_mut().map(|t| Some(t.view_mut())).collect()
}

/// Runs a case, forward and, where it has cotangents, backward. Results are poisoned before the call.
pub fn compute(operation: &Operation, case: &Case, setting: &Setting) -> Result<(Outputs, Option<Gradients>)> {
    let _poison = Poison::new();
    let recurrence = operation.recurrence();
    let (problem, layout, wide) = (problem(&case.inputs), setting.layout, wide(setting.dtype));
    let count = problem.sequence_count();
    let inputs = (0..recurrence.inputs.len())
        .map(|i| {
            let dtype = input_dtype(&recurrence.inputs[i], setting);
            Tensor::from_f64(dtype, &case.inputs.tensors[i], &problem.input_shape(recurrence, i))
        })
        .collect::<Result<Vec<_>>>()?;
    let views: Vec<View> = inputs.iter().map(Tensor::view).collect();
    let state_shape = |i| problem.state_shape(recurrence, i, count, layout);
    let states = |values: &[Option<Vec<f64>>]| {
        let values = values.iter().enumerate();
        let make = |(i, v): (usize, &Option<Vec<f64>>)| {
            v.as_ref().map(|v| state_tensor(wide, v, &state_shape(i), layout)).transpose()
        };
        values.map(make).collect::<Result<Vec<_>>>()
    };
    let all_states =
        || (0..recurrence.states.len()).map(|i| poisoned(wide, &state_shape(i))).collect::<Result<Vec<_>>>();
    let read_states = |tensors: &[Tensor]| -> Vec<Vec<f64>> {
        tensors.iter().map(|t| crate::op::interpret::state_to_f64(&t.view(), layout)).collect()
    };

    let initial = states(&case.inputs.states)?;
    let initial_views = some_views(&initial);
    let options = ForwardOptions {
        constants: Some(&case.inputs.consts),
        initial_states: &initial_views,
        layout,
        products: setting.products,
        ..ForwardOptions::default()
    };
    let mut outputs = (0..recurrence.outputs.len())
        .map(|i| poisoned(wide, &problem.output_shape(recurrence, i)))
        .collect::<Result<Vec<_>>>()?;
    let mut finals = all_states()?;
    let backward = case.backward();
    let mut saved = Saved::default();
    {
        let mut output_views: Vec<_> = outputs.iter_mut().map(Tensor::view_mut).collect();
        let mut final_views = some_views_mut(&mut finals);
        let keep = backward.then_some(&mut saved);
        operation.forward_into(&problem, &views, &options, &mut output_views, &mut final_views, keep)?;
        let on_cpu = operation.backend() == Backend::Cpu;
        if backward && on_cpu && operation.products(setting.products, setting.dtype) == Products::Input {
            // the forward that keeps computes products in f32: what is judged is the one that does not
            operation.forward_into(&problem, &views, &options, &mut output_views, &mut final_views, None)?;
        }
    }
    let computed = Outputs { outputs: outputs.iter().map(Tensor::to_f64).collect(), states: read_states(&finals) };
    if !backward {
        return Ok((computed, None));
    }
    let output_grads = case.cotangents.outputs.iter().enumerate();
    let output_grads = output_grads
        .map(|(i, values)| {
            let shape = problem.output_shape(recurrence, i);
            values.as_ref().map(|v| Tensor::from_f64(wide, v, &shape)).transpose()
        })
        .collect::<Result<Vec<_>>>()?;
    let state_grads = states(&case.cotangents.states)?;
    let (output_grads, state_grads) = (some_views(&output_grads), some_views(&state_grads));
    let options = BackwardOptions { output_grads: &output_grads, final_state_grads: &state_grads, layout };
    let mut grads = (0..recurrence.inputs.len())
        .map(|i| poisoned(wide, &problem.input_shape(recurrence, i)))
        .collect::<Result<Vec<_>>>()?;
    let mut initial_grads = all_states()?;
    {
        let (mut g, mut s) = (some_views_mut(&mut grads), some_views_mut(&mut initial_grads));
        operation.backward_into(&problem, &views, &saved, &options, &mut g, &mut s)?;
    }
    let gradients =
        Gradients { inputs: grads.iter().map(Tensor::to_f64).collect(), states: read_states(&initial_grads) };
    Ok((computed, Some(gradients)))
}

/// What results are compared with, in the order of [`tensors`]; `None`: nothing.
type Reference = Vec<Option<Vec<f64>>>;

fn judged(recurrence: &Recurrence, case: &Case, bounds: &Bounds) -> Vec<Judged> {
    judge::judged(recurrence, &case.inputs, case.backward().then_some(&case.cotangents), bounds)
}

/// All tensors of a result, in the order of [`judged`].
fn tensors(outputs: &Outputs, gradients: Option<&Gradients>) -> Vec<Vec<f64>> {
    let forward = outputs.outputs.iter().chain(&outputs.states);
    let backward = gradients.into_iter().flat_map(|g| g.inputs.iter().chain(&g.states));
    forward.chain(backward).cloned().collect()
}

/// What the case's file holds, in the same order.
fn of_file(recurrence: &Recurrence, results: &Results, backward: bool) -> Reference {
    let padded = |list: &[Option<Vec<f64>>], count: usize| {
        (0..count).map(|i| list.get(i).cloned().flatten()).collect::<Vec<_>>()
    };
    let (states, inputs) = (recurrence.states.len(), recurrence.inputs.len());
    let mut all = padded(&results.outputs, recurrence.outputs.len());
    all.extend(padded(&results.states, states));
    if backward {
        all.extend(padded(&results.input_gradients, inputs));
        all.extend(padded(&results.state_gradients, states));
    }
    all
}

fn by_oracle(recurrence: &Recurrence, case: &Case, kinks: &mut dyn oracle::Kinks) -> Result<Vec<Vec<f64>>> {
    let refused = |m: oracle::Misfit| Error::argument(m.what, m.expected, m.found);
    if case.backward() {
        let (outputs, gradients) =
            oracle::gradient_with(recurrence, &case.inputs, &case.cotangents, kinks).map_err(refused)?;
        Ok(tensors(&outputs, Some(&gradients)))
    } else {
        Ok(tensors(&oracle::forward_with(recurrence, &case.inputs, kinks).map_err(refused)?, None))
    }
}

/// Whether a drawn case asks for more than the setting's arithmetic can give: the definition itself, in f64, misses the bounds
/// once its inputs and the values of its functions are half a unit off. So do differences of vectors that are equal but for
/// rounding. No kernel is looked at.
pub fn ill_posed(operation: &Operation, case: &Case, setting: &Setting) -> Result<bool> {
    let recurrence = operation.recurrence();
    let run = rounded(recurrence, case, setting);
    let judged = judged(recurrence, &run, &setting.bounds(operation.backend()));
    movement::ill_posed(recurrence, &run, setting.half_unit(), &judged)
}

/// Runs a case and judges every tensor.
pub fn evaluate(operation: &Operation, case: &Case, setting: &Setting) -> Result<Outcome> {
    let run = rounded(operation.recurrence(), case, setting);
    let (outputs, gradients) = compute(operation, &run, setting)?;
    judge_results(operation, case, &run, setting, outputs, gradients)
}

/// Runs a case by decode, token after token, and judges outputs and states. Sequences must not be packed.
pub fn evaluate_decode(operation: &Operation, case: &Case, setting: &Setting) -> Result<Outcome> {
    let forward = Cotangents {
        outputs: vec![None; case.cotangents.outputs.len()],
        states: vec![None; case.cotangents.states.len()],
    };
    let case = Case { cotangents: forward, ..case.clone() };
    let run = rounded(operation.recurrence(), &case, setting);
    let outputs = decode::compute(operation, &run, setting)?;
    judge_results(operation, &case, &run, setting, outputs, None)
}

/// Whether what computed an outcome computes the same bits again.
pub fn repeats(operation: &Operation, case: &Case, setting: &Setting, outcome: &Outcome, decode: bool) -> Result<bool> {
    let run = rounded(operation.recurrence(), case, setting);
    let again = if decode {
        Results::new(decode::compute(operation, &run, setting)?, None)
    } else {
        let (outputs, gradients) = compute(operation, &run, setting)?;
        Results::new(outputs, gradients)
    };
    Ok(again.same_bits(&outcome.results))
}

/// Judges what was computed from a case, `run` its rounded inputs, by whatever calls.
pub fn judge_results(
    operation: &Operation,
    case: &Case,
    run: &Case,
    setting: &Setting,
    outputs: Outputs,
    gradients: Option<Gradients>,
) -> Result<Outcome> {
    let recurrence = operation.recurrence();
    let computed = tensors(&outputs, gradients.as_ref());
    let judged = judged(recurrence, run, &setting.bounds(operation.backend()));

    let file = match setting.dtype {
        DType::F64 | DType::F32 => of_file(recurrence, &case.results, case.backward()),
        _ => vec![None; computed.len()],
    };
    let mut reference = file.clone();
    // the oracle is no reference for itself, and is run only where the file lacks something
    if reference.iter().any(Option::is_none) && operation.backend() != Backend::Oracle {
        let own = by_oracle(recurrence, run, &mut oracle::kink::OwnBranches)?;
        for (slot, own) in reference.iter_mut().zip(own) {
            slot.get_or_insert(own);
        }
    }
    let mut lines = lines(recurrence, run, setting, &judged, &computed, &reference)?;
    let mut moved_kinks = 0;
    if lines.iter().any(|line| !line.passed)
        && let Some((count, other)) = kinks::other_branch(recurrence, run, setting, &judged, &computed, &file)?
    {
        let again = self::lines(recurrence, run, setting, &judged, &computed, &other)?;
        if again.iter().all(|line| line.passed) {
            (lines, moved_kinks) = (again, count);
        }
    }
    let passed = lines.iter().all(|line| line.passed);
    Ok(Outcome { lines, results: Results::new(outputs, gradients), moved_kinks, passed })
}

fn lines(
    recurrence: &Recurrence,
    case: &Case,
    setting: &Setting,
    judged: &[Judged],
    computed: &[Vec<f64>],
    reference: &Reference,
) -> Result<Vec<Line>> {
    let mut movement = movement::Movement::new(recurrence, case, setting.half_unit());
    let mut lines = vec![];
    for (index, (tensor, (x, reference))) in judged.iter().zip(computed.iter().zip(reference)).enumerate() {
        let line = match reference {
            None => {
                let passed = true;
                Line {
                    name: tensor.name.clone(),
                    error: None,
                    bound: tensor.bound,
                    passed,
                    movement: None,
                    slice: None,
                }
            }
            Some(reference) => {
                let mut moved = || movement.of(index);
                let verdict = judge::judge(x, reference, &tensor.layout, tensor.bound, tensor.rms, &mut moved);
                Line {
                    name: tensor.name.clone(),
                    error: Some(if verdict.error.is_nan() { f64::NAN } else { verdict.error.max(verdict.slice_error) }),
                    bound: tensor.bound,
                    passed: verdict.passed,
                    movement: verdict.movement,
                    slice: verdict.failed_slice,
                }
            }
        };
        lines.push(line);
    }
    movement.refused.map_or(Ok(lines), Err)
}
