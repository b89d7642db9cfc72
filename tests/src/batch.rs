//! Kernels of many recurrences from one call of rustc.
use rla_codegen::kernel::{CpuKernel, Form};
use rla_codegen::schedule::Schedule;
use rla_dsl::recurrence::Recurrence;
use rla_runtime::Operation;
use rla_runtime::device::cpu;
use rla_runtime::kernel::dispatch;
use std::fmt::Write;

/// An operation for each recurrence, their kernels compiled together for this machine's best level.
pub fn operations(recurrences: &[Recurrence], form: Form, schedule: &Schedule) -> Vec<Operation> {
    let levels = cpu::levels().unwrap_or_else(|e| panic!("{e}"));
    let texts: Vec<CpuKernel> = recurrences
        .iter()
        .map(|r| dispatch::text(r, form, schedule, &levels[..1]).unwrap_or_else(|e| panic!("{}: {e}", r.name)))
        .collect();
    let mut source = String::new();
    for (index, text) in texts.iter().enumerate() {
        write!(source, "mod variant{index} {{\n{}\n}}\n", text.source).expect("text");
    }
    let operation = |(recurrence, text): (&Recurrence, &CpuKernel)| {
        let text = CpuKernel { source: source.clone(), ..text.clone() };
        Operation::from_text(recurrence.clone(), form, &text).unwrap_or_else(|e| panic!("{}: {e}", recurrence.name))
    };
    recurrences.iter().zip(&texts).map(operation).collect()
}
