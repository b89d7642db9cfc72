//! Which choices a GPU's kernels have: rows of the tables that a search on this card wrote, else the default's.
use super::Device;
use super::kernels::{Elem, Key, Source};
use crate::error::Result;
use crate::kernel::dispatch;
use rla_build::table::{DEVICE_VARIABLE, Entry, Tables, cuda::Row};
use rla_codegen::schedule::cuda::{Choices, Load, Slot, beside_for, groups_for};
use rla_dsl::recurrence::Recurrence;

/// Rows of this card and this variant; a table's name beside each.
#[derive(Default)]
pub struct Tunings {
    rows: Vec<(String, Row)>,
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
        let architecture = device.architecture()?;
        Ok(Tunings { rows: tables.cuda(recurrence, |row| row.architecture == architecture) })
    }

    /// Tokens of the longest chunk that rows give a forward that keeps nothing, 1 where there are none.
    pub fn longest_chunk(&self) -> usize {
        let forward = self.rows.iter().filter(|(_, row)| row.measured.pass == Slot::Forward.name());
        forward.map(|(_, row)| row.choices.chunk).max().unwrap_or(1)
    }

    /// The choices of a slot for sizes and types, and where they come from: a row's, which depend on nothing else, or the class's and the
    /// key's. A row applies only where the compiler writes the very text that was checked then; where it does not, a line says so.
    pub fn choices(&self, device: &Device, source: &Source, slot: Slot, key: &Key) -> (Choices, String) {
        let dtype = dtype(key.output);
        let fits = |row: &&(String, Row)| {
            row.1.measured.pass == slot.name() && row.1.measured.dtype == dtype && row.1.measured.sizes == key.sizes
        };
        for (table, row) in self.rows.iter().filter(fits) {
            // the text that was measured: q, k, v and the like in one type, a value head a key head
            let measured = Key { choices: row.choices, ..Key::usual(source.recurrence(), &key.sizes, key.output) };
            match source.predict(slot, &measured, device.shared) {
                Ok((text, _)) if text == row.measured.text => {
                    // a search at one shape that kept the width of such calls says nothing about others
                    let [batch, _, _, value_heads] = row.timed;
                    let load = load(source, &key.sizes, batch * value_heads, device.multiprocessors);
                    let calls = usual(&load, device.overlaps(), key.output);
                    let kept = |of: fn(&Choices) -> usize| {
                        if of(&row.choices) == of(&calls) { of(&key.choices) } else { of(&row.choices) }
                    };
                    let (groups, beside) = (kept(|c| c.groups), kept(|c| c.beside));
                    return (Choices { groups, beside, ..row.choices }, format!("by {table}, {}", row.name()));
                }
                _ => eprintln!(
                    "rla: {table}, {}: measured with another compiler ({}), ignored",
                    row.name(),
                    row.measured.compiler
                ),
            }
        }
        (Choices { chunk: source.chunk(slot, key.output, &key.sizes), ..key.choices }, "the default".into())
    }
}
