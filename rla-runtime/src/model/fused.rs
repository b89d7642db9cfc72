//! Elementwise parts of a layer, each one pass over memory with its gradient.
//!
//! Written with candle's elementwise operations these parts cost more time than the layer's products: every small
//! operation walks the activations once forward, twice backward, and allocates. Each file here is one candle custom
//! operation, forward and backward side by side; its kernels on a GPU are in `fused.cu`. Sums over rows (the gradients of
//! weights) are taken in blocks of a fixed number of rows and then in order, so that they do not depend on the number of
//! threads.

pub mod conv;
pub mod embedding;
pub mod entropy;
pub mod gates;
#[cfg(feature = "cuda-models")]
pub(crate) mod gpu;
pub mod math;
pub mod norm;
pub mod swiglu;

use candle_core::{CpuStorage, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Rows of one block: what a thread works on, and the unit of sums over rows.
const BLOCK: usize = 64;

/// The elements of a contiguous f32 tensor's storage.
fn floats<'a>(storage: &'a CpuStorage, layout: &Layout, name: &'static str) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(data), Some((start, end))) => Ok(&data[start..end]),
        (CpuStorage::F32(_), None) => bail!("{name}: expected a contiguous tensor"),
        _ => bail!("{name}: expected f32 on the CPU"),
    }
}

/// Calls `f` with the elements of a tensor, made contiguous where it is not.
fn with_floats<R>(tensor: &Tensor, name: &'static str, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        candle_core::Storage::Cpu(cpu) => f(floats(cpu, layout, name)?),
        _ => bail!("{name}: expected a tensor on the CPU"),
    }
}

/// A CPU tensor from its elements.
fn tensor(data: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(data, shape, &Device::Cpu)
}

/// Sum of per-block partial vectors, in order.
fn sum_partials(partials: Vec<Vec<f32>>, width: usize) -> Vec<f32> {
    let mut total = vec![0.0; width];
    for partial in partials {
        for (t, p) in total.iter_mut().zip(partial) {
            *t += p;
        }
    }
    total
}

/// Runs `f(rows of out, first row)` over blocks of rows and returns what each block returned, in order.
fn by_blocks<R: Send>(out: &mut [f32], width: usize, f: impl Fn(&mut [f32], usize) -> R + Sync) -> Vec<R> {
    if width == 0 {
        return Vec::new();
    }
    let rows = out.par_chunks_mut(BLOCK * width).enumerate();
    rows.map(|(i, rows)| {
        vectorised(
            #[inline(always)]
            || f(rows, i * BLOCK),
        )
    })
    .collect()
}

/// Runs `f` compiled for the best instruction set of this machine. What it calls must be `#[inline(always)]` to share
/// that. Results do not depend on the instruction set: nothing is contracted or reassociated.
pub(crate) fn vectorised<R>(f: impl FnOnce() -> R) -> R {
    struct Body<F>(F);
    impl<R, F: FnOnce() -> R> pulp::NullaryFnOnce for Body<F> {
        type Output = R;
        #[inline(always)]
        fn call(self) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Body(f))
}

#[cfg(test)]
pub(crate) mod testing {
    //! Gradient checks of the fused operations against candle's own autodiff of the plain formula.
    use crate::draw::Rng;
    use candle_core::{Device, Result, Tensor, Var};

    /// A variable of normal draws.
    pub fn draw(shape: &[usize], seed: u64) -> Var {
        let mut rng = Rng::new(seed);
        let data: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal() as f32).collect();
        Var::from_tensor(&Tensor::from_vec(data, shape, &Device::Cpu).unwrap()).unwrap()
    }

    fn relative(a: &Tensor, b: &Tensor) -> f32 {
        let norm = |t: &Tensor| t.sqr().unwrap().sum_all().unwrap().sqrt().unwrap().to_scalar::<f32>().unwrap();
        norm(&(a - b).unwrap()) / norm(b).max(1e-20)
    }

    /// Both functions give the same values and the same gradients of every variable, for a random cotangent.
    pub fn same(vars: &[Var], fused: impl Fn(&[Var]) -> Result<Tensor>, plain: impl Fn(&[Var]) -> Result<Tensor>) {
        let (a, b) = (fused(vars).unwrap(), plain(vars).unwrap());
        assert_eq!(a.dims(), b.dims());
        assert!(relative(&a, &b) < 2e-6, "values differ by {:e}", relative(&a, &b));
        let cotangent = draw(a.dims(), 99);
        let (ga, gb) = ((&a * cotangent.as_tensor()).unwrap(), (&b * cotangent.as_tensor()).unwrap());
        let (ga, gb) = (ga.sum_all().unwrap().backward().unwrap(), gb.sum_all().unwrap().backward().unwrap());
        for (i, var) in vars.iter().enumerate() {
            let (x, y) = (ga.get(var).unwrap(), gb.get(var).unwrap());
            assert!(relative(x, y) < 1e-5, "gradient {i} differs by {:e}", relative(x, y));
        }
    }
}
