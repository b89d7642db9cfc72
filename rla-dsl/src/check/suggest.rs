//! What would fit: the hints of type errors, found by trying the rules on the operands as they are and transposed.

use super::shapes::{rule, transposed};
use super::{Draft, Ty};
use crate::ast::Operator;
use crate::diagnostic::{Collector, Message};
use crate::print::{self, Binding};
use crate::recurrence::{ExprId, ExprKind, Func, Side, Span, Type};

/// A type in a sentence.
pub(super) fn describe(draft: &Draft, ty: Type) -> String {
    let side = |s: Side| draft.recurrence.sides[s.0 as usize].as_str();
    match ty {
        Type::Scalar => "a scalar".to_string(),
        Type::Column(s) => format!("a column({})", side(s)),
        Type::Row(s) => format!("a row({})", side(s)),
        Type::Matrix(r, c) => format!("a matrix({} x {})", side(r), side(c)),
    }
}

fn describe_node(draft: &Draft, id: ExprId) -> String {
    match draft.ty(id) {
        Ty::Known(ty) => describe(draft, ty),
        Ty::Square => "`I`".to_string(),
        Ty::Unknown => "this".to_string(),
    }
}

/// The operand as text that binds at least as `within`, where it is short, else `other`.
fn operand(draft: &Draft, id: ExprId, within: Binding, other: &str) -> String {
    print::short(&draft.recurrence, id, within, 24).unwrap_or_else(|| other.to_string())
}

/// The transpose of an operand as text.
fn transposed_operand(draft: &Draft, id: ExprId, other: &str) -> String {
    match draft.kind(id) {
        ExprKind::Transpose(x) => operand(draft, *x, Binding::Factor, other),
        _ => format!("{}^T", operand(draft, id, Binding::Atom, other)),
    }
}

/// A scalar multiple of the identity as text.
fn times_identity(draft: &Draft, id: ExprId, other: &str) -> String {
    match draft.kind(id) {
        ExprKind::Number(1.0) => "I".to_string(),
        _ => format!("{} * I", operand(draft, id, Binding::Product, other)),
    }
}

/// Reports operands that `operator` does not take.
pub(super) fn operands(draft: &Draft, operator: Operator, a: ExprId, b: ExprId, span: Span, out: &mut Collector) {
    let message = Message::Operands {
        operator: operator.text().into(),
        left: describe_node(draft, a),
        right: describe_node(draft, b),
    };
    let diagnostic = out.report(message, span);
    let sum = matches!(operator, Operator::Add | Operator::Subtract);
    let (first, second) = if sum { (Binding::Sum, Binding::Product) } else { (Binding::Product, Binding::Factor) };
    let (x, y) = (operand(draft, a, first, "left"), operand(draft, b, second, "right"));
    let (left, right) = match (draft.ty(a), draft.ty(b)) {
        (Ty::Known(left), Ty::Known(right)) => (left, right),
        (Ty::Square, Ty::Known(Type::Scalar)) | (Ty::Known(Type::Scalar), Ty::Square) => {
            let scalar = if draft.ty(a) == Ty::Square { b } else { a };
            if sum {
                let multiple = times_identity(draft, scalar, "s");
                diagnostic.help(format!("`{multiple}` is the scalar multiple of the identity"));
            }
            return;
        }
        _ => return,
    };
    let text = operator.text();
    let mut fits = |written: String, ty: Type| {
        diagnostic.help(format!("`{written}` would be {}", describe(draft, ty)));
    };
    if operator == Operator::Multiply
        && let Some(ty) = rule(Operator::Hadamard, left, right)
    {
        fits(format!("{x} .* {y}"), ty);
    }
    if matches!(operator, Operator::Hadamard | Operator::Divide) {
        let inverse = operator == Operator::Divide;
        let factor = |z: &str| if inverse { format!("diag(1 / {z})") } else { format!("diag({z})") };
        match (left, right) {
            (Type::Matrix(..), Type::Scalar) | (Type::Scalar, Type::Matrix(..)) if !inverse => {
                let ty = rule(Operator::Multiply, left, right).expect("a scalar scales anything");
                fits(format!("{x} * {y}"), ty);
            }
            (Type::Matrix(r, c), Type::Column(s)) => {
                if s == r {
                    fits(format!("{} * {x}", factor(&y)), left);
                }
                if s == c {
                    fits(format!("{x} * {}", factor(&y)), left);
                }
            }
            (Type::Column(s), Type::Matrix(r, c)) if !inverse => {
                if s == r {
                    fits(format!("{} * {y}", factor(&x)), right);
                }
                if s == c {
                    fits(format!("{y} * {}", factor(&x)), right);
                }
            }
            _ => {}
        }
    }
    if sum {
        match (left, right) {
            (Type::Matrix(r, c), Type::Scalar) if r == c => {
                fits(format!("{x} {text} {}", times_identity(draft, b, "right")), left)
            }
            (Type::Scalar, Type::Matrix(r, c)) if r == c => {
                fits(format!("{} {text} {y}", times_identity(draft, a, "left")), right)
            }
            (Type::Matrix(r, c), Type::Column(s)) if r == c && s == r => fits(format!("{x} {text} diag({y})"), left),
            (Type::Column(s), Type::Matrix(r, c)) if r == c && s == r => fits(format!("diag({x}) {text} {y}"), right),
            _ => {}
        }
    }
    if let Some(ty) = rule(operator, transposed(left), right) {
        fits(format!("{} {text} {y}", transposed_operand(draft, a, "left")), ty);
    }
    if let Some(ty) = rule(operator, left, transposed(right)) {
        fits(format!("{x} {text} {}", transposed_operand(draft, b, "right")), ty);
    }
}

/// Reports an argument that `func` does not take.
pub(super) fn argument(draft: &Draft, func: Func, expected: &str, id: ExprId, span: Span, out: &mut Collector) {
    let message =
        Message::Argument { function: func.name().into(), expected: expected.into(), found: describe_node(draft, id) };
    let diagnostic = out.report(message, span);
    let x = operand(draft, id, Binding::Product, "...");
    match (draft.ty(id), expected) {
        (Ty::Known(Type::Row(_)), "a column" | "two columns") => {
            diagnostic.help(format!("`{}` is a column", transposed_operand(draft, id, "(...)")));
        }
        (Ty::Known(Type::Scalar), "a column") if func == Func::Sum => {
            diagnostic.help("the sum over the side of one number is the number");
        }
        (Ty::Known(Type::Scalar), "a column") if func == Func::Diag => {
            diagnostic.help(format!("a scalar multiple of the identity is `{x} * I`"));
        }
        _ => {}
    }
}

/// Reports two columns of different sides given to `dot`.
pub(super) fn pair(draft: &Draft, a: ExprId, b: ExprId, span: Span, out: &mut Collector) {
    let found = format!("{} and {}", describe_node(draft, a), describe_node(draft, b));
    out.report(Message::Argument { function: "dot".into(), expected: "two columns of one side".into(), found }, span);
}
