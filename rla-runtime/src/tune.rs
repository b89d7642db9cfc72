//! `rla tune`: the search of rla-build with what only the runtime knows: the machine's ceiling, the ladder and the laws for
//! what was found, the log and the picture.
use crate::device::cpu::ceiling::Ceilings;
use crate::device::cpu::clock::Clock;
use crate::error::{Error, Result};
use crate::ladder::Setting;
use crate::op::{Backend, Operation};
use crate::problem::{Products, StateLayout};
use crate::tensor::DType;
use crate::verify;
use rla_build::machine;
use rla_build::table::{Row, Table};
use rla_build::tune::search::{self, Found, Outcome, Record, Settings};
use rla_build::tune::time::Comparison;
use rla_build::tune::{Element, Made, Source, Task};
use rla_codegen::explain::cost;
use rla_codegen::pipeline;
use rla_codegen::schedule::{Choices, Schedule, Slot, space};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

pub mod cuda;
mod picture;

/// A name for a search's log in a folder where none of that name is: `stem`, or `stem-2` and so on, so that searches of other
/// shapes, modes or days stay beside one another.
pub fn unused(folder: &Path, stem: &str) -> String {
    let is_free = |stem: &String| !folder.join(format!("{stem}.jsonl")).exists();
    let names = std::iter::once(stem.to_string()).chain((2..).map(|n| format!("{stem}-{n}")));
    names.into_iter().find(is_free).expect("numbers do not end")
}

/// Where a search leaves its traces.
pub struct Traces {
    log: PathBuf,
    picture: PathBuf,
    file: std::fs::File,
    start: Choices,
}

impl Traces {
    /// Files of a task in a folder.
    pub fn new(folder: &Path, task: &Task, start: Choices) -> Result<Traces> {
        std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
        let stem = unused(folder, &format!("{}-{}-{}", task.recurrence.name, task.slot.name(), task.level.name()));
        let (log, picture) = (folder.join(format!("{stem}.jsonl")), folder.join(format!("{stem}.svg")));
        let file = std::fs::File::create(&log).map_err(|e| Error::file(&log, e))?;
        Ok(Traces { log, picture, file, start })
    }

    /// Writes a candidate's line.
    pub fn candidate(&mut self, record: &Record) -> Result<()> {
        let line = line(record, &self.start);
        writeln!(self.file, "{line}").map_err(|e| Error::file(&self.log, e))
    }

    /// Draws the search. Both files' names.
    pub fn finish(self, task: &Task, found: &Found) -> Result<(PathBuf, PathBuf)> {
        picture::draw(&self.picture, task, found)?;
        Ok((self.log, self.picture))
    }
}

/// A candidate as one object of the log.
fn line(record: &Record, start: &Choices) -> Value {
    let mut choices = serde_json::Map::new();
    for parameter in &space::PARAMETERS {
        choices.insert(parameter.name.into(), json!((parameter.get)(&record.choices)));
    }
    let mut object = json!({
        "number": record.number,
        "at": round(record.at, 3),
        "choices": choices,
        "differs": space::difference(&record.choices, start),
        "predicted_cycles": round(record.predicted, 1),
    });
    judge(&mut object, &record.outcome, record.measured.as_ref());
    object
}

/// What became of a candidate, and what was measured beside the best of that time.
fn judge(object: &mut Value, outcome: &Outcome, measured: Option<&Comparison>) {
    object["outcome"] = json!(self::outcome(outcome));
    match outcome {
        Outcome::Refused(reason) => object["reason"] = json!(reason),
        Outcome::Same(number) => object["same_as"] = json!(number),
        _ => {}
    }
    if let Some(measured) = measured {
        object["ms"] = json!(round(measured.seconds * 1e3, 5));
        object["ms_best_so_far"] = json!(round(measured.other * 1e3, 5));
        object["ratio"] = json!(round(measured.ratio, 4));
        object["spread"] = json!(round(measured.spread, 4));
    }
}

fn round(x: f64, digits: i32) -> f64 {
    let scale = f64::powi(10.0, digits);
    (x * scale).round() / scale
}

/// One word.
pub fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Start => "start",
        Outcome::Refused(_) => "refused",
        Outcome::Same(_) => "same",
        Outcome::Slower => "slower",
        Outcome::Best => "best",
    }
}

/// The operation whose kernels have some choices, to be verified; `None` where there is none on this machine.
pub type Verify<'a> = dyn Fn(Choices) -> Result<Option<Operation>> + 'a;

/// Of kernels that this machine's rustc compiles.
pub fn compiled(task: &Task, choices: Choices) -> Result<Option<Operation>> {
    Operation::with_schedule(task.recurrence.clone(), &schedule(task, choices)).map(Some)
}

