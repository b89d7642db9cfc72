//! The laws: what holds bit for bit for a fixed configuration, whatever the kernel.
//!
//! Each law is a function from a seed to what it found; [`LAWS`] lists them for `rla verify` and for the tests. The
//! configuration of a call is a function of variant, types, sizes and device alone, so none of them fixes anything.
use crate::case::{Case, Results};
use crate::draw::{self, Gates, Keys, Plan, Rejection, Rng};
use crate::error::{Error, Result};
use crate::ladder::{self, Setting};
use crate::op::{Operation, StateLayout};
use crate::problem::Problem;
use crate::tensor::{DType, Tensor, View, ViewMut};
use rla_codegen::data::{Cotangents, Dims, Gradients, Inputs, Outputs};
use rla_codegen::schedule::cuda::{Choices, Schedule};
use rla_dsl::recurrence::InputKind;
use std::ops::Range;

/// A law: nothing, or the tensor that breaks it.
pub type Law = fn(&Operation, &Setting, u64) -> Result<Option<String>>;

/// Every law, by name.
pub const LAWS: &[(&str, Law)] = &[
    ("repeat", repeat),
    ("batch", batch),
    ("pack", pack),
    ("split", split),
    ("causal", causal),
    ("contained", contained),
    ("steps", steps),
    ("pool", pool),
];

/// Laws of kernels whose sequential blocks may have several widths.
const LAWS_OF_WIDTHS: &[(&str, Law)] = &[("widths", widths)];

/// The laws of an operation.
pub fn of(operation: &Operation) -> impl Iterator<Item = &'static (&'static str, Law)> {
    LAWS.iter().chain(if operation.is_on_device() { LAWS_OF_WIDTHS } else { &[] })
}

/// Sizes that fill no panel and no chunk.
fn dims(operation: &Operation, batch: usize, tokens: usize) -> Dims {
    let mut sizes = vec![12, 20];
    sizes.resize(operation.recurrence().sides.len(), 9);
    Dims { sizes, batch, tokens, key_heads: 2, value_heads: 4 }
}

fn case(operation: &Operation, dims: Dims, backward: bool, seed: u64) -> Result<Case> {
    let recurrence = operation.recurrence();
    let mut rng = Rng::new(seed);
    let (gates, keys) = (Gates::Weak, Keys::Independent);
    let plan = Plan { dims, cu_seqlens: None, gates, keys, initial_states: true };
    let (inputs, _) = draw::inputs(recurrence, &plan, 0.0, &mut rng).map_err(rejected)?;
    let cotangents = match backward {
        true => draw::cotangents(recurrence, &inputs, &mut rng),
        false => {
            Cotangents { outputs: vec![None; recurrence.outputs.len()], states: vec![None; recurrence.states.len()] }
        }
    };
    Ok(Case { inputs, cotangents, results: Results::default() })
}

/// A draw that no seed of this kind gives is reported, not passed over.
fn rejected(rejection: Rejection) -> Error {
    Error::unsupported("a random case", format!("{rejection:?}"))
}

/// Names of the tensors of a result, in the order of [`all`].
fn all(operation: &Operation, outputs: Outputs, gradients: Option<Gradients>) -> Vec<(String, Vec<f64>)> {
    let recurrence = operation.recurrence();
    let mut list: Vec<(String, Vec<f64>)> = vec![];
    list.extend(recurrence.outputs.iter().map(|n| format!("out.{n}")).zip(outputs.outputs));
    list.extend(recurrence.states.iter().map(|s| format!("out.{}", s.name)).zip(outputs.states));
    if let Some(gradients) = gradients {
        list.extend(recurrence.inputs.iter().map(|i| format!("grad.{}", i.name)).zip(gradients.inputs));
        list.extend(recurrence.states.iter().map(|s| format!("grad.{}0", s.name)).zip(gradients.states));
    }
    list
}

fn run(operation: &Operation, case: &Case, setting: &Setting) -> Result<Vec<(String, Vec<f64>)>> {
    let case = ladder::rounded(operation.recurrence(), case, setting);
    let (outputs, gradients) = ladder::compute(operation, &case, setting)?;
    Ok(all(operation, outputs, gradients))
}

/// The first tensor whose bits differ; a NaN equals a NaN.
fn difference(a: &[(String, Vec<f64>)], b: &[(String, Vec<f64>)]) -> Option<String> {
    let same = |x: &f64, y: &f64| x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan());
    let equal = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(x, y)| same(x, y));
    a.iter().zip(b).find(|((_, x), (_, y))| !equal(x, y)).map(|((name, _), _)| name.clone())
}

