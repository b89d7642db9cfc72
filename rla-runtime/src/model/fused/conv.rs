//! Causal depthwise convolution of width 4, SiLU, and L2 normalisation of the query and key heads, in one pass.

use super::math::{dot, sigmoid, silu_slope};
use super::{floats, sum_partials, tensor, vectorised, with_floats};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// Taps of the convolution.
pub const WIDTH: usize = 4;
const EPS: f32 = 1e-6;

/// See [`short_conv`].
struct ShortConv {
    /// Rows before the first token, `[B, 3, C]`; `None`: zeros.
    tail: Option<Vec<f32>>,
    /// The same where they are on a GPU.
    #[cfg(feature = "cuda-models")]
    tail_there: Option<Tensor>,
    /// Leading heads that are normalised.
    heads: usize,
    /// Their size.
    size: usize,
}

/// `y = silu(conv(x))`, with the first `heads * size` channels divided by their head's length.
///
/// `x [B,T,C]`, `weight [4,C]` (tap 0 the oldest), `tail [B,3,C]` the rows before the first token (zeros if `None`;
/// no gradient). Returns `[B,T,C]`.
pub fn short_conv(x: &Tensor, weight: &Tensor, tail: Option<&Tensor>, heads: usize, size: usize) -> Result<Tensor> {
    #[cfg(feature = "cuda-models")]
    let tail_there = tail.filter(|t| t.device().is_cuda()).map(Tensor::detach);
    let tail = tail.filter(|t| t.device().is_cpu()).map(|t| t.flatten_all()?.to_vec1::<f32>()).transpose()?;
    let op = ShortConv {
        tail,
        #[cfg(feature = "cuda-models")]
        tail_there,
        heads,
        size,
    };
    x.contiguous()?.apply_op2(&weight.contiguous()?, op)
}

impl ShortConv {
    /// The four rows that end at token `t`, oldest first.
    #[inline(always)]
    fn window<'a>(&'a self, x: &'a [f32], b: usize, t: usize, c: usize) -> [Option<&'a [f32]>; WIDTH] {
        std::array::from_fn(|j| {
            let at = t + j;
            match (at.checked_sub(WIDTH - 1), &self.tail) {
                (Some(row), _) => Some(&x[row * c..(row + 1) * c]),
                (None, Some(tail)) => Some(&tail[(b * (WIDTH - 1) + at) * c..][..c]),
                (None, None) => None,
            }
        })
    }

    /// The convolution at one token, before SiLU.
    #[inline(always)]
    fn convolve(&self, x: &[f32], w: &[f32], b: usize, t: usize, out: &mut [f32]) {
        let c = out.len();
        match self.window(x, b, t, c) {
            [Some(x0), Some(x1), Some(x2), Some(x3)] => {
                let (w0, w1, w2, w3) = (&w[..c], &w[c..2 * c], &w[2 * c..3 * c], &w[3 * c..]);
                for i in 0..c {
                    out[i] = w0[i] * x0[i] + w1[i] * x1[i] + w2[i] * x2[i] + w3[i] * x3[i];
                }
            }
            rows => {
                out.fill(0.0);
                for (row, w) in rows.into_iter().zip(w.chunks_exact(c)) {
                    for (o, (x, w)) in out.iter_mut().zip(row.unwrap_or(&[]).iter().zip(w)) {
                        *o += w * x;
                    }
                }
            }
        }
    }
}

impl CustomOp2 for ShortConv {
    fn name(&self) -> &'static str {
        "short-conv"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, tokens, c) = lx.shape().dims3()?;
        let (x, w) = (floats(x, lx, self.name())?, floats(w, lw, self.name())?);
        let mut y = vec![0.0; x.len()];
        let rows = (tokens * c).max(1);
        y.par_chunks_mut(rows).zip(x.par_chunks(rows)).enumerate().for_each(|(b, (y, x))| {
            vectorised(
                #[inline(always)]
                || self.forward(x, w, b, y, c),
            );
        });
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
        super::gpu::conv((x, lx), (w, lw), self.tail_there.as_ref(), self.heads, self.size)
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "cuda-models")]
        if x.device().is_cuda() {
            return super::gpu::conv_backward(x, w, self.tail_there.as_ref(), dy, self.heads, self.size);
        }
        let (_, tokens, c) = x.dims3()?;
        with_floats(x, self.name(), |xs| {
            with_floats(w, self.name(), |ws| {
                with_floats(dy, self.name(), |dys| {
                    let mut dx = vec![0.0; xs.len()];
                    let rows = (tokens * c).max(1);
                    let dws: Vec<Vec<f32>> = dx
                        .par_chunks_mut(rows)
                        .zip(xs.par_chunks(rows).zip(dys.par_chunks(rows)))
                        .enumerate()
                        .map(|(b, (dx, (x, dy)))| {
                            vectorised(
                                #[inline(always)]
                                || self.backward(x, ws, dy, b, dx, c),
                            )
                        })
                        .collect();
                    let dw = sum_partials(dws, WIDTH * c);
                    Ok((Some(tensor(dx, x.shape())?), Some(tensor(dw, w.shape())?)))
                })
            })
        })
    }
}

