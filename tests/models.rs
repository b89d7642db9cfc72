//! Models: gradients through candle, decode against forward, learning, resuming, and refused checkpoints.

use candle_core::{Device, Tensor, Var};
use rla_codegen::data::Dims;
use rla_dsl::recurrence::{InputKind, Recurrence};
use rla_runtime::draw::{self, Gates, Keys, Plan, Rng};
use rla_runtime::model::weights::Weights;
use rla_runtime::model::{Config, Lm, Place};
use rla_runtime::op::candle::{Columns, Recurrent};
use rla_runtime::train::Trainer;
use rla_runtime::train::agreement::{Agreement, agreement, between};
use rla_runtime::train::corpus::Corpus;
use rla_runtime::train::settings::Settings;
use rla_runtime::{Backend, Error, Operation, Problem, View, checkpoint, op, sample};
use std::path::{Path, PathBuf};

/// What the models run on here.
const BACKEND: Backend = Backend::Cpu;

fn builtin(name: &str) -> Recurrence {
    rla_dsl::parse(rla_dsl::builtin(name).unwrap()).unwrap().variants.remove(0)
}

fn variable(values: &[f64], shape: &[usize]) -> Var {
    let data: Vec<f32> = values.iter().map(|&x| x as f32).collect();
    Var::from_tensor(&Tensor::from_vec(data, shape, &Device::Cpu).unwrap()).unwrap()
}

fn relative(x: &[f32], reference: &[f64]) -> f64 {
    assert_eq!(x.len(), reference.len());
    let difference: f64 = x.iter().zip(reference).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum();
    difference.sqrt() / reference.iter().map(|b| b * b).sum::<f64>().sqrt().max(1e-20)
}

