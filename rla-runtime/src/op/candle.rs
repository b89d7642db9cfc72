//! An operation inside candle's autodiff: any number of inputs, forward that saves, backward once.
//!
//! candle's custom operations take at most three tensors and give one. So the kernels run first, on the plain memory of
//! all inputs, and the graph gets a chain of two-input operations through a one-element token:
//! `Link(token, x_i) -> token`, the last `-> result`. All links share one `Call`. In the reverse sweep the last link
//! comes first: it runs the backward kernels for all inputs; every link then hands out the gradient of its own input.
//! Several results (outputs, final states) travel as one flat tensor and are cut apart outside.

use super::pool::StatePool;
use super::{Backend, BackwardOptions, ForwardOptions, Operation, Saved};
use crate::error::{Error, Result};
use crate::problem::{Problem, StateLayout};
use crate::tensor::{DType, Storage, Tensor as Memory, View, ViewMut};
use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Device, Layout, Shape, Storage as Stored, Tensor};
use rayon::prelude::*;
use rla_dsl::recurrence::{InputKind, Recurrence};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[cfg(feature = "cuda-models")]
mod cuda;

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Error {
        Error::unsupported("dense layers", error.to_string())
    }
}

/// Where an input of the recurrence lies: columns of a source tensor `[.., C]` whose rows are tokens, so that q, k and
/// v may be parts of one packed projection. A parameter is a whole source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Index among the sources.
    pub source: usize,
    /// First column.
    pub start: usize,
}

/// An operation with its constants, differentiable, with a clock.
#[derive(Clone)]
pub struct Recurrent {
    operation: Operation,
    overrides: Vec<(String, f64)>,
    nanoseconds: Arc<AtomicU64>,
    /// What forward kept in earlier steps: its memory is used again.
    spare: Arc<Mutex<Vec<Saved>>>,
    /// Calls on a GPU that are not yet in `nanoseconds`.
    #[cfg(feature = "cuda-models")]
    clock: Arc<cuda::Clock>,
}

/// States of sequences, a slot each, where the tensors live.
pub enum Pool {
    /// In memory of the host.
    Host(StatePool),
    /// On the device, per state `[slots,HV,V,K]`.
    Device(Vec<Tensor>),
}

impl Pool {
    /// Zero states for `slots` sequences in each of some layers.
    pub fn of_layers(layers: &[(&Recurrent, Problem)], slots: usize, device: &Device) -> Result<Vec<Pool>> {
        if device.is_cpu() {
            let layers: Vec<_> = layers.iter().map(|(r, problem)| (r.recurrence(), problem.clone())).collect();
            return Ok(StatePool::of_layers(&layers, slots).into_iter().map(Pool::Host).collect());
        }
        let on_device = |(recurrent, problem): &(&Recurrent, Problem)| {
            let r = recurrent.recurrence();
            let zero = |i| {
                let shape = problem.state_shape(r, i, slots, StateLayout::ValueMajor);
                Ok(Tensor::zeros(shape, candle_core::DType::F32, device)?)
            };
            Ok(Pool::Device((0..r.states.len()).map(zero).collect::<Result<_>>()?))
        };
        layers.iter().map(on_device).collect()
    }

    /// Copies the first slot to all slots below `count`.
    pub fn copy_first(&mut self, count: usize) -> Result<()> {
        match self {
            Pool::Host(pool) => {
                let first = pool.gather(&[0])?;
                (1..count).try_for_each(|slot| pool.scatter(&[slot], &first))?;
            }
            Pool::Device(states) => {
                for state in states {
                    let first = rows(state, &[0])?;
                    (1..count).try_for_each(|slot| set_rows(state, &[slot], &first))?;
                }
            }
        }
        Ok(())
    }
}

/// Copies of some rows of the first dimension.
pub fn rows(tensor: &Tensor, slots: &[usize]) -> Result<Tensor> {
    let index = Tensor::from_iter(slots.iter().map(|&s| s as u32), tensor.device())?;
    Ok(tensor.index_select(&index, 0)?)
}

