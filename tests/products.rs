//! Forward with products in the inputs' type, of every built-in variant and of random ones, against the oracle on the same
//! rounded inputs. Where the machine has no such products the tests say so, and what serves instead is still held to them.
use rla_codegen::data::Dims;
use rla_codegen::kernel::{Form, Level};
use rla_codegen::pipeline;
use rla_codegen::schedule::Schedule;
use rla_dsl::recurrence::Recurrence;
use rla_runtime::case::{Case, Results};
use rla_runtime::device::cpu;
use rla_runtime::draw::{self, Gates, KINK_DISTANCE_16_BIT, Keys, Plan, Rng, exact};
use rla_runtime::ladder::{self, Outcome, Setting};
use rla_runtime::{Backend, DType, Operation, Products, StateLayout};
use rla_tests::{batch, compare, cut, golden, random_variant};

/// K, V and other sides: odd ones, and the neighbours of vectors and panels.
const SIZES: [usize; 18] = [1, 2, 3, 5, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 96, 128, 255];
const TOKENS: [usize; 11] = [0, 1, 2, 7, 31, 32, 33, 45, 64, 65, 100];
/// K V T HV of the largest case, which the oracle runs token by token.
const MOST_WORK: usize = 1_000_000;

const IN_BF16: Setting = Setting { dtype: DType::Bf16, products: Products::Input, layout: StateLayout::ValueMajor };

/// Says once a test whether bf16 products run here.
fn runs(operation: &Operation) -> bool {
    let used = operation.products(Products::Input, DType::Bf16);
    if used == Products::F32 {
        let report = operation.report().expect("a kernel");
        println!("skipped, {}", report.products(DType::Bf16));
    }
    used == Products::Input
}

fn builtin(name: &str) -> Operation {
    Operation::builtin(name, Backend::Cpu).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn names() -> impl Iterator<Item = &'static str> {
    rla_dsl::BUILTINS.iter().map(|(name, _)| *name)
}

fn failed(outcome: &Outcome) -> String {
    outcome.lines.iter().filter(|line| !line.passed).map(|line| format!("\n  {line:?}")).collect()
}

fn forward_only(inputs: rla_codegen::data::Inputs, recurrence: &Recurrence) -> Case {
    let cotangents = rla_codegen::data::Cotangents {
        outputs: vec![None; recurrence.outputs.len()],
        states: vec![None; recurrence.states.len()],
    };
    Case { inputs, cotangents, results: Results::default() }
}

fn plan(recurrence: &Recurrence, rng: &mut Rng) -> Plan {
    loop {
        let sizes: Vec<usize> = (0..recurrence.sides.len()).map(|_| *rng.pick(&SIZES)).collect();
        let packed = rng.chance(0.4);
        let (key_heads, group) = (1 + rng.below(2), 1 + rng.below(2));
        let (batch, tokens) = if packed { (1, 20 + rng.below(100)) } else { (1 + rng.below(2), *rng.pick(&TOKENS)) };
        let dims = Dims { sizes, batch, tokens, key_heads, value_heads: key_heads * group };
        let states: usize = dims.sizes.iter().product();
        if states * dims.batch * dims.tokens * dims.value_heads > MOST_WORK {
            continue;
        }
        return Plan {
            cu_seqlens: packed.then(|| draw::packing(tokens, 5, rng)),
            dims,
            gates: *rng.pick(&[Gates::Weak, Gates::Strong, Gates::Abyss]),
            keys: *rng.pick(&[Keys::Independent, Keys::Independent, Keys::Repeated, Keys::NearEqual]),
            initial_states: rng.chance(0.7),
        };
    }
}

