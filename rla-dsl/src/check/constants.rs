//! `const` values and the bounds of `clamp` are constant expressions, and a constant is finite.

use super::{Draft, Ty, children};
use crate::diagnostic::{Collector, Message};
use crate::recurrence::{ExprId, ExprKind, Func};
use crate::symbol::Shape;

pub(super) fn check(draft: &Draft, out: &mut Collector) {
    let before = out.errors();
    for constant in &draft.recurrence.consts {
        constant_expression(draft, constant.value, "the value of a `const`", out);
    }
    for (expr, ty) in draft.recurrence.exprs.iter().zip(&draft.types) {
        if let ExprKind::Call(Func::Clamp, arguments) = &expr.kind
            && *ty != Ty::Unknown
        {
            for bound in arguments.iter().skip(1) {
                constant_expression(draft, *bound, "a bound of `clamp`", out);
            }
        }
    }
    if out.errors() == before && !draft.types.contains(&Ty::Unknown) {
        finite(draft, out);
    }
}

/// Reports the first node below `root` that is not constant.
fn constant_expression(draft: &Draft, root: ExprId, what: &str, out: &mut Collector) {
    let mut stack = vec![root];
    while let Some(id) = stack.pop() {
        if draft.ty(id) == Ty::Unknown {
            continue;
        }
        let found = match draft.kind(id) {
            ExprKind::Input(i) => format!("`{}` is an input", draft.recurrence.inputs[*i].name),
            ExprKind::Let(i) => format!("`{}` is the name of a `let`", draft.recurrence.statements[*i].name),
            ExprKind::StatePrevious(i) | ExprKind::StateCurrent(i) => {
                format!("`{}` is a state", draft.recurrence.states[*i].name)
            }
            ExprKind::Identity => "`I` is a matrix".to_string(),
            ExprKind::Call(func, _) if !matches!(func.shape(), Shape::Elementwise | Shape::Bounded) => {
                format!("`{}` is not a function of scalars", func.name())
            }
            kind => {
                let from = stack.len();
                stack.extend(children(kind));
                stack[from..].reverse();
                continue;
            }
        };
        out.report(Message::NotConstant { what: what.into(), found }, draft.span(id));
        return;
    }
}

/// A constant that depends on no size can be computed now, and must be a number.
fn finite(draft: &Draft, out: &mut Collector) {
    for (constant, value) in draft.recurrence.consts.iter().zip(values(draft)) {
        if let Some(value) = value
            && !value.is_finite()
        {
            let value = if value.is_nan() { "not a number".to_string() } else { format!("infinite ({value})") };
            let message = Message::NotFinite { name: constant.name.clone(), value };
            out.report(message, draft.span(constant.value));
        }
    }
}

/// The constants' values; `None` where one depends on the size of a side.
pub(super) fn values(draft: &Draft) -> Vec<Option<f64>> {
    let recurrence = &draft.recurrence;
    let mut values: Vec<f64> = Vec::new();
    let mut sized = Vec::new();
    let mut result = Vec::new();
    for (constant, first) in recurrence.consts.iter().zip(&draft.const_first) {
        let nodes = &recurrence.exprs[*first..=constant.value.0 as usize];
        let depends = nodes.iter().any(|n| match n.kind {
            ExprKind::Dim(_) => true,
            ExprKind::Const(i) => sized[i],
            _ => false,
        });
        let sizes = vec![64; recurrence.sides.len()];
        let value = recurrence.const_value(constant.value, &sizes, &values);
        values.push(value);
        sized.push(depends);
        result.push((!depends).then_some(value));
    }
    result
}
