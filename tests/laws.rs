//! The laws of kernels: for finite inputs and a fixed configuration, bit for bit unless a test says otherwise. Every built-in
//! variant, chunk-parallel and token by token. Each law comes with its negative control: the same comparison of a call that
//! breaks it, which it must reject.
use rla_codegen::data::{Dims, Gradients, Outputs};
use rla_dsl::recurrence::{InputKind, Recurrence, Side};
use rla_runtime::case::{Case, Results};
use rla_runtime::draw::{self, Gates, KINK_DISTANCE, KINK_DISTANCE_16_BIT, Keys, Plan, Rng, exact};
use rla_runtime::ladder::{self, Setting};
use rla_runtime::op::ForwardOptions;
use rla_runtime::{Backend, DType, Operation, StateLayout, Tensor, View};
use rla_tests::{compare, cut, decode, golden};
use std::ops::Range;

/// Length of a chunk, and half of it, divide this.
const CHUNKS: usize = 64;

/// What differs, or `None`. With `broken` the call breaks the law.
type Law = fn(&Operation, bool) -> Option<String>;

/// Checks a law and its control for every variant in both forms; prints how many.
fn hold(name: &str, law: Law) {
    hold_for(name, rla_dsl::BUILTINS.iter().map(|(name, _)| *name), law);
}

fn hold_for<'a>(name: &str, variants: impl Iterator<Item = &'a str>, law: Law) {
    let mut bad = vec![];
    let mut count = 0;
    for variant in variants {
        for backend in [Backend::Cpu, Backend::Recurrent] {
            let operation = Operation::builtin(variant, backend).unwrap_or_else(|e| panic!("{variant}: {e}"));
            let backend = backend.name();
            bad.extend(law(&operation, false).map(|difference| format!("{variant} on {backend}: {difference}")));
            if law(&operation, true).is_none() {
                bad.push(format!("{variant} on {backend}: a broken call passes"));
            }
            count += 1;
        }
    }
    println!("{name}: {count} kernels");
    assert!(bad.is_empty(), "{name}:\n{}", bad.join("\n"));
}

fn dims(recurrence: &Recurrence, batch: usize, tokens: usize) -> Dims {
    let sizes = vec![20, 24, 9][..recurrence.sides.len()].to_vec();
    Dims { sizes, batch, tokens, key_heads: 2, value_heads: 4 }
}

fn draw_case(recurrence: &Recurrence, dims: Dims, cu_seqlens: Option<Vec<i64>>, distance: f64, seed: u64) -> Case {
    let plan = Plan { dims, cu_seqlens, gates: Gates::Weak, keys: Keys::Independent, initial_states: true };
    for attempt in 0..10 {
        let mut rng = Rng::new(seed + 100 * attempt);
        if let Ok((inputs, _)) = draw::inputs(recurrence, &plan, distance, &mut rng) {
            let cotangents = draw::cotangents(recurrence, &inputs, &mut rng);
            return Case { inputs, cotangents, results: Results::default() };
        }
    }
    panic!("{}: every draw was rejected", recurrence.name);
}

fn case(recurrence: &Recurrence, batch: usize, tokens: usize, seed: u64) -> Case {
    draw_case(recurrence, dims(recurrence, batch, tokens), None, 0.0, seed)
}

fn run_as(operation: &Operation, case: &Case, setting: &Setting) -> Results {
    let (outputs, gradients) = ladder::compute(operation, case, setting).unwrap_or_else(|e| panic!("{e}"));
    Results::new(outputs, gradients)
}

/// In f32; backward too where the case has cotangents.
fn run(operation: &Operation, case: &Case) -> Results {
    run_as(operation, case, &Setting::of(operation.backend()))
}

#[test]
fn repeat() {
    hold("repeat", |operation, broken| {
        let recurrence = operation.recurrence();
        let case = case(recurrence, 2, 37, 1);
        let mut again = case.clone();
        if broken {
            again.inputs.tensors[0][7] *= 1.001;
        }
        cut::difference(recurrence, &run(operation, &case), &run(operation, &again))
    });
}