/// Cases of random shapes; what failed. Counts cases, and those that passed by the oracle's own movement.
fn random_cases(operation: &Operation, seed: u64, cases: u64, count: &mut (usize, usize)) -> Vec<String> {
    let recurrence = operation.recurrence();
    let mut bad = vec![];
    for case in 0..cases {
        let mut rng = Rng::new(seed * 1000 + case);
        let plan = plan(recurrence, &mut rng);
        let layout = *rng.pick(&[StateLayout::ValueMajor, StateLayout::KeyMajor]);
        let Ok((inputs, _)) = draw::inputs(recurrence, &plan, KINK_DISTANCE_16_BIT, &mut rng) else { continue };
        let outcome = ladder::evaluate(operation, &forward_only(inputs, recurrence), &Setting { layout, ..IN_BF16 });
        let outcome = outcome.unwrap_or_else(|e| panic!("{}: {e}", recurrence.name));
        count.0 += 1;
        count.1 += usize::from(outcome.lines.iter().any(|line| line.movement.is_some()));
        if !outcome.passed {
            bad.push(format!("{}, case {seed}, {case}, {plan:?}: {}", recurrence.name, failed(&outcome)));
        }
    }
    bad
}

#[test]
fn golden_cases() {
    let (mut cases, mut by_movement, mut bad) = (0, 0, vec![]);
    for file in golden::files() {
        let golden = golden::read(&file);
        let operation = builtin(&golden.recurrence.name);
        let outcome = ladder::evaluate(&operation, &golden.case, &IN_BF16).unwrap_or_else(|e| panic!("{e}"));
        cases += 1;
        by_movement += usize::from(outcome.lines.iter().any(|line| line.movement.is_some()));
        if !outcome.passed {
            bad.push(format!("{}: {}", golden.name, failed(&outcome)));
        }
    }
    rla_tests::say(format!("{cases} golden cases with bf16 products, {by_movement} asked for D"));
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn random_shapes() {
    let (mut count, mut bad) = ((0, 0), vec![]);
    for (index, name) in names().enumerate() {
        let operation = builtin(name);
        let runs = runs(&operation);
        bad.extend(random_cases(&operation, index as u64, 12, &mut count));
        if !runs {
            break;
        }
    }
    rla_tests::say(format!("{} cases of random shapes with bf16 products, {} asked for D", count.0, count.1));
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn random_variants() {
    let seeds: Vec<u64> = (100..108).collect();
    let recurrences: Vec<Recurrence> = seeds.iter().map(|&seed| golden::parse(&random_variant::text(seed))).collect();
    let schedule = Schedule::with_bf16(32);
    let (mut count, mut bad) = ((0, 0), vec![]);
    for (seed, operation) in seeds.iter().zip(batch::operations(&recurrences, &schedule)) {
        let runs = runs(&operation);
        bad.extend(random_cases(&operation, *seed, 6, &mut count));
        if !runs {
            break;
        }
    }
    rla_tests::say(format!("{} cases of random variants with bf16 products, {} asked for D", count.0, count.1));
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// Small integers are exact in bf16 too.
#[test]
fn exact_cases() {
    for name in rla_tests::exact::VARIANTS {
        let operation = builtin(name);
        let recurrence = operation.recurrence();
        let mut rng = Rng::new(14);
        for (tokens, cu_seqlens) in [(exact::MOST_TOKENS, None), (40, Some(vec![0, 17, 17, 18, 40]))] {
            let sizes = vec![6, 5, 4][..recurrence.sides.len()].to_vec();
            let dims = Dims { sizes, batch: 1, tokens, key_heads: 1, value_heads: 2 };
            let plan = Plan { dims, cu_seqlens, gates: Gates::Weak, keys: Keys::Independent, initial_states: false };
            let drawn = exact::case(recurrence, &plan, &mut rng).expect("the plan fits");
            let (inputs, cotangents) = drawn.expect("an exact case");
            let expected = compare::oracle(recurrence, &inputs, &cotangents);
            let (outputs, _) =
                ladder::compute(&operation, &forward_only(inputs, recurrence), &IN_BF16).expect("it fits");
            let mut got = Results::new(outputs, None);
            let mut expected = Results {
                input_gradients: got.input_gradients.clone(),
                state_gradients: got.state_gradients.clone(),
                ..expected
            };
            // a zero has no sign here
            for x in [&mut got, &mut expected].into_iter().flat_map(|r| [&mut r.outputs, &mut r.states]) {
                x.iter_mut().flatten().flatten().for_each(|x| *x += 0.0);
            }
            assert_eq!(cut::difference(recurrence, &expected, &got), None, "{name}, {tokens} tokens");
        }
    }
}

fn drawn(recurrence: &Recurrence, tokens: usize, cu_seqlens: Option<Vec<i64>>) -> Case {
    let sizes = vec![20, 24, 9][..recurrence.sides.len()].to_vec();
    let dims = Dims { sizes, batch: 1, tokens, key_heads: 1, value_heads: 2 };
    let plan = Plan { dims, cu_seqlens, gates: Gates::Weak, keys: Keys::Independent, initial_states: true };
    let (inputs, _) = draw::inputs(recurrence, &plan, 0.0, &mut Rng::new(5)).expect("bounded");
    forward_only(inputs, recurrence)
}

fn results(operation: &Operation, case: &Case, setting: &Setting) -> Results {
    let case = ladder::rounded(operation.recurrence(), case, setting);
    Results::new(ladder::compute(operation, &case, setting).unwrap_or_else(|e| panic!("{e}")).0, None)
}

/// Packed sequences equal separate ones, bit for bit.
#[test]
fn packed_is_separate() {
    for name in ["rdn", "gla", "linear_attention_norm"] {
        let operation = builtin(name);
        let recurrence = operation.recurrence();
        let case = drawn(recurrence, 70, Some(vec![0, 33, 33, 70]));
        let whole = results(&operation, &case, &IN_BF16);
        for (n, range) in case.inputs.sequences().iter().enumerate() {
            let alone = results(&operation, &cut::positions(recurrence, &case, n, range), &IN_BF16);
            let part = cut::results(recurrence, &case.inputs, &whole, n, range);
            assert_eq!(cut::difference(recurrence, &part, &alone), None, "{name}, sequence {n}");
        }
    }
}

/// Permission changes nothing where the inputs are f32 or f16, and something where they are bf16; and an element that is off is
/// rejected at the wider bounds too.
#[test]
fn permission_is_for_bf16() {
    let operation = builtin("rdn");
    let recurrence = operation.recurrence();
    let case = drawn(recurrence, 70, None);
    let differs = |dtype: DType| {
        let permitted = results(&operation, &case, &Setting { dtype, ..IN_BF16 });
        let forbidden = results(&operation, &case, &Setting { dtype, products: Products::F32, ..IN_BF16 });
        cut::difference(recurrence, &permitted, &forbidden).is_some()
    };
    assert!(!differs(DType::F32) && !differs(DType::F16));
    assert_eq!(differs(DType::Bf16), runs(&operation));
    let run = ladder::rounded(recurrence, &case, &IN_BF16);
    let (mut outputs, _) = ladder::compute(&operation, &run, &IN_BF16).expect("it fits");
    let passes =
        |outputs| ladder::judge_results(&operation, &run, &run, &IN_BF16, outputs, None).expect("it fits").passed;
    assert!(passes(outputs.clone()));
    outputs.outputs[0][100] += 1.0;
    assert!(!passes(outputs));
}

/// The text is compiled wherever AVX-512 can be, whatever this machine runs.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_text_compiles() {
    let recurrence = golden::built_in("kda");
    let schedule = Schedule::with_bf16(32);
    let text = pipeline::cpu_kernel(&recurrence, Form::Chunk, &schedule, &[Level::Avx512]).expect("of the class");
    let entry = rla_tests::kernel::Kernels::compile(&recurrence, &text).entry(Level::Avx512);
    assert!(entry.forward_bf16.is_some() && cpu::of_bf16(Level::Avx512));
    for chunk_bf16 in [1, 8, 16, 48] {
        assert!(Schedule::with_bf16(chunk_bf16).refusal().is_some(), "chunk_bf16 {chunk_bf16}");
    }
}
