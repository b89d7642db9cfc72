//! Types: every operator and function gets operands that it takes, `I` finds its side, results fit their place.
//!
//! One walk over the arena in order, so operands are typed before operators. A matrix built from `I` alone is
//! [`Ty::Square`] until it meets a matrix, column or row; then its whole expression gets that side.

use super::suggest::{self, describe};
use super::{Draft, NO_SIDE, Ty, children};
use crate::ast::Operator;
use crate::diagnostic::{Collector, Message};
use crate::recurrence::{ExprId, ExprKind, Func, Side, StatementKind, Type};
use crate::symbol::Shape;

pub(super) fn check(draft: &mut Draft, out: &mut Collector) {
    for index in 0..draft.recurrence.consts.len() {
        let root = draft.recurrence.consts[index].value;
        (draft.const_first[index]..=root.0 as usize).for_each(|node| infer(draft, node, out));
        settle(draft, root, out);
    }
    for index in 0..draft.recurrence.statements.len() {
        let root = draft.recurrence.statements[index].value;
        (draft.first[index]..=root.0 as usize).for_each(|node| infer(draft, node, out));
        let kind = draft.recurrence.statements[index].kind.clone();
        if let StatementKind::Assign(state) = kind
            && state != usize::MAX
            && let Type::Matrix(rows, cols) = state_type(draft, state)
            && rows == cols
            && draft.ty(root) == Ty::Square
        {
            give_side(draft, root, rows);
        }
        settle(draft, root, out);
        let Ty::Known(found) = draft.ty(root) else { continue };
        match kind {
            StatementKind::Assign(state) if state != usize::MAX => assigned(draft, index, state, found, out),
            StatementKind::Output(_) if !matches!(found, Type::Scalar | Type::Column(_)) => {
                let name = draft.recurrence.statements[index].name.clone();
                let found_text = describe(draft, found);
                let message = Message::OutputType { name, found: found_text };
                let diagnostic = out.report(message, draft.span(root));
                if let Type::Row(_) = found {
                    diagnostic.help("write `(...)^T`");
                }
            }
            _ => {}
        }
    }
}

/// The type of a state as it reads: a vector state is a column.
fn state_type(draft: &Draft, state: usize) -> Type {
    let state = &draft.recurrence.states[state];
    match state.rows {
        Some(rows) => Type::Matrix(rows, state.cols),
        None => Type::Column(state.cols),
    }
}

fn assigned(draft: &Draft, statement: usize, state: usize, found: Type, out: &mut Collector) {
    let expected = state_type(draft, state);
    if found == expected || declared(expected) == Ty::Unknown {
        return;
    }
    let statement = &draft.recurrence.statements[statement];
    let message = Message::AssignType {
        name: statement.name.clone(),
        expected: describe(draft, expected),
        found: describe(draft, found),
    };
    let diagnostic = out.report(message, draft.span(statement.value));
    diagnostic.at("the state", draft.recurrence.states[state].span);
    if transposed(found) == expected {
        diagnostic.help("the transpose would fit: `(...)^T`");
    }
}

/// The type of a declared name, if its sides are known.
fn declared(ty: Type) -> Ty {
    match ty {
        Type::Column(s) | Type::Row(s) if s == NO_SIDE => Ty::Unknown,
        Type::Matrix(r, c) if r == NO_SIDE || c == NO_SIDE => Ty::Unknown,
        ty => Ty::Known(ty),
    }
}

/// Reports `I` where nothing gave it a side.
fn settle(draft: &mut Draft, root: ExprId, out: &mut Collector) {
    if draft.ty(root) != Ty::Square {
        return;
    }
    let mut at = root;
    while let Some(child) = children(draft.kind(at)).find(|c| draft.ty(*c) == Ty::Square) {
        at = child;
    }
    out.report(Message::NoSide {}, draft.span(at));
    draft.types[root.0 as usize] = Ty::Unknown;
}

/// Gives an expression built from `I` alone its side.
fn give_side(draft: &mut Draft, root: ExprId, side: Side) {
    let mut stack = vec![root];
    while let Some(id) = stack.pop() {
        if draft.ty(id) == Ty::Square {
            draft.types[id.0 as usize] = Ty::Known(Type::Matrix(side, side));
            stack.extend(children(draft.kind(id)));
        }
    }
}

