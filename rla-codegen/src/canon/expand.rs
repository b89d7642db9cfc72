//! Products written out: every expression over the states at the token's start.

use rla_dsl::recurrence::{ExprId, ExprKind, Func, Recurrence, Span, StatementKind, Type};

use super::affine::{affine, merge_writes};
use super::matrix::{MAX_TERMS, Matrix, Previous, check_size};
use super::symbol::{Arena, Sym, SymKind, SymType};
use super::{Outside, Write};
use crate::tile::MapFn;

/// A state's assignment, written out.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// The one term that holds the state; for a vector state `c` and `r` multiply it elementwise.
    pub previous: Previous,
    /// A vector state that reads itself: a 1 x n matrix.
    pub row: bool,
    /// Whether the unknown side of the writes is the column side.
    pub transposed: bool,
    /// Own readouts (symbols of kind `Read`), in order of appearance.
    pub leaves: Vec<Sym>,
    /// Writes.
    pub writes: Vec<Write>,
    /// Statement index.
    pub statement: usize,
}

/// A recurrence after expansion.
#[derive(Clone, Debug)]
pub struct Expanded {
    /// All symbols.
    pub arena: Arena,
    /// By state.
    pub states: Vec<Assigned>,
    /// By output.
    pub outputs: Vec<Sym>,
}

/// A value during expansion.
#[derive(Clone, Debug)]
enum Term {
    /// A scalar or a column.
    Column(Sym),
    /// A row, by its column.
    Row(Sym),
    Matrix(Matrix),
}

struct Expander<'a> {
    recurrence: &'a Recurrence,
    arena: Arena,
    /// Values of `let` statements.
    lets: Vec<Option<Term>>,
    /// `S[t]` of assigned states.
    current: Vec<Option<Term>>,
    states: Vec<Option<Assigned>>,
    outputs: Vec<Option<Sym>>,
}

/// Expands a recurrence's statements in order.
///
/// # Errors
/// A term outside the class.
pub fn expand(recurrence: &Recurrence) -> Result<Expanded, Outside> {
    let mut expander = Expander {
        recurrence,
        arena: Arena::default(),
        lets: vec![None; recurrence.statements.len()],
        current: vec![None; recurrence.states.len()],
        states: vec![None; recurrence.states.len()],
        outputs: vec![None; recurrence.outputs.len()],
    };
    for (index, statement) in recurrence.statements.iter().enumerate() {
        let value = expander.eval(statement.value)?;
        match statement.kind {
            StatementKind::Let => expander.lets[index] = Some(value),
            StatementKind::Assign(state) => expander.assign(state, index, value, statement.span)?,
            StatementKind::Output(output) => match value {
                Term::Column(sym) => expander.outputs[output] = Some(sym),
                _ => return Err(Outside::new(statement.span, "this output is not a column or a scalar".into())),
            },
        }
    }
    let unassigned = |what: &str| Outside::new(recurrence.span, format!("a {what} is never assigned"));
    Ok(Expanded {
        states: expander.states.into_iter().map(|s| s.ok_or_else(|| unassigned("state"))).collect::<Result<_, _>>()?,
        outputs: expander
            .outputs
            .into_iter()
            .map(|o| o.ok_or_else(|| unassigned("output")))
            .collect::<Result<_, _>>()?,
        arena: expander.arena,
    })
}

fn sym_type(ty: Type) -> SymType {
    match ty {
        Type::Column(side) | Type::Row(side) => SymType::Vector(side),
        _ => SymType::Scalar,
    }
}

