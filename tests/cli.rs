//! The program from outside: exit codes, messages, JSON, files. The tests belong to the runtime's package, which knows where
//! its program is.
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn golden(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("inside the repository");
    root.join("tests/golden").join(name).display().to_string()
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rla"));
    command.env_remove("RLA_CPU_LEVEL");
    command
}

fn rla<S: AsRef<OsStr>>(arguments: &[S]) -> Output {
    program().args(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Runs, and expects this exit code and each of these pieces in stdout and stderr together.
#[track_caller]
fn expect<S: AsRef<OsStr> + std::fmt::Debug>(arguments: &[S], code: i32, pieces: &[&str]) -> Output {
    let output = rla(arguments);
    let both = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}:\n{both}");
    for piece in pieces {
        assert!(both.contains(piece), "{arguments:?}: no {piece:?} in\n{both}");
    }
    output
}

/// A file of its own in a folder of its own.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let folder = std::env::temp_dir().join(format!("rla-cli-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        Scratch(folder)
    }

    fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, contents).expect("a temporary file");
        path.display().to_string()
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const LINEAR: &str = "variant linear {\n    input q, k: key, v: value;\n    state S: value x key;\n    \
    S[t] = S[t-1] + v * k^T;\n    output o = S[t] * q;\n}\n";

fn objects(output: &Output) -> Vec<serde_json::Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
}

#[test]
fn help_says_what_each_subcommand_does() {
    let output = expect(&["--help"], 0, &["Exit codes:", "RLA_CPU_LEVEL"]);
    let tune = cfg!(feature = "tune").then_some("tune");
    for name in ["check", "explain", "emit", "eval", "verify", "bench"].into_iter().chain(tune) {
        assert!(text(&output.stdout).contains(&format!("  {name} ")), "{name} in the list");
        let help = text(&rla(&[name, "--help"]).stdout);
        assert!(help.lines().count() > 12 && help.contains("Usage: rla"), "{name}: {help}");
    }
    expect::<&str>(&[], 2, &["Usage: rla"]);
    expect(&["chek"], 2, &["check"]);
    expect(&["eval", "rdn", "--backend", "gpu", "--case", "x"], 2, &["oracle, tile, recurrent, cpu, cuda"]);
}

#[test]
fn check_reports_and_counts() {
    let scratch = Scratch::new("check");
    let good = scratch.file("good.rla", LINEAR);
    let output = expect(&["check", &good], 0, &["linear: in the class"]);
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));

    let wrong = scratch.file("wrong.rla", LINEAR.replace("v * k^T", "v * v"));
    expect(&["check", &wrong], 1, &["error[", "wrong.rla:4:23", "S[t] = S[t-1] + v * v;", "^"]);
    let output = expect(&["check", "--json", &wrong], 1, &[]);
    let first = &objects(&output)[0];
    assert_eq!((first["severity"].as_str(), first["span"]["line"].as_u64()), (Some("error"), Some(4)));

    let outside = scratch.file("outside.rla", LINEAR.replace("S[t-1] + v", "S[t-1] + tanh(S[t-1] * k) * k^T + v"));
    let output = expect(&["check", &outside], 0, &["note[", "outside the class", "tanh"]);
    assert!(text(&output.stdout).contains("4:"), "the place is on stdout too");
    let output = expect(&["check", "--json", &outside], 0, &[]);
    let last = objects(&output).pop().expect("a line");
    assert_eq!((last["variant"].as_str(), last["in_class"].as_bool()), (Some("linear"), Some(false)));

    expect(&["check", &scratch.path("absent.rla")], 2, &["absent.rla"]);
    expect(&["check", &scratch.0.display().to_string()], 2, &[]);
    for (name, bytes) in [("empty.rla", &b""[..]), ("bytes.rla", &[0xff, 0xfe, 0, 1]), ("brackets.rla", &[b'('; 65536])]
    {
        let file = scratch.file(name, bytes);
        expect(&["check", &file], 1, &["error["]);
    }
}

