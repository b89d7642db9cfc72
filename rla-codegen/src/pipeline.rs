//! The whole compiler: every pass, in order.

use rla_dsl::recurrence::Recurrence;

use crate::canon::{self, Canonical, Outside};
use crate::pass;
use crate::tile::Program;
use crate::tile::verify::verify;

/// The programs of one recurrence.
#[derive(Clone, Debug)]
pub struct Programs {
    /// One chunk (or token) forward.
    pub forward: Program,
    /// The same, keeping what backward needs.
    pub forward_save: Program,
    /// One chunk (or token) backward.
    pub backward: Program,
    /// One token with the states updated in place.
    pub decode: Program,
}

impl Programs {
    fn verified(self) -> Programs {
        for program in [&self.forward, &self.forward_save, &self.backward, &self.decode] {
            if let Err(message) = verify(program) {
                panic!("compiler bug in {}: {message}\n{program}", program.name);
            }
        }
        self
    }
}

/// Canonical form and chunk programs.
///
/// # Errors
/// The term that keeps the recurrence out of the class.
pub fn chunk_programs(recurrence: &Recurrence) -> Result<(Canonical, Programs), Outside> {
    let canonical = canon::canonicalize(recurrence)?;
    let chunk = pass::chunk::chunk(recurrence, &canonical);
    let forward = pass::scale::scale(&chunk);
    let pair = pass::save::save(&forward);
    let decode = pass::decode::decode(&chunk);
    let programs = Programs { forward, forward_save: pair.forward, backward: pair.backward, decode };
    Ok((canonical, programs.verified()))
}

/// Programs of one token, for any recurrence.
pub fn token_programs(recurrence: &Recurrence) -> Programs {
    let forward = pass::rewrite::rewrite(&pass::token::token(recurrence), |_, _, _| None);
    let backward = pass::rewrite::rewrite(&pass::differentiate::differentiate(&forward).0, |_, _, _| None);
    // a token's backward recomputes its forward from the state, so nothing is kept
    Programs { forward_save: forward.clone(), decode: forward.clone(), forward, backward }.verified()
}