/// Each sequence of a call equals the same sequence alone, forward and backward; with `broken`, with the initial state of
/// another.
fn separate(operation: &Operation, case: &Case, broken: bool) -> Option<String> {
    let recurrence = operation.recurrence();
    let whole = run(operation, case);
    let sequences = case.inputs.sequences();
    sequences.iter().enumerate().find_map(|(n, range)| {
        let own = if broken { (n + 1) % sequences.len() } else { n };
        let alone = run(operation, &cut::positions(recurrence, case, own, range));
        let part = cut::results(recurrence, &case.inputs, &whole, n, range);
        cut::difference(recurrence, &part, &alone).map(|d| format!("sequence {n}: {d}"))
    })
}

#[test]
fn batch() {
    hold("batch", |operation, broken| separate(operation, &case(operation.recurrence(), 3, 37, 2), broken));
}

#[test]
fn pack() {
    hold("pack", |operation, broken| {
        let recurrence = operation.recurrence();
        let offsets = vec![0, 5, 5, 22, 23, 66, 66];
        separate(operation, &draw_case(recurrence, dims(recurrence, 1, 66), Some(offsets), 0.0, 3), broken)
    });
}

/// A call in two parts, the second from the states that the first ends with, backward the other way round.
fn in_two(operation: &Operation, case: &Case, at: usize, broken: bool) -> (Outputs, Option<Gradients>) {
    let recurrence = operation.recurrence();
    let tokens = case.inputs.dims.tokens;
    let mut first = cut::positions(recurrence, case, 0, &(0..at));
    let mut second = cut::positions(recurrence, case, 0, &(at..tokens));
    let forward = run(operation, &cut::forward_only(&first));
    if !broken {
        second.inputs.states.clone_from(&forward.states);
    }
    let late = run(operation, &second);
    if case.backward() {
        first.cotangents.states.clone_from(&late.state_gradients);
    }
    let early = run(operation, &first);
    let joined = |a: &[Option<Vec<f64>>], b: &[Option<Vec<f64>>]| -> Vec<Vec<f64>> {
        a.iter().zip(b).map(|(a, b)| [a.clone().unwrap(), b.clone().unwrap()].concat()).collect()
    };
    let given = |list: &[Option<Vec<f64>>]| list.iter().map(|x| x.clone().unwrap()).collect();
    let outputs = Outputs { outputs: joined(&early.outputs, &late.outputs), states: given(&late.states) };
    if !case.backward() {
        return (outputs, None);
    }
    let mut inputs = joined(&early.input_gradients, &late.input_gradients);
    for (index, gradient) in inputs.iter_mut().enumerate() {
        if cut::input_row(recurrence, &case.inputs, index) == 0 {
            let sum = gradient.split_at(gradient.len() / 2);
            *gradient = sum.0.iter().zip(sum.1).map(|(a, b)| a + b).collect();
        }
    }
    (outputs, Some(Gradients { inputs, states: given(&early.state_gradients) }))
}

#[test]
fn split_at_a_multiple_of_the_chunk() {
    hold("split", |operation, broken| {
        let recurrence = operation.recurrence();
        let chunk = operation.report().expect("a kernel").chunk;
        assert!(CHUNKS.is_multiple_of(chunk), "{chunk}");
        let case = cut::forward_only(&case(recurrence, 1, CHUNKS + 21, 4));
        let (outputs, _) = in_two(operation, &case, CHUNKS, broken);
        cut::difference(recurrence, &run(operation, &case), &Results::new(outputs, None))
    });
}

/// The laws of `rla verify` cut where the chunks of a configuration end, however long they are.
#[test]
fn the_laws_know_the_chunk() {
    for chunk in [1, 5, 16, 64, 128] {
        let operation = Operation::tile(golden::built_in("rdn"), chunk).expect("of the class");
        let setting = Setting::of(operation.backend());
        for (name, law) in rla_runtime::laws::LAWS.iter().filter(|(name, _)| ["split", "contained"].contains(name)) {
            assert_eq!(law(&operation, &setting, 0).expect("it runs"), None, "{name} with chunks of {chunk}");
        }
    }
}

