//! Mutants: what the checks of the tile programs would miss, were they weaker. Each mutant is a rule of `rla_tests::mutant`
//! applied to the forward, backward or decode programs of a variant, or a fault of the frame that runs them, and must turn one
//! of the named checks below red; every check is green without it.
use rla_codegen::data::{Cotangents, Dims, Inputs};
use rla_codegen::pipeline::{Programs, chunk_programs, token_programs};
use rla_dsl::recurrence::{Domain, Recurrence};
use rla_runtime::case::Results;
use rla_runtime::draw::{self, Gates, KINK_DISTANCE, Keys, Plan, Rng};
use rla_tests::compare::{self, Bounds};
use rla_tests::mutant::{Mutant, mutated};
use rla_tests::{golden, random_variant, tile};
use std::cell::Cell;

/// The checks, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Check {
    /// Several sequences, an empty one and one token among them, heads that share keys, chunks not full.
    Ragged,
    /// Log decays of -inf and -1e4.
    Abyss,
    /// One key throughout a long chunk.
    RepeatedKey,
    /// Arguments of clip exactly at its ends (a golden case).
    Tie,
    /// Gradients of log decays near -20, to their own size.
    GateGradients,
    /// Decode, token by token.
    Decode,
}

/// A case, what is expected of it, and the check it belongs to.
struct Prepared {
    check: Check,
    inputs: Inputs,
    cotangents: Cotangents,
    expected: Results,
    chunk: usize,
}

/// A variant with its programs and cases.
struct Subject {
    name: String,
    recurrence: Recurrence,
    programs: Programs,
    cases: Vec<Prepared>,
}

fn drawn(recurrence: &Recurrence, plan: &Plan, seed: u64) -> (Inputs, Cotangents) {
    for attempt in 0..20 {
        let mut rng = Rng::new(seed + 100 * attempt);
        if let Ok((inputs, _)) = draw::inputs(recurrence, plan, KINK_DISTANCE, &mut rng) {
            let cotangents = draw::cotangents(recurrence, &inputs, &mut rng);
            return (inputs, cotangents);
        }
    }
    panic!("{}: every draw was rejected", recurrence.name);
}

fn is_log_decay(recurrence: &Recurrence, index: usize) -> bool {
    recurrence.inputs[index].domain == Domain::Range(f64::NEG_INFINITY, 0.0)
}

fn prepare(recurrence: &Recurrence) -> Vec<Prepared> {
    let sizes = vec![4, 3, 5][..recurrence.sides.len()].to_vec();
    let dims =
        |tokens, key_heads| Dims { sizes: sizes.clone(), batch: 1, tokens, key_heads, value_heads: 2 * key_heads };
    let plan = |tokens, key_heads, gates, keys, cu_seqlens| Plan {
        dims: dims(tokens, key_heads),
        cu_seqlens,
        gates,
        keys,
        initial_states: true,
    };
    let offsets = Some(vec![0, 0, 1, 13]);
    let mut cases = vec![];
    let mut add = |check, (inputs, cotangents): (Inputs, Cotangents), chunk| {
        let expected = compare::oracle(recurrence, &inputs, &cotangents);
        cases.push(Prepared { check, inputs, cotangents, expected, chunk });
    };
    let ragged = drawn(recurrence, &plan(13, 2, Gates::Weak, Keys::Independent, offsets), 1);
    add(Check::Ragged, ragged.clone(), 5);
    add(Check::Abyss, drawn(recurrence, &plan(24, 1, Gates::Abyss, Keys::Independent, None), 2), 16);
    add(Check::RepeatedKey, drawn(recurrence, &plan(64, 1, Gates::Weak, Keys::Repeated, None), 3), 64);
    if (0..recurrence.inputs.len()).any(|i| is_log_decay(recurrence, i)) {
        let mut strong = drawn(recurrence, &plan(12, 1, Gates::Weak, Keys::Independent, None), 4);
        for (index, tensor) in strong.0.tensors.iter_mut().enumerate().filter(|(i, _)| is_log_decay(recurrence, *i)) {
            let mut rng = Rng::new(index as u64);
            tensor.iter_mut().for_each(|x| *x = -20.0 - rng.uniform());
        }
        add(Check::GateGradients, strong, 12);
    }
    add(Check::Decode, ragged, 1);
    let tie = format!("{}.tie.safetensors", recurrence.name);
    if let Some(file) = golden::files().iter().find(|file| file.ends_with(&tie)) {
        let golden = golden::read(file);
        add(Check::Tie, (golden.case.inputs, golden.case.cotangents), 16);
    }
    cases
}

