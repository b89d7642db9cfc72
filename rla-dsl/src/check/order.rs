//! Statements run in order: nothing reads what is not there yet, and each state is assigned exactly once.

use super::{Draft, Ty};
use crate::diagnostic::{Collector, Message};
use crate::recurrence::{ExprKind, Span, StatementKind};

pub(super) fn check(draft: &mut Draft, out: &mut Collector) {
    let mut assigned: Vec<Option<Span>> = vec![None; draft.recurrence.states.len()];
    // a constant's own index, or none for statements
    let consts = draft.recurrence.consts.iter().enumerate().map(|(i, c)| (draft.const_first[i], c.value.0, Some(i)));
    for (first, root, index) in consts.collect::<Vec<_>>() {
        for node in first..=root as usize {
            if let ExprKind::Const(i) = draft.recurrence.exprs[node].kind
                && index.is_some_and(|index| i >= index)
            {
                let constant = &draft.recurrence.consts[i];
                out.report(Message::ConstOrder { name: constant.name.clone() }, draft.recurrence.exprs[node].span)
                    .at("declared here", constant.span);
                draft.types[node] = Ty::Unknown;
            }
        }
    }
    for index in 0..draft.recurrence.statements.len() {
        let root = draft.recurrence.statements[index].value.0 as usize;
        for node in draft.first[index]..=root {
            let span = draft.recurrence.exprs[node].span;
            match draft.recurrence.exprs[node].kind {
                ExprKind::StateCurrent(i) if assigned[i].is_none() => {
                    let name = draft.recurrence.states[i].name.clone();
                    let diagnostic = out.report(Message::ReadBeforeAssign { name: name.clone() }, span);
                    let assignment = |s: &&crate::recurrence::Statement| s.kind == StatementKind::Assign(i);
                    if let Some(statement) = draft.recurrence.statements.iter().find(assignment) {
                        diagnostic.at("assigned here", statement.span);
                    }
                    diagnostic.help(format!("the state before this token is `{name}[t-1]`"));
                    draft.types[node] = Ty::Unknown;
                }
                ExprKind::Let(i) if i >= index => {
                    let name = draft.recurrence.statements[i].name.clone();
                    let place = draft.declared(&name);
                    let diagnostic = out.report(Message::LetOrder { name }, span);
                    diagnostic.at("named here", place).help("statements run in order");
                    draft.types[node] = Ty::Unknown;
                }
                _ => {}
            }
        }
        let statement = &draft.recurrence.statements[index];
        if let StatementKind::Assign(i) = statement.kind
            && let Some(seen) = assigned.get_mut(i)
        {
            match seen {
                Some(first) => {
                    out.report(Message::AssignedTwice { name: statement.name.clone() }, statement.span)
                        .at("first assigned here", *first)
                        .help("a step in between is named with `let`");
                }
                None => *seen = Some(statement.span),
            }
        }
    }
    if draft.source.damaged {
        return; // what is missing may have been lost
    }
    for (state, assigned) in draft.recurrence.states.iter().zip(assigned) {
        if assigned.is_none() {
            out.report(Message::NeverAssigned { name: state.name.clone() }, state.span)
                .help(format!("add `{}[t] = ...;`", state.name));
        }
    }
    if draft.recurrence.outputs.is_empty() {
        out.report(Message::NoOutput { name: draft.recurrence.name.clone() }, draft.source.name.span);
    }
}
