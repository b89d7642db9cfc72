//! Mode throughput: the row whose bucket holds a call is picked, mode invariant never looks at B, N and T, and the laws that the mode keeps
//! hold bit for bit, the others within the bound.
use rla_build::machine;
use rla_build::table::cuda::{Proof, Row as CudaRow};
use rla_build::table::measured::Search;
use rla_build::table::{self, Bucket, Bucketed, Measured, Mode, Row, Table, Tables, Work};
use rla_build::tune::check::Evidence;
use rla_build::tune::search::Found;
use rla_build::tune::time::Comparison;
use rla_build::tune::{Element, Task};
use rla_codegen::data::Dims;
use rla_codegen::emit::cuda::Elem;
use rla_codegen::pipeline::chunk_programs;
use rla_codegen::pipeline::cuda::{Key, Source};
use rla_codegen::schedule::{Choices, Slot, cuda};
use rla_runtime::device::cuda::tunings::{Card, Tunings, usual};
use rla_runtime::kernel::throughput::Asked;
use rla_runtime::ladder::Setting;
use rla_runtime::laws::LAWS;
use rla_runtime::{Backend, DType, Operation, Problem, verify};
use rla_tests::golden::built_in;
use std::path::PathBuf;
use std::sync::Arc;

const COMPARISON: Comparison = Comparison { ratio: 0.9, spread: 0.01, seconds: 0.9e-3, other: 1e-3 };

