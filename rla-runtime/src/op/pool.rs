//! A pool of states, a slot a sequence: what decode updates in place.

use super::StateLayout;
use crate::error::Result;
use crate::problem::Problem;
use crate::tensor::{View, ViewMut};
use rla_dsl::recurrence::Recurrence;

/// States of many sequences, f32, value-major: per state of the recurrence `[slots,HV,V,K]`.
#[derive(Default)]
pub struct StatePool {
    states: Vec<SlotStates>,
}

/// One state of the recurrence, for some sequences.
pub struct SlotStates {
    data: Vec<f32>,
    shape: Vec<usize>,
}

impl SlotStates {
    /// To read.
    pub fn view(&self) -> Result<View<'_>> {
        View::new(&self.data, &self.shape)
    }

    /// To write.
    pub fn view_mut(&mut self) -> Result<ViewMut<'_>> {
        ViewMut::new(&mut self.data, &self.shape)
    }

    fn slot_size(&self) -> usize {
        self.shape[1..].iter().product()
    }
}

impl StatePool {
    /// Zero states for `slots` sequences of a problem's sizes.
    pub fn new(recurrence: &Recurrence, problem: &Problem, slots: usize) -> StatePool {
        let zero = |i| {
            let shape = problem.state_shape(recurrence, i, slots, StateLayout::ValueMajor);
            SlotStates { data: vec![0.0; shape.iter().product()], shape }
        };
        StatePool { states: (0..recurrence.states.len()).map(zero).collect() }
    }

    /// All slots, to be written.
    pub fn views_mut(&mut self) -> Result<Vec<ViewMut<'_>>> {
        self.states.iter_mut().map(SlotStates::view_mut).collect()
    }

    /// Copies of some slots, per state `[N,HV,V,K]`.
    pub fn gather(&self, slots: &[usize]) -> Vec<SlotStates> {
        let gather = |state: &SlotStates| {
            let (size, mut shape) = (state.slot_size(), state.shape.clone());
            shape[0] = slots.len();
            let data = slots.iter().flat_map(|&s| &state.data[s * size..(s + 1) * size]).copied().collect();
            SlotStates { data, shape }
        };
        self.states.iter().map(gather).collect()
    }

    /// Puts states back into their slots.
    pub fn scatter(&mut self, slots: &[usize], states: &[SlotStates]) {
        for (pool, state) in self.states.iter_mut().zip(states) {
            let size = pool.slot_size();
            for (rows, &slot) in state.data.chunks_exact(size.max(1)).zip(slots) {
                pool.data[slot * size..(slot + 1) * size].copy_from_slice(rows);
            }
        }
    }
}
