//! Affine decomposition over a state's own readouts.

use std::collections::HashMap;

use super::symbol::{Arena, Sym, SymKind};
use super::{Outside, Write};
use crate::tile::MapFn;

/// `base + sum of coefficients[l] .* leaves[l]`; `None` is zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// What is left without the leaves.
    pub base: Option<Sym>,
    /// One per leaf: free of leaves, a scalar or a vector of the leaf's side.
    pub coefficients: Vec<Option<Sym>>,
}

struct Decompose<'a> {
    leaves: &'a [Sym],
    has: Vec<bool>,
    known: HashMap<Sym, Affine>,
    name: &'a str,
}

/// Writes `sym` as an affine function of `leaves`. `name` is what the leaves read, for messages.
///
/// # Errors
/// A leaf under a nonlinear function, in a product with a leaf, or under a sum over its side.
pub fn affine(arena: &mut Arena, sym: Sym, leaves: &[Sym], name: &str) -> Result<Affine, Outside> {
    let has = arena.containing(leaves);
    Decompose { leaves, has, known: HashMap::new(), name }.run(arena, sym)
}

impl Decompose<'_> {
    fn contains(&self, sym: Sym) -> bool {
        // symbols made during the decomposition are free of leaves by construction
        self.has.get(sym.0 as usize).copied().unwrap_or(false)
    }

    fn run(&mut self, arena: &mut Arena, sym: Sym) -> Result<Affine, Outside> {
        if let Some(known) = self.known.get(&sym) {
            return Ok(known.clone());
        }
        let result = self.decompose(arena, sym)?;
        self.known.insert(sym, result.clone());
        Ok(result)
    }

    fn decompose(&mut self, arena: &mut Arena, sym: Sym) -> Result<Affine, Outside> {
        let zero = vec![None; self.leaves.len()];
        if let Some(l) = self.leaves.iter().position(|leaf| *leaf == sym) {
            let mut coefficients = zero;
            coefficients[l] = Some(arena.number(1.0));
            return Ok(Affine { base: None, coefficients });
        }
        if !self.contains(sym) {
            return Ok(Affine { base: Some(sym), coefficients: zero });
        }
        let span = arena.span(sym);
        match arena.kind(sym).clone() {
            SymKind::Map(MapFn::Add, args) => {
                let (x, y) = (self.run(arena, args[0])?, self.run(arena, args[1])?);
                let mut add = |a: Option<Sym>, b: Option<Sym>| match (a, b) {
                    (Some(a), Some(b)) => Some(arena.plus(a, b, span)),
                    (a, b) => a.or(b),
                };
                let base = add(x.base, y.base);
                let coefficients = x.coefficients.iter().zip(&y.coefficients).map(|(a, b)| add(*a, *b)).collect();
                Ok(Affine { base, coefficients })
            }
            SymKind::Map(MapFn::Neg, args) => {
                let x = self.run(arena, args[0])?;
                Ok(x.each(|s| arena.neg(s, span)))
            }
            SymKind::Map(MapFn::Mul, args) => {
                let (factor, rest) = match (self.contains(args[0]), self.contains(args[1])) {
                    (true, true) => {
                        let reason = format!("a readout of {} is multiplied with another one", self.name);
                        return Err(Outside::new(span, reason));
                    }
                    (true, false) => (args[1], args[0]),
                    _ => (args[0], args[1]),
                };
                let x = self.run(arena, rest)?;
                Ok(x.each(|s| arena.mul(factor, s, span)))
            }
            SymKind::Map(MapFn::Div, args) if !self.contains(args[1]) => {
                let x = self.run(arena, args[0])?;
                Ok(x.each(|s| arena.map(MapFn::Div, &[s, args[1]], span)))
            }
            kind => {
                let through = match kind {
                    SymKind::Map(f, _) => format!("{f:?}").to_lowercase(),
                    SymKind::Dot(..) => "a dot product".into(),
                    SymKind::Sum(_) => "a sum over its side".into(),
                    SymKind::Softmax(_) => "softmax".into(),
                    SymKind::L2norm(..) => "l2norm".into(),
                    _ => "another readout".into(),
                };
                Err(Outside::new(span, format!("{} enters its own update through {through}", self.name)))
            }
        }
    }
}

impl Affine {
    fn each(&self, mut f: impl FnMut(Sym) -> Sym) -> Affine {
        Affine { base: self.base.map(&mut f), coefficients: self.coefficients.iter().map(|c| c.map(&mut f)).collect() }
    }
}

/// Writes with equal given vectors are one write; each is decomposed over the own readouts.
///
/// # Errors
/// As [`affine`].
pub fn merge_writes(
    arena: &mut Arena,
    pairs: &[(Sym, Sym)],
    leaves: &[Sym],
    name: &str,
) -> Result<Vec<Write>, Outside> {
    let mut merged: Vec<(Sym, Sym)> = Vec::new();
    for (u, w) in pairs {
        let span = arena.span(*u);
        let (scale, w) = arena.strip(*w, span);
        let u = arena.mul(scale, *u, span);
        match merged.iter_mut().find(|(known, _)| *known == w) {
            Some((_, sum)) => *sum = arena.plus(*sum, u, span),
            None => merged.push((w, u)),
        }
    }
    merged
        .into_iter()
        .map(|(w, u)| {
            let parts = affine(arena, u, leaves, name)?;
            Ok(Write { given: Some(w), base: parts.base, coefficients: parts.coefficients })
        })
        .collect()
}