/// Types node `node`, whose operands are typed.
fn infer(draft: &mut Draft, node: usize, out: &mut Collector) {
    if draft.types[node] == Ty::Unknown {
        return;
    }
    let kind = draft.recurrence.exprs[node].kind.clone();
    let unknown = children(&kind).any(|c| draft.ty(c) == Ty::Unknown);
    let ty = match &kind {
        _ if unknown => Ty::Unknown,
        ExprKind::Number(_) | ExprKind::Const(_) | ExprKind::Dim(_) => Ty::Known(Type::Scalar),
        ExprKind::Input(i) => declared(draft.recurrence.inputs[*i].side.map_or(Type::Scalar, Type::Column)),
        ExprKind::Let(i) => draft.ty(draft.recurrence.statements[*i].value),
        ExprKind::StatePrevious(i) | ExprKind::StateCurrent(i) => declared(state_type(draft, *i)),
        ExprKind::Identity => Ty::Square,
        ExprKind::Negate(a) => draft.ty(*a),
        ExprKind::Transpose(a) => match draft.ty(*a) {
            Ty::Known(ty) => Ty::Known(transposed(ty)),
            other => other,
        },
        ExprKind::Add(a, b) => binary(draft, node, Operator::Add, *a, *b, out),
        ExprKind::Subtract(a, b) => binary(draft, node, Operator::Subtract, *a, *b, out),
        ExprKind::Multiply(a, b) => binary(draft, node, Operator::Multiply, *a, *b, out),
        ExprKind::Hadamard(a, b) => binary(draft, node, Operator::Hadamard, *a, *b, out),
        ExprKind::Divide(a, b) => binary(draft, node, Operator::Divide, *a, *b, out),
        ExprKind::Call(func, arguments) => call(draft, node, *func, arguments, out),
    };
    draft.types[node] = ty;
}

pub(super) fn transposed(ty: Type) -> Type {
    match ty {
        Type::Scalar => Type::Scalar,
        Type::Column(s) => Type::Row(s),
        Type::Row(s) => Type::Column(s),
        Type::Matrix(r, c) => Type::Matrix(c, r),
    }
}

/// The result of an operator on known types; `None` where it takes no such operands. This is the rule table of the
/// language page.
pub(super) fn rule(operator: Operator, left: Type, right: Type) -> Option<Type> {
    use Operator::*;
    use Type::*;
    match (operator, left, right) {
        // a scalar scales anything
        (Multiply, Scalar, x) | (Multiply, x, Scalar) => Some(x),
        (Multiply, Matrix(r, c), Column(s)) if c == s => Some(Column(r)),
        (Multiply, Row(s), Matrix(r, c)) if s == r => Some(Row(c)),
        (Multiply, Row(a), Column(b)) if a == b => Some(Scalar),
        (Multiply, Column(a), Row(b)) => Some(Matrix(a, b)),
        (Multiply, Matrix(r, a), Matrix(b, c)) if a == b => Some(Matrix(r, c)),
        (Multiply, ..) => None,
        // `+` and `-` of equal types; otherwise elementwise, a scalar broadcast over a column or row
        (Add | Subtract, a, b) if a == b => Some(a),
        (Divide, Matrix(r, c), Scalar) => Some(Matrix(r, c)),
        (_, Matrix(..), _) | (_, _, Matrix(..)) => None,
        (_, a, b) if a == b => Some(a),
        (_, Scalar, x) | (_, x, Scalar) => Some(x),
        _ => None,
    }
}

fn binary(draft: &mut Draft, node: usize, operator: Operator, a: ExprId, b: ExprId, out: &mut Collector) -> Ty {
    let (left, right) = (draft.ty(a), draft.ty(b));
    let result = match (left, right) {
        (Ty::Known(left), Ty::Known(right)) => rule(operator, left, right).map(Ty::Known),
        _ => with_identity(draft, operator, a, b),
    };
    result.unwrap_or_else(|| {
        suggest::operands(draft, operator, a, b, draft.recurrence.exprs[node].span, out);
        Ty::Unknown
    })
}

