//! Times of a recurrence's kernels on the device: captured in graphs, beside the card's own rates.
use super::ceiling::Ceilings;
use super::host::{self, Engine};
use super::kernels::{Call, Elem, Key, Kind, Pass as Kernels, RawSequences, RawView};
use super::memory::Buffer;
use super::time::{self, Graph};
use crate::bench::{self, Pass, Row};
use crate::draw::Rng;
use crate::error::Result;
use crate::problem::{Problem, StateLayout};
use crate::tensor::{DType, Tensor};
use rla_build::quantile::{median, quantile};
use rla_build::table::Mode;
use rla_codegen::schedule::cuda::{Choices, Schedule};
use rla_dsl::recurrence::{InputKind, Recurrence};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is timed, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Passes.
    pub passes: Vec<Pass>,
    /// Type of q, k, v and the like.
    pub dtype: DType,
    /// The kernels' choices; `None`: what calls take.
    pub choices: Option<Choices>,
    /// What choices that nobody gave may depend on.
    pub mode: Mode,
    /// Layers of a decode step, each with states of its own.
    pub layers: usize,
    /// Layout of decode's states.
    pub layout: StateLayout,
    /// Time to spend.
    pub budget: Duration,
}

/// A row, and the kernels that ran.
pub struct Timed {
    /// Times and counts.
    pub row: Row,
    /// Kernels in the order of their launches: what each is, its registers, its median alone.
    pub kernels: Vec<KernelTime>,
    /// Choices of each of the pass's parts, and where they come from.
    pub configuration: Vec<String>,
    /// Bytes that forward keeps for backward.
    pub kept_bytes: usize,
    /// Bytes of workspace.
    pub workspace_bytes: usize,
}

/// One kernel of a pass.
pub struct KernelTime {
    /// `prepare`, `chain`, `walk`, `finish`, `rows` ...
    pub stage: &'static str,
    /// Blocks' threads.
    pub threads: usize,
    /// Registers a thread.
    pub registers: usize,
    /// Bytes of registers spilled.
    pub spilled: usize,
    /// Shared memory of a block.
    pub shared: usize,
    /// Median of launches of it alone, in milliseconds; `None` where the pass has no other.
    pub ms: Option<f64>,
}

/// Memory and calls of a problem.
struct Calls {
    engine: Engine,
    problem: Problem,
    buffers: Vec<Buffer>,
    key: Key,
    whole: Call,
    /// Decode: a call a layer.
    steps: Vec<Call>,
    layers: usize,
}

/// Strides of contiguous tokens, or of a parameter.
fn strides(kind: InputKind, shape: &[usize]) -> [i64; 4] {
    let at = |i: usize| shape.get(i).copied().unwrap_or(1) as i64;
    match kind {
        InputKind::Param => [0, 0, at(1), 1],
        InputKind::Input => [at(1) * at(2) * at(3), at(2) * at(3), at(3), 1],
    }
}

/// Tokens that are drawn; longer problems repeat them.
const DRAWN: usize = 256;

impl Calls {
    fn device(&self) -> &Arc<super::Device> {
        self.engine.device()
    }

    /// The problem of a pass: a step of decode has one token.
    fn problem_of(&self, kind: Kind) -> Problem {
        let tokens = if kind == Kind::Decode { 1 } else { self.problem.tokens };
        Problem { tokens, ..self.problem.clone() }
    }

    fn pass(&self, kind: Kind) -> Result<Arc<Kernels>> {
        self.engine.pass(kind, &self.key, &self.problem_of(kind))
    }

