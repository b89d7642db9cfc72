//! What rows of both kinds say, and how tables hold them.
use super::mode::{Bucket, Mode, Work};
use super::{Table, identity};
use crate::tune::time::Comparison;
use rla_dsl::recurrence::Recurrence;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What a search found for one pass of one variant: what it was measured for, and what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Name of the variant.
    pub variant: String,
    /// Hash of its canonical text.
    pub identity: String,
    /// The pass.
    pub pass: String,
    /// Type of q, k, v and the like.
    pub dtype: String,
    /// K, V, declared dims.
    pub sizes: Vec<usize>,
    /// What the configuration depends on, and so which laws hold.
    pub mode: Mode,
    /// In mode throughput the calls that it holds for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Bucket>,
    /// Milliseconds of the call that was timed.
    pub ms: f64,
    /// Of the default parameters beside it.
    pub ms_default: f64,
    /// Median of the ratio of the two.
    pub ratio: f64,
    /// Half the distance between that ratio's quartiles.
    pub spread: f64,
    /// Wall seconds of the search.
    pub searched: f64,
    /// Candidates that it looked at.
    pub candidates: usize,
    /// The day.
    pub date: String,
    /// This compiler, and the one beside it: rustc, or NVRTC and the driver.
    pub compiler: String,
    /// Fingerprint of what was checked and timed.
    pub text: String,
}

/// What was tuned, and how it went.
pub struct Search<'a> {
    /// The variant.
    pub recurrence: &'a Recurrence,
    /// Name of the pass.
    pub pass: &'a str,
    /// Type of q, k, v and the like.
    pub dtype: &'a str,
    /// K, V, declared dims.
    pub sizes: &'a [usize],
    /// What the configuration may depend on.
    pub mode: Mode,
    /// The call that was timed.
    pub work: Work,
    /// Best beside the default.
    pub comparison: Comparison,
    /// Wall seconds.
    pub seconds: f64,
    /// Candidates.
    pub candidates: usize,
    /// What wrote and compiled them.
    pub compiler: &'a str,
    /// Fingerprint of the best one's text.
    pub text: &'a str,
}

impl From<Search<'_>> for Measured {
    fn from(search: Search) -> Measured {
        let Comparison { ratio, spread, seconds, other } = search.comparison;
        Measured {
            variant: search.recurrence.name.clone(),
            identity: identity(search.recurrence),
            pass: search.pass.into(),
            dtype: search.dtype.into(),
            sizes: search.sizes.to_vec(),
            mode: search.mode,
            bucket: (search.mode == Mode::Throughput).then(|| Bucket::of(search.work)),
            ms: short(seconds * 1e3),
            ms_default: short(other * 1e3),
            ratio: short(ratio),
            spread: short(spread),
            searched: (search.seconds * 10.0).round() / 10.0,
            candidates: search.candidates,
            date: today(),
            compiler: search.compiler.into(),
            text: search.text.into(),
        }
    }
}

impl Measured {
    /// Why it does not say what it holds for.
    fn refusal(&self) -> Option<String> {
        match (self.mode, &self.bucket) {
            (Mode::Invariant, None) => None,
            (Mode::Throughput, Some(bucket)) => bucket.refusal(),
            (Mode::Invariant, Some(_)) => Some("a bucket in mode invariant, whose rows hold for all B, N and T".into()),
            (Mode::Throughput, None) => Some("mode throughput without the bucket that it holds for".into()),
        }
    }

    /// Whether it is of mode throughput and holds for a call of these sizes and this type.
    pub fn holds_for(&self, dtype: &str, sizes: &[usize], work: Work) -> bool {
        self.dtype == dtype && self.sizes == sizes && self.bucket.is_some_and(|bucket| bucket.holds(work))
    }

    /// Why a row of mode throughput does not hold for a call.
    pub fn not_for(&self, dtype: &str, sizes: &[usize], work: Work) -> Option<String> {
        let Some(bucket) = &self.bucket else { return Some("of mode invariant".into()) };
        if self.dtype != dtype {
            return Some(format!("for {}, not {dtype}", self.dtype));
        }
        if self.sizes != sizes {
            return Some(format!("for sizes {:?}, not {sizes:?}", self.sizes));
        }
        let Work { heads, tokens } = work;
        (!bucket.holds(work)).then(|| format!("for {bucket}, not {heads} of {tokens}"))
    }
}

/// Figures that a reader can hold beside one another.
pub(super) fn short(x: f64) -> f64 {
    format!("{x:.3e}").parse().unwrap_or(x)
}

/// The day, in UTC (Hinnant, "chrono-compatible low-level date algorithms").
fn today() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let days = (since.as_secs() / 86400) as i64 + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    format!("{:04}-{month:02}-{day:02}", year + era * 400 + i64::from(month <= 2))
}

