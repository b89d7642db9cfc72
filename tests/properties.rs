//! Properties of kernels over calls that proptest draws and shrinks: a built-in variant in either form, any sizes from 1 to 256,
//! any lengths and packings, gates from weak to -inf, repeated and near-equal keys; and decode equals the chunk kernel.
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use rla_codegen::data::Dims;
use rla_runtime::case::{Case, Results};
use rla_runtime::draw::{self, Gates, KINK_DISTANCE, Keys, Plan, Rng};
use rla_runtime::ladder::{self, Setting};
use rla_runtime::{Backend, Operation, StateLayout};
use rla_tests::decode;
use std::cell::Cell;

/// Calls that are drawn.
const CASES: u32 = 96;
/// K V T HV of the largest call, which the oracle runs token by token.
const MOST_WORK: usize = 1_500_000;

/// A call, in numbers that shrink.
#[derive(Clone, Debug)]
struct Call {
    variant: usize,
    by_token: bool,
    key_major: bool,
    sizes: [usize; 3],
    key_heads: usize,
    group: usize,
    /// Lengths of the sequences.
    lengths: Vec<usize>,
    packed: bool,
    gates: u8,
    keys: u8,
    initial_states: bool,
    at_once: usize,
    seed: u64,
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 1usize..=40, 1 => 1usize..=256, 1 => prop::sample::select(vec![5, 60, 64, 96, 100, 128, 160, 256])]
}

fn calls() -> impl Strategy<Value = Call> {
    let what = (0..rla_dsl::BUILTINS.len(), any::<bool>(), any::<bool>(), [size(), size(), size()]);
    let heads = (1usize..=2, 1usize..=3, prop::collection::vec(0usize..=50, 1..=4), any::<bool>());
    let how = (0u8..3, 0u8..3, any::<bool>(), 1usize..=8, 0u64..1 << 32);
    (what, heads, how).prop_map(
        |(
            (variant, by_token, key_major, sizes),
            (key_heads, group, lengths, packed),
            (gates, keys, initial_states, at_once, seed),
        )| {
            let call = Call {
                variant,
                by_token,
                key_major,
                sizes,
                key_heads,
                group,
                lengths,
                packed,
                gates,
                keys,
                initial_states,
                at_once,
                seed,
            };
            call.within(MOST_WORK)
        },
    )
}

impl Call {
    fn dims(&self, sides: usize) -> Dims {
        let (batch, tokens) = match self.packed {
            true => (1, self.lengths.iter().sum()),
            false => (self.lengths.len(), self.lengths[0]),
        };
        let value_heads = self.key_heads * self.group;
        Dims { sizes: self.sizes[..sides].to_vec(), batch, tokens, key_heads: self.key_heads, value_heads }
    }

    /// The same with shorter sequences, then smaller sides, until the oracle has at most so much to do.
    fn within(mut self, most: usize) -> Call {
        loop {
            let dims = self.dims(2);
            let sides = self.sizes[0] * self.sizes[1].max(self.sizes[2]);
            let work = sides * (dims.batch * dims.tokens + 1) * dims.value_heads;
            if work <= most {
                return self;
            }
            match self.lengths.iter().any(|n| *n > 20) {
                true => self.lengths.iter_mut().for_each(|n| *n = (*n).min(*n / 2 + 5)),
                false => self.sizes.iter_mut().for_each(|n| *n = n.div_ceil(2)),
            }
        }
    }

    fn plan(&self, sides: usize) -> Plan {
        let mut offsets = vec![0];
        offsets.extend(self.lengths.iter().scan(0, |sum, n| {
            *sum += *n as i64;
            Some(*sum)
        }));
        Plan {
            dims: self.dims(sides),
            cu_seqlens: self.packed.then_some(offsets),
            gates: [Gates::Weak, Gates::Strong, Gates::Abyss][self.gates as usize],
            keys: [Keys::Independent, Keys::Repeated, Keys::NearEqual][self.keys as usize],
            initial_states: self.initial_states,
        }
    }
}

/// What failed; `None` where the draw was rejected.
fn check(call: &Call, spoil: f64) -> Option<String> {
    let backend = if call.by_token { Backend::Recurrent } else { Backend::Cpu };
    let operation = Operation::builtin(rla_dsl::BUILTINS[call.variant].0, backend).unwrap_or_else(|e| panic!("{e}"));
    let recurrence = operation.recurrence();
    let layout = if call.key_major { StateLayout::KeyMajor } else { StateLayout::ValueMajor };
    let setting = Setting { layout, ..Setting::of(backend) };
    let mut rng = Rng::new(call.seed);
    let plan = call.plan(recurrence.sides.len());
    let (inputs, _) = draw::inputs(recurrence, &plan, KINK_DISTANCE, &mut rng).ok()?;
    let cotangents = draw::cotangents(recurrence, &inputs, &mut rng);
    let case = Case { inputs, cotangents, results: Results::default() };
    let run = ladder::rounded(recurrence, &case, &setting);
    let (mut outputs, gradients) = ladder::compute(&operation, &run, &setting).unwrap_or_else(|e| panic!("{e}"));
    outputs.outputs.iter_mut().filter_map(|o| o.last_mut()).for_each(|x| *x += spoil);
    let judged = ladder::judge_results(&operation, &case, &run, &setting, outputs, gradients);
    let outcome = judged.unwrap_or_else(|e| panic!("{e}"));
    let mut failed: Vec<String> =
        outcome.lines.iter().filter(|line| !line.passed).map(|line| format!("{line:?}")).collect();
    if plan.cu_seqlens.is_none() {
        let mut forward = run.clone();
        forward.cotangents.outputs.fill(None);
        forward.cotangents.states.fill(None);
        let got = decode::run(&operation, &forward, &setting, call.at_once);
        let judged = ladder::judge_results(&operation, &forward, &forward, &setting, got, None);
        let outcome = judged.unwrap_or_else(|e| panic!("{e}"));
        failed.extend(outcome.lines.iter().filter(|line| !line.passed).map(|line| format!("decode: {line:?}")));
    }
    Some(failed.join("\n"))
}

#[test]
fn random_calls_agree_with_the_oracle() {
    let (ran, rejected) = (Cell::new(0), Cell::new(0));
    let config = Config { cases: CASES, max_shrink_iters: 64, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::default()));
    let result = runner.run(&calls(), |call| match check(&call, 0.0) {
        Some(failed) if !failed.is_empty() => Err(TestCaseError::fail(failed)),
        Some(_) => {
            ran.set(ran.get() + 1);
            Ok(())
        }
        None => {
            rejected.set(rejected.get() + 1);
            Ok(())
        }
    });
    println!("{} random calls of built-in variants, {} draws rejected", ran.get(), rejected.get());
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(ran.get() >= 80, "too many draws are rejected");
}

/// An output that is off by a thousandth fails the property.
#[test]
fn a_wrong_output_fails() {
    let rdn = rla_dsl::BUILTINS.iter().position(|(name, _)| *name == "rdn").expect("rdn is built in");
    for by_token in [false, true] {
        let call = Call {
            variant: rdn,
            by_token,
            key_major: true,
            sizes: [5, 6, 1],
            key_heads: 1,
            group: 2,
            lengths: vec![3, 0, 17],
            packed: true,
            gates: 0,
            keys: 0,
            initial_states: true,
            at_once: 1,
            seed: 1,
        };
        assert_eq!(check(&call, 0.0).as_deref(), Some(""));
        assert_ne!(check(&call, 1e-3).as_deref(), Some(""));
    }
}
