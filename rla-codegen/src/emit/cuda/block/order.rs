//! The order of steps, their barriers, and where values lie in shared memory.

use std::collections::{BTreeMap, BTreeSet};

use super::room::Memory;
use super::{IMAGE, State, Target, Written};
use crate::emit::cuda::place::{Elem, Order, Place};
use crate::emit::graph::{Kind, Ref};
use crate::emit::text::Text;
use crate::tile::Axis;

/// Shared memory of a block that leaves room for so many on a multiprocessor; the frame takes its threads from it.
const CLASSES: [usize; 3] = [27 * 1024, 56 * 1024, 113 * 1024];

/// The first of them for a block that substitutes: its registers allow six.
const SUBSTITUTING: usize = 37 * 1024;
/// How many results are made side by side: accumulators that a warp holds at once.
const SIDE: usize = 4;
/// How many steps work may be ahead of the first that is not done.
const WINDOW: usize = 24;

/// Steps with their phases, where values lie, and the leaves that are read from the caller's memory.
type Arranged = (Vec<(usize, Step)>, Memory, BTreeSet<usize>);

#[derive(Clone)]
pub(super) struct Step {
    pub(super) target: Target,
    pub(super) reads: BTreeSet<usize>,
    pub(super) writes: Vec<usize>,
}

impl Step {
    /// Several as one.
    pub(super) fn side(steps: Vec<Step>) -> Step {
        let node = |step: &Step| match step.target {
            Target::Node(n) => n,
            _ => unreachable!("results of products"),
        };
        Step {
            target: Target::Side(steps.iter().map(node).collect()),
            reads: steps.iter().flat_map(|s| s.reads.iter().copied()).collect(),
            writes: steps.iter().flat_map(|s| s.writes.iter().copied()).collect(),
        }
    }
}

/// Steps in their order, those of a set where its last one was; `home` has the set of each, `make` what comes of a set.
pub(super) fn gathered(steps: Vec<Step>, home: &[usize], make: &dyn Fn(usize, Vec<Step>) -> Vec<Step>) -> Vec<Step> {
    let last: BTreeMap<usize, usize> = home.iter().enumerate().map(|(i, set)| (*set, i)).collect();
    let mut waiting: BTreeMap<usize, Vec<Step>> = BTreeMap::new();
    let mut out = vec![];
    for (i, step) in steps.into_iter().enumerate() {
        let set = home[i];
        waiting.entry(set).or_default().push(step);
        if last[&set] == i {
            out.extend(make(set, waiting.remove(&set).expect("entered")));
        }
    }
    out
}

/// Nodes that targets make.
fn made_by(targets: &[Target]) -> impl Iterator<Item = usize> {
    targets.iter().flat_map(|target| match target {
        Target::Node(n) => vec![*n],
        Target::Side(nodes) | Target::Decays(nodes) | Target::System(nodes) => nodes.clone(),
        _ => vec![],
    })
}

/// Steps behind those whose results they read.
fn in_order(steps: Vec<Step>) -> Vec<Step> {
    let mut open: BTreeSet<usize> = steps.iter().flat_map(|s| s.writes.iter().copied()).collect();
    let (mut out, mut waiting) = (vec![], steps);
    while !waiting.is_empty() {
        let first = waiting.iter().position(|s| s.reads.is_disjoint(&open)).expect("steps have an order");
        let step = waiting.remove(first);
        step.writes.iter().for_each(|w| {
            open.remove(w);
        });
        out.push(step);
    }
    out
}

/// Which steps need which.
pub(super) struct Needs {
    /// The step that makes a value, one that reads it, and whether the two may be one step.
    pairs: BTreeSet<(usize, usize, bool)>,
    steps: usize,
}

impl Needs {
    /// `is_near`: whether what the first step makes is there where the second reads it, if the two are one.
    pub(super) fn of(steps: &[Step], is_near: impl Fn(usize, usize, usize) -> bool) -> Needs {
        let mut made: BTreeMap<usize, usize> = BTreeMap::new();
        for (i, step) in steps.iter().enumerate() {
            made.extend(step.writes.iter().map(|w| (*w, i)));
        }
        let mut pairs = BTreeSet::new();
        for (i, step) in steps.iter().enumerate() {
            pairs.extend(step.reads.iter().filter_map(|id| made.get(id).map(|m| (*m, i, is_near(*m, i, *id)))));
        }
        Needs { pairs, steps: steps.len() }
    }

