//! `rla tune` and what pins or explains a configuration, from outside.
use rla_build::table::{Bucket, Mode, Table};
use rla_build::tune::pack::Manifest;
use rla_codegen::schedule::{Choices, space};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rla"));
    for name in ["RLA_CPU_LEVEL", "RLA_KERNEL", "RLA_TABLE", "RLA_DEVICE", "RLA_MODE"] {
        command.env_remove(name);
    }
    command.env("RLA_CACHE", folder.join("cache"));
    command
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("rla-tune-cli-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    folder
}

#[track_caller]
fn expect(output: &Output, code: i32, pieces: &[&str]) -> String {
    let both = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{both}");
    for piece in pieces {
        assert!(both.contains(piece), "no {piece:?} in\n{both}");
    }
    both
}

const SMALL: [&str; 2] = ["--shape", "1,64,1,2,16,16"];

#[test]
fn list_prints_parameters_predicates_and_ordered_candidates() {
    let folder = folder("list");
    let output = program(&folder).args(["tune", "rdn", "--list", "--pass", "train"]).output().expect("it starts");
    let text = expect(&output, 0, &["chunk ", "vectors", "legal where:", "fit in the registers", "(the default)"]);
    let cycles: Vec<f64> = text
        .lines()
        .filter(|line| line.contains("chunk=") && line.contains("KiB"))
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    assert!(cycles.len() > 100 && cycles.is_sorted(), "{} candidates", cycles.len());
    let decode = program(&folder).args(["tune", "rdn", "--list", "--pass", "decode"]).output().expect("it starts");
    let text = expect(&decode, 0, &["parameters of decode:", "ahead ", "readouts", "threads", "(the default)"]);
    assert!(!text.contains("vectors of a row"), "{text}");
    // threads divide calls in mode throughput alone
    let throughput = program(&folder)
        .args(["tune", "rdn", "--list", "--pass", "decode", "--mode", "throughput", "--threads", "2"])
        .output();
    let divided = expect(&throughput.expect("it starts"), 0, &["only in mode throughput", "threads=1"]);
    let count = |text: &str| text.lines().filter(|line| line.contains(" KiB  ")).count();
    assert!(!text.contains("threads=1") && count(&divided) == 2 * count(&text), "{divided}");
    let refused = program(&folder).args(["tune", "rdn", "--pass", "forward", "--seconds", "-1"]).output();
    expect(&refused.expect("it starts"), 2, &[]);
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn a_gpu_is_not_needed_to_list_its_candidates_and_needed_to_search() {
    let folder = folder("cuda-list");
    let run = |arguments: &[&str]| {
        let all = ["tune", "rdn", "--backend", "cuda"].iter().chain(arguments);
        program(&folder).args(all).output().expect("it starts")
    };
    let text =
        expect(&run(&["--list", "--pass", "forward,train"]), 0, &["legal where:", "record bytes", "(the default)"]);
    let costs = |part: &str| -> Vec<f64> {
        let lines = part.lines().filter(|line| line.contains("chunk=") && !line.contains("refused"));
        lines.filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
    };
    let (forward, training) = text.split_once("rdn training").expect("two passes");
    for part in [forward, training] {
        assert!(costs(part).len() > 4 && costs(part).is_sorted(), "{part}");
    }
    expect(&run(&["--list", "--pass", "bf16"]), 2, &["`--pass`"]);
    expect(&run(&["--threads", "2"]), 2, &["`--threads`", "--backend cuda"]);
    expect(&run(&["--shape", "1,8,3,4,16,16"]), 2, &["`--shape`"]);
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn candidates_are_packed_here_and_timed_where_there_is_no_compiler() {
    let folder = folder("pack");
    let pack = folder.join("pack");
    let packed = program(&folder)
        .args(["tune", "simple_gla", "--pass", "forward", "--most", "2", "--pack"])
        .arg(&pack)
        .args(SMALL)
        .output()
        .expect("it starts");
    expect(&packed, 0, &["simple_gla forward", "2 candidates"]);

    let table = folder.join("found.toml");
    let timed = program(&folder)
        .args(["tune", "--seconds", "20", "--out"])
        .arg(&table)
        .arg("--log")
        .arg(folder.join("log"))
        .arg("--from")
        .arg(&pack)
        .env("PATH", "")
        .env("RUSTC", folder.join("no-rustc"))
        .output()
        .expect("it starts");
    expect(&timed, 0, &["simple_gla forward", "2 candidates", "2 runs alike", "of its time", "passed rla verify"]);
    let rows = Table::read(&table).expect("a table");
    let proof = &rows.rows()[0].evidence;
    assert_eq!((rows.rows().len(), proof.cases > 2, proof.verified), (1, true, Some(true)));
    let logged: Vec<PathBuf> =
        std::fs::read_dir(folder.join("log")).expect("a log").map(|e| e.expect("an entry").path()).collect();
    let of = |ending: &str| logged.iter().find(|p| p.extension().is_some_and(|e| e == ending)).expect(ending);
    let log = std::fs::read_to_string(of("jsonl")).expect("a log");
    assert_eq!(log.lines().count(), 2);
    for line in log.lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect("an object a line");
        assert!(object["predicted_cycles"].is_number() && object["ms"].is_number(), "{line}");
    }
    assert!(std::fs::read_to_string(of("svg")).expect("a picture").starts_with("<svg"));
    let _ = std::fs::remove_dir_all(folder);
}

/// Threads are of no text, so a search there tries them all the same; a pack without `--threads` leaves their number to it.
#[test]
fn packs_of_mode_throughput_hold_texts_alone() {
    let folder = folder("pack-throughput");
    let pack = folder.join("pack");
    let packed = program(&folder)
        .args(["tune", "simple_gla", "--pass", "forward", "--mode", "throughput", "--most", "1", "--pack"])
        .arg(&pack)
        .args(["--shape", "2,64,1,2,16,16"])
        .output();
    expect(&packed.expect("it starts"), 0, &["simple_gla forward", "1 candidates"]);
    let manifest = Manifest::read(&pack).expect("a manifest");
    assert_eq!((manifest.tasks[0].mode, manifest.tasks[0].threads), (Mode::Throughput, 0));
    assert_eq!(manifest.tasks[0].task(3).expect("it is whole").threads, 3);

    let table = folder.join("found.toml");
    let timed = program(&folder)
        .args(["tune", "--seconds", "20", "--no-verify", "--out"])
        .arg(&table)
        .arg("--from")
        .arg(&pack)
        .output();
    let candidates = space::divided(Choices::chunk(16), std::thread::available_parallelism().map_or(1, usize::from));
    let pieces = [format!("{} candidates", candidates.count()), "for 4 to 7 heads of 64 to 127 tokens".into()];
    expect(&timed.expect("it starts"), 0, &pieces.each_ref().map(String::as_str));
    let rows = Table::read(&table).expect("a table");
    let row = &rows.rows()[0];
    assert_eq!((row.measured.mode, row.choices.chunk, row.evidence.verified), (Mode::Throughput, 16, None));
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn rows_of_buckets_are_found_applied_and_explained() {
    let folder = folder("buckets");
    let table = folder.join("found.toml");
    let shape = ["--shape", "2,64,1,2,16,16"];
    let tuned = program(&folder)
        .args(["tune", "simple_gla", "--pass", "forward", "--mode", "throughput", "--threads", "2"])
        .args(["--seconds", "8", "--no-verify", "--out"])
        .arg(&table)
        .args(shape)
        .output()
        .expect("it starts");
    expect(&tuned, 0, &["simple_gla forward", "mode throughput, for 4 to 7 heads of 64 to 127 tokens"]);
    let rows = Table::read(&table).expect("a table");
    let measured = &rows.rows()[0].measured;
    assert_eq!((measured.mode, measured.bucket), (Mode::Throughput, Some(Bucket { heads: [4, 7], tokens: [64, 127] })));

    let step = program(&folder)
        .args(["tune", "simple_gla", "--pass", "decode", "--seconds", "8", "--no-verify", "--out"])
        .arg(&table)
        .args(shape)
        .output();
    expect(&step.expect("it starts"), 0, &["simple_gla decode"]);
    let rows = Table::read(&table).expect("a table");
    let row = rows.rows().iter().find(|row| row.measured.pass == "decode").expect("a row of decode");
    assert_eq!((row.measured.mode, row.timed, row.choices.chunk), (Mode::Invariant, [2, 1], 1));

    let bench = |shape: &str, mode: Option<&str>, environment: &str| {
        let mut command = program(&folder);
        command.args(["bench", "simple_gla", "--pass", "forward", "--seconds", "0", "--explain", "--shape", shape]);
        command.args(mode.into_iter().flat_map(|mode| ["--mode", mode]));
        command.env("RLA_TABLE", &table).env("RLA_MODE", environment).output().expect("it starts")
    };
    let holds = "4 heads of 64 tokens: by ";
    expect(&bench("2,64,1,2,16,16", Some("throughput"), ""), 0, &["mode throughput, forward", holds]);
    expect(&bench("2,64,1,2,16,16", None, "throughput"), 0, &[holds]);
    let pieces = ["no row holds, as in mode invariant", "for 4 to 7 heads of 64 to 127 tokens, not 8 of 64"];
    expect(&bench("4,64,1,2,16,16", Some("throughput"), ""), 0, &pieces);
    // an option comes before the environment
    let text = expect(&bench("2,64,1,2,16,16", Some("invariant"), "throughput"), 0, &["kernel: "]);
    assert!(!text.contains("heads of 64 tokens: by"), "{text}");
    expect(&bench("2,64,1,2,16,16", None, "fast"), 2, &["RLA_MODE", "invariant or throughput", "fast"]);
    let verified = program(&folder)
        .args(["verify", "simple_gla", "--only", "law: split"])
        .env("RLA_TABLE", &table)
        .env("RLA_MODE", "throughput")
        .output();
    expect(&verified.expect("it starts"), 0, &["pass"]);
    let _ = std::fs::remove_dir_all(folder);
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_was_found() {
    let folder = folder("interrupt");
    let (table, log) = (folder.join("found.toml"), folder.join("log"));
    let child = program(&folder)
        .args(["tune", "simple_gla", "--pass", "forward", "--seconds", "300", "--no-verify", "--out"])
        .arg(&table)
        .arg("--log")
        .arg(&log)
        .args(SMALL)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let began = Instant::now();
    let file = log.join(format!("simple_gla-forward-{}.jsonl", rla_build::machine::best().name()));
    while std::fs::read_to_string(&file).map_or(0, |text| text.lines().count()) < 2 {
        assert!(began.elapsed() < Duration::from_secs(240), "nothing was timed");
        std::thread::sleep(Duration::from_millis(50));
    }
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    expect(&child.wait_with_output().expect("it ends"), 0, &["interrupted"]);
    assert_eq!(Table::read(&table).expect("it is whole").rows().len(), 1);
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn a_configuration_is_pinned_and_explained() {
    let folder = folder("pin");
    let bench = |pin: Option<&str>| {
        let mut command = program(&folder);
        command
            .args(["bench", "simple_gla", "--pass", "forward", "--seconds", "0", "--explain", "--threads", "1"])
            .args(SMALL);
        if let Some(pin) = pin {
            command.env("RLA_KERNEL", pin);
        }
        command.output().expect("it starts")
    };
    expect(&bench(None), 0, &["kernel: chunk-parallel", "parameters: "]);
    let pieces = ["chunk 64 (rows=4)", "pinned by RLA_KERNEL=forward.chunk=64,forward.rows=4", "compiled by rustc"];
    expect(&bench(Some("forward.chunk=64,forward.rows=4")), 0, &pieces);
    expect(&bench(Some("forward.chunk=17")), 2, &["RLA_KERNEL", "chunk is 1 or a power of two"]);
    let _ = std::fs::remove_dir_all(folder);
}
