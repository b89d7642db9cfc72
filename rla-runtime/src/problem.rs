//! The sizes of a call, and the shapes that follow from them.
use crate::error::{Error, Result};
use crate::tensor::View;
use rla_build::table::Work;
use rla_codegen::data::Dims;
use rla_codegen::oracle::shape;
use rla_dsl::recurrence::{ExprKind, InputKind, Recurrence, Side};

/// How a matrix state lies in memory. The layout is a type, never guessed from a square shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StateLayout {
    /// Rows by columns as the state is declared, `[N,HV,V,K]` for `value x key`.
    #[default]
    ValueMajor,
    /// Columns by rows, `[N,HV,K,V]` for `value x key`. A vector state has one layout only.
    KeyMajor,
}

/// The type that products' operands are rounded to where inputs have 16 bits; sums are f32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Products {
    /// f32: nothing is rounded.
    #[default]
    F32,
    /// The inputs' own type: permission, not an order. Where no kernel does so, products are in f32.
    Input,
}

/// Sizes of a call: `q` is `[B,T,H,K]`, `v` is `[B,T,HV,V]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// B; 1 where sequences are packed.
    pub batch: usize,
    /// T; the sum of the lengths where sequences are packed.
    pub tokens: usize,
    /// H, the heads of `key` inputs.
    pub key_heads: usize,
    /// HV, a multiple of H: value head h reads key head h / (HV / H).
    pub value_heads: usize,
    /// One size a side, in the recurrence's order: K, V, declared dims.
    pub sizes: Vec<usize>,
    /// Offsets `[N+1]` of packed sequences, from 0 to T; empty sequences are allowed.
    pub cu_seqlens: Option<Vec<i64>>,
}

/// One sequence's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Index along B.
    pub batch: usize,
    /// First token.
    pub start: usize,
    /// Number of tokens.
    pub tokens: usize,
}

impl Problem {
    /// Sizes of a recurrence that declares no dims of its own.
    pub fn new(batch: usize, tokens: usize, key_heads: usize, value_heads: usize, key: usize, value: usize) -> Problem {
        Problem { batch, tokens, key_heads, value_heads, sizes: vec![key, value], cu_seqlens: None }
    }

    /// The sizes that the inputs' shapes show. A size that no input shows is an error, except H, which is
    /// then HV, and a side that nothing lies along, whose size is 1.
    pub fn infer(recurrence: &Recurrence, inputs: &[View], cu_seqlens: Option<&[i64]>) -> Result<Problem> {
        if inputs.len() != recurrence.inputs.len() {
            let found = format!("{}", inputs.len());
            return Err(Error::argument("inputs", format!("{} tensors", recurrence.inputs.len()), found));
        }
        let mut sizes = vec![None; recurrence.sides.len()];
        let (mut batch, mut tokens, mut key_heads, mut value_heads) = (None, None, None, None);
        for (decl, view) in recurrence.inputs.iter().zip(inputs) {
            let mut dims = view.shape().iter();
            let mut take = |slot: &mut Option<usize>| match dims.next() {
                Some(&n) => {
                    slot.get_or_insert(n);
                    Ok(())
                }
                None => Err(Error::argument(&decl.name, "a tensor of more dimensions", format!("{:?}", view.shape()))),
            };
            if decl.kind == InputKind::Input {
                take(&mut batch)?;
                take(&mut tokens)?;
            }
            take(if decl.per_key_head() { &mut key_heads } else { &mut value_heads })?;
            if let Some(side) = decl.side {
                take(&mut sizes[side.0 as usize])?;
            }
        }
        let known = |value: Option<usize>, what: &str| {
            value.ok_or_else(|| Error::argument(what, "an input that shows this size", "none"))
        };
        let value_heads = known(value_heads.or(key_heads), "HV")?;
        // `key` and `value` are there in every recurrence, also in one that has nothing along them
        let named = |side: Side| {
            let state = recurrence.states.iter().any(|s| s.rows == Some(side) || s.cols == side);
            state || recurrence.exprs.iter().any(|e| e.kind == ExprKind::Dim(side))
        };
        let sides = recurrence.sides.iter().enumerate().zip(&sizes);
        let sizes = sides.map(|((index, side), size)| match size {
            None if !named(Side(index as u16)) => Ok(1),
            size => known(*size, side),
        });
        Ok(Problem {
            batch: known(batch, "B")?,
            tokens: known(tokens, "T")?,
            key_heads: key_heads.unwrap_or(value_heads),
            value_heads,
            sizes: sizes.collect::<Result<_>>()?,
            cu_seqlens: cu_seqlens.map(<[i64]>::to_vec),
        })
    }

    /// What a call of these sizes has to do, as buckets of tables count it.
    pub fn work(&self) -> Work {
        Work::new(self.sequence_count(), self.value_heads, self.batch * self.tokens)
    }

    /// N, the number of sequences.
    pub fn sequence_count(&self) -> usize {
        self.cu_seqlens.as_ref().map_or(self.batch, |offsets| offsets.len().saturating_sub(1))
    }

    /// Sequence `index`; the problem has been checked.
    pub fn sequence(&self, index: usize) -> Sequence {
        match &self.cu_seqlens {
            Some(offsets) => {
                let (start, end) = (offsets[index] as usize, offsets[index + 1] as usize);
                Sequence { batch: 0, start, tokens: end - start }
            }
            None => Sequence { batch: index, start: 0, tokens: self.tokens },
        }
    }

    /// Value heads that read one key head.
    pub fn group(&self) -> usize {
        self.value_heads / self.key_heads
    }

    /// The sizes, as the oracle takes them.
    pub fn dims(&self) -> Dims {
        Dims {
            sizes: self.sizes.clone(),
            batch: self.batch,
            tokens: self.tokens,
            key_heads: self.key_heads,
            value_heads: self.value_heads,
        }
    }

    /// Shape of input `index`.
    pub fn input_shape(&self, recurrence: &Recurrence, index: usize) -> Vec<usize> {
        shape::input(&recurrence.inputs[index], &self.dims())
    }

    /// Shape of output `index`.
    pub fn output_shape(&self, recurrence: &Recurrence, index: usize) -> Vec<usize> {
        shape::output(recurrence, index, &self.dims())
    }

    /// Shape of state `index` for `count` sequences or slots.
    pub fn state_shape(&self, recurrence: &Recurrence, index: usize, count: usize, layout: StateLayout) -> Vec<usize> {
        let mut shape = shape::state(&recurrence.states[index], &self.dims(), count);
        if layout == StateLayout::KeyMajor && shape.len() == 4 {
            shape.swap(2, 3);
        }
        shape
    }
}
