//! The text of substitutions, those beside one another in one: they are long, and warps that run the same text share the
//! instruction cache.

use super::State;
use crate::emit::cuda::place::Elem;
use crate::emit::graph::Kind;
use crate::emit::text::Text;

impl State<'_, '_> {
    /// Rows of what a substitution reads and makes, and the result's type.
    fn form(&self, node: usize) -> Option<(usize, usize, Elem)> {
        let Kind::Substitute { a, .. } = &self.graph().nodes[node].kind else { return None };
        let (from, to) = (&self.places[&a.node], &self.places[&node]);
        Some((from.ld, to.ld, to.elem))
    }

    /// Whether a value is made by a substitution that can be written with those before it.
    pub(super) fn continues(&self, before: &[usize], node: usize) -> bool {
        let form = self.form(node);
        form.is_some() && before.first().is_none_or(|first| self.form(*first) == form)
    }

    /// Substitutions of one form.
    pub(super) fn substitutes(&self, nodes: &[usize], out: &mut Text) {
        let Some((ld, lt, elem)) = nodes.first().and_then(|n| self.form(*n)) else { return };
        let (mut a, mut b, mut to) = (vec![], vec![], vec![]);
        for n in nodes {
            self.comment(*n, out);
            let Kind::Substitute { a: system, b: of } = &self.graph().nodes[*n].kind else { unreachable!("it is one") };
            assert!(!system.flip && of.is_none_or(|b| !b.flip), "these are lower matrices");
            a.push(self.places[&system.node].name.as_str());
            b.push(of.map_or("nullptr", |b| &self.places[&b.node].name));
            to.push(self.places[n].name.as_str());
        }
        // the i-th of them
        let pick = |names: &[&str]| {
            let (last, before) = names.split_last().expect("there is one");
            before
                .iter()
                .enumerate()
                .rev()
                .fold(last.to_string(), |text, (i, name)| format!("i == {i} ? {name} : {text}"))
        };
        let tokens = self.block.sizes.chunk;
        let system = |m: &usize| matches!(self.graph().nodes[*m].kind, Kind::Substitute { .. });
        let turn = (0..nodes[0]).filter(system).count();
        out.line(format!(
            "substitute<{tokens}, {ld}, {lt}, {}, {}, {turn}>([&](int i, auto solve) {{",
            elem.c(),
            nodes.len()
        ));
        out.line(format!("solve({}, {}, {});", pick(&a), pick(&b), pick(&to)));
        out.line("});");
    }
}