/// A row that the compiler writes today, as a search at B, T with HV = 2 and K = 12, V = 20 would have found it.
fn row(variant: &str, slot: Slot, choices: Choices, mode: Mode, [batch, tokens]: [usize; 2]) -> Row {
    let recurrence = built_in(variant);
    let dims = Dims { sizes: vec![12, 20], batch, tokens, key_heads: 1, value_heads: 2 };
    let task = Task { recurrence, slot, level: machine::best(), element: Element::F32, dims, threads: 4, mode };
    let (_, programs) = chunk_programs(&task.recurrence).expect("of the class");
    let text = table::text_of(&task.recurrence, &programs, slot, task.level, &choices).expect("legal");
    let found = Found {
        start: Choices::chunk(16),
        best: choices,
        text,
        evidence: Evidence { cases: 4, repeats: 2, ..Default::default() },
        comparison: COMPARISON,
        records: vec![],
        seconds: 1.0,
        interrupted: false,
        verified: Some(true),
    };
    Row::new(&task, &found, "rla of these tests")
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("rla-throughput-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

/// The rows as a table of this device holds them.
fn tables(name: &str, rows: &[Row]) -> Tables {
    let path = folder(name).join("a.toml");
    for row in rows {
        Table::merge(&path, "a device", row.clone()).expect("a table");
    }
    let tables = Tables::of("a device", std::slice::from_ref(&path)).expect("tables");
    let _ = std::fs::remove_dir_all(path.parent().expect("a folder"));
    tables
}

fn bucketed(name: &str, variant: &str, rows: &[Row]) -> (Vec<Bucketed>, Vec<String>) {
    tables(name, rows).throughput(&built_in(variant), machine::best())
}

fn problem(batch: usize, tokens: usize) -> Problem {
    Problem { batch, tokens, key_heads: 1, value_heads: 2, sizes: vec![12, 20], cu_seqlens: None }
}

#[test]
fn the_row_whose_bucket_holds_a_call_is_picked() {
    let [short, long, threads] = [Choices::chunk(8), Choices::chunk(64), Choices::chunk(16).with_threads(1)];
    let of = |choices, shape| row("rdn", Slot::Forward, choices, Mode::Throughput, shape);
    let rows = [of(short, [1, 40]), of(long, [4, 40]), of(threads, [1, 200])];
    assert_eq!(rows[1].measured.bucket, Some(Bucket { heads: [8, 15], tokens: [32, 63] }));
    let (rows, passed_over) = bucketed("picked", "rdn", &rows);
    assert_eq!((rows.len(), passed_over), (3, vec![]));
    let operation = Operation::builtin("rdn", Backend::Cpu).expect("kernels").with_rows(rows, vec![]);
    let throughput = operation.throughput().expect("the mode");
    assert_eq!((operation.mode(), operation.chunk()), (Mode::Throughput, 64));
    let picked = |batch, tokens, slot, dtype| {
        let problem = problem(batch, tokens);
        throughput.row(Asked::of(&problem, slot, dtype)).map(|row| row.row.choices)
    };
    for (batch, tokens, expected) in [
        (1, 32, Some(short)),
        (1, 63, Some(short)),
        (1, 31, None),
        (1, 64, None),
        (2, 40, None),
        (4, 32, Some(long)),
        (7, 63, Some(long)),
        (8, 63, None),
        (1, 128, Some(threads)),
        (1, 255, Some(threads)),
    ] {
        assert_eq!(picked(batch, tokens, Slot::Forward, DType::F32), expected, "B = {batch}, T = {tokens}");
    }
    assert_eq!(picked(1, 40, Slot::Training, DType::F32), None, "of another pass");
    assert_eq!(picked(1, 40, Slot::Forward, DType::Bf16), None, "of another type");
    let other = Problem { sizes: vec![12, 24], ..problem(1, 40) };
    assert!(throughput.row(Asked::of(&other, Slot::Forward, DType::F32)).is_none(), "of other sizes");
    // packed: four sequences of ten tokens each on average
    let packed = Problem { cu_seqlens: Some(vec![0, 10, 10, 35, 160]), ..problem(1, 160) };
    let row = throughput.row(Asked::of(&packed, Slot::Forward, DType::F32));
    assert_eq!(row.map(|row| row.row.choices), Some(long), "8 heads of 40 tokens");

    let call = problem(4, 40);
    let lines = throughput.explain(Asked::of(&call, Slot::Forward, DType::F32));
    assert!(lines[0].contains("8 heads of 40 tokens: by ") && lines[0].contains("chunk=64"), "{lines:?}");
    assert!(lines.iter().any(|l| l.contains("for 2 to 3 heads of 32 to 63 tokens, not 8 of 40")), "{lines:?}");
    let none = throughput.explain(Asked::of(&problem(64, 1), Slot::Forward, DType::F32)).remove(0);
    assert!(none.contains("no row holds, as in mode invariant"), "{none}");

    let chosen = |batch, tokens| {
        let problem = problem(batch, tokens);
        throughput.choose(Asked::of(&problem, Slot::Forward, DType::F32)).expect("kernels")
    };
    assert_eq!((chosen(4, 40).kernel.report.chunk, chosen(4, 40).threads), (64, 0));
    let base = operation.report().expect("a kernel").chunk;
    assert_eq!((chosen(64, 1).kernel.report.chunk, chosen(64, 1).threads), (base, 0));
    assert_eq!(chosen(1, 200).threads, 1);
}

#[test]
fn mode_invariant_never_takes_a_row_of_mode_throughput() {
    let (free, fixed) = (Choices::chunk(64), Choices::chunk(8));
    let rows = [
        row("rdn", Slot::Forward, free, Mode::Throughput, [1, 40]),
        row("rdn", Slot::Training, fixed, Mode::Invariant, [1, 40]),
    ];
    let tables = tables("invariant", &rows);
    let chosen = tables.choose(&built_in("rdn"), machine::best()).expect("a choice");
    let default = Table::shipped().and_then(|t| t.schedule("rdn")).expect("the default");
    assert_eq!((chosen.schedule.forward, chosen.schedule.training), (default.forward, fixed));
    assert!(chosen.passed_over.iter().any(|reason| reason.ends_with("of mode throughput")), "{:?}", chosen.passed_over);
    let (rows, _) = tables.throughput(&built_in("rdn"), machine::best());
    assert_eq!(rows.iter().map(|row| row.row.choices).collect::<Vec<_>>(), [free]);

    let operation = Operation::builtin("rdn", Backend::Cpu).expect("kernels").with_rows(rows, vec![]);
    let invariant = operation.with_mode(Mode::Invariant).expect("a mode");
    assert!(invariant.throughput().is_none() && invariant.mode() == Mode::Invariant);
    assert_eq!(Operation::builtin("rdn", Backend::Cpu).expect("kernels").mode(), Mode::Invariant, "it is the default");
}

#[test]
fn rows_of_buckets_are_merged_by_their_key_and_read_as_they_were_written() {
    let of = |chunk, mode, shape| row("rdn", Slot::Forward, Choices::chunk(chunk), mode, shape);
    let (first, second) = (of(8, Mode::Throughput, [1, 40]), of(64, Mode::Throughput, [1, 50]));
    let (other, invariant) = (of(32, Mode::Throughput, [2, 40]), of(16, Mode::Invariant, [1, 40]));
    let path = folder("merge").join("a.toml");
    for row in [&first, &other, &invariant, &second] {
        Table::merge(&path, "a device", row.clone()).expect("a table");
    }
    let table = Table::read(&path).expect("a table");
    assert_eq!(table.rows(), [second, other, invariant.clone()], "the newer row of a bucket stays");
    let text = table.text().expect("a text");
    assert!(text.contains("[tuned.bucket]") && text.contains("mode = \"throughput\""), "{text}");
    // one number of threads for all B, N and T would be none of this mode
    let mut threads = invariant;
    threads.choices.threads = 2;
    Table::merge(&path, "a device", threads).expect("it is written");
    let error = Table::read(&path).expect_err("and refused").to_string();
    assert!(error.contains("threads is 0 in mode invariant"), "{error}");
    let _ = std::fs::remove_dir_all(path.parent().expect("a folder"));
}

/// Rows for all that the laws and the ladder call: short and long chunks, one thread and two.
fn everywhere(name: &str, variant: &str) -> Operation {
    let (_, programs) = chunk_programs(&built_in(variant)).expect("of the class");
    let mut rows = vec![];
    for slot in [Slot::Forward, Slot::of_training(&programs.forward_save), Slot::Decode] {
        for (number, [batch, tokens]) in [[1, 40], [1, 80], [2, 20], [2, 40], [4, 80], [1, 300]].into_iter().enumerate()
        {
            let choices = match slot {
                Slot::Decode => Choices { ahead: [2, 0][number % 2], readouts: 1, ..Choices::chunk(1) },
                _ => Choices::chunk([8, 32][number % 2]),
            };
            let choices = choices.with_threads(number % 3);
            let mut row = row(variant, slot, choices, Mode::Throughput, [batch, tokens]);
            // the range says what it holds for
            row.measured.bucket = Some(Bucket { heads: [1 + 3 * number, 3 + 3 * number], tokens: [1, 1000] });
            rows.push(row);
        }
    }
    let (rows, passed_over) = bucketed(name, variant, &rows);
    assert_eq!((rows.len(), passed_over.len()), (18, 0));
    Operation::builtin(variant, Backend::Cpu).expect("kernels").with_rows(rows, vec![])
}

#[test]
fn the_laws_that_the_mode_keeps_hold_bit_for_bit() {
    let setting = Setting::of(Backend::Cpu);
    let operation = everywhere("laws", "linear_attention");
    // the laws' sizes: four value heads, one or two sequences and more
    let throughput = operation.throughput().expect("the mode");
    let chunks = [1, 2, 3].map(|batch| {
        let call = Problem { value_heads: 4, key_heads: 2, ..problem(batch, 40) };
        let row = throughput.row(Asked::of(&call, Slot::Forward, DType::F32)).expect("a row for every call");
        row.row.choices.chunk
    });
    assert_eq!(chunks, [32, 8, 32], "the configuration depends on B");
    for name in ["repeat", "pool", "causal", "steps"] {
        let (_, law) = LAWS.iter().find(|(law, _)| *law == name).expect("a law of that name");
        for seed in 0..3 {
            assert_eq!(law(&operation, &setting, seed).expect("it runs"), None, "{name}, seed {seed}");
        }
    }
}

#[test]
fn results_are_within_the_bound_whatever_row_holds() {
    let setting = Setting::of(Backend::Cpu);
    let operation = everywhere("bound", "linear_attention");
    for shape in 0..6 {
        let rows =
            verify::of_heads(&operation, &setting, &[12, 20], 1 + shape, verify::Calls::Training).expect("it runs");
        for row in rows {
            assert!(row.passed && row.cases > 0, "{} sequences: {row:?}", 1 + shape);
        }
        let decode = verify::of_heads(&operation, &setting, &[12, 20], 0, verify::Calls::Decode).expect("it runs");
        assert!(decode.iter().all(|row| row.passed && row.cases > 0), "{decode:?}");
        let heads = 2 * (1 + shape);
        let step = Problem { value_heads: heads, key_heads: heads, ..problem(1, 1) };
        let throughput = operation.throughput().expect("the mode");
        let row = throughput.row(Asked::of(&step, Slot::Decode, DType::F32)).expect("a row for every step");
        assert_eq!(row.row.choices.readouts, 1);
    }
    // `rla verify` is of mode invariant whatever it is given
    let all = verify::verify(&operation, &setting, 1, |check| check == "law: split", |_| ()).expect("it runs");
    assert!(all.iter().all(|row| row.passed), "{all:?}");
}

fn cuda_row(source: &Source, choices: cuda::Choices, bucket: Option<Bucket>) -> (String, CudaRow) {
    let recurrence = source.recurrence();
    let key = Key { choices, ..Key::usual(recurrence, &[128, 128], Elem::Bf16) };
    let (text, _) = source.predict(cuda::Slot::Forward, &key, CARD.shared).expect("legal");
    let mut measured = Measured::from(Search {
        recurrence,
        pass: "forward",
        dtype: "bf16",
        sizes: &[128, 128],
        mode: Mode::Invariant,
        work: Work::new(1, 16, 8192),
        comparison: COMPARISON,
        seconds: 1.0,
        candidates: 9,
        compiler: "rla of these tests",
        text: &text,
    });
    if bucket.is_some() {
        (measured.mode, measured.bucket) = (Mode::Throughput, bucket);
    }
    let evidence = Proof { cases: 4, repeats: 2, worst: 0.5, verified: true };
    let (architecture, timed) = ("sm_90a".to_string(), [1, 8192, 16, 16]);
    ("t.toml".into(), CudaRow { measured, architecture, timed, of_copy: 0.2, choices, evidence })
}

const CARD: Card = Card { shared: 227 << 10, multiprocessors: 132, overlaps: true };

#[test]
fn a_gpus_rows_are_picked_by_their_buckets() {
    let recurrence = Arc::new(built_in("simple_gla"));
    let source = Source::new(&recurrence).unwrap_or_else(|o| panic!("{}", o.reason));
    let of = |chunk, groups| cuda::Choices { chunk, groups, ..cuda::Choices::default() };
    let few = Bucket { heads: [16, 31], tokens: [8192, 16383] };
    let many = Bucket { heads: [128, 255], tokens: [2048, 4095] };
    let rows = vec![
        cuda_row(&source, of(16, 2), Some(few)),
        cuda_row(&source, of(64, 4), Some(many)),
        cuda_row(&source, of(32, 2), None),
    ];
    let stale = {
        let mut row = cuda_row(&source, of(16, 1), Some(Bucket { heads: [1, 1], tokens: [1, 9] }));
        row.1.measured.text = "0".repeat(32);
        row
    };
    let tunings = Tunings::with_rows(rows.into_iter().chain([stale]).collect());
    let choices = |heads: usize, tokens: usize, mode: Mode| {
        let load = rla_runtime::device::cuda::tunings::load(&source, &[128, 128], heads, CARD.multiprocessors);
        let choices = usual(&load, CARD.overlaps, Elem::Bf16);
        let key = Key { choices, ..Key::usual(&recurrence, &[128, 128], Elem::Bf16) };
        let work = (mode == Mode::Throughput).then_some(Work { heads, tokens });
        tunings.choices(CARD, &source, cuda::Slot::Forward, &key, work)
    };
    for (heads, tokens, chunk, groups) in [(16, 8192, 16, 2), (31, 16383, 16, 2), (128, 2048, 64, 4)] {
        let (chosen, from) = choices(heads, tokens, Mode::Throughput);
        assert_eq!((chosen.chunk, chosen.groups), (chunk, groups), "{heads} {tokens}: {from}");
        assert!(from.contains("heads of"), "{from}");
    }
    // no bucket holds, or what it holds is stale: as in mode invariant, where only widths follow the load, whose bits are equal
    for (heads, tokens) in [(16, 4096), (64, 8192), (1, 4), (512, 100)] {
        assert_eq!(choices(heads, tokens, Mode::Throughput), choices(heads, tokens, Mode::Invariant));
    }
    for heads in [1, 16, 128, 512] {
        for tokens in [1, 100, 2048, 8192] {
            let (chosen, from) = choices(heads, tokens, Mode::Invariant);
            assert_eq!((chosen.chunk, chosen.span), (32, 1), "{heads} {tokens}");
            // it was timed with 16 heads, whose blocks are narrower by default: a choice, which holds for others too
            assert_eq!(chosen.groups, 2, "{heads} {tokens}");
            assert_eq!((chosen, from), choices(heads, 1, Mode::Invariant), "it does not depend on T");
        }
    }
    assert_eq!((tunings.longest_chunk(Mode::Invariant), tunings.longest_chunk(Mode::Throughput)), (32, 64));
}
