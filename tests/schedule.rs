//! Every parameter of the schedule changes what is emitted, and no legal value changes results beyond rounding.
use rla_codegen::kernel::{Form, Level};
use rla_codegen::pipeline;
use rla_codegen::schedule::space::{self, PREDICATES};
use rla_codegen::schedule::{Choices, Schedule, Slot, cost};
use rla_runtime::Operation;
use rla_runtime::case::{Case, Results};
use rla_runtime::draw::{self, Gates, KINK_DISTANCE, Keys, Plan, Rng};
use rla_runtime::ladder::{self, Setting};
use rla_tests::golden::built_in;
use rla_tests::kernel::levels;
use std::collections::BTreeSet;

fn text(variant: &str, schedule: &Schedule, level: Level) -> String {
    let kernel = pipeline::cpu_kernel(&built_in(variant), Form::Chunk, schedule, &[level]);
    kernel.unwrap_or_else(|e| panic!("{variant}: {e}")).source
}

fn with(slot: Slot, choices: Choices) -> Schedule {
    let mut schedule = Schedule::with_bf16(32);
    *schedule.of_mut(slot) = choices;
    schedule
}

/// A variant that has use for every parameter: a system of two readouts, values kept, products over sides.
const SUBJECTS: [(&str, Slot); 5] = [
    ("rdn", Slot::Forward),
    ("rdn", Slot::Training),
    ("kda", Slot::TrainingChannel),
    ("rdn", Slot::Bf16),
    ("rdn", Slot::Decode),
];

#[test]
fn every_parameter_of_every_pass_changes_the_text() {
    for (variant, slot) in SUBJECTS {
        for parameter in space::parameters(slot) {
            let keeps = matches!(slot, Slot::Training | Slot::TrainingChannel);
            // only training keeps; products in bf16 have one width
            let none = match parameter.name {
                "stream" => !keeps,
                "vectors" => slot == Slot::Bf16,
                // of calls, not of texts
                "threads" => true,
                _ => false,
            };
            let base = Choices::chunk(if slot == Slot::Decode { 1 } else { 32 });
            let texts: BTreeSet<String> = parameter
                .values
                .iter()
                .filter_map(|&value| {
                    let mut choices = base;
                    (parameter.set)(&mut choices, value);
                    let legal = space::refusal_on(&choices, slot, Level::Avx512).is_none();
                    legal.then(|| text(variant, &with(slot, choices), Level::Avx512))
                })
                .collect();
            let name = format!("{variant}, {}.{}", slot.name(), parameter.name);
            assert_eq!(texts.len() > 1, !none, "{name}: {} texts", texts.len());
        }
    }
}

#[test]
fn what_is_illegal_is_refused_with_the_predicate() {
    let broken = |change: fn(&mut Choices)| {
        let mut choices = Choices::chunk(16);
        change(&mut choices);
        space::refusal_on(&choices, Slot::Forward, Level::Avx512)
    };
    assert_eq!(broken(|_| ()), None);
    for (change, reason) in [
        ((|c| c.chunk = 24) as fn(&mut Choices), "chunk is 1 or a power"),
        (|c| c.rows = 16, "rows is 0, 2"),
        (|c| c.vectors = 3, "vectors is 0"),
        (|c| (c.rows, c.vectors) = (8, 4), "fit in the registers"),
        (|c| c.prefetch = 9, "prefetch"),
        (|c| c.solve = 5, "solve"),
        (|c| c.unroll = 65, "unroll"),
        (|c| c.ahead = 257, "ahead is at most"),
        (|c| c.readouts = 4, "readouts is at most"),
        (|c| c.threads = 1025, "threads is at most"),
    ] {
        let found = broken(change).expect("it is refused");
        assert!(found.contains(reason), "{found}");
    }
    assert_eq!(PREDICATES.len(), 10, "each predicate is broken above");
    let illegal = with(Slot::Forward, Choices::chunk(24));
    assert!(pipeline::cpu_kernel(&built_in("rdn"), Form::Chunk, &illegal, &[Level::Avx512]).is_err());
}

#[test]
fn candidates_are_legal_distinct_and_ordered_by_cost() {
    let (_, programs) = pipeline::chunk_programs(&built_in("rdn")).expect("of the class");
    for level in [Level::Avx512, Level::Avx2, Level::Neon, Level::Portable] {
        for slot in Slot::ALL {
            let ordered = cost::ordered(&[&programs.forward], slot, level, &[128, 128], &cost::Caches::default());
            let distinct: BTreeSet<Choices> = ordered.iter().map(|(choices, _)| *choices).collect();
            assert_eq!(distinct.len(), ordered.len());
            assert!(distinct.iter().all(|c| space::refusal_on(c, slot, level).is_none()));
            let cycles: Vec<f64> = ordered.iter().map(|(_, cost)| cost.cycles()).collect();
            assert!(cycles.is_sorted() && cycles[0] > 0.0 && cycles[0].is_finite(), "{level:?} {slot:?}");
            assert!(cycles[cycles.len() - 1] > 1.2 * cycles[0], "{level:?} {slot:?}: the model tells nothing apart");
        }
    }
}

/// What is fastest where decode was measured is predicted to be: the default, and the far end of what is fetched ahead is not.
#[test]
fn decodes_default_is_predicted_fastest() {
    let (_, programs) = pipeline::chunk_programs(&built_in("rdn")).expect("of the class");
    let caches = cost::Caches::default();
    let ordered = cost::ordered(&[&programs.decode], Slot::Decode, Level::Avx512, &[128, 128], &caches);
    assert_eq!(ordered[0].0, Choices::chunk(1));
    let place = |ahead| ordered.iter().position(|(c, _)| *c == Choices { ahead, ..Choices::chunk(1) });
    assert!(place(8) < place(64) && place(32) < place(64), "{ordered:?}");
}

