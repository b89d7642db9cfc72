//! The sequential stage of one group of states, transposed and state-stationary (templates/cuda/chain.cuh).
//!
//! Legal where every value between the states' readouts and their updates is per channel of the states' free side: then a
//! warp owns 16 channels from the first chunk to the last. What holds no state comes as right operands, numbers per token,
//! and inputs per channel. Where a decay differs from channel to channel of the free side, so does the system of own readouts and
//! writes: then values are turned in shared memory, and two lanes substitute for a channel.

mod body;
pub mod roles;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use crate::emit::graph::{Graph, Kind, Ref};
use crate::tile::{Axis, Leaf, MapFn, Shape};

pub use body::Work;
pub use write::{Writer, room_of};

/// Tokens of a channel that a lane has room for.
const MOST_TURNED: usize = 32;
/// Readouts and writes of a system that a lane has room for.
const MOST_UNKNOWNS: usize = 2;

/// One group of states and what is computed with it.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// The free side.
    pub free: Option<Axis>,
    /// The carried leaves, by state.
    pub carried: BTreeMap<usize, usize>,
    /// Values in registers.
    pub tiles: BTreeSet<usize>,
    /// Right operands: matrices without a state.
    pub images: BTreeSet<usize>,
    /// Token-by-token matrices without a state that are read a number at a time, in f32.
    pub squares: BTreeSet<usize>,
    /// Whether a chunk's tokens of a channel fit into the registers of a lane.
    pub turns: bool,
    /// Numbers and vectors without a state.
    pub vectors: BTreeSet<usize>,
    /// Matrices along the free side without a state that another kernel computes.
    pub given: BTreeSet<usize>,
}

/// How a product is computed in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Multiply {
    /// The operand in registers.
    tile: usize,
    /// The right operand in memory.
    image: usize,
    /// Whether element (k, n) is at row k of the image.
    down: bool,
}

impl Chain {
    /// The chain of states with a free side; `carried` maps their index to the leaf's node.
    pub fn new(free: Axis, carried: BTreeMap<usize, usize>, chunk: usize) -> Chain {
        let tiles = carried.values().copied().collect();
        Chain { free: Some(free), tiles, carried, turns: chunk <= MOST_TURNED, ..Chain::default() }
    }

    fn is_tile(&self, shape: Shape) -> bool {
        let free = self.free.expect("set");
        shape == Shape::new(Axis::Token, free) || (shape.rows == free && matches!(shape.cols, Axis::Side(_)))
    }

    /// Adds a value with all that it needs, or says what does not fit.
    pub fn add(&mut self, graph: &Graph, depends: &[bool], node: usize) -> Result<(), String> {
        let before = self.clone();
        let result = self.visit(graph, depends, node);
        if result.is_err() {
            *self = before;
        }
        result
    }

    fn visit(&mut self, graph: &Graph, depends: &[bool], node: usize) -> Result<(), String> {
        let Node { kind, shape } = Node { kind: &graph.nodes[node].kind, shape: graph.nodes[node].shape };
        if self.tiles.contains(&node) || self.vectors.contains(&node) || self.given.contains(&node) {
            return Ok(());
        }
        if let Kind::Leaf(Leaf::Number(_) | Leaf::Size(_) | Leaf::Const(_)) = kind {
            return Ok(());
        }
        if !graph.is_matrix(node) {
            if depends[node] {
                return Err(format!("%{node}, {shape} of a carried state, is not per channel"));
            }
            self.vectors.insert(node);
            return Ok(());
        }
        if !self.is_tile(shape) {
            return Err(format!("%{node} is {shape}"));
        }
        let inside = match kind {
            Kind::Leaf(Leaf::Input(_) | Leaf::OutputGrad(_)) => true,
            Kind::Map(_, args) => {
                let all = args.iter().all(|a| !(a.flip && graph.is_matrix(a.node)));
                all && args.iter().all(|a| self.try_visit(graph, depends, a.node))
            }
            Kind::Product(..) => match self.multiply(graph, depends, node) {
                Some(m) => {
                    let there = self.try_visit(graph, depends, m.tile);
                    let there = there && !self.squares.contains(&m.image);
                    if there {
                        self.images.insert(m.image);
                    }
                    there
                }
                None => false,
            },
            Kind::Part(solve, _) if depends[node] => self.system(graph, depends, *solve),
            Kind::DecayApply { m, w, a, .. } if depends[node] => {
                self.turns && self.square(graph, depends, *m) && [w, a].iter().all(|r| self.turned(graph, depends, **r))
            }
            _ => false,
        };
        if inside {
            self.tiles.insert(node);
            return Ok(());
        }
        if depends[node] {
            return Err(format!("%{node}: {kind:?}"));
        }
        if shape.rows != Axis::Token {
            return Err(format!("%{node}, {shape}, would have to be handed over"));
        }
        self.given.insert(node);
        Ok(())
    }

    fn try_visit(&mut self, graph: &Graph, depends: &[bool], node: usize) -> bool {
        self.add(graph, depends, node).is_ok()
    }

