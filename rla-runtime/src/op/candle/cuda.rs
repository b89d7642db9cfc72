//! The bridge on a GPU: candle's memory, context and stream, our kernels, nothing copied.
//!
//! Inputs are read and gradients written where they lie in packed sources; working memory comes from candle's allocator, in the
//! stream's order.

use super::{Call, Columns, Recurrent, used_up};
use crate::device::cuda::check;
use crate::device::cuda::host::{Engine, state_strides, token_strides};
use crate::device::cuda::kernels::{self, Elem, Kind, Pass, RawSequences, RawView};
use crate::error::{Error, Result};
use crate::kernel::args::{self, Rules};
use crate::model::fused::gpu::{Gpu, pointer};
use crate::problem::{Problem, StateLayout};
use candle_core::cuda::cudarc::driver::CudaSlice;
use candle_core::{CudaDevice, Shape, Storage as Stored, Tensor};
use cudarc::driver::sys;
use rla_dsl::recurrence::{InputKind, Recurrence};
use std::sync::{Arc, Mutex};

/// Pairs of events around calls, until somebody asks for their time.
#[derive(Default)]
pub struct Clock {
    queued: Mutex<Vec<[usize; 2]>>,
    /// Pairs to be used again.
    free: Mutex<Vec<[usize; 2]>>,
}

impl Clock {
    /// Queues what `f` queues between two events.
    fn around(&self, stream: sys::CUstream, f: impl FnOnce() -> Result<()>) -> Result<()> {
        let made = self.free.lock().ok().and_then(|mut free| free.pop());
        let pair = match made {
            Some(pair) => pair,
            None => [event()?, event()?],
        };
        // SAFETY: events are made below and never destroyed while the process runs; the stream is candle's.
        check("event", unsafe { sys::cuEventRecord(pair[0] as sys::CUevent, stream) })?;
        f()?;
        // SAFETY: as above.
        check("event", unsafe { sys::cuEventRecord(pair[1] as sys::CUevent, stream) })?;
        if let Ok(mut queued) = self.queued.lock() {
            queued.push(pair);
        }
        Ok(())
    }

    /// Nanoseconds since the last time this was asked; waits for the calls.
    pub fn take(&self) -> u64 {
        let pairs = self.queued.lock().map(|mut q| std::mem::take(&mut *q)).unwrap_or_default();
        let mut sum = 0.0;
        for pair in &pairs {
            let [start, end] = pair.map(|e| e as sys::CUevent);
            let mut ms = 0f32;
            // SAFETY: both events have been recorded.
            unsafe {
                sys::cuEventSynchronize(end);
                if sys::cuEventElapsedTime_v2(&mut ms, start, end) == sys::CUresult::CUDA_SUCCESS {
                    sum += f64::from(ms);
                }
            }
        }
        if let Ok(mut free) = self.free.lock() {
            free.extend(pairs);
        }
        (sum * 1e6) as u64
    }
}

fn event() -> Result<usize> {
    let mut event = std::ptr::null_mut();
    // SAFETY: the handle is written by the call; candle has made its context current.
    check("event", unsafe { sys::cuEventCreate(&mut event, 0) })?;
    Ok(event as usize)
}

/// What a call of our kernels takes from candle.
struct Site<'a> {
    gpu: Gpu,
    engine: &'a Arc<Engine>,
    recurrence: &'a Recurrence,
    problem: &'a Problem,
    stream: sys::CUstream,
}

