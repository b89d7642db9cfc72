//! Steps on the same elements as one: elementwise work and sums of rows that go over the same rows and columns share what they
//! read, and do to a product's accumulators what else would be done to their copy in memory. What nobody else reads is never
//! stored.

use std::collections::{BTreeMap, BTreeSet};

use super::order::{Needs, Step};
use super::{Group, IMAGE, State, Target};
use crate::emit::cuda::place::{Elem, Order, Place};
use crate::emit::graph::{Kind, Pos, Ref};
use crate::tile::{Axis, Shape};

/// Results that a warp's tile holds at once.
const RESULTS: usize = 6;

/// Results of which it holds two rows of tiles: the registers of a block of 256 threads that is not alone suffice.
const TALL_RESULTS: usize = 5;

/// Parts of a sum of rectangles: as many as the smallest blocks have warps, and as those of many warps have.
const RECTANGLES: [usize; 2] = [4, 8];

/// Matrices that a sweep may read to take eight elements of each at once.
const WIDE_READS: usize = 6;

/// Numbers of tokens.
const OF_TOKENS: Shape = Shape { rows: Axis::Token, cols: Axis::One };

/// What a step does element by element.
struct Space {
    /// The elements.
    shape: Shape,
    /// Whether it makes results of products; else it is a sweep.
    tile: bool,
    /// How many of those are held until the tile is done.
    held: usize,
    /// Values that it makes of matrices and sums of their rows.
    makes: Vec<usize>,
    /// Values that it reads at the place of the element only.
    near: BTreeSet<usize>,
}

impl State<'_, '_> {
    fn space(&self, step: &Step) -> Option<Space> {
        let (graph, block) = (self.graph(), self.block);
        let is_wide = |shape: Shape| shape.rows != Axis::One && shape.cols != Axis::One;
        let (mut near, mut far) = (BTreeSet::new(), BTreeSet::new());
        let (shape, tile, held, makes) = match &step.target {
            Target::Node(n) => {
                let (root, kind) = (Ref { node: *n, flip: false }, &graph.nodes[*n].kind);
                match kind {
                    Kind::Sum(x, Pos::Cols) if !self.parted.contains(n) && is_wide(graph.shape(*x)) => {
                        self.positions(*x, false, false, &mut near, &mut far);
                        (graph.shape(*x), false, 0, vec![*n])
                    }
                    // what is made of inputs alone waits for them once
                    Kind::Map(..) | Kind::Leaf(_) if graph.nodes[*n].shape == OF_TOKENS && self.is_light(*n) => {
                        (OF_TOKENS, false, 0, vec![])
                    }
                    _ if !graph.is_matrix(*n) || block.direct.contains_key(n) => return None,
                    Kind::Product(..) | Kind::Map(..) | Kind::Lower(_) | Kind::Leaf(_) => {
                        self.positions(root, false, true, &mut near, &mut far);
                        let tile = self.group_of(*n).is_some();
                        (graph.nodes[*n].shape, tile, usize::from(tile), vec![*n])
                    }
                    _ => return None,
                }
            }
            Target::Sink(s) => {
                let sink = &block.sinks[*s];
                if !is_wide(graph.shape(sink.value)) || sink.last {
                    return None;
                }
                self.positions(sink.value, false, self.sink_groups.contains_key(s), &mut near, &mut far);
                (graph.shape(sink.value), self.sink_groups.contains_key(s), 0, vec![])
            }
            Target::Side(nodes) => {
                let results: Vec<usize> = nodes.iter().copied().filter(|n| !self.parted.contains(n)).collect();
                for n in &results {
                    self.positions(Ref { node: *n, flip: false }, false, true, &mut near, &mut far);
                }
                (graph.nodes[results[0]].shape, true, results.len(), results)
            }
            Target::Copy(_) | Target::Decays(_) | Target::Joined(_) | Target::System(_) | Target::Store(_) => {
                return None;
            }
        };
        near.retain(|n| !far.contains(n));
        Some(Space { shape, tile, held, makes, near })
    }

    /// Stored values that an expression reads, at the element's place or elsewhere.
    pub(super) fn positions(
        &self,
        r: Ref,
        flip: bool,
        top: bool,
        near: &mut BTreeSet<usize>,
        far: &mut BTreeSet<usize>,
    ) {
        let flip = flip != r.flip;
        if !top && self.places.contains_key(&r.node) {
            if flip || !self.graph().is_matrix(r.node) { far } else { near }.insert(r.node);
            return;
        }
        match &self.graph().nodes[r.node].kind {
            Kind::Product(..) => far.extend(self.product_reads(r.node)),
            kind => kind.operands().iter().for_each(|a| self.positions(*a, flip, false, near, far)),
        }
    }