/// Overwrites rows of the first dimension.
pub fn set_rows(tensor: &Tensor, slots: &[usize], values: &Tensor) -> Result<()> {
    for (i, &slot) in slots.iter().enumerate() {
        tensor.slice_set(&values.narrow(0, i, 1)?.contiguous()?, 0, slot)?;
    }
    Ok(())
}

impl Recurrent {
    /// An operation; `overrides` replace constants that the recurrence has, and are ignored where it has none.
    pub fn new(operation: Operation, overrides: &[(&str, f64)]) -> Recurrent {
        let known = |name: &str| operation.recurrence().consts.iter().any(|c| c.name == name);
        let overrides = overrides.iter().filter(|(name, _)| known(name)).map(|(n, x)| (n.to_string(), *x)).collect();
        Recurrent {
            operation,
            overrides,
            nanoseconds: Arc::default(),
            spare: Arc::default(),
            #[cfg(feature = "cuda-models")]
            clock: Arc::default(),
        }
    }

    /// A built-in variant on a backend.
    pub fn builtin(variant: &str, backend: Backend, overrides: &[(&str, f64)]) -> Result<Recurrent> {
        Ok(Recurrent::new(Operation::builtin(variant, backend)?, overrides))
    }

    /// The recurrence.
    pub fn recurrence(&self) -> &Recurrence {
        self.operation.recurrence()
    }

    /// Time spent in forward, backward and decode so far.
    pub fn time(&self) -> Duration {
        #[cfg(feature = "cuda-models")]
        self.nanoseconds.fetch_add(self.clock.take(), Ordering::Relaxed);
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// One line: the variant, the backend, and which kernel runs.
    pub fn describe(&self) -> String {
        let (name, backend) = (&self.recurrence().name, self.operation.backend().name());
        match self.operation.report() {
            Some(report) => format!("{name} on {backend}: {}, {}", report.configuration, report.origin),
            None => format!("{name} on {backend}"),
        }
    }

    /// The first output, from zero states. `sources[columns[i].source]` holds input i. With gradients where a source
    /// is tracked.
    pub fn apply(&self, problem: &Problem, sources: &[Tensor], columns: &[Columns]) -> Result<Tensor> {
        let (mut outputs, _) = self.apply_with_states(problem, sources, columns, &[], false)?;
        Ok(outputs.swap_remove(0))
    }

    /// Outputs and, where wanted, final states; `initial` is empty or has one tensor `[N,HV,V,K]` a state. All of
    /// them are differentiable.
    pub fn apply_with_states(
        &self,
        problem: &Problem,
        sources: &[Tensor],
        columns: &[Columns],
        initial: &[Tensor],
        final_states: bool,
    ) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
        let tensors = sources.iter().chain(initial).map(|t| t.contiguous()).collect::<candle_core::Result<Vec<_>>>()?;
        let tracked = tensors.iter().any(Tensor::track_op);
        let call = Call {
            recurrent: self.clone(),
            problem: problem.clone(),
            constants: self.constants(problem)?,
            tensors: tensors.iter().map(Tensor::detach).collect(),
            columns: columns.to_vec(),
            sources: sources.len(),
            final_states,
            saved: Mutex::default(),
            #[cfg(feature = "cuda-models")]
            kept: Mutex::default(),
            grads: Mutex::default(),
        };
        let flat = call.forward(tracked)?;
        let shapes = call.shapes();
        let result = match tracked {
            false => Tensor::from_storage(flat, call.flat_shape(), BackpropOp::none(), false),
            true => {
                let call = Arc::new(call);
                let mut token = Tensor::zeros(1, candle_core::DType::F32, tensors[0].device())?;
                let mut flat = Some(flat);
                for (index, x) in tensors.iter().enumerate() {
                    let result = if index + 1 == tensors.len() { flat.take() } else { None };
                    token = token.apply_op2(x, Link { call: call.clone(), index, result: Mutex::new(result) })?;
                }
                token
            }
        };
        if shapes.len() == 1 {
            return Ok((vec![result], vec![]));
        }
        let mut parts = Vec::new();
        let mut start = 0;
        for shape in shapes {
            let count = shape.elem_count();
            parts.push(result.narrow(0, start, count)?.reshape(shape)?);
            start += count;
        }
        let finals = parts.split_off(self.recurrence().outputs.len());
        Ok((parts, finals))
    }

