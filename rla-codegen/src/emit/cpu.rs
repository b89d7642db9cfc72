//! Tile programs to CPU kernels: `no_std` Rust with SIMD, one module an instruction set.
//!
//! Reading order: `graph` (what is emitted), `layout` (lanes), `fuse` and `order` (stages), `space` (memory),
//! `elementwise`, `product`, `solve`, `stage` (one function a stage), `frame` (a pass around its chunks), `memory`,
//! `lifetime`, `borders` and `ahead` (its working memory; what it reads and writes; what it fetches ahead).

mod ahead;
mod borders;
mod decode;
mod elementwise;
mod frame;
mod fuse;
mod layout;
mod lifetime;
mod memory;
mod order;
mod pairs;
mod product;
mod scales;
mod solve;
mod space;
mod stage;

use super::{graph, text};
use tera::{Context, Delimiters, Tera};

use crate::kernel::{CpuKernel, Level};
use crate::schedule::{Choices, Schedule, Slot, space as choices};
use crate::tile::{Leaf, Program, Shape};

/// A pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// Forward.
    Forward,
    /// Forward that keeps for backward.
    ForwardSave,
    /// Backward.
    Backward,
    /// A few tokens, one by one, the states in place.
    Decode,
}

/// The programs that become one variant's kernels.
#[derive(Clone, Copy, Debug)]
pub struct Programs<'a> {
    /// Forward.
    pub forward: &'a Program,
    /// Forward that keeps, and its backward.
    pub training: Option<(&'a Program, &'a Program)>,
    /// One token, the states in place.
    pub decode: &'a Program,
}

/// What the text takes from the recurrence: names for fields, statements for comments.
#[derive(Clone, Debug, Default)]
pub struct Interface {
    /// Number of sides.
    pub sides: usize,
    /// Names and shapes of inputs.
    pub input_names: Vec<String>,
    /// Shape of each input's leaf.
    pub inputs: Vec<Shape>,
    /// Whether each input has 16 bits where a call's inputs have: q, k, v and the like, not gates and parameters.
    pub in_16_bits: Vec<bool>,
    /// Names of states.
    pub states: Vec<String>,
    /// Names of constants.
    pub constants: Vec<String>,
    /// Text of each statement.
    pub statements: Vec<String>,
}

impl Interface {
    /// The field of a leaf that the recurrence names.
    fn field(&self, leaf: &Leaf) -> Option<String> {
        let name = match leaf {
            Leaf::Input(i) => self.input_names.get(*i),
            Leaf::State(i) => self.states.get(*i),
            Leaf::Const(i) => self.constants.get(*i),
            _ => None,
        }?;
        Some(match name.as_str() {
            word if is_reserved(word) => format!("{name}_"),
            keyword if is_keyword(keyword) => format!("r#{keyword}"),
            _ => name.clone(),
        })
    }
}

/// Names that the emitter's own fields have, and words that cannot be raw identifiers.
fn is_reserved(name: &str) -> bool {
    let numbered = ["n", "rows", "panels", "state", "keep", "sink", "sum", "x"]
        .iter()
        .any(|p| name.strip_prefix(p).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())));
    let derived = ["_own", "_row", "_panel", "_t", "_part", "_tmp"].iter().any(|s| name.ends_with(s));
    numbered || derived || ["self", "Self", "super", "crate", "ahead", "list", "_"].contains(&name)
}

fn is_keyword(name: &str) -> bool {
    const WORDS: &[&str] = &[
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else", "enum",
        "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
        "move", "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try", "type",
        "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
    ];
    WORDS.contains(&name)
}

/// Why text could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The schedule is not legal.
    Schedule(String),
    /// The template does not fit its context: a fault of this crate.
    Template(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Error::Schedule(message) => write!(f, "schedule: {message}"),
            Error::Template(message) => write!(f, "compiler fault in a template: {message}"),
        }
    }
}

impl std::error::Error for Error {}

const KERNEL: &str = include_str!("../../../templates/cpu/kernel.rs.tera");
const ABI: &str = include_str!("../../../templates/cpu/abi.rs");
const MATH: &str = include_str!("../../../templates/cpu/math.rs");
const TILE: &str = include_str!("../../../templates/cpu/tile.rs");
const PACK: &str = include_str!("../../../templates/cpu/pack.rs");
const DECAY: &str = include_str!("../../../templates/cpu/decay.rs");
const BF16: &str = include_str!("../../../templates/cpu/bf16.rs");
const ROWS: &str = include_str!("../../../templates/cpu/rows.rs");

fn simd(level: Level) -> &'static str {
    match level {
        Level::Avx512 => include_str!("../../../templates/cpu/simd_avx512.rs"),
        Level::Avx2 => include_str!("../../../templates/cpu/simd_avx2.rs"),
        Level::Neon => include_str!("../../../templates/cpu/simd_neon.rs"),
        Level::Portable => include_str!("../../../templates/cpu/simd_portable.rs"),
    }
}

/// Features that a level's functions enable; the portable ones none.
fn features(level: Level) -> &'static str {
    match level {
        Level::Avx512 => "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2",
        Level::Avx2 => "avx2,fma",
        Level::Neon => "neon",
        Level::Portable => "",
    }
}

/// Features that the functions of a level's bf16 products enable beside; `None`: the level has no such products.
fn bf16_features(level: Level) -> Option<&'static str> {
    (level == Level::Avx512).then_some("avx512bf16")
}

fn architecture(level: Level) -> &'static str {
    match level {
        Level::Avx512 | Level::Avx2 => "x86_64",
        Level::Neon => "aarch64",
        Level::Portable => "",
    }
}