    /// Whether sets of steps have an order; `home`: the set of each step.
    pub(super) fn have_order(&self, home: &[usize]) -> bool {
        let outside = || {
            let pairs = self.pairs.iter().map(|(from, to, near)| (home[*from], home[*to], *near));
            pairs.filter(|(from, to, near)| !(from == to && *near))
        };
        let mut open = vec![0; self.steps];
        let mut starts = vec![0; self.steps + 1];
        for (from, to, _) in outside() {
            open[to] += 1;
            starts[from + 1] += 1;
        }
        (0..self.steps).for_each(|set| starts[set + 1] += starts[set]);
        let (mut followers, mut filled) = (vec![0; starts[self.steps]], starts.clone());
        for (from, to, _) in outside() {
            followers[filled[from]] = to;
            filled[from] += 1;
        }
        let mut ready: Vec<usize> = (0..self.steps).filter(|set| open[*set] == 0).collect();
        let mut done = 0;
        while let Some(set) = ready.pop() {
            done += 1;
            for to in &followers[starts[set]..starts[set + 1]] {
                open[*to] -= 1;
                if open[*to] == 0 {
                    ready.push(*to);
                }
            }
        }
        done == self.steps
    }
}

/// An arrangement that fits.
struct Way {
    /// Which limit of shared memory it is within.
    limit: usize,
    phases: Vec<(usize, Step)>,
    memory: Memory,
    /// Whether steps are joined.
    join: bool,
}

