//! Tuning is a gate of correctness before it is a timer: wrong candidates are refused with the reason, an interrupted search
//! leaves a whole table, a table of another compiler or variant is not applied.
use rla_build::clock::Clock;
use rla_build::compile::Cache;
use rla_build::machine;
use rla_build::table::{self, Mode, Row, Table, Tables};
use rla_build::tune::search::{self, Outcome, Settings};
use rla_build::tune::{Compiler, Element, Made, Source, Task, write};
use rla_codegen::data::Dims;
use rla_codegen::kernel::CpuKernel;
use rla_codegen::pipeline::{Programs, chunk_programs};
use rla_codegen::schedule::cost::{Caches, Cost};
use rla_codegen::schedule::{Choices, Slot};
use rla_runtime::tune::{self, Traces};
use rla_tests::golden::built_in;
use rla_tests::mutant::{Mutant, mutated};
use std::path::PathBuf;
use std::time::Duration;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("rla-tune-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

fn task(slot: Slot) -> Task {
    let dims = Dims { sizes: vec![32, 32], batch: 1, tokens: 64, key_heads: 1, value_heads: 2 };
    let recurrence = built_in("rdn");
    Task { recurrence, slot, level: machine::best(), element: Element::F32, dims, threads: 1, mode: Mode::Invariant }
}

fn settings(seconds: u64) -> Settings {
    Settings { budget: Duration::from_secs(seconds), clock: Clock::of_threads(1), workers: 2, seed: 7 }
}

/// A few candidates of a compiler.
struct Few<'a> {
    compiler: Compiler<'a>,
    candidates: Vec<Choices>,
}

impl Source for Few<'_> {
    fn order(&self) -> Vec<(Choices, Cost)> {
        self.candidates.iter().map(|choices| (*choices, Cost::default())).collect()
    }

    fn fingerprint(&self, choices: &Choices) -> Result<String, String> {
        self.compiler.fingerprint(choices)
    }

    fn make(&self, choices: &Choices) -> Result<Made, String> {
        self.compiler.make(choices)
    }

    fn compiles(&self) -> bool {
        true
    }
}

fn mutant(name: &str) -> Mutant {
    Mutant::all().into_iter().find(|m| m.name() == name).unwrap_or_else(|| panic!("no mutant `{name}`"))
}

/// Programs in which a slot's has a fault.
fn faulty(programs: &Programs, name: &str, slot: Slot) -> Programs {
    let mut programs = programs.clone();
    let program = match slot {
        Slot::Decode => &mut programs.decode,
        slot if slot.trains() => &mut programs.backward,
        _ => &mut programs.forward,
    };
    *program = mutated(program, &mutant(name)).unwrap_or_else(|| panic!("`{name}` has no place"));
    programs
}

/// Plants faults in the space, and returns the reason why each was refused.
fn refusals(slot: Slot, faults: &[(usize, &str)]) -> Vec<String> {
    let task = task(slot);
    let (_, programs) = chunk_programs(&task.recurrence).expect("of the class");
    // decode's chunk is a token, and it has another number
    let of = |number| match slot {
        Slot::Decode => Choices { ahead: number, ..Choices::chunk(1) },
        _ => Choices::chunk(number),
    };
    let planted: Vec<(Choices, Programs)> =
        faults.iter().map(|&(number, name)| (of(number), faulty(&programs, name, slot))).collect();
    let cache = folder(&format!("planted-{}", slot.name()));
    let compiler = Compiler::new(&task, Cache::at(&cache), Caches::default()).expect("of the class");
    let (own, wrong) = (task.clone(), planted.clone());
    let compiler = compiler.written_by(Box::new(move |choices| {
        let programs = wrong.iter().find(|(c, _)| c == choices).map_or(&programs, |(_, wrong)| wrong);
        write(&own, programs, choices)
    }));
    let start = match slot {
        Slot::Decode => of(0),
        slot if slot.trains() => of(32),
        _ => of(16),
    };
    let right = if slot == Slot::Decode { of(8) } else { Choices { prefetch: 0, ..start } };
    let mut candidates: Vec<Choices> = planted.iter().map(|(choices, _)| *choices).collect();
    candidates.push(right);
    let source = Few { compiler, candidates };
    let never = || false;
    let found =
        search::search(&task, &source, start, &[], &settings(600), &never, None, &mut |_| ()).expect("a search");
    let _ = std::fs::remove_dir_all(cache);
    assert_eq!(found.records.len(), 2 + planted.len(), "{:?}", found.records);
    assert!(found.best == start || found.best == right, "a wrong candidate won: {:?}", found.best);
    assert!(found.evidence.cases > 2 && found.evidence.worst < 1.0 && found.evidence.repeats == 2);
    let of = |choices: &Choices| found.records.iter().find(|r| r.choices == *choices).expect("it is in the log");
    assert!(!matches!(of(&right).outcome, Outcome::Refused(_)), "a right one was refused: {:?}", of(&right));
    let reason = |(choices, _): &(Choices, Programs)| match &of(choices).outcome {
        Outcome::Refused(reason) if of(choices).measured.is_none() => reason.clone(),
        outcome => panic!("{outcome:?} is no refusal before it is timed"),
    };
    planted.iter().map(reason).collect()
}

