//! The tables of tunings: parameters of kernels by device.
//!
//! `tunings/default.toml` is written by hand and holds for every machine. Tables of devices hold rows that a search found
//! (`[[tuned]]`): each with the key that it was measured for, what was measured, and the evidence that it is right. A row is
//! applied only where the compiler writes today, for this variant, the very text that was checked and timed then.
use crate::error::Error;
use crate::machine;
use crate::tune::{self, Element, Task};
use crate::whole;
use rla_codegen::data::Dims;
use rla_codegen::kernel::{Level, fingerprint};
use rla_codegen::pipeline::{self, Programs};
use rla_codegen::schedule::{Choices, Schedule, Slot};
use rla_dsl::recurrence::Recurrence;
use std::path::{Path, PathBuf};

pub mod cpu;
pub mod cuda;
pub mod measured;
pub mod mode;

pub use cpu::{Proof, Row};

pub use measured::{Entry, Measured};
pub use mode::{Bucket, MODE_VARIABLE, Mode, Work};

/// The table that holds for every machine.
const DEFAULT: &str = include_str!("../../../tunings/default.toml");
/// Tables of devices that are part of this crate: names in messages, and texts.
const DEVICES: &[(&str, &str)] = &[
    ("tunings/amd_epyc_family_26_model_2.toml", include_str!("../../../tunings/amd_epyc_family_26_model_2.toml")),
    (
        "tunings/intel_r_xeon_r_processor_family_6_model_207.toml",
        include_str!("../../../tunings/intel_r_xeon_r_processor_family_6_model_207.toml"),
    ),
    ("tunings/nvidia_h200.toml", include_str!("../../../tunings/nvidia_h200.toml")),
];

/// Names a table to use in place of those of this crate; `default`: none of a device.
pub const TABLE_VARIABLE: &str = "RLA_TABLE";
/// Names the device whose table is taken, where that is not this machine: for cross-compiling.
pub const DEVICE_VARIABLE: &str = "RLA_DEVICE";

/// The device that a table of this crate names, ahead of its rows.
fn device_of(text: &str) -> Option<&str> {
    let mut head = text.lines().take_while(|line| !line.starts_with('['));
    head.find_map(|line| line.strip_prefix("device = \"")?.strip_suffix('"'))
}

/// Parameters for one device.
#[derive(Clone, Debug)]
pub struct Table {
    values: toml::Table,
    rows: Vec<Row>,
    cuda: Vec<cuda::Row>,
    others: Vec<measured::Foreign>,
    path: String,
}

/// This compiler and the rustc beside it.
pub fn compiler() -> String {
    let rustc = crate::compile::rustc_version().unwrap_or_else(|| "no rustc".into());
    format!("rla {}, {rustc}", env!("CARGO_PKG_VERSION"))
}

/// The hash of a variant's canonical text.
pub fn identity(recurrence: &Recurrence) -> String {
    format!("{:032x}", rla_dsl::identity::identity(recurrence))
}

/// Parameters for a kernel, and where they come from.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The parameters.
    pub schedule: Schedule,
    /// The passes whose parameters are a search's.
    pub tuned: Vec<Slot>,
    /// One line a pass: which row, or the default.
    pub from: Vec<String>,
    /// Rows that were passed over, and why.
    pub passed_over: Vec<String>,
}

impl Chosen {
    /// All of it in one line.
    pub fn line(&self) -> String {
        let mut all = self.from.clone();
        all.extend(self.passed_over.iter().map(|reason| format!("not {reason}")));
        all.join("; ")
    }
}

impl Table {
    /// The table that holds for every machine.
    pub fn shipped() -> Result<Table, Error> {
        Table::parse("tunings/default.toml", DEFAULT)
    }

