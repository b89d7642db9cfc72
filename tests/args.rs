//! Every refusal of a call: the argument is named, with what was expected and what came; nothing is computed, nothing panics.
use rla_runtime::op::{BackwardOptions, ForwardOptions, Saved};
use rla_runtime::{Backend, DType, Error, Operation, Problem, Result, StateLayout, Tensor, View, ViewMut};

const KEY: usize = 4;
const VALUE: usize = 6;
const TOKENS: usize = 5;

/// Residual delta net on the oracle: inputs q, k, v, g, beta, gamma; states S, R; output o.
struct Call {
    operation: Operation,
    problem: Problem,
    inputs: Vec<Tensor>,
}

fn call() -> Call {
    let operation = Operation::builtin("rdn", Backend::Oracle).unwrap();
    let problem = Problem::new(2, TOKENS, 2, 4, KEY, VALUE);
    let inputs = (0..6)
        .map(|i| {
            let shape = problem.input_shape(operation.recurrence(), i);
            let fill = if i == 3 { -0.5 } else { 0.25 };
            Tensor::from_f64(DType::F32, &vec![fill; shape.iter().product()], &shape).unwrap()
        })
        .collect();
    Call { operation, problem, inputs }
}

impl Call {
    fn forward(&self, options: &ForwardOptions) -> Result<()> {
        let views: Vec<View> = self.inputs.iter().map(Tensor::view).collect();
        self.operation.forward(&self.problem, &views, options).map(|_| ())
    }
}

/// The argument named, and that expectation and finding are in the message.
#[track_caller]
fn refused(result: Result<()>, argument: &str, expected: &str, found: &str) {
    let error = result.expect_err("must be refused");
    let text = error.to_string();
    match &error {
        Error::Argument { argument: named, expected: e, found: f } => {
            assert_eq!(named, argument, "{text}");
            assert!(e.contains(expected), "expected {expected:?} in {text:?}");
            assert!(f.contains(found), "found {found:?} in {text:?}");
            assert_eq!(error.exit_code(), 2);
        }
        other => panic!("not a refused argument: {other}"),
    }
}

#[track_caller]
fn forward_refused(change: impl FnOnce(&mut Call), argument: &str, expected: &str, found: &str) {
    let mut call = call();
    change(&mut call);
    refused(call.forward(&ForwardOptions::default()), argument, expected, found);
}

#[test]
fn the_unchanged_call_is_accepted() {
    call().forward(&ForwardOptions::default()).unwrap();
}

#[test]
fn shapes_types_and_counts_of_inputs() {
    let zeros = |dtype, shape: &[usize]| Tensor::zeros(dtype, shape).unwrap();
    forward_refused(|c| c.inputs[0] = zeros(DType::F32, &[2, TOKENS, 4, KEY]), "q", "[2, 5, 2, 4]", "[2, 5, 4, 4]");
    forward_refused(|c| c.inputs[2] = zeros(DType::F32, &[2, TOKENS, 4]), "v", "[2, 5, 4, 6]", "[2, 5, 4]");
    forward_refused(|c| c.inputs[3] = zeros(DType::F32, &[2, 4, TOKENS]), "g", "[2, 5, 4]", "[2, 4, 5]");
    forward_refused(|c| c.inputs[1] = zeros(DType::I32, &[2, TOKENS, 2, KEY]), "k", "f32, bf16, f16", "i32");
    forward_refused(|c| drop(c.inputs.pop()), "inputs", "6 tensors", "5");
}

#[test]
fn sizes_and_heads() {
    forward_refused(|c| c.problem.sizes = vec![KEY], "sizes", "key, value", "[4]");
    forward_refused(|c| c.problem.sizes = vec![0, VALUE], "key", "at least 1", "0");
    forward_refused(|c| c.problem.key_heads = 3, "HV", "multiple", "H = 3, HV = 4");
    forward_refused(|c| c.problem.key_heads = 0, "HV", "positive", "H = 0");
}

