//! Arithmetic per token and value head: the least that a chunk form needs, and what a program executes.

use std::collections::{BTreeMap, BTreeSet};

use rla_dsl::recurrence::{Input, Recurrence, Side};

use crate::canon::symbol::{Arena, Sym, SymKind, SymType};
use crate::canon::{CanonState, Canonical};
use crate::tile::{Axis, MapFn, Op, Program};

/// Tokens of a chunk in [`floor`].
pub const CHUNK: usize = 16;

/// One term of a count.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// What it is for: `read S`, `write S`, `scores of S`, `apply to S`.
    pub what: String,
    /// Floating-point operations per token and value head.
    pub flops: f64,
    /// Whether it comes from positions within a chunk, which a single token does not have.
    pub within_chunk: bool,
}

/// The sum of the terms for whole chunks, per token and value head.
pub fn total(terms: &[Term]) -> f64 {
    terms.iter().map(|term| term.flops).sum()
}

/// The same for single tokens, in decode.
pub fn per_step(terms: &[Term]) -> f64 {
    terms.iter().filter(|term| !term.within_chunk).map(|term| term.flops).sum()
}

/// The least arithmetic of forward with everything shared: 2 K V for each readout and each write of a state, and with
/// chunks of [`CHUNK`] tokens C K or C V for each triangular product. What depends on key heads only is shared by
/// `group` value heads. Train is three times forward.
pub fn floor(recurrence: &Recurrence, canonical: &Canonical, sizes: &[usize], group: usize) -> Vec<Term> {
    let mut reads: BTreeMap<usize, BTreeSet<(bool, Option<Sym>)>> = BTreeMap::new();
    let arena = &canonical.arena;
    for (index, state) in canonical.states.iter().enumerate() {
        reads.entry(index).or_default().extend(state.readouts.iter().map(|&p| (false, Some(direction(arena, p)))));
    }
    let mut seen = BTreeSet::new();
    for root in roots(canonical) {
        visit(arena, root, &mut seen, &mut |sym| match arena.kind(sym) {
            SymKind::Read { state, transposed, p } => {
                let p = (*transposed, Some(direction(arena, *p)));
                // a readout along the declared orientation is one along the free side, or across it
                let across = canonical.states[*state].transposed;
                reads.entry(*state).or_default().insert((p.0 != across, p.1));
            }
            SymKind::Vector(state) => {
                reads.entry(*state).or_default().insert((false, None));
            }
            _ => {}
        });
    }

    let size = |side: Side| sizes[side.0 as usize] as f64;
    let chunk = CHUNK as f64;
    let (mut terms, mut scores) = (Vec::new(), BTreeSet::new());
    for (index, state) in canonical.states.iter().enumerate() {
        let name = &recurrence.states[index].name;
        let (free, contracted) = (state.free.map_or(1.0, size), state.contracted.map_or(1.0, size));
        let matrix = 2.0 * free * contracted;
        let mut push = |what: String, flops: f64, within_chunk: bool| terms.push(Term { what, flops, within_chunk });
        for &(across, p) in &reads[&index] {
            push(format!("read {name}"), matrix, false);
            for write in &state.writes {
                let Some(w) = write.given.map(|w| direction(arena, w)) else {
                    push(format!("apply to {name}"), chunk * free, true);
                    continue;
                };
                // reading across contracts the free side and applies to the other
                let (inner, outer) = if across { (free, contracted) } else { (contracted, free) };
                let key = (across.then_some(index), p, w, state.contracted_decay);
                if !across && scores.insert(key) {
                    let shared = [p, Some(w)].into_iter().flatten().all(|s| of_key_heads(arena, &recurrence.inputs, s));
                    let flops = chunk * inner / if shared { group as f64 } else { 1.0 };
                    push(format!("scores of {name}"), flops, true);
                } else if across {
                    push(format!("scores of {name}"), chunk * inner, true);
                }
                push(format!("apply to {name}"), chunk * outer, true);
            }
        }
        for _ in &state.writes {
            push(format!("write {name}"), matrix, false);
        }
    }
    terms
}