/// An operator where one side or both are built from `I` alone.
fn with_identity(draft: &mut Draft, operator: Operator, a: ExprId, b: ExprId) -> Option<Ty> {
    use Operator::*;
    let (left, right) = (draft.ty(a), draft.ty(b));
    // the side that the other operand gives
    let side = match (operator, left, right) {
        (Add | Subtract | Multiply, Ty::Square, Ty::Square) => return Some(Ty::Square),
        (Multiply, Ty::Square, Ty::Known(Type::Scalar)) | (Multiply, Ty::Known(Type::Scalar), Ty::Square) => {
            return Some(Ty::Square);
        }
        (Divide, Ty::Square, Ty::Known(Type::Scalar)) => return Some(Ty::Square),
        (Add | Subtract, Ty::Square, Ty::Known(Type::Matrix(r, c)))
        | (Add | Subtract, Ty::Known(Type::Matrix(r, c)), Ty::Square)
            if r == c =>
        {
            r
        }
        (Multiply, Ty::Square, Ty::Known(Type::Matrix(s, _) | Type::Column(s))) => s,
        (Multiply, Ty::Known(Type::Matrix(_, s) | Type::Row(s)), Ty::Square) => s,
        _ => return None,
    };
    for id in [a, b] {
        if draft.ty(id) == Ty::Square {
            give_side(draft, id, side);
        }
    }
    match (draft.ty(a), draft.ty(b)) {
        (Ty::Known(left), Ty::Known(right)) => rule(operator, left, right).map(Ty::Known),
        _ => None,
    }
}

fn call(draft: &mut Draft, node: usize, func: Func, arguments: &[ExprId], out: &mut Collector) -> Ty {
    let span = draft.recurrence.exprs[node].span;
    let shape = func.shape();
    if arguments.len() != shape.arity() {
        let count = |n: usize| format!("{n} argument{}", if n == 1 { "" } else { "s" });
        let message = Message::Arity {
            function: func.name().into(),
            expected: count(shape.arity()),
            found: arguments.len().to_string(),
        };
        let diagnostic = out.report(message, span);
        match func {
            Func::Clamp => diagnostic.help("`clamp(x, low, high)`"),
            Func::L2norm => diagnostic.help("`l2norm(x, eps)` is x / sqrt(sum(sq(x)) + eps)"),
            _ => diagnostic,
        };
        return Ty::Unknown;
    }
    let types: Vec<Ty> = arguments.iter().map(|a| draft.ty(*a)).collect();
    let columns = |ty: &Ty| matches!(ty, Ty::Known(Type::Column(_)));
    let scalar = |ty: &Ty| *ty == Ty::Known(Type::Scalar);
    let vector = |ty: &Ty| matches!(ty, Ty::Known(Type::Scalar | Type::Column(_) | Type::Row(_)));
    // each argument: what it must be, and whether it is
    let (wanted, result): (Vec<(&str, bool)>, Ty) = match (shape, types[0]) {
        (Shape::Elementwise, ty) => (vec![("a scalar, a column or a row", vector(&ty))], ty),
        (Shape::Bounded, ty) => {
            let bound = |i: usize| ("scalars as bounds", scalar(&types[i]));
            (vec![("a scalar, a column or a row", vector(&ty)), bound(1), bound(2)], ty)
        }
        (Shape::ColumnAndScalar, ty) => {
            (vec![("a column", columns(&ty)), ("a scalar as its second argument", scalar(&types[1]))], ty)
        }
        (Shape::Column, ty) => (vec![("a column", columns(&ty))], ty),
        (Shape::Reduce, ty) => (vec![("a column", columns(&ty))], Ty::Known(Type::Scalar)),
        (Shape::Pair, ty) => {
            let pair = vec![("two columns", columns(&ty)), ("two columns", columns(&types[1]))];
            (pair, Ty::Known(Type::Scalar))
        }
        (Shape::Diagonal, ty) => {
            let result = match ty {
                Ty::Known(Type::Column(s)) => Ty::Known(Type::Matrix(s, s)),
                other => other,
            };
            (vec![("a column", columns(&ty))], result)
        }
    };
    if let Some(i) = wanted.iter().position(|(_, fits)| !fits) {
        let id = arguments[i];
        suggest::argument(draft, func, wanted[i].0, id, span, out);
        return Ty::Unknown;
    }
    if shape == Shape::Pair && types[0] != types[1] {
        suggest::pair(draft, arguments[0], arguments[1], span, out);
        return Ty::Unknown;
    }
    result
}
