//! Substitutions into products with inverses.
//!
//! The coupled system of a state's readouts y and writes u (see [`Op::Solve`]) is, with the writes put in,
//!
//! ```text
//! y_l = y0_l + sum_j M_lj b_j + sum_l' A_ll' y_l'        A_ll' = sum_j M_lj diag(c_jl')
//! y_l = sum_l' G_ll' y0_l' + sum_j (sum_l' G_ll' M_l'j) b_j      G = (I - A)^-1
//! ```
//!
//! G and its products with M hold no state, so a target with many cores makes them for all chunks at once, and a chunk's
//! turn is products alone. Each inverse of one block is itself formed by substitution ([`Op::Inverse`]); of several
//! readouts by bordering, one readout at a time. A system with its own decay or coefficient a channel has one matrix a
//! channel and stays as it is.

use super::rewrite::rewrite;
use crate::tile::builder::Builder;
use crate::tile::{Axis, Direction, Op, Program, Value};

/// Replaces every system whose matrices are the same for all channels.
pub fn invert(program: &Program) -> Program {
    let inverted = rewrite(program, |builder, _, op| {
        let Op::Part(solve, k) = op else { return None };
        let Op::Solve { direction, m, c, y0, b, decay: None } = builder.op(*solve).clone() else { return None };
        if c.iter().flatten().any(|v| builder.shape(*v).cols != Axis::One) {
            return None;
        }
        let up = direction == Direction::Up;
        System { m: &m, c: &c, y0: &y0, b: &b, up }.part(builder, *k)
    });
    // the systems themselves are dead now
    rewrite(&inverted, |_, _, _| None)
}

struct System<'a> {
    m: &'a [Option<Value>],
    c: &'a [Option<Value>],
    y0: &'a [Option<Value>],
    b: &'a [Option<Value>],
    up: bool,
}

fn plus(builder: &mut Builder, sum: Option<Value>, term: Option<Value>) -> Option<Value> {
    match (sum, term) {
        (Some(x), Some(y)) => Some(builder.add(x, y)),
        (x, y) => x.or(y),
    }
}

fn times(builder: &mut Builder, a: Option<Value>, b: Option<Value>) -> Option<Value> {
    Some(builder.matmul(a?, false, b?, false))
}

impl System<'_> {
    fn part(&self, builder: &mut Builder, k: usize) -> Option<Value> {
        let (readouts, writes) = (self.y0.len(), self.b.len());
        match k.checked_sub(readouts) {
            None => self.readout(builder, k),
            Some(j) => {
                let mut sum = self.b[j];
                for l in 0..readouts {
                    let Some(c) = self.c[j * readouts + l] else { continue };
                    let Some(y) = self.readout(builder, l) else { continue };
                    let term = builder.mul(c, y);
                    sum = plus(builder, sum, Some(term));
                }
                debug_assert!(j < writes);
                sum
            }
        }
    }

    fn m(&self, l: usize, j: usize) -> Option<Value> {
        self.m[l * self.b.len() + j]
    }

    /// `A_ll'`, or `(A_l'l)^T` going up: strictly lower either way.
    fn lower(&self, builder: &mut Builder, l: usize, other: usize) -> Option<Value> {
        let readouts = self.y0.len();
        let (row, col) = if self.up { (other, l) } else { (l, other) };
        let mut sum = None;
        for j in 0..self.b.len() {
            let (Some(m), Some(c)) = (self.m(row, j), self.c[j * readouts + col]) else { continue };
            let c = if self.up { c } else { builder.op_value(Op::Transpose(c)) };
            let term = builder.mul(c, m);
            sum = plus(builder, sum, Some(term));
        }
        sum
    }

    /// Blocks of `(I - L)^-1`, `L` the lower form of A; None is zero, and an absent diagonal block the identity.
    fn inverse(&self, builder: &mut Builder) -> Vec<Vec<Option<Value>>> {
        let n = self.y0.len();
        let lower: Vec<Vec<Option<Value>>> =
            (0..n).map(|l| (0..n).map(|other| self.lower(builder, l, other)).collect()).collect();
        let mut g: Vec<Vec<Option<Value>>> = vec![vec![None; n]; n];
        // None on the diagonal stands for the identity
        let apply = |builder: &mut Builder, g: &[Vec<Option<Value>>], row: usize, col: usize, x: Option<Value>| {
            if row == col && g[row][col].is_none() { x } else { times(builder, g[row][col], x) }
        };
        for p in 0..n {
            // left_q = sum_q' L_pq' G_q'q, right_q = sum_q' G_qq' L_q'p
            let (mut left, mut right) = (vec![None; p], vec![None; p]);
            for q in 0..p {
                for other in 0..p {
                    let term = if other == q && g[q][q].is_none() {
                        lower[p][q]
                    } else {
                        times(builder, lower[p][other], g[other][q])
                    };
                    left[q] = plus(builder, left[q], term);
                    let term = apply(builder, &g, q, other, lower[other][p]);
                    right[q] = plus(builder, right[q], term);
                }
            }
            let mut schur = lower[p][p];
            for q in 0..p {
                let term = times(builder, left[q], lower[q][p]);
                schur = plus(builder, schur, term);
            }
            g[p][p] = schur.map(|s| builder.op_value(Op::Inverse(s)));
            for q in 0..p {
                g[p][q] = apply(builder, &g, p, p, left[q]);
                g[q][p] = match g[p][p] {
                    None => right[q],
                    inverse => times(builder, right[q], inverse),
                };
            }
            for q in 0..p {
                for r in 0..p {
                    let term = times(builder, g[q][p], left[r]);
                    if q == r && g[q][r].is_none() && term.is_some() {
                        // the identity and a strictly lower part: the inverse of what makes it so is not needed
                        unreachable!("a readout that others feed back into has an inverse of its own");
                    }
                    g[q][r] = plus(builder, g[q][r], term);
                }
            }
        }
        g
    }

    fn readout(&self, builder: &mut Builder, l: usize) -> Option<Value> {
        let g = self.inverse(builder);
        let mut sum = None;
        for other in 0..self.y0.len() {
            let block = if self.up { g[other][l] } else { g[l][other] };
            let term = match (block, self.y0[other]) {
                (Some(block), Some(y0)) => Some(builder.matmul(block, self.up, y0, false)),
                (None, y0) if other == l => y0,
                _ => None,
            };
            sum = plus(builder, sum, term);
        }
        for j in 0..self.b.len() {
            let Some(b) = self.b[j] else { continue };
            let mut matrix = None;
            for other in 0..self.y0.len() {
                let block = if self.up { g[other][l] } else { g[l][other] };
                let term = match (block, self.m(other, j)) {
                    (None, m) if other == l => m,
                    (Some(block), Some(m)) if self.up => Some(builder.matmul(m, false, block, false)),
                    (block, m) => times(builder, block, m),
                };
                matrix = plus(builder, matrix, term);
            }
            let term = matrix.map(|matrix| builder.matmul(matrix, self.up, b, false));
            sum = plus(builder, sum, term);
        }
        sum
    }
}
