//! The order of stages: what reads what, and which stages share a walk over panels.

use std::collections::{BTreeMap, BTreeSet};

use super::fuse::{Form, Fused, Place, Stage, Term, products};
use super::graph::{Graph, Kind, Pos, Ref};
use super::layout::{Layout, wanted};
use super::pairs::{self, Copy, Pairs};
use crate::tile::{Axis, Leaf, Role};

/// A stored value that a stage reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The node.
    pub node: usize,
    /// The axis (of the node) its lanes must lie along; `None`: any, or not a matrix.
    pub lane: Option<Pos>,
    /// Only the panel that the reader works on is read.
    pub aligned: bool,
    /// The bf16 copy is read, not the value itself.
    pub pairs: Option<Pairs>,
}

/// One step of the chunk.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A stage by itself.
    Whole(usize),
    /// For each panel along an axis, these stages.
    Panels(Axis, Vec<usize>),
}

/// Everything in order.
#[derive(Debug)]
pub struct Ordered {
    /// Stages, with those that turn values added.
    pub fused: Fused,
    /// Steps before the first chunk.
    pub once: Vec<Step>,
    /// Steps of a chunk.
    pub steps: Vec<Step>,
    /// Nodes that are stored.
    pub stored: BTreeSet<usize>,
    /// Nodes that some stage reads from memory.
    pub read: BTreeSet<usize>,
    /// Nodes that are stored in the other orientation too.
    pub turned: BTreeSet<usize>,
    /// Matrices of which one panel is enough.
    pub single: BTreeSet<usize>,
    /// The copies of values in bf16: those that products read, and those of the states' next values.
    pub copies: BTreeSet<Copy>,
    /// States (by the leaf's node) whose next value may take the place of the old one, and the node of that value.
    pub in_place: BTreeMap<usize, usize>,
}

/// Everything a stage reads from memory.
pub fn reads(graph: &Graph, layout: &Layout, fused: &Fused, stage: usize) -> Vec<Read> {
    let mut walk = Walk { graph, layout, fused, stage, out: vec![] };
    let it = &fused.stages[stage];
    match &it.form {
        Form::Turn | Form::Pack(_) | Form::TurnPairs => {
            let of_words = it.form == Form::TurnPairs || it.form != Form::Turn && graph.is_given(it.nodes[0]);
            let pairs = of_words.then_some(Pairs::Lanes);
            return vec![Read { node: it.nodes[0], lane: Some(layout[it.nodes[0]]), aligned: true, pairs }];
        }
        Form::Finish { .. } => return vec![],
        Form::Helper => {
            for node in &it.nodes {
                walk.helper(*node, it.lanes != Axis::One);
            }
            return walk.out;
        }
        _ => {}
    }
    if let Form::Tile { chains, .. } = &it.form {
        for term in chains.iter().flatten() {
            if let Term::Value { x, .. } | Term::Product { scale: Some(x), .. } = term {
                walk.operand(*x, Pos::Cols);
            }
        }
    }
    for (a, b) in products(it) {
        let right = Read { node: b.node, lane: Some(Pos::Cols.flip(b.flip)), aligned: true, pairs: None };
        if graph.in_bf16(a, b) {
            let pairs = Some(pairs::left(layout, a));
            walk.read(Read { node: a.node, lane: None, aligned: false, pairs });
            walk.read(Read { pairs: Some(Pairs::Rows), ..right });
        } else {
            walk.whole(a);
            walk.read(right);
        }
    }
    if let Form::Tile { solve: Some(solve), .. } | Form::Serial { solve } = &it.form
        && let Kind::Solve { m, c, y0, b, a, .. } = &graph.nodes[*solve].kind
    {
        m.iter().flatten().for_each(|r| walk.whole(*r));
        c.iter().chain(b).flatten().for_each(|r| walk.operand(*r, Pos::Cols));
        if matches!(it.form, Form::Serial { .. }) {
            y0.iter().chain([a]).flatten().for_each(|r| walk.operand(*r, Pos::Cols));
        }
    }
    for node in &it.nodes {
        match &graph.nodes[*node].kind {
            Kind::Map(..) | Kind::Lower(_) if !is_chain_root(it, *node) => walk.inner(*node, layout[*node]),
            Kind::Sum(x, _) => {
                let pos = sum_lane(graph, layout, *x);
                walk.operand(*x, pos);
            }
            _ => {}
        }
    }
    walk.out
}

/// Whether a node is the sum that a tile stage accumulates, and not work that follows.
pub fn is_chain_root(stage: &Stage, node: usize) -> bool {
    let Form::Tile { solve: None, .. } = stage.form else { return false };
    stage.nodes[0] == node
}

