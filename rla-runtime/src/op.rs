//! One operation behind one interface: forward, backward and decode of a recurrence, on any backend.
//!
//! Layouts: `key` inputs `[B,T,H,K]`, `value` inputs and outputs `[B,T,HV,V]`, scalars `[B,T,HV]`, parameters without B
//! and T, states `[N,HV,V,K]` or `[N,HV,K,V]` by [`StateLayout`]. Tensors come in the order of the recurrence's
//! declarations. Each call exists twice: one that makes its results, one (`_into`) that writes memory of the caller.
use crate::device::cuda::host;
use crate::error::{Error, Result};
use crate::kernel::args::{self, Region, Rules};
use crate::kernel::dispatch::{self, Kernel};
use crate::kernel::launch;
use crate::kernel::throughput::{Chosen, Throughput};
use crate::tensor::{DType, Tensor, View, ViewMut};
use rla_build::tune::Made;
use rla_codegen::canon::canonicalize;
use rla_codegen::data::Cotangents;
use rla_codegen::kernel::{Compiled, CpuKernel, Form, Level};
use rla_codegen::schedule::{Schedule, cuda};
use rla_dsl::recurrence::{InputKind, Recurrence, Side};
use std::sync::Arc;

#[cfg(feature = "models")]
pub mod candle;
pub mod interpret;
mod mode;
pub mod pool;

use mode::CallOf;
pub use mode::{mode_of_process, set_mode};

pub use crate::kernel::dispatch::Report;
pub use crate::problem::{Problem, Products, StateLayout};
use interpret::Interpreter;
pub use rla_build::table::{Bucketed, Mode};

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// The definition in f64, token by token.
    Oracle,
    /// The compiled tile program, interpreted in f64.
    Tile,
    /// The generated token-by-token kernel.
    Recurrent,
    /// The generated chunk-parallel kernel; for a recurrence outside the class the token-by-token one, and the report says so.
    Cpu,
    /// The generated kernels for an NVIDIA GPU.
    Cuda,
}

impl Backend {
    /// The name in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Oracle => "oracle",
            Backend::Tile => "tile",
            Backend::Recurrent => "recurrent",
            Backend::Cpu => "cpu",
            Backend::Cuda => "cuda",
        }
    }
}

/// A recurrence and what computes it. Cheap to clone, and shared between threads.
#[derive(Clone)]
pub struct Operation {
    recurrence: Arc<Recurrence>,
    backend: Backend,
    engine: Engine,
    /// In mode throughput on a CPU.
    throughput: Option<Arc<Throughput>>,
}

#[derive(Clone)]
enum Engine {
    Interpreter(Arc<dyn Interpreter>),
    Kernel(Arc<Kernel>),
    Cuda(Arc<host::Engine>),
}

/// What forward is asked for beside its inputs.
#[derive(Clone, Copy, Default)]
pub struct ForwardOptions<'a> {
    /// Values of the constants, in order; `None`: the variant's own. See [`Operation::constants`].
    pub constants: Option<&'a [f64]>,
    /// Initial states, in order; empty or `None`: zero.
    pub initial_states: &'a [Option<View<'a>>],
    /// Layout of initial and final states.
    pub layout: StateLayout,
    /// What products may be computed in. A forward that keeps computes them in f32, as backward does.
    pub products: Products,
    /// Keep what backward needs ([`Operation::forward`] only).
    pub save: bool,
    /// Return the final states ([`Operation::forward`] only).
    pub final_states: bool,
    /// Element type of the outputs; `None`: that of the first `value` input ([`Operation::forward`] only).
    pub output_dtype: Option<DType>,
}

/// What forward gives.
pub struct Forward {
    /// The outputs.
    pub outputs: Vec<Tensor>,
    /// The states after each sequence's last token; empty unless asked for.
    pub final_states: Vec<Tensor>,
    /// What backward needs, where it was asked for.
    pub saved: Option<Saved>,
}

/// What forward keeps for backward. May be handed to forward again, which then reuses its memory.
#[derive(Default)]
pub struct Saved {
    problem: Option<Problem>,
    constants: Vec<f64>,
    initial: Vec<Option<Vec<f64>>>,
    kept: launch::Kept,
    /// What ran forward, and runs backward.
    chosen: Option<Chosen>,
    on_device: host::Kept,
}