/// Rows `tokens` of a tensor whose leading axis, in units of `unit` elements, is B * T.
fn rows(values: &[f64], positions: usize, tokens: Range<usize>) -> Vec<f64> {
    let unit = values.len() / positions.max(1);
    values[tokens.start * unit..tokens.end * unit].to_vec()
}

/// One sequence of a batch as a case of its own.
fn alone(operation: &Operation, case: &Case, sequence: usize) -> Case {
    let (dims, inputs) = (&case.inputs.dims, &case.inputs);
    let tokens = inputs.sequences()[sequence].clone();
    let (positions, count) = (dims.batch * dims.tokens, inputs.sequence_count());
    let state = |s: &Option<Vec<f64>>| s.as_ref().map(|s| rows(s, count, sequence..sequence + 1));
    let token = |t: &Option<Vec<f64>>| t.as_ref().map(|t| rows(t, positions, tokens.clone()));
    let decls = operation.recurrence().inputs.iter().zip(&inputs.tensors);
    let tensors = decls.map(|(decl, t)| match decl.kind {
        InputKind::Input => rows(t, positions, tokens.clone()),
        InputKind::Param => t.clone(),
    });
    Case {
        inputs: Inputs {
            dims: Dims { batch: 1, tokens: tokens.len(), ..dims.clone() },
            consts: inputs.consts.clone(),
            tensors: tensors.collect(),
            states: inputs.states.iter().map(state).collect(),
            cu_seqlens: None,
        },
        cotangents: Cotangents {
            outputs: case.cotangents.outputs.iter().map(token).collect(),
            states: case.cotangents.states.iter().map(state).collect(),
        },
        results: Results::default(),
    }
}

/// The part of a whole result that belongs to one sequence; gradients of parameters, which are sums over sequences, are left out.
fn part(operation: &Operation, case: &Case, whole: &[(String, Vec<f64>)], sequence: usize) -> Vec<(String, Vec<f64>)> {
    let (dims, recurrence) = (&case.inputs.dims, operation.recurrence());
    let tokens = case.inputs.sequences()[sequence].clone();
    let (positions, count) = (dims.batch * dims.tokens, case.inputs.sequence_count());
    let outputs = recurrence.outputs.len();
    let states = recurrence.states.len();
    let cut = |(index, (name, values)): (usize, &(String, Vec<f64>))| {
        let input = index.checked_sub(outputs + states).and_then(|i| recurrence.inputs.get(i));
        let values = match input {
            Some(decl) if decl.kind == InputKind::Param => vec![],
            Some(_) => rows(values, positions, tokens.clone()),
            None if index < outputs => rows(values, positions, tokens.clone()),
            None => rows(values, count, sequence..sequence + 1),
        };
        (name.clone(), values)
    };
    whole.iter().enumerate().map(cut).collect()
}

/// The same call gives the same bits, forward and backward.
fn repeat(operation: &Operation, setting: &Setting, seed: u64) -> Result<Option<String>> {
    let case = case(operation, dims(operation, 2, 45), true, seed)?;
    let first = run(operation, &case, setting)?;
    Ok(difference(&first, &run(operation, &case, setting)?))
}

fn separate(operation: &Operation, setting: &Setting, case: &Case) -> Result<Option<String>> {
    let whole = run(operation, case, setting)?;
    for sequence in 0..case.inputs.sequence_count() {
        let one = alone(operation, case, sequence);
        let single = run(operation, &one, setting)?;
        let own = part(operation, &one, &single, 0);
        if let Some(name) = difference(&part(operation, case, &whole, sequence), &own) {
            return Ok(Some(format!("{name} of sequence {sequence}")));
        }
    }
    Ok(None)
}

/// A sequence's outputs, states and per-token gradients do not depend on its neighbours.
fn batch(operation: &Operation, setting: &Setting, seed: u64) -> Result<Option<String>> {
    separate(operation, setting, &case(operation, dims(operation, 3, 37), true, seed)?)
}

/// Packed sequences equal separate ones.
fn pack(operation: &Operation, setting: &Setting, seed: u64) -> Result<Option<String>> {
    let mut rng = Rng::stream(seed, 1);
    let tokens = 83;
    let offsets = draw::packing(tokens, 5, &mut rng);
    let mut packed = case(operation, dims(operation, 1, tokens), true, seed)?;
    // as many states and cotangents of states as there are sequences
    let more = case(operation, dims(operation, offsets.len() - 1, 1), true, seed)?;
    packed.inputs.states = more.inputs.states;
    packed.cotangents.states = more.cotangents.states;
    packed.inputs.cu_seqlens = Some(offsets);
    separate(operation, setting, &packed)
}

