//! Copies of values in bf16 for products: which there are, where they lie, and what writes them.
//!
//! The instruction multiplies pairs: two elements that are adjacent along a product's inner axis lie in one 32-bit word. So a
//! value that is summed over along its rows is copied as words of two rows of a lane, one along its lanes as words of two
//! lanes of a row. Words lie in panels as the value's floats do, and addresses count words.
//!
//! Where an axis of odd length is summed over, the other half of its last word is zero.

use std::collections::BTreeSet;

use super::elementwise::Row;
use super::frame::{Carried, Frame};
use super::fuse::{Form, Fused, Place, Stage};
use super::graph::{Graph, Kind, Pos, Ref};
use super::layout::Layout;
use super::order::{Ordered, Read, only_elementwise};
use super::space::{Matrix, Space};
use super::stage::{Context, backwards, block, takes_panel};
use super::text::Text;
use crate::tile::{Axis, Leaf};

/// Which elements of a matrix lie in one word of its bf16 copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pairs {
    /// Two rows of a lane.
    Rows,
    /// Two lanes of a row: plain bf16.
    Lanes,
}

/// A further place of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Copy {
    /// The node.
    pub node: usize,
    /// In the other orientation.
    pub turned: bool,
    /// In bf16, in pairs; `None`: f32.
    pub pairs: Option<Pairs>,
}

impl Copy {
    /// The stage that makes the copy by itself.
    pub fn form(self) -> Form {
        match (self.turned, self.pairs) {
            (false, Some(pairs)) => Form::Pack(pairs),
            (true, Some(_)) => Form::TurnPairs,
            (_, None) => Form::Turn,
        }
    }
}

/// How the left operand of a product is paired.
pub fn left(layout: &Layout, a: Ref) -> Pairs {
    if layout[a.node].flip(a.flip) == Pos::Cols { Pairs::Lanes } else { Pairs::Rows }
}

/// The copies that are read, and those that they are made from.
pub fn copies<'a>(graph: &Graph, layout: &Layout, reads: impl Iterator<Item = &'a Read>) -> BTreeSet<Copy> {
    let mut copies = BTreeSet::new();
    for read in reads.filter(|r| r.pairs.is_some()) {
        let turned = read.lane.is_some_and(|lane| lane != layout[read.node]);
        copies.insert(Copy { node: read.node, turned, pairs: read.pairs });
        if turned || graph.is_given(read.node) {
            copies.insert(Copy { node: read.node, turned: false, pairs: Some(Pairs::Lanes) });
        }
    }
    copies
}

/// Whether the stage of the value, or for states the pass around the chunks, writes the copy.
pub fn written_with(graph: &Graph, layout: &Layout, fused: &Fused, copy: Copy) -> bool {
    match fused.places[copy.node] {
        _ if copy.turned => false,
        Place::Given if graph.is_given(copy.node) => copy.pairs == Some(Pairs::Lanes),
        Place::Given => matches!(graph.nodes[copy.node].kind, Kind::Leaf(Leaf::State(_))),
        Place::Stage { stage, live: true } => match fused.stages[stage].form {
            Form::Tile { .. } | Form::Serial { .. } => true,
            // a walk over all panels of a row does not keep the row before
            Form::Map => copy.pairs == Some(Pairs::Lanes) || !sums_lanes(graph, layout, &fused.stages[stage]),
            _ => false,
        },
        _ => false,
    }
}

fn sums_lanes(graph: &Graph, layout: &Layout, stage: &Stage) -> bool {
    stage.nodes.iter().any(|n| match &graph.nodes[*n].kind {
        Kind::Sum(x, over) => !graph.is_matrix(x.node) || layout[x.node] == over.flip(x.flip),
        _ => false,
    })
}

/// The next value of a state takes the old one's place, and so do its copies, where its stage can write them.
pub fn follow(graph: &Graph, layout: &Layout, fused: &Fused, copies: &mut BTreeSet<Copy>, old: usize, next: usize) {
    let of_old: Vec<Copy> = copies.iter().copied().filter(|c| c.node == old && !c.turned).collect();
    for copy in of_old.into_iter().map(|c| Copy { node: next, ..c }) {
        if written_with(graph, layout, fused, copy) {
            copies.insert(copy);
        }
    }
}