impl ShortConv {
    /// One sequence: fills `y`.
    #[inline(always)]
    fn forward(&self, x: &[f32], w: &[f32], b: usize, y: &mut [f32], c: usize) {
        for (t, y) in y.chunks_exact_mut(c).enumerate() {
            self.convolve(x, w, b, t, y);
            for v in y.iter_mut() {
                *v *= sigmoid(*v);
            }
            for head in y[..self.heads * self.size].chunks_exact_mut(self.size.max(1)) {
                let inverse = 1.0 / (dot(head, head) + EPS).sqrt();
                for v in head {
                    *v *= inverse;
                }
            }
        }
    }

    /// One sequence: fills `dx`, returns the weight's gradient.
    #[inline(always)]
    fn backward(&self, x: &[f32], w: &[f32], dy: &[f32], b: usize, dx: &mut [f32], c: usize) -> Vec<f32> {
        let mut dw = vec![0.0; WIDTH * c];
        let mut pre = vec![0.0; c];
        let mut grad = vec![0.0; c];
        let mut silu = vec![0.0; c];
        for (t, dy) in dy.chunks_exact(c).enumerate() {
            self.convolve(x, w, b, t, &mut pre);
            grad.copy_from_slice(dy);
            let normed = self.heads * self.size;
            for (p, y) in pre.iter_mut().zip(&mut silu) {
                let s = sigmoid(*p);
                *y = *p * s;
                *p = silu_slope(*p, s);
            }
            let heads = silu[..normed].chunks_exact(self.size.max(1));
            for (y, g) in heads.zip(grad.chunks_exact_mut(self.size.max(1))) {
                let inverse = 1.0 / (dot(y, y) + EPS).sqrt();
                let along = dot(y, g) * inverse * inverse * inverse;
                for (y, g) in y.iter().zip(g) {
                    *g = *g * inverse - y * along;
                }
            }
            for (g, slope) in grad.iter_mut().zip(&pre) {
                *g *= slope;
            }
            for (j, row) in self.window(x, b, t, c).into_iter().enumerate() {
                for (d, (x, g)) in dw[j * c..].iter_mut().zip(row.unwrap_or(&[]).iter().zip(&grad)) {
                    *d += x * g;
                }
                if let Some(row) = (t + j).checked_sub(WIDTH - 1) {
                    for (d, (w, g)) in dx[row * c..].iter_mut().zip(w[j * c..(j + 1) * c].iter().zip(&grad)) {
                        *d += w * g;
                    }
                }
            }
        }
        dw
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{draw, same};
    use super::*;

    fn plain(x: &Tensor, w: &Tensor, tail: &Tensor, heads: usize, size: usize) -> Result<Tensor> {
        let (b, t, c) = x.dims3()?;
        let padded = Tensor::cat(&[tail, x], 1)?;
        let mut sum = Tensor::zeros((b, t, c), x.dtype(), x.device())?;
        for j in 0..WIDTH {
            sum = (sum + padded.narrow(1, j, t)?.broadcast_mul(&w.narrow(0, j, 1)?)?)?;
        }
        let y = sum.silu()?;
        let normed = y.narrow(2, 0, heads * size)?.reshape((b, t, heads, size))?;
        let length = (normed.sqr()?.sum_keepdim(3)? + f64::from(EPS))?.sqrt()?;
        let normed = normed.broadcast_div(&length)?.reshape((b, t, heads * size))?;
        Tensor::cat(&[&normed, &y.narrow(2, heads * size, c - heads * size)?], 2)
    }

    #[test]
    fn equals_the_plain_formula_with_and_without_a_tail() {
        for tokens in [1, 2, 7] {
            let vars = [draw(&[2, tokens, 11], 1), draw(&[WIDTH, 11], 2)];
            let tail = draw(&[2, WIDTH - 1, 11], 3);
            let zeros = tail.zeros_like().unwrap();
            same(&vars, |v| short_conv(&v[0], &v[1], Some(&tail), 2, 4), |v| plain(&v[0], &v[1], &tail, 2, 4));
            same(&vars, |v| short_conv(&v[0], &v[1], None, 2, 4), |v| plain(&v[0], &v[1], &zeros, 2, 4));
        }
    }
}
