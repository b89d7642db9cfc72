//! The search over CUDA kernels is a gate of correctness before it is a timer: planted wrong candidates, every one of them faster
//! than the right ones, are refused with the reason and never timed. No GPU: tile programs stand in for kernels, and are held to
//! the bounds of CUDA.
use rla_codegen::data::{Cotangents, Gradients, Inputs, Outputs};
use rla_codegen::emit::cuda::Elem;
use rla_codegen::interpret;
use rla_codegen::oracle::shape;
use rla_codegen::pipeline::cuda::{Key, Source};
use rla_codegen::pipeline::{Programs, chunk_programs};
use rla_codegen::schedule::cuda::{Choices, Cost, Load, Slot, all, text};
use rla_dsl::recurrence::Recurrence;
use rla_runtime::op::interpret::{Interpreter, Tile};
use rla_runtime::op::{Backend, Problem};
use rla_runtime::tune::cuda::check::check;
use rla_runtime::tune::cuda::search::{Card, Found, search};
use rla_runtime::tune::cuda::{Task, Written, ordered};
use rla_runtime::{DType, Error, Mode, Operation, tune};
use rla_tests::golden::built_in;
use rla_tests::mutant::{Mutant, mutated};
use rla_tests::{cut, decode};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const SIZES: [usize; 2] = [8, 8];

/// A fault outside the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    Right,
    /// Initial states are read transposed.
    Transposed,
    /// Gradients of gates of the last, partial chunk are not written.
    LastChunk,
    /// Value heads are interleaved instead of in groups.
    Heads,
    /// Two runs differ by less than any bound.
    Race,
    /// Right for the sizes that are tuned alone.
    OtherSizes,
}

/// Tile programs in the place of kernels.
struct Planted {
    programs: Programs,
    decode: bool,
    frame: Frame,
    runs: AtomicUsize,
}

impl Planted {
    fn new(recurrence: &Recurrence, slot: Slot, frame: Frame, mutant: Option<&str>) -> Planted {
        let (_, mut programs) = chunk_programs(recurrence).expect("of the class");
        if let Some(name) = mutant {
            let mutant = Mutant::all().into_iter().find(|m| m.name() == name).expect("a mutant of that name");
            let program = match slot {
                Slot::Forward => &mut programs.forward,
                Slot::Training => &mut programs.backward,
                Slot::Decode => &mut programs.decode,
            };
            *program = mutated(program, &mutant).unwrap_or_else(|| panic!("`{name}` has no place"));
        }
        Planted { programs, decode: slot == Slot::Decode, frame, runs: AtomicUsize::new(0) }
    }

    fn inputs(&self, recurrence: &Recurrence, inputs: &Inputs) -> Inputs {
        let mut inputs = inputs.clone();
        let count = inputs.sequence_count();
        let shape = |index: usize| shape::state(&recurrence.states[index], &inputs.dims, count);
        for index in 0..recurrence.states.len() {
            let shape = shape(index);
            let Some(state) = &mut inputs.states[index] else { continue };
            match self.frame {
                Frame::OtherSizes if inputs.dims.sizes != SIZES => state.fill(0.5),
                Frame::Transposed => *state = decode::transposed(state, &shape),
                Frame::Heads => {
                    let head: usize = shape[2..].iter().product();
                    state.chunks_exact_mut(shape[1] * head).for_each(|heads| heads.rotate_left(head));
                }
                _ => {}
            }
        }
        inputs
    }

    /// Values that depend on how often the kernels ran.
    fn race(&self, values: &mut [f64]) {
        if self.frame == Frame::Race {
            let runs = self.runs.fetch_add(1, Ordering::Relaxed) as f64;
            values.iter_mut().for_each(|x| *x *= 1.0 + 1e-6 * runs);
        }
    }

    /// Decode comes as calls of one token.
    fn run<'a>(&'a self, recurrence: &'a Recurrence, tokens: usize, save: bool) -> interpret::Interpreter<'a> {
        let Programs { forward, forward_save, backward, decode } = &self.programs;
        let decodes = self.decode && tokens == 1 && !save;
        let forward = match (decodes, save) {
            (true, _) => decode,
            (_, true) => forward_save,
            _ => forward,
        };
        let chunk = if decodes { 1 } else { Tile::CHUNK };
        interpret::Interpreter { recurrence, forward, backward, chunk, fill: !decodes }
    }
}

impl Interpreter for Planted {
    fn forward(&self, recurrence: &Recurrence, inputs: &Inputs) -> Result<Outputs, Error> {
        let mut outputs = self.run(recurrence, inputs.dims.tokens, false).forward(&self.inputs(recurrence, inputs)).0;
        self.race(&mut outputs.outputs[0]);
        Ok(outputs)
    }