/// The built-in variants, some random ones, and token programs of a recurrence outside the class.
fn subjects() -> Vec<Subject> {
    let built_in = rla_dsl::BUILTINS.iter().map(|(_, text)| golden::parse(text));
    let random = (0..24).map(|seed| golden::parse(&random_variant::text(seed)));
    let mut subjects: Vec<Subject> = built_in
        .chain(random)
        .map(|recurrence| {
            let (_, programs) = chunk_programs(&recurrence).unwrap_or_else(|o| panic!("{}: {o:?}", recurrence.name));
            Subject { name: recurrence.name.clone(), cases: prepare(&recurrence), programs, recurrence }
        })
        .collect();
    // every elementwise function, dim(..) and I, token by token
    let text = "variant all {
        input q, k: key unit, v: value; input b: scalar in 0..1; param w: scalar;
        state S: value x key; state P: key x key;
        let r = v - S[t-1] * k;
        let x = silu(v) + softplus(v) + logsigmoid(v) + relu(v) + abs(v) + tanh(r) + clamp(r, -0.5, 0.7);
        let y = log(sq(x) + 1.0) + sqrt(sq(x) + 1.0) + rsqrt(sq(v) + 1.0) + exp(-sq(v)) + softmax(v);
        S[t] = 0.9 * S[t-1] * (I - b * k * k^T) + sigmoid(w) * x * k^T / dim(key);
        P[t] = 0.9 * P[t-1] + 0.1 * (I - b * k * k^T);
        output o = S[t] * P[t] * q / (1.0 + sq(dot(q, k))) + y;
    }";
    let recurrence = golden::parse(text);
    let programs = token_programs(&recurrence);
    let mut cases = prepare(&recurrence);
    cases.retain(|case| matches!(case.check, Check::Ragged | Check::Decode));
    cases.iter_mut().for_each(|case| case.chunk = 1);
    subjects.push(Subject { name: "all, token by token".into(), recurrence, programs, cases });
    subjects
}

/// Relative error to the tensor's own size; NaN counts as infinite.
fn own_error(x: &[f64], reference: &[f64]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut x.iter().zip(reference).map(|(a, b)| a - b));
    let error = difference / norm(&mut reference.iter().copied());
    if difference == 0.0 {
        0.0
    } else if error.is_nan() {
        f64::INFINITY
    } else {
        error
    }
}

/// Whether the check is red.
fn red(subject: &Subject, case: &Prepared, got: &Results) -> bool {
    let recurrence = &subject.recurrence;
    if case.check == Check::GateGradients {
        let gates = (0..recurrence.inputs.len()).filter(|&i| is_log_decay(recurrence, i));
        return gates.into_iter().any(|i| {
            let of = |results: &Results| results.input_gradients[i].clone().expect("it is computed");
            own_error(&of(got), &of(&case.expected)) > 1e-11
        });
    }
    let mut expected = case.expected.clone();
    if case.check == Check::Decode {
        expected.input_gradients.clear();
        expected.state_gradients.clear();
    }
    !compare::failures(recurrence, &case.inputs, &case.cotangents, got, &expected, &Bounds::TILE).is_empty()
}

fn run(subject: &Subject, programs: &Programs, case: &Prepared) -> Results {
    let (recurrence, inputs, cotangents) = (&subject.recurrence, &case.inputs, &case.cotangents);
    if case.check == Check::Decode {
        let forward = &programs.decode;
        let run = rla_codegen::interpret::Interpreter { recurrence, forward, backward: forward, chunk: 1, fill: false };
        return Results::new(run.forward(inputs).0, None);
    }
    tile::run_programs(recurrence, programs, inputs, cotangents, case.chunk, true)
}

/// The first check that a subject's changed programs turn red.
fn found_by(subject: &Subject, programs: &Programs, decode: bool) -> Option<Check> {
    let cases = subject.cases.iter().filter(|case| (case.check == Check::Decode) == decode);
    cases.into_iter().find(|case| red(subject, case, &run(subject, programs, case))).map(|case| case.check)
}

#[test]
fn every_check_is_green_without_a_mutant() {
    for subject in subjects() {
        for case in &subject.cases {
            let got = run(&subject, &subject.programs, case);
            assert!(!red(&subject, case, &got), "{}: {:?}", subject.name, case.check);
        }
    }
}

