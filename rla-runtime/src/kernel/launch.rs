//! The unsafe call, after the arguments have been checked: tasks over sequences and heads.
//!
//! A task is one sequence and one value head; in backward one sequence and one key head, whose value heads run in order,
//! so that sums over value heads have a fixed order. Parameters' gradients are kept by sequence and summed in order.
use super::dispatch::Kernel;
use super::place::{ABSENT, Place, Spot, StatePlace};
use super::throughput::Chosen;
use crate::device::cpu::memory::Floats;
use crate::error::{Error, Result};
use crate::problem::{Problem, Products, StateLayout};
use crate::tensor::{DType, View, ViewMut};
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;
use rla_codegen::abi;
use rla_dsl::recurrence::{InputKind, Recurrence};
use std::cell::RefCell;
use std::ptr::null;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Work below this many bytes of states and rows stays on the calling thread: waking others costs more.
const SERIAL_BYTES: usize = 1 << 19;

/// What forward kept for backward.
#[derive(Default)]
pub struct Kept {
    memory: Floats,
    /// Start of each sequence's part, and floats of one head in it.
    parts: Vec<(usize, usize)>,
}

impl Kept {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of_val(self.memory.as_slice())
    }

    fn prepare(&mut self, kernel: &Kernel, problem: &Problem) -> Result<()> {
        let mut start = 0;
        self.parts.clear();
        for index in 0..problem.sequence_count() {
            let floats = Floats::round_up(kernel.saved(problem.sequence(index).tokens, &problem.sizes)?);
            self.parts.push((start, floats));
            start += floats * problem.value_heads;
        }
        working(&mut self.memory, start);
        Ok(())
    }
}

/// Addresses that tasks share.
struct Shared<T>(T);

// SAFETY: the addresses inside point into views that outlive the call; `args` has shown that written regions are apart
// from all others, and every task writes the rows, heads and sequences that are its own.
unsafe impl<T> Sync for Shared<T> {}

/// How many checks want poisoned memory just now.
static POISONED: AtomicUsize = AtomicUsize::new(0);

/// While it lives, working memory and what forward keeps are NaN before every kernel runs: a check sees what a kernel reads
/// without having written it.
pub struct Poison(());

impl Poison {
    /// From now on.
    pub fn new() -> Poison {
        POISONED.fetch_add(1, Ordering::Relaxed);
        Poison(())
    }
}

impl Default for Poison {
    fn default() -> Poison {
        Poison::new()
    }
}

impl Drop for Poison {
    fn drop(&mut self) {
        POISONED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Working memory of a kernel.
fn working(memory: &mut Floats, count: usize) -> *mut f32 {
    let memory = memory.reserve(count);
    if POISONED.load(Ordering::Relaxed) > 0 {
        memory.fill(f32::NAN);
    }
    memory.as_mut_ptr()
}

/// What a thread keeps from call to call.
#[derive(Default)]
struct Worker {
    scratch: Floats,
    staging: Vec<Floats>,
    inputs: Vec<abi::View>,
    outputs: Vec<abi::View>,
    input_grads: Vec<abi::View>,
    states_in: Vec<abi::StateView>,
    states_out: Vec<abi::StateView>,
}

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::default();
}

/// Runs tasks on so many threads at most; 0: on all of the pool.
fn run(tasks: usize, bytes: usize, threads: usize, body: impl Fn(usize, &mut Worker) + Sync) {
    let body = |task| WORKER.with_borrow_mut(|worker| body(task, worker));
    let pool = rayon::current_num_threads();
    let threads = if threads == 0 { pool } else { threads.min(pool) };
    if tasks < 2 || bytes < SERIAL_BYTES || threads < 2 {
        (0..tasks).for_each(body);
    } else if threads == pool {
        (0..tasks).into_par_iter().with_max_len(1).for_each(body);
    } else {
        let next = AtomicUsize::new(0);
        (0..threads).into_par_iter().with_max_len(1).for_each(|_| {
            let tasks =
                std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed)).take_while(|task| *task < tasks);
            tasks.for_each(body);
        });
    }
}

/// Bytes of states and rows that a call touches, roughly.
fn traffic(problem: &Problem) -> usize {
    let channels: usize = problem.sizes.iter().sum();
    let (key, value) = (problem.sizes[0], problem.sizes[1]);
    let rows = problem.batch * problem.tokens * channels;
    4 * problem.value_heads * (rows + problem.sequence_count() * key * value)
}

fn fill<T: Copy, U>(to: &mut Vec<U>, from: &[T], make: impl FnMut(T) -> U) {
    to.clear();
    to.extend(from.iter().copied().map(make));
}

/// Arguments of a call as the kernel takes them.
fn constants(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&x| x as f32).collect()
}