/// Within the bound, forward and backward.
#[test]
fn split_anywhere() {
    hold("split anywhere", |operation, broken| {
        let recurrence = operation.recurrence();
        let setting = Setting::of(operation.backend());
        let case = draw_case(recurrence, dims(recurrence, 1, 45), None, KINK_DISTANCE, 5);
        let case = ladder::rounded(recurrence, &case, &setting);
        [1, 19].into_iter().find_map(|at| {
            let (outputs, gradients) = in_two(operation, &case, at, broken);
            let outcome = ladder::judge_results(operation, &case, &case, &setting, outputs, gradients);
            let outcome = outcome.expect("it fits");
            outcome.lines.into_iter().find(|line| !line.passed).map(|line| format!("split at {at}: {line:?}"))
        })
    });
}

#[test]
fn causal() {
    hold("causal", |operation, broken| {
        let recurrence = operation.recurrence();
        let (one, other) = (case(recurrence, 1, 50, 6), case(recurrence, 1, 50, 7));
        let before = run(operation, &cut::forward_only(&one));
        [1, 15, 16, 17, 33, 49].into_iter().find_map(|at| {
            let mut changed = cut::forward_only(&one);
            let from = if broken { at - 1 } else { at };
            for (index, tensor) in changed.inputs.tensors.iter_mut().enumerate() {
                let row = cut::input_row(recurrence, &one.inputs, index);
                if row > 0 {
                    tensor[from * row..].copy_from_slice(&other.inputs.tensors[index][from * row..]);
                }
            }
            let after = run(operation, &changed);
            let early =
                |all: &Results| Results { states: vec![], ..cut::results(recurrence, &one.inputs, all, 0, &(0..at)) };
            let difference = cut::difference(recurrence, &early(&before), &early(&after));
            difference.map(|d| format!("outputs before token {at}: {d}"))
        })
    });
}

fn bits(tensors: &[Vec<f64>]) -> Vec<Vec<u64>> {
    tensors.iter().map(|t| t.iter().map(|x| x.to_bits()).collect()).collect()
}

/// Verification of k drafted tokens in one call, and n of them accepted, equals n plain steps.
#[test]
fn roll_back() {
    const DRAFTED: usize = 5;
    hold("roll back", |operation, broken| {
        let case = case(operation.recurrence(), 2, DRAFTED, 8);
        let inputs = &case.inputs;
        let setting = Setting::of(operation.backend());
        let layout = setting.layout;
        let start = decode::pool(operation, inputs, layout);
        let slots = [0, 1];
        let call = |from, count, pool: &mut Vec<Tensor>| {
            let tokens = decode::tokens(operation, inputs, &setting, from, count);
            decode::step(operation, &tokens, &slots, &inputs.consts, pool, layout)
        };
        let drafted = call(0, DRAFTED, &mut start.clone());
        (0..=DRAFTED).find_map(|accepted| {
            let mut plain = start.clone();
            let mut steps = vec![];
            let more = usize::from(broken && accepted < DRAFTED);
            for token in 0..accepted + more {
                steps.push(call(token, 1, &mut plain));
            }
            // roll back: the states from before the draft, then the accepted tokens in one call
            let mut rolled = start.clone();
            if accepted > 0 {
                call(0, accepted, &mut rolled);
            }
            let states = |pool: &[Tensor]| bits(&pool.iter().map(Tensor::to_f64).collect::<Vec<_>>());
            if states(&plain) != states(&rolled) {
                return Some(format!("states after {accepted} of {DRAFTED} tokens"));
            }
            for (token, step) in steps.iter().enumerate().take(accepted) {
                for (out, (one, all)) in step.iter().zip(&drafted).enumerate() {
                    let row = one.len() / 2;
                    for b in 0..2 {
                        let at = (b * DRAFTED + token) * row;
                        let (one, all) = (&one[b * row..(b + 1) * row], &all[at..at + row]);
                        if one.iter().zip(all).any(|(x, y)| x.to_bits() != y.to_bits()) {
                            return Some(format!("output {out} of token {token}, drafted and plain"));
                        }
                    }
                }
            }
            None
        })
    });
}

