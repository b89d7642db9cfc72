//! Matrices of 8 x 8 16-bit elements, spread over a warp: lane 4 r + c holds columns 2 c and 2 c + 1 of row r.
use super::access::Access;
use super::{Context, Lanes, Warp};
use crate::program::{From, Space};
use crate::ptx::Register;

/// An element of a turned matrix that a lane holds: its row and column before.
fn turned(lane: usize, half: usize) -> (usize, usize) {
    (2 * (lane & 3) + half, lane >> 2)
}

/// The lanes that say where the rows of so many matrices are.
fn rows_of(matrices: usize) -> u32 {
    u32::MAX >> (32 - 8 * matrices)
}

impl Warp {
    /// Matrix `i` has its rows where lanes 8 i to 8 i + 7 say.
    pub(super) fn load_matrices(
        &mut self,
        to: &[Register],
        at: &Lanes,
        turn: bool,
        context: &mut Context,
    ) -> Result<(), String> {
        self.watch(Space::Shared, at, 16, rows_of(to.len()), Access::Reads, context)?;
        for (i, register) in to.iter().enumerate() {
            let mut rows = [[0u16; 8]; 8];
            for (r, row) in rows.iter_mut().enumerate() {
                let bytes = self.read(Space::Shared, at[8 * i + r], 16, context)?;
                *row = std::array::from_fn(|c| u16::from_le_bytes([bytes[2 * c], bytes[2 * c + 1]]));
            }
            self.registers[*register as usize] = std::array::from_fn(|lane| {
                let pick = |half| {
                    let (r, c) = if turn { turned(lane, half) } else { (lane >> 2, 2 * (lane & 3) + half) };
                    u64::from(rows[r][c])
                };
                pick(0) | pick(1) << 16
            });
        }
        Ok(())
    }

    /// The reverse.
    pub(super) fn store_matrices(
        &mut self,
        of: &[From],
        at: &Lanes,
        turn: bool,
        context: &mut Context,
    ) -> Result<(), String> {
        self.watch(Space::Shared, at, 16, rows_of(of.len()), Access::Writes, context)?;
        for (i, from) in of.iter().enumerate() {
            let values = self.fetch(*from);
            let mut rows = [[0u16; 8]; 8];
            for (lane, value) in values.iter().enumerate() {
                for half in 0..2 {
                    let (r, c) = if turn { turned(lane, half) } else { (lane >> 2, 2 * (lane & 3) + half) };
                    rows[r][c] = (value >> (16 * half)) as u16;
                }
            }
            for (r, row) in rows.iter().enumerate() {
                let target = self.written(Space::Shared, at[8 * i + r], 16, context)?;
                for (c, element) in row.iter().enumerate() {
                    target[2 * c..2 * c + 2].copy_from_slice(&element.to_le_bytes());
                }
            }
        }
        Ok(())
    }

    /// Turns a matrix over.
    pub(super) fn turn_matrix(&mut self, to: Register, of: From) {
        let values = self.fetch(of);
        self.registers[to as usize] = std::array::from_fn(|lane| {
            let pick = |half| {
                let (r, c) = turned(lane, half);
                values[4 * r + c / 2] >> (16 * (c & 1)) & 0xffff
            };
            pick(0) | pick(1) << 16
        });
    }
}