    fn backward(&self, recurrence: &Recurrence, inputs: &Inputs, cotangents: &Cotangents) -> Result<Gradients, Error> {
        let (run, seen) = (self.run(recurrence, inputs.dims.tokens, true), self.inputs(recurrence, inputs));
        let (_, kept) = run.forward(&seen);
        let mut gradients = run.backward(&seen, cotangents, &kept);
        gradients.states.iter_mut().for_each(|state| self.race(state));
        if self.frame == Frame::LastChunk {
            let last = inputs.dims.tokens - 2;
            for (index, gradient) in gradients.inputs.iter_mut().enumerate() {
                let row = cut::input_row(recurrence, inputs, index);
                if recurrence.inputs[index].side.is_none() && row > 0 {
                    gradient[last * row..].fill(0.0);
                }
            }
        }
        Ok(gradients)
    }
}

fn operation(slot: Slot, frame: Frame, mutant: Option<&str>) -> Operation {
    operation_of("rdn", slot, frame, mutant)
}

fn operation_of(variant: &str, slot: Slot, frame: Frame, mutant: Option<&str>) -> Operation {
    let recurrence = built_in(variant);
    let planted = Planted::new(&recurrence, slot, frame, mutant);
    Operation::stand_in(recurrence, Backend::Cuda, Arc::new(planted))
}

/// What the check says of planted kernels.
fn refusal(slot: Slot, frame: Frame, mutant: Option<&str>) -> Option<String> {
    check(&operation(slot, frame, mutant), slot, &SIZES, DType::Bf16, false).expect("it runs").err()
}

#[test]
fn right_kernels_pass_with_their_evidence() {
    for slot in Slot::ALL {
        let proof = check(&operation(slot, Frame::Right, None), slot, &SIZES, DType::Bf16, false).expect("it runs");
        let proof = proof.unwrap_or_else(|reason| panic!("{}: {reason}", slot.name()));
        assert!(proof.cases == 3 && proof.repeats == 2 && proof.worst < 1.0 && !proof.verified, "{proof:?}");
    }
}

#[test]
fn wrong_programs_are_refused_with_the_reason() {
    for (slot, mutant, tensor) in [
        (Slot::Forward, "segment decay: the diagonal too", "out."),
        (Slot::Forward, "segment decay: one token late", "out."),
        (Slot::Forward, "system: a matrix missing", "out."),
        (Slot::Forward, "product: a mask transposed", "out."),
        (Slot::Forward, "clamp: left out", "out."),
        (Slot::Forward, "keep: rows that fill the chunk count", "out."),
        (Slot::Training, "gradient of the state: not carried", "grad."),
        (Slot::Training, "clip's gradient: passes outside", "grad."),
        (Slot::Training, "kept value: zero", "grad."),
        (Slot::Decode, "clamp: left out", "out."),
        (Slot::Decode, "state: starts at zero", "out."),
    ] {
        let reason = refusal(slot, Frame::Right, Some(mutant));
        let reason = reason.unwrap_or_else(|| panic!("{} with `{mutant}` passed", slot.name()));
        assert!(reason.contains(tensor), "{} with `{mutant}`: {reason}", slot.name());
    }
}

#[test]
fn faults_of_the_frame_and_races_are_refused_with_the_reason() {
    for (slot, frame, expected) in [
        (Slot::Forward, Frame::Transposed, "out."),
        (Slot::Decode, Frame::Transposed, "out."),
        (Slot::Forward, Frame::Heads, "out."),
        (Slot::Training, Frame::LastChunk, "grad."),
        (Slot::Forward, Frame::Race, "a second run differs"),
        (Slot::Training, Frame::Race, "a second run differs"),
        (Slot::Decode, Frame::Race, "a second run differs"),
    ] {
        let reason = refusal(slot, frame, None);
        let reason = reason.unwrap_or_else(|| panic!("{} with {frame:?} passed", slot.name()));
        assert!(reason.contains(expected), "{} with {frame:?}: {reason}", slot.name());
    }
}

/// What became of planted candidates.
struct Plant {
    frame: Frame,
    mutant: Option<&'static str>,
    seconds: f64,
    spilled: usize,
}

/// A card on which what it starts from takes a second, and the n-th further candidate what its plant says.
struct Bench {
    slot: Slot,
    candidates: Vec<(Choices, Written)>,
    plants: Vec<(Choices, Plant)>,
    timed: RefCell<Vec<Choices>>,
    start: Choices,
    variant: &'static str,
}

impl Bench {
    fn new(slot: Slot, plants: Vec<Plant>) -> Bench {
        Bench::of("rdn", slot, Choices::default(), plants)
    }