#[test]
fn eval_passes_fails_and_refuses() {
    let case = golden("rdn.forget.safetensors");
    let eval = |more: &[&'static str]| {
        let fixed = ["eval", "rdn", "--case", &case, "--backend"];
        fixed.into_iter().chain(more.iter().copied()).map(str::to_string).collect::<Vec<_>>()
    };
    let output = expect(&eval(&["oracle"]), 0, &[]);
    let lines = text(&output.stdout);
    assert_eq!(lines.lines().count(), 12);
    assert!(lines.lines().next().is_some_and(|l| l.starts_with("out.o") && l.contains("  err ") && l.ends_with("ok")));
    assert_eq!(lines.lines().last(), Some("pass"));

    for chunk in ["1", "7", "64"] {
        expect(&eval(&["tile", "--chunk", chunk]), 0, &["pass"]);
    }
    expect(&eval(&["cpu"]), 0, &["pass", "kernel for"]);
    expect(&eval(&["cpu", "--state-layout", "kv"]), 0, &["pass"]);
    expect(&eval(&["cpu", "--dtype", "bf16"]), 0, &["pass"]);
    expect(&eval(&["oracle", "--const", "clip=0.25"]), 1, &["FAIL", "fail"]);
    let output = expect(&eval(&["oracle", "--const", "clip=0.25", "--json"]), 1, &[]);
    let objects = objects(&output);
    assert_eq!(objects[0]["tensor"], "out.o");
    assert!(objects[0]["err"].as_f64().is_some_and(|e| e > 1e-3) && objects[0]["ok"] == false);
    assert_eq!(objects.last().map(|o| &o["result"]), Some(&serde_json::json!("fail")));

    expect(&eval(&["oracle", "--chunk", "16"]), 2, &["--chunk", "token by token"]);
    expect(&eval(&["recurrent", "--chunk", "16"]), 2, &["--chunk"]);
    expect(&eval(&["tile", "--chunk", "0"]), 2, &["--chunk"]);
    expect(&eval(&["cpu", "--chunk", "17"]), 2, &["chunk", "17"]);
    expect(&eval(&["cpu", "--dtype", "f64"]), 2, &["--dtype", "f32, bf16 or f16"]);
    expect(&eval(&["oracle", "--products", "input"]), 2, &["--products"]);
    expect(&eval(&["oracle", "--const", "clop=1"]), 2, &["clop"]);
    expect(&eval(&["oracle", "--const", "clip"]), 2, &["NAME=VALUE"]);
    expect(&eval(&["cpu", "--dtype", "bf16", "--products", "input"]), 0, &["pass", "products"]);
    expect(&eval(&["cpu", "--dtype", "f16", "--products", "input"]), 0, &["pass", "products in f32"]);
    expect(&eval(&["cpu", "--products", "input"]), 2, &["--products"]);
    expect(&eval(&["cuda"]), 3, &["cuda"]);
}

#[test]
fn eval_refuses_other_files() {
    let scratch = Scratch::new("eval");
    let bytes = std::fs::read(golden("rdn.forget.safetensors")).expect("a case");
    let eval = |variant: &str, case: &str| rla(&["eval", variant, "--case", case, "--backend", "oracle"]);
    let refused = |variant: &str, case: &str, piece: &str| {
        let output = eval(variant, case);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains(piece), "{piece} in {}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    };
    refused("rdn", &scratch.path("absent"), "absent");
    refused("rdn", &scratch.file("half", &bytes[..bytes.len() / 2]), "half");
    refused("rdn", &scratch.file("other", b"not a case"), "other");
    refused("gated_delta_net", &golden("rdn.forget.safetensors"), "tensor `R0`");
    refused("kda", &golden("gated_delta_net.forget.safetensors"), "g");
    refused("rdm", &golden("rdn.forget.safetensors"), "rdm");

    let two = scratch.file("two.rla", format!("{LINEAR}{}", LINEAR.replace("linear", "other")));
    let case = golden("linear_attention.bare.safetensors");
    refused(&two, &case, "linear, other");
    expect(&["eval", &two, "--variant", "other", "--case", &case, "--backend", "tile"], 0, &["pass"]);
    expect(&["eval", &two, "--variant", "third", "--case", &case, "--backend", "tile"], 2, &["linear, other"]);
}

#[test]
fn eval_writes_what_it_computed_whole_or_not_at_all() {
    let scratch = Scratch::new("out");
    let (case, out) = (golden("rdn.bare.safetensors"), scratch.path("out.safetensors"));
    expect(&["eval", "rdn", "--case", &case, "--backend", "cpu", "--out", &out], 0, &["pass"]);
    let left: Vec<_> = std::fs::read_dir(&scratch.0).expect("a folder").collect();
    assert_eq!(left.len(), 1, "no temporary file is left");
    // what was computed is a case's results: judged against itself by reading it as one is not possible without inputs
    expect(&["eval", "rdn", "--case", &out, "--backend", "oracle"], 2, &["missing"]);
    let nowhere = scratch.path("no/such/folder/out.safetensors");
    expect(&["eval", "rdn", "--case", &case, "--backend", "oracle", "--out", &nowhere], 6, &["no/such/folder"]);
}

/// A renamed file that nobody compiled in runs by rustc; without rustc it says so, and the interpreters still serve.
#[test]
fn a_variant_of_ones_own_runs() {
    let scratch = Scratch::new("own");
    let (file, cache) = (scratch.file("linear.rla", LINEAR), scratch.path("cache"));
    let case = golden("linear_attention.bare.safetensors");
    let eval = |backend: &str, rustc: Option<&str>| {
        let mut command = program();
        command.args(["eval", &file, "--case", &case, "--backend", backend]).env("RLA_CACHE", &cache);
        rustc.map(|path| command.env("RUSTC", path));
        command.output().expect("the program starts")
    };
    let refused = eval("cpu", Some("/nonexistent/rustc"));
    assert_eq!(refused.status.code(), Some(5), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("needs rustc") && text(&refused.stderr).contains("oracle or tile"));
    assert_eq!(eval("tile", Some("/nonexistent/rustc")).status.code(), Some(0));

    let first = eval("cpu", None);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    assert!(text(&first.stderr).contains("compiling the kernels of `linear`"));
    let second = eval("cpu", Some("/nonexistent/rustc"));
    assert_eq!(second.status.code(), Some(0), "from the cache: {}", text(&second.stderr));
    assert!(!text(&second.stderr).contains("compiling the kernels"));
}

#[test]
fn a_level_may_be_pinned() {
    let case = golden("rdn.bare.safetensors");
    let eval = |level: &str| {
        let mut command = program();
        command.args(["eval", "rdn", "--case", &case, "--backend", "cpu"]).env("RLA_CPU_LEVEL", level);
        command.output().expect("the program starts")
    };
    let portable = eval("portable");
    assert_eq!(portable.status.code(), Some(0), "{}", text(&portable.stderr));
    assert!(text(&portable.stderr).contains("kernel for portable"));
    let missing = if cfg!(target_arch = "x86_64") { "neon" } else { "avx2" };
    let refused = eval(missing);
    assert_eq!(refused.status.code(), Some(3));
    assert!(text(&refused.stderr).contains("this machine lacks it"));
    let unknown = eval("sse9");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("avx512, avx2, neon or portable"));
}

