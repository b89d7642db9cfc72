//! The CPU: which instruction sets this machine runs.
use crate::error::{Error, Result};
use rla_codegen::kernel::Level;

pub use rla_build::machine::{LEVELS, caches, has, has_bf16, name, of_bf16, of_this_family};
pub use rla_build::memory;

pub mod ceiling;
pub mod clock;
pub mod library;

/// The environment variable that pins a level.
pub const LEVEL_VARIABLE: &str = "RLA_CPU_LEVEL";

/// The levels to try, best first: those of this machine, or the one that `RLA_CPU_LEVEL` names.
pub fn levels() -> Result<Vec<Level>> {
    match std::env::var(LEVEL_VARIABLE) {
        Ok(name) => pinned(&name).map(|level| vec![level]),
        Err(_) => Ok(LEVELS.into_iter().filter(|&level| has(level)).collect()),
    }
}

fn pinned(name: &str) -> Result<Level> {
    let Some(level) = LEVELS.into_iter().find(|level| level.name() == name) else {
        return Err(Error::argument(LEVEL_VARIABLE, "avx512, avx2, neon or portable", name));
    };
    if !has(level) {
        let present: Vec<_> = LEVELS.into_iter().filter(|&l| has(l)).map(Level::name).collect();
        let reason = format!("this machine lacks it (it has {})", present.join(", "));
        return Err(Error::unsupported(format!("{LEVEL_VARIABLE}={name}"), reason));
    }
    Ok(level)
}
