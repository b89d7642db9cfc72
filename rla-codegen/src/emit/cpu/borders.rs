//! What a pass reads and writes, chunk by chunk: packing, unpacking, and fetching ahead.

use super::Pass;
use super::frame::Frame;
use super::graph::{Kind, Pos};
use super::layout::wanted;
use super::text::Text;
use crate::tile::{Axis, Leaf, Role, Shape};

impl Frame<'_> {
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
    pub(super) fn fetched(&self) -> Vec<(String, String)> {
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

    pub(super) fn fetches(&self) -> bool {
        self.context.prefetch && matches!(self.pass, Pass::Forward | Pass::ForwardSave | Pass::Backward)
    }

    pub(super) fn fetch(&self, attributes: &[String], out: &mut Text) {
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
}
