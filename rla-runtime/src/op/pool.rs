//! A pool of states, a slot a sequence: what decode updates in place.

use super::StateLayout;
use crate::device::cpu::memory::large_pages;
use crate::error::{Error, Result};
use crate::problem::Problem;
use crate::tensor::{View, ViewMut};
use rla_dsl::recurrence::Recurrence;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// States of the sequences of a layer, f32, value-major: per state of the recurrence `[slots,HV,V,K]`.
///
/// Layers whose states have the same shapes share memory, each with slots of its own: much memory in one piece lies in large
/// pages, and decode goes over all of it.
#[derive(Default)]
pub struct StatePool {
    shared: Arc<Mutex<Vec<SlotStates>>>,
    /// The first of this layer's slots, and how many it has.
    first: usize,
    slots: usize,
}

/// One state of the recurrence, for some sequences.
pub struct SlotStates {
    data: Vec<f32>,
    shape: Vec<usize>,
}

impl SlotStates {
    fn zeros(shape: Vec<usize>) -> SlotStates {
        let count = shape.iter().product();
        let mut data = Vec::with_capacity(count);
        large_pages(&data);
        data.resize(count, 0.0);
        SlotStates { data, shape }
    }

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
    /// Zero states for `slots` sequences in each of some layers, in the layers' order.
    pub fn of_layers(layers: &[(&Recurrence, Problem)], slots: usize) -> Vec<StatePool> {
        let shapes = |(recurrence, problem): &(&Recurrence, Problem), slots| -> Vec<Vec<usize>> {
            let states = 0..recurrence.states.len();
            states.map(|i| problem.state_shape(recurrence, i, slots, StateLayout::ValueMajor)).collect()
        };
        let all: Vec<_> = layers.iter().map(|layer| shapes(layer, slots)).collect();
        let mut pools: Vec<StatePool> = vec![];
        for (index, layer) in layers.iter().enumerate() {
            let alike = |i: &usize| all[*i] == all[index];
            let before: Vec<usize> = (0..index).filter(alike).collect();
            let shared = match before.first() {
                Some(&first) => pools[first].shared.clone(),
                None => {
                    let count = (index..all.len()).filter(alike).count();
                    let states = shapes(layer, count * slots).into_iter().map(SlotStates::zeros).collect();
                    Arc::new(Mutex::new(states))
                }
            };
            pools.push(StatePool { shared, first: before.len() * slots, slots });
        }
        pools
    }

    /// The memory. Layers run one after another, so nobody waits; contents are states, right or wrong, whoever panicked.
    fn lock(&self) -> MutexGuard<'_, Vec<SlotStates>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The numbers that slots of this layer have in the memory.
    ///
    /// # Errors
    /// A slot that the layer does not have: the memory may have it, for another layer.
    fn numbers(&self, slots: &[usize]) -> Result<Vec<usize>> {
        match slots.iter().find(|slot| **slot >= self.slots) {
            Some(slot) => Err(Error::argument("slots", format!("slots below {}", self.slots), slot.to_string())),
            None => Ok(slots.iter().map(|slot| self.first + slot).collect()),
        }
    }

    /// A call on all states, to be written: `slots` under the numbers that they have there.
    pub fn with<R>(&mut self, slots: &[usize], call: impl FnOnce(&[i64], &mut [ViewMut]) -> Result<R>) -> Result<R> {
        let slots: Vec<i64> = self.numbers(slots)?.into_iter().map(|slot| slot as i64).collect();
        let mut states = self.lock();
        let mut views = states.iter_mut().map(SlotStates::view_mut).collect::<Result<Vec<_>>>()?;
        call(&slots, &mut views)
    }

    /// Copies of some slots, per state `[N,HV,V,K]`.
    pub fn gather(&self, slots: &[usize]) -> Result<Vec<SlotStates>> {
        let slots = self.numbers(slots)?;
        let gather = |state: &SlotStates| {
            let (size, mut shape) = (state.slot_size(), state.shape.clone());
            shape[0] = slots.len();
            let data = slots.iter().flat_map(|slot| &state.data[slot * size..(slot + 1) * size]).copied().collect();
            SlotStates { data, shape }
        };
        Ok(self.lock().iter().map(gather).collect())
    }

    /// Puts states back into their slots.
    pub fn scatter(&mut self, slots: &[usize], states: &[SlotStates]) -> Result<()> {
        let slots = self.numbers(slots)?;
        for (pool, state) in self.lock().iter_mut().zip(states) {
            let size = pool.slot_size();
            for (rows, slot) in state.data.chunks_exact(size.max(1)).zip(&slots) {
                pool.data[slot * size..(slot + 1) * size].copy_from_slice(rows);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(variant: &str, size: usize) -> (Recurrence, Problem) {
        let recurrence = crate::op::builtin(variant).unwrap();
        (recurrence, Problem::new(1, 1, 1, 2, size, size))
    }

    #[test]
    fn layers_of_one_shape_share_memory_and_no_slot() {
        let layers = [layer("rdn", 4), layer("rla", 4), layer("gated_delta_net", 4), layer("rdn", 8), layer("rdn", 4)];
        let layers: Vec<_> = layers.iter().map(|(recurrence, problem)| (recurrence, problem.clone())).collect();
        let mut pools = StatePool::of_layers(&layers, 3);
        let of: Vec<_> = pools.iter().map(|pool| (Arc::as_ptr(&pool.shared), pool.first)).collect();
        // rdn and rla carry two matrices, gated_delta_net one
        assert_eq!([of[0].1, of[1].1, of[2].1, of[3].1, of[4].1], [0, 3, 0, 0, 6]);
        assert!(of[0].0 == of[1].0 && of[0].0 == of[4].0 && of[0].0 != of[2].0 && of[0].0 != of[3].0);
        let written = |pool: &mut StatePool, value: f32| {
            let mut states = pool.gather(&[0, 2]).unwrap();
            states.iter_mut().for_each(|state| state.data.fill(value));
            pool.scatter(&[0, 2], &states).unwrap();
        };
        pools.iter_mut().enumerate().for_each(|(i, pool)| written(pool, i as f32 + 1.0));
        for (i, pool) in pools.iter().enumerate() {
            let values =
                |slot| pool.gather(&[slot]).unwrap().into_iter().flat_map(|state| state.data).collect::<Vec<_>>();
            assert!([0, 2].into_iter().flat_map(values).all(|x| x == i as f32 + 1.0));
            assert!(values(1).iter().all(|x| *x == 0.0));
        }
        let seen = pools[4].with(&[1, 2], |slots, views| Ok((slots.to_vec(), views[0].shape()[0]))).unwrap();
        assert_eq!(seen, (vec![7, 8], 9));
        assert!(pools[0].gather(&[3]).is_err(), "another layer's slot");
    }
}