    /// The configuration of a pass, and why rows of mode throughput do not hold.
    fn configuration(&self, kinds: &[Kind], passes: &[Arc<Kernels>]) -> Vec<String> {
        let mut lines: Vec<String> = passes.iter().map(|pass| pass.from.clone()).collect();
        for reason in kinds.iter().flat_map(|kind| self.engine.passed_over(*kind, &self.key, &self.problem_of(*kind))) {
            let line = format!("not {reason}");
            // forward that keeps and backward have the same
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines
    }

    fn new(recurrence: &Arc<Recurrence>, problem: &Problem, settings: &Settings) -> Result<Calls> {
        let engine = Engine::with(recurrence, settings.choices.map(Schedule::all), settings.mode)?;
        let elem = host::elem(settings.dtype)?;
        let inputs: Vec<Elem> =
            recurrence.inputs.iter().map(|d| if d.carries_values() { elem } else { Elem::F32 }).collect();
        let key = engine.key_of(problem, inputs.clone(), elem, inputs);
        let call = engine.call(problem, &recurrence.const_defaults(&problem.sizes));
        let mut calls = Calls {
            engine,
            problem: problem.clone(),
            buffers: vec![],
            key,
            whole: call.clone(),
            steps: vec![],
            layers: settings.layers,
        };
        if settings.passes.iter().any(|p| *p != Pass::Decode) {
            calls.whole = calls.call(recurrence, problem, settings, call.clone())?;
            for view in calls.whole.inputs.clone() {
                calls.whole.input_grads.push(view);
            }
            for (i, decl) in recurrence.inputs.iter().enumerate() {
                let count: usize = problem.input_shape(recurrence, i).iter().product();
                let bytes = count * if decl.carries_values() { elem.bytes() } else { 4 };
                calls.whole.input_grads[i].address = calls.room(bytes)?;
            }
            let mut rng = Rng::new(1);
            for i in 0..recurrence.outputs.len() {
                let mut view = calls.whole.outputs[i];
                let count: usize = problem.output_shape(recurrence, i).iter().product();
                let drawn: Vec<f64> = (0..count.min(65_537)).map(|_| rng.normal()).collect();
                let tensor = Tensor::from_f64(settings.dtype, &drawn, &[drawn.len()])?;
                view.address = calls.bring(&tensor, count * elem.bytes())?;
                calls.whole.output_grads.push(view);
            }
        }
        if settings.passes.contains(&Pass::Decode) {
            let step = Problem { tokens: 1, ..problem.clone() };
            let call = calls.call(recurrence, &step, settings, call)?;
            for _ in 0..settings.layers {
                let mut call = call.clone();
                for i in 0..recurrence.states.len() {
                    let shape = step.state_shape(recurrence, i, step.batch, settings.layout);
                    let buffer = Buffer::poisoned(calls.device(), 4 * shape.iter().product::<usize>())?;
                    buffer.fill(0)?;
                    let mut strides = vec![1usize; shape.len()];
                    for axis in (1..shape.len()).rev() {
                        strides[axis - 1] = strides[axis] * shape[axis];
                    }
                    let view =
                        RawView { address: buffer.address(), strides: host::state_strides(&strides, settings.layout) };
                    calls.buffers.push(buffer);
                    call.states_in.push(view);
                }
                calls.steps.push(call);
            }
        }
        Ok(calls)
    }

    /// Inputs and outputs of a problem.
    fn call(
        &mut self,
        recurrence: &Recurrence,
        problem: &Problem,
        settings: &Settings,
        mut call: Call,
    ) -> Result<Call> {
        call.sequences = RawSequences { offsets: 0, wide: true, count: problem.batch, tokens: problem.tokens };
        let short = Problem { batch: 1, tokens: DRAWN.min(problem.batch * problem.tokens), ..problem.clone() };
        let drawn = bench::drawn(recurrence, &short, settings.dtype, &mut Rng::new(0))?;
        for (i, (decl, tensor)) in recurrence.inputs.iter().zip(&drawn).enumerate() {
            let shape = problem.input_shape(recurrence, i);
            let bytes = shape.iter().product::<usize>() * tensor.dtype().size();
            let address = self.bring(tensor, bytes)?;
            call.inputs.push(RawView { address, strides: strides(decl.kind, &shape) });
        }
        for i in 0..recurrence.outputs.len() {
            let shape = problem.output_shape(recurrence, i);
            let address = self.room(shape.iter().product::<usize>() * settings.dtype.size())?;
            call.outputs.push(RawView { address, strides: strides(InputKind::Input, &shape) });
        }
        Ok(call)
    }

    fn room(&mut self, bytes: usize) -> Result<u64> {
        let buffer = Buffer::poisoned(self.device(), bytes)?;
        let address = buffer.address();
        self.buffers.push(buffer);
        Ok(address)
    }

    /// A tensor's elements, repeated to fill `bytes`.
    fn bring(&mut self, tensor: &Tensor, bytes: usize) -> Result<u64> {
        let view = tensor.view();
        let count = view.layout().count() * view.dtype().size();
        // SAFETY: a tensor of its own is contiguous and has these bytes.
        let pattern = unsafe { std::slice::from_raw_parts(view.pointer().cast::<u8>(), count) };
        let filled: Vec<u8> = pattern.iter().copied().cycle().take(bytes).collect();
        let buffer = Buffer::poisoned(self.device(), bytes)?;
        // SAFETY: the bytes are there.
        unsafe { buffer.upload(filled.as_ptr(), filled.len())? };
        let address = buffer.address();
        self.buffers.push(buffer);
        Ok(address)
    }
}

/// The first calls of a process: milliseconds that pass for the host until each is done, one list a pass. The first writes the
/// kernels' texts, takes their machine code from the program or the cache or compiles it, loads it, and asks for memory.
pub fn first_calls(
    recurrence: &Arc<Recurrence>,
    problem: &Problem,
    settings: &Settings,
    count: usize,
) -> Result<Vec<Vec<f64>>> {
    let calls = Calls::new(recurrence, problem, settings)?;
    let device = calls.device().clone();
    let (mut kept, mut workspace): (Option<Buffer>, Option<Buffer>) = (None, None);
    let room = |buffer: &mut Option<Buffer>, bytes: usize| -> Result<u64> {
        if buffer.as_ref().is_none_or(|b| b.bytes() < bytes) {
            *buffer = Some(Buffer::poisoned(&device, bytes)?);
        }
        Ok(buffer.as_ref().map_or(0, Buffer::address))
    };
    let each = settings.passes.clone().into_iter().map(|pass| {
        // backward alone reads what a forward keeps
        let all = if pass == Pass::Backward { kinds(Pass::Train) } else { kinds(pass) };
        let mut once = || -> Result<f64> {
            let start = Instant::now();
            for kind in all {
                let kernels = calls.pass(*kind)?;
                let mut call = if pass == Pass::Decode { calls.steps[0].clone() } else { calls.whole.clone() };
                if matches!(kind, Kind::ForwardSave | Kind::Backward) {
                    call.kept = room(&mut kept, kernels.kept_bytes(&call.sequences, call.heads))?;
                }
                let at = room(&mut workspace, kernels.workspace(&call))?;
                // SAFETY: every address is of a buffer of `calls` or of this function, with the sizes of the problem.
                unsafe { kernels.launch(&call, at, device.stream())? };
            }
            device.synchronize()?;
            Ok(start.elapsed().as_secs_f64() * 1e3)
        };
        (0..count).map(|_| once()).collect::<Result<Vec<f64>>>()
    });
    each.collect()
}

/// Passes of a problem, compiled and captured, with memory of their own.
pub struct Ready {
    calls: Calls,
    passes: Vec<Pass>,
    compiled: Vec<Vec<Arc<Kernels>>>,
    graphs: Vec<Graph>,
    workspace: u64,
    workspace_bytes: usize,
    kept_bytes: usize,
}

fn kinds(pass: Pass) -> &'static [Kind] {
    match pass {
        Pass::Forward => &[Kind::Forward],
        Pass::Backward => &[Kind::Backward],
        Pass::Train => &[Kind::ForwardSave, Kind::Backward],
        Pass::Decode => &[Kind::Decode],
    }
}

