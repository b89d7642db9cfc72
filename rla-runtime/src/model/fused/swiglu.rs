//! `silu(a) * b` of a packed projection `[a | b]`.

use super::math::{sigmoid, silu_slope};
use super::{by_blocks, floats, tensor, with_floats};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

/// `x [N,2F]` to `silu(x[..,..F]) * x[..,F..]`, `[N,F]`.
pub fn swiglu(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(SwiGlu)
}

struct SwiGlu;

impl CustomOp1 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, double) = lx.shape().dims2()?;
        if double % 2 != 0 {
            bail!("swiglu: expected an even width, found {double}");
        }
        let x = floats(x, lx, self.name())?;
        let width = double / 2;
        let mut y = vec![0.0; rows * width];
        by_blocks(
            &mut y,
            width,
            #[inline(always)]
            |y, first| {
                for (y, x) in y.chunks_exact_mut(width).zip(x[first * double..].chunks_exact(double)) {
                    let (a, b) = x.split_at(width);
                    for i in 0..width {
                        y[i] = a[i] * sigmoid(a[i]) * b[i];
                    }
                }
            },
        );
        Ok((CpuStorage::F32(y), Shape::from((rows, width))))
    }

    #[cfg(feature = "cuda-models")]
    fn cuda_fwd(&self, x: &candle_core::CudaStorage, lx: &Layout) -> Result<(candle_core::CudaStorage, Shape)> {
        super::gpu::swiglu((x, lx))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        #[cfg(feature = "cuda-models")]
        if x.device().is_cuda() {
            return super::gpu::swiglu_backward(x, dy);
        }
        let (_, double) = x.dims2()?;
        let width = double / 2;
        with_floats(x, self.name(), |xs| {
            with_floats(dy, self.name(), |dys| {
                let mut dx = vec![0.0; xs.len()];
                by_blocks(
                    &mut dx,
                    double,
                    #[inline(always)]
                    |dx, first| {
                        let rows =
                            xs[first * double..].chunks_exact(double).zip(dys[first * width..].chunks_exact(width));
                        for (dx, (x, dy)) in dx.chunks_exact_mut(double).zip(rows) {
                            let ((a, b), (da, db)) = (x.split_at(width), dx.split_at_mut(width));
                            for i in 0..width {
                                let s = sigmoid(a[i]);
                                da[i] = dy[i] * b[i] * silu_slope(a[i], s);
                                db[i] = dy[i] * a[i] * s;
                            }
                        }
                    },
                );
                Ok(Some(tensor(dx, x.shape())?))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{draw, same};
    use super::*;

    #[test]
    fn equals_the_plain_formula() {
        let plain = |x: &Tensor| x.narrow(1, 0, 5)?.silu()? * x.narrow(1, 5, 5)?;
        same(&[draw(&[70, 10], 1)], |v| swiglu(&v[0]), |v| plain(&v[0]));
    }
}
