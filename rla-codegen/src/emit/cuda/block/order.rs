//! The order of steps, their barriers, and where values lie in shared memory.

use std::collections::{BTreeMap, BTreeSet};

use super::{IMAGE, State, Target, Written};
use crate::emit::graph::{Kind, Ref};
use crate::emit::text::Text;

/// Shared memory of a block that leaves room for several on a multiprocessor.
const SMALL: usize = 56 * 1024;

pub(super) struct Step {
    target: Target,
    reads: BTreeSet<usize>,
    writes: Vec<usize>,
}

/// Where values lie.
struct Memory {
    offsets: BTreeMap<usize, usize>,
    shared: usize,
    scratch_places: BTreeMap<usize, usize>,
    scratch: usize,
}

impl State<'_, '_> {
    /// The steps in the order of the graph, those that replace what others read at the end; and how many come before those.
    fn steps(&self, needed: &BTreeSet<usize>, leaves: &mut BTreeSet<usize>) -> (Vec<Step>, usize) {
        let (graph, block) = (self.graph(), self.block);
        let mut steps: Vec<Step> = vec![];
        let with_image = |n: usize| [Some(n), self.own_image(n)].into_iter().flatten();
        for &n in needed {
            if block.given.contains_key(&n) {
                continue;
            }
            let kind = &graph.nodes[n].kind;
            let mut reads = BTreeSet::new();
            if let Kind::Solve { .. } = kind {
                for r in kind.operands() {
                    self.reads(r, false, None, &mut reads, leaves);
                }
                let writes = block.parts(n).into_iter().flat_map(with_image).collect();
                steps.push(Step { target: Target::Node(n), reads, writes });
                continue;
            }
            if !self.places.contains_key(&n) || matches!(kind, Kind::Part(..)) {
                continue;
            }
            if !block.direct.contains_key(&n) {
                self.reads(Ref { node: n, flip: false }, true, self.groups.get(&n), &mut reads, leaves);
            }
            steps.push(Step { target: Target::Node(n), reads, writes: with_image(n).collect() });
        }
        let mut last = vec![];
        for (s, sink) in block.sinks.iter().enumerate() {
            let mut reads = BTreeSet::new();
            self.reads(sink.value, false, self.sink_groups.get(&s), &mut reads, leaves);
            let step = Step { target: Target::Sink(s), reads, writes: vec![] };
            if sink.last {
                last.push(step);
                continue;
            }
            // as early as its operands are there, so that they can go
            let after = steps.iter().rposition(|x| x.writes.iter().any(|w| step.reads.contains(w)));
            steps.insert(after.map_or(0, |i| i + 1), step);
        }
        let before_last = steps.len();
        steps.extend(last);
        // copies of what is given: some steps before their first reader, so that they arrive meanwhile
        let images = self.places.keys().filter(|id| **id >= IMAGE && self.own_image(**id - IMAGE).is_none());
        let copies: Vec<usize> = self.fetched.keys().chain(images).copied().collect();
        let mut added = 0;
        for id in copies {
            let Some(first) = steps.iter().position(|x| x.reads.contains(&id)) else { continue };
            let reads = if id >= IMAGE { BTreeSet::from([id - IMAGE]) } else { BTreeSet::new() };
            added += usize::from(first < before_last + added);
            // an inverse's image comes after it
            let made = steps.iter().position(|x| id >= IMAGE && x.writes.contains(&(id - IMAGE)));
            let at = first.min(before_last + added).saturating_sub(3).max(made.map_or(0, |i| i + 1));
            steps.insert(at, Step { target: Target::Copy(id), reads, writes: vec![id] });
        }
        (steps, before_last + added)
    }

    /// Independent steps side by side: fewer barriers. The last ones stay where they are.
    fn by_level(steps: Vec<Step>, before_last: usize) -> Vec<Step> {
        let mut level: BTreeMap<usize, usize> = BTreeMap::new();
        let mut leveled: Vec<(usize, Step)> = vec![];
        for (i, step) in steps.into_iter().enumerate() {
            let own = match i < before_last {
                true => step.reads.iter().filter_map(|r| level.get(r)).map(|l| l + 1).max().unwrap_or(0),
                false => usize::MAX,
            };
            for w in &step.writes {
                level.insert(*w, own);
            }
            leveled.push((own, step));
        }
        leveled.sort_by_key(|(level, _)| *level);
        leveled.into_iter().map(|(_, step)| step).collect()
    }

