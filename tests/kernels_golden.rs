//! Every golden case through the kernels as `rla eval` runs them: chunk-parallel and token by token, with its handling of
//! kinks, in both layouts of states. Those of `tests/golden` always, and all of `RLA_GOLDEN` where it is set.
use rla_runtime::ladder::{self, Setting};
use rla_runtime::{Backend, Operation, StateLayout};
use rla_tests::golden;
use std::collections::BTreeMap;

fn agree(backend: Backend) {
    let mut operations: BTreeMap<String, Operation> = BTreeMap::new();
    let (mut cases, mut moved, mut by_movement) = (0, 0, 0);
    let mut bad = vec![];
    for file in golden::files() {
        let golden = golden::read(&file);
        let name = golden.recurrence.name.clone();
        let operation = operations.entry(name).or_insert_with(|| {
            Operation::new(golden.recurrence.clone(), backend).unwrap_or_else(|e| panic!("{}: {e}", golden.name))
        });
        for layout in [StateLayout::ValueMajor, StateLayout::KeyMajor] {
            let setting = Setting { layout, ..Setting::of(backend) };
            let outcome = ladder::evaluate(operation, &golden.case, &setting).unwrap_or_else(|e| panic!("{e}"));
            assert!(outcome.lines.iter().all(|line| line.error.is_some()), "{}: not compared", golden.name);
            moved += outcome.moved_kinks;
            by_movement += usize::from(outcome.lines.iter().any(|line| line.movement.is_some()));
            let failed = outcome.lines.iter().filter(|line| !line.passed);
            bad.extend(failed.map(|line| format!("{}, {layout:?}: {line:?}", golden.name)));
        }
        cases += 1;
    }
    rla_tests::say(format!(
        "{}: {cases} golden cases, {} variants, {moved} kinks on the other side, {by_movement} runs asked for D",
        backend.name(),
        operations.len()
    ));
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn chunk_kernels() {
    agree(Backend::Cpu);
}

#[test]
fn token_kernels() {
    agree(Backend::Recurrent);
}

/// A case whose reference is changed in the fifth digit is rejected.
#[test]
fn a_changed_case_is_rejected() {
    let files = golden::files();
    let file = files.iter().find(|file| file.ends_with("rdn.bare.safetensors")).expect("the case is in the repository");
    for backend in [Backend::Cpu, Backend::Recurrent] {
        let operation = Operation::builtin("rdn", backend).expect("rdn is built in");
        for tensor in 0..2 {
            let mut case = golden::read(file).case;
            let results = &mut case.results;
            let changed = if tensor == 0 { &mut results.outputs[0] } else { &mut results.input_gradients[2] };
            changed.as_mut().expect("the case has results").iter_mut().for_each(|x| *x *= 1.0 + 3e-5);
            assert!(!ladder::evaluate(&operation, &case, &Setting::of(backend)).expect("it fits").passed);
        }
    }
}