/// The position of lanes (of the reference) for a sum's operand: along its layout, or along the vector.
pub fn sum_lane(graph: &Graph, layout: &Layout, x: Ref) -> Pos {
    if graph.is_matrix(x.node) {
        return layout[x.node].flip(x.flip);
    }
    let shape = graph.shape(x);
    if shape.cols == Axis::One && shape.rows != Axis::One { Pos::Rows } else { Pos::Cols }
}

struct Walk<'a> {
    graph: &'a Graph,
    layout: &'a Layout,
    fused: &'a Fused,
    stage: usize,
    out: Vec<Read>,
}

impl Walk<'_> {
    fn push(&mut self, node: usize, lane: Option<Pos>, aligned: bool) {
        self.read(Read { node, lane, aligned, pairs: None });
    }

    fn read(&mut self, read: Read) {
        if matches!(self.graph.nodes[read.node].kind, Kind::Leaf(Leaf::Number(_) | Leaf::Size(_) | Leaf::Const(_))) {
            return;
        }
        if !self.out.contains(&read) {
            self.out.push(read);
        }
    }

    fn whole(&mut self, r: Ref) {
        self.push(r.node, None, false);
    }

    fn operand(&mut self, r: Ref, pos: Pos) {
        let shape = self.graph.shape(r);
        let here = self.fused.places[r.node] == (Place::Stage { stage: self.stage, live: true });
        if !self.graph.is_matrix(r.node) {
            if !here {
                let number = shape.rows == shape.cols;
                let along = (shape.rows == Axis::One) == (pos == Pos::Cols);
                self.push(r.node, None, along && !number);
            }
            return;
        }
        let lane = pos.flip(r.flip);
        if here && lane == self.layout[r.node] {
            return;
        }
        if self.fused.places[r.node] == Place::Inline {
            return self.inner(r.node, lane);
        }
        self.push(r.node, Some(lane), true);
    }

    fn inner(&mut self, node: usize, lane: Pos) {
        let lane = if self.graph.is_matrix(node) {
            lane
        } else if self.graph.nodes[node].shape.cols == Axis::One && self.graph.nodes[node].shape.rows != Axis::One {
            Pos::Rows
        } else {
            Pos::Cols
        };
        for r in self.graph.nodes[node].kind.operands() {
            self.operand(r, lane);
        }
    }

    fn helper(&mut self, node: usize, by_channel: bool) {
        let graph = self.graph;
        for r in graph.nodes[node].kind.operands() {
            let lane = graph.is_matrix(r.node).then(|| Pos::Cols.flip(r.flip));
            // the token-by-token operand of a decay is read as a whole
            let square = graph.shape(r).cols == Axis::Token;
            self.push(r.node, lane, by_channel && !square);
        }
    }
}

/// Whether elementwise work alone reads a leaf, its lanes as they lie; products that read its bf16 copy aside.
pub fn only_elementwise(graph: &Graph, layout: &Layout, ordered: &Ordered, node: usize) -> bool {
    let stages = &ordered.fused.stages;
    !ordered.turned.contains(&node)
        && (0..stages.len()).all(|s| {
            let in_f32 = products(&stages[s]).into_iter().filter(|(a, b)| !graph.in_bf16(*a, *b));
            let in_product = in_f32.into_iter().any(|(a, b)| a.node == node || b.node == node);
            let helped = matches!(stages[s].form, Form::Helper | Form::Serial { .. })
                && reads(graph, layout, &ordered.fused, s).iter().any(|r| r.node == node);
            let in_system = match stages[s].form {
                Form::Tile { solve: Some(solve), .. } => match &graph.nodes[solve].kind {
                    Kind::Solve { m, .. } => m.iter().flatten().any(|r| r.node == node),
                    _ => false,
                },
                _ => false,
            };
            !in_product && !helped && !in_system
        })
}

/// Whether a stage can run panel by panel.
fn panelled(graph: &Graph, layout: &Layout, stage: &Stage) -> bool {
    let by_lanes = |n: &usize| match &graph.nodes[*n].kind {
        Kind::Sum(x, over) => !graph.is_matrix(x.node) || layout[x.node] == over.flip(x.flip),
        _ => false,
    };
    match stage.form {
        Form::Finish { .. } => false,
        Form::Map => stage.lanes != Axis::One && !stage.nodes.iter().any(by_lanes),
        _ => stage.lanes != Axis::One,
    }
}

