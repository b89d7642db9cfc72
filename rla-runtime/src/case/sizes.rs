//! Sizes of a call, read off the shapes of its tensors: the first tensor that has an axis tells its size, the others must agree.
use super::CaseError;
use rla_codegen::data::Dims;
use rla_dsl::recurrence::{Input, InputKind, Recurrence, Side, State, Type};
use std::collections::BTreeMap;

/// An axis of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Axis {
    Batch,
    Tokens,
    KeyHeads,
    ValueHeads,
    Sequences,
    Side(Side),
}

/// Axes of an input or parameter.
pub(super) fn input_axes(input: &Input) -> Vec<Axis> {
    let mut axes = match input.kind {
        InputKind::Input => vec![Axis::Batch, Axis::Tokens],
        InputKind::Param => vec![],
    };
    axes.push(if input.per_key_head() { Axis::KeyHeads } else { Axis::ValueHeads });
    axes.extend(input.side.map(Axis::Side));
    axes
}

/// Axes of a state.
pub(super) fn state_axes(state: &State) -> Vec<Axis> {
    let mut axes = vec![Axis::Sequences, Axis::ValueHeads];
    axes.extend(state.rows.map(Axis::Side));
    axes.push(Axis::Side(state.cols));
    axes
}

/// Axes of an output.
pub(super) fn output_axes(recurrence: &Recurrence, index: usize) -> Vec<Axis> {
    let mut axes = vec![Axis::Batch, Axis::Tokens, Axis::ValueHeads];
    match recurrence.output_type(index) {
        Type::Scalar => {}
        Type::Column(side) | Type::Row(side) => axes.push(Axis::Side(side)),
        Type::Matrix(rows, cols) => axes.extend([Axis::Side(rows), Axis::Side(cols)]),
    }
    axes
}

/// The sizes known so far.
pub(super) struct Sizes<'a> {
    recurrence: &'a Recurrence,
    known: BTreeMap<Axis, usize>,
}

impl<'a> Sizes<'a> {
    pub fn new(recurrence: &'a Recurrence) -> Sizes<'a> {
        Sizes { recurrence, known: BTreeMap::new() }
    }

    pub fn know(&mut self, axis: Axis, size: usize) {
        self.known.insert(axis, size);
    }

    pub fn get(&self, axis: Axis) -> Option<usize> {
        self.known.get(&axis).copied()
    }

    /// Takes a tensor's shape in, or refuses it.
    pub fn unify(&mut self, name: &str, axes: &[Axis], shape: &[usize]) -> Result<(), CaseError> {
        let fits = |(axis, size): (&Axis, &usize)| self.known.get(axis).is_none_or(|known| known == size);
        if axes.len() != shape.len() || !axes.iter().zip(shape).all(fits) {
            let expected: Vec<String> = axes.iter().map(|&axis| self.describe(axis)).collect();
            let expected = format!("[{}]", expected.join(", "));
            return Err(CaseError::Shape { name: name.to_string(), expected, found: shape.to_vec() });
        }
        self.known.extend(axes.iter().copied().zip(shape.iter().copied()));
        Ok(())
    }

    fn describe(&self, axis: Axis) -> String {
        match self.known.get(&axis) {
            Some(size) => format!("{} = {size}", self.name(axis)),
            None => self.name(axis),
        }
    }

    fn name(&self, axis: Axis) -> String {
        match axis {
            Axis::Batch => "B".to_string(),
            Axis::Tokens => "T".to_string(),
            Axis::KeyHeads => "H".to_string(),
            Axis::ValueHeads => "HV".to_string(),
            Axis::Sequences => "N".to_string(),
            Axis::Side(Side::KEY) => "K".to_string(),
            Axis::Side(Side::VALUE) => "V".to_string(),
            Axis::Side(side) => self.recurrence.sides[side.0 as usize].clone(),
        }
    }

    /// The sizes of the call. Where only one kind of head is seen the other equals it; a side that nothing has is 1.
    pub fn dims(&self, packed: bool) -> Result<Dims, CaseError> {
        let known = |axis: Axis| self.known.get(&axis).copied();
        let need = |axis: Axis| known(axis).ok_or_else(|| CaseError::UnknownSize(self.name(axis)));
        let batch = if packed { Some(1) } else { known(Axis::Sequences) };
        let value_heads = known(Axis::ValueHeads).or(known(Axis::KeyHeads));
        let value_heads = value_heads.ok_or_else(|| CaseError::UnknownSize(self.name(Axis::ValueHeads)))?;
        let sizes = (0..self.recurrence.sides.len()).map(|i| {
            let side = Side(i as u16);
            if self.used(side) { need(Axis::Side(side)) } else { Ok(1) }
        });
        Ok(Dims {
            sizes: sizes.collect::<Result<_, _>>()?,
            batch: known(Axis::Batch).or(batch).ok_or_else(|| CaseError::UnknownSize("B".to_string()))?,
            tokens: need(Axis::Tokens)?,
            key_heads: known(Axis::KeyHeads).unwrap_or(value_heads),
            value_heads,
        })
    }

    fn used(&self, side: Side) -> bool {
        let of_type = |ty: Type| match ty {
            Type::Scalar => false,
            Type::Column(a) | Type::Row(a) => a == side,
            Type::Matrix(a, b) => a == side || b == side,
        };
        self.recurrence.inputs.iter().any(|i| i.side == Some(side))
            || self.recurrence.states.iter().any(|s| s.cols == side || s.rows == Some(side))
            || self
                .recurrence
                .exprs
                .iter()
                .any(|e| of_type(e.ty) || matches!(e.kind, rla_dsl::recurrence::ExprKind::Dim(dim) if dim == side))
    }
}
