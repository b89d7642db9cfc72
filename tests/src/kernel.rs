//! Calls generated kernels directly, one sequence and head after another, and compares them with the definition.

use rla_build::compile::{Cache, Compiled};
use rla_build::table::Table;
use rla_codegen::abi::{Args, DTYPE_F32, Entry, StateView, View};
use rla_codegen::abi::{PASS_BACKWARD, PASS_DECODE, PASS_FORWARD, PASS_FORWARD_SAVE};
use rla_codegen::data::{Cotangents, Inputs};
use rla_codegen::kernel::{CpuKernel, Form, Level};
use rla_codegen::oracle::shape;
use rla_dsl::recurrence::{InputKind, Recurrence};
use rla_runtime::case::Results;
use rla_runtime::kernel::dispatch;

/// Kernels of a recurrence, by level.
pub struct Kernels {
    entries: Vec<(Level, Entry)>,
    /// What the entries are of.
    _libraries: Vec<libloading::Library>,
    recurrence: Recurrence,
}

/// Levels that this machine runs.
pub fn levels() -> Vec<Level> {
    let mut levels = vec![];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
            levels.push(Level::Avx512);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            levels.push(Level::Avx2);
        }
    }
    #[cfg(target_arch = "aarch64")]
    levels.push(Level::Neon);
    levels.push(Level::Portable);
    levels
}

impl Kernels {
    /// Those that the program runs by default, on every level of this machine: compiled into it, else compiled now. The best level is
    /// found where the program keeps it, so that tests that follow compile nothing again.
    pub fn of_program(recurrence: &Recurrence) -> Kernels {
        let schedule = Table::shipped().and_then(|table| table.schedule(&recurrence.name));
        let schedule = schedule.unwrap_or_else(|e| panic!("{}: {e}", recurrence.name));
        let write = |levels: &[Level]| {
            let text = dispatch::text(recurrence, Form::Chunk, &schedule, levels);
            text.unwrap_or_else(|e| panic!("{}: {e}", recurrence.name))
        };
        let (levels, mut kernels) = (levels(), Kernels::none(recurrence));
        let text = write(&levels);
        let built_in = rla_kernels::lookup(&text.symbol).filter(|k| k.configuration == text.configuration);
        if let Some(built_in) = built_in {
            let own = built_in.entries.iter().filter(|(level, _)| levels.contains(level));
            // SAFETY: a generated function that only fills in a table.
            kernels.entries.extend(own.map(|(level, entry)| (*level, unsafe { entry() })));
            return kernels;
        }
        // as dispatch names it
        let best = Cache::of_user().library("rla", &write(&levels[..1]).source, || {});
        let best = best.unwrap_or_else(|e| panic!("{}: {e}", recurrence.name));
        kernels.open(&best, &text.symbol, &levels[..1]);
        if levels.len() > 1 {
            kernels.compiled(&write(&levels[1..]), &levels[1..]);
        }
        kernels
    }

    /// Compiles a text.
    pub fn compile(recurrence: &Recurrence, text: &CpuKernel) -> Kernels {
        let mut kernels = Kernels::none(recurrence);
        kernels.compiled(text, &text.levels);
        kernels
    }

    fn none(recurrence: &Recurrence) -> Kernels {
        Kernels { entries: vec![], _libraries: vec![], recurrence: recurrence.clone() }
    }

    fn compiled(&mut self, text: &CpuKernel, levels: &[Level]) {
        let folder = std::env::temp_dir().join(format!("rla-kernel-{}", std::process::id()));
        // with the flags of the program, so that what is tested is what runs
        let compiled = Cache::at(&folder).library_by_one_thread(&self.recurrence.name, &text.source);
        let compiled = compiled.unwrap_or_else(|e| panic!("{}: {e}", self.recurrence.name));
        self.open(&compiled, &text.symbol, levels);
        if std::env::var_os("RLA_KEEP").is_none() {
            let _ = std::fs::remove_file(&compiled.source);
            let _ = std::fs::remove_file(&compiled.path);
        }
    }

    fn open(&mut self, compiled: &Compiled, symbol: &str, levels: &[Level]) {
        // SAFETY: the library holds generated kernels only, without initialisers.
        let library = unsafe { libloading::Library::new(&compiled.path) }.expect("the library loads");
        for &level in levels {
            let name = format!("{symbol}_{}", level.name());
            // SAFETY: every text defines this function for each of its levels.
            let entry = unsafe { (*library.get::<extern "C" fn() -> Entry>(name.as_bytes()).expect("its entry"))() };
            self.entries.push((level, entry));
        }
        self._libraries.push(library);
    }

