//! This machine's processor: its name, its instruction sets, its caches.
use rla_codegen::kernel::Level;
use rla_codegen::schedule::cost::Caches;

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

/// The best level of this machine.
pub fn best() -> Level {
    LEVELS.into_iter().find(|&level| has(level)).unwrap_or(Level::Portable)
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

/// The processor's name as the system gives it, for reports and tables.
pub fn name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("model name"));
    match line.and_then(|rest| rest.split_once(':')) {
        Some((_, name)) => name.trim().to_string(),
        None => std::env::consts::ARCH.to_string(),
    }
}

/// The name that a table of tunings has for this processor: with its family and model, since a virtual machine may tell no
/// more than the maker.
pub fn device() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.split(':').next().is_some_and(|n| n.trim() == name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_string())
    };
    match (field("cpu family"), field("model")) {
        (Some(family), Some(model)) => format!("{}, family {family} model {model}", name()),
        _ => name(),
    }
}

/// The name of a device as a file has it: small letters, digits and `_`.
pub fn file_name(device: &str) -> String {
    let mut name = String::new();
    for c in device.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => name.push(c.to_ascii_lowercase()),
            _ if name.is_empty() || name.ends_with('_') => {}
            _ => name.push('_'),
        }
    }
    name.trim_end_matches('_').to_string()
}

/// The data caches of a core as the system tells them; usual ones where it does not.
pub fn caches() -> Caches {
    let of = |index: usize| {
        let folder = format!("/sys/devices/system/cpu/cpu0/cache/index{index}");
        let read = |file: &str| std::fs::read_to_string(format!("{folder}/{file}")).ok();
        if read("type")?.trim() == "Instruction" {
            return None;
        }
        let (level, size) = (read("level")?.trim().parse::<usize>().ok()?, read("size")?);
        let size = size.trim();
        let bytes = match (size.strip_suffix('K'), size.strip_suffix('M')) {
            (Some(kib), _) => kib.parse::<usize>().ok()? << 10,
            (_, Some(mib)) => mib.parse::<usize>().ok()? << 20,
            _ => size.parse().ok()?,
        };
        Some((level, bytes))
    };
    let mut caches = Caches::default();
    for (level, bytes) in (0..8).filter_map(of) {
        match level {
            1 => caches.first = bytes,
            2 => caches.second = bytes,
            _ => {}
        }
    }
    caches
}

#[cfg(test)]
mod tests {
    #[test]
    fn device_names_become_file_names() {
        assert_eq!(super::file_name("AMD EPYC 9R14 (Genoa)"), "amd_epyc_9r14_genoa");
        assert_eq!(super::file_name("x86_64"), "x86_64");
    }
}
