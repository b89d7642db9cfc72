//! Where one sequence and head of a tensor lies: strides resolved once a call, an address once a task.
use crate::problem::{Sequence, StateLayout};
use crate::tensor::{DType, View, ViewMut};
use rla_codegen::abi;
use rla_dsl::recurrence::{Input, InputKind};

/// A sequence and a value head.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    /// Its tokens.
    pub sequence: Sequence,
    /// Value head.
    pub head: usize,
    /// The key head that it reads.
    pub key_head: usize,
}

/// A tensor of tokens, or a parameter.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pointer: *mut u8,
    pub dtype: DType,
    batch: usize,
    token: usize,
    head: usize,
    per_key_head: bool,
}

pub(super) const ABSENT: abi::View =
    abi::View { ptr: std::ptr::null_mut(), stride: 0, dtype: abi::DTYPE_F32, accumulate: 0 };

impl Place {
    /// An input, or its gradient.
    pub fn input(decl: &Input, view: &View) -> Place {
        let strides = view.layout().strides();
        let (batch, token, head) = match decl.kind {
            InputKind::Input => (strides[0], strides[1], strides[2]),
            InputKind::Param => (0, 0, strides[0]),
        };
        let pointer = view.pointer().cast_mut();
        Place { pointer, dtype: view.dtype(), batch, token, head, per_key_head: decl.per_key_head() }
    }

    /// The same for memory that is written; the address comes from the exclusive borrow.
    pub fn input_mut(decl: &Input, view: &mut ViewMut) -> Place {
        let pointer = view.pointer();
        Place { pointer, ..Place::input(decl, &view.as_view()) }
    }

    /// An output's gradient.
    pub fn output(view: &View) -> Place {
        let strides = view.layout().strides();
        let pointer = view.pointer().cast_mut();
        let (batch, token, head) = (strides[0], strides[1], strides[2]);
        Place { pointer, dtype: view.dtype(), batch, token, head, per_key_head: false }
    }

    /// An output.
    pub fn output_mut(view: &mut ViewMut) -> Place {
        let pointer = view.pointer();
        Place { pointer, ..Place::output(&view.as_view()) }
    }

    /// One sequence and head.
    pub fn at(&self, spot: Spot) -> abi::View {
        let head = if self.per_key_head { spot.key_head } else { spot.head };
        let offset = spot.sequence.batch * self.batch + spot.sequence.start * self.token + head * self.head;
        abi::View {
            ptr: self.pointer.wrapping_add(offset * self.dtype.size()),
            stride: self.token as isize,
            dtype: match self.dtype {
                DType::Bf16 => abi::DTYPE_BF16,
                DType::F16 => abi::DTYPE_F16,
                _ => abi::DTYPE_F32,
            },
            accumulate: 0,
        }
    }
}

/// A state of all sequences, or a pool of slots.
#[derive(Clone, Copy)]
pub(super) struct StatePlace {
    pointer: *mut f32,
    sequence: usize,
    head: usize,
    row: usize,
    column: usize,
}

impl StatePlace {
    /// A zero state where it is read, not wanted where it is written.
    pub const ABSENT: StatePlace =
        StatePlace { pointer: std::ptr::null_mut(), sequence: 0, head: 0, row: 0, column: 0 };

    /// A state to read.
    pub fn read(view: &View, layout: StateLayout) -> StatePlace {
        let strides = view.layout().strides();
        // a last dimension of 1 may come with any stride; it is never stepped
        let (row, column) = match (strides.len(), layout) {
            (4, StateLayout::ValueMajor) => (strides[2], 1),
            (4, StateLayout::KeyMajor) => (1, strides[2]),
            _ => (0, 1),
        };
        let pointer = view.pointer().cast_mut().cast();
        StatePlace { pointer, sequence: strides[0], head: strides[1], row, column }
    }

    /// A state to write.
    pub fn write(view: &mut ViewMut, layout: StateLayout) -> StatePlace {
        let pointer = view.pointer().cast();
        StatePlace { pointer, ..StatePlace::read(&view.as_view(), layout) }
    }

    /// One sequence (or slot) and head.
    pub fn at(&self, index: usize, head: usize) -> abi::StateView {
        let offset = index * self.sequence + head * self.head;
        abi::StateView {
            ptr: if self.pointer.is_null() { self.pointer } else { self.pointer.wrapping_add(offset) },
            row_stride: self.row as isize,
            col_stride: self.column as isize,
        }
    }
}