/// Inputs in bf16 that nothing needs in f32 but elementwise work, which widens what it loads: they lie in bf16 only. And those
/// of them that no product reads: they may lie where the caller has them.
pub fn without_floats(graph: &Graph, layout: &Layout, ordered: &mut Ordered) -> (BTreeSet<usize>, BTreeSet<usize>) {
    let given = (0..graph.nodes.len()).filter(|n| graph.is_given(*n));
    let words: BTreeSet<usize> = given.filter(|n| only_elementwise(graph, layout, ordered, *n)).collect();
    let views = words.iter().copied().filter(|n| ordered.copies.iter().all(|c| c.node != *n)).collect();
    ordered.copies.extend(words.iter().map(|n| Copy { node: *n, turned: false, pairs: Some(Pairs::Lanes) }));
    (words, views)
}

impl Space<'_> {
    /// A copy in pairs. `r` of [`Matrix::at`] is a pair of rows, or a row of pairs of lanes.
    pub fn paired(&self, copy: Copy) -> Matrix {
        let lane = self.layout[copy.node].flip(copy.turned);
        let (rows, lanes) = self.axes(copy.node, lane);
        let width = self.widths.panel(lanes);
        let (suffix, row) = match copy.pairs {
            Some(Pairs::Lanes) => ("bf16", width / 2),
            _ => ("pairs", width),
        };
        let turned = if copy.turned { "_t" } else { "" };
        let field = format!("{}{turned}_{suffix}", self.name(copy.node));
        let single = !copy.turned && self.single.contains(&copy.node);
        if self.word_views.contains(&copy.node) && copy.pairs == Some(Pairs::Lanes) {
            let (panel, view) = (format!("w.{field}_panel"), Some(format!("{field}_row")));
            return Matrix { field, panel, row, view, lanes, rows };
        }
        let panel = if single { String::new() } else { self.panel_of(rows, width / 2) };
        Matrix { field, panel, row, view: None, lanes, rows }
    }

    /// Words of a copy.
    pub fn words(&self, copy: Copy) -> String {
        let m = self.paired(copy);
        let panel = self.panel_of(m.rows, self.widths.panel(m.lanes) / 2);
        if m.view.is_some() {
            return format!("{} * {panel}", self.widths.panels(m.lanes));
        }
        if m.panel.is_empty() { panel } else { format!("{} * {panel}", self.widths.panels(m.lanes)) }
    }
}

/// Copies that the stage of their value writes.
fn written<'a>(context: &'a Context, node: usize) -> impl Iterator<Item = Copy> + 'a {
    let written = |c: &Copy| written_with(context.space.graph, context.space.layout, &context.ordered.fused, *c);
    context.ordered.copies.iter().copied().filter(move |c| c.node == node && written(c))
}

/// Writes the copies of a vector that is at hand.
pub fn store(context: &Context, row: &mut Row, node: usize, p: &str, v: &str) {
    let Place::Stage { stage, .. } = context.ordered.fused.places[node] else { return };
    let stage = &context.ordered.fused.stages[stage];
    for copy in written(context, node) {
        let m = context.space.paired(copy);
        if copy.pairs == Some(Pairs::Lanes) {
            row.body.push(format!("store_bf16({}.add(j * L / 2), {v});", m.at(p, "r")));
            continue;
        }
        // a literal index where the rows are unrolled
        let i = if matches!(stage.form, Form::Tile { .. }) { "i" } else { "r" };
        let held = format!("h{node}[j]");
        let (first, two) =
            if backwards(context, stage) { (1, format!("{v}, {held}")) } else { (0, format!("{held}, {v}")) };
        let at = m.at(p, "(r / 2)");
        row.body
            .push(format!("if {i} % 2 == {first} {{ {held} = {v}; }} else {{ store({at}.add(j * L), pair({two})); }}"));
    }
}

