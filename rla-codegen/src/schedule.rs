//! How programs become kernels: plain data, and which choices are legal.
//!
//! `space` lists the free choices with their values and the predicates of legality, `cuda` those of a GPU's kernels, both in the
//! terms of `parameter`; `cost` predicts, and so orders the search.

use serde::{Deserialize, Serialize};

use crate::kernel::Level;
use crate::tile::{Op, Program};

pub mod cost;
pub mod cuda;
pub mod parameter;
pub mod space;

/// Shape of a register tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tile {
    /// Rows.
    pub rows: usize,
    /// Vectors a row.
    pub vectors: usize,
    /// Lanes a vector: a property of the level.
    pub lanes: usize,
}

impl Tile {
    /// The tile that was fastest where it was measured: as many accumulators as the registers hold beside the operands.
    pub fn of(level: Level) -> Tile {
        let (rows, vectors, lanes) = match level {
            Level::Avx512 => (8, 2, 16),
            Level::Avx2 => (4, 2, 8),
            Level::Neon => (4, 4, 4),
            Level::Portable => (4, 2, 4),
        };
        Tile { rows, vectors, lanes }
    }

    /// The tile that choices ask for. A text holds several levels, chosen for the first: a level whose registers do not hold
    /// the tile keeps its own.
    pub fn chosen(choices: &Choices, level: Level) -> Tile {
        let own = Tile::of(level);
        let or = |chosen: usize, own: usize| if chosen == 0 { own } else { chosen };
        let tile = Tile { rows: or(choices.rows, own.rows), vectors: or(choices.vectors, own.vectors), ..own };
        if space::tile_refusal(&tile, level).is_none() { tile } else { own }
    }
}

/// Choices for one pass. None changes results beyond rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Choices {
    /// Tokens a chunk; 0 for a pass that is not written.
    pub chunk: usize,
    /// Rows of a register tile; 0: as many as were fastest where the level was measured.
    pub rows: usize,
    /// Vectors of a row of a register tile; 0: likewise.
    pub vectors: usize,
    /// Pace at which the next chunk's rows are fetched from inside the products: 0 not at all, 1 spread over the whole
    /// chunk, n within an n-th part of it.
    pub prefetch: usize,
    /// A system of at most so many readouts is solved in register blocks that its products flow into; of more, row by row.
    pub solve: usize,
    /// Work behind a tile of at most so many lines is unrolled with the tile in registers; longer work reads a copy of it.
    pub unroll: usize,
    /// Whether what forward keeps for backward passes the caches by.
    pub stream: bool,
    /// Decode: KiB from a line that is updated to the one that is fetched meanwhile; 0: as many as were fastest where it was measured.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ahead: usize,
    /// Decode: readouts that one sweep of a state takes at a time; 0: as many as the registers hold.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub readouts: usize,
    /// Threads that sequences and heads are divided among, at most; 0: all. Of no text: what is compiled is the same.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub threads: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Choices {
    /// Those that were fastest where they were measured, with chunks of so many tokens.
    pub const fn chunk(chunk: usize) -> Choices {
        Choices {
            chunk,
            rows: 0,
            vectors: 0,
            prefetch: 1,
            solve: 4,
            unroll: 10,
            stream: true,
            ahead: 0,
            readouts: 0,
            threads: 0,
        }
    }

    /// The same for so many threads.
    pub const fn with_threads(self, threads: usize) -> Choices {
        Choices { threads, ..self }
    }
}

/// What choices are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// Forward that keeps nothing.
    Forward,
    /// Forward that keeps, and backward: they share what is kept, and so its layout.
    Training,
    /// The same where a decay acts per channel: work between two tokens then goes over channels, not through a product, and
    /// grows with the chunk.
    TrainingChannel,
    /// Forward whose products take bf16 operands.
    Bf16,
    /// Decode, token by token.
    Decode,
}