/// A sequence cut into two cases; the second has no states yet.
fn cut(operation: &Operation, case: &Case, at: usize) -> (Case, Case) {
    let tokens = case.inputs.dims.tokens;
    let mut packed = case.clone();
    packed.inputs.cu_seqlens = Some(vec![0, at as i64, tokens as i64]);
    let double = |s: &Option<Vec<f64>>| s.as_ref().map(|s| [s.clone(), s.clone()].concat());
    packed.inputs.states = case.inputs.states.iter().map(double).collect();
    packed.cotangents.states = case.cotangents.states.iter().map(double).collect();
    (alone(operation, &packed, 0), alone(operation, &packed, 1))
}

/// Prefill cut at a multiple of the chunk equals the whole.
fn split(operation: &Operation, setting: &Setting, seed: u64) -> Result<Option<String>> {
    let chunk = operation.chunk();
    let at = if chunk > 32 { chunk } else { 2 * chunk };
    let whole = case(operation, dims(operation, 1, 75.max(at + 11)), false, seed)?;
    let (first, mut second) = cut(operation, &whole, at);
    let head = run(operation, &first, setting)?;
    let outputs = operation.recurrence().outputs.len();
    second.inputs.states = head[outputs..].iter().map(|(_, s)| Some(s.clone())).collect();
    let tail = run(operation, &second, setting)?;
    let whole = run(operation, &whole, setting)?;
    let joined: Vec<_> = (0..tail.len())
        .map(|i| {
            let values = if i < outputs { [&head[i].1[..], &tail[i].1[..]].concat() } else { tail[i].1.clone() };
            (tail[i].0.clone(), values)
        })
        .collect();
    Ok(difference(&whole, &joined))
}

/// Outputs up to a token, before and after everything behind it has changed.
fn outputs_up_to(
    operation: &Operation,
    setting: &Setting,
    case: &Case,
    token: usize,
    change: &mut dyn FnMut(&mut f64),
) -> Result<Option<String>> {
    let before = run(operation, case, setting)?;
    let mut changed = case.clone();
    let tokens = case.inputs.dims.tokens;
    for (decl, tensor) in operation.recurrence().inputs.iter().zip(&mut changed.inputs.tensors) {
        if decl.kind == InputKind::Input {
            let unit = tensor.len() / tokens;
            tensor[(token + 1) * unit..].iter_mut().for_each(&mut *change);
        }
    }
    let after = run(operation, &changed, setting)?;
    let outputs = operation.recurrence().outputs.len();
    let up_to = |list: &[(String, Vec<f64>)]| -> Vec<_> {
        list[..outputs].iter().map(|(n, v)| (n.clone(), rows(v, tokens, 0..token + 1))).collect()
    };
    Ok(difference(&up_to(&before), &up_to(&after)))
}

/// Nothing after a token changes outputs up to it.
fn causal(operation: &Operation, setting: &Setting, seed: u64) -> Result<Option<String>> {
    let case = case(operation, dims(operation, 1, 70), false, seed)?;
    for token in [0, 7, 20, 31, 32, 50, 68] {
        if let Some(name) = outputs_up_to(operation, setting, &case, token, &mut |x| *x *= 0.5)? {
            return Ok(Some(format!("{name} up to token {token}")));
        }
    }
    Ok(None)
}

/// A NaN in one sequence reaches no other one, no other group of heads and no earlier chunk.
fn contained(operation: &Operation, setting: &Setting, seed: u64) -> Result<Option<String>> {
    let chunk = operation.chunk();
    let tokens = 70.max(chunk + 6);
    let single = case(operation, dims(operation, 1, tokens), false, seed)?;
    let last = tokens / chunk * chunk - 1;
    if let Some(name) = outputs_up_to(operation, setting, &single, last, &mut |x| *x = f64::NAN)? {
        return Ok(Some(format!("{name} of an earlier chunk")));
    }
    let both = case(operation, dims(operation, 2, 40), true, seed)?;
    let before = run(operation, &both, setting)?;
    let mut poisoned = both.clone();
    for (decl, tensor) in operation.recurrence().inputs.iter().zip(&mut poisoned.inputs.tensors) {
        if decl.kind == InputKind::Input {
            let half = tensor.len() / 2;
            tensor[half..].fill(f64::NAN);
        }
    }
    let after = run(operation, &poisoned, setting)?;
    let clean = |list: &[(String, Vec<f64>)]| part(operation, &both, list, 0);
    Ok(difference(&clean(&before), &clean(&after)).map(|name| format!("{name} of another sequence")))
}

