//! Inside the class, or the term that is the reason.

use rla_dsl::recurrence::{Recurrence, Span};

use super::decay::{Interval, add_logs, is_scalar, log_of, ranges};
use super::expand::{Assigned, Expanded};
use super::order::order;
use super::symbol::{Arena, Sym, SymKind};
use super::{CanonState, Canonical, Outside, Remark};
use crate::tile::MapFn;

/// Checks an expanded recurrence against the class's conditions.
///
/// # Errors
/// The first term that breaks one.
pub fn classify(recurrence: &Recurrence, expanded: Expanded) -> Result<Canonical, Outside> {
    let Expanded { mut arena, states, outputs } = expanded;
    let mut remarks = Vec::new();
    let range = ranges(recurrence, &arena);
    let mut canonical = Vec::with_capacity(states.len());
    for (index, state) in states.into_iter().enumerate() {
        for factor in [state.previous.c, state.previous.l, state.previous.r] {
            check_factor(recurrence, index, &mut arena, factor, &range, state.previous.span, &mut remarks)?;
        }
        canonical.push(canon_state(recurrence, index, &mut arena, state));
    }
    let order = order(recurrence, &arena, &canonical)?;
    Ok(Canonical { arena, states: canonical, order, outputs, remarks })
}

fn canon_state(recurrence: &Recurrence, index: usize, arena: &mut Arena, state: Assigned) -> CanonState {
    let declared = &recurrence.states[index];
    let previous = state.previous;
    let (mut scalar, left, right) = (log_of(arena, previous.c), log_of(arena, previous.l), log_of(arena, previous.r));
    // for a vector state the factor of its only side is along the free side
    let (free, contracted, free_log, contracted_log) = match declared.rows {
        None if state.row => (None, Some(declared.cols), None, right),
        None => (Some(declared.cols), None, right, None),
        Some(rows) if state.transposed => (Some(declared.cols), Some(rows), right, left),
        Some(rows) => (Some(rows), Some(declared.cols), left, right),
    };
    let mut vectors = [free_log, contracted_log];
    for vector in &mut vectors {
        if vector.is_some_and(|v| is_scalar(arena, v)) {
            scalar = add_logs(arena, scalar, vector.take());
        }
    }
    // one decay fewer: a scalar decay beside a vector decay joins it
    if let Some(vector) = vectors.iter_mut().rev().flatten().next()
        && let Some(s) = scalar.take()
    {
        let span = arena.span(s);
        *vector = arena.plus(*vector, s, span);
    }
    let readouts = state
        .leaves
        .iter()
        .map(|leaf| match arena.kind(*leaf) {
            SymKind::Read { p, .. } => *p,
            other => unreachable!("own readouts are reads, not {other:?}"),
        })
        .collect();
    CanonState {
        free,
        contracted,
        transposed: state.transposed,
        scalar_decay: scalar,
        free_decay: vectors[0],
        contracted_decay: vectors[1],
        readouts,
        writes: state.writes,
        statement: state.statement,
    }
}

/// A factor must not depend on the state itself, must be non-negative, and should be at most 1.
fn check_factor(
    recurrence: &Recurrence,
    state: usize,
    arena: &mut Arena,
    factor: Sym,
    ranges: &[Interval],
    at: Span,
    remarks: &mut Vec<Remark>,
) -> Result<(), Outside> {
    let name = &recurrence.states[state].name;
    let mut own = None;
    arena.visit(factor, &mut |s| match arena.kind(s) {
        SymKind::Read { state: x, .. } | SymKind::Vector(x) | SymKind::Write(x, _) if *x == state => own = Some(s),
        _ => {}
    });
    let place = |arena: &Arena| if arena.span(factor) == Span::default() { at } else { arena.span(factor) };
    if own.is_some() {
        return Err(Outside::new(place(arena), format!("the decay of {name}[t-1] depends on {name} itself")));
    }
    // products are judged factor by factor, so that the message can name one
    if let SymKind::Map(MapFn::Mul, args) = arena.kind(factor).clone() {
        for arg in args {
            check_factor(recurrence, state, arena, arg, ranges, place(arena), remarks)?;
        }
        return Ok(());
    }
    let Some(range) = ranges.get(factor.0 as usize) else { return Ok(()) };
    if range.lo < 0.0 {
        let reason =
            format!("this factor of {name}[t-1] may be negative (it lies in {}..{})", show(range.lo), show(range.hi));
        return Err(Outside::new(place(arena), reason));
    }
    if range.hi > 1.0 {
        let message = format!(
            "this factor of {name}[t-1] is not shown to be at most 1 (it lies in {}..{}): the state may grow without bound",
            show(range.lo),
            show(range.hi)
        );
        remarks.push(Remark { span: place(arena), message });
    }
    Ok(())
}

fn show(x: f64) -> String {
    if x.is_infinite() { if x > 0.0 { "inf".into() } else { "-inf".into() } } else { format!("{x}") }
}
