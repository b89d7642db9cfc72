//! Tile programs to CUDA kernels.
//!
//! A pass becomes up to three kinds of kernels. *Prepare* computes what holds no carried state, for all chunks at once.
//! *Sequential* carries the states through the chunks of a sequence: as a [`chain`] in registers where every value is per
//! channel of the free side, else as a walk of one block. *Finish* computes, for all chunks at once, what needs
//! carried states but is not needed to carry them on. Values pass between kernels in records, one a chunk and value head.
//! [`decode`] is one kernel of its own, states in registers.
//!
//! Reading order: `place` (where values lie), `stage` (what is computed where), `block` and `chain` (the two ways to
//! compute), `frame` (kernels around them).

pub mod block;
pub mod chain;
pub mod decode;
mod expr;
mod frame;
pub mod place;
mod stage;

use std::sync::OnceLock;

use tera::{Context, Delimiters, Tera};

use super::graph::Graph;
use crate::tile::{Axis, Program, Value};

pub use super::cpu::{Error, Interface, Pass};
pub use place::{Elem, Place, Sizes};

/// What kernels are written for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// Sizes of the sides, and tokens a chunk: 16, 32, 64 or 128.
    pub sizes: Sizes,
    /// Type of products.
    pub product: Elem,
    /// Types of inputs and parameters.
    pub inputs: Vec<Elem>,
    /// Type of outputs.
    pub output: Elem,
    /// Types of gradients of inputs and parameters; f32 where value heads share a key head: those are summed afterwards.
    pub input_grads: Vec<Elem>,
    /// Which inputs have one row a key head.
    pub per_key_head: Vec<bool>,
    /// Warps of a sequential block: each owns 16 channels.
    pub warps: usize,
    /// Shared memory that a block may have, in bytes.
    pub shared: usize,
    /// How decode divides the rows of a state; `None`: by [`decode::Tile::of`].
    pub decode: Option<decode::Tile>,
    /// Whether backward's finish starts while its sequential kernel runs.
    pub beside: bool,
    /// Chunks that a block of backward's finish takes at once; states are handed on at the ends of so many.
    pub span: usize,
    /// For every value of the backward program, whether its rows are the same however a sequence is divided into chunks; may be
    /// empty where a span is one chunk.
    pub of_tokens: Vec<bool>,
    /// What forward keeps of backward's prepare, which then is not launched (see [`prepared`]); empty where it keeps none.
    pub prepared: Vec<Prepared>,
}

/// A value that backward's kernels find in a record, and that comes from inputs alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prepared {
    /// The value of the backward program.
    pub value: Value,
    /// Where it lies; its pointer has no name yet.
    pub place: Place,
    /// Its first byte in the record.
    pub offset: usize,
}

/// How many blocks a kernel is launched with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// Chunks times value heads.
    Chunks,
    /// Spans times value heads.
    Spans,
    /// Sequences times value heads times this many slices.
    Sequences(usize),
}

/// One kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Entry name.
    pub name: String,
    /// CUDA C++, complete.
    pub source: String,
    /// Blocks.
    pub grid: Grid,
    /// Threads of a block.
    pub threads: usize,
    /// Dynamic shared memory of a block, in bytes.
    pub shared: usize,
    /// Which way it computes: `prepare`, `chain`, `walk`, `finish`.
    pub stage: &'static str,
    /// Whether it may start before the kernel before it has ended: it waits for what it reads.
    pub overlaps: bool,
}

impl Kernel {
    /// What is its own, behind the headers that all kernels share: for readers.
    pub fn own(&self) -> &str {
        &self.source[self.source.find("extern \"C\"").unwrap_or(0)..]
    }
}

/// Bytes that are handed on, a value head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandedBytes {
    /// From every chunk.
    pub chunk: usize,
    /// From every span, where that is more than one chunk.
    pub span: usize,
}

impl HandedBytes {
    /// Of so many chunks and spans.
    pub fn of(&self, chunks: usize, spans: usize) -> usize {
        chunks * self.chunk + spans * self.span
    }
}

/// The kernels of a pass, in the order of their launches.
#[derive(Clone, Debug, Default)]
pub struct Kernels {
    /// Kernels.
    pub kernels: Vec<Kernel>,
    /// Bytes of a record from prepare, a chunk and value head.
    pub record: usize,
    /// What goes from the sequential kernels to finish.
    pub passed: HandedBytes,
    /// What forward keeps for backward.
    pub kept: HandedBytes,
    /// Bytes of that which are backward's record.
    pub prepared: usize,
    /// Chunks of a span.
    pub span: usize,
    /// Slices of a sequence and value head whose progress finish waits for.
    pub slices: usize,
    /// Bytes of scratch of a block.
    pub scratch: usize,
    /// Floats of partial sums of parameter gradients, a span and value head: by input, offset and count.
    pub partial: Vec<(usize, usize, usize)>,
}

impl Kernels {
    /// Floats of all partial sums of a span and value head.
    pub fn partial_floats(&self) -> usize {
        self.partial.last().map_or(0, |(_, offset, count)| offset + count)
    }
}