impl<'a> Site<'a> {
    fn new(recurrent: &'a Recurrent, problem: &'a Problem, device: &CudaDevice) -> Result<Site<'a>> {
        let engine = recurrent.operation.on_device().ok_or_else(|| {
            let name = recurrent.operation.backend().name();
            Error::argument("backend", "cuda, for tensors on a GPU", name)
        })?;
        let recurrence = recurrent.recurrence();
        args::problem(recurrence, problem, Rules::Kernel)?;
        let stream = device.cuda_stream().cu_stream();
        engine.device().owns(stream)?;
        Ok(Site { gpu: Gpu::on(device)?, engine, recurrence, problem, stream })
    }

    /// Kernels for f32 inputs and results.
    fn pass(&self, kind: Kind) -> Result<Arc<Pass>> {
        let count = self.recurrence.inputs.len();
        let key = self.engine.key_of(self.problem, vec![Elem::F32; count], Elem::F32, vec![Elem::F32; count]);
        self.engine.pass(kind, &key, self.problem)
    }

    /// The call with its sequences; the offsets' memory beside it.
    fn call(&self, constants: &[f64]) -> Result<(kernels::Call, Option<CudaSlice<i64>>)> {
        let mut call = self.engine.call(self.problem, constants);
        let (count, tokens) = (self.problem.sequence_count(), self.problem.tokens);
        let offsets = self.problem.cu_seqlens.as_ref().map(|o| self.gpu.device.clone_htod(o)).transpose()?;
        let address = offsets.as_ref().map_or(0, |o| self.gpu.address(o));
        call.sequences = RawSequences { offsets: address, wide: true, count, tokens };
        Ok((call, offsets))
    }

    /// Inputs, or their gradients, in the columns of their sources.
    fn views_of(&self, at: &[u64], sources: &[Tensor], columns: &[Columns]) -> Result<Vec<RawView>> {
        let counts: Vec<usize> = sources.iter().map(Tensor::elem_count).collect();
        let widths: Vec<usize> = sources.iter().map(|t| t.dims().last().copied().unwrap_or(0)).collect();
        self.views(at, &counts, &widths, columns)
    }

    /// The same by the sources' counts of elements and of columns.
    fn views(&self, at: &[u64], counts: &[usize], widths: &[usize], columns: &[Columns]) -> Result<Vec<RawView>> {
        let inputs = &self.recurrence.inputs;
        if columns.len() != inputs.len() {
            let expected = format!("columns of {} inputs", inputs.len());
            return Err(Error::argument("columns", expected, columns.len().to_string()));
        }
        let rows = self.problem.batch * self.problem.tokens;
        let view = |(i, c): (usize, &Columns)| {
            let (decl, shape) = (&inputs[i], self.problem.input_shape(self.recurrence, i));
            let misplaced =
                || Error::argument(&decl.name, format!("{shape:?} in the columns of a source"), format!("{c:?}"));
            let of = |list: &[usize]| list.get(c.source).copied().ok_or_else(misplaced);
            let (count, width) = (of(counts)?, of(widths)?);
            let address = *at.get(c.source).ok_or_else(misplaced)?;
            if decl.kind == InputKind::Param {
                if count != shape.iter().product::<usize>() {
                    return Err(misplaced());
                }
                let strides = [shape.get(1).copied().unwrap_or(1)];
                return Ok(RawView { address, strides: token_strides(true, &strides) });
            }
            let own = shape[2..].iter().product::<usize>();
            if c.start + own > width || count != width * rows {
                return Err(misplaced());
            }
            let head = shape.get(3).copied().unwrap_or(1);
            let strides = token_strides(false, &[self.problem.tokens * width, width, head]);
            Ok(RawView { address: address + 4 * c.start as u64, strides })
        };
        columns.iter().enumerate().map(view).collect()
    }

    fn output(&self, address: u64, index: usize) -> RawView {
        let shape = self.problem.output_shape(self.recurrence, index);
        let head = shape.get(3).copied().unwrap_or(1);
        RawView { address, strides: token_strides(false, &[shape[1] * shape[2] * head, shape[2] * head, head]) }
    }

    fn state_shape(&self, index: usize, count: usize) -> Vec<usize> {
        self.problem.state_shape(self.recurrence, index, count, StateLayout::ValueMajor)
    }

    fn state(&self, address: u64, index: usize, count: usize) -> RawView {
        let shape = self.state_shape(index, count);
        let mut strides = vec![1; shape.len()];
        for i in (0..shape.len() - 1).rev() {
            strides[i] = strides[i + 1] * shape[i + 1];
        }
        RawView { address, strides: state_strides(&strides, StateLayout::ValueMajor) }
    }

    /// States given as tensors.
    fn states(&self, at: &[u64], tensors: &[Tensor], count: usize) -> Result<Vec<RawView>> {
        let each = tensors.iter().zip(at).enumerate().map(|(i, (t, &address))| {
            let (name, shape) = (&self.recurrence.states[i].name, self.state_shape(i, count));
            if t.dims() != shape {
                return Err(Error::argument(format!("{name}0"), format!("{shape:?}"), format!("{:?}", t.dims())));
            }
            Ok(self.state(address, i, count))
        });
        each.collect()
    }

    /// Queues the call with its working memory.
    fn launch(&self, recurrent: &Recurrent, pass: &Pass, call: &kernels::Call) -> Result<()> {
        let workspace = self.gpu.memory::<u8>(pass.workspace(call))?;
        let at = self.gpu.address(&workspace);
        // SAFETY: every address is of a live tensor whose shape was checked; what is dropped afterwards is freed in the
        // stream's order.
        recurrent.clock.around(self.stream, || unsafe { pass.launch(call, at, self.stream) })
    }
}