    /// The first output for sequences that live in memory: sequence b goes on from `slots[b]`, whose states are updated.
    /// One token a sequence runs decode on the pool itself, more of them forward on copies of their states.
    pub fn step(
        &self,
        problem: &Problem,
        sources: &[Tensor],
        columns: &[Columns],
        pool: &mut Pool,
        slots: &[usize],
    ) -> Result<Tensor> {
        let pool = match pool {
            Pool::Host(pool) => pool,
            #[cfg(feature = "cuda-models")]
            Pool::Device(states) => return self.step_on_device(problem, sources, columns, states, slots),
            #[cfg(not(feature = "cuda-models"))]
            Pool::Device(_) => return Err(no_gpu()),
        };
        let constants = self.constants(problem)?;
        let sources = sources.iter().map(|t| t.contiguous()).collect::<candle_core::Result<Vec<_>>>()?;
        let outputs = with_memory(&sources, |data| {
            let views = input_views(self.recurrence(), problem, data, &sources, columns)?;
            let layout = StateLayout::ValueMajor;
            if problem.tokens == 1 {
                let constants = Some(constants.as_slice());
                return pool.with(slots, |slots, pool| {
                    self.timed(|| self.operation.decode(problem, slots, &views, constants, pool, layout))
                });
            }
            let (initial, mut finals) = (pool.gather(slots)?, pool.gather(slots)?);
            let initial = initial.iter().map(|s| s.view().map(Some)).collect::<Result<Vec<_>>>()?;
            let options = ForwardOptions {
                constants: Some(&constants),
                initial_states: &initial,
                layout,
                ..ForwardOptions::default()
            };
            let mut output = Memory::zeros(DType::F32, &problem.output_shape(self.recurrence(), 0))?;
            let mut final_views = finals.iter_mut().map(|s| s.view_mut().map(Some)).collect::<Result<Vec<_>>>()?;
            let outputs = &mut [output.view_mut()];
            self.timed(|| self.operation.forward_into(problem, &views, &options, outputs, &mut final_views, None))?;
            drop(final_views);
            pool.scatter(slots, &finals)?;
            Ok(vec![output])
        })?;
        let output = outputs.into_iter().next().ok_or_else(|| Error::argument("outputs", "at least one", "none"))?;
        let shape = output.shape().to_vec();
        Ok(Tensor::from_vec(floats(output)?, shape, &Device::Cpu)?)
    }

    fn constants(&self, problem: &Problem) -> Result<Vec<f64>> {
        let overrides: Vec<(&str, f64)> = self.overrides.iter().map(|(n, x)| (n.as_str(), *x)).collect();
        self.operation.constants(&problem.sizes, &overrides)
    }

    fn timed<R>(&self, f: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = f();
        self.nanoseconds.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }
}

/// One call: its inputs, what forward kept, and the gradients until their links fetch them.
struct Call {
    recurrent: Recurrent,
    problem: Problem,
    constants: Vec<f64>,
    /// Sources, then initial states, detached.
    tensors: Vec<Tensor>,
    columns: Vec<Columns>,
    sources: usize,
    final_states: bool,
    saved: Mutex<Option<Saved>>,
    /// On a GPU: what forward kept.
    #[cfg(feature = "cuda-models")]
    kept: Mutex<Option<Stored>>,
    grads: Mutex<Vec<Option<Tensor>>>,
}

#[cfg(not(feature = "cuda-models"))]
fn no_gpu() -> Error {
    Error::unsupported("tensors on a GPU", "this program was built without the feature `cuda-models`")
}

