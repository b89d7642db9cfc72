//! What a pass reads and writes, chunk by chunk: packing, unpacking, and fetching ahead.

use std::collections::BTreeSet;

use super::frame::Frame;
use super::fuse::{Form, Place};
use super::graph::{Graph, Kind, Pos};
use super::layout::{Layout, wanted};
use super::order::{Ordered, only_elementwise};
use super::text::Text;
use crate::tile::{Axis, Leaf, Role};

/// Inputs and results that may lie where the caller has them: matrices that elementwise work alone touches.
pub fn views(graph: &Graph, layout: &Layout, ordered: &Ordered) -> BTreeSet<usize> {
    let mut out = BTreeSet::new();
    for (n, node) in graph.nodes.iter().enumerate() {
        let rows = node.shape.rows == Axis::Token && matches!(node.shape.cols, Axis::Side(_));
        let input = matches!(node.kind, Kind::Leaf(Leaf::Input(_)));
        let is_result = graph.results.iter().any(|(_, r)| r.node == n);
        let copied = ordered.copies.iter().any(|c| c.node == n);
        if rows && input && !is_result && !copied && only_elementwise(graph, layout, ordered, n) {
            out.insert(n);
        }
    }
    for (role, r) in &graph.results {
        let alone = graph.results.iter().filter(|(_, x)| x.node == r.node).count() == 1;
        let written = match ordered.fused.places[r.node] {
            Place::Stage { stage, live: true } => {
                matches!(ordered.fused.stages[stage].form, Form::Tile { .. } | Form::Map)
            }
            _ => false,
        };
        let shape = graph.shape(*r);
        let rows = shape.rows == Axis::Token && matches!(shape.cols, Axis::Side(_));
        if matches!(role, Role::Output(_) | Role::InputGrad(_))
            && alone
            && written
            && rows
            && !ordered.read.contains(&r.node)
            && layout[r.node] == wanted(*role, *r)
        {
            out.insert(r.node);
        }
    }
    out
}

impl Frame<'_> {
    /// Says for each chunk where its inputs and results lie: in the caller's memory where that is whole rows of f32.
    pub(super) fn views(&self, out: &mut Text) {
        let space = self.context.space;
        for n in &space.views {
            let node = &self.graph().nodes[*n];
            let result = self.graph().results.iter().find(|(_, r)| r.node == *n);
            let array = match (&node.kind, result) {
                (Kind::Leaf(Leaf::Input(i)), _) => format!("x.inputs.add({i})"),
                (_, Some((Role::Output(i), _))) => format!("x.outputs.add({i})"),
                (_, Some((Role::InputGrad(i), _))) => format!("x.input_grads.add({i})"),
                other => unreachable!("{other:?} is no border"),
            };
            let field = self.field(*n, false);
            let m = space.matrix(*n, space.layout[*n]);
            let (size, panel) = (self.widths().size(m.lanes), space.panel_of(m.rows, m.row));
            out.line(format!(
                "(w.{field}, w.{field}_panel, w.{field}_row) = \
                 place(&*{array}, t0, valid == {}, {size}, {}, w.{field}_own, {panel});",
                self.widths().chunk,
                m.row
            ));
        }
    }

    /// The condition under which a border is copied, if it may be the caller's own.
    fn copied(&self, node: usize) -> String {
        let field = self.field(node, false);
        if self.context.space.views.contains(&node) { format!("if w.{field} == w.{field}_own ") } else { String::new() }
    }

    pub(super) fn pack(&self, attributes: &[String], out: &mut Text) {
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
            if !self.read_words(n, &array, out) {
                continue;
            }
            if node.shape.cols == Axis::One {
                out.line(format!("pack_scalars{zero}(&*{array}, t0, valid, {chunk}, w.{field});"));
            } else {
                let m = self.context.space.matrix(n, Pos::Cols);
                let call = format!(
                    "pack{zero}(&*{array}, t0, valid, {chunk}, {}, w.{field}, {}, {});",
                    self.widths().size(node.shape.cols),
                    m.row,
                    m.panel
                );
                let copied = self.copied(n);
                out.line(if copied.is_empty() { call } else { format!("{copied}{{ {call} }}") });
            }
        }
        out.line("}");
        out.line("");
    }

    pub(super) fn unpack(&self, attributes: &[String], out: &mut Text) {
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
                let call = format!(
                    "{}(&*{array}, t0, valid, {}, w.{}, {}, {});",
                    match role {
                        _ if self.graph().given.is_some() => "write_rows",
                        Role::InputGrad(_) => "unpack_streamed",
                        _ => "unpack",
                    },
                    self.widths().size(shape.cols),
                    m.field,
                    m.row,
                    m.panel
                );
                let copied = self.copied(r.node);
                out.line(if copied.is_empty() { call } else { format!("{copied}{{ {call} }}") });
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
}
