//! A pass around its chunks: working memory, packing, the walk over chunks, and what is written back.

use std::collections::{BTreeMap, BTreeSet};

use super::fuse::{Form, Place, fuse};
use super::graph::{Graph, Kind, Pos};
use super::layout::{layout, wanted};
use super::order::{Ordered, Step, order};
use super::space::{Space, Widths};
use super::stage::{self, Context, backwards, block};
use super::text::Text;
use super::{Interface, Pass};
use crate::schedule::Schedule;
use crate::tile::{Axis, Leaf, Program, Role, Shape};

/// Everything that is written for one pass.
pub struct Frame<'a> {
    pass: Pass,
    program: &'a Program,
    interface: &'a Interface,
    context: Context<'a>,
    /// What was kept or what is to be kept, by role, and the state behind each leaf.
    bound: BTreeMap<usize, String>,
}

/// Writes a pass as the items of a module.
pub fn write(
    pass: Pass,
    program: &Program,
    interface: &Interface,
    widths: Widths,
    schedule: &Schedule,
    attributes: &[String],
) -> String {
    let graph = Graph::new(program);
    let lanes = layout(&graph, widths.chunk);
    let fused = fuse(&graph, &lanes);
    let ordered = order(&graph, &lanes, fused, pass != Pass::ForwardSave);
    let mut space = Space::new(&graph, &lanes, widths, &|leaf| interface.field(leaf));
    space.single = ordered.single.clone();
    let context = Context {
        space: &space,
        ordered: &ordered,
        prefetch: schedule.prefetch && widths.chunk > 1,
        statements: &interface.statements,
    };
    let mut frame = Frame { pass, program, interface, context, bound: BTreeMap::new() };
    let mut out = Text::default();
    frame.text(attributes, &mut out);
    out.finish()
}

/// A state of the pass: its value, or its gradient.
struct Carried {
    index: usize,
    /// The leaf that reads it, if anything does.
    leaf: Option<usize>,
    /// The node of its next value, and whether that is in the other orientation.
    next: Option<(usize, bool)>,
    shape: Shape,
}

