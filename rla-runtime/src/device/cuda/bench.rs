//! Times of a recurrence's kernels on the device: captured in graphs, beside the card's own rates.
use super::ceiling::Ceilings;
use super::host::{self, Engine};
use super::kernels::{Call, Elem, Key, Kind, Pass as Kernels, RawSequences, RawView, Tile};
use super::memory::Buffer;
use super::time::{self, Graph};
use crate::bench::{self, Pass, Row};
use crate::draw::Rng;
use crate::error::Result;
use crate::problem::{Problem, StateLayout};
use crate::tensor::{DType, Tensor};
use rla_build::quantile::{median, quantile};
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
    /// Tokens a chunk; `None`: what calls take.
    pub chunk: Option<usize>,
    /// How decode divides the rows of a state; `None`: as the sizes say.
    pub tile: Option<Tile>,
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

    fn new(recurrence: &Arc<Recurrence>, problem: &Problem, settings: &Settings) -> Result<Calls> {
        let engine = Engine::with_tile(recurrence, settings.chunk, settings.tile)?;
        let elem = host::elem(settings.dtype)?;
        let inputs: Vec<Elem> =
            recurrence.inputs.iter().map(|d| if d.carries_values() { elem } else { Elem::F32 }).collect();
        let key = engine.key_of(problem, inputs.clone(), elem, inputs);
        let call = engine.call(problem, &recurrence.const_defaults(&problem.sizes));
        let mut calls =
            Calls { engine, buffers: vec![], key, whole: call.clone(), steps: vec![], layers: settings.layers };
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

/// Times passes and the card's rates in turns.
pub fn measure(recurrence: &Arc<Recurrence>, problem: &Problem, settings: &Settings) -> Result<Vec<Timed>> {
    let mut calls = Calls::new(recurrence, problem, settings)?;
    let device = calls.device().clone();
    let kinds = |pass: Pass| match pass {
        Pass::Forward => vec![Kind::Forward],
        Pass::Backward => vec![Kind::Backward],
        Pass::Train => vec![Kind::ForwardSave, Kind::Backward],
        Pass::Decode => vec![Kind::Decode],
    };
    // what forward keeps is there before backward alone runs
    let mut compiled: Vec<Vec<Arc<Kernels>>> = vec![];
    for pass in &settings.passes {
        let kernels = kinds(*pass).into_iter().map(|kind| calls.engine.pass(kind, &calls.key));
        compiled.push(kernels.collect::<Result<_>>()?);
    }
    let trains = settings.passes.iter().any(|p| matches!(p, Pass::Backward | Pass::Train));
    let save = trains.then(|| calls.engine.pass(Kind::ForwardSave, &calls.key)).transpose()?;
    let kept_bytes = save.as_ref().map_or(0, |s| s.kept_bytes(&calls.whole.sequences, calls.whole.heads));
    calls.whole.kept = calls.room(kept_bytes)?;
    let of = |pass: Pass, calls: &Calls| match pass {
        Pass::Decode => calls.steps.clone(),
        _ => vec![calls.whole.clone()],
    };
    let mut bytes = save.as_ref().map_or(0, |s| s.workspace(&calls.whole));
    for (pass, kernels) in settings.passes.iter().zip(&compiled) {
        for call in of(*pass, &calls).iter().take(1) {
            bytes = kernels.iter().map(|k| k.workspace(call)).fold(bytes, usize::max);
        }
    }
    let workspace = calls.room(bytes)?;
    if let Some(save) = &save {
        // SAFETY: every address is of a buffer of `calls`, with the sizes of the problem.
        unsafe { save.launch(&calls.whole, workspace, device.stream())? };
    }
    let capture = |pass: Pass, kernels: &[Arc<Kernels>], which: Option<usize>| {
        let steps = of(pass, &calls);
        Graph::capture(&device, |stream| {
            steps.iter().try_for_each(|call| {
                kernels.iter().try_for_each(|k| {
                    // SAFETY: as above; what one kernel alone reads was left by the calls before.
                    unsafe {
                        match which {
                            None => k.launch(call, workspace, stream),
                            Some(i) => k.launch_some(call, workspace, stream, i..i + 1),
                        }
                    }
                })
            })
        })
    };
    let graphs: Vec<Graph> =
        settings.passes.iter().zip(&compiled).map(|(p, k)| capture(*p, k, None)).collect::<Result<_>>()?;
    let mut ceilings = Ceilings::new(&device)?;
    let flush = time::flusher(&device)?;
    let mut samples: Vec<Vec<f64>> = vec![vec![]; graphs.len()];
    let start = Instant::now();
    let mut round = 0u8;
    while samples[0].len() < 5 || (start.elapsed() < settings.budget && samples[0].len() < 200) {
        ceilings.measure()?;
        for (graph, samples) in graphs.iter().zip(&mut samples) {
            round = round.wrapping_add(1);
            samples.push(graph.sample(|| flush.fill(round))?);
        }
    }
    let mut rows = vec![];
    for ((pass, kernels), samples) in settings.passes.iter().zip(&compiled).zip(&samples) {
        let problem = match pass {
            Pass::Decode => Problem { tokens: 1, ..problem.clone() },
            _ => problem.clone(),
        };
        let layers = if *pass == Pass::Decode { calls.layers as f64 } else { 1.0 };
        let chunk = calls.key.chunk;
        let (flops, flops_min) = bench::operations(recurrence, &problem, *pass, chunk, |p| p.for_cuda());
        let mut times = vec![];
        let call = &of(*pass, &calls)[0];
        let total: usize = kernels.iter().map(|k| k.chosen(call).len()).sum();
        for pass_kernels in kernels {
            for i in pass_kernels.chosen(call) {
                let (kernel, resources) = (&pass_kernels.text.kernels[i], &pass_kernels.resources[i]);
                let ms = if total > 1 {
                    let graph = capture(*pass, std::slice::from_ref(pass_kernels), Some(i))?;
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
        rows.push(Timed {
            row: Row {
                pass: *pass,
                ms: median(samples) / layers,
                ms_low: quantile(samples, 0.1) / layers,
                ms_high: quantile(samples, 0.9) / layers,
                flops,
                flops_min,
                bytes: moved(recurrence, &problem, *pass, settings),
                matrix_gflops: ceilings.matrix_gflops(),
                copy_gbs: ceilings.copy_gbs(),
            },
            kernels: times,
            kept_bytes: if matches!(pass, Pass::Backward | Pass::Train) { kept_bytes } else { 0 },
            workspace_bytes: bytes,
        });
    }
    Ok(rows)
}

/// Bytes that must move: inputs, outputs, their gradients; in decode the states, read and written.
fn moved(recurrence: &Recurrence, problem: &Problem, pass: Pass, settings: &Settings) -> f64 {
    let size = |shape: Vec<usize>, dtype: DType| (shape.iter().product::<usize>() * dtype.size()) as f64;
    let inputs: f64 = recurrence
        .inputs
        .iter()
        .enumerate()
        .map(|(i, decl)| {
            let dtype = if decl.carries_values() { settings.dtype } else { DType::F32 };
            size(problem.input_shape(recurrence, i), dtype)
        })
        .sum();
    let outputs: f64 =
        (0..recurrence.outputs.len()).map(|i| size(problem.output_shape(recurrence, i), settings.dtype)).sum();
    let states: f64 = (0..recurrence.states.len())
        .map(|i| size(problem.state_shape(recurrence, i, problem.batch, settings.layout), DType::F32))
        .sum();
    match pass {
        Pass::Forward => inputs + outputs,
        Pass::Backward => 2.0 * inputs + outputs,
        Pass::Train => 3.0 * inputs + 2.0 * outputs,
        Pass::Decode => inputs + outputs + 2.0 * states,
    }
}