/// Slots that are not named keep their bits, those named hold what each sequence alone gives, and -1 touches nothing.
#[test]
fn pool() {
    hold("pool", |operation, broken| {
        let recurrence = operation.recurrence();
        let setting = Setting::of(operation.backend());
        let case = case(recurrence, 3, 2, 9);
        let inputs = &case.inputs;
        [StateLayout::ValueMajor, StateLayout::KeyMajor].into_iter().find_map(|layout| {
            let small = decode::pool(operation, inputs, layout);
            let named: [i64; 3] = [3, -1, 0];
            // five slots of NaN, the named ones with a sequence's states
            let mut pool: Vec<Tensor> = small
                .iter()
                .map(|state| {
                    let (row, mut shape) = (state.to_f64().len() / 3, state.shape().to_vec());
                    shape[0] = 5;
                    let mut data = vec![f64::NAN; 5 * row];
                    for (sequence, slot) in named.iter().enumerate().filter(|(_, slot)| **slot >= 0) {
                        let from = &state.to_f64()[sequence * row..(sequence + 1) * row];
                        data[*slot as usize * row..(*slot as usize + 1) * row].copy_from_slice(from);
                    }
                    Tensor::from_f64(DType::F32, &data, &shape).expect("it fits")
                })
                .collect();
            let before = pool.clone();
            let call = decode::tokens(operation, inputs, &setting, 0, 2);
            let out = decode::step(operation, &call, &named, &inputs.consts, &mut pool, layout);
            let slot = |tensor: &Tensor, slot: i64| {
                let view = tensor.view().narrow(0, slot as usize, 1).expect("a slot");
                bits(&[view.to_f64()])
            };
            let kept = if broken { vec![0, 1] } else { vec![1, 2, 4] };
            for (state, (before, after)) in before.iter().zip(&pool).enumerate() {
                if let Some(n) = kept.iter().find(|&&n| slot(before, n) != slot(after, n)) {
                    return Some(format!("slot {n} of state {state} changed"));
                }
            }
            for (sequence, &n) in named.iter().enumerate() {
                let rows = |x: &[f64]| x[sequence * x.len() / 3..(sequence + 1) * x.len() / 3].to_vec();
                if n < 0 {
                    if out.iter().any(|x| rows(x).iter().any(|x| !x.is_nan())) {
                        return Some("an output of padding was written".into());
                    }
                    continue;
                }
                let alone = cut::positions(recurrence, &case, sequence, &(2 * sequence..2 * sequence + 2));
                let mut own = decode::pool(operation, &alone.inputs, layout);
                let call = decode::tokens(operation, &alone.inputs, &setting, 0, 2);
                let expected = decode::step(operation, &call, &[0], &inputs.consts, &mut own, layout);
                let got: Vec<Vec<f64>> = out.iter().map(|x| rows(x)).collect();
                if bits(&got) != bits(&expected) || pool.iter().zip(&own).any(|(a, b)| slot(a, n) != slot(b, 0)) {
                    return Some(format!("sequence {sequence} in slot {n} is not what it is alone"));
                }
            }
            None
        })
    });
}

/// Heads `heads` of a tensor `[.., all, width]`.
fn heads(data: &[f64], row: usize, all: usize, heads: Range<usize>) -> Vec<f64> {
    let width = row / all;
    data.chunks_exact(row).flat_map(|row| &row[heads.start * width..heads.end * width]).copied().collect()
}