/// Adds what stands around the rows of a stage that writes copies: the row held, and the end of an odd axis.
pub fn around(
    context: &Context,
    index: usize,
    before: &mut Vec<String>,
    tail: &mut Vec<String>,
    after: &mut Vec<String>,
) {
    let space = context.space;
    let stage = &context.ordered.fused.stages[index];
    let copies = stage.nodes.iter().flat_map(|n| written(context, *n));
    for copy in copies {
        let m = space.paired(copy);
        let vectors = space.widths.vectors(m.lanes);
        let is_side = |axis: Axis| matches!(axis, Axis::Side(_));
        if copy.pairs == Some(Pairs::Lanes) {
            if is_side(m.lanes) {
                let (n, w) = (space.widths.size(m.lanes), space.widths.panel(m.lanes));
                let here = if takes_panel(context, index) { format!("p == {n} / {w}") } else { "true".into() };
                let at = m.at(&format!("({n} / {w})"), "r");
                let at = if m.panel.is_empty() { m.at("0", "r") } else { at };
                tail.push(format!("if {n} % 2 == 1 && {here} {{ *({at} as *mut u16).add({n} % {w}) = 0; }}"));
            }
            continue;
        }
        let held = format!("h{}", copy.node);
        before.push(format!("let mut {held} = [zero(); {vectors}];"));
        if is_side(m.rows) {
            let n = space.widths.size(m.rows);
            let at = m.at("p", &format!("({n} / 2)"));
            after.push(match stage.form {
                Form::Tile { .. } => {
                    let rows = block(context, stage);
                    format!("if {n} % 2 == 1 && r <= {n} && {n} < r + {rows} {{ end_pairs({at}, {vectors}); }}")
                }
                _ => format!(
                    "if {n} % 2 == 1 {{ each!({vectors}, j, {{ store({at}.add(j * L), pair({held}[j], zero())); }}); }}"
                ),
            });
        }
    }
}

/// A stage of its own for a copy.
pub fn pack(context: &Context, stage: &Stage, pairs: Pairs, out: &mut Text) {
    let space = context.space;
    let node = stage.nodes[0];
    let from = space.matrix(node, space.layout[node]);
    let to = space.paired(Copy { node, turned: false, pairs: Some(pairs) });
    let (rows, w) = (space.widths.size(from.rows), from.row);
    if space.graph.is_given(node) {
        let from = space.paired(Copy { node, turned: false, pairs: Some(Pairs::Lanes) });
        out.line(format!("pair_rows({}, {rows}, {w}, {});", from.at("p", "0"), to.at("p", "0")));
        return;
    }
    match pairs {
        Pairs::Rows => out.line(format!("pack_pairs({}, {rows}, {w}, {});", from.at("p", "0"), to.at("p", "0"))),
        Pairs::Lanes => {
            let n = space.widths.size(from.lanes);
            out.line(format!("pack_lanes({}, {rows}, {n} - p * {w}, {w}, {});", from.at("p", "0"), to.at("p", "0")));
        }
    }
}

/// The stage that turns a copy paired along its lanes.
pub fn turn(context: &Context, stage: &Stage, out: &mut Text) {
    let space = context.space;
    let node = stage.nodes[0];
    let from = space.paired(Copy { node, turned: false, pairs: Some(Pairs::Lanes) });
    let to = space.paired(Copy { node, turned: true, pairs: Some(Pairs::Rows) });
    let rows = space.widths.size(from.rows);
    let (w, w2) = (from.row, to.row);
    out.line(format!(
        "turn({}, {rows}, {w}, w.{}.add(p * {}), {w2}, {});",
        from.at("p", "0"),
        to.field,
        w * w2,
        to.panel
    ));
}