    /// A system with all its parts, solved channel by channel.
    fn system(&mut self, graph: &Graph, depends: &[bool], solve: usize) -> bool {
        let Kind::Solve { m, c, y0, b, a, .. } = &graph.nodes[solve].kind else { return false };
        let fits = self.turns && y0.len() <= MOST_UNKNOWNS && b.len() <= MOST_UNKNOWNS;
        let squares = fits && m.iter().flatten().all(|r| self.square(graph, depends, *r));
        let operands = c.iter().chain(y0).chain(b).chain([a]).flatten();
        let there = squares && operands.into_iter().all(|r| self.turned(graph, depends, *r));
        if there {
            self.tiles.insert(solve);
            self.tiles.extend(parts(graph, solve));
        }
        there
    }

    fn square(&mut self, graph: &Graph, depends: &[bool], r: Ref) -> bool {
        let is = !r.flip
            && !depends[r.node]
            && graph.nodes[r.node].shape == Shape::new(Axis::Token, Axis::Token)
            && !self.images.contains(&r.node);
        if is {
            self.squares.insert(r.node);
        }
        is
    }

    fn turned(&mut self, graph: &Graph, depends: &[bool], r: Ref) -> bool {
        let plain = !graph.is_matrix(r.node) || (!r.flip && graph.nodes[r.node].shape.rows == Axis::Token);
        plain && self.try_visit(graph, depends, r.node)
    }

    /// How a product is computed, where it is one of registers and an image.
    fn multiply(&self, graph: &Graph, depends: &[bool], node: usize) -> Option<Multiply> {
        let Kind::Product(a, b) = graph.nodes[node].kind else { return None };
        let (free, shape) = (self.free?, graph.nodes[node].shape);
        let image = |r: Ref| !depends[r.node] && graph.is_matrix(r.node);
        let of = |r: Ref| graph.nodes[r.node].shape;
        if shape.rows == Axis::Token {
            // A X^T, X [free, side] in registers: B[k][n] = A[n][k]
            if b.flip && of(b).rows == free && matches!(of(b).cols, Axis::Side(_)) && image(a) {
                return Some(Multiply { tile: b.node, image: a.node, down: a.flip });
            }
            // M X, X [token, free]: B[s][t] = M[t][s]
            if !b.flip && of(b) == Shape::new(Axis::Token, free) && image(a) && graph.shape(a).cols == Axis::Token {
                return Some(Multiply { tile: b.node, image: a.node, down: a.flip });
            }
            return None;
        }
        // X^T W: B[t][k] = W[t][k]
        (a.flip && of(a) == Shape::new(Axis::Token, free) && image(b) && of(b).rows == Axis::Token && !b.flip)
            .then_some(Multiply { tile: a.node, image: b.node, down: true })
    }
}

/// The parts of a system.
fn parts(graph: &Graph, solve: usize) -> impl Iterator<Item = usize> + '_ {
    (0..graph.nodes.len()).filter(move |n| matches!(graph.nodes[*n].kind, Kind::Part(s, _) if s == solve))
}

struct Node<'a> {
    kind: &'a Kind,
    shape: Shape,
}

/// Whether a token-by-token matrix is a product with an inverse, or one itself.
fn solves(graph: &Graph, node: usize) -> bool {
    match &graph.nodes[node].kind {
        Kind::Inverse(_) | Kind::Substitute { .. } | Kind::System { .. } => true,
        Kind::Product(a, b) => solves(graph, a.node) || solves(graph, b.node),
        Kind::Map(MapFn::Mul | MapFn::Add | MapFn::Sub | MapFn::Neg, args) => {
            args.iter().any(|a| graph.is_matrix(a.node) && solves(graph, a.node))
        }
        _ => false,
    }
}

/// Whether a value is a sum over tokens, but for factors: it may be larger than any of them.
fn sums_tokens(graph: &Graph, node: usize) -> bool {
    match &graph.nodes[node].kind {
        Kind::Product(a, b) => graph.shape(*a).cols == Axis::Token && graph.shape(*b).rows == Axis::Token,
        Kind::Map(MapFn::Mul | MapFn::Add | MapFn::Sub | MapFn::Neg | MapFn::Keep, args) => {
            args.iter().any(|a| graph.is_matrix(a.node) && sums_tokens(graph, a.node))
        }
        _ => false,
    }
}

/// Whether a token-by-token matrix is zero above its diagonal.
fn lower(graph: &Graph, node: usize) -> bool {
    let all = |r: &Ref| !r.flip && lower(graph, r.node);
    match &graph.nodes[node].kind {
        Kind::Inverse(_) | Kind::System { .. } => true,
        Kind::Substitute { b, .. } => b.as_ref().is_none_or(all),
        Kind::Product(a, b) => graph.nodes[node].shape == Shape::new(Axis::Token, Axis::Token) && all(a) && all(b),
        Kind::Map(MapFn::Mul, args) => args.iter().any(all),
        Kind::Map(MapFn::Add | MapFn::Sub, args) => args.iter().all(all),
        Kind::Map(MapFn::Neg, args) => all(&args[0]),
        _ => graph.triangle(Ref { node, flip: false }) == Some(true),
    }
}