    fn of(variant: &'static str, slot: Slot, start: Choices, plants: Vec<Plant>) -> Bench {
        let others = all(slot).into_iter().filter(|choices| *choices != start);
        let plants: Vec<_> = others.zip(plants).collect();
        let every = std::iter::once(start).chain(plants.iter().map(|(choices, _)| *choices));
        let written = |(number, choices)| (choices, Ok((format!("text {number}"), Cost::default())));
        let candidates = every.enumerate().map(written).collect();
        Bench { slot, candidates, plants, timed: RefCell::default(), start, variant }
    }

    fn plant(&self, choices: &Choices) -> Option<&Plant> {
        self.plants.iter().find(|(c, _)| c == choices).map(|(_, plant)| plant)
    }
}

impl Card for Bench {
    type Ready = Choices;

    fn candidates(&self) -> Vec<(Choices, Written)> {
        self.candidates.clone()
    }

    fn operation(&self, choices: Choices) -> Result<Operation, Error> {
        let plant = self.plant(&choices);
        let (frame, mutant) = plant.map_or((Frame::Right, None), |p| (p.frame, p.mutant));
        Ok(operation_of(self.variant, self.slot, frame, mutant))
    }

    fn start(&self) -> Choices {
        self.start
    }

    fn ready(&self, choices: Choices) -> Result<Choices, Error> {
        Ok(choices)
    }

    fn spilled(&self, ready: &Choices) -> usize {
        self.plant(ready).map_or(0, |plant| plant.spilled)
    }

    fn sample(&mut self, ready: &Choices) -> Result<f64, Error> {
        self.timed.borrow_mut().push(*ready);
        Ok(self.plant(ready).map_or(1.0, |plant| plant.seconds))
    }
}

fn searched(bench: &mut Bench) -> Result<Found, Error> {
    let problem =
        Problem { batch: 1, tokens: 64, key_heads: 1, value_heads: 1, sizes: SIZES.to_vec(), cu_seqlens: None };
    let recurrence = Arc::new(built_in(bench.variant));
    let budget = Duration::from_secs(600);
    // f64: an interpreter rounds states between two calls, which the laws do not allow
    let task = Task { recurrence, slot: bench.slot, problem, dtype: DType::F64, budget, mode: Mode::Invariant };
    search(bench, &task, &|| false, &mut |_| ())
}

fn right(seconds: f64) -> Plant {
    Plant { frame: Frame::Right, mutant: None, seconds, spilled: 0 }
}

#[test]
fn the_fastest_right_candidate_wins_and_wrong_ones_are_not_timed() {
    let wrong = |mutant| Plant { mutant: Some(mutant), ..right(0.1) };
    let plants = vec![
        wrong("segment decay: the diagonal too"),
        right(0.9),
        Plant { frame: Frame::Race, ..right(0.1) },
        Plant { spilled: 8, ..right(0.1) },
        right(0.8),
        right(0.85),
    ];
    let mut bench = Bench::new(Slot::Forward, plants);
    let found = searched(&mut bench).expect("the default is right");
    let outcomes: Vec<_> = found.records.iter().map(|r| tune::outcome(&r.outcome)).collect();
    assert_eq!(outcomes, ["start", "refused", "best", "refused", "refused", "best", "slower"]);
    assert_eq!(found.choices, bench.plants[4].0);
    assert_eq!((found.text.as_str(), found.comparison.ratio), ("text 5", 0.8));
    assert!(found.evidence.verified && found.evidence.cases > 3, "{:?}", found.evidence);
    let timed = bench.timed.borrow();
    for (number, reason) in [(0, "out."), (2, "a second run differs"), (3, "8 bytes of registers spilled")] {
        let line = found.records[number + 1].json(Slot::Forward);
        assert!(line["reason"].as_str().is_some_and(|told| told.contains(reason)), "{line}");
        assert!(!timed.contains(&bench.plants[number].0), "a wrong candidate was timed: {line}");
    }
}

#[test]
fn the_default_stays_where_nothing_right_is_faster() {
    let plants = vec![right(1.0), right(1.5), Plant { frame: Frame::Transposed, ..right(0.1) }];
    let found = searched(&mut Bench::new(Slot::Training, plants)).expect("the default is right");
    assert_eq!((found.choices, found.comparison.ratio), (Choices::default(), 1.0));
}

