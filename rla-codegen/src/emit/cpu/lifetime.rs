//! When each value of a chunk is alive, and which values may lie in the same memory.
//!
//! The working memory is to stay in the second-level cache together with the states and the rows fetched ahead; values of
//! the same size that are never alive together share a place.

use std::collections::BTreeMap;

use super::frame::Frame;
use super::fuse::Form;
use super::graph::Kind;
use super::order::{Step, reads};
use crate::tile::{Axis, Leaf};

/// First and last step of a chunk in which a value is alive; reading the chunk is step 0, writing it the last.
pub type Life = (usize, usize);

impl Frame<'_> {
    /// Lives of the stored values, by node and orientation. What is not here is alive from chunk to chunk.
    pub(super) fn lives(&self) -> BTreeMap<(usize, bool), Life> {
        let (graph, ordered) = (self.graph(), self.ordered());
        let layout = self.context.space.layout;
        let stages = &ordered.fused.stages;
        let mut step_of = BTreeMap::new();
        for (i, step) in ordered.steps.iter().enumerate() {
            match step {
                Step::Whole(s) => {
                    step_of.insert(*s, i + 1);
                }
                Step::Panels(_, inside) => step_of.extend(inside.iter().map(|s| (*s, i + 1))),
            }
        }
        let end = ordered.steps.len() + 1;
        let mut lives: BTreeMap<(usize, bool), Life> = BTreeMap::new();
        for (n, node) in graph.nodes.iter().enumerate() {
            match node.kind {
                Kind::Leaf(Leaf::Input(_)) if node.shape.rows != Axis::Token => {}
                Kind::Leaf(Leaf::Input(_) | Leaf::OutputGrad(_) | Leaf::Valid) => {
                    lives.insert((n, false), (0, 0));
                }
                _ => {}
            }
        }
        for (s, stage) in stages.iter().enumerate() {
            // stages of no token run once, before the first chunk
            let Some(step) = step_of.get(&s) else { continue };
            let turned = matches!(stage.form, Form::Turn);
            if matches!(stage.form, Form::Pack(_) | Form::TurnPairs) {
                continue;
            }
            for node in &stage.nodes {
                lives.insert((*node, turned), (*step, *step));
            }
        }
        for s in 0..stages.len() {
            // copies in bf16 have memory of their own
            for read in reads(graph, layout, &ordered.fused, s).into_iter().filter(|r| r.pairs.is_none()) {
                let turned = read.lane.is_some_and(|lane| lane != layout[read.node]);
                if let (Some(life), Some(step)) = (lives.get_mut(&(read.node, turned)), step_of.get(&s)) {
                    life.1 = life.1.max(*step);
                }
            }
        }
        for (_, r) in &graph.results {
            for turned in [false, true] {
                if let Some(life) = lives.get_mut(&(r.node, turned)) {
                    life.1 = end;
                }
            }
        }
        lives
    }
}

/// For each value, the one before it in whose memory it may lie. Values are (size, life).
pub fn share(values: &[(String, Option<Life>)]) -> Vec<Option<usize>> {
    let mut order: Vec<usize> = (0..values.len()).filter(|i| values[*i].1.is_some()).collect();
    order.sort_by_key(|i| (values[*i].1, *i));
    // places: size, the value that owns it, when it is free again
    let mut places: Vec<(&str, usize, usize)> = vec![];
    let mut out = vec![None; values.len()];
    for i in order {
        let (size, Some((first, last))) = &values[i] else { unreachable!("filtered") };
        // the place left last is the likeliest to be near
        let free =
            places.iter_mut().filter(|(s, _, until)| s == size && until < first).max_by_key(|(_, _, until)| *until);
        match free {
            Some(place) => {
                out[i] = Some(place.1);
                place.2 = *last;
            }
            None => places.push((size, i, *last)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn values_share_where_they_never_meet() {
        let value = |size: &str, life| (size.to_string(), life);
        let values = [
            value("a", Some((0, 2))),
            value("a", Some((2, 3))),
            value("a", Some((3, 5))),
            value("b", Some((3, 5))),
            value("a", None),
            value("a", Some((6, 6))),
        ];
        assert_eq!(share(&values), [None, None, Some(0), None, None, Some(0)]);
    }
}
