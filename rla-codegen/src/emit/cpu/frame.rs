//! A pass around its chunks: working memory, packing, the walk over chunks, and what is written back.

use std::collections::{BTreeMap, BTreeSet};

use super::ahead::Requests;
use super::fuse::{Form, Place, fuse};
use super::graph::{Graph, Kind, Pos};
use super::layout::{layout, wanted};
use super::order::{Ordered, Step, order};
use super::pairs;
use super::space::{Space, Widths};
use super::stage::{self, Context, backwards, block};
use super::text::Text;
use super::{Interface, Pass, borders, scales};
use crate::kernel::Level;
use crate::schedule::{Choices, Tile};
use crate::tile::{Axis, Leaf, Program, Role, Shape};

/// Everything that is written for one pass.
pub struct Frame<'a> {
    pub(super) pass: Pass,
    pub(super) program: &'a Program,
    pub(super) interface: &'a Interface,
    pub(super) context: Context<'a>,
    /// What was kept or what is to be kept, by role, and the state behind each leaf.
    pub(super) bound: BTreeMap<usize, String>,
}

/// Writes a pass as the items of a module; `bf16`: its products take bf16 operands where they may.
pub fn write(
    pass: Pass,
    bf16: bool,
    program: &Program,
    interface: &Interface,
    choices: &Choices,
    level: Level,
    attributes: &[String],
) -> String {
    let widths = Widths { tile: Tile::chosen(choices, level), chunk: choices.chunk };
    let mut graph = Graph::new(program);
    if bf16 {
        graph.given = Some(interface.in_16_bits.clone());
        graph = scales::move_scales(&graph);
    }
    let lanes = layout(&graph, widths.chunk);
    let fused = fuse(&graph, &lanes, choices.solve);
    let mut ordered = order(&graph, &lanes, fused, true);
    let words = pairs::without_floats(&graph, &lanes, &mut ordered);
    let mut space = Space::new(&graph, &lanes, widths, &|leaf| interface.field(leaf));
    space.single = ordered.single.clone();
    (space.words, space.word_views) = words;
    // a block of rows that ends past the chunk would read and write rows that are not the caller's
    if pass != Pass::Decode && widths.chunk.is_multiple_of(widths.tile.rows) {
        space.views = borders::views(&graph, &lanes, &ordered);
    }
    let context = Context {
        space: &space,
        ordered: &ordered,
        requests: Requests::None,
        choices: *choices,
        streamed: BTreeSet::new(),
        kept: BTreeMap::new(),
        statements: &interface.statements,
    };
    let mut frame = Frame { pass, program, interface, context, bound: BTreeMap::new() };
    if choices.prefetch > 0 && widths.chunk > 1 {
        frame.context.requests = frame.requests();
    }
    let mut out = Text::default();
    frame.text(attributes, &mut out);
    out.finish()
}

/// A state of the pass: its value, or its gradient.
pub(super) struct Carried {
    pub(super) index: usize,
    /// The leaf that reads it, if anything does.
    pub(super) leaf: Option<usize>,
    /// The node of its next value, and whether that is in the other orientation.
    pub(super) next: Option<(usize, bool)>,
    pub(super) shape: Shape,
}

