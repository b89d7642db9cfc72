//! Calls of a kernel's passes on whole tensors, a sequence and head after another, on memory of their own.
//!
//! The runtime calls kernels with views of any strides; a search needs dense tensors, and runs in build scripts too, where the
//! runtime is not.
#![allow(unsafe_code)] // loading a library and calling it

use super::memory::{Buffer, Element, Guarded};
use crate::error::Error;
use rayon::prelude::*;
use rla_codegen::abi::{self, Args, Entry, StateView, View};
use rla_codegen::data::{Cotangents, Dims, Gradients, Inputs, Outputs};
use rla_codegen::kernel::Level;
use rla_codegen::oracle::shape;
use rla_codegen::schedule::Slot;
use rla_dsl::recurrence::{Input, InputKind, Recurrence, Side};
use std::ops::Range;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A loaded library of generated kernels.
pub struct Kernels {
    entry: Entry,
    /// Threads that tasks are divided among, at most; 0: all of the call's.
    threads: usize,
    _library: libloading::Library,
}

impl Kernels {
    /// Loads what rustc made of a generated text.
    pub fn open(path: &Path, symbol: &str, level: Level) -> Result<Kernels, Error> {
        let refused = |e: libloading::Error| Error::file(path, format!("cannot be loaded: {e}"));
        // SAFETY: the file was made from text that our emitter wrote; it has no initialiser to run.
        let library = unsafe { libloading::Library::new(path) }.map_err(refused)?;
        let name = format!("{symbol}_{}\0", level.name());
        let entry = {
            // SAFETY: the emitter gives a function of this name this signature; both sides compile the same `abi` text.
            let function =
                unsafe { library.get::<unsafe extern "C" fn() -> Entry>(name.as_bytes()) }.map_err(refused)?;
            // SAFETY: as above; the function takes nothing and only fills in a table.
            unsafe { function() }
        };
        Ok(Kernels { entry, threads: 0, _library: library })
    }

    /// The same, its tasks divided among so many threads at most; 0: among all of the call's.
    pub fn divided(self, threads: usize) -> Kernels {
        Kernels { threads, ..self }
    }
}

type Pass = unsafe extern "C" fn(*const Args);

/// Tensors of a call with room for its results.
pub struct Call {
    recurrence: Recurrence,
    dims: Dims,
    sequences: Vec<Range<usize>>,
    constants: Vec<f32>,
    inputs: Vec<Buffer>,
    initial: Vec<Option<Vec<f32>>>,
    outputs: Vec<Buffer>,
    finals: Vec<Vec<f32>>,
    output_grads: Vec<Option<Buffer>>,
    final_grads: Vec<Option<Vec<f32>>>,
    /// f32; of parameters one part a sequence.
    input_grads: Vec<Buffer>,
    initial_grads: Vec<Vec<f32>>,
    /// By thread.
    scratch: Vec<Guarded>,
    /// By sequence and value head.
    kept: Vec<Guarded>,
    threads: usize,
    /// Whether decode goes on from the states that it left.
    decoding: bool,
}

fn floats(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&x| x as f32).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// The type of an input: q, k, v and the like have the call's, gates and parameters f32.
pub fn element_of(decl: &Input, element: Element) -> Element {
    if decl.carries_values() { element } else { Element::F32 }
}

impl Call {
    /// A call on inputs whose values have `element`, results in `output`.
    pub fn new(
        recurrence: &Recurrence,
        inputs: &Inputs,
        cotangents: Option<&Cotangents>,
        (element, output): (Element, Element),
        threads: usize,
    ) -> Call {
        let dims = inputs.dims.clone();
        let count = inputs.sequence_count();
        let outputs = (0..recurrence.outputs.len()).map(|i| {
            let count = shape::output(recurrence, i, &dims).iter().product();
            Buffer::poisoned(output, count)
        });
        let state_size = |i: usize| shape::state(&recurrence.states[i], &dims, count).iter().product::<usize>();
        let states = || (0..recurrence.states.len()).map(|i| vec![f32::NAN; state_size(i)]).collect::<Vec<_>>();
        let optional = |values: &Option<Vec<f64>>| values.as_ref().map(|v| floats(v));
        let backward = cotangents.is_some();
        let grad = |(decl, values): (&Input, &Vec<f64>)| {
            let parts = if decl.kind == InputKind::Param { count } else { 1 };
            Buffer::poisoned(Element::F32, if backward { parts * values.len() } else { 0 })
        };
        Call {
            sequences: inputs.sequences(),
            constants: floats(&inputs.consts),
            inputs: (recurrence.inputs.iter().zip(&inputs.tensors))
                .map(|(decl, values)| Buffer::new(element_of(decl, element), values))
                .collect(),
            initial: inputs.states.iter().map(optional).collect(),
            outputs: outputs.collect(),
            finals: states(),
            output_grads: cotangents.map_or_else(Vec::new, |c| {
                c.outputs.iter().map(|v| v.as_ref().map(|v| Buffer::new(output, v))).collect()
            }),
            final_grads: cotangents
                .map_or(vec![None; recurrence.states.len()], |c| c.states.iter().map(optional).collect()),
            input_grads: recurrence.inputs.iter().zip(&inputs.tensors).map(grad).collect(),
            initial_grads: if backward { states() } else { vec![] },
            scratch: vec![],
            kept: vec![],
            recurrence: recurrence.clone(),
            dims,
            threads: threads.max(1),
            decoding: false,
        }
    }

