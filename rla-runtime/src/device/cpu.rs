//! The CPU: which instruction sets this machine runs.
use crate::error::{Error, Result};
use rla_codegen::kernel::Level;

pub mod ceiling;
pub mod clock;
pub mod library;
pub mod memory;

/// The environment variable that pins a level.
pub const LEVEL_VARIABLE: &str = "RLA_CPU_LEVEL";

/// All levels, best first.
pub const LEVELS: [Level; 4] = [Level::Avx512, Level::Avx2, Level::Neon, Level::Portable];

/// Whether this machine runs kernels of a level.
pub fn has(level: Level) -> bool {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => {
            std::is_x86_feature_detected!("avx512f")
                && std::is_x86_feature_detected!("avx512bw")
                && std::is_x86_feature_detected!("avx512dq")
                && std::is_x86_feature_detected!("avx512vl")
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma"),
        #[cfg(target_arch = "aarch64")]
        Level::Neon => std::arch::is_aarch64_feature_detected!("neon"),
        Level::Portable => true,
        _ => false,
    }
}

/// Whether a level has products in bf16.
pub fn of_bf16(level: Level) -> bool {
    level == Level::Avx512
}

/// Whether this machine runs a level's products in bf16.
pub fn has_bf16(level: Level) -> bool {
    #[cfg(target_arch = "x86_64")]
    if of_bf16(level) {
        return has(level) && std::is_x86_feature_detected!("avx512bf16");
    }
    of_bf16(level) && has(level)
}

/// Whether a level belongs to this processor family, had by this machine or not.
pub fn of_this_family(level: Level) -> bool {
    match level {
        Level::Avx512 | Level::Avx2 => cfg!(target_arch = "x86_64"),
        Level::Neon => cfg!(target_arch = "aarch64"),
        Level::Portable => true,
    }
}

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

/// The processor's name as the system gives it, for reports and tables.
pub fn name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("model name"));
    match line.and_then(|rest| rest.split_once(':')) {
        Some((_, name)) => name.trim().to_string(),
        None => std::env::consts::ARCH.to_string(),
    }
}