/// Ragged lengths, packed, with states and hard gates.
fn case(recurrence: &rla_dsl::Recurrence, seed: u64) -> Case {
    let mut rng = Rng::new(seed);
    let mut sizes = vec![20, 37];
    sizes.resize(recurrence.sides.len(), 11);
    let dims = rla_codegen::data::Dims { sizes, batch: 1, tokens: 150, key_heads: 1, value_heads: 2 };
    let cu_seqlens = Some(vec![0, 0, 1, 77, 150]);
    let plan = Plan { dims, cu_seqlens, gates: Gates::Abyss, keys: Keys::Independent, initial_states: true };
    let (inputs, _) = draw::inputs(recurrence, &plan, KINK_DISTANCE, &mut rng).expect("bounded");
    let cotangents = draw::cotangents(recurrence, &inputs, &mut rng);
    Case { inputs, cotangents, results: Results::default() }
}

/// Changed values, all passes at once, so that few texts cover every value of every parameter.
fn covering(level: Level) -> Vec<Choices> {
    let tiles = [(2, 1), (4, 4), (8, 1), (4, 2), (2, 4)];
    let tiles = tiles.into_iter().cycle().filter(|&(rows, vectors)| {
        let asked = Choices { rows, vectors, ..Choices::chunk(16) };
        space::refusal_on(&asked, Slot::Forward, level).is_none()
    });
    let rest =
        [(8, 0, 0, 0, false), (16, 2, 1, 24, true), (32, 4, 2, 10, false), (64, 1, 0, 24, true), (128, 1, 4, 0, true)];
    let make = |((chunk, prefetch, solve, unroll, stream), (rows, vectors))| Choices {
        chunk,
        rows,
        vectors,
        prefetch,
        solve,
        unroll,
        stream,
        ..Choices::chunk(chunk)
    };
    rest.into_iter().zip(tiles).map(make).collect()
}

#[test]
fn no_legal_value_changes_results() {
    let setting = Setting::of(rla_runtime::Backend::Cpu);
    let mut bad = vec![];
    let levels = levels();
    for (level, variant, texts) in [(levels[0], "rdn", 5), (levels[0], "kda", 2), (levels[1 % levels.len()], "rdn", 1)]
    {
        let recurrence = built_in(variant);
        let case = case(&recurrence, 3);
        for choices in covering(level).into_iter().take(texts) {
            let mut schedule = Schedule::default();
            for slot in [Slot::Forward, Slot::Training, Slot::TrainingChannel] {
                *schedule.of_mut(slot) = choices;
            }
            let text = pipeline::cpu_kernel(&recurrence, Form::Chunk, &schedule, &[level]).expect("legal");
            let operation = Operation::from_text(recurrence.clone(), Form::Chunk, &text);
            let operation = operation.unwrap_or_else(|e| panic!("{variant} {}: {e}", space::text(&choices)));
            let outcome = ladder::evaluate(&operation, &case, &setting).expect("it runs");
            for line in outcome.lines.iter().filter(|line| !line.passed) {
                bad.push(format!("{variant} {level:?} {}: {} {:?}", space::text(&choices), line.name, line.error));
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn parameters_are_set_by_name() {
    let mut schedule = Schedule::default();
    space::parse("forward.chunk=32, training.rows=4,training.stream=0", &mut schedule).expect("legal");
    assert_eq!((schedule.forward.chunk, schedule.training.rows, schedule.training.stream), (32, 4, false));
    for (text, reason) in [
        ("chunk=3", "expected PASS.PARAMETER=NUMBER"),
        ("sideways.chunk=16", "expected one of forward, training"),
        ("forward.chonk=16", "expected one of chunk, rows"),
        ("forward.chunk=17", "chunk is 1 or a power"),
        ("decode.chunk=16", "expected one of ahead, readouts"),
        ("decode.ahead=300", "ahead is at most"),
        ("forward.ahead=8", "expected one of chunk, rows"),
        ("forward.chunk=x", "expected PASS.PARAMETER=NUMBER"),
    ] {
        let refused = space::parse(text, &mut Schedule::default()).expect_err(text);
        assert!(refused.contains(reason), "{text}: {refused}");
    }
}

/// Every candidate for a GPU is written, or refused in words; each parameter of a pass changes its text.
#[test]
fn candidates_for_a_gpu_are_written_or_refused_in_words() {
    use rla_codegen::emit::cuda::Elem;
    use rla_codegen::pipeline::cuda::{Key, Source};
    use rla_codegen::schedule::cuda;
    for variant in ["rdn", "kda", "linear_attention", "gsa"] {
        let recurrence = std::sync::Arc::new(built_in(variant));
        let source = Source::new(&recurrence).unwrap_or_else(|o| panic!("{variant}: {}", o.reason));
        let sizes = vec![64; recurrence.sides.len()];
        for slot in cuda::Slot::ALL {
            let mut texts = BTreeSet::new();
            for choices in cuda::all(slot) {
                let key = Key { choices, ..Key::usual(&recurrence, &sizes, Elem::Bf16) };
                match source.predict(slot, &key, 227 << 10) {
                    Ok((text, cost)) => {
                        assert!(cost.total().is_finite() && cost.flops > 0.0, "{variant} {}", slot.name());
                        texts.insert(text);
                    }
                    Err(error) => assert!(error.to_string().contains("shared memory"), "{variant}: {error}"),
                }
            }
            // decode with a sum along every side is walked, and has no rows to divide
            let walked = variant == "gsa" && slot == cuda::Slot::Decode;
            assert_eq!(texts.len() > 1, !walked, "{variant} {}: choices that change the text", slot.name());
        }
    }
}