/// Calls `f` with the addresses of contiguous f32 tensors.
fn with_addresses<R>(tensors: &[Tensor], f: impl FnOnce(&[u64]) -> Result<R>) -> Result<R> {
    let guards: Vec<_> = tensors.iter().map(Tensor::storage_and_layout).collect();
    let addresses = guards.iter().map(|(storage, layout)| match &**storage {
        Stored::Cuda(storage) => Ok(pointer((storage, layout), "recurrence")?),
        _ => Err(Error::argument("input", "tensors on one device", format!("{:?}", layout.shape()))),
    });
    f(&addresses.collect::<Result<Vec<_>>>()?)
}

impl Call {
    fn site<'a>(&'a self, device: &CudaDevice) -> Result<Site<'a>> {
        Site::new(&self.recurrent, &self.problem, device)
    }

    pub(super) fn forward_on_device(&self, device: &CudaDevice, save: bool) -> Result<Stored> {
        let site = self.site(device)?;
        let pass = site.pass(if save { Kind::ForwardSave } else { Kind::Forward })?;
        let (mut call, _offsets) = site.call(&self.constants)?;
        let results = self.shapes().into_iter().map(|s| site.gpu.floats(s.elem_count()));
        let mut results = results.collect::<candle_core::Result<Vec<_>>>()?;
        let at: Vec<u64> = results.iter().map(|r| site.gpu.address(r)).collect();
        let (outputs, finals) = at.split_at(site.recurrence.outputs.len());
        let sequences = self.problem.sequence_count();
        call.outputs = outputs.iter().enumerate().map(|(i, &at)| site.output(at, i)).collect();
        call.states_out = finals.iter().enumerate().map(|(i, &at)| site.state(at, i, sequences)).collect();
        let kept = save.then(|| site.gpu.memory::<u8>(pass.kept_bytes(&call.sequences, call.heads))).transpose()?;
        call.kept = kept.as_ref().map_or(0, |k| site.gpu.address(k));
        with_addresses(&self.tensors, |at| {
            let (sources, initial) = at.split_at(self.sources);
            call.inputs = site.views_of(sources, &self.tensors[..self.sources], &self.columns)?;
            call.states_in = site.states(initial, self.initial(), sequences)?;
            site.launch(&self.recurrent, &pass, &call)
        })?;
        if let Ok(mut slot) = self.kept.lock() {
            *slot = kept.map(|k| Stored::Cuda(site.gpu.storage(k)));
        }
        if results.len() == 1 {
            return Ok(Stored::Cuda(site.gpu.storage(results.swap_remove(0))));
        }
        let counts: Vec<usize> = self.shapes().iter().map(Shape::elem_count).collect();
        let mut flat = site.gpu.floats(counts.iter().sum())?;
        let mut start = 0;
        for (result, count) in results.iter().zip(counts) {
            device.memcpy_dtod(&result.slice(..count), &mut flat.slice_mut(start..start + count))?;
            start += count;
        }
        Ok(Stored::Cuda(site.gpu.storage(flat)))
    }

    /// Gradients of all sources and initial states.
    pub(super) fn backward_on_device(&self, device: &CudaDevice, grad: &Tensor) -> Result<Vec<Tensor>> {
        let kept = self.kept.lock().ok().and_then(|mut slot| slot.take()).ok_or_else(used_up)?;
        let Stored::Cuda(kept) = &kept else { return Err(used_up()) };
        let site = self.site(device)?;
        let (r, sequences) = (site.recurrence, self.problem.sequence_count());
        let pass = site.pass(Kind::Backward)?;
        let (mut call, _offsets) = site.call(&self.constants)?;
        call.kept = site.gpu.address(kept.as_cuda_slice::<u8>()?);
        let grads = self.tensors.iter().enumerate().map(|(i, t)| {
            // columns that no kernel writes
            let count = t.elem_count();
            match i < self.sources && !self.covered(&site, i)? {
                true => Ok(site.gpu.device.alloc_zeros::<f32>(count.max(1))?),
                false => Ok(site.gpu.floats(count)?),
            }
        });
        let grads = grads.collect::<Result<Vec<_>>>()?;
        let at: Vec<u64> = grads.iter().map(|g| site.gpu.address(g)).collect();
        call.input_grads = site.views_of(&at[..self.sources], &self.tensors[..self.sources], &self.columns)?;
        for (i, view) in call.input_grads.iter_mut().enumerate() {
            if !site.engine.has_gradient(i) {
                *view = RawView::default();
            }
        }
        let initial = at[self.sources..].iter().enumerate();
        call.state_grads_out = initial.map(|(i, &at)| site.state(at, i, sequences)).collect();
        let grad = grad.contiguous()?;
        with_addresses(std::slice::from_ref(&grad), |at| {
            let mut next = at[0];
            for (i, shape) in self.shapes().iter().enumerate() {
                match i.checked_sub(r.outputs.len()) {
                    None => call.output_grads.push(site.output(next, i)),
                    Some(state) => call.state_grads_in.push(site.state(next, state, sequences)),
                }
                next += 4 * shape.elem_count() as u64;
            }
            with_addresses(&self.tensors, |at| {
                call.inputs = site.views_of(&at[..self.sources], &self.tensors[..self.sources], &self.columns)?;
                site.launch(&self.recurrent, &pass, &call)
            })
        })?;
        let each = grads.into_iter().zip(&self.tensors);
        Ok(each.map(|(g, t)| site.gpu.tensor(g, t.shape())).collect())
    }

    /// Whether gradients fill all columns of a source. Columns that two inputs read would need a sum.
    fn covered(&self, site: &Site, source: usize) -> Result<bool> {
        let mut owner = vec![None; self.tensors[source].dims().last().copied().unwrap_or(0)];
        let inputs = site.recurrence.inputs.iter().enumerate();
        for ((i, decl), c) in inputs.zip(&self.columns).filter(|(_, c)| c.source == source) {
            if decl.kind == InputKind::Param {
                return Ok(site.engine.has_gradient(i));
            }
            let own = self.problem.input_shape(site.recurrence, i)[2..].iter().product::<usize>();
            for column in &mut owner[c.start..c.start + own] {
                if column.is_some() {
                    let reason = format!("`{}` shares columns of a source with another input", decl.name);
                    return Err(Error::unsupported("gradients on a GPU", reason));
                }
                *column = Some(site.engine.has_gradient(i));
            }
        }
        Ok(owner.iter().all(|o| *o == Some(true)))
    }
}

