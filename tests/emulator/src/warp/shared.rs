//! Addresses of shared memory: a block's own begin at zero, those of the cluster's blocks have the block above bit 24.
use super::{Context, Warp};
use crate::block::Block;
use crate::ptx::module::SHARED;

/// The address in a block of the cluster.
pub(super) fn in_block(at: u64, block: u64) -> u64 {
    (block + 1) << 24 | at & 0xff_ffff
}

fn check(block: &Block, offset: u64, bytes: usize) -> Result<(), String> {
    let (offset, size) = (offset as usize, block.shared.len());
    if offset < SHARED || offset + bytes > size {
        let (size, at) = (size - SHARED, offset as i64 - SHARED as i64);
        return Err(format!("{bytes} bytes at {at} of the block's shared memory of {size}"));
    }
    Ok(())
}

/// Bytes of a block's memory.
pub(super) fn read(block: &Block, offset: u64, bytes: usize) -> Result<&[u8], String> {
    check(block, offset, bytes)?;
    Ok(&block.shared[offset as usize..offset as usize + bytes])
}

/// The same, to be written.
pub(super) fn write(block: &mut Block, offset: u64, bytes: usize) -> Result<&mut [u8], String> {
    check(block, offset, bytes)?;
    Ok(&mut block.shared[offset as usize..offset as usize + bytes])
}

impl Warp {
    /// The block of an address and the offset there.
    pub(super) fn shared_place(&self, at: u64, context: &Context) -> Result<(usize, u64), String> {
        let at = at as u32;
        let block = if at >> 24 == 0 { self.block } else { (at >> 24) as usize - 1 };
        if block >= context.blocks.len() {
            return Err(format!("shared memory at {at:#x} is of no block of the cluster"));
        }
        Ok((block, u64::from(at & 0xff_ffff)))
    }
}
