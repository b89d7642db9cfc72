//! Kernels whose blocks work on one chunk each: prepare and finish.

use std::collections::{BTreeMap, BTreeSet};

use super::{Frame, Launch};
use crate::emit::cuda::block::{Block, Sink, Written};
use crate::emit::cuda::place::{Elem, Place};
use crate::emit::cuda::{Error, Grid, Kernel, Pass};
use crate::emit::graph::Ref;
use crate::emit::text::Text;
use crate::tile::{Axis, Role};

/// The work of a block on one chunk, and the lines that say where what it is given lies.
pub(super) struct Part {
    pub written: Written,
    given: Text,
}

/// The number of a chunk and value head.
pub(super) const OF_CHUNK: &str = "ch.slot * x.heads + head";

impl Part {
    fn of(block: Block, given: Text) -> Part {
        Part { written: block.write(), given }
    }
}

/// Threads of a block that works on a chunk, and how many blocks of a multiprocessor registers have to suffice for.
pub(super) fn chunk_threads(name: &str, chunk: usize, written: &Written) -> (usize, usize) {
    threads_within(name, chunk, written.shared, written.substitutes)
}

/// The same for so many bytes of shared memory.
fn threads_within(name: &str, chunk: usize, shared: usize, substitutes: bool) -> (usize, usize) {
    // small blocks, so that one waits while others work; large ones have a multiprocessor to themselves
    // eight blocks leave a thread 64 registers: enough for what holds no state; what substitutes has 72, since with 64 RDN's is slower
    match shared {
        0..=27648 if chunk <= 32 && name == "prepare" && substitutes => (128, 7),
        0..=37888 if chunk <= 32 && substitutes => (128, 6),
        0..=27648 if chunk <= 32 && name == "prepare" => (128, 8),
        0..=36864 if chunk <= 32 => (128, 5),
        0..=57344 if chunk <= 32 => (128, 4),
        // of longer chunks: a thread of prepare makes do with 64 registers too
        0..=57344 if name == "prepare" => (256, 4),
        0..=115712 => (256, 2),
        _ => (512, 1),
    }
}

