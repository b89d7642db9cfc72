//! How programs become kernels: plain data, and which choices are legal.

use serde::{Deserialize, Serialize};

use crate::kernel::Level;

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
}

/// Choices that do not change results beyond rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Tokens a chunk, forward only.
    pub chunk_forward: usize,
    /// Tokens a chunk where forward keeps for backward, and backward.
    pub chunk_backward: usize,
    /// Fetch the next chunk's rows from inside the products.
    pub prefetch: bool,
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule { chunk_forward: 16, chunk_backward: 32, prefetch: true }
    }
}

impl Schedule {
    /// Token by token.
    pub const TOKEN: Schedule = Schedule { chunk_forward: 1, chunk_backward: 1, prefetch: false };

    /// Why a schedule is not legal, if it is not.
    pub fn refusal(&self) -> Option<String> {
        for (name, chunk) in [("chunk_forward", self.chunk_forward), ("chunk_backward", self.chunk_backward)] {
            if chunk != 1 && !(chunk.is_power_of_two() && (8..=128).contains(&chunk)) {
                return Some(format!("{name} is {chunk}; legal are 1, 8, 16, 32, 64 and 128"));
            }
        }
        None
    }
}