/// Tensors of a decode call of B sequences.
struct Steps {
    problem: Problem,
    inputs: Vec<Tensor>,
    pool: Vec<Tensor>,
}

fn steps_of(
    operation: &Operation,
    setting: &Setting,
    batch: usize,
    tokens: usize,
    slots: usize,
    seed: u64,
) -> Result<Steps> {
    let recurrence = operation.recurrence();
    let drawn = case(operation, dims(operation, batch, tokens), false, seed)?;
    let drawn = ladder::rounded(recurrence, &drawn, setting);
    let problem = ladder::problem(&drawn.inputs);
    let dtype = if setting.dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let tensor = |i: usize| Tensor::from_f64(dtype, &drawn.inputs.tensors[i], &problem.input_shape(recurrence, i));
    let inputs = (0..recurrence.inputs.len()).map(tensor).collect::<Result<_>>()?;
    let mut rng = Rng::stream(seed, 2);
    let state = |i: usize| {
        let shape = problem.state_shape(recurrence, i, slots, setting.layout);
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| 0.5 * rng.normal()).collect();
        Tensor::from_f64(dtype, &values, &shape)
    };
    let pool = (0..recurrence.states.len()).map(state).collect::<Result<_>>()?;
    Ok(Steps { problem, inputs, pool })
}

fn decode(
    operation: &Operation,
    problem: &Problem,
    slots: &[i64],
    inputs: &[View],
    pool: &mut [Tensor],
    layout: StateLayout,
) -> Result<Vec<Tensor>> {
    let mut views: Vec<ViewMut> = pool.iter_mut().map(Tensor::view_mut).collect();
    operation.decode(problem, slots, inputs, None, &mut views, layout)
}

/// Several tokens in one decode call equal as many calls.
fn steps(operation: &Operation, setting: &Setting, seed: u64) -> Result<Option<String>> {
    let (tokens, slots) = (5, [1, 0]);
    let steps = steps_of(operation, setting, 2, tokens, 2, seed)?;
    let inputs: Vec<View> = steps.inputs.iter().map(Tensor::view).collect();
    let mut pool = steps.pool.clone();
    let together = decode(operation, &steps.problem, &slots, &inputs, &mut pool, setting.layout)?;
    let mut single_pool = steps.pool.clone();
    let one = Problem { tokens: 1, ..steps.problem.clone() };
    let decls = &operation.recurrence().inputs;
    for t in 0..tokens {
        let narrowed = inputs.iter().zip(decls).map(|(view, decl)| match decl.kind {
            InputKind::Input => view.narrow(1, t, 1),
            InputKind::Param => Ok(*view),
        });
        let narrowed = narrowed.collect::<Result<Vec<_>>>()?;
        let out = decode(operation, &one, &slots, &narrowed, &mut single_pool, setting.layout)?;
        for (i, out) in out.iter().enumerate() {
            if together[i].view().narrow(1, t, 1)?.to_f64() != out.to_f64() {
                return Ok(Some(format!("out.{} at token {t}", operation.recurrence().outputs[i])));
            }
        }
    }
    let differs = pool.iter().zip(&single_pool).position(|(a, b)| a != b);
    Ok(differs.map(|i| operation.recurrence().states[i].name.clone()))
}