impl Saved {
    /// The sizes that forward ran with; `None` before it has run.
    pub fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref()
    }

    /// Bytes held for backward.
    pub fn bytes(&self) -> usize {
        self.kept.bytes()
            + self.on_device.bytes()
            + self.initial.iter().flatten().map(|state| 8 * state.len()).sum::<usize>()
    }
}

/// What backward is asked for beside inputs and what forward kept. Constants are those that forward ran with.
#[derive(Clone, Copy, Default)]
pub struct BackwardOptions<'a> {
    /// Gradients of the outputs, in order; empty or `None`: zero.
    pub output_grads: &'a [Option<View<'a>>],
    /// Gradients of the final states, in order; empty or `None`: zero.
    pub final_state_grads: &'a [Option<View<'a>>],
    /// Layout of gradients of final and initial states.
    pub layout: StateLayout,
}

/// What backward gives.
pub struct Gradients {
    /// Of the inputs and parameters: per-token `key` and `value` inputs in the input's own type, all others f32.
    pub inputs: Vec<Tensor>,
    /// Of the initial states, f32.
    pub initial_states: Vec<Tensor>,
}

impl Operation {
    /// An operation of a recurrence, in the mode that `RLA_MODE` or [`set_mode`] says. Kernels are chosen, and if need be compiled, here.
    pub fn new(recurrence: Recurrence, backend: Backend) -> Result<Operation> {
        Operation::invariant(recurrence, backend)?.with_mode(mode::mode_of_process()?)
    }

    fn invariant(recurrence: Recurrence, backend: Backend) -> Result<Operation> {
        let engine = match backend {
            Backend::Oracle => Engine::Interpreter(Arc::new(interpret::Oracle)),
            Backend::Tile => Engine::Interpreter(Arc::new(interpret::Tile::new(&recurrence, None)?)),
            Backend::Recurrent => Engine::Kernel(dispatch::find(&recurrence, Form::Token)?),
            Backend::Cpu => {
                let form = if canonicalize(&recurrence).is_ok() { Form::Chunk } else { Form::Token };
                Engine::Kernel(dispatch::find(&recurrence, form)?)
            }
            Backend::Cuda => return Operation::cuda(recurrence, None),
        };
        Ok(Operation { recurrence: Arc::new(recurrence), backend, engine, throughput: None })
    }

    /// An operation of a published recurrence, by its name (`rdn`, `gated_delta_net` ...).
    pub fn builtin(name: &str, backend: Backend) -> Result<Operation> {
        Operation::new(builtin(name)?, backend)
    }

    /// The tile programs, interpreted with chunks of `chunk` tokens.
    pub fn tile(recurrence: Recurrence, chunk: usize) -> Result<Operation> {
        let engine = Engine::Interpreter(Arc::new(interpret::Tile::new(&recurrence, Some(chunk))?));
        Ok(Operation { recurrence: Arc::new(recurrence), backend: Backend::Tile, engine, throughput: None })
    }

    /// The chunk-parallel kernel with chunks of `chunk` tokens in every pass, compiled by rustc where that is not what the
    /// table says. A chunk that no schedule holds is refused.
    pub fn cpu_with_chunk(recurrence: Recurrence, chunk: usize) -> Result<Operation> {
        let kernel = dispatch::with_chunk(&recurrence, chunk)?;
        Ok(Operation {
            recurrence: Arc::new(recurrence),
            backend: Backend::Cpu,
            engine: Engine::Kernel(Arc::new(kernel)),
            throughput: None,
        })
    }

    /// The chunk-parallel kernel with these parameters (of a recurrence outside the class the token-by-token one, which has
    /// none), compiled by rustc where it is not in the user's cache.
    pub fn with_schedule(recurrence: Recurrence, schedule: &Schedule) -> Result<Operation> {
        let form = if canonicalize(&recurrence).is_ok() { Form::Chunk } else { Form::Token };
        let kernel = dispatch::with_schedule(&recurrence, form, schedule)?;
        let (recurrence, engine) = (Arc::new(recurrence), Engine::Kernel(Arc::new(kernel)));
        Ok(Operation { recurrence, backend: Backend::Cpu, engine, throughput: None })
    }

