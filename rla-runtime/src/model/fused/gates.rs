//! The mixer's gates from their projections: Mamba-2's log decay, and sigmoids.

use super::math::{sigmoid, softplus};
use super::{by_blocks, floats, sum_partials, tensor, with_floats};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

/// Gates of every token and value head, `[N, groups * HV]`, from their projections `x` of the same shape.
///
/// The first group is the log decay `g = -exp(a_log) softplus(x + dt_bias)` (the recurrence's `a = exp(g)`), the
/// others (beta, gamma) are sigmoids. `a_log`, `dt_bias` `[HV]`.
pub fn gates(x: &Tensor, a_log: &Tensor, dt_bias: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op3(a_log, dt_bias, Gates)
}

struct Gates;

impl CustomOp3 for Gates {
    fn name(&self) -> &'static str {
        "gates"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        a_log: &CpuStorage,
        la: &Layout,
        bias: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, a_log) = (floats(x, lx, self.name())?, floats(a_log, la, self.name())?);
        let bias = floats(bias, lb, self.name())?;
        let (_, width) = lx.shape().dims2()?;
        let heads = bias.len();
        let mut y = vec![0.0; x.len()];
        by_blocks(
            &mut y,
            width,
            #[inline(always)]
            |y, first| {
                for (y, x) in y.chunks_exact_mut(width).zip(x[first * width..].chunks_exact(width)) {
                    for h in 0..heads {
                        y[h] = -a_log[h].exp() * softplus(x[h] + bias[h]);
                    }
                    for i in heads..width {
                        y[i] = sigmoid(x[i]);
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
        a_log: &candle_core::CudaStorage,
        la: &Layout,
        bias: &candle_core::CudaStorage,
        lb: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        super::gpu::gates((x, lx), (a_log, la), (bias, lb))
    }

    fn bwd(
        &self,
        x: &Tensor,
        a_log: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "cuda-models")]
        if x.device().is_cuda() {
            return super::gpu::gates_backward(x, a_log, bias, y, dy);
        }
        let (_, width) = x.dims2()?;
        let (a_log, bias) = (a_log.to_vec1::<f32>()?, bias.to_vec1::<f32>()?);
        let heads = bias.len();
        with_floats(x, self.name(), |xs| {
            with_floats(y, self.name(), |ys| {
                with_floats(dy, self.name(), |dys| {
                    let mut dx = vec![0.0; xs.len()];
                    let params = by_blocks(
                        &mut dx,
                        width,
                        #[inline(always)]
                        |dx, first| {
                            // gradients of a_log, then of dt_bias
                            let mut sums = vec![0.0; 2 * heads];
                            for (row, dx) in dx.chunks_exact_mut(width).enumerate() {
                                let at = (first + row) * width;
                                let (x, y, dy) = (&xs[at..at + width], &ys[at..at + width], &dys[at..at + width]);
                                for h in 0..heads {
                                    dx[h] = -dy[h] * a_log[h].exp() * sigmoid(x[h] + bias[h]);
                                    sums[h] += dy[h] * y[h];
                                    sums[heads + h] += dx[h];
                                }
                                for i in heads..width {
                                    dx[i] = dy[i] * y[i] * (1.0 - y[i]);
                                }
                            }
                            sums
                        },
                    );
                    let mut da = sum_partials(params, 2 * heads);
                    let db = da.split_off(heads);
                    Ok((Some(tensor(dx, x.shape())?), Some(tensor(da, heads)?), Some(tensor(db, heads)?)))
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{draw, same};
    use super::*;

    fn plain(x: &Tensor, a_log: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let softplus = (x.narrow(1, 0, 3)?.broadcast_add(bias)?.exp()? + 1.0)?.log()?;
        let decay = softplus.broadcast_mul(&a_log.exp()?.neg()?)?;
        let rest = ((x.narrow(1, 3, 6)?.neg()?.exp()? + 1.0)?).recip()?;
        Tensor::cat(&[decay, rest], 1)
    }

    #[test]
    fn equals_the_plain_formula() {
        let vars = [draw(&[70, 9], 1), draw(&[3], 2), draw(&[3], 3)];
        same(&vars, |v| gates(&v[0], &v[1], &v[2]), |v| plain(&v[0], &v[1], &v[2]));
    }
}
