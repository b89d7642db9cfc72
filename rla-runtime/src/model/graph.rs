//! Generation on a GPU: one token of every sequence as one captured graph.
//!
//! The bytes go in and the logits come out through pinned memory inside the graph; between them stand 6 kernels a layer
//! (`decode.cu`, and the recurrence's own decode), on the memory that prefill left: nothing is allocated, and the host waits
//! once a token.

use super::Lm;
use super::config::VOCABULARY;
use super::fused::gpu::{Gpu, pointer};
use super::memory::{LayerMemory, Memory, Tails};
use crate::device::cuda::graph::Captured;
use crate::device::cuda::kernels::{Call, Pass};
use crate::device::cuda::module::Module;
use crate::device::cuda::{Device as Card, check};
use crate::error::{Error, Result};
use crate::op::candle::Pool;
use candle_core::cuda::cudarc::driver::CudaSlice;
use candle_core::{Device, Storage, Tensor};
use cudarc::driver::sys;
use std::sync::{Arc, OnceLock};

const TEXT: &str = concat!(include_str!("elementwise.cuh"), include_str!("decode.cu"));
const ENTRIES: [&str; 5] = ["project", "project_swiglu", "add_product", "mix", "logits"];
/// Threads of a block that multiplies, and columns of a matrix that it makes, as `decode.cu` has them.
const THREADS: usize = 1024;
const COLUMNS: usize = 8;
/// Floats of a row that a block holds in shared memory without asking for more.
const LONGEST: usize = 10_000;

/// The captured step of sequences 0, 1, ... of a memory.
pub struct Step {
    gpu: Gpu,
    captured: Captured,
    bytes: Pinned<u8>,
    logits: Pinned<f32>,
    batch: usize,
    _kept: Kept,
}

/// What the graph's addresses are of.
struct Kept {
    _floats: Vec<CudaSlice<f32>>,
    _ids: CudaSlice<u8>,
    _tensors: Vec<Tensor>,
    _passes: Vec<Arc<Pass>>,
}

/// Memory of the host that the device reads and writes by itself.
struct Pinned<T> {
    at: *mut T,
    count: usize,
}

// SAFETY: plain memory with one owner.
unsafe impl<T: Send> Send for Pinned<T> {}

impl<T: Copy> Pinned<T> {
    fn new(card: &Card, count: usize) -> Result<Pinned<T>> {
        card.enter()?;
        let mut at = std::ptr::null_mut();
        // SAFETY: the context is current; the address is written by the call.
        check("pinned memory", unsafe { sys::cuMemAllocHost_v2(&mut at, count * size_of::<T>()) })?;
        // SAFETY: the memory has this size; zero bytes are a value of the numbers it is used for.
        unsafe { std::ptr::write_bytes(at.cast::<T>(), 0, count) };
        Ok(Pinned { at: at.cast(), count })
    }

    fn values(&mut self) -> &mut [T] {
        // SAFETY: this owner's memory, of this size, set by `new`; the stream is idle when the host looks.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.count) }
    }

