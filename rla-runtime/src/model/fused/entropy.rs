//! Mean cross-entropy of next-token logits, in nats.

use super::math::exp;
use super::{by_blocks, floats, tensor, with_floats};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use std::sync::Arc;

/// `mean_n(log sum_j exp(x[n,j]) - x[n, target[n]])`, a scalar; `x [N, vocabulary]`, one target a row.
pub fn cross_entropy(logits: &Tensor, targets: Arc<Vec<u8>>) -> Result<Tensor> {
    let (rows, width) = logits.dims2()?;
    if rows != targets.len() || targets.iter().any(|&t| usize::from(t) >= width) {
        bail!("cross-entropy: {} targets for logits [{rows}, {width}]", targets.len());
    }
    logits.contiguous()?.apply_op1(CrossEntropy(targets))
}

struct CrossEntropy(Arc<Vec<u8>>);

/// The row's maximum and the sum of `exp(x - maximum)`.
fn normaliser(x: &[f32]) -> (f32, f32) {
    let top = x.iter().fold(f32::NEG_INFINITY, |m, &v| if v > m { v } else { m });
    (top, x.iter().map(|&v| exp(v - top)).sum())
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(x, lx, self.name())?;
        let (rows, width) = lx.shape().dims2()?;
        let mut losses = vec![0.0; rows];
        by_blocks(
            &mut losses,
            1,
            #[inline(always)]
            |losses, first| {
                for (i, loss) in losses.iter_mut().enumerate() {
                    let row = &x[(first + i) * width..][..width];
                    let (top, sum) = normaliser(row);
                    *loss = top + sum.ln() - row[usize::from(self.0[first + i])];
                }
            },
        );
        let mean = losses.iter().map(|&l| f64::from(l)).sum::<f64>() / rows.max(1) as f64;
        Ok((CpuStorage::F32(vec![mean as f32]), Shape::from(())))
    }

    #[cfg(feature = "cuda-models")]
    fn cuda_fwd(&self, x: &candle_core::CudaStorage, lx: &Layout) -> Result<(candle_core::CudaStorage, Shape)> {
        super::gpu::entropy((x, lx), &self.0)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        #[cfg(feature = "cuda-models")]
        if x.device().is_cuda() {
            return super::gpu::entropy_backward(x, &self.0, dy);
        }
        let (rows, width) = x.dims2()?;
        let scale = dy.to_scalar::<f32>()? / rows.max(1) as f32;
        with_floats(x, self.name(), |xs| {
            let mut dx = vec![0.0; xs.len()];
            by_blocks(
                &mut dx,
                width,
                #[inline(always)]
                |dx, first| {
                    for (i, dx) in dx.chunks_exact_mut(width).enumerate() {
                        let row = &xs[(first + i) * width..][..width];
                        let (top, sum) = normaliser(row);
                        let factor = scale / sum;
                        for (d, &v) in dx.iter_mut().zip(row) {
                            *d = exp(v - top) * factor;
                        }
                        dx[usize::from(self.0[first + i])] -= scale;
                    }
                },
            );
            Ok(Some(tensor(dx, x.shape())?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{draw, same};
    use super::*;

    #[test]
    fn equals_the_plain_formula() {
        let targets: Vec<u8> = (0..70).map(|i| (i % 9) as u8).collect();
        let index =
            Tensor::from_vec(targets.iter().map(|&t| u32::from(t)).collect(), (70, 1), &candle_core::Device::Cpu);
        let index = index.unwrap();
        let plain = |x: &Tensor| {
            let log_sum = x.exp()?.sum_keepdim(1)?.log()?;
            (log_sum - x.gather(&index, 1)?)?.mean_all()
        };
        let targets = Arc::new(targets);
        same(&[draw(&[70, 9], 1)], |v| cross_entropy(&v[0], targets.clone()), |v| plain(&v[0]));
        assert!(cross_entropy(&draw(&[70, 8], 1), targets).is_err());
    }
}
