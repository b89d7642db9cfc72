//! The kernels of a recurrence on raw device addresses: compiled for sizes and types at the first call, then launched.
//!
//! A call gives addresses, strides and a stream. It asks for its workspace first ([`Pass::workspace`]); launching allocates
//! nothing and waits for nothing, so it can be captured in a graph.
use super::{Device, check};
use crate::error::{Error, Result};
use cudarc::driver::sys;
use rayon::prelude::*;
use rla_build::compile::Cache;
use rla_build::compile_cuda;
use rla_codegen::emit::cuda::{Counts, Grid, Kernel, Kernels};
use rla_codegen::pipeline::cuda;
use rla_codegen::schedule::cuda::text as text_of;
use rla_codegen::schedule::cuda::{Choices, Slot};
use rla_dsl::recurrence::{InputKind, Recurrence};
use std::ffi::{CString, c_void};
use std::sync::Arc;

pub use rla_codegen::emit::cpu::Pass as Kind;
pub use rla_codegen::emit::cuda::decode::Tile;
pub use rla_codegen::emit::cuda::{Elem, Sizes};
pub use rla_codegen::pipeline::cuda::{Key, Source};

/// A tensor on the device: strides in elements, zero where a dimension is missing. Tokens: batch entry, token, head.
/// States: sequence or slot, head, row, column; a vector state has no row. A null address: not there, or not wanted.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct RawView {
    /// Address of the first element.
    pub address: u64,
    /// Strides.
    pub strides: [i64; 4],
}

/// Sequences of a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawSequences {
    /// Device address of the offsets, 0 where each batch entry is a sequence.
    pub offsets: u64,
    /// Whether offsets are int64.
    pub wide: bool,
    /// Sequences.
    pub count: usize,
    /// Tokens of a sequence; of all together where they are packed.
    pub tokens: usize,
}

/// The arguments of a call. Lists are in the recurrence's order; an empty one is all null.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// Inputs and parameters.
    pub inputs: Vec<RawView>,
    /// Outputs.
    pub outputs: Vec<RawView>,
    /// Gradients of outputs.
    pub output_grads: Vec<RawView>,
    /// Gradients of inputs and parameters.
    pub input_grads: Vec<RawView>,
    /// Initial states; decode: the pool.
    pub states_in: Vec<RawView>,
    /// Final states.
    pub states_out: Vec<RawView>,
    /// Gradients of final states.
    pub state_grads_in: Vec<RawView>,
    /// Gradients of initial states.
    pub state_grads_out: Vec<RawView>,
    /// Constants.
    pub constants: Vec<f64>,
    /// Sequences.
    pub sequences: RawSequences,
    /// Device address of int64 slots, 0 for the sequence's own number. Decode only.
    pub slots: u64,
    /// Value heads.
    pub heads: usize,
    /// Value heads a key head.
    pub group: usize,
    /// What forward keeps for backward, [`Pass::kept_bytes`] of it.
    pub kept: u64,
}

/// The programs of a recurrence, ready to be written; what it is refused for in words.
pub fn source(recurrence: &Arc<Recurrence>) -> Result<Source> {
    Source::new(recurrence).map_err(|outside| crate::op::interpret::outside_class(recurrence, &outside))
}

struct Loaded {
    function: sys::CUfunction,
    grid: Grid,
    threads: usize,
    shared: usize,
    overlaps: bool,
}

/// The kernels of one pass on a device.
pub struct Pass {
    device: Arc<Device>,
    counts: Counts,
    chunk: usize,
    kernels: Vec<Loaded>,
    /// Their text and sizes of records.
    pub text: Kernels,
    /// What each needs.
    pub resources: Vec<compile_cuda::Resources>,
    /// The choices, and where they come from.
    pub from: String,
    grads: Vec<Grad>,
    /// Kernels that sum over value heads and over chunks, by the result's type.
    sums: [Option<(sys::CUfunction, sys::CUfunction)>; 3],
}

// SAFETY: functions of a loaded module may be launched from any thread that makes the context current.
unsafe impl Send for Pass {}
// SAFETY: the same.
unsafe impl Sync for Pass {}

