//! The order of steps, their barriers, and where values lie in shared memory.

use std::collections::{BTreeMap, BTreeSet};

use super::{State, Target, Written};
use crate::emit::graph::{Kind, Ref};
use crate::emit::text::Text;

impl State<'_, '_> {
    pub(super) fn emit(&self, needed: &BTreeSet<usize>) -> Written {
        let graph = self.graph();
        let block = self.block;
        let mut steps: Vec<(Target, BTreeSet<usize>, Vec<usize>)> = vec![];
        let mut leaves = BTreeSet::new();
        for &n in needed {
            if block.given.contains_key(&n) {
                continue;
            }
            let kind = &graph.nodes[n].kind;
            let mut reads = BTreeSet::new();
            if let Kind::Solve { .. } = kind {
                for r in kind.operands() {
                    self.reads(r, false, None, &mut reads, &mut leaves);
                }
                steps.push((Target::Node(n), reads, block.parts(n)));
                continue;
            }
            if !self.places.contains_key(&n) || matches!(kind, Kind::Part(..)) {
                continue;
            }
            self.reads(Ref { node: n, flip: false }, true, self.groups.get(&n), &mut reads, &mut leaves);
            steps.push((Target::Node(n), reads, vec![n]));
        }
        let mut last = vec![];
        for (s, sink) in block.sinks.iter().enumerate() {
            let mut reads = BTreeSet::new();
            let group = self.sink_groups.get(&s);
            self.reads(sink.value, false, group, &mut reads, &mut leaves);
            if sink.last {
                last.push((Target::Sink(s), reads, vec![]));
                continue;
            }
            // as early as its operands are there, so that they can go
            let after = steps.iter().rposition(|(_, _, writes)| writes.iter().any(|w| reads.contains(w)));
            steps.insert(after.map_or(0, |i| i + 1), (Target::Sink(s), reads, vec![]));
        }
        let before_last = steps.len();
        steps.extend(last);
        let (offsets, shared, scratch_places, scratch) = self.allocate(&steps);
        let mut body = Text::default();
        // what was written and read since the last barrier
        let (mut written, mut touched): (BTreeSet<usize>, BTreeSet<usize>) = Default::default();
        let range = |n: usize| offsets.get(&n).map(|o| (*o, *o + self.places[&n].bytes));
        for (index, (target, reads, writes)) in steps.iter().enumerate() {
            if index == before_last {
                body.line("__syncthreads();");
                written.clear();
                touched.clear();
            }
            let overlaps = |n: usize, others: &BTreeSet<usize>| {
                range(n).is_some_and(|(a, b)| {
                    others.iter().any(|m| *m != n && range(*m).is_some_and(|(c, d)| a < d && c < b))
                })
            };
            if reads.iter().any(|r| written.contains(r)) || writes.iter().any(|w| overlaps(*w, &touched)) {
                body.line("__syncthreads();");
                written.clear();
                touched.clear();
            }
            self.step(target, &mut body);
            if matches!(target, Target::Node(n) if matches!(graph.nodes[*n].kind, Kind::Inverse(_))) {
                written.clear();
                touched.clear();
            } else {
                written.extend(writes);
                touched.extend(reads);
                touched.extend(writes);
            }
        }
        let mut pointers = vec![];
        for (n, place) in &self.places {
            let c = place.elem.c();
            if let Some(offset) = offsets.get(n) {
                pointers.push(format!("{c}* const {} = ({c}*)(shared + {});", place.name, offset + block.reserved));
            } else if let Some(offset) = scratch_places.get(n) {
                pointers.push(format!("{c}* const {} = ({c}*)(scratch + {offset});", place.name));
            }
        }
        let body = body.finish().lines().map(str::to_string).collect();
        Written { pointers, body, shared: shared + block.reserved, scratch, leaves }
    }

    /// Offsets in shared memory by first fit over lifetimes; what does not fit goes to scratch, the largest first.
    #[allow(clippy::type_complexity)]
    pub(super) fn allocate(
        &self,
        steps: &[(Target, BTreeSet<usize>, Vec<usize>)],
    ) -> (BTreeMap<usize, usize>, usize, BTreeMap<usize, usize>, usize) {
        let mut life: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for (i, (_, reads, writes)) in steps.iter().enumerate() {
            for n in reads.iter().chain(writes) {
                if self.block.given.contains_key(n) || self.block.wanted.contains_key(n) || !self.places.contains_key(n)
                {
                    continue;
                }
                life.entry(*n).or_insert((i, i)).1 = i;
            }
        }
        let (mut scratch_places, mut scratch) = (BTreeMap::new(), 0);
        loop {
            let mut offsets: BTreeMap<usize, usize> = BTreeMap::new();
            let mut peak = 0;
            let mut order: Vec<usize> = life.keys().copied().collect();
            order.sort_by_key(|n| life[n].0);
            for n in order {
                let bytes = self.places[&n].bytes.next_multiple_of(128);
                let mut busy: Vec<(usize, usize)> = offsets
                    .iter()
                    .filter(|(m, _)| life[m].0 <= life[&n].1 && life[&n].0 <= life[m].1)
                    .map(|(m, o)| (*o, *o + self.places[m].bytes.next_multiple_of(128)))
                    .collect();
                busy.sort_unstable();
                let mut at = 0;
                for (start, end) in busy {
                    if at + bytes <= start {
                        break;
                    }
                    at = at.max(end);
                }
                offsets.insert(n, at);
                peak = peak.max(at + bytes);
            }
            let budget = self.block.budget.saturating_sub(self.block.reserved);
            let largest = life.keys().copied().max_by_key(|n| (self.places[n].bytes, *n));
            match largest {
                Some(n) if peak > budget => {
                    scratch_places.insert(n, scratch);
                    scratch += self.places[&n].bytes.next_multiple_of(128);
                    life.remove(&n);
                }
                _ => return (offsets, peak, scratch_places, scratch),
            }
        }
    }
}