impl Recurrent {
    pub(super) fn step_on_device(
        &self,
        problem: &Problem,
        sources: &[Tensor],
        columns: &[Columns],
        pool: &mut [Tensor],
        slots: &[usize],
    ) -> Result<Tensor> {
        if problem.tokens > 1 {
            let initial = pool.iter().map(|s| super::rows(s, slots)).collect::<Result<Vec<_>>>()?;
            let (mut outputs, finals) = self.apply_with_states(problem, sources, columns, &initial, true)?;
            for (state, last) in pool.iter().zip(&finals) {
                super::set_rows(state, slots, last)?;
            }
            return Ok(outputs.swap_remove(0));
        }
        let sources = sources.iter().map(|t| t.contiguous()).collect::<candle_core::Result<Vec<_>>>()?;
        let Some(Ok(device)) = sources.first().map(|t| t.device().as_cuda_device()) else {
            return Err(Error::argument("input", "tensors on the GPU", "others"));
        };
        let site = Site::new(self, problem, device)?;
        let pass = site.pass(Kind::Decode)?;
        let (mut call, _offsets) = site.call(&self.constants(problem)?)?;
        let count = pool.first().map_or(0, |s| s.dims()[0]);
        if let Some(slot) = slots.iter().find(|&&s| s >= count) {
            return Err(Error::argument("slots", format!("slots below {count}"), slot.to_string()));
        }
        let numbers: Vec<i64> = slots.iter().map(|&s| s as i64).collect();
        let numbers = device.clone_htod(&numbers)?;
        call.slots = site.gpu.address(&numbers);
        let shapes = (0..site.recurrence.outputs.len()).map(|i| Shape::from(problem.output_shape(site.recurrence, i)));
        let shapes: Vec<Shape> = shapes.collect();
        let results = shapes.iter().map(|s| site.gpu.floats(s.elem_count()));
        let mut results = results.collect::<candle_core::Result<Vec<_>>>()?;
        call.outputs = results.iter().enumerate().map(|(i, r)| site.output(site.gpu.address(r), i)).collect();
        with_addresses(&sources, |at| {
            call.inputs = site.views_of(at, &sources, columns)?;
            with_addresses(pool, |at| {
                call.states_in = site.states(at, pool, count)?;
                site.launch(self, &pass, &call)
            })
        })?;
        Ok(site.gpu.tensor(results.swap_remove(0), shapes[0].clone()))
    }