#[test]
fn every_mutant_of_the_programs_is_found() {
    let subjects = subjects();
    let (mut found, mut missed, mut absent) = (0, vec![], vec![]);
    for mutant in Mutant::all() {
        let applied = Cell::new(false);
        for pass in ["forward", "backward", "decode"] {
            let mut places = 0;
            let check = subjects.iter().find_map(|subject| {
                let mut programs = subject.programs.clone();
                let program = match pass {
                    "forward" => &mut programs.forward_save,
                    "backward" => &mut programs.backward,
                    _ => &mut programs.decode,
                };
                *program = mutated(program, &mutant)?;
                applied.set(true);
                places += 1;
                found_by(subject, &programs, pass == "decode").map(|check| (check, &subject.name))
            });
            match check {
                Some((check, name)) => {
                    println!("{pass}, {}: found by {check:?} on {name}", mutant.name());
                    found += 1;
                }
                None if places > 0 => missed.push(format!("{pass}, {} ({places} variants)", mutant.name())),
                None => {}
            }
        }
        if !applied.get() {
            absent.push(mutant.name());
        }
    }
    rla_tests::say(format!("{found} mutants of programs, {} missed", missed.len()));
    assert!(absent.is_empty(), "no program has a place for: {}", absent.join(", "));
    assert!(missed.is_empty(), "not found:\n{}", missed.join("\n"));
}

/// A fault of the frame, as what it would compute.
type Frame = fn(&Subject, &Prepared) -> Results;

fn plain(subject: &Subject, inputs: Inputs, cotangents: Cotangents, chunk: usize) -> Results {
    tile::run_programs(&subject.recurrence, &subject.programs, &inputs, &cotangents, chunk, true)
}

/// Exchanges value heads of every tensor that has them: head h of the result is head `order[h]` of the argument.
fn heads(recurrence: &Recurrence, inputs: &mut Inputs, cotangents: &mut Cotangents, order: &[usize]) {
    let all = order.len();
    let exchange = |data: &mut Vec<f64>, width: usize| {
        for row in data.chunks_exact_mut(all * width) {
            let old = row.to_vec();
            for (h, &from) in order.iter().enumerate() {
                row[h * width..(h + 1) * width].copy_from_slice(&old[from * width..(from + 1) * width]);
            }
        }
    };
    let sizes = inputs.dims.sizes.clone();
    for (decl, tensor) in recurrence.inputs.iter().zip(&mut inputs.tensors).filter(|(decl, _)| !decl.per_key_head()) {
        exchange(tensor, decl.side.map_or(1, |side| sizes[side.0 as usize]));
    }
    let count = inputs.sequence_count();
    for state in inputs.states.iter_mut().chain(&mut cotangents.states).flatten() {
        let width = state.len() / (count * all);
        exchange(state, width);
    }
    let tokens = inputs.dims.batch * inputs.dims.tokens;
    for output in cotangents.outputs.iter_mut().flatten() {
        let width = output.len() / (tokens * all);
        exchange(output, width);
    }
}

