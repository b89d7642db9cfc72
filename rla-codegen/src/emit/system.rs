//! Inverses of token-by-token matrices, and what they multiply, as substitutions: one is as long as the other, and all are under way
//! together.
//!
//! Most inverses are of a matrix whose columns or rows are scaled, and multiply that matrix. Then one substitution makes both, and the
//! scaled matrix is not needed: with `X = (I - L D)^-1 L = L (I - D L)^-1`,
//!
//! ```text
//! (I - L D)^-1 = I + X D        (I - D L)^-1 = I + D X
//! ```

use std::collections::HashMap;

use super::graph::{Graph, Kind, Ref, Take};
use crate::tile::{Axis, MapFn, Shape};

const SQUARE: Shape = Shape { rows: Axis::Token, cols: Axis::Token };

/// A strictly lower matrix, scaled by numbers a token.
#[derive(Clone, Copy)]
struct Scaled {
    lower: Ref,
    scale: Ref,
    minus: bool,
    /// Whether its rows are scaled; else its columns.
    rows: bool,
}

impl Graph {
    /// Makes substitutions of inverses, and of what they multiply from the left among token-by-token matrices. Not where an inverse waits
    /// for another: there products are shorter.
    pub fn substitute(&mut self) {
        let mut behind = vec![false; self.nodes.len()];
        for (n, node) in self.nodes.iter().enumerate() {
            let inverse = matches!(node.kind, Kind::Inverse(_));
            let waits = node.shape == SQUARE && node.kind.operands().iter().any(|r| behind[r.node]);
            if inverse && waits {
                return;
            }
            behind[n] = inverse || waits;
        }
        for n in 0..self.nodes.len() {
            let Kind::Inverse(a) = self.nodes[n].kind else { continue };
            // what a substitution makes beside the inverse: of any matrix, or of the scaled one
            let products = |x: Ref, y: Ref| x == plain(n) && !y.flip && !behind[y.node] && self.shape(y) == SQUARE;
            let scaled = self.scaled(a).filter(|s| {
                let others =
                    |node: &Kind| matches!(node, Kind::Product(x, y) if products(*x, *y) && (s.rows || *y != s.lower));
                !self.nodes.iter().any(|node| others(&node.kind))
            });
            let made = |kind: &Kind| match (kind, scaled) {
                (Kind::Product(x, y), Some(s)) => {
                    let both = if s.rows { (s.lower, plain(n)) } else { (plain(n), s.lower) };
                    ((*x, *y) == both).then(|| s.system(Take::Plain))
                }
                (Kind::Product(x, y), None) if products(*x, *y) => Some(Kind::Substitute { a, b: Some(*y) }),
                _ => None,
            };
            let found: Vec<(usize, Kind)> =
                self.nodes.iter().enumerate().filter_map(|(m, node)| Some((m, made(&node.kind)?))).collect();
            self.nodes[n].kind = match scaled {
                Some(s) => s.system(if s.rows { Take::Rows } else { Take::Columns }),
                None => Kind::Substitute { a, b: None },
            };
            found.into_iter().for_each(|(m, kind)| self.nodes[m].kind = kind);
        }
        self.make_systems_once();
    }

    /// Results of systems that are the same are one value.
    fn make_systems_once(&mut self) {
        let mut known: HashMap<(Ref, Ref, bool, Take), usize> = HashMap::new();
        let mut same: Vec<usize> = (0..self.nodes.len()).collect();
        for n in 0..self.nodes.len() {
            let refer = |r: Ref| Ref { node: same[r.node], flip: r.flip };
            self.nodes[n].kind.refer(&refer);
            if let Kind::System { lower, scale, minus, take } = self.nodes[n].kind {
                same[n] = *known.entry((lower, scale, minus, take)).or_insert(n);
            }
        }
        for n in 0..self.nodes.len() {
            let value = self.nodes[n].value;
            self.nodes[same[n]].value = self.nodes[same[n]].value.or(value);
        }
        self.results.iter_mut().for_each(|(_, r)| r.node = same[r.node]);
    }

    /// A matrix as another with scaled rows or columns.
    fn scaled(&self, matrix: Ref) -> Option<Scaled> {
        if matrix.flip {
            return None;
        }
        match &self.nodes[matrix.node].kind {
            Kind::Map(MapFn::Neg, args) => self.scaled(args[0]).map(|s| Scaled { minus: !s.minus, ..s }),
            Kind::Map(MapFn::Mul, args) => {
                let is_lower = |r: &Ref| !r.flip && self.shape(*r) == SQUARE && self.triangle(*r) == Some(true);
                let is_sum = |r: &Ref| matches!(self.nodes[r.node].kind, Kind::Sum(..) | Kind::RectSum(_));
                let of_tokens = |r: &Ref| !self.is_matrix(r.node) && self.vector_axis(r.node) == Axis::Token;
                let is_scale = |r: &Ref| of_tokens(r) && !is_sum(r);
                let lower = *args.iter().find(|r| is_lower(r))?;
                let scale = *args.iter().find(|r| is_scale(r))?;
                let rows = self.shape(scale).rows == Axis::Token;
                // of numbers and their negatives the former, so that systems with either are one
                Some(match &self.nodes[scale.node].kind {
                    Kind::Map(MapFn::Neg, args) => Scaled { lower, scale: args[0], minus: true, rows },
                    _ => Scaled { lower, scale, minus: false, rows },
                })
            }
            _ => None,
        }
    }
}

impl Scaled {
    fn system(self, take: Take) -> Kind {
        Kind::System { lower: self.lower, scale: self.scale, minus: self.minus, take }
    }
}

fn plain(node: usize) -> Ref {
    Ref { node, flip: false }
}