    /// Decode's kernels and the call of one token of each sequence, the state of sequence b in slot b. `sources` are addresses of
    /// rows `[B, width]` and their widths, `states` addresses of the pool.
    pub fn decode_call(
        &self,
        problem: &Problem,
        sources: &[(u64, usize)],
        columns: &[Columns],
        pool: &[Tensor],
        states: &[u64],
        output: u64,
    ) -> Result<(Arc<Pass>, kernels::Call)> {
        let Some(Ok(device)) = pool.first().map(|t| t.device().as_cuda_device()) else {
            return Err(Error::argument("states", "tensors on the GPU", "others"));
        };
        let site = Site::new(self, problem, device)?;
        let count = pool.first().map_or(0, |s| s.dims()[0]);
        if count < problem.batch || site.recurrence.outputs.len() != 1 {
            let expected = format!("{} slots or more, and one output", problem.batch);
            return Err(Error::argument("states", expected, count.to_string()));
        }
        let (mut call, _) = site.call(&self.constants(problem)?)?;
        let at: Vec<u64> = sources.iter().map(|s| s.0).collect();
        let widths: Vec<usize> = sources.iter().map(|s| s.1).collect();
        let counts: Vec<usize> = widths.iter().map(|w| w * problem.batch).collect();
        call.inputs = site.views(&at, &counts, &widths, columns)?;
        call.states_in = site.states(states, pool, count)?;
        call.outputs = vec![site.output(output, 0)];
        Ok((site.pass(Kind::Decode)?, call))
    }
}