/// The frame's faults.
const FRAMES: [(&str, Check, Frame); 9] = [
    ("initial state: not read", Check::Ragged, |s, c| {
        let mut inputs = c.inputs.clone();
        inputs.states.fill(None);
        plain(s, inputs, c.cotangents.clone(), c.chunk)
    }),
    ("initial state: transposed", Check::Ragged, |s, c| {
        let mut inputs = c.inputs.clone();
        let count = inputs.sequence_count();
        for (decl, state) in s.recurrence.states.iter().zip(&mut inputs.states) {
            let shape = rla_codegen::oracle::shape::state(decl, &c.inputs.dims, count);
            if let Some(state) = state {
                *state = rla_tests::decode::transposed(state, &shape);
            }
        }
        plain(s, inputs, c.cotangents.clone(), c.chunk)
    }),
    ("final state's gradient: not read", Check::Ragged, |s, c| {
        let mut cotangents = c.cotangents.clone();
        cotangents.states.fill(None);
        plain(s, c.inputs.clone(), cotangents, c.chunk)
    }),
    ("heads: interleaved instead of in groups", Check::Ragged, |s, c| {
        let (mut inputs, mut cotangents) = (c.inputs.clone(), c.cotangents.clone());
        heads(&s.recurrence, &mut inputs, &mut cotangents, &[0, 2, 1, 3]);
        let mut got = plain(s, inputs, cotangents, c.chunk);
        // back in their places, as the call hands them over
        let mut shell =
            Inputs { tensors: got.input_gradients.into_iter().map(Option::unwrap).collect(), ..c.inputs.clone() };
        shell.states = got.state_gradients;
        let mut outputs = Cotangents { outputs: got.outputs, states: got.states };
        heads(&s.recurrence, &mut shell, &mut outputs, &[0, 2, 1, 3]);
        (got.outputs, got.states) = (outputs.outputs, outputs.states);
        (got.input_gradients, got.state_gradients) = (shell.tensors.into_iter().map(Some).collect(), shell.states);
        got
    }),
    ("key gradients: one value head missing", Check::Ragged, |s, c| {
        let mut cotangents = c.cotangents.clone();
        for (index, output) in cotangents.outputs.iter_mut().enumerate() {
            let row = rla_tests::cut::output_row(&s.recurrence, &c.inputs, index);
            for row in output.iter_mut().flat_map(|o| o.chunks_exact_mut(row)) {
                let last = row.len() / 4 * 3;
                row[last..].fill(0.0);
            }
        }
        let less = plain(s, c.inputs.clone(), cotangents, c.chunk);
        let mut got = c.expected.clone();
        for (i, decl) in s.recurrence.inputs.iter().enumerate().filter(|(_, decl)| decl.per_key_head()) {
            assert!(decl.per_key_head());
            got.input_gradients[i].clone_from(&less.input_gradients[i]);
        }
        got
    }),
    ("last partial chunk: gradients of gates dropped", Check::Ragged, |s, c| {
        let mut got = c.expected.clone();
        let tokens = c.inputs.dims.tokens;
        for i in (0..s.recurrence.inputs.len()).filter(|&i| s.recurrence.inputs[i].side.is_none()) {
            let row = rla_tests::cut::input_row(&s.recurrence, &c.inputs, i);
            if let Some(gradient) = got.input_gradients[i].as_mut().filter(|_| row > 0) {
                gradient[(tokens - 2) * row..].fill(0.0);
            }
        }
        got
    }),
    ("a sequence's last states: those of its last whole chunk", Check::Ragged, |s, c| {
        let last = c.inputs.dims.tokens - 2;
        let mut inputs = c.inputs.clone();
        inputs.cu_seqlens = Some(vec![0, 0, 1, last as i64]);
        inputs.dims.tokens = last;
        for (i, tensor) in inputs.tensors.iter_mut().enumerate() {
            let row = rla_tests::cut::input_row(&s.recurrence, &c.inputs, i);
            tensor.truncate(if row > 0 { last * row } else { tensor.len() });
        }
        let mut cotangents = c.cotangents.clone();
        cotangents.outputs.fill(None);
        let mut got = c.expected.clone();
        got.states = plain(s, inputs, cotangents, c.chunk).states;
        got
    }),
    ("sequences: read on into the next one", Check::Ragged, |s, c| {
        let mut inputs = c.inputs.clone();
        inputs.cu_seqlens = Some(vec![0, 0, 2, 13]);
        plain(s, inputs, c.cotangents.clone(), c.chunk)
    }),
    ("chunks: states not carried from one to the next", Check::Ragged, |s, c| {
        let mut got = c.expected.clone();
        let range = 6..c.inputs.dims.tokens;
        let case = rla_runtime::case::Case {
            inputs: c.inputs.clone(),
            cotangents: c.cotangents.clone(),
            results: Results::default(),
        };
        // the second chunk of the last sequence from that sequence's initial state
        let late = rla_tests::cut::positions(&s.recurrence, &case, 2, &range);
        let late = plain(s, late.inputs, late.cotangents, c.chunk);
        for (i, (to, from)) in got.outputs.iter_mut().zip(&late.outputs).enumerate() {
            let row = rla_tests::cut::output_row(&s.recurrence, &c.inputs, i);
            to.as_mut().unwrap()[6 * row..].copy_from_slice(from.as_ref().unwrap());
        }
        got
    }),
];

#[test]
fn every_fault_of_the_frame_is_found() {
    let recurrence = golden::built_in("rdn");
    let (_, programs) = chunk_programs(&recurrence).expect("it is in the class");
    let subject = Subject { name: "rdn".into(), cases: prepare(&recurrence), programs, recurrence };
    for (name, check, frame) in FRAMES {
        let case = subject.cases.iter().find(|case| case.check == check).expect("it is prepared");
        assert!(red(&subject, case, &frame(&subject, case)), "{name}: {check:?} does not find it");
    }
    rla_tests::say(format!("{} faults of the frame, all found", FRAMES.len()));
}