fn floats(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

/// Gradients that come out of candle's graph are those of the oracle called directly, for every built-in: all per-token
/// inputs in the columns of one packed tensor, parameters and initial states as tensors of their own.
#[test]
fn gradients_through_candle_are_the_oracles() {
    for (name, _) in rla_dsl::BUILTINS {
        let recurrence = builtin(name);
        let mut rng = Rng::new(11);
        let sizes = [4, 3].into_iter().chain(std::iter::repeat(5)).take(recurrence.sides.len()).collect::<Vec<_>>();
        let dims = Dims { sizes, batch: 2, tokens: 6, key_heads: 1, value_heads: 2 };
        let plan = Plan { dims, cu_seqlens: None, gates: Gates::Weak, keys: Keys::Independent, initial_states: true };
        let (drawn, _) = draw::inputs(&recurrence, &plan, draw::KINK_DISTANCE, &mut rng).unwrap();
        let cotangents = draw::cotangents(&recurrence, &drawn, &mut rng);
        let mut problem = Problem::new(2, 6, 1, 2, 4, 3);
        problem.sizes = plan.dims.sizes.clone();

        // pack: columns of all per-token inputs side by side, last input first
        let rows = problem.batch * problem.tokens;
        let mut sources = Vec::new();
        let mut columns = vec![Columns { source: 0, start: 0 }; recurrence.inputs.len()];
        let tokenwise = |i: &usize| recurrence.inputs[*i].kind == InputKind::Input;
        let width = |i: usize| drawn.tensors[i].len() / rows;
        let total: usize = (0..recurrence.inputs.len()).filter(tokenwise).map(width).sum();
        let mut packed = vec![0.0; rows * total];
        let mut start = 0;
        for i in (0..recurrence.inputs.len()).rev().filter(tokenwise) {
            columns[i].start = start;
            for (row, values) in drawn.tensors[i].chunks_exact(width(i)).enumerate() {
                packed[row * total + start..][..values.len()].copy_from_slice(values);
            }
            start += width(i);
        }
        sources.push(variable(&packed, &[rows, total]));
        for i in (0..recurrence.inputs.len()).filter(|i| !tokenwise(i)) {
            columns[i].source = sources.len();
            sources.push(variable(&drawn.tensors[i], &problem.input_shape(&recurrence, i)));
        }
        let state_shape = |i| problem.state_shape(&recurrence, i, 2, op::StateLayout::ValueMajor);
        let states: Vec<Var> = (0..recurrence.states.len())
            .map(|i| variable(drawn.states[i].as_ref().unwrap(), &state_shape(i)))
            .collect();

        let recurrent = Recurrent::new(Operation::new(recurrence.clone(), Backend::Oracle).unwrap(), &[]);
        let tensors = |vars: &[Var]| vars.iter().map(|v| v.as_tensor().clone()).collect::<Vec<_>>();
        let (outputs, finals) =
            recurrent.apply_with_states(&problem, &tensors(&sources), &columns, &tensors(&states), true).unwrap();
        let weights = cotangents.outputs.iter().chain(&cotangents.states).map(|c| c.as_ref().unwrap());
        let mut loss = Tensor::zeros((), candle_core::DType::F32, &Device::Cpu).unwrap();
        for (result, weight) in outputs.iter().chain(&finals).zip(weights) {
            let weight = variable(weight, result.dims());
            loss = (loss + (result * weight.as_tensor()).unwrap().sum_all().unwrap()).unwrap();
        }
        let grads = loss.backward().unwrap();

        // the oracle itself, on contiguous f64 inputs
        let operation = Operation::new(recurrence.clone(), Backend::Oracle).unwrap();
        let shapes: Vec<_> = (0..recurrence.inputs.len()).map(|i| problem.input_shape(&recurrence, i)).collect();
        let views: Vec<View> = drawn.tensors.iter().zip(&shapes).map(|(x, s)| View::new(x, s).unwrap()).collect();
        let shapes: Vec<_> = (0..recurrence.states.len()).map(state_shape).collect();
        let initial: Vec<_> =
            drawn.states.iter().zip(&shapes).map(|(x, s)| Some(View::new(x.as_deref().unwrap(), s).unwrap())).collect();
        let options = op::ForwardOptions { initial_states: &initial, save: true, ..Default::default() };
        let forward = operation.forward(&problem, &views, &options).unwrap();
        let output_shapes: Vec<_> =
            (0..recurrence.outputs.len()).map(|i| problem.output_shape(&recurrence, i)).collect();
        let output_grads: Vec<_> = cotangents
            .outputs
            .iter()
            .zip(&output_shapes)
            .map(|(x, s)| Some(View::new(x.as_deref().unwrap(), s).unwrap()))
            .collect();
        let final_grads: Vec<_> = cotangents
            .states
            .iter()
            .zip(&shapes)
            .map(|(x, s)| Some(View::new(x.as_deref().unwrap(), s).unwrap()))
            .collect();
        let options =
            op::BackwardOptions { output_grads: &output_grads, final_state_grads: &final_grads, ..Default::default() };
        let expected = operation.backward(&problem, &views, &forward.saved.unwrap(), &options).unwrap();

        let check = |what: &str, found: &[f32], reference: &[f64]| {
            let error = relative(found, reference);
            assert!(error < 1e-4, "{name}: gradient of {what} differs by {error:e}");
        };
        let packed = grads.get(&sources[0]).unwrap().to_vec2::<f32>().unwrap();
        for (i, input) in recurrence.inputs.iter().enumerate() {
            let reference = expected.inputs[i].to_f64();
            let found = match columns[i].source {
                0 => packed.iter().flat_map(|row| &row[columns[i].start..][..width(i)]).copied().collect(),
                source => floats(grads.get(&sources[source]).unwrap()),
            };
            check(&input.name, &found, &reference);
        }
        for (i, state) in recurrence.states.iter().enumerate() {
            let reference = expected.initial_states[i].to_f64();
            check(&state.name, &floats(grads.get(&states[i]).unwrap()), &reference);
        }
    }
}

/// A tiny model of two layers of different variants.
fn tiny(mixers: [&str; 2]) -> Config {
    let mut config = Config::uniform(mixers[0], 16, 2, 2, 8);
    config.mixers = mixers.map(String::from).to_vec();
    (config.value_heads, config.value_size, config.ff_size) = (4, 6, 32);
    config
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("rla-models-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

/// Text that is easy to learn, in twenty files.
fn corpus() -> Corpus {
    let line = |i: usize| format!("let x{} = {};\n", i % 7, i % 10);
    let text = |f: usize| (0..20).map(|i| line(f + i)).collect::<String>().into_bytes();
    Corpus::split(&(0..20).map(|f| (format!("{f}.rs"), text(f))).collect::<Vec<_>>())
}

fn settings(steps: usize) -> Settings {
    Settings { steps, batch: 4, tokens: 24, warmup: 4, rate: 1e-2, checkpoint_every: 10, ..Settings::default() }
}

/// Logits of a 300-token prompt, however its prefill is cut and wherever decode takes over, against the full forward.
#[test]
fn decode_and_prefill_in_pieces_equal_the_full_forward() {
    let prompt: Vec<u8> = {
        let mut rng = Rng::new(3);
        (0..300).map(|_| rng.below(256) as u8).collect()
    };
    for mixers in [["rdn", "rla"], ["gated_delta_net", "simple_gla"]] {
        let lm = Lm::new(&tiny(mixers), BACKEND, Weights::drawn(5)).unwrap().frozen().unwrap();
        let full = lm.logits(&prompt, 1).unwrap().to_vec2::<f32>().unwrap();
        for cuts in [vec![300], vec![1; 300], vec![63, 1, 2, 64, 100, 70], vec![2, 3, 1, 128, 1, 165]] {
            // slot 1 of three, the others hold something else and must not matter
            let mut memory = lm.memory(3).unwrap();
            lm.next(&[7, 9], &mut memory, &[0, 2]).unwrap();
            let mut at = 0;
            for cut in cuts {
                let logits = lm.next(&prompt[at..at + cut], &mut memory, &[1]).unwrap().to_vec2::<f32>().unwrap();
                for (row, expected) in logits.iter().zip(&full[at..]) {
                    let expected: Vec<f64> = expected.iter().map(|&x| f64::from(x)).collect();
                    let error = relative(row, &expected);
                    assert!(error < 1e-5, "{mixers:?}: {error:e} in the {cut} tokens from {at}");
                }
                at += cut;
            }
        }
    }
}

/// Sequences decoded together give what each gives alone.
#[test]
fn sequences_in_one_pool_do_not_touch_each_other() {
    let lm = Lm::new(&tiny(["rdn", "rdn"]), BACKEND, Weights::drawn(5)).unwrap().frozen().unwrap();
    let texts: [&[u8]; 3] = [b"abcdefgh", b"xyxyxyxy", b"12345678"];
    let mut together = lm.memory(4).unwrap();
    let slots = [3, 0, 2];
    for t in 0..8 {
        let tokens = texts.map(|text| text[t]);
        let logits = lm.next(&tokens, &mut together, &slots).unwrap().to_vec2::<f32>().unwrap();
        for (text, row) in texts.iter().zip(&logits) {
            let mut alone = lm.memory(1).unwrap();
            let last = sample::prefill(&lm, &text[..=t], &mut alone, 0, 1).unwrap();
            let last: Vec<f64> = last.iter().map(|&x| f64::from(x)).collect();
            assert!(relative(row, &last) < 1e-5, "token {t}");
        }
    }
    assert!(lm.next(b"ab", &mut together, &[1, 1]).is_err());
    assert!(lm.next(b"a", &mut together, &[4]).is_err());
    assert!(lm.next(b"", &mut together, &[0]).is_err());
}

#[test]
fn a_tiny_model_learns_below_the_bigram_entropy() {
    let run = folder("learns");
    let mut trainer = Trainer::start(&tiny(["rdn", "rla"]), BACKEND, &settings(60), corpus(), &run).unwrap();
    let mut losses = Vec::new();
    let summary = trainer.run(|entry| losses.push(entry.loss)).unwrap();
    assert!(losses[0] > 5.0, "the first loss is about ln 256, found {}", losses[0]);
    assert!(summary.training_loss < losses[0] - 4.0, "{summary:?}");
    assert!(summary.held_out_loss < summary.bigram_entropy && summary.bigram_entropy < summary.unigram_entropy);
    assert!((0.0..=1.0).contains(&summary.kernel_share));
    let picture = std::fs::read_to_string(&summary.curve).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("held out"));
    assert_eq!(std::fs::read_to_string(&summary.log).unwrap().lines().count(), 60);
    // the same seed samples the same text, with and without company
    let lm = checkpoint::load_model(&run, BACKEND).unwrap().frozen().unwrap();
    let text = |count| {
        let mut generator = sample::Generator::new(&lm, b"let ", count, &Default::default()).unwrap();
        (0..20).map(|_| generator.next_bytes().unwrap()[0]).collect::<Vec<_>>()
    };
    assert_eq!(text(1), text(1));
    assert_eq!(text(1), text(3));
    std::fs::remove_dir_all(&run).unwrap();
}

/// What a checkpoint's folder holds, file by file.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|f| (f.as_ref().unwrap().file_name().into_string().unwrap(), std::fs::read(f.unwrap().path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one_bit_for_bit() {
    let (once, twice) = (folder("once"), folder("twice"));
    let config = tiny(["rdn", "gated_delta_net"]);
    let whole = Trainer::start(&config, BACKEND, &settings(20), corpus(), &once).unwrap().run(|_| ()).unwrap();
    {
        // killed in step 14: the checkpoint is that of step 10, the log is ahead, a half-written folder lies about
        let mut killed = Trainer::start(&config, BACKEND, &settings(20), corpus(), &twice).unwrap();
        for step in 1..=14 {
            killed.step().unwrap();
            if step == 10 {
                killed.save().unwrap();
            }
        }
        std::fs::create_dir(twice.join("step-00000014.tmp")).unwrap();
        std::fs::write(twice.join("step-00000014.tmp/config.json"), "{").unwrap();
    }
    let mut resumed = Trainer::resume(&twice, BACKEND, None, corpus()).unwrap();
    assert_eq!(resumed.progress().step, 10);
    let resumed = resumed.run(|_| ()).unwrap();
    assert_eq!(contents(&whole.checkpoint), contents(&resumed.checkpoint));
    assert_eq!(whole.held_out_loss, resumed.held_out_loss);
    let losses = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let value = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        text.lines().map(|l| (value(l)["step"].clone(), value(l)["loss"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(losses(&whole.log), losses(&resumed.log));
    // negative control: another seed is another run
    let other = folder("other");
    let settings = Settings { seed: 1, ..settings(20) };
    let other_run = Trainer::start(&config, BACKEND, &settings, corpus(), &other).unwrap().run(|_| ()).unwrap();
    assert_ne!(contents(&whole.checkpoint), contents(&other_run.checkpoint));
    for folder in [once, twice, other] {
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn bad_checkpoints_are_refused_with_an_exit_code_and_the_file_named() {
    let run = folder("bad");
    let config = tiny(["rla", "simple_gla"]);
    let mut trainer = Trainer::start(&config, BACKEND, &settings(1), corpus(), &run).unwrap();
    let good = trainer.run(|_| ()).unwrap().checkpoint;
    let load = || -> Result<(), Error> {
        checkpoint::load_model(&run, BACKEND)?;
        Trainer::resume(&run, BACKEND, Some(2), corpus()).map(|_| ())
    };
    load().unwrap();
    let refuse = |file: &str, bytes: &[u8], said: &str| {
        let path = good.join(file);
        let before = std::fs::read(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let error = load().expect_err(&format!("{file} with {} bytes", bytes.len()));
        assert!((2..=9).contains(&error.exit_code()));
        assert!(error.to_string().contains(said), "{file}: {error}");
        std::fs::write(&path, before).unwrap();
    };
    for file in ["config.json", "model.safetensors", "training.json", "optimizer.safetensors"] {
        let bytes = std::fs::read(good.join(file)).unwrap();
        for length in [0, 1, 7, 8, 9, 40, bytes.len() / 2, bytes.len() - 2] {
            refuse(file, &bytes[..length], file);
        }
        refuse(file, &[0xff; 64], file);
        refuse(file, b"{}", file);
    }
    let text = std::fs::read_to_string(good.join("config.json")).unwrap();
    refuse("config.json", text.replace("\"simple_gla\"", "\"lstm\"").as_bytes(), "lstm");
    refuse("config.json", text.replace("\"width\": 16", "\"width\": 8").as_bytes(), "embedding.weight");
    refuse("config.json", text.replace("\"width\": 16", "\"width\": 1000000").as_bytes(), "width");
    refuse("config.json", text.replace("\"tied_head\": true", "\"tied_head\": false").as_bytes(), "head.weight");
    let text = std::fs::read_to_string(good.join("training.json")).unwrap();
    refuse("training.json", text.replace("\"step\": 1", "\"step\": 3").as_bytes(), "step 3");
    refuse("training.json", text.replace("\"batch\": 4", "\"batch\": 0").as_bytes(), "batch");
    let moments = std::fs::read(good.join("optimizer.safetensors")).unwrap();
    refuse("model.safetensors", &moments, "embedding.weight");
    load().unwrap();
    assert!(checkpoint::load_model(&run.join("none"), BACKEND).is_err());
    assert!(Trainer::start(&config, BACKEND, &settings(1), corpus(), &run).is_err(), "a run is not written over");
    std::fs::remove_dir_all(&run).unwrap();
}

/// What `rla train --evaluate --device cuda` computes, here between two kernels of the CPU, and with other weights.
#[test]
fn agreement_holds_between_two_backends_and_notices_other_weights() {
    let run = folder("agreement");
    let config = tiny(["rdn", "gated_delta_net"]);
    Trainer::start(&config, BACKEND, &settings(4), corpus(), &run).unwrap().run(|_| ()).unwrap();
    let other = Place::from(Backend::Recurrent);
    let found = agreement(&run, &other, &corpus()).unwrap();
    assert!(found.holds() && found.gradient > 0.0, "{found:?}");
    assert!(!Agreement { gradient: f64::NAN, ..found.clone() }.holds());
    let trained = checkpoint::load_model(&run, BACKEND).unwrap();
    let drawn = Lm::new(&config, BACKEND, Weights::drawn(1)).unwrap();
    let apart = between(&drawn, &trained, &settings(4), &corpus()).unwrap();
    assert!(!apart.holds(), "{apart:?}");
    std::fs::remove_dir_all(&run).unwrap();
}