impl Ready {
    /// Draws inputs, compiles, runs everything once and captures it.
    pub fn new(recurrence: &Arc<Recurrence>, problem: &Problem, settings: &Settings) -> Result<Ready> {
        let mut calls = Calls::new(recurrence, problem, settings)?;
        let mut compiled: Vec<Vec<Arc<Kernels>>> = vec![];
        for pass in &settings.passes {
            let kernels = kinds(*pass).iter().map(|kind| calls.pass(*kind));
            compiled.push(kernels.collect::<Result<_>>()?);
        }
        // what forward keeps is there before backward alone runs
        let trains = settings.passes.iter().any(|p| matches!(p, Pass::Backward | Pass::Train));
        let save = trains.then(|| calls.pass(Kind::ForwardSave)).transpose()?;
        let kept_bytes = save.as_ref().map_or(0, |s| s.kept_bytes(&calls.whole.sequences, calls.whole.heads));
        calls.whole.kept = calls.room(kept_bytes)?;
        let mut ready = Ready {
            calls,
            passes: settings.passes.clone(),
            compiled,
            graphs: vec![],
            workspace: 0,
            workspace_bytes: 0,
            kept_bytes,
        };
        let mut bytes = save.as_ref().map_or(0, |s| s.workspace(&ready.calls.whole));
        for (pass, kernels) in settings.passes.iter().zip(&ready.compiled) {
            for call in ready.of(*pass).iter().take(1) {
                bytes = kernels.iter().map(|k| k.workspace(call)).fold(bytes, usize::max);
            }
        }
        (ready.workspace, ready.workspace_bytes) = (ready.calls.room(bytes)?, bytes);
        if let Some(save) = &save {
            // SAFETY: every address is of a buffer of `calls`, with the sizes of the problem.
            unsafe { save.launch(&ready.calls.whole, ready.workspace, ready.calls.device().stream())? };
        }
        let passes = settings.passes.iter().zip(&ready.compiled);
        ready.graphs = passes.map(|(pass, kernels)| ready.capture(*pass, kernels, None)).collect::<Result<_>>()?;
        Ok(ready)
    }

