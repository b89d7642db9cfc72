//! Rows fetched ahead: which, and from inside which products.
//!
//! Rows of one head lie far apart, further than the hardware follows, so the next chunk's are requested while this one is
//! computed: every four inner steps of a product (in bf16 a step is two elements), as many lines as it takes to be through
//! within the chunk.

use super::Pass;
use super::frame::Frame;
use super::fuse::{Form, Term};
use super::graph::{Kind, Ref};
use super::layout::wanted;
use super::space::Space;
use super::stage::block;
use super::text::Text;
use crate::tile::{Axis, Leaf, Role, Shape};

/// Sides are counted with this size where the choice is made.
const TYPICAL: usize = 128;

/// Which products request rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requests {
    /// None.
    None,
    /// Those that sum over a side.
    Sides,
    /// Those that sum over all tokens of a chunk as well: short, so only where the others are too few.
    All,
}

impl Requests {
    /// Whether a product with the left operand `a` requests rows.
    pub fn from(self, space: &Space, a: Ref) -> bool {
        match (self, space.graph.shape(a).cols) {
            (Requests::None, _) => false,
            (Requests::Sides, inner) => inner != Axis::Token,
            (Requests::All, inner) => inner != Axis::Token || space.graph.triangle(a).is_none(),
        }
    }
}

fn typical(axis: Axis, chunk: usize) -> usize {
    match axis {
        Axis::Side(_) => TYPICAL,
        Axis::Token => chunk,
        Axis::One => 1,
    }
}

impl Frame<'_> {
    /// Arrays of the caller whose rows are fetched, the elements of a row, and the lanes of a panel where the rows are not
    /// fetched if they can be written past the cache.
    pub(super) fn fetched(&self) -> Vec<(String, Axis, Option<usize>)> {
        let sides = |shape: Shape| matches!(shape.cols, Axis::Side(_)) && shape.rows == Axis::Token;
        let mut out = vec![];
        for node in &self.graph().nodes {
            let array = match node.kind {
                Kind::Leaf(Leaf::Input(i)) => format!("x.inputs.add({i})"),
                Kind::Leaf(Leaf::OutputGrad(i)) => format!("x.output_grads.add({i})"),
                _ => continue,
            };
            if sides(node.shape) {
                out.push((array, node.shape.cols, None));
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
                let copied = matches!(role, Role::InputGrad(_)) && !self.context.space.views.contains(&r.node);
                let panel = self.context.space.matrix(r.node, wanted(*role, *r)).row;
                out.push((array, shape.cols, copied.then_some(panel)));
            }
        }
        out
    }

    /// Which products request rows: all only where those over sides cannot fetch one line each.
    pub(super) fn requests(&self) -> Requests {
        if !matches!(self.pass, Pass::Forward | Pass::ForwardSave | Pass::Backward) {
            return Requests::None;
        }
        let chunk = self.widths().chunk;
        let always = self.fetched().into_iter().filter(|(.., streamed)| streamed.is_none());
        let mut floats: usize = always.map(|(_, axis, _)| chunk * typical(axis, chunk)).sum();
        if self.pass == Pass::Backward {
            let states = (0..self.program.states.len()).map(|i| self.state_shape(i));
            let kept = states.chain(self.program.saved.iter().copied());
            floats += kept.map(|s| typical(s.rows, chunk) * typical(s.cols, chunk)).sum::<usize>();
        }
        let requests: usize = self
            .products(Requests::Sides)
            .iter()
            .map(|p| {
                let panel = self.widths().panel(p.lanes);
                typical(p.lanes, chunk).div_ceil(panel)
                    * typical(p.rows, chunk).div_ceil(p.block)
                    * (typical(p.inner, chunk) / p.every)
            })
            .sum();
        if requests * 16 >= floats { Requests::Sides } else { Requests::All }
    }

    fn products(&self, requests: Requests) -> Vec<Fetching> {
        let space = self.context.space;
        let mut out = vec![];
        for stage in &self.ordered().fused.stages {
            let Form::Tile { chains, .. } = &stage.form else { continue };
            for term in chains.iter().flatten() {
                if let Term::Product { a, b, .. } = term
                    && requests.from(space, *a)
                {
                    let inner = space.graph.shape(*a).cols;
                    let block = block(&self.context, stage);
                    let every = if self.graph().in_bf16(*a, *b) { 8 } else { 4 };
                    out.push(Fetching { rows: stage.rows, lanes: stage.lanes, inner, block, every });
                }
            }
        }
        out
    }

    /// The function that lists what the next chunk will read and write.
    pub(super) fn fetch(&self, attributes: &[String], out: &mut Text) {
        if self.context.requests == Requests::None {
            return;
        }
        let widths = self.widths();
        let chunk = widths.chunk;
        out.line("/// Lists the rows of the chunk at token `t0`, to be fetched during the chunk before it.");
        out.lines(attributes);
        out.line("unsafe fn fetch(w: &Work, x: &Args, t0: usize) -> Ahead {");
        out.line(format!("let rows = (x.tokens - t0).min({chunk});"));
        out.line("let list = w.list as *mut (*const f32, usize);");
        out.line("let mut count = 0;");
        for (array, side, streamed) in self.fetched() {
            let n = widths.size(side);
            let call = format!("fetch_rows(list, &mut count, &*{array}, t0, rows, {n});");
            out.line(match streamed {
                Some(panel) => format!("if !streams(&*{array}, {n}, {panel}) {{ {call} }}"),
                None => call,
            });
        }
        if self.pass == Pass::Backward {
            out.line("let kept = kept(w);");
            out.line(format!("fetch_block(list, &mut count, x.saved.add(t0 / {chunk} * kept), kept);"));
        }
        let mut requests = std::collections::BTreeMap::<String, usize>::new();
        for p in self.products(self.context.requests) {
            let blocks = match p.rows {
                Axis::Token => chunk.div_ceil(p.block).to_string(),
                rows => format!("{}.div_ceil({})", widths.size(rows), p.block),
            };
            let inner = widths.size(p.inner);
            *requests.entry(format!("{} * {blocks} * ({inner} / {})", widths.panels(p.lanes), p.every)).or_default() +=
                1;
        }
        let requests: Vec<String> = requests.iter().map(|(text, n)| format!("{n} * {text}")).collect();
        let requests = if requests.is_empty() { "0".into() } else { requests.join(" + ") };
        out.line("// requests that this chunk's products make");
        out.line(format!("let requests = {requests};"));
        out.line(match self.context.choices.prefetch {
            1 => "Ahead::list(list, count, requests)".to_string(),
            part => format!("Ahead::list(list, count, requests / {part})"),
        });
        out.line("}");
        out.line("");
    }
}

/// A product that requests rows: how often a chunk runs it, and for how long.
struct Fetching {
    rows: Axis,
    lanes: Axis,
    inner: Axis,
    block: usize,
    /// Inner elements from one request to the next.
    every: usize,
}