    /// Takes memory for the passes of a kernel, exactly as much as it asks for, all of it poisoned. Results too are poisoned.
    pub fn prepare(&mut self, kernels: &Kernels, slot: Slot) -> Result<(), Error> {
        self.scratch.clear();
        self.kept.clear();
        self.reserve(kernels, slot)?;
        self.poison();
        Ok(())
    }

    /// Takes more memory where a kernel asks for more than there is, of any contents.
    pub fn reserve(&mut self, kernels: &Kernels, slot: Slot) -> Result<(), Error> {
        let missing = |what: &str| Error::Compile(format!("the kernel states no {what}: a defect of ours"));
        let scratch = kernels.entry.scratch.ok_or_else(|| missing("size of its working memory"))?;
        let sizes = self.dims.sizes.as_ptr();
        let training = slot.trains();
        let passes: &[u32] = match slot {
            Slot::Forward => &[abi::PASS_FORWARD],
            Slot::Bf16 => &[abi::PASS_FORWARD_BF16],
            Slot::Decode => &[abi::PASS_DECODE],
            _ => &[abi::PASS_FORWARD_SAVE, abi::PASS_BACKWARD],
        };
        // SAFETY: `sizes` has one entry a side.
        let most = passes.iter().map(|&pass| unsafe { scratch(pass, sizes) }).max().unwrap_or(0);
        let grow = |memory: &mut Vec<Guarded>, index: usize, floats: usize| match memory.get_mut(index) {
            Some(there) if there.floats() >= floats => {}
            Some(there) => *there = Guarded::new(floats),
            None => memory.push(Guarded::new(floats)),
        };
        (0..self.threads).for_each(|thread| grow(&mut self.scratch, thread, most));
        if training {
            let saved = kernels.entry.saved.ok_or_else(|| missing("size of what it keeps"))?;
            for (index, sequence) in self.sequences.iter().enumerate() {
                // SAFETY: the same.
                let floats = unsafe { saved(sequence.len(), sizes) };
                let heads = self.dims.value_heads;
                (0..heads).for_each(|head| grow(&mut self.kept, index * heads + head, floats));
            }
        }
        Ok(())
    }

    /// Poisons results and working memory.
    pub fn poison(&mut self) {
        self.decoding = false;
        self.outputs.iter_mut().chain(&mut self.input_grads).for_each(Buffer::poison);
        self.finals.iter_mut().chain(&mut self.initial_grads).for_each(|x| x.fill(f32::NAN));
        self.scratch.iter_mut().chain(&mut self.kept).for_each(Guarded::poison);
    }

    /// Whether a kernel wrote beside its working memory.
    pub fn broken(&self) -> bool {
        self.scratch.iter().chain(&self.kept).any(Guarded::broken)
    }

    /// Decode's states, in place: the initial ones, or where there are none what the run before left.
    fn start_decoding(&mut self) {
        for (state, initial) in self.finals.iter_mut().zip(&self.initial) {
            match initial {
                Some(initial) => state.copy_from_slice(initial),
                None if !self.decoding => state.fill(0.0),
                None => {}
            }
        }
        self.decoding = true;
    }

    /// Runs the passes of a slot: forward, forward with bf16 products, forward that keeps and backward, or decode.
    pub fn run(&mut self, kernels: &Kernels, slot: Slot) -> Result<(), Error> {
        let missing = |what: &str| Error::Compile(format!("the kernel has no {what}: a defect of ours"));
        let entry = &kernels.entry;
        let threads = if kernels.threads == 0 { self.threads } else { kernels.threads.min(self.threads) };
        match slot {
            Slot::Forward => self.each(entry.forward.ok_or_else(|| missing("forward"))?, false, threads),
            Slot::Bf16 => {
                self.each(entry.forward_bf16.ok_or_else(|| missing("forward with bf16 products"))?, false, threads);
            }
            Slot::Decode => {
                self.start_decoding();
                self.each(entry.decode.ok_or_else(|| missing("decode"))?, false, threads);
            }
            Slot::Training | Slot::TrainingChannel => {
                self.each(entry.forward.ok_or_else(|| missing("forward"))?, false, threads);
                self.each(entry.backward.ok_or_else(|| missing("backward"))?, true, threads);
            }
        }
        Ok(())
    }