/// A non-finite value reaches no other sequence, no other group of heads and no earlier chunk.
#[test]
fn non_finite_values_stay() {
    hold("non-finite", |operation, broken| {
        let recurrence = operation.recurrence();
        const TOKENS: usize = 45;
        const AT: usize = 37;
        let clean = case(recurrence, 3, TOKENS, 10);
        let expected = run(operation, &clean);
        let expected_forward = run(operation, &cut::forward_only(&clean));
        let chunk = operation.report().expect("a kernel").chunk;
        let count = recurrence.inputs.len() + recurrence.states.len();
        (0..count).flat_map(|i| [(i, f64::NAN), (i, f64::INFINITY)]).find_map(|(index, poison)| {
            let mut case = clean.clone();
            let from_start = match index.checked_sub(recurrence.inputs.len()) {
                None => {
                    let row = cut::input_row(recurrence, &clean.inputs, index);
                    if row == 0 {
                        return None;
                    }
                    // the last head of the second sequence
                    case.inputs.tensors[index][(TOKENS + AT + 1) * row - 1] = poison;
                    false
                }
                Some(state) => {
                    let row = cut::state_row(recurrence, &clean.inputs, state);
                    case.inputs.states[state].as_mut().expect("they are given")[2 * row - 1] = poison;
                    true
                }
            };
            let (got, forward) = (run(operation, &case), run(operation, &cut::forward_only(&case)));
            let what = format!("{poison} in input or state {index}");
            let others = if broken { [0, 1] } else { [0, 2] };
            for n in others {
                let range = n * TOKENS..(n + 1) * TOKENS;
                let part = |all| cut::results(recurrence, &clean.inputs, all, n, &range);
                if let Some(d) = cut::difference(recurrence, &part(&expected), &part(&got)) {
                    return Some(format!("{what} reaches sequence {n}: {d}"));
                }
            }
            // the first key head's group, in the second sequence
            let range = TOKENS..2 * TOKENS;
            let part = |all| cut::results(recurrence, &clean.inputs, all, 1, &range);
            let (a, b) = (part(&expected), part(&got));
            let group = |data: &Option<Vec<f64>>, row: usize, all: usize| {
                data.as_ref().map(|data| bits(&[heads(data, row, all, 0..all / 2)]))
            };
            for i in 0..recurrence.outputs.len() {
                let row = cut::output_row(recurrence, &clean.inputs, i);
                if group(&a.outputs[i], row, 4) != group(&b.outputs[i], row, 4) {
                    return Some(format!("{what} reaches another group in output {i}"));
                }
            }
            for (i, decl) in recurrence.inputs.iter().enumerate() {
                let row = cut::input_row(recurrence, &clean.inputs, i);
                let all = if decl.per_key_head() { 2 } else { 4 };
                if row > 0 && group(&a.input_gradients[i], row, all) != group(&b.input_gradients[i], row, all) {
                    return Some(format!("{what} reaches another group in the gradient of {}", decl.name));
                }
            }
            if from_start {
                return None;
            }
            let earlier = TOKENS..TOKENS + AT / chunk * chunk;
            let part = |all| Results { states: vec![], ..cut::results(recurrence, &clean.inputs, all, 1, &earlier) };
            let d = cut::difference(recurrence, &part(&expected_forward), &part(&forward));
            d.map(|d| format!("{what} reaches an earlier chunk: {d}"))
        })
    });
}

/// A NaN is not swallowed either (by the min and max of a clip, say): it shows in the outputs of its sequence and head, and in
/// the gradient of its own input.
#[test]
fn nan_shows() {
    hold("NaN shows", |operation, broken| {
        let recurrence = operation.recurrence();
        const AT: usize = 20;
        let mut case = case(recurrence, 1, 33, 16);
        let written = |i: &usize| {
            let input = &recurrence.inputs[*i];
            input.kind == InputKind::Input && input.side == Some(Side::VALUE) && !input.gate
        };
        let index = (0..recurrence.inputs.len()).find(written).expect("every built-in variant has a value input");
        let row = cut::input_row(recurrence, &case.inputs, index);
        if !broken {
            case.inputs.tensors[index][(AT + 1) * row - 1] = f64::NAN;
        }
        let got = run(operation, &case);
        let shows = |data: &Option<Vec<f64>>| data.iter().flatten().any(|x| x.is_nan());
        let all = [("outputs", &got.outputs), ("states", &got.states), ("gradients", &got.input_gradients)];
        let silent = all.into_iter().find(|(_, list)| !list.iter().any(shows));
        silent.map(|(what, _)| format!("no NaN in the {what}"))
    });
}

