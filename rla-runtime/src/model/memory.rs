//! What a model remembers of its sequences: states and the convolution's last inputs, a slot for each sequence.

use super::fused::conv::WIDTH;
use crate::error::{Error, Result};
use crate::op::candle::{Pool, rows, set_rows};
use candle_core::{DType, Device, Tensor};

/// Rows of the convolution's input that the next token still sees.
const TAIL: usize = WIDTH - 1;

/// One layer's memory.
pub struct LayerMemory {
    /// The states of the recurrence.
    pub states: Pool,
    /// Last inputs of the convolution, `[slots,3,C]`.
    pub tails: Tails,
    channels: usize,
}

/// Rows `[slots,3,C]`.
pub enum Tails {
    /// In memory of the host.
    Host(Vec<f32>),
    /// On the device.
    Device(Tensor),
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
    /// Empty memory on a device.
    pub fn new(states: Pool, slots: usize, channels: usize, device: &Device) -> Result<Self> {
        let tails = match device {
            Device::Cpu => Tails::Host(vec![0.0; slots * TAIL * channels]),
            device => Tails::Device(Tensor::zeros((slots, TAIL, channels), DType::F32, device)?),
        };
        Ok(Self { states, tails, channels })
    }

    /// The convolution's inputs before the next token, `[B,3,C]`.
    pub fn tail(&self, slots: &[usize]) -> Result<Tensor> {
        let size = TAIL * self.channels;
        match &self.tails {
            Tails::Host(tails) => {
                let rows: Vec<f32> = slots.iter().flat_map(|&s| &tails[s * size..(s + 1) * size]).copied().collect();
                Ok(Tensor::from_vec(rows, (slots.len(), TAIL, self.channels), &Device::Cpu)?)
            }
            Tails::Device(tails) => rows(tails, slots),
        }
    }

    /// Takes note of the convolution's new inputs `[B,T,C]`.
    pub fn push(&mut self, slots: &[usize], x: &Tensor) -> Result<()> {
        let (_, tokens, channels) = x.dims3()?;
        let size = TAIL * channels;
        let new = tokens.min(TAIL);
        let last = x.narrow(1, tokens - new, new)?;
        match &mut self.tails {
            Tails::Host(tails) => {
                let last = last.flatten_all()?.to_vec1::<f32>()?;
                for (rows, &slot) in last.chunks_exact((new * channels).max(1)).zip(slots) {
                    let tail = &mut tails[slot * size..(slot + 1) * size];
                    tail.copy_within(new * channels.., 0);
                    tail[size - rows.len()..].copy_from_slice(rows);
                }
                Ok(())
            }
            Tails::Device(tails) => {
                let kept = rows(tails, slots)?.narrow(1, new, TAIL - new)?;
                set_rows(tails, slots, &Tensor::cat(&[&kept, &last], 1)?)
            }
        }
    }

    fn copy_first(&mut self, count: usize) -> Result<()> {
        self.states.copy_first(count)?;
        let size = TAIL * self.channels;
        match &mut self.tails {
            Tails::Host(tails) => (1..count).for_each(|slot| tails.copy_within(..size, slot * size)),
            Tails::Device(tails) => {
                let first = rows(tails, &[0])?;
                (1..count).try_for_each(|slot| set_rows(tails, &[slot], &first))?;
            }
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
    pub fn copy_first(&mut self, count: usize) -> Result<()> {
        let count = count.min(self.slots);
        self.layers.iter_mut().try_for_each(|layer| layer.copy_first(count))
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
    use crate::op::pool::StatePool;

    #[test]
    fn the_tail_is_the_last_three_rows_however_they_came() {
        let rows: Vec<f32> = (1..=14).map(|x| x as f32).collect();
        let x = Tensor::from_vec(rows, (1, 7, 2), &Device::Cpu).unwrap();
        for cuts in [vec![7], vec![1; 7], vec![2, 5], vec![4, 1, 2]] {
            let mut memory = LayerMemory::new(Pool::Host(StatePool::default()), 2, 2, &Device::Cpu).unwrap();
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
