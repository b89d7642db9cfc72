//! Products on tensor cores. Sums are made in f64 and rounded once: the hardware's are at most as exact.
use super::{Context, Warp, shared};
use crate::program::{Factor, From};
use crate::ptx::Register;
use crate::race::By;
use half::{bf16, f16};
use std::collections::VecDeque;

/// A warp's part of a product of four warps.
#[derive(Clone, Debug)]
pub(super) struct Wide {
    pub factor: Factor,
    pub to: Vec<Register>,
    pub a: [Register; 4],
    /// Where the right operand lies in shared memory.
    pub descriptor: u64,
    pub minus: bool,
    pub turned: bool,
}

/// Products of four warps that are under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Products {
    open: Vec<Wide>,
    groups: VecDeque<Vec<Wide>>,
    ended: u32,
}

impl Products {
    /// Adds one to the group that is open.
    pub fn start(&mut self, product: Wide) {
        self.open.push(product);
    }

    /// Ends the group.
    pub fn commit(&mut self) {
        self.groups.push_back(std::mem::take(&mut self.open));
        self.ended += 1;
    }

    /// Groups that were ended.
    pub fn ended(&self) -> u32 {
        self.ended
    }

    /// Those of them that are under way.
    pub fn under_way(&self) -> u32 {
        self.groups.len() as u32
    }

    /// What must be done so that at most so many groups are under way.
    pub fn finish(&mut self, most: usize) -> Vec<Wide> {
        let ready = self.groups.len().saturating_sub(most);
        self.groups.drain(..ready).flatten().collect()
    }
}

fn element(factor: Factor, bits: u16) -> f64 {
    match factor {
        Factor::F16 => f16::from_bits(bits).to_f64(),
        _ => bf16::from_bits(bits).to_f64(),
    }
}

/// Halves of a register.
fn halves(factor: Factor, bits: u64) -> [f64; 2] {
    [element(factor, bits as u16), element(factor, (bits >> 16) as u16)]
}

/// tf32 keeps 19 bits of an f32.
fn tf32(bits: u64) -> f64 {
    f64::from(f32::from_bits(bits as u32 & !0x1fff))
}

fn single(bits: u64) -> f64 {
    f64::from(f32::from_bits(bits as u32))
}

impl Warp {
    /// The 16 x 16 left operand that four registers hold.
    fn left(&self, factor: Factor, a: &[From; 4]) -> [[f64; 16]; 16] {
        let mut out = [[0.0; 16]; 16];
        for (i, from) in a.iter().enumerate() {
            for (lane, bits) in self.fetch(*from).iter().enumerate() {
                let (row, column) = ((lane >> 2) + 8 * (i & 1), lane & 3);
                if factor == Factor::Tf32 {
                    out[row][column + 4 * (i >> 1)] = tf32(*bits);
                } else {
                    let at = 2 * column + 8 * (i >> 1);
                    [out[row][at], out[row][at + 1]] = halves(factor, *bits);
                }
            }
        }
        out
    }

    /// `mma`: 16 x 8.
    pub(super) fn product(
        &mut self,
        factor: Factor,
        to: &[Register; 4],
        a: &[From; 4],
        b: &[From],
        c: &[From; 4],
    ) -> Result<(), String> {
        let left = self.left(factor, a);
        let mut right = [[0.0; 8]; 16];
        for (i, from) in b.iter().enumerate() {
            for (lane, bits) in self.fetch(*from).iter().enumerate() {
                let (row, column) = (lane & 3, lane >> 2);
                if factor == Factor::Tf32 {
                    right[row + 4 * i][column] = tf32(*bits);
                } else {
                    let at = 2 * row + 8 * i;
                    [right[at][column], right[at + 1][column]] = halves(factor, *bits);
                }
            }
        }
        let mut sums = [[0.0f64; 8]; 16];
        for (sum, row) in sums.iter_mut().zip(&left) {
            for (x, column) in row.iter().zip(&right) {
                for (s, y) in sum.iter_mut().zip(column) {
                    *s += x * y;
                }
            }
        }
        let before = c.map(|from| self.fetch(from));
        for (i, register) in to.iter().enumerate() {
            self.registers[*register as usize] = std::array::from_fn(|lane| {
                let sum = sums[(lane >> 2) + 8 * (i >> 1)][2 * (lane & 3) + (i & 1)];
                u64::from(((single(before[i][lane]) + sum) as f32).to_bits())
            });
        }
        Ok(())
    }

    /// Looks for races with the reads of a product.
    pub(super) fn watch_wide(&self, product: &Wide, context: &Context) -> Result<(), String> {
        if context.races.is_none() {
            return Ok(());
        }
        let place = Place::of(product.descriptor)?;
        let by = By::Products(self.products.ended() + 1);
        for column in 0..product.to.len() * 2 {
            for row in 0..16 {
                let at = place.element(column, row, product.turned);
                context.races(|races| races.read(self.index, by, self.block, at, 2).err()).map_or(Ok(()), Err)?;
            }
        }
        Ok(())
    }

    /// `wgmma`: the 16 rows of this warp, by as many columns as there are accumulators.
    pub(super) fn wide(&mut self, product: &Wide, context: &Context) -> Result<(), String> {
        let left = self.left(product.factor, &product.a.map(From::Register));
        let columns = product.to.len() * 2;
        let mut sums = vec![[0.0f64; 16]; columns];
        let place = Place::of(product.descriptor)?;
        let block = &context.blocks[self.block];
        for (column, sums) in sums.iter_mut().enumerate() {
            let mut right = [0.0; 16];
            for (row, x) in right.iter_mut().enumerate() {
                let bytes = shared::read(block, place.element(column, row, product.turned), 2)?;
                *x = element(product.factor, u16::from_le_bytes([bytes[0], bytes[1]]));
            }
            for (sum, row) in sums.iter_mut().zip(&left) {
                *sum = row.iter().zip(&right).map(|(x, y)| x * y).sum();
            }
        }
        for (i, register) in product.to.iter().enumerate() {
            let before = self.registers[*register as usize];
            self.registers[*register as usize] = std::array::from_fn(|lane| {
                let column = 8 * (i / 4) + 2 * (lane & 3) + (i & 1);
                let sum = sums[column][(lane >> 2) + 8 * (i >> 1 & 1)];
                let sum = if product.minus { -sum } else { sum };
                u64::from(((single(before[lane]) + sum) as f32).to_bits())
            });
        }
        Ok(())
    }
}

/// Where a right operand lies: rows of 128 bytes, in eights, whose 16-byte pieces are exchanged.
struct Place {
    start: u64,
    /// From one piece of 64 elements to the next across rows.
    across: u64,
    /// From eight rows to the next eight.
    down: u64,
}

impl Place {
    fn of(descriptor: u64) -> Result<Place, String> {
        if descriptor >> 62 != 1 {
            return Err("a right operand whose rows are not of 128 exchanged bytes".into());
        }
        let field = |at: u32| (descriptor >> at & 0x3fff) << 4;
        Ok(Place { start: field(0), across: field(16), down: field(32) })
    }

    /// The address of element (row, column) of the right operand. Turned: a row of memory is a row of the operand, else a column.
    fn element(&self, column: usize, row: usize, turned: bool) -> u64 {
        let (column, row) = (column as u64, row as u64);
        let at = match turned {
            false => self.start + column / 8 * self.down + column % 8 * 128 + row * 2,
            true => self.start + column / 64 * self.across + column % 64 * 2 + row / 8 * self.down + row % 8 * 128,
        };
        at ^ (at >> 7 & 7) << 4
    }
}
