//! Runs tile programs in f64 over whole calls: every sequence, every value head, chunk by chunk.

use crate::data::{Cotangents, Gradients, Inputs, Outputs};
use crate::oracle::shape;
use crate::tile::eval::{Environment, Matrix, eval};
use crate::tile::{Leaf, Program, Role};
use rla_dsl::recurrence::{InputKind, Recurrence};

/// Forward and backward programs of one recurrence, and how to run them.
#[derive(Clone, Debug)]
pub struct Interpreter<'a> {
    /// The recurrence.
    pub recurrence: &'a Recurrence,
    /// Forward, keeping what backward needs.
    pub forward: &'a Program,
    /// Backward.
    pub backward: &'a Program,
    /// Tokens a chunk.
    pub chunk: usize,
    /// Rows that a chunk is filled up to; at least the chunk's own. Kernels fill, so tests do too.
    pub fill: bool,
}

/// What forward keeps for backward: chunk-start states and saved values, by sequence and head, then chunk.
pub type Kept = Vec<Vec<ChunkKept>>;

/// Of one chunk.
#[derive(Clone, Debug)]
pub struct ChunkKept {
    states: Vec<Matrix>,
    saved: Vec<Matrix>,
}

struct Env<'a> {
    run: &'a Interpreter<'a>,
    inputs: &'a Inputs,
    cotangents: Option<&'a Cotangents>,
    /// First token of the chunk on the flat token axis, and its real tokens.
    start: usize,
    valid: usize,
    rows: usize,
    head: usize,
    states: &'a [Matrix],
    state_grads: &'a [Matrix],
    saved: &'a [Matrix],
}

impl Env<'_> {
    /// The row of a tensor `[.., heads, n]` that token `row` of the chunk reads; filled rows repeat the last token.
    fn token(&self, row: usize) -> usize {
        self.start + row.min(self.valid - 1)
    }
}

impl Environment for Env<'_> {
    fn tokens(&self) -> usize {
        self.rows
    }

    fn size(&self, side: u16) -> usize {
        self.inputs.dims.sizes[side as usize]
    }

    fn leaf(&self, leaf: Leaf, rows: usize, cols: usize) -> Matrix {
        let dims = &self.inputs.dims;
        match leaf {
            Leaf::Input(i) => {
                let input = &self.run.recurrence.inputs[i];
                let data = &self.inputs.tensors[i];
                let key = input.per_key_head();
                let (heads, head) =
                    if key { (dims.key_heads, dims.key_head(self.head)) } else { (dims.value_heads, self.head) };
                Matrix::from_fn(rows, cols, |r, c| match input.kind {
                    InputKind::Param => data[head * cols + c],
                    InputKind::Input => data[(self.token(r) * heads + head) * cols + c],
                })
            }
            Leaf::Const(i) => Matrix::from_fn(1, 1, |_, _| self.inputs.consts[i]),
            Leaf::State(i) => self.states[i].clone(),
            Leaf::StateGrad(i) => self.state_grads[i].clone(),
            Leaf::Saved(i) => self.saved[i].clone(),
            Leaf::Identity(_) => Matrix::from_fn(rows, cols, |r, c| if r == c { 1.0 } else { 0.0 }),
            Leaf::Valid => Matrix::from_fn(rows, 1, |r, _| if r < self.valid { 1.0 } else { 0.0 }),
            Leaf::OutputGrad(i) => {
                let grad = self.cotangents.and_then(|c| c.outputs[i].as_ref());
                Matrix::from_fn(rows, cols, |r, c| match grad {
                    Some(data) if r < self.valid => data[(self.token(r) * dims.value_heads + self.head) * cols + c],
                    _ => 0.0,
                })
            }
            Leaf::Number(_) | Leaf::Size(_) => unreachable!("the interpreter knows these"),
        }
    }
}

