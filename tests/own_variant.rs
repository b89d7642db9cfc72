//! A crate outside the workspace that defines variants of its own (examples/own_variant), as a user has one: it builds with
//! one line in its build script, runs without rustc, and without that line is told what to add.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are inside the repository").to_path_buf()
}

/// A folder under the target folder; what is built there is found again by the next run.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("own_variant")
}

/// `cargo build` of a crate, the registry's crates at the workspace's versions; over the network only where it must be.
fn build(folder: &Path) -> Output {
    build_with(folder, None)
}

/// The same with so many seconds to tune.
fn build_with(folder: &Path, seconds: Option<&str>) -> Output {
    std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("the workspace's lock file");
    let cargo = |offline: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.arg("build").args(offline).arg("--manifest-path").arg(folder.join("Cargo.toml"));
        command.env("CARGO_TARGET_DIR", target().join("target"));
        // nobody debugs or edits it
        command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "0");
        for name in ["RLA_TUNE", "RLA_TABLE", "RLA_DEVICE"] {
            command.env_remove(name);
        }
        if let Some(seconds) = seconds {
            command.env("RLA_TUNE", seconds);
        }
        command.output().expect("cargo runs")
    };
    let first = cargo(&["--offline"]);
    let unavailable = String::from_utf8_lossy(&first.stderr).contains("--offline");
    if unavailable { cargo(&[]) } else { first }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn it_builds_runs_and_is_checked_without_rustc() {
    let built = build(&root().join("examples/own_variant"));
    assert!(built.status.success(), "{}", text(&built.stderr));

    let before = generated();
    assert!(!before.is_empty());
    runs_without_rustc();

    // the build itself searches, for a second
    let searched = build_with(&root().join("examples/own_variant"), Some("1"));
    assert!(searched.status.success(), "{}", text(&searched.stderr));
    let (script, tables) = tuned();
    assert!(
        script.contains("rla: searched surprise forward") || script.contains("rla: searched forgetting_average"),
        "{script}"
    );
    // decode has its turn too, in this build or in the next
    for name in ["surprise", "forgetting_average"] {
        let said = [format!("rla: {name} decode: not searched"), format!("rla: searched {name} decode")];
        assert!(said.iter().any(|line| script.contains(line)), "{script}");
    }
    let table = rla_build::table::Table::read(tables.last().expect("a table")).expect("it is whole");
    assert!(!table.rows().is_empty() && table.device() == rla_build::machine::device());
    let legal =
        |row: &rla_build::table::Row| row.evidence.cases > 0 && row.evidence.worst < 1.0 && row.measured.ratio <= 1.0;
    assert!(table.rows().iter().all(legal), "{:?}", table.rows());
    runs_without_rustc();

    // without it the same inputs give the same bytes
    assert!(build(&root().join("examples/own_variant")).status.success());
    assert_eq!(generated(), before);
    assert!(!build_with(&root().join("examples/own_variant"), Some("soon")).status.success(), "no number");
    assert!(build(&root().join("examples/own_variant")).status.success());
}

/// Folders that the build scripts of the example wrote into.
fn script_folders() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(target().join("target/debug/build")).expect("build scripts ran");
    let mut all: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    all.retain(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("own_variant-")));
    all.retain(|path| path.join("out/kernels").is_dir());
    all
}

/// Names of the kernels' texts, which are named by their contents, and what describes them to the crate.
fn generated() -> Vec<(String, String)> {
    let mut all = vec![];
    for folder in script_folders() {
        for entry in std::fs::read_dir(folder.join("out")).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|e| e == "rs") {
                all.push((path.display().to_string(), std::fs::read_to_string(&path).expect("a text")));
            }
        }
    }
    all.sort();
    all
}

/// What the last build script said, and the tables that it wrote.
fn tuned() -> (String, Vec<PathBuf>) {
    let (mut said, mut tables) = (String::new(), vec![]);
    for folder in script_folders() {
        said += &std::fs::read_to_string(folder.join("output")).unwrap_or_default();
        if let Ok(entries) = std::fs::read_dir(folder.join("out/tunings")) {
            tables.extend(entries.map(|e| e.expect("an entry").path()));
        }
    }
    (said, tables)
}

fn runs_without_rustc() {
    // no rustc can be found, and none is missed
    let cache = target().join("cache");
    let _ = std::fs::remove_dir_all(&cache);
    let program = target().join("target/debug").join(format!("own_variant{}", std::env::consts::EXE_SUFFIX));
    let run = Command::new(program)
        .env("PATH", "")
        .env("RUSTC", target().join("no-rustc"))
        .env("RLA_CACHE", &cache)
        .output()
        .expect("the example runs");
    let out = text(&run.stdout);
    assert!(run.status.success(), "{out}\n{}", text(&run.stderr));
    assert!(!cache.exists(), "something was compiled at run time");

    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("chunk kernel for ") && lines[0].contains("compiled into this program"), "{out}");
    assert_eq!(lines.last(), Some(&"ok"), "{out}");
    let after = |start: &str| lines.iter().find_map(|line| line.trim().strip_prefix(start)).map(str::trim);
    for name in [
        "o",
        "S",
        "R",
        "gradient q",
        "gradient strength",
        "gradient R0",
        "o, decoded",
        "z",
        "worst error against the definition",
    ] {
        let error: f64 = after(name).and_then(|e| e.split(' ').next_back()?.parse().ok()).unwrap_or(f64::NAN);
        assert!(error < 1e-5, "{name}: {error}\n{out}");
    }
    assert_eq!(after("refused:"), Some("`v`: expected shape [1, 2, 1, 8], found [1, 1, 1, 8]"), "{out}");
    let loss: Vec<f64> = after("loss ").map_or(vec![], |rest| rest.split(' ').filter_map(|w| w.parse().ok()).collect());
    assert!(loss.len() == 2 && loss[1] < 0.05 * loss[0], "{out}");
}

#[test]
fn without_the_build_script_the_error_says_what_to_add() {
    let (example, copy) = (root().join("examples/own_variant"), target().join("no_script"));
    let _ = std::fs::remove_dir_all(&copy);
    for folder in ["src", "variants"] {
        std::fs::create_dir_all(copy.join(folder)).expect("a folder");
        for entry in std::fs::read_dir(example.join(folder)).expect("the example") {
            let path = entry.expect("a file").path();
            std::fs::copy(&path, copy.join(folder).join(path.file_name().expect("a name"))).expect("a copy");
        }
    }
    let manifest = std::fs::read_to_string(example.join("Cargo.toml")).expect("the example's manifest");
    let manifest = manifest.replace("../../", &format!("{}/", root().display()));
    std::fs::write(copy.join("Cargo.toml"), manifest).expect("a manifest");

    let built = build(&copy);
    let message = text(&built.stderr);
    assert!(!built.status.success(), "it built without its kernels");
    for name in ["surprise", "forgetting_average"] {
        let told = format!(
            "the kernels of `{name}` are not compiled: add the line `rla_build::kernels();` to `fn main()` in build.rs, and \
             `rla-build` under [build-dependencies] in Cargo.toml"
        );
        assert!(message.contains(&told), "{name}: {message}");
    }
    let errors = message.lines().filter(|line| line.starts_with("error")).count();
    assert_eq!(errors, 3, "one for each variant and cargo's own:\n{message}");
}
