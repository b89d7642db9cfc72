//! Loads and stores: each address is of memory that is there, and a multiple of what is read or written.
use super::{Context, Lanes, Warp, lanes, shared};
use crate::lower::SHARED_WINDOW;
use crate::program::{From, Space};
use crate::ptx::Register;
use crate::race::By;

/// What an access to shared memory is to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Reads,
    Writes,
    /// Writes a flag that others wait for.
    Tells,
    /// Reads one.
    Awaits,
}

impl Warp {
    /// Looks for races, where they are looked for.
    pub(super) fn watch(
        &self,
        space: Space,
        at: &Lanes,
        bytes: usize,
        mask: u32,
        access: Access,
        context: &mut Context,
    ) -> Result<(), String> {
        if context.races.is_none() {
            return Ok(());
        }
        for lane in lanes(mask) {
            let (Space::Shared, at) = Warp::space(space, at[lane]) else { continue };
            let (block, offset) = self.shared_place(at, context)?;
            let index = self.index;
            match access {
                Access::Reads => context.races(|r| r.read(index, By::Warp, block, offset, bytes).err()),
                Access::Writes => context.races(|r| r.write(index, By::Warp, block, offset, bytes).err()),
                Access::Tells => {
                    let told = self.tell(context).unwrap_or_default();
                    context.blocks[block].flag(offset, &told);
                    None
                }
                Access::Awaits => {
                    let told = context.blocks[block].flagged(offset);
                    told.into_iter().for_each(|told| context.races(|races| races.learn(index, told)));
                    None
                }
            }
            .map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// Reads so many bytes into each register.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn load(
        &mut self,
        space: Space,
        bytes: usize,
        signed: bool,
        to: &[Register],
        at: &Lanes,
        mask: u32,
        context: &Context,
    ) -> Result<(), String> {
        let all = bytes * to.len();
        for lane in lanes(mask) {
            let found = self.read(space, at[lane], all, context)?;
            for (i, register) in to.iter().enumerate() {
                let part = &found[i * bytes..(i + 1) * bytes];
                let value = part.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
                let unused = 64 - 8 * bytes as u32;
                let value = if signed { ((value << unused) as i64 >> unused) as u64 } else { value };
                self.registers[*register as usize][lane] = value;
            }
        }
        Ok(())
    }

    /// Writes so many bytes of each number.
    pub(super) fn store(
        &mut self,
        space: Space,
        bytes: usize,
        of: &[From],
        at: &Lanes,
        mask: u32,
        context: &mut Context,
    ) -> Result<(), String> {
        let values: Vec<Lanes> = of.iter().map(|from| self.fetch(*from)).collect();
        for lane in lanes(mask) {
            let target = self.written(space, at[lane], bytes * of.len(), context)?;
            for (part, value) in target.chunks_exact_mut(bytes).zip(&values) {
                part.copy_from_slice(&value[lane].to_le_bytes()[..bytes]);
            }
        }
        Ok(())
    }

    /// The space of an address, and the address in it.
    fn space(space: Space, at: u64) -> (Space, u64) {
        match space {
            Space::Generic if at >> 32 == SHARED_WINDOW >> 32 => (Space::Shared, at - SHARED_WINDOW),
            Space::Generic => (Space::Global, at),
            space => (space, at),
        }
    }

    /// Bytes at an address.
    pub(super) fn read<'c>(
        &self,
        space: Space,
        at: u64,
        bytes: usize,
        context: &'c Context,
    ) -> Result<&'c [u8], String> {
        let (space, at) = Warp::space(space, at);
        aligned(at, bytes)?;
        match space {
            Space::Shared => {
                let (block, offset) = self.shared_place(at, context)?;
                shared::read(&context.blocks[block], offset, bytes)
            }
            Space::Parameters => {
                let found = context.parameters.get(at as usize..at as usize + bytes);
                found.ok_or_else(|| format!("{bytes} bytes at {at} of the parameters"))
            }
            _ => context.memory.read(at, bytes),
        }
    }

    /// The same, to be written.
    pub(super) fn written<'c>(
        &self,
        space: Space,
        at: u64,
        bytes: usize,
        context: &'c mut Context,
    ) -> Result<&'c mut [u8], String> {
        let (space, at) = Warp::space(space, at);
        aligned(at, bytes)?;
        match space {
            Space::Shared => {
                let (block, offset) = self.shared_place(at, context)?;
                shared::write(&mut context.blocks[block], offset, bytes)
            }
            Space::Parameters => Err("parameters are only read".into()),
            _ => context.memory.write(at, bytes),
        }
    }
}

/// Numbers lie at multiples of their size.
pub(super) fn aligned(at: u64, bytes: usize) -> Result<(), String> {
    if at.is_multiple_of(bytes as u64) {
        Ok(())
    } else {
        Err(format!("{bytes} bytes at {at:#x}, which is no multiple"))
    }
}