impl Frame<'_> {
    pub(super) fn graph(&self) -> &Graph {
        self.context.space.graph
    }

    pub(super) fn ordered(&self) -> &Ordered {
        self.context.ordered
    }

    pub(super) fn leaf(&self, leaf: Leaf) -> Option<usize> {
        self.graph().nodes.iter().position(|n| n.kind == Kind::Leaf(leaf))
    }

    pub(super) fn widths(&self) -> Widths {
        self.context.space.widths
    }

    pub(super) fn result(&self, role: Role) -> Option<(usize, bool)> {
        let (_, r) = self.graph().results.iter().find(|(x, _)| *x == role)?;
        let turned = self.graph().is_matrix(r.node) && self.context.space.layout[r.node] != wanted(role, *r);
        Some((r.node, turned))
    }

    pub(super) fn state_shape(&self, index: usize) -> Shape {
        let sides = self.program.states[index];
        Shape::new(sides.free, sides.contracted)
    }

    /// Floats of a value of a shape as results and saved values are stored, its lanes along `pos`.
    pub(super) fn floats(&self, shape: Shape, pos: Pos) -> String {
        let widths = self.widths();
        let (rows, lanes) = if pos == Pos::Cols { (shape.rows, shape.cols) } else { (shape.cols, shape.rows) };
        if rows == Axis::One || lanes == Axis::One {
            let axis = if lanes == Axis::One { rows } else { lanes };
            return format!("{} * {}", widths.panels(axis), widths.panel(axis));
        }
        format!("{} * {} * {}", widths.panels(lanes), widths.stored(rows), widths.panel(lanes))
    }

    /// The states that the pass carries from chunk to chunk.
    pub(super) fn carried(&self) -> Vec<Carried> {
        let backward = self.pass == Pass::Backward;
        (0..self.program.states.len())
            .map(|index| Carried {
                index,
                leaf: self.leaf(if backward { Leaf::StateGrad(index) } else { Leaf::State(index) }),
                next: self.result(if backward { Role::StateGrad(index) } else { Role::State(index) }),
                shape: self.state_shape(index),
            })
            .collect()
    }

    pub(super) fn field(&self, node: usize, turned: bool) -> String {
        let name = self.context.space.name(node);
        if turned { format!("{name}_t") } else { name.to_string() }
    }

    pub(super) fn text(&mut self, attributes: &[String], out: &mut Text) {
        let carried = self.carried();
        self.bind(&carried);
        self.keep();
        self.work(&carried, out);
        for index in 0..self.ordered().fused.stages.len() {
            stage::write(&self.context, index, attributes, out);
        }
        out.line("/// What depends on no token, once a call.");
        out.lines(attributes);
        out.line("unsafe fn once(w: &Work) {");
        out.line("let _ = w;");
        self.steps(&self.ordered().once, out);
        out.line("}");
        out.line("");
        out.line("/// One chunk, packed.");
        out.lines(attributes);
        out.line("unsafe fn chunk(w: &Work) {");
        self.steps(&self.ordered().steps, out);
        out.line("}");
        out.line("");
        self.pack(attributes, out);
        self.unpack(attributes, out);
        self.fetch(attributes, out);
        self.run(&carried, attributes, out);
    }

    pub(super) fn steps(&self, steps: &[Step], out: &mut Text) {
        let widths = self.widths();
        for step in steps {
            match step {
                Step::Whole(s) => out.line(format!("s{s}(w);")),
                Step::Panels(axis, inside) => {
                    out.line(format!("for p in 0..{} {{", widths.panels(*axis)));
                    for s in inside {
                        let stage = &self.ordered().fused.stages[*s];
                        if !matches!(stage.form, Form::Tile { .. }) {
                            out.line(format!("s{s}(w, p);"));
                            continue;
                        }
                        let rows = block(&self.context, stage);
                        let size = widths.size(stage.rows);
                        let range = format!("(0..{size}).step_by({rows})");
                        let range = if backwards(&self.context, stage) { format!("{range}.rev()") } else { range };
                        out.line(format!("for r in {range} {{"));
                        out.line(format!("s{s}(w, p, r);"));
                        out.line("}");
                    }
                    out.line("}");
                }
            }
        }
    }

    /// Fields whose memory is not the kernel's own: where they point, chunk by chunk.
    pub(super) fn bind(&mut self, carried: &[Carried]) {
        let mut taken: BTreeSet<(usize, bool)> = BTreeSet::new();
        let is_stage = |frame: &Self, node: usize| matches!(frame.ordered().fused.places[node], Place::Stage { .. });
        for state in carried {
            if let Some((node, turned)) = state.next
                && is_stage(self, node)
                && taken.insert((node, turned))
            {
                let old = state.leaf;
                let in_place = old.is_some_and(|o| self.ordered().in_place.get(&o) == Some(&node));
                if in_place && !turned {
                    self.bound.insert(node * 2 + usize::from(turned), format!("next{}", state.index));
                }
            }
        }
        if self.pass == Pass::ForwardSave {
            for k in 0..self.program.saved.len() {
                if let Some((node, turned)) = self.result(Role::Saved(k))
                    && is_stage(self, node)
                    && taken.insert((node, turned))
                {
                    self.bound.insert(node * 2 + usize::from(turned), format!("saved{k}"));
                }
            }
        }
    }

    /// What forward stores for backward beside, or past, the caches.
    fn keep(&mut self) {
        if self.pass != Pass::ForwardSave {
            return;
        }
        let results = &self.graph().results;
        let once = |node: usize| results.iter().filter(|(_, r)| r.node == node).count() == 1;
        let mut streamed = BTreeSet::new();
        let mut kept = BTreeMap::new();
        for (key, target) in &self.bound {
            if let Some(state) = target.strip_prefix("next") {
                kept.insert(key / 2, format!("keep{state}"));
            } else if self.context.choices.stream
                && key % 2 == 0
                && once(key / 2)
                && !self.ordered().read.contains(&(key / 2))
            {
                streamed.insert(key / 2);
            }
        }
        self.context.streamed = streamed;
        self.context.kept = kept;
    }

    pub(super) fn is_bound(&self, node: usize, turned: bool) -> bool {
        self.bound.contains_key(&(node * 2 + usize::from(turned)))
    }

    /// Parameters whose gradients are summed over chunks.
    pub(super) fn parameter_grads(&self) -> Vec<(usize, Shape)> {
        if self.pass != Pass::Backward {
            return vec![];
        }
        let inputs = self.interface.inputs.iter().enumerate();
        inputs
            .filter(|(i, s)| s.rows != Axis::Token && self.result(Role::InputGrad(*i)).is_some())
            .map(|(i, s)| (i, *s))
            .collect()
    }

    pub(super) fn run(&self, carried: &[Carried], attributes: &[String], out: &mut Text) {
        let graph = self.graph();
        let chunk = self.widths().chunk;
        let (save, backward) = (self.pass == Pass::ForwardSave, self.pass == Pass::Backward);
        out.line("/// The whole pass over one sequence and head.");
        out.lines(attributes);
        out.line("pub unsafe fn run(x: &Args) {");
        out.line("let (mut w, _) = Work::new(x.sizes, x.scratch);");
        out.line("let mut ahead = Ahead::nothing(x.scratch);");
        out.line("w.ahead = &mut ahead;");
        for (n, node) in graph.nodes.iter().enumerate() {
            match node.kind {
                Kind::Leaf(Leaf::Const(i)) => {
                    out.line(format!("w.{} = x.constants.add({i}) as *mut f32;", self.field(n, false)));
                }
                Kind::Leaf(Leaf::Input(i)) if node.shape.rows != Axis::Token => {
                    let axis = graph.vector_axis(n);
                    let size = self.widths().size(axis);
                    out.line(format!("pack_vector(&*x.inputs.add({i}), {size}, w.{});", self.field(n, false)));
                }
                Kind::Leaf(Leaf::Identity(side)) => {
                    let m = self.context.space.matrix(n, Pos::Cols);
                    let field = self.field(n, false);
                    out.line(format!("clear(w.{field}, {});", self.context.space.floats(n, Pos::Cols)));
                    out.line(format!("for i in 0..w.n{side} {{"));
                    out.line(format!("*w.{field}.add(i / {0} * ({1}) + i * {0} + i % {0}) = 1.0;", m.row, m.panel));
                    out.line("}");
                }
                _ => {}
            }
        }
        out.line("once(&w);");
        for state in carried {
            let source = if backward { "state_grads_in" } else { "states_in" };
            out.line(format!("{};", self.move_state("load", source, state)));
        }
        self.copy_states(carried, true, out);
        for (i, shape) in self.parameter_grads() {
            out.line(format!("clear(w.sum{i}, {});", self.floats(shape, Pos::Cols)));
        }
        out.line(format!("let chunks = x.tokens.div_ceil({chunk});"));
        out.line(if backward { "for c in (0..chunks).rev() {" } else { "for c in 0..chunks {" });
        out.line(format!("let t0 = c * {chunk};"));
        out.line(format!("let valid = (x.tokens - t0).min({chunk});"));
        if save || backward {
            out.line("let kept = kept(&w);");
            out.line("let here = x.saved.add(c * kept);");
            self.kept_pointers(carried, out);
        }
        for state in carried {
            let i = state.index;
            if let Some(leaf) = state.leaf {
                out.line(format!("w.{} = w.state{i};", self.field(leaf, false)));
            }
            if self.bound.values().any(|b| *b == format!("next{i}")) {
                out.line(format!("let next{i} = w.state{i};"));
            }
            if save {
                out.line("if c == 0 {");
                out.line(format!("copy(w.state{i}, start{i}, {});", self.floats(state.shape, Pos::Rows)));
                out.line("}");
                // the last chunk's result is nobody's start
                out.line(format!("w.keep{i} = if c + 1 < chunks {{ start{i}.add(kept) }} else {{ w.sink{i} }};"));
            }
        }
        for (key, value) in &self.bound {
            out.line(format!("w.{} = {value};", self.field(key / 2, key % 2 == 1)));
        }
        if backward {
            for (n, node) in graph.nodes.iter().enumerate() {
                match node.kind {
                    Kind::Leaf(Leaf::State(i)) => out.line(format!("w.{} = start{i};", self.field(n, false))),
                    Kind::Leaf(Leaf::Saved(k)) => out.line(format!("w.{} = saved{k};", self.field(n, false))),
                    _ => {}
                }
            }
        }
        self.views(out);
        self.place_words(out);
        out.line("read_chunk(&w, x, t0, valid);");
        if self.context.requests != Requests::None {
            if backward {
                out.line(format!(
                    "ahead = if c > 0 {{ fetch(&w, x, t0 - {chunk}) }} else {{ Ahead::nothing(x.scratch) }};"
                ));
            } else {
                out.line(format!(
                    "ahead = if c + 1 < chunks {{ fetch(&w, x, t0 + {chunk}) }} else {{ Ahead::nothing(x.scratch) }};"
                ));
            }
        }
        out.line("chunk(&w);");
        self.copies(carried, out);
        self.copy_states(carried, false, out);
        out.line("write_chunk(&w, x, t0, valid);");
        out.line("}");
        if save || backward {
            out.line("fence();");
        }
        for state in carried {
            let target = match self.pass {
                Pass::Backward => "state_grads_out",
                Pass::Decode => "states_in",
                _ => "states_out",
            };
            out.line(format!("{};", self.move_state("store", target, state)));
        }
        if backward {
            for (i, shape) in self.interface.inputs.iter().enumerate() {
                let size = self.widths().size(if shape.cols == Axis::One && shape.rows != Axis::Token {
                    shape.rows
                } else {
                    shape.cols
                });
                match (self.result(Role::InputGrad(i)), shape.rows) {
                    (Some(_), Axis::Token) => {}
                    (Some(_), _) => out.line(format!("unpack_vector(&*x.input_grads.add({i}), {size}, w.sum{i});")),
                    (None, Axis::Token) => {
                        out.line(format!("no_gradient(&*x.input_grads.add({i}), x.tokens, {size});"))
                    }
                    (None, _) => out.line(format!("no_gradient(&*x.input_grads.add({i}), 1, {size});")),
                }
            }
        }
        out.line("}");
    }

    pub(super) fn kept_pointers(&self, carried: &[Carried], out: &mut Text) {
        let mut before: Vec<String> = vec![];
        let offset =
            |before: &[String]| if before.is_empty() { String::new() } else { format!(".add({})", before.join(" + ")) };
        for state in carried {
            out.line(format!("let start{} = here{};", state.index, offset(&before)));
            before.push(format!("lines({})", self.floats(state.shape, Pos::Rows)));
        }
        for (k, shape) in self.program.saved.iter().enumerate() {
            out.line(format!("let saved{k} = here{};", offset(&before)));
            before.push(format!("lines({})", self.floats(*shape, Pos::Cols)));
        }
        let names: Vec<String> = carried
            .iter()
            .map(|s| format!("start{}", s.index))
            .chain((0..self.program.saved.len()).map(|k| format!("saved{k}")))
            .collect();
        if !names.is_empty() {
            out.line(format!("let _ = ({},);", names.join(", ")));
        }
    }

    /// Results that were not written where they belong.
    pub(super) fn copies(&self, carried: &[Carried], out: &mut Text) {
        let save = self.pass == Pass::ForwardSave;
        for state in carried {
            let i = state.index;
            if self.bound.values().any(|b| *b == format!("next{i}")) {
                continue;
            }
            let floats = self.floats(state.shape, Pos::Rows);
            if let Some((node, turned)) = state.next
                && Some(node) != state.leaf
            {
                out.line(format!("copy(w.{}, w.state{i}, {floats});", self.field(node, turned)));
            }
            if save {
                out.line(format!("copy(w.state{i}, w.keep{i}, {floats});"));
            }
        }
        if save {
            for (k, shape) in self.program.saved.iter().enumerate() {
                if self.bound.values().any(|b| *b == format!("saved{k}")) {
                    continue;
                }
                let (node, turned) = self.result(Role::Saved(k)).expect("forward keeps what it says");
                out.line(format!(
                    "copy(w.{}, saved{k}, {});",
                    self.field(node, turned),
                    self.floats(*shape, Pos::Cols)
                ));
            }
        }
    }

    pub(super) fn move_state(&self, verb: &str, array: &str, state: &Carried) -> String {
        let i = state.index;
        let widths = self.widths();
        let transposed = self.program.states[i].transposed;
        let Shape { rows: free, cols: contracted } = state.shape;
        if free == Axis::One || contracted == Axis::One {
            let axis = if free == Axis::One { contracted } else { free };
            return format!("{verb}_vector_state(&*x.{array}.add({i}), {}, w.state{i})", widths.size(axis));
        }
        format!(
            "{verb}_state(&*x.{array}.add({i}), {transposed}, {}, {}, w.state{i}, {}, {})",
            widths.size(free),
            widths.size(contracted),
            widths.panel(free),
            widths.stored(contracted)
        )
    }
}