fn inputs(recurrence: &Recurrence, views: &[View]) -> Vec<Place> {
    recurrence.inputs.iter().zip(views).map(|(decl, view)| Place::input(decl, view)).collect()
}

fn states(count: usize, views: &[Option<View>], layout: StateLayout) -> Vec<StatePlace> {
    let place = |view: &Option<View>| view.as_ref().map_or(StatePlace::ABSENT, |v| StatePlace::read(v, layout));
    (0..count).map(|i| views.get(i).map_or(StatePlace::ABSENT, place)).collect()
}

fn states_mut(count: usize, views: &mut [Option<ViewMut>], layout: StateLayout) -> Vec<StatePlace> {
    let mut places: Vec<_> = views
        .iter_mut()
        .map(|view| view.as_mut().map_or(StatePlace::ABSENT, |v| StatePlace::write(v, layout)))
        .collect();
    places.resize(count, StatePlace::ABSENT);
    places
}

/// Forward; keeps for backward where `kept` is given.
#[allow(clippy::too_many_arguments)]
pub fn forward(
    chosen: &Chosen,
    recurrence: &Recurrence,
    problem: &Problem,
    input_views: &[View],
    constant_values: &[f64],
    initial: &[Option<View>],
    layout: StateLayout,
    products: Products,
    outputs: &mut [ViewMut],
    finals: &mut [Option<ViewMut>],
    mut kept: Option<&mut Kept>,
) -> Result<()> {
    let kernel = &*chosen.kernel;
    let values = recurrence.inputs.iter().zip(input_views).filter(|(decl, _)| decl.carries_values());
    let products = kernel.products(products, values.map(|(_, view)| view.dtype()));
    let (pass, entry) = match (kept.is_some(), products) {
        (true, _) => (abi::PASS_FORWARD_SAVE, kernel.of(abi::PASS_FORWARD_SAVE).forward),
        (false, Products::F32) => (abi::PASS_FORWARD, kernel.of(abi::PASS_FORWARD).forward),
        (false, Products::Input) => (abi::PASS_FORWARD_BF16, kernel.of(abi::PASS_FORWARD_BF16).forward_bf16),
    };
    let entry = entry.ok_or_else(|| missing("forward"))?;
    let scratch = kernel.scratch(pass, &problem.sizes)?;
    if let Some(kept) = kept.as_deref_mut() {
        kept.prepare(kernel, problem)?;
    }
    let (memory, parts) = match kept {
        Some(kept) => (kept.memory.as_mut_slice().as_mut_ptr(), kept.parts.as_slice()),
        None => (std::ptr::null_mut(), [].as_slice()),
    };
    let shared = Shared((
        inputs(recurrence, input_views),
        outputs.iter_mut().map(Place::output_mut).collect::<Vec<_>>(),
        states(recurrence.states.len(), initial, layout),
        states_mut(recurrence.states.len(), finals, layout),
        memory,
    ));
    let constants = constants(constant_values);
    run(problem.sequence_count() * problem.value_heads, traffic(problem), chosen.threads, |task, worker| {
        let shared = &shared;
        let (inputs, outputs, initial, finals, memory) = &shared.0;
        let (index, head) = (task / problem.value_heads, task % problem.value_heads);
        let sequence = problem.sequence(index);
        let spot = Spot { sequence, head, key_head: head / problem.group() };
        fill(&mut worker.inputs, inputs, |place| place.at(spot));
        fill(&mut worker.outputs, outputs, |place| place.at(spot));
        fill(&mut worker.states_in, initial, |place| place.at(index, head));
        fill(&mut worker.states_out, finals, |place| place.at(index, head));
        let saved = match parts.get(index) {
            Some(&(start, floats)) => memory.wrapping_add(start + head * floats),
            None => *memory,
        };
        let args = abi::Args {
            tokens: sequence.tokens,
            sizes: problem.sizes.as_ptr(),
            constants: constants.as_ptr(),
            inputs: worker.inputs.as_ptr(),
            outputs: worker.outputs.as_ptr(),
            states_in: worker.states_in.as_ptr(),
            states_out: worker.states_out.as_ptr(),
            saved,
            scratch: working(&mut worker.scratch, scratch),
            output_grads: null(),
            input_grads: null(),
            state_grads_in: null(),
            state_grads_out: null(),
        };
        // SAFETY: `args` (the module) has checked every shape, type and stride against the recurrence and the problem;
        // scratch and saved have the sizes that the kernel asked for.
        unsafe { entry(&args) }
    });
    Ok(())
}