    /// Joins steps where that makes no circle.
    pub(super) fn join(&self, steps: Vec<Step>) -> Vec<Step> {
        let spaces: Vec<Option<Space>> = steps.iter().map(|s| self.space(s)).collect();
        let mut made: BTreeMap<usize, usize> = BTreeMap::new();
        for (i, step) in steps.iter().enumerate() {
            made.extend(step.writes.iter().map(|w| (*w, i)));
        }
        let is_near = |from: usize, to: usize, id: &usize| {
            let known = |i: usize| spaces[i].as_ref();
            known(from).is_some_and(|s| s.makes.contains(id)) && known(to).is_some_and(|s| s.near.contains(id))
        };
        let needs = Needs::of(&steps, |from, to, id| is_near(from, to, &id));
        let mut home: Vec<usize> = (0..steps.len()).collect();
        let mut members: Vec<Vec<usize>> = (0..steps.len()).map(|i| vec![i]).collect();
        let known = |members: &[usize]| -> Vec<&Space> { members.iter().filter_map(|j| spaces[*j].as_ref()).collect() };
        let is_tile = |members: &[usize]| known(members).iter().any(|s| s.tile);
        let held = |members: &[usize]| -> usize { known(members).iter().map(|s| s.held).sum() };
        for i in 0..steps.len() {
            let Some(own) = &spaces[i] else { continue };
            let sources: BTreeSet<usize> =
                own.near.iter().filter_map(|id| made.get(id).filter(|m| is_near(**m, i, id))).copied().collect();
            let sets: BTreeSet<usize> = home[..i].iter().copied().collect();
            // those whose results it reads first, then other sweeps
            let mut order: Vec<(bool, bool, usize)> = vec![];
            for set in sets {
                let theirs = &members[set];
                let fits = theirs.iter().all(|j| spaces[*j].as_ref().is_some_and(|s| s.shape == own.shape));
                let feeds = theirs.iter().any(|j| sources.contains(j));
                let sweeps = !own.tile && !is_tile(theirs);
                if fits && (feeds || sweeps) {
                    order.push((!feeds, !is_tile(theirs), set));
                }
            }
            order.sort_unstable();
            for (_, _, set) in order {
                let (mine, theirs) = (&members[home[i]], &members[set]);
                let tile = is_tile(mine) || is_tile(theirs);
                // a sweep is not drawn into a tile
                let drawn = tile && (!is_tile(theirs) || !is_tile(mine) && mine.len() > 1);
                let many = held(mine) + held(theirs) > RESULTS;
                if home[i] == set || many || drawn || tile && self.has_wanted_sum(&steps, mine.iter().chain(theirs)) {
                    continue;
                }
                let from = home[i];
                let trial: Vec<usize> = home.iter().map(|h| if *h == from { set } else { *h }).collect();
                if needs.have_order(&trial) {
                    home = trial;
                    let moved = std::mem::take(&mut members[from]);
                    members[set].extend(moved);
                }
            }
        }
        let mut out: Vec<Step> = vec![];
        let last: BTreeMap<usize, usize> = (0..steps.len()).map(|i| (home[i], i)).collect();
        let mut readers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (j, step) in steps.iter().enumerate() {
            step.reads.iter().for_each(|id| readers.entry(*id).or_default().push(j));
        }
        let read_outside = |id: usize, set: usize| {
            readers.get(&id).into_iter().flatten().any(|j| {
                let inside = home[*j] == set && made.get(&id).is_some_and(|m| is_near(*m, *j, &id));
                !inside
            })
        };
        let kept: Vec<BTreeSet<usize>> = steps
            .iter()
            .zip(&home)
            .map(|(s, set)| {
                let stays = |id: &usize| *id >= IMAGE || self.block.wanted.contains_key(id) || read_outside(*id, *set);
                s.writes.iter().copied().filter(stays).collect()
            })
            .collect();
        let mut waiting: BTreeMap<usize, Vec<(Step, BTreeSet<usize>)>> = BTreeMap::new();
        for (i, (step, kept)) in steps.into_iter().zip(kept).enumerate() {
            let set = waiting.entry(home[i]).or_default();
            set.push((step, kept));
            if last[&home[i]] == i {
                let set = waiting.remove(&home[i]).expect("entered");
                out.push(if set.len() == 1 { set.into_iter().next().expect("one").0 } else { together(set) });
            }
        }
        out
    }

