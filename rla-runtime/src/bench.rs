//! Timing of an operation's passes beside the machine's ceilings.
use crate::device::cpu::ceiling::Ceilings;
use crate::device::cpu::clock::{self, Clock};
use crate::draw::{self, Gates, Keys, Plan, Rng};
use crate::error::{Error, Result};
use crate::op::{BackwardOptions, ForwardOptions, Operation, Saved};
use crate::problem::{Problem, Products, StateLayout};
use crate::tensor::{DType, Tensor, View, ViewMut};
use rla_build::quantile::{median, quantile};
use rla_codegen::explain::cost;
use rla_codegen::pipeline::{self, Programs};
use rla_dsl::recurrence::Recurrence;
use std::time::{Duration, Instant};

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// Forward that keeps nothing.
    Forward,
    /// Backward alone, from what forward kept.
    Backward,
    /// Forward that keeps, then backward.
    Train,
    /// One token of each of B sequences, states in place.
    Decode,
}

impl Pass {
    /// The name in options and rows.
    pub fn name(self) -> &'static str {
        match self {
            Pass::Forward => "forward",
            Pass::Backward => "backward",
            Pass::Train => "train",
            Pass::Decode => "decode",
        }
    }
}

/// One row of a benchmark.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was timed.
    pub pass: Pass,
    /// Median, in milliseconds.
    pub ms: f64,
    /// A tenth of the samples are below.
    pub ms_low: f64,
    /// A tenth of the samples are above.
    pub ms_high: f64,
    /// Floating-point operations of the products that the kernel executes.
    pub flops: f64,
    /// The least that the chunk form needs; train is three times forward.
    pub flops_min: f64,
    /// Bytes that must move: inputs, outputs, their gradients; in decode the states too.
    pub bytes: f64,
    /// f32 products of 64x128x128, GFLOP/s, on the same threads in the same run; on a GPU a bf16 product of 8192^3, NaN where
    /// no library has one.
    pub matrix_gflops: f64,
    /// A large copy, GB/s read plus written, in the same run.
    pub copy_gbs: f64,
}

impl Row {
    /// Executed operations over the product rate.
    pub fn of_matrix(&self) -> f64 {
        self.flops / self.ms / 1e6 / self.matrix_gflops
    }

    /// The least operations over the product rate.
    pub fn of_matrix_min(&self) -> f64 {
        self.flops_min / self.ms / 1e6 / self.matrix_gflops
    }

    /// Bytes over the copy rate.
    pub fn of_copy(&self) -> f64 {
        self.bytes / self.ms / 1e6 / self.copy_gbs
    }
}

/// Tensors of one call, drawn as the domains say.
pub struct Bench {
    operation: Operation,
    problem: Problem,
    products: Products,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    output_grads: Vec<Tensor>,
    grads: Vec<Tensor>,
    saved: Saved,
    /// Decode: one token of each sequence, and each layer's states.
    step: Problem,
    step_inputs: Vec<Tensor>,
    step_outputs: Vec<Tensor>,
    /// Decode: states of all layers, and the slots of each.
    pool: Vec<Tensor>,
    slots: Vec<Vec<i64>>,
    layer: usize,
}

pub(crate) fn drawn(recurrence: &Recurrence, problem: &Problem, dtype: DType, rng: &mut Rng) -> Result<Vec<Tensor>> {
    let (gates, keys) = (Gates::Weak, Keys::Independent);
    let plan = Plan { dims: problem.dims(), cu_seqlens: None, gates, keys, initial_states: false };
    let make = |(i, decl): (usize, &rla_dsl::recurrence::Input)| {
        let dtype = if decl.carries_values() { dtype } else { DType::F32 };
        Tensor::from_f64(dtype, &draw::tensor(decl, &plan, rng), &problem.input_shape(recurrence, i))
    };
    recurrence.inputs.iter().enumerate().map(make).collect()
}

fn views(tensors: &[Tensor]) -> Vec<View<'_>> {
    tensors.iter().map(Tensor::view).collect()
}

fn views_mut(tensors: &mut [Tensor]) -> Vec<ViewMut<'_>> {
    tensors.iter_mut().map(Tensor::view_mut).collect()
}

