//! Scalings leave operands of bf16 products that the caller gave in bf16, so that these are taken as they are: one rounding
//! less, and no scaled copies. The scaling of a readout's rows goes to its result, that of an update's operand to the other
//! operand. (In f32 it is the other way round: a scaled operand lets one accumulator take every term.)

use super::graph::{Build, Graph, Kind, Ref};
use crate::tile::{Axis, MapFn, Shape};

/// The graph with such scalings moved.
pub fn move_scales(graph: &Graph) -> Graph {
    let mut to = Build::new(graph.given.clone());
    let mut at: Vec<Ref> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let mut kind = node.kind.clone();
        kind.refer(&|r: Ref| {
            let new = at[r.node];
            Ref { node: new.node, flip: new.flip ^ r.flip }
        });
        let made = match kind {
            Kind::Product(a, b) => product(&mut to, a, b, node.shape, node.origin),
            kind => to.push(kind, node.shape, node.origin),
        };
        at.push(made);
    }
    let graph = to.graph(graph.results.iter().map(|(role, r)| {
        let new = at[r.node];
        (*role, Ref { node: new.node, flip: new.flip ^ r.flip })
    }));
    graph.without_dead()
}

/// An operand as scalings by a number a token, and what is scaled.
fn unscaled(graph: &Graph, r: Ref, scales: &mut Vec<Ref>) -> Ref {
    if let Kind::Map(MapFn::Mul, args) = &graph.nodes[r.node].kind {
        for (vector, other) in [(args[0], args[1]), (args[1], args[0])] {
            let is_matrix = graph.is_matrix(other.node);
            let by_token = !graph.is_matrix(vector.node) && !matches!(graph.vector_axis(vector.node), Axis::Side(_));
            if by_token && is_matrix {
                scales.push(if r.flip { vector.t() } else { vector });
                return unscaled(graph, if r.flip { other.t() } else { other }, scales);
            }
        }
    }
    r
}

/// The operand without its scalings, if it then is an input in bf16.
fn exact(graph: &Graph, r: Ref) -> Option<(Ref, Vec<Ref>)> {
    let mut scales = vec![];
    let base = unscaled(graph, r, &mut scales);
    graph.is_given(base.node).then_some((base, scales))
}

fn product(to: &mut Build, a: Ref, b: Ref, shape: Shape, origin: Option<u32>) -> Ref {
    let graph = &to.graph;
    if !graph.in_bf16(a, b) {
        return to.push(Kind::Product(a, b), shape, origin);
    }
    let (left, right) = (exact(graph, a), exact(graph, b));
    let inner_is_token = graph.shape(a).cols == Axis::Token;
    let scaled = |to: &mut Build, x: Ref, scales: Vec<Ref>| {
        let scale = scales.into_iter().reduce(|s, t| to.mul(s, t, origin));
        scale.map_or(x, |scale| to.mul(scale, x, origin))
    };
    if !inner_is_token {
        // scalings of rows or columns of the result
        let (a, rows) = left.unwrap_or((a, vec![]));
        let (b, cols) = right.unwrap_or((b, vec![]));
        let product = to.push(Kind::Product(a, b), shape, origin);
        let product = scaled(to, product, rows);
        return scaled(to, product, cols);
    }
    // the inner axis: what scales one operand may scale the other
    let (a, b) = match (left, right) {
        (Some((a, mut scales)), Some((b, further))) => {
            scales.extend(further.into_iter().map(Ref::t));
            (scaled(to, a, scales), b)
        }
        (Some((a, scales)), None) => (a, scaled(to, b, scales.into_iter().map(Ref::t).collect())),
        (None, Some((b, scales))) => (scaled(to, a, scales.into_iter().map(Ref::t).collect()), b),
        (None, None) => (a, b),
    };
    to.push(Kind::Product(a, b), shape, origin)
}