/// Of the library that a candidate was timed with; what it lacks is in `whole`, or was compiled into this program.
pub fn packed(task: &Task, source: &dyn Source, whole: Option<&Made>, choices: Choices) -> Result<Option<Operation>> {
    let made = source.make(&choices).map_err(Error::Build)?;
    Operation::from_library(task.recurrence.clone(), &made, whole, task.level, &schedule(task, choices))
}

fn schedule(task: &Task, choices: Choices) -> Schedule {
    let mut schedule = Schedule::default();
    *schedule.of_mut(task.slot) = choices;
    schedule
}

/// Searches, writes the log, the picture and the table's row. `watch` is told of every candidate. What was found is put through
/// the ladder and the laws where there is a `verify`; the next fastest takes the place of what does not pass them.
#[allow(clippy::too_many_arguments)]
pub fn tune(
    task: &Task,
    source: &dyn Source,
    start: Choices,
    hints: &[Choices],
    settings: &Settings,
    compiler: &str,
    verify: Option<&Verify>,
    traces: Traces,
    stop: &(dyn Fn() -> bool + Sync),
    watch: &mut dyn FnMut(&Record),
) -> Result<(Row, Found, (PathBuf, PathBuf))> {
    let mut traces = traces;
    let mut failed = None;
    let mut both = |record: &Record| {
        if let Err(error) = traces.candidate(record) {
            failed.get_or_insert(error);
        }
        watch(record);
    };
    let prove = |choices: &Choices| {
        // what cannot be verified is not kept either
        let operation = match verify.map(|verify| verify(*choices)) {
            Some(Ok(Some(operation))) => operation,
            Some(Err(error)) => return Ok(Some(Err(error.to_string()))),
            _ => return Ok(None),
        };
        Ok(Some(verified(task, &operation).unwrap_or_else(|error| Err(error.to_string()))))
    };
    let prove: Option<&search::Prove> = verify.is_some().then_some(&prove);
    let found = search::search(task, source, start, hints, settings, stop, prove, &mut both).map_err(Error::from)?;
    if let Some(error) = failed {
        return Err(error);
    }
    let mut row = Row::new(task, &found, compiler);
    row.of_matrix = Some(round(of_matrix(task, &found, settings.clock)?, 3));
    let files = traces.finish(task, &found)?;
    Ok((row, found, files))
}

/// Executed operations over the machine's f32 product rate.
fn of_matrix(task: &Task, found: &Found, clock: Clock) -> Result<f64> {
    let Ok((_, programs)) = pipeline::chunk_programs(&task.recurrence) else { return Ok(0.0) };
    let executed = |program| cost::executed(program, found.best.chunk, &task.dims.sizes);
    let flops: f64 = task.programs(&programs).into_iter().map(executed).sum();
    let dims = &task.dims;
    let mut ceilings = Ceilings::new(task.threads);
    (0..3).for_each(|_| ceilings.measure(clock));
    let all = flops * (dims.batch * dims.tokens * dims.value_heads) as f64;
    Ok(all / found.comparison.seconds / 1e9 / ceilings.matrix_gflops())
}

/// Whether kernels pass the whole ladder and the laws on this machine, or what they do not pass.
fn verified(task: &Task, operation: &Operation) -> Result<std::result::Result<(), String>> {
    let mut setting = Setting { layout: StateLayout::ValueMajor, ..Setting::of(Backend::Cpu) };
    if task.element == Element::Bf16 {
        setting.dtype = DType::Bf16;
    }
    if task.slot == Slot::Bf16 {
        setting.products = Products::Input;
    }
    let rows = verify::until_one_fails(operation, &setting, 1)?;
    let failed = rows.iter().find(|row| !row.passed);
    Ok(failed.map_or(Ok(()), |row| Err(format!("{}: {}", row.check, row.remark))))
}

/// Enters a row into a table.
pub fn enter(path: &Path, row: Row) -> Result<()> {
    Table::merge(path, &machine::device(), row).map_err(Error::from)
}

#[cfg(test)]
mod tests {
    use super::unused;

    #[test]
    fn a_search_does_not_overwrite_the_log_of_another() {
        let folder = std::env::temp_dir().join(format!("rla-logs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        for expected in ["rdn-forward", "rdn-forward-2", "rdn-forward-3"] {
            let stem = unused(&folder, "rdn-forward");
            assert_eq!(stem, expected);
            std::fs::write(folder.join(format!("{stem}.jsonl")), "").expect("a file");
        }
        std::fs::remove_dir_all(&folder).expect("it was made here");
    }
}