/// Orders the stages. With `in_place`, a state's next value takes the place of the old one where no reader minds.
pub fn order(graph: &Graph, layout: &Layout, mut fused: Fused, in_place: bool) -> Ordered {
    let mut all: Vec<Vec<Read>> = (0..fused.stages.len()).map(|s| reads(graph, layout, &fused, s)).collect();
    let mut turned: BTreeSet<usize> = BTreeSet::new();
    for read in all.iter().flatten() {
        if read.pairs.is_none() && read.lane.is_some_and(|l| l != layout[read.node]) {
            turned.insert(read.node);
        }
    }
    for (role, r) in &graph.results {
        if graph.is_matrix(r.node) && layout[r.node] != wanted(*role, *r) {
            turned.insert(r.node);
        }
    }
    let class = |fused: &Fused, node: usize| match fused.places[node] {
        Place::Stage { stage, .. } => fused.stages[stage].class,
        _ => match graph.nodes[node].kind {
            Kind::Leaf(Leaf::State(_) | Leaf::StateGrad(_)) => 2,
            _ => 1,
        },
    };
    let mut copies = pairs::copies(graph, layout, all.iter().flatten());
    // what the other orientation and bf16 copies are made by, where the stage of the value itself does not make them
    let mut makers = BTreeMap::new();
    let turns = turned.iter().map(|node| (Copy { node: *node, turned: true, pairs: None }, Form::Turn));
    let made = copies.iter().filter(|c| !pairs::written_with(graph, layout, &fused, **c)).map(|c| (*c, c.form()));
    for (copy, form) in turns.chain(made).collect::<Vec<_>>() {
        let node = copy.node;
        let shape = graph.nodes[node].shape;
        let (rows, lanes) = if layout[node] == Pos::Cols { (shape.rows, shape.cols) } else { (shape.cols, shape.rows) };
        let class = class(&fused, node);
        makers.insert(copy, fused.stages.len());
        fused.stages.push(Stage { form, nodes: vec![node], rows, lanes, class });
        all.push(reads(graph, layout, &fused, fused.stages.len() - 1));
    }
    let stages = &fused.stages;
    let loops: Vec<bool> = stages.iter().map(|s| panelled(graph, layout, s)).collect();
    // edges: (from, aligned) of each stage
    let mut edges: Vec<BTreeMap<usize, bool>> = vec![BTreeMap::new(); stages.len()];
    for (s, reads) in all.iter().enumerate() {
        for read in reads {
            let native = read.lane.is_none_or(|l| l == layout[read.node]);
            let copy = Copy { node: read.node, turned: !native, pairs: read.pairs };
            let from = match (makers.get(&copy), fused.places[read.node]) {
                (Some(maker), _) => *maker,
                (None, Place::Stage { stage, .. }) => stage,
                _ => continue,
            };
            if from == s {
                continue;
            }
            let aligned = read.aligned && native && loops[s] && loops[from] && stages[s].lanes == stages[from].lanes;
            *edges[s].entry(from).or_insert(true) &= aligned;
        }
        if let Form::Finish { tile } = stages[s].form {
            edges[s].insert(tile, false);
        }
    }
    let mut places_of_states = BTreeMap::new();
    if in_place {
        for (role, r) in &graph.results {
            let leaf = match role {
                Role::State(i) => Leaf::State(*i),
                Role::StateGrad(i) => Leaf::StateGrad(*i),
                _ => continue,
            };
            let Some(old) = graph.nodes.iter().position(|n| n.kind == Kind::Leaf(leaf)) else { continue };
            let Place::Stage { stage: writer, live: true } = fused.places[r.node] else { continue };
            let in_product = products(&stages[writer]).iter().any(|(a, b)| a.node == old || b.node == old);
            if turned.contains(&r.node) || in_product || places_of_states.values().any(|n| *n == r.node) {
                continue;
            }
            let readers: Vec<(usize, bool)> = all
                .iter()
                .enumerate()
                .filter(|(s, _)| *s != writer)
                .flat_map(|(s, reads)| reads.iter().filter(|r| r.node == old).map(move |r| (s, r.aligned)))
                .collect();
            if readers.iter().any(|(s, _)| follows(&edges, writer, *s)) {
                continue;
            }
            for (s, aligned) in readers {
                let aligned = aligned && loops[s] && loops[writer] && stages[s].lanes == stages[writer].lanes;
                *edges[writer].entry(s).or_insert(true) &= aligned;
            }
            places_of_states.insert(old, r.node);
            pairs::follow(graph, layout, &fused, &mut copies, old, r.node);
        }
    }
    let (once, steps) = schedule(graph, stages, &loops, &edges);
    let mut read: BTreeSet<usize> = all.iter().flatten().filter(|r| r.pairs.is_none()).map(|r| r.node).collect();
    let mut stored = read.clone();
    stored.extend(graph.results.iter().map(|(_, r)| r.node));
    for (s, stage) in stages.iter().enumerate() {
        stored.extend(stage.nodes.iter().filter(|n| matches!(graph.nodes[**n].kind, Kind::Sum(..))));
        if let Form::Tile { solve: Some(solve), .. } | Form::Serial { solve } = stage.form {
            // writes feed later rows of their own substitution
            let Kind::Solve { y0, .. } = &graph.nodes[solve].kind else { unreachable!("a solve stage") };
            let write = |n: &&usize| matches!(graph.nodes[**n].kind, Kind::Part(_, k) if k >= y0.len());
            stored.extend(stages[s].nodes.iter().filter(write));
            read.extend(stages[s].nodes.iter().filter(write));
        }
    }
    let single = single(graph, &fused, &all, &steps);
    Ordered { fused, once, steps, stored, read, turned, single, copies, in_place: places_of_states }
}