impl State<'_, '_> {
    /// The steps in the order of the graph, those that replace what others read at the end; and how many come before those.
    fn steps(
        &mut self,
        needed: &BTreeSet<usize>,
        leaves: &mut BTreeSet<usize>,
        most: usize,
        join: bool,
    ) -> (Vec<Step>, usize) {
        let (graph, block) = (self.block.graph, self.block);
        for (n, place) in &mut self.places {
            if let Order::Parts(_) = place.order {
                *place = Place::of(graph, block.sizes, *n, Elem::F32);
            }
        }
        let mut steps: Vec<Step> = vec![];
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
                let writes = block.parts(n).into_iter().flat_map(|n| [Some(n), self.own_image(n)]).flatten().collect();
                steps.push(Step { target: Target::Node(n), reads, writes });
                continue;
            }
            if !self.places.contains_key(&n) || matches!(kind, Kind::Part(..)) {
                continue;
            }
            if !block.direct.contains_key(&n) {
                self.through.set(self.is_light(n));
                self.reads(Ref { node: n, flip: false }, true, self.groups.get(&n), &mut reads, leaves);
                self.through.set(false);
            }
            let mut writes: Vec<usize> = [Some(n), self.own_image(n)].into_iter().flatten().collect();
            writes.extend(self.lay_out_work(n));
            steps.push(Step { target: Target::Node(n), reads, writes });
        }
        let mut steps = self.systems_together(steps);
        for n in block.stores.keys() {
            let after = steps.iter().position(|x| x.writes.contains(n)).expect("it is made");
            let step = Step { target: Target::Store(*n), reads: BTreeSet::from([*n]), writes: vec![] };
            steps.insert(after + 1, step);
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
        let mut steps = self.side_by_side(self.decays_together(steps), most);
        let last_ones = last.len();
        steps.extend(last);
        if join {
            steps = self.join(in_order(steps));
            self.lay_out_parts(&steps);
        }
        let before_last = steps.len() - last_ones;
        self.store_no_more_than_is_read(&mut steps);
        // copies of what is given: some steps before their first reader, so that they arrive meanwhile
        let images = self.places.keys().filter(|id| **id >= IMAGE && self.own_image(**id - IMAGE).is_none());
        let copies: Vec<usize> = self.fetched.keys().chain(images).copied().collect();
        let mut before_last = before_last;
        for id in copies {
            let Some(first) = steps.iter().position(|x| x.reads.contains(&id)) else { continue };
            let reads = if id >= IMAGE { BTreeSet::from([id - IMAGE]) } else { BTreeSet::new() };
            // an inverse's image comes after it
            let made = steps.iter().position(|x| id >= IMAGE && x.writes.contains(&(id - IMAGE)));
            let at = first.min(before_last).saturating_sub(3).max(made.map_or(0, |i| i + 1));
            steps.insert(at, Step { target: Target::Copy(id), reads, writes: vec![id] });
            // also where none but the last ones read it
            before_last += 1;
        }
        (steps, before_last)
    }

    /// What has an image, and is read nowhere but there, is not stored beside it.
    fn store_no_more_than_is_read(&self, steps: &mut [Step]) {
        let read: BTreeSet<usize> = steps.iter().flat_map(|s| s.reads.iter().copied()).collect();
        for step in steps {
            let plain = match &step.target {
                Target::Node(n) => !matches!(self.graph().nodes[*n].kind, Kind::Solve { .. } | Kind::Sum(..)),
                Target::Side(_) | Target::Decays(_) | Target::Joined(_) => true,
                Target::Copy(_) | Target::Sink(_) | Target::Store(_) | Target::System(_) => false,
            };
            let idle = |w: &usize| {
                plain
                    && *w < IMAGE
                    && self.own_image(*w).is_some()
                    && !read.contains(w)
                    && !self.block.wanted.contains_key(w)
            };
            step.writes.retain(|w| !idle(w));
        }
    }

    /// Whether a value gets memory here.
    pub(super) fn is_allocated(&self, id: usize) -> bool {
        let outside = self.block.given.contains_key(&id) && !self.fetched.contains_key(&id);
        !outside && !self.block.wanted.contains_key(&id) && self.places.contains_key(&id)
    }

    /// Whether a step starts copies that have to be waited for.
    fn starts_copies(&self, target: &Target) -> bool {
        match target {
            Target::Node(n) => self.block.direct.contains_key(n),
            Target::Copy(id) => *id < IMAGE,
            Target::Sink(_) | Target::Side(_) | Target::Decays(_) | Target::Joined(_) => false,
            Target::System(_) | Target::Store(_) => false,
        }
    }

    /// Steps with their phases, in the order of those. What a few threads make of numbers that they wait for comes when all copies are under
    /// way; substitutions come last, beside one another.
    fn in_phases(&self, steps: &[Step], phases: &[usize]) -> Vec<(usize, Step)> {
        let mut out: Vec<(usize, Step)> = phases.iter().copied().zip(steps.iter().cloned()).collect();
        out.sort_by_key(|(phase, step)| {
            let rank = match &step.target {
                target if self.is_substitution(target) => 2,
                Target::Joined(targets) if self.shape_of(&targets[0]).cols == Axis::One => 1,
                _ => 0,
            };
            (*phase, rank)
        });
        out
    }

    /// The steps in phases within the least shared memory that does not make them many more.
    fn arrange(&mut self, needed: &BTreeSet<usize>) -> Arranged {
        loop {
            let mut leaves = BTreeSet::new();
            let mut ways: Vec<Way> = vec![];
            let first = if self.substitutes_here() { SUBSTITUTING } else { CLASSES[0] };
            let limits: Vec<usize> =
                [first].into_iter().chain(CLASSES[1..].iter().copied()).chain([self.block.budget]).collect();
            // what is laid out does not pack as closely as it is counted; and where room is scarce, depth before breadth
            let tries = [(100, WINDOW), (90, WINDOW), (100, WINDOW / 3), (85, WINDOW / 3), (100, 3), (70, 3)];
            // steps that are joined need their memory together; where there is no room for that they are not
            let mut places = BTreeMap::new();
            for join in [true, false] {
                if ways.len() == limits.len() {
                    break;
                }
                let (steps, before_last) = self.steps(needed, &mut leaves, SIDE, join);
                places.insert(join, self.places.clone());
                let counted = self.room(&steps, before_last);
                for (index, limit) in limits.iter().enumerate() {
                    if ways.iter().any(|way| way.limit == index) {
                        continue;
                    }
                    let room = (*limit).min(self.block.budget).saturating_sub(self.block.reserved);
                    let found = tries.iter().filter_map(|(part, window)| {
                        let phases = counted.phases(room * part / 100, *window);
                        let memory = counted.fit(&phases, room)?;
                        Some((phases.iter().max().copied(), phases, memory))
                    });
                    if let Some((_, phases, memory)) = found.min_by_key(|(count, ..)| *count) {
                        ways.push(Way { limit: index, phases: self.in_phases(&steps, &phases), memory, join });
                    }
                }
            }
            ways.sort_by_key(|way| way.limit);
            // a block alone on its multiprocessor has nobody to work while it waits; of the smallest, eight work at a time
            let phases = |way: &Way| way.phases.last().map_or(0, |(p, _)| *p);
            let count = |way: &Way| {
                let alone = way.memory.shared + self.block.reserved > CLASSES[CLASSES.len() - 1];
                phases(way) * if alone { 3 } else { 2 }
            };
            let fewest = ways.iter().map(phases).min().unwrap_or(0);
            let small = |way: &Way| way.limit == 0 && 3 * (phases(way) + 1) <= 5 * (fewest + 1);
            let least = ways.iter().map(count).min();
            if let Some(least) = least {
                let good = ways.into_iter().find(|way| count(way) <= least + least / 2 || small(way));
                let way = good.expect("the least is one");
                self.places = places.remove(&way.join).expect("laid out so");
                return (way.phases, way.memory, leaves);
            }
            let (steps, before_last) = self.steps(needed, &mut leaves, 1, false);
            let room = self.block.budget.saturating_sub(self.block.reserved);
            let counted = self.room(&steps, before_last);
            let phases = counted.phases(room, WINDOW);
            let memory = counted.allocate(&phases, room);
            // what does not fit is rather not copied at all
            match memory.scratch_places.keys().copied().find(|id| self.is_copy(*id)) {
                Some(id) => self.drop_copy(id),
                None => return (self.in_phases(&steps, &phases), memory, leaves),
            }
        }
    }

    /// The same, with as many rows copied ahead as leave room for a second block on the multiprocessor; with all where none do.
    fn arrange_with_rows(&mut self, needed: &BTreeSet<usize>) -> Arranged {
        let all = self.arrange(needed);
        let Some(most) = CLASSES[CLASSES.len() - 1].checked_sub(self.block.reserved) else { return all };
        let over = |memory: &Memory| memory.shared.saturating_sub(most);
        let mut excess = over(&all.1);
        let mut rows = self.rows_ahead();
        if excess == 0 || rows.iter().map(|n| self.places[n].bytes).sum::<usize>() < excess {
            return all;
        }
        let mut dropped = vec![];
        while let Some(row) = rows.pop() {
            let size = self.places[&row].bytes;
            self.drop_copy(row);
            dropped.push(row);
            excess = excess.saturating_sub(size);
            if excess > 0 {
                continue;
            }
            let fewer = self.arrange(needed);
            if over(&fewer.1) == 0 {
                return fewer;
            }
        }
        dropped.into_iter().for_each(|row| self.fetch(row));
        self.arrange(needed)
    }

    pub(super) fn emit(mut self, needed: &BTreeSet<usize>) -> Written {
        let (block, substitutes) = (self.block, self.substitutes_here());
        let (mut phases, mut memory, mut leaves) = self.arrange_with_rows(needed);
        if let Some(threads_of) = self.block.threads {
            let threads = threads_of(block.sizes.chunk, memory.shared + block.reserved, substitutes);
            if self.note_threads(threads) {
                (phases, memory, leaves) = self.arrange_with_rows(needed);
            }
        }
        self.check_order(&phases);
        self.aheads = self.plan_ahead(&phases, &mut memory);
        self.shared = memory.offsets.keys().copied().collect();
        for (_, step) in &phases {
            let targets = match &step.target {
                Target::Joined(targets) => targets.clone(),
                target => vec![target.clone()],
            };
            let made = made_by(&targets).filter(|n| !matches!(self.graph().nodes[*n].kind, Kind::Solve { .. }));
            let unstored: Vec<usize> = made.filter(|n| !step.writes.contains(n)).collect();
            self.unstored.extend(unstored);
        }
        let mut body = Text::default();
        // what was written and read since the last barrier, and copies under way, the oldest first
        let (mut written, mut touched): (BTreeSet<usize>, BTreeSet<usize>) = Default::default();
        let mut copies: Vec<usize> = vec![];
        // substitutions that follow one another, each a warp's work: written once for all
        let mut systems: Vec<Target> = vec![];
        let range = |n: usize| memory.offsets.get(&n).map(|o| (*o, *o + self.places[&n].bytes));
        for (index, (phase, Step { target, reads, writes })) in phases.iter().enumerate() {
            let starts = index > 0 && phases[index - 1].0 != *phase;
            let same = phases[index..].iter().take_while(|(p, _)| p == phase);
            let overlaps = |n: usize, others: &BTreeSet<usize>| {
                range(n).is_some_and(|(a, b)| {
                    others.iter().any(|m| *m != n && range(*m).is_some_and(|(c, d)| a < d && c < b))
                })
            };
            let hazard = reads.iter().any(|r| written.contains(r)) || writes.iter().any(|w| overlaps(*w, &touched));
            let joins = self.continues(&systems, target);
            if starts || hazard || !joins {
                self.substitutions(&std::mem::take(&mut systems), &mut body);
            }
            if starts || hazard {
                // the copies that the phase reads, and those before them
                let landed = |id: &usize| {
                    same.clone().any(|(_, s)| {
                        s.reads.contains(id) || s.writes.iter().any(|w| overlaps(*w, &BTreeSet::from([*id])))
                    })
                };
                let count = copies.iter().rposition(landed).map_or(0, |i| i + 1);
                if count > 0 {
                    copies.drain(..count);
                    body.line(format!("copies_wait<{}>();", copies.len()));
                }
                body.line("__syncthreads();");
                written.clear();
                touched.clear();
                touched.extend(&copies);
            }
            // fragments come behind what the phase itself copies: nobody waits for them before their products do
            let more = phases[index + 1..].iter().take_while(|(p, _)| p == phase);
            let last_copy = !more.clone().any(|(_, s)| self.starts_copies(&s.target));
            let opens = index == 0 || phases[index - 1].0 != *phase;
            let start_ahead = |copies: &mut Vec<usize>, body: &mut Text| {
                for (first, plan) in self.aheads.iter().filter(|(_, plan)| plan.phase == *phase) {
                    self.start_ahead(plan, body);
                    copies.extend((0..plan.depth).map(|i| plan.copy_id(*first, i)));
                }
            };
            if opens && last_copy && !self.starts_copies(target) {
                start_ahead(&mut copies, &mut body);
            }
            match target {
                _ if self.is_substitution(target) => systems.push(target.clone()),
                _ => self.step(target, &mut body),
            }
            if self.starts_copies(target) {
                body.line("copies_end();");
                copies.extend(writes);
                if last_copy {
                    start_ahead(&mut copies, &mut body);
                }
            }
            // the products have waited for theirs
            let own: Vec<usize> = self.aheads_of(target).collect();
            copies.retain(|id| !own.contains(id));
            written.extend(writes);
            touched.extend(reads);
            touched.extend(writes);
        }
        self.substitutions(&systems, &mut body);
        if !copies.is_empty() {
            body.line("copies_wait<0>();");
        }
        let aheads = self.aheads.values();
        let mut pointers: Vec<String> = aheads.flat_map(|plan| plan.declarations(block.reserved)).collect();
        for (n, place) in &self.places {
            let c = place.elem.c();
            if let Some(offset) = memory.offsets.get(n) {
                pointers.push(format!("{c}* const {} = ({c}*)(shared + {});", place.name, offset + block.reserved));
            } else if let Some(offset) = memory.scratch_places.get(n) {
                pointers.push(format!("{c}* const {} = ({c}*)(scratch + {offset});", place.name));
            }
        }
        let body = body.finish().lines().map(str::to_string).collect();
        let shared = memory.shared + block.reserved;
        Written { pointers, body, shared, substitutes, scratch: memory.scratch, leaves }
    }

    /// Nothing is read before it is written: a kernel that did would compute with whatever lay there.
    fn check_order(&self, steps: &[(usize, Step)]) {
        let mut written: BTreeSet<usize> = BTreeSet::new();
        for (_, step) in steps {
            let given = |id: &usize| self.block.given.contains_key(id) && !self.fetched.contains_key(id);
            let early = |id: &&usize| !given(id) && !written.contains(*id) && self.places.contains_key(*id);
            let early = step.reads.iter().find(early);
            assert!(early.is_none(), "%{} is read before it is written", early.unwrap_or(&0));
            written.extend(&step.writes);
        }
    }
}