    /// The entry of a level.
    pub fn entry(&self, level: Level) -> Entry {
        self.entries.iter().find(|(held, _)| *held == level).expect("the level's entry").1
    }

    /// Decode of every token, the states in place.
    pub fn decode(&self, level: Level, inputs: &Inputs, value_major: bool) -> Results {
        Call::new(&self.recurrence, inputs, value_major).forward(&self.entry(level), true)
    }

    /// Forward without keeping, then forward that keeps and backward. Memory is poisoned with NaN before each call.
    pub fn run(&self, level: Level, inputs: &Inputs, cotangents: Option<&Cotangents>, value_major: bool) -> Results {
        let entry = self.entry(level);
        let call = Call::new(&self.recurrence, inputs, value_major);
        let mut results = call.forward(&entry, false);
        if let Some(cotangents) = cotangents {
            let (inputs, states) = call.backward(&entry, cotangents);
            results.input_gradients = inputs;
            results.state_gradients = states;
        }
        results
    }
}

fn floats(x: &[f64]) -> Vec<f32> {
    x.iter().map(|x| *x as f32).collect()
}

fn wide(x: Vec<f32>) -> Option<Vec<f64>> {
    Some(x.into_iter().map(f64::from).collect())
}

struct Call<'a> {
    recurrence: &'a Recurrence,
    inputs: &'a Inputs,
    value_major: bool,
    tensors: Vec<Vec<f32>>,
    states: Vec<Option<Vec<f32>>>,
    constants: Vec<f32>,
}

/// A NaN-filled, aligned buffer with a border that a kernel must leave alone.
struct Poisoned {
    memory: Vec<f32>,
    start: usize,
    floats: usize,
}

const BORDER: usize = 1024;

impl Poisoned {
    fn new(floats: usize) -> Poisoned {
        let mut memory = vec![f32::NAN; floats + 2 * BORDER + 16];
        let start = BORDER + memory[BORDER..].as_ptr().align_offset(64);
        memory[..start].fill(7.0);
        memory[start + floats..].fill(7.0);
        Poisoned { memory, start, floats }
    }

    fn pointer(&mut self) -> *mut f32 {
        self.memory[self.start..].as_mut_ptr()
    }
}

impl Drop for Poisoned {
    fn drop(&mut self) {
        let (before, rest) = self.memory.split_at(self.start);
        let border = before.iter().chain(&rest[self.floats..]);
        let broken = border.filter(|x| x.to_bits() != 7.0f32.to_bits()).count();
        if !std::thread::panicking() {
            assert_eq!(broken, 0, "a kernel wrote outside the memory that it asked for");
        }
    }
}