impl Interpreter<'_> {
    /// Forward. The inputs must have been checked (`oracle::shape::check`).
    pub fn forward(&self, inputs: &Inputs) -> (Outputs, Kept) {
        let dims = &inputs.dims;
        let sequences = inputs.sequences();
        let product = |shape: Vec<usize>| vec![0.0; shape.iter().product()];
        let mut out = Outputs {
            outputs: (0..self.recurrence.outputs.len())
                .map(|i| product(shape::output(self.recurrence, i, dims)))
                .collect(),
            states: self.recurrence.states.iter().map(|s| product(shape::state(s, dims, sequences.len()))).collect(),
        };
        let mut kept = Vec::new();
        for (n, sequence) in sequences.iter().enumerate() {
            for head in 0..dims.value_heads {
                let mut states = self.states_at(&inputs.states, inputs, n, head);
                let mut chunks = Vec::new();
                let mut start = sequence.start;
                while start < sequence.end {
                    let valid = self.chunk.min(sequence.end - start);
                    let rows = if self.fill { self.chunk } else { valid };
                    let env = Env {
                        run: self,
                        inputs,
                        cotangents: None,
                        start,
                        valid,
                        rows,
                        head,
                        states: &states,
                        state_grads: &[],
                        saved: &[],
                    };
                    let mut next = states.clone();
                    let mut saved = vec![Matrix::zero(0, 0); self.forward.saved.len()];
                    for (role, value) in eval(self.forward, &env) {
                        match role {
                            Role::Output(i) => {
                                for r in 0..valid {
                                    for c in 0..value.cols {
                                        let at = ((start + r) * dims.value_heads + head) * value.cols + c;
                                        out.outputs[i][at] = value.at(r, c);
                                    }
                                }
                            }
                            Role::State(i) => next[i] = value,
                            Role::Saved(i) => saved[i] = value,
                            Role::InputGrad(_) | Role::StateGrad(_) => unreachable!("a forward program"),
                        }
                    }
                    chunks.push(ChunkKept { states: std::mem::replace(&mut states, next), saved });
                    start += valid;
                }
                self.store(&states, &mut out.states, inputs, n, head);
                kept.push(chunks);
            }
        }
        (out, kept)
    }

    /// Backward from what forward kept.
    pub fn backward(&self, inputs: &Inputs, cotangents: &Cotangents, kept: &Kept) -> Gradients {
        let dims = &inputs.dims;
        let sequences = inputs.sequences();
        let mut out = Gradients {
            inputs: inputs.tensors.iter().map(|t| vec![0.0; t.len()]).collect(),
            states: self
                .recurrence
                .states
                .iter()
                .map(|s| vec![0.0; shape::state(s, dims, sequences.len()).iter().product()])
                .collect(),
        };
        for (n, sequence) in sequences.iter().enumerate() {
            for head in 0..dims.value_heads {
                let mut grads = self.states_at(&cotangents.states, inputs, n, head);
                let chunks = &kept[n * dims.value_heads + head];
                for (index, chunk) in chunks.iter().enumerate().rev() {
                    let start = sequence.start + index * self.chunk;
                    let valid = self.chunk.min(sequence.end - start);
                    let rows = if self.fill { self.chunk } else { valid };
                    let env = Env {
                        run: self,
                        inputs,
                        cotangents: Some(cotangents),
                        start,
                        valid,
                        rows,
                        head,
                        states: &chunk.states,
                        state_grads: &grads,
                        saved: &chunk.saved,
                    };
                    let mut next = grads.clone();
                    for (role, value) in eval(self.backward, &env) {
                        match role {
                            Role::InputGrad(i) => self.add_gradient(inputs, &mut out.inputs[i], i, &env, &value),
                            Role::StateGrad(i) => next[i] = value,
                            _ => unreachable!("a backward program"),
                        }
                    }
                    grads = next;
                }
                self.store(&grads, &mut out.states, inputs, n, head);
            }
        }
        out
    }

    fn add_gradient(&self, inputs: &Inputs, out: &mut [f64], i: usize, env: &Env, value: &Matrix) {
        let dims = &inputs.dims;
        let input = &self.recurrence.inputs[i];
        let (heads, head) =
            if input.per_key_head() { (dims.key_heads, dims.key_head(env.head)) } else { (dims.value_heads, env.head) };
        for c in 0..value.cols {
            match input.kind {
                InputKind::Param => out[head * value.cols + c] += value.at(0, c),
                InputKind::Input => {
                    for r in 0..env.valid {
                        out[((env.start + r) * heads + head) * value.cols + c] += value.at(r, c);
                    }
                }
            }
        }
    }

    /// One sequence's and head's states, in the program's orientation.
    fn states_at(&self, all: &[Option<Vec<f64>>], inputs: &Inputs, n: usize, head: usize) -> Vec<Matrix> {
        let size = |axis| match axis {
            crate::tile::Axis::Side(side) => inputs.dims.sizes[side as usize],
            _ => 1,
        };
        self.forward
            .states
            .iter()
            .zip(all)
            .map(|(sides, data)| {
                let (free, contracted) = (size(sides.free), size(sides.contracted));
                let (rows, cols) = if sides.transposed { (contracted, free) } else { (free, contracted) };
                let at = (n * inputs.dims.value_heads + head) * rows * cols;
                let matrix = Matrix::from_fn(rows, cols, |r, c| data.as_ref().map_or(0.0, |d| d[at + r * cols + c]));
                if sides.transposed { matrix.transposed() } else { matrix }
            })
            .collect()
    }

    fn store(&self, states: &[Matrix], out: &mut [Vec<f64>], inputs: &Inputs, n: usize, head: usize) {
        for ((sides, matrix), out) in self.forward.states.iter().zip(states).zip(out) {
            let matrix = if sides.transposed { matrix.transposed() } else { matrix.clone() };
            let at = (n * inputs.dims.value_heads + head) * matrix.data.len();
            out[at..at + matrix.data.len()].copy_from_slice(&matrix.data);
        }
    }
}
