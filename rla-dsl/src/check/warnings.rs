//! What is accepted and probably not meant.

use super::{Draft, constants};
use crate::diagnostic::{Collector, Message};
use crate::print::{self, Binding};
use crate::recurrence::{Domain, ExprId, ExprKind, Func, InputKind, StatementKind};

pub(super) fn check(draft: &Draft, out: &mut Collector) {
    unused(draft, out);
    sizes(draft, out);
    if draft.recurrence.states.is_empty() {
        out.report(Message::NoState { name: draft.recurrence.name.clone() }, draft.source.name.span);
    }
    clamp_order(draft, out);
    vanishing(draft, out);
}

/// Inputs, constants and lets that nothing reads.
fn unused(draft: &Draft, out: &mut Collector) {
    let recurrence = &draft.recurrence;
    let mut inputs = vec![false; recurrence.inputs.len()];
    let mut consts = vec![false; recurrence.consts.len()];
    let mut lets = vec![false; recurrence.statements.len()];
    for expr in &recurrence.exprs {
        match expr.kind {
            ExprKind::Input(i) => inputs[i] = true,
            ExprKind::Const(i) => consts[i] = true,
            ExprKind::Let(i) => lets[i] = true,
            _ => {}
        }
    }
    let mut report = |what: &str, name: &str, consequence: &str, span| {
        let message = Message::Unused { what: what.into(), name: name.into(), consequence: consequence.into() };
        out.report(message, span);
    };
    for (input, _) in recurrence.inputs.iter().zip(inputs).filter(|(_, used)| !used) {
        let what = if input.kind == InputKind::Input { "the input" } else { "the parameter" };
        report(what, &input.name, "; its gradient is zero", input.span);
    }
    for (constant, _) in recurrence.consts.iter().zip(consts).filter(|(_, used)| !used) {
        report("the constant", &constant.name, "", constant.span);
    }
    for (statement, _) in recurrence.statements.iter().zip(lets).filter(|(_, used)| !used) {
        if statement.kind == StatementKind::Let {
            report("the value", &statement.name, "", statement.span);
        }
    }
}

/// Dims whose size no tensor of a call can tell.
fn sizes(draft: &Draft, out: &mut Collector) {
    let recurrence = &draft.recurrence;
    let mut known = vec![false; recurrence.sides.len()];
    let of_inputs = recurrence.inputs.iter().filter_map(|input| input.side);
    let of_states = recurrence.states.iter().flat_map(|state| state.rows.into_iter().chain([state.cols]));
    of_inputs.chain(of_states).for_each(|side| known[side.0 as usize] = true);
    for item in &draft.source.items {
        if let crate::ast::ItemKind::Dim(names) = &item.kind {
            for name in names.iter().filter(|name| draft.dims.get(&name.text).is_some_and(|i| !known[*i])) {
                out.report(Message::UnknownSize { name: name.text.clone() }, name.span);
            }
        }
    }
}

/// `clamp` whose lower bound is above its upper one, where both can be computed now.
fn clamp_order(draft: &Draft, out: &mut Collector) {
    let recurrence = &draft.recurrence;
    let known = constants::values(draft);
    let consts: Vec<f64> = known.iter().map(|value| value.unwrap_or(f64::NAN)).collect();
    let sizes = vec![64; recurrence.sides.len()];
    for expr in &recurrence.exprs {
        let ExprKind::Call(Func::Clamp, arguments) = &expr.kind else { continue };
        let [_, low, high] = arguments[..] else { continue };
        if [low, high].iter().any(|bound| sized(draft, *bound)) {
            continue;
        }
        let (low, high) = (recurrence.const_value(low, &sizes, &consts), recurrence.const_value(high, &sizes, &consts));
        if low > high {
            let message = Message::ClampOrder { low: print::number(low), high: print::number(high) };
            out.report(message, expr.span);
        }
    }
}

/// Whether the constant expression depends on a size itself (constants that do are NaN, and order nothing).
fn sized(draft: &Draft, root: ExprId) -> bool {
    let mut stack = vec![root];
    while let Some(id) = stack.pop() {
        if matches!(draft.kind(id), ExprKind::Dim(_)) {
            return true;
        }
        stack.extend(super::children(draft.kind(id)));
    }
    false
}

/// What is known of an expression's values.
#[derive(Clone, Copy, PartialEq)]
struct Sign {
    /// No value is below zero.
    non_negative: bool,
    /// No value is zero; with `non_negative`, every value is above.
    non_zero: bool,
    /// Built from numbers, constants and sizes alone.
    constant: bool,
}