    /// Kernels of a library that was compiled elsewhere with these parameters. Passes that it lacks come from `whole`, or from this
    /// program; `None` where neither has them.
    pub fn from_library(
        recurrence: Recurrence,
        made: &Made,
        whole: Option<&Made>,
        level: Level,
        schedule: &Schedule,
    ) -> Result<Option<Operation>> {
        let kernel = Kernel::from_library(&recurrence, made, whole, level, schedule)?;
        let recurrence = Arc::new(recurrence);
        Ok(kernel.map(|kernel| Operation {
            recurrence,
            backend: Backend::Cpu,
            engine: Engine::Kernel(Arc::new(kernel)),
            throughput: None,
        }))
    }

    /// Kernels on the first NVIDIA GPU with these choices; without any, with those of the tables.
    pub fn cuda(recurrence: Recurrence, schedule: Option<cuda::Schedule>) -> Result<Operation> {
        let recurrence = Arc::new(recurrence);
        let engine = match schedule {
            None => host::Engine::shared(&recurrence, Mode::Invariant)?,
            Some(schedule) => Arc::new(host::Engine::pinned(&recurrence, schedule)?),
        };
        let engine = Engine::Cuda(engine);
        Ok(Operation { recurrence, backend: Backend::Cuda, engine, throughput: None })
    }

    /// A kernel text of one's own choice: another configuration, or one under test.
    pub fn from_text(recurrence: Recurrence, form: Form, text: &CpuKernel) -> Result<Operation> {
        let backend = match form {
            Form::Chunk => Backend::Cpu,
            Form::Token => Backend::Recurrent,
        };
        let kernel = Engine::Kernel(Arc::new(Kernel::from_text(&recurrence.name, form, text)?));
        Ok(Operation { recurrence: Arc::new(recurrence), backend, engine: kernel, throughput: None })
    }

    /// An interpreter in the place of a backend, and held to that backend's bounds: kernels under test.
    pub fn stand_in(recurrence: Recurrence, backend: Backend, interpreter: Arc<dyn Interpreter>) -> Operation {
        Operation {
            recurrence: Arc::new(recurrence),
            backend,
            engine: Engine::Interpreter(interpreter),
            throughput: None,
        }
    }

    /// Kernels that a build script compiled into this program; see [`crate::variant`].
    pub fn compiled(recurrence: Recurrence, kernels: &Compiled) -> Result<Operation> {
        let backend = match kernels.form {
            Form::Chunk => Backend::Cpu,
            Form::Token => Backend::Recurrent,
        };
        if kernels.symbol != rla_codegen::kernel::symbol(&recurrence, kernels.form) {
            let expected = format!("the kernels of `{}`", recurrence.name);
            return Err(Error::argument("kernels", expected, kernels.symbol));
        }
        let kernel = Engine::Kernel(Arc::new(Kernel::compiled(&recurrence.name, kernels)?));
        let operation = Operation { recurrence: Arc::new(recurrence), backend, engine: kernel, throughput: None };
        operation.with_mode(mode::mode_of_process()?)
    }

    /// The kernels on the GPU, for calls on raw addresses; `None` on other backends.
    pub fn on_device(&self) -> Option<&Arc<host::Engine>> {
        match &self.engine {
            Engine::Cuda(engine) => Some(engine),
            _ => None,
        }
    }

    /// The recurrence.
    pub fn recurrence(&self) -> &Recurrence {
        &self.recurrence
    }

    /// What computes.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Whether generated kernels run on a GPU; what is interpreted may only say that it is that backend.
    pub fn is_on_device(&self) -> bool {
        matches!(self.engine, Engine::Cuda(_))
    }

    /// Which kernel runs and why others do not; `None` for an interpreter.
    pub fn report(&self) -> Option<&Report> {
        match &self.engine {
            Engine::Interpreter(_) | Engine::Cuda(_) => None,
            Engine::Kernel(kernel) => Some(&kernel.report),
        }
    }

    /// Tokens a chunk of a forward that keeps nothing: a call may be cut at multiples of it without changing a bit. On a GPU the longest
    /// that it has for any sizes and types.
    pub fn chunk(&self) -> usize {
        match &self.engine {
            Engine::Interpreter(interpreter) => interpreter.chunk(),
            Engine::Kernel(kernel) => self.throughput.as_ref().map_or(kernel.report.chunk, |t| t.longest_chunk()),
            Engine::Cuda(engine) => engine.chunk(),
        }
    }

