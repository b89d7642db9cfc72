//! Candidates compiled here, to be checked and timed on a machine without a compiler: a folder of libraries and a manifest.
use super::{Element, Made, Source, Task};
use crate::error::Error;
use crate::machine;
use crate::table::Mode;
use crate::whole;
use rla_codegen::data::Dims;
use rla_codegen::schedule::cost::Cost;
use rla_codegen::schedule::{Choices, Slot};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The manifest's file.
const MANIFEST: &str = "manifest.toml";

/// What a folder of candidates holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The compiler that made it, and rustc.
    pub compiler: String,
    /// What can be tuned with it.
    pub tasks: Vec<Packed>,
}

/// A task with its candidates; the first is what a search begins with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packed {
    /// The variant's canonical text.
    pub variant: String,
    /// The pass.
    pub pass: String,
    /// Instruction set.
    pub level: String,
    /// Type of q, k, v and the like.
    pub dtype: String,
    /// B, T, H, HV, then a size a side.
    pub shape: Vec<usize>,
    /// Threads of the timed call; 0: all of the machine that times it.
    pub threads: usize,
    /// What the configuration may depend on.
    #[serde(default)]
    pub mode: Mode,
    /// The candidates, the start first, then in the order of their predicted cost.
    pub candidates: Vec<Candidate>,
}

/// One candidate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// Predicted cycles per token and value head.
    pub cycles: f64,
    /// The library, beside the manifest.
    pub file: String,
    /// Its entry without the level.
    pub symbol: String,
    /// Fingerprint of its text.
    pub text: String,
    /// The parameters.
    pub choices: Choices,
}

impl Packed {
    /// Whether it is of the same row of a table: in mode throughput those of other shapes are beside it.
    fn same(&self, other: &Packed) -> bool {
        let of = |p: &Packed| (p.variant.clone(), p.pass.clone(), p.level.clone(), p.mode);
        of(self) == of(other) && (self.mode == Mode::Invariant || self.shape == other.shape)
    }
}

impl Manifest {
    /// Enters a task, in the place of what there is of the same.
    pub fn enter(&mut self, packed: Packed) {
        self.tasks.retain(|there| !there.same(&packed));
        self.tasks.push(packed);
    }

    /// Reads the manifest of a folder.
    pub fn read(folder: &Path) -> Result<Manifest, Error> {
        let path = folder.join(MANIFEST);
        let text = std::fs::read_to_string(&path).map_err(|e| Error::file(&path, e))?;
        toml::from_str(&text).map_err(|e| Error::Table { path, reason: e.to_string() })
    }

    /// A library with all passes of a task's variant and instruction set.
    pub fn whole(&self, of: &Packed, folder: &Path) -> Option<Made> {
        let same = |p: &&Packed| (&p.variant, &p.level) == (&of.variant, &of.level);
        let trains = |p: &&Packed| Slot::named(&p.pass).is_some_and(Slot::trains);
        let candidate = self.tasks.iter().filter(same).find(trains)?.candidates.first()?;
        Some(Made { path: folder.join(&candidate.file), symbol: candidate.symbol.clone() })
    }

    /// Writes it, last of all: a folder without it is not whole.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(MANIFEST);
        let text = toml::to_string(self).map_err(|e| Error::Table { path: path.clone(), reason: e.to_string() })?;
        whole::write(&path, &text)
    }
}