/// How the gradient of an input is handed over.
#[derive(Clone, Copy)]
struct Grad {
    elem: Elem,
    per_key_head: bool,
    parameter: bool,
    channels: usize,
}

/// Where a call's workspace has what; byte offsets.
#[derive(Clone, Debug, Default)]
struct Parts {
    record: usize,
    passed: usize,
    scratch: usize,
    partial: usize,
    progress: usize,
    /// By input: per value head, f32.
    heads: Vec<usize>,
    bytes: usize,
}

fn load(device: &Device, kernel: &Kernel) -> Result<(sys::CUfunction, compile_cuda::Resources)> {
    use sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    let functions = load_all(device, &kernel.name, &kernel.source, &[&kernel.name])?;
    let (function, resources) = functions[0];
    device.enter()?;
    // SAFETY: the function is of a loaded module.
    let set = |what, value| check("shared memory", unsafe { sys::cuFuncSetAttribute(function, what, value) });
    set(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, kernel.shared as i32)?;
    Ok((function, resources))
}

/// Machine code that was compiled into this program.
#[cfg(feature = "cubins")]
fn shipped(name: &str, source: &str, architecture: &str) -> Option<compile_cuda::Cubin> {
    let (bytes, log) = rla_kernels::cubin(&compile_cuda::stem(name, source, architecture))?;
    Some(compile_cuda::Cubin { bytes: bytes.to_vec(), log: log.to_string(), cached: true })
}

#[cfg(not(feature = "cubins"))]
fn shipped(_: &str, _: &str, _: &str) -> Option<compile_cuda::Cubin> {
    None
}

pub(super) fn load_all(
    device: &Device,
    name: &str,
    source: &str,
    entries: &[&str],
) -> Result<Vec<(sys::CUfunction, compile_cuda::Resources)>> {
    let cache = Cache::of_user();
    let architecture = device.architecture()?;
    let cubin = match shipped(name, source, architecture) {
        Some(cubin) => cubin,
        None => compile_cuda::cubin(&cache, name, source, architecture, || {
            eprintln!("rla: compiling {name} with NVRTC, kept in {}", cache.folder().display());
        })
        .map_err(|e| Error::Build(e.to_string()))?,
    };
    device.enter()?;
    let mut module = std::ptr::null_mut();
    // SAFETY: the image is a cubin or PTX of NVRTC's, which ends in NUL; the module lives as long as the process.
    check("load a kernel", unsafe { sys::cuModuleLoadData(&mut module, cubin.bytes.as_ptr().cast()) })?;
    entries
        .iter()
        .map(|entry| {
            let text = CString::new(*entry).expect("names have no NUL");
            let mut function = std::ptr::null_mut();
            // SAFETY: the module is loaded, the name ends in NUL.
            check("find a kernel", unsafe { sys::cuModuleGetFunction(&mut function, module, text.as_ptr()) })?;
            Ok((function, cubin.resources(entry).unwrap_or_default()))
        })
        .collect()
}

/// Types of gradients for which there are kernels that sum.
const SUMMED: [Elem; 3] = [Elem::F32, Elem::Bf16, Elem::F16];