    /// What a forward that keeps nothing computes products in, for inputs of type `dtype`, where `permitted` is permitted.
    pub fn products(&self, permitted: Products, dtype: DType) -> Products {
        match &self.engine {
            Engine::Interpreter(_) => Products::F32,
            Engine::Cuda(_) => {
                if dtype.is_half() {
                    Products::Input
                } else {
                    Products::F32
                }
            }
            Engine::Kernel(kernel) => kernel.products(permitted, [dtype]),
        }
    }

    /// Values of the constants for these sizes: the variant's own, `overrides` by name in their place. A constant that
    /// is built from an overridden one follows it.
    pub fn constants(&self, sizes: &[usize], overrides: &[(&str, f64)]) -> Result<Vec<f64>> {
        let recurrence = &*self.recurrence;
        if sizes.len() != recurrence.sides.len() {
            let expected = format!("one size for each of {}", recurrence.sides.join(", "));
            return Err(Error::argument("sizes", expected, format!("{sizes:?}")));
        }
        if let Some((name, _)) = overrides.iter().find(|(name, _)| !recurrence.consts.iter().any(|c| c.name == *name)) {
            let known: Vec<_> = recurrence.consts.iter().map(|c| c.name.as_str()).collect();
            let expected = if known.is_empty() { "no constant at all".into() } else { known.join(" or ") };
            return Err(Error::argument("constants", expected, *name));
        }
        let mut values = Vec::with_capacity(recurrence.consts.len());
        for decl in &recurrence.consts {
            let given = overrides.iter().rev().find(|(name, _)| decl.name == *name);
            let value = given.map_or_else(|| recurrence.const_value(decl.value, sizes, &values), |(_, value)| *value);
            values.push(value);
        }
        args::constants(recurrence, &values)?;
        Ok(values)
    }

    fn rules(&self) -> Rules {
        match self.engine {
            Engine::Interpreter(_) => Rules::Interpreter,
            Engine::Kernel(_) | Engine::Cuda(_) => Rules::Kernel,
        }
    }

    fn constant_values(&self, problem: &Problem, given: Option<&[f64]>) -> Result<Vec<f64>> {
        let values = given.map_or_else(|| self.recurrence.const_defaults(&problem.sizes), <[f64]>::to_vec);
        args::constants(&self.recurrence, &values)?;
        Ok(values)
    }

    fn check(&self, problem: &Problem, inputs: &[View]) -> Result<()> {
        args::problem(&self.recurrence, problem, self.rules())?;
        args::inputs(&self.recurrence, problem, inputs, self.rules())
    }

    /// The type outputs get: that of the first per-token `value` input, else of the first input.
    fn output_dtype(&self, inputs: &[View]) -> DType {
        let declared = || self.recurrence.inputs.iter().zip(inputs);
        let value = declared().find(|(d, _)| d.kind == InputKind::Input && !d.gate && d.side == Some(Side::VALUE));
        value.or_else(|| declared().next()).map_or(DType::F32, |(_, view)| view.dtype())
    }

    /// Type of states and of gradients of gates: f64 only where an interpreter was given f64.
    fn state_dtype(&self, inputs: &[View]) -> DType {
        let wide = self.rules() == Rules::Interpreter && inputs.iter().any(|v| v.dtype() == DType::F64);
        if wide { DType::F64 } else { DType::F32 }
    }

    fn new_outputs(&self, problem: &Problem, dtype: DType) -> Result<Vec<Tensor>> {
        let make = |i| Tensor::zeros(dtype, &problem.output_shape(&self.recurrence, i));
        (0..self.recurrence.outputs.len()).map(make).collect()
    }

    fn new_states(&self, problem: &Problem, dtype: DType, layout: StateLayout) -> Result<Vec<Tensor>> {
        let count = problem.sequence_count();
        let make = |i| Tensor::zeros(dtype, &problem.state_shape(&self.recurrence, i, count, layout));
        (0..self.recurrence.states.len()).map(make).collect()
    }

