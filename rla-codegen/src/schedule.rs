//! How programs become kernels: plain data, and which choices are legal.

use serde::{Deserialize, Serialize};

use crate::kernel::Level;
use crate::tile::{Op, Program};

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
    /// The same where a decay acts per channel: work between two tokens then goes over channels, not through a product,
    /// and grows with the chunk.
    pub chunk_backward_channel: usize,
    /// Tokens a chunk of the forward whose products take bf16 operands; 0: there is none.
    pub chunk_bf16: usize,
    /// Fetch the next chunk's rows from inside the products.
    pub prefetch: bool,
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule { chunk_forward: 16, chunk_backward: 32, chunk_backward_channel: 16, chunk_bf16: 0, prefetch: true }
    }
}

impl Schedule {
    /// Token by token.
    pub const TOKEN: Schedule = Schedule::uniform(1, false);

    /// Chunks of one size everywhere, and no products in bf16.
    pub const fn uniform(chunk: usize, prefetch: bool) -> Schedule {
        Schedule { chunk_forward: chunk, chunk_backward: chunk, chunk_backward_channel: chunk, chunk_bf16: 0, prefetch }
    }

    /// Tokens a chunk of a program that keeps for backward.
    pub fn chunk_of_training(&self, program: &Program) -> usize {
        let by_channel = program
            .nodes
            .iter()
            .any(|n| matches!(n.op, Op::DecayDot { .. } | Op::DecayApply { .. } | Op::DecayRect { .. }));
        if by_channel { self.chunk_backward_channel } else { self.chunk_backward }
    }

    /// Why a schedule is not legal, if it is not.
    pub fn refusal(&self) -> Option<String> {
        let chunks = [
            ("chunk_forward", self.chunk_forward),
            ("chunk_backward", self.chunk_backward),
            ("chunk_backward_channel", self.chunk_backward_channel),
        ];
        for (name, chunk) in chunks {
            if chunk != 1 && !(chunk.is_power_of_two() && (8..=128).contains(&chunk)) {
                return Some(format!("{name} is {chunk}; legal are 1, 8, 16, 32, 64 and 128"));
            }
        }
        // a panel of tokens must be two vectors wide, so that a vector of pairs is whole
        if ![0, 32, 64, 128].contains(&self.chunk_bf16) {
            return Some(format!("chunk_bf16 is {}; legal are 0 (none), 32, 64 and 128", self.chunk_bf16));
        }
        None
    }
}