    /// Every sequence and key head, by so many threads of the process's pool, as the runtime does; the value heads of a key head in
    /// order.
    fn each(&mut self, pass: Pass, backward: bool, threads: usize) {
        let heads = self.dims.key_heads;
        let tasks = self.sequences.len() * heads;
        let threads = threads.min(tasks).max(1);
        let mut calls = Calls::new(self, pass, backward);
        if self.decoding {
            calls.initial.clone_from(&calls.finals);
        }
        if threads == 1 {
            (0..tasks).for_each(|task| calls.run(task / heads, task % heads, 0));
            return;
        }
        let next = AtomicUsize::new(0);
        (0..threads).into_par_iter().with_max_len(1).for_each(|thread| {
            let tasks =
                std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed)).take_while(|task| *task < tasks);
            tasks.for_each(|task| calls.run(task / heads, task % heads, thread));
        });
    }

    /// What forward computed.
    pub fn computed(&self) -> Outputs {
        Outputs {
            outputs: self.outputs.iter().map(Buffer::values).collect(),
            states: self.finals.iter().map(|s| wide(s)).collect(),
        }
    }

    /// What backward computed.
    pub fn gradients(&self) -> Gradients {
        let count = self.sequences.len();
        let grad = |(decl, buffer): (&Input, &Buffer)| {
            let values = buffer.values();
            if decl.kind != InputKind::Param || count == 0 {
                return values;
            }
            let each = values.len() / count;
            (0..each).map(|at| (0..count).map(|n| values[n * each + at]).sum()).collect()
        };
        Gradients {
            inputs: self.recurrence.inputs.iter().zip(&self.input_grads).map(grad).collect(),
            states: self.initial_grads.iter().map(|s| wide(s)).collect(),
        }
    }
}

/// Where one tensor of tokens, or a parameter, lies.
#[derive(Clone, Copy)]
struct Place {
    at: *mut u8,
    size: usize,
    dtype: u32,
    heads: usize,
    width: usize,
    param: bool,
    per_key_head: bool,
    /// Of a parameter's gradient: elements of one sequence's part.
    part: usize,
}

/// The addresses of a call, shared by its threads.
struct Calls {
    pass: Pass,
    backward: bool,
    dims: Dims,
    sequences: Vec<Range<usize>>,
    constants: *const f32,
    inputs: Vec<Place>,
    outputs: Vec<Place>,
    output_grads: Vec<Option<Place>>,
    input_grads: Vec<Place>,
    initial: Vec<State>,
    finals: Vec<State>,
    final_grads: Vec<State>,
    initial_grads: Vec<State>,
    scratch: Vec<*mut f32>,
    kept: Vec<*mut f32>,
}

#[derive(Clone, Copy)]
struct State {
    at: *mut f32,
    rows: usize,
    columns: usize,
}

// SAFETY: the addresses point into the memory of a `Call` that is borrowed while they are used; a task writes rows, heads and
// sequences that are its own, and working memory of its own thread.
unsafe impl Sync for Calls {}