    /// Outputs, and what else `options` asks for.
    pub fn forward(&self, problem: &Problem, inputs: &[View], options: &ForwardOptions) -> Result<Forward> {
        self.check(problem, inputs)?;
        let mut outputs =
            self.new_outputs(problem, options.output_dtype.unwrap_or_else(|| self.output_dtype(inputs)))?;
        let mut states = match options.final_states {
            true => self.new_states(problem, self.state_dtype(inputs), options.layout)?,
            false => vec![],
        };
        let mut saved = options.save.then(Saved::default);
        let mut output_views: Vec<_> = outputs.iter_mut().map(Tensor::view_mut).collect();
        let mut state_views: Vec<_> = states.iter_mut().map(|t| Some(t.view_mut())).collect();
        self.forward_into(problem, inputs, options, &mut output_views, &mut state_views, saved.as_mut())?;
        Ok(Forward { outputs, final_states: states, saved })
    }

    /// Forward into memory of the caller. `final_states` may be empty: not wanted. Outputs may be strided and f32, or
    /// 16-bit, whatever the inputs are.
    pub fn forward_into(
        &self,
        problem: &Problem,
        inputs: &[View],
        options: &ForwardOptions,
        outputs: &mut [ViewMut],
        final_states: &mut [Option<ViewMut>],
        saved: Option<&mut Saved>,
    ) -> Result<()> {
        let (recurrence, rules, layout) = (&*self.recurrence, self.rules(), options.layout);
        self.check(problem, inputs)?;
        args::states(
            recurrence,
            problem,
            "initial states",
            |s| format!("{s}0"),
            options.initial_states,
            layout,
            rules,
        )?;
        args::outputs(recurrence, problem, outputs, rules)?;
        args::states_mut(recurrence, problem, "final states", |s| format!("final {s}"), final_states, layout, rules)?;
        let mut regions = input_regions(recurrence, inputs);
        regions.extend(state_regions(recurrence, options.initial_states));
        regions.extend(recurrence.outputs.iter().zip(&*outputs).map(|(name, view)| Region::written(name, view)));
        regions.extend(state_regions_mut(recurrence, final_states));
        args::no_aliases(&regions)?;
        let constants = self.constant_values(problem, options.constants)?;
        match &self.engine {
            Engine::Kernel(kernel) => {
                let slot = if saved.is_some() { CallOf::Training } else { CallOf::Forward(options.products) };
                let chosen = self.chosen(kernel, problem, inputs, slot)?;
                let kept = saved.map(|saved| {
                    saved.problem = Some(problem.clone());
                    saved.constants.clone_from(&constants);
                    saved.chosen = Some(chosen.clone());
                    &mut saved.kept
                });
                let initial = options.initial_states;
                launch::forward(
                    &chosen,
                    recurrence,
                    problem,
                    inputs,
                    &constants,
                    initial,
                    layout,
                    options.products,
                    outputs,
                    final_states,
                    kept,
                )
            }
            Engine::Cuda(engine) => {
                let kept = saved.map(|saved| {
                    saved.problem = Some(problem.clone());
                    saved.constants.clone_from(&constants);
                    &mut saved.on_device
                });
                let initial = options.initial_states;
                engine.forward(recurrence, problem, inputs, &constants, initial, layout, outputs, final_states, kept)
            }
            Engine::Interpreter(interpreter) => {
                let initial = interpret::optional(recurrence.states.len(), options.initial_states, |view| {
                    interpret::state_to_f64(view, layout)
                });
                let gathered = interpret::gather(problem, inputs, &constants, initial);
                let result = interpreter.forward(recurrence, &gathered)?;
                for (view, values) in outputs.iter_mut().zip(&result.outputs) {
                    view.write_f64(values);
                }
                for (view, values) in final_states.iter_mut().zip(&result.states) {
                    if let Some(view) = view {
                        interpret::write_state(view, values, layout);
                    }
                }
                if let Some(saved) = saved {
                    saved.problem = Some(problem.clone());
                    saved.constants = constants;
                    saved.initial = gathered.states;
                }
                Ok(())
            }
        }
    }

