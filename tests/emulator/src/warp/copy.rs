//! Copies to shared memory that go on while the warp does: of 16 bytes a lane, in groups, and of many bytes, with a barrier.
use super::access::aligned;
use super::{Context, Lanes, Warp, lanes, shared};
use crate::block::Bulk;
use crate::program::Space;
use crate::race::By;
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug)]
struct Copy {
    to: u64,
    of: u64,
    bytes: usize,
}

/// A lane's copies: those since the last group, and the groups under way.
#[derive(Clone, Debug, Default)]
struct Queue {
    open: Vec<Copy>,
    groups: VecDeque<Vec<Copy>>,
    /// Groups that were ended.
    ended: u32,
}

/// The copies of all lanes.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies([Queue; 32]);

impl Copies {
    /// Ends the lanes' groups.
    pub fn commit(&mut self, mask: u32) {
        for lane in lanes(mask) {
            let queue = &mut self.0[lane];
            queue.groups.push_back(std::mem::take(&mut queue.open));
            queue.ended += 1;
        }
    }

    /// Refuses a warp that ends with copies under way: nobody knows when they arrive.
    pub fn none_left(&self) -> Result<(), String> {
        match self.0.iter().any(|q| !q.open.is_empty() || q.groups.iter().any(|g| !g.is_empty())) {
            true => Err("ends with copies under way".into()),
            false => Ok(()),
        }
    }
}

impl Warp {
    /// Starts a copy of each lane.
    pub(super) fn start_copies(
        &mut self,
        to: &Lanes,
        of: &Lanes,
        bytes: usize,
        mask: u32,
        context: &mut Context,
    ) -> Result<(), String> {
        for lane in lanes(mask) {
            let copy = Copy { to: to[lane], of: of[lane], bytes };
            aligned(copy.to, bytes)?;
            // where it comes from is checked now: a late copy is refused where it was started
            self.read(Space::Global, copy.of, bytes, context)?;
            let (block, offset) = self.shared_place(copy.to, context)?;
            let by = By::Copies(self.copies.0[lane].ended + 1);
            context.races(|races| races.write(self.index, by, block, offset, bytes).err()).map_or(Ok(()), Err)?;
            if !context.late {
                self.copy(copy, context)?;
            }
            let done = Copy { bytes: if context.late { bytes } else { 0 }, ..copy };
            if done.bytes > 0 {
                self.copies.0[lane].open.push(done);
            }
        }
        Ok(())
    }

    fn copy(&self, copy: Copy, context: &mut Context) -> Result<(), String> {
        let bytes = self.read(Space::Global, copy.of, copy.bytes, context)?.to_vec();
        self.written(Space::Shared, copy.to, copy.bytes, context)?.copy_from_slice(&bytes);
        Ok(())
    }

    /// Waits until at most so many groups of each lane are under way; none of any, committed or not.
    pub(super) fn finish_copies(
        &mut self,
        most: Option<usize>,
        mask: u32,
        context: &mut Context,
    ) -> Result<(), String> {
        let mut done = u32::MAX;
        for lane in lanes(mask) {
            let queue = &mut self.copies.0[lane];
            let mut ready = vec![];
            while queue.groups.len() > most.unwrap_or(0) {
                ready.extend(queue.groups.pop_front().unwrap_or_default());
            }
            if most.is_none() {
                ready.append(&mut queue.open);
                queue.ended += 1;
            }
            done = done.min(queue.ended - queue.groups.len() as u32);
            for copy in ready {
                self.copy(copy, context)?;
            }
        }
        context.races(|races| races.waited(self.index, By::Copies(done)));
        Ok(())
    }

    /// Starts a copy of many bytes, to the same place in each of some blocks.
    pub(super) fn bulk(
        &mut self,
        to: u64,
        of: u64,
        bytes: usize,
        barrier: u64,
        blocks: Option<u64>,
        context: &mut Context,
    ) -> Result<(), String> {
        if !(bytes.is_multiple_of(16) && of.is_multiple_of(16) && to.is_multiple_of(16)) {
            return Err(format!("a copy of {bytes} bytes from {of:#x} to {to:#x}; all are multiples of 16"));
        }
        context.memory.read(of, bytes)?;
        let (own, offset) = self.shared_place(to, context)?;
        let (_, barrier) = self.shared_place(barrier, context)?;
        for block in 0..context.blocks.len() {
            if blocks.map_or(block == own, |mask| mask >> block & 1 != 0) {
                let told = match context.races {
                    Some(races) => Some(races.borrow_mut().bulk(self.index, block, offset, bytes)?),
                    None => None,
                };
                let bulk = Bulk { to: offset, of, bytes, barrier, told };
                if context.late {
                    context.blocks[block].bulks.push(bulk);
                } else {
                    finish(bulk, block, context)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the phase of a parity is over; copies that arrive late arrive when they are asked for.
    pub(super) fn test(&mut self, at: u64, parity: u64, context: &mut Context) -> Result<bool, String> {
        let (block, offset) = self.shared_place(at, context)?;
        if self.over(block, offset, parity, context)? {
            return Ok(true);
        }
        let mut waiting = std::mem::take(&mut context.blocks[block].bulks);
        let ready: Vec<Bulk> = waiting.extract_if(.., |bulk| bulk.barrier == offset).collect();
        context.blocks[block].bulks = waiting;
        for bulk in ready {
            finish(bulk, block, context)?;
        }
        self.over(block, offset, parity, context)
    }

    fn over(&self, block: usize, offset: u64, parity: u64, context: &mut Context) -> Result<bool, String> {
        let over = context.blocks[block].over(offset, parity)?;
        if let (true, Some(told)) = (over, context.blocks[block].told_by(offset)) {
            context.races(|races| races.learn(self.index, told));
        }
        Ok(over)
    }
}

fn finish(bulk: Bulk, block: usize, context: &mut Context) -> Result<(), String> {
    let bytes = context.memory.read(bulk.of, bulk.bytes)?.to_vec();
    let block = &mut context.blocks[block];
    shared::write(block, bulk.to, bulk.bytes)?.copy_from_slice(&bytes);
    block.came(bulk.barrier, bulk.bytes, bulk.told.as_ref())
}
