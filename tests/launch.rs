//! The launch layer with a kernel written by hand: heads, packings, strides, types, layouts and slots arrive where the
//! calling convention says, whatever the compiler emits.
use rla_codegen::data::Dims;
use rla_codegen::kernel::{CpuKernel, Form, Level};
use rla_runtime::case::{Case, Results};
use rla_runtime::draw::{self, Gates, Keys, Plan, Rng};
use rla_runtime::ladder::{self, Setting};
use rla_runtime::op::{BackwardOptions, ForwardOptions};
use rla_runtime::{Backend, DType, Operation, Problem, StateLayout, Tensor, View, ViewMut};
use rla_tests::golden::built_in;

fn hand_written() -> Operation {
    let abi = include_str!("../templates/cpu/abi.rs");
    let text = CpuKernel {
        symbol: "rla_test_linear_attention".into(),
        levels: vec![Level::Portable],
        source: format!("#[allow(dead_code)]\nmod abi {{\n{abi}\n}}\n{}", include_str!("kernels/linear_attention.rs")),
        chunk: 1,
        chunk_bf16: 0,
        configuration: "by hand".into(),
    };
    Operation::from_text(built_in("linear_attention"), Form::Token, &text).expect("the text compiles")
}

fn case(dims: Dims, cu_seqlens: Option<Vec<i64>>, seed: u64) -> Case {
    let recurrence = built_in("linear_attention");
    let mut rng = Rng::new(seed);
    let (gates, keys) = (Gates::Weak, Keys::Independent);
    let plan = Plan { dims, cu_seqlens, gates, keys, initial_states: true };
    let (inputs, _) = draw::inputs(&recurrence, &plan, 0.0, &mut rng).expect("bounded");
    let cotangents = draw::cotangents(&recurrence, &inputs, &mut rng);
    Case { inputs, cotangents, results: Results::default() }
}

#[test]
fn every_layout_of_heads_sequences_types_and_states_arrives() {
    let operation = hand_written();
    let dims =
        |batch, tokens, key_heads, value_heads| Dims { sizes: vec![5, 3], batch, tokens, key_heads, value_heads };
    let cases = [
        case(dims(2, 7, 3, 3), None, 1),
        case(dims(2, 7, 2, 6), None, 2),
        case(dims(1, 12, 2, 4), Some(vec![0, 4, 4, 5, 12]), 3),
        case(dims(3, 0, 1, 2), None, 4),
        case(dims(1, 40, 1, 64), None, 5),
    ];
    for (index, case) in cases.iter().enumerate() {
        for layout in [StateLayout::ValueMajor, StateLayout::KeyMajor] {
            for dtype in [DType::F32, DType::Bf16] {
                let setting = Setting { dtype, layout, ..Setting::of(Backend::Recurrent) };
                let outcome = ladder::evaluate(&operation, case, &setting).unwrap();
                assert_eq!(outcome.lines.len(), 6, "o, S and gradients of q, k, v, S0");
                assert!(outcome.passed, "case {index}, {layout:?}, {dtype}: {:#?}", outcome.lines);
            }
        }
    }
}

#[test]
fn a_wrong_result_is_seen() {
    let mut wrong = case(Dims { sizes: vec![5, 3], batch: 1, tokens: 9, key_heads: 1, value_heads: 1 }, None, 6);
    let operation = hand_written();
    let setting = Setting::of(Backend::Recurrent);
    let right = ladder::evaluate(&operation, &wrong, &setting).unwrap();
    wrong.results = right.results;
    wrong.results.outputs[0].as_mut().unwrap()[4] += 1e-3;
    let outcome = ladder::evaluate(&operation, &wrong, &setting).unwrap();
    let failed: Vec<_> = outcome.lines.iter().filter(|line| !line.passed).map(|line| line.name.as_str()).collect();
    assert_eq!(failed, ["out.o"]);
}

/// q, k and v as slices of one packed projection, o and dv as slices of wider rows.
#[test]
fn strided_inputs_and_outputs_equal_contiguous_ones() {
    let operation = hand_written();
    let (tokens, heads, key, value) = (11, 2, 4, 6);
    let problem = Problem::new(1, tokens, heads, heads, key, value);
    let mut rng = Rng::new(7);
    let row = heads * (2 * key + value);
    let packed: Vec<f32> = (0..tokens * row).map(|_| rng.normal() as f32).collect();
    let part = |start: usize, width: usize| {
        View::strided(&packed[start..], &[1, tokens, heads, width], &[tokens * row, row, width, 1]).unwrap()
    };
    let strided = [part(0, key), part(heads * key, key), part(2 * heads * key, value)];
    let dense: Vec<Tensor> =
        strided.iter().map(|v| Tensor::from_f64(DType::F32, &v.to_f64(), v.shape()).unwrap()).collect();
    let dense: Vec<View> = dense.iter().map(Tensor::view).collect();
    let options = ForwardOptions { save: true, ..ForwardOptions::default() };
    let expected = operation.forward(&problem, &dense, &options).unwrap();
    let mut wide = vec![f32::NAN; tokens * heads * 9];
    let shape = [1, tokens, heads, value];
    {
        let mut out = [ViewMut::strided(&mut wide, &shape, &[tokens * heads * 9, heads * 9, 9, 1]).unwrap()];
        operation.forward_into(&problem, &strided, &options, &mut out, &mut [], None).unwrap();
        assert_eq!(out[0].as_view().to_f64(), expected.outputs[0].to_f64());
    }
    assert_eq!(wide.iter().filter(|x| x.is_nan()).count(), tokens * heads * 3, "the gaps are untouched");

    let grad = Tensor::from_f64(DType::F32, &vec![1.0; tokens * heads * value], &shape).unwrap();
    let output_grads = [Some(grad.view())];
    let options = BackwardOptions { output_grads: &output_grads, ..BackwardOptions::default() };
    let saved = expected.saved.as_ref().unwrap();
    let gradients = operation.backward(&problem, &dense, saved, &options).unwrap();
    let mut wide = vec![f32::NAN; tokens * heads * 9];
    let dv = ViewMut::strided(&mut wide, &shape, &[tokens * heads * 9, heads * 9, 9, 1]).unwrap();
    let mut grads = [None, None, Some(dv)];
    operation.backward_into(&problem, &strided, saved, &options, &mut grads, &mut []).unwrap();
    assert_eq!(grads[2].as_ref().unwrap().as_view().to_f64(), gradients.inputs[2].to_f64());
}

