//! Random variants of the class through rustc on this machine's level: forward, backward and decode against the oracle at
//! the bounds of f32, with random sizes, packings, gates and keys. `RLA_RANDOM_VARIANTS` sets how many of the 200 seeds run.
use rla_codegen::data::Dims;
use rla_codegen::schedule::Schedule;
use rla_dsl::recurrence::Recurrence;
use rla_runtime::case::{Case, Results};
use rla_runtime::draw::{self, Gates, KINK_DISTANCE, KINK_DISTANCE_16_BIT, Keys, Plan, Rng};
use rla_runtime::ladder::{self, Outcome, Setting};
use rla_runtime::{Backend, DType, Operation, StateLayout};
use rla_tests::{batch, decode, golden, random_variant};

/// Seeds that run by default; rustc takes a few seconds for each.
const VARIANTS: u64 = 40;
/// Cases of each variant.
const CASES: u64 = 4;
/// K, V and other sides, vector widths and their neighbours among them.
const SIZES: [usize; 20] = [1, 2, 3, 5, 7, 8, 15, 16, 17, 24, 32, 33, 60, 64, 96, 100, 128, 160, 255, 256];
/// Lengths around those of chunks.
const TOKENS: [usize; 13] = [0, 1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 40, 70];
/// K V T HV of the largest case, which the oracle runs token by token.
const MOST_WORK: usize = 1_500_000;

/// Numbers of what ran. Rejected draws: a state grew, or a kink could not be kept away from. Ill-posed ones: the definition itself
/// misses the bounds where the values of its functions are half a unit off; no more than 1 in 50 may be.
#[derive(Debug, Default)]
struct Tally {
    variants: usize,
    cases: usize,
    decoded: usize,
    rejected: usize,
    ill_posed: usize,
    by_movement: usize,
}

