//! What the card itself reaches: a large copy, and a large bf16 product by cuBLAS where that library is there.
use super::memory::Buffer;
use super::{Device, check, time};
use crate::error::Result;
use cudarc::driver::sys;
use libloading::{Library, Symbol};
use std::ffi::{c_int, c_void};
use std::sync::Arc;

/// Bytes of the copy's source.
const COPY: usize = 1 << 30;
/// Rows, columns and inner size of the product.
const SIZE: usize = 8192;

type Handle = *mut c_void;
type Create = unsafe extern "C" fn(*mut Handle) -> c_int;
type Destroy = unsafe extern "C" fn(Handle) -> c_int;
type SetStream = unsafe extern "C" fn(Handle, sys::CUstream) -> c_int;
type GemmEx = unsafe extern "C" fn(
    Handle,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    *const c_void,
    *const c_void,
    c_int,
    c_int,
    *const c_void,
    c_int,
    c_int,
    *const c_void,
    *mut c_void,
    c_int,
    c_int,
    c_int,
    c_int,
) -> c_int;

/// cuBLAS with a handle on the device's stream, and the product's operands.
struct Product {
    library: Library,
    /// Kept open for the library.
    _light: Option<Library>,
    handle: Handle,
    operands: [Buffer; 3],
}

/// cuBLAS and what it needs, where NVRTC is looked for and then wherever the system's loader finds it.
fn open() -> Option<(Library, Option<Library>)> {
    for folder in rla_build::compile_cuda::folders() {
        let path = folder.join("libcublas.so.13");
        if path.is_file() {
            // SAFETY: opening cuBLAS runs its initialisers, which have no demands.
            unsafe {
                let light = Library::new(folder.join("libcublasLt.so.13")).ok();
                if let Ok(library) = Library::new(path) {
                    return Some((library, light));
                }
            }
        }
    }
    // SAFETY: as above.
    unsafe { Library::new("libcublas.so.13").ok().map(|library| (library, None)) }
}

impl Product {
    fn new(device: &Arc<Device>) -> Result<Option<Product>> {
        let Some((library, light)) = open() else { return Ok(None) };
        device.enter()?;
        let mut handle = std::ptr::null_mut();
        {
            // SAFETY: the signatures are those of cublas_v2.h.
            let functions = unsafe {
                (library.get::<Create>(b"cublasCreate_v2\0"), library.get::<SetStream>(b"cublasSetStream_v2\0"))
            };
            let (Ok(create), Ok(set_stream)) = functions else { return Ok(None) };
            // SAFETY: the handle is written by the call that makes it; the stream is the device's.
            if unsafe { create(&mut handle) != 0 || set_stream(handle, device.stream()) != 0 } {
                return Ok(None);
            }
        }
        // numbers that are neither zero nor equal: both run faster than data does
        let mut word = 0x9e37_79b9_7f4a_7c15u64;
        let values: Vec<u16> = (0..65_537)
            .map(|_| {
                word ^= word << 13;
                word ^= word >> 7;
                word ^= word << 17;
                half::bf16::from_f32((word >> 40) as f32 / (1u64 << 23) as f32 - 1.0).to_bits()
            })
            .collect();
        let pattern: Vec<u16> = values.iter().copied().cycle().take(SIZE * SIZE).collect();
        let make = || Buffer::poisoned(device, 2 * SIZE * SIZE);
        let operands = [make()?, make()?, make()?];
        for operand in &operands[..2] {
            // SAFETY: the pattern has these bytes.
            unsafe { operand.upload(pattern.as_ptr().cast(), 2 * SIZE * SIZE)? };
        }
        Ok(Some(Product { library, _light: light, handle, operands }))
    }

    fn queue(&self) -> Result<()> {
        const BF16: c_int = 14;
        const F32_SUMS: c_int = 68;
        let size = SIZE as c_int;
        let (one, zero) = (1f32, 0f32);
        let at = |i: usize| self.operands[i].address() as *mut c_void;
        // SAFETY: the signature is that of cublas_v2.h.
        let gemm: Symbol<GemmEx> = unsafe { self.library.get(b"cublasGemmEx\0") }
            .map_err(|e| crate::error::Error::unsupported("cuBLAS", e.to_string()))?;
        // SAFETY: three matrices of that size; the factors are read before the call returns.
        let status = unsafe {
            gemm(
                self.handle,
                1,
                0,
                size,
                size,
                size,
                (&raw const one).cast(),
                at(0),
                BF16,
                size,
                at(1),
                BF16,
                size,
                (&raw const zero).cast(),
                at(2),
                BF16,
                size,
                F32_SUMS,
                -1,
            )
        };
        match status {
            0 => Ok(()),
            status => Err(crate::error::Error::unsupported("cuBLAS", format!("its product answered {status}"))),
        }
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        // SAFETY: the signature is that of cublas_v2.h; made by `new`, not used afterwards.
        unsafe {
            if let Ok(destroy) = self.library.get::<Destroy>(b"cublasDestroy_v2\0") {
                destroy(self.handle);
            }
        }
    }
}

/// The card's rates, measured in turns with what is compared with them.
pub struct Ceilings {
    device: Arc<Device>,
    copy: [Buffer; 2],
    product: Option<Product>,
    copies: Vec<f64>,
    products: Vec<f64>,
}

impl Ceilings {
    /// Memory for both, and a first run of each.
    pub fn new(device: &Arc<Device>) -> Result<Ceilings> {
        let copy = [Buffer::poisoned(device, COPY)?, Buffer::poisoned(device, COPY)?];
        let product = Product::new(device)?;
        let mut made = Ceilings { device: device.clone(), copy, product, copies: vec![], products: vec![] };
        made.measure()?;
        (made.copies, made.products) = (vec![], vec![]);
        Ok(made)
    }

    /// One sample of each.
    pub fn measure(&mut self) -> Result<()> {
        let [from, to] = &self.copy;
        self.copies.push(time::queued(&self.device, |stream| {
            // SAFETY: two buffers of that size.
            check("copy", unsafe { sys::cuMemcpyDtoDAsync_v2(to.address(), from.address(), COPY, stream) })
        })?);
        if let Some(product) = &self.product {
            self.products.push(time::queued(&self.device, |_| product.queue())?);
        }
        Ok(())
    }

    /// GB/s, read plus written.
    pub fn copy_gbs(&self) -> f64 {
        2.0 * COPY as f64 / 1e6 / median(&self.copies)
    }

    /// GFLOP/s of the product; NaN where there is no cuBLAS.
    pub fn matrix_gflops(&self) -> f64 {
        2.0 * (SIZE as f64).powi(3) / 1e6 / median(&self.products)
    }
}

fn median(samples: &[f64]) -> f64 {
    if samples.is_empty() { f64::NAN } else { rla_build::quantile::median(samples) }
}
