//! What the machine gives: its f32 product rate and its copy bandwidth, measured beside the kernels.
use super::clock::Clock;
use rla_build::quantile::median;
use std::sync::Barrier;

const M: usize = 64;
const N: usize = 128;
const K: usize = 128;
/// Products in one timed batch: some 0.2 ms of work.
const BATCH: usize = 24;

/// Products of `64x128x128` on one thread, operands in the second-level cache.
struct Product {
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

impl Product {
    fn new() -> Product {
        Product { a: vec![0.5; M * K], b: vec![0.25; K * N], c: vec![0.0; M * N] }
    }

    fn by_gemm(&mut self) {
        let (a, b, c) = (self.a.as_ptr(), self.b.as_ptr(), self.c.as_mut_ptr());
        let (n, k) = (N as isize, K as isize);
        // SAFETY: three dense row-major matrices of these sizes.
        unsafe {
            gemm::gemm(
                M,
                N,
                K,
                c,
                1,
                n,
                false,
                a,
                1,
                k,
                b,
                1,
                n,
                0.0f32,
                1.0f32,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn by_tiles(&mut self) -> bool {
        if std::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has it.
            unsafe { tiles_avx512(&self.a, &self.b, &mut self.c) };
            return true;
        }
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            // SAFETY: the processor has both.
            unsafe { tiles_avx2(&self.a, &self.b, &mut self.c) };
            return true;
        }
        false
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn by_tiles(&mut self) -> bool {
        false
    }
}

/// The register tile of the emitted kernels: 8 rows of 2 vectors, A broadcast, B by rows.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn tiles_avx512(a: &[f32], b: &[f32], c: &mut [f32]) {
    use std::arch::x86_64::*;
    assert!(a.len() == M * K && b.len() == K * N && c.len() == M * N);
    for column in (0..N).step_by(32) {
        for row in (0..M).step_by(8) {
            let mut sum = [[_mm512_setzero_ps(); 2]; 8];
            for k in 0..K {
                // SAFETY: indices stay within the sizes asserted above.
                unsafe {
                    let from = b.as_ptr().add(k * N + column);
                    let (b0, b1) = (_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(16)));
                    for (i, sum) in sum.iter_mut().enumerate() {
                        let x = _mm512_set1_ps(*a.as_ptr().add((row + i) * K + k));
                        sum[0] = _mm512_fmadd_ps(x, b0, sum[0]);
                        sum[1] = _mm512_fmadd_ps(x, b1, sum[1]);
                    }
                }
            }
            for (i, sum) in sum.iter().enumerate() {
                // SAFETY: as above.
                unsafe {
                    let to = c.as_mut_ptr().add((row + i) * N + column);
                    _mm512_storeu_ps(to, sum[0]);
                    _mm512_storeu_ps(to.add(16), sum[1]);
                }
            }
        }
    }
}

/// The same for 16 registers of 8 lanes: 4 rows of 2 vectors.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn tiles_avx2(a: &[f32], b: &[f32], c: &mut [f32]) {
    use std::arch::x86_64::*;
    assert!(a.len() == M * K && b.len() == K * N && c.len() == M * N);
    for column in (0..N).step_by(16) {
        for row in (0..M).step_by(4) {
            let mut sum = [[_mm256_setzero_ps(); 2]; 4];
            for k in 0..K {
                // SAFETY: indices stay within the sizes asserted above.
                unsafe {
                    let from = b.as_ptr().add(k * N + column);
                    let (b0, b1) = (_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8)));
                    for (i, sum) in sum.iter_mut().enumerate() {
                        let x = _mm256_set1_ps(*a.as_ptr().add((row + i) * K + k));
                        sum[0] = _mm256_fmadd_ps(x, b0, sum[0]);
                        sum[1] = _mm256_fmadd_ps(x, b1, sum[1]);
                    }
                }
            }
            for (i, sum) in sum.iter().enumerate() {
                // SAFETY: as above.
                unsafe {
                    let to = c.as_mut_ptr().add((row + i) * N + column);
                    _mm256_storeu_ps(to, sum[0]);
                    _mm256_storeu_ps(to.add(8), sum[1]);
                }
            }
        }
    }
}

