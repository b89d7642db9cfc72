//! The same operations on a GPU: candle's memory and stream, the kernels of `fused.cu`.

use crate::device::cuda::Device;
use crate::device::cuda::module::Module;
use candle_core::cuda::CudaDType;
use candle_core::cuda::cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, Error, Layout, Result, Shape, Storage, Tensor, bail};
use std::sync::{Arc, OnceLock};

const TEXT: &str = concat!(include_str!("../elementwise.cuh"), include_str!("fused.cu"));
const ENTRIES: [&str; 20] = [
    "sum_parts",
    "sum_rows",
    "norm_rows",
    "norm_backward",
    "conv",
    "conv_backward",
    "conv_inputs",
    "conv_weights",
    "gates",
    "gates_backward",
    "swiglu",
    "swiglu_backward",
    "entropy",
    "mean",
    "entropy_backward",
    "embed",
    "embed_backward",
    "squares",
    "root",
    "adamw",
];
/// Rows of one part of a sum over rows.
const PART: usize = 256;
/// Tokens of one part of the convolution's weight gradient.
const TOKENS: usize = 64;
/// Threads of a block, where a kernel does not say.
const THREADS: usize = 256;

/// candle's device with our kernels.
#[derive(Clone)]
pub(crate) struct Gpu {
    pub device: CudaDevice,
    module: Arc<Module>,
}

/// f32 operands: candle's storage with its layout.
pub(super) type Operand<'a> = (&'a CudaStorage, &'a Layout);

impl Gpu {
    /// The device of some tensors. Kernels are compiled at the first call of the process.
    pub fn on(device: &CudaDevice) -> Result<Gpu> {
        static MODULE: OnceLock<std::result::Result<Arc<Module>, String>> = OnceLock::new();
        let load = || Module::new(&Device::first()?, "rla_models", TEXT, &ENTRIES).map(Arc::new);
        let module = MODULE.get_or_init(|| load().map_err(|e: crate::Error| e.to_string()));
        let module = module.clone().map_err(Error::msg)?;
        Ok(Gpu { device: device.clone(), module })
    }

    /// Memory for `count` elements, not set.
    pub fn memory<T: DeviceRepr>(&self, count: usize) -> Result<CudaSlice<T>> {
        // SAFETY: every kernel writes all elements of its results before anything reads them.
        unsafe { self.device.alloc::<T>(count.max(1)) }
    }

    /// The same for f32.
    pub fn floats(&self, count: usize) -> Result<CudaSlice<f32>> {
        self.memory(count)
    }

    /// The address of memory.
    pub fn address<T>(&self, slice: &CudaSlice<T>) -> u64 {
        slice.device_ptr(&self.device.cuda_stream()).0
    }

    /// Queues a kernel on candle's stream.
    pub fn queue(&self, entry: &str, blocks: usize, threads: usize, words: &[u64]) -> Result<()> {
        let stream = self.device.cuda_stream().cu_stream().cast();
        // SAFETY: the callers here pass addresses of live tensors of the shapes that the kernels are told; memory that is
        // dropped after the call is freed on the same stream, behind the kernel.
        unsafe { self.module.queue(entry, blocks, threads, 0, words, stream) }.map_err(Error::wrap)
    }

    fn warps(&self, entry: &str, rows: usize, words: &[u64]) -> Result<()> {
        self.queue(entry, (rows * 32).div_ceil(THREADS), THREADS, words)
    }

    fn elements(&self, entry: &str, count: usize, words: &[u64]) -> Result<()> {
        self.queue(entry, count.div_ceil(THREADS), THREADS, words)
    }

    /// Memory as candle's storage.
    pub fn storage<T: CudaDType>(&self, slice: CudaSlice<T>) -> CudaStorage {
        CudaStorage::wrap_cuda_slice(slice, self.device.clone())
    }

    /// Memory as a tensor without a graph.
    pub fn tensor<T: CudaDType>(&self, slice: CudaSlice<T>, shape: impl Into<Shape>) -> Tensor {
        Tensor::from_storage(Storage::Cuda(self.storage(slice)), shape, BackpropOp::none(), false)
    }