#[derive(serde::Serialize)]
struct LevelText {
    name: &'static str,
    architecture: &'static str,
    features: &'static str,
    simd: String,
    bf16: bool,
    passes: Vec<PassText>,
}

#[derive(serde::Serialize)]
struct PassText {
    name: &'static str,
    text: String,
}

/// Writes the kernels of a variant.
///
/// # Errors
/// An illegal schedule.
pub fn emit(
    programs: &Programs,
    interface: &Interface,
    schedule: &Schedule,
    symbol: &str,
    levels: &[Level],
) -> Result<CpuKernel, Error> {
    if let Some(refusal) = schedule.refusal() {
        return Err(Error::Schedule(refusal));
    }
    let texts: Vec<LevelText> = levels.iter().map(|level| level_text(programs, interface, schedule, *level)).collect();
    let mut tera = Tera::default();
    let fault = |error: tera::Error| Error::Template(error.to_string());
    tera.set_delimiters(Delimiters {
        block_start: "<%".into(),
        block_end: "%>".into(),
        variable_start: "<<".into(),
        variable_end: ">>".into(),
        comment_start: "<#".into(),
        comment_end: "#>".into(),
    })
    .map_err(fault)?;
    tera.autoescape_on(Vec::<&str>::new());
    tera.add_raw_template("kernel", KERNEL).map_err(fault)?;
    let mut context = Context::new();
    context.insert("symbol", symbol);
    context.insert("abi", &indented(&items(ABI)));
    context.insert("math", &indented2(MATH));
    context.insert("tile", &indented2(TILE));
    context.insert("pack", &indented2(PACK));
    context.insert("decay", &indented2(DECAY));
    context.insert("rows", &indented2(ROWS));
    context.insert("bf16", &indented2(BF16));
    context.insert("levels", &texts);
    context.insert("training", &programs.training.is_some());
    let source = tera.render("kernel", &context).map_err(fault)?;
    let (chunk, chunk_bf16) = (schedule.forward.chunk, schedule.bf16.chunk);
    let configuration = configuration(programs, schedule);
    Ok(CpuKernel { symbol: symbol.into(), levels: levels.to_vec(), source, chunk, chunk_bf16, configuration })
}

/// The chunks of every pass, and what differs from the default beside them. Threads are of calls, not of a text.
pub fn configuration(programs: &Programs, schedule: &Schedule) -> String {
    let training = programs.training.map(|(save, _)| Slot::of_training(save));
    let mut passes = vec![(Slot::Forward, "")];
    passes.extend(training.map(|slot| (slot, " with backward")));
    if schedule.bf16.chunk > 0 {
        passes.push((Slot::Bf16, " with bf16 products"));
    }
    if schedule.decode.with_threads(0) != Choices::chunk(1) {
        passes.push((Slot::Decode, " in decode"));
    }
    let describe = |(slot, what): (Slot, &'static str)| {
        let of = &schedule.of(slot).with_threads(0);
        let beside = choices::difference(of, &Choices::chunk(of.chunk));
        let beside = if *of == Choices::chunk(of.chunk) { String::new() } else { format!(" ({beside})") };
        format!("{}{beside}{what}", of.chunk)
    };
    format!("chunk {}", passes.into_iter().map(describe).collect::<Vec<_>>().join(", "))
}

fn level_text(programs: &Programs, interface: &Interface, schedule: &Schedule, level: Level) -> LevelText {
    let bf16 = bf16_features(level).filter(|_| schedule.bf16.chunk > 0);
    let attributes = attributes(features(level));
    let mut parts = vec![
        ("forward", Pass::Forward, programs.forward, schedule.forward),
        ("decode", Pass::Decode, programs.decode, Schedule::TOKEN.forward),
    ];
    if let Some((save, backward)) = programs.training {
        let training = *schedule.of(Slot::of_training(save));
        parts.push(("forward_save", Pass::ForwardSave, save, training));
        parts.push(("backward", Pass::Backward, backward, training));
    }
    let mut passes: Vec<PassText> = parts
        .into_iter()
        .map(|(name, pass, program, choices)| {
            let own = if pass == Pass::Decode {
                decode::write(program, interface, &schedule.decode, level, &attributes)
            } else {
                None
            };
            let general = || frame::write(pass, false, program, interface, &choices, level, &attributes);
            PassText { name, text: indented2(&own.unwrap_or_else(general)) }
        })
        .collect();
    if let Some(further) = bf16 {
        let attributes = self::attributes(&format!("{},{further}", features(level)));
        let text = frame::write(Pass::Forward, true, programs.forward, interface, &schedule.bf16, level, &attributes);
        passes.push(PassText { name: "forward_bf16", text: indented2(&text) });
    }
    LevelText {
        name: level.name(),
        architecture: architecture(level),
        features: features(level),
        simd: indented2(simd(level)),
        bf16: bf16.is_some(),
        passes,
    }
}

/// What stands before every function of a level's passes.
fn attributes(features: &str) -> Vec<String> {
    let mut attributes = vec!["#[inline(never)]".to_string()];
    if !features.is_empty() {
        attributes.push(format!("#[target_feature(enable = \"{features}\")]"));
    }
    attributes
}

/// Text without its leading `//` page, which is not an inner document of a module.
fn items(text: &str) -> String {
    text.to_string()
}

fn indented(text: &str) -> String {
    indent(text, 1)
}

fn indented2(text: &str) -> String {
    indent(text, 2)
}

fn indent(text: &str, depth: usize) -> String {
    let pad = "    ".repeat(depth);
    let lines = text.trim_end().lines().map(|l| if l.is_empty() { String::new() } else { format!("{pad}{l}") });
    lines.collect::<Vec<_>>().join("\n")
}
