//! Text that addresses the memory of the caller and of records.

use std::collections::{BTreeMap, BTreeSet};

use super::Frame;
use crate::emit::cuda::Pass;
use crate::emit::cuda::block::Rows;
use crate::emit::cuda::place::Elem;
use crate::emit::graph::Kind;
use crate::emit::text::Text;
use crate::tile::{Axis, Leaf, Shape};

/// A matrix of the caller, or a row of numbers.
pub(super) fn view_kind(leaf: &Leaf) -> Option<(&'static str, usize)> {
    match leaf {
        Leaf::Input(i) => Some(("in", *i)),
        Leaf::OutputGrad(i) => Some(("og", *i)),
        _ => None,
    }
}

impl Frame<'_> {
    pub(super) fn elem_of(&self, leaf: &Leaf) -> Elem {
        match leaf {
            Leaf::Input(i) => self.config.inputs[*i],
            _ => self.config.output,
        }
    }

    /// Which head of a view a value head reads.
    pub(super) fn head_of(&self, leaf: &Leaf) -> &'static str {
        match leaf {
            Leaf::Input(i) if self.config.per_key_head[*i] => "ch.key_head",
            _ => "ch.head",
        }
    }

    pub(super) fn view_of(&self, leaf: &Leaf) -> String {
        match leaf {
            Leaf::Input(i) => format!("x.inputs[{i}]"),
            Leaf::OutputGrad(i) => format!("x.output_grads[{i}]"),
            other => unreachable!("{other:?} is no view"),
        }
    }

    /// Inputs in the type of products, where that has 16 bits.
    pub(super) fn direct(&self) -> BTreeMap<usize, Rows> {
        let mut out = BTreeMap::new();
        for (n, node) in self.graph.nodes.iter().enumerate() {
            let Kind::Leaf(leaf) = &node.kind else { continue };
            let product = self.config.product;
            let same = view_kind(leaf).is_some() && self.elem_of(leaf) == product && product != Elem::F32;
            if same && self.pass != Pass::Decode && node.shape.rows == Axis::Token && self.graph.is_matrix(n) {
                let zero = matches!(leaf, Leaf::OutputGrad(_));
                out.insert(n, Rows { view: self.view_of(leaf), head: self.head_of(leaf), zero });
            }
        }
        out
    }

    /// Functions that read the caller's memory; `late`: a block's first threads read numbers of tokens, once.
    pub(super) fn readers(&self, leaves: &BTreeSet<usize>, late: bool, out: &mut Text) {
        for n in leaves {
            let Kind::Leaf(leaf) = &self.graph.nodes[*n].kind else { continue };
            if let Leaf::Const(i) = leaf {
                out.line(format!("const float const{i} = (float)x.constants[{i}];"));
            }
            let Some((name, i)) = view_kind(leaf) else { continue };
            let (view, head, elem) = (self.view_of(leaf), self.head_of(leaf), self.elem_of(leaf).c());
            let per_token = self.graph.nodes[*n].shape.rows == Axis::Token;
            if per_token {
                let mut rows = format!("rows_of<const {elem}>({view}, ch.batch, ch.first, {head})");
                // else the address of numbers is worked out by the few threads that read them
                if !late || self.graph.is_matrix(*n) {
                    out.line(format!("const {elem}* const {name}{i}_rows = {rows};"));
                    rows = format!("{name}{i}_rows");
                }
                let value = format!("widen({rows}[ch.token(t) * {view}.s1 + n])");
                let value = match leaf {
                    Leaf::OutputGrad(_) => format!("{view}.ptr && t < ch.valid ? {value} : 0.f"),
                    _ => value,
                };
                out.line(format!("auto {name}{i} = [&](int t, int n) {{ return {value}; }};"));
            } else {
                out.line(format!("const {elem}* const {name}{i}_rows = rows_of<const {elem}>({view}, 0, 0, {head});"));
                out.line(format!("auto {name}{i} = [&](int t, int n) {{ return widen({name}{i}_rows[n]); }};"));
            }
        }
    }

    /// Records between kernels: name and bytes of a chunk and value head.
    pub(super) fn records(&self) -> [(&'static str, usize); 3] {
        let record =
            if self.backward() && self.prepared_at.is_some() { self.kept.chunk.stride() } else { self.record.stride() };
        [("record", record), ("passed", self.passed.chunk.stride()), ("kept", self.kept.chunk.stride())]
    }

    /// Where a buffer of records starts.
    pub(super) fn base(&self, name: &str) -> String {
        format!("(char*)__builtin_assume_aligned({}, 128)", self.origin(name))
    }

    /// A number that addresses records, of a kernel that starts when the one before it may still run, and reads some `early`: such reads
    /// may go before all that they do not depend on.
    pub(super) fn now(&self, number: &str, early: bool) -> String {
        if early && self.follows.get() { format!("from_now({number})") } else { number.into() }
    }

    /// The number of a chunk and value head, and where its records start.
    pub(super) fn bases(&self, number: &str, early: bool, out: &mut Text) {
        out.line(format!("const i64 number = {};", self.now(number, early)));
        for (name, bytes) in self.records() {
            if bytes > 0 {
                out.line(format!("char* const {name} = {} + number * {bytes};", self.base(name)));
            }
        }
    }

    /// (source or target of a state at the sequence's ends: read, written), names of the argument's fields.
    pub(super) fn state_fields(&self) -> (&'static str, &'static str) {
        match self.pass {
            Pass::Backward => ("state_grads_in", "state_grads_out"),
            Pass::Decode => ("states_in", "states_in"),
            _ => ("states_in", "states_out"),
        }
    }

    /// Address of element (r, c) of the program's state in the caller's memory.
    pub(super) fn state_element(&self, state: usize, field: &str, row: &str, col: &str) -> String {
        let sides = self.program.states[state];
        let view = format!("x.{field}[{state}]");
        let entry = if self.pass == Pass::Decode { "pool" } else { "sequence" };
        let base = format!("rows_of<float>({view}, {entry}, head, 0)");
        if sides.free == Axis::One {
            return format!("{base}[({col}) * {view}.s3]");
        }
        if sides.contracted == Axis::One {
            return format!("{base}[({row}) * {view}.s3]");
        }
        let (r, c) = if sides.transposed { ("s3", "s2") } else { ("s2", "s3") };
        format!("{base}[(i64)({row}) * {view}.{r} + (i64)({col}) * {view}.{c}]")
    }

    pub(super) fn state_shape(&self, state: usize) -> Shape {
        let sides = self.program.states[state];
        Shape::new(sides.free, sides.contracted)
    }
}