#[test]
fn a_wrong_mask_and_a_dropped_operation_are_refused_with_the_reason() {
    let faults = [(32, "segment decay: the diagonal too"), (8, "clamp: left out"), (64, "product: a mask transposed")];
    for (reason, (_, fault)) in refusals(Slot::Forward, &faults).iter().zip(faults) {
        assert!(reason.contains("out.") && reason.contains("is off by"), "{fault}: {reason}");
    }
}

#[test]
fn a_wrong_gradient_is_refused_with_the_reason() {
    let reasons = refusals(Slot::Training, &[(16, "gradient of the state: not carried")]);
    assert!(reasons[0].contains("grad.") && reasons[0].contains("is off by"), "{reasons:?}");
}

#[test]
fn a_wrong_step_of_decode_is_refused_with_the_reason() {
    for reason in refusals(Slot::Decode, &[(2, "clamp: left out"), (4, "state: starts at zero")]) {
        assert!(reason.contains("out.") && reason.contains("is off by"), "{reason}");
    }
}

/// A text whose training is right for the sizes that are checked before timing and leaves out small ones, which `rla verify` tries.
fn only_usual_sizes(mut text: CpuKernel) -> CpuKernel {
    for name in ["forward_entry", "backward_entry"] {
        let head = format!("unsafe extern \"C\" fn {name}(x: *const abi::Args) {{\n");
        assert!(text.source.contains(&head), "the text has no `{name}`");
        let planted = format!("{head}if unsafe {{ *(*x).sizes }} < 8 {{ return; }}\n");
        text.source = text.source.replace(&head, &planted);
    }
    text
}

/// Searches from a start that takes twice as long as others, of which those in `wrong` fail `rla verify`. The row and all records.
fn verified_search(name: &str, wrong: &[Choices], others: &[Choices]) -> (Row, search::Found, String) {
    let task = Task { recurrence: built_in("linear_attention"), ..task(Slot::Training) };
    let (_, programs) = chunk_programs(&task.recurrence).expect("of the class");
    let cache = folder(name);
    let compiler = Compiler::new(&task, Cache::at(&cache), Caches::default()).expect("of the class");
    let (own, planted) = (task.clone(), wrong.to_vec());
    let compiler = compiler.written_by(Box::new(move |choices| {
        let text = write(&own, &programs, choices)?;
        Ok(if planted.contains(choices) { only_usual_sizes(text) } else { text })
    }));
    // chunks of 128 tokens, of which half are filled
    let start = Choices::chunk(128);
    let source = Few { compiler, candidates: wrong.iter().chain(others).copied().collect() };
    let traces = Traces::new(&cache.join("logs"), &task, start).expect("a folder");
    let verify = |choices| tune::packed(&task, &source, None, choices);
    let mut told = vec![];
    let mut watch = |record: &search::Record| told.push(record.clone());
    let (row, found, (log, _)) =
        tune::tune(&task, &source, start, &[], &settings(600), "this", Some(&verify), traces, &|| false, &mut watch)
            .expect("a search");
    let log = std::fs::read_to_string(log).expect("a log");
    let _ = std::fs::remove_dir_all(cache);
    let refusals = |records: &[search::Record]| {
        records.iter().filter(|r| matches!(r.outcome, Outcome::Refused(_))).map(|r| r.choices).collect::<Vec<_>>()
    };
    assert_eq!(refusals(&told).len(), refusals(&found.records).len(), "who watches is told of every refusal");
    (row, found, log)
}

#[test]
fn what_fails_verify_gives_way_to_the_next_best() {
    let (fast, faster) = (Choices { prefetch: 0, ..Choices::chunk(32) }, Choices::chunk(32));
    let slow = Choices { rows: 2, vectors: 1, ..Choices::chunk(32) };
    // whichever of the two is the fastest, the only one that passes is kept
    let (row, found, log) = verified_search("fallback", &[fast, faster], &[slow]);
    assert_eq!((row.choices, row.evidence.verified), (slow, Some(true)), "{:?}", found.records);
    assert!(found.comparison.wins(), "{:?}", found.comparison);
    let reason = |records: &[search::Record]| -> Vec<String> {
        let reasons = records.iter().filter_map(|r| match &r.outcome {
            Outcome::Refused(reason) => Some(reason.clone()),
            _ => None,
        });
        reasons.collect()
    };
    let refused = reason(&found.records);
    assert!(!refused.is_empty(), "{:?}", found.records);
    for reason in &refused {
        assert!(reason.starts_with("it does not pass `rla verify`: odd sizes: "), "{reason}");
        assert!(log.contains(reason.as_str()), "{log}");
    }
}

