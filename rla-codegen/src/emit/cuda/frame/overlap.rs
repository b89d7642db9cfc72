//! Backward's finish beside the sequential kernel: it starts while that runs, on multiprocessors that it leaves free, and waits for
//! the chunks that it reads. Slices of a chain say every few chunks how many they have handed on; blocks of finish come in that order.

use super::Frame;
use crate::emit::cuda::stage::Carry;
use crate::emit::text::Text;

impl Frame<'_> {
    /// Whether finish starts while the sequential kernel of a group runs.
    pub(super) fn is_overlapped(&self, g: usize) -> bool {
        let last = g + 1 == self.stages.groups.len();
        self.backward()
            && self.config.beside
            && last
            && matches!(self.stages.groups[g].carry, Carry::Chain(_))
            && !self.finish_roots().is_empty()
    }

    /// Nothing is handed on when a chain starts; finish may start when all of its blocks have said so.
    pub(super) fn start_progress(&self, g: usize, at: usize, out: &mut Text) {
        if self.is_overlapped(g) {
            out.line("int* const progress = x.progress + (sequence * x.heads + head) * SLICES + slice;");
            out.line(format!("int* const told = (int*)(shared + {at});"));
            out.line("if (threadIdx.x == 0) *told = 0, hand_on(progress, 0), __threadfence(), let_next_start();");
            out.line("__syncthreads();");
        }
    }

    /// In the loop of a copying warp, where those that work have ended the step before.
    pub(super) fn say_progress(&self, out: &mut Text) {
        out.line("if (const int done = step - AHEAD - LAG; member == COPIERS - 1 && lane == 0 && done > 0) tell(told, done);");
    }

    /// All chunks are handed on.
    pub(super) fn end_progress(&self, g: usize, out: &mut Text) {
        if self.is_overlapped(g) {
            out.line("if (threadIdx.x < THREADS - 32 * TELLERS) meet();");
            out.line("if (threadIdx.x == 0) tell(told, chunks);");
        }
    }

    /// Which chunk, or span, of which sequence and head a block of finish has: those that are handed on first come first.
    pub(super) fn place_of_block(&self, out: &mut Text) {
        out.line("const int head = blockIdx.x % (u32)x.heads;");
        let of = if self.slices.is_some() { "chunk_of_turn" } else { "chunk_of" };
        out.line(format!("const Chunk ch = {of}(x.sequences, blockIdx.x / (u32)x.heads, head, x.group, CHUNK);"));
    }

    /// Waits until the chunks of a block of finish are handed on.
    pub(super) fn wait_for_progress(&self, out: &mut Text) {
        if self.slices.is_none() {
            return;
        }
        out.line("// from the last chunk on; the first of this block comes last");
        let chunk = self.sizes().chunk;
        out.line("if (ch.valid) {");
        out.line("const int* const progress = x.progress + ((i64)ch.sequence * x.heads + head) * x.slices;");
        out.line(format!("handed_on(progress, x.slices, (u32)(ch.left + {}) / {chunk});", chunk - 1));
        out.line("}");
        out.line("// this kernel ends after the sequential one: what is launched behind it relies on that");
        out.line("if (ch.index == 0) wait_for_end();");
    }
}