/// What sums over value heads and over chunks, for results of a type.
fn load_sums(device: &Device, elem: Elem) -> Result<[usize; 2]> {
    let (name, text, entries) = cuda::sums(elem);
    let found = load_all(device, &name, &text, &entries)?;
    Ok([found[0].0 as usize, found[1].0 as usize])
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Puts the machine code of several choices into the cache, side by side. What cannot be written or compiled is left out: it is
/// refused where it is asked for.
pub fn compile_all(device: &Device, source: &Source, slot: Slot, key: &Key, choices: &[Choices]) {
    let Ok(architecture) = device.architecture() else { return };
    let cache = Cache::of_user();
    let keys = choices.iter().map(|choices| Key { choices: *choices, ..key.clone() });
    let texts = keys
        .flat_map(|key| cuda::passes(slot).iter().filter_map(move |kind| source.text(*kind, &key, device.shared).ok()));
    let kernels: Vec<_> = texts.flat_map(|text| text.kernels).collect();
    kernels.par_iter().for_each(|kernel| {
        let _ = compile_cuda::cubin(&cache, &kernel.name, &kernel.source, architecture, || ());
    });
}

impl Pass {
    /// Writes, compiles and loads. `from`: where the key's choices come from.
    pub fn new(device: &Arc<Device>, source: &Source, kind: Kind, key: &Key, from: &str) -> Result<Pass> {
        let text = source.text(kind, key, device.shared).map_err(|e| Error::Compile(e.to_string()))?;
        let recurrence = source.recurrence();
        // gradients of parameters, and those that value heads share, are summed by kernels of their own
        let is_summed = |elem: Elem| {
            let mut grads = recurrence.inputs.iter().zip(&key.input_grads).filter(|(_, of)| **of == elem);
            kind == Kind::Backward
                && grads.any(|(decl, _)| decl.kind == InputKind::Param || key.grouped && decl.per_key_head())
        };
        // kernels are compiled and loaded side by side; handles are numbers to the threads
        let (made, sums) = std::thread::scope(|scope| {
            let load = |k: &Kernel| load(device, k).map(|(f, r)| (f as usize, r));
            let made: Vec<_> = text.kernels.iter().map(|k| scope.spawn(move || load(k))).collect();
            let sums = SUMMED.map(|elem| is_summed(elem).then(|| scope.spawn(move || load_sums(device, elem))));
            let made: Vec<Result<_>> = made.into_iter().map(joined).collect();
            (made, sums.map(|thread| thread.map(joined)))
        });
        let made: Vec<(usize, compile_cuda::Resources)> = made.into_iter().collect::<Result<_>>()?;
        let mut summing = [None; 3];
        for (slot, found) in summing.iter_mut().zip(sums) {
            let found: Option<[usize; 2]> = found.transpose()?;
            *slot = found.map(|[heads, parts]| (heads as sys::CUfunction, parts as sys::CUfunction));
        }
        let kernels = text
            .kernels
            .iter()
            .zip(&made)
            .map(|(k, (f, _))| Loaded {
                function: *f as sys::CUfunction,
                grid: k.grid,
                threads: k.threads,
                shared: k.shared,
                overlaps: k.overlaps,
            })
            .collect();
        let grads = recurrence.inputs.iter().zip(&key.input_grads).map(|(decl, elem)| Grad {
            elem: *elem,
            per_key_head: decl.per_key_head(),
            parameter: decl.kind == InputKind::Param,
            channels: decl.side.map_or(1, |s| key.sizes[s.0 as usize]),
        });
        Ok(Pass {
            device: device.clone(),
            counts: source.counts(),
            chunk: key.choices.chunk,
            from: format!("{}, {from}", text_of(&key.choices, cuda::slot(kind))),
            kernels,
            resources: made.into_iter().map(|(_, r)| r).collect(),
            text,
            grads: grads.collect(),
            sums: summing,
        })
    }

    /// Tokens a chunk.
    pub fn chunk(&self) -> usize {
        self.chunk
    }

    /// Numbers of pieces of so many chunks.
    fn pieces(&self, sequences: &RawSequences, chunks: usize) -> usize {
        let tokens = self.chunk * chunks;
        match sequences.offsets {
            0 => sequences.count * sequences.tokens.div_ceil(tokens),
            _ => sequences.tokens / tokens + sequences.count,
        }
    }

    fn chunks(&self, sequences: &RawSequences) -> usize {
        self.pieces(sequences, 1)
    }

    fn spans(&self, sequences: &RawSequences) -> usize {
        self.pieces(sequences, self.text.span)
    }

    /// Bytes that forward keeps for backward.
    pub fn kept_bytes(&self, sequences: &RawSequences, heads: usize) -> usize {
        heads * self.text.kept.of(self.chunks(sequences), self.spans(sequences))
    }

    /// Whether these are the kernels of decode that take fewer arguments, one for each layout of the states.
    fn divided(&self) -> bool {
        self.text.kernels.iter().any(|k| k.stage == "rows")
    }

    /// The kernels that a call launches, by number.
    pub fn chosen(&self, call: &Call) -> std::ops::Range<usize> {
        if !self.divided() || self.kernels.len() < 2 {
            return 0..self.kernels.len();
        }
        // a vector state has no rows
        let mut matrices = call.states_in.iter().filter(|view| view.strides[2] != 0);
        let by_columns = matrices.all(|view| view.strides[2] == 1 && view.strides[3] != 1);
        if by_columns { 1..2 } else { 0..1 }
    }

    fn parts(&self, call: &Call, batch: usize) -> Parts {
        if self.divided() {
            return Parts::default();
        }
        let blocks = self.chunks(&call.sequences) * call.heads;
        let mut at = 0;
        let mut take = |bytes: usize| {
            let here = at;
            at += bytes.next_multiple_of(256);
            here
        };
        let scratch_blocks = blocks.max(call.sequences.count * call.heads);
        let spans = self.spans(&call.sequences) * call.heads;
        let (record, passed) = (take(blocks * self.text.record), take(self.text.passed.of(blocks, spans)));
        let (scratch, partial) =
            (take(scratch_blocks * self.text.scratch), take(spans * self.text.partial_floats() * 4));
        let progress = take(call.sequences.count * call.heads * self.text.slices * 4);
        let rows = batch * call.sequences.tokens * call.heads;
        let shared = |g: &Grad| call.group > 1 && g.per_key_head && !self.sums.iter().all(Option::is_none);
        let heads = self.grads.iter().map(|g| take(if shared(g) { rows * g.channels * 4 } else { 0 })).collect();
        Parts { record, passed, scratch, partial, progress, heads, bytes: at }
    }

    fn batch(call: &Call) -> usize {
        if call.sequences.offsets == 0 { call.sequences.count } else { 1 }
    }

    /// Bytes of workspace that a call needs; their contents have no meaning before and after.
    pub fn workspace(&self, call: &Call) -> usize {
        self.parts(call, Pass::batch(call)).bytes.max(256)
    }

    /// Queues the call on a stream.
    ///
    /// # Safety
    /// Every address is of device memory that holds what its strides, the sequences and the sizes that the pass was compiled
    /// for say, until the stream has run the call; `workspace` has [`Pass::workspace`] bytes.
    pub unsafe fn launch(&self, call: &Call, workspace: u64, stream: sys::CUstream) -> Result<()> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.launch_some(call, workspace, stream, self.chosen(call)) }
    }

    /// Queues some of the call's kernels, by number; those before the first have run on this workspace. For timing them one by
    /// one.
    ///
    /// # Safety
    /// As [`Pass::launch`].
    pub unsafe fn launch_some(
        &self,
        call: &Call,
        workspace: u64,
        stream: sys::CUstream,
        which: std::ops::Range<usize>,
    ) -> Result<()> {
        in_range(call)?;
        self.device.enter()?;
        let parts = self.parts(call, Pass::batch(call));
        let at = |offset: usize| workspace + offset as u64;
        let shared = |i: usize| call.group > 1 && self.grads[i].per_key_head && !call.input_grads.is_empty();
        let mut words: Vec<u64> = Vec::with_capacity(256);
        if self.divided() {
            let Counts { inputs, outputs, states, constants } = self.counts;
            add_views(&mut words, &call.inputs, inputs);
            add_views(&mut words, &call.outputs, outputs);
            add_views(&mut words, &call.states_in, states);
            add_constants(&mut words, &call.constants, constants);
            words.extend([call.slots, call.sequences.tokens as u64, call.heads as u64, call.group as u64]);
            return self.queue_all(call, &mut words, which, stream);
        }
        let mut views = |list: &[RawView], count: usize| add_views(&mut words, list, count);
        let mut grads = call.input_grads.clone();
        for (i, grad) in grads.iter_mut().enumerate() {
            if shared(i) && grad.address != 0 {
                let channels = self.grads[i].channels as i64;
                let heads = call.heads as i64;
                let tokens = call.sequences.tokens as i64;
                let strides = [tokens * heads * channels, heads * channels, channels, 1];
                *grad = RawView { address: at(parts.heads[i]), strides };
            }
        }
        let Counts { inputs, outputs, states, constants } = self.counts;
        views(&call.inputs, inputs);
        views(&call.outputs, outputs);
        views(&call.output_grads, outputs);
        views(&grads, inputs);
        views(&call.states_in, states);
        views(&call.states_out, states);
        views(&call.state_grads_in, states);
        views(&call.state_grads_out, states);
        add_constants(&mut words, &call.constants, constants);
        let q = &call.sequences;
        words.extend([q.offsets, u64::from(q.wide), q.count as u64, q.tokens as u64, call.slots]);
        words.extend([
            at(parts.record),
            at(parts.passed),
            call.kept,
            at(parts.scratch),
            at(parts.partial),
            at(parts.progress),
        ]);
        words.push(self.text.slices as u64);
        words.extend([call.heads as u64, call.group as u64]);
        self.queue_all(call, &mut words, which.clone(), stream)?;
        if which.end < self.kernels.len() || self.sums.iter().all(Option::is_none) {
            return Ok(());
        }
        for (i, grad) in call.input_grads.iter().enumerate() {
            let of = self.grads[i];
            if grad.address == 0 {
                continue;
            }
            let (heads, channels) = (call.heads, of.channels);
            if of.parameter {
                let Some((_, offset, _)) = self.text.partial.iter().find(|(input, ..)| *input == i) else { continue };
                let mut words = vec![at(parts.partial), grad.address];
                words.extend(grad.strides.map(|s| s as u64));
                words.extend([self.spans(q), heads, self.text.partial_floats(), *offset, channels].map(|n| n as u64));
                let function = self.sums(of.elem).1;
                // SAFETY: as above.
                unsafe {
                    queue(function, (heads * channels).div_ceil(128), 128, 0, words.as_mut_ptr().cast(), stream)?
                };
            } else if shared(i) {
                let from = grads[i];
                let batch = Pass::batch(call);
                let mut words = vec![from.address];
                words.extend(from.strides.map(|s| s as u64));
                words.push(grad.address);
                words.extend(grad.strides.map(|s| s as u64));
                let key_heads = heads / call.group;
                words.extend([batch, q.tokens, key_heads, call.group, channels].map(|n| n as u64));
                let rows = batch * q.tokens * key_heads * channels;
                let function = self.sums(of.elem).0;
                // SAFETY: as above.
                unsafe { queue(function, rows.div_ceil(256).min(1 << 16), 256, 0, words.as_mut_ptr().cast(), stream)? };
            }
        }
        Ok(())
    }

    /// Launches kernels with their argument block.
    fn queue_all(
        &self,
        call: &Call,
        words: &mut [u64],
        which: std::ops::Range<usize>,
        stream: sys::CUstream,
    ) -> Result<()> {
        let q = &call.sequences;
        for kernel in &self.kernels[which] {
            let blocks = match kernel.grid {
                Grid::Chunks => self.chunks(q) * call.heads,
                Grid::Spans => self.spans(q) * call.heads,
                Grid::Sequences(slices) => q.count * call.heads * slices,
            };
            let overlap = kernel.overlaps && self.device.overlaps();
            // SAFETY: the caller of `launch` vouches for the addresses; the argument block has the layout that the kernel
            // declares.
            unsafe {
                let queue = if overlap { queue_overlapping } else { queue };
                queue(kernel.function, blocks, kernel.threads, kernel.shared, words.as_mut_ptr().cast(), stream)?
            };
        }
        Ok(())
    }

    fn sums(&self, elem: Elem) -> (sys::CUfunction, sys::CUfunction) {
        let index = SUMMED.iter().position(|e| *e == elem).expect("all types are listed");
        self.sums[index].expect("loaded for every type of a gradient that is summed")
    }
}