/// A row of a table.
pub trait Entry: Serialize + DeserializeOwned {
    /// The key of such rows in a table: `[[NAME]]`.
    const NAME: &'static str;

    /// What all rows say.
    fn measured(&self) -> &Measured;

    /// The instruction set or architecture.
    fn machine(&self) -> &str;

    /// H and HV, where a row is of these.
    fn heads(&self) -> &[usize];

    /// Whether a row has a parameter of this name.
    fn has_parameter(name: &str) -> bool;

    /// Why it is not legal.
    fn refusal(&self) -> Option<String>;

    /// Such rows of a table.
    fn of(table: &mut Table) -> &mut Vec<Self>;

    /// A name for messages.
    fn name(&self) -> String {
        let Measured { variant, pass, dtype, sizes, bucket, .. } = self.measured();
        let sizes = sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let bucket = bucket.map_or(String::new(), |bucket| format!(", {bucket}"));
        format!("{variant} {pass} {} {dtype} {sizes}{bucket}", self.machine())
    }
}

/// What two rows may not share.
type Key<'a> = (&'a str, &'a str, &'a str, &'a str, &'a [usize], &'a [usize], Mode, Option<Bucket>);

fn key<R: Entry>(row: &R) -> Key<'_> {
    let Measured { variant, pass, dtype, sizes, mode, bucket, .. } = row.measured();
    // H and HV of a bucket are in it
    let heads = if bucket.is_some() { &[] } else { row.heads() };
    (variant, pass, row.machine(), dtype, sizes, heads, *mode, *bucket)
}

/// Puts a row in the place of one with its key.
pub(super) fn put<R: Entry>(rows: &mut Vec<R>, row: R) {
    match rows.iter_mut().find(|old| key(*old) == key(&row)) {
        Some(old) => *old = row,
        None => rows.push(row),
    }
    rows.sort_by(|a, b| key(a).cmp(&key(b)));
}

/// A row with a parameter that this compiler does not have. It stays in its table, for the compiler that wrote it.
#[derive(Clone, Debug)]
pub(super) struct Foreign {
    kind: &'static str,
    value: toml::Value,
    /// The variant.
    pub(super) variant: String,
    /// Which row it is, and why it is passed over.
    pub(super) reason: String,
}

fn foreign<R: Entry>(value: &toml::Value) -> Option<Foreign> {
    let choices = value.get("choices")?.as_table()?;
    let name = choices.keys().find(|name| !R::has_parameter(name))?;
    let text = |key: &str| value.get(key).and_then(toml::Value::as_str).unwrap_or("?").to_string();
    let (variant, pass, compiler) = (text("variant"), text("pass"), text("compiler"));
    let reason = format!("{variant} {pass}: `{name}` is a parameter of another compiler ({compiler}), ignored");
    Some(Foreign { kind: R::NAME, value: value.clone(), variant, reason })
}

/// Takes the rows of a kind out of a table's text; those that this compiler cannot have written join `others`.
pub(super) fn read<R: Entry>(values: &mut toml::Table, others: &mut Vec<Foreign>) -> Result<Vec<R>, String> {
    let Some(found) = values.remove(R::NAME) else { return Ok(vec![]) };
    let toml::Value::Array(found) = found else { return Err(format!("`{}`: expected rows", R::NAME)) };
    let mut rows = vec![];
    for value in found {
        match foreign::<R>(&value) {
            Some(other) => others.push(other),
            None => rows.push(one(value)?),
        }
    }
    Ok(rows)
}

fn one<R: Entry>(value: toml::Value) -> Result<R, String> {
    let row: R = value.clone().try_into().map_err(|e: toml::de::Error| e.to_string())?;
    // fields of two structs in one table: serde lets pass what neither knows
    let own = toml::Value::try_from(&row).map_err(|e| e.to_string())?;
    let unknown = value.as_table().into_iter().flat_map(|t| t.keys()).find(|key| own.get(key).is_none());
    let reason = unknown
        .map(|key| format!("unknown field `{key}`"))
        .or_else(|| row.measured().refusal())
        .or_else(|| row.refusal());
    reason.map_or(Ok(()), |reason| Err(format!("the row {}: {reason}", row.name()))).map(|()| row)
}

/// Puts the rows of a kind into a table's text, those of other compilers last.
pub(super) fn write<R: Entry>(
    rows: &[R],
    others: &[Foreign],
    values: &mut toml::Table,
) -> Result<(), toml::ser::Error> {
    let mut all = rows.iter().map(toml::Value::try_from).collect::<Result<Vec<_>, _>>()?;
    all.extend(others.iter().filter(|other| other.kind == R::NAME).map(|other| other.value.clone()));
    if !all.is_empty() {
        values.insert(R::NAME.into(), toml::Value::Array(all));
    }
    Ok(())
}