impl Bench {
    /// Inputs of a shape, for the passes that will be timed. `layers`: how many layers take turns in decode.
    pub fn new(
        operation: Operation,
        problem: Problem,
        dtype: DType,
        passes: &[Pass],
        layers: usize,
        layout: StateLayout,
    ) -> Result<Bench> {
        let recurrence = operation.recurrence().clone();
        let mut rng = Rng::new(0);
        let long = passes.iter().any(|&pass| pass != Pass::Decode);
        let backward = passes.iter().any(|pass| matches!(pass, Pass::Backward | Pass::Train));
        let used = |used: bool| if used { problem.clone() } else { Problem { tokens: 0, ..problem.clone() } };
        let (whole, back) = (used(long), used(backward));
        let inputs = drawn(&recurrence, &whole, dtype, &mut rng)?;
        let output_count = recurrence.outputs.len();
        let normal = |shape: &[usize], rng: &mut Rng| {
            let values: Vec<f64> = (0..shape.iter().product()).map(|_| rng.normal()).collect();
            Tensor::from_f64(dtype, &values, shape)
        };
        let output_grads =
            (0..output_count).map(|i| normal(&back.output_shape(&recurrence, i), &mut rng)).collect::<Result<_>>()?;
        let zeros = |problem: &Problem| -> Result<Vec<Tensor>> {
            (0..output_count).map(|i| Tensor::zeros(dtype, &problem.output_shape(&recurrence, i))).collect()
        };
        let grads = inputs.iter().enumerate();
        let grads = grads
            .map(|(i, input)| Tensor::zeros(input.dtype(), &back.input_shape(&recurrence, i)))
            .collect::<Result<_>>()?;
        let outputs = zeros(&whole)?;
        let step = Problem { tokens: 1, ..problem.clone() };
        let step_inputs = drawn(&recurrence, &step, dtype, &mut rng)?;
        let step_outputs = zeros(&step)?;
        let layers = if passes.contains(&Pass::Decode) { layers.max(1) } else { 0 };
        // one pool for all layers, each with slots of its own: much memory in one piece lies in large pages
        let make = |i| Tensor::zeros(DType::F32, &step.state_shape(&recurrence, i, layers * step.batch, layout));
        let pool = (0..recurrence.states.len()).map(make).collect::<Result<Vec<_>>>()?;
        let slots = |layer: usize| (0..problem.batch).map(|b| (layer * problem.batch + b) as i64).collect();
        let slots = (0..layers).map(slots).collect();
        let saved = Saved::default();
        Ok(Bench {
            operation,
            problem: whole,
            products: Products::F32,
            inputs,
            outputs,
            output_grads,
            grads,
            saved,
            step,
            step_inputs,
            step_outputs,
            pool,
            slots,
            layer: 0,
        })
    }

    /// Permits products in another type than f32.
    pub fn permit(&mut self, products: Products) {
        self.products = products;
    }

    /// One run of a pass. Backward needs an earlier run of train, or [`Bench::prepare`].
    pub fn run(&mut self, pass: Pass, layout: StateLayout) -> Result<()> {
        match pass {
            Pass::Forward => self.forward(false),
            Pass::Train => {
                self.forward(true)?;
                self.backward()
            }
            Pass::Backward => self.backward(),
            Pass::Decode => {
                self.layer = (self.layer + 1) % self.slots.len();
                let (slots, mut pool) = (&self.slots[self.layer], views_mut(&mut self.pool));
                let (inputs, mut outputs) = (views(&self.step_inputs), views_mut(&mut self.step_outputs));
                self.operation.decode_into(&self.step, slots, &inputs, None, &mut pool, layout, &mut outputs)
            }
        }
    }

    /// Forward that keeps, so that backward can be timed alone.
    pub fn prepare(&mut self, pass: Pass) -> Result<()> {
        if pass == Pass::Backward { self.forward(true) } else { Ok(()) }
    }

    fn forward(&mut self, keep: bool) -> Result<()> {
        let (inputs, mut outputs) = (views(&self.inputs), views_mut(&mut self.outputs));
        let keep = keep.then_some(&mut self.saved);
        let options = ForwardOptions { products: self.products, ..ForwardOptions::default() };
        self.operation.forward_into(&self.problem, &inputs, &options, &mut outputs, &mut [], keep)
    }

    fn backward(&mut self) -> Result<()> {
        let (inputs, output_grads) = (views(&self.inputs), views(&self.output_grads));
        let output_grads: Vec<_> = output_grads.into_iter().map(Some).collect();
        let mut grads: Vec<_> = self.grads.iter_mut().map(|t| Some(t.view_mut())).collect();
        let options = BackwardOptions { output_grads: &output_grads, ..BackwardOptions::default() };
        self.operation.backward_into(&self.problem, &inputs, &self.saved, &options, &mut grads, &mut [])
    }

    /// Operations and bytes of a pass: executed, least, moved.
    fn counts(&self, pass: Pass) -> Result<(f64, f64, f64)> {
        let recurrence = self.operation.recurrence();
        let problem = if pass == Pass::Decode { &self.step } else { &self.problem };
        let bytes = |tensors: &[Tensor]| -> f64 {
            tensors.iter().map(|t| t.view().layout().count() * t.dtype().size()).sum::<usize>() as f64
        };
        let forward_bytes = bytes(&self.inputs) + bytes(&self.outputs);
        let backward_bytes = bytes(&self.inputs) + bytes(&self.output_grads) + bytes(&self.grads);
        let step_bytes = bytes(&self.step_inputs) + bytes(&self.step_outputs);
        let moved = match pass {
            Pass::Forward => forward_bytes,
            Pass::Backward => backward_bytes,
            Pass::Train => forward_bytes + backward_bytes,
            Pass::Decode => step_bytes + 2.0 * bytes(&self.pool) / self.slots.len() as f64,
        };
        let report = self.operation.report();
        let dtype = self.inputs.iter().zip(&recurrence.inputs).find(|(_, decl)| decl.carries_values());
        let dtype = dtype.map_or(DType::F32, |(tensor, _)| tensor.dtype());
        let in_bf16 = pass == Pass::Forward && self.operation.products(self.products, dtype) == Products::Input;
        let chunk = report.map_or(cost::CHUNK, |report| if in_bf16 { report.chunk_bf16 } else { report.chunk });
        let (executed, least) = operations(recurrence, problem, pass, chunk, |programs| programs);
        Ok((executed, least, moved))
    }
}