/// Kernels count tokens in 32 bits, and multiply by strides of tokens and of heads of as many.
fn in_range(call: &Call) -> Result<()> {
    let most = i32::MAX as usize - 256;
    if call.sequences.tokens > most {
        return Err(Error::unsupported(
            "launch",
            format!("{} tokens of a sequence, more than {most}", call.sequences.tokens),
        ));
    }
    let tokens = [&call.inputs, &call.outputs, &call.output_grads, &call.input_grads];
    let states = [&call.states_in, &call.states_out, &call.state_grads_in, &call.state_grads_out];
    let views = tokens.into_iter().chain(states).flatten().filter(|view| view.address != 0);
    match views.flat_map(|view| &view.strides[1..3]).find(|stride| u32::try_from(**stride).is_err()) {
        Some(stride) => Err(Error::unsupported(
            "launch",
            format!("a stride of {stride} elements between tokens or heads, not within 0 to 2^32 - 1"),
        )),
        None => Ok(()),
    }
}

fn add_views(words: &mut Vec<u64>, list: &[RawView], count: usize) {
    for i in 0..count.max(1) {
        let view = list.get(i).copied().unwrap_or_default();
        words.push(view.address);
        words.extend(view.strides.map(|s| s as u64));
    }
}

fn add_constants(words: &mut Vec<u64>, values: &[f64], count: usize) {
    words.extend((0..count.max(1)).map(|i| values.get(i).copied().unwrap_or(0.0).to_bits()));
}

