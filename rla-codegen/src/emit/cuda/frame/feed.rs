//! Prepare beside the first sequential kernel, which it feeds. A chain of few heads waits more than it works, so a block of prepare has
//! room on each of its multiprocessors. All are there at once, and each takes one chunk after the other in the order in which the chain
//! comes to them. The chain starts when all of them have, so that it never waits for a block that has no place.

use super::Frame;
use super::chunks::{Part, chunk_threads};
use super::copiers::{Fetch, REGISTERS, at_launch};
use crate::emit::cuda::stage::Carry;
use crate::emit::cuda::{Error, Kernel, Pass};
use crate::emit::text::Text;

/// Four warps, which divide registers among threads together.
pub(super) const QUAD: usize = 128;

/// Registers of a thread of a fed chain: of the four warps that compute, of those that copy, and of all at launch.
pub(super) const WORKING: usize = 224;
pub(super) const COPYING: usize = 80;
const AT_LAUNCH: usize = (WORKING + COPYING) / 2;

/// Registers with which a thread of prepare makes do though alone it has more, and as many as it can have.
const ENOUGH: usize = 100;
const MOST: usize = 248;

/// Shared memory of a multiprocessor that each block takes beside its own.
const RESERVED: usize = 1024;

/// How a multiprocessor is divided between a block of prepare and one of the chain that it feeds.
#[derive(Clone, Copy)]
pub(super) struct Feeding {
    /// Shared memory for the chain's block.
    pub room: usize,
    /// Registers of a thread of prepare.
    pub registers: usize,
}

impl Frame<'_> {
    /// Whether prepare runs beside a group's sequential kernel.
    pub(super) fn is_fed(&self, g: usize) -> bool {
        g == 0 && self.feeding.is_some()
    }

    /// Registers of a thread of a group's chain at launch, where they are fewer than there are.
    pub(super) fn registers_of_chain(&self, g: usize) -> usize {
        if self.is_fed(g) { AT_LAUNCH } else { 0 }
    }

    /// The first sequential kernel where prepare runs beside it: where it is a chain and there is room.
    pub(super) fn feed(&mut self, prepare: &Part) -> Result<Option<Kernel>, Error> {
        let Some(group) = self.stages.groups.first().filter(|_| self.config.feeds).cloned() else {
            return Ok(None);
        };
        let Carry::Chain(chain) = &group.carry else { return Ok(None) };
        self.feeding = self.beside_chain(prepare);
        let kernel = if self.feeding.is_some() { self.chain(0, &group, chain)? } else { None };
        if kernel.is_none() {
            self.feeding = None;
        }
        Ok(kernel)
    }

    /// What a block of prepare leaves.
    fn beside_chain(&self, prepare: &Part) -> Option<Feeding> {
        let (threads, blocks) = chunk_threads("prepare", self.sizes().chunk, &prepare.written);
        let left = (REGISTERS - 2 * QUAD * AT_LAUNCH) / threads / 8 * 8;
        let alone = at_launch(threads * blocks);
        if left < alone.min(ENOUGH) {
            return None;
        }
        let block = prepare.written.shared.next_multiple_of(128) + RESERVED;
        let room = self.config.shared.checked_sub(block)?;
        Some(Feeding { room, registers: left.min(MOST) })
    }

    /// Opens the loop of a block of prepare over chunks.
    pub(super) fn open_feeding(&self, out: &mut Text) {
        out.line("const u32 turns = (u32)x.sequences.slots(CHUNK) * (u32)x.heads;");
        out.line("hand_on_nothing(x.ready, turns);");
        out.line("for (u32 turn = blockIdx.x; turn < turns; turn += gridDim.x) {");
    }

    /// Closes it.
    pub(super) fn close_feeding(&self, out: &mut Text) {
        out.line("hand_on_chunk(x.ready + turn);");
        out.line("}");
    }

    /// Whether prepare writes to what lies at the pointer of this name.
    fn is_prepares(&self, name: &str) -> bool {
        name == "record" || name == "kept" && self.pass == Pass::ForwardSave
    }

    /// Whether a copying warp of a group's chain waits for prepare.
    pub(super) fn waits_for_prepare<'a>(&self, g: usize, mut fetched: impl Iterator<Item = &'a Fetch>) -> bool {
        self.is_fed(g) && fetched.any(|fetch| fetch.base().is_some_and(|name| self.is_prepares(name)))
    }

    /// Before the loop of a copying warp that waits.
    pub(super) fn start_waiting(&self, out: &mut Text) {
        let back = self.backward();
        out.line(format!("const i64 turn = x.sequences.first_turn<{back}>(sequence, CHUNK, chunks);"));
        out.line("Fed fed = {x.ready + turn * x.heads + head, x.sequences.together() * x.heads, chunks, 0};");
    }

    /// What is launched behind the chain relies on prepare's end too.
    pub(super) fn end_feeding(&self, g: usize, out: &mut Text) {
        if self.is_fed(g) {
            out.line("wait_for_end();  // of prepare: what is launched behind this kernel relies on that");
        }
    }
}
