//! `rla tune VARIANT|FILE --backend cuda`: the same for the kernels of an NVIDIA GPU.
use super::{Arguments, PassOption, STOP, bar, list_parameters, list_predicates, listen};
use crate::output::{self, Failure};
use rla_build::table::Table;
use rla_build::tune::search::Outcome;
use rla_codegen::pipeline::cuda::Key;
use rla_codegen::schedule::cuda::{PREDICATES, Slot, parameters, text};
use rla_dsl::Recurrence;
use rla_runtime::device::cuda::{Device, host, kernels, tunings};
use rla_runtime::kernel::dispatch;
use rla_runtime::tune::cuda::{self, Record, Task};
use rla_runtime::{DType, Error, Problem};
use serde_json::json;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The shape that is timed where none is named.
const SHAPE: [usize; 6] = [1, 8192, 16, 16, 128, 128];
/// Shared memory of a block and multiprocessors that a list is made for: Hopper's.
const SHARED: usize = 227 << 10;
const MULTIPROCESSORS: usize = 132;

pub fn run(arguments: &Arguments, recurrence: Recurrence) -> Result<ExitCode, Failure> {
    let not_here = [
        ("--threads", arguments.threads.is_some()),
        ("--jobs", arguments.jobs.is_some()),
        ("--level", arguments.level.is_some()),
        ("--pack", arguments.pack.is_some()),
        ("--no-verify", arguments.no_verify),
    ];
    if let Some((name, _)) = not_here.into_iter().find(|(_, given)| *given) {
        return Err(Error::argument(name, "none with --backend cuda", "one").into());
    }
    let dtype: DType = arguments.dtype.map_or(DType::Bf16, Into::into);
    host::elem(dtype)?;
    let slots: Vec<Slot> = arguments
        .pass
        .iter()
        .map(|pass| match pass {
            PassOption::Forward => Ok(Slot::Forward),
            PassOption::Train => Ok(Slot::Training),
            PassOption::Decode => Ok(Slot::Decode),
            PassOption::Bf16 => Err(Error::argument("--pass", "forward, train or decode with --backend cuda", "bf16")),
        })
        .collect::<Result<_, _>>()?;
    let recurrence = Arc::new(recurrence);
    let problem = problem(arguments, &recurrence)?;
    if arguments.list {
        return list(arguments, &recurrence, &problem, dtype, &slots);
    }
    let device = Device::first()?;
    listen()?;
    let each = arguments.seconds / slots.len() as f64;
    let mode = arguments.mode.into();
    for slot in slots {
        if STOP.load(Ordering::Relaxed) {
            break;
        }
        // a step of decode has a token of many sequences
        let problem = match (slot, arguments.shape) {
            (Slot::Decode, None) => Problem { batch: 64, tokens: 1, ..problem.clone() },
            _ => problem.clone(),
        };
        let budget = Duration::from_secs_f64(each.min(1e6));
        search(arguments, &device, &Task { recurrence: recurrence.clone(), slot, problem, dtype, budget, mode })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn problem(arguments: &Arguments, recurrence: &Recurrence) -> Result<Problem, Error> {
    let shape = arguments.shape.unwrap_or(SHAPE);
    let [batch, tokens, key_heads, value_heads, key, value] = shape;
    if shape.contains(&0) || !value_heads.is_multiple_of(key_heads) {
        return Err(Error::argument("--shape", "positive sizes, HV a multiple of H", format!("{shape:?}")));
    }
    let mut sizes = vec![key, value];
    for side in &recurrence.sides[2..] {
        let given = arguments.dims.iter().rev().find(|(name, _)| name == side);
        sizes.push(given.map_or(64, |(_, size)| *size));
    }
    Ok(Problem { batch, tokens, key_heads, value_heads, sizes, cu_seqlens: None })
}

fn search(arguments: &Arguments, device: &Device, task: &Task) -> Result<(), Failure> {
    let user = dispatch::user_table_of(&device.name);
    let out = arguments.out.clone().unwrap_or_else(|| user.clone());
    let folder = arguments.log.clone().unwrap_or_else(|| user.with_file_name("logs"));
    let (slot, variant) = (task.slot, &task.recurrence.name);
    let name = format!("{variant} {} {}", slot.name(), task.dtype.name());
    let bar = bar(arguments.seconds);
    bar.set_prefix(name.clone());
    let began = std::time::Instant::now();
    let mut log = String::new();
    let mut watch = |record: &Record| {
        log += &format!("{}\n", record.json(slot));
        bar.set_position((began.elapsed().as_secs_f64() * 10.0) as u64);
        let choices = text(&record.choices, slot);
        match (&record.outcome, &record.measured) {
            (Outcome::Refused(reason), _) => bar.println(format!("{name}: refused {choices}: {reason}")),
            (Outcome::Best, Some(measured)) => bar.set_message(format!("{:.3}: {choices}", measured.ratio)),
            _ => {}
        }
    };
    let tuned = cuda::tune(task, &|| STOP.load(Ordering::Relaxed), &mut watch);
    bar.finish_and_clear();
    // the log says what was refused also where nothing was found
    std::fs::create_dir_all(&folder).map_err(|e| Error::file(&folder, e))?;
    let stem = rla_runtime::tune::unused(&folder, &format!("{variant}-{}-cuda", slot.name()));
    let log_file = folder.join(format!("{stem}.jsonl"));
    rla_build::whole::write(&log_file, &log).map_err(Error::from)?;
    let (row, records) = tuned?;
    if arguments.json {
        output::json(&json!(row))?;
    } else {
        let refused = records.iter().filter(|r| matches!(r.outcome, Outcome::Refused(_))).count();
        output::line(&format!(
            "{name}: {} candidates in {:.1} s, {refused} refused",
            row.measured.candidates, row.measured.searched
        ))?;
        output::line(&format!(
            "  {:.4} ms, the default {:.4} ms: {:.3} of its time, spread {:.3}; {:.3} of the copy rate",
            row.measured.ms, row.measured.ms_default, row.measured.ratio, row.measured.spread, row.of_copy
        ))?;
        output::line(&format!("  {}", text(&row.choices, slot)))?;
        if let Some(bucket) = &row.measured.bucket {
            output::line(&format!("  mode throughput, for {bucket}"))?;
        }
        let proof = &row.evidence;
        output::line(&format!(
            "  {} cases, worst error {:.2} of its bound, {} runs alike, passed rla verify",
            proof.cases, proof.worst, proof.repeats
        ))?;
        output::line(&format!("  log {}", log_file.display()))?;
    }
    Table::merge(&out, &device.name, row).map_err(Error::from)?;
    eprintln!("rla: {}", out.display());
    Ok(())
}

/// `--list`: needs no GPU.
fn list(
    arguments: &Arguments,
    recurrence: &Arc<Recurrence>,
    problem: &Problem,
    dtype: DType,
    slots: &[Slot],
) -> Result<ExitCode, Failure> {
    let source = kernels::source(recurrence)?;
    let key = Key::usual(recurrence, &problem.sizes, host::elem(dtype)?);
    if !arguments.json {
        for slot in slots {
            list_parameters(&format!("parameters of {}:", slot.name()), parameters(*slot))?;
        }
        list_predicates(&PREDICATES)?;
    }
    for slot in slots {
        let load = cuda::load(&source, problem, MULTIPROCESSORS);
        let ordered = cuda::ordered(&source, *slot, &key, SHARED, &load);
        if !arguments.json {
            let count = ordered.len();
            let name = format!("{} {} {}", recurrence.name, slot.name(), dtype.name());
            output::line(&format!("{name}: {count} candidates; per token and value head, predicted:"))?;
            output::line("     cost      flop    record bytes")?;
        }
        let usual = tunings::usual_of(&source, *slot, &key.sizes, &load, true, key.output);
        for (choices, written) in ordered {
            let mark = if choices == usual { "  (the default)" } else { "" };
            let described = text(&choices, *slot);
            match (written, arguments.json) {
                (Ok((_, cost)), true) => output::json(&json!({
                    "variant": recurrence.name, "pass": slot.name(), "choices": choices, "cost": cost.total(),
                    "flops": cost.flops, "record_bytes": cost.bytes,
                }))?,
                (Err(reason), true) => output::json(&json!({
                    "variant": recurrence.name, "pass": slot.name(), "choices": choices, "refused": reason,
                }))?,
                (Ok((_, cost)), false) => {
                    let (total, flops, bytes) = (cost.total(), cost.flops, cost.bytes);
                    output::line(&format!("{total:>9.0} {flops:>9.0} {bytes:>15.0}  {described}{mark}"))?;
                }
                (Err(reason), false) => output::line(&format!("{:>35}  {described}: {reason}", "refused"))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