impl Call {
    /// Shapes of the outputs, then of the final states where they are wanted.
    fn shapes(&self) -> Vec<Shape> {
        let (r, problem) = (self.recurrent.recurrence(), &self.problem);
        let mut shapes: Vec<Shape> = (0..r.outputs.len()).map(|i| Shape::from(problem.output_shape(r, i))).collect();
        if self.final_states {
            let n = problem.sequence_count();
            let state = |i| Shape::from(problem.state_shape(r, i, n, StateLayout::ValueMajor));
            shapes.extend((0..r.states.len()).map(state));
        }
        shapes
    }

    /// The shape of the result: that of the only one, or flat.
    fn flat_shape(&self) -> Shape {
        let mut shapes = self.shapes();
        match shapes.len() {
            1 => shapes.swap_remove(0),
            _ => Shape::from(shapes.iter().map(Shape::elem_count).sum::<usize>()),
        }
    }

    fn initial(&self) -> &[Tensor] {
        &self.tensors[self.sources..]
    }

    fn device(&self) -> &Device {
        self.tensors.first().map_or(&Device::Cpu, Tensor::device)
    }

    /// Runs forward; all results, one after the other.
    fn forward(&self, save: bool) -> Result<Stored> {
        match self.device() {
            Device::Cpu => Ok(Stored::Cpu(CpuStorage::F32(self.forward_on_host(save)?))),
            #[cfg(feature = "cuda-models")]
            Device::Cuda(device) => self.forward_on_device(device, save),
            _ => Err(Error::argument("input", "tensors on the CPU, or on an NVIDIA GPU", "another device's")),
        }
    }

    fn forward_on_host(&self, save: bool) -> Result<Vec<f32>> {
        let r = self.recurrent.recurrence();
        with_memory(&self.tensors, |data| {
            let (inputs, initial) = self.views(data)?;
            let options = ForwardOptions {
                constants: Some(&self.constants),
                initial_states: &initial,
                ..ForwardOptions::default()
            };
            let zeros = |shape: &Shape| Memory::zeros(DType::F32, shape.dims());
            let mut results = self.shapes().iter().map(zeros).collect::<Result<Vec<_>>>()?;
            let (outputs, finals) = results.split_at_mut(r.outputs.len());
            let mut outputs: Vec<ViewMut> = outputs.iter_mut().map(Memory::view_mut).collect();
            let mut finals: Vec<Option<ViewMut>> = finals.iter_mut().map(|t| Some(t.view_mut())).collect();
            let spare = || self.recurrent.spare.lock().ok().and_then(|mut list| list.pop()).unwrap_or_default();
            let mut saved = save.then(spare);
            self.recurrent.timed(|| {
                let operation = &self.recurrent.operation;
                operation.forward_into(&self.problem, &inputs, &options, &mut outputs, &mut finals, saved.as_mut())
            })?;
            drop((outputs, finals));
            if let Ok(mut slot) = self.saved.lock() {
                *slot = saved;
            }
            let mut parts = results.into_iter().map(floats);
            let mut flat = parts.next().unwrap_or_else(|| Ok(Vec::new()))?;
            for part in parts {
                flat.extend(part?);
            }
            Ok(flat)
        })
    }

    /// Runs backward for the gradient of the result; leaves the gradients of all tensors for their links.
    fn backward(&self, grad: &Tensor) -> Result<()> {
        let grads = match self.device() {
            #[cfg(feature = "cuda-models")]
            Device::Cuda(device) => self.backward_on_device(device, grad)?,
            _ => self.backward_on_host(grad)?,
        };
        if let Ok(mut slot) = self.grads.lock() {
            *slot = grads.into_iter().map(Some).collect();
        }
        Ok(())
    }