    /// Reads a table.
    pub fn read(path: &Path) -> Result<Table, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::file(path, e))?;
        Table::parse(&path.display().to_string(), &text)
    }

    /// A table of a device, without rows.
    pub fn of_device(device: &str) -> Table {
        let values = toml::Table::from_iter([("device".to_string(), toml::Value::from(device))]);
        let path = format!("tunings/{}.toml", machine::file_name(device));
        Table { values, rows: vec![], cuda: vec![], others: vec![], path }
    }

    fn parse(path: &str, text: &str) -> Result<Table, Error> {
        let refuse = |reason: String| Error::Table { path: path.into(), reason };
        let mut values: toml::Table = text.parse().map_err(|e: toml::de::Error| refuse(e.to_string()))?;
        if let Some(key) =
            values.keys().find(|key| !["device", "schedule", "variant", "tuned", "cuda"].contains(&key.as_str()))
        {
            return Err(refuse(format!("`{key}`: expected device, schedule, variant, tuned or cuda")));
        }
        let mut others = vec![];
        let rows = measured::read(&mut values, &mut others).map_err(refuse)?;
        let cuda = measured::read(&mut values, &mut others).map_err(refuse)?;
        let table = Table { values, rows, cuda, others, path: path.into() };
        table.schedule("")?;
        if let Some(toml::Value::Table(variants)) = table.values.get("variant") {
            variants.keys().try_for_each(|name| table.schedule(name).map(|_| ()))?;
        }
        Ok(table)
    }

    /// The device that the parameters are for.
    pub fn device(&self) -> &str {
        self.values.get("device").and_then(toml::Value::as_str).unwrap_or("default")
    }

    /// What searches on a processor found.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What searches on a GPU found.
    pub fn cuda_rows(&self) -> &[cuda::Row] {
        &self.cuda
    }

    /// Rows of a variant that are passed over because they have parameters of another compiler, and which.
    pub fn notes(&self, variant: &str) -> impl Iterator<Item = &str> {
        self.others.iter().filter(move |row| row.variant == variant).map(|row| row.reason.as_str())
    }

    /// The text of the table.
    pub fn text(&self) -> Result<String, Error> {
        let refuse = |e: toml::ser::Error| Error::Table { path: self.path.clone().into(), reason: e.to_string() };
        let mut values = self.values.clone();
        measured::write(&self.rows, &self.others, &mut values).map_err(refuse)?;
        measured::write(&self.cuda, &self.others, &mut values).map_err(refuse)?;
        let head = "# What `rla tune` found on this device. docs/tuning.md says what the fields are; a row whose variant or compiler\n\
                    # has changed since is ignored, with a note.\n";
        Ok(format!("{head}{}", toml::to_string(&values).map_err(refuse)?))
    }

    /// Writes a row, of either kind, into the table in a file, which is whole at any moment; the newer row of a key replaces the
    /// older.
    ///
    /// # Errors
    /// The file is of another device, or no table; or it cannot be written.
    pub fn merge<R: Entry>(path: &Path, device: &str, row: R) -> Result<(), Error> {
        let mut table = Table::of_file(path, device)?;
        measured::put(R::of(&mut table), row);
        whole::write(path, &table.text()?)
    }

    /// The table of a device in a file, whose folder is made; an empty one where there is no file.
    fn of_file(path: &Path, device: &str) -> Result<Table, Error> {
        let table = if path.exists() { Table::read(path)? } else { Table::of_device(device) };
        if table.device() != device {
            let reason = format!("it is of `{}`, and this is `{device}`", table.device());
            return Err(Error::Table { path: path.into(), reason });
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
        }
        Ok(table)
    }

    /// The parameters of a variant without rows of searches: the compiler's own, the table's general ones over them, the
    /// variant's over these.
    pub fn schedule(&self, variant: &str) -> Result<Schedule, Error> {
        let refuse = |reason: String| Error::Table { path: self.path.clone().into(), reason };
        let mut merged = toml::Table::try_from(Schedule::default()).map_err(|e| refuse(e.to_string()))?;
        let general = self.values.get("schedule");
        let own = self.values.get("variant").and_then(|variants| variants.get(variant));
        for layer in [general, own].into_iter().flatten() {
            for (slot, choices) in layer.as_table().ok_or_else(|| refuse("expected a table of parameters".into()))? {
                let Some(toml::Value::Table(merged)) = merged.get_mut(slot) else {
                    return Err(refuse(format!("`{slot}`: the schedule has no such pass")));
                };
                let choices = choices.as_table().ok_or_else(|| refuse(format!("`{slot}`: expected its parameters")))?;
                for (key, value) in choices {
                    match merged.get_mut(key) {
                        Some(old) => *old = value.clone(),
                        None => return Err(refuse(format!("`{slot}.{key}`: the schedule has no such parameter"))),
                    }
                }
            }
        }
        let schedule: Schedule = merged.try_into().map_err(|e: toml::de::Error| refuse(e.to_string()))?;
        match schedule.refusal() {
            Some(reason) => Err(refuse(reason)),
            None => Ok(schedule),
        }
    }
}