impl Slot {
    /// All of them.
    pub const ALL: [Slot; 5] = [Slot::Forward, Slot::Training, Slot::TrainingChannel, Slot::Bf16, Slot::Decode];

    /// The name in tables, and of the field of [`Schedule`].
    pub fn name(self) -> &'static str {
        match self {
            Slot::Forward => "forward",
            Slot::Training => "training",
            Slot::TrainingChannel => "training_channel",
            Slot::Bf16 => "bf16",
            Slot::Decode => "decode",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Slot> {
        Slot::ALL.into_iter().find(|slot| slot.name() == name)
    }

    /// Whether it is for forward that keeps, and backward.
    pub fn trains(self) -> bool {
        matches!(self, Slot::Training | Slot::TrainingChannel)
    }

    /// The slot that training of a program that keeps reads.
    pub fn of_training(program: &Program) -> Slot {
        let channel = |op: &Op| matches!(op, Op::DecayDot { .. } | Op::DecayApply { .. } | Op::DecayRect { .. });
        if program.nodes.iter().any(|n| channel(&n.op)) { Slot::TrainingChannel } else { Slot::Training }
    }
}

/// Choices for every pass of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Schedule {
    /// Of [`Slot::Forward`].
    pub forward: Choices,
    /// Of [`Slot::Training`].
    pub training: Choices,
    /// Of [`Slot::TrainingChannel`].
    pub training_channel: Choices,
    /// Of [`Slot::Bf16`]; a chunk of 0: there is none.
    pub bf16: Choices,
    /// Of [`Slot::Decode`], whose chunk is a token.
    pub decode: Choices,
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule {
            forward: Choices::chunk(16),
            training: Choices::chunk(32),
            training_channel: Choices::chunk(16),
            bf16: Choices::chunk(0),
            decode: Choices::chunk(1),
        }
    }
}

impl Schedule {
    /// Token by token.
    pub const TOKEN: Schedule = {
        let token = Choices { prefetch: 0, ..Choices::chunk(1) };
        let (bf16, decode) = (Choices::chunk(0), Choices::chunk(1));
        Schedule { forward: token, training: token, training_channel: token, bf16, decode }
    };

    /// The default, with products in bf16 in chunks of so many tokens.
    pub fn with_bf16(chunk: usize) -> Schedule {
        Schedule { bf16: Choices::chunk(chunk), ..Schedule::default() }
    }

    /// The same with chunks of one size everywhere; products in bf16 where they can be that long.
    pub fn with_chunk(&self, chunk: usize) -> Schedule {
        let alike = |choices: Choices| Choices { chunk, ..choices };
        let bf16 = space::refusal(&alike(self.bf16), Slot::Bf16).map_or(chunk, |_| 0);
        Schedule {
            forward: alike(self.forward),
            training: alike(self.training),
            training_channel: alike(self.training_channel),
            bf16: Choices { chunk: bf16, ..self.bf16 },
            decode: self.decode,
        }
    }

    /// The choices of a slot.
    pub fn of(&self, slot: Slot) -> &Choices {
        match slot {
            Slot::Forward => &self.forward,
            Slot::Training => &self.training,
            Slot::TrainingChannel => &self.training_channel,
            Slot::Bf16 => &self.bf16,
            Slot::Decode => &self.decode,
        }
    }

    /// The choices of a slot, to be changed.
    pub fn of_mut(&mut self, slot: Slot) -> &mut Choices {
        match slot {
            Slot::Forward => &mut self.forward,
            Slot::Training => &mut self.training,
            Slot::TrainingChannel => &mut self.training_channel,
            Slot::Bf16 => &mut self.bf16,
            Slot::Decode => &mut self.decode,
        }
    }

    /// Why a schedule is not legal, if it is not.
    pub fn refusal(&self) -> Option<String> {
        Slot::ALL.into_iter().find_map(|slot| {
            let reason = space::refusal(self.of(slot), slot)?;
            Some(format!("{}: {reason}", slot.name()))
        })
    }
}