impl Frame<'_> {
    pub(super) fn prepare(&self) -> Option<Part> {
        if self.backward() && self.prepared_at.is_some() {
            return None;
        }
        let mut block = self.block(0);
        let mut given = Text::default();
        let mut want = |n: usize, place: &Place, address: String| {
            let name = format!("w{n}");
            given.line(format!("{0}* const {name} = ({0}*)({address});", place.elem.c()));
            block.wanted.insert(n, Place { name, ..place.clone() });
        };
        for (n, place, offset) in &self.record.items {
            want(*n, place, format!("record + {offset}"));
        }
        let (mut kept, mut also) = (BTreeSet::new(), vec![]);
        for (k, r) in self.prepared_results() {
            let (place, address) = self.kept_place(usize::MAX - k, format!("k{}", r.node)).expect("laid out");
            if self.prepared_home(r.node, place.elem).is_some() && self.record.item(r.node).is_none() {
                want(r.node, &place, address.to_string());
            } else if !self.graph.is_matrix(r.node) {
                also.push((r.node, place, address));
            } else {
                continue;
            }
            kept.insert(k);
        }
        for (n, place, address) in also {
            given.line(format!("{0}* const {1} = ({0}*)({address});", place.elem.c(), place.name));
            block.also.insert(n, place);
        }
        for (role, r) in &self.graph.results {
            let there = matches!(role, Role::Saved(k) if kept.contains(k));
            if !self.stages.depends[r.node]
                && !self.backward()
                && !there
                && let Some(sink) = self.result_sink(*role, *r)
            {
                block.sinks.push(sink);
            }
        }
        if block.wanted.is_empty() && block.sinks.is_empty() {
            return None;
        }
        self.give_kept(&mut block, false, &mut given);
        Some(Part::of(block, given))
    }

    pub(super) fn finish(&self) -> Result<Option<(Kernel, usize)>, Error> {
        let roots = self.finish_roots();
        if roots.is_empty() {
            return Ok(None);
        }
        let mut block = self.block(0);
        let mut given = Text::default();
        block.sinks = roots.iter().filter_map(|(_, role, r)| self.result_sink(*role, *r)).collect();
        let nodes: Vec<usize> = roots.iter().map(|(_, _, r)| r.node).collect();
        let (record, passed) = self.hand_over(&nodes, None);
        self.give(&mut block, &record, &passed, &mut given);
        self.give_kept(&mut block, true, &mut given);
        if self.backward() {
            block.threads = Some(|chunk, shared, substitutes| threads_within("finish", chunk, shared, substitutes));
        }
        if self.backward() && self.config.span > 1 {
            return self.per_span(block, given).map(Some);
        }
        self.per_chunk("finish", Part::of(block, given)).map(Some)
    }

    pub(super) fn per_chunk(&self, name: &'static str, part: Part) -> Result<(Kernel, usize), Error> {
        let Part { written, given } = part;
        let mut out = Text::default();
        if name == "finish" {
            self.place_of_block(&mut out);
            self.wait_for_progress(&mut out);
            let early = written.body.iter().any(|line| line.contains("pick<true>("));
            // forward's has the block's own number, as prepare below; backward's the same text beside the chain and behind it
            self.bases(if self.backward() { OF_CHUNK } else { "blockIdx.x" }, early, &mut out);
        } else {
            // in 32 bits, which divide faster
            out.line("const int head = blockIdx.x % (u32)x.heads;");
            out.line("const Chunk ch = chunk_of(x.sequences, blockIdx.x / (u32)x.heads, head, x.group, CHUNK);");
            // the block's own number is known without a division; blocks of 512 threads spill addresses that come from it
            let (threads, _) = chunk_threads(name, self.sizes().chunk, &written);
            let number = if threads == 512 { OF_CHUNK } else { "blockIdx.x" };
            self.bases(number, false, &mut out);
        }
        self.chunk_kernel(name, Grid::Chunks, self.sizes().chunk, &written, given, out)
    }

    /// The kernel of a block that works on `chunk` tokens, behind the text that says where it is.
    pub(super) fn chunk_kernel(
        &self,
        name: &'static str,
        grid: Grid,
        chunk: usize,
        written: &Written,
        given: Text,
        mut out: Text,
    ) -> Result<(Kernel, usize), Error> {
        let floats = self.partial().last().map_or(0, |(_, o, c)| o + c);
        if floats > 0 && self.backward() {
            out.line(format!("float* const partial = (float*)x.partial + number * {floats};"));
            out.line("if (!ch.valid) {");
            out.line(format!("for (int i = threadIdx.x; i < {floats}; i += THREADS) partial[i] = 0.f;"));
            out.line("return;");
            out.line("}");
        } else {
            out.line("if (!ch.valid) return;");
        }
        if name == "prepare" {
            out.line("let_next_start();");
        }
        self.finish_block(written, given, name == "prepare", &mut out);
        let (threads, blocks) = chunk_threads(name, chunk, written);
        let beside = name == "finish" && self.slices.is_some();
        let (cluster, tellers, wide) = (1, 0, false);
        let launch = Launch { grid, chunk, threads, blocks, cluster, beside, tellers, wide };
        self.kernel(name, 0, launch, written, out, false)
    }

    pub(super) fn finish_block(&self, written: &Written, given: Text, late: bool, out: &mut Text) {
        if written.scratch > 0 {
            out.line(format!("char* const scratch = x.scratch + number * {};", written.scratch.next_multiple_of(128)));
        }
        out.lines(given.finish().lines());
        self.readers(&written.leaves, late, out);
        out.lines(&written.pointers);
        out.lines(&written.body);
    }

    pub(super) fn block<'b>(&'b self, reserved: usize) -> Block<'b> {
        Block {
            graph: self.graph,
            sizes: self.sizes(),
            product: if self.pass == Pass::Decode { Elem::F32 } else { self.config.product },
            interface: self.interface,
            given: BTreeMap::new(),
            records: BTreeSet::new(),
            wanted: BTreeMap::new(),
            also: BTreeMap::new(),
            stores: BTreeMap::new(),
            sinks: vec![],
            direct: self.direct(),
            budget: self.config.shared,
            reserved,
            threads: None,
        }
    }

    /// Gives a block what lies in records, and returns the lines that declare the pointers.
    pub(super) fn give(&self, block: &mut Block, record: &BTreeSet<usize>, passed: &BTreeSet<usize>, out: &mut Text) {
        block.records.extend(record.iter().chain(passed));
        for n in record {
            let (_, place, offset) = self.record.item(*n).expect("laid out");
            out.line(format!("{0}* const {1} = ({0}*)(record + {offset});", place.elem.c(), place.name));
            block.given.insert(*n, place.clone());
        }
        for n in passed {
            let (place, address) = match self.passed.item(*n, ["passed", "passed_span"]) {
                Some((place, address)) => (place.clone(), address),
                None => {
                    // the state at the chunk's start, which is kept
                    let state = self.stages.leaves.iter().find(|(_, l)| *l == n).expect("a state").0;
                    self.kept_place(*state, format!("v{n}")).expect("kept")
                }
            };
            out.line(format!("{0}* const {1} = ({0}*)({address});", place.elem.c(), place.name));
            block.given.insert(*n, place);
        }
    }

    /// Gives a block the leaves that forward kept, of every chunk or of spans too.
    pub(super) fn give_kept(&self, block: &mut Block, spans: bool, out: &mut Text) {
        for n in 0..self.graph.nodes.len() {
            if let Some((place, address)) = self.kept_leaf(n)
                && !block.given.contains_key(&n)
                && (spans || !address.base.ends_with("span"))
            {
                out.line(format!("{0}* const v{n} = ({0}*)({address});", place.elem.c()));
                block.given.insert(n, place);
                block.records.insert(n);
            }
        }
    }

    /// The sink of a result, from a block that has the chunk `ch`.
    pub(super) fn result_sink(&self, role: Role, r: Ref) -> Option<Sink> {
        let shape = self.graph.shape(r);
        let last = false;
        match role {
            Role::Output(i) => {
                let elem = self.config.output.c();
                let there = self.sizes().real(shape.cols);
                Some(Sink {
                    value: r,
                    condition: String::new(),
                    setup: format!("const RowsTo<{elem}, {there}> output{i}(x.outputs[{i}], ch, ch.head);"),
                    statement: format!("output{i}.put(r, c, y);"),
                    comment: format!("output {i}"),
                    padded: false,
                    last,
                    rows: Some(self.config.output),
                })
            }
            Role::InputGrad(i) if self.interface.inputs[i].rows == Axis::Token => {
                let elem = self.config.input_grads[i].c();
                let there = self.sizes().real(shape.cols);
                // where value heads share a row, each has its own here; they are summed afterwards
                let head = if self.config.per_key_head[i] { "x.group > 1 ? ch.head : ch.key_head" } else { "ch.head" };
                Some(Sink {
                    value: r,
                    condition: format!("x.input_grads[{i}].ptr"),
                    setup: format!("const RowsTo<{elem}, {there}> grad{i}(x.input_grads[{i}], ch, {head});"),
                    statement: format!("grad{i}.put(r, c, y);"),
                    comment: format!("gradient of {}", self.interface.input_names[i]),
                    padded: false,
                    last,
                    rows: Some(self.config.input_grads[i]),
                })
            }
            Role::InputGrad(i) => {
                let (_, offset, _) = *self.partial().iter().find(|(of, ..)| *of == i)?;
                let (index, there) = match shape.rows {
                    Axis::One => ("c", format!("{} - c", self.sizes().real(shape.cols))),
                    _ => ("r", "1".into()),
                };
                Some(Sink {
                    value: r,
                    condition: String::new(),
                    setup: String::new(),
                    statement: format!("put_row(partial + {offset} + {index}, y, {there}, false);"),
                    comment: format!("this chunk's part of the gradient of {}", self.interface.input_names[i]),
                    padded: false,
                    last,
                    rows: None,
                })
            }
            Role::Saved(k) => {
                let (place, address) = self.kept_place(usize::MAX - k, String::new())?;
                let target = format!("(({}*)({address}))", place.elem.c());
                let index = match (shape.rows, shape.cols) {
                    (Axis::One, _) => "c".to_string(),
                    (_, Axis::One) => "r".to_string(),
                    _ => format!("r * {} + c", place.ld),
                };
                Some(Sink {
                    value: r,
                    condition: String::new(),
                    setup: String::new(),
                    statement: format!("put({target} + {index}, y);"),
                    comment: "kept for backward".into(),
                    padded: true,
                    last,
                    rows: None,
                })
            }
            Role::State(_) | Role::StateGrad(_) => None,
        }
    }

    /// Parameters' gradients: input, offset and count of floats in the partial sums of a chunk and head.
    pub(super) fn partial(&self) -> Vec<(usize, usize, usize)> {
        let mut at = 0;
        let mut out = vec![];
        for (role, r) in &self.graph.results {
            if let Role::InputGrad(i) = role
                && self.interface.inputs[*i].rows != Axis::Token
            {
                let shape = self.graph.shape(*r);
                let count = self.sizes().real(shape.rows) * self.sizes().real(shape.cols);
                out.push((*i, at, count));
                at += count;
            }
        }
        out
    }
}