impl Calls {
    fn new(call: &mut Call, pass: Pass, backward: bool) -> Calls {
        let (recurrence, dims) = (call.recurrence.clone(), call.dims.clone());
        let size = |side: Side| dims.sizes[side.0 as usize];
        let input = |decl: &Input, at: *mut u8, element: Element, sequences: usize| {
            let per_key_head = decl.per_key_head();
            let heads = if per_key_head { dims.key_heads } else { dims.value_heads };
            let width = decl.side.map_or(1, size);
            let param = decl.kind == InputKind::Param;
            let part = if param && sequences > 0 { heads * width } else { 0 };
            let size = element.bytes();
            Place { at, size, dtype: element.code(), heads, width, param, per_key_head, part }
        };
        let output = |index: usize, buffer: &mut Buffer| {
            let width = shape::output(&recurrence, index, &dims).get(3).copied().unwrap_or(1);
            let element = buffer.element();
            let size = element.bytes();
            let (at, heads) = (buffer.address(), dims.value_heads);
            Place { at, size, dtype: element.code(), heads, width, param: false, per_key_head: false, part: 0 }
        };
        let state = |index: usize, memory: Option<&mut Vec<f32>>| {
            let decl = &recurrence.states[index];
            let at = memory.map_or(null_mut(), |m| m.as_mut_ptr());
            State { at, rows: decl.rows.map_or(1, size), columns: size(decl.cols) }
        };
        let count = call.sequences.len();
        let decls = recurrence.inputs.iter();
        Calls {
            pass,
            backward,
            sequences: call.sequences.clone(),
            constants: call.constants.as_ptr(),
            inputs: (decls.clone().zip(&mut call.inputs))
                .map(|(decl, buffer)| input(decl, buffer.address(), buffer.element(), 0))
                .collect(),
            outputs: call.outputs.iter_mut().enumerate().map(|(i, b)| output(i, b)).collect(),
            output_grads: (call.output_grads.iter_mut().enumerate())
                .map(|(i, b)| b.as_mut().map(|b| output(i, b)))
                .collect(),
            input_grads: (decls.zip(&mut call.input_grads))
                .map(|(decl, grad)| input(decl, grad.address(), Element::F32, count))
                .collect(),
            initial: call.initial.iter_mut().enumerate().map(|(i, s)| state(i, s.as_mut())).collect(),
            finals: call.finals.iter_mut().enumerate().map(|(i, s)| state(i, Some(s))).collect(),
            final_grads: call.final_grads.iter_mut().enumerate().map(|(i, s)| state(i, s.as_mut())).collect(),
            initial_grads: call.initial_grads.iter_mut().enumerate().map(|(i, s)| state(i, Some(s))).collect(),
            scratch: call.scratch.iter_mut().map(Guarded::address).collect(),
            kept: call.kept.iter_mut().map(Guarded::address).collect(),
            dims,
        }
    }

    fn view(&self, place: &Place, sequence: usize, head: usize, accumulate: bool) -> View {
        let head = if place.per_key_head { self.dims.key_head(head) } else { head };
        let start = self.sequences[sequence].start;
        let (at, stride) = match place.param {
            true => (sequence * place.part + head * place.width, 0),
            false => ((start * place.heads + head) * place.width, place.heads * place.width),
        };
        View {
            ptr: place.at.wrapping_add(at * place.size),
            stride: stride as isize,
            dtype: place.dtype,
            accumulate: u32::from(accumulate),
        }
    }

    fn states(&self, states: &[State], sequence: usize, head: usize) -> Vec<StateView> {
        let view = |state: &State| {
            let at = (sequence * self.dims.value_heads + head) * state.rows * state.columns;
            let ptr = if state.at.is_null() { state.at } else { state.at.wrapping_add(at) };
            StateView { ptr, row_stride: state.columns as isize, col_stride: 1 }
        };
        states.iter().map(view).collect()
    }

    /// One sequence and key head: its value heads in order.
    fn run(&self, sequence: usize, key_head: usize, thread: usize) {
        let group = self.dims.value_heads / self.dims.key_heads;
        for member in 0..group {
            let head = key_head * group + member;
            let views = |places: &[Place]| -> Vec<View> {
                places.iter().map(|place| self.view(place, sequence, head, false)).collect()
            };
            let (inputs, outputs) = (views(&self.inputs), views(&self.outputs));
            let initial = self.states(&self.initial, sequence, head);
            let finals = self.states(&self.finals, sequence, head);
            let kept = self.kept.get(sequence * self.dims.value_heads + head).copied().unwrap_or(null_mut());
            let absent = View { ptr: null_mut(), stride: 0, dtype: abi::DTYPE_F32, accumulate: 0 };
            let (mut output_grads, mut input_grads) = (vec![], vec![]);
            let (mut final_grads, mut initial_grads) = (vec![], vec![]);
            if self.backward {
                let optional =
                    |place: &Option<Place>| place.as_ref().map_or(absent, |p| self.view(p, sequence, head, false));
                output_grads.extend(self.output_grads.iter().map(optional));
                let summed = |place: &Place| self.view(place, sequence, head, place.per_key_head && member > 0);
                input_grads.extend(self.input_grads.iter().map(summed));
                final_grads = self.states(&self.final_grads, sequence, head);
                initial_grads = self.states(&self.initial_grads, sequence, head);
            }
            let args = Args {
                tokens: self.sequences[sequence].len(),
                sizes: self.dims.sizes.as_ptr(),
                constants: self.constants,
                inputs: inputs.as_ptr(),
                outputs: outputs.as_ptr(),
                states_in: initial.as_ptr(),
                states_out: finals.as_ptr(),
                saved: kept,
                scratch: self.scratch[thread],
                output_grads: output_grads.as_ptr(),
                input_grads: input_grads.as_ptr(),
                state_grads_in: final_grads.as_ptr(),
                state_grads_out: initial_grads.as_ptr(),
            };
            // SAFETY: the views cover tensors of the shapes that the recurrence asks for, and outlive the call; the value
            // heads of one key head run in this task alone, one after another.
            unsafe { (self.pass)(&args) };
        }
    }
}
