//! Dependency order of the states.

use rla_dsl::recurrence::Recurrence;

use super::symbol::{Arena, Sym, SymKind};
use super::{CanonState, Outside};

/// An order in which each state's gates, writes and readout vectors use only states before it.
///
/// # Errors
/// States that depend on each other in a cycle.
pub fn order(recurrence: &Recurrence, arena: &Arena, states: &[CanonState]) -> Result<Vec<usize>, Outside> {
    let needs: Vec<Vec<usize>> = states.iter().map(|state| needed(arena, state)).collect();
    let mut done: Vec<usize> = Vec::new();
    while done.len() < states.len() {
        let next =
            (0..states.len()).find(|s| !done.contains(s) && needs[*s].iter().all(|n| n == s || done.contains(n)));
        match next {
            Some(state) => done.push(state),
            None => {
                let names: Vec<&str> = (0..states.len())
                    .filter(|s| !done.contains(s))
                    .map(|s| recurrence.states[s].name.as_str())
                    .collect();
                let first = (0..states.len()).find(|s| !done.contains(s)).expect("a state is left");
                let span = recurrence.statements[states[first].statement].span;
                let reason = format!("the states {} depend on one another in a cycle", names.join(", "));
                return Err(Outside::new(span, reason));
            }
        }
    }
    Ok(done)
}

/// States that a state's canonical form uses, itself left out only where it is its own readout.
fn needed(arena: &Arena, state: &CanonState) -> Vec<usize> {
    let mut roots: Vec<Sym> = Vec::new();
    roots.extend([state.scalar_decay, state.free_decay, state.contracted_decay].into_iter().flatten());
    roots.extend(&state.readouts);
    for write in &state.writes {
        roots.extend(write.given);
        roots.extend(write.base);
        roots.extend(write.coefficients.iter().flatten());
    }
    let mut needs = Vec::new();
    for root in roots {
        arena.visit(root, &mut |s| match arena.kind(s) {
            SymKind::Read { state, .. } | SymKind::Vector(state) | SymKind::Write(state, _)
                if !needs.contains(state) =>
            {
                needs.push(*state);
            }
            _ => {}
        });
    }
    needs
}