    /// `[width]`: the sums of parts `[count, width]`.
    fn sum_parts(&self, parts: &CudaSlice<f32>, count: usize, width: usize) -> Result<CudaSlice<f32>> {
        let out = self.floats(width)?;
        let words = [self.address(parts), self.address(&out), count as u64, width as u64];
        self.elements("sum_parts", width, &words)?;
        Ok(out)
    }

    /// `[width]`: the sums of rows `[rows, width]`.
    fn sum_rows(&self, x: &CudaSlice<f32>, rows: usize, width: usize) -> Result<CudaSlice<f32>> {
        let count = rows.div_ceil(PART);
        let parts = self.floats(count * width)?;
        let words = [self.address(x), self.address(&parts), rows as u64, width as u64, PART as u64];
        self.queue("sum_rows", count * width.div_ceil(32), 256, &words)?;
        self.sum_parts(&parts, count, width)
    }
}

/// The address of a contiguous f32 operand.
pub(crate) fn pointer((storage, layout): Operand, name: &'static str) -> Result<u64> {
    let Some((start, _)) = layout.contiguous_offsets() else { bail!("{name}: expected a contiguous tensor") };
    let slice = storage.as_cuda_slice::<f32>()?;
    Ok(slice.device_ptr(&storage.device.cuda_stream()).0 + 4 * start as u64)
}

/// Calls `f` with the addresses of f32 tensors on the GPU, made contiguous where they are not.
pub(crate) fn with_addresses<R>(
    tensors: &[&Tensor],
    name: &'static str,
    f: impl FnOnce(&Gpu, &[u64]) -> Result<R>,
) -> Result<R> {
    let tensors = tensors.iter().map(|t| t.contiguous()).collect::<Result<Vec<_>>>()?;
    let guards: Vec<_> = tensors.iter().map(Tensor::storage_and_layout).collect();
    let mut addresses = Vec::with_capacity(guards.len());
    let mut device = None;
    for (storage, layout) in &guards {
        let Storage::Cuda(storage) = &**storage else { bail!("{name}: expected tensors on the GPU") };
        addresses.push(pointer((storage, layout), name)?);
        device = Some(&storage.device);
    }
    let Some(device) = device else { bail!("{name}: no tensors") };
    f(&Gpu::on(device)?, &addresses)
}

/// `x / rms(x) * w`, times `silu(gate)` where there is a gate.
pub(super) fn norm(x: Operand, w: Operand, gate: Option<Operand>, name: &'static str) -> Result<(CudaStorage, Shape)> {
    let gpu = Gpu::on(&x.0.device)?;
    let (count, width) = (x.1.shape().elem_count(), w.1.shape().elem_count());
    let rows = count / width.max(1);
    let y = gpu.floats(count)?;
    let gate = gate.map_or(Ok(0), |g| pointer(g, name))?;
    let words = [pointer(x, name)?, pointer(w, name)?, gate, gpu.address(&y), rows as u64, width as u64];
    gpu.warps("norm_rows", rows, &words)?;
    Ok((gpu.storage(y), x.1.shape().clone()))
}

/// Gradients of x, w and, where there is one, the gate.
pub(super) fn norm_backward(
    x: &Tensor,
    w: &Tensor,
    gate: Option<&Tensor>,
    dy: &Tensor,
    name: &'static str,
) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
    with_addresses(&[x, w, dy, gate.unwrap_or(x)], name, |gpu, at| {
        let (count, width) = (x.elem_count(), w.elem_count());
        let rows = count / width.max(1);
        let (dx, inner) = (gpu.floats(count)?, gpu.floats(count)?);
        let dgate = gate.map(|_| gpu.floats(count)).transpose()?;
        let (gate_at, dgate_at) = (gate.map_or(0, |_| at[3]), dgate.as_ref().map_or(0, |d| gpu.address(d)));
        let (dx_at, inner_at) = (gpu.address(&dx), gpu.address(&inner));
        let words = [at[0], at[1], gate_at, at[2], dx_at, dgate_at, inner_at, rows as u64, width as u64];
        gpu.warps("norm_backward", rows, &words)?;
        let dw = gpu.sum_rows(&inner, rows, width)?;
        let dgate = dgate.map(|d| gpu.tensor(d, x.shape()));
        Ok((Some(gpu.tensor(dx, x.shape())), Some(gpu.tensor(dw, width)), dgate))
    })
}