#[test]
fn offsets() {
    let packed = |offsets: Vec<i64>| {
        move |c: &mut Call| {
            c.problem = Problem { batch: 1, ..c.problem.clone() };
            c.inputs.iter_mut().for_each(|t| {
                let mut shape = t.shape().to_vec();
                shape[0] = 1;
                *t = Tensor::zeros(DType::F32, &shape).unwrap();
            });
            c.problem.cu_seqlens = Some(offsets);
        }
    };
    let mut fine = call();
    packed(vec![0, 0, 3, 5])(&mut fine);
    fine.forward(&ForwardOptions::default()).unwrap();
    forward_refused(packed(vec![0, 4, 3, 5]), "cu_seqlens", "never fall", "3 after 4 at index 2");
    forward_refused(packed(vec![1, 5]), "cu_seqlens", "first offset of 0", "1");
    forward_refused(packed(vec![0, 4]), "cu_seqlens", "T = 5", "4");
    forward_refused(packed(vec![0, -1, 5]), "cu_seqlens", "never fall", "-1 after 0");
    forward_refused(packed(vec![]), "cu_seqlens", "N + 1 offsets", "none");
    forward_refused(|c| c.problem.cu_seqlens = Some(vec![0, TOKENS as i64]), "cu_seqlens", "B = 1", "B = 2");
}

#[test]
fn constants() {
    let call = call();
    let with = |values: &[f64]| call.forward(&ForwardOptions { constants: Some(values), ..ForwardOptions::default() });
    with(&[2.0]).unwrap();
    refused(with(&[]), "constants", "1 values", "0");
    refused(with(&[f64::NAN]), "clip", "finite", "NaN");
    let named = call.operation.constants(&call.problem.sizes, &[("clop", 1.0)]).map(|_| ());
    refused(named, "constants", "clip", "clop");
}

#[test]
fn states() {
    let call = call();
    let with = |layout, states: &[Option<View>]| {
        call.forward(&ForwardOptions { initial_states: states, layout, ..ForwardOptions::default() })
    };
    let state = Tensor::zeros(DType::F32, &[2, 4, VALUE, KEY]).unwrap();
    with(StateLayout::ValueMajor, &[Some(state.view()), None]).unwrap();
    let turned = [Some(state.view()), None];
    refused(with(StateLayout::KeyMajor, &turned), "S0", "[2, 4, 4, 6]", "other state layout");
    refused(with(StateLayout::ValueMajor, &[None]), "initial states", "2 tensors", "1");
    let half = Tensor::zeros(DType::Bf16, &[2, 4, VALUE, KEY]).unwrap();
    refused(with(StateLayout::ValueMajor, &[None, Some(half.view())]), "R0", "f32", "bf16");
    let few = Tensor::zeros(DType::F32, &[1, 4, VALUE, KEY]).unwrap();
    refused(with(StateLayout::ValueMajor, &[None, Some(few.view())]), "R0", "[2, 4, 6, 4]", "[1, 4, 6, 4]");
}

#[test]
fn views() {
    let data = vec![0.0f32; 24];
    let made = |shape: &[usize], strides: &[usize]| View::strided(&data, shape, strides).map(|_| ());
    made(&[2, 3, 4], &[12, 4, 1]).unwrap();
    made(&[2, 3, 1], &[12, 4, 7]).unwrap();
    refused(made(&[2, 3, 4], &[12, 4, 2]), "strides", "last stride of 1", "[12, 4, 2]");
    refused(made(&[2, 3, 5], &[12, 4, 1]), "data", "25 elements", "24");
    refused(made(&[2, 3], &[3]), "strides", "2 of them", "[3]");
    refused(made(&[1, 1, 1, 1, 1], &[1; 5]), "shape", "at most 4", "[1, 1, 1, 1, 1]");
    refused(made(&[usize::MAX, 2], &[2, 1]), "shape", "address space", "");
    refused(View::new(&data, &[5, 5]).map(|_| ()), "data", "25 elements", "24");
    let view = View::new(&data, &[2, 12]).unwrap();
    refused(view.narrow(1, 8, 5).map(|_| ()), "range", "0..12", "8, 5 long");
}