/// [`queue`] for a kernel that itself waits for the launch before it.
unsafe fn queue_overlapping(
    function: sys::CUfunction,
    blocks: usize,
    threads: usize,
    shared: usize,
    argument: *mut c_void,
    stream: sys::CUstream,
) -> Result<()> {
    if blocks == 0 {
        return Ok(());
    }
    let mut value = sys::CUlaunchAttributeValue { pad: [0; 64] };
    value.programmaticStreamSerializationAllowed = 1;
    let id = sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    let mut attribute = sys::CUlaunchAttribute { id, pad: [0; 4], value };
    let config = sys::CUlaunchConfig {
        gridDimX: grid(blocks)?,
        gridDimY: 1,
        gridDimZ: 1,
        blockDimX: threads as u32,
        blockDimY: 1,
        blockDimZ: 1,
        sharedMemBytes: shared as u32,
        hStream: stream,
        attrs: &mut attribute,
        numAttrs: 1,
    };
    let mut arguments = [argument];
    // SAFETY: as in `queue`; the attribute is read before this returns.
    check("launch", unsafe { sys::cuLaunchKernelEx(&config, function, arguments.as_mut_ptr(), std::ptr::null_mut()) })
}

pub(super) fn grid(blocks: usize) -> Result<u32> {
    let blocks = u32::try_from(blocks).ok().filter(|b| *b <= i32::MAX as u32);
    blocks.ok_or_else(|| Error::unsupported("launch", "more than 2^31 - 1 blocks"))
}