    /// Gradients of all inputs, parameters and initial states.
    pub fn backward(
        &self,
        problem: &Problem,
        inputs: &[View],
        saved: &Saved,
        options: &BackwardOptions,
    ) -> Result<Gradients> {
        self.check(problem, inputs)?;
        let wide = self.state_dtype(inputs);
        let mut grads = Vec::with_capacity(inputs.len());
        for (index, (decl, view)) in self.recurrence.inputs.iter().zip(inputs).enumerate() {
            let dtype = if decl.carries_values() { view.dtype() } else { wide };
            grads.push(Tensor::zeros(dtype, &problem.input_shape(&self.recurrence, index))?);
        }
        let mut states = self.new_states(problem, wide, options.layout)?;
        let mut grad_views: Vec<_> = grads.iter_mut().map(|t| Some(t.view_mut())).collect();
        let mut state_views: Vec<_> = states.iter_mut().map(|t| Some(t.view_mut())).collect();
        self.backward_into(problem, inputs, saved, options, &mut grad_views, &mut state_views)?;
        Ok(Gradients { inputs: grads, initial_states: states })
    }

    /// Backward into memory of the caller: one entry an input, `None` where the gradient is not wanted;
    /// `initial_state_grads` may be empty. What is there is overwritten.
    pub fn backward_into(
        &self,
        problem: &Problem,
        inputs: &[View],
        saved: &Saved,
        options: &BackwardOptions,
        input_grads: &mut [Option<ViewMut>],
        initial_state_grads: &mut [Option<ViewMut>],
    ) -> Result<()> {
        let (recurrence, rules, layout) = (&*self.recurrence, self.rules(), options.layout);
        self.check(problem, inputs)?;
        if saved.problem.as_ref() != Some(problem) {
            let found = saved.problem.as_ref().map_or("nothing".to_string(), |other| format!("{other:?}"));
            return Err(Error::argument("saved", format!("what forward kept for {problem:?}"), found));
        }
        args::output_grads(recurrence, problem, options.output_grads, rules)?;
        args::states(
            recurrence,
            problem,
            "final state gradients",
            |s| format!("cot.{s}"),
            options.final_state_grads,
            layout,
            rules,
        )?;
        args::input_grads(recurrence, problem, inputs, input_grads, rules)?;
        args::states_mut(
            recurrence,
            problem,
            "initial state gradients",
            |s| format!("grad.{s}0"),
            initial_state_grads,
            layout,
            rules,
        )?;
        let mut regions = input_regions(recurrence, inputs);
        regions.extend(optional_regions(&recurrence.outputs, options.output_grads));
        regions.extend(state_regions(recurrence, options.final_state_grads));
        let names = recurrence.inputs.iter().map(|decl| decl.name.as_str());
        regions.extend(names.zip(&*input_grads).filter_map(|(n, view)| Some(Region::written(n, view.as_ref()?))));
        regions.extend(state_regions_mut(recurrence, initial_state_grads));
        args::no_aliases(&regions)?;
        match &self.engine {
            Engine::Kernel(kernel) => {
                let grads = launch::Gradients {
                    outputs: options.output_grads,
                    finals: options.final_state_grads,
                    inputs: input_grads,
                    initial: initial_state_grads,
                };
                // what ran forward knows how it lies
                let chosen = match &saved.chosen {
                    Some(chosen) => chosen.clone(),
                    None => self.chosen(kernel, problem, inputs, CallOf::Training)?,
                };
                launch::backward(&chosen, recurrence, problem, inputs, &saved.constants, layout, &saved.kept, grads)
            }
            Engine::Cuda(engine) => engine.backward(
                recurrence,
                problem,
                inputs,
                &saved.constants,
                layout,
                &saved.on_device,
                options.output_grads,
                options.final_state_grads,
                input_grads,
                initial_state_grads,
            ),
            Engine::Interpreter(interpreter) => {
                let gathered = interpret::gather(problem, inputs, &saved.constants, saved.initial.clone());
                let cotangents = Cotangents {
                    outputs: interpret::optional(recurrence.outputs.len(), options.output_grads, View::to_f64),
                    states: interpret::optional(recurrence.states.len(), options.final_state_grads, |view| {
                        interpret::state_to_f64(view, layout)
                    }),
                };
                let result = interpreter.backward(recurrence, &gathered, &cotangents)?;
                for (view, values) in input_grads.iter_mut().zip(&result.inputs) {
                    if let Some(view) = view {
                        view.write_f64(values);
                    }
                }
                for (view, values) in initial_state_grads.iter_mut().zip(&result.states) {
                    if let Some(view) = view {
                        interpret::write_state(view, values, layout);
                    }
                }
                Ok(())
            }
        }
    }