    /// Whether a step starts copies that have to be waited for.
    fn starts_copies(&self, target: &Target) -> bool {
        match target {
            Target::Node(n) => self.block.direct.contains_key(n),
            Target::Copy(id) => *id < IMAGE,
            Target::Sink(_) => false,
        }
    }

    pub(super) fn emit(mut self, needed: &BTreeSet<usize>) -> Written {
        let (steps, before_last, memory, leaves) = loop {
            let mut leaves = BTreeSet::new();
            let (plain, before_last) = self.steps(needed, &mut leaves);
            let memory = self.allocate(&plain);
            // what does not fit is rather not copied at all
            if let Some(id) = memory.scratch_places.keys().copied().find(|id| self.is_copy(*id)) {
                self.drop_copy(id);
                continue;
            }
            let (again, _) = self.steps(needed, &mut leaves);
            let leveled = Self::by_level(again, before_last);
            let wider = self.allocate(&leveled);
            if wider.scratch_places.is_empty() && wider.shared <= memory.shared.max(SMALL) {
                break (leveled, before_last, wider, leaves);
            }
            break (plain, before_last, memory, leaves);
        };
        self.check_order(&steps);
        self.shared = memory.offsets.keys().copied().collect();
        let block = self.block;
        let graph = block.graph;
        let mut body = Text::default();
        // what was written and read since the last barrier, and whether copies are under way
        let (mut written, mut touched): (BTreeSet<usize>, BTreeSet<usize>) = Default::default();
        let mut copying = false;
        let range = |n: usize| memory.offsets.get(&n).map(|o| (*o, *o + self.places[&n].bytes));
        for (index, Step { target, reads, writes }) in steps.iter().enumerate() {
            let overlaps = |n: usize, others: &BTreeSet<usize>| {
                range(n).is_some_and(|(a, b)| {
                    others.iter().any(|m| *m != n && range(*m).is_some_and(|(c, d)| a < d && c < b))
                })
            };
            let hazard = reads.iter().any(|r| written.contains(r)) || writes.iter().any(|w| overlaps(*w, &touched));
            if hazard || index == before_last {
                if std::mem::take(&mut copying) {
                    body.line("copies_all();");
                }
                body.line("__syncthreads();");
                written.clear();
                touched.clear();
            }
            self.step(target, &mut body);
            copying |= self.starts_copies(target);
            // an inverse of more than a warp's work ends with a barrier
            let inverse = matches!(target, Target::Node(n) if matches!(graph.nodes[*n].kind, Kind::Inverse(_)));
            if inverse && block.sizes.chunk > 32 && !copying {
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
            if let Some(offset) = memory.offsets.get(n) {
                pointers.push(format!("{c}* const {} = ({c}*)(shared + {});", place.name, offset + block.reserved));
            } else if let Some(offset) = memory.scratch_places.get(n) {
                pointers.push(format!("{c}* const {} = ({c}*)(scratch + {offset});", place.name));
            }
        }
        let body = body.finish().lines().map(str::to_string).collect();
        Written { pointers, body, shared: memory.shared + block.reserved, scratch: memory.scratch, leaves }
    }

    /// Nothing is read before it is written: a kernel that did would compute with whatever lay there.
    fn check_order(&self, steps: &[Step]) {
        let mut written: BTreeSet<usize> = BTreeSet::new();
        for step in steps {
            for id in &step.reads {
                let given = self.block.given.contains_key(id) && !self.fetched.contains_key(id);
                assert!(
                    given || written.contains(id) || !self.places.contains_key(id),
                    "%{id} is read before it is written"
                );
            }
            written.extend(&step.writes);
        }
    }

    /// Offsets in shared memory by first fit over lifetimes; what does not fit goes to scratch, the largest first.
    fn allocate(&self, steps: &[Step]) -> Memory {
        let mut life: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for (i, step) in steps.iter().enumerate() {
            for n in step.reads.iter().chain(&step.writes) {
                let outside = self.block.given.contains_key(n) && !self.fetched.contains_key(n);
                if outside || self.block.wanted.contains_key(n) || !self.places.contains_key(n) {
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
            let largest = life.keys().copied().max_by_key(|n| (self.places[n].bytes, self.is_copy(*n), *n));
            match largest {
                Some(n) if peak > budget => {
                    scratch_places.insert(n, scratch);
                    scratch += self.places[&n].bytes.next_multiple_of(128);
                    life.remove(&n);
                }
                _ => return Memory { offsets, shared: peak, scratch_places, scratch },
            }
        }
    }
}