#[test]
fn outputs_that_do_not_fit_or_overlap() {
    let call = call();
    let views: Vec<View> = call.inputs.iter().map(Tensor::view).collect();
    let into = |out: ViewMut| {
        let options = ForwardOptions::default();
        call.operation.forward_into(&call.problem, &views, &options, &mut [out], &mut [], None)
    };
    let shape = [2, TOKENS, 4, VALUE];
    let mut data = vec![0.0f32; 240];
    into(ViewMut::new(&mut data, &shape).unwrap()).unwrap();
    refused(
        into(ViewMut::strided(&mut data, &shape, &[120, 24, 0, 1]).unwrap()),
        "o",
        "do not overlap",
        "[120, 24, 0, 1]",
    );
    refused(
        into(ViewMut::strided(&mut data, &shape, &[120, 24, 5, 1]).unwrap()),
        "o",
        "do not overlap",
        "[120, 24, 5, 1]",
    );
    refused(into(ViewMut::new(&mut data, &[2, TOKENS, 24, 1]).unwrap()), "o", "[2, 5, 4, 6]", "[2, 5, 24, 1]");
    let mut integers = vec![0i32; 240];
    refused(into(ViewMut::new(&mut integers, &shape).unwrap()), "o", "f32, bf16, f16", "i32");
    let none = call.operation.forward_into(&call.problem, &views, &ForwardOptions::default(), &mut [], &mut [], None);
    refused(none, "outputs", "1 tensors", "0");
}

/// Callers from outside Rust may hand in memory twice; the addresses give it away.
#[test]
fn aliased_outputs() {
    use rla_runtime::kernel::args::{Region, no_aliases};
    let mut data = [0.0f32; 20];
    let (low, high) = data.split_at_mut(8);
    let (a, b) = (ViewMut::new(low, &[8]).unwrap(), ViewMut::new(high, &[12]).unwrap());
    let inner = b.as_view().narrow(0, 4, 2).unwrap();
    let apart = [Region::written("o", &a), Region::written("S", &b)];
    no_aliases(&apart).unwrap();
    let twice = [Region::written("o", &b), Region::written("S", &b)];
    refused(no_aliases(&twice), "S", "memory of its own", "overlap with `o`");
    let read = [Region::read("q", &inner), Region::written("o", &b)];
    refused(no_aliases(&read), "o", "memory of its own", "overlap with `q`");
    no_aliases(&[Region::read("q", &inner), Region::read("k", &b.as_view())]).unwrap();
}

#[test]
fn backward() {
    let call = call();
    let views: Vec<View> = call.inputs.iter().map(Tensor::view).collect();
    let options = ForwardOptions { save: true, ..ForwardOptions::default() };
    let saved = call.operation.forward(&call.problem, &views, &options).unwrap().saved.unwrap();
    let run = |saved: &Saved, options: &BackwardOptions| {
        call.operation.backward(&call.problem, &views, saved, options).map(|_| ())
    };
    run(&saved, &BackwardOptions::default()).unwrap();
    refused(run(&Saved::default(), &BackwardOptions::default()), "saved", "what forward kept", "nothing");
    let short = Tensor::zeros(DType::F32, &[2, TOKENS, 4, KEY]).unwrap();
    let grads = [Some(short.view())];
    let options = BackwardOptions { output_grads: &grads, ..BackwardOptions::default() };
    refused(run(&saved, &options), "cot.o", "[2, 5, 4, 6]", "[2, 5, 4, 4]");
    let state = Tensor::zeros(DType::F32, &[2, 4, KEY, VALUE]).unwrap();
    let states = [Some(state.view()), None];
    let options = BackwardOptions { final_state_grads: &states, ..BackwardOptions::default() };
    refused(run(&saved, &options), "cot.S", "[2, 4, 6, 4]", "other state layout");

    let mut wrong = Tensor::zeros(DType::F16, &[2, TOKENS, 2, KEY]).unwrap();
    let mut grads = [Some(wrong.view_mut()), None, None, None, None, None];
    let options = BackwardOptions::default();
    let result = call.operation.backward_into(&call.problem, &views, &saved, &options, &mut grads, &mut []);
    refused(result, "grad.q", "f32", "f16");
    let result = call.operation.backward_into(&call.problem, &views, &saved, &options, &mut [], &mut []);
    refused(result, "input gradients", "6 tensors", "0");
}