/// The short convolution; `tail` as there.
pub(super) fn conv(
    x: Operand,
    w: Operand,
    tail: Option<&Tensor>,
    heads: usize,
    size: usize,
) -> Result<(CudaStorage, Shape)> {
    let (batch, tokens, c) = x.1.shape().dims3()?;
    check_segment(size)?;
    let run = |tail_at: u64| {
        let gpu = Gpu::on(&x.0.device)?;
        let y = gpu.floats(batch * tokens * c)?;
        let mut words = vec![pointer(x, "short-conv")?, pointer(w, "short-conv")?, tail_at, gpu.address(&y)];
        words.extend([batch, tokens, c, heads, size].map(|n| n as u64));
        gpu.warps("conv", batch * tokens * c.div_ceil(size), &words)?;
        Ok((gpu.storage(y), x.1.shape().clone()))
    };
    match tail {
        None => run(0),
        Some(tail) => with_addresses(&[tail], "short-conv", |_, at| run(at[0])),
    }
}

/// Gradients of x and the weight.
pub(super) fn conv_backward(
    x: &Tensor,
    w: &Tensor,
    tail: Option<&Tensor>,
    dy: &Tensor,
    heads: usize,
    size: usize,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (batch, tokens, c) = x.dims3()?;
    check_segment(size)?;
    with_addresses(&[x, w, dy, tail.unwrap_or(x)], "short-conv", |gpu, at| {
        let tail_at = tail.map_or(0, |_| at[3]);
        let (grad, dx) = (gpu.floats(x.elem_count())?, gpu.floats(x.elem_count())?);
        let sizes = [batch, tokens, c, heads, size].map(|n| n as u64);
        let mut words = vec![at[0], at[1], tail_at, at[2], gpu.address(&grad)];
        words.extend(sizes);
        gpu.warps("conv_backward", batch * tokens * c.div_ceil(size), &words)?;
        let mut words = vec![gpu.address(&grad), at[1], gpu.address(&dx)];
        words.extend(&sizes[..3]);
        gpu.elements("conv_inputs", x.elem_count(), &words)?;
        let count = batch * tokens.div_ceil(TOKENS);
        let taps = w.elem_count();
        let parts = gpu.floats(count * taps)?;
        let words = [at[0], tail_at, gpu.address(&grad), gpu.address(&parts), tokens as u64, c as u64, TOKENS as u64];
        gpu.queue("conv_weights", count * c.div_ceil(128), 128, &words)?;
        let dw = gpu.sum_parts(&parts, count, taps)?;
        Ok((Some(gpu.tensor(dx, x.shape())), Some(gpu.tensor(dw, w.shape()))))
    })
}

/// A warp holds a head in registers.
fn check_segment(size: usize) -> Result<()> {
    if (1..=256).contains(&size) {
        return Ok(());
    }
    bail!("short-conv: expected heads of 1 to 256 channels, found {size}")
}

/// The gates.
pub(super) fn gates(x: Operand, a_log: Operand, bias: Operand) -> Result<(CudaStorage, Shape)> {
    let gpu = Gpu::on(&x.0.device)?;
    let (rows, width) = x.1.shape().dims2()?;
    let y = gpu.floats(rows * width)?;
    let [x_at, a_at, b_at] = [pointer(x, "gates")?, pointer(a_log, "gates")?, pointer(bias, "gates")?];
    let heads = bias.1.shape().elem_count();
    let words = [x_at, a_at, b_at, gpu.address(&y), rows as u64, width as u64, heads as u64];
    gpu.elements("gates", rows * width, &words)?;
    Ok((gpu.storage(y), x.1.shape().clone()))
}

/// Gradients of the projections, of `a_log` and of the bias.
pub(super) fn gates_backward(
    x: &Tensor,
    a_log: &Tensor,
    bias: &Tensor,
    y: &Tensor,
    dy: &Tensor,
) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
    let ((rows, width), heads) = (x.dims2()?, bias.elem_count());
    with_addresses(&[x, a_log, bias, y, dy], "gates", |gpu, at| {
        let (dx, terms) = (gpu.floats(rows * width)?, gpu.floats(rows * 2 * heads)?);
        let mut words = at.to_vec();
        words.extend([gpu.address(&dx), gpu.address(&terms), rows as u64, width as u64, heads as u64]);
        gpu.elements("gates_backward", rows * width, &words)?;
        let sums = gpu.tensor(gpu.sum_rows(&terms, rows, 2 * heads)?, 2 * heads);
        let part = |start| sums.narrow(0, start, heads);
        Ok((Some(gpu.tensor(dx, x.shape())), Some(part(0)?), Some(part(heads)?)))
    })
}