unsafe fn queue(
    function: sys::CUfunction,
    blocks: usize,
    threads: usize,
    shared: usize,
    argument: *mut c_void,
    stream: sys::CUstream,
) -> Result<()> {
    if blocks == 0 {
        return Ok(());
    }
    let blocks = grid(blocks)?;
    let mut arguments = [argument];
    // SAFETY: one argument, whose layout is the kernel's; the driver copies it before this returns.
    check("launch", unsafe {
        sys::cuLaunchKernel(
            function,
            blocks,
            1,
            1,
            threads as u32,
            1,
            1,
            shared as u32,
            stream,
            arguments.as_mut_ptr(),
            std::ptr::null_mut(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_and_tokens_beyond_32_bits_are_refused() {
        let stride = |tokens: i64| RawView { address: 256, strides: [1 << 40, tokens, 128, 1] };
        let call = |tokens: i64| Call { inputs: vec![stride(tokens)], ..Call::default() };
        assert!(in_range(&call(u32::MAX.into())).is_ok());
        for tokens in [1 << 32, -1] {
            let refused = in_range(&call(tokens)).unwrap_err().to_string();
            assert!(refused.contains(&format!("a stride of {tokens} elements")), "{refused}");
        }
        let mut long = call(128);
        long.sequences.tokens = 1 << 31;
        assert!(in_range(&long).is_err());
    }
}
