//! Whole calls on tensors of the host: what is read goes to the device, what is written comes back.
use super::kernels::{Call, Elem, Key, Kind, Pass, RawSequences, RawView, Source};
use super::memory::Buffer;
use super::tunings::Tunings;
use super::{Device, kernels, tunings};
use crate::error::{Error, Result};
use crate::problem::{Problem, StateLayout};
use crate::tensor::{DType, View, ViewMut};
use rla_build::table::Mode;
use rla_codegen::pipeline::cuda::slot;
use rla_codegen::schedule::cuda::{self, Choices, Pins, Schedule};
use rla_codegen::tile::Role;
use rla_dsl::recurrence::{InputKind, Recurrence};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Channels of a side, at most.
const MOST_CHANNELS: usize = 256;

/// Refuses what no kernel holds as a chunk.
pub fn check_chunk(chunk: usize) -> Result<()> {
    if matches!(chunk, 16 | 32 | 64 | 128) {
        return Ok(());
    }
    Err(Error::argument("--chunk", "16, 32, 64 or 128 on CUDA", chunk.to_string()))
}

/// The CUDA kernels of a recurrence.
pub struct Engine {
    device: Arc<Device>,
    source: Source,
    /// Choices that hold whatever tables say.
    pinned: Option<Schedule>,
    /// What the user's environment sets over all others.
    pins: Pins,
    tunings: Tunings,
    mode: Mode,
    passes: Mutex<HashMap<Id, Arc<Pass>>>,
}

/// A pass, what it is compiled for, and the row of mode throughput that comes first for it, if there is one.
type Id = (u8, Key, Option<usize>);

/// What forward keeps on the device.
#[derive(Default)]
pub struct Kept(Option<Buffer>);

impl Kept {
    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, Buffer::bytes)
    }
}

/// The kernels' name of an element type.
pub fn elem(dtype: DType) -> Result<Elem> {
    match dtype {
        DType::F32 => Ok(Elem::F32),
        DType::Bf16 => Ok(Elem::Bf16),
        DType::F16 => Ok(Elem::F16),
        other => Err(Error::argument("type", "f32, bf16 or f16", other.name())),
    }
}

fn bytes_of(view: &View) -> usize {
    view.layout().span() * view.dtype().size()
}

/// Strides of a tensor of tokens, or of a parameter.
pub(crate) fn token_strides(parameter: bool, strides: &[usize]) -> [i64; 4] {
    match parameter {
        true => [0, 0, strides[0] as i64, 1],
        false => [strides[0] as i64, strides[1] as i64, strides[2] as i64, 1],
    }
}

pub(crate) fn state_strides(strides: &[usize], layout: StateLayout) -> [i64; 4] {
    let s = |i: usize| strides[i] as i64;
    match (strides.len(), layout) {
        (4, StateLayout::ValueMajor) => [s(0), s(1), s(2), s(3)],
        (4, StateLayout::KeyMajor) => [s(0), s(1), s(3), s(2)],
        _ => [s(0), s(1), 0, s(2)],
    }
}

/// Device copies of a call's tensors.
struct Staging<'d> {
    device: &'d Arc<Device>,
    buffers: Vec<Buffer>,
}

impl Staging<'_> {
    fn bring(&mut self, view: &View) -> Result<u64> {
        let buffer = Buffer::poisoned(self.device, bytes_of(view))?;
        // SAFETY: the view spans these bytes.
        unsafe { buffer.upload(view.pointer(), bytes_of(view))? };
        self.buffers.push(buffer);
        Ok(self.buffers[self.buffers.len() - 1].address())
    }

    fn inputs(&mut self, recurrence: &Recurrence, views: &[View]) -> Result<Vec<RawView>> {
        let each = recurrence.inputs.iter().zip(views).map(|(decl, view)| {
            let strides = token_strides(decl.kind == InputKind::Param, view.layout().strides());
            Ok(RawView { address: self.bring(view)?, strides })
        });
        each.collect()
    }

    fn states(&mut self, views: &[Option<View>], layout: StateLayout) -> Result<Vec<RawView>> {
        let each = views.iter().map(|view| match view {
            None => Ok(RawView::default()),
            Some(view) => {
                Ok(RawView { address: self.bring(view)?, strides: state_strides(view.layout().strides(), layout) })
            }
        });
        each.collect()
    }
}