/// Seconds that `threads` threads need for `work` each, all starting together.
fn together<T: Send>(clock: Clock, threads: &mut [T], work: impl Fn(&mut T) + Sync) -> f64 {
    if let [one] = threads {
        let start = clock.now();
        work(one);
        return start.seconds();
    }
    let barrier = Barrier::new(threads.len());
    let elapsed = |item: &mut T| {
        barrier.wait();
        let start = clock.now();
        work(item);
        start.seconds()
    };
    std::thread::scope(|scope| {
        let handles: Vec<_> = threads.iter_mut().map(|item| scope.spawn(|| elapsed(item))).collect();
        handles.into_iter().map(|h| h.join().unwrap_or(f64::INFINITY)).fold(0.0, f64::max)
    })
}

/// The two ceilings, measured in turns with what they are compared to.
pub struct Ceilings {
    products: Vec<Product>,
    copies: Vec<(Vec<u8>, Vec<u8>)>,
    /// GFLOP/s of each batch, by the gemm crate and by tiles.
    gemm: Vec<f64>,
    tiles: Vec<f64>,
    /// GB/s of each copy.
    copy: Vec<f64>,
}

/// Bytes that are copied, over all threads: far beyond any cache.
const COPY_BYTES: usize = 256 << 20;

impl Ceilings {
    /// Operands for so many threads.
    pub fn new(threads: usize) -> Ceilings {
        let each = COPY_BYTES / threads.max(1);
        Ceilings {
            products: (0..threads).map(|_| Product::new()).collect(),
            copies: (0..threads).map(|_| (vec![1; each], vec![0; each])).collect(),
            gemm: vec![],
            tiles: vec![],
            copy: vec![],
        }
    }

    /// One batch of each.
    pub fn measure(&mut self, clock: Clock) {
        let flops = (self.products.len() * BATCH * 2 * M * N * K) as f64;
        for _ in 0..4 {
            let seconds = together(clock, &mut self.products, |p| (0..BATCH).for_each(|_| p.by_gemm()));
            self.gemm.push(flops / seconds / 1e9);
            let seconds = together(clock, &mut self.products, |p| {
                (0..BATCH).for_each(|_| {
                    p.by_tiles();
                })
            });
            if self.products.iter_mut().all(Product::by_tiles) {
                self.tiles.push(flops / seconds / 1e9);
            }
        }
        std::hint::black_box(&self.products.iter().map(|p| p.c[0]).sum::<f32>());
        let seconds = together(clock, &mut self.copies, |(from, to)| to.copy_from_slice(from));
        let bytes = 2 * self.copies.iter().map(|(from, _)| from.len()).sum::<usize>();
        self.copy.push(bytes as f64 / seconds / 1e9);
    }

    /// f32 products, GFLOP/s: the faster of the gemm crate and the tile loop, each by its median.
    pub fn matrix_gflops(&self) -> f64 {
        median(&self.gemm).max(median(&self.tiles))
    }

    /// A large copy, GB/s, bytes read plus bytes written.
    pub fn copy_gbs(&self) -> f64 {
        median(&self.copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_products_are_products() {
        let mut product = Product::new();
        for (i, x) in product.a.iter_mut().enumerate() {
            *x = (i % 7) as f32 - 3.0;
        }
        for (i, x) in product.b.iter_mut().enumerate() {
            *x = (i % 5) as f32 - 2.0;
        }
        let expected: Vec<f32> =
            (0..M * N).map(|i| (0..K).map(|k| product.a[i / N * K + k] * product.b[k * N + i % N]).sum()).collect();
        product.by_gemm();
        assert_eq!(product.c, expected);
        product.c.fill(f32::NAN);
        if product.by_tiles() {
            assert_eq!(product.c, expected);
        }
    }
}