fn follows(edges: &[BTreeMap<usize, bool>], from: usize, to: usize) -> bool {
    let mut seen = vec![false; edges.len()];
    let mut todo = vec![to];
    while let Some(s) = todo.pop() {
        if s == from {
            return true;
        }
        if !std::mem::replace(&mut seen[s], true) {
            todo.extend(edges[s].keys());
        }
    }
    false
}

/// List scheduling: what needs no state first; walks over the states' free side as late as possible, so that each takes
/// in as many stages as it can.
fn schedule(
    graph: &Graph,
    stages: &[Stage],
    loops: &[bool],
    edges: &[BTreeMap<usize, bool>],
) -> (Vec<Step>, Vec<Step>) {
    let free: BTreeSet<Axis> = graph
        .nodes
        .iter()
        .filter(|n| matches!(n.kind, Kind::Leaf(Leaf::State(_) | Leaf::StateGrad(_))))
        .map(|n| n.shape.rows)
        .filter(|a| *a != Axis::One)
        .collect();
    let mut done = vec![false; stages.len()];
    let (mut once, mut steps) = (vec![], vec![]);
    loop {
        let ready = |s: usize, done: &[bool]| !done[s] && edges[s].keys().all(|f| done[*f]);
        let rank = |s: usize| {
            let state_walk = stages[s].class == 2 && loops[s] && free.contains(&stages[s].lanes);
            (stages[s].class, state_walk, s)
        };
        let Some(first) = (0..stages.len()).filter(|s| ready(*s, &done)).min_by_key(|s| rank(*s)) else { break };
        let class = stages[first].class;
        let out = if class == 0 { &mut once } else { &mut steps };
        if !loops[first] {
            done[first] = true;
            out.push(Step::Whole(first));
            continue;
        }
        let axis = stages[first].lanes;
        let mut inside = vec![first];
        done[first] = true;
        loop {
            let fits = |s: usize| {
                !done[s]
                    && loops[s]
                    && stages[s].lanes == axis
                    && stages[s].class == class
                    && edges[s].iter().all(|(f, aligned)| done[*f] && (*aligned || !inside.contains(f)))
            };
            let Some(next) = (0..stages.len()).find(|s| fits(*s)) else { break };
            done[next] = true;
            inside.push(next);
        }
        out.push(Step::Panels(axis, inside));
    }
    assert!(done.iter().all(|d| *d), "stages that wait for one another");
    (once, steps)
}

/// Matrices that are written and read within one walk, panel by panel.
fn single(graph: &Graph, fused: &Fused, all: &[Vec<Read>], steps: &[Step]) -> BTreeSet<usize> {
    let walk_of = |stage: usize| {
        steps.iter().position(|s| match s {
            Step::Whole(_) => false,
            Step::Panels(_, inside) => inside.contains(&stage),
        })
    };
    let mut single = BTreeSet::new();
    for (node, place) in fused.places.iter().enumerate() {
        let Place::Stage { stage, .. } = place else { continue };
        if !graph.is_matrix(node) || graph.results.iter().any(|(_, r)| r.node == node) {
            continue;
        }
        let Some(walk) = walk_of(*stage) else { continue };
        let ok = all.iter().enumerate().all(|(s, reads)| {
            reads.iter().filter(|r| r.node == node).all(|r| {
                s == *stage
                    || (r.aligned && fused.stages[s].lanes == fused.stages[*stage].lanes && walk_of(s) == Some(walk))
            })
        });
        if ok {
            single.insert(node);
        }
    }
    single
}
