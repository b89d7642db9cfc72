//! Plain data of a call: what goes in and what comes out, in f64, shared by the oracle, the tile interpreter and every check.
//!
//! Order is that of the recurrence's declarations: one entry an input, a state, an output. Tensors are dense and
//! row-major: a `key` input `[B,T,H,K]`; `gate key` `[B,T,HV,K]`; `value` `[B,T,HV,V]`; a declared side `[B,T,HV,n]`;
//! `scalar` `[B,T,HV]`; a `param` the same without B and T, always per value head; a state `[N,HV,rows,cols]`, a vector
//! state `[N,HV,n]`. Nothing here knows a recurrence: [`crate::oracle::shape`] says which shape each entry has.
use std::ops::Range;

/// Sizes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dims {
    /// One size a side: K, V, then the declared dims.
    pub sizes: Vec<usize>,
    /// B; 1 where sequences are packed.
    pub batch: usize,
    /// T; the sum of the lengths where sequences are packed.
    pub tokens: usize,
    /// H, the heads of q and k.
    pub key_heads: usize,
    /// HV, a multiple of H: value head h reads key head h / (HV / H).
    pub value_heads: usize,
}

impl Dims {
    /// The key head that value head `head` reads.
    pub fn key_head(&self, head: usize) -> usize {
        head / (self.value_heads / self.key_heads)
    }
}

/// What a call computes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs {
    /// Sizes.
    pub dims: Dims,
    /// Values of the constants.
    pub consts: Vec<f64>,
    /// Inputs and parameters.
    pub tensors: Vec<Vec<f64>>,
    /// Initial states; `None` is zero.
    pub states: Vec<Option<Vec<f64>>>,
    /// Offsets of packed sequences, `[N+1]` from 0 to T; `None`: the batch is the sequences.
    pub cu_seqlens: Option<Vec<i64>>,
}

impl Inputs {
    /// N, the number of sequences.
    pub fn sequence_count(&self) -> usize {
        self.cu_seqlens.as_ref().map_or(self.dims.batch, |offsets| offsets.len().saturating_sub(1))
    }

    /// Each sequence's tokens, as positions in the flat `B * T` axis; a sequence may be empty.
    pub fn sequences(&self) -> Vec<Range<usize>> {
        match &self.cu_seqlens {
            Some(offsets) => offsets.windows(2).map(|w| w[0] as usize..w[1] as usize).collect(),
            None => {
                let tokens = self.dims.tokens;
                (0..self.dims.batch).map(|b| b * tokens..(b + 1) * tokens).collect()
            }
        }
    }
}

/// What forward computes.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    /// The outputs: `[B,T,HV,n]`, or `[B,T,HV]` for a scalar.
    pub outputs: Vec<Vec<f64>>,
    /// The states after each sequence's last token (the initial state of an empty sequence).
    pub states: Vec<Vec<f64>>,
}

/// What backward starts from: cotangents in the shapes of [`Outputs`]; `None` is zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Cotangents {
    /// Of the outputs.
    pub outputs: Vec<Option<Vec<f64>>>,
    /// Of the final states.
    pub states: Vec<Option<Vec<f64>>>,
}

/// What backward computes, in the shapes of [`Inputs`].
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// Of the inputs and parameters; zero where no statement uses one.
    pub inputs: Vec<Vec<f64>>,
    /// Of the initial states, given or not.
    pub states: Vec<Vec<f64>>,
}
