//! Matrix expressions, written out over the states at the token's start.

use rla_dsl::recurrence::{Side, Span};

use super::Outside;
use super::symbol::{Arena, Sym, SymKind, SymType};

/// `c diag(l) X[t-1] diag(r)`, or with `X[t-1]^T`.
#[derive(Clone, Debug)]
pub struct Previous {
    /// Scalar factor.
    pub c: Sym,
    /// The state.
    pub state: usize,
    /// The state appears transposed.
    pub transposed: bool,
    /// Factors of the rows: the number 1, or a vector along the rows.
    pub l: Sym,
    /// Factors of the columns: the number 1, or a vector along the columns.
    pub r: Sym,
    /// Where the state was written.
    pub span: Span,
}

/// `sum of previous states + sum of u w^T + diag(d)`.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Row side.
    pub rows: Side,
    /// Column side.
    pub cols: Side,
    /// Terms that hold a state.
    pub previous: Vec<Previous>,
    /// Outer products.
    pub outer: Vec<(Sym, Sym)>,
    /// The diagonal: the number 1 is the identity.
    pub diagonal: Option<Sym>,
}

/// The limit of section 5 on a matrix's terms.
pub const MAX_TERMS: usize = 4096;

/// Scalars and vectors that an expansion may make. Products of long sums grow as the product of their lengths; this
/// stops them long before memory does.
pub const MAX_SYMBOLS: usize = 1 << 16;

/// Refuses an expansion that grows too large.
pub fn check_size(arena: &Arena, span: Span) -> Result<(), Outside> {
    if arena.len() > MAX_SYMBOLS {
        return Err(Outside::new(
            span,
            format!("the recurrence expands to more than {MAX_SYMBOLS} scalars and vectors"),
        ));
    }
    Ok(())
}

impl Matrix {
    /// The zero matrix.
    pub fn zero(rows: Side, cols: Side) -> Matrix {
        Matrix { rows, cols, previous: Vec::new(), outer: Vec::new(), diagonal: None }
    }

    /// Whether a state appears.
    pub fn has_state(&self) -> bool {
        !self.previous.is_empty()
    }

    fn within_limit(self, span: Span) -> Result<Matrix, Outside> {
        if self.previous.len() + self.outer.len() > MAX_TERMS {
            return Err(Outside::new(span, format!("the expression expands to more than {MAX_TERMS} terms")));
        }
        Ok(self)
    }

    /// `self + sign other`.
    pub fn plus(mut self, arena: &mut Arena, other: &Matrix, negative: bool, span: Span) -> Result<Matrix, Outside> {
        let other = if negative {
            let minus = arena.number(-1.0);
            other.scaled(arena, minus, span)
        } else {
            other.clone()
        };
        self.previous.extend(other.previous);
        self.outer.extend(other.outer);
        self.diagonal = match (self.diagonal, other.diagonal) {
            (Some(a), Some(b)) => Some(arena.plus(a, b, span)),
            (a, b) => a.or(b),
        };
        self.within_limit(span)
    }

    /// `s self`.
    pub fn scaled(&self, arena: &mut Arena, s: Sym, span: Span) -> Matrix {
        let mut out = self.clone();
        for previous in &mut out.previous {
            previous.c = arena.mul(s, previous.c, span);
        }
        for (u, _) in &mut out.outer {
            *u = if arena.as_number(s) == Some(-1.0) { arena.neg(*u, span) } else { arena.mul(s, *u, span) };
        }
        out.diagonal = out.diagonal.map(|d| arena.mul(s, d, span));
        out
    }

    /// `self^T`.
    pub fn transpose(&self) -> Matrix {
        Matrix {
            rows: self.cols,
            cols: self.rows,
            previous: self
                .previous
                .iter()
                .map(|p| Previous { transposed: !p.transposed, l: p.r, r: p.l, ..p.clone() })
                .collect(),
            outer: self.outer.iter().map(|(u, w)| (*w, *u)).collect(),
            diagonal: self.diagonal,
        }
    }

    /// `self p`, a vector along the rows.
    pub fn apply(&self, arena: &mut Arena, p: Sym, span: Span) -> Sym {
        let mut sum = None;
        let mut add = |arena: &mut Arena, term: Sym| {
            sum = Some(match sum {
                None => term,
                Some(before) => arena.plus(before, term, span),
            });
        };
        for previous in &self.previous {
            let inner = arena.mul(previous.r, p, span);
            let (scale, inner) = arena.strip(inner, span);
            let kind = SymKind::Read { state: previous.state, transposed: previous.transposed, p: inner };
            let read = arena.add(kind, SymType::Vector(self.rows), span);
            let scale = arena.mul(previous.c, scale, span);
            let read = arena.mul(previous.l, read, span);
            let term = arena.mul(scale, read, span);
            add(arena, term);
        }
        for (u, w) in &self.outer {
            let weight = arena.dot(*w, p, span);
            let term = arena.mul(weight, *u, span);
            add(arena, term);
        }
        if let Some(d) = self.diagonal {
            let term = arena.mul(d, p, span);
            add(arena, term);
        }
        sum.unwrap_or_else(|| {
            let zero = arena.number(0.0);
            arena.mul(zero, p, span)
        })
    }

    /// `self other`.
    pub fn times(&self, arena: &mut Arena, other: &Matrix, span: Span) -> Result<Matrix, Outside> {
        if self.has_state() && other.has_state() {
            return Err(Outside::new(span, "this multiplies two states".into()));
        }
        let mut out = Matrix::zero(self.rows, other.cols);
        if other.has_state() {
            if let Some(d) = self.diagonal {
                for p in &other.previous {
                    out.previous.push(Previous { l: arena.mul(d, p.l, span), ..p.clone() });
                }
                for (u, w) in &other.outer {
                    out.outer.push((arena.mul(d, *u, span), *w));
                }
                if let Some(e) = other.diagonal {
                    out.diagonal = Some(arena.mul(d, e, span));
                }
            }
            let transposed = other.transpose();
            for (x, y) in &self.outer {
                check_size(arena, span)?;
                out.outer.push((*x, transposed.apply(arena, *y, span)));
            }
        } else {
            if let Some(d) = other.diagonal {
                for p in &self.previous {
                    out.previous.push(Previous { r: arena.mul(p.r, d, span), ..p.clone() });
                }
                for (u, w) in &self.outer {
                    out.outer.push((*u, arena.mul(*w, d, span)));
                }
                if let Some(e) = self.diagonal {
                    out.diagonal = Some(arena.mul(e, d, span));
                }
            }
            for (x, y) in &other.outer {
                check_size(arena, span)?;
                out.outer.push((self.apply(arena, *x, span), *y));
            }
        }
        out.within_limit(span)
    }
}