impl Frame<'_> {
    /// Fields of copies that have memory of their own, and its words.
    pub(super) fn copied_in_bf16(&self) -> Vec<(String, String)> {
        let space = self.context.space;
        let own = self.ordered().copies.iter().filter(|c| self.copy_of_state(c).is_none());
        let field = |c: &Copy| {
            let m = space.paired(*c);
            if m.view.is_some() { m.field + "_own" } else { m.field }
        };
        own.map(|c| (field(c), space.words(*c))).collect()
    }

    /// Reads a chunk's rows of an input in bf16 as they are; whether its floats are wanted too.
    pub(super) fn read_words(&self, node: usize, array: &str, out: &mut Text) -> bool {
        let space = self.context.space;
        let copy = Copy { node, turned: false, pairs: Some(Pairs::Lanes) };
        if !self.graph().is_given(node) || !self.ordered().copies.contains(&copy) {
            return true;
        }
        let m = space.paired(copy);
        let (chunk, n) = (self.widths().chunk, self.widths().size(m.lanes));
        let condition = if m.view.is_some() { format!("if w.{0} == w.{0}_own ", m.field) } else { String::new() };
        let call = format!("read_bf16(&*{array}, t0, valid, {chunk}, {n}, w.{}, {}, {});", m.field, m.row, m.panel);
        out.line(if condition.is_empty() { call } else { format!("{condition}{{ {call} }}") });
        !space.words.contains(&node)
    }

    /// Fields of inputs in bf16 that may lie where the caller has them.
    pub(super) fn word_views(&self) -> Vec<String> {
        let space = self.context.space;
        let copy = |n: &usize| Copy { node: *n, turned: false, pairs: Some(Pairs::Lanes) };
        space.word_views.iter().map(|n| space.paired(copy(n)).field).collect()
    }

    /// Says for each chunk where inputs in bf16 lie.
    pub(super) fn place_words(&self, out: &mut Text) {
        let space = self.context.space;
        for node in &space.word_views {
            let Kind::Leaf(Leaf::Input(i)) = self.graph().nodes[*node].kind else { unreachable!("given") };
            let m = space.paired(Copy { node: *node, turned: false, pairs: Some(Pairs::Lanes) });
            let (n, panel) = (self.widths().size(m.lanes), space.panel_of(m.rows, m.row));
            out.line(format!(
                "(w.{0}, w.{0}_panel, w.{0}_row) = \
                 place_bf16(&*x.inputs.add({i}), t0, valid == {1}, {n}, {2}, w.{0}_own, {panel});",
                m.field,
                self.widths().chunk,
                m.row
            ));
        }
    }

    /// For a copy of a state's next value: that of the state, whose place it takes.
    fn copy_of_state(&self, copy: &Copy) -> Option<Copy> {
        let (old, _) = self.ordered().in_place.iter().find(|(_, next)| **next == copy.node)?;
        let old = Copy { node: *old, ..*copy };
        self.ordered().copies.contains(&old).then_some(old)
    }

    /// Fields of copies that lie where a state's copy lies: (field, the state's).
    pub(super) fn copies_of_states(&self) -> Vec<(String, String)> {
        let field = |copy: Copy| self.context.space.paired(copy).field;
        let copies = self.ordered().copies.iter();
        copies.filter_map(|c| Some((field(*c), field(self.copy_of_state(c)?)))).collect()
    }

    /// Copies the carried states, at the start of the sequence and, where their next values' stages do not, after a chunk.
    pub(super) fn copy_states(&self, carried: &[Carried], at_start: bool, out: &mut Text) {
        let space = self.context.space;
        for state in carried {
            let Some(leaf) = state.leaf else { continue };
            for copy in self.ordered().copies.iter().filter(|c| c.node == leaf && !c.turned) {
                let next = self.ordered().in_place.get(&leaf).map(|next| Copy { node: *next, ..*copy });
                if !at_start && next.is_some_and(|next| self.ordered().copies.contains(&next)) {
                    continue;
                }
                let m = space.paired(*copy);
                let (rows, w) = (space.widths.size(m.rows), space.widths.panel(m.lanes));
                let floats = space.panel_of(m.rows, w);
                let (from, to) = (format!("w.state{}.add(p * {floats})", state.index), m.at("p", "0"));
                out.line(format!("for p in 0..{} {{", space.widths.panels(m.lanes)));
                out.line(match copy.pairs {
                    Some(Pairs::Lanes) => {
                        let n = space.widths.size(m.lanes);
                        format!("pack_lanes({from}, {rows}, {n} - p * {w}, {w}, {to});")
                    }
                    _ => format!("pack_pairs({from}, {rows}, {w}, {to});"),
                });
                out.line("}");
            }
        }
    }
}