/// Operations of a pass: those of the programs that `form` makes of the compiler's, with chunks of `chunk` tokens, and the
/// least. A decode's problem has as many tokens as the step.
pub(crate) fn operations(
    recurrence: &Recurrence,
    problem: &Problem,
    pass: Pass,
    chunk: usize,
    form: impl FnOnce(Programs) -> Programs,
) -> (f64, f64) {
    let heads = (problem.batch * problem.tokens * problem.value_heads) as f64;
    let Ok((canonical, programs)) = pipeline::chunk_programs(recurrence) else {
        // outside the class there is no chunk form: what the token programs execute is the least that is known
        let programs = pipeline::token_programs(recurrence);
        let count = |program| heads * cost::executed(program, 1, &problem.sizes);
        let (forward, backward) = (count(&programs.forward), count(&programs.backward));
        let flops = match pass {
            Pass::Forward | Pass::Decode => forward,
            Pass::Backward => backward,
            Pass::Train => forward + backward,
        };
        return (flops, flops);
    };
    let terms = cost::floor(recurrence, &canonical, &problem.sizes, problem.group());
    let programs = form(programs);
    let executed = |program| cost::executed(program, chunk.max(1), &problem.sizes);
    let forward = cost::total(&terms);
    let (executed, least) = match pass {
        Pass::Forward => (executed(&programs.forward), forward),
        Pass::Backward => (executed(&programs.backward), 2.0 * forward),
        Pass::Train => (executed(&programs.forward_save) + executed(&programs.backward), 3.0 * forward),
        Pass::Decode => (cost::per_step(&terms), cost::per_step(&terms)),
    };
    (heads * executed, heads * least)
}

/// Times passes and ceilings in turns, for about `budget` altogether.
pub fn measure(
    bench: &mut Bench,
    passes: &[Pass],
    layout: StateLayout,
    threads: usize,
    clock: Clock,
    budget: Duration,
) -> Result<Vec<Row>> {
    clock::check(clock, threads)?;
    let mut ceilings = Ceilings::new(threads);
    let mut samples: Vec<Vec<f64>> = vec![vec![]; passes.len()];
    let mut repeats = vec![1usize; passes.len()];
    // a sample lasts a millisecond at least, and the first run of each pass pages memory in
    for (pass, repeats) in passes.iter().zip(&mut repeats) {
        bench.prepare(*pass)?;
        bench.run(*pass, layout)?;
        let start = Instant::now();
        bench.run(*pass, layout)?;
        let once = start.elapsed().as_secs_f64().max(1e-9);
        *repeats = (1e-3 / once).ceil().max(1.0) as usize;
        if *pass == Pass::Decode {
            // every layer as often as the others
            *repeats = repeats.next_multiple_of(bench.slots.len());
        }
    }
    let start = Instant::now();
    while samples[0].len() < 5 || (start.elapsed() < budget && samples[0].len() < 1000) {
        ceilings.measure(clock);
        for ((pass, samples), &repeats) in passes.iter().zip(&mut samples).zip(&repeats) {
            bench.prepare(*pass)?;
            // decode of one layer is asked for hot: the ceilings' buffers have thrown it out of the caches
            bench.run(*pass, layout)?;
            let start = clock.now();
            for _ in 0..repeats {
                bench.run(*pass, layout)?;
            }
            samples.push(start.seconds() * 1e3 / repeats as f64);
        }
    }
    let row = |(&pass, samples): (&Pass, &Vec<f64>)| {
        let (flops, flops_min, bytes) = bench.counts(pass)?;
        Ok(Row {
            pass,
            ms: median(samples),
            ms_low: quantile(samples, 0.1),
            ms_high: quantile(samples, 0.9),
            flops,
            flops_min,
            bytes,
            matrix_gflops: ceilings.matrix_gflops(),
            copy_gbs: ceilings.copy_gbs(),
        })
    };
    passes.iter().zip(&samples).map(row).collect()
}

/// Fixes the number of threads of all later calls; once a program.
pub fn set_threads(threads: usize) -> Result<()> {
    let built = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    built.map_err(|e| Error::unsupported(format!("{threads} threads"), e.to_string()))
}