/// Everything that outputs and states are built from.
fn roots(canonical: &Canonical) -> Vec<Sym> {
    let of_state = |state: &CanonState| {
        let writes = state.writes.iter().flat_map(|w| {
            let coefficients = w.coefficients.iter().flatten();
            [w.given, w.base].into_iter().flatten().chain(coefficients.copied()).collect::<Vec<_>>()
        });
        let decays = [state.scalar_decay, state.free_decay, state.contracted_decay].into_iter().flatten();
        writes.chain(decays).chain(state.readouts.iter().copied()).collect::<Vec<_>>()
    };
    canonical.outputs.iter().copied().chain(canonical.states.iter().flat_map(of_state)).collect()
}

fn visit(arena: &Arena, root: Sym, seen: &mut BTreeSet<Sym>, f: &mut dyn FnMut(Sym)) {
    let mut stack = vec![root];
    while let Some(sym) = stack.pop() {
        if !seen.insert(sym) {
            continue;
        }
        f(sym);
        match arena.kind(sym) {
            SymKind::Map(_, args) => stack.extend(args),
            SymKind::L2norm(x, eps) => stack.extend([*x, *eps]),
            SymKind::Dot(a, b) => stack.extend([*a, *b]),
            SymKind::Sum(x) | SymKind::Softmax(x) | SymKind::Read { p: x, .. } => stack.push(*x),
            _ => {}
        }
    }
}

/// A vector without its scalar factors: products with the two share their arithmetic.
fn direction(arena: &Arena, mut sym: Sym) -> Sym {
    loop {
        sym = match arena.kind(sym) {
            SymKind::Map(MapFn::Mul, args) if arena.ty(args[0]) == SymType::Scalar => args[1],
            SymKind::Map(MapFn::Mul | MapFn::Div, args) if arena.ty(args[1]) == SymType::Scalar => args[0],
            SymKind::Map(MapFn::Neg, args) => args[0],
            _ => return sym,
        }
    }
}

/// Whether a vector is made of inputs per key head alone.
fn of_key_heads(arena: &Arena, inputs: &[Input], sym: Sym) -> bool {
    let mut all = true;
    visit(arena, sym, &mut BTreeSet::new(), &mut |sym| match arena.kind(sym) {
        SymKind::Input(i) => all &= inputs[*i].per_key_head(),
        SymKind::Read { .. } | SymKind::Vector(_) | SymKind::Write(..) => all = false,
        _ => {}
    });
    all
}

/// Floating-point operations per token of a program's products, with `chunk` tokens a chunk. Triangular operands and
/// results count half; elementwise operations, which hide behind products, do not count.
pub fn executed(program: &Program, chunk: usize, sizes: &[usize]) -> f64 {
    let length = |axis: Axis| match axis {
        Axis::One => 1.0,
        Axis::Token => chunk as f64,
        Axis::Side(side) => sizes[side as usize] as f64,
    };
    let square = |value| {
        let shape = program.shape(value);
        shape.rows == Axis::Token && shape.cols == Axis::Token
    };
    let triangle = (chunk as f64 + 1.0) / (2.0 * chunk as f64);
    let mut flops = 0.0;
    for node in &program.nodes {
        let (rows, cols) = (length(node.shape.rows), length(node.shape.cols));
        match &node.op {
            Op::Matmul { a, ta, b, .. } => {
                let a_shape = program.shape(*a);
                let inner = length(if *ta { a_shape.rows } else { a_shape.cols });
                let result = node.shape.rows == Axis::Token && node.shape.cols == Axis::Token;
                let half = chunk > 1 && (result || square(*a) || square(*b));
                flops += 2.0 * rows * cols * inner * if half { triangle } else { 1.0 };
            }
            Op::Solve { m, .. } => {
                let products = m.iter().flatten().count() as f64;
                flops += 2.0 * products * rows * cols * chunk as f64 * triangle;
            }
            Op::DecayDot { p, .. } => {
                flops += 4.0 * chunk as f64 * chunk as f64 * length(program.shape(*p).cols) * triangle;
            }
            Op::DecayApply { .. } | Op::DecayRect { .. } => flops += 4.0 * rows * cols * chunk as f64 * triangle,
            _ => {}
        }
    }
    flops / chunk as f64
}
