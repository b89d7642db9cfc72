//! Rows of the embedding's table.

use candle_core::{Result, Tensor};

/// `[N, D]`: row `ids[n]` of `table [256, D]`.
pub fn embedding(table: &Tensor, ids: &[u8]) -> Result<Tensor> {
    #[cfg(feature = "cuda-models")]
    if table.device().is_cuda() {
        return table.contiguous()?.apply_op1(on_device::Embedding(ids.to_vec()));
    }
    let ids = Tensor::from_iter(ids.iter().map(|&t| u32::from(t)), table.device())?;
    table.index_select(&ids, 0)
}

#[cfg(feature = "cuda-models")]
mod on_device {
    use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

    /// candle's own gradient walks all rows in each thread.
    pub struct Embedding(pub Vec<u8>);

    impl CustomOp1 for Embedding {
        fn name(&self) -> &'static str {
            "embedding"
        }

        fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
            bail!("embedding: expected a table on the GPU")
        }

        fn cuda_fwd(&self, table: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
            super::super::gpu::embed((table, layout), &self.0)
        }

        fn bwd(&self, table: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
            super::super::gpu::embed_backward(table, &self.0, dy)
        }
    }
}