/// A device copy of memory that a call writes.
struct Out {
    buffer: Buffer,
    raw: RawView,
}

impl Out {
    /// What is between the elements comes back as it went.
    fn new(device: &Arc<Device>, view: &mut ViewMut, strides: [i64; 4]) -> Result<Out> {
        let bytes = bytes_of(&view.as_view());
        let buffer = Buffer::poisoned(device, bytes)?;
        // SAFETY: the view spans these bytes.
        unsafe { buffer.upload(view.pointer(), bytes)? };
        let raw = RawView { address: buffer.address(), strides };
        Ok(Out { buffer, raw })
    }

    fn back(&self, view: &mut ViewMut) -> Result<()> {
        let bytes = bytes_of(&view.as_view());
        // SAFETY: the view spans these bytes and is borrowed for writing.
        unsafe { self.buffer.download(view.pointer(), bytes) }
    }
}

fn outs(
    device: &Arc<Device>,
    views: &mut [Option<ViewMut>],
    strides: impl Fn(usize, &[usize]) -> [i64; 4],
) -> Result<Vec<Option<Out>>> {
    let each = views.iter_mut().enumerate().map(|(i, view)| match view {
        None => Ok(None),
        Some(view) => {
            let strides = strides(i, view.layout().strides());
            Out::new(device, view, strides).map(Some)
        }
    });
    each.collect()
}

fn raws(outs: &[Option<Out>]) -> Vec<RawView> {
    outs.iter().map(|o| o.as_ref().map_or(RawView::default(), |o| o.raw)).collect()
}

fn bring_back(outs: &[Option<Out>], views: &mut [Option<ViewMut>]) -> Result<()> {
    for (out, view) in outs.iter().zip(views) {
        if let (Some(out), Some(view)) = (out, view) {
            out.back(view)?;
        }
    }
    Ok(())
}

/// The environment variable that pins parameters of CUDA kernels, over what is chosen otherwise.
pub const PINS: &str = "RLA_CUDA_KERNEL";

fn refused_pins(reason: String) -> Error {
    Error::argument(PINS, "PASS.PARAMETER=NUMBER,...", reason)
}

impl Engine {
    /// Kernels for the first GPU, their choices by the tables.
    pub fn new(recurrence: &Arc<Recurrence>, mode: Mode) -> Result<Engine> {
        let device = Device::first()?;
        let tunings = Tunings::of(&device, recurrence)?;
        let pins = Pins::parse(&std::env::var(PINS).unwrap_or_default()).map_err(refused_pins)?;
        let (source, passes) = (kernels::source(recurrence)?, Mutex::default());
        Ok(Engine { source, device, pinned: None, pins, tunings, mode, passes })
    }

    /// The same, with these choices.
    pub fn pinned(recurrence: &Arc<Recurrence>, schedule: Schedule) -> Result<Engine> {
        for slot in cuda::Slot::ALL {
            if let Some(reason) = cuda::refusal(schedule.of(slot)) {
                return Err(Error::unsupported(format!("{} on CUDA", slot.name()), reason));
            }
        }
        let (device, tunings) = (Device::first()?, Tunings::default());
        Ok(Engine {
            source: kernels::source(recurrence)?,
            device,
            pinned: Some(schedule),
            pins: Pins::default(),
            tunings,
            mode: Mode::Invariant,
            passes: Mutex::default(),
        })
    }

    /// With these choices where there are any.
    pub fn with(recurrence: &Arc<Recurrence>, schedule: Option<Schedule>, mode: Mode) -> Result<Engine> {
        match schedule {
            Some(schedule) => Engine::pinned(recurrence, schedule),
            None => Engine::new(recurrence, mode),
        }
    }