/// Gradients of 16-bit inputs are sums in f32 over value heads, rounded once.
#[test]
fn sixteen_bit_gradients_are_rounded_once() {
    let operation = hand_written();
    let dims = Dims { sizes: vec![4, 4], batch: 1, tokens: 6, key_heads: 1, value_heads: 4 };
    let case = case(dims, None, 8);
    let setting = Setting { dtype: DType::Bf16, ..Setting::of(Backend::Recurrent) };
    let case = ladder::rounded(operation.recurrence(), &case, &setting);
    let (_, wide) = ladder::compute(&operation, &case, &setting).unwrap();
    let problem = ladder::problem(&case.inputs);
    let shape = |i| problem.input_shape(operation.recurrence(), i);
    let inputs: Vec<Tensor> =
        (0..3).map(|i| Tensor::from_f64(DType::Bf16, &case.inputs.tensors[i], &shape(i)).unwrap()).collect();
    let views: Vec<View> = inputs.iter().map(Tensor::view).collect();
    let state = Tensor::from_f64(DType::F32, case.inputs.states[0].as_ref().unwrap(), &[1, 4, 4, 4]).unwrap();
    let initial = [Some(state.view())];
    let options = ForwardOptions { save: true, initial_states: &initial, ..ForwardOptions::default() };
    let forward = operation.forward(&problem, &views, &options).unwrap();
    assert_eq!(forward.outputs[0].dtype(), DType::Bf16, "o has v's type");
    let grads = [&case.cotangents.outputs[0], &case.cotangents.states[0]].map(|g| g.as_ref().unwrap());
    let out = Tensor::from_f64(DType::F32, grads[0], &[1, 6, 4, 4]).unwrap();
    let last = Tensor::from_f64(DType::F32, grads[1], &[1, 4, 4, 4]).unwrap();
    let (out, last) = ([Some(out.view())], [Some(last.view())]);
    let options = BackwardOptions { output_grads: &out, final_state_grads: &last, ..BackwardOptions::default() };
    let narrow = operation.backward(&problem, &views, forward.saved.as_ref().unwrap(), &options).unwrap();
    for (i, tensor) in narrow.inputs.iter().enumerate() {
        assert_eq!(tensor.dtype(), DType::Bf16);
        let rounded = Tensor::from_f64(DType::Bf16, &wide.as_ref().unwrap().inputs[i], tensor.shape()).unwrap();
        assert_eq!(tensor, &rounded, "gradient {i}");
    }
}

#[test]
fn decode_touches_the_named_slots_and_no_other() {
    let operation = hand_written();
    let (heads, key, value, slots) = (2, 3, 5, 4);
    let mut rng = Rng::new(9);
    for layout in [StateLayout::ValueMajor, StateLayout::KeyMajor] {
        for tokens in [1, 3] {
            let problem = Problem::new(3, tokens, heads, heads, key, value);
            let mut draw = |shape: &[usize]| {
                let values: Vec<f64> = (0..shape.iter().product()).map(|_| rng.normal()).collect();
                Tensor::from_f64(DType::F32, &values, shape).unwrap()
            };
            let inputs: Vec<Tensor> = (0..3).map(|i| draw(&problem.input_shape(operation.recurrence(), i))).collect();
            let views: Vec<View> = inputs.iter().map(Tensor::view).collect();
            let start = draw(&problem.state_shape(operation.recurrence(), 0, slots, layout));
            let named = [2, -1, 0];
            let run = |operation: &Operation| {
                let mut pool = start.clone();
                let mut view = [pool.view_mut()];
                let out = operation.decode(&problem, &named, &views, None, &mut view, layout).unwrap();
                (out, pool)
            };
            let oracle = Operation::builtin("linear_attention", Backend::Oracle).unwrap();
            let ((out, pool), (expected_out, expected_pool)) = (run(&operation), run(&oracle));
            let near = |a: &Tensor, b: &Tensor| a.to_f64().iter().zip(b.to_f64()).all(|(x, y)| (x - y).abs() < 1e-5);
            assert!(near(&out[0], &expected_out[0]) && near(&pool, &expected_pool));
            let slot = |t: &Tensor, i| t.view().narrow(0, i, 1).unwrap().to_f64();
            for untouched in [1, 3] {
                assert_eq!(slot(&pool, untouched), slot(&start, untouched), "slot {untouched}");
            }
            assert_ne!(slot(&pool, 2), slot(&start, 2));
        }
    }
}
