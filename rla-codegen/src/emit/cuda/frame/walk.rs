//! The sequential kernel that one block walks through a sequence, states in memory.

use std::collections::{BTreeMap, BTreeSet};

use super::chunks::OF_CHUNK;
use super::{BLOCK_THREADS, Frame, Launch};
use crate::emit::cuda::block::Sink;
use crate::emit::cuda::place::{Elem, Order, Place};
use crate::emit::cuda::stage::{Carry, Group};
use crate::emit::cuda::{Error, Grid, Kernel, Pass};
use crate::emit::graph::Ref;
use crate::emit::text::Text;
use crate::tile::{Axis, Role};

impl Frame<'_> {
    /// All of a decode step by one block.
    pub(super) fn walk_all(&self) -> Result<(Kernel, usize), Error> {
        let group =
            Group { states: (0..self.program.states.len()).collect(), carry: Carry::Walk, values: BTreeSet::new() };
        self.walk_kernel(0, &group, "decode", true)
    }

    pub(super) fn walk(&self, g: usize, group: &Group) -> Result<(Kernel, usize), Error> {
        self.walk_kernel(g, group, "walk", false)
    }

    pub(super) fn walk_kernel(
        &self,
        g: usize,
        group: &Group,
        stage: &'static str,
        all: bool,
    ) -> Result<(Kernel, usize), Error> {
        let mut reserved = 0;
        let mut state_offsets = BTreeMap::new();
        for state in &group.states {
            let shape = self.state_shape(*state);
            let sizes = self.sizes();
            let ld = sizes.padded(shape.cols) + 4;
            let matrix = shape.rows != Axis::One && shape.cols != Axis::One;
            let bytes = if matrix {
                4 * sizes.padded(shape.rows) * ld
            } else {
                4 * sizes.padded(if shape.rows == Axis::One { shape.cols } else { shape.rows })
            };
            state_offsets.insert(*state, (reserved, bytes, matrix.then_some(ld)));
            reserved += bytes.next_multiple_of(128);
        }
        // states that are too large for shared memory lie in scratch
        let in_scratch = reserved > self.config.shared * 3 / 4;
        let mut block = self.block(if in_scratch { 0 } else { reserved });
        let mut given = Text::default();
        let (from, to) = self.state_fields();
        let mut lasts = vec![];
        for (state, (_, bytes, ld)) in &state_offsets {
            let name = format!("state{state}");
            let place =
                Place { name: name.clone(), elem: Elem::F32, ld: ld.unwrap_or(0), bytes: *bytes, order: Order::Rows };
            if let Some(leaf) = self.stages.leaves.get(state) {
                block.given.insert(*leaf, place.clone());
            }
            let Some(next) = self.stages.next.get(state) else { continue };
            if self.stages.leaves.get(state) == Some(next) {
                continue;
            }
            let flip = self
                .graph
                .results
                .iter()
                .any(|(role, r)| matches!(role, Role::State(i) | Role::StateGrad(i) if i == state) && r.flip);
            let index = match ld {
                Some(ld) => format!("r * {ld} + c"),
                None if self.state_shape(*state).rows == Axis::One => "c".into(),
                None => "r".into(),
            };
            lasts.push(Sink {
                value: Ref { node: *next, flip },
                condition: String::new(),
                setup: String::new(),
                statement: format!("put({name} + {index}, y);"),
                comment: format!("{} after the chunk", self.interface.states[*state]),
                padded: false,
                last: true,
                rows: None,
            });
        }
        let (mut record, mut passed) = (BTreeSet::new(), BTreeSet::new());
        if all {
            for (role, r) in &self.graph.results {
                block.sinks.extend(self.result_sink(*role, *r));
            }
        } else {
            (record, passed) = self.hand_over(&self.walk_roots(g, group), Some(group));
            for (index, of) in &self.stages.sequential {
                if *of == g {
                    let (role, r) = self.graph.results[*index];
                    block.sinks.extend(self.result_sink(role, r));
                }
            }
            // own values that finish reads
            for (n, place, offset) in &self.passed.chunk.items {
                if group.values.contains(n) && !block.given.contains_key(n) {
                    let name = format!("w{n}");
                    given.line(format!("{0}* const {name} = ({0}*)(passed + {offset});", place.elem.c()));
                    block.wanted.insert(*n, Place { name, ..place.clone() });
                }
            }
        }
        block.sinks.extend(lasts);
        self.give(&mut block, &record, &passed, &mut given);
        self.give_kept(&mut block, false, &mut given);
        let written = block.write();
        let mut out = Text::default();
        self.decode_prologue(&mut out);
        let state_scratch: usize = if in_scratch { reserved } else { 0 };
        if in_scratch {
            out.line(format!(
                "char* const states = x.scratch + (i64)blockIdx.x * {};",
                (state_scratch + written.scratch).next_multiple_of(128)
            ));
        }
        for (state, (offset, ..)) in &state_offsets {
            let base = if in_scratch { "states" } else { "shared" };
            out.line(format!("float* const state{state} = (float*)({base} + {offset});"));
        }
        for (state, (_, _, ld)) in &state_offsets {
            let shape = self.state_shape(*state);
            let (rows, cols) = (self.sizes().padded(shape.rows), self.sizes().padded(shape.cols));
            let (real_rows, real_cols) = (self.sizes().real(shape.rows), self.sizes().real(shape.cols));
            let index = ld.map_or("r + c".to_string(), |ld| format!("r * {ld} + c"));
            out.line(format!("each<{rows}, {cols}>([&](int r, int c) {{"));
            out.line(format!(
                "state{state}[{index}] = x.{from}[{state}].ptr && r < {real_rows} && c < {real_cols} ? {} : 0.f;",
                self.state_element(*state, from, "r", "c")
            ));
            out.line("});");
        }
        // also where a sequence has no chunk: other threads hand a state on than wrote it
        out.line("__syncthreads();");
        self.loop_head(&mut out);
        self.chunk_starts(group, &mut given);
        if written.scratch > 0 {
            let total = (state_scratch + written.scratch).next_multiple_of(128);
            out.line(format!("char* const scratch = x.scratch + (i64)blockIdx.x * {total} + {state_scratch};"));
        }
        out.lines(given.finish().lines());
        self.readers(&written.leaves, false, &mut out);
        out.lines(&written.pointers);
        out.lines(&written.body);
        out.line("__syncthreads();");
        out.line("}");
        for state in state_offsets.keys() {
            let shape = self.state_shape(*state);
            let (rows, cols) = (self.sizes().real(shape.rows), self.sizes().real(shape.cols));
            let index = state_offsets[state].2.map_or("r + c".to_string(), |ld| format!("r * {ld} + c"));
            out.line(format!("if (x.{to}[{state}].ptr) each<{rows}, {cols}>([&](int r, int c) {{"));
            out.line(format!("{} = state{state}[{index}];", self.state_element(*state, to, "r", "c")));
            out.line("});");
        }
        let mut written = written;
        written.scratch += state_scratch;
        let launch = Launch {
            grid: Grid::Sequences(1),
            chunk: self.sizes().chunk,
            threads: BLOCK_THREADS,
            blocks: 1,
            cluster: 1,
            beside: false,
            wide: false,
            tellers: 0,
        };
        self.kernel(stage, g, launch, &written, out, false)
    }

    pub(super) fn decode_prologue(&self, out: &mut Text) {
        out.line("const int sequence = blockIdx.x / (u32)x.heads;");
        out.line("const int head = blockIdx.x % (u32)x.heads;");
        if self.pass == Pass::Decode {
            out.line("const int pool = x.slots ? (int)x.slots[sequence] : sequence;");
            out.line("if (pool < 0) return;");
        }
    }

    /// The loop over chunks: `ch`, `number` and the bases of records.
    pub(super) fn loop_head(&self, out: &mut Text) {
        if self.pass == Pass::Decode {
            out.line("for (int t = 0; t < x.sequences.tokens; t++) {");
            out.line("const Chunk ch = {sequence, t, 0, head, head / (int)x.group, 1, sequence, t, 1};");
            return;
        }
        out.line("const int tokens = x.sequences.length(sequence), start = x.sequences.start(sequence);");
        out.line("const int chunks = (u32)(tokens + CHUNK - 1) / CHUNK, first = x.sequences.slot(sequence, CHUNK);");
        out.line("for (int i = 0; i < chunks; i++) {");
        out.line(if self.backward() { "const int k = chunks - 1 - i;" } else { "const int k = i;" });
        out.line("const int left = tokens - k * CHUNK;");
        out.line(
            "const Chunk ch = {x.sequences.batch(sequence), start + k * CHUNK, first + k, head, head / (int)x.group, left < CHUNK ? left : CHUNK, sequence, k, left};",
        );
        self.bases(OF_CHUNK, false, out);
    }
}
