//! RMSNorm of rows, and the same multiplied with a SiLU gate.

use super::math::{dot, sigmoid, silu_slope};
use super::{by_blocks, floats, sum_partials, tensor, with_floats};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};

const EPS: f32 = 1e-5;

/// `y = x / sqrt(mean(x^2) + 1e-5) * weight` over the last dimension. `x [..,D]`, `weight [D]`.
pub fn rms_norm(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op2(weight, RmsNorm)
}

/// `y = rms_norm(x, weight) * silu(gate)`: the mixer's output norm. `x [..,V]`, `weight [V]`, `gate` as `x`.
pub fn gated_norm(x: &Tensor, weight: &Tensor, gate: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op3(weight, &gate.contiguous()?, GatedNorm)
}

/// `1 / sqrt(mean(x^2) + eps)` of a row.
#[inline(always)]
fn inverse_rms(x: &[f32]) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + EPS).sqrt()
}

/// Gradient of one row: `grad` is the gradient of the normalised row times `w`. Adds to `dw`, writes `dx`.
#[inline(always)]
fn norm_row_backward(x: &[f32], w: &[f32], grad: &[f32], dx: &mut [f32], dw: &mut [f32]) {
    let inverse = inverse_rms(x);
    for (dx, (w, grad)) in dx.iter_mut().zip(w.iter().zip(grad)) {
        *dx = grad * w;
    }
    let along = dot(x, dx) * inverse * inverse * inverse / x.len() as f32;
    for ((dx, dw), (x, grad)) in dx.iter_mut().zip(dw).zip(x.iter().zip(grad)) {
        *dw += grad * x * inverse;
        *dx = *dx * inverse - x * along;
    }
}

struct RmsNorm;

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, w) = (floats(x, lx, self.name())?, floats(w, lw, self.name())?);
        let width = w.len();
        let mut y = vec![0.0; x.len()];
        by_blocks(
            &mut y,
            width,
            #[inline(always)]
            |y, first| {
                for (y, x) in y.chunks_exact_mut(width).zip(x[first * width..].chunks_exact(width)) {
                    let inverse = inverse_rms(x);
                    for (y, (x, w)) in y.iter_mut().zip(x.iter().zip(w)) {
                        *y = x * inverse * w;
                    }
                }
            },
        );
        Ok((CpuStorage::F32(y), lx.shape().clone()))
    }

    #[cfg(feature = "cuda-models")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        lx: &Layout,
        w: &candle_core::CudaStorage,
        lw: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        super::gpu::norm((x, lx), (w, lw), None, self.name())
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "cuda-models")]
        if x.device().is_cuda() {
            let (dx, dw, _) = super::gpu::norm_backward(x, w, None, dy, self.name())?;
            return Ok((dx, dw));
        }
        with_floats(x, self.name(), |xs| {
            with_floats(w, self.name(), |ws| {
                with_floats(dy, self.name(), |dys| {
                    let width = ws.len();
                    let mut dx = vec![0.0; xs.len()];
                    let dws = by_blocks(
                        &mut dx,
                        width,
                        #[inline(always)]
                        |dx, first| {
                            let mut dw = vec![0.0; width];
                            let rows =
                                xs[first * width..].chunks_exact(width).zip(dys[first * width..].chunks_exact(width));
                            for (dx, (x, dy)) in dx.chunks_exact_mut(width).zip(rows) {
                                norm_row_backward(x, ws, dy, dx, &mut dw);
                            }
                            dw
                        },
                    );
                    Ok((Some(tensor(dx, x.shape())?), Some(tensor(sum_partials(dws, width), width)?)))
                })
            })
        })
    }
}

struct GatedNorm;

impl CustomOp3 for GatedNorm {
    fn name(&self) -> &'static str {
        "gated-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
        gate: &CpuStorage,
        lg: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, w) = (floats(x, lx, self.name())?, floats(w, lw, self.name())?);
        let gate = floats(gate, lg, self.name())?;
        let width = w.len();
        let mut y = vec![0.0; x.len()];
        by_blocks(
            &mut y,
            width,
            #[inline(always)]
            |y, first| {
                let rows = x[first * width..].chunks_exact(width).zip(gate[first * width..].chunks_exact(width));
                for (y, (x, gate)) in y.chunks_exact_mut(width).zip(rows) {
                    let inverse = inverse_rms(x);
                    for i in 0..width {
                        y[i] = x[i] * inverse * w[i] * gate[i] * sigmoid(gate[i]);
                    }
                }
            },
        );
        Ok((CpuStorage::F32(y), lx.shape().clone()))
    }

    #[cfg(feature = "cuda-models")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        lx: &Layout,
        w: &candle_core::CudaStorage,
        lw: &Layout,
        gate: &candle_core::CudaStorage,
        lg: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        super::gpu::norm((x, lx), (w, lw), Some((gate, lg)), self.name())
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        gate: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "cuda-models")]
        if x.device().is_cuda() {
            return super::gpu::norm_backward(x, w, Some(gate), dy, self.name());
        }
        let name = self.name();
        let (xs, ws, gates, dys) = (values(x, name)?, values(w, name)?, values(gate, name)?, values(dy, name)?);
        let width = ws.len();
        // the two gradients of a row lie side by side so that one walk writes both
        let mut both = vec![0.0; 2 * xs.len()];
        let dws = by_blocks(
            &mut both,
            2 * width,
            #[inline(always)]
            |both, first| {
                let mut dw = vec![0.0; width];
                let mut inner = vec![0.0; width];
                for (row, both) in both.chunks_exact_mut(2 * width).enumerate() {
                    let range = (first + row) * width..(first + row + 1) * width;
                    let (x, gate, dy) = (&xs[range.clone()], &gates[range.clone()], &dys[range]);
                    let (dx, dgate) = both.split_at_mut(width);
                    let inverse = inverse_rms(x);
                    for i in 0..width {
                        let s = sigmoid(gate[i]);
                        inner[i] = dy[i] * gate[i] * s;
                        dgate[i] = dy[i] * x[i] * inverse * ws[i] * silu_slope(gate[i], s);
                    }
                    norm_row_backward(x, &ws, &inner, dx, &mut dw);
                }
                dw
            },
        );
        let both = tensor(both, (xs.len() / width.max(1), 2, width))?;
        let part = |i| both.narrow(1, i, 1)?.contiguous()?.reshape(x.shape());
        Ok((Some(part(0)?), Some(tensor(sum_partials(dws, width), width)?), Some(part(1)?)))
    }
}

/// A copy of a tensor's elements.
fn values(tensor: &Tensor, name: &'static str) -> Result<Vec<f32>> {
    with_floats(tensor, name, |x| Ok(x.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{draw, same};
    use super::*;

    fn plain(x: &Tensor, w: &Tensor) -> Result<Tensor> {
        let rms = (x.sqr()?.mean_keepdim(x.rank() - 1)? + f64::from(EPS))?.sqrt()?;
        x.broadcast_div(&rms)?.broadcast_mul(w)
    }

    #[test]
    fn both_norms_equal_the_plain_formula() {
        // more rows than a block, and not a multiple of it
        let vars = [draw(&[2, 75, 6], 1), draw(&[6], 2), draw(&[2, 75, 6], 3)];
        same(&vars[..2], |v| rms_norm(&v[0], &v[1]), |v| plain(&v[0], &v[1]));
        same(&vars, |v| gated_norm(&v[0], &v[1], &v[2]), |v| plain(&v[0], &v[1])? * v[2].silu()?);
    }
}