    fn bytes(&self) -> usize {
        self.count * size_of::<T>()
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`, not used afterwards.
        unsafe { sys::cuMemFreeHost(self.at.cast()) };
    }
}

/// What is queued, in order; addresses collected before anything is captured.
struct Plan {
    gpu: Gpu,
    module: Arc<Module>,
    batch: usize,
    launches: Vec<Launch>,
    floats: Vec<CudaSlice<f32>>,
    tensors: Vec<Tensor>,
    passes: Vec<Arc<Pass>>,
}

enum Launch {
    Kernel { entry: &'static str, blocks: usize, threads: usize, shared: usize, words: Vec<u64> },
    Recurrence { pass: Arc<Pass>, call: Box<Call> },
}

impl Plan {
    /// The address of a tensor, which is kept alive with the graph.
    fn at(&mut self, tensor: &Tensor) -> Result<u64> {
        let (storage, layout) = tensor.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else {
            return Err(Error::argument("model", "tensors on the GPU", "others"));
        };
        let at = pointer((storage, layout), "decode")?;
        self.tensors.push(tensor.clone());
        Ok(at)
    }

    /// The address of new memory.
    fn memory(&mut self, count: usize) -> Result<u64> {
        let slice = self.gpu.floats(count)?;
        let at = self.gpu.address(&slice);
        self.floats.push(slice);
        Ok(at)
    }

    fn kernel(&mut self, entry: &'static str, blocks: usize, threads: usize, shared: usize, words: Vec<u64>) {
        self.launches.push(Launch::Kernel { entry, blocks, threads, shared, words });
    }

    /// `x [B,D]` by three matrices `[D,n]`, after its norm.
    fn project(&mut self, x: u64, norm: u64, width: usize, matrices: [(u64, u64, usize); 3]) {
        let blocks: usize = matrices.iter().map(|(_, _, n)| n.div_ceil(COLUMNS)).sum();
        let mut words = vec![x, norm, width as u64];
        words.extend(matrices.iter().flat_map(|&(w, y, n)| [w, y, n as u64]));
        self.kernel("project", blocks * self.batch, THREADS, 4 * width, words);
    }

    /// Adds `from [B,depth]` by a matrix to `x [B,width]`; `gated`: norm, gate and head size.
    fn add(&mut self, from: u64, gated: Option<(u64, u64, usize)>, w: u64, x: u64, depth: usize, width: usize) {
        let (norm, gate, size) = gated.unwrap_or((0, 0, 1));
        let words = vec![from, norm, gate, size as u64, w, x, depth as u64, width as u64];
        self.kernel("add_product", width.div_ceil(COLUMNS) * self.batch, THREADS, 4 * depth, words);
    }

    fn layer(&mut self, lm: &Lm, index: usize, memory: &LayerMemory, x: u64) -> Result<()> {
        let (block, config, batch) = (&lm.blocks[index], lm.config(), self.batch);
        let (mixer, d, f) = (&block.mixer, config.width, config.ff_size);
        let h = mixer.heads;
        let (packed, value) = (config.packed(), h.value_heads * h.value_size);
        let gate_width = mixer.project_gates.dims2()?.1;
        let (Tails::Device(tails), Pool::Device(pool)) = (&memory.tails, &memory.states) else {
            return Err(Error::argument("memory", "on the GPU", "on the host"));
        };
        let norm = self.at(&block.norm_mixer)?;
        let (qkv, gates, gate) =
            (self.memory(batch * packed)?, self.memory(batch * gate_width)?, self.memory(batch * value)?);
        let matrices = [
            (self.at(&mixer.project)?, qkv, packed),
            (self.at(&mixer.project_gates)?, gates, gate_width),
            (self.at(&mixer.project_output_gate)?, gate, value),
        ];
        self.project(x, norm, d, matrices);

        let (mixed, opened) = (self.memory(batch * packed)?, self.memory(batch * gate_width)?);
        let segments = batch * packed.div_ceil(h.key_size);
        let words = vec![
            qkv,
            self.at(&mixer.convolution)?,
            self.at(tails)?,
            mixed,
            batch as u64,
            packed as u64,
            2 * h.key_heads as u64,
            h.key_size as u64,
            gates,
            self.at(&mixer.a_log)?,
            self.at(&mixer.dt_bias)?,
            opened,
            gate_width as u64,
            h.value_heads as u64,
        ];
        self.kernel("mix", (segments + batch).div_ceil(4), 128, 0, words);

        let o = self.memory(batch * value)?;
        let states = pool.iter().map(|s| self.at(s)).collect::<Result<Vec<_>>>()?;
        let problem = mixer.problem(batch, 1);
        let sources = [(mixed, packed), (opened, gate_width)];
        let (pass, call) = mixer.recurrent.decode_call(&problem, &sources, &mixer.columns, pool, &states, o)?;
        self.passes.push(pass.clone());
        self.launches.push(Launch::Recurrence { pass, call: Box::new(call) });

        let (norm, down) = (self.at(&mixer.norm)?, self.at(&mixer.project_output)?);
        self.add(o, Some((norm, gate, h.value_size)), down, x, value, d);

        let (norm, up, down) = (self.at(&block.norm_ff)?, self.at(&block.up)?, self.at(&block.down)?);
        let inner = self.memory(batch * f)?;
        let words = vec![x, norm, d as u64, up, inner, f as u64];
        self.kernel("project_swiglu", f.div_ceil(COLUMNS) * batch, THREADS, 4 * d, words);
        self.add(inner, None, down, x, f, d);
        Ok(())
    }
}

impl Step {
    /// Captures the step of sequences in slots 0 to `batch`; `None` where the model is not on a GPU, or a row of it is longer
    /// than a block holds.
    pub fn new(lm: &Lm, memory: &Memory, batch: usize) -> Result<Option<Step>> {
        let Device::Cuda(device) = lm.device() else { return Ok(None) };
        let config = lm.config();
        if [config.width, config.ff_size, config.value_heads * config.value_size].iter().any(|&n| n > LONGEST) {
            return Ok(None);
        }
        static MODULE: OnceLock<std::result::Result<Arc<Module>, String>> = OnceLock::new();
        let card = Card::first()?;
        let load = || Module::new(&card, "rla_decode", TEXT, &ENTRIES).map(Arc::new);
        let module = MODULE.get_or_init(|| load().map_err(|e| e.to_string()));
        let module = module.clone().map_err(|e| Error::unsupported("generation on the GPU", e))?;
        let gpu = Gpu::on(device)?;
        let mut plan =
            Plan { gpu: gpu.clone(), module, batch, launches: vec![], floats: vec![], tensors: vec![], passes: vec![] };
        let ids = gpu.memory::<u8>(batch)?;
        let (x, y) = (plan.memory(batch * config.width)?, plan.memory(batch * VOCABULARY)?);
        let (table, d) = (plan.at(&lm.embedding)?, config.width as u64);
        for (i, layer) in memory.layers.iter().enumerate() {
            plan.layer(lm, i, layer, x)?;
        }
        let (norm, head) = (plan.at(&lm.norm)?, plan.at(&lm.head)?);
        let words = vec![x, norm, head, y, d, VOCABULARY as u64];
        plan.kernel("logits", VOCABULARY.div_ceil(8) * batch, 256, 4 * config.width, words);

        let (bytes, logits) = (Pinned::<u8>::new(&card, batch)?, Pinned::<f32>::new(&card, batch * VOCABULARY)?);
        let stream = device.cuda_stream().cu_stream();
        // decode has no workspace of its own, so this stays as small as it is
        let needed = plan.launches.iter().map(|l| match l {
            Launch::Recurrence { pass, call } => pass.workspace(call),
            Launch::Kernel { .. } => 0,
        });
        let workspace = plan.memory(needed.max().unwrap_or(0).div_ceil(4))?;
        // SAFETY: waits for what prefill queued.
        check("kernels", unsafe { sys::cuStreamSynchronize(stream) })?;
        let captured = Captured::new(&card, stream, |stream| {
            let (ids_at, words) = (gpu.address(&ids), batch as u64 * d);
            // SAFETY: pinned memory and device memory that live as long as the graph, of the sizes that the kernels are told.
            unsafe {
                let size = bytes.bytes();
                check("copy to the device", sys::cuMemcpyHtoDAsync_v2(ids_at, bytes.at.cast(), size, stream))?;
                let blocks = (words as usize).div_ceil(256);
                gpu.queue("embed", blocks, 256, &[table, ids_at, x, batch as u64, d])?;
                for launch in &plan.launches {
                    match launch {
                        Launch::Kernel { entry, blocks, threads, shared, words } => {
                            plan.module.queue(entry, *blocks, *threads, *shared, words, stream)?
                        }
                        Launch::Recurrence { pass, call } => pass.launch(call, workspace, stream)?,
                    }
                }
                let size = logits.bytes();
                check("copy to the host", sys::cuMemcpyDtoHAsync_v2(logits.at.cast(), y, size, stream))
            }
        })?;
        let kept = Kept { _floats: plan.floats, _ids: ids, _tensors: plan.tensors, _passes: plan.passes };
        Ok(Some(Step { gpu, captured, bytes, logits, batch, _kept: kept }))
    }

    /// The logits after one more byte of each sequence.
    pub fn logits(&mut self, bytes: &[u8]) -> Result<Vec<Vec<f32>>> {
        if bytes.len() != self.batch {
            return Err(Error::argument("tokens", format!("{} bytes", self.batch), bytes.len().to_string()));
        }
        self.bytes.values().copy_from_slice(bytes);
        let stream = self.gpu.device.cuda_stream().cu_stream();
        // SAFETY: the graph's memory is kept beside it; the stream is candle's, of the same context.
        unsafe {
            self.captured.launch(stream)?;
            check("kernels", sys::cuStreamSynchronize(stream))?;
        }
        Ok(self.logits.values().chunks_exact(VOCABULARY).map(<[f32]>::to_vec).collect())
    }
}