/// `silu(a) * b` of rows `[a | b]`.
pub(super) fn swiglu(x: Operand) -> Result<(CudaStorage, Shape)> {
    let gpu = Gpu::on(&x.0.device)?;
    let (rows, double) = x.1.shape().dims2()?;
    let width = double / 2;
    let y = gpu.floats(rows * width)?;
    let words = [pointer(x, "swiglu")?, gpu.address(&y), rows as u64, width as u64];
    gpu.elements("swiglu", rows * width, &words)?;
    Ok((gpu.storage(y), Shape::from((rows, width))))
}

/// The gradient of x.
pub(super) fn swiglu_backward(x: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
    let (rows, double) = x.dims2()?;
    with_addresses(&[x, dy], "swiglu", |gpu, at| {
        let dx = gpu.floats(rows * double)?;
        let words = [at[0], at[1], gpu.address(&dx), rows as u64, double as u64 / 2];
        gpu.elements("swiglu_backward", rows * double / 2, &words)?;
        Ok(Some(gpu.tensor(dx, x.shape())))
    })
}

/// Mean cross-entropy, a scalar.
pub(super) fn entropy(x: Operand, targets: &[u8]) -> Result<(CudaStorage, Shape)> {
    let gpu = Gpu::on(&x.0.device)?;
    let (rows, width) = x.1.shape().dims2()?;
    let targets = gpu.device.clone_htod(targets)?;
    let (losses, mean) = (gpu.floats(rows)?, gpu.floats(1)?);
    let x_at = pointer(x, "cross-entropy")?;
    let words = [x_at, gpu.address(&targets), gpu.address(&losses), rows as u64, width as u64];
    gpu.warps("entropy", rows, &words)?;
    gpu.queue("mean", 1, 256, &[gpu.address(&losses), gpu.address(&mean), rows as u64])?;
    Ok((gpu.storage(mean), Shape::from(())))
}

/// The gradient of the logits.
pub(super) fn entropy_backward(x: &Tensor, targets: &[u8], dy: &Tensor) -> Result<Option<Tensor>> {
    let (rows, width) = x.dims2()?;
    with_addresses(&[x, dy], "cross-entropy", |gpu, at| {
        let targets = gpu.device.clone_htod(targets)?;
        let dx = gpu.floats(rows * width)?;
        let words = [at[0], gpu.address(&targets), at[1], gpu.address(&dx), rows as u64, width as u64];
        gpu.warps("entropy_backward", rows, &words)?;
        Ok(Some(gpu.tensor(dx, x.shape())))
    })
}

/// Rows of a table `[256, D]`.
pub(super) fn embed(table: Operand, ids: &[u8]) -> Result<(CudaStorage, Shape)> {
    let gpu = Gpu::on(&table.0.device)?;
    let (_, width) = table.1.shape().dims2()?;
    let on_device = gpu.device.clone_htod(ids)?;
    let y = gpu.floats(ids.len() * width)?;
    let table_at = pointer(table, "embedding")?;
    let words = [table_at, gpu.address(&on_device), gpu.address(&y), ids.len() as u64, width as u64];
    gpu.elements("embed", ids.len() * width, &words)?;
    Ok((gpu.storage(y), Shape::from((ids.len(), width))))
}

/// The gradient of the table.
pub(super) fn embed_backward(table: &Tensor, ids: &[u8], dy: &Tensor) -> Result<Option<Tensor>> {
    let (entries, width) = table.dims2()?;
    with_addresses(&[dy], "embedding", |gpu, at| {
        let on_device = gpu.device.clone_htod(ids)?;
        let dtable = gpu.floats(entries * width)?;
        let words = [gpu.address(&on_device), at[0], gpu.address(&dtable), ids.len() as u64, width as u64];
        gpu.queue("embed_backward", entries * width.div_ceil(128), 128, &words)?;
        Ok(Some(gpu.tensor(dtable, table.shape())))
    })
}
