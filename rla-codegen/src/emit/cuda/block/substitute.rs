//! The text of substitutions, those beside one another in one: they are long, and warps that run the same text share the
//! instruction cache.

use std::collections::BTreeMap;

use super::State;
use crate::emit::cuda::place::Elem;
use crate::emit::graph::{Kind, Take};
use crate::emit::text::Text;

/// Results of one system: its matrix, numbers and sign, and the node that is each.
struct System {
    lower: usize,
    scale: usize,
    minus: bool,
    takes: Vec<(Take, usize)>,
}

/// The i-th of some texts.
fn pick(texts: &[String]) -> String {
    let (last, before) = texts.split_last().expect("there is one");
    if before.iter().all(|t| t == last) {
        return last.clone();
    }
    before.iter().enumerate().rev().fold(last.clone(), |text, (i, name)| format!("i == {i} ? {name} : {text}"))
}

impl State<'_, '_> {
    /// Whether it is a system's result, rows of what a substitution reads and makes, and the result's type.
    fn form(&self, node: usize) -> Option<(bool, usize, usize, Elem)> {
        let (system, from) = match &self.graph().nodes[node].kind {
            Kind::Substitute { a, .. } => (false, a),
            Kind::System { lower, .. } => (true, lower),
            _ => return None,
        };
        let to = &self.places[&node];
        Some((system, self.places[&from.node].ld, to.ld, to.elem))
    }

    /// Whether the block substitutes into shared memory.
    pub(super) fn substitutes_here(&self) -> bool {
        self.block.stores.keys().any(|n| self.is_substituted(*n))
    }

    /// Whether a value is made by a substitution.
    pub(super) fn is_substituted(&self, node: usize) -> bool {
        matches!(self.graph().nodes[node].kind, Kind::Substitute { .. } | Kind::System { .. })
    }

    /// Whether a value is made by a substitution that can be written with those before it.
    pub(super) fn continues(&self, before: &[usize], node: usize) -> bool {
        let form = self.is_substituted(node).then(|| self.form(node)).flatten();
        form.is_some() && before.first().is_none_or(|first| self.form(*first) == form)
    }

    /// Substitutions of one form.
    pub(super) fn substitutes(&self, nodes: &[usize], out: &mut Text) {
        let Some((system, ld, lt, elem)) = nodes.first().and_then(|n| self.form(*n)) else { return };
        nodes.iter().for_each(|n| self.comment(*n, out));
        let of_this_form = |m: &usize| self.is_substituted(*m);
        let turn = (0..nodes[0]).filter(of_this_form).count();
        let calls = if system { self.systems(nodes) } else { vec![self.single(nodes)] };
        let mut before = 0;
        for texts in calls {
            let count = texts[0].len();
            out.line(format!(
                "{}<{}, {ld}, {lt}, {}, {count}, {}>([&](int i, auto solve) {{",
                if system { "systems" } else { "substitute" },
                self.block.sizes.chunk,
                elem.c(),
                turn + before
            ));
            let arguments: Vec<String> = texts.iter().map(|t| pick(t)).collect();
            out.line(format!("solve({});", arguments.join(", ")));
            out.line("});");
            before += count;
        }
    }

    /// Arguments of substitutions into single results.
    fn single(&self, nodes: &[usize]) -> Vec<Vec<String>> {
        let mut texts = vec![vec![]; 3];
        for n in nodes {
            let Kind::Substitute { a, b } = &self.graph().nodes[*n].kind else { unreachable!("it is one") };
            assert!(!a.flip && b.is_none_or(|b| !b.flip), "these are lower matrices");
            texts[0].push(self.places[&a.node].name.clone());
            texts[1].push(b.map_or("nullptr".into(), |b| self.places[&b.node].name.clone()));
            texts[2].push(self.places[n].name.clone());
        }
        texts
    }

    /// Arguments of systems, each with all its results; those of which the same is taken together.
    fn systems(&self, nodes: &[usize]) -> Vec<Vec<Vec<String>>> {
        let mut systems: Vec<System> = vec![];
        for n in nodes {
            let Kind::System { lower, scale, minus, take } = self.graph().nodes[*n].kind else {
                unreachable!("it is one")
            };
            let same = |s: &&mut System| (s.lower, s.scale, s.minus) == (lower.node, scale.node, minus);
            match systems.iter_mut().find(same) {
                Some(system) => system.takes.push((take, *n)),
                None => systems.push(System { lower: lower.node, scale: scale.node, minus, takes: vec![(take, *n)] }),
            }
        }
        let mut calls: BTreeMap<Vec<Take>, Vec<Vec<String>>> = BTreeMap::new();
        for s in &mut systems {
            s.takes.sort_unstable();
            let taken: Vec<Take> = s.takes.iter().map(|(take, _)| *take).collect();
            assert!(taken.windows(2).all(|w| w[0] != w[1]), "a result is one value");
            let texts = calls.entry(taken).or_insert_with(|| vec![vec![]; 6]);
            texts[0].push(self.places[&s.lower].name.clone());
            texts[1].push(self.places[&s.scale].name.clone());
            texts[2].push(if s.minus { "-1.f" } else { "1.f" }.into());
            for (text, take) in texts[3..].iter_mut().zip([Take::Plain, Take::Columns, Take::Rows]) {
                let to = s.takes.iter().find(|(t, _)| *t == take);
                text.push(to.map_or("Unwanted()".into(), |(_, n)| self.places[n].name.clone()));
            }
        }
        calls.into_values().collect()
    }
}