/// Decode in place; sequences whose slot is -1 are skipped.
#[allow(clippy::too_many_arguments)]
pub fn decode(
    chosen: &Chosen,
    recurrence: &Recurrence,
    problem: &Problem,
    slots: &[i64],
    input_views: &[View],
    constant_values: &[f64],
    pool: &mut [ViewMut],
    layout: StateLayout,
    outputs: &mut [ViewMut],
) -> Result<()> {
    let kernel = &*chosen.kernel;
    let entry = kernel.of(abi::PASS_DECODE).decode.ok_or_else(|| missing("decode"))?;
    let scratch = kernel.scratch(abi::PASS_DECODE, &problem.sizes)?;
    let shared = Shared((
        inputs(recurrence, input_views),
        outputs.iter_mut().map(Place::output_mut).collect::<Vec<_>>(),
        pool.iter_mut().map(|view| StatePlace::write(view, layout)).collect::<Vec<_>>(),
    ));
    let constants = constants(constant_values);
    run(problem.batch * problem.value_heads, traffic(problem) / 2, chosen.threads, |task, worker| {
        let shared = &shared;
        let (inputs, outputs, pool) = &shared.0;
        let (index, head) = (task / problem.value_heads, task % problem.value_heads);
        let Ok(slot) = usize::try_from(slots[index]) else { return };
        let sequence = problem.sequence(index);
        let spot = Spot { sequence, head, key_head: head / problem.group() };
        fill(&mut worker.inputs, inputs, |place| place.at(spot));
        fill(&mut worker.outputs, outputs, |place| place.at(spot));
        fill(&mut worker.states_in, pool, |place| place.at(slot, head));
        let args = abi::Args {
            tokens: sequence.tokens,
            sizes: problem.sizes.as_ptr(),
            constants: constants.as_ptr(),
            inputs: worker.inputs.as_ptr(),
            outputs: worker.outputs.as_ptr(),
            states_in: worker.states_in.as_ptr(),
            states_out: null(),
            saved: std::ptr::null_mut(),
            scratch: working(&mut worker.scratch, scratch),
            output_grads: null(),
            input_grads: null(),
            state_grads_in: null(),
            state_grads_out: null(),
        };
        // SAFETY: as in `forward`; slots are in range and differ, so no two tasks share a state.
        unsafe { entry(&args) }
    });
    Ok(())
}

/// Gradients that backward starts from and those it writes.
pub struct Gradients<'a, 'b, 'c> {
    /// Of the outputs; empty or `None`: zero.
    pub outputs: &'a [Option<View<'a>>],
    /// Of the final states; empty or `None`: zero.
    pub finals: &'a [Option<View<'a>>],
    /// Of the inputs, one entry each; `None`: not wanted.
    pub inputs: &'a mut [Option<ViewMut<'b>>],
    /// Of the initial states; empty or `None`: not wanted.
    pub initial: &'a mut [Option<ViewMut<'c>>],
}

/// How a task hands over the gradient of one input.
#[derive(Clone, Copy)]
enum Sink {
    /// Not wanted.
    Nowhere,
    /// f32, where the caller wants it.
    Direct(Place),
    /// A 16-bit type: summed in f32 in a worker's memory, then rounded. The place, channels of a row.
    Rounded(Place, usize),
    /// A parameter: offset into the memory of sums by sequence, channels.
    Summed(usize, usize),
}