/// Compiles the start and the cheapest `most` candidates of a task into a folder. `told` is told how many are done, and of how
/// many.
pub fn pack(
    task: &Task,
    source: &dyn Source,
    start: Choices,
    most: usize,
    folder: &Path,
    mut told: impl FnMut(usize, usize),
) -> Result<Packed, Error> {
    std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
    let order = source.order();
    let plain = |c: &Choices| (c.prefetch, c.unroll, c.stream) == (start.prefetch, start.unroll, start.stream);
    // threads are of no text: a search takes those of its machine
    let order: Vec<(Choices, Cost)> = order.into_iter().filter(|(c, _)| c.threads == start.threads).collect();
    let cycles: BTreeMap<Choices, f64> = order.iter().map(|(choices, cost)| (*choices, cost.cycles())).collect();
    // in turn what differs from the start in what costs most, its own neighbours first, and what does in what costs less
    let mut near = rla_codegen::schedule::space::neighbours(&start, task.slot, task.level);
    near.retain(|c| c.threads == start.threads);
    let (coarse, fine): (Vec<Choices>, Vec<Choices>) = near.into_iter().partition(plain);
    let mut coarse: Vec<Choices> = coarse.into_iter().filter(|c| cycles.contains_key(c)).collect();
    coarse.sort_by(|a, b| cycles[a].total_cmp(&cycles[b]));
    let others = order.iter().map(|(choices, _)| *choices).filter(|c| *c != start && plain(c));
    let others: Vec<Choices> = others.filter(|c| !coarse.contains(c)).collect();
    let (mut coarse, mut fine) = (coarse.into_iter().chain(others), fine.into_iter());
    let mut wanted = vec![start];
    while wanted.len() < most.max(1) {
        let next = if wanted.len() % 2 == 1 {
            coarse.next().or_else(|| fine.next())
        } else {
            fine.next().or_else(|| coarse.next())
        };
        match next {
            Some(choices) => wanted.push(choices),
            None => break,
        }
    }
    let mut packed = Packed {
        variant: rla_dsl::print::print(&task.recurrence),
        pass: task.slot.name().into(),
        level: task.level.name().into(),
        dtype: task.element.name().into(),
        shape: [task.dims.batch, task.dims.tokens, task.dims.key_heads, task.dims.value_heads]
            .into_iter()
            .chain(task.dims.sizes.iter().copied())
            .collect(),
        threads: task.threads,
        mode: task.mode,
        candidates: vec![],
    };
    let count = wanted.len();
    for (index, choices) in wanted.into_iter().enumerate() {
        told(index, count);
        let refused = |reason: String| Error::Compile(format!("`{}`: {reason}", task.recurrence.name));
        let text = source.fingerprint(&choices).map_err(refused)?;
        if packed.candidates.iter().any(|c| c.text == text) {
            continue;
        }
        let made = source.make(&choices).map_err(refused)?;
        let file = format!("{}-{text}{}", task.recurrence.name, std::env::consts::DLL_SUFFIX);
        std::fs::copy(&made.path, folder.join(&file)).map_err(|e| Error::file(&made.path, e))?;
        let cycles = cycles.get(&choices).copied().unwrap_or(0.0);
        packed.candidates.push(Candidate { cycles, file, symbol: made.symbol, text, choices });
    }
    Ok(packed)
}

impl Packed {
    /// The task; `all` are the threads of this machine.
    pub fn task(&self, all: usize) -> Result<Task, Error> {
        let refuse = |what: &str| Error::Compile(format!("the manifest: {what}"));
        let parsed = rla_dsl::parse(&self.variant).map_err(|d| Error::Recurrence(d.render(MANIFEST, &self.variant)))?;
        let recurrence = parsed.variants.into_iter().next().ok_or_else(|| refuse("no variant"))?;
        let level = machine::LEVELS.into_iter().find(|l| l.name() == self.level);
        let [batch, tokens, key_heads, value_heads, sizes @ ..] = &self.shape[..] else {
            return Err(refuse("a shape without heads"));
        };
        if sizes.len() != recurrence.sides.len() {
            return Err(refuse("a shape of other sides than the variant's"));
        }
        Ok(Task {
            slot: Slot::named(&self.pass).ok_or_else(|| refuse("an unknown pass"))?,
            level: level.ok_or_else(|| refuse("an unknown instruction set"))?,
            element: if self.dtype == "bf16" { Element::Bf16 } else { Element::F32 },
            dims: Dims {
                sizes: sizes.to_vec(),
                batch: *batch,
                tokens: *tokens,
                key_heads: *key_heads,
                value_heads: *value_heads,
            },
            threads: if self.threads == 0 { all } else { self.threads },
            mode: self.mode,
            recurrence,
        })
    }
}

/// Candidates of a folder.
pub struct Unpacked<'a> {
    /// The candidates.
    pub packed: &'a Packed,
    /// What they are of.
    pub task: &'a Task,
    /// Where the libraries are.
    pub folder: PathBuf,
}

impl Unpacked<'_> {
    fn of(&self, choices: &Choices) -> Result<&Candidate, String> {
        let text = choices.with_threads(0);
        self.packed
            .candidates
            .iter()
            .find(|c| c.choices.with_threads(0) == text)
            .ok_or_else(|| "it was not packed".to_string())
    }
}

impl Source for Unpacked<'_> {
    fn order(&self) -> Vec<(Choices, Cost)> {
        let cost = |c: &Candidate| (c.choices, Cost { other: c.cycles, ..Cost::default() });
        self.task.divided(self.packed.candidates.iter().map(cost))
    }

    fn fingerprint(&self, choices: &Choices) -> Result<String, String> {
        Ok(self.of(choices)?.text.clone())
    }

    fn make(&self, choices: &Choices) -> Result<Made, String> {
        let candidate = self.of(choices)?;
        Ok(Made { path: self.folder.join(&candidate.file), symbol: candidate.symbol.clone() })
    }

    fn compiles(&self) -> bool {
        false
    }
}