impl<'a> Call<'a> {
    fn new(recurrence: &'a Recurrence, inputs: &'a Inputs, value_major: bool) -> Call<'a> {
        Call {
            recurrence,
            inputs,
            value_major,
            tensors: inputs.tensors.iter().map(|t| floats(t)).collect(),
            states: inputs
                .states
                .iter()
                .enumerate()
                .map(|(i, s)| s.as_ref().map(|s| Self::laid(recurrence, inputs, value_major, i, s)))
                .collect(),
            constants: floats(&inputs.consts),
        }
    }

    /// A state tensor in the layout of the call.
    fn laid(recurrence: &Recurrence, inputs: &Inputs, value_major: bool, index: usize, state: &[f64]) -> Vec<f32> {
        let (rows, cols) = Self::sizes(recurrence, inputs, index);
        let mut out = floats(state);
        if !value_major {
            for (block, from) in out.chunks_mut(rows * cols).zip(state.chunks(rows * cols)) {
                for r in 0..rows {
                    for c in 0..cols {
                        block[c * rows + r] = from[r * cols + c] as f32;
                    }
                }
            }
        }
        out
    }

    fn unlaid(&self, index: usize, state: Vec<f32>) -> Option<Vec<f64>> {
        let (rows, cols) = Self::sizes(self.recurrence, self.inputs, index);
        if self.value_major {
            return wide(state);
        }
        let mut out = vec![0.0; state.len()];
        for (block, from) in out.chunks_mut(rows * cols).zip(state.chunks(rows * cols)) {
            for r in 0..rows {
                for c in 0..cols {
                    block[r * cols + c] = f64::from(from[c * rows + r]);
                }
            }
        }
        Some(out)
    }

    fn sizes(recurrence: &Recurrence, inputs: &Inputs, index: usize) -> (usize, usize) {
        let state = &recurrence.states[index];
        let size = |s: rla_dsl::recurrence::Side| inputs.dims.sizes[s.0 as usize];
        (state.rows.map_or(1, size), size(state.cols))
    }

    fn head(&self, input: usize, head: usize) -> (usize, usize) {
        let dims = &self.inputs.dims;
        if self.recurrence.inputs[input].per_key_head() {
            (dims.key_heads, dims.key_head(head))
        } else {
            (dims.value_heads, head)
        }
    }

    fn width(&self, input: usize) -> usize {
        self.recurrence.inputs[input].side.map_or(1, |s| self.inputs.dims.sizes[s.0 as usize])
    }

    fn input_views(&self, data: &mut [Vec<f32>], start: usize, head: usize, accumulate: bool) -> Vec<View> {
        (0..self.recurrence.inputs.len())
            .map(|i| {
                let (heads, head) = self.head(i, head);
                let n = self.width(i);
                let param = self.recurrence.inputs[i].kind == InputKind::Param;
                let at = if param { head * n } else { (start * heads + head) * n };
                View {
                    ptr: data[i].as_mut_ptr().wrapping_add(at).cast(),
                    stride: if param { 0 } else { (heads * n) as isize },
                    dtype: DTYPE_F32,
                    accumulate: u32::from(accumulate),
                }
            })
            .collect()
    }

    fn output_views(&self, data: &mut [Vec<f32>], start: usize, head: usize) -> Vec<View> {
        (0..self.recurrence.outputs.len())
            .map(|i| {
                let n = shape::output(self.recurrence, i, &self.inputs.dims).get(3).copied().unwrap_or(1);
                let heads = self.inputs.dims.value_heads;
                let at = (start * heads + head) * n;
                let ptr = if data[i].is_empty() {
                    std::ptr::null_mut()
                } else {
                    data[i].as_mut_ptr().wrapping_add(at).cast()
                };
                View { ptr, stride: (heads * n) as isize, dtype: DTYPE_F32, accumulate: 0 }
            })
            .collect()
    }

    fn state_views(&self, data: &mut [Option<Vec<f32>>], sequence: usize, head: usize) -> Vec<StateView> {
        (0..self.recurrence.states.len())
            .map(|i| {
                let (rows, cols) = Self::sizes(self.recurrence, self.inputs, i);
                let at = (sequence * self.inputs.dims.value_heads + head) * rows * cols;
                let (row_stride, col_stride) = if self.value_major { (cols as isize, 1) } else { (1, rows as isize) };
                let ptr = data[i].as_mut().map_or(std::ptr::null_mut(), |d| d.as_mut_ptr().wrapping_add(at));
                StateView { ptr, row_stride, col_stride }
            })
            .collect()
    }

    fn state_memory(&self) -> Vec<Option<Vec<f32>>> {
        let dims = &self.inputs.dims;
        let n = self.inputs.sequence_count();
        let size = |i| shape::state(&self.recurrence.states[i], dims, n).iter().product();
        (0..self.recurrence.states.len()).map(|i| Some(vec![f32::NAN; size(i)])).collect()
    }

    fn call(&self, f: Option<unsafe extern "C" fn(*const Args)>, args: &Args) {
        // SAFETY: the views cover tensors of the shapes that the recurrence asks for, and outlive the call.
        unsafe { f.expect("the pass exists")(args) }
    }

    fn scratch(&self, entry: &Entry, pass: u32) -> Poisoned {
        // SAFETY: one size a side.
        Poisoned::new(unsafe { entry.scratch.expect("a scratch size")(pass, self.inputs.dims.sizes.as_ptr()) })
    }

    fn forward(&self, entry: &Entry, decode: bool) -> Results {
        let mut outputs: Vec<Vec<f32>> = (0..self.recurrence.outputs.len())
            .map(|i| vec![f32::NAN; shape::output(self.recurrence, i, &self.inputs.dims).iter().product()])
            .collect();
        let mut finals = self.state_memory();
        let mut tensors = self.tensors.clone();
        let mut initial = self.states.clone();
        if decode {
            for (state, own) in initial.iter_mut().zip(&finals) {
                let zeros = own.as_ref().map(|s| vec![0.0; s.len()]);
                *state = state.take().or(zeros);
            }
        }
        for (n, sequence) in self.inputs.sequences().into_iter().enumerate() {
            for head in 0..self.inputs.dims.value_heads {
                let mut memory = self.scratch(entry, if decode { PASS_DECODE } else { PASS_FORWARD });
                let args = Args {
                    tokens: sequence.len(),
                    inputs: self.input_views(&mut tensors, sequence.start, head, false).leak().as_ptr(),
                    outputs: self.output_views(&mut outputs, sequence.start, head).leak().as_ptr(),
                    states_in: self.state_views(&mut initial, n, head).leak().as_ptr(),
                    states_out: self.state_views(&mut finals, n, head).leak().as_ptr(),
                    scratch: memory.pointer(),
                    ..self.nothing()
                };
                self.call(if decode { entry.decode } else { entry.forward }, &args);
            }
        }
        if decode {
            finals = initial;
        }
        Results {
            outputs: outputs.into_iter().map(wide).collect(),
            states: finals.into_iter().enumerate().map(|(i, s)| self.unlaid(i, s.expect("made"))).collect(),
            input_gradients: vec![None; self.recurrence.inputs.len()],
            state_gradients: vec![None; self.recurrence.states.len()],
        }
    }

    fn nothing(&self) -> Args {
        Args {
            tokens: 0,
            sizes: self.inputs.dims.sizes.as_ptr(),
            constants: self.constants.as_ptr(),
            inputs: std::ptr::null(),
            outputs: std::ptr::null(),
            states_in: std::ptr::null(),
            states_out: std::ptr::null(),
            saved: std::ptr::null_mut(),
            scratch: std::ptr::null_mut(),
            output_grads: std::ptr::null(),
            input_grads: std::ptr::null(),
            state_grads_in: std::ptr::null(),
            state_grads_out: std::ptr::null(),
        }
    }

    #[allow(clippy::type_complexity)]
    fn backward(&self, entry: &Entry, cotangents: &Cotangents) -> (Vec<Option<Vec<f64>>>, Vec<Option<Vec<f64>>>) {
        let mut tensors = self.tensors.clone();
        let mut initial = self.states.clone();
        let mut outputs: Vec<Vec<f32>> = (0..self.recurrence.outputs.len())
            .map(|i| vec![f32::NAN; shape::output(self.recurrence, i, &self.inputs.dims).iter().product()])
            .collect();
        let mut finals = self.state_memory();
        let mut grads: Vec<Vec<f32>> = tensors.iter().map(|t| vec![0.0; t.len()]).collect();
        let mut state_grads = self.state_memory();
        let mut out_grads: Vec<Vec<f32>> =
            cotangents.outputs.iter().map(|c| c.as_ref().map_or(vec![], |c| floats(c))).collect();
        let mut final_grads: Vec<Option<Vec<f32>>> = cotangents
            .states
            .iter()
            .enumerate()
            .map(|(i, s)| s.as_ref().map(|s| Self::laid(self.recurrence, self.inputs, self.value_major, i, s)))
            .collect();
        for (n, sequence) in self.inputs.sequences().into_iter().enumerate() {
            for head in 0..self.inputs.dims.value_heads {
                // SAFETY: one size a side.
                let floats =
                    unsafe { entry.saved.expect("a saved size")(sequence.len(), self.inputs.dims.sizes.as_ptr()) };
                let mut saved = Poisoned::new(floats);
                let mut memory = self.scratch(entry, PASS_FORWARD_SAVE);
                let args = Args {
                    tokens: sequence.len(),
                    inputs: self.input_views(&mut tensors, sequence.start, head, false).leak().as_ptr(),
                    outputs: self.output_views(&mut outputs, sequence.start, head).leak().as_ptr(),
                    states_in: self.state_views(&mut initial, n, head).leak().as_ptr(),
                    states_out: self.state_views(&mut finals, n, head).leak().as_ptr(),
                    saved: saved.pointer(),
                    scratch: memory.pointer(),
                    ..self.nothing()
                };
                self.call(entry.forward, &args);
                let mut memory = self.scratch(entry, PASS_BACKWARD);
                let args = Args {
                    scratch: memory.pointer(),
                    output_grads: self.output_views(&mut out_grads, sequence.start, head).leak().as_ptr(),
                    input_grads: self.input_views(&mut grads, sequence.start, head, true).leak().as_ptr(),
                    state_grads_in: self.state_views(&mut final_grads, n, head).leak().as_ptr(),
                    state_grads_out: self.state_views(&mut state_grads, n, head).leak().as_ptr(),
                    ..args
                };
                self.call(entry.backward, &args);
            }
        }
        let states = state_grads.into_iter().enumerate().map(|(i, s)| self.unlaid(i, s.expect("made"))).collect();
        (grads.into_iter().map(wide).collect(), states)
    }
}
