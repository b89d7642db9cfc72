//! The sequential kernel around a chain: stages of shared memory, states in registers.

use std::collections::{BTreeMap, BTreeSet};

use super::address::view_kind;
use super::{Frame, Launch};
use crate::emit::cuda::block::Written;
use crate::emit::cuda::chain::{Chain, Writer};
use crate::emit::cuda::place::{Elem, Place};
use crate::emit::cuda::stage::Group;
use crate::emit::cuda::{Error, Grid, Kernel, Pass};
use crate::emit::graph::Kind;
use crate::emit::text::Text;
use crate::tile::{Leaf, Role};

impl Frame<'_> {
    pub(super) fn chain(&self, g: usize, group: &Group, chain: &Chain) -> Result<Kernel, Error> {
        let sizes = self.sizes();
        let free = chain.free.expect("a chain has a free side");
        let channels = sizes.padded(free);
        // slices of equal width: no warp works beyond the padding
        let most = self.config.warps.clamp(1, channels / 16);
        let warps = (1..=most).rev().find(|w| (channels / 16).is_multiple_of(*w)).unwrap_or(1);
        let slices = channels.div_ceil(16 * warps);
        let threads = 32 * warps;
        // a stage: the part of the record, then inputs
        let fetched: Vec<&(usize, Place, usize)> =
            self.fetched(chain).iter().map(|n| self.record.item(*n).expect("laid out")).collect();
        let low = fetched.iter().map(|(_, _, o)| *o).min().unwrap_or(0);
        let high = fetched.iter().map(|(_, p, o)| o + p.bytes.next_multiple_of(16)).max().unwrap_or(0);
        let mut stage = (high - low).next_multiple_of(128);
        let mut places: BTreeMap<usize, Place> = BTreeMap::new();
        let mut offsets: Vec<(usize, usize)> = vec![];
        for (n, place, offset) in &fetched {
            places.insert(*n, place.clone());
            offsets.push((*n, offset - low));
        }
        let mut own = vec![];
        for n in chain.images.iter().filter(|n| self.is_own_image(**n)) {
            let place = self.placed(*n, self.config.product);
            offsets.push((*n, stage));
            own.push((*n, place.clone(), stage));
            stage += place.bytes.next_multiple_of(128);
            places.insert(*n, place);
        }
        let mut slabs = BTreeMap::new();
        let mut slab_offsets = vec![];
        for n in &chain.tiles {
            let Kind::Leaf(leaf) = &self.graph.nodes[*n].kind else { continue };
            if view_kind(leaf).is_none() {
                continue;
            }
            let elem = if self.elem_of(leaf) == self.config.product { self.config.product } else { Elem::F32 };
            let ld = 16 * warps + 16 / elem.bytes();
            let place = Place { name: format!("slab{n}"), elem, ld, bytes: sizes.chunk * ld * elem.bytes() };
            slab_offsets.push((*n, place.clone(), stage));
            stage += place.bytes.next_multiple_of(128);
            slabs.insert(*n, place);
        }
        let stages = (self.config.shared / stage.max(1)).clamp(1, 3);
        let given: Vec<usize> = chain.given.iter().copied().collect();
        for n in &given {
            let place = match self.kept_leaf(*n) {
                Some((place, _)) => place,
                None => self.record.item(*n).expect("laid out").1.clone(),
            };
            places.insert(*n, place);
        }
        let mut stores = vec![];
        let real = sizes.real(free);
        for (index, of) in &self.stages.sequential {
            if *of != g {
                continue;
            }
            let (role, r) = self.graph.results[*index];
            match role {
                Role::Output(i) => {
                    let elem = self.config.output.c();
                    stores.push((
                        r.node,
                        format!(
                            "if (c < ch.valid && row < {real}) out{i}[c * x_outputs{i}_s1 + row] = narrow<{elem}>(@);"
                        ),
                        format!("output {i}"),
                    ));
                }
                Role::Saved(k) => {
                    let (place, offset) = self.kept_place(usize::MAX - k, String::new()).expect("kept");
                    let target = format!("(({}*)(kept + {offset}))", place.elem.c());
                    stores.push((r.node, format!("{target}[c * {} + row] = @;", place.ld), "kept for backward".into()));
                }
                _ => {}
            }
        }
        for (n, place, offset) in &self.passed.items {
            if chain.tiles.contains(n) && !chain.carried.values().any(|l| l == n) {
                let elem = place.elem.c();
                stores.push((
                    *n,
                    format!("(({elem}*)(passed + {offset}))[c * {} + row] = narrow<{elem}>(@);", place.ld),
                    "for finish".into(),
                ));
            }
        }
        let next = group.states.iter().map(|s| (*s, self.stages.next[s])).collect();
        let writer = Writer {
            chain,
            graph: self.graph,
            depends: &self.stages.depends,
            sizes,
            product: self.config.product,
            interface: self.interface,
            places,
            slabs: slabs.clone(),
            next,
            stores,
        };
        let body = writer.write();
        let (from, to) = self.state_fields();
        let mut out = Text::default();
        out.line(format!("constexpr int SLICES = {slices}, STAGES = {stages}, STAGE = {stage};"));
        out.line("const int slice = blockIdx.x % SLICES, warp = threadIdx.x / 32;");
        out.line("const int head = blockIdx.x / SLICES % x.heads;");
        out.line("const i64 sequence = blockIdx.x / SLICES / x.heads;");
        out.line(format!("const int column = slice * {}, channel = column + 16 * warp;", 16 * warps));
        let consts: BTreeSet<usize> = (0..self.graph.nodes.len())
            .filter(|n| matches!(self.graph.nodes[*n].kind, Kind::Leaf(Leaf::Const(_))))
            .collect();
        self.readers(&consts, &mut out);
        for state in &group.states {
            let shape = self.state_shape(*state);
            let (rows, cols) = (sizes.real(shape.rows), sizes.real(shape.cols));
            out.line(format!("Tile<{}> state{state};", sizes.padded(shape.cols) / 8));
            out.line(format!("every(state{state}, [&](float& y, int, int, int r, int c) {{"));
            out.line(format!(
                "y = x.{from}[{state}].ptr && channel + r < {rows} && c < {cols} ? {} : 0.f;",
                self.state_element(*state, from, "channel + r", "c")
            ));
            out.line("});");
        }
        out.line("const i64 tokens = x.sequences.length(sequence), start = x.sequences.start(sequence);");
        out.line("const i64 chunks = (tokens + CHUNK - 1) / CHUNK, first = x.sequences.slot(sequence, CHUNK);");
        out.line("auto chunk_at = [&](i64 i) {");
        out.line(if self.backward() { "const i64 k = chunks - 1 - i;" } else { "const i64 k = i;" });
        out.line("const i64 left = tokens - k * CHUNK;");
        out.line("return Chunk{x.sequences.batch(sequence), start + k * CHUNK, first + k, head, head / (int)x.group, (int)(left < CHUNK ? left : CHUNK)};");
        out.line("};");
        // what a chunk needs, into its stage
        out.line("auto issue = [&](i64 i) {");
        out.line("if (i < chunks) {");
        out.line("const Chunk ch = chunk_at(i);");
        out.line("char* const to = shared + i % STAGES * STAGE;");
        if high > low {
            out.line(format!(
                "fetch<{}>(to, x.record + (ch.slot * x.heads + head) * {} + {low});",
                high - low,
                self.record.stride()
            ));
        }
        let p = self.config.product.c();
        for (n, place, offset) in &own {
            let Kind::Leaf(leaf) = &self.graph.nodes[*n].kind else { unreachable!() };
            let cols = sizes.padded(self.graph.nodes[*n].shape.cols);
            out.line(format!(
                "fetch_rows<{p}, {}, CHUNK, {cols}, {}>(({p}*)(to + {offset}), {}, ch, {}, 0, {}, {});",
                self.elem_of(leaf).c(),
                place.ld,
                self.view_of(leaf),
                self.head_of(leaf),
                sizes.real(self.graph.nodes[*n].shape.cols),
                matches!(leaf, Leaf::OutputGrad(_))
            ));
        }
        for (n, place, offset) in &slab_offsets {
            let Kind::Leaf(leaf) = &self.graph.nodes[*n].kind else { unreachable!() };
            let e = place.elem.c();
            out.line(format!(
                "fetch_rows<{e}, {}, CHUNK, {}, {}>(({e}*)(to + {offset}), {}, ch, {}, column, {real}, {});",
                self.elem_of(leaf).c(),
                16 * warps,
                place.ld,
                self.view_of(leaf),
                self.head_of(leaf),
                matches!(leaf, Leaf::OutputGrad(_))
            ));
        }
        out.line("}");
        out.line("copies_end();");
        out.line("};");
        if stages > 1 {
            out.line("for (int i = 0; i < STAGES - 1; i++) issue(i);");
        }
        out.line("for (i64 i = 0; i < chunks; i++) {");
        if stages > 1 {
            out.line("copies_wait<STAGES - 2>();");
            out.line("__syncthreads();");
            out.line("issue(i + STAGES - 1);");
        } else {
            out.line("__syncthreads();");
            out.line("issue(i);");
            out.line("copies_wait<0>();");
            out.line("__syncthreads();");
        }
        out.line("const Chunk ch = chunk_at(i);");
        self.bases("ch.slot", &mut out);
        out.line("char* const at = shared + i % STAGES * STAGE;");
        for (n, offset) in &offsets {
            let place = &writer.places[n];
            out.line(format!("const {0}* const {1} = (const {0}*)(at + {offset});", place.elem.c(), place.name));
        }
        for (_, place, offset) in &slab_offsets {
            out.line(format!("const {0}* const {1} = (const {0}*)(at + {offset});", place.elem.c(), place.name));
        }
        for n in &given {
            match self.kept_leaf(*n) {
                Some((place, offset)) => {
                    out.line(format!(
                        "const {0}* const {1} = (const {0}*)(kept + {offset});",
                        place.elem.c(),
                        place.name
                    ));
                }
                None => Self::pointers(&self.record, "record", [*n].into_iter(), &mut out),
            }
        }
        for (index, of) in &self.stages.sequential {
            if *of == g
                && let Role::Output(i) = self.graph.results[*index].0
            {
                let elem = self.config.output.c();
                out.line(format!("const i64 x_outputs{i}_s1 = x.outputs[{i}].s1;"));
                out.line(format!("{elem}* const out{i} = rows_of<{elem}>(x.outputs[{i}], ch.batch, ch.first, head);"));
            }
        }
        self.chunk_starts(group, Some(chain), &mut out);
        out.lines(body.lines());
        out.line("}");
        for state in &group.states {
            let shape = self.state_shape(*state);
            let (rows, cols) = (sizes.real(shape.rows), sizes.real(shape.cols));
            out.line(format!("if (x.{to}[{state}].ptr) every(state{state}, [&](float& y, int, int, int r, int c) {{"));
            out.line(format!(
                "if (channel + r < {rows} && c < {cols}) {} = y;",
                self.state_element(*state, to, "channel + r", "c")
            ));
            out.line("});");
        }
        let written =
            Written { pointers: vec![], body: vec![], shared: stage * stages, scratch: 0, leaves: BTreeSet::new() };
        Ok(self
            .kernel("chain", g, Launch { grid: Grid::Sequences(slices), threads, blocks: 1 }, &written, out, true)?
            .0)
    }

    /// Writes states at the chunk's start (gradients at its end) where finish or backward reads them.
    pub(super) fn chunk_starts(&self, group: &Group, chain: Option<&Chain>, out: &mut Text) {
        for state in &group.states {
            let shape = self.state_shape(*state);
            let mut targets = vec![];
            if self.pass == Pass::ForwardSave
                && let Some((place, offset)) = self.kept_place(*state, String::new())
            {
                targets.push((place, format!("kept + {offset}")));
            }
            if let Some(leaf) = self.stages.leaves.get(state)
                && let Some((_, place, offset)) = self.passed.item(*leaf)
            {
                targets.push((place.clone(), format!("passed + {offset}")));
            }
            for (place, address) in targets {
                let elem = place.elem.c();
                let target = format!("(({elem}*)({address}))");
                if chain.is_some() {
                    out.line(format!(
                        "every(state{state}, [&](float& x, int n, int e, int r, int c) {{ {target}[(channel + r) * {} + c] = narrow<{elem}>(x); }});",
                        place.ld
                    ));
                    continue;
                }
                let (rows, cols) = (self.sizes().padded(shape.rows), self.sizes().padded(shape.cols));
                let own = if place.ld > 0 {
                    format!("r * {} + c", self.sizes().padded(shape.cols) + 4)
                } else {
                    "r + c".into()
                };
                let index = if place.ld > 0 { format!("r * {} + c", place.ld) } else { "r + c".into() };
                out.line(format!(
                    "each<{rows}, {cols}>([&](int r, int c) {{ {target}[{index}] = narrow<{elem}>(state{state}[{own}]); }});"
                ));
            }
        }
    }
}
