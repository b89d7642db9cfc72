//! Nothing looks at a name: every built-in variant with every identifier renamed at random gives the same kernels, up to
//! the names.

use rla_codegen::kernel::Level;
use rla_codegen::pipeline;
use rla_codegen::schedule::Schedule;
use rla_dsl::Recurrence;
use rla_dsl::recurrence::StatementKind;
use rla_runtime::draw::Rng;
use rla_tests::golden;

/// A fresh name for each old one, of letters that occur in no kernel.
fn fresh(rng: &mut Rng, known: &mut Vec<(String, String)>, old: &str) -> String {
    if let Some((_, new)) = known.iter().find(|(o, _)| o == old) {
        return new.clone();
    }
    let letters: String = (0..8).map(|_| char::from(b'a' + rng.below(26) as u8)).collect();
    let new = format!("zz{letters}{}zz", known.len());
    known.push((old.to_owned(), new.clone()));
    new
}

fn renamed(recurrence: &Recurrence, rng: &mut Rng) -> (Recurrence, Vec<(String, String)>) {
    let mut out = recurrence.clone();
    let mut known = Vec::new();
    out.name = fresh(rng, &mut known, &out.name);
    for side in out.sides.iter_mut().skip(2) {
        *side = fresh(rng, &mut known, side);
    }
    for input in &mut out.inputs {
        input.name = fresh(rng, &mut known, &input.name);
    }
    for constant in &mut out.consts {
        constant.name = fresh(rng, &mut known, &constant.name);
    }
    for state in &mut out.states {
        state.name = fresh(rng, &mut known, &state.name);
    }
    for output in &mut out.outputs {
        *output = fresh(rng, &mut known, output);
    }
    for statement in &mut out.statements {
        statement.name = match statement.kind {
            StatementKind::Assign(state) => out.states[state].name.clone(),
            StatementKind::Output(output) => out.outputs[output].clone(),
            StatementKind::Let => fresh(rng, &mut known, &statement.name),
        };
    }
    (out, known)
}

fn source(recurrence: &Recurrence) -> String {
    let schedule = Schedule::with_bf16(32);
    let kernel = pipeline::cpu(recurrence, &schedule, "rla_test", &[Level::Avx512, Level::Portable]);
    kernel.unwrap_or_else(|e| panic!("{}: {e:?}", recurrence.name)).source
}

/// The text with the new names put back; the longest first, so that none is part of another.
fn restored(text: &str, names: &[(String, String)]) -> String {
    names.iter().fold(text.to_owned(), |text, (old, new)| text.replace(new.as_str(), old))
}

#[test]
fn renamed_variants_give_equal_kernels() {
    let mut rng = Rng::new(0x5eed);
    let mut bad = Vec::new();
    for (name, _) in rla_dsl::BUILTINS {
        let recurrence = golden::built_in(name);
        let (other, names) = renamed(&recurrence, &mut rng);
        // the renamed text is a variant like any other
        let text = rla_dsl::print(&other);
        let other = golden::parse(&text);
        let (a, b) = (source(&recurrence), source(&other));
        assert_ne!(a, b, "{name}: the kernel's comments name its inputs");
        if a != restored(&b, &names) {
            let line = a.lines().zip(restored(&b, &names).lines()).position(|(x, y)| x != y);
            bad.push(format!("{name}, first at line {line:?}"));
        }
    }
    assert!(bad.is_empty(), "kernels differ by more than names: {bad:?}");
}