    /// Whether a sum of rows is wanted outside: beside products it would come out in parts.
    fn has_wanted_sum<'i>(&self, steps: &[Step], mut members: impl Iterator<Item = &'i usize>) -> bool {
        members.any(|i| match steps[*i].target {
            Target::Node(n) => {
                matches!(self.graph().nodes[n].kind, Kind::Sum(..)) && self.block.wanted.contains_key(&n)
            }
            _ => false,
        })
    }

    /// Whether targets make results of products.
    pub(super) fn is_tile(&self, target: &Target) -> bool {
        match target {
            Target::Node(n) => self.group_of(*n).is_some(),
            Target::Sink(s) => self.sink_groups.contains_key(s),
            Target::Side(_) => true,
            Target::Joined(targets) => targets.iter().any(|t| self.is_tile(t)),
            Target::Copy(_) | Target::Decays(_) | Target::System(_) | Target::Store(_) => false,
        }
    }

    /// A warp's tile of joined work: whether it is tall (32 rows where a block's warps allow it, else 16), and columns in eights.
    pub(super) fn tile_of(&self, targets: &[Target], shape: Shape) -> (bool, usize) {
        let results: usize = targets
            .iter()
            .map(|t| match t {
                Target::Side(nodes) => nodes.iter().filter(|n| !self.parted.contains(n)).count(),
                Target::Sink(_) => 0,
                _ => usize::from(self.is_tile(t)),
            })
            .sum();
        let (rows, cols) = (self.block.sizes.padded(shape.rows), self.block.sizes.padded(shape.cols));
        let from_global = |group: Option<Group>| {
            group.is_some_and(|g| {
                let operands = g.products.iter().flat_map(|(_, r)| self.graph().nodes[r.node].kind.operands());
                operands.into_iter().any(|r| self.places.get(&r.node).is_some_and(|p| p.order == Order::Fragments))
            })
        };
        let streams = targets.iter().any(|t| match t {
            Target::Side(_) => true,
            Target::Node(n) => from_global(self.group_of(*n)),
            Target::Sink(s) => from_global(self.sink_groups.get(s).cloned()),
            _ => false,
        });
        match rows * cols / 256 {
            // what streams from global memory is read once, where the registers suffice
            16.. if streams && results <= TALL_RESULTS && rows % 32 == 0 => (true, 2),
            16.. if results <= 2 && cols % 32 == 0 => (false, 4),
            _ if self.is_narrow(targets, rows, cols) => (false, 1),
            _ => (false, 2),
        }
    }

    /// How many adjacent elements a sweep takes at once: fewer where it reads many matrices.
    pub(super) fn sweep_width(&self, targets: &[Target]) -> usize {
        let (mut near, mut far) = (BTreeSet::new(), BTreeSet::new());
        for target in targets {
            let (r, top, _) = self.element_of(target);
            self.positions(r, false, top, &mut near, &mut far);
        }
        near.retain(|n| !self.unstored.contains(n));
        if near.len() <= WIDE_READS { 8 } else { 4 }
    }

    /// The elements of joined work.
    pub(super) fn shape_of(&self, target: &Target) -> Shape {
        let graph = self.graph();
        match target {
            Target::Node(n) => match &graph.nodes[*n].kind {
                Kind::Sum(x, _) => graph.shape(*x),
                _ => graph.nodes[*n].shape,
            },
            Target::Sink(s) => graph.shape(self.block.sinks[*s].value),
            Target::Side(nodes) => {
                let result = nodes.iter().find(|n| !self.parted.contains(n)).expect("one is a result");
                graph.nodes[*result].shape
            }
            Target::Joined(targets) => self.shape_of(&targets[0]),
            Target::Copy(_) | Target::Decays(_) | Target::System(_) | Target::Store(_) => {
                unreachable!("these are not joined")
            }
        }
    }

    /// Sums of rows beside products lie in parts: each tile of a row of tiles has its own. So do sums of rectangles, of several warps.
    pub(super) fn lay_out_parts(&mut self, steps: &[Step]) {
        for step in steps {
            if let Target::Node(n) = &step.target
                && let Kind::RectSum(_) = self.graph().nodes[*n].kind
                && !self.block.wanted.contains_key(n)
            {
                let parts = RECTANGLES[usize::from(self.many_warps.get())];
                self.lay_out(*n, self.block.sizes.padded(Axis::Token), parts);
            }
            let Target::Joined(targets) = &step.target else { continue };
            if !self.is_tile(&step.target) {
                continue;
            }
            let shape = self.shape_of(&step.target);
            let parts = self.block.sizes.padded(shape.cols) / (8 * self.tile_of(targets, shape).1);
            for target in targets {
                if let Target::Node(n) = target
                    && let Kind::Sum(..) = self.graph().nodes[*n].kind
                {
                    self.lay_out(*n, self.block.sizes.padded(shape.rows), parts);
                }
            }
        }
    }

    fn lay_out(&mut self, node: usize, rows: usize, parts: usize) {
        let (name, bytes) = (format!("v{node}"), 4 * rows * parts);
        self.places.insert(node, Place { name, elem: Elem::F32, ld: 0, bytes, order: Order::Parts(parts) });
    }
}

/// Several as one: what they read of one another is not read from memory, and no more is stored than is `kept`.
fn together(set: Vec<(Step, BTreeSet<usize>)>) -> Step {
    let made: BTreeSet<usize> = set.iter().flat_map(|(s, _)| s.writes.iter().copied()).collect();
    let reads = set.iter().flat_map(|(s, _)| s.reads.iter().copied()).filter(|r| !made.contains(r)).collect();
    let writes = set.iter().flat_map(|(_, kept)| kept.iter().copied()).collect();
    Step { target: Target::Joined(set.into_iter().map(|(s, _)| s.target).collect()), reads, writes }
}
