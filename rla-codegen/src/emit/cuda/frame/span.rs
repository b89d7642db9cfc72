//! Spans: a block of backward's finish takes several chunks at once, so that it reads a state and its gradient once for all of
//! them, and the sequential kernels hand those on once a span.
//!
//! Rows of tokens come from each chunk's own record, which is why they must be the same in any division of the sequence. What
//! prepare made of single chunks is of no use: a span makes it again.

use std::collections::BTreeSet;

use super::Frame;
use crate::emit::cuda::block::Block;
use crate::emit::cuda::place::Order;
use crate::emit::cuda::stage::Carry;
use crate::emit::cuda::{Error, Grid, Kernel, Pass};
use crate::emit::graph::Kind;
use crate::emit::text::Text;
use crate::tile::{Axis, Leaf};

impl Frame<'_> {
    /// Whether finish can take spans of more chunks than one, and forward keep what it reads.
    pub(super) fn check_span(&self) -> Result<(), Error> {
        let refused = |what: String| Err(Error::Schedule(format!("a span of {} chunks: {what}", self.config.span)));
        if self.config.span == 1 {
            return Ok(());
        }
        if self.stages.groups.iter().any(|g| matches!(g.carry, Carry::Walk)) {
            return refused("a state is not carried as a chain".into());
        }
        let roots = self.finish_roots();
        if !self.backward() {
            return if roots.is_empty() { Ok(()) } else { refused("forward has results that need every state".into()) };
        }
        let state = |n: usize| matches!(self.graph.nodes[n].kind, Kind::Leaf(Leaf::State(_)));
        let made = self.record.items.iter().map(|(n, ..)| *n).collect();
        if self.behind(made, &BTreeSet::new()).into_iter().any(state) {
            return refused("prepare needs every state".into());
        }
        let roots: Vec<usize> = roots.iter().map(|(_, _, r)| r.node).collect();
        let (record, passed) = self.hand_over(&roots, None);
        if let Some(n) = record.first() {
            return refused(format!("finish needs %{n}, {:?}, of prepare", self.graph.nodes[*n].kind));
        }
        let carried = |n: &usize| self.stages.leaves.values().any(|l| l == n);
        for n in self.behind(roots, &passed) {
            let saved = matches!(self.graph.nodes[n].kind, Kind::Leaf(Leaf::Saved(_)));
            let rows = saved || passed.contains(&n) && !carried(&n);
            if rows && !self.is_of_tokens(n) {
                return refused(format!("%{n} is not a token's alone"));
            }
            let of_chunks = matches!(
                self.graph.nodes[n].kind,
                Kind::Solve { .. }
                    | Kind::Inverse(_)
                    | Kind::Substitute { .. }
                    | Kind::System { .. }
                    | Kind::DecayDot { .. }
                    | Kind::DecayApply { .. }
                    | Kind::DecayRect { .. }
            );
            if of_chunks && !passed.contains(&n) {
                return refused(format!("%{n} is made for single chunks"));
            }
        }
        Ok(())
    }

    /// Whether a value's rows are of channels of tokens, the same in any division.
    fn is_of_tokens(&self, node: usize) -> bool {
        let value = self.graph.nodes[node].value;
        let whole = value.is_some_and(|v| self.config.of_tokens.get(v.0 as usize) == Some(&true));
        whole && self.is_rows(self.graph.nodes[node].shape)
    }

    /// What is behind values, themselves included; not beyond `up_to`.
    fn behind(&self, mut todo: Vec<usize>, up_to: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut seen = BTreeSet::new();
        while let Some(n) = todo.pop() {
            if seen.insert(n) && !up_to.contains(&n) {
                todo.extend(self.graph.nodes[n].kind.operands().iter().map(|r| r.node));
            }
        }
        seen
    }

    /// Finish, a span a block.
    pub(super) fn per_span<'b>(&'b self, mut block: Block<'b>, mut given: Text) -> Result<(Kernel, usize), Error> {
        let (span, chunk) = (self.config.span, self.sizes().chunk);
        block.sizes = &self.span_sizes;
        let [passed, kept] = [&self.passed, &self.kept].map(|handed| handed.bytes());
        let mut pieces = vec![];
        for (n, place) in &mut block.given {
            if self.graph.nodes[*n].shape.rows == Axis::Token {
                place.order = Order::Pieces(chunk);
                let of = if self.passed.chunk.item(*n).is_some() { passed } else { kept };
                let next = of.chunk / place.elem.bytes();
                // the first record's rows where there is no other: they are read, but not taken
                given.line(format!("const i64 {}_next = there == CHUNK ? x.heads * {next} : 0;", place.name));
                pieces.push(place.name.clone());
            }
        }
        let written = block.write();
        let refused = |what: String| Err(Error::Schedule(format!("a span of {span} chunks: {what}")));
        if written.scratch > 0 {
            return refused("a block does not fit into shared memory".into());
        }
        // an operand's text has the pointer alone
        let whole = |name: &&String| written.body.iter().any(|line| line.contains(&format!("{{{name}}}")));
        if let Some(name) = pieces.iter().find(whole) {
            return refused(format!("{name} is an operand as it lies, in pieces"));
        }
        let mut out = Text::default();
        self.place_of_block(&mut out);
        self.wait_for_progress(&mut out);
        out.line(format!("constexpr int SPAN = {span};  // chunks that this block takes"));
        out.line(format!("const i64 number = {};", self.now("ch.slot * (int)x.heads + head", true)));
        out.line("// the first of them, and rows of those that are there");
        let first =
            self.now("(x.sequences.slot(ch.sequence, CHUNK / SPAN) + ch.index * SPAN) * (int)x.heads + head", true);
        out.line(format!("const int first = {first};"));
        out.line("const int there = (ch.valid + CHUNK / SPAN - 1) / (CHUNK / SPAN) * (CHUNK / SPAN);");
        out.line("const i64 chunks = (i64)x.sequences.slot(x.sequences.count, CHUNK / SPAN) * x.heads;");
        for (name, bytes) in [("passed", passed), ("kept", kept)] {
            let base = self.base(name);
            out.line(format!("char* const {name} = {base} + (i64)first * {};", bytes.chunk));
            out.line(format!("char* const {name}_span = {base} + chunks * {} + number * {};", bytes.chunk, bytes.span));
        }
        self.chunk_kernel("finish", Grid::Spans, chunk * span, &written, given, out)
    }

    /// Where a sequence's spans are, for a kernel that goes through its chunks.
    pub(super) fn spans_of_sequence(&self, out: &mut Text) {
        if self.hands_on_spans() {
            out.line(format!("constexpr int SPAN = {};  // chunks that finish takes at once", self.config.span));
            out.line("const int first_span = x.sequences.slot(sequence, SPAN * CHUNK);");
            out.line("const i64 all_chunks = (i64)x.sequences.slot(x.sequences.count, CHUNK) * x.heads;");
        }
    }

    /// What is done at the end of a span where the chunks start: before its first chunk, or backward its last.
    pub(super) fn ends_of_span(&self, out: &mut Text, work: impl FnOnce(&mut Text)) {
        if !self.hands_on_spans() {
            return work(out);
        }
        out.line("const int k = ch.index;");
        out.line(match self.backward() {
            true => "if (k % SPAN == SPAN - 1 || k == chunks - 1) {",
            false => "if (k % SPAN == 0) {",
        });
        out.line("const i64 span = (i64)(first_span + k / SPAN) * x.heads + head;");
        for (name, handed) in [("passed", &self.passed), ("kept", &self.kept)] {
            let bytes = handed.bytes();
            if bytes.span > 0 {
                let base = self.base(name);
                let start = format!("{base} + all_chunks * {} + span * {}", bytes.chunk, bytes.span);
                out.line(format!("char* const {name}_span = {start};"));
            }
        }
        work(out);
        out.line("}");
    }

    fn hands_on_spans(&self) -> bool {
        self.config.span > 1 && matches!(self.pass, Pass::ForwardSave | Pass::Backward)
    }
}
