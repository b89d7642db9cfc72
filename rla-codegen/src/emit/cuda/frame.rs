//! The kernels of a pass around their blocks and chains: addresses, loops over chunks, records.

use std::collections::{BTreeMap, BTreeSet};

use super::block::{Block, Sink, Written};
use super::chain::{Chain, Writer};
use super::place::{Elem, Place, Record, Sizes};
use super::stage::{Carry, Group, Stages, stages};
use super::{Config, Counts, Error, Grid, Interface, Kernel, Kernels, Pass, Text as KernelText, render};
use crate::emit::graph::{Graph, Kind, Ref};
use crate::emit::text::Text;
use crate::tile::{Axis, Leaf, Program, Role, Shape};

/// Threads of a block that works on one chunk.
const BLOCK_THREADS: usize = 256;

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

/// A matrix of the caller, or a row of numbers.
fn view_kind(leaf: &Leaf) -> Option<(&'static str, usize)> {
    match leaf {
        Leaf::Input(i) => Some(("in", *i)),
        Leaf::OutputGrad(i) => Some(("og", *i)),
        _ => None,
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
        let stages = stages(graph, pass == Pass::Backward);
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
                Carry::Walk(_) => self.walk(g, group)?,
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

    /// The place of a value in a record, named so that it does not meet another place of the same value.
    fn placed(&self, node: usize, elem: Elem) -> Place {
        Place::of(self.graph, self.sizes(), node, elem)
    }

    /// What forward keeps: the same layout from both programs, so it follows from shapes alone.
    fn lay_out_kept(&mut self) {
        if !matches!(self.pass, Pass::ForwardSave | Pass::Backward) {
            return;
        }
        let shapes = self.program.states.iter().map(|s| Shape::new(s.free, s.contracted));
        let states = shapes.enumerate().map(|(i, s)| (i, s, self.config.product));
        let saved = self.program.saved.iter().enumerate().map(|(k, s)| (usize::MAX - k, *s, Elem::F32));
        for (key, shape, elem) in states.chain(saved) {
            let matrix = shape.rows != Axis::One && shape.cols != Axis::One;
            let sizes = self.sizes();
            let place = if matrix {
                let ld = sizes.padded(shape.cols) + 16 / elem.bytes();
                Place { name: String::new(), elem, ld, bytes: sizes.padded(shape.rows) * ld * elem.bytes() }
            } else {
                let axis = if shape.cols == Axis::One { shape.rows } else { shape.cols };
                let bytes = 4 * sizes.padded(axis).next_multiple_of(4);
                Place { name: String::new(), elem: Elem::F32, ld: 0, bytes }
            };
            self.kept.add(key, place);
        }
    }

    fn kept_place(&self, key: usize, name: String) -> Option<(Place, usize)> {
        self.kept.item(key).map(|(_, place, offset)| (Place { name, ..place.clone() }, *offset))
    }

    /// Leaves of a kernel that lie in what forward kept.
    fn kept_leaf(&self, node: usize) -> Option<(Place, usize)> {
        if !self.backward() {
            return None;
        }
        match self.graph.nodes[node].kind {
            Kind::Leaf(Leaf::State(i)) => self.kept_place(i, format!("v{node}")),
            Kind::Leaf(Leaf::Saved(k)) => self.kept_place(usize::MAX - k, format!("v{node}")),
            _ => None,
        }
    }

    /// Whether a value is made again where it is used rather than handed over: inputs and elementwise work on them.
    fn is_cheap(&self, node: usize) -> bool {
        matches!(self.graph.nodes[node].kind, Kind::Leaf(_) | Kind::Map(..) | Kind::Lower(_))
    }

    /// What a block kernel with these roots reads from records: (from prepare, from sequential kernels).
    fn hand_over(&self, roots: &[usize], own: Option<&Group>) -> (BTreeSet<usize>, BTreeSet<usize>) {
        let (mut record, mut passed) = (BTreeSet::new(), BTreeSet::new());
        let mut seen = BTreeSet::new();
        let mut todo = roots.to_vec();
        while let Some(n) = todo.pop() {
            if !seen.insert(n) {
                continue;
            }
            let carried = self.stages.leaves.values().any(|l| *l == n);
            if self.stages.depends[n] {
                let foreign = self
                    .stages
                    .groups
                    .iter()
                    .any(|g| g.values.contains(&n) && own.is_none_or(|own| own.states != g.states));
                if foreign || (carried && own.is_none()) {
                    passed.insert(n);
                    continue;
                }
            } else if !self.is_cheap(n) {
                record.insert(n);
                continue;
            }
            if let Kind::Part(solve, _) = self.graph.nodes[n].kind {
                todo.push(solve);
            }
            todo.extend(self.graph.nodes[n].kind.operands().iter().map(|r| r.node));
        }
        (record, passed)
    }

    /// Results that finish writes.
    fn finish_roots(&self) -> Vec<(usize, Role, Ref)> {
        let results = self.graph.results.iter().enumerate();
        results
            .filter(|(index, (role, r))| {
                let state = matches!(role, Role::State(_) | Role::StateGrad(_));
                !state && self.stages.depends[r.node] && !self.stages.sequential.contains_key(index)
            })
            .map(|(index, (role, r))| (index, *role, *r))
            .collect()
    }

    fn walk_roots(&self, g: usize, group: &Group) -> Vec<usize> {
        let mut roots: Vec<usize> = group.states.iter().map(|s| self.stages.next[s]).collect();
        roots.extend(
            self.stages.sequential.iter().filter(|(_, of)| **of == g).map(|(i, _)| self.graph.results[*i].1.node),
        );
        roots
    }

    fn lay_out_records(&mut self) {
        let mut passed = BTreeSet::new();
        let mut later = BTreeSet::new();
        let roots: Vec<usize> = self.finish_roots().iter().map(|(_, _, r)| r.node).collect();
        let (record, from) = self.hand_over(&roots, None);
        later.extend(record);
        passed.extend(from);
        for (g, group) in self.stages.groups.iter().enumerate() {
            if let Carry::Walk(_) = group.carry {
                let (record, from) = self.hand_over(&self.walk_roots(g, group), Some(group));
                later.extend(record);
                passed.extend(from);
            }
        }
        // what a chain fetches lies together
        let mut record = Record::default();
        for group in &self.stages.groups {
            let Carry::Chain(chain) = &group.carry else { continue };
            for n in self.fetched(chain) {
                if record.item(n).is_none() {
                    let vector = !self.graph.is_matrix(n);
                    record.add(n, self.placed(n, if vector { Elem::F32 } else { self.config.product }));
                }
            }
        }
        for group in &self.stages.groups {
            if let Carry::Chain(chain) = &group.carry {
                later.extend(chain.given.iter().filter(|n| self.kept_leaf(**n).is_none()));
            }
        }
        let only_products = |n: usize| {
            let plain = |user: usize| {
                matches!(self.graph.nodes[user].kind, Kind::Product(..))
                    && self.graph.nodes[user].shape != Shape::new(Axis::Token, Axis::Token)
            };
            let users = (0..self.graph.nodes.len())
                .filter(|u| self.graph.nodes[*u].kind.operands().iter().any(|r| r.node == n));
            let result = self.graph.results.iter().any(|(_, r)| r.node == n);
            let in_chain =
                self.stages.groups.iter().any(|g| matches!(&g.carry, Carry::Chain(c) if c.given.contains(&n)));
            let mut users = users.peekable();
            !result && !in_chain && users.peek().is_some() && users.all(plain)
        };
        for n in later {
            if record.item(n).is_none() {
                let elem = if self.graph.is_matrix(n) && only_products(n) { self.config.product } else { Elem::F32 };
                record.add(n, self.placed(n, elem));
            }
        }
        self.record = record;
        for n in passed {
            // states travel rounded: they are operands of products
            let state = self.stages.leaves.values().any(|l| *l == n);
            if state && self.pass == Pass::ForwardSave {
                continue;
            }
            let round = self.graph.is_matrix(n) && (state || only_products(n));
            let elem = if round { self.config.product } else { Elem::F32 };
            self.passed.add(n, self.placed(n, elem));
        }
    }

    /// Vectors and right operands of a chain that come from prepare.
    fn fetched(&self, chain: &Chain) -> Vec<usize> {
        let vectors = chain.vectors.iter().copied();
        let images = chain.images.iter().copied().filter(|n| !self.is_own_image(*n));
        vectors.chain(images).collect()
    }

    /// A right operand that is an input as it is.
    fn is_own_image(&self, node: usize) -> bool {
        matches!(self.graph.nodes[node].kind, Kind::Leaf(Leaf::Input(_) | Leaf::OutputGrad(_)))
            && self.graph.nodes[node].shape.rows == Axis::Token
    }

    fn elem_of(&self, leaf: &Leaf) -> Elem {
        match leaf {
            Leaf::Input(i) => self.config.inputs[*i],
            _ => self.config.output,
        }
    }

    /// Which head of a view a value head reads.
    fn head_of(&self, leaf: &Leaf) -> &'static str {
        match leaf {
            Leaf::Input(i) if self.config.per_key_head[*i] => "ch.key_head",
            _ => "ch.head",
        }
    }

    fn view_of(&self, leaf: &Leaf) -> String {
        match leaf {
            Leaf::Input(i) => format!("x.inputs[{i}]"),
            Leaf::OutputGrad(i) => format!("x.output_grads[{i}]"),
            other => unreachable!("{other:?} is no view"),
        }
    }

    /// Functions that read the caller's memory.
    fn readers(&self, leaves: &BTreeSet<usize>, out: &mut Text) {
        for n in leaves {
            let Kind::Leaf(leaf) = &self.graph.nodes[*n].kind else { continue };
            if let Leaf::Const(i) = leaf {
                out.line(format!("const float const{i} = (float)x.constants[{i}];"));
            }
            let Some((name, i)) = view_kind(leaf) else { continue };
            let (view, head, elem) = (self.view_of(leaf), self.head_of(leaf), self.elem_of(leaf).c());
            let per_token = self.graph.nodes[*n].shape.rows == Axis::Token;
            if per_token {
                out.line(format!(
                    "const {elem}* const {name}{i}_rows = rows_of<const {elem}>({view}, ch.batch, ch.first, {head});"
                ));
                let value = format!("widen({name}{i}_rows[ch.token(t) * {view}.s1 + n])");
                let value = match leaf {
                    Leaf::OutputGrad(_) => format!("{view}.ptr && t < ch.valid ? {value} : 0.f"),
                    _ => value,
                };
                out.line(format!("auto {name}{i} = [&](int t, int n) {{ return {value}; }};"));
            } else {
                out.line(format!("const {elem}* const {name}{i}_rows = rows_of<const {elem}>({view}, 0, 0, {head});"));
                out.line(format!("auto {name}{i} = [&](int t, int n) {{ return widen({name}{i}_rows[n]); }};"));
            }
        }
    }

    /// Pointers to values of a record.
    fn pointers(record: &Record, base: &str, nodes: impl Iterator<Item = usize>, out: &mut Text) {
        for n in nodes {
            if let Some((_, place, offset)) = record.item(n) {
                let c = place.elem.c();
                out.line(format!("{c}* const {} = ({c}*)({base} + {offset});", place.name));
            }
        }
    }

    fn bases(&self, slot: &str, out: &mut Text) {
        out.line(format!("const i64 number = {slot} * x.heads + head;"));
        for (name, bytes) in
            [("record", self.record.stride()), ("passed", self.passed.stride()), ("kept", self.kept.stride())]
        {
            if bytes > 0 {
                out.line(format!("char* const {name} = x.{name} + number * {bytes};"));
            }
        }
    }

    fn block<'b>(&'b self, reserved: usize) -> Block<'b> {
        Block {
            graph: self.graph,
            sizes: self.sizes(),
            product: if self.pass == Pass::Decode { Elem::F32 } else { self.config.product },
            interface: self.interface,
            given: BTreeMap::new(),
            wanted: BTreeMap::new(),
            sinks: vec![],
            budget: self.config.shared,
            reserved,
        }
    }

    /// Gives a block what lies in records, and returns the lines that declare the pointers.
    fn give(&self, block: &mut Block, record: &BTreeSet<usize>, passed: &BTreeSet<usize>, out: &mut Text) {
        Self::pointers(&self.record, "record", record.iter().copied(), out);
        Self::pointers(&self.passed, "passed", passed.iter().copied(), out);
        for n in record {
            block.given.insert(*n, self.record.item(*n).expect("laid out").1.clone());
        }
        for n in passed {
            match self.passed.item(*n) {
                Some((_, place, _)) => {
                    block.given.insert(*n, place.clone());
                }
                None => {
                    // the state at the chunk's start, which is kept
                    let state = self.stages.leaves.iter().find(|(_, l)| *l == n).expect("a state").0;
                    let (place, offset) = self.kept_place(*state, format!("v{n}")).expect("kept");
                    out.line(format!("{0}* const v{n} = ({0}*)(kept + {offset});", place.elem.c()));
                    block.given.insert(*n, place);
                }
            }
        }
    }

    /// Gives a block the leaves that forward kept.
    fn give_kept(&self, block: &mut Block, out: &mut Text) {
        for n in 0..self.graph.nodes.len() {
            if let Some((place, offset)) = self.kept_leaf(n)
                && !block.given.contains_key(&n)
            {
                out.line(format!("{0}* const v{n} = ({0}*)(kept + {offset});", place.elem.c()));
                block.given.insert(n, place);
            }
        }
    }

    /// The sink of a result, from a block that has the chunk `ch`.
    fn result_sink(&self, role: Role, r: Ref) -> Option<Sink> {
        let shape = self.graph.shape(r);
        let last = false;
        match role {
            Role::Output(i) => {
                let elem = self.config.output.c();
                let per = if shape.cols == Axis::One { "" } else { " + c" };
                Some(Sink {
                    value: r,
                    condition: String::new(),
                    statement: format!(
                        "if (r < ch.valid) rows_of<{elem}>(x.outputs[{i}], ch.batch, ch.first + r, ch.head)[0{per}] = narrow<{elem}>(@);"
                    ),
                    comment: format!("output {i}"),
                    padded: false,
                    last,
                })
            }
            Role::InputGrad(i) if self.interface.inputs[i].rows == Axis::Token => {
                let elem = self.config.input_grads[i].c();
                // where value heads share a row, each has its own here; they are summed afterwards
                let head = if self.config.per_key_head[i] { "x.group > 1 ? ch.head : ch.key_head" } else { "ch.head" };
                Some(Sink {
                    value: r,
                    condition: format!("x.input_grads[{i}].ptr"),
                    statement: format!(
                        "if (r < ch.valid) rows_of<{elem}>(x.input_grads[{i}], ch.batch, ch.first + r, {head})[c] = narrow<{elem}>(@);"
                    ),
                    comment: format!("gradient of {}", self.interface.input_names[i]),
                    padded: false,
                    last,
                })
            }
            Role::InputGrad(i) => {
                let (_, offset, _) = *self.partial().iter().find(|(of, ..)| *of == i)?;
                let index = if shape.rows == Axis::One { "c" } else { "r" };
                Some(Sink {
                    value: r,
                    condition: String::new(),
                    statement: format!("partial[{offset} + {index}] = @;"),
                    comment: format!("this chunk's part of the gradient of {}", self.interface.input_names[i]),
                    padded: false,
                    last,
                })
            }
            Role::Saved(k) => {
                let (place, offset) = self.kept_place(usize::MAX - k, String::new())?;
                let target = format!("(({}*)(kept + {offset}))", place.elem.c());
                let index = match (shape.rows, shape.cols) {
                    (Axis::One, _) => "c".to_string(),
                    (_, Axis::One) => "r".to_string(),
                    _ => format!("r * {} + c", place.ld),
                };
                Some(Sink {
                    value: r,
                    condition: String::new(),
                    statement: format!("{target}[{index}] = @;"),
                    comment: "kept for backward".into(),
                    padded: true,
                    last,
                })
            }
            Role::State(_) | Role::StateGrad(_) => None,
        }
    }

    /// Parameters' gradients: input, offset and count of floats in the partial sums of a chunk and head.
    fn partial(&self) -> Vec<(usize, usize, usize)> {
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

    fn per_chunk(&self, name: &'static str, block: Block, given: Text) -> Result<(Kernel, usize), Error> {
        let written = block.write();
        let mut out = Text::default();
        out.line("const int head = blockIdx.x % x.heads;");
        out.line("const i64 slot = blockIdx.x / x.heads;");
        out.line("i64 sequence;");
        out.line("const Chunk ch = chunk_of(x.sequences, slot, head, x.group, CHUNK, &sequence);");
        self.bases("slot", &mut out);
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
        self.finish_block(&written, given, "number", &mut out);
        self.kernel(name, 0, Grid::Chunks, BLOCK_THREADS, &written, out, false)
    }

    fn finish_block(&self, written: &Written, given: Text, number: &str, out: &mut Text) {
        if written.scratch > 0 {
            out.line(format!(
                "char* const scratch = x.scratch + {number} * {};",
                written.scratch.next_multiple_of(128)
            ));
        }
        out.lines(given.finish().lines());
        self.readers(&written.leaves, out);
        out.lines(&written.pointers);
        out.lines(&written.body);
    }

    #[allow(clippy::too_many_arguments)]
    fn kernel(
        &self,
        stage: &'static str,
        index: usize,
        grid: Grid,
        threads: usize,
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
        let name =
            format!("{}_{pass}_{stage}{}", self.symbol, if index > 0 { index.to_string() } else { String::new() });
        let text = KernelText {
            title: &format!("{pass}, {stage}"),
            name: &name,
            threads,
            blocks: 1,
            chunk: self.config.sizes.chunk,
            counts: [
                self.counts.inputs.max(1),
                self.counts.outputs.max(1),
                self.counts.states.max(1),
                self.counts.constants.max(1),
            ],
            chain,
            prologue: vec![],
            body: body.finish().lines().map(str::to_string).collect(),
        };
        let source = render(&text)?;
        Ok((
            Kernel { name, source, grid, threads, shared: written.shared, stage },
            written.scratch.next_multiple_of(128),
        ))
    }

    fn prepare(&self) -> Result<Option<(Kernel, usize)>, Error> {
        let mut block = self.block(0);
        let mut given = Text::default();
        for (n, place, offset) in &self.record.items {
            let name = format!("w{n}");
            given.line(format!("{0}* const {name} = ({0}*)(record + {offset});", place.elem.c()));
            block.wanted.insert(*n, Place { name, ..place.clone() });
        }
        for (role, r) in &self.graph.results {
            if !self.stages.depends[r.node]
                && let Some(sink) = self.result_sink(*role, *r)
            {
                block.sinks.push(sink);
            }
        }
        if block.wanted.is_empty() && block.sinks.is_empty() {
            return Ok(None);
        }
        self.give_kept(&mut block, &mut given);
        self.per_chunk("prepare", block, given).map(Some)
    }

    fn finish(&self) -> Result<Option<(Kernel, usize)>, Error> {
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
        self.give_kept(&mut block, &mut given);
        self.per_chunk("finish", block, given).map(Some)
    }

    /// (source or target of a state at the sequence's ends: read, written), names of the argument's fields.
    fn state_fields(&self) -> (&'static str, &'static str) {
        match self.pass {
            Pass::Backward => ("state_grads_in", "state_grads_out"),
            Pass::Decode => ("states_in", "states_in"),
            _ => ("states_in", "states_out"),
        }
    }

    /// Address of element (r, c) of the program's state in the caller's memory.
    fn state_element(&self, state: usize, field: &str, row: &str, col: &str) -> String {
        let sides = self.program.states[state];
        let view = format!("x.{field}[{state}]");
        let entry = if self.pass == Pass::Decode { "pool" } else { "sequence" };
        let base = format!("rows_of<float>({view}, {entry}, head, 0)");
        if sides.free == Axis::One {
            return format!("{base}[({col}) * {view}.s3]");
        }
        if sides.contracted == Axis::One {
            return format!("{base}[({row}) * {view}.s3]");
        }
        let (r, c) = if sides.transposed { ("s3", "s2") } else { ("s2", "s3") };
        format!("{base}[(i64)({row}) * {view}.{r} + (i64)({col}) * {view}.{c}]")
    }

    fn state_shape(&self, state: usize) -> Shape {
        let sides = self.program.states[state];
        Shape::new(sides.free, sides.contracted)
    }

    fn decode_prologue(&self, out: &mut Text) {
        out.line("const i64 sequence = blockIdx.x / x.heads;");
        out.line("const int head = blockIdx.x % x.heads;");
        if self.pass == Pass::Decode {
            out.line("const i64 pool = x.slots ? x.slots[sequence] : sequence;");
            out.line("if (pool < 0) return;");
        }
    }

    /// All of a decode step by one block.
    fn walk_all(&self) -> Result<(Kernel, usize), Error> {
        let group = Group {
            states: (0..self.program.states.len()).collect(),
            carry: Carry::Walk(String::new()),
            values: BTreeSet::new(),
        };
        self.walk_kernel(0, &group, "decode", true)
    }

    fn walk(&self, g: usize, group: &Group) -> Result<(Kernel, usize), Error> {
        self.walk_kernel(g, group, "walk", false)
    }

    fn walk_kernel(&self, g: usize, group: &Group, stage: &'static str, all: bool) -> Result<(Kernel, usize), Error> {
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
            let place = Place { name: name.clone(), elem: Elem::F32, ld: ld.unwrap_or(0), bytes: *bytes };
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
                statement: format!("{name}[{index}] = @;"),
                comment: format!("{} after the chunk", self.interface.states[*state]),
                padded: false,
                last: true,
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
            for (n, place, _) in &self.passed.items {
                if group.values.contains(n) && !block.given.contains_key(n) {
                    block.wanted.insert(*n, place.clone());
                    Self::pointers(&self.passed, "passed", [*n].into_iter(), &mut given);
                }
            }
        }
        block.sinks.extend(lasts);
        self.give(&mut block, &record, &passed, &mut given);
        self.give_kept(&mut block, &mut given);
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
        self.loop_head(&mut out);
        self.chunk_starts(group, None, &mut given);
        out.line("__syncthreads();");
        if written.scratch > 0 {
            let total = (state_scratch + written.scratch).next_multiple_of(128);
            out.line(format!("char* const scratch = x.scratch + (i64)blockIdx.x * {total} + {state_scratch};"));
        }
        out.lines(given.finish().lines());
        self.readers(&written.leaves, &mut out);
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
        self.kernel(stage, g, Grid::Sequences(1), BLOCK_THREADS, &written, out, false)
    }

    /// The loop over chunks: `ch`, `number` and the bases of records.
    fn loop_head(&self, out: &mut Text) {
        if self.pass == Pass::Decode {
            out.line("for (int t = 0; t < x.sequences.tokens; t++) {");
            out.line("const Chunk ch = {sequence, t, 0, head, head / (int)x.group, 1};");
            return;
        }
        out.line("const i64 tokens = x.sequences.length(sequence), start = x.sequences.start(sequence);");
        out.line("const i64 chunks = (tokens + CHUNK - 1) / CHUNK, first = x.sequences.slot(sequence, CHUNK);");
        out.line("for (i64 i = 0; i < chunks; i++) {");
        out.line(if self.backward() { "const i64 k = chunks - 1 - i;" } else { "const i64 k = i;" });
        out.line("const i64 left = tokens - k * CHUNK;");
        out.line(
            "const Chunk ch = {x.sequences.batch(sequence), start + k * CHUNK, first + k, head, head / (int)x.group, (int)(left < CHUNK ? left : CHUNK)};",
        );
        self.bases("(first + k)", out);
    }

    /// Writes states at the chunk's start (gradients at its end) where finish or backward reads them.
    fn chunk_starts(&self, group: &Group, chain: Option<&Chain>, out: &mut Text) {
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

    fn chain(&self, g: usize, group: &Group, chain: &Chain) -> Result<Kernel, Error> {
        let sizes = self.sizes();
        let free = chain.free.expect("a chain has a free side");
        let channels = sizes.padded(free);
        // slices of equal width: no warp works beyond the padding
        let most = self.config.warps.clamp(1, channels / 16);
        let warps = (1..=most).rev().find(|w| (channels / 16) % w == 0).unwrap_or(1);
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
        Ok(self.kernel("chain", g, Grid::Sequences(slices), threads, &written, out, true)?.0)
    }
}