/// Slots that are not named are untouched, and so are outputs of padding; a sequence's results do not depend on where its slot
/// lies or on its neighbours.
fn pool(operation: &Operation, setting: &Setting, seed: u64) -> Result<Option<String>> {
    let recurrence = operation.recurrence();
    let (batch, tokens, count) = (4, 3, 6);
    let steps = steps_of(operation, setting, batch, tokens, count, seed)?;
    let inputs: Vec<View> = steps.inputs.iter().map(Tensor::view).collect();
    // two orders of the slots; padding at one place of each
    let mut rng = Rng::stream(seed, 3);
    let mut order: Vec<usize> = (0..count).collect();
    for i in (1..count).rev() {
        order.swap(i, rng.below(i + 1));
    }
    let mut results: Vec<Vec<Option<Vec<f64>>>> = vec![];
    for padding in [1, 2] {
        order.rotate_left(1);
        let slots: Vec<i64> = (0..batch).map(|b| if b == padding { -1 } else { order[b] as i64 }).collect();
        // sequence b begins with the state that slot b was drawn with
        let mut pool = steps.pool.clone();
        for (drawn, pool) in steps.pool.iter().zip(&mut pool) {
            for (b, slot) in slots.iter().enumerate().filter(|(_, slot)| **slot >= 0) {
                let state = drawn.view().narrow(0, b, 1)?.to_f64();
                pool.view_mut().narrow(0, *slot as usize, 1)?.write_f64(&state);
            }
        }
        let before = pool.clone();
        let dtype = steps.pool.first().map_or(DType::F32, Tensor::dtype);
        let shape = |i| steps.problem.output_shape(recurrence, i);
        let poisoned = |i| {
            let shape: Vec<usize> = shape(i);
            Tensor::from_f64(dtype, &vec![f64::NAN; shape.iter().product()], &shape)
        };
        let mut outputs = (0..recurrence.outputs.len()).map(poisoned).collect::<Result<Vec<_>>>()?;
        {
            let mut pool: Vec<ViewMut> = pool.iter_mut().map(Tensor::view_mut).collect();
            let mut outputs: Vec<ViewMut> = outputs.iter_mut().map(Tensor::view_mut).collect();
            let problem = &steps.problem;
            operation.decode_into(problem, &slots, &inputs, None, &mut pool, setting.layout, &mut outputs)?;
        }
        for (i, (before, after)) in before.iter().zip(&pool).enumerate() {
            let slot = |t: &Tensor, slot: usize| Ok::<_, Error>(t.view().narrow(0, slot, 1)?.to_f64());
            for untouched in (0..count).filter(|s| !slots.contains(&(*s as i64))) {
                if slot(before, untouched)? != slot(after, untouched)? {
                    return Ok(Some(format!("{} of slot {untouched}", recurrence.states[i].name)));
                }
            }
        }
        let mut of_sequences = vec![];
        for (b, slot) in slots.iter().enumerate() {
            let rows = outputs.iter().map(|o| Ok(o.view().narrow(0, b, 1)?.to_f64()));
            let mut values = rows.collect::<Result<Vec<_>>>()?.concat();
            if *slot < 0 {
                if values.iter().any(|x| !x.is_nan()) {
                    return Ok(Some(format!("outputs of padding at {b}")));
                }
                of_sequences.push(None);
                continue;
            }
            for state in &pool {
                values.extend(state.view().narrow(0, *slot as usize, 1)?.to_f64());
            }
            of_sequences.push(Some(values));
        }
        results.push(of_sequences);
    }
    for (b, (first, second)) in results[0].iter().zip(&results[1]).enumerate() {
        if let (Some(x), Some(y)) = (first, second)
            && x.iter().zip(y).any(|(x, y)| x.to_bits() != y.to_bits())
        {
            return Ok(Some(format!("sequence {b} in another slot")));
        }
    }
    Ok(None)
}

/// However many warps carry a state, and whether backward's finish runs beside them, the bits are the same: calls of few and of many
/// sequences differ in both. At 128 channels, where four warps multiply together.
fn widths(operation: &Operation, setting: &Setting, seed: u64) -> Result<Option<String>> {
    let mut sizes = vec![128, 128];
    sizes.resize(operation.recurrence().sides.len(), 64);
    let case = case(operation, Dims { sizes, batch: 1, tokens: 70, key_heads: 1, value_heads: 2 }, true, seed)?;
    let chunk = operation.chunk();
    // f32 is given blocks of one group only
    let widths: &[(usize, usize)] =
        if setting.dtype.is_half() { &[(1, 0), (2, 0), (4, 0), (1, 4)] } else { &[(1, 0), (1, 1)] };
    let mut first = None;
    for (groups, beside) in widths.iter().copied() {
        let usual = Choices { groups, ..Choices::default() };
        let schedule = Schedule {
            forward: Choices { chunk, ..usual },
            training: Choices { beside, ..usual },
            decode: Choices::default(),
        };
        let other = Operation::cuda(operation.recurrence().clone(), Some(schedule))?;
        let found = run(&other, &case, setting)?;
        let name = difference(first.get_or_insert_with(|| found.clone()), &found);
        if let Some(name) = name {
            return Ok(Some(format!("{name} with groups={groups} beside={beside}")));
        }
    }
    Ok(None)
}
