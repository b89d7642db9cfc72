//! Which axis of each matrix its lanes lie along.
//!
//! The right operand of a product and its result have their lanes along the same axis; the left operand is read element by
//! element and may lie either way. A state has its lanes along its free side and is never turned. Everything else may be
//! turned at a cost, and the choice that costs least is sought by turning one value, or one group of elementwise values,
//! at a time.

use super::graph::{Graph, Kind, Pos, Ref};
use crate::tile::{Axis, Leaf, Role};

/// Orientation of each node that is a matrix (of others it means nothing).
pub type Layout = Vec<Pos>;

/// How a matrix lies because of what it is, if that leaves no choice.
fn fixed(graph: &Graph, node: usize) -> Option<Pos> {
    match &graph.nodes[node].kind {
        Kind::Leaf(Leaf::State(_) | Leaf::StateGrad(_)) => Some(Pos::Rows),
        Kind::Map(..) | Kind::Lower(_) | Kind::Product(..) => None,
        _ => Some(Pos::Cols),
    }
}

/// The left and the right operand of a product whose result has its lanes along `lane`; results are taken with their
/// lanes along columns.
pub fn sides(a: Ref, b: Ref, lane: Pos) -> (Ref, Ref) {
    match lane {
        Pos::Cols => (a, b),
        Pos::Rows => (b.t(), a.t()),
    }
}

/// Operands that must lie along a given axis (of the operand itself), for a node that lies along `lane`.
pub fn needs(graph: &Graph, node: usize, lane: Pos) -> Vec<(usize, Pos)> {
    let cols = |r: &Ref| (r.node, Pos::Cols.flip(r.flip));
    let needs: Vec<(usize, Pos)> = match &graph.nodes[node].kind {
        Kind::Leaf(_) | Kind::Sum(..) | Kind::Part(..) => vec![],
        Kind::Map(_, args) => args.iter().map(|r| (r.node, lane.flip(r.flip))).collect(),
        Kind::Lower(r) => vec![(r.node, lane.flip(r.flip))],
        Kind::Product(a, b) => vec![cols(&sides(*a, *b, lane).1)],
        Kind::Solve { c, y0, b, a, .. } => c.iter().chain(y0).chain(b).chain([a]).flatten().map(cols).collect(),
        kind => kind.operands().iter().map(cols).collect(),
    };
    needs.into_iter().filter(|(node, _)| graph.is_matrix(*node)).collect()
}

/// The axis (of the result's own node) that a result must lie along.
pub fn wanted(role: Role, r: Ref) -> Pos {
    match role {
        Role::State(_) | Role::StateGrad(_) => Pos::Rows.flip(r.flip),
        Role::Output(_) | Role::Saved(_) | Role::InputGrad(_) => Pos::Cols.flip(r.flip),
    }
}

fn weight(graph: &Graph, node: usize, chunk: usize) -> u64 {
    let size = |axis: Axis| match axis {
        Axis::One => 1,
        Axis::Token => chunk as u64,
        Axis::Side(_) => 128,
    };
    let shape = graph.nodes[node].shape;
    // matrices of two sides are of a state's size: to be turned only where nothing else is possible
    let state = matches!((shape.rows, shape.cols), (Axis::Side(_), Axis::Side(_)));
    size(shape.rows) * size(shape.cols) * if state { 1000 } else { 1 }
}

fn cost(graph: &Graph, layout: &Layout, chunk: usize) -> u64 {
    let mut turned = vec![false; graph.nodes.len()];
    for node in 0..graph.nodes.len() {
        for (operand, pos) in needs(graph, node, layout[node]) {
            turned[operand] |= layout[operand] != pos;
        }
    }
    for (role, r) in &graph.results {
        if graph.is_matrix(r.node) {
            turned[r.node] |= layout[r.node] != wanted(*role, *r);
        }
    }
    (0..graph.nodes.len()).filter(|n| turned[*n]).map(|n| weight(graph, n, chunk)).sum()
}

/// The choice of least cost that single and grouped changes reach.
pub fn layout(graph: &Graph, chunk: usize) -> Layout {
    let mut layout: Layout = (0..graph.nodes.len()).map(|n| fixed(graph, n).unwrap_or(Pos::Cols)).collect();
    let free: Vec<usize> =
        (0..graph.nodes.len()).filter(|n| graph.is_matrix(*n) && fixed(graph, *n).is_none()).collect();
    // products near states have no choice that leaves the state as it is: start from that
    for node in &free {
        let count = |lane: Pos, layout: &Layout| -> u64 {
            let wrong = needs(graph, *node, lane).into_iter().filter(|(n, pos)| layout[*n] != *pos);
            wrong.map(|(n, _)| weight(graph, n, chunk)).sum()
        };
        if count(Pos::Rows, &layout) < count(Pos::Cols, &layout) {
            layout[*node] = Pos::Rows;
        }
    }
    let groups = groups(graph, &free);
    let mut best = cost(graph, &layout, chunk);
    loop {
        let before = best;
        for set in free.iter().map(|n| vec![*n]).chain(groups.iter().cloned()) {
            let old: Vec<Pos> = set.iter().map(|n| layout[*n]).collect();
            let trials: [Vec<Pos>; 3] =
                [old.iter().map(|p| p.flip(true)).collect(), vec![Pos::Rows; set.len()], vec![Pos::Cols; set.len()]];
            for trial in &trials {
                let kept: Vec<Pos> = set.iter().map(|n| layout[*n]).collect();
                set.iter().zip(trial).for_each(|(n, p)| layout[*n] = *p);
                let now = cost(graph, &layout, chunk);
                if now < best {
                    best = now;
                } else {
                    set.iter().zip(&kept).for_each(|(n, p)| layout[*n] = *p);
                }
            }
        }
        if best == before {
            return layout;
        }
    }
}

/// Connected elementwise values, with the products among them.
fn groups(graph: &Graph, free: &[usize]) -> Vec<Vec<usize>> {
    let mut group: Vec<usize> = (0..graph.nodes.len()).collect();
    let find = |group: &Vec<usize>, mut n: usize| {
        while group[n] != n {
            n = group[n];
        }
        n
    };
    let is_free = |n: usize| free.binary_search(&n).is_ok();
    for node in free {
        if let Kind::Map(_, args) = &graph.nodes[*node].kind {
            for r in args.iter().filter(|r| is_free(r.node)) {
                let (a, b) = (find(&group, r.node), find(&group, *node));
                group[a] = b;
            }
        }
    }
    let mut sets: std::collections::BTreeMap<usize, Vec<usize>> = Default::default();
    for node in free {
        sets.entry(find(&group, *node)).or_default().push(*node);
    }
    sets.into_values().filter(|s| s.len() > 1).collect()
}