/// `sqrt`, `rsqrt` of something that may vanish, without an added constant.
fn vanishing(draft: &Draft, out: &mut Collector) {
    let recurrence = &draft.recurrence;
    let mut signs: Vec<Sign> = Vec::with_capacity(recurrence.exprs.len());
    for expr in &recurrence.exprs {
        let at = |id: &ExprId| signs[id.0 as usize];
        if let ExprKind::Call(func @ (Func::Sqrt | Func::Rsqrt), arguments) = &expr.kind {
            let argument = at(&arguments[0]);
            if !argument.constant && !argument.non_zero {
                let consequence = match func {
                    Func::Sqrt => "its gradient is infinite",
                    _ => "its value is infinite",
                };
                let found = print::short(recurrence, arguments[0], Binding::Sum, 24)
                    .map_or(String::new(), |x| format!(": `{x}`"));
                let (function, consequence) = (func.name().to_string(), consequence.to_string());
                out.report(Message::MayVanish { function, consequence, found }, expr.span)
                    .help(format!("add a small constant: `{}(x + 1e-6)`", func.name()));
            }
        }
        let sign = sign(draft, &expr.kind, &signs);
        signs.push(sign);
    }
}

fn sign(draft: &Draft, kind: &ExprKind, signs: &[Sign]) -> Sign {
    const ANY: Sign = Sign { non_negative: false, non_zero: false, constant: false };
    const POSITIVE: Sign = Sign { non_negative: true, non_zero: true, constant: false };
    let at = |id: &ExprId| signs[id.0 as usize];
    match kind {
        ExprKind::Number(x) => Sign { non_negative: *x >= 0.0, non_zero: *x != 0.0, constant: true },
        // a constant may be overridden, so nothing of its value is used
        ExprKind::Const(_) => Sign { constant: true, ..ANY },
        ExprKind::Dim(_) => Sign { constant: true, ..POSITIVE },
        ExprKind::Input(i) => match draft.recurrence.inputs[*i].domain {
            Domain::Range(low, high) => {
                Sign { non_negative: low >= 0.0, non_zero: low > 0.0 || high < 0.0, constant: false }
            }
            _ => ANY,
        },
        ExprKind::Let(i) => at(&draft.recurrence.statements[*i].value),
        ExprKind::StatePrevious(_) | ExprKind::StateCurrent(_) | ExprKind::Identity => ANY,
        ExprKind::Negate(a) => Sign { non_negative: false, ..at(a) },
        ExprKind::Transpose(a) => at(a),
        ExprKind::Add(a, b) => {
            let (a, b) = (at(a), at(b));
            let non_negative = a.non_negative && b.non_negative;
            // an added constant is taken as meant to keep the sum away from zero
            let one_constant = a.constant != b.constant;
            Sign {
                non_negative,
                non_zero: one_constant || non_negative && (a.non_zero || b.non_zero),
                constant: a.constant && b.constant,
            }
        }
        ExprKind::Subtract(a, b) => Sign { constant: at(a).constant && at(b).constant, ..ANY },
        ExprKind::Multiply(a, b) | ExprKind::Hadamard(a, b) => {
            let (x, y) = (at(a), at(b));
            // a product of vectors or matrices is a sum of products
            let sum = [a, b].iter().all(|id| draft.ty(**id) != super::Ty::Known(crate::recurrence::Type::Scalar))
                && matches!(kind, ExprKind::Multiply(..));
            let non_negative = x.non_negative && y.non_negative || (a == b && !sum);
            Sign {
                non_negative,
                non_zero: x.non_zero && y.non_zero && (!sum || non_negative),
                constant: x.constant && y.constant,
            }
        }
        ExprKind::Divide(a, b) => {
            let (a, b) = (at(a), at(b));
            Sign {
                non_negative: a.non_negative && b.non_negative,
                non_zero: a.non_zero,
                constant: a.constant && b.constant,
            }
        }
        ExprKind::Call(func, arguments) => {
            let x = at(&arguments[0]);
            let constant = arguments.iter().all(|a| at(a).constant);
            let positive = x.non_negative && x.non_zero;
            let known = match func {
                Func::Exp | Func::Sigmoid | Func::Softplus | Func::Softmax | Func::Rsqrt => POSITIVE,
                Func::Sqrt | Func::Abs | Func::Sq => Sign { non_negative: true, ..x },
                Func::Relu => Sign { non_negative: true, non_zero: positive, constant },
                Func::Tanh | Func::Silu | Func::L2norm => x,
                Func::Sum => Sign { non_zero: positive, ..x },
                Func::Dot => {
                    let y = at(&arguments[1]);
                    let non_negative = x.non_negative && y.non_negative || arguments[0] == arguments[1];
                    Sign { non_negative, non_zero: non_negative && x.non_zero && y.non_zero, constant }
                }
                // the bounds alone decide where they are numbers
                Func::Clamp => {
                    let (low, high) = (at(&arguments[1]), at(&arguments[2]));
                    let above = low.non_negative && low.non_zero;
                    Sign { non_negative: low.non_negative && high.non_negative, non_zero: above, constant }
                }
                Func::Log | Func::LogSigmoid | Func::Diag => ANY,
            };
            Sign { constant, ..known }
        }
    }
}