/// Backward from what forward kept.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    chosen: &Chosen,
    recurrence: &Recurrence,
    problem: &Problem,
    input_views: &[View],
    constant_values: &[f64],
    layout: StateLayout,
    kept: &Kept,
    grads: Gradients,
) -> Result<()> {
    let kernel = &*chosen.kernel;
    let entry = kernel.of(abi::PASS_BACKWARD).backward.ok_or_else(|| missing("backward"))?;
    let scratch = kernel.scratch(abi::PASS_BACKWARD, &problem.sizes)?;
    let count = recurrence.states.len();
    let output_grads: Vec<Option<Place>> =
        (0..recurrence.outputs.len()).map(|i| grads.outputs.get(i)?.as_ref().map(Place::output)).collect();

    let mut sums = Floats::new();
    let mut sums_floats = 0;
    let mut sinks = Vec::with_capacity(recurrence.inputs.len());
    for (decl, grad) in recurrence.inputs.iter().zip(grads.inputs.iter_mut()) {
        let channels = decl.side.map_or(1, |side| problem.sizes[side.0 as usize]);
        sinks.push(match grad {
            None => Sink::Nowhere,
            Some(_) if decl.kind == InputKind::Param => {
                let start = sums_floats;
                sums_floats += problem.sequence_count() * problem.value_heads * channels;
                Sink::Summed(start, channels)
            }
            Some(view) if view.dtype() == DType::F32 => Sink::Direct(Place::input_mut(decl, view)),
            Some(view) => Sink::Rounded(Place::input_mut(decl, view), channels),
        });
    }
    let sums_pointer = sums.reserve(sums_floats).as_mut_ptr();
    let shared = Shared((
        inputs(recurrence, input_views),
        output_grads,
        sinks,
        states(count, grads.finals, layout),
        states_mut(count, grads.initial, layout),
        sums_pointer,
        kept.memory.as_slice().as_ptr().cast_mut(),
    ));
    let constants = constants(constant_values);
    let group = problem.group();
    run(problem.sequence_count() * problem.key_heads, traffic(problem) * 4, chosen.threads, |task, worker| {
        let shared = &shared;
        let (inputs, output_grads, sinks, finals, initial, sums, memory) = &shared.0;
        let (index, key_head) = (task / problem.key_heads, task % problem.key_heads);
        let sequence = problem.sequence(index);
        worker.staging.resize_with(sinks.len().max(worker.staging.len()), Floats::new);
        for member in 0..group {
            let head = key_head * group + member;
            let spot = Spot { sequence, head, key_head };
            fill(&mut worker.inputs, inputs, |place| place.at(spot));
            fill(&mut worker.outputs, output_grads, |place| place.map_or(ABSENT, |p| p.at(spot)));
            worker.input_grads.clear();
            for (input, &sink) in sinks.iter().enumerate() {
                let shares = recurrence.inputs[input].per_key_head();
                let accumulate = u32::from(shares && member > 0);
                worker.input_grads.push(match sink {
                    Sink::Nowhere => ABSENT,
                    Sink::Direct(place) => abi::View { accumulate, ..place.at(spot) },
                    Sink::Rounded(_, channels) => {
                        let floats = worker.staging[input].reserve(sequence.tokens * channels);
                        abi::View { ptr: floats.as_mut_ptr().cast(), stride: channels as isize, accumulate, ..ABSENT }
                    }
                    Sink::Summed(start, channels) => {
                        let offset = start + (index * problem.value_heads + head) * channels;
                        abi::View { ptr: sums.wrapping_add(offset).cast(), ..ABSENT }
                    }
                });
            }
            fill(&mut worker.states_in, finals, |place| place.at(index, head));
            fill(&mut worker.states_out, initial, |place| place.at(index, head));
            let (start, floats) = kept.parts[index];
            let args = abi::Args {
                tokens: sequence.tokens,
                sizes: problem.sizes.as_ptr(),
                constants: constants.as_ptr(),
                inputs: worker.inputs.as_ptr(),
                outputs: null(),
                states_in: null(),
                states_out: null(),
                saved: memory.wrapping_add(start + head * floats),
                scratch: working(&mut worker.scratch, scratch),
                output_grads: worker.outputs.as_ptr(),
                input_grads: worker.input_grads.as_ptr(),
                state_grads_in: worker.states_in.as_ptr(),
                state_grads_out: worker.states_out.as_ptr(),
            };
            // SAFETY: as in `forward`; the value heads of one key head run in this task alone, so what they add to is
            // not touched by another; kernels only read what forward kept.
            unsafe { entry(&args) }
            for (input, &sink) in sinks.iter().enumerate() {
                let last = member + 1 == group || !recurrence.inputs[input].per_key_head();
                if let Sink::Rounded(place, channels) = sink
                    && last
                {
                    round(&worker.staging[input].as_slice()[..sequence.tokens * channels], channels, place, spot);
                }
            }
        }
    });
    for (grad, sink) in grads.inputs.iter_mut().zip(&shared.0.2) {
        if let (Some(grad), Sink::Summed(start, channels)) = (grad, sink) {
            let each = problem.value_heads * channels;
            let values = &sums.as_slice()[*start..start + problem.sequence_count() * each];
            let sum = |at| values.iter().skip(at).step_by(each).map(|&x| x as f64).sum::<f64>();
            grad.write_f64(&(0..each).map(sum).collect::<Vec<f64>>());
        }
    }
    Ok(())
}

/// Rounds rows of f32 to the 16-bit type of a gradient.
fn round(from: &[f32], channels: usize, place: Place, spot: Spot) {
    let to = place.at(spot);
    for (row, from) in from.chunks_exact(channels).enumerate() {
        let row = to.ptr.wrapping_offset(row as isize * to.stride * place.dtype.size() as isize);
        if place.dtype == DType::Bf16 {
            // SAFETY: a row of the gradient's view, checked against the problem, written by this task alone.
            unsafe { std::slice::from_raw_parts_mut(row.cast::<half::bf16>(), channels) }.convert_from_f32_slice(from);
        } else {
            // SAFETY: the same.
            unsafe { std::slice::from_raw_parts_mut(row.cast::<half::f16>(), channels) }.convert_from_f32_slice(from);
        }
    }
}

fn missing(pass: &str) -> Error {
    Error::unsupported(pass, "the kernel has no such pass")
}