impl Frame<'_> {
    fn graph(&self) -> &Graph {
        self.context.space.graph
    }

    fn ordered(&self) -> &Ordered {
        self.context.ordered
    }

    fn leaf(&self, leaf: Leaf) -> Option<usize> {
        self.graph().nodes.iter().position(|n| n.kind == Kind::Leaf(leaf))
    }

    fn widths(&self) -> Widths {
        self.context.space.widths
    }

    fn result(&self, role: Role) -> Option<(usize, bool)> {
        let (_, r) = self.graph().results.iter().find(|(x, _)| *x == role)?;
        let turned = self.graph().is_matrix(r.node) && self.context.space.layout[r.node] != wanted(role, *r);
        Some((r.node, turned))
    }

    fn state_shape(&self, index: usize) -> Shape {
        let sides = self.program.states[index];
        Shape::new(sides.free, sides.contracted)
    }

    /// Floats of a value of a shape as results and saved values are stored, its lanes along `pos`.
    fn floats(&self, shape: Shape, pos: Pos) -> String {
        let widths = self.widths();
        let (rows, lanes) = if pos == Pos::Cols { (shape.rows, shape.cols) } else { (shape.cols, shape.rows) };
        if rows == Axis::One || lanes == Axis::One {
            let axis = if lanes == Axis::One { rows } else { lanes };
            return format!("{} * {}", widths.panels(axis), widths.panel(axis));
        }
        format!("{} * {} * {}", widths.panels(lanes), widths.stored(rows), widths.panel(lanes))
    }

    /// The states that the pass carries from chunk to chunk.
    fn carried(&self) -> Vec<Carried> {
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

    fn field(&self, node: usize, turned: bool) -> String {
        let name = self.context.space.name(node);
        if turned { format!("{name}_t") } else { name.to_string() }
    }

    fn text(&mut self, attributes: &[String], out: &mut Text) {
        let carried = self.carried();
        self.bind(&carried);
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

    fn steps(&self, steps: &[Step], out: &mut Text) {
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
    fn bind(&mut self, carried: &[Carried]) {
        let mut taken: BTreeSet<(usize, bool)> = BTreeSet::new();
        let is_stage = |frame: &Self, node: usize| matches!(frame.ordered().fused.places[node], Place::Stage { .. });
        for state in carried {
            if let Some((node, turned)) = state.next
                && is_stage(self, node)
                && taken.insert((node, turned))
            {
                let old = state.leaf;
                let in_place = old.is_some_and(|o| self.ordered().in_place.get(&o) == Some(&node));
                if self.pass == Pass::ForwardSave || (in_place && !turned) {
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

    fn is_bound(&self, node: usize, turned: bool) -> bool {
        self.bound.contains_key(&(node * 2 + usize::from(turned)))
    }

    /// Nodes with memory of their own, and its floats: (field, floats).
    fn owned(&self) -> Vec<(String, String)> {
        let (space, graph) = (self.context.space, self.graph());
        let mut out = vec![];
        let backward = self.pass == Pass::Backward;
        for (n, node) in graph.nodes.iter().enumerate() {
            let mut native = self.ordered().stored.contains(&n);
            match node.kind {
                Kind::Leaf(Leaf::Number(_) | Leaf::Size(_) | Leaf::Const(_)) => continue,
                Kind::Leaf(Leaf::Saved(_) | Leaf::StateGrad(_)) => native = false,
                Kind::Leaf(Leaf::State(_)) => native = false,
                Kind::Leaf(_) => native = true,
                _ => {
                    native &= !self.is_bound(n, false) && matches!(self.ordered().fused.places[n], Place::Stage { .. })
                }
            }
            let _ = backward;
            if graph.is_matrix(n) {
                if native {
                    out.push((self.field(n, false), space.floats(n, space.layout[n])));
                }
                if self.ordered().turned.contains(&n) && !self.is_bound(n, true) {
                    out.push((self.field(n, true), space.floats(n, space.layout[n].flip(true))));
                }
            } else if native {
                out.push((self.field(n, false), space.vector_floats(n)));
            }
        }
        if self.fetches() {
            // one pointer and one count a row
            out.push(("list".into(), format!("{}", 4 * (self.fetched().len() * self.widths().chunk + 2))));
        }
        for stage in &self.ordered().fused.stages {
            match &stage.form {
                Form::Finish { tile } => {
                    let rows = self.ordered().fused.stages[*tile].rows;
                    let field = format!("{}_part", space.name(stage.nodes[0]));
                    let stored = self.widths().stored(rows);
                    out.push((field, format!("{stored} * {}", self.widths().tile.lanes)));
                }
                Form::Helper => {
                    let name = format!("{}_tmp", space.name(stage.nodes[0]));
                    let lanes = self.widths().tile.lanes;
                    match &graph.nodes[stage.nodes[0]].kind {
                        Kind::DecayDot { w, .. } => {
                            let side = graph.shape(*w).cols;
                            out.push((name, format!("{} * {lanes}", self.widths().stored(side))));
                        }
                        Kind::RectSum(_) | Kind::DecayApply { .. } | Kind::DecayRect { .. } => {
                            out.push((name, format!("{}", self.widths().stored_tokens() * lanes)));
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        out
    }

    fn sides(&self) -> usize {
        self.interface.sides
    }

    fn work(&self, carried: &[Carried], out: &mut Text) {
        let graph = self.graph();
        let owned = self.owned();
        let widths = self.widths();
        let panel = widths.tile.lanes * widths.tile.vectors;
        out.line("/// Sizes, and where each value of a chunk lies.");
        out.line("#[derive(Clone, Copy)]");
        out.line("struct Work {");
        for s in 0..self.sides() {
            out.line(format!("n{s}: usize,"));
            out.line(format!("panels{s}: usize,"));
            out.line(format!("rows{s}: usize,"));
        }
        out.line("ahead: *mut Ahead,");
        let mut pointers: Vec<String> = owned.iter().map(|(f, _)| f.clone()).collect();
        for key in self.bound.keys() {
            pointers.push(self.field(key / 2, key % 2 == 1));
        }
        for (n, node) in graph.nodes.iter().enumerate() {
            if let Kind::Leaf(Leaf::Saved(_) | Leaf::State(_) | Leaf::StateGrad(_) | Leaf::Const(_)) = node.kind {
                pointers.push(self.field(n, false));
            }
        }
        for field in &pointers {
            out.line(format!("{field}: *mut f32,"));
        }
        for state in carried {
            out.line(format!("state{}: *mut f32,", state.index));
        }
        for (i, _) in self.parameter_grads() {
            out.line(format!("sum{i}: *mut f32,"));
        }
        out.line("}");
        out.line("");
        out.line("impl Work {");
        out.line("/// Lays the working memory out from `base` on; also the floats it takes.");
        out.line("unsafe fn new(n: *const usize, base: *mut f32) -> (Work, usize) {");
        out.line("let mut used = 0;");
        out.line("let none = core::ptr::null_mut::<f32>();");
        out.line("let mut w = Work {");
        for s in 0..self.sides() {
            out.line(format!("n{s}: *n.add({s}),"));
            out.line(format!("panels{s}: (*n.add({s})).div_ceil({panel}),"));
            out.line(format!("rows{s}: (*n.add({s})).next_multiple_of({panel}),"));
        }
        out.line("ahead: core::ptr::null_mut(),");
        for field in &pointers {
            out.line(format!("{field}: none,"));
        }
        for state in carried {
            out.line(format!("state{}: none,", state.index));
        }
        for (i, _) in self.parameter_grads() {
            out.line(format!("sum{i}: none,"));
        }
        out.line("};");
        for (field, floats) in &owned {
            out.line(format!("w.{field} = take(base, &mut used, {floats});"));
        }
        for state in carried {
            out.line(format!(
                "w.state{} = take(base, &mut used, {});",
                state.index,
                self.floats(state.shape, Pos::Rows)
            ));
        }
        for (i, shape) in self.parameter_grads() {
            out.line(format!("w.sum{i} = take(base, &mut used, {});", self.floats(shape, Pos::Cols)));
        }
        out.line("(w, used)");
        out.line("}");
        out.line("}");
        out.line("");
        self.sizes(carried, out);
    }

    /// Functions that say how much is needed.
    fn sizes(&self, carried: &[Carried], out: &mut Text) {
        out.line("/// Floats of working memory.");
        out.line("pub unsafe fn scratch(n: *const usize) -> usize {");
        out.line("Work::new(n, core::ptr::null_mut()).1");
        out.line("}");
        out.line("");
        if matches!(self.pass, Pass::Forward | Pass::Decode) {
            return;
        }
        out.line("/// Floats kept for one chunk: the states at its start, then the saved values.");
        out.line("unsafe fn kept(w: &Work) -> usize {");
        out.line("let _ = w;");
        let mut terms = vec![];
        for state in carried {
            terms.push(format!("lines({})", self.floats(state.shape, Pos::Rows)));
        }
        for shape in &self.program.saved {
            terms.push(format!("lines({})", self.floats(*shape, Pos::Cols)));
        }
        out.line(if terms.is_empty() { "0".to_string() } else { terms.join(" + ") });
        out.line("}");
        out.line("");
        if self.pass == Pass::ForwardSave {
            out.line("/// Floats kept for a sequence.");
            out.line("pub unsafe fn saved(tokens: usize, n: *const usize) -> usize {");
            out.line("let (w, _) = Work::new(n, core::ptr::null_mut());");
            out.line(format!("tokens.div_ceil({}) * kept(&w)", self.widths().chunk));
            out.line("}");
            out.line("");
        }
    }

    /// Parameters whose gradients are summed over chunks.
    fn parameter_grads(&self) -> Vec<(usize, Shape)> {
        if self.pass != Pass::Backward {
            return vec![];
        }
        let inputs = self.interface.inputs.iter().enumerate();
        inputs
            .filter(|(i, s)| s.rows != Axis::Token && self.result(Role::InputGrad(*i)).is_some())
            .map(|(i, s)| (i, *s))
            .collect()
    }

    fn pack(&self, attributes: &[String], out: &mut Text) {
        let graph = self.graph();
        let chunk = self.widths().chunk;
        out.line("/// Reads the chunk that starts at token `t0` and has `valid` tokens.");
        out.lines(attributes);
        out.line("unsafe fn read_chunk(w: &Work, x: &Args, t0: usize, valid: usize) {");
        out.line("let _ = (w, x, t0, valid);");
        for (n, node) in graph.nodes.iter().enumerate() {
            let Kind::Leaf(leaf) = node.kind else { continue };
            let (array, zero) = match leaf {
                Leaf::Input(i) => (format!("x.inputs.add({i})"), ""),
                Leaf::OutputGrad(i) => (format!("x.output_grads.add({i})"), "_or_zero"),
                Leaf::Valid => {
                    out.line(format!("for t in 0..{chunk} {{"));
                    out.line(format!("*w.{}.add(t) = if t < valid {{ 1.0 }} else {{ 0.0 }};", self.field(n, false)));
                    out.line("}");
                    continue;
                }
                _ => continue,
            };
            if node.shape.rows != Axis::Token {
                continue;
            }
            let field = self.field(n, false);
            if node.shape.cols == Axis::One {
                out.line(format!("pack_scalars{zero}(&*{array}, t0, valid, {chunk}, w.{field});"));
            } else {
                let m = self.context.space.matrix(n, Pos::Cols);
                out.line(format!(
                    "pack{zero}(&*{array}, t0, valid, {chunk}, {}, w.{field}, {}, {});",
                    self.widths().size(node.shape.cols),
                    m.row,
                    m.panel
                ));
            }
        }
        out.line("}");
        out.line("");
    }

    fn unpack(&self, attributes: &[String], out: &mut Text) {
        out.line("/// Writes the chunk's results.");
        out.lines(attributes);
        out.line("unsafe fn write_chunk(w: &Work, x: &Args, t0: usize, valid: usize) {");
        out.line("let _ = (w, x, t0, valid);");
        for (role, r) in &self.graph().results {
            let array = match role {
                Role::Output(i) => format!("x.outputs.add({i})"),
                Role::InputGrad(i) if self.interface.inputs[*i].rows == Axis::Token => {
                    format!("x.input_grads.add({i})")
                }
                _ => continue,
            };
            let shape = self.graph().shape(*r);
            if shape.cols == Axis::One {
                out.line(format!("unpack_scalars(&*{array}, t0, valid, w.{});", self.field(r.node, false)));
            } else {
                let m = self.context.space.matrix(r.node, wanted(*role, *r));
                out.line(format!(
                    "unpack(&*{array}, t0, valid, {}, w.{}, {}, {});",
                    self.widths().size(shape.cols),
                    m.field,
                    m.row,
                    m.panel
                ));
            }
        }
        for (i, shape) in self.parameter_grads() {
            let (node, turned) = self.result(Role::InputGrad(i)).expect("checked");
            out.line(format!(
                "for i in 0..{} {{",
                self.widths().size(if shape.cols == Axis::One { shape.rows } else { shape.cols })
            ));
            out.line(format!("*w.sum{i}.add(i) += *w.{}.add(i);", self.field(node, turned)));
            out.line("}");
        }
        out.line("}");
        out.line("");
    }

    /// Arrays whose rows the pass reads and writes, chunk by chunk: (pointer to the view, size).
    fn fetched(&self) -> Vec<(String, String)> {
        let sides = |shape: Shape| matches!(shape.cols, Axis::Side(_)) && shape.rows == Axis::Token;
        let mut out = vec![];
        for node in &self.graph().nodes {
            let array = match node.kind {
                Kind::Leaf(Leaf::Input(i)) => format!("x.inputs.add({i})"),
                Kind::Leaf(Leaf::OutputGrad(i)) => format!("x.output_grads.add({i})"),
                _ => continue,
            };
            if sides(node.shape) {
                out.push((array, self.widths().size(node.shape.cols)));
            }
        }
        for (role, r) in &self.graph().results {
            let array = match role {
                Role::Output(i) => format!("x.outputs.add({i})"),
                Role::InputGrad(i) => format!("x.input_grads.add({i})"),
                _ => continue,
            };
            let shape = self.graph().shape(*r);
            if sides(shape) {
                out.push((array, self.widths().size(shape.cols)));
            }
        }
        out
    }

    fn fetches(&self) -> bool {
        self.context.prefetch && matches!(self.pass, Pass::Forward | Pass::ForwardSave | Pass::Backward)
    }

    fn fetch(&self, attributes: &[String], out: &mut Text) {
        if !self.fetches() {
            return;
        }
        let chunk = self.widths().chunk;
        out.line("/// Lists the rows of the chunk at token `t0`, to be fetched during the chunk before it.");
        out.lines(attributes);
        out.line("unsafe fn fetch(w: &Work, x: &Args, t0: usize) -> Ahead {");
        out.line(format!("let rows = (x.tokens - t0).min({chunk});"));
        out.line("let list = w.list as *mut (*const f32, usize);");
        out.line("let mut count = 0;");
        for (array, size) in self.fetched() {
            out.line(format!("fetch_rows(list, &mut count, &*{array}, t0, rows, {size});"));
        }
        if self.pass == Pass::Backward {
            out.line("let kept = kept(w);");
            out.line(format!("fetch_block(list, &mut count, x.saved.add(t0 / {chunk} * kept), kept);"));
        }
        out.line("Ahead::list(list, count)");
        out.line("}");
        out.line("");
    }

    fn run(&self, carried: &[Carried], attributes: &[String], out: &mut Text) {
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
            let Carried { index, .. } = state;
            let source = if backward { "state_grads_in" } else { "states_in" };
            out.line(format!("{};", self.move_state("load", source, state)));
            let _ = index;
        }
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
            if save {
                if let Some(leaf) = state.leaf {
                    out.line(format!("w.{} = start{i};", self.field(leaf, false)));
                }
                out.line("if c == 0 {");
                out.line(format!("copy(w.state{i}, start{i}, {});", self.floats(state.shape, Pos::Rows)));
                out.line("}");
                out.line(format!("let next{i} = if c + 1 < chunks {{ start{i}.add(kept) }} else {{ w.state{i} }};"));
            } else {
                if let Some(leaf) = state.leaf {
                    out.line(format!("w.{} = w.state{i};", self.field(leaf, false)));
                }
                if self.bound.values().any(|b| *b == format!("next{i}")) {
                    out.line(format!("let next{i} = w.state{i};"));
                }
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
        out.line("read_chunk(&w, x, t0, valid);");
        if self.fetches() {
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
        out.line("write_chunk(&w, x, t0, valid);");
        out.line("}");
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

    fn kept_pointers(&self, carried: &[Carried], out: &mut Text) {
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
    fn copies(&self, carried: &[Carried], out: &mut Text) {
        let save = self.pass == Pass::ForwardSave;
        for state in carried {
            let i = state.index;
            let target = if save { format!("next{i}") } else { format!("w.state{i}") };
            let bound = self.bound.values().any(|b| *b == format!("next{i}"));
            if bound {
                continue;
            }
            let floats = self.floats(state.shape, Pos::Rows);
            match (state.next, state.leaf) {
                (Some((node, turned)), leaf) => {
                    if Some(node) != leaf || save {
                        out.line(format!("copy(w.{}, {target}, {floats});", self.field(node, turned)));
                    }
                }
                (None, _) if save => out.line(format!("copy(start{i}, {target}, {floats});")),
                (None, _) => {}
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

    fn move_state(&self, verb: &str, array: &str, state: &Carried) -> String {
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