/// The tables that may be used: the default, and those of a device, later ones first asked.
#[derive(Clone, Debug)]
pub struct Tables {
    default: Table,
    devices: Vec<Table>,
    device: String,
    notes: Vec<String>,
}

impl Tables {
    /// The default alone.
    pub fn default_only() -> Result<Tables, Error> {
        Ok(Tables { default: Table::shipped()?, devices: vec![], device: "default".into(), notes: vec![] })
    }

    /// Those of this crate for a device, or the one that `RLA_TABLE` names. `extra`: further ones, asked first.
    pub fn of(device: &str, extra: &[PathBuf]) -> Result<Tables, Error> {
        let mut tables = Tables { device: device.into(), ..Tables::default_only()? };
        let named = std::env::var_os(TABLE_VARIABLE).filter(|value| !value.is_empty());
        match named {
            Some(name) if name == "default" => return Ok(tables),
            Some(path) => tables.add(Table::read(Path::new(&path))?),
            None => {
                for (path, text) in DEVICES {
                    // to read one takes a millisecond or two
                    match device_of(text) {
                        Some(other) if other != device => tables.pass_over(path, other),
                        _ => tables.add(Table::parse(path, text)?),
                    }
                }
            }
        }
        for path in extra.iter().filter(|path| path.is_file()) {
            tables.add(Table::read(path)?);
        }
        Ok(tables)
    }

    /// Those of this machine, or of the device that `RLA_DEVICE` names.
    pub fn of_machine() -> Result<Tables, Error> {
        let named = std::env::var(DEVICE_VARIABLE).ok().filter(|name| !name.is_empty());
        Tables::of(&named.unwrap_or_else(machine::device), &[])
    }

    /// Rows of GPUs in all tables of this crate, whatever their device, or in the one that `RLA_TABLE` names: what may run in mode
    /// invariant.
    pub fn all_cuda() -> Result<Vec<cuda::Row>, Error> {
        let named = std::env::var_os(TABLE_VARIABLE).filter(|value| !value.is_empty());
        let tables = match named {
            Some(name) if name == "default" => vec![],
            Some(path) => vec![Table::read(Path::new(&path))?],
            None => DEVICES.iter().map(|(path, text)| Table::parse(path, text)).collect::<Result<_, _>>()?,
        };
        let rows = tables.into_iter().flat_map(|table| table.cuda);
        Ok(rows.filter(|row| row.measured.mode == Mode::Invariant).collect())
    }

    /// Whether `RLA_TABLE` names a file.
    pub fn named() -> bool {
        std::env::var_os(TABLE_VARIABLE).is_some_and(|name| !name.is_empty() && name != "default")
    }

    fn add(&mut self, table: Table) {
        if table.device() == self.device || table.device() == "default" {
            self.devices.push(table);
        } else {
            self.pass_over(&table.path, table.device());
        }
    }

