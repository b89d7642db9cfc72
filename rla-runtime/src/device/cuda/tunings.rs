//! Which choices a GPU's kernels have: rows of the tables that a search on this card wrote, else the default's.
use super::Device;
use super::kernels::{Elem, Key, Source};
use crate::error::Result;
use crate::kernel::dispatch;
use rla_build::table::{DEVICE_VARIABLE, Entry, Measured, Mode, Tables, Work, cuda::Row};
use rla_codegen::schedule::cuda::{Choices, Load, Slot, beside_for, groups_for};
use rla_dsl::recurrence::Recurrence;
use std::sync::OnceLock;

/// What of a card decides the choices of a call.
#[derive(Clone, Copy, Debug)]
pub struct Card {
    /// Bytes of shared memory that a block may have.
    pub shared: usize,
    /// Multiprocessors.
    pub multiprocessors: usize,
    /// Whether it starts a kernel before another has ended.
    pub overlaps: bool,
}

impl From<&Device> for Card {
    fn from(device: &Device) -> Card {
        Card { shared: device.shared, multiprocessors: device.multiprocessors, overlaps: device.overlaps() }
    }
}

/// Rows of this card and this variant.
#[derive(Default)]
pub struct Tunings {
    rows: Vec<Known>,
}

/// A row, and the table that it is of.
struct Known {
    table: String,
    row: Row,
    /// Whether it is as measured, once that was asked: to write a text takes milliseconds.
    holds: OnceLock<bool>,
}

impl Known {
    /// Whether the compiler writes the text that was measured: q, k, v and the like in one type, a value head a key head. Says so if not.
    fn is_as_measured(&self, card: Card, source: &Source, slot: Slot, key: &Key) -> bool {
        let Known { table, row, .. } = self;
        let measured = Key { choices: row.choices, ..Key::usual(source.recurrence(), &key.sizes, key.output) };
        let same = source.predict(slot, &measured, card.shared).is_ok_and(|(text, _)| text == row.measured.text);
        if !same {
            let (name, compiler) = (row.name(), &row.measured.compiler);
            eprintln!("rla: {table}, {name}: measured with another compiler ({compiler}), ignored");
        }
        same
    }
}

/// The name of an element type in tables.
pub fn dtype(elem: Elem) -> &'static str {
    match elem {
        Elem::F32 => "f32",
        Elem::Bf16 => "bf16",
        Elem::F16 => "f16",
    }
}

/// What a call of so many sequences times value heads asks of a card.
pub fn load(source: &Source, sizes: &[usize], sequences: usize, multiprocessors: usize) -> Load {
    Load { sequences, channels: source.channels(sizes), multiprocessors }
}

/// What the passes of calls of a load have where no table says; `overlaps`: whether the card starts a kernel before another has ended.
pub fn usual(load: &Load, overlaps: bool, elem: Elem) -> Choices {
    let Load { sequences, channels, multiprocessors } = *load;
    // wide blocks of f32 do not fit into shared memory with what is copied ahead
    if elem == Elem::F32 {
        return Choices::default();
    }
    Choices {
        groups: groups_for(sequences, channels, multiprocessors),
        beside: if overlaps { beside_for(sequences, channels, multiprocessors) } else { 0 },
        ..Choices::default()
    }
}

/// The same of one slot: forward has no finish, and decode none of these parameters.
pub fn usual_of(source: &Source, slot: Slot, sizes: &[usize], load: &Load, overlaps: bool, elem: Elem) -> Choices {
    let usual = Choices { chunk: source.chunk(slot, elem, sizes), ..usual(load, overlaps, elem) };
    match slot {
        Slot::Training => usual,
        Slot::Forward => Choices { beside: 0, ..usual },
        Slot::Decode => Choices::default(),
    }
}

impl Tunings {
    /// Reads the tables: those of this program, or the one that `RLA_TABLE` names, and the user's.
    ///
    /// # Errors
    /// A table that is none.
    pub fn of(device: &Device, recurrence: &Recurrence) -> Result<Tunings> {
        let named = std::env::var(DEVICE_VARIABLE).ok().filter(|name| !name.is_empty());
        let name = named.unwrap_or_else(|| device.name.clone());
        let tables = Tables::of(&name, &[dispatch::user_table_of(&device.name)])?;
        tables.passed_over(&recurrence.name).for_each(|note| eprintln!("rla: {note}"));
        let architecture = device.architecture()?;
        Ok(Tunings::with_rows(tables.cuda(recurrence, |row| row.architecture == architecture)))
    }