#[test]
fn explain_shows_the_derivation() {
    expect(&["explain", "rdn"], 0, &["in the class", "S[t] = exp(g) S[t-1] + u_S k^T", "least, forward"]);
    // 2 states of 128 x 128 in bf16 at every 32 or 64 tokens, 2 rows of 128 in bf16
    let memory = [
        "GPU, bf16: 2 x 2 value key / 32 + 2 x 2 value",
        "training.span=2: 2 x 2 value key / 64 + 2 x 2 value + 440 of backward's record",
        "filled up",
        "440 of backward's record",
        "3000",
        "1976",
        "training.span=2",
    ];
    expect(&["explain", "rdn"], 0, &memory);
    expect(&["explain", "rdn", "--latex"], 0, &["\\begin{align*}", "\\beta_{t}"]);
    expect(&["explain", "gsa", "--dim", "slot=32"], 0, &["slot 32"]);
    expect(&["explain", "gsa", "--dim", "slots=32"], 2, &["key or value or slot"]);
    expect(&["explain"], 0, &["rdn", "kda"]);
}

#[test]
fn verify_prints_a_table() {
    let output = expect(&["verify", "rla", "--backend", "tile", "--cases", "1", "--json"], 0, &[]);
    let rows = objects(&output);
    assert_eq!(rows.last().map(|row| &row["result"]), Some(&serde_json::json!("pass")));
    let checks: Vec<_> = rows.iter().filter_map(|row| row["check"].as_str()).collect();
    for check in ["packed", "abyss", "decode", "exact integers", "law: causal", "law: pool"] {
        assert!(checks.contains(&check), "{check} among {checks:?}");
    }
    expect(&["verify", "rla", "--cases", "0"], 2, &["--cases"]);
    expect(&["verify", "rla", "--only", "nothing"], 2, &["--only"]);
}

#[test]
fn emit_writes_rust_and_cuda() {
    let scratch = Scratch::new("emit");
    let output = expect(&["emit", "rla", "--level", "portable"], 0, &[]);
    assert!(text(&output.stdout).contains("extern \"C\" fn"));
    let out = scratch.path("k.rs");
    expect(&["emit", "rla", "--level", "portable", "--out", &out], 0, &["k.rs"]);
    assert_eq!(std::fs::read(&out).expect("written"), output.stdout);
    expect(&["emit", "rla", "--chunk", "17"], 2, &["17"]);
    expect(&["emit", "rla", "--form", "token", "--chunk", "16"], 2, &["token by token"]);
    let output = expect(&["emit", "rla", "--target", "cuda", "--dim", "key=64"], 0, &[]);
    assert!(text(&output.stdout).contains("extern \"C\" __global__ void"));
    let output = expect(&["emit", "rla", "--target", "cuda", "--pass", "decode"], 0, &[]);
    assert_eq!(text(&output.stdout).matches("extern \"C\" __global__ void").count(), 2, "one kernel a layout");
    expect(&["emit", "rla", "--pass", "decode"], 2, &["--pass"]);
    expect(&["emit", "rla", "--target", "cuda", "--form", "token"], 2, &["--form"]);
    expect(&["emit", "rla", "--target", "cuda", "--dim", "slot=3"], 2, &["key, value"]);
    expect(&["emit", "rla", "--target", "cuda", "--chunk", "17"], 2, &["16, 32, 64"]);
}