    fn pass_over(&mut self, path: &str, device: &str) {
        self.notes.push(format!("{path}: of another device, `{device}`"));
    }

    /// What is passed over of a variant's rows before anything is asked of them.
    pub fn passed_over(&self, variant: &str) -> impl Iterator<Item = String> {
        self.devices.iter().flat_map(move |table| table.notes(variant).map(|note| format!("{}, {note}", table.path)))
    }

    /// Rows of a GPU for a pass of a variant, those of tables that are asked first at the front; beside each the table's name.
    /// Whether a row holds for what the compiler writes today, its text says.
    pub fn cuda(&self, recurrence: &Recurrence, of: impl Fn(&cuda::Row) -> bool) -> Vec<(String, cuda::Row)> {
        let identity = identity(recurrence);
        let wanted = |row: &&cuda::Row| row.measured.identity == identity && of(row);
        let tables = self.devices.iter().rev();
        tables.flat_map(|t| t.cuda.iter().filter(wanted).map(|row| (t.path.clone(), row.clone()))).collect()
    }

    /// Parameters of a variant on a level: rows of searches where one fits, else the default's. Rows of mode throughput are of
    /// [`Tables::throughput`].
    pub fn choose(&self, recurrence: &Recurrence, level: Level) -> Result<Chosen, Error> {
        let mut schedule = self.default.schedule(&recurrence.name)?;
        let mut passed_over = self.notes.clone();
        passed_over.extend(self.passed_over(&recurrence.name));
        let (mut tuned, mut from, mut programs) = (vec![], vec![], None);
        let identity = identity(recurrence);
        for slot in Slot::ALL {
            let mut fitting: Vec<(&Table, &Row)> = vec![];
            for table in self.devices.iter().rev() {
                for row in table
                    .rows
                    .iter()
                    .filter(|row| row.measured.variant == recurrence.name && row.measured.pass == slot.name())
                {
                    if row.measured.mode == Mode::Throughput {
                        passed_over.push(format!("{}, {}: of mode throughput", table.path, row.name()));
                        continue;
                    }
                    match stale(recurrence, &identity, level, slot, row, &mut programs) {
                        None => fitting.push((table, row)),
                        Some(reason) => passed_over.push(format!("{}, {}: {reason}", table.path, row.name())),
                    }
                }
            }
            // one text serves all sizes and types: the row of the usual ones comes first
            fitting.sort_by_key(|(_, row)| (row.measured.dtype != natural(slot), distance(&row.measured.sizes)));
            if let Some((table, row)) = fitting.first() {
                *schedule.of_mut(slot) = row.choices;
                tuned.push(slot);
                from.push(format!("{} by {}, {}", slot.name(), table.path, row.name()));
            }
            for (table, row) in fitting.iter().skip(1) {
                passed_over.push(format!("{}, {}: another row comes first", table.path, row.name()));
            }
        }
        if tuned.is_empty() {
            from.push(format!("parameters of {}", self.default.path));
        }
        Ok(Chosen { schedule, tuned, from, passed_over })
    }

    /// Rows of mode throughput of a variant on a level, those of tables that are asked first at the front; and those that do not hold
    /// for what the compiler writes today, and why.
    pub fn throughput(&self, recurrence: &Recurrence, level: Level) -> (Vec<Bucketed>, Vec<String>) {
        let (mut rows, mut passed_over, mut programs) = (vec![], vec![], None);
        let identity = identity(recurrence);
        let wanted = |row: &&Row| row.measured.mode == Mode::Throughput && row.measured.variant == recurrence.name;
        for table in self.devices.iter().rev() {
            for row in table.rows.iter().filter(wanted) {
                let from = format!("{}, {}", table.path, row.name());
                let Some(slot) = Slot::named(&row.measured.pass) else { continue };
                match stale(recurrence, &identity, level, slot, row, &mut programs) {
                    None => rows.push(Bucketed { slot, row: row.clone(), from }),
                    Some(reason) => passed_over.push(format!("{from}: {reason}")),
                }
            }
        }
        (rows, passed_over)
    }
}