#[test]
fn both_layouts_of_states() {
    hold("layouts", |operation, broken| {
        let recurrence = operation.recurrence();
        let case = case(recurrence, 2, 23, 11);
        let mut other = case.clone();
        if broken {
            other.inputs.states.iter_mut().flatten().for_each(|state| state.reverse());
        }
        let setting = |layout| Setting { layout, ..Setting::of(operation.backend()) };
        let rows = run_as(operation, &case, &setting(StateLayout::ValueMajor));
        let columns = run_as(operation, &other, &setting(StateLayout::KeyMajor));
        cut::difference(recurrence, &rows, &columns)
    });
}

/// Inputs as slices of wider rows.
#[test]
fn strides() {
    hold("strides", |operation, broken| {
        let recurrence = operation.recurrence();
        let case = case(recurrence, 2, 23, 12);
        let problem = ladder::problem(&case.inputs);
        let (pad, first) = (5, 2 + usize::from(broken));
        let tensors = case.inputs.tensors.iter().enumerate();
        let wide: Vec<(Vec<f32>, Vec<usize>, Vec<usize>)> = tensors
            .map(|(index, data)| {
                let shape = problem.input_shape(recurrence, index);
                let (last, rows) = shape.split_last().expect("a dimension");
                let mut strides = vec![1; shape.len()];
                for dim in (0..rows.len()).rev() {
                    strides[dim] = strides[dim + 1] * (shape[dim + 1] + if dim + 1 == rows.len() { pad } else { 0 });
                }
                let row = |row: &[f64]| {
                    let mut wide = vec![f32::NAN; last + pad];
                    wide[2..2 + last].iter_mut().zip(row).for_each(|(to, x)| *to = *x as f32);
                    wide
                };
                (data.chunks_exact(*last).flat_map(row).collect(), shape, strides)
            })
            .collect();
        let dense: Vec<Tensor> = case
            .inputs
            .tensors
            .iter()
            .zip(&wide)
            .map(|(data, (_, shape, _))| Tensor::from_f64(DType::F32, data, shape).expect("it fits"))
            .collect();
        let views: Vec<View> =
            wide.iter().map(|(data, shape, s)| View::strided(&data[first..], shape, s).expect("it fits")).collect();
        let forward = |views: &[View]| {
            let options = ForwardOptions { final_states: true, save: true, ..ForwardOptions::default() };
            let forward = operation.forward(&problem, views, &options).unwrap_or_else(|e| panic!("{e}"));
            let grads: Vec<Tensor> = forward.outputs.clone();
            let grads: Vec<Option<View>> = grads.iter().map(|t| Some(t.view())).collect();
            let options = rla_runtime::op::BackwardOptions { output_grads: &grads, ..Default::default() };
            let saved = forward.saved.as_ref().expect("it was asked for");
            let gradients = operation.backward(&problem, views, saved, &options).unwrap_or_else(|e| panic!("{e}"));
            let f64s = |tensors: &[Tensor]| tensors.iter().map(|t| Some(t.to_f64())).collect::<Vec<_>>();
            Results {
                outputs: f64s(&forward.outputs),
                states: f64s(&forward.final_states),
                input_gradients: f64s(&gradients.inputs),
                state_gradients: f64s(&gradients.initial_states),
            }
        };
        let dense: Vec<View> = dense.iter().map(Tensor::view).collect();
        cut::difference(recurrence, &forward(&dense), &forward(&views))
    });
}

