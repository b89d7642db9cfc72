//! The kernels of a pass around their blocks and chains: addresses, loops over chunks, records.

mod address;
mod chain;
mod chunks;
mod copiers;
mod kept;
mod overlap;
mod prepared;
mod records;
mod span;
mod walk;

use std::cell::Cell;

use super::block::{Written, is_decay};
use super::place::{Record, Sizes};
use super::stage::{Carry, Stages, stages};
use super::{
    Config, Counts, Error, Grid, HEADERS, HandedBytes, Interface, KERNEL, Kernel, Kernels, Pass, Text as KernelText,
};
use crate::emit::graph::Graph;
use crate::emit::text::Text;
use crate::tile::Program;

/// Threads of a block that walks.
const BLOCK_THREADS: usize = 256;

/// How a kernel is launched.
struct Launch {
    grid: Grid,
    /// Tokens that a block, or a step of one, works on.
    chunk: usize,
    threads: usize,
    /// Blocks of a multiprocessor that the registers have to suffice for.
    blocks: usize,
    /// Blocks of a cluster.
    cluster: usize,
    /// Whether it waits itself for what it reads of the kernel before it.
    beside: bool,
    /// Warps that only say how far a chain's block is.
    tellers: usize,
    /// Whether four of its warps multiply at once.
    wide: bool,
}

pub struct Frame<'a> {
    pass: Pass,
    program: &'a Program,
    graph: &'a Graph,
    interface: &'a Interface,
    config: &'a Config,
    counts: Counts,
    symbol: &'a str,
    stages: Stages,
    /// Sizes of a block of backward's finish, whose chunk is `config.span` chunks.
    span_sizes: Sizes,
    /// Slices of the last chain of backward, whose progress finish waits for.
    slices: Option<usize>,
    /// From prepare.
    record: Record,
    /// From the sequential kernels.
    passed: Handed,
    /// From forward to backward: states at the chunk's start by their leaf (or its place, where it is not read), values.
    kept: Handed,
    /// Whether a kernel of the pass has been written.
    follows: Cell<bool>,
    /// Where backward's record starts in what forward kept, if it did.
    prepared_at: Option<usize>,
}

/// What is handed on from a chunk, and what from a span, where that is more chunks than one.
#[derive(Default)]
struct Handed {
    chunk: Record,
    span: Record,
}

/// Where a value lies in what is handed on: from the pointer of this name, so many bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Address {
    base: &'static str,
    offset: usize,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} + {}", self.base, self.offset)
    }
}

impl Handed {
    fn bytes(&self) -> HandedBytes {
        HandedBytes { chunk: self.chunk.stride(), span: self.span.stride() }
    }
}

impl<'a> Frame<'a> {
    pub fn new(
        pass: Pass,
        program: &'a Program,
        graph: &'a Graph,
        interface: &'a Interface,
        config: &'a Config,
        counts: Counts,
        symbol: &'a str,
    ) -> Frame<'a> {
        let stages = stages(graph, pass == Pass::Backward, config.sizes.chunk);
        let span_sizes = Sizes { chunk: config.sizes.chunk * config.span, ..config.sizes.clone() };
        let (record, [passed, kept]) = Default::default();
        Frame {
            pass,
            program,
            graph,
            interface,
            config,
            counts,
            symbol,
            stages,
            span_sizes,
            slices: None,
            record,
            passed,
            kept,
            follows: Cell::new(false),
            prepared_at: None,
        }
    }

    fn sizes(&self) -> &'a Sizes {
        &self.config.sizes
    }

    fn backward(&self) -> bool {
        self.pass == Pass::Backward
    }

    /// Whether another kernel of the pass comes behind one.
    fn is_followed(&self, stage: &str, index: usize) -> bool {
        match stage {
            "prepare" => true,
            "chain" | "walk" if self.pass != Pass::Decode => {
                index + 1 < self.stages.groups.len() || !self.finish_roots().is_empty()
            }
            _ => false,
        }
    }

    /// Writes all kernels.
    pub fn write(mut self) -> Result<Kernels, Error> {
        self.lay_out_kept();
        if self.pass == Pass::Decode {
            let kernel = self.walk_all()?;
            return Ok(Kernels { scratch: kernel.1, kernels: vec![kernel.0], span: 1, ..Kernels::default() });
        }
        self.lay_out_records();
        self.check_prepared()?;
        self.check_span()?;
        let mut kernels = vec![];
        let mut scratch = 0;
        if let Some(prepare) = self.prepare() {
            let (kernel, bytes) = self.per_chunk("prepare", prepare)?;
            kernels.push(kernel);
            scratch = scratch.max(bytes);
            self.follows.set(true);
        }
        for g in 0..self.stages.groups.len() {
            let group = &self.stages.groups[g];
            let (kernel, bytes) = match &group.carry {
                Carry::Chain(chain) => (self.chain(g, group, chain)?, 0),
                Carry::Walk => self.walk(g, group)?,
            };
            if self.is_overlapped(g)
                && let Grid::Sequences(slices) = kernel.grid
            {
                self.slices = Some(slices);
            }
            kernels.push(kernel);
            scratch = scratch.max(bytes);
            self.follows.set(true);
        }
        if let Some((kernel, bytes)) = self.finish()? {
            kernels.push(kernel);
            scratch = scratch.max(bytes);
        }
        Ok(Kernels {
            kernels,
            record: if self.backward() && self.prepared_at.is_some() { 0 } else { self.record.stride() },
            passed: self.passed.bytes(),
            kept: self.kept.bytes(),
            prepared: self.prepared_at.map_or(0, |at| self.kept.chunk.stride() - at),
            span: self.config.span,
            slices: self.slices.unwrap_or(0),
            scratch: scratch.next_multiple_of(128),
            partial: self.partial(),
        })
    }

    fn kernel(
        &self,
        stage: &'static str,
        index: usize,
        launch: Launch,
        written: &Written,
        body: Text,
        chain: bool,
    ) -> Result<(Kernel, usize), Error> {
        let pass = match self.pass {
            Pass::Forward => "forward",
            Pass::ForwardSave => "forward_save",
            Pass::Backward => "backward",
            Pass::Decode => "decode",
        };
        let follows = self.follows.get();
        let mut body: Vec<String> = body.finish().lines().map(str::to_string).collect();
        // it starts when all blocks of the kernel before it have, and waits for their end
        let says_so = stage == "prepare" || stage == "chain" && self.is_overlapped(index);
        if self.is_followed(stage, index) && !says_so {
            body.insert(0, "let_next_start();".into());
        }
        if follows && !launch.beside {
            body.insert(0, "wait_for_end();".into());
        }
        let name =
            format!("{}_{pass}_{stage}{}", self.symbol, if index > 0 { index.to_string() } else { String::new() });
        let text = KernelText {
            title: &format!("{pass}, {stage}"),
            name: &name,
            threads: launch.threads,
            blocks: launch.blocks,
            cluster: launch.cluster,
            chunk: launch.chunk,
            counts: [
                self.counts.inputs.max(1),
                self.counts.outputs.max(1),
                self.counts.states.max(1),
                self.counts.constants.max(1),
            ],
            decay: body.iter().any(|line| is_decay(line)),
            chain,
            wide: launch.wide,
            tellers: launch.tellers,
            prologue: vec![],
            body,
        };
        let source = KERNEL.render(&text, &HEADERS)?;
        Ok((
            Kernel {
                name,
                source,
                grid: launch.grid,
                threads: launch.threads,
                shared: written.shared,
                stage,
                overlaps: follows,
            },
            written.scratch.next_multiple_of(128),
        ))
    }
}