/// Counts that the argument block depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Inputs and parameters.
    pub inputs: usize,
    /// Outputs.
    pub outputs: usize,
    /// States.
    pub states: usize,
    /// Constants.
    pub constants: usize,
}

/// Tokens of a chunk up to which a lane substitutes for a column of an inverse.
const SUBSTITUTED: usize = 32;

const BASE: &str = include_str!("../../../templates/cuda/base.cuh");

/// The headers of chunk kernels, each of which compiles behind those before it: types and places; instructions; what a block of prepare
/// and finish is made of, from waiting for other kernels to systems; decays of a channel each; chains; products of four warps at once.
pub const HEADERS: [(&str, &str); 14] = [
    ("base", BASE),
    ("mma", include_str!("../../../templates/cuda/mma.cuh")),
    ("launch", include_str!("../../../templates/cuda/launch.cuh")),
    ("products", include_str!("../../../templates/cuda/products.cuh")),
    ("elements", include_str!("../../../templates/cuda/elements.cuh")),
    ("tiles", include_str!("../../../templates/cuda/tiles.cuh")),
    ("sweep", include_str!("../../../templates/cuda/sweep.cuh")),
    ("copy", include_str!("../../../templates/cuda/copy.cuh")),
    ("sums", include_str!("../../../templates/cuda/sums.cuh")),
    ("scan", include_str!("../../../templates/cuda/scan.cuh")),
    ("systems", include_str!("../../../templates/cuda/systems.cuh")),
    ("decay", include_str!("../../../templates/cuda/decay.cuh")),
    ("chain", include_str!("../../../templates/cuda/chain.cuh")),
    ("wide", include_str!("../../../templates/cuda/wide.cuh")),
];

/// Writes the kernels of a pass. `kept` is what forward keeps: the program that keeps, where this one is backward.
///
/// # Errors
/// A chunk length that is not legal; a fault in a template.
pub fn emit(
    pass: Pass,
    program: &Program,
    interface: &Interface,
    config: &Config,
    counts: Counts,
    symbol: &str,
) -> Result<Kernels, Error> {
    let chunk = config.sizes.chunk;
    if pass != Pass::Decode && !matches!(chunk, 16 | 32 | 64 | 128) {
        return Err(Error::Schedule(format!("a chunk of {chunk}; legal are 16, 32, 64 and 128")));
    }
    if let Some(state) = program.states.iter().position(|s| s.free == Axis::Token || s.contracted == Axis::Token) {
        return Err(Error::Schedule(format!("state {state} has tokens as a side")));
    }
    if pass == Pass::Decode
        && let Some(kernels) = decode::emit(program, interface, config, counts, symbol)?
    {
        return Ok(kernels);
    }
    let mut graph = Graph::new(program);
    if chunk <= SUBSTITUTED {
        graph.substitute();
    }
    frame::Frame::new(pass, program, &graph, interface, config, counts, symbol).write()
}

/// What backward's prepare writes, where all of it is of the program: forward may keep it if it comes from inputs alone.
pub fn prepared(
    backward: &Program,
    interface: &Interface,
    config: &Config,
    counts: Counts,
    symbol: &str,
) -> Option<Vec<Prepared>> {
    let mut graph = Graph::new(backward);
    if config.sizes.chunk <= SUBSTITUTED {
        graph.substitute();
    }
    frame::Frame::new(Pass::Backward, backward, &graph, interface, config, counts, symbol).prepared()
}

/// The pieces of a kernel's text.
#[derive(serde::Serialize)]
struct Text<'a> {
    title: &'a str,
    name: &'a str,
    threads: usize,
    blocks: usize,
    cluster: usize,
    chunk: usize,
    counts: [usize; 4],
    decay: bool,
    chain: bool,
    wide: bool,
    tellers: usize,
    prologue: Vec<String>,
    body: Vec<String>,
}

static KERNEL: Template = Template::new(include_str!("../../../templates/cuda/kernel.cu.tera"));

/// A template, parsed once.
struct Template {
    text: &'static str,
    parsed: OnceLock<Result<Tera, String>>,
}

impl Template {
    const fn new(text: &'static str) -> Template {
        Template { text, parsed: OnceLock::new() }
    }

    fn parse(&self) -> Result<Tera, tera::Error> {
        let mut tera = Tera::default();
        tera.set_delimiters(Delimiters {
            block_start: "<%".into(),
            block_end: "%>".into(),
            variable_start: "@{".into(),
            variable_end: "}@".into(),
            comment_start: "<#".into(),
            comment_end: "#>".into(),
        })?;
        tera.autoescape_on(Vec::<&str>::new());
        tera.add_raw_template("kernel", self.text)?;
        Ok(tera)
    }

    fn render(&self, text: &impl serde::Serialize, headers: &[(&str, &str)]) -> Result<String, Error> {
        let parsed = self.parsed.get_or_init(|| self.parse().map_err(|error| error.to_string()));
        let tera = parsed.as_ref().map_err(|error| Error::Template(error.clone()))?;
        let mut context = Context::new();
        context.insert("text", text);
        for (name, header) in headers {
            context.insert(name.to_string(), header);
        }
        tera.render("kernel", &context).map_err(|error| Error::Template(error.to_string()))
    }
}
