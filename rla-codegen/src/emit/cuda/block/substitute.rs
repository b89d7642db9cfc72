//! Substitutions. Results of one system are made at once; systems beside one another are written in one text: they are long, and warps that
//! run the same text share the instruction cache.

use std::collections::BTreeMap;

use super::order::Step;
use super::{State, Target};
use crate::emit::cuda::place::Elem;
use crate::emit::graph::{Kind, Take};
use crate::emit::text::Text;

/// What substitutions of one text have in common.
#[derive(PartialEq)]
enum Form {
    /// Rows of what is read and made, and the result's type.
    Single(usize, usize, Elem),
    /// Rows of the matrix; of each result what it is, its rows and its type.
    System(usize, Vec<(Take, usize, Elem)>),
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
    /// Whether the block substitutes into shared memory.
    pub(super) fn substitutes_here(&self) -> bool {
        self.block.stores.keys().any(|n| self.is_substituted(*n))
    }

    /// Whether a value is made by a substitution.
    fn is_substituted(&self, node: usize) -> bool {
        matches!(self.graph().nodes[node].kind, Kind::Substitute { .. } | Kind::System { .. })
    }

    /// Whether a step is one.
    pub(super) fn is_substitution(&self, target: &Target) -> bool {
        match target {
            Target::Node(n) => self.is_substituted(*n),
            Target::System(_) => true,
            _ => false,
        }
    }

    /// The results of each system as one step, where its first was.
    pub(super) fn systems_together(&self, steps: Vec<Step>) -> Vec<Step> {
        let mut known: BTreeMap<(usize, usize, bool), usize> = BTreeMap::new();
        let mut out: Vec<Step> = vec![];
        for step in steps {
            let Target::Node(n) = step.target else {
                out.push(step);
                continue;
            };
            let Kind::System { lower, scale, minus, .. } = self.graph().nodes[n].kind else {
                out.push(step);
                continue;
            };
            let at = *known.entry((lower.node, scale.node, minus)).or_insert(out.len());
            match out.get_mut(at) {
                None => out.push(Step { target: Target::System(vec![n]), ..step }),
                Some(Step { target, writes, .. }) => {
                    let Target::System(nodes) = target else { unreachable!("it was entered as one") };
                    nodes.push(n);
                    writes.extend(step.writes);
                }
            }
        }
        out
    }

    /// Results of a system by what they are.
    fn takes(&self, nodes: &[usize]) -> BTreeMap<Take, usize> {
        let take = |n: &usize| match self.graph().nodes[*n].kind {
            Kind::System { take, .. } => (take, *n),
            _ => unreachable!("it is a result of a system"),
        };
        let takes: BTreeMap<Take, usize> = nodes.iter().map(take).collect();
        assert_eq!(takes.len(), nodes.len(), "a result is one value");
        takes
    }

    fn form(&self, target: &Target) -> Option<Form> {
        let read = |n: usize| {
            let (Kind::Substitute { a: lower, .. } | Kind::System { lower, .. }) = &self.graph().nodes[n].kind else {
                unreachable!("it is made by a substitution")
            };
            self.places[&lower.node].ld
        };
        match target {
            Target::Node(n) if self.is_substituted(*n) => {
                let to = &self.places[n];
                Some(Form::Single(read(*n), to.ld, to.elem))
            }
            Target::System(nodes) => {
                let rows = |(take, n): (Take, usize)| (take, self.places[&n].ld, self.places[&n].elem);
                Some(Form::System(read(nodes[0]), self.takes(nodes).into_iter().map(rows).collect()))
            }
            _ => None,
        }
    }

    /// Whether a step is a substitution that can be written with those before it.
    pub(super) fn continues(&self, before: &[Target], target: &Target) -> bool {
        let form = self.form(target);
        form.is_some() && before.first().is_none_or(|first| self.form(first) == form)
    }

    /// Substitutions of one form.
    pub(super) fn substitutions(&self, targets: &[Target], out: &mut Text) {
        let Some(form) = targets.first().and_then(|t| self.form(t)) else { return };
        for target in targets {
            match target {
                Target::System(nodes) => nodes.iter().for_each(|n| self.comment(*n, out)),
                Target::Node(n) => self.comment(*n, out),
                _ => unreachable!("it is a substitution"),
            }
        }
        let (tokens, count, turn) = (self.block.sizes.chunk, targets.len(), self.next_turn());
        let texts = match form {
            Form::Single(ld, lt, elem) => {
                out.line(format!(
                    "substitute<{tokens}, {ld}, {lt}, {}, {count}, {turn}>([&](int i, auto solve) {{",
                    elem.c()
                ));
                self.single(targets)
            }
            Form::System(ld, _) => {
                out.line(format!("systems<{tokens}, {ld}, {count}, {turn}>([&](int i, auto solve) {{"));
                self.systems(targets)
            }
        };
        let arguments: Vec<String> = texts.iter().map(|t| pick(t)).collect();
        out.line(format!("solve({});", arguments.join(", ")));
        out.line("});");
        (1..count).for_each(|_| {
            self.next_turn();
        });
    }

    /// Arguments of substitutions into single results.
    fn single(&self, targets: &[Target]) -> Vec<Vec<String>> {
        let mut texts = vec![vec![]; 3];
        for target in targets {
            let Target::Node(n) = target else { unreachable!("it makes one value") };
            let Kind::Substitute { a, b } = &self.graph().nodes[*n].kind else { unreachable!("it is one") };
            assert!(!a.flip && b.is_none_or(|b| !b.flip), "these are lower matrices");
            texts[0].push(self.places[&a.node].name.clone());
            texts[1].push(b.map_or("nullptr".into(), |b| self.places[&b.node].name.clone()));
            texts[2].push(self.places[n].name.clone());
        }
        texts
    }

    /// Arguments of systems, each with all its results.
    fn systems(&self, targets: &[Target]) -> Vec<Vec<String>> {
        let mut texts = vec![vec![]; 6];
        for target in targets {
            let Target::System(nodes) = target else { unreachable!("it is a system") };
            let Kind::System { lower, scale, minus, .. } = self.graph().nodes[nodes[0]].kind else {
                unreachable!("it is a system's result")
            };
            texts[0].push(self.places[&lower.node].name.clone());
            texts[1].push(self.places[&scale.node].name.clone());
            texts[2].push(if minus { "-1.f" } else { "1.f" }.into());
            let takes = self.takes(nodes);
            for (text, take) in texts[3..].iter_mut().zip([Take::Plain, Take::Columns, Take::Rows]) {
                let to = takes.get(&take).map(|n| &self.places[n]);
                text.push(
                    to.map_or("Unwanted()".into(), |to| format!("To<{}, {}>{{{}}}", to.elem.c(), to.ld, to.name)),
                );
            }
        }
        texts
    }
}