    /// The same kernels in a mode; pinned ones have one for all calls.
    pub fn with_mode(self: &Arc<Engine>, recurrence: &Arc<Recurrence>, mode: Mode) -> Result<Arc<Engine>> {
        if self.pinned.is_some() || self.mode == mode { Ok(self.clone()) } else { Engine::shared(recurrence, mode) }
    }

    /// What the configuration of a call may depend on.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The same as [`Engine::new`], one engine a process and mode.
    pub fn shared(recurrence: &Arc<Recurrence>, mode: Mode) -> Result<Arc<Engine>> {
        static ENGINES: Mutex<Vec<(String, Arc<Engine>)>> = Mutex::new(Vec::new());
        let symbol = rla_codegen::kernel::symbol(recurrence, rla_codegen::kernel::Form::Chunk);
        let mut engines = ENGINES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, engine)) = engines.iter().find(|(s, engine)| *s == symbol && engine.mode == mode) {
            return Ok(engine.clone());
        }
        let engine = Arc::new(Engine::new(recurrence, mode)?);
        engines.push((symbol, engine.clone()));
        Ok(engine)
    }

    /// Whether backward has a gradient for this input; where not, it is zero.
    pub fn has_gradient(&self, input: usize) -> bool {
        self.source.has_gradient(Role::InputGrad(input))
    }

    /// The device.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Tokens at whose multiples a sequence may be cut for a forward that keeps nothing, whatever its sizes and types: all chunks are
    /// powers of two, and this is the longest that it may have.
    pub fn chunk(&self) -> usize {
        if let Some(schedule) = self.pinned {
            return schedule.forward.chunk;
        }
        let widest = vec![MOST_CHANNELS; self.source.recurrence().sides.len()];
        let class =
            self.source.chunk(cuda::Slot::Forward, Elem::Bf16, &widest).max(self.tunings.longest_chunk(self.mode));
        let pinned = self.pins.over(cuda::Slot::Forward, Choices { chunk: class, ..Choices::default() });
        pinned.map_or(class, |choices| choices.chunk)
    }

    /// The kernels of a pass, compiled at the first call for their sizes and types, in mode throughput for the bucket of the problem.
    pub fn pass(&self, kind: Kind, key: &Key, problem: &Problem) -> Result<Arc<Pass>> {
        let mut key = key.clone();
        if kind == Kind::Decode {
            key.choices = Choices::default();
        }
        let work = (self.mode == Mode::Throughput).then(|| problem.work());
        let id = (kind as u8, key.clone(), self.tunings.bucket(slot(kind), &key, work));
        let mut passes = self.passes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(pass) = passes.get(&id) {
            return Ok(pass.clone());
        }
        let (choices, from) = match &self.pinned {
            Some(schedule) => (*schedule.of(slot(kind)), "as the caller chose".to_string()),
            None => {
                let (choices, from) =
                    self.tunings.choices((&*self.device).into(), &self.source, slot(kind), &key, work);
                let pinned = self.pins.over(slot(kind), choices);
                let from = match self.pins.of(slot(kind)) {
                    true => format!("{from}, with {PINS}"),
                    false => from,
                };
                (pinned.map_err(refused_pins)?, from)
            }
        };
        let key = Key { choices, ..key };
        let pass = Arc::new(Pass::new(&self.device, &self.source, kind, &key, &from)?);
        passes.insert(id, pass.clone());
        Ok(pass)
    }

    /// In mode throughput why rows do not hold for calls of a problem.
    pub fn passed_over(&self, kind: Kind, key: &Key, problem: &Problem) -> Vec<String> {
        match self.mode {
            Mode::Throughput => self.tunings.not_for(slot(kind), key, problem.work()),
            Mode::Invariant => vec![],
        }
    }

    fn key(&self, problem: &Problem, inputs: &[View], output: DType) -> Result<Key> {
        let inputs: Vec<Elem> = inputs.iter().map(|v| elem(v.dtype())).collect::<Result<_>>()?;
        let grads = vec![Elem::F32; inputs.len()];
        Ok(self.key_of(problem, inputs, elem(output)?, grads))
    }

    /// What a call of these sizes and types is compiled for; choices come with the pass, which has these where no table says.
    pub(crate) fn key_of(&self, problem: &Problem, inputs: Vec<Elem>, output: Elem, input_grads: Vec<Elem>) -> Key {
        let sequences = problem.sequence_count() * problem.value_heads;
        let load = tunings::load(&self.source, &problem.sizes, sequences, self.device.multiprocessors);
        Key {
            sizes: problem.sizes.clone(),
            input_grads,
            inputs,
            output,
            choices: tunings::usual(&load, self.device.overlaps(), output),
            grouped: problem.group() > 1,
        }
    }

    fn sequences(&self, problem: &Problem, staging: &mut Staging) -> Result<RawSequences> {
        let mut sequences =
            RawSequences { offsets: 0, wide: true, count: problem.sequence_count(), tokens: problem.tokens };
        if let Some(offsets) = &problem.cu_seqlens {
            let buffer = Buffer::poisoned(&self.device, offsets.len() * 8)?;
            // SAFETY: the slice has these bytes.
            unsafe { buffer.upload(offsets.as_ptr().cast(), offsets.len() * 8)? };
            sequences.offsets = buffer.address();
            staging.buffers.push(buffer);
        }
        Ok(sequences)
    }

    fn run(&self, pass: &Pass, call: &Call) -> Result<()> {
        let workspace = Buffer::poisoned(&self.device, pass.workspace(call))?;
        // SAFETY: every address is of a buffer that was made for this call from a checked view, and outlives the wait below.
        unsafe { pass.launch(call, workspace.address(), self.device.stream())? };
        self.device.synchronize()
    }

    /// A call without memory.
    pub(crate) fn call(&self, problem: &Problem, constants: &[f64]) -> Call {
        Call { constants: constants.to_vec(), heads: problem.value_heads, group: problem.group(), ..Call::default() }
    }

    /// Forward; keeps for backward where `kept` is given.
    #[allow(clippy::too_many_arguments)]
    pub fn forward(
        &self,
        recurrence: &Recurrence,
        problem: &Problem,
        inputs: &[View],
        constants: &[f64],
        initial: &[Option<View>],
        layout: StateLayout,
        outputs: &mut [ViewMut],
        finals: &mut [Option<ViewMut>],
        kept: Option<&mut Kept>,
    ) -> Result<()> {
        let output = one_type(recurrence, outputs)?;
        let key = self.key(problem, inputs, output)?;
        let pass = self.pass(if kept.is_some() { Kind::ForwardSave } else { Kind::Forward }, &key, problem)?;
        let mut staging = Staging { device: &self.device, buffers: vec![] };
        let mut call = self.call(problem, constants);
        call.sequences = self.sequences(problem, &mut staging)?;
        call.inputs = staging.inputs(recurrence, inputs)?;
        call.states_in = staging.states(initial, layout)?;
        let mut outputs: Vec<Option<ViewMut>> = outputs.iter_mut().map(|v| Some(v.reborrow())).collect();
        let out = outs(&self.device, &mut outputs, |_, s| token_strides(false, s))?;
        let states = outs(&self.device, finals, |_, s| state_strides(s, layout))?;
        (call.outputs, call.states_out) = (raws(&out), raws(&states));
        if let Some(kept) = kept {
            let bytes = pass.kept_bytes(&call.sequences, call.heads);
            if kept.0.as_ref().is_none_or(|b| b.bytes() < bytes) {
                kept.0 = Some(Buffer::poisoned(&self.device, bytes)?);
            }
            call.kept = kept.0.as_ref().map_or(0, Buffer::address);
        }
        self.run(&pass, &call)?;
        bring_back(&out, &mut outputs)?;
        bring_back(&states, finals)
    }

    /// Backward from what forward kept.
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        recurrence: &Recurrence,
        problem: &Problem,
        inputs: &[View],
        constants: &[f64],
        layout: StateLayout,
        kept: &Kept,
        output_grads: &[Option<View>],
        final_grads: &[Option<View>],
        input_grads: &mut [Option<ViewMut>],
        initial_grads: &mut [Option<ViewMut>],
    ) -> Result<()> {
        let given = output_grads.iter().flatten().map(View::dtype).next().unwrap_or(DType::F32);
        let mut key = self.key(problem, inputs, given)?;
        for (elem, view) in key.input_grads.iter_mut().zip(&*input_grads) {
            if let Some(view) = view {
                *elem = self::elem(view.dtype())?;
            }
        }
        let pass = self.pass(Kind::Backward, &key, problem)?;
        let mut staging = Staging { device: &self.device, buffers: vec![] };
        let mut call = self.call(problem, constants);
        call.sequences = self.sequences(problem, &mut staging)?;
        call.inputs = staging.inputs(recurrence, inputs)?;
        for view in output_grads {
            call.output_grads.push(match view {
                None => RawView::default(),
                Some(view) => {
                    RawView { address: staging.bring(view)?, strides: token_strides(false, view.layout().strides()) }
                }
            });
        }
        call.state_grads_in = staging.states(final_grads, layout)?;
        let parameter = |i: usize| recurrence.inputs[i].kind == InputKind::Param;
        let grads = outs(&self.device, input_grads, |i, s| token_strides(parameter(i), s))?;
        let states = outs(&self.device, initial_grads, |_, s| state_strides(s, layout))?;
        (call.input_grads, call.state_grads_out) = (raws(&grads), raws(&states));
        call.kept = kept.0.as_ref().map_or(0, Buffer::address);
        self.run(&pass, &call)?;
        bring_back(&grads, input_grads)?;
        bring_back(&states, initial_grads)?;
        // inputs that no result needs have no gradient kernel
        for (i, view) in input_grads.iter_mut().enumerate() {
            if let Some(view) = view
                && !self.source.has_gradient(Role::InputGrad(i))
            {
                view.write_f64(&vec![0.0; view.layout().count()]);
            }
        }
        Ok(())
    }

    /// A few tokens a sequence, states in place; sequences whose slot is -1 are skipped.
    #[allow(clippy::too_many_arguments)]
    pub fn decode(
        &self,
        recurrence: &Recurrence,
        problem: &Problem,
        slots: &[i64],
        inputs: &[View],
        constants: &[f64],
        pool: &mut [ViewMut],
        layout: StateLayout,
        outputs: &mut [ViewMut],
    ) -> Result<()> {
        let output = one_type(recurrence, outputs)?;
        let pass = self.pass(Kind::Decode, &self.key(problem, inputs, output)?, problem)?;
        let mut staging = Staging { device: &self.device, buffers: vec![] };
        let mut call = self.call(problem, constants);
        call.sequences = self.sequences(problem, &mut staging)?;
        let buffer = Buffer::poisoned(&self.device, slots.len() * 8)?;
        // SAFETY: the slice has these bytes.
        unsafe { buffer.upload(slots.as_ptr().cast(), slots.len() * 8)? };
        call.slots = buffer.address();
        call.inputs = staging.inputs(recurrence, inputs)?;
        let mut outputs: Vec<Option<ViewMut>> = outputs.iter_mut().map(|v| Some(v.reborrow())).collect();
        let mut pool: Vec<Option<ViewMut>> = pool.iter_mut().map(|v| Some(v.reborrow())).collect();
        let out = outs(&self.device, &mut outputs, |_, s| token_strides(false, s))?;
        let states = outs(&self.device, &mut pool, |_, s| state_strides(s, layout))?;
        (call.outputs, call.states_in) = (raws(&out), raws(&states));
        self.run(&pass, &call)?;
        bring_back(&out, &mut outputs)?;
        bring_back(&states, &mut pool)
    }
}

fn one_type(recurrence: &Recurrence, outputs: &[ViewMut]) -> Result<DType> {
    let first = outputs.first().map_or(DType::F32, ViewMut::dtype);
    match outputs.iter().position(|v| v.dtype() != first) {
        Some(i) => Err(Error::argument(
            &recurrence.outputs[i],
            format!("the first output's type, {first}"),
            outputs[i].dtype().name(),
        )),
        None => Ok(first),
    }
}