/// What the checks before timing let pass and `rla verify` does not: whatever is next fastest is kept, and the log says why.
#[test]
fn what_does_not_pass_verify_gives_way_to_the_next_best() {
    // kernels of the sizes that are tuned are right, those of others are not
    let other_sizes = |seconds| Plant { frame: Frame::OtherSizes, ..right(seconds) };
    let reasons = |found: &Found| -> Vec<String> {
        let lines = found.records.iter().map(|r| r.json(Slot::Forward)["reason"].as_str().unwrap_or("").to_string());
        lines.collect()
    };
    let plants = vec![right(0.9), other_sizes(0.5), right(0.8), other_sizes(0.6)];
    let bench = |plants| Bench::of("linear_attention", Slot::Forward, Choices::default(), plants);
    let mut first = bench(plants);
    let found = searched(&mut first).expect("the default is right");
    assert_eq!((found.choices, found.comparison.ratio), (first.plants[2].0, 0.8));
    assert!(found.evidence.verified);
    let refused = reasons(&found);
    for number in [2, 4] {
        assert!(refused[number].contains("does not pass `rla verify`: odd sizes"), "{refused:?}");
    }
    assert!(refused[1].is_empty() && refused[3].is_empty(), "{refused:?}");

    // nothing is left but the default
    let found = searched(&mut bench(vec![other_sizes(0.5)])).expect("the default is right");
    assert_eq!((found.choices, found.comparison.ratio), (Choices::default(), 1.0));
    assert!(reasons(&found)[1].contains("does not pass"), "{:?}", reasons(&found));
}

#[test]
fn a_search_starts_from_the_width_that_calls_have() {
    let start = Choices { groups: 4, ..Choices::default() };
    let mut bench = Bench::of("linear_attention", Slot::Forward, start, vec![right(1.1), right(1.2)]);
    let found = searched(&mut bench).expect("the start is right");
    assert_eq!((found.records[0].choices, found.choices, found.comparison.ratio), (start, start, 1.0));
    let others: Vec<_> = found.records[1..].iter().map(|r| tune::outcome(&r.outcome)).collect();
    assert_eq!(others, ["slower", "slower"]);
}

/// The cost model has what was measured on a card: its order of forward, and of what a search timed the best first.
#[test]
fn predictions_have_the_measured_order() {
    let records = [
        ("29", include_str!("../rla-runtime/benches/records/tuning_cuda_h200_2026-11-29.csv")),
        ("30", include_str!("../rla-runtime/benches/records/tuning_cuda_h200_2026-11-30.csv")),
    ];
    // by day, variant and pass: milliseconds and choices
    type Rows = Vec<(f64, String)>;
    let mut measured: BTreeMap<[&str; 3], Rows> = BTreeMap::new();
    for (day, record) in records {
        for line in record.lines().filter(|line| !line.starts_with('#')).skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            // training has had more parameters since the first
            if let (Ok(ms), true) = (fields[4].parse(), day == "30" || fields[1] == "forward") {
                let rows = measured.entry([day, fields[0], fields[1]]).or_default();
                rows.push((ms, fields[2].trim_matches('"').to_string()));
            }
        }
    }
    let load = Load { sequences: 16, channels: 128, multiprocessors: 132 };
    let mut compared = 0;
    for ([day, variant, pass], mut rows) in measured {
        let recurrence = Arc::new(built_in(variant));
        let source = Source::new(&recurrence).unwrap_or_else(|o| panic!("{variant}: {}", o.reason));
        let slot = Slot::named(pass).expect("a pass");
        let ordered = ordered(&source, slot, &Key::usual(&recurrence, &[128, 128], Elem::Bf16), 227 << 10, &load);
        let all: Vec<String> = ordered.iter().map(|(choices, _)| text(choices, slot)).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let first = all.iter().find(|choices| rows.iter().any(|(_, measured)| measured == *choices));
        assert_eq!(first, rows.first().map(|(_, choices)| choices), "{day} {variant} {pass}");
        if slot == Slot::Forward {
            let of = |choices: &String| rows.iter().find(|(_, c)| c == choices).map(|(ms, _)| *ms);
            let predicted: Vec<f64> = all.iter().filter_map(of).collect();
            // what differs by less than one in a hundred has no order
            let ordered = predicted.iter().enumerate().all(|(i, x)| predicted[i..].iter().all(|y| *x < 1.01 * y));
            assert!(ordered, "{day} {variant} {pass}: {predicted:?}");
        }
        compared += rows.len();
    }
    assert!(compared > 10, "{compared} rows");
}

/// Many sequences fill a card whatever a block's width: wide blocks come first there.
#[test]
fn wide_blocks_are_predicted_fastest_where_many_sequences_wait() {
    let recurrence = Arc::new(built_in("rdn"));
    let source = Source::new(&recurrence).unwrap_or_else(|o| panic!("{}", o.reason));
    let load = Load { sequences: 512, channels: 128, multiprocessors: 132 };
    let key = Key::usual(&recurrence, &[128, 128], Elem::Bf16);
    let ordered = ordered(&source, Slot::Forward, &key, 227 << 10, &load);
    assert_eq!(ordered[0].0.groups, 4);
}