#[test]
fn bench_prints_a_row_a_pass() {
    let shape = ["--shape", "1,64,1,1,16,16", "--threads", "1", "--seconds", "0"];
    let output =
        expect(&[&["bench", "rdn", "--json", "--pass", "forward,backward,train,decode"], &shape[..]].concat(), 0, &[]);
    let rows = objects(&output);
    let passes: Vec<_> = rows.iter().map(|row| row["pass"].as_str().unwrap_or_default()).collect();
    assert_eq!(passes, ["forward", "backward", "train", "decode"]);
    for row in &rows {
        let numbers = [
            "ms",
            "ms_low",
            "ms_high",
            "flops",
            "flops_min",
            "bytes",
            "matrix_gflops",
            "copy_gbs",
            "of_matrix",
            "of_copy",
        ];
        for name in numbers {
            assert!(row[name].as_f64().is_some_and(|x| x > 0.0), "{name} of {row}");
        }
        assert_eq!((row["variant"].as_str(), row["dtype"].as_str()), (Some("rdn"), Some("f32")));
        assert_eq!(row["shape"], serde_json::json!([1, 64, 1, 1, 16, 16]));
        assert!(row["kernel"].as_str().is_some_and(|k| k.contains("kernel for")));
    }
    // 4 readouts and 2 writes of a 16 x 16 state; 2 scores and 4 applications with chunks of 16
    assert_eq!(rows[0]["flops_min"].as_f64(), Some(64.0 * (12.0 * 256.0 + 6.0 * 256.0)));
    assert_eq!(rows[2]["flops_min"].as_f64(), Some(3.0 * 64.0 * (12.0 * 256.0 + 6.0 * 256.0)));
    expect(&[&["bench", "rdn"], &shape[..]].concat(), 0, &["of_matrix", "forward", "train"]);
    expect(&["bench", "rdn", "--shape", "1,2,3"], 2, &["B,T,H,HV,K,V"]);
    expect(&["bench", "rdn", "--shape", "1,64,3,4,16,16"], 2, &["multiple"]);
    expect(&["bench", "rdn", "--shape", "1,64,1,1,16,300"], 2, &["value", "300"]);
    expect(&["bench", "gsa", "--shape", "1,64,1,1,16,16"], 2, &["slot"]);
    expect(&["bench", "rdn", "--dim", "slot=4"], 2, &["declares no dim"]);
    expect(&["bench", "rdn", "--threads", "0"], 2, &["--threads"]);
    expect(&["bench", "rdn", "--tile", "8,4,1"], 2, &["--tile"]);
    expect(&["bench", "rdn", "--backend", "cuda", "--tile", "7,4,1"], 2, &["a power of two"]);
    expect(&["bench", "rdn", "--backend", "cuda", "--threads", "1"], 2, &["--threads"]);
    if rla_runtime::device::cuda::Device::first().is_err() {
        expect(&["bench", "rdn", "--backend", "cuda", "--pass", "decode"], 3, &["cuda", "NVIDIA"]);
    }
}

/// In a program without the feature; with it the program does not start where no driver is.
#[test]
#[cfg(all(feature = "models", not(feature = "cuda-models")))]
fn a_model_on_the_gpu_is_refused_in_one_sentence_by_a_program_without_it() {
    let scratch = Scratch::new("device");
    let run = scratch.path("run");
    for arguments in [&["train", "--device", "cuda", "--out", &run][..], &["generate", &run, "--device", "cuda"]] {
        let output = expect(arguments, 3, &["device cuda", "built without the feature `cuda-models`"]);
        assert_eq!(text(&output.stderr).lines().count(), 1);
    }
    assert!(!Path::new(&run).exists());
    expect(&["train", "--device", "cuda", "--backend", "cpu"], 2, &["--device", "--backend"]);
}

#[test]
fn a_reader_that_leaves_is_no_panic() {
    for arguments in [&["explain"][..], &["emit", "rla"], &["--help"]] {
        let mut child = program()
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("the program ends");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    }
}