#[test]
fn the_start_stays_where_nothing_else_passes_verify() {
    let wrong = Choices::chunk(32);
    let (row, found, _) = verified_search("start", &[wrong], &[]);
    assert_eq!((row.choices, row.measured.ratio), (found.start, 1.0));
    assert_eq!(row.evidence.verified, Some(true));
    let record = found.records.iter().find(|r| r.choices == wrong).expect("it is in the log");
    assert!(matches!(&record.outcome, Outcome::Refused(reason) if reason.contains("odd sizes")), "{record:?}");
    assert!(record.measured.is_some_and(|m| m.wins()), "it had won: {record:?}");
}

/// A row that the compiler writes today, as a search would have found it.
fn row(slot: Slot, choices: Choices) -> Row {
    let task = task(slot);
    let (_, programs) = chunk_programs(&task.recurrence).expect("of the class");
    let text = table::text_of(&task.recurrence, &programs, slot, task.level, &choices).expect("legal");
    let found = search::Found {
        start: Choices::chunk(16),
        best: choices,
        text,
        evidence: rla_build::tune::check::Evidence { cases: 4, repeats: 2, ..Default::default() },
        comparison: rla_build::tune::time::Comparison { ratio: 0.9, spread: 0.01, seconds: 0.9e-3, other: 1e-3 },
        records: vec![],
        seconds: 1.0,
        interrupted: false,
        verified: Some(true),
    };
    Row::new(&task, &found, "rla of these tests")
}

fn chosen(rows: &[Row], device: &str) -> table::Chosen {
    let path = folder(&format!("table-{}", device.len() + 100 * rows.len())).join("a.toml");
    for row in rows {
        Table::merge(&path, device, row.clone()).expect("a table");
    }
    let text = std::fs::read_to_string(&path).expect("a table");
    assert_eq!(Table::read(&path).expect("it is whole").text().expect("a text"), text);
    let tables = Tables::of("a device", std::slice::from_ref(&path)).expect("tables");
    let _ = std::fs::remove_dir_all(path.parent().expect("a folder"));
    tables.choose(&built_in("rdn"), machine::best()).expect("a choice")
}

#[test]
fn a_row_applies_to_its_variant_compiler_and_device_alone() {
    let tuned = Choices { prefetch: 2, ..Choices::chunk(64) };
    let default = Table::shipped().and_then(|t| t.schedule("rdn")).expect("the default");
    let fresh = row(Slot::Forward, tuned);

    let applied = chosen(std::slice::from_ref(&fresh), "a device");
    assert_eq!((applied.schedule.forward, applied.schedule.training), (tuned, default.training));
    assert!(applied.from[0].starts_with("forward by "), "{:?}", applied.from);

    let (mut other_text, mut other_variant) = (fresh.clone(), fresh.clone());
    other_text.measured.text = "0123".into();
    other_variant.measured.identity = "0123".into();
    for (row, device, note) in [
        (&other_text, "a device", "measured with another compiler (rla of these tests), ignored"),
        (&other_variant, "a device", "measured for another content of the variant, ignored"),
        (&fresh, "another", "of another device, `another`"),
    ] {
        let ignored = chosen(std::slice::from_ref(row), device);
        assert_eq!(ignored.schedule, default, "{note}");
        assert!(ignored.passed_over.iter().any(|reason| reason.contains(note)), "{note}: {:?}", ignored.passed_over);
    }
}

#[test]
fn rows_are_merged_by_their_key() {
    let first = row(Slot::Forward, Choices::chunk(8));
    let second = row(Slot::Forward, Choices::chunk(64));
    let training = row(Slot::Training, Choices::chunk(16));
    let path = folder("merge").join("a.toml");
    for row in [&first, &training, &second] {
        Table::merge(&path, "a device", row.clone()).expect("a table");
    }
    let table = Table::read(&path).expect("a table");
    assert_eq!(table.rows(), [second, training], "the newer row of a key stays");
    assert!(Table::merge(&path, "another", first).is_err(), "a table is of one device");
    let _ = std::fs::remove_dir_all(path.parent().expect("a folder"));
}

#[test]
fn an_interrupted_search_keeps_what_it_has() {
    let task = task(Slot::Forward);
    let cache = folder("interrupted");
    let compiler = Compiler::new(&task, Cache::at(&cache), Caches::default()).expect("of the class");
    let seen = std::sync::atomic::AtomicUsize::new(0);
    let stop = || seen.load(std::sync::atomic::Ordering::Relaxed) > 0;
    let mut watch = |_: &search::Record| {
        seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    };
    let start = Choices::chunk(16);
    let found =
        search::search(&task, &compiler, start, &[], &settings(600), &stop, None, &mut watch).expect("a search");
    assert!(found.interrupted && found.best == start && found.records.len() == 1);
    let path = cache.join("table.toml");
    Table::merge(&path, "a device", Row::new(&task, &found, "this")).expect("a table");
    assert_eq!(Table::read(&path).expect("it is whole").rows().len(), 1);
    let _ = std::fs::remove_dir_all(cache);
}
