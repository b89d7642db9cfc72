//! Which values are the same however a sequence is divided into chunks.
//!
//! A readout of one token is what the recurrence defines, in any division; its part from the chunk's starting state is not. A kernel
//! that works on two chunks of another kernel at once may take rows of the first kind from it. Which they are is not read off the
//! operations, it is tried: both divisions of four tokens are run on arbitrary numbers, in f64. Rows of rational or analytic
//! functions that agree there to the last digits agree everywhere but for accidents of probability zero.

use std::collections::HashMap;

use crate::tile::eval::{Environment, Matrix, values};
use crate::tile::{Axis, Leaf, Program, Role};

/// Tokens of the sequence; two chunks of half of them, or one.
const TOKENS: usize = 4;

/// Channels of every side.
const CHANNELS: usize = 3;

/// How far rows may be apart beside their size: sums in another order, of numbers near one.
const APART: f64 = 1e-9;

/// For every value of the backward program, whether its rows are those of tokens, the same in any division. `forward` keeps what
/// `backward` reads.
pub fn of_tokens(forward: &Program, backward: &Program) -> Vec<bool> {
    let (whole, halves) = (run(forward, backward, TOKENS), run(forward, backward, TOKENS / 2));
    let same = |n: usize| {
        let rows = |chunks: &[Vec<Option<Matrix>>]| -> Option<Vec<f64>> {
            let pieces: Option<Vec<&Matrix>> = chunks.iter().map(|values| values[n].as_ref()).collect();
            Some(pieces?.into_iter().flat_map(|m| m.data.iter().copied()).collect())
        };
        let (Some(x), Some(y)) = (rows(&whole), rows(&halves)) else { return false };
        x.len() == y.len() && x.iter().zip(&y).all(|(x, y)| (x - y).abs() <= APART * (1.0 + x.abs()))
    };
    let per_token =
        |n: usize| backward.nodes[n].shape.rows == Axis::Token && backward.nodes[n].shape.cols != Axis::Token;
    (0..backward.nodes.len()).map(|n| per_token(n) && same(n)).collect()
}

/// One chunk of the trial.
struct Trial<'a> {
    /// First token, and how many.
    start: usize,
    tokens: usize,
    /// What is there beside inputs.
    given: &'a HashMap<(u8, usize), Matrix>,
}

/// Of states at a chunk's start, of what is kept, of gradients of states at a chunk's end.
fn key(leaf: Leaf) -> Option<(u8, usize)> {
    match leaf {
        Leaf::State(i) => Some((0, i)),
        Leaf::Saved(i) => Some((1, i)),
        Leaf::StateGrad(i) => Some((2, i)),
        _ => None,
    }
}

/// A number between 0.1 and 0.9 for each place.
fn number(what: u64, row: usize, col: usize) -> f64 {
    let mut x = (what << 32 | (row as u64) << 16 | col as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
        x = (x ^ x >> 29).wrapping_mul(factor);
    }
    0.1 + 0.8 * ((x >> 11) as f64 / (1u64 << 53) as f64)
}

impl Environment for Trial<'_> {
    fn tokens(&self) -> usize {
        self.tokens
    }

    fn size(&self, _: u16) -> usize {
        CHANNELS
    }

    fn leaf(&self, leaf: Leaf, rows: usize, cols: usize) -> Matrix {
        // a parameter has one row, and chunks have more tokens than one
        let row = |r: usize| if rows == self.tokens { self.start + r } else { r };
        let numbers = |what: u64| Matrix::from_fn(rows, cols, |r, c| number(what, row(r), c));
        match leaf {
            Leaf::Input(i) => numbers(1 + i as u64),
            Leaf::OutputGrad(i) => numbers(1 << 10 | i as u64),
            Leaf::Const(i) => Matrix::from_fn(1, 1, |_, _| number(1 << 11 | i as u64, 0, 0)),
            Leaf::Identity(_) => Matrix::from_fn(rows, cols, |r, c| f64::from(r == c)),
            Leaf::Valid => Matrix::from_fn(rows, cols, |_, _| 1.0),
            Leaf::State(i) | Leaf::Saved(i) | Leaf::StateGrad(i) => {
                let there = key(leaf).and_then(|key| self.given.get(&key));
                there.cloned().unwrap_or_else(|| Matrix::from_fn(rows, cols, |r, c| number(1 << 12 | i as u64, r, c)))
            }
            Leaf::Number(_) | Leaf::Size(_) => unreachable!("the interpreter knows these"),
        }
    }
}

/// Forward through all chunks and back; the backward program's values, chunk by chunk.
fn run(forward: &Program, backward: &Program, chunk: usize) -> Vec<Vec<Option<Matrix>>> {
    let mut given: HashMap<(u8, usize), Matrix> = HashMap::new();
    let mut kept = vec![];
    for start in (0..TOKENS).step_by(chunk) {
        let all = values(forward, &Trial { start, tokens: chunk, given: &given });
        let mut here: HashMap<(u8, usize), Matrix> =
            given.iter().filter(|((kind, _), _)| *kind == 0).map(|(k, m)| (*k, m.clone())).collect();
        for (role, value) in &forward.results {
            let matrix = all[value.0 as usize][0].clone();
            match role {
                Role::State(i) => given.insert((0, *i), matrix),
                Role::Saved(i) => here.insert((1, *i), matrix),
                _ => None,
            };
        }
        kept.push((start, here));
    }
    let mut grads: HashMap<(u8, usize), Matrix> = HashMap::new();
    let mut out = vec![];
    for (start, mut here) in kept.into_iter().rev() {
        here.extend(grads.clone());
        let all = values(backward, &Trial { start, tokens: chunk, given: &here });
        for (role, value) in &backward.results {
            if let Role::StateGrad(i) = role {
                grads.insert((2, *i), all[value.0 as usize][0].clone());
            }
        }
        out.push(all.into_iter().map(|mut parts| if parts.len() == 1 { parts.pop() } else { None }).collect());
    }
    out.reverse();
    out
}