    fn of(&self, pass: Pass) -> &[Call] {
        match pass {
            Pass::Decode => &self.calls.steps,
            _ => std::slice::from_ref(&self.calls.whole),
        }
    }

    fn capture(&self, pass: Pass, kernels: &[Arc<Kernels>], which: Option<usize>) -> Result<Graph> {
        Graph::capture(self.calls.device(), |stream| {
            self.of(pass).iter().try_for_each(|call| {
                kernels.iter().try_for_each(|k| {
                    // SAFETY: as above; what one kernel alone reads was left by the calls before.
                    unsafe {
                        match which {
                            None => k.launch(call, self.workspace, stream),
                            Some(i) => k.launch_some(call, self.workspace, stream, i..i + 1),
                        }
                    }
                })
            })
        })
    }

    /// Milliseconds of one call of the `i`-th pass (decode: of a layer), after the second-level cache was thrown out by filling
    /// `flush` with `byte`.
    pub fn sample(&self, i: usize, flush: &Buffer, byte: u8) -> Result<f64> {
        let layers = if self.passes[i] == Pass::Decode { self.calls.layers as f64 } else { 1.0 };
        Ok(self.graphs[i].sample(|| flush.fill(byte))? / layers)
    }

    /// Bytes of registers that the `i`-th pass's kernels spill.
    pub fn spilled(&self, i: usize) -> usize {
        let resources = self.compiled[i].iter().flat_map(|pass| &pass.resources);
        resources.map(|r| r.spill_stores + r.spill_loads).sum()
    }

