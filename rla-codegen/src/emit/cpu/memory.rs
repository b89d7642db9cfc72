//! The working memory of a pass: its fields, and how much is needed.

use super::Pass;
use super::ahead::Requests;
use super::frame::{Carried, Frame};
use super::fuse::{Form, Place};
use super::graph::{Kind, Pos};
use super::lifetime::{Life, share};
use super::text::Text;
use crate::tile::Leaf;

/// A value with memory of its own.
pub(super) struct Owned {
    field: String,
    floats: String,
    life: Option<Life>,
}

impl Owned {
    fn new(field: String, floats: String, life: Option<Life>) -> Owned {
        Owned { field, floats, life }
    }
}

impl Frame<'_> {
    /// Values with memory of their own.
    pub(super) fn owned(&self) -> Vec<Owned> {
        let lives = self.lives();
        let (space, graph) = (self.context.space, self.graph());
        let mut out = vec![];
        for (n, node) in graph.nodes.iter().enumerate() {
            let mut native = self.ordered().stored.contains(&n);
            match node.kind {
                Kind::Leaf(Leaf::Number(_) | Leaf::Size(_) | Leaf::Const(_)) => continue,
                Kind::Leaf(Leaf::Saved(_) | Leaf::StateGrad(_)) => native = false,
                Kind::Leaf(Leaf::State(_)) => native = false,
                Kind::Leaf(_) => native = !space.words.contains(&n),
                _ => {
                    native &= !self.is_bound(n, false) && matches!(self.ordered().fused.places[n], Place::Stage { .. })
                }
            }
            let life = |turned: bool| lives.get(&(n, turned)).copied();
            if graph.is_matrix(n) {
                if native {
                    let own = if space.views.contains(&n) { "_own" } else { "" };
                    out.push(Owned::new(self.field(n, false) + own, space.floats(n, space.layout[n]), life(false)));
                }
                if self.ordered().turned.contains(&n) && !self.is_bound(n, true) {
                    out.push(Owned::new(self.field(n, true), space.floats(n, space.layout[n].flip(true)), life(true)));
                }
            } else if native {
                out.push(Owned::new(self.field(n, false), space.vector_floats(n), life(false)));
            }
        }
        let copies = self.copied_in_bf16().into_iter();
        out.extend(copies.map(|(field, words)| Owned::new(field, words, None)));
        if self.context.requests != Requests::None {
            // one pointer and one count a row
            let floats = 4 * (self.fetched().len() * self.widths().chunk + 2);
            out.push(Owned::new("list".into(), floats.to_string(), None));
        }
        for stage in &self.ordered().fused.stages {
            match &stage.form {
                Form::Finish { tile } => {
                    let rows = self.ordered().fused.stages[*tile].rows;
                    let field = format!("{}_part", space.name(stage.nodes[0]));
                    let stored = self.widths().stored(rows);
                    out.push(Owned::new(field, format!("{stored} * {}", self.widths().tile.lanes), None));
                }
                Form::Helper => {
                    let name = format!("{}_tmp", space.name(stage.nodes[0]));
                    let lanes = self.widths().tile.lanes;
                    match &graph.nodes[stage.nodes[0]].kind {
                        Kind::DecayDot { w, .. } => {
                            let side = graph.shape(*w).cols;
                            out.push(Owned::new(name, format!("{} * {lanes}", self.widths().stored(side)), None));
                        }
                        Kind::RectSum(_) | Kind::DecayApply { .. } | Kind::DecayRect { .. } => {
                            out.push(Owned::new(name, (self.widths().stored_tokens() * lanes).to_string(), None));
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        out
    }

    pub(super) fn sides(&self) -> usize {
        self.interface.sides
    }

    pub(super) fn work(&self, carried: &[Carried], out: &mut Text) {
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
        let mut pointers: Vec<String> = owned.iter().map(|o| o.field.clone()).collect();
        for key in self.bound.keys() {
            pointers.push(self.field(key / 2, key % 2 == 1));
        }
        pointers.extend(self.copies_of_states().into_iter().map(|(field, _)| field));
        for (n, node) in graph.nodes.iter().enumerate() {
            if let Kind::Leaf(Leaf::Saved(_) | Leaf::State(_) | Leaf::StateGrad(_) | Leaf::Const(_)) = node.kind {
                pointers.push(self.field(n, false));
            }
        }
        let views: Vec<String> = self.context.space.views.iter().map(|n| self.field(*n, false)).collect();
        let views: Vec<String> = views.into_iter().chain(self.word_views()).collect();
        pointers.extend(views.iter().cloned());
        if self.pass == Pass::ForwardSave {
            for state in carried {
                pointers.extend([format!("keep{}", state.index), format!("sink{}", state.index)]);
            }
        }
        for field in &pointers {
            out.line(format!("{field}: *mut f32,"));
        }
        for field in &views {
            out.line(format!("{field}_panel: usize,"));
            out.line(format!("{field}_row: usize,"));
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
        for field in &views {
            out.line(format!("{field}_panel: 0,"));
            out.line(format!("{field}_row: 0,"));
        }
        for state in carried {
            out.line(format!("state{}: none,", state.index));
        }
        for (i, _) in self.parameter_grads() {
            out.line(format!("sum{i}: none,"));
        }
        out.line("};");
        let values: Vec<_> = owned.iter().map(|o| (o.floats.clone(), o.life)).collect();
        for (Owned { field, floats, .. }, shared) in owned.iter().zip(share(&values)) {
            if shared.is_none() {
                out.line(format!("w.{field} = take(base, &mut used, {floats});"));
            }
        }
        out.line("// values that are never alive together share a place");
        for (Owned { field, .. }, shared) in owned.iter().zip(share(&values)) {
            if let Some(place) = shared {
                out.line(format!("w.{field} = w.{};", owned[place].field));
            }
        }
        for (field, state) in self.copies_of_states() {
            out.line(format!("w.{field} = w.{state};"));
        }
        for state in carried {
            out.line(format!(
                "w.state{} = take(base, &mut used, {});",
                state.index,
                self.floats(state.shape, Pos::Rows)
            ));
        }
        if self.pass == Pass::ForwardSave {
            for state in carried {
                let floats = self.floats(state.shape, Pos::Rows);
                out.line(format!("w.sink{} = take(base, &mut used, {floats});", state.index));
            }
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
    pub(super) fn sizes(&self, carried: &[Carried], out: &mut Text) {
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
}