    fn backward_on_host(&self, grad: &Tensor) -> Result<Vec<Tensor>> {
        let (r, problem) = (self.recurrent.recurrence(), &self.problem);
        let saved = self.saved.lock().ok().and_then(|mut slot| slot.take()).ok_or_else(used_up)?;
        let grad = grad.contiguous()?;
        let mut input_grads = (0..r.inputs.len())
            .map(|i| Memory::zeros(DType::F32, &problem.input_shape(r, i)))
            .collect::<Result<Vec<_>>>()?;
        let mut state_grads = match self.initial() {
            [] => vec![],
            states => states.iter().map(|t| Memory::zeros(DType::F32, t.dims())).collect::<Result<_>>()?,
        };
        with_memory(&self.tensors, |data| {
            let (inputs, _) = self.views(data)?;
            with_memory(std::slice::from_ref(&grad), |grad| {
                let mut rest = grad[0];
                let mut cut = |shape: &Shape| {
                    let (part, after) = rest.split_at(shape.elem_count());
                    rest = after;
                    View::new(part, shape.dims()).map(Some)
                };
                let mut output_grads = self.shapes().iter().map(&mut cut).collect::<Result<Vec<_>>>()?;
                let final_state_grads = output_grads.split_off(r.outputs.len());
                let options = BackwardOptions {
                    output_grads: &output_grads,
                    final_state_grads: &final_state_grads,
                    ..BackwardOptions::default()
                };
                let mut inputs_out: Vec<_> = input_grads.iter_mut().map(|t| Some(t.view_mut())).collect();
                let mut states_out: Vec<_> = state_grads.iter_mut().map(|t| Some(t.view_mut())).collect();
                self.recurrent.timed(|| {
                    let operation = &self.recurrent.operation;
                    operation.backward_into(problem, &inputs, &saved, &options, &mut inputs_out, &mut states_out)
                })
            })
        })?;
        if let Ok(mut spare) = self.recurrent.spare.lock() {
            spare.push(saved);
        }
        let input_grads = input_grads.into_iter().map(floats).collect::<Result<Vec<_>>>()?;
        let mut grads = (0..self.sources).map(|s| self.pack(s, &input_grads)).collect::<Vec<_>>();
        for state in state_grads {
            grads.push(floats(state)?);
        }
        let tensors = grads.into_iter().zip(&self.tensors);
        tensors.map(|(data, t)| Ok(Tensor::from_vec(data, t.shape(), &Device::Cpu)?)).collect()
    }

    /// The gradient of a source: the gradients of its inputs put in their columns.
    fn pack(&self, source: usize, grads: &[Vec<f32>]) -> Vec<f32> {
        let tensor = &self.tensors[source];
        let rows = self.problem.batch * self.problem.tokens;
        let mut packed = vec![0.0; tensor.elem_count()];
        let members = || self.columns.iter().zip(grads).enumerate().filter(|(_, (c, _))| c.source == source);
        for (i, (_, grad)) in members() {
            if self.recurrent.recurrence().inputs[i].kind == InputKind::Param {
                packed.iter_mut().zip(grad).for_each(|(p, g)| *p += g);
            }
        }
        let width = packed.len() / rows.max(1);
        if width == 0 {
            return packed;
        }
        // an input may be read from the same columns as another one: the gradients then add up
        packed.par_chunks_mut(width * 64).enumerate().for_each(|(block, rows_out)| {
            for (i, (columns, grad)) in members() {
                if self.recurrent.recurrence().inputs[i].kind == InputKind::Param {
                    continue;
                }
                let own = grad.len() / rows;
                let from = grad[block * 64 * own..].chunks_exact(own.max(1));
                for (out, grad) in rows_out.chunks_exact_mut(width).zip(from) {
                    out[columns.start..].iter_mut().zip(grad).for_each(|(o, g)| *o += g);
                }
            }
        });
        packed
    }

    /// Inputs and initial states as views of the tensors' memory.
    #[allow(clippy::type_complexity)]
    fn views<'a>(&self, data: &[&'a [f32]]) -> Result<(Vec<View<'a>>, Vec<Option<View<'a>>>)> {
        let r = self.recurrent.recurrence();
        let inputs = input_views(r, &self.problem, data, &self.tensors[..self.sources], &self.columns)?;
        let states = data[self.sources..].iter().zip(self.initial());
        let initial = states.map(|(data, t)| View::new(data, t.dims()).map(Some)).collect::<Result<_>>()?;
        Ok((inputs, initial))
    }
}

