//! The kernels of a pass around their blocks and chains: addresses, loops over chunks, records.

mod address;
mod chain;
mod chunks;
mod copiers;
mod records;
mod walk;

use super::block::{Written, is_decay};
use super::place::{Record, Sizes};
use super::stage::{Carry, Stages, stages};
use super::{Config, Counts, Error, Grid, Interface, Kernel, Kernels, Pass, Text as KernelText, render};
use crate::emit::graph::Graph;
use crate::emit::text::Text;
use crate::tile::Program;

/// Threads of a block that walks.
const BLOCK_THREADS: usize = 256;

/// How a kernel is launched.
struct Launch {
    grid: Grid,
    threads: usize,
    /// Blocks of a multiprocessor that the registers have to suffice for.
    blocks: usize,
    /// Blocks of a cluster.
    cluster: usize,
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
    /// From prepare.
    record: Record,
    /// From the sequential kernels.
    passed: Record,
    /// From forward to backward: states at the chunk's start by their leaf (or its place, where it is not read), values.
    kept: Record,
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
        let [record, passed, kept] = Default::default();
        Frame { pass, program, graph, interface, config, counts, symbol, stages, record, passed, kept }
    }

    fn sizes(&self) -> &'a Sizes {
        &self.config.sizes
    }

    fn backward(&self) -> bool {
        self.pass == Pass::Backward
    }

    /// Writes all kernels.
    pub fn write(mut self) -> Result<Kernels, Error> {
        self.lay_out_kept();
        if self.pass == Pass::Decode {
            let kernel = self.walk_all()?;
            return Ok(Kernels { scratch: kernel.1, kernels: vec![kernel.0], ..Kernels::default() });
        }
        self.lay_out_records();
        let mut kernels = vec![];
        let mut scratch = 0;
        if let Some((kernel, bytes)) = self.prepare()? {
            kernels.push(kernel);
            scratch = scratch.max(bytes);
        }
        for (g, group) in self.stages.groups.iter().enumerate() {
            let (kernel, bytes) = match &group.carry {
                Carry::Chain(chain) => (self.chain(g, group, chain)?, 0),
                Carry::Walk => self.walk(g, group)?,
            };
            kernels.push(kernel);
            scratch = scratch.max(bytes);
        }
        if let Some((kernel, bytes)) = self.finish()? {
            kernels.push(kernel);
            scratch = scratch.max(bytes);
        }
        Ok(Kernels {
            kernels,
            record: self.record.stride(),
            passed: self.passed.stride(),
            kept: self.kept.stride(),
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
        let body: Vec<String> = body.finish().lines().map(str::to_string).collect();
        let name =
            format!("{}_{pass}_{stage}{}", self.symbol, if index > 0 { index.to_string() } else { String::new() });
        let text = KernelText {
            title: &format!("{pass}, {stage}"),
            name: &name,
            threads: launch.threads,
            blocks: launch.blocks,
            cluster: launch.cluster,
            chunk: self.config.sizes.chunk,
            counts: [
                self.counts.inputs.max(1),
                self.counts.outputs.max(1),
                self.counts.states.max(1),
                self.counts.constants.max(1),
            ],
            decay: body.iter().any(|line| is_decay(line)),
            chain,
            prologue: vec![],
            body,
        };
        let source = render(&text)?;
        Ok((
            Kernel { name, source, grid: launch.grid, threads: launch.threads, shared: written.shared, stage },
            written.scratch.next_multiple_of(128),
        ))
    }
}