/// 16-bit inputs: the oracle on the rounded inputs, at the bounds of f32.
#[test]
fn sixteen_bit_inputs() {
    hold("16-bit inputs", |operation, broken| {
        let recurrence = operation.recurrence();
        let dims = Dims { batch: 1, ..dims(recurrence, 1, 45) };
        let case = draw_case(recurrence, dims, Some(vec![0, 17, 17, 45]), KINK_DISTANCE_16_BIT, 13);
        [DType::Bf16, DType::F16].into_iter().find_map(|dtype| {
            let setting = Setting { dtype, ..Setting::of(operation.backend()) };
            let rounded = ladder::rounded(recurrence, &case, &setting);
            let (outputs, gradients) = ladder::compute(operation, &rounded, &setting).expect("it fits");
            // broken: judged against inputs that were not rounded
            let reference = if broken { &case } else { &rounded };
            let outcome = ladder::judge_results(operation, reference, reference, &setting, outputs, gradients);
            let failed = outcome.expect("it fits").lines.into_iter().find(|line| !line.passed);
            failed.map(|line| format!("{dtype}: {line:?}"))
        })
    });
}

/// Exact cases, every type: equal to the oracle, forward and backward.
#[test]
fn exact_cases() {
    hold_for("exact", rla_tests::exact::VARIANTS.into_iter(), |operation, broken| {
        let recurrence = operation.recurrence();
        let mut rng = Rng::new(14);
        for (tokens, cu_seqlens) in [(exact::MOST_TOKENS, None), (40, Some(vec![0, 17, 17, 18, 40]))] {
            // small sides: numbers stay small enough
            let sizes = vec![6, 5, 4][..recurrence.sides.len()].to_vec();
            let dims = Dims { sizes, batch: 1, tokens, key_heads: 1, value_heads: 2 };
            let plan = Plan { dims, cu_seqlens, gates: Gates::Weak, keys: Keys::Independent, initial_states: false };
            let drawn = exact::case(recurrence, &plan, &mut rng).expect("the plan fits");
            let (inputs, cotangents) = drawn.expect("an exact case");
            let expected = compare::oracle(recurrence, &inputs, &cotangents);
            let mut case = Case { inputs, cotangents, results: Results::default() };
            if broken {
                // every value input moved by one
                let values = recurrence.inputs.iter().zip(&mut case.inputs.tensors);
                let values = values.filter(|(decl, _)| decl.carries_values());
                values.flat_map(|(_, tensor)| tensor).for_each(|x| *x += 1.0);
            }
            for dtype in [DType::F32, DType::Bf16, DType::F16] {
                let setting = Setting { dtype, ..Setting::of(operation.backend()) };
                let mut got = run_as(operation, &case, &setting);
                let mut expected = expected.clone();
                // a zero has no sign here
                let all = [&mut got, &mut expected];
                for x in all
                    .into_iter()
                    .flat_map(|r| [&mut r.outputs, &mut r.states, &mut r.input_gradients, &mut r.state_gradients])
                {
                    x.iter_mut().flatten().flatten().for_each(|x| *x += 0.0);
                }
                if let Some(d) = cut::difference(recurrence, &expected, &got) {
                    return Some(format!("{dtype}, {tokens} tokens: {d}"));
                }
            }
        }
        None
    });
}

/// The comparison itself sees one bit.
#[test]
fn one_bit_is_a_difference() {
    let recurrence = golden::built_in("rdn");
    let case = case(&recurrence, 1, 3, 15);
    let expected = compare::oracle(&recurrence, &case.inputs, &case.cotangents);
    assert_eq!(cut::difference(&recurrence, &expected, &expected), None);
    for part in 0..4 {
        let mut wrong = expected.clone();
        let tensors = match part {
            0 => &mut wrong.outputs,
            1 => &mut wrong.states,
            2 => &mut wrong.input_gradients,
            _ => &mut wrong.state_gradients,
        };
        let x = tensors[0].as_mut().expect("it is computed").last_mut().expect("it has elements");
        *x = f64::from_bits(x.to_bits() ^ 1);
        assert!(cut::difference(&recurrence, &expected, &wrong).is_some(), "part {part}");
    }
}