/// Views of the recurrence's inputs in the memory of their sources.
fn input_views<'a>(
    recurrence: &Recurrence,
    problem: &Problem,
    data: &[&'a [f32]],
    sources: &[Tensor],
    columns: &[Columns],
) -> Result<Vec<View<'a>>> {
    if columns.len() != recurrence.inputs.len() {
        let expected = format!("columns of {} inputs", recurrence.inputs.len());
        return Err(Error::argument("columns", expected, columns.len().to_string()));
    }
    let view = |(i, c): (usize, &Columns)| {
        let (decl, shape) = (&recurrence.inputs[i], problem.input_shape(recurrence, i));
        let misplaced =
            || Error::argument(&decl.name, format!("{shape:?} in the columns of a source"), format!("{c:?}"));
        let (source, data) = sources.get(c.source).zip(data.get(c.source)).ok_or_else(misplaced)?;
        if decl.kind == InputKind::Param {
            return View::new(data, &shape);
        }
        let (width, own) = (source.dims().last().copied().unwrap_or(0), shape[2..].iter().product::<usize>());
        if c.start + own > width || data.len() != width * problem.batch * problem.tokens {
            return Err(misplaced());
        }
        let mut strides = vec![problem.tokens * width, width, 1];
        if let Some(&size) = shape.get(3) {
            strides.insert(2, size);
        }
        View::strided(data.get(c.start..).unwrap_or(&[]), &shape, &strides)
    };
    columns.iter().enumerate().map(view).collect()
}

/// Calls `f` with the elements of contiguous f32 tensors on the CPU.
fn with_memory<R>(tensors: &[Tensor], f: impl FnOnce(&[&[f32]]) -> Result<R>) -> Result<R> {
    let guards: Vec<_> = tensors.iter().map(Tensor::storage_and_layout).collect();
    let data = guards.iter().map(|(storage, layout)| match (&**storage, layout.contiguous_offsets()) {
        (Stored::Cpu(CpuStorage::F32(data)), Some((start, end))) => Ok(&data[start..end]),
        _ => Err(Error::argument("input", "a contiguous f32 tensor on the CPU", format!("{:?}", layout.shape()))),
    });
    f(&data.collect::<Result<Vec<_>>>()?)
}

/// The elements of an f32 tensor, taken.
fn floats(tensor: Memory) -> Result<Vec<f32>> {
    match tensor.into_storage() {
        Storage::F32(data) => Ok(data),
        other => Err(Error::argument("result", "f32", format!("{other:?}"))),
    }
}

fn used_up() -> Error {
    Error::unsupported("a second backward pass", "what forward saved is used up by the first")
}

/// One input's place in the graph.
struct Link {
    call: Arc<Call>,
    index: usize,
    /// The result, in the last link only, until candle asks for it.
    result: Mutex<Option<Stored>>,
}

impl Link {
    fn take(&self) -> Option<Stored> {
        self.result.lock().ok().and_then(|mut r| r.take())
    }
}

impl CustomOp2 for Link {
    fn name(&self) -> &'static str {
        "recurrence"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        match self.take() {
            Some(Stored::Cpu(flat)) => Ok((flat, self.call.flat_shape())),
            _ => Ok((CpuStorage::F32(vec![0.0]), Shape::from(1))),
        }
    }

    fn cuda_fwd(
        &self,
        token: &CudaStorage,
        layout: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        match self.take() {
            Some(Stored::Cuda(flat)) => Ok((flat, self.call.flat_shape())),
            _ => Ok((candle_core::backend::BackendStorage::try_clone(token, layout)?, Shape::from(1))),
        }
    }

    fn bwd(
        &self,
        token: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        if self.index + 1 == self.call.tensors.len() {
            self.call.backward(grad).map_err(candle_core::Error::wrap)?;
        }
        let own = self.call.grads.lock().ok().and_then(|mut g| g.get_mut(self.index)?.take());
        Ok((Some(token.zeros_like()?), own))
    }
}