    /// A few tokens of each of B sequences (`problem.tokens` from 1 to 8), against a pool of states `[slots,HV,..]` that
    /// is updated in place. Sequence b uses slot `slots[b]`; -1 is padding: its states are not touched, its outputs zero.
    pub fn decode(
        &self,
        problem: &Problem,
        slots: &[i64],
        inputs: &[View],
        constants: Option<&[f64]>,
        pool: &mut [ViewMut],
        layout: StateLayout,
    ) -> Result<Vec<Tensor>> {
        self.check(problem, inputs)?;
        let mut outputs = self.new_outputs(problem, self.output_dtype(inputs))?;
        let mut views: Vec<_> = outputs.iter_mut().map(Tensor::view_mut).collect();
        self.decode_into(problem, slots, inputs, constants, pool, layout, &mut views)?;
        Ok(outputs)
    }

    /// Decode into memory of the caller; rows of padding are not touched.
    #[allow(clippy::too_many_arguments)]
    pub fn decode_into(
        &self,
        problem: &Problem,
        slots: &[i64],
        inputs: &[View],
        constants: Option<&[f64]>,
        pool: &mut [ViewMut],
        layout: StateLayout,
        outputs: &mut [ViewMut],
    ) -> Result<()> {
        let (recurrence, rules) = (&*self.recurrence, self.rules());
        self.check(problem, inputs)?;
        args::decode(recurrence, problem, slots, pool, layout, rules)?;
        args::outputs(recurrence, problem, outputs, rules)?;
        let mut regions = input_regions(recurrence, inputs);
        regions.extend(recurrence.outputs.iter().zip(&*outputs).map(|(name, view)| Region::written(name, view)));
        regions.extend(recurrence.states.iter().zip(&*pool).map(|(s, view)| Region::written(&s.name, view)));
        args::no_aliases(&regions)?;
        let constants = self.constant_values(problem, constants)?;
        match &self.engine {
            Engine::Kernel(kernel) => {
                let chosen = self.chosen(kernel, problem, inputs, CallOf::Decode)?;
                launch::decode(&chosen, recurrence, problem, slots, inputs, &constants, pool, layout, outputs)
            }
            Engine::Cuda(engine) => {
                engine.decode(recurrence, problem, slots, inputs, &constants, pool, layout, outputs)
            }
            Engine::Interpreter(interpreter) => {
                interpret::decode(&**interpreter, recurrence, problem, slots, inputs, &constants, pool, layout, outputs)
            }
        }
    }
}

/// A published recurrence by its name.
pub fn builtin(name: &str) -> Result<Recurrence> {
    let names = || rla_dsl::builtin::BUILTINS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let text = rla_dsl::builtin::builtin(name).ok_or_else(|| Error::argument("variant", names(), name))?;
    let parsed = rla_dsl::parse(text).map_err(|d| Error::Recurrence(d.render(name, text)))?;
    parsed.variants.into_iter().next().ok_or_else(|| Error::Recurrence(format!("{name}: no variant in its text")))
}

fn input_regions<'a>(recurrence: &'a Recurrence, inputs: &[View]) -> Vec<Region<'a>> {
    recurrence.inputs.iter().zip(inputs).map(|(decl, view)| Region::read(&decl.name, view)).collect()
}

fn optional_regions<'a>(names: &'a [String], views: &[Option<View>]) -> Vec<Region<'a>> {
    names.iter().zip(views).filter_map(|(name, view)| Some(Region::read(name, view.as_ref()?))).collect()
}

fn state_regions<'a>(recurrence: &'a Recurrence, views: &[Option<View>]) -> Vec<Region<'a>> {
    let states = recurrence.states.iter().zip(views);
    states.filter_map(|(state, view)| Some(Region::read(&state.name, view.as_ref()?))).collect()
}

fn state_regions_mut<'a>(recurrence: &'a Recurrence, views: &[Option<ViewMut>]) -> Vec<Region<'a>> {
    let states = recurrence.states.iter().zip(views);
    states.filter_map(|(state, view)| Some(Region::written(&state.name, view.as_ref()?))).collect()
}