#[test]
fn decode() {
    let operation = Operation::builtin("rdn", Backend::Oracle).unwrap();
    let run = |tokens: usize, slots: &[i64], pool: [&[usize]; 2], layout| {
        let problem = Problem::new(2, tokens, 1, 1, KEY, VALUE);
        let inputs: Vec<Tensor> = (0..6)
            .map(|i| Tensor::zeros(DType::F32, &problem.input_shape(operation.recurrence(), i)).unwrap())
            .collect();
        let views: Vec<View> = inputs.iter().map(Tensor::view).collect();
        let mut pool = pool.map(|shape| Tensor::zeros(DType::F32, shape).unwrap());
        let mut pool_views: Vec<_> = pool.iter_mut().map(Tensor::view_mut).collect();
        operation.decode(&problem, slots, &views, None, &mut pool_views, layout).map(|_| ())
    };
    let fits: [&[usize]; 2] = [&[3, 1, VALUE, KEY]; 2];
    let rows = StateLayout::ValueMajor;
    run(1, &[2, -1], fits, rows).unwrap();
    run(8, &[-1, -1], fits, rows).unwrap();
    refused(run(1, &[0, 3], fits, rows), "slots", "below 3", "3 at index 1");
    refused(run(1, &[-2, 0], fits, rows), "slots", "-1 or a slot", "-2 at index 0");
    refused(run(1, &[1, 1], fits, rows), "slots", "each slot once", "1 at indices 0 and 1");
    refused(run(1, &[0], fits, rows), "slots", "one a sequence, 2", "1");
    refused(run(0, &[0, 1], fits, rows), "T", "1 to 8", "0");
    refused(run(9, &[0, 1], fits, rows), "T", "1 to 8", "9");
    refused(run(1, &[0, 1], fits, StateLayout::KeyMajor), "S", "[3, 1, 4, 6]", "[3, 1, 6, 4]");
    refused(run(1, &[0, 1], [fits[0], &[2, 1, VALUE, KEY]], rows), "R", "[3, 1, 6, 4]", "[2, 1, 6, 4]");
}

/// Limits that only kernels have.
#[test]
fn sizes_that_no_kernel_holds() {
    use rla_runtime::kernel::args::{self, Rules};
    let recurrence = rla_runtime::op::builtin("gsa").unwrap();
    let problem = |key, slot| Problem { sizes: vec![key, 8, slot], ..Problem::new(1, 1, 1, 1, 1, 1) };
    args::problem(&recurrence, &problem(256, 1024), Rules::Kernel).unwrap();
    args::problem(&recurrence, &problem(300, 2000), Rules::Interpreter).unwrap();
    refused(args::problem(&recurrence, &problem(257, 4), Rules::Kernel), "key", "1 to 256", "257");
    refused(args::problem(&recurrence, &problem(8, 1025), Rules::Kernel), "slot", "1 to 1024", "1025");
    let double = Tensor::zeros(DType::F64, &[1, 1, 1, 8]).unwrap();
    let views = [double.view(); 4];
    let result = args::inputs(&recurrence, &Problem { sizes: vec![8; 3], ..problem(8, 8) }, &views, Rules::Kernel);
    refused(result, "q", "f32, bf16 or f16", "f64");
}

#[test]
fn unknown_variants_are_named() {
    let error = Operation::builtin("rdm", Backend::Oracle).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("found rdm") && error.to_string().contains("rdn"), "{error}");
}
