//! The whole compiler: every pass, in order.

use rla_dsl::recurrence::Recurrence;

use crate::canon::{self, Canonical, Outside};
use crate::pass;
use crate::tile::Program;

/// The programs of one recurrence of the class.
#[derive(Clone, Debug)]
pub struct Programs {
    /// One chunk forward.
    pub forward: Program,
    /// One chunk forward, keeping what backward needs.
    pub forward_save: Program,
    /// One chunk backward.
    pub backward: Program,
}

/// Canonical form and programs.
///
/// # Errors
/// The term that keeps the recurrence out of the class.
pub fn programs(recurrence: &Recurrence) -> Result<(Canonical, Programs), Outside> {
    let canonical = canon::canonicalize(recurrence)?;
    let chunk = pass::chunk::chunk(recurrence, &canonical);
    let forward = pass::scale::scale(&chunk);
    let pair = pass::save::save(&forward);
    Ok((canonical, Programs { forward, forward_save: pair.forward, backward: pair.backward }))
}