    /// Every kernel of the `i`-th pass, timed alone.
    fn kernels(&self, i: usize, flush: &Buffer) -> Result<Vec<KernelTime>> {
        let (pass, kernels) = (self.passes[i], &self.compiled[i]);
        let call = &self.of(pass)[0];
        let total: usize = kernels.iter().map(|k| k.chosen(call).len()).sum();
        let mut times = vec![];
        for pass_kernels in kernels {
            for i in pass_kernels.chosen(call) {
                let (kernel, resources) = (&pass_kernels.text.kernels[i], &pass_kernels.resources[i]);
                let ms = if total > 1 {
                    let graph = self.capture(pass, std::slice::from_ref(pass_kernels), Some(i))?;
                    let each: Vec<f64> = (0..5).map(|n| graph.sample(|| flush.fill(n))).collect::<Result<_>>()?;
                    Some(median(&each))
                } else {
                    None
                };
                times.push(KernelTime {
                    stage: kernel.stage,
                    threads: kernel.threads,
                    registers: resources.registers,
                    spilled: resources.spill_stores,
                    shared: kernel.shared + resources.shared,
                    ms,
                });
            }
        }
        Ok(times)
    }
}

/// Times passes and the card's rates in turns.
pub fn measure(recurrence: &Arc<Recurrence>, problem: &Problem, settings: &Settings) -> Result<Vec<Timed>> {
    let ready = Ready::new(recurrence, problem, settings)?;
    let device = ready.calls.device().clone();
    let mut ceilings = Ceilings::new(&device)?;
    let flush = time::flusher(&device)?;
    let mut samples: Vec<Vec<f64>> = vec![vec![]; settings.passes.len()];
    let start = Instant::now();
    let mut round = 0u8;
    while samples[0].len() < 5 || (start.elapsed() < settings.budget && samples[0].len() < 200) {
        ceilings.measure()?;
        for (i, samples) in samples.iter_mut().enumerate() {
            round = round.wrapping_add(1);
            samples.push(ready.sample(i, &flush, round)?);
        }
    }
    let mut rows = vec![];
    for (i, (pass, samples)) in settings.passes.iter().zip(&samples).enumerate() {
        let problem = match pass {
            Pass::Decode => Problem { tokens: 1, ..problem.clone() },
            _ => problem.clone(),
        };
        let chunk = ready.compiled[i][0].chunk();
        let (flops, flops_min) = bench::operations(recurrence, &problem, *pass, chunk, |p| p.for_cuda());
        rows.push(Timed {
            row: Row {
                pass: *pass,
                ms: median(samples),
                ms_low: quantile(samples, 0.1),
                ms_high: quantile(samples, 0.9),
                flops,
                flops_min,
                bytes: moved(recurrence, &problem, *pass, settings.dtype),
                matrix_gflops: ceilings.matrix_gflops(),
                copy_gbs: ceilings.copy_gbs(),
            },
            kernels: ready.kernels(i, &flush)?,
            configuration: ready.calls.configuration(kinds(ready.passes[i]), &ready.compiled[i]),
            kept_bytes: if matches!(pass, Pass::Backward | Pass::Train) { ready.kept_bytes } else { 0 },
            workspace_bytes: ready.workspace_bytes,
        });
    }
    Ok(rows)
}

/// Bytes that must move: inputs, outputs, their gradients; in decode the states, read and written.
pub fn moved(recurrence: &Recurrence, problem: &Problem, pass: Pass, dtype: DType) -> f64 {
    let size = |shape: Vec<usize>, dtype: DType| (shape.iter().product::<usize>() * dtype.size()) as f64;
    let inputs: f64 = recurrence
        .inputs
        .iter()
        .enumerate()
        .map(|(i, decl)| {
            let dtype = if decl.carries_values() { dtype } else { DType::F32 };
            size(problem.input_shape(recurrence, i), dtype)
        })
        .sum();
    let outputs: f64 = (0..recurrence.outputs.len()).map(|i| size(problem.output_shape(recurrence, i), dtype)).sum();
    let states: f64 = (0..recurrence.states.len())
        .map(|i| size(problem.state_shape(recurrence, i, problem.batch, StateLayout::ValueMajor), DType::F32))
        .sum();
    match pass {
        Pass::Forward => inputs + outputs,
        Pass::Backward => 2.0 * inputs + outputs,
        Pass::Train => 3.0 * inputs + 2.0 * outputs,
        Pass::Decode => inputs + outputs + 2.0 * states,
    }
}
