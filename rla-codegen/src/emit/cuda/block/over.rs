//! Values that take the memory of what their step is the last to read: joined work reads an element before it writes one in its
//! place, and no other lane does.

use std::collections::BTreeSet;

use super::order::Step;
use super::{State, Target};
use crate::emit::cuda::place::Order;
use crate::emit::graph::Ref;

impl State<'_, '_> {
    /// Pairs of a value that joined work makes and one of the same form that it reads, at the place of the element only.
    pub(super) fn in_place(&self, step: &Step) -> Vec<(usize, usize)> {
        let Target::Joined(targets) = &step.target else { return vec![] };
        let (mut near, mut far) = (BTreeSet::new(), BTreeSet::new());
        for target in targets {
            let elements = match target {
                Target::Side(nodes) => nodes.iter().map(|n| (Ref { node: *n, flip: false }, true)).collect(),
                target => vec![self.element_of(target)].into_iter().map(|(r, top, _)| (r, top)).collect::<Vec<_>>(),
            };
            elements.into_iter().for_each(|(r, top)| self.positions(r, false, top, &mut near, &mut far));
        }
        let form = |id: &usize| {
            let place = &self.places[id];
            let matrix = place.ld > 0 && place.order == Order::Rows && self.is_allocated(*id);
            matrix.then_some((place.elem, place.ld, place.bytes))
        };
        let read: Vec<usize> = step.reads.iter().copied().filter(|id| near.contains(id) && !far.contains(id)).collect();
        let of = |made: &usize| {
            let made_form = form(made);
            let same = read.iter().filter(move |id| made_form.is_some() && form(id) == made_form);
            same.map(|id| (*made, *id)).collect::<Vec<_>>()
        };
        step.writes.iter().filter(|w| self.places.contains_key(w)).flat_map(of).collect()
    }
}
