//! Kernels of many recurrences from few calls of rustc.
use rayon::prelude::*;
use rla_build::compile::Cache;
use rla_build::tune::Made;
use rla_codegen::kernel::{CpuKernel, Form};
use rla_codegen::schedule::Schedule;
use rla_dsl::recurrence::Recurrence;
use rla_runtime::Operation;
use rla_runtime::device::cpu;
use rla_runtime::kernel::dispatch;
use std::fmt::Write;

/// Recurrences of a library at most: rustc starts once for them.
const MOST: usize = 10;

/// An operation for each recurrence, with kernels for this machine's best level; a batch of them is compiled together, several batches
/// at a time.
pub fn operations(recurrences: &[Recurrence], schedule: &Schedule) -> Vec<Operation> {
    let batch = recurrences.len().div_ceil(rayon::current_num_threads()).clamp(1, MOST);
    recurrences.par_chunks(batch).flat_map_iter(|batch| together(batch, schedule)).collect()
}

fn together(recurrences: &[Recurrence], schedule: &Schedule) -> Vec<Operation> {
    let level = cpu::levels().unwrap_or_else(|e| panic!("{e}"))[0];
    let texts: Vec<CpuKernel> = recurrences
        .iter()
        .map(|r| dispatch::text(r, Form::Chunk, schedule, &[level]).unwrap_or_else(|e| panic!("{}: {e}", r.name)))
        .collect();
    let mut source = String::new();
    for (index, text) in texts.iter().enumerate() {
        write!(source, "mod variant{index} {{\n{}\n}}\n", text.source).expect("text");
    }
    let compiled = Cache::of_user().library_by_one_thread("rla", &source).unwrap_or_else(|e| panic!("{e}"));
    let operation = |(recurrence, text): (&Recurrence, CpuKernel)| {
        let made = Made { path: compiled.path.clone(), symbol: text.symbol };
        let operation = Operation::from_library(recurrence.clone(), &made, None, level, schedule);
        operation.unwrap_or_else(|e| panic!("{}: {e}", recurrence.name)).expect("all passes are there")
    };
    recurrences.iter().zip(texts).map(operation).collect()
}