impl Expander<'_> {
    fn column(&mut self, id: ExprId) -> Result<Sym, Outside> {
        let span = self.recurrence.expr(id).span;
        match self.eval(id)? {
            Term::Column(sym) | Term::Row(sym) => Ok(sym),
            Term::Matrix(_) => Err(Outside::new(span, "a matrix stands where a vector is needed".into())),
        }
    }

    fn eval(&mut self, id: ExprId) -> Result<Term, Outside> {
        let expr = self.recurrence.expr(id).clone();
        let (span, ty) = (expr.span, expr.ty);
        check_size(&self.arena, span)?;
        Ok(match expr.kind {
            ExprKind::Number(x) => Term::Column(self.arena.number(x)),
            ExprKind::Const(i) => Term::Column(self.arena.add(SymKind::Const(i), SymType::Scalar, span)),
            ExprKind::Dim(side) => Term::Column(self.arena.add(SymKind::Size(side), SymType::Scalar, span)),
            ExprKind::Input(i) => Term::Column(self.arena.add(SymKind::Input(i), sym_type(ty), span)),
            ExprKind::Let(statement) => self.lets[statement].clone().expect("lets are evaluated in order"),
            ExprKind::StatePrevious(state) => self.previous(state, span),
            ExprKind::StateCurrent(state) => self.current[state].clone().expect("the checker orders S[t]"),
            ExprKind::Identity => {
                let Type::Matrix(rows, cols) = ty else { unreachable!("the checker types I as a matrix") };
                let one = self.arena.number(1.0);
                Term::Matrix(Matrix { diagonal: Some(one), ..Matrix::zero(rows, cols) })
            }
            ExprKind::Negate(a) => match self.eval(a)? {
                Term::Column(a) => Term::Column(self.arena.neg(a, span)),
                Term::Row(a) => Term::Row(self.arena.neg(a, span)),
                Term::Matrix(m) => {
                    let minus = self.arena.number(-1.0);
                    Term::Matrix(m.scaled(&mut self.arena, minus, span))
                }
            },
            ExprKind::Transpose(a) => match (self.eval(a)?, ty) {
                (Term::Matrix(m), _) => Term::Matrix(m.transpose()),
                (Term::Column(a), Type::Scalar) => Term::Column(a),
                (Term::Column(a), _) => Term::Row(a),
                (Term::Row(a), _) => Term::Column(a),
            },
            ExprKind::Add(a, b) => self.sum(a, b, false, span)?,
            ExprKind::Subtract(a, b) => self.sum(a, b, true, span)?,
            ExprKind::Multiply(a, b) | ExprKind::Hadamard(a, b) => self.product(a, b, ty, span)?,
            ExprKind::Divide(a, b) => {
                let divisor = self.column(b)?;
                match self.eval(a)? {
                    Term::Column(a) => Term::Column(self.arena.map(MapFn::Div, &[a, divisor], span)),
                    Term::Row(a) => Term::Row(self.arena.map(MapFn::Div, &[a, divisor], span)),
                    Term::Matrix(m) => {
                        let one = self.arena.number(1.0);
                        let inverse = self.arena.map(MapFn::Div, &[one, divisor], span);
                        Term::Matrix(m.scaled(&mut self.arena, inverse, span))
                    }
                }
            }
            ExprKind::Call(func, args) => self.call(func, &args, ty, span)?,
        })
    }

    fn previous(&mut self, state: usize, span: Span) -> Term {
        let declared = &self.recurrence.states[state];
        match declared.rows {
            None => Term::Column(self.arena.add(SymKind::Vector(state), SymType::Vector(declared.cols), span)),
            Some(rows) => {
                let one = self.arena.number(1.0);
                let previous = Previous { c: one, state, transposed: false, l: one, r: one, span };
                Term::Matrix(Matrix { previous: vec![previous], ..Matrix::zero(rows, declared.cols) })
            }
        }
    }

    fn sum(&mut self, a: ExprId, b: ExprId, negative: bool, span: Span) -> Result<Term, Outside> {
        Ok(match (self.eval(a)?, self.eval(b)?) {
            (Term::Matrix(x), Term::Matrix(y)) => Term::Matrix(x.plus(&mut self.arena, &y, negative, span)?),
            (Term::Matrix(_), _) | (_, Term::Matrix(_)) => {
                return Err(Outside::new(span, "a matrix is added to something that is none".into()));
            }
            (x, y) => {
                let row = matches!(x, Term::Row(_)) || matches!(y, Term::Row(_));
                let (Term::Column(x) | Term::Row(x), Term::Column(y) | Term::Row(y)) = (x, y) else {
                    unreachable!("matrices were matched above")
                };
                let y = if negative { self.arena.neg(y, span) } else { y };
                let sum = self.arena.plus(x, y, span);
                if row { Term::Row(sum) } else { Term::Column(sum) }
            }
        })
    }

    fn product(&mut self, a: ExprId, b: ExprId, ty: Type, span: Span) -> Result<Term, Outside> {
        let scalar = |e: &Expander, id: ExprId| e.recurrence.expr(id).ty == Type::Scalar;
        let (left, right) = (scalar(self, a), scalar(self, b));
        Ok(match (self.eval(a)?, self.eval(b)?) {
            (Term::Matrix(x), Term::Matrix(y)) => Term::Matrix(x.times(&mut self.arena, &y, span)?),
            (Term::Matrix(x), Term::Column(s)) if right => Term::Matrix(x.scaled(&mut self.arena, s, span)),
            (Term::Column(s), Term::Matrix(x)) if left => Term::Matrix(x.scaled(&mut self.arena, s, span)),
            (Term::Matrix(x), Term::Column(p)) => Term::Column(x.apply(&mut self.arena, p, span)),
            (Term::Row(p), Term::Matrix(x)) => Term::Row(x.transpose().apply(&mut self.arena, p, span)),
            (Term::Row(x), Term::Column(y)) if !left && !right && ty == Type::Scalar => {
                Term::Column(self.dot(x, y, span))
            }
            (Term::Column(x), Term::Row(y)) if !left && !right => {
                let Type::Matrix(rows, cols) = ty else { unreachable!("column times row is a matrix") };
                let (s, y) = self.arena.strip(y, span);
                let x = self.arena.mul(s, x, span);
                Term::Matrix(Matrix { outer: vec![(x, y)], ..Matrix::zero(rows, cols) })
            }
            (Term::Row(x), Term::Row(y) | Term::Column(y)) | (Term::Column(y), Term::Row(x)) => {
                Term::Row(self.arena.mul(x, y, span))
            }
            (Term::Column(x), Term::Column(y)) => Term::Column(self.arena.mul(x, y, span)),
            (Term::Matrix(_), Term::Row(_)) | (Term::Column(_), Term::Matrix(_)) => {
                unreachable!("the checker refuses this product")
            }
        })
    }

    /// An inner product; with a vector state, the readout of a 1 x n matrix.
    fn dot(&mut self, x: Sym, y: Sym, span: Span) -> Sym {
        let has = |e: &Expander, s: Sym| {
            let mut found = false;
            e.arena.visit(s, &mut |s| found |= matches!(e.arena.kind(s), SymKind::Vector(_)));
            found
        };
        let (x, y) = if has(self, x) { (x, y) } else { (y, x) };
        if !has(self, x) {
            return self.arena.dot(x, y, span);
        }
        match self.arena.kind(x).clone() {
            SymKind::Vector(state) => {
                let (scale, p) = self.arena.strip(y, span);
                let kind = SymKind::Read { state, transposed: false, p };
                let read = self.arena.add(kind, SymType::Scalar, span);
                self.arena.mul(scale, read, span)
            }
            SymKind::Map(MapFn::Add, args) => {
                let vector = |e: &Expander, s: Sym| e.arena.ty(s) != SymType::Scalar;
                if !(vector(self, args[0]) && vector(self, args[1])) {
                    return self.arena.dot(x, y, span);
                }
                let (a, b) = (self.dot(args[0], y, span), self.dot(args[1], y, span));
                self.arena.plus(a, b, span)
            }
            SymKind::Map(MapFn::Neg, args) => {
                let inner = self.dot(args[0], y, span);
                self.arena.neg(inner, span)
            }
            SymKind::Map(MapFn::Mul, args) => {
                let (z, other) = if has(self, args[0]) { (args[0], args[1]) } else { (args[1], args[0]) };
                if self.arena.ty(z) == SymType::Scalar {
                    let inner = self.dot(other, y, span);
                    return self.arena.mul(z, inner, span);
                }
                if self.arena.ty(other) == SymType::Scalar {
                    let inner = self.dot(z, y, span);
                    return self.arena.mul(other, inner, span);
                }
                let p = self.arena.mul(other, y, span);
                self.dot(z, p, span)
            }
            _ => self.arena.dot(x, y, span),
        }
    }

    fn call(&mut self, func: Func, args: &[ExprId], ty: Type, span: Span) -> Result<Term, Outside> {
        let row = matches!(ty, Type::Row(_));
        if func == Func::Dot {
            let (x, y) = (self.column(args[0])?, self.column(args[1])?);
            return Ok(Term::Column(self.dot(x, y, span)));
        }
        let mut syms = Vec::with_capacity(args.len());
        for arg in args {
            syms.push(self.column(*arg)?);
        }
        let arena = &mut self.arena;
        let sym = match func {
            Func::Exp => arena.map(MapFn::Exp, &syms, span),
            Func::Log => arena.map(MapFn::Log, &syms, span),
            Func::Sqrt => arena.map(MapFn::Sqrt, &syms, span),
            Func::Rsqrt => arena.map(MapFn::Rsqrt, &syms, span),
            Func::Sigmoid => arena.map(MapFn::Sigmoid, &syms, span),
            Func::LogSigmoid => arena.map(MapFn::LogSigmoid, &syms, span),
            Func::Tanh => arena.map(MapFn::Tanh, &syms, span),
            Func::Silu => arena.map(MapFn::Silu, &syms, span),
            Func::Softplus => arena.map(MapFn::Softplus, &syms, span),
            Func::Relu => arena.map(MapFn::Relu, &syms, span),
            Func::Abs => arena.map(MapFn::Abs, &syms, span),
            Func::Sq => arena.map(MapFn::Sq, &syms, span),
            Func::Clamp => arena.map(MapFn::Clamp, &syms, span),
            Func::L2norm => arena.add(SymKind::L2norm(syms[0], syms[1]), arena.ty(syms[0]), span),
            Func::Softmax => arena.add(SymKind::Softmax(syms[0]), arena.ty(syms[0]), span),
            Func::Sum => arena.add(SymKind::Sum(syms[0]), SymType::Scalar, span),
            Func::Dot => unreachable!("handled above"),
            Func::Diag => {
                let Type::Matrix(rows, cols) = ty else { unreachable!("diag is a matrix") };
                return Ok(Term::Matrix(Matrix { diagonal: Some(syms[0]), ..Matrix::zero(rows, cols) }));
            }
        };
        Ok(if row { Term::Row(sym) } else { Term::Column(sym) })
    }

    fn assign(&mut self, state: usize, statement: usize, value: Term, span: Span) -> Result<(), Outside> {
        let assigned = match value {
            Term::Matrix(matrix) => self.assign_matrix(state, statement, matrix, span)?,
            Term::Column(sym) => self.assign_vector(state, statement, sym, span)?,
            Term::Row(_) => return Err(Outside::new(span, "a state cannot be a row".into())),
        };
        self.states[state] = Some(assigned);
        Ok(())
    }

    /// `z[t] = c .* z[t-1] + b`.
    fn assign_vector(&mut self, state: usize, statement: usize, sym: Sym, span: Span) -> Result<Assigned, Outside> {
        let name = &self.recurrence.states[state].name;
        let ty = SymType::Vector(self.recurrence.states[state].cols);
        let leaf = self.arena.add(SymKind::Vector(state), ty, span);
        let mut leaves = vec![leaf];
        self.arena.visit(sym, &mut |s| {
            if matches!(self.arena.kind(s), SymKind::Read { state: x, .. } if *x == state) {
                leaves.push(s);
            }
        });
        leaves[1..].sort();
        let parts = affine(&mut self.arena, sym, &leaves, &format!("{name}[t-1]"))?;
        let Some(factor) = parts.coefficients[0] else {
            return Err(Outside::new(span, format!("{name}[t] does not contain {name}[t-1]")));
        };
        let one = self.arena.number(1.0);
        let (c, r) = if self.arena.ty(factor) == SymType::Scalar { (factor, one) } else { (one, factor) };
        let previous = Previous { c, state, transposed: false, l: one, r, span };
        let mut now = self.arena.mul(factor, leaf, span);
        if leaves.len() == 1 {
            // channel by channel: the n channels are the free side
            let mut writes = Vec::new();
            if let Some(base) = parts.base {
                let write = self.arena.add(SymKind::Write(state, 0), ty, span);
                now = self.arena.plus(now, write, span);
                writes.push(Write { given: None, base: Some(base), coefficients: Vec::new() });
            }
            self.current[state] = Some(Term::Column(now));
            return Ok(Assigned { previous, row: false, transposed: false, leaves: Vec::new(), writes, statement });
        }
        // it reads itself: a 1 x n matrix, its writes numbers times vectors
        let mut pairs = Vec::new();
        for (l, part) in std::iter::once(parts.base).chain(parts.coefficients[1..].iter().copied()).enumerate() {
            let Some(part) = part else { continue };
            let y = if l == 0 { one } else { leaves[l] };
            for (sign, term) in self.terms(part) {
                let (scale, w) = self.arena.strip(term, span);
                let scale = if sign { self.arena.neg(scale, span) } else { scale };
                pairs.push((self.arena.mul(scale, y, span), w));
            }
        }
        let leaves = leaves.split_off(1);
        let writes = merge_writes(&mut self.arena, &pairs, &leaves, &format!("{name}[t-1]"))?;
        for (j, write) in writes.iter().enumerate() {
            let u = self.arena.add(SymKind::Write(state, j), SymType::Scalar, span);
            let w = write.given.expect("a row state's write has a vector");
            let term = self.arena.mul(u, w, span);
            now = self.arena.plus(now, term, span);
        }
        self.current[state] = Some(Term::Column(now));
        Ok(Assigned { previous, row: true, transposed: false, leaves, writes, statement })
    }

    /// The terms of a sum of vectors, and whether each is subtracted.
    fn terms(&self, sum: Sym) -> Vec<(bool, Sym)> {
        let mut out = Vec::new();
        let mut todo = vec![(false, sum)];
        while let Some((sign, sym)) = todo.pop() {
            match self.arena.kind(sym) {
                SymKind::Map(MapFn::Add, args) if args.iter().all(|a| self.arena.ty(*a) != SymType::Scalar) => {
                    todo.extend(args.iter().rev().map(|a| (sign, *a)));
                }
                SymKind::Map(MapFn::Neg, args) => todo.push((!sign, args[0])),
                _ => out.push((sign, sym)),
            }
        }
        out
    }

    fn assign_matrix(
        &mut self,
        state: usize,
        statement: usize,
        matrix: Matrix,
        span: Span,
    ) -> Result<Assigned, Outside> {
        let name = self.recurrence.states[state].name.clone();
        if matrix.diagonal.is_some() {
            return Err(Outside::new(span, format!("{name}[t] contains a diagonal matrix that no state multiplies")));
        }
        for p in &matrix.previous {
            if p.state != state {
                let other = &self.recurrence.states[p.state].name;
                return Err(Outside::new(
                    p.span,
                    format!("{name}[t] contains the matrix {other}[t-1] of another state (a later extension)"),
                ));
            }
            if p.transposed {
                return Err(Outside::new(p.span, format!("{name}[t] contains the transpose of {name}[t-1]")));
            }
        }
        let previous = self.one_previous(&name, matrix.previous, span)?;
        let (leaves, transposed) = self.own_readouts(state, &name, &matrix.outer)?;
        let pairs: Vec<(Sym, Sym)> =
            matrix.outer.iter().map(|(u, w)| if transposed { (*w, *u) } else { (*u, *w) }).collect();
        let writes = merge_writes(&mut self.arena, &pairs, &leaves, &format!("{name}[t-1]"))?;
        if writes.len() * leaves.len().max(1) > MAX_TERMS {
            let reason = format!(
                "{name} has {} writes and {} own readouts: more than {MAX_TERMS} pairs",
                writes.len(),
                leaves.len()
            );
            return Err(Outside::new(span, reason));
        }
        let free = if transposed { matrix.cols } else { matrix.rows };
        let mut outer = Vec::new();
        for (j, write) in writes.iter().enumerate() {
            let u = self.arena.add(SymKind::Write(state, j), SymType::Vector(free), span);
            let w = write.given.expect("a matrix state's write has a vector");
            outer.push(if transposed { (w, u) } else { (u, w) });
        }
        let now =
            Matrix { rows: matrix.rows, cols: matrix.cols, previous: vec![previous.clone()], outer, diagonal: None };
        self.current[state] = Some(Term::Matrix(now));
        Ok(Assigned { previous, row: false, transposed, leaves, writes, statement })
    }

    /// Merges the terms that hold the state into one `c diag(l) X diag(r)`.
    fn one_previous(&mut self, name: &str, terms: Vec<Previous>, span: Span) -> Result<Previous, Outside> {
        let mut terms = terms.into_iter();
        let Some(mut sum) = terms.next() else {
            return Err(Outside::new(span, format!("{name}[t] does not contain {name}[t-1]")));
        };
        let one = self.arena.number(1.0);
        for term in terms {
            let at = term.span;
            sum = if sum.l == term.l && sum.r == term.r {
                Previous { c: self.arena.plus(sum.c, term.c, at), ..sum }
            } else if sum.l == term.l {
                let (a, b) = (self.arena.mul(sum.c, sum.r, at), self.arena.mul(term.c, term.r, at));
                Previous { c: one, r: self.arena.plus(a, b, at), ..sum }
            } else if sum.r == term.r {
                let (a, b) = (self.arena.mul(sum.c, sum.l, at), self.arena.mul(term.c, term.l, at));
                Previous { c: one, l: self.arena.plus(a, b, at), ..sum }
            } else {
                return Err(Outside::new(
                    at,
                    format!("{name}[t] contains {name}[t-1] twice, with different factors on both sides"),
                ));
            };
        }
        Ok(sum)
    }

    /// Own readouts in the writes, and whether they are on the column side.
    fn own_readouts(&mut self, state: usize, name: &str, outer: &[(Sym, Sym)]) -> Result<(Vec<Sym>, bool), Outside> {
        let own = |arena: &Arena, sym: Sym| {
            let mut found = Vec::new();
            arena.visit(sym, &mut |s| {
                if matches!(arena.kind(s), SymKind::Read { state: x, .. } if *x == state) {
                    found.push(s);
                }
            });
            found.sort();
            found
        };
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for (u, w) in outer {
            left.extend(own(&self.arena, *u));
            right.extend(own(&self.arena, *w));
        }
        let transposed = left.is_empty() && !right.is_empty();
        if !left.is_empty() && !right.is_empty() {
            let span = self.arena.span(right[0]);
            return Err(Outside::new(span, format!("{name}[t-1] is read on both sides of a write to {name}")));
        }
        let mut leaves = if transposed { right } else { left };
        leaves.sort();
        leaves.dedup();
        for leaf in &leaves {
            let SymKind::Read { transposed: side, p, .. } = self.arena.kind(*leaf).clone() else { unreachable!() };
            if side != transposed {
                let span = self.arena.span(*leaf);
                return Err(Outside::new(
                    span,
                    format!("this readout of {name}[t-1] is on the wrong side of its write"),
                ));
            }
            if !own(&self.arena, p).is_empty() {
                let span = self.arena.span(*leaf);
                return Err(Outside::new(span, format!("{name}[t-1] is applied to a readout of itself")));
            }
        }
        Ok((leaves, transposed))
    }
}
