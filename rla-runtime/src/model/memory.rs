//! What a model remembers of its sequences: states and the convolution's last inputs, a slot for each sequence.

use super::fused::conv::WIDTH;
use crate::error::{Error, Result};
use crate::op::pool::StatePool;
use candle_core::{Device, Tensor};

/// Rows of the convolution's input that the next token still sees.
const TAIL: usize = WIDTH - 1;

/// One layer's memory.
pub struct LayerMemory {
    /// The states of the recurrence.
    pub states: StatePool,
    /// Last inputs of the convolution, `[slots,3,C]`.
    tails: Vec<f32>,
    channels: usize,
}

/// A model's memory, a slot a sequence.
pub struct Memory {
    /// One entry a layer.
    pub layers: Vec<LayerMemory>,
    slots: usize,
}

/// How a call treats memory.
#[derive(Default)]
pub struct Turn<'a> {
    /// This layer's memory; `None`: from zero states, with gradients.
    pub memory: Option<&'a mut LayerMemory>,
    /// The slot of each sequence.
    pub slots: &'a [usize],
    /// Evaluate with the residual memory R forced to zero.
    pub without_residual: bool,
}

impl LayerMemory {
    /// Empty memory.
    pub fn new(states: StatePool, slots: usize, channels: usize) -> Self {
        Self { states, tails: vec![0.0; slots * TAIL * channels], channels }
    }

    /// The convolution's inputs before the next token, `[B,3,C]`.
    pub fn tail(&self, slots: &[usize]) -> Result<Tensor> {
        let size = TAIL * self.channels;
        let rows: Vec<f32> = slots.iter().flat_map(|&s| &self.tails[s * size..(s + 1) * size]).copied().collect();
        Ok(Tensor::from_vec(rows, (slots.len(), TAIL, self.channels), &Device::Cpu)?)
    }

    /// Takes note of the convolution's new inputs `[B,T,C]`.
    pub fn push(&mut self, slots: &[usize], x: &Tensor) -> Result<()> {
        let (_, tokens, channels) = x.dims3()?;
        let size = TAIL * channels;
        let new = tokens.min(TAIL);
        let last = x.narrow(1, tokens - new, new)?.flatten_all()?.to_vec1::<f32>()?;
        for (rows, &slot) in last.chunks_exact((new * channels).max(1)).zip(slots) {
            let tail = &mut self.tails[slot * size..(slot + 1) * size];
            tail.copy_within(new * channels.., 0);
            tail[size - rows.len()..].copy_from_slice(rows);
        }
        Ok(())
    }
}

impl Memory {
    /// From the layers' memories.
    pub fn new(layers: Vec<LayerMemory>, slots: usize) -> Self {
        Self { layers, slots }
    }

    /// Copies the first slot's memory to all slots below `count`.
    pub fn copy_first(&mut self, count: usize) {
        for layer in &mut self.layers {
            let first = layer.states.gather(&[0]);
            let size = TAIL * layer.channels;
            for slot in 1..count.min(self.slots) {
                layer.states.scatter(&[slot], &first);
                layer.tails.copy_within(..size, slot * size);
            }
        }
    }

    /// Refuses slots that do not exist or are named twice.
    pub fn check(&self, slots: &[usize]) -> Result<()> {
        for (i, slot) in slots.iter().enumerate() {
            if *slot >= self.slots || slots[..i].contains(slot) {
                let expected = format!("different slots below {}", self.slots);
                return Err(Error::argument("slots", expected, format!("{slots:?}")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_last_three_rows_however_they_came() {
        let rows: Vec<f32> = (1..=14).map(|x| x as f32).collect();
        let x = Tensor::from_vec(rows, (1, 7, 2), &Device::Cpu).unwrap();
        for cuts in [vec![7], vec![1; 7], vec![2, 5], vec![4, 1, 2]] {
            let mut memory = LayerMemory::new(StatePool::default(), 2, 2);
            let mut at = 0;
            for cut in cuts {
                memory.push(&[1], &x.narrow(1, at, cut).unwrap()).unwrap();
                at += cut;
            }
            let tail = memory.tail(&[1, 0]).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(tail, [9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        }
    }
}
