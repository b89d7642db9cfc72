//! The CUDA rung where no GPU is: `rla verify --backend cuda` on a driver that executes the kernels' PTX on the CPU
//! (`tests/emulator`), device layer, launches, kernels and laws together. The test belongs to the runtime's package, which knows
//! where its program is.
use rla_build::compile_cuda::Nvrtc;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder with the driver in it, and a cache of kernels beside it; nothing where NVRTC is missing, which is said.
struct Emulator(PathBuf);

impl Emulator {
    fn new(name: &str) -> Option<Emulator> {
        if let Err(error) = Nvrtc::get() {
            eprintln!("CUDA kernels are NOT EXECUTED: {error}");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("rla-emulated-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("cache")).expect("a temporary folder");
        let test = std::env::current_exe().expect("a test has a path");
        let library = test.parent().expect("it is in a folder").join("librla_emulator.so");
        std::fs::copy(&library, folder.join("libcuda.so.1")).unwrap_or_else(|e| panic!("{}: {e}", library.display()));
        Some(Emulator(folder))
    }

    fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    /// `rla verify` in an order of events (`late`, `early`, `seed=N`) on a card of a compute capability.
    fn verify(&self, order: &str, capability: &str, pins: &str, arguments: &[&str]) -> Output {
        let architecture = if capability == "8.0" { "compute_80" } else { "compute_90a" };
        let mut command = Command::new(env!("CARGO_BIN_EXE_rla"));
        command.args(["verify", "--backend", "cuda", "--cases", "1"]).args(arguments);
        for name in ["RLA_TABLE", "RLA_DEVICE", "RLA_MODE"] {
            command.env_remove(name);
        }
        let path = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
        command.env("LD_LIBRARY_PATH", format!("{}:{path}", self.0.display()));
        command.env("RLA_CACHE", self.cache()).env("RLA_CUDA_ARCH", architecture).env("RLA_CUDA_KERNEL", pins);
        command.env("RLA_EMULATOR", order).env("RLA_EMULATOR_CAPABILITY", capability);
        command.output().expect("the program starts")
    }

    /// The same; every check must hold, and there must be as many as names are given.
    #[track_caller]
    fn holds(&self, order: &str, capability: &str, pins: &str, variant: &str, dtype: &str, only: &[&str]) {
        let checks = only.join(",");
        let output = self.verify(order, capability, pins, &[variant, "--dtype", dtype, "--only", &checks]);
        let text = both(&output);
        assert_eq!(output.status.code(), Some(0), "{variant} {order} {pins}:\n{text}");
        let rows = text.lines().filter(|line| line.ends_with(" ok")).count();
        assert!(rows >= only.len(), "{variant}: {rows} checks of {only:?}\n{text}");
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const USUAL: [&str; 5] = ["full panels", "abyss", "exact", "decode", "law: pack"];

#[test]
fn two_residual_states_hold_late_and_in_any_order() {
    let Some(emulator) = Emulator::new("rdn") else { return };
    emulator.holds("late,races,seed=1", "9.0", "", "rdn", "bf16", &USUAL);
}

/// One, two and four groups, and finish beside the sequential kernel: the last multiplies four warps together.
#[test]
fn blocks_of_all_widths_have_the_same_bits() {
    let Some(emulator) = Emulator::new("widths") else { return };
    for order in ["early", "late,races,seed=2"] {
        emulator.holds(order, "9.0", "", "gated_delta_net", "bf16", &["law: widths"]);
    }
    let wide = "forward.groups=4,training.groups=4";
    emulator.holds("late,races,seed=3", "9.0", wide, "rdn", "f16", &["full panels"]);
}

#[test]
fn kernels_of_a_card_without_bulk_copies_hold() {
    let Some(emulator) = Emulator::new("ampere") else { return };
    emulator.holds("late,races,seed=4", "8.0", "", "gated_delta_net", "bf16", &["full panels", "decode"]);
    emulator.holds("late,races,seed=5", "8.0", "", "kda", "f32", &["packed", "law: contained"]);
}

/// Launches start as early as they may, and finish takes from a sequential kernel that still runs.
#[test]
fn kernels_that_overlap_hold() {
    let Some(emulator) = Emulator::new("overlap") else { return };
    for (variant, pins) in [("rdn", ""), ("gated_delta_net", "training.beside=4"), ("rla", "training.beside=2")] {
        emulator.holds("overlap,late,races,seed=8", "9.0", pins, variant, "bf16", &["full panels", "law: repeat"]);
    }
    // a block of finish that takes two chunks, without and with a record of its own
    for (variant, pins) in [("gated_delta_net", "training.span=2"), ("rdn", "training.span=2,training.beside=4")] {
        emulator.holds("overlap,late,races,seed=9", "9.0", pins, variant, "bf16", &["full panels", "packed"]);
    }
}

/// Two chains one after the other, of states over slots; a decay of value channels.
#[test]
fn the_other_ways_to_carry_a_state_hold() {
    let Some(emulator) = Emulator::new("ways") else { return };
    emulator.holds("late,races", "9.0", "", "gsa", "bf16", &["packed", "law: split"]);
    emulator.holds("races,seed=6", "9.0", "", "value_decay", "bf16", &["full panels"]);
}

/// States of either side whose kernel is a walk with the states in shared memory: an empty sequence's are handed on by other threads
/// than those that read them.
const TWO_SIDES: &str = "variant two_sides {
    input q: key unit;
    input k: key unit;
    input v: value;
    input n: value;
    input w: value unit;
    input beta: scalar in 0..1;
    state S: value x key;
    state R: key x value;
    S[t] = S[t-1] * (I - beta * k * k^T) + beta * v * k^T;
    R[t] = R[t-1] * (I - beta * w * w^T) + beta * (l2norm(S[t]^T * n, 0.1)) * w^T;
    output o = R[t]^T * q;
}
";

#[test]
fn states_of_an_empty_sequence_are_handed_on() {
    let Some(emulator) = Emulator::new("empty") else { return };
    let file = emulator.0.join("two_sides.rla");
    std::fs::write(&file, TWO_SIDES).expect("a temporary file");
    emulator.holds("late,races", "9.0", "", &file.display().to_string(), "bf16", &["packed", "law: pack"]);
}

/// What is taken out of the kernels of a cache: whether a check then fails shows that it could.
struct Mutant {
    name: &'static str,
    /// Statements that begin so are left out.
    statement: &'static str,
    /// Of kernels whose text has this.
    of: &'static str,
    order: &'static str,
    pins: &'static str,
}

const MUTANTS: [Mutant; 9] = {
    let plain = Mutant { name: "", statement: "", of: "", order: "late", pins: "" };
    let wide = Mutant { pins: "forward.groups=4,training.groups=4", ..plain };
    let races = Mutant { order: "early,races", ..plain };
    [
        Mutant { name: "no wait for copies", statement: "cp.async.wait_group", ..plain },
        Mutant {
            name: "no wait for fragments on their way",
            statement: "cp.async.wait_group 3",
            of: "_backward_finish(",
            ..plain
        },
        Mutant { name: "no wait for copies that come at once", statement: "cp.async.wait_group", ..races },
        Mutant { name: "no barrier among the warps that compute", statement: "barrier.cta.sync", ..plain },
        Mutant { name: "no barrier of a block", statement: "bar.sync", ..races },
        Mutant { name: "no wait for the launch before", statement: "griddepcontrol.wait", order: "overlap", ..plain },
        Mutant { name: "no wait for products of four warps", statement: "wgmma.wait_group", ..wide },
        Mutant { name: "no fence before such products", statement: "fence.proxy.async", order: "races", ..wide },
        Mutant {
            name: "no arrival of bulk copies announced",
            statement: "{.reg .b64 s; mbarrier.arrive.expect_tx",
            ..plain
        },
    ]
};

#[test]
fn a_kernel_without_one_of_its_waits_is_caught() {
    let Some(emulator) = Emulator::new("mutants") else { return };
    let arguments = ["gated_delta_net", "--only", "full panels"];
    for mutant in &MUTANTS {
        let output = emulator.verify(mutant.order, "9.0", mutant.pins, &arguments);
        assert_eq!(output.status.code(), Some(0), "{}: the kernels themselves:\n{}", mutant.name, both(&output));
        let whole: Vec<(PathBuf, String)> = kernels(&emulator.cache());
        let mut changed = 0;
        for (path, text) in whole.iter().filter(|(_, text)| text.contains(mutant.of)) {
            let kept: Vec<&str> =
                text.lines().filter(|line| !line.trim_start().starts_with(mutant.statement)).collect();
            changed += text.lines().count() - kept.len();
            std::fs::write(path, kept.join("\n")).expect("the cache can be written");
        }
        assert!(changed > 0, "{}: no kernel has one", mutant.name);
        let output = emulator.verify(mutant.order, "9.0", mutant.pins, &arguments);
        assert_ne!(output.status.code(), Some(0), "{} was not caught:\n{}", mutant.name, both(&output));
        for (path, text) in &whole {
            std::fs::write(path, text).expect("the cache can be written");
        }
    }
}

fn kernels(cache: &Path) -> Vec<(PathBuf, String)> {
    let files = std::fs::read_dir(cache).expect("the cache is there").flatten().map(|entry| entry.path());
    let texts = files.filter(|path| path.extension().is_some_and(|e| e == "cubin"));
    texts.map(|path| (path.clone(), std::fs::read_to_string(&path).expect("PTX is text"))).collect()
}