    /// Rows of one's own, a table's name beside each; those that are asked first at the front.
    pub fn with_rows(rows: Vec<(String, Row)>) -> Tunings {
        let known = |(table, row)| Known { table, row, holds: OnceLock::new() };
        Tunings { rows: rows.into_iter().map(known).collect() }
    }

    /// Tokens of the longest chunk that rows give a forward that keeps nothing in a mode, 1 where there are none.
    pub fn longest_chunk(&self, mode: Mode) -> usize {
        let forward = self.rows.iter().map(|known| &known.row).filter(|row| {
            row.measured.pass == Slot::Forward.name()
                && (row.measured.mode == Mode::Invariant || row.measured.mode == mode)
        });
        forward.map(|row| row.choices.chunk).max().unwrap_or(1)
    }

    /// The rows that may hold for a call, in the order in which they are asked: with `work`, in mode throughput, those whose bucket holds
    /// it, then those of mode invariant.
    fn asked(&self, slot: Slot, key: &Key, work: Option<Work>) -> impl Iterator<Item = usize> {
        let dtype = dtype(key.output);
        let of = |measured: &Measured, mode| measured.mode == mode && measured.pass == slot.name();
        let bucketed = move |row: &Row| {
            of(&row.measured, Mode::Throughput)
                && work.is_some_and(|work| row.measured.holds_for(dtype, &key.sizes, work))
        };
        let invariant = move |row: &Row| {
            of(&row.measured, Mode::Invariant) && row.measured.dtype == dtype && row.measured.sizes == key.sizes
        };
        let numbers = |holds: &dyn Fn(&Row) -> bool| -> Vec<usize> {
            (0..self.rows.len()).filter(|index| holds(&self.rows[*index].row)).collect()
        };
        numbers(&bucketed).into_iter().chain(numbers(&invariant))
    }

    /// What the choices of a call depend on beside slot, sizes and types: the first bucket's row that holds it.
    pub fn bucket(&self, slot: Slot, key: &Key, work: Option<Work>) -> Option<usize> {
        self.asked(slot, key, work).find(|index| self.rows[*index].row.measured.mode == Mode::Throughput)
    }

    /// The choices of a slot for sizes and types, and where they come from: a row's, or the class's and the key's. In mode throughput a
    /// call's `work` is given, and rows of its bucket come first; without it they depend on nothing else. A row applies only where the
    /// compiler writes the very text that was checked then; where it does not, a line says so.
    pub fn choices(&self, card: Card, source: &Source, slot: Slot, key: &Key, work: Option<Work>) -> (Choices, String) {
        for index in self.asked(slot, key, work) {
            let known = &self.rows[index];
            if !*known.holds.get_or_init(|| known.is_as_measured(card, source, slot, key)) {
                continue;
            }
            let Known { table, row, .. } = known;
            let from = format!("by {table}, {}", row.name());
            if row.measured.mode == Mode::Throughput {
                return (row.choices, from);
            }
            // a search at one shape that kept the width of such calls says nothing about others
            let [batch, _, _, value_heads] = row.timed;
            let load = load(source, &key.sizes, batch * value_heads, card.multiprocessors);
            let calls = usual(&load, card.overlaps, key.output);
            let kept = |of: fn(&Choices) -> usize| {
                if of(&row.choices) == of(&calls) { of(&key.choices) } else { of(&row.choices) }
            };
            let (groups, beside) = (kept(|c| c.groups), kept(|c| c.beside));
            return (Choices { groups, beside, ..row.choices }, from);
        }
        (Choices { chunk: source.chunk(slot, key.output, &key.sizes), ..key.choices }, "the default".into())
    }

    /// Why rows of mode throughput do not hold for a call.
    pub fn not_for(&self, slot: Slot, key: &Key, work: Work) -> Vec<String> {
        let rows = self
            .rows
            .iter()
            .filter(|Known { row, .. }| row.measured.mode == Mode::Throughput && row.measured.pass == slot.name());
        let reason = |Known { table, row, .. }: &Known| {
            let reason = row.measured.not_for(dtype(key.output), &key.sizes, work)?;
            Some(format!("{table}, {}: {reason}", row.name()))
        };
        rows.filter_map(reason).collect()
    }
}