/// A row of mode throughput that holds for what the compiler writes today.
#[derive(Clone, Debug)]
pub struct Bucketed {
    /// The pass.
    pub slot: Slot,
    /// The row.
    pub row: Row,
    /// Its table and its name.
    pub from: String,
}

/// The type that a pass is first tuned for.
fn natural(slot: Slot) -> &'static str {
    if slot == Slot::Bf16 { "bf16" } else { "f32" }
}

/// How far sizes are from K = V = 128.
fn distance(sizes: &[usize]) -> usize {
    sizes.iter().take(2).map(|size| size.abs_diff(128)).sum()
}

/// Why a row does not hold for what the compiler writes today.
fn stale(
    recurrence: &Recurrence,
    identity: &str,
    level: Level,
    slot: Slot,
    row: &Row,
    programs: &mut Option<Programs>,
) -> Option<String> {
    if row.measured.identity != identity {
        return Some("measured for another content of the variant, ignored".into());
    }
    if row.level != level.name() {
        return Some(format!("for {}, not {}", row.level, level.name()));
    }
    if programs.is_none() {
        let Ok((_, compiled)) = pipeline::chunk_programs(recurrence) else {
            return Some("the variant is outside the class".into());
        };
        *programs = Some(compiled);
    }
    let programs = programs.as_ref()?;
    match text_of(recurrence, programs, slot, level, &row.choices) {
        Ok(text) if text == row.measured.text => None,
        _ => Some(format!("measured with another compiler ({}), ignored", row.measured.compiler)),
    }
}

/// The fingerprint of a pass's text under choices.
pub fn text_of(
    recurrence: &Recurrence,
    programs: &Programs,
    slot: Slot,
    level: Level,
    choices: &Choices,
) -> Result<String, String> {
    let dims = Dims { sizes: vec![], batch: 1, tokens: 1, key_heads: 1, value_heads: 1 };
    let recurrence = recurrence.clone();
    let task = Task { recurrence, slot, level, element: Element::F32, dims, threads: 1, mode: Mode::Invariant };
    Ok(format!("{:032x}", fingerprint(&[&tune::write(&task, programs, choices)?.source])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_tables_are_legal() {
        let table = Table::shipped().unwrap();
        assert_eq!(table.device(), "default");
        table.schedule("any").unwrap();
        for (path, text) in DEVICES {
            let table = Table::parse(path, text).unwrap();
            assert_eq!(device_of(text), Some(table.device()));
            assert!(table.others.is_empty(), "{path}: rows of parameters that there are not");
            assert!(path.ends_with(&format!("{}.toml", machine::file_name(table.device()))), "{path}");
        }
    }

    #[test]
    fn a_variant_overrides_single_parameters() {
        let text = "[schedule.forward]\nchunk = 16\n[variant.a.forward]\nchunk = 32\n";
        let table = Table::parse("t", text).unwrap();
        assert_eq!(table.schedule("a").unwrap().forward.chunk, 32);
        assert_eq!(table.schedule("b").unwrap().forward.chunk, 16);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, reason) in [
            ("chunk = 3", "expected device, schedule, variant, tuned or cuda"),
            ("[schedule]\nchunk = 3", "no such pass"),
            ("[schedule.forward]\nchonk = 3", "no such parameter"),
            ("[schedule.forward]\nchunk = 17", "forward: chunk=17"),
            ("[schedule.forward]\nchunk = \"x\"", "invalid type"),
            ("[variant.a.forward]\nchunk = 0", "forward: chunk=0"),
            ("[[tuned]]\nvariant = \"a\"", "missing field"),
            ("[schedule", "TOML"),
        ] {
            let error = Table::parse("t.toml", text).unwrap_err().to_string();
            assert!(error.starts_with("t.toml") && error.contains(reason), "{text}: {error}");
        }
    }
}