fn plan(recurrence: &Recurrence, rng: &mut Rng) -> Plan {
    loop {
        let sizes: Vec<usize> = (0..recurrence.sides.len()).map(|_| *rng.pick(&SIZES)).collect();
        let packed = rng.chance(0.4);
        let (key_heads, group) = (1 + rng.below(2), 1 + rng.below(2));
        let (batch, tokens) = if packed { (1, 20 + rng.below(60)) } else { (1 + rng.below(2), *rng.pick(&TOKENS)) };
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

fn failed(outcome: &Outcome) -> String {
    let failed = outcome.lines.iter().filter(|line| !line.passed);
    let text = |line: &ladder::Line| {
        let (error, d) = (line.error.unwrap_or(f64::NAN), line.movement.unwrap_or(0.0));
        format!("\n  {}: error {error:.1e}, bound {:.1e}, D {d:.1e}", line.name, line.bound)
    };
    failed.map(text).collect()
}

/// One case; what failed.
fn check(operation: &Operation, seed: u64, tally: &mut Tally) -> Option<String> {
    let recurrence = operation.recurrence();
    let mut rng = Rng::new(seed);
    let plan = plan(recurrence, &mut rng);
    let dtype = *rng.pick(&[DType::F32, DType::F32, DType::F32, DType::Bf16, DType::F16]);
    let layout = *rng.pick(&[StateLayout::ValueMajor, StateLayout::KeyMajor]);
    let setting = Setting { dtype, layout, ..Setting::of(Backend::Cpu) };
    let distance = if dtype == DType::F32 { KINK_DISTANCE } else { KINK_DISTANCE_16_BIT };
    let Ok((inputs, _)) = draw::inputs(recurrence, &plan, distance, &mut rng) else {
        tally.rejected += 1;
        return None;
    };
    let cotangents = draw::cotangents(recurrence, &inputs, &mut rng);
    let case = Case { inputs, cotangents, results: Results::default() };
    let outcome = ladder::evaluate(operation, &case, &setting).unwrap_or_else(|e| panic!("{}: {e}", recurrence.name));
    tally.cases += 1;
    tally.by_movement += usize::from(outcome.lines.iter().any(|line| line.movement.is_some()));
    let mut rows = failed(&outcome);
    if plan.cu_seqlens.is_none() {
        let mut forward = ladder::rounded(recurrence, &case, &setting);
        forward.cotangents.outputs.fill(None);
        forward.cotangents.states.fill(None);
        let got = decode::run(operation, &forward, &setting, 1 + rng.below(8));
        let outcome = ladder::judge_results(operation, &forward, &forward, &setting, got, None).expect("it fits");
        tally.decoded += 1;
        if !outcome.passed {
            rows += &format!("\n decode:{}", failed(&outcome));
        }
    }
    // asked only of a case that failed: the answer does not depend on the kernel
    if !rows.is_empty() && ladder::ill_posed(operation, &case, &setting).unwrap_or_else(|e| panic!("{e}")) {
        tally.ill_posed += 1;
        println!("ill-posed: {}, case {seed}:{rows}", recurrence.name);
        return None;
    }
    (!rows.is_empty()).then(|| format!("case {seed}, {dtype}, {layout:?}, {plan:?}:{rows}"))
}

#[test]
fn kernels_agree_with_the_oracle() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let count = number("RLA_RANDOM_VARIANTS").unwrap_or(VARIANTS);
    let seeds: Vec<u64> = (number("RLA_RANDOM_FIRST").unwrap_or(0)..).take(count as usize).collect();
    let mut tally = Tally::default();
    let mut bad = vec![];
    let texts: Vec<String> = seeds.iter().map(|&seed| random_variant::text(seed)).collect();
    let recurrences: Vec<Recurrence> = texts.iter().map(|text| golden::parse(text)).collect();
    let operations = batch::operations(&recurrences, &Schedule::default());
    for ((&seed, text), operation) in seeds.iter().zip(&texts).zip(&operations) {
        tally.variants += 1;
        for case in 0..CASES {
            if let Some(rows) = check(operation, seed * 1000 + case, &mut tally) {
                bad.push(format!("seed {seed}, {rows}\n{text}"));
                break;
            }
        }
    }
    rla_tests::say(format!("random variants through rustc: {tally:?}"));
    assert!(tally.variants as u64 == count && tally.cases * 10 > tally.variants * 30, "{tally:?}");
    assert!(tally.ill_posed * 50 <= tally.cases + 50, "{tally:?}");
    assert!(bad.is_empty(), "{} of {} variants are wrong:\n{}", bad.len(), tally.variants, bad.join("\n"));
}

/// The check above rejects one element that is off by ten units of the bound.
#[test]
fn a_wrong_element_is_rejected() {
    let operation = Operation::builtin("rdn", Backend::Cpu).expect("it is built in");
    let recurrence = operation.recurrence();
    let mut rng = Rng::new(1);
    let sizes = vec![5, 6, 7][..recurrence.sides.len()].to_vec();
    let dims = Dims { sizes, batch: 1, tokens: 20, key_heads: 1, value_heads: 1 };
    let plan = Plan { dims, cu_seqlens: None, gates: Gates::Weak, keys: Keys::Independent, initial_states: true };
    let (inputs, _) = draw::inputs(recurrence, &plan, KINK_DISTANCE, &mut rng).expect("bounded");
    let cotangents = draw::cotangents(recurrence, &inputs, &mut rng);
    let case = Case { inputs, cotangents, results: Results::default() };
    let setting = Setting::of(Backend::Cpu);
    let run = ladder::rounded(recurrence, &case, &setting);
    let (outputs, gradients) = ladder::compute(&operation, &run, &setting).expect("it fits");
    let judge = |outputs, gradients| {
        ladder::judge_results(&operation, &run, &run, &setting, outputs, Some(gradients)).expect("it fits")
    };
    let gradients = gradients.expect("there are cotangents");
    assert!(judge(outputs.clone(), gradients.clone()).passed);
    let mut wrong = outputs.clone();
    wrong.outputs[0][3] += 1e-3;
    assert!(!judge(wrong, gradients.clone()).passed);
    let mut wrong = gradients;
    wrong.states[0][0] += 1e-2;
    assert!(!judge(outputs, wrong).passed);
}

/// With one sign the norms of two unit vectors cancel in the output, and their rounding is all that f32 has of it; with the
/// other they do not. What is asked is the definition's, and no kernel is run.
#[test]
fn ill_posed_draws_are_told_from_others() {
    let posed = |sign: &str| {
        let recurrence = golden::parse(&format!(
            "variant two {{
                input x, y: key; input v: value;
                state S: value x key;
                let n = l2norm(sigmoid(x), 0.000001);
                let m = l2norm(softplus(y), 0.000001);
                S[t] = 0.1 * S[t-1] + v * n^T {sign} v * m^T;
                output o = S[t] * n + S[t] * m;
            }}"
        ));
        let operation = Operation::new(recurrence, Backend::Tile).unwrap_or_else(|e| panic!("{e}"));
        let mut rng = Rng::new(3);
        let dims = Dims { sizes: vec![8, 6], batch: 1, tokens: 20, key_heads: 1, value_heads: 1 };
        let plan = Plan { dims, cu_seqlens: None, gates: Gates::Weak, keys: Keys::Independent, initial_states: false };
        let (inputs, _) = draw::inputs(operation.recurrence(), &plan, KINK_DISTANCE, &mut rng).expect("bounded");
        let cotangents = draw::cotangents(operation.recurrence(), &inputs, &mut rng);
        let case = Case { inputs, cotangents, results: Results::default() };
        let setting = Setting { dtype: DType::F32, ..Setting::of(Backend::Tile) };
        !ladder::ill_posed(&operation, &case, &setting).unwrap_or_else(|e| panic!("{e}"))
    };
    assert!(posed("+"));
    assert!(!posed("-"));
}
