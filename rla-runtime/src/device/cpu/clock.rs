//! The clocks that benchmarks take times by.
use crate::error::{Error, Result};

pub use rla_build::clock::{Clock, Moment};

/// Refuses a clock that the system lacks, or that would miss other threads' work.
pub fn check(clock: Clock, threads: usize) -> Result<()> {
    match clock {
        Clock::Thread if threads > 1 => Err(Error::argument("clock", "wall with several threads", "thread")),
        Clock::Thread if !cfg!(unix) => Err(Error::unsupported("clock thread", "this system tells no thread times")),
        _ => Ok(()),
    }
}
