// Generated from the recurrence's tile programs by templates/cpu/kernel.rs.tera; not to be edited.

mod abi {
    #![allow(dead_code)]
    // The calling convention between the runtime and generated CPU kernels: one file, compiled into both sides.
    //
    // One call works on one sequence and one value head, all its tokens. Arrays of views are in the recurrence's order of
    // inputs (parameters included), outputs and states. Sizes and strides count elements, not bytes.

    /// Element types of a view.
    pub const DTYPE_F32: u32 = 0;
    /// bfloat16.
    pub const DTYPE_BF16: u32 = 1;
    /// IEEE half precision.
    pub const DTYPE_F16: u32 = 2;

    /// One head's part of an input or an output: `tokens` rows of contiguous elements.
    #[repr(C)]
    #[derive(Clone, Copy, Debug)]
    pub struct View {
        /// The first token's row.
        pub ptr: *mut u8,
        /// Elements from one token to the next; 0 for a parameter.
        pub stride: isize,
        /// One of the `DTYPE_` constants.
        pub dtype: u32,
        /// For gradients (always f32): 1 to add to what is there, 0 to overwrite. Elsewhere 0.
        pub accumulate: u32,
    }

    /// One head's state: element (r, c) lies at `ptr + r * row_stride + c * col_stride`; a vector state has r = 0.
    #[repr(C)]
    #[derive(Clone, Copy, Debug)]
    pub struct StateView {
        /// Null: a zero state where it is read, not wanted where it is written.
        pub ptr: *mut f32,
        /// Elements from one row to the next.
        pub row_stride: isize,
        /// Elements from one column to the next.
        pub col_stride: isize,
    }

    /// Everything a kernel needs for one sequence and one value head.
    #[repr(C)]
    #[derive(Clone, Copy, Debug)]
    pub struct Args {
        /// Tokens of this sequence; 0 is allowed.
        pub tokens: usize,
        /// Size of each side: key, value, declared dims.
        pub sizes: *const usize,
        /// Constants of the recurrence, in order.
        pub constants: *const f32,
        /// Inputs and parameters.
        pub inputs: *const View,
        /// Outputs; forward and decode write them.
        pub outputs: *const View,
        /// Initial states (decode: the states, updated in place).
        pub states_in: *const StateView,
        /// Final states, written by forward.
        pub states_out: *const StateView,
        /// What forward keeps for backward (`saved` floats, 64-byte aligned); null: keep nothing.
        pub saved: *mut f32,
        /// Working memory (`scratch` floats, 64-byte aligned), its contents of no meaning before and after.
        pub scratch: *mut f32,
        /// Backward: gradients of the outputs; a null pointer is zero.
        pub output_grads: *const View,
        /// Backward: gradients of inputs and parameters, f32; a null pointer is not wanted.
        pub input_grads: *const View,
        /// Backward: gradients of the final states; a null pointer is zero.
        pub state_grads_in: *const StateView,
        /// Backward: gradients of the initial states; a null pointer is not wanted.
        pub state_grads_out: *const StateView,
    }

    /// The passes of a variant.
    pub const PASS_FORWARD: u32 = 0;
    /// Forward that keeps what backward needs.
    pub const PASS_FORWARD_SAVE: u32 = 1;
    /// Backward from what forward kept.
    pub const PASS_BACKWARD: u32 = 2;
    /// A few tokens, states in place.
    pub const PASS_DECODE: u32 = 3;
    /// Forward with products in bf16.
    pub const PASS_FORWARD_BF16: u32 = 4;

    /// The kernels of one variant for one instruction set.
    #[repr(C)]
    #[derive(Clone, Copy, Debug)]
    pub struct Entry {
        /// Forward; keeps for backward when `saved` is not null.
        pub forward: Option<unsafe extern "C" fn(*const Args)>,
        /// Forward with bf16 operands of products, summed in f32; keeps nothing. For machines that have avx512bf16.
        pub forward_bf16: Option<unsafe extern "C" fn(*const Args)>,
        /// Backward.
        pub backward: Option<unsafe extern "C" fn(*const Args)>,
        /// Decode.
        pub decode: Option<unsafe extern "C" fn(*const Args)>,
        /// Floats of working memory that a pass needs, given the sizes of the sides.
        pub scratch: Option<unsafe extern "C" fn(pass: u32, sizes: *const usize) -> usize>,
        /// Floats that forward keeps for `tokens` tokens of one sequence and head.
        pub saved: Option<unsafe extern "C" fn(tokens: usize, sizes: *const usize) -> usize>,
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    #![allow(
        clippy::all,
        dead_code,
        unused_imports,
        unused_variables,
        unused_mut,
        unused_macros,
        unused_parens,
        unused_unsafe,
        non_snake_case,
        non_upper_case_globals,
        unsafe_op_in_unsafe_fn,
        uncommon_codepoints
    )]

    mod abi {
        pub use super::super::abi::*;
    }

    mod simd {
        //! AVX-512: 16 lanes, 32 registers.
        //!
        //! Every function is `inline(always)` and is only called from functions that enable the level's features.
        use core::arch::x86_64::*;

        /// One vector.
        pub type V = __m512;
        /// Lanes of a vector.
        pub const L: usize = 16;
        /// Vector registers.
        pub const REGISTERS: usize = 32;

        #[inline(always)]
        pub unsafe fn zero() -> V {
            _mm512_setzero_ps()
        }
        #[inline(always)]
        pub unsafe fn splat(x: f32) -> V {
            _mm512_set1_ps(x)
        }
        #[inline(always)]
        pub unsafe fn load(p: *const f32) -> V {
            _mm512_loadu_ps(p)
        }
        #[inline(always)]
        pub unsafe fn store(p: *mut f32, x: V) {
            _mm512_storeu_ps(p, x)
        }
        /// A store that passes the caches by; `p` is aligned to a vector.
        #[inline(always)]
        pub unsafe fn stream(p: *mut f32, x: V) {
            _mm512_stream_ps(p, x)
        }
        /// Orders streamed stores before what follows.
        #[inline(always)]
        pub unsafe fn fence() {
            _mm_sfence()
        }
        #[inline(always)]
        pub unsafe fn add(a: V, b: V) -> V {
            _mm512_add_ps(a, b)
        }
        #[inline(always)]
        pub unsafe fn sub(a: V, b: V) -> V {
            _mm512_sub_ps(a, b)
        }
        #[inline(always)]
        pub unsafe fn mul(a: V, b: V) -> V {
            _mm512_mul_ps(a, b)
        }
        #[inline(always)]
        pub unsafe fn div(a: V, b: V) -> V {
            _mm512_div_ps(a, b)
        }
        /// `a * b + c`
        #[inline(always)]
        pub unsafe fn fma(a: V, b: V, c: V) -> V {
            _mm512_fmadd_ps(a, b, c)
        }
        /// `c - a * b`
        #[inline(always)]
        pub unsafe fn fnma(a: V, b: V, c: V) -> V {
            _mm512_fnmadd_ps(a, b, c)
        }
        #[inline(always)]
        pub unsafe fn sqrt(a: V) -> V {
            _mm512_sqrt_ps(a)
        }
        #[inline(always)]
        pub unsafe fn abs(a: V) -> V {
            _mm512_abs_ps(a)
        }
        /// The larger of a bound and x; the operand order lets a NaN x pass.
        #[inline(always)]
        pub unsafe fn at_least(bound: V, x: V) -> V {
            _mm512_max_ps(bound, x)
        }
        /// The smaller of a bound and x; a NaN x passes.
        #[inline(always)]
        pub unsafe fn at_most(bound: V, x: V) -> V {
            _mm512_min_ps(bound, x)
        }
        /// `y` where `a < b`, else `n`.
        #[inline(always)]
        pub unsafe fn if_less(a: V, b: V, y: V, n: V) -> V {
            _mm512_mask_mov_ps(n, _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y)
        }
        /// `y` where x is a NaN, else `n`.
        #[inline(always)]
        pub unsafe fn if_nan(x: V, y: V, n: V) -> V {
            _mm512_mask_mov_ps(n, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x), y)
        }
        /// `y` where `mask` is not 0, else 0.
        #[inline(always)]
        pub unsafe fn if_nonzero(mask: V, y: V) -> V {
            _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(mask, _mm512_setzero_ps()), y)
        }
        /// The first `n` lanes, the others 0.
        #[inline(always)]
        pub unsafe fn first(x: V, n: isize) -> V {
            let n = if n < 0 { 0 } else if n > 16 { 16 } else { n };
            _mm512_maskz_mov_ps(((1u32 << n) - 1) as u16, x)
        }
        /// The lanes from `n` on, the others 0.
        #[inline(always)]
        pub unsafe fn from(x: V, n: isize) -> V {
            let n = if n < 0 { 0 } else if n > 16 { 16 } else { n };
            _mm512_maskz_mov_ps(!((1u32 << n) - 1) as u16, x)
        }
        /// `x` with lane `n` replaced by `y`'s.
        #[inline(always)]
        pub unsafe fn insert(x: V, n: usize, y: V) -> V {
            _mm512_mask_mov_ps(x, (1u32 << n) as u16, y)
        }
        /// To the nearest integer, ties to even.
        #[inline(always)]
        pub unsafe fn round(x: V) -> V {
            _mm512_roundscale_ps::<8>(x)
        }
        /// `x * 2^n` for an integer n within +-200.
        #[inline(always)]
        pub unsafe fn scale(x: V, n: V) -> V {
            _mm512_scalef_ps(x, n)
        }
        /// `(m, e)` with `x = m * 2^e`, m in [0.5, 1), for positive finite x.
        #[inline(always)]
        pub unsafe fn split(x: V) -> (V, V) {
            let m = _mm512_getmant_ps::<_MM_MANT_NORM_P5_1, _MM_MANT_SIGN_SRC>(x);
            (m, _mm512_add_ps(_mm512_getexp_ps(x), _mm512_set1_ps(1.0)))
        }
        /// Sum of all lanes.
        #[inline(always)]
        pub unsafe fn sum(x: V) -> f32 {
            _mm512_reduce_add_ps(x)
        }
        /// Largest lane.
        #[inline(always)]
        pub unsafe fn largest(x: V) -> f32 {
            _mm512_reduce_max_ps(x)
        }
        /// Fetches the line at `p` into the second-level cache.
        #[inline(always)]
        pub unsafe fn prefetch(p: *const f32) {
            _mm_prefetch::<_MM_HINT_T1>(p as *const i8)
        }
        /// Fetches the line at `p` into the first-level cache.
        #[inline(always)]
        pub unsafe fn prefetch_near(p: *const f32) {
            _mm_prefetch::<_MM_HINT_T0>(p as *const i8)
        }
        /// `b[c][r] = a[r][c]` for a block of L rows and columns.
        #[inline(always)]
        pub unsafe fn transpose(a: *const f32, lda: usize, b: *mut f32, ldb: usize) {
            let mut r = [zero(); 16];
            for i in 0..16 {
                r[i] = load(a.add(i * lda));
            }
            let mut t = r;
            for i in 0..8 {
                t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            for i in 0..4 {
                let d0 = _mm512_castps_pd(t[4 * i]);
                let d1 = _mm512_castps_pd(t[4 * i + 1]);
                let d2 = _mm512_castps_pd(t[4 * i + 2]);
                let d3 = _mm512_castps_pd(t[4 * i + 3]);
                r[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(d0, d2));
                r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(d0, d2));
                r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(d1, d3));
                r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(d1, d3));
            }
            for i in 0..4 {
                t[i] = _mm512_shuffle_f32x4::<0x88>(r[i], r[i + 4]);
                t[i + 4] = _mm512_shuffle_f32x4::<0xdd>(r[i], r[i + 4]);
                t[i + 8] = _mm512_shuffle_f32x4::<0x88>(r[i + 8], r[i + 12]);
                t[i + 12] = _mm512_shuffle_f32x4::<0xdd>(r[i + 8], r[i + 12]);
            }
            for i in 0..8 {
                store(b.add(i * ldb), _mm512_shuffle_f32x4::<0x88>(t[i], t[i + 8]));
                store(b.add((i + 8) * ldb), _mm512_shuffle_f32x4::<0xdd>(t[i], t[i + 8]));
            }
        }
        /// The first `n` lanes from `p`, 1 <= n < L, the others 0; nothing past them is read.
        #[inline(always)]
        pub unsafe fn load_first(p: *const f32, n: usize) -> V {
            _mm512_maskz_loadu_ps(((1u32 << n) - 1) as u16, p)
        }
        /// Writes the first `n` lanes, 1 <= n < L.
        #[inline(always)]
        pub unsafe fn store_first(p: *mut f32, x: V, n: usize) {
            _mm512_mask_storeu_ps(p, ((1u32 << n) - 1) as u16, x)
        }
        /// Sums of four vectors within each four lanes: lane `4 i + r` is the part of vector r that lies in lanes `4 i ..`.
        #[inline(always)]
        pub unsafe fn quad(a: V, b: V, c: V, d: V) -> V {
            let ab = _mm512_castps_pd(add(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
            let cd = _mm512_castps_pd(add(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
            add(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)), _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)))
        }
        #[inline(always)]
        unsafe fn fold(a: V, b: V) -> V {
            add(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b))
        }
        /// The sums of L vectors in L lanes, from their quads.
        #[inline(always)]
        pub unsafe fn quads(g: [V; L / 4]) -> V {
            fold(fold(g[0], g[1]), fold(g[2], g[3]))
        }
    }

    mod math {
        //! Elementary functions on vectors, about 1 to 2 units in the last place; a NaN passes through each.
        use super::simd::*;

        /// `-x`, the sign of zeros included.
        #[inline(always)]
        pub unsafe fn neg(x: V) -> V {
            mul(splat(-1.0), x)
        }
        /// `e^x`: 0 at -inf, inf above 88.8. Argument reduction by ln 2 in two parts, then Cephes' polynomial.
        #[inline(always)]
        pub unsafe fn exp(x: V) -> V {
            let x = at_most(splat(100.0), at_least(splat(-120.0), x));
            let n = round(mul(x, splat(core::f32::consts::LOG2_E)));
            let r = fnma(n, splat(0.693_359_4), x);
            let r = fnma(n, splat(-2.121_944_4e-4), r);
            let mut y = splat(1.987_569_1e-4);
            y = fma(y, r, splat(1.398_199_9e-3));
            y = fma(y, r, splat(8.333_452e-3));
            y = fma(y, r, splat(4.166_579_6e-2));
            y = fma(y, r, splat(1.666_666_5e-1));
            y = fma(y, r, splat(0.5));
            scale(add(fma(y, mul(r, r), r), splat(1.0)), n)
        }
        /// `ln x`: -inf at 0, NaN below, inf at inf.
        #[inline(always)]
        pub unsafe fn log(x: V) -> V {
            let (m, e) = split(x);
            // mantissa within [sqrt 1/2, sqrt 2)
            let low = splat(core::f32::consts::FRAC_1_SQRT_2);
            let e = if_less(m, low, sub(e, splat(1.0)), e);
            let f = sub(if_less(m, low, add(m, m), m), splat(1.0));
            let z = mul(f, f);
            let mut y = splat(7.037_683_6e-2);
            y = fma(y, f, splat(-1.151_461e-1));
            y = fma(y, f, splat(1.167_699_9e-1));
            y = fma(y, f, splat(-1.242_014_1e-1));
            y = fma(y, f, splat(1.424_932_3e-1));
            y = fma(y, f, splat(-1.666_805_8e-1));
            y = fma(y, f, splat(2.000_071_5e-1));
            y = fma(y, f, splat(-2.499_999_4e-1));
            y = fma(y, f, splat(3.333_333_1e-1));
            y = mul(mul(y, f), z);
            y = fma(e, splat(-2.121_944_4e-4), y);
            y = fnma(splat(0.5), z, y);
            let y = fma(e, splat(0.693_359_4), add(f, y));
            let y = if_less(x, splat(0.0), splat(f32::NAN), y);
            let y = if_less(abs(x), splat(1.0e-45), splat(f32::NEG_INFINITY), y);
            let y = if_less(splat(f32::MAX), x, x, y);
            if_nan(x, x, y)
        }
        /// `ln(1 + y)` for y in [0, 1]: the rounding of 1 + y is put back.
        #[inline(always)]
        unsafe fn log1p(y: V) -> V {
            let u = add(splat(1.0), y);
            add(log(u), div(sub(y, sub(u, splat(1.0))), u))
        }
        /// `1 / (1 + e^-x)`
        #[inline(always)]
        pub unsafe fn sigmoid(x: V) -> V {
            div(splat(1.0), add(splat(1.0), exp(neg(x))))
        }
        /// `ln sigmoid x`
        #[inline(always)]
        pub unsafe fn log_sigmoid(x: V) -> V {
            sub(at_most(splat(0.0), x), log1p(exp(neg(abs(x)))))
        }
        /// `x sigmoid x`
        #[inline(always)]
        pub unsafe fn silu(x: V) -> V {
            div(x, add(splat(1.0), exp(neg(x))))
        }
        /// `ln(1 + e^x)`
        #[inline(always)]
        pub unsafe fn softplus(x: V) -> V {
            add(at_least(splat(0.0), x), log1p(exp(neg(abs(x)))))
        }
        /// `tanh x`: a polynomial near 0, else by `e^2x`.
        #[inline(always)]
        pub unsafe fn tanh(x: V) -> V {
            let a = abs(x);
            let z = mul(x, x);
            let mut y = splat(-5.704_988_7e-3);
            y = fma(y, z, splat(2.063_908_9e-2));
            y = fma(y, z, splat(-5.373_971_5e-2));
            y = fma(y, z, splat(1.333_144_1e-1));
            y = fma(y, z, splat(-3.333_328_2e-1));
            let near = fma(mul(y, z), x, x);
            let far = sub(splat(1.0), div(splat(2.0), add(exp(add(a, a)), splat(1.0))));
            let far = if_less(x, splat(0.0), neg(far), far);
            if_nan(x, x, if_less(a, splat(0.625), near, far))
        }
        /// `1 / sqrt x`
        #[inline(always)]
        pub unsafe fn rsqrt(x: V) -> V {
            div(splat(1.0), sqrt(x))
        }
        /// `max(x, 0)`, a NaN passes.
        #[inline(always)]
        pub unsafe fn relu(x: V) -> V {
            at_least(splat(0.0), x)
        }
        /// x within the interval; a NaN passes.
        #[inline(always)]
        pub unsafe fn clamp(x: V, lo: V, hi: V) -> V {
            at_most(hi, at_least(lo, x))
        }
        /// d where `lo < x < hi` or x is a NaN, else 0.
        #[inline(always)]
        pub unsafe fn inside(x: V, lo: V, hi: V, d: V) -> V {
            if_nan(x, d, if_less(lo, x, if_less(x, hi, d, zero()), zero()))
        }
        /// d where `x > 0` or x is a NaN, else 0.
        #[inline(always)]
        pub unsafe fn positive(x: V, d: V) -> V {
            if_nan(x, d, if_less(zero(), x, d, zero()))
        }
        /// d, 0 or -d by the sign of x; a NaN passes.
        #[inline(always)]
        pub unsafe fn sign(x: V, d: V) -> V {
            if_nan(x, x, if_less(zero(), x, d, if_less(x, zero(), neg(d), zero())))
        }
    }

    /// A block for each literal index below a count: register tiles must not be indexed by variables.
    macro_rules! each {
        (1, $i:ident, $b:block) => { { const $i: usize = 0; $b } };
        (2, $i:ident, $b:block) => { { const $i: usize = 0; $b } { const $i: usize = 1; $b } };
        (4, $i:ident, $b:block) => {
            { const $i: usize = 0; $b } { const $i: usize = 1; $b } { const $i: usize = 2; $b } { const $i: usize = 3; $b }
        };
        (8, $i:ident, $b:block) => {
            { const $i: usize = 0; $b } { const $i: usize = 1; $b } { const $i: usize = 2; $b } { const $i: usize = 3; $b }
            { const $i: usize = 4; $b } { const $i: usize = 5; $b } { const $i: usize = 6; $b } { const $i: usize = 7; $b }
        };
    }

    /// The same from the last index down.
    macro_rules! each_back {
        (1, $i:ident, $b:block) => { { const $i: usize = 0; $b } };
        (2, $i:ident, $b:block) => { { const $i: usize = 1; $b } { const $i: usize = 0; $b } };
        (4, $i:ident, $b:block) => {
            { const $i: usize = 3; $b } { const $i: usize = 2; $b } { const $i: usize = 1; $b } { const $i: usize = 0; $b }
        };
        (8, $i:ident, $b:block) => {
            { const $i: usize = 7; $b } { const $i: usize = 6; $b } { const $i: usize = 5; $b } { const $i: usize = 4; $b }
            { const $i: usize = 3; $b } { const $i: usize = 2; $b } { const $i: usize = 1; $b } { const $i: usize = 0; $b }
        };
    }

    mod tile {
        //! Register tiles: M rows of N vectors, kept in registers through a chain of products, scalings and epilogues.
        //!
        //! The left operand of a product is read element by element and broadcast, so its two strides are free and a transposed
        //! operand costs nothing; the right operand and the tile have their lanes along the same axis.
        use super::abi::*;
        use super::simd::*;

        /// Rows to fetch ahead of their use, taken one line at a time from inside the product loops.
        ///
        /// Rows of one head lie far apart, further than the hardware follows; in bursts the requests stall the tile's own loads.
        #[derive(Clone, Copy)]
        pub struct Ahead {
            at: *const f32,
            left: usize,
            step: usize,
            next: *const (*const f32, usize),
            /// Lines a request.
            rate: usize,
        }

        impl Ahead {
            /// Nothing to fetch: one line of `base`, again and again.
            #[inline(always)]
            pub unsafe fn nothing(base: *const f32) -> Ahead {
                Ahead { at: base, left: usize::MAX, step: 0, next: core::ptr::null(), rate: 1 }
            }
            /// The rows of a list of (start, lines), which gets one more entry as its end; to be fetched within `requests` requests.
            #[inline(always)]
            pub unsafe fn list(list: *mut (*const f32, usize), rows: usize, requests: usize) -> Ahead {
                let mut lines = 0;
                for i in 0..rows {
                    lines += (*list.add(i)).1;
                }
                *list.add(rows) = (list as *const f32, usize::MAX);
                let (at, left) = *list;
                let step = if left == usize::MAX { 0 } else { 16 };
                Ahead { at, left, step, next: list.add(1), rate: lines.div_ceil(requests + 1) }
            }
            /// Fetches the next lines.
            #[inline(always)]
            pub unsafe fn lines(&mut self) {
                for _ in 0..self.rate {
                    self.line();
                }
            }
            /// Fetches one line.
            #[inline(always)]
            unsafe fn line(&mut self) {
                prefetch(self.at);
                self.at = self.at.wrapping_add(self.step);
                self.left -= 1;
                if self.left == 0 {
                    (self.at, self.left) = *self.next;
                    self.step = if self.left == usize::MAX { 0 } else { 16 };
                    self.next = self.next.add(1);
                }
            }
        }

        /// Adds the rows of tokens `t0..t0 + rows` of a view to a list of rows to fetch.
        #[inline(always)]
        pub unsafe fn fetch_rows(list: *mut (*const f32, usize), count: &mut usize, view: &View, t0: usize, rows: usize, n: usize) {
            if view.ptr.is_null() {
                return;
            }
            let size = if view.dtype == DTYPE_F32 { 4 } else { 2 };
            for t in t0..t0 + rows {
                let at = view.ptr.offset(t as isize * view.stride * size);
                let lines = (at as usize % 64 + n * size as usize).div_ceil(64);
                *list.add(*count) = (at as *const f32, lines);
                *count += 1;
            }
        }
        /// Adds a block of memory to a list of rows to fetch.
        #[inline(always)]
        pub unsafe fn fetch_block(list: *mut (*const f32, usize), count: &mut usize, at: *const f32, floats: usize) {
            if floats > 0 {
                *list.add(*count) = (at, floats.div_ceil(16));
                *count += 1;
            }
        }

        /// A tile of zeros.
        #[inline(always)]
        pub unsafe fn zeros<const M: usize, const N: usize>() -> [[V; N]; M] {
            [[zero(); N]; M]
        }

        #[inline(always)]
        unsafe fn step<const M: usize, const N: usize, const SUB: bool>(
            acc: &mut [[V; N]; M],
            a: *const f32,
            row: usize,
            b: *const f32,
        ) {
            let mut bv = [zero(); N];
            for j in 0..N {
                bv[j] = load(b.add(j * L));
            }
            for i in 0..M {
                let av = splat(*a.add(i * row));
                for j in 0..N {
                    acc[i][j] = if SUB { fnma(av, bv[j], acc[i][j]) } else { fma(av, bv[j], acc[i][j]) };
                }
            }
        }

        /// `acc += A B` (SUB: `-=`) over `n` inner steps. A has row stride `row` and inner stride `inner`; B has row stride `ldb`.
        #[inline(always)]
        pub unsafe fn product<const M: usize, const N: usize, const SUB: bool>(
            acc: &mut [[V; N]; M],
            a: *const f32,
            row: usize,
            inner: usize,
            b: *const f32,
            ldb: usize,
            n: usize,
        ) {
            let (mut a, mut b) = (a, b);
            for _ in 0..n / 4 {
                step::<M, N, SUB>(acc, a, row, b);
                step::<M, N, SUB>(acc, a.add(inner), row, b.add(ldb));
                step::<M, N, SUB>(acc, a.add(2 * inner), row, b.add(2 * ldb));
                step::<M, N, SUB>(acc, a.add(3 * inner), row, b.add(3 * ldb));
                a = a.add(4 * inner);
                b = b.add(4 * ldb);
            }
            for _ in 0..n % 4 {
                step::<M, N, SUB>(acc, a, row, b);
                a = a.add(inner);
                b = b.add(ldb);
            }
        }

        /// [`product`] that fetches lines ahead every four steps.
        #[inline(always)]
        pub unsafe fn product_ahead<const M: usize, const N: usize, const SUB: bool>(
            acc: &mut [[V; N]; M],
            a: *const f32,
            row: usize,
            inner: usize,
            b: *const f32,
            ldb: usize,
            n: usize,
            ahead: &mut Ahead,
        ) {
            let (mut a, mut b) = (a, b);
            // in registers for the loop
            let mut lines = *ahead;
            for _ in 0..n / 4 {
                lines.lines();
                step::<M, N, SUB>(acc, a, row, b);
                step::<M, N, SUB>(acc, a.add(inner), row, b.add(ldb));
                step::<M, N, SUB>(acc, a.add(2 * inner), row, b.add(2 * ldb));
                step::<M, N, SUB>(acc, a.add(3 * inner), row, b.add(3 * ldb));
                a = a.add(4 * inner);
                b = b.add(4 * ldb);
            }
            *ahead = lines;
            for _ in 0..n % 4 {
                step::<M, N, SUB>(acc, a, row, b);
                a = a.add(inner);
                b = b.add(ldb);
            }
        }

        /// `acc += A B` where the inner axis is A's lane axis, in panels of `w` lanes `panel` floats apart.
        #[inline(always)]
        pub unsafe fn product_across<const M: usize, const N: usize, const SUB: bool>(
            acc: &mut [[V; N]; M],
            a: *const f32,
            row: usize,
            w: usize,
            panel: usize,
            b: *const f32,
            ldb: usize,
            n: usize,
        ) {
            let (mut a, mut b, mut n) = (a, b, n);
            while n > w {
                product::<M, N, SUB>(acc, a, row, 1, b, ldb, w);
                a = a.add(panel);
                b = b.add(w * ldb);
                n -= w;
            }
            product::<M, N, SUB>(acc, a, row, 1, b, ldb, n);
        }

        /// [`product_across`] that fetches lines ahead.
        #[inline(always)]
        pub unsafe fn product_across_ahead<const M: usize, const N: usize, const SUB: bool>(
            acc: &mut [[V; N]; M],
            a: *const f32,
            row: usize,
            w: usize,
            panel: usize,
            b: *const f32,
            ldb: usize,
            n: usize,
            ahead: &mut Ahead,
        ) {
            let (mut a, mut b, mut n) = (a, b, n);
            while n > w {
                product_ahead::<M, N, SUB>(acc, a, row, 1, b, ldb, w, ahead);
                a = a.add(panel);
                b = b.add(w * ldb);
                n -= w;
            }
            product_ahead::<M, N, SUB>(acc, a, row, 1, b, ldb, n, ahead);
        }

        /// [`product_across`] over the inner steps from `start` to `end`.
        #[inline(always)]
        pub unsafe fn product_between<const M: usize, const N: usize, const SUB: bool>(
            acc: &mut [[V; N]; M],
            a: *const f32,
            row: usize,
            w: usize,
            panel: usize,
            b: *const f32,
            ldb: usize,
            start: usize,
            end: usize,
        ) {
            let mut s = start;
            while s < end {
                let m = if w - s % w < end - s { w - s % w } else { end - s };
                product::<M, N, SUB>(acc, a.add(s / w * panel + s % w), row, 1, b.add(s * ldb), ldb, m);
                s += m;
            }
        }

        /// The lanes of columns `s0..` that lie below row `t` of a matrix (`s < t`), the others 0.
        #[inline(always)]
        pub unsafe fn below_diagonal(x: V, t: usize, s0: usize) -> V {
            first(x, t as isize - s0 as isize)
        }

        /// The same of the transposed matrix: lanes are rows `t0..`, kept where `t > s`.
        #[inline(always)]
        pub unsafe fn beside_diagonal(x: V, s: usize, t0: usize) -> V {
            from(x, s as isize + 1 - t0 as isize)
        }
    }

    mod pack {
        //! Between the caller's arrays and the kernel's: types, strides and tails end here.
        //!
        //! Inside, a matrix with its lanes along an axis of size n is stored in panels of `w` lanes: `[n / w][rows][w]`.
        use super::abi::*;
        use super::simd::*;

        /// bfloat16 bits of x, rounded to nearest even; a NaN stays one.
        #[inline(always)]
        fn to_bf16(x: f32) -> u16 {
            let bits = x.to_bits();
            if x.is_nan() {
                return (bits >> 16) as u16 | 0x40;
            }
            (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16
        }
        /// The half-precision number with these bits.
        #[inline(always)]
        fn from_f16(h: u16) -> f32 {
            let (sign, rest) = (((h & 0x8000) as u32) << 16, (h & 0x7fff) as u32);
            // exponents rebiased by one multiplication, which also makes subnormals normal
            let x = if rest >= 0x7c00 { f32::from_bits(0x7f80_0000 | rest << 13) } else { f32::from_bits(rest << 13) * f32::from_bits(0x7780_0000) };
            f32::from_bits(x.to_bits() | sign)
        }
        /// Half-precision bits of x, rounded to nearest even; a NaN stays one.
        #[inline(always)]
        fn to_f16(x: f32) -> u16 {
            let bits = x.to_bits();
            let (sign, rest) = ((bits >> 16 & 0x8000) as u16, bits & 0x7fff_ffff);
            let h = if rest > 0x7f80_0000 {
                0x7e00
            } else if rest >= 0x4780_0000 {
                0x7c00
            } else if rest >= 0x3880_0000 {
                // normal: a carry out of the mantissa moves into the exponent, as it should
                ((rest - 0x3800_0000).wrapping_add(0xfff + (rest >> 13 & 1)) >> 13) as u16
            } else {
                // subnormal: adding 0.5 rounds the last place to 2^-24
                (f32::from_bits(f32::from_bits(rest).to_bits()) + 0.5).to_bits().wrapping_sub(0x3f00_0000) as u16
            };
            sign | h
        }
        /// Element `i` from `p`.
        #[inline(always)]
        pub unsafe fn read(p: *const u8, i: isize, dtype: u32) -> f32 {
            match dtype {
                DTYPE_F32 => *(p as *const f32).offset(i),
                DTYPE_BF16 => f32::from_bits((*(p as *const u16).offset(i) as u32) << 16),
                _ => from_f16(*(p as *const u16).offset(i)),
            }
        }
        #[inline(always)]
        unsafe fn write(p: *mut u8, i: isize, dtype: u32, x: f32) {
            match dtype {
                DTYPE_F32 => *(p as *mut f32).offset(i) = x,
                DTYPE_BF16 => *(p as *mut u16).offset(i) = to_bf16(x),
                _ => *(p as *mut u16).offset(i) = to_f16(x),
            }
        }

        /// Copies `rows` rows of `n` elements from token `t0` on into panels `panel` floats apart; rows past `valid` repeat the last one.
        #[inline(always)]
        pub unsafe fn pack(view: &View, t0: usize, valid: usize, rows: usize, n: usize, to: *mut f32, w: usize, panel: usize) {
            for t in 0..rows {
                let from = (t0 + if t < valid { t } else { valid - 1 }) as isize * view.stride;
                pack_row(view, from, n, to.add(t * w), w, panel);
            }
        }
        #[inline(always)]
        unsafe fn pack_row(view: &View, from: isize, n: usize, to: *mut f32, w: usize, panel: usize) {
            // whole panels of whole vectors: nothing to decide inside
            if view.dtype == DTYPE_F32 && n % w == 0 && w % L == 0 {
                let (from, mut to) = ((view.ptr as *const f32).offset(from), to);
                for c in (0..n).step_by(w) {
                    for i in (0..w).step_by(L) {
                        store(to.add(i), load(from.add(c + i)));
                    }
                    to = to.add(panel);
                }
                return;
            }
            let (mut at, mut left, mut to) = (from, n, to);
            while left > 0 {
                let m = if left < w { left } else { w };
                let mut i = 0;
                if view.dtype == DTYPE_F32 {
                    let p = (view.ptr as *const f32).offset(at);
                    while i + L <= m {
                        store(to.add(i), load(p.add(i)));
                        i += L;
                    }
                    while i < m {
                        *to.add(i) = *p.add(i);
                        i += 1;
                    }
                } else if view.dtype == DTYPE_BF16 {
                    let p = (view.ptr as *const u16).offset(at);
                    while i < m {
                        *to.add(i) = f32::from_bits((*p.add(i) as u32) << 16);
                        i += 1;
                    }
                } else {
                    let p = (view.ptr as *const u16).offset(at);
                    while i < m {
                        *to.add(i) = from_f16(*p.add(i));
                        i += 1;
                    }
                }
                at += m as isize;
                left -= m;
                to = to.add(panel);
            }
        }
        /// The same of a cotangent: rows past `valid`, and a null view, are zero.
        #[inline(always)]
        pub unsafe fn pack_or_zero(
            view: &View,
            t0: usize,
            valid: usize,
            rows: usize,
            n: usize,
            to: *mut f32,
            w: usize,
            panel: usize,
        ) {
            for t in 0..rows {
                if t < valid && !view.ptr.is_null() {
                    pack_row(view, (t0 + t) as isize * view.stride, n, to.add(t * w), w, panel);
                } else {
                    let mut at = 0;
                    while at < n {
                        for i in 0..w {
                            *to.add(at / w * panel + t * w + i) = 0.0;
                        }
                        at += w;
                    }
                }
            }
        }
        /// One number a token.
        #[inline(always)]
        pub unsafe fn pack_scalars(view: &View, t0: usize, valid: usize, rows: usize, to: *mut f32) {
            for t in 0..rows {
                let at = (t0 + if t < valid { t } else { valid - 1 }) as isize * view.stride;
                *to.add(t) = read(view.ptr, at, view.dtype);
            }
        }
        /// One cotangent a token.
        #[inline(always)]
        pub unsafe fn pack_scalars_or_zero(view: &View, t0: usize, valid: usize, rows: usize, to: *mut f32) {
            for t in 0..rows {
                let live = t < valid && !view.ptr.is_null();
                *to.add(t) = if live { read(view.ptr, (t0 + t) as isize * view.stride, view.dtype) } else { 0.0 };
            }
        }
        /// A vector without tokens: a parameter.
        #[inline(always)]
        pub unsafe fn pack_vector(view: &View, n: usize, to: *mut f32) {
            for i in 0..n {
                *to.add(i) = read(view.ptr, i as isize, view.dtype);
            }
        }

        /// Writes `valid` rows of `n` elements from panels; a null view is not wanted.
        #[inline(always)]
        pub unsafe fn unpack(view: &View, t0: usize, valid: usize, n: usize, from: *const f32, w: usize, panel: usize) {
            if view.ptr.is_null() {
                return;
            }
            for t in 0..valid {
                let mut at = (t0 + t) as isize * view.stride;
                let (mut left, mut from) = (n, from.add(t * w));
                while left > 0 {
                    let m = if left < w { left } else { w };
                    let mut i = 0;
                    if view.dtype == DTYPE_F32 {
                        let p = (view.ptr as *mut f32).offset(at);
                        if view.accumulate != 0 {
                            while i + L <= m {
                                store(p.add(i), add(load(p.add(i)), load(from.add(i))));
                                i += L;
                            }
                            while i < m {
                                *p.add(i) += *from.add(i);
                                i += 1;
                            }
                        } else {
                            while i + L <= m {
                                store(p.add(i), load(from.add(i)));
                                i += L;
                            }
                            while i < m {
                                *p.add(i) = *from.add(i);
                                i += 1;
                            }
                        }
                    } else {
                        while i < m {
                            write(view.ptr, at + i as isize, view.dtype, *from.add(i));
                            i += 1;
                        }
                    }
                    at += m as isize;
                    left -= m;
                    from = from.add(panel);
                }
            }
        }
        /// Writes one number a token.
        #[inline(always)]
        pub unsafe fn unpack_scalars(view: &View, t0: usize, valid: usize, from: *const f32) {
            if view.ptr.is_null() {
                return;
            }
            for t in 0..valid {
                let at = (t0 + t) as isize * view.stride;
                let old = if view.accumulate != 0 { read(view.ptr, at, view.dtype) } else { 0.0 };
                write(view.ptr, at, view.dtype, if view.accumulate != 0 { old + *from.add(t) } else { *from.add(t) });
            }
        }
        /// Writes a vector without tokens: a parameter's gradient.
        #[inline(always)]
        pub unsafe fn unpack_vector(view: &View, n: usize, from: *const f32) {
            if view.ptr.is_null() {
                return;
            }
            for i in 0..n {
                let old = if view.accumulate != 0 { read(view.ptr, i as isize, view.dtype) } else { 0.0 };
                write(view.ptr, i as isize, view.dtype, if view.accumulate != 0 { old + *from.add(i) } else { *from.add(i) });
            }
        }

        /// Sets `n` floats to zero.
        #[inline(always)]
        pub unsafe fn clear(to: *mut f32, n: usize) {
            for i in 0..n {
                *to.add(i) = 0.0;
            }
        }

        /// Loads a state into panels of its free side: element (f, c) is `to[f / w][c][f % w]`. A null view is a zero state.
        #[inline(always)]
        pub unsafe fn load_state(view: &StateView, transposed: bool, free: usize, contracted: usize, to: *mut f32, w: usize, rows: usize) {
            let (fs, cs) = if transposed { (view.col_stride, view.row_stride) } else { (view.row_stride, view.col_stride) };
            let mut f0 = 0;
            while f0 < free {
                let m = if free - f0 < w { free - f0 } else { w };
                let panel = to.add(f0 * rows);
                if view.ptr.is_null() {
                    clear(panel, contracted * w);
                } else {
                    let from = view.ptr.offset(f0 as isize * fs);
                    let mut c = 0;
                    if cs == 1 && fs > 0 {
                        while c + L <= contracted {
                            let mut f = 0;
                            while f + L <= m {
                                transpose(from.add(f * fs as usize + c), fs as usize, panel.add(c * w + f), w);
                                f += L;
                            }
                            while f < m {
                                for i in 0..L {
                                    *panel.add((c + i) * w + f) = *from.offset(f as isize * fs + (c + i) as isize);
                                }
                                f += 1;
                            }
                            c += L;
                        }
                    }
                    while c < contracted {
                        for f in 0..m {
                            *panel.add(c * w + f) = *from.offset(f as isize * fs + c as isize * cs);
                        }
                        c += 1;
                    }
                }
                f0 += w;
            }
        }
        /// Stores a state from panels. A null view is not wanted.
        #[inline(always)]
        pub unsafe fn store_state(view: &StateView, transposed: bool, free: usize, contracted: usize, from: *const f32, w: usize, rows: usize) {
            if view.ptr.is_null() {
                return;
            }
            let (fs, cs) = if transposed { (view.col_stride, view.row_stride) } else { (view.row_stride, view.col_stride) };
            let mut f0 = 0;
            while f0 < free {
                let m = if free - f0 < w { free - f0 } else { w };
                let panel = from.add(f0 * rows);
                let to = view.ptr.offset(f0 as isize * fs);
                let mut c = 0;
                if cs == 1 && fs > 0 {
                    while c + L <= contracted {
                        let mut f = 0;
                        while f + L <= m {
                            transpose(panel.add(c * w + f), w, to.add(f * fs as usize + c), fs as usize);
                            f += L;
                        }
                        while f < m {
                            for i in 0..L {
                                *to.offset(f as isize * fs + (c + i) as isize) = *panel.add((c + i) * w + f);
                            }
                            f += 1;
                        }
                        c += L;
                    }
                }
                while c < contracted {
                    for f in 0..m {
                        *to.offset(f as isize * fs + c as isize * cs) = *panel.add(c * w + f);
                    }
                    c += 1;
                }
                f0 += w;
            }
        }

        /// The other orientation of one panel of lanes: `[rows][w]` at `from` becomes rows of `w2` lanes, panels of which lie
        /// `panel` floats apart, from `to` on.
        #[inline(always)]
        pub unsafe fn turn(from: *const f32, rows: usize, w: usize, to: *mut f32, w2: usize, panel: usize) {
            let mut r = 0;
            while r < rows {
                let out = to.add(r / w2 * panel + r % w2);
                let mut c = 0;
                while c < w {
                    transpose(from.add(r * w + c), w, out.add(c * w2), w2);
                    c += L;
                }
                r += L;
            }
        }

        /// Floats rounded up to whole cache lines.
        #[inline(always)]
        pub fn lines(floats: usize) -> usize {
            floats.div_ceil(16) * 16
        }
        /// The next `floats` of working memory.
        #[inline(always)]
        pub unsafe fn take(base: *mut f32, used: &mut usize, floats: usize) -> *mut f32 {
            let at = base.wrapping_add(*used);
            *used += lines(floats);
            at
        }
        /// Copies whole vectors.
        #[inline(always)]
        pub unsafe fn copy(from: *const f32, to: *mut f32, floats: usize) {
            for i in (0..floats).step_by(L) {
                store(to.add(i), load(from.add(i)));
            }
        }
        /// Loads a vector state.
        #[inline(always)]
        pub unsafe fn load_vector_state(view: &StateView, n: usize, to: *mut f32) {
            for i in 0..n {
                *to.add(i) = if view.ptr.is_null() { 0.0 } else { *view.ptr.offset(i as isize * view.col_stride) };
            }
        }
        /// Stores a vector state.
        #[inline(always)]
        pub unsafe fn store_vector_state(view: &StateView, n: usize, from: *const f32) {
            if !view.ptr.is_null() {
                for i in 0..n {
                    *view.ptr.offset(i as isize * view.col_stride) = *from.add(i);
                }
            }
        }
        /// The gradient of an input that nothing depends on.
        #[inline(always)]
        pub unsafe fn no_gradient(view: &View, tokens: usize, n: usize) {
            if view.ptr.is_null() || view.accumulate != 0 {
                return;
            }
            for t in 0..tokens {
                for i in 0..n {
                    write(view.ptr, t as isize * view.stride + i as isize, view.dtype, 0.0);
                }
            }
        }
        /// Whether whole rows of a view can be written past the cache: f32, not added to, of whole panels at a vector's boundary.
        #[inline(always)]
        pub unsafe fn streams(view: &View, n: usize, w: usize) -> bool {
            let plain = view.dtype == DTYPE_F32 && view.accumulate == 0 && !view.ptr.is_null();
            plain && n % w == 0 && view.ptr as usize % (4 * L) == 0 && view.stride % L as isize == 0
        }
        /// [`unpack`] past the cache where that can be: nobody reads these rows soon, and what they held need not be fetched.
        #[inline(always)]
        pub unsafe fn unpack_streamed(view: &View, t0: usize, valid: usize, n: usize, from: *const f32, w: usize, panel: usize) {
            if !streams(view, n, w) {
                return unpack(view, t0, valid, n, from, w, panel);
            }
            for t in 0..valid {
                let to = (view.ptr as *mut f32).offset((t0 + t) as isize * view.stride);
                for at in (0..n).step_by(L) {
                    stream(to.add(at), load(from.add(at / w * panel + t * w + at % w)));
                }
            }
        }
        /// Where a chunk's rows lie: (start, floats from panel to panel, from row to row). In the caller's memory where that
        /// holds whole panels of f32 and all of the chunk's rows, to be overwritten if at all; else in the kernel's own.
        #[inline(always)]
        pub unsafe fn place(view: &View, t0: usize, whole: bool, n: usize, w: usize, own: *mut f32, panel: usize) -> (*mut f32, usize, usize) {
            let plain = view.dtype == DTYPE_F32 && view.accumulate == 0 && view.stride > 0 && !view.ptr.is_null();
            if whole && plain && n % w == 0 {
                return ((view.ptr as *mut f32).add(t0 * view.stride as usize), w, view.stride as usize);
            }
            (own, panel, w)
        }
    }

    mod decay {
        //! Decays between positions as running products of `a = exp(g)`, each factor within [0, 1]; never a difference of sums.
        //!
        //! `E[t,s]` is the product of `a_j` over s < j < t for s < t, else 0. Per channel, `E[t,s,c]`.
        use super::simd::*;

        /// Where element (t, s) of a token-by-token matrix lies, in panels of `w` lanes.
        #[inline(always)]
        unsafe fn cell(t: usize, s: usize, rows: usize, w: usize) -> usize {
            s / w * rows * w + t * w + s % w
        }

        /// `y_t`: product of `a_j`, j < t, of one number a token.
        #[inline(always)]
        pub unsafe fn prefix_scalar(a: *const f32, y: *mut f32, tokens: usize) {
            let mut run = 1.0;
            for t in 0..tokens {
                *y.add(t) = run;
                run *= *a.add(t);
            }
        }
        /// `y_t`: product of `a_j`, j > t.
        #[inline(always)]
        pub unsafe fn suffix_scalar(a: *const f32, y: *mut f32, tokens: usize) {
            let mut run = 1.0;
            for t in (0..tokens).rev() {
                *y.add(t) = run;
                run *= *a.add(t);
            }
        }
        /// Product of all `a_j`.
        #[inline(always)]
        pub unsafe fn total_scalar(a: *const f32, y: *mut f32, tokens: usize) {
            let mut run = 1.0;
            for t in 0..tokens {
                run *= *a.add(t);
            }
            *y = run;
        }
        /// [`prefix_scalar`] of one panel of channels.
        #[inline(always)]
        pub unsafe fn prefix(a: *const f32, y: *mut f32, tokens: usize, w: usize) {
            for j in (0..w).step_by(L) {
                let mut run = splat(1.0);
                for t in 0..tokens {
                    store(y.add(t * w + j), run);
                    run = mul(run, load(a.add(t * w + j)));
                }
            }
        }
        /// [`suffix_scalar`] of one panel of channels.
        #[inline(always)]
        pub unsafe fn suffix(a: *const f32, y: *mut f32, tokens: usize, w: usize) {
            for j in (0..w).step_by(L) {
                let mut run = splat(1.0);
                for t in (0..tokens).rev() {
                    store(y.add(t * w + j), run);
                    run = mul(run, load(a.add(t * w + j)));
                }
            }
        }
        /// [`total_scalar`] of one panel of channels.
        #[inline(always)]
        pub unsafe fn total(a: *const f32, y: *mut f32, tokens: usize, w: usize) {
            for j in (0..w).step_by(L) {
                let mut run = splat(1.0);
                for t in 0..tokens {
                    run = mul(run, load(a.add(t * w + j)));
                }
                store(y.add(j), run);
            }
        }
        /// `E[t,s]`, lanes along s: each row is the one before it times one `a`.
        #[inline(always)]
        pub unsafe fn segment(a: *const f32, e: *mut f32, tokens: usize, w: usize) {
            for s0 in (0..tokens).step_by(L) {
                let column = e.add(cell(0, s0, tokens, w));
                let mut run = zero();
                for t in 0..tokens {
                    store(column.add(t * w), run);
                    run = mul(run, splat(*a.add(t)));
                    if t >= s0 && t < s0 + L {
                        run = insert(run, t - s0, splat(1.0));
                    }
                }
            }
        }

        /// `y_t`: sum of `x_j`, j < t, of one number a token.
        #[inline(always)]
        pub unsafe fn sum_before_scalar(x: *const f32, y: *mut f32, tokens: usize) {
            let mut run = 0.0;
            for t in 0..tokens {
                *y.add(t) = run;
                run += *x.add(t);
            }
        }
        /// `y_t`: sum of `x_j`, j > t.
        #[inline(always)]
        pub unsafe fn sum_after_scalar(x: *const f32, y: *mut f32, tokens: usize) {
            let mut run = 0.0;
            for t in (0..tokens).rev() {
                *y.add(t) = run;
                run += *x.add(t);
            }
        }
        /// [`sum_before_scalar`] of one panel of channels.
        #[inline(always)]
        pub unsafe fn sum_before(x: *const f32, y: *mut f32, tokens: usize, w: usize) {
            for j in (0..w).step_by(L) {
                let mut run = zero();
                for t in 0..tokens {
                    store(y.add(t * w + j), run);
                    run = add(run, load(x.add(t * w + j)));
                }
            }
        }
        /// [`sum_after_scalar`] of one panel of channels.
        #[inline(always)]
        pub unsafe fn sum_after(x: *const f32, y: *mut f32, tokens: usize, w: usize) {
            for j in (0..w).step_by(L) {
                let mut run = zero();
                for t in (0..tokens).rev() {
                    store(y.add(t * w + j), run);
                    run = add(run, load(x.add(t * w + j)));
                }
            }
        }
        /// `y_j`: sum of `x[t,s]` over t > j > s. Rows below j are gathered from the last on, so no sum is taken back.
        #[inline(always)]
        pub unsafe fn rectangle_sum(x: *const f32, y: *mut f32, rows: *mut f32, tokens: usize, w: usize) {
            let mut s0 = 0;
            while s0 < tokens {
                store(rows.add(s0), zero());
                s0 += L;
            }
            for j in (0..tokens).rev() {
                let mut all = zero();
                let mut s0 = 0;
                while s0 < j {
                    all = add(all, first(load(rows.add(s0)), j as isize - s0 as isize));
                    s0 += L;
                }
                *y.add(j) = sum(all);
                let mut s0 = 0;
                while s0 < tokens {
                    store(rows.add(s0), add(load(rows.add(s0)), load(x.add(cell(j, s0, tokens, w)))));
                    s0 += L;
                }
            }
        }

        /// `A_i[t,s] = sum over c of P_i[t,c] W[s,c] E[t,s,c]` for several P at once, lanes along s.
        ///
        /// `run[c]` holds `W[s,c] E[t,s,c]` for all s: one multiplication a channel takes it from token to token. Tokens are taken
        /// in pairs, since a pass over `run` is bound by its loads and stores.
        #[inline(always)]
        pub unsafe fn dot<const P: usize>(
            p: [*const f32; P],
            w: *const f32,
            a: *const f32,
            y: [*mut f32; P],
            run: *mut f32,
            tokens: usize,
            n: usize,
            width: usize,
            panel: usize,
            lanes: usize,
        ) {
            for s0 in (0..tokens).step_by(L) {
                for c in 0..n {
                    store(run.add(c * L), zero());
                }
                for t in 0..(s0 + 1).min(tokens) {
                    for i in 0..P {
                        store(y[i].add(cell(t, s0, tokens, lanes)), zero());
                    }
                }
                let mut t = s0 + 1;
                while t < tokens {
                    // s0 and L are even, so that both tokens of a pair or neither have a lane of this block before them
                    let fresh = t - 1 < s0 + L;
                    let step = if t + 1 < tokens { 2 } else { 1 };
                    let sums = match (step, fresh) {
                        (2, true) => dot_rows::<P, 2, true>(p, w, a, run, t, s0, n, width, panel),
                        (2, false) => dot_rows::<P, 2, false>(p, w, a, run, t, s0, n, width, panel),
                        (_, true) => dot_rows::<P, 1, true>(p, w, a, run, t, s0, n, width, panel),
                        (_, false) => dot_rows::<P, 1, false>(p, w, a, run, t, s0, n, width, panel),
                    };
                    for r in 0..step {
                        for i in 0..P {
                            store(y[i].add(cell(t + r, s0, tokens, lanes)), sums[r][i]);
                        }
                    }
                    t += step;
                }
            }
        }

        /// Rows t.. of [`dot`], R of them; with FRESH, token `t + r - 1` enters lane `t + r - 1 - s0`.
        #[inline(always)]
        unsafe fn dot_rows<const P: usize, const R: usize, const FRESH: bool>(
            p: [*const f32; P],
            w: *const f32,
            a: *const f32,
            run: *mut f32,
            t: usize,
            s0: usize,
            n: usize,
            width: usize,
            panel: usize,
        ) -> [[V; P]; 2] {
            // several sums, since each waits for its own last addition
            let mut sums = [[[zero(); 2]; P]; 2];
            let mut c0 = 0;
            while c0 < n {
                let m = if n - c0 < width { n - c0 } else { width };
                let before = c0 / width * panel + (t - 1) * width;
                let (a, w, run) = (a.add(before), w.add(before), run.add(c0 * L));
                let mut c = 0;
                while c + 2 <= m {
                    dot_channel::<P, R, FRESH>(p, w, a, run, t, s0, width, before, c, 0, &mut sums);
                    dot_channel::<P, R, FRESH>(p, w, a, run, t, s0, width, before, c + 1, 1, &mut sums);
                    c += 2;
                }
                if c < m {
                    dot_channel::<P, R, FRESH>(p, w, a, run, t, s0, width, before, c, 0, &mut sums);
                }
                c0 += width;
            }
            let mut out = [[zero(); P]; 2];
            for r in 0..R {
                for i in 0..P {
                    out[r][i] = add(sums[r][i][0], sums[r][i][1]);
                }
            }
            out
        }

        #[inline(always)]
        unsafe fn dot_channel<const P: usize, const R: usize, const FRESH: bool>(
            p: [*const f32; P],
            w: *const f32,
            a: *const f32,
            run: *mut f32,
            t: usize,
            s0: usize,
            width: usize,
            before: usize,
            c: usize,
            half: usize,
            sums: &mut [[[V; 2]; P]; 2],
        ) {
            let at = run.add(c * L);
            let mut x = load(at);
            for r in 0..R {
                x = mul(x, splat(*a.add(r * width + c)));
                if FRESH {
                    x = insert(x, t + r - 1 - s0, splat(*w.add(r * width + c)));
                }
                for i in 0..P {
                    sums[r][i][half] = fma(splat(*p[i].add(before + (r + 1) * width + c)), x, sums[r][i][half]);
                }
            }
            store(at, x);
        }

        /// Where a row's element of the panel from column `s0` on lies, in a matrix with panels of `lanes`.
        #[inline(always)]
        unsafe fn row_of(m: *const f32, t: usize, s0: usize, tokens: usize, lanes: usize) -> *const f32 {
            m.add(s0 / lanes * tokens * lanes + t * lanes + s0 % lanes)
        }

        /// `Y[t,c] = sum over s < t of A[t,s] W[s,c] E[t,s,c]` for one panel of channels; `run` holds `tokens` vectors.
        ///
        /// Rows are taken in blocks: `run[s]` holds `W[s] E[t0,s]` for the first row t0 of a block, which the rows share; each row's
        /// sum is then multiplied by its own decay from t0 on.
        #[inline(always)]
        pub unsafe fn apply(m: *const f32, w: *const f32, a: *const f32, y: *mut f32, run: *mut f32, tokens: usize, width: usize, lanes: usize) {
            for j in (0..width).step_by(L) {
                let (w, a, y) = (w.add(j), a.add(j), y.add(j));
                let mut t = 0;
                while t + 4 <= tokens {
                    apply_rows::<4>(m, w, a, y, run, t, tokens, width, lanes);
                    t += 4;
                }
                while t < tokens {
                    apply_rows::<1>(m, w, a, y, run, t, tokens, width, lanes);
                    t += 1;
                }
            }
        }

        /// R rows of [`apply`] from `t0` on.
        #[inline(always)]
        unsafe fn apply_rows<const R: usize>(
            m: *const f32,
            w: *const f32,
            a: *const f32,
            y: *mut f32,
            run: *mut f32,
            t0: usize,
            tokens: usize,
            width: usize,
            lanes: usize,
        ) {
            let mut at = [zero(); R];
            for r in 0..R {
                at[r] = load(a.add((t0 + r) * width));
            }
            let mut all = [zero(); R];
            let mut total = at[0];
            for r in 1..R {
                total = mul(total, at[r]);
            }
            let mut s0 = 0;
            while s0 < t0 {
                let end = if s0 + lanes < t0 { s0 + lanes } else { t0 };
                let row = row_of(m, t0, s0, tokens, lanes);
                for s in s0..end {
                    let x = load(run.add(s * L));
                    for r in 0..R {
                        all[r] = fma(splat(*row.add(r * lanes + s - s0)), x, all[r]);
                    }
                    store(run.add(s * L), mul(x, total));
                }
                s0 = end;
            }
            let mut decay = at[0];
            for r in 1..R {
                all[r] = mul(all[r], decay);
                decay = mul(decay, at[r]);
            }
            for i in 0..R {
                let s = t0 + i;
                let column = row_of(m, t0, s, tokens, lanes);
                let mut x = load(w.add(s * width));
                for r in i + 1..R {
                    all[r] = fma(splat(*column.add(r * lanes)), x, all[r]);
                    x = mul(x, at[r]);
                }
                store(run.add(s * L), x);
            }
            for r in 0..R {
                store(y.add((t0 + r) * width), all[r]);
            }
        }

        /// `Y[s,c] = sum over t > s of A[t,s] W[t,c] E[t,s,c]`: [`apply`] from the last token on.
        #[inline(always)]
        pub unsafe fn apply_transposed(
            m: *const f32,
            w: *const f32,
            a: *const f32,
            y: *mut f32,
            run: *mut f32,
            tokens: usize,
            width: usize,
            lanes: usize,
        ) {
            for j in (0..width).step_by(L) {
                let (w, a, y) = (w.add(j), a.add(j), y.add(j));
                let mut s = tokens;
                while s % 4 != 0 {
                    s -= 1;
                    apply_columns::<1>(m, w, a, y, run, s, tokens, width, lanes);
                }
                while s > 0 {
                    s -= 4;
                    apply_columns::<4>(m, w, a, y, run, s, tokens, width, lanes);
                }
            }
        }

        /// R rows of [`apply_transposed`] from `s0` on: `run[t]` holds `W[t] E[t,s]` for the last of them.
        #[inline(always)]
        unsafe fn apply_columns<const R: usize>(
            m: *const f32,
            w: *const f32,
            a: *const f32,
            y: *mut f32,
            run: *mut f32,
            s0: usize,
            tokens: usize,
            width: usize,
            lanes: usize,
        ) {
            let mut at = [zero(); R];
            for r in 0..R {
                at[r] = load(a.add((s0 + r) * width));
            }
            let mut all = [zero(); R];
            let mut total = at[0];
            for r in 1..R {
                total = mul(total, at[r]);
            }
            // R columns from s0 on lie in one panel
            let column = row_of(m, 0, s0, tokens, lanes);
            for t in s0 + R..tokens {
                let x = load(run.add(t * L));
                for r in 0..R {
                    all[r] = fma(splat(*column.add(t * lanes + r)), x, all[r]);
                }
                store(run.add(t * L), mul(x, total));
            }
            let mut decay = at[R - 1];
            for r in (0..R - 1).rev() {
                all[r] = mul(all[r], decay);
                decay = mul(decay, at[r]);
            }
            for i in (0..R).rev() {
                let t = s0 + i;
                let mut x = load(w.add(t * width));
                for r in (0..i).rev() {
                    all[r] = fma(splat(*column.add(t * lanes + r)), x, all[r]);
                    x = mul(x, at[r]);
                }
                store(run.add(t * L), x);
            }
            for r in 0..R {
                store(y.add((s0 + r) * width), all[r]);
            }
        }

        /// `Y[j,c] = sum over t > j > s of A[t,s] P[t,c] W[s,c] E[t,s,c]`; `run` holds `tokens` vectors.
        ///
        /// Tokens are taken in blocks from the last on. Pairs with both ends outside a block count for all its tokens alike, those with
        /// one end inside for the tokens on the other side of it: no sum is taken back.
        #[inline(always)]
        pub unsafe fn rectangle(
            m: *const f32,
            p: *const f32,
            w: *const f32,
            a: *const f32,
            y: *mut f32,
            run: *mut f32,
            tokens: usize,
            width: usize,
            lanes: usize,
        ) {
            for j in (0..width).step_by(L) {
                let (p, w, a, y) = (p.add(j), w.add(j), a.add(j), y.add(j));
                for s in 0..tokens {
                    store(run.add(s * L), zero());
                }
                let mut s = tokens;
                while s % 4 != 0 {
                    s -= 1;
                    rectangle_rows::<1>(m, p, w, a, y, run, s, tokens, width, lanes);
                }
                while s > 0 {
                    s -= 4;
                    rectangle_rows::<4>(m, p, w, a, y, run, s, tokens, width, lanes);
                }
            }
        }

        /// R tokens of [`rectangle`] from `t0` on: `run[s]` holds `sum of A[t,s] P[t] E[t,j]` over the t after the block, j its last token.
        #[inline(always)]
        unsafe fn rectangle_rows<const R: usize>(
            m: *const f32,
            p: *const f32,
            w: *const f32,
            a: *const f32,
            y: *mut f32,
            run: *mut f32,
            t0: usize,
            tokens: usize,
            width: usize,
            lanes: usize,
        ) {
            let mut at = [zero(); R];
            // P[t] with the decay from the block's start on
            let mut late = [zero(); R];
            let mut total = splat(1.0);
            for r in 0..R {
                at[r] = load(a.add((t0 + r) * width));
                late[r] = load(p.add((t0 + r) * width));
                if r > 0 {
                    late[r] = mul(late[r], total);
                }
                total = if r > 0 { mul(total, at[r]) } else { at[r] };
            }
            let mut far = zero();
            let mut rows = [zero(); R];
            let mut back = splat(1.0);
            let mut end = t0;
            while end > 0 {
                let s0 = (end - 1) / lanes * lanes;
                let row = row_of(m, t0, s0, tokens, lanes);
                for s in (s0..end).rev() {
                    let x = mul(load(w.add(s * width)), back);
                    back = mul(back, load(a.add(s * width)));
                    let z = load(run.add(s * L));
                    far = fma(x, z, far);
                    let mut z = mul(z, total);
                    for r in 0..R {
                        let f = splat(*row.add(r * lanes + s - s0));
                        rows[r] = fma(f, x, rows[r]);
                        z = fma(f, late[r], z);
                    }
                    store(run.add(s * L), z);
                }
                end = s0;
            }
            // pairs that end within the block, pairs that begin there, and those within it
            far = mul(far, total);
            let mut all = [far; R];
            let mut sum = zero();
            for r in (1..R).rev() {
                sum = fma(rows[r], late[r], sum);
                all[r - 1] = add(all[r - 1], sum);
            }
            let mut sum = zero();
            let mut decay = splat(1.0);
            let mut early = [zero(); R];
            for r in (0..R).rev() {
                early[r] = mul(load(w.add((t0 + r) * width)), decay);
                decay = mul(decay, at[r]);
            }
            for r in 0..R - 1 {
                sum = fma(early[r], load(run.add((t0 + r) * L)), sum);
                all[r + 1] = add(all[r + 1], sum);
            }
            for i in 0..R {
                let s = t0 + i;
                let column = row_of(m, t0, s, tokens, lanes);
                let x = load(w.add(s * width));
                let mut decay = splat(1.0);
                for r in i + 1..R {
                    let pair = mul(mul(splat(*column.add(r * lanes)), load(p.add((t0 + r) * width))), mul(x, decay));
                    for k in i + 1..r {
                        all[k] = add(all[k], pair);
                    }
                    decay = mul(decay, at[r]);
                }
            }
            for r in 0..R {
                store(y.add((t0 + r) * width), all[r]);
            }
        }

        /// Softmax over the lanes of each row.
        #[inline(always)]
        pub unsafe fn softmax(x: *const f32, y: *mut f32, rows: usize, n: usize, w: usize, panel: usize) {
            for r in 0..rows {
                let mut top = splat(f32::NEG_INFINITY);
                let mut c = 0;
                while c < n {
                    let v = load(x.add(c / w * panel + r * w + c % w));
                    let left = (n - c) as isize;
                    top = at_least(top, if left < L as isize { tail(v, left, f32::NEG_INFINITY) } else { v });
                    c += L;
                }
                let top = splat(largest(top));
                let mut all = zero();
                let mut c = 0;
                while c < n {
                    let at = c / w * panel + r * w + c % w;
                    let v = super::math::exp(sub(load(x.add(at)), top));
                    store(y.add(at), v);
                    all = add(all, first(v, (n - c) as isize));
                    c += L;
                }
                let all = splat(sum(all));
                let mut c = 0;
                while c < n {
                    let at = c / w * panel + r * w + c % w;
                    store(y.add(at), div(load(y.add(at)), all));
                    c += L;
                }
            }
        }
        /// The first `n` lanes of x, the others `other`.
        #[inline(always)]
        unsafe fn tail(x: V, n: isize, other: f32) -> V {
            let mut lanes = [other; L];
            store(lanes.as_mut_ptr(), x);
            for i in 0..L {
                if i as isize >= n {
                    lanes[i] = other;
                }
            }
            load(lanes.as_ptr())
        }
    }

    mod rows {
        //! Decode: a state stays in the caller's memory, rows `ld` floats apart; no row is copied.
        //!
        //! Vectors of n elements lie in arrays of whole vectors; what is in their padding is of no meaning, and never counts.
        use super::abi::*;
        use super::pack::*;
        use super::simd::*;

        /// Vectors that a loop over rows may keep in registers: half of them.
        const HELD: usize = REGISTERS / 2;

        /// A row of an input: where it lies if it can be read as it is, else copied to `to`.
        #[inline(always)]
        pub unsafe fn input(view: &View, t: usize, n: usize, to: *mut f32) -> *mut f32 {
            if view.dtype == DTYPE_F32 && n % L == 0 {
                return (view.ptr as *mut f32).offset(t as isize * view.stride);
            }
            pack(view, t, 1, 1, n, to, n.next_multiple_of(L), 0);
            to
        }
        /// One number of an input.
        #[inline(always)]
        pub unsafe fn number(view: &View, t: usize) -> V {
            splat(read(view.ptr, t as isize * view.stride, view.dtype))
        }
        /// Where a row of an output is computed: in place, if whole vectors of f32 fit.
        #[inline(always)]
        pub unsafe fn output(view: &View, t: usize, n: usize, scratch: *mut f32) -> *mut f32 {
            let direct = view.dtype == DTYPE_F32 && n % L == 0 && !view.ptr.is_null();
            if direct { (view.ptr as *mut f32).offset(t as isize * view.stride) } else { scratch }
        }
        /// Writes a row of an output, if it was not computed in place.
        #[inline(always)]
        pub unsafe fn finish(view: &View, t: usize, n: usize, from: *const f32) {
            if from != (view.ptr as *const f32).wrapping_offset(t as isize * view.stride) {
                unpack(view, t, 1, n, from, n.next_multiple_of(L), 0);
            }
        }
        /// Bytes of an element.
        #[inline(always)]
        fn width(dtype: u32) -> isize {
            if dtype == DTYPE_F32 { 4 } else { 2 }
        }
        /// Writes one number of an output.
        #[inline(always)]
        pub unsafe fn finish_number(view: &View, t: usize, x: V) {
            let mut lanes = [0.0; L];
            store(lanes.as_mut_ptr(), x);
            if view.ptr.is_null() {
                return;
            }
            let at = t as isize * view.stride;
            unpack_scalars(&View { ptr: view.ptr.wrapping_offset(at * width(view.dtype)), ..*view }, 0, 1, lanes.as_ptr());
        }
        /// A vector state, copied: what reads it must not see the next one.
        #[inline(always)]
        pub unsafe fn vector_state(view: &StateView, n: usize, to: *mut f32) {
            if view.col_stride != 1 || view.ptr.is_null() {
                return load_vector_state(view, n, to);
            }
            let mut i = 0;
            while i + L <= n {
                store(to.add(i), load(view.ptr.add(i)));
                i += L;
            }
            if i < n {
                store(to.add(i), load_first(view.ptr.add(i), n - i));
            }
        }
        /// Writes a vector state's next value.
        #[inline(always)]
        pub unsafe fn next_vector_state(view: &StateView, n: usize, from: *const f32) {
            if view.col_stride != 1 || view.ptr.is_null() {
                return store_vector_state(view, n, from);
            }
            let mut i = 0;
            while i + L <= n {
                store(view.ptr.add(i), load(from.add(i)));
                i += L;
            }
            if i < n {
                store_first(view.ptr.add(i), load(from.add(i)), n - i);
            }
        }
        /// A state of any strides as rows at `to`; a null view is zero.
        #[inline(always)]
        pub unsafe fn gather(view: &StateView, rows: usize, cols: usize, to: *mut f32) -> StateView {
            for r in 0..rows {
                for c in 0..cols {
                    let at = view.ptr.wrapping_offset(r as isize * view.row_stride + c as isize * view.col_stride);
                    *to.add(r * cols + c) = if view.ptr.is_null() { 0.0 } else { *at };
                }
            }
            StateView { ptr: to, row_stride: cols as isize, col_stride: 1 }
        }
        /// The way back.
        #[inline(always)]
        pub unsafe fn scatter(view: &StateView, rows: usize, cols: usize, from: *const f32) {
            if view.ptr.is_null() {
                return;
            }
            for r in 0..rows {
                for c in 0..cols {
                    *view.ptr.offset(r as isize * view.row_stride + c as isize * view.col_stride) = *from.add(r * cols + c);
                }
            }
        }

        /// Dots of `m` rows (L, or fewer at the end) with R vectors of n elements: lane i is row i. Every row is loaded once.
        #[inline(always)]
        pub unsafe fn dots<const R: usize>(x: *const f32, ld: usize, m: usize, n: usize, p: [*const f32; R]) -> [V; R] {
            let mut y = [zero(); R];
            if m < L {
                let mut lanes = [[0.0; L]; R];
                for i in 0..m {
                    let one = dots1(x.add(i * ld), n, p);
                    for r in 0..R {
                        *lanes[r].as_mut_ptr().add(i) = one[r];
                    }
                }
                for r in 0..R {
                    y[r] = load(lanes[r].as_ptr());
                }
                return y;
            }
            match n / L {
                8 if n % L == 0 => dots_block::<R, 8>(x, ld, n, p),
                4 if n % L == 0 => dots_block::<R, 4>(x, ld, n, p),
                _ => dots_block::<R, 0>(x, ld, n, p),
            }
        }
        /// A whole block; N vectors a row, 0 for any number.
        #[inline(always)]
        unsafe fn dots_block<const R: usize, const N: usize>(x: *const f32, ld: usize, n: usize, p: [*const f32; R]) -> [V; R] {
            let mut y = [zero(); R];
            let n = if N > 0 { N * L } else { n };
            let mut parts = [[zero(); L / 4]; R];
            // what is read again for every row stays in registers, where there are as many
            let held = N > 0 && N * R <= HELD;
            let mut v = [[zero(); N]; R];
            if held {
                for r in 0..R {
                    for j in 0..N {
                        v[r][j] = load(p[r].add(j * L));
                    }
                }
            }
            for g in 0..L / 4 {
                let x = x.add(4 * g * ld);
                let (x0, x1, x2, x3) = (x, x.add(ld), x.add(2 * ld), x.add(3 * ld));
                let mut acc = [[zero(); 4]; R];
                if held {
                    for j in 0..N {
                        let s = [load(x0.add(j * L)), load(x1.add(j * L)), load(x2.add(j * L)), load(x3.add(j * L))];
                        for r in 0..R {
                            for i in 0..4 {
                                acc[r][i] = if j == 0 { mul(s[i], v[r][j]) } else { fma(s[i], v[r][j], acc[r][i]) };
                            }
                        }
                    }
                    for r in 0..R {
                        parts[r][g] = quad(acc[r][0], acc[r][1], acc[r][2], acc[r][3]);
                    }
                    continue;
                }
                let mut j = 0;
                while j + L <= n {
                    let s = [load(x0.add(j)), load(x1.add(j)), load(x2.add(j)), load(x3.add(j))];
                    for r in 0..R {
                        let p = load(p[r].add(j));
                        acc[r][0] = fma(s[0], p, acc[r][0]);
                        acc[r][1] = fma(s[1], p, acc[r][1]);
                        acc[r][2] = fma(s[2], p, acc[r][2]);
                        acc[r][3] = fma(s[3], p, acc[r][3]);
                    }
                    j += L;
                }
                if j < n {
                    let left = n - j;
                    let s = [
                        load_first(x0.add(j), left),
                        load_first(x1.add(j), left),
                        load_first(x2.add(j), left),
                        load_first(x3.add(j), left),
                    ];
                    for r in 0..R {
                        let p = load_first(p[r].add(j), left);
                        acc[r][0] = fma(s[0], p, acc[r][0]);
                        acc[r][1] = fma(s[1], p, acc[r][1]);
                        acc[r][2] = fma(s[2], p, acc[r][2]);
                        acc[r][3] = fma(s[3], p, acc[r][3]);
                    }
                }
                for r in 0..R {
                    parts[r][g] = quad(acc[r][0], acc[r][1], acc[r][2], acc[r][3]);
                }
            }
            for r in 0..R {
                y[r] = quads(parts[r]);
            }
            y
        }
        #[inline(always)]
        unsafe fn dots1<const R: usize>(x: *const f32, n: usize, p: [*const f32; R]) -> [f32; R] {
            let mut acc = [zero(); R];
            let mut j = 0;
            while j + L <= n {
                let s = load(x.add(j));
                for r in 0..R {
                    acc[r] = fma(s, load(p[r].add(j)), acc[r]);
                }
                j += L;
            }
            if j < n {
                let s = load_first(x.add(j), n - j);
                for r in 0..R {
                    acc[r] = fma(s, load_first(p[r].add(j), n - j), acc[r]);
                }
            }
            let mut y = [0.0; R];
            for r in 0..R {
                y[r] = sum(acc[r]);
            }
            y
        }

        /// `y_r = sum over rows i of p_r[i] x[i]`, rows of n elements: panels of up to `N` vectors, whole rows where they fit.
        #[inline(always)]
        pub unsafe fn sums<const N: usize, const R: usize>(
            x: *const f32,
            ld: usize,
            rows: usize,
            n: usize,
            p: [*const f32; R],
            y: [*mut f32; R],
        ) {
            let mut c = 0;
            while c + N * L <= n {
                sums_panel::<N, R>(x, ld, rows, c, p, y);
                c += N * L;
            }
            while c + 4 * L <= n {
                sums_panel::<4, R>(x, ld, rows, c, p, y);
                c += 4 * L;
            }
            while c + L <= n {
                sums_panel::<1, R>(x, ld, rows, c, p, y);
                c += L;
            }
            if c < n {
                let mut acc = [zero(); R];
                for i in 0..rows {
                    let s = load_first(x.add(i * ld + c), n - c);
                    for r in 0..R {
                        acc[r] = fma(splat(*p[r].add(i)), s, acc[r]);
                    }
                }
                for r in 0..R {
                    store(y[r].add(c), acc[r]);
                }
            }
        }
        #[inline(always)]
        unsafe fn sums_panel<const N: usize, const R: usize>(
            x: *const f32,
            ld: usize,
            rows: usize,
            c: usize,
            p: [*const f32; R],
            y: [*mut f32; R],
        ) {
            let mut acc = [[zero(); N]; R];
            let mut x = x.add(c);
            for i in 0..rows {
                let mut b = [zero(); R];
                for r in 0..R {
                    b[r] = splat(*p[r].add(i));
                }
                for j in 0..N {
                    let s = load(x.add(j * L));
                    for r in 0..R {
                        acc[r][j] = fma(b[r], s, acc[r][j]);
                    }
                }
                x = x.wrapping_add(ld);
            }
            for r in 0..R {
                for j in 0..N {
                    store(y[r].add(c + j * L), acc[r][j]);
                }
            }
        }

        /// No decay of the rows, one number for all, or a number a row.
        pub const NONE: u8 = 0;
        pub const NUMBER: u8 = 1;
        pub const ROWS: u8 = 2;

        /// `x = decay x + sum_j u_j w_j^T` on `m` rows of n elements, in place. `u_j` and `row` start at the first row, `w_j` and
        /// `col` at the first column; `col` is a decay by columns where `COL` is set. Each line fetches the one `AHEAD` floats
        /// further on, unless that is 0.
        #[inline(always)]
        pub unsafe fn update<const W: usize, const ROW: u8, const COL: bool, const AHEAD: usize>(
            x: *mut f32,
            ld: usize,
            m: usize,
            n: usize,
            scale: V,
            row: *const f32,
            col: *const f32,
            u: [*const f32; W],
            w: [*const f32; W],
        ) {
            match n / L {
                8 if n % L == 0 => update_block::<W, ROW, COL, AHEAD, 8>(x, ld, m, n, scale, row, col, u, w),
                4 if n % L == 0 => update_block::<W, ROW, COL, AHEAD, 4>(x, ld, m, n, scale, row, col, u, w),
                _ => update_block::<W, ROW, COL, AHEAD, 0>(x, ld, m, n, scale, row, col, u, w),
            }
        }
        /// The same; N vectors a row, 0 for any number.
        #[inline(always)]
        unsafe fn update_block<const W: usize, const ROW: u8, const COL: bool, const AHEAD: usize, const N: usize>(
            x: *mut f32,
            ld: usize,
            m: usize,
            n: usize,
            scale: V,
            row: *const f32,
            col: *const f32,
            u: [*const f32; W],
            w: [*const f32; W],
        ) {
            let n = if N > 0 { N * L } else { n };
            if N > 0 && N * (W + COL as usize) <= HELD {
                return update_held::<W, ROW, COL, AHEAD, N>(x, ld, m, scale, row, col, u, w);
            }
            let mut i = 0;
            while i + 4 <= m {
                update_rows::<4, W, ROW, COL, AHEAD>(x.add(i * ld), ld, i, n, scale, row, col, u, w);
                i += 4;
            }
            while i < m {
                update_rows::<1, W, ROW, COL, AHEAD>(x.add(i * ld), ld, i, n, scale, row, col, u, w);
                i += 1;
            }
        }
        /// Row by row; what every row is updated with stays in registers.
        #[inline(always)]
        unsafe fn update_held<const W: usize, const ROW: u8, const COL: bool, const AHEAD: usize, const N: usize>(
            x: *mut f32,
            ld: usize,
            m: usize,
            scale: V,
            row: *const f32,
            col: *const f32,
            u: [*const f32; W],
            w: [*const f32; W],
        ) {
            let (mut g, mut d) = ([[zero(); N]; W], [zero(); N]);
            for c in 0..N {
                for j in 0..W {
                    g[j][c] = load(w[j].add(c * L));
                }
                if COL {
                    d[c] = load(col.add(c * L));
                }
            }
            for i in 0..m {
                let f = if ROW == ROWS { splat(*row.add(i)) } else { scale };
                let mut b = [zero(); W];
                for j in 0..W {
                    b[j] = splat(*u[j].add(i));
                }
                for c in 0..N {
                    let at = x.add(i * ld + c * L);
                    let mut y = load(at);
                    if COL {
                        y = mul(y, d[c]);
                    }
                    if ROW != NONE {
                        y = mul(y, f);
                    }
                    for j in 0..W {
                        y = fma(b[j], g[j][c], y);
                    }
                    if AHEAD > 0 {
                        prefetch_near(at.wrapping_add(AHEAD));
                    }
                    store(at, y);
                }
            }
        }
        #[inline(always)]
        unsafe fn update_rows<const M: usize, const W: usize, const ROW: u8, const COL: bool, const AHEAD: usize>(
            x: *mut f32,
            ld: usize,
            i: usize,
            n: usize,
            scale: V,
            row: *const f32,
            col: *const f32,
            u: [*const f32; W],
            w: [*const f32; W],
        ) {
            let mut f = [scale; M];
            let mut b = [[zero(); W]; M];
            for r in 0..M {
                if ROW == ROWS {
                    f[r] = splat(*row.add(i + r));
                }
                for j in 0..W {
                    b[r][j] = splat(*u[j].add(i + r));
                }
            }
            let mut c = 0;
            while c + L <= n {
                let mut g = [zero(); W];
                for j in 0..W {
                    g[j] = load(w[j].add(c));
                }
                let d = if COL { load(col.add(c)) } else { zero() };
                for r in 0..M {
                    let at = x.add(r * ld + c);
                    let mut y = load(at);
                    if COL {
                        y = mul(y, d);
                    }
                    if ROW != NONE {
                        y = mul(y, f[r]);
                    }
                    for j in 0..W {
                        y = fma(b[r][j], g[j], y);
                    }
                    store(at, y);
                    if AHEAD > 0 {
                        prefetch_near(at.wrapping_add(AHEAD));
                    }
                }
                c += L;
            }
            if c < n {
                for r in 0..M {
                    let at = x.add(r * ld + c);
                    let mut y = load_first(at, n - c);
                    if COL {
                        y = mul(y, load_first(col.add(c), n - c));
                    }
                    if ROW != NONE {
                        y = mul(y, f[r]);
                    }
                    for j in 0..W {
                        y = fma(b[r][j], load_first(w[j].add(c), n - c), y);
                    }
                    store_first(at, y, n - c);
                }
            }
        }
    }

    mod bf16 {
        //! Products of bf16 operands that sum in f32.
        //!
        //! Operands are words of two adjacent elements of the inner axis, the first in the low half; addresses count words. Every
        //! function is `inline(always)` and is only called from functions that enable avx512bf16.
        use super::abi::*;
        use super::math::neg;
        use super::pack::*;
        use super::simd::*;
        use super::tile::*;
        use core::arch::x86_64::*;

        #[inline(always)]
        unsafe fn words(x: V) -> __m512bh {
            // SAFETY: both are 64 plain bytes
            unsafe { core::mem::transmute(x) }
        }
        /// Words of the lanes of two rows, `lo` first; rounded to nearest even.
        #[inline(always)]
        pub unsafe fn pair(lo: V, hi: V) -> V {
            // all of lo, then all of hi
            let rounded: __m512i = core::mem::transmute(_mm512_cvtne2ps_pbh(hi, lo));
            let order = _mm512_set_epi16(
                31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0,
            );
            _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, rounded))
        }
        /// Stores a vector as L / 2 words, rounded to nearest even.
        #[inline(always)]
        pub unsafe fn store_bf16(p: *mut f32, x: V) {
            _mm256_storeu_si256(p as *mut __m256i, core::mem::transmute(_mm512_cvtneps_pbh(x)))
        }

        #[inline(always)]
        unsafe fn step<const M: usize, const N: usize>(acc: &mut [[V; N]; M], a: *const f32, row: usize, b: *const f32) {
            let mut bv = [zero(); N];
            for j in 0..N {
                bv[j] = load(b.add(j * L));
            }
            for i in 0..M {
                let av = splat(*a.add(i * row));
                for j in 0..N {
                    acc[i][j] = _mm512_dpbf16_ps(acc[i][j], words(av), words(bv[j]));
                }
            }
        }
        #[inline(always)]
        unsafe fn negate<const M: usize, const N: usize, const SUB: bool>(acc: &mut [[V; N]; M]) {
            if SUB {
                for i in 0..M {
                    for j in 0..N {
                        acc[i][j] = neg(acc[i][j]);
                    }
                }
            }
        }

        #[inline(always)]
        unsafe fn steps<const M: usize, const N: usize>(
            acc: &mut [[V; N]; M],
            a: *const f32,
            row: usize,
            inner: usize,
            b: *const f32,
            ldb: usize,
            n: usize,
            ahead: Option<&mut Ahead>,
        ) {
            let (mut a, mut b) = (a, b);
            let mut lines = ahead.as_deref().copied();
            for _ in 0..n / 4 {
                if let Some(lines) = &mut lines {
                    lines.lines();
                }
                step::<M, N>(acc, a, row, b);
                step::<M, N>(acc, a.add(inner), row, b.add(ldb));
                step::<M, N>(acc, a.add(2 * inner), row, b.add(2 * ldb));
                step::<M, N>(acc, a.add(3 * inner), row, b.add(3 * ldb));
                a = a.add(4 * inner);
                b = b.add(4 * ldb);
            }
            if let (Some(ahead), Some(lines)) = (ahead, lines) {
                *ahead = lines;
            }
            for _ in 0..n % 4 {
                step::<M, N>(acc, a, row, b);
                a = a.add(inner);
                b = b.add(ldb);
            }
        }

        /// `acc += A B` (SUB: `-=`) over `n` elements of the inner axis, words of A `inner` apart along it; B has row stride `ldb`.
        #[inline(always)]
        pub unsafe fn product_pairs<const M: usize, const N: usize, const SUB: bool>(
            acc: &mut [[V; N]; M],
            a: *const f32,
            row: usize,
            inner: usize,
            b: *const f32,
            ldb: usize,
            n: usize,
            ahead: Option<&mut Ahead>,
        ) {
            negate::<M, N, SUB>(acc);
            steps::<M, N>(acc, a, row, inner, b, ldb, n.div_ceil(2), ahead);
            negate::<M, N, SUB>(acc);
        }

        /// The same where the inner axis is A's lane axis, in panels of `w` words `panel` words apart.
        #[inline(always)]
        pub unsafe fn product_pairs_across<const M: usize, const N: usize, const SUB: bool>(
            acc: &mut [[V; N]; M],
            a: *const f32,
            row: usize,
            w: usize,
            panel: usize,
            b: *const f32,
            ldb: usize,
            n: usize,
            mut ahead: Option<&mut Ahead>,
        ) {
            negate::<M, N, SUB>(acc);
            let (mut a, mut b, mut n) = (a, b, n.div_ceil(2));
            while n > w {
                steps::<M, N>(acc, a, row, 1, b, ldb, w, ahead.as_deref_mut());
                a = a.add(panel);
                b = b.add(w * ldb);
                n -= w;
            }
            steps::<M, N>(acc, a, row, 1, b, ldb, n, ahead);
            negate::<M, N, SUB>(acc);
        }

        /// A panel of `rows` rows of `w` lanes as words of two rows; a last row without a partner gets zeros.
        #[inline(always)]
        pub unsafe fn pack_pairs(from: *const f32, rows: usize, w: usize, to: *mut f32) {
            for r in (0..rows).step_by(2) {
                for c in (0..w).step_by(L) {
                    let at = from.add(r * w + c);
                    let second = if r + 1 < rows { load(at.add(w)) } else { zero() };
                    store(to.add(r / 2 * w + c), pair(load(at), second));
                }
            }
        }
        /// A panel of rows of `w` lanes, the first `n` of them of meaning, as words of two lanes; a last lane without a partner gets a
        /// zero.
        #[inline(always)]
        pub unsafe fn pack_lanes(from: *const f32, rows: usize, n: usize, w: usize, to: *mut f32) {
            for r in 0..rows {
                for c in (0..w).step_by(L) {
                    store_bf16(to.add(r * w / 2 + c / 2), load(from.add(r * w + c)));
                }
                if n < w && n % 2 == 1 {
                    *(to.add(r * w / 2) as *mut u16).add(n) = 0;
                }
            }
        }
        /// Clears the second half of the words of a row.
        #[inline(always)]
        pub unsafe fn end_pairs(at: *mut f32, vectors: usize) {
            for j in 0..vectors {
                let words = _mm512_castps_si512(load(at.add(j * L)));
                store(at.add(j * L), _mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32(0xffff))));
            }
        }
        /// The same of words of two lanes, whose type is bf16 already.
        #[inline(always)]
        pub unsafe fn pair_rows(from: *const f32, rows: usize, w: usize, to: *mut f32) {
            let first = _mm512_set_epi16(
                47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0,
            );
            let second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
            for r in (0..rows).step_by(2) {
                for c in (0..w).step_by(2 * L) {
                    let at = from.add((r * w + c) / 2);
                    let (lo, hi) = (_mm512_castps_si512(load(at)), _mm512_castps_si512(load(at.add(w / 2))));
                    let to = to.add(r / 2 * w + c);
                    store(to, _mm512_castsi512_ps(_mm512_permutex2var_epi16(lo, first, hi)));
                    store(to.add(L), _mm512_castsi512_ps(_mm512_permutex2var_epi16(lo, second, hi)));
                }
            }
        }

        /// L / 2 words as L floats.
        #[inline(always)]
        pub unsafe fn load_bf16(p: *const f32) -> V {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p as *const __m256i));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        }
        /// Copies rows of a bf16 view as they are into panels of `w` words, `panel` words apart; rows past `valid` repeat the last one,
        /// and an odd row ends with a zero.
        #[inline(always)]
        pub unsafe fn read_bf16(view: &View, t0: usize, valid: usize, rows: usize, n: usize, to: *mut f32, w: usize, panel: usize) {
            for t in 0..rows {
                let from = (view.ptr as *const u16).offset((t0 + if t < valid { t } else { valid - 1 }) as isize * view.stride);
                let mut at = 0;
                while at < n {
                    let to = to.add(at / (2 * w) * panel + t * w);
                    let left = n - at;
                    if left >= 2 * w {
                        for i in (0..w).step_by(L) {
                            store(to.add(i), load(from.add(at + 2 * i) as *const f32));
                        }
                    } else {
                        let to = to as *mut u16;
                        for i in 0..left {
                            *to.add(i) = *from.add(at + i);
                        }
                        if left % 2 == 1 {
                            *to.add(left) = 0;
                        }
                    }
                    at += 2 * w;
                }
            }
        }
        /// Where a chunk's rows of bf16 lie: (start, words from panel to panel, from row to row). In the caller's memory where that holds
        /// whole panels and all of the chunk's rows, else in the kernel's own.
        #[inline(always)]
        pub unsafe fn place_bf16(view: &View, t0: usize, whole: bool, n: usize, w: usize, own: *mut f32, panel: usize) -> (*mut f32, usize, usize) {
            if whole && view.dtype == DTYPE_BF16 && view.stride > 0 && view.stride % 2 == 0 && n % (2 * w) == 0 {
                let rows = (view.ptr as *mut u16).add(t0 * view.stride as usize);
                return (rows as *mut f32, w, view.stride as usize / 2);
            }
            (own, panel, w)
        }
        /// [`unpack`] that rounds whole vectors to bf16.
        #[inline(always)]
        pub unsafe fn write_rows(view: &View, t0: usize, valid: usize, n: usize, from: *const f32, w: usize, panel: usize) {
            if view.ptr.is_null() || view.dtype != DTYPE_BF16 || n % L != 0 {
                return unpack(view, t0, valid, n, from, w, panel);
            }
            for t in 0..valid {
                let to = (view.ptr as *mut u16).offset((t0 + t) as isize * view.stride);
                for at in (0..n).step_by(L) {
                    store_bf16(to.add(at) as *mut f32, load(from.add(at / w * panel + t * w + at % w)));
                }
            }
        }
    }

    mod forward {
        use super::abi::*;
        use super::decay::*;
        use super::math::*;
        use super::pack::*;
        use super::rows::*;
        use super::simd::*;
        use super::tile::*;

        /// Sizes, and where each value of a chunk lies.
        #[derive(Clone, Copy)]
        struct Work {
            n0: usize,
            panels0: usize,
            rows0: usize,
            n1: usize,
            panels1: usize,
            rows1: usize,
            ahead: *mut Ahead,
            g: *mut f32,
            x2: *mut f32,
            k: *mut f32,
            k_t: *mut f32,
            beta: *mut f32,
            v_own: *mut f32,
            x7: *mut f32,
            x10: *mut f32,
            x11: *mut f32,
            x12: *mut f32,
            x13: *mut f32,
            x14: *mut f32,
            x16: *mut f32,
            x19: *mut f32,
            x22: *mut f32,
            gamma: *mut f32,
            x27: *mut f32,
            x29: *mut f32,
            x30: *mut f32,
            x32: *mut f32,
            x34: *mut f32,
            x36: *mut f32,
            q: *mut f32,
            x41: *mut f32,
            x43: *mut f32,
            x46: *mut f32,
            x48: *mut f32,
            x52: *mut f32,
            x54: *mut f32,
            x56_own: *mut f32,
            x57: *mut f32,
            x59: *mut f32,
            x60: *mut f32,
            list: *mut f32,
            x62: *mut f32,
            x65: *mut f32,
            S: *mut f32,
            R: *mut f32,
            clip: *mut f32,
            v: *mut f32,
            x56: *mut f32,
            v_panel: usize,
            v_row: usize,
            x56_panel: usize,
            x56_row: usize,
            state0: *mut f32,
            state1: *mut f32,
        }

        impl Work {
            /// Lays the working memory out from `base` on; also the floats it takes.
            unsafe fn new(n: *const usize, base: *mut f32) -> (Work, usize) {
                let mut used = 0;
                let none = core::ptr::null_mut::<f32>();
                let mut w = Work {
                    n0: *n.add(0),
                    panels0: (*n.add(0)).div_ceil(32),
                    rows0: (*n.add(0)).next_multiple_of(32),
                    n1: *n.add(1),
                    panels1: (*n.add(1)).div_ceil(32),
                    rows1: (*n.add(1)).next_multiple_of(32),
                    ahead: core::ptr::null_mut(),
                    g: none,
                    x2: none,
                    k: none,
                    k_t: none,
                    beta: none,
                    v_own: none,
                    x7: none,
                    x10: none,
                    x11: none,
                    x12: none,
                    x13: none,
                    x14: none,
                    x16: none,
                    x19: none,
                    x22: none,
                    gamma: none,
                    x27: none,
                    x29: none,
                    x30: none,
                    x32: none,
                    x34: none,
                    x36: none,
                    q: none,
                    x41: none,
                    x43: none,
                    x46: none,
                    x48: none,
                    x52: none,
                    x54: none,
                    x56_own: none,
                    x57: none,
                    x59: none,
                    x60: none,
                    list: none,
                    x62: none,
                    x65: none,
                    S: none,
                    R: none,
                    clip: none,
                    v: none,
                    x56: none,
                    v_panel: 0,
                    v_row: 0,
                    x56_panel: 0,
                    x56_row: 0,
                    state0: none,
                    state1: none,
                };
                w.g = take(base, &mut used, 1 * 16);
                w.x2 = take(base, &mut used, 1 * 16);
                w.k = take(base, &mut used, w.panels0 * 512);
                w.k_t = take(base, &mut used, 1 * w.rows0 * 16);
                w.beta = take(base, &mut used, 1 * 16);
                w.v_own = take(base, &mut used, w.panels1 * 512);
                w.x7 = take(base, &mut used, 1 * 16);
                w.x10 = take(base, &mut used, 1 * 16);
                w.x11 = take(base, &mut used, 1 * 256);
                w.x12 = take(base, &mut used, 1 * 256);
                w.x14 = take(base, &mut used, w.panels0 * 512);
                w.x16 = take(base, &mut used, 1 * 16);
                w.x19 = take(base, &mut used, 1 * 16);
                w.x22 = take(base, &mut used, 16 * 32);
                w.gamma = take(base, &mut used, 1 * 16);
                w.x27 = take(base, &mut used, 1 * 16);
                w.x29 = take(base, &mut used, 1 * 16);
                w.x30 = take(base, &mut used, 16 * 32);
                w.x32 = take(base, &mut used, 1 * 16);
                w.x34 = take(base, &mut used, 1 * 16);
                w.x36 = take(base, &mut used, 16 * 32);
                w.q = take(base, &mut used, w.panels0 * 512);
                w.x41 = take(base, &mut used, w.panels0 * 512);
                w.x43 = take(base, &mut used, 1 * 256);
                w.x46 = take(base, &mut used, w.panels0 * 512);
                w.x48 = take(base, &mut used, 1 * 256);
                w.x54 = take(base, &mut used, 16 * 32);
                w.x56_own = take(base, &mut used, w.panels1 * 512);
                w.x60 = take(base, &mut used, w.panels0 * 512);
                w.list = take(base, &mut used, 264);
                // values that are never alive together share a place
                w.x13 = w.beta;
                w.x52 = w.x2;
                w.x57 = w.beta;
                w.x59 = w.g;
                w.state0 = take(base, &mut used, w.panels1 * w.rows0 * 32);
                w.state1 = take(base, &mut used, w.panels1 * w.rows0 * 32);
                (w, used)
            }
        }

        /// Floats of working memory.
        pub unsafe fn scratch(n: *const usize) -> usize {
            Work::new(n, core::ptr::null_mut()).1
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x3, x7, x10, x16, x17, x18, x19, x29, x32, x33, x34.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s0(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..1 {
                    let v2 = load(w.x2.add(p * 16 + j * L));
                    let v1 = load(w.g.add(p * 16 + j * L));
                    let v3 = if_nonzero(v2, v1); // x3
                    let v5 = load(w.beta.add(p * 16 + j * L));
                    let v7 = if_nonzero(v2, v5); // x7
                    store(w.x7.add(p * 16).add(j * L), v7);
                    let v10 = exp(v3); // x10
                    store(w.x10.add(p * 16).add(j * L), v10);
                    let v16 = exp(v1); // x16
                    store(w.x16.add(p * 16).add(j * L), v16);
                    let v17 = mul(v5, v16); // x17
                    let v18 = if_nonzero(v2, v17); // x18
                    let v19 = neg(v18); // x19
                    store(w.x19.add(p * 16).add(j * L), v19);
                    let v24 = load(w.gamma.add(p * 16 + j * L));
                    let v29 = if_nonzero(v2, v24); // x29
                    store(w.x29.add(p * 16).add(j * L), v29);
                    let v32 = mul(v24, v16); // x32
                    store(w.x32.add(p * 16).add(j * L), v32);
                    let v33 = if_nonzero(v2, v32); // x33
                    let v34 = neg(v33); // x34
                    store(w.x34.add(p * 16).add(j * L), v34);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// A tile of x9, x12.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s1(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 1>();
            // acc += k k^T
            product_across_ahead::<8, 1, false>(&mut acc, w.k.add(r * 32), 32, 32, 512, w.k_t.add(p * w.rows0 * 16), 16, w.n0, &mut *w.ahead);
            each!(8, i, {
                let r = r + i;
                each!(1, j, {
                    let v9 = acc[i][j]; // x9
                    let v11 = load(w.x11.add(p * 256 + r * 16).add(j * L));
                    let v12 = mul(v9, v11); // x12
                    store(w.x12.add(p * 256 + r * 16).add(j * L), v12);
                });
            });
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// All of x11.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s2(w: &Work) {
            segment(w.x10, w.x11, 16, 16);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// All of x13.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s3(w: &Work) {
            prefix_scalar(w.x10, w.x13, 16);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x14, x41, x46, x52.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s4(w: &Work) {
            for r in 0..16 {
                let _ = r;
                let mut s52 = zero();
                let v13r = splat(*w.x13.add(r));
                let v16r = splat(*w.x16.add(r));
                let v32r = splat(*w.x32.add(r));
                for p in 0..w.n0 / 32 {
                    for j in 0..2 {
                        let v4 = load(w.k.add(p * 512 + r * 32).add(j * L));
                        let v14 = mul(v13r, v4); // x14
                        store(w.x14.add(p * 512 + r * 32).add(j * L), v14);
                        let v37 = load(w.q.add(p * 512 + r * 32).add(j * L));
                        let v38 = mul(v13r, v37); // x38
                        let v41 = mul(v16r, v38); // x41
                        store(w.x41.add(p * 512 + r * 32).add(j * L), v41);
                        let v46 = mul(v32r, v38); // x46
                        store(w.x46.add(p * 512 + r * 32).add(j * L), v46);
                        let v51 = mul(v4, v37); // x51
                        s52 = add(s52, v51);
                    }
                }
                for p in w.n0 / 32..w.panels0 {
                    for j in 0..2 {
                        let v4 = load(w.k.add(p * 512 + r * 32).add(j * L));
                        let v14 = mul(v13r, v4); // x14
                        store(w.x14.add(p * 512 + r * 32).add(j * L), v14);
                        let v37 = load(w.q.add(p * 512 + r * 32).add(j * L));
                        let v38 = mul(v13r, v37); // x38
                        let v41 = mul(v16r, v38); // x41
                        store(w.x41.add(p * 512 + r * 32).add(j * L), v41);
                        let v46 = mul(v32r, v38); // x46
                        store(w.x46.add(p * 512 + r * 32).add(j * L), v46);
                        let v51 = mul(v4, v37); // x51
                        s52 = add(s52, first(v51, w.n0 as isize - (p * 32 + j * L) as isize));
                    }
                }
                *w.x52.add(r) = sum(s52);
            }
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// A block of rows, by substitution, of x21, x22, x25, x28, x30.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s5(w: &Work, p: usize, r: usize) {
            let mut acc0 = zeros::<8, 2>();
            // acc0 += x14 S^T
            product_across_ahead::<8, 2, false>(&mut acc0, w.x14.add(r * 32), 32, 32, 512, w.S.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            // acc0 += x12 x22, rows before this block
            if r > 0 {
                product_across::<8, 2, false>(&mut acc0, w.x12.add(r * 16), 16, 16, 256, w.x22, 32, r);
            }
            let m0_0 = w.x12.add(r * 16 + r);
            let v27 = splat(*w.x27);
            let v26 = splat(*w.clip);
            each!(8, i, {
                let r = r + i;
                let v7r = splat(*w.x7.add(r));
                let v19r = splat(*w.x19.add(r));
                let v29r = splat(*w.x29.add(r));
                let mut w0 = [zero(); 2];
                each!(2, j, {
                    let y0 = acc0[i][j];
                    let v6 = load(w.v.add(p * w.v_panel + (r) * w.v_row).add(j * L));
                    let v8 = mul(v7r, v6); // x8
                    let u0 = fma(v19r, y0, v8);
                    store(w.x22.add(r * 32).add(j * L), u0);
                    let v25 = sub(v6, y0); // x25
                    let v28 = clamp(v25, v27, v26); // x28
                    let v30 = mul(v29r, v28); // x30
                    store(w.x30.add(r * 32).add(j * L), v30);
                    w0[j] = u0;
                });
                // this row's writes into the rows that follow
                each!(8, k, {
                    if k > i {
                        let m = splat(*m0_0.add(k * 16 + i * 1));
                        each!(2, j, {
                            acc0[k][j] = fma(m, w0[j], acc0[k][j]);
                        });
                    }
                });
            });
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// Elementwise x27.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s6(w: &Work) {
            let v26 = splat(*w.clip);
            for r in 0..1 {
                let _ = r;
                for j in 0..1 {
                    let v27 = neg(v26); // x27
                    store(w.x27.add(j * L), v27);
                }
            }
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A block of rows, by substitution, of x36, x53, x54.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s7(w: &Work, p: usize, r: usize) {
            let mut acc0 = zeros::<8, 2>();
            // acc0 += x14 R^T
            product_across_ahead::<8, 2, false>(&mut acc0, w.x14.add(r * 32), 32, 32, 512, w.R.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            // acc0 += x12 x36, rows before this block
            if r > 0 {
                product_across::<8, 2, false>(&mut acc0, w.x12.add(r * 16), 16, 16, 256, w.x36, 32, r);
            }
            let m0_0 = w.x12.add(r * 16 + r);
            each!(8, i, {
                let r = r + i;
                let v34r = splat(*w.x34.add(r));
                let v24r = splat(*w.gamma.add(r));
                let v52r = splat(*w.x52.add(r));
                let mut w0 = [zero(); 2];
                each!(2, j, {
                    let y0 = acc0[i][j];
                    let v30 = load(w.x30.add(r * 32).add(j * L));
                    let u0 = fma(v34r, y0, v30);
                    store(w.x36.add(r * 32).add(j * L), u0);
                    let v53 = mul(v24r, u0); // x53
                    let v54 = mul(v52r, v53); // x54
                    store(w.x54.add(r * 32).add(j * L), v54);
                    w0[j] = u0;
                });
                // this row's writes into the rows that follow
                each!(8, k, {
                    if k > i {
                        let m = splat(*m0_0.add(k * 16 + i * 1));
                        each!(2, j, {
                            acc0[k][j] = fma(m, w0[j], acc0[k][j]);
                        });
                    }
                });
            });
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x39, x40, x43, x48.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s8(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 1>();
            // acc += q k^T
            product_across_ahead::<8, 1, false>(&mut acc, w.q.add(r * 32), 32, 32, 512, w.k_t.add(p * w.rows0 * 16), 16, w.n0, &mut *w.ahead);
            each!(8, i, {
                let r = r + i;
                let v16r = splat(*w.x16.add(r));
                let v32r = splat(*w.x32.add(r));
                each!(1, j, {
                    let v39 = acc[i][j]; // x39
                    let v11 = load(w.x11.add(p * 256 + r * 16).add(j * L));
                    let v40 = mul(v39, v11); // x40
                    let v43 = mul(v16r, v40); // x43
                    store(w.x43.add(p * 256 + r * 16).add(j * L), v43);
                    let v48 = mul(v32r, v40); // x48
                    store(w.x48.add(p * 256 + r * 16).add(j * L), v48);
                });
            });
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x56.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s9(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x54
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v54 = load(w.x54.add(r * 32).add(j * L));
                    acc[i][j] = v54;
                });
            });
            // acc += x41 S^T
            product_across_ahead::<8, 2, false>(&mut acc, w.x41.add(r * 32), 32, 32, 512, w.S.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            // acc += x43 x22
            product_across::<8, 2, false>(&mut acc, w.x43.add(r * 16), 16, 16, 256, w.x22, 32, (16).min(r + 8));
            // acc += x46 R^T
            product_across_ahead::<8, 2, false>(&mut acc, w.x46.add(r * 32), 32, 32, 512, w.R.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            // acc += x48 x36
            product_across::<8, 2, false>(&mut acc, w.x48.add(r * 16), 16, 16, 256, w.x36, 32, (16).min(r + 8));
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v56 = acc[i][j]; // x56
                    store(w.x56.add(p * w.x56_panel + (r) * w.x56_row).add(j * L), v56);
                });
            });
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// All of x57.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s10(w: &Work) {
            total_scalar(w.x10, w.x57, 16);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// All of x59.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s11(w: &Work) {
            suffix_scalar(w.x10, w.x59, 16);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x60.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s12(w: &Work, p: usize) {
            for r in 0..16 {
                let _ = r;
                let v59r = splat(*w.x59.add(r));
                for j in 0..2 {
                    let v4 = load(w.k.add(p * 512 + r * 32).add(j * L));
                    let v60 = mul(v59r, v4); // x60
                    store(w.x60.add(p * 512 + r * 32).add(j * L), v60);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// A tile of x62.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s13(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x58^T
            let v57 = splat(*w.x57);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v0 = load(w.S.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v58 = mul(v57, v0); // x58
                    acc[i][j] = v58;
                });
            });
            // acc += x60^T x22
            product::<8, 2, false>(&mut acc, w.x60.add(r / 32 * 512 + r % 32), 1, 32, w.x22, 32, 16);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v62 = acc[i][j]; // x62
                    store(w.x62.add(p * w.rows0 * 32 + r * 32).add(j * L), v62);
                });
            });
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// A tile of x65.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s14(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x63^T
            let v57 = splat(*w.x57);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v23 = load(w.R.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v63 = mul(v57, v23); // x63
                    acc[i][j] = v63;
                });
            });
            // acc += x60^T x36
            product::<8, 2, false>(&mut acc, w.x60.add(r / 32 * 512 + r % 32), 1, 32, w.x36, 32, 16);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v65 = acc[i][j]; // x65
                    store(w.x65.add(p * w.rows0 * 32 + r * 32).add(j * L), v65);
                });
            });
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// The other orientation of k.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s15(w: &Work, p: usize) {
            turn(w.k.add(p * 512), 16, 32, w.k_t.add(p * 32 * 16), 16, w.rows0 * 16);
        }

        /// What depends on no token, once a call.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn once(w: &Work) {
            let _ = w;
            s6(w);
        }

        /// One chunk, packed.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn chunk(w: &Work) {
            for p in 0..1 {
                s0(w, p);
            }
            s2(w);
            s3(w);
            s4(w);
            s10(w);
            s11(w);
            for p in 0..w.panels0 {
                s12(w, p);
                s15(w, p);
            }
            for p in 0..1 {
                for r in (0..16).step_by(8) {
                    s1(w, p, r);
                }
                for r in (0..16).step_by(8) {
                    s8(w, p, r);
                }
            }
            for p in 0..w.panels1 {
                for r in (0..16).step_by(8) {
                    s5(w, p, r);
                }
                for r in (0..16).step_by(8) {
                    s7(w, p, r);
                }
                for r in (0..16).step_by(8) {
                    s9(w, p, r);
                }
                for r in (0..w.n0).step_by(8) {
                    s13(w, p, r);
                }
                for r in (0..w.n0).step_by(8) {
                    s14(w, p, r);
                }
            }
        }

        /// Reads the chunk that starts at token `t0` and has `valid` tokens.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn read_chunk(w: &Work, x: &Args, t0: usize, valid: usize) {
            let _ = (w, x, t0, valid);
            pack_scalars(&*x.inputs.add(3), t0, valid, 16, w.g);
            for t in 0..16 {
                *w.x2.add(t) = if t < valid { 1.0 } else { 0.0 };
            }
            pack(&*x.inputs.add(1), t0, valid, 16, w.n0, w.k, 32, 512);
            pack_scalars(&*x.inputs.add(4), t0, valid, 16, w.beta);
            if w.v == w.v_own { pack(&*x.inputs.add(2), t0, valid, 16, w.n1, w.v, 32, w.v_panel); }
            pack_scalars(&*x.inputs.add(5), t0, valid, 16, w.gamma);
            pack(&*x.inputs.add(0), t0, valid, 16, w.n0, w.q, 32, 512);
        }

        /// Writes the chunk's results.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn write_chunk(w: &Work, x: &Args, t0: usize, valid: usize) {
            let _ = (w, x, t0, valid);
            if w.x56 == w.x56_own { unpack(&*x.outputs.add(0), t0, valid, w.n1, w.x56, 32, w.x56_panel); }
        }

        /// Lists the rows of the chunk at token `t0`, to be fetched during the chunk before it.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn fetch(w: &Work, x: &Args, t0: usize) -> Ahead {
            let rows = (x.tokens - t0).min(16);
            let list = w.list as *mut (*const f32, usize);
            let mut count = 0;
            fetch_rows(list, &mut count, &*x.inputs.add(1), t0, rows, w.n0);
            fetch_rows(list, &mut count, &*x.inputs.add(2), t0, rows, w.n1);
            fetch_rows(list, &mut count, &*x.inputs.add(0), t0, rows, w.n0);
            fetch_rows(list, &mut count, &*x.outputs.add(0), t0, rows, w.n1);
            // requests that this chunk's products make
            let requests = 2 * 1 * 2 * (w.n0 / 4) + 4 * w.panels1 * 2 * (w.n0 / 4);
            Ahead::list(list, count, requests)
        }

        /// The whole pass over one sequence and head.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        pub unsafe fn run(x: &Args) {
            let (mut w, _) = Work::new(x.sizes, x.scratch);
            let mut ahead = Ahead::nothing(x.scratch);
            w.ahead = &mut ahead;
            w.clip = x.constants.add(0) as *mut f32;
            once(&w);
            load_state(&*x.states_in.add(0), false, w.n1, w.n0, w.state0, 32, w.rows0);
            load_state(&*x.states_in.add(1), false, w.n1, w.n0, w.state1, 32, w.rows0);
            let chunks = x.tokens.div_ceil(16);
            for c in 0..chunks {
                let t0 = c * 16;
                let valid = (x.tokens - t0).min(16);
                w.S = w.state0;
                let next0 = w.state0;
                w.R = w.state1;
                let next1 = w.state1;
                w.x62 = next0;
                w.x65 = next1;
                (w.v, w.v_panel, w.v_row) = place(&*x.inputs.add(2), t0, valid == 16, w.n1, 32, w.v_own, 512);
                (w.x56, w.x56_panel, w.x56_row) = place(&*x.outputs.add(0), t0, valid == 16, w.n1, 32, w.x56_own, 512);
                read_chunk(&w, x, t0, valid);
                ahead = if c + 1 < chunks { fetch(&w, x, t0 + 16) } else { Ahead::nothing(x.scratch) };
                chunk(&w);
                write_chunk(&w, x, t0, valid);
            }
            store_state(&*x.states_out.add(0), false, w.n1, w.n0, w.state0, 32, w.rows0);
            store_state(&*x.states_out.add(1), false, w.n1, w.n0, w.state1, 32, w.rows0);
        }
    }

    mod decode {
        use super::abi::*;
        use super::decay::*;
        use super::math::*;
        use super::pack::*;
        use super::rows::*;
        use super::simd::*;
        use super::tile::*;

        /// Floats of working memory: a row for each vector, and room to gather states.
        pub unsafe fn scratch(n: *const usize) -> usize {
            0 + 3 * lines(*n.add(0)) + 19 * lines(*n.add(1)) + lines(*n.add(1) * *n.add(0)) + lines(*n.add(1) * *n.add(0))
        }

        /// One token, rows of the states contiguous.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn by_rows<const SIZE: usize>(x: &Args, t: usize, states: *const StateView, scratch: *mut f32) {
            let n0 = if SIZE > 0 { SIZE } else { *x.sizes.add(0) };
            let n1 = if SIZE > 0 { SIZE } else { *x.sizes.add(1) };
            let mut at = scratch;
            let v2 = input(&*x.inputs.add(0), t, n0, at);
            at = at.add(lines(n0));
            let v9 = input(&*x.inputs.add(1), t, n0, at);
            at = at.add(lines(n0));
            let v12 = input(&*x.inputs.add(2), t, n1, at);
            at = at.add(lines(n1));
            let v21 = at;
            at = at.add(lines(n1));
            let v25 = output(&*x.outputs.add(0), t, n1, at);
            at = at.add(lines(n1));
            let v27 = at;
            at = at.add(lines(n1));
            let v30 = at;
            at = at.add(lines(n1));
            let s0 = (*states.add(0)).ptr;
            let ld0 = if SIZE > 0 { SIZE } else { (*states.add(0)).row_stride as usize };
            let s1 = (*states.add(1)).ptr;
            let ld1 = if SIZE > 0 { SIZE } else { (*states.add(1)).row_stride as usize };
            let n_0 = number(&*x.inputs.add(3), t);
            let n_1 = exp(n_0);
            let n_5 = number(&*x.inputs.add(5), t);
            let n_6 = mul(n_5, n_1);
            let n_15 = splat(*x.constants.add(0));
            let n_16 = neg(n_15);
            let n_26 = number(&*x.inputs.add(4), t);
            let n_28 = mul(n_26, n_1);
            let mut a11 = zero();
            let mut r = 0;
            while r < n0 {
                let m = if n0 - r < L { n0 - r } else { L };
                let e2 = load(v2.add(r));
                let e9 = load(v9.add(r));
                let e10 = mul(e9, e2);
                a11 = add(a11, first(e10, m as isize));
                r += L;
            }
            let n_11 = splat(sum(a11));
            let mut r = 0;
            while r < n1 {
                let m = if n1 - r < L { n1 - r } else { L };
                let e12 = load(v12.add(r));
                let e27 = mul(n_26, e12);
                store(v27.add(r), e27);
                r += L;
            }
            let mut r = 0;
            while r < n1 {
                let m = if n1 - r < L { n1 - r } else { L };
                let [e3, e13] = dots::<2>(s0.add(r * ld0), ld0, m, n0, [v2 as *const f32, v9 as *const f32]); // S
                let [e7, e19] = dots::<2>(s1.add(r * ld1), ld1, m, n0, [v2 as *const f32, v9 as *const f32]); // R
                let e12 = load(v12.add(r));
                let e27 = load(v27.add(r));
                let e4 = mul(n_1, e3);
                let e8 = mul(n_6, e7);
                let e14 = sub(e12, e13);
                let e17 = clamp(e14, n_16, n_15);
                let e18 = mul(n_5, e17);
                let e20 = mul(n_6, e19);
                let e21 = sub(e18, e20);
                let e22 = mul(n_5, e21);
                let e23 = mul(n_11, e22);
                let e24 = add(e8, e23);
                let e25 = add(e4, e24);
                let e29 = mul(n_28, e13);
                let e30 = sub(e27, e29);
                store(v21.add(r), e21);
                store(v25.add(r), e25);
                store(v30.add(r), e30);
                update::<1, NUMBER, false, 2048>(s0.add(r * ld0), ld0, m, n0, n_1, core::ptr::null(), core::ptr::null(), [v30.add(r) as *const f32], [v9 as *const f32]); // S
                update::<1, NUMBER, false, 2048>(s1.add(r * ld1), ld1, m, n0, n_1, core::ptr::null(), core::ptr::null(), [v21.add(r) as *const f32], [v9 as *const f32]); // R
                r += L;
            }
            finish(&*x.outputs.add(0), t, n1, v25);
        }

        /// One token, columns of the states contiguous.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn by_columns(x: &Args, t: usize, states: *const StateView, scratch: *mut f32) {
            let n0 = *x.sizes.add(0);
            let n1 = *x.sizes.add(1);
            let mut at = scratch;
            let v2 = input(&*x.inputs.add(0), t, n0, at);
            at = at.add(lines(n0));
            let v3 = at;
            at = at.add(lines(n1));
            let v4 = at;
            at = at.add(lines(n1));
            let v7 = at;
            at = at.add(lines(n1));
            let v9 = input(&*x.inputs.add(1), t, n0, at);
            at = at.add(lines(n0));
            let v12 = input(&*x.inputs.add(2), t, n1, at);
            at = at.add(lines(n1));
            let v13 = at;
            at = at.add(lines(n1));
            let v18 = at;
            at = at.add(lines(n1));
            let v19 = at;
            at = at.add(lines(n1));
            let v21 = at;
            at = at.add(lines(n1));
            let v25 = output(&*x.outputs.add(0), t, n1, at);
            at = at.add(lines(n1));
            let v27 = at;
            at = at.add(lines(n1));
            let v30 = at;
            at = at.add(lines(n1));
            let s0 = (*states.add(0)).ptr;
            let ld0 = (*states.add(0)).col_stride as usize;
            let s1 = (*states.add(1)).ptr;
            let ld1 = (*states.add(1)).col_stride as usize;
            let n_0 = number(&*x.inputs.add(3), t);
            let n_1 = exp(n_0);
            let n_5 = number(&*x.inputs.add(5), t);
            let n_6 = mul(n_5, n_1);
            let n_15 = splat(*x.constants.add(0));
            let n_16 = neg(n_15);
            let n_26 = number(&*x.inputs.add(4), t);
            let n_28 = mul(n_26, n_1);
            let mut a11 = zero();
            let mut r = 0;
            while r < n0 {
                let m = if n0 - r < L { n0 - r } else { L };
                let e2 = load(v2.add(r));
                let e9 = load(v9.add(r));
                let e10 = mul(e9, e2);
                a11 = add(a11, first(e10, m as isize));
                r += L;
            }
            let n_11 = splat(sum(a11));
            let mut r = 0;
            while r < n1 {
                let m = if n1 - r < L { n1 - r } else { L };
                let e12 = load(v12.add(r));
                let e27 = mul(n_26, e12);
                store(v27.add(r), e27);
                r += L;
            }
            sums::<8, 2>(s0, ld0, n0, n1, [v2 as *const f32, v9 as *const f32], [v3, v13]); // S
            let mut r = 0;
            while r < n1 {
                let m = if n1 - r < L { n1 - r } else { L };
                let e3 = load(v3.add(r));
                let e12 = load(v12.add(r));
                let e13 = load(v13.add(r));
                let e27 = load(v27.add(r));
                let e4 = mul(n_1, e3);
                let e14 = sub(e12, e13);
                let e17 = clamp(e14, n_16, n_15);
                let e18 = mul(n_5, e17);
                let e29 = mul(n_28, e13);
                let e30 = sub(e27, e29);
                store(v4.add(r), e4);
                store(v18.add(r), e18);
                store(v30.add(r), e30);
                r += L;
            }
            sums::<8, 2>(s1, ld1, n0, n1, [v2 as *const f32, v9 as *const f32], [v7, v19]); // R
            let mut r = 0;
            while r < n1 {
                let m = if n1 - r < L { n1 - r } else { L };
                let e4 = load(v4.add(r));
                let e7 = load(v7.add(r));
                let e18 = load(v18.add(r));
                let e19 = load(v19.add(r));
                let e8 = mul(n_6, e7);
                let e20 = mul(n_6, e19);
                let e21 = sub(e18, e20);
                let e22 = mul(n_5, e21);
                let e23 = mul(n_11, e22);
                let e24 = add(e8, e23);
                let e25 = add(e4, e24);
                store(v21.add(r), e21);
                store(v25.add(r), e25);
                r += L;
            }
            update::<1, NUMBER, false, 4096>(s0.add(0 * ld0), ld0, n0, n1, n_1, core::ptr::null(), core::ptr::null(), [v9.add(0) as *const f32], [v30 as *const f32]); // S
            update::<1, NUMBER, false, 4096>(s1.add(0 * ld1), ld1, n0, n1, n_1, core::ptr::null(), core::ptr::null(), [v9.add(0) as *const f32], [v21 as *const f32]); // R
            finish(&*x.outputs.add(0), t, n1, v25);
        }

        /// All tokens of one sequence and head.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        pub unsafe fn run(x: &Args) {
            let mut rows = true;
            rows &= !(*x.states_in.add(0)).ptr.is_null() && (*x.states_in.add(0)).col_stride == 1;
            rows &= !(*x.states_in.add(1)).ptr.is_null() && (*x.states_in.add(1)).col_stride == 1;
            let mut columns = true;
            columns &= !(*x.states_in.add(0)).ptr.is_null() && (*x.states_in.add(0)).row_stride == 1;
            columns &= !(*x.states_in.add(1)).ptr.is_null() && (*x.states_in.add(1)).row_stride == 1;
            if rows {
                let mut size = *x.sizes;
                if *x.sizes.add(1) != size { size = 0; }
                if (*x.states_in.add(0)).row_stride != size as isize { size = 0; }
                if (*x.states_in.add(1)).row_stride != size as isize { size = 0; }
                for t in 0..x.tokens {
                    match size {
                        64 => by_rows::<64>(x, t, x.states_in, x.scratch),
                        128 => by_rows::<128>(x, t, x.states_in, x.scratch),
                        _ => by_rows::<0>(x, t, x.states_in, x.scratch),
                    }
                }
            } else if columns {
                for t in 0..x.tokens {
                    by_columns(x, t, x.states_in, x.scratch);
                }
            } else {
                let mut at = x.scratch;
                let mut states = [*x.states_in.add(0), *x.states_in.add(1)];
                states[0] = gather(&states[0], *x.sizes.add(1), *x.sizes.add(0), at);
                at = at.add(lines(*x.sizes.add(1) * *x.sizes.add(0)));
                states[1] = gather(&states[1], *x.sizes.add(1), *x.sizes.add(0), at);
                at = at.add(lines(*x.sizes.add(1) * *x.sizes.add(0)));
                for t in 0..x.tokens {
                    by_rows::<0>(x, t, states.as_ptr(), at);
                }
                scatter(&*x.states_in.add(0), *x.sizes.add(1), *x.sizes.add(0), states[0].ptr);
                scatter(&*x.states_in.add(1), *x.sizes.add(1), *x.sizes.add(0), states[1].ptr);
            }
        }
    }

    mod forward_save {
        use super::abi::*;
        use super::decay::*;
        use super::math::*;
        use super::pack::*;
        use super::rows::*;
        use super::simd::*;
        use super::tile::*;

        /// Sizes, and where each value of a chunk lies.
        #[derive(Clone, Copy)]
        struct Work {
            n0: usize,
            panels0: usize,
            rows0: usize,
            n1: usize,
            panels1: usize,
            rows1: usize,
            ahead: *mut Ahead,
            g: *mut f32,
            x2: *mut f32,
            k: *mut f32,
            k_t: *mut f32,
            beta: *mut f32,
            v_own: *mut f32,
            x7: *mut f32,
            x10: *mut f32,
            x11: *mut f32,
            x12: *mut f32,
            x13: *mut f32,
            x14: *mut f32,
            x16: *mut f32,
            x19: *mut f32,
            x22: *mut f32,
            gamma: *mut f32,
            x27: *mut f32,
            x29: *mut f32,
            x30: *mut f32,
            x32: *mut f32,
            x34: *mut f32,
            x36: *mut f32,
            q: *mut f32,
            x41: *mut f32,
            x43: *mut f32,
            x46: *mut f32,
            x48: *mut f32,
            x52: *mut f32,
            x54: *mut f32,
            x56_own: *mut f32,
            x57: *mut f32,
            x59: *mut f32,
            x60: *mut f32,
            list: *mut f32,
            x21: *mut f32,
            x31: *mut f32,
            x62: *mut f32,
            x65: *mut f32,
            S: *mut f32,
            R: *mut f32,
            clip: *mut f32,
            v: *mut f32,
            x56: *mut f32,
            keep0: *mut f32,
            sink0: *mut f32,
            keep1: *mut f32,
            sink1: *mut f32,
            v_panel: usize,
            v_row: usize,
            x56_panel: usize,
            x56_row: usize,
            state0: *mut f32,
            state1: *mut f32,
        }

        impl Work {
            /// Lays the working memory out from `base` on; also the floats it takes.
            unsafe fn new(n: *const usize, base: *mut f32) -> (Work, usize) {
                let mut used = 0;
                let none = core::ptr::null_mut::<f32>();
                let mut w = Work {
                    n0: *n.add(0),
                    panels0: (*n.add(0)).div_ceil(32),
                    rows0: (*n.add(0)).next_multiple_of(32),
                    n1: *n.add(1),
                    panels1: (*n.add(1)).div_ceil(32),
                    rows1: (*n.add(1)).next_multiple_of(32),
                    ahead: core::ptr::null_mut(),
                    g: none,
                    x2: none,
                    k: none,
                    k_t: none,
                    beta: none,
                    v_own: none,
                    x7: none,
                    x10: none,
                    x11: none,
                    x12: none,
                    x13: none,
                    x14: none,
                    x16: none,
                    x19: none,
                    x22: none,
                    gamma: none,
                    x27: none,
                    x29: none,
                    x30: none,
                    x32: none,
                    x34: none,
                    x36: none,
                    q: none,
                    x41: none,
                    x43: none,
                    x46: none,
                    x48: none,
                    x52: none,
                    x54: none,
                    x56_own: none,
                    x57: none,
                    x59: none,
                    x60: none,
                    list: none,
                    x21: none,
                    x31: none,
                    x62: none,
                    x65: none,
                    S: none,
                    R: none,
                    clip: none,
                    v: none,
                    x56: none,
                    keep0: none,
                    sink0: none,
                    keep1: none,
                    sink1: none,
                    v_panel: 0,
                    v_row: 0,
                    x56_panel: 0,
                    x56_row: 0,
                    state0: none,
                    state1: none,
                };
                w.g = take(base, &mut used, 1 * 32);
                w.x2 = take(base, &mut used, 1 * 32);
                w.k = take(base, &mut used, w.panels0 * 1024);
                w.k_t = take(base, &mut used, 1 * w.rows0 * 32);
                w.beta = take(base, &mut used, 1 * 32);
                w.v_own = take(base, &mut used, w.panels1 * 1024);
                w.x7 = take(base, &mut used, 1 * 32);
                w.x10 = take(base, &mut used, 1 * 32);
                w.x11 = take(base, &mut used, 1 * 1024);
                w.x12 = take(base, &mut used, 1 * 1024);
                w.x14 = take(base, &mut used, w.panels0 * 1024);
                w.x16 = take(base, &mut used, 1 * 32);
                w.x19 = take(base, &mut used, 1 * 32);
                w.x22 = take(base, &mut used, 32 * 32);
                w.gamma = take(base, &mut used, 1 * 32);
                w.x27 = take(base, &mut used, 1 * 16);
                w.x29 = take(base, &mut used, 1 * 32);
                w.x30 = take(base, &mut used, 32 * 32);
                w.x32 = take(base, &mut used, 1 * 32);
                w.x34 = take(base, &mut used, 1 * 32);
                w.x36 = take(base, &mut used, 32 * 32);
                w.q = take(base, &mut used, w.panels0 * 1024);
                w.x41 = take(base, &mut used, w.panels0 * 1024);
                w.x43 = take(base, &mut used, 1 * 1024);
                w.x46 = take(base, &mut used, w.panels0 * 1024);
                w.x48 = take(base, &mut used, 1 * 1024);
                w.x54 = take(base, &mut used, 32 * 32);
                w.x56_own = take(base, &mut used, w.panels1 * 1024);
                w.x57 = take(base, &mut used, 1 * 16);
                w.x60 = take(base, &mut used, w.panels0 * 1024);
                w.list = take(base, &mut used, 520);
                // values that are never alive together share a place
                w.x13 = w.beta;
                w.x52 = w.x2;
                w.x59 = w.beta;
                w.state0 = take(base, &mut used, w.panels1 * w.rows0 * 32);
                w.state1 = take(base, &mut used, w.panels1 * w.rows0 * 32);
                w.sink0 = take(base, &mut used, w.panels1 * w.rows0 * 32);
                w.sink1 = take(base, &mut used, w.panels1 * w.rows0 * 32);
                (w, used)
            }
        }

        /// Floats of working memory.
        pub unsafe fn scratch(n: *const usize) -> usize {
            Work::new(n, core::ptr::null_mut()).1
        }

        /// Floats kept for one chunk: the states at its start, then the saved values.
        unsafe fn kept(w: &Work) -> usize {
            let _ = w;
            lines(w.panels1 * w.rows0 * 32) + lines(w.panels1 * w.rows0 * 32) + lines(w.panels1 * 32 * 32) + lines(w.panels1 * 32 * 32)
        }

        /// Floats kept for a sequence.
        pub unsafe fn saved(tokens: usize, n: *const usize) -> usize {
            let (w, _) = Work::new(n, core::ptr::null_mut());
            tokens.div_ceil(32) * kept(&w)
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x3, x7, x10, x16, x17, x18, x19, x29, x32, x33, x34.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s0(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v2 = load(w.x2.add(p * 32 + j * L));
                    let v1 = load(w.g.add(p * 32 + j * L));
                    let v3 = if_nonzero(v2, v1); // x3
                    let v5 = load(w.beta.add(p * 32 + j * L));
                    let v7 = if_nonzero(v2, v5); // x7
                    store(w.x7.add(p * 32).add(j * L), v7);
                    let v10 = exp(v3); // x10
                    store(w.x10.add(p * 32).add(j * L), v10);
                    let v16 = exp(v1); // x16
                    store(w.x16.add(p * 32).add(j * L), v16);
                    let v17 = mul(v5, v16); // x17
                    let v18 = if_nonzero(v2, v17); // x18
                    let v19 = neg(v18); // x19
                    store(w.x19.add(p * 32).add(j * L), v19);
                    let v24 = load(w.gamma.add(p * 32 + j * L));
                    let v29 = if_nonzero(v2, v24); // x29
                    store(w.x29.add(p * 32).add(j * L), v29);
                    let v32 = mul(v24, v16); // x32
                    store(w.x32.add(p * 32).add(j * L), v32);
                    let v33 = if_nonzero(v2, v32); // x33
                    let v34 = neg(v33); // x34
                    store(w.x34.add(p * 32).add(j * L), v34);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// A tile of x9, x12.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s1(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += k k^T, as far as the diagonal
            if r + 8 > p * 32 + L {
                product_across_ahead::<8, 2, false>(&mut acc, w.k.add(r * 32), 32, 32, 1024, w.k_t.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            } else if r + 8 > p * 32 {
                let mut part = zeros::<8, 1>();
                product_across_ahead::<8, 1, false>(&mut part, w.k.add(r * 32), 32, 32, 1024, w.k_t.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
                each!(8, i, { acc[i][0] = part[i][0]; });
            }
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v9 = acc[i][j]; // x9
                    let v11 = load(w.x11.add(p * 1024 + r * 32).add(j * L));
                    let v12 = mul(v9, v11); // x12
                    store(w.x12.add(p * 1024 + r * 32).add(j * L), v12);
                });
            });
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// All of x11.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s2(w: &Work) {
            segment(w.x10, w.x11, 32, 32);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// All of x13.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s3(w: &Work) {
            prefix_scalar(w.x10, w.x13, 32);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x14, x41, x46, x52.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s4(w: &Work) {
            for r in 0..32 {
                let _ = r;
                let mut s52 = zero();
                let v13r = splat(*w.x13.add(r));
                let v16r = splat(*w.x16.add(r));
                let v32r = splat(*w.x32.add(r));
                for p in 0..w.n0 / 32 {
                    for j in 0..2 {
                        let v4 = load(w.k.add(p * 1024 + r * 32).add(j * L));
                        let v14 = mul(v13r, v4); // x14
                        store(w.x14.add(p * 1024 + r * 32).add(j * L), v14);
                        let v37 = load(w.q.add(p * 1024 + r * 32).add(j * L));
                        let v38 = mul(v13r, v37); // x38
                        let v41 = mul(v16r, v38); // x41
                        store(w.x41.add(p * 1024 + r * 32).add(j * L), v41);
                        let v46 = mul(v32r, v38); // x46
                        store(w.x46.add(p * 1024 + r * 32).add(j * L), v46);
                        let v51 = mul(v4, v37); // x51
                        s52 = add(s52, v51);
                    }
                }
                for p in w.n0 / 32..w.panels0 {
                    for j in 0..2 {
                        let v4 = load(w.k.add(p * 1024 + r * 32).add(j * L));
                        let v14 = mul(v13r, v4); // x14
                        store(w.x14.add(p * 1024 + r * 32).add(j * L), v14);
                        let v37 = load(w.q.add(p * 1024 + r * 32).add(j * L));
                        let v38 = mul(v13r, v37); // x38
                        let v41 = mul(v16r, v38); // x41
                        store(w.x41.add(p * 1024 + r * 32).add(j * L), v41);
                        let v46 = mul(v32r, v38); // x46
                        store(w.x46.add(p * 1024 + r * 32).add(j * L), v46);
                        let v51 = mul(v4, v37); // x51
                        s52 = add(s52, first(v51, w.n0 as isize - (p * 32 + j * L) as isize));
                    }
                }
                *w.x52.add(r) = sum(s52);
            }
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// A block of rows, by substitution, of x21, x22, x25, x28, x30.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s5(w: &Work, p: usize, r: usize) {
            let mut acc0 = zeros::<8, 2>();
            // acc0 += x14 S^T
            product_across_ahead::<8, 2, false>(&mut acc0, w.x14.add(r * 32), 32, 32, 1024, w.S.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            // acc0 += x12 x22, rows before this block
            if r > 0 {
                product_across::<8, 2, false>(&mut acc0, w.x12.add(r * 32), 32, 32, 1024, w.x22, 32, r);
            }
            let m0_0 = w.x12.add(r * 32 + r);
            let v27 = splat(*w.x27);
            let v26 = splat(*w.clip);
            each!(8, i, {
                let r = r + i;
                let v7r = splat(*w.x7.add(r));
                let v19r = splat(*w.x19.add(r));
                let v29r = splat(*w.x29.add(r));
                let mut w0 = [zero(); 2];
                each!(2, j, {
                    let y0 = acc0[i][j];
                    stream(w.x21.add(p * 1024 + r * 32).add(j * L), y0);
                    let v6 = load(w.v.add(p * w.v_panel + (r) * w.v_row).add(j * L));
                    let v8 = mul(v7r, v6); // x8
                    let u0 = fma(v19r, y0, v8);
                    store(w.x22.add(r * 32).add(j * L), u0);
                    let v25 = sub(v6, y0); // x25
                    let v28 = clamp(v25, v27, v26); // x28
                    let v30 = mul(v29r, v28); // x30
                    store(w.x30.add(r * 32).add(j * L), v30);
                    w0[j] = u0;
                });
                // this row's writes into the rows that follow
                each!(8, k, {
                    if k > i {
                        let m = splat(*m0_0.add(k * 32 + i * 1));
                        each!(2, j, {
                            acc0[k][j] = fma(m, w0[j], acc0[k][j]);
                        });
                    }
                });
            });
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// Elementwise x27.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s6(w: &Work) {
            let v26 = splat(*w.clip);
            for r in 0..1 {
                let _ = r;
                for j in 0..1 {
                    let v27 = neg(v26); // x27
                    store(w.x27.add(j * L), v27);
                }
            }
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// A tile of x31.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s7(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += x14 R^T
            product_across_ahead::<8, 2, false>(&mut acc, w.x14.add(r * 32), 32, 32, 1024, w.R.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v31 = acc[i][j]; // x31
                    store(w.x31.add(p * 1024 + r * 32).add(j * L), v31);
                });
            });
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A block of rows, by substitution, of x36, x53, x54.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s8(w: &Work, p: usize, r: usize) {
            let mut acc0 = zeros::<8, 2>();
            // acc0 = x31
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v31 = load(w.x31.add(p * 1024 + r * 32).add(j * L));
                    acc0[i][j] = v31;
                });
            });
            // acc0 += x12 x36, rows before this block
            if r > 0 {
                product_across::<8, 2, false>(&mut acc0, w.x12.add(r * 32), 32, 32, 1024, w.x36, 32, r);
            }
            let m0_0 = w.x12.add(r * 32 + r);
            each!(8, i, {
                let r = r + i;
                let v34r = splat(*w.x34.add(r));
                let v24r = splat(*w.gamma.add(r));
                let v52r = splat(*w.x52.add(r));
                let mut w0 = [zero(); 2];
                each!(2, j, {
                    let y0 = acc0[i][j];
                    let v30 = load(w.x30.add(r * 32).add(j * L));
                    let u0 = fma(v34r, y0, v30);
                    store(w.x36.add(r * 32).add(j * L), u0);
                    let v53 = mul(v24r, u0); // x53
                    let v54 = mul(v52r, v53); // x54
                    store(w.x54.add(r * 32).add(j * L), v54);
                    w0[j] = u0;
                });
                // this row's writes into the rows that follow
                each!(8, k, {
                    if k > i {
                        let m = splat(*m0_0.add(k * 32 + i * 1));
                        each!(2, j, {
                            acc0[k][j] = fma(m, w0[j], acc0[k][j]);
                        });
                    }
                });
            });
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x39, x40, x43, x48.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s9(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += q k^T, as far as the diagonal
            if r + 8 > p * 32 + L {
                product_across_ahead::<8, 2, false>(&mut acc, w.q.add(r * 32), 32, 32, 1024, w.k_t.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            } else if r + 8 > p * 32 {
                let mut part = zeros::<8, 1>();
                product_across_ahead::<8, 1, false>(&mut part, w.q.add(r * 32), 32, 32, 1024, w.k_t.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
                each!(8, i, { acc[i][0] = part[i][0]; });
            }
            each!(8, i, {
                let r = r + i;
                let v16r = splat(*w.x16.add(r));
                let v32r = splat(*w.x32.add(r));
                each!(2, j, {
                    let v39 = acc[i][j]; // x39
                    let v11 = load(w.x11.add(p * 1024 + r * 32).add(j * L));
                    let v40 = mul(v39, v11); // x40
                    let v43 = mul(v16r, v40); // x43
                    store(w.x43.add(p * 1024 + r * 32).add(j * L), v43);
                    let v48 = mul(v32r, v40); // x48
                    store(w.x48.add(p * 1024 + r * 32).add(j * L), v48);
                });
            });
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x56.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s10(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x54
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v54 = load(w.x54.add(r * 32).add(j * L));
                    acc[i][j] = v54;
                });
            });
            // acc += x41 S^T
            product_across_ahead::<8, 2, false>(&mut acc, w.x41.add(r * 32), 32, 32, 1024, w.S.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            // acc += x43 x22
            product_across::<8, 2, false>(&mut acc, w.x43.add(r * 32), 32, 32, 1024, w.x22, 32, (32).min(r + 8));
            // acc += x46 R^T
            product_across_ahead::<8, 2, false>(&mut acc, w.x46.add(r * 32), 32, 32, 1024, w.R.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            // acc += x48 x36
            product_across::<8, 2, false>(&mut acc, w.x48.add(r * 32), 32, 32, 1024, w.x36, 32, (32).min(r + 8));
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v56 = acc[i][j]; // x56
                    store(w.x56.add(p * w.x56_panel + (r) * w.x56_row).add(j * L), v56);
                });
            });
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// All of x57.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s11(w: &Work) {
            total_scalar(w.x10, w.x57, 32);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// All of x59.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s12(w: &Work) {
            suffix_scalar(w.x10, w.x59, 32);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x60.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s13(w: &Work, p: usize) {
            for r in 0..32 {
                let _ = r;
                let v59r = splat(*w.x59.add(r));
                for j in 0..2 {
                    let v4 = load(w.k.add(p * 1024 + r * 32).add(j * L));
                    let v60 = mul(v59r, v4); // x60
                    store(w.x60.add(p * 1024 + r * 32).add(j * L), v60);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// A tile of x62.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s14(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x58^T
            let v57 = splat(*w.x57);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v0 = load(w.S.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v58 = mul(v57, v0); // x58
                    acc[i][j] = v58;
                });
            });
            // acc += x60^T x22
            product::<8, 2, false>(&mut acc, w.x60.add(r / 32 * 1024 + r % 32), 1, 32, w.x22, 32, 32);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v62 = acc[i][j]; // x62
                    store(w.x62.add(p * w.rows0 * 32 + r * 32).add(j * L), v62);
                    stream(w.keep0.add(p * w.rows0 * 32 + r * 32).add(j * L), v62);
                });
            });
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// A tile of x65.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s15(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x63^T
            let v57 = splat(*w.x57);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v23 = load(w.R.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v63 = mul(v57, v23); // x63
                    acc[i][j] = v63;
                });
            });
            // acc += x60^T x36
            product::<8, 2, false>(&mut acc, w.x60.add(r / 32 * 1024 + r % 32), 1, 32, w.x36, 32, 32);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v65 = acc[i][j]; // x65
                    store(w.x65.add(p * w.rows0 * 32 + r * 32).add(j * L), v65);
                    stream(w.keep1.add(p * w.rows0 * 32 + r * 32).add(j * L), v65);
                });
            });
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// The other orientation of k.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s16(w: &Work, p: usize) {
            turn(w.k.add(p * 1024), 32, 32, w.k_t.add(p * 32 * 32), 32, w.rows0 * 32);
        }

        /// What depends on no token, once a call.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn once(w: &Work) {
            let _ = w;
            s6(w);
        }

        /// One chunk, packed.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn chunk(w: &Work) {
            for p in 0..1 {
                s0(w, p);
            }
            s2(w);
            s3(w);
            s4(w);
            s11(w);
            s12(w);
            for p in 0..w.panels0 {
                s13(w, p);
                s16(w, p);
            }
            for p in 0..1 {
                for r in (0..32).step_by(8) {
                    s1(w, p, r);
                }
                for r in (0..32).step_by(8) {
                    s9(w, p, r);
                }
            }
            for p in 0..w.panels1 {
                for r in (0..32).step_by(8) {
                    s5(w, p, r);
                }
                for r in (0..32).step_by(8) {
                    s7(w, p, r);
                }
                for r in (0..32).step_by(8) {
                    s8(w, p, r);
                }
                for r in (0..32).step_by(8) {
                    s10(w, p, r);
                }
                for r in (0..w.n0).step_by(8) {
                    s14(w, p, r);
                }
                for r in (0..w.n0).step_by(8) {
                    s15(w, p, r);
                }
            }
        }

        /// Reads the chunk that starts at token `t0` and has `valid` tokens.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn read_chunk(w: &Work, x: &Args, t0: usize, valid: usize) {
            let _ = (w, x, t0, valid);
            pack_scalars(&*x.inputs.add(3), t0, valid, 32, w.g);
            for t in 0..32 {
                *w.x2.add(t) = if t < valid { 1.0 } else { 0.0 };
            }
            pack(&*x.inputs.add(1), t0, valid, 32, w.n0, w.k, 32, 1024);
            pack_scalars(&*x.inputs.add(4), t0, valid, 32, w.beta);
            if w.v == w.v_own { pack(&*x.inputs.add(2), t0, valid, 32, w.n1, w.v, 32, w.v_panel); }
            pack_scalars(&*x.inputs.add(5), t0, valid, 32, w.gamma);
            pack(&*x.inputs.add(0), t0, valid, 32, w.n0, w.q, 32, 1024);
        }

        /// Writes the chunk's results.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn write_chunk(w: &Work, x: &Args, t0: usize, valid: usize) {
            let _ = (w, x, t0, valid);
            if w.x56 == w.x56_own { unpack(&*x.outputs.add(0), t0, valid, w.n1, w.x56, 32, w.x56_panel); }
        }

        /// Lists the rows of the chunk at token `t0`, to be fetched during the chunk before it.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn fetch(w: &Work, x: &Args, t0: usize) -> Ahead {
            let rows = (x.tokens - t0).min(32);
            let list = w.list as *mut (*const f32, usize);
            let mut count = 0;
            fetch_rows(list, &mut count, &*x.inputs.add(1), t0, rows, w.n0);
            fetch_rows(list, &mut count, &*x.inputs.add(2), t0, rows, w.n1);
            fetch_rows(list, &mut count, &*x.inputs.add(0), t0, rows, w.n0);
            fetch_rows(list, &mut count, &*x.outputs.add(0), t0, rows, w.n1);
            // requests that this chunk's products make
            let requests = 2 * 1 * 4 * (w.n0 / 4) + 4 * w.panels1 * 4 * (w.n0 / 4);
            Ahead::list(list, count, requests)
        }

        /// The whole pass over one sequence and head.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        pub unsafe fn run(x: &Args) {
            let (mut w, _) = Work::new(x.sizes, x.scratch);
            let mut ahead = Ahead::nothing(x.scratch);
            w.ahead = &mut ahead;
            w.clip = x.constants.add(0) as *mut f32;
            once(&w);
            load_state(&*x.states_in.add(0), false, w.n1, w.n0, w.state0, 32, w.rows0);
            load_state(&*x.states_in.add(1), false, w.n1, w.n0, w.state1, 32, w.rows0);
            let chunks = x.tokens.div_ceil(32);
            for c in 0..chunks {
                let t0 = c * 32;
                let valid = (x.tokens - t0).min(32);
                let kept = kept(&w);
                let here = x.saved.add(c * kept);
                let start0 = here;
                let start1 = here.add(lines(w.panels1 * w.rows0 * 32));
                let saved0 = here.add(lines(w.panels1 * w.rows0 * 32) + lines(w.panels1 * w.rows0 * 32));
                let saved1 = here.add(lines(w.panels1 * w.rows0 * 32) + lines(w.panels1 * w.rows0 * 32) + lines(w.panels1 * 32 * 32));
                let _ = (start0, start1, saved0, saved1,);
                w.S = w.state0;
                let next0 = w.state0;
                if c == 0 {
                    copy(w.state0, start0, w.panels1 * w.rows0 * 32);
                }
                w.keep0 = if c + 1 < chunks { start0.add(kept) } else { w.sink0 };
                w.R = w.state1;
                let next1 = w.state1;
                if c == 0 {
                    copy(w.state1, start1, w.panels1 * w.rows0 * 32);
                }
                w.keep1 = if c + 1 < chunks { start1.add(kept) } else { w.sink1 };
                w.x21 = saved0;
                w.x31 = saved1;
                w.x62 = next0;
                w.x65 = next1;
                (w.v, w.v_panel, w.v_row) = place(&*x.inputs.add(2), t0, valid == 32, w.n1, 32, w.v_own, 1024);
                (w.x56, w.x56_panel, w.x56_row) = place(&*x.outputs.add(0), t0, valid == 32, w.n1, 32, w.x56_own, 1024);
                read_chunk(&w, x, t0, valid);
                ahead = if c + 1 < chunks { fetch(&w, x, t0 + 32) } else { Ahead::nothing(x.scratch) };
                chunk(&w);
                write_chunk(&w, x, t0, valid);
            }
            fence();
            store_state(&*x.states_out.add(0), false, w.n1, w.n0, w.state0, 32, w.rows0);
            store_state(&*x.states_out.add(1), false, w.n1, w.n0, w.state1, 32, w.rows0);
        }
    }

    mod backward {
        use super::abi::*;
        use super::decay::*;
        use super::math::*;
        use super::pack::*;
        use super::rows::*;
        use super::simd::*;
        use super::tile::*;

        /// Sizes, and where each value of a chunk lies.
        #[derive(Clone, Copy)]
        struct Work {
            n0: usize,
            panels0: usize,
            rows0: usize,
            n1: usize,
            panels1: usize,
            rows1: usize,
            ahead: *mut Ahead,
            g: *mut f32,
            x2: *mut f32,
            k: *mut f32,
            k_t: *mut f32,
            beta: *mut f32,
            v_own: *mut f32,
            x7: *mut f32,
            x9: *mut f32,
            x10: *mut f32,
            x11: *mut f32,
            x12: *mut f32,
            x13: *mut f32,
            x14: *mut f32,
            x15: *mut f32,
            x17: *mut f32,
            x18: *mut f32,
            x21: *mut f32,
            x21_t: *mut f32,
            gamma: *mut f32,
            x26: *mut f32,
            x27: *mut f32,
            x28: *mut f32,
            x31: *mut f32,
            x32: *mut f32,
            x33: *mut f32,
            x35: *mut f32,
            x36: *mut f32,
            x38: *mut f32,
            x38_t: *mut f32,
            q: *mut f32,
            q_t: *mut f32,
            x40: *mut f32,
            x41: *mut f32,
            x42: *mut f32,
            x43: *mut f32,
            x44: *mut f32,
            x45: *mut f32,
            x46: *mut f32,
            x48: *mut f32,
            x50: *mut f32,
            x51: *mut f32,
            x52: *mut f32,
            x53: *mut f32,
            x53_t: *mut f32,
            x60: *mut f32,
            x61: *mut f32,
            x67: *mut f32,
            x68: *mut f32,
            x69: *mut f32,
            x72: *mut f32,
            x73: *mut f32,
            x74: *mut f32,
            x75: *mut f32,
            x76: *mut f32,
            x77: *mut f32,
            x80: *mut f32,
            x83: *mut f32,
            x87: *mut f32,
            x90: *mut f32,
            x96: *mut f32,
            x97: *mut f32,
            x102: *mut f32,
            x103: *mut f32,
            x104: *mut f32,
            x111: *mut f32,
            x118: *mut f32,
            x119: *mut f32,
            x121: *mut f32,
            x121_t: *mut f32,
            x122: *mut f32,
            x128: *mut f32,
            x129: *mut f32,
            x130: *mut f32,
            x130_t: *mut f32,
            x133: *mut f32,
            x133_t: *mut f32,
            x135: *mut f32,
            x137: *mut f32,
            x138: *mut f32,
            x140: *mut f32,
            x141: *mut f32,
            x142: *mut f32,
            x143: *mut f32,
            x149: *mut f32,
            x150: *mut f32,
            x151: *mut f32,
            x152: *mut f32,
            x153: *mut f32,
            x156: *mut f32,
            x156_t: *mut f32,
            x161: *mut f32,
            x163: *mut f32,
            x164: *mut f32,
            x166: *mut f32,
            x172: *mut f32,
            x173: *mut f32,
            x176: *mut f32,
            x177: *mut f32,
            x178: *mut f32,
            x179: *mut f32,
            x179_t: *mut f32,
            x182: *mut f32,
            x183: *mut f32,
            x188: *mut f32,
            x188_t: *mut f32,
            x191: *mut f32,
            x192_own: *mut f32,
            x193: *mut f32,
            x194: *mut f32,
            x195: *mut f32,
            x196: *mut f32,
            list: *mut f32,
            x80_part: *mut f32,
            x83_part: *mut f32,
            x97_part: *mut f32,
            x111_part: *mut f32,
            x137_part: *mut f32,
            x149_part: *mut f32,
            x161_part: *mut f32,
            x183_tmp: *mut f32,
            x191_part: *mut f32,
            x146: *mut f32,
            x170: *mut f32,
            S: *mut f32,
            x19: *mut f32,
            R: *mut f32,
            clip: *mut f32,
            x30: *mut f32,
            x54: *mut f32,
            x55: *mut f32,
            v: *mut f32,
            x192: *mut f32,
            v_panel: usize,
            v_row: usize,
            x192_panel: usize,
            x192_row: usize,
            state0: *mut f32,
            state1: *mut f32,
        }

        impl Work {
            /// Lays the working memory out from `base` on; also the floats it takes.
            unsafe fn new(n: *const usize, base: *mut f32) -> (Work, usize) {
                let mut used = 0;
                let none = core::ptr::null_mut::<f32>();
                let mut w = Work {
                    n0: *n.add(0),
                    panels0: (*n.add(0)).div_ceil(32),
                    rows0: (*n.add(0)).next_multiple_of(32),
                    n1: *n.add(1),
                    panels1: (*n.add(1)).div_ceil(32),
                    rows1: (*n.add(1)).next_multiple_of(32),
                    ahead: core::ptr::null_mut(),
                    g: none,
                    x2: none,
                    k: none,
                    k_t: none,
                    beta: none,
                    v_own: none,
                    x7: none,
                    x9: none,
                    x10: none,
                    x11: none,
                    x12: none,
                    x13: none,
                    x14: none,
                    x15: none,
                    x17: none,
                    x18: none,
                    x21: none,
                    x21_t: none,
                    gamma: none,
                    x26: none,
                    x27: none,
                    x28: none,
                    x31: none,
                    x32: none,
                    x33: none,
                    x35: none,
                    x36: none,
                    x38: none,
                    x38_t: none,
                    q: none,
                    q_t: none,
                    x40: none,
                    x41: none,
                    x42: none,
                    x43: none,
                    x44: none,
                    x45: none,
                    x46: none,
                    x48: none,
                    x50: none,
                    x51: none,
                    x52: none,
                    x53: none,
                    x53_t: none,
                    x60: none,
                    x61: none,
                    x67: none,
                    x68: none,
                    x69: none,
                    x72: none,
                    x73: none,
                    x74: none,
                    x75: none,
                    x76: none,
                    x77: none,
                    x80: none,
                    x83: none,
                    x87: none,
                    x90: none,
                    x96: none,
                    x97: none,
                    x102: none,
                    x103: none,
                    x104: none,
                    x111: none,
                    x118: none,
                    x119: none,
                    x121: none,
                    x121_t: none,
                    x122: none,
                    x128: none,
                    x129: none,
                    x130: none,
                    x130_t: none,
                    x133: none,
                    x133_t: none,
                    x135: none,
                    x137: none,
                    x138: none,
                    x140: none,
                    x141: none,
                    x142: none,
                    x143: none,
                    x149: none,
                    x150: none,
                    x151: none,
                    x152: none,
                    x153: none,
                    x156: none,
                    x156_t: none,
                    x161: none,
                    x163: none,
                    x164: none,
                    x166: none,
                    x172: none,
                    x173: none,
                    x176: none,
                    x177: none,
                    x178: none,
                    x179: none,
                    x179_t: none,
                    x182: none,
                    x183: none,
                    x188: none,
                    x188_t: none,
                    x191: none,
                    x192_own: none,
                    x193: none,
                    x194: none,
                    x195: none,
                    x196: none,
                    list: none,
                    x80_part: none,
                    x83_part: none,
                    x97_part: none,
                    x111_part: none,
                    x137_part: none,
                    x149_part: none,
                    x161_part: none,
                    x183_tmp: none,
                    x191_part: none,
                    x146: none,
                    x170: none,
                    S: none,
                    x19: none,
                    R: none,
                    clip: none,
                    x30: none,
                    x54: none,
                    x55: none,
                    v: none,
                    x192: none,
                    v_panel: 0,
                    v_row: 0,
                    x192_panel: 0,
                    x192_row: 0,
                    state0: none,
                    state1: none,
                };
                w.g = take(base, &mut used, 1 * 32);
                w.x2 = take(base, &mut used, 1 * 32);
                w.k = take(base, &mut used, w.panels0 * 1024);
                w.k_t = take(base, &mut used, 1 * w.rows0 * 32);
                w.beta = take(base, &mut used, 1 * 32);
                w.v_own = take(base, &mut used, w.panels1 * 1024);
                w.x7 = take(base, &mut used, 1 * 32);
                w.x9 = take(base, &mut used, 1 * 1024);
                w.x10 = take(base, &mut used, 1 * 32);
                w.x11 = take(base, &mut used, 1 * 1024);
                w.x12 = take(base, &mut used, 1 * 1024);
                w.x14 = take(base, &mut used, w.panels0 * 1024);
                w.x15 = take(base, &mut used, 1 * 32);
                w.x17 = take(base, &mut used, 1 * 32);
                w.x18 = take(base, &mut used, 1 * 32);
                w.x21 = take(base, &mut used, w.panels1 * 1024);
                w.x21_t = take(base, &mut used, 1 * w.rows1 * 32);
                w.gamma = take(base, &mut used, 1 * 32);
                w.x26 = take(base, &mut used, 1 * 16);
                w.x27 = take(base, &mut used, w.panels1 * 1024);
                w.x28 = take(base, &mut used, 1 * 32);
                w.x31 = take(base, &mut used, 1 * 32);
                w.x32 = take(base, &mut used, 1 * 32);
                w.x33 = take(base, &mut used, 1 * 32);
                w.x35 = take(base, &mut used, w.panels1 * 1024);
                w.x36 = take(base, &mut used, 32 * 32);
                w.x38_t = take(base, &mut used, 1 * w.rows1 * 32);
                w.q = take(base, &mut used, w.panels0 * 1024);
                w.q_t = take(base, &mut used, 1 * w.rows0 * 32);
                w.x40 = take(base, &mut used, 1 * w.rows0 * 32);
                w.x41 = take(base, &mut used, 1 * 1024);
                w.x42 = take(base, &mut used, 1 * 1024);
                w.x43 = take(base, &mut used, 1 * w.rows0 * 32);
                w.x44 = take(base, &mut used, 1 * 1024);
                w.x45 = take(base, &mut used, 1 * w.rows0 * 32);
                w.x46 = take(base, &mut used, 1 * 1024);
                w.x48 = take(base, &mut used, 1 * 32);
                w.x50 = take(base, &mut used, 1 * 16);
                w.x52 = take(base, &mut used, w.panels0 * 1024);
                w.x53 = take(base, &mut used, w.panels1 * 1024);
                w.x53_t = take(base, &mut used, 1 * w.rows1 * 32);
                w.x60 = take(base, &mut used, w.panels1 * 32);
                w.x61 = take(base, &mut used, 1 * 16);
                w.x67 = take(base, &mut used, 1 * 32);
                w.x68 = take(base, &mut used, 1 * 32);
                w.x72 = take(base, &mut used, w.panels1 * 32);
                w.x73 = take(base, &mut used, 1 * 16);
                w.x74 = take(base, &mut used, 1 * 16);
                w.x87 = take(base, &mut used, 1 * w.rows0 * 32);
                w.x90 = take(base, &mut used, 1 * w.rows0 * 32);
                w.x102 = take(base, &mut used, w.rows0 * 32);
                w.x103 = take(base, &mut used, 1 * 32);
                w.x104 = take(base, &mut used, 1 * 32);
                w.x111 = take(base, &mut used, 1 * 32);
                w.x118 = take(base, &mut used, 1 * 32);
                w.x119 = take(base, &mut used, 1 * 32);
                w.x121 = take(base, &mut used, 1 * 1024);
                w.x121_t = take(base, &mut used, 1 * 1024);
                w.x122 = take(base, &mut used, 1 * 1024);
                w.x128 = take(base, &mut used, w.rows0 * 32);
                w.x129 = take(base, &mut used, 1 * 32);
                w.x130 = take(base, &mut used, 1 * w.rows0 * 32);
                w.x130_t = take(base, &mut used, w.panels0 * 1024);
                w.x153 = take(base, &mut used, 32 * 32);
                w.x156 = take(base, &mut used, w.panels1 * 1024);
                w.x156_t = take(base, &mut used, 1 * w.rows1 * 32);
                w.x192_own = take(base, &mut used, w.panels1 * 1024);
                w.list = take(base, &mut used, 904);
                w.x80_part = take(base, &mut used, 32 * 16);
                w.x83_part = take(base, &mut used, 32 * 16);
                w.x97_part = take(base, &mut used, 32 * 16);
                w.x111_part = take(base, &mut used, 32 * 16);
                w.x137_part = take(base, &mut used, 32 * 16);
                w.x149_part = take(base, &mut used, 32 * 16);
                w.x161_part = take(base, &mut used, 32 * 16);
                w.x183_tmp = take(base, &mut used, 512);
                w.x191_part = take(base, &mut used, 32 * 16);
                // values that are never alive together share a place
                w.x13 = w.g;
                w.x38 = w.x21;
                w.x51 = w.x17;
                w.x69 = w.x118;
                w.x75 = w.x73;
                w.x76 = w.x48;
                w.x77 = w.x18;
                w.x80 = w.x32;
                w.x83 = w.x10;
                w.x96 = w.x36;
                w.x97 = w.x32;
                w.x133 = w.x21;
                w.x133_t = w.x53_t;
                w.x135 = w.x153;
                w.x137 = w.x129;
                w.x138 = w.x118;
                w.x140 = w.x48;
                w.x141 = w.x33;
                w.x142 = w.g;
                w.x143 = w.x7;
                w.x149 = w.x119;
                w.x150 = w.x104;
                w.x151 = w.x129;
                w.x152 = w.x36;
                w.x161 = w.x119;
                w.x163 = w.x118;
                w.x164 = w.x104;
                w.x166 = w.g;
                w.x172 = w.x45;
                w.x173 = w.x33;
                w.x176 = w.x28;
                w.x177 = w.x119;
                w.x178 = w.x28;
                w.x179 = w.x46;
                w.x179_t = w.x44;
                w.x182 = w.x12;
                w.x183 = w.x119;
                w.x188 = w.k_t;
                w.x188_t = w.x52;
                w.x191 = w.x119;
                w.x193 = w.x28;
                w.x194 = w.x18;
                w.x195 = w.x18;
                w.x196 = w.x104;
                w.state0 = take(base, &mut used, w.panels1 * w.rows0 * 32);
                w.state1 = take(base, &mut used, w.panels1 * w.rows0 * 32);
                (w, used)
            }
        }

        /// Floats of working memory.
        pub unsafe fn scratch(n: *const usize) -> usize {
            Work::new(n, core::ptr::null_mut()).1
        }

        /// Floats kept for one chunk: the states at its start, then the saved values.
        unsafe fn kept(w: &Work) -> usize {
            let _ = w;
            lines(w.panels1 * w.rows0 * 32) + lines(w.panels1 * w.rows0 * 32) + lines(w.panels1 * 32 * 32) + lines(w.panels1 * 32 * 32)
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x3, x7, x10, x15, x16, x17, x18, x28, x31, x32, x33.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s0(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v2 = load(w.x2.add(p * 32 + j * L));
                    let v1 = load(w.g.add(p * 32 + j * L));
                    let v3 = if_nonzero(v2, v1); // x3
                    let v5 = load(w.beta.add(p * 32 + j * L));
                    let v7 = if_nonzero(v2, v5); // x7
                    store(w.x7.add(p * 32).add(j * L), v7);
                    let v10 = exp(v3); // x10
                    store(w.x10.add(p * 32).add(j * L), v10);
                    let v15 = exp(v1); // x15
                    store(w.x15.add(p * 32).add(j * L), v15);
                    let v16 = mul(v5, v15); // x16
                    let v17 = if_nonzero(v2, v16); // x17
                    store(w.x17.add(p * 32).add(j * L), v17);
                    let v18 = neg(v17); // x18
                    store(w.x18.add(p * 32).add(j * L), v18);
                    let v23 = load(w.gamma.add(p * 32 + j * L));
                    let v28 = if_nonzero(v2, v23); // x28
                    store(w.x28.add(p * 32).add(j * L), v28);
                    let v31 = mul(v23, v15); // x31
                    store(w.x31.add(p * 32).add(j * L), v31);
                    let v32 = if_nonzero(v2, v31); // x32
                    store(w.x32.add(p * 32).add(j * L), v32);
                    let v33 = neg(v32); // x33
                    store(w.x33.add(p * 32).add(j * L), v33);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// A tile of x9, x12.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s1(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += k k^T
            product_across_ahead::<8, 2, false>(&mut acc, w.k.add(r * 32), 32, 32, 1024, w.k_t.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v9 = acc[i][j]; // x9
                    store(w.x9.add(p * 1024 + r * 32).add(j * L), v9);
                    let v11 = load(w.x11.add(p * 1024 + r * 32).add(j * L));
                    let v12 = mul(v9, v11); // x12
                    store(w.x12.add(p * 1024 + r * 32).add(j * L), v12);
                });
            });
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// All of x11.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s2(w: &Work) {
            segment(w.x10, w.x11, 32, 32);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// All of x13.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s3(w: &Work) {
            prefix_scalar(w.x10, w.x13, 32);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x14, x48.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s4(w: &Work) {
            for r in 0..32 {
                let _ = r;
                let mut s48 = zero();
                let v13r = splat(*w.x13.add(r));
                for p in 0..w.n0 / 32 {
                    for j in 0..2 {
                        let v4 = load(w.k.add(p * 1024 + r * 32).add(j * L));
                        let v14 = mul(v13r, v4); // x14
                        store(w.x14.add(p * 1024 + r * 32).add(j * L), v14);
                        let v39 = load(w.q.add(p * 1024 + r * 32).add(j * L));
                        let v47 = mul(v4, v39); // x47
                        s48 = add(s48, v47);
                    }
                }
                for p in w.n0 / 32..w.panels0 {
                    for j in 0..2 {
                        let v4 = load(w.k.add(p * 1024 + r * 32).add(j * L));
                        let v14 = mul(v13r, v4); // x14
                        store(w.x14.add(p * 1024 + r * 32).add(j * L), v14);
                        let v39 = load(w.q.add(p * 1024 + r * 32).add(j * L));
                        let v47 = mul(v4, v39); // x47
                        s48 = add(s48, first(v47, w.n0 as isize - (p * 32 + j * L) as isize));
                    }
                }
                *w.x48.add(r) = sum(s48);
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x21.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s5(w: &Work, p: usize) {
            for r in 0..32 {
                let _ = r;
                let v7r = splat(*w.x7.add(r));
                let v17r = splat(*w.x17.add(r));
                for j in 0..2 {
                    let v6 = load(w.v.add(p * w.v_panel + (r) * w.v_row).add(j * L));
                    let v8 = mul(v7r, v6); // x8
                    let v19 = load(w.x19.add(p * 1024 + r * 32).add(j * L));
                    let v20 = mul(v17r, v19); // x20
                    let v21 = sub(v8, v20); // x21
                    store(w.x21.add(p * 1024 + r * 32).add(j * L), v21);
                }
            }
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// Elementwise x26.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s6(w: &Work) {
            let v25 = splat(*w.clip);
            for r in 0..1 {
                let _ = r;
                for j in 0..1 {
                    let v26 = neg(v25); // x26
                    store(w.x26.add(j * L), v26);
                }
            }
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// Elementwise x27.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s7(w: &Work, p: usize) {
            let v26 = splat(*w.x26);
            let v25 = splat(*w.clip);
            for r in 0..32 {
                let _ = r;
                for j in 0..2 {
                    let v6 = load(w.v.add(p * w.v_panel + (r) * w.v_row).add(j * L));
                    let v19 = load(w.x19.add(p * 1024 + r * 32).add(j * L));
                    let v24 = sub(v6, v19); // x24
                    let v27 = clamp(v24, v26, v25); // x27
                    store(w.x27.add(p * 1024 + r * 32).add(j * L), v27);
                }
            }
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A block of rows, by substitution, of x35, x36, x37, x38, x49, x78, x80, x81, x83.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s8(w: &Work, p: usize, r: usize) {
            let mut acc0 = zeros::<8, 2>();
            // acc0 = x30
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v30 = load(w.x30.add(p * 1024 + r * 32).add(j * L));
                    acc0[i][j] = v30;
                });
            });
            // acc0 += x12 x36, rows before this block
            if r > 0 {
                product_across::<8, 2, false>(&mut acc0, w.x12.add(r * 32), 32, 32, 1024, w.x36, 32, r);
            }
            let m0_0 = w.x12.add(r * 32 + r);
            each!(8, i, {
                let r = r + i;
                let mut s80 = zero();
                let mut s83 = zero();
                let v28r = splat(*w.x28.add(r));
                let v33r = splat(*w.x33.add(r));
                let v32r = splat(*w.x32.add(r));
                let v23r = splat(*w.gamma.add(r));
                let v48r = splat(*w.x48.add(r));
                let mut w0 = [zero(); 2];
                each!(2, j, {
                    let y0 = acc0[i][j];
                    store(w.x35.add(p * 1024 + r * 32).add(j * L), y0);
                    let v27 = load(w.x27.add(p * 1024 + r * 32).add(j * L));
                    let v29 = mul(v28r, v27); // x29
                    let u0 = fma(v33r, y0, v29);
                    store(w.x36.add(r * 32).add(j * L), u0);
                    let v37 = mul(v32r, y0); // x37
                    let v38 = sub(v29, v37); // x38
                    store(w.x38.add(p * 1024 + r * 32).add(j * L), v38);
                    let v49 = mul(v23r, v38); // x49
                    let v53 = load(w.x53.add(p * 1024 + r * 32).add(j * L));
                    let v78 = mul(v53, v49); // x78
                    let v79 = mul(v53, v48r); // x79
                    let v81 = mul(v79, v38); // x81
                    s80 = add(s80, first(v78, w.n1 as isize - (p * 32 + j * L) as isize));
                    s83 = add(s83, first(v81, w.n1 as isize - (p * 32 + j * L) as isize));
                    w0[j] = u0;
                });
                let at = w.x80_part.add(r * L);
                store(at, if p == 0 { s80 } else { add(load(at), s80) });
                let at = w.x83_part.add(r * L);
                store(at, if p == 0 { s83 } else { add(load(at), s83) });
                // this row's writes into the rows that follow
                each!(8, k, {
                    if k > i {
                        let m = splat(*m0_0.add(k * 32 + i * 1));
                        each!(2, j, {
                            acc0[k][j] = fma(m, w0[j], acc0[k][j]);
                        });
                    }
                });
            });
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x40, x43, x45.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s9(w: &Work, p: usize) {
            for r in 0..w.n0 {
                let _ = r;
                for j in 0..2 {
                    let v13 = load(w.x13.add(p * 32 + j * L));
                    let v39t = load(w.q_t.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v40 = mul(v13, v39t); // x40
                    store(w.x40.add(p * w.rows0 * 32 + r * 32).add(j * L), v40);
                    let v15 = load(w.x15.add(p * 32 + j * L));
                    let v43 = mul(v15, v40); // x43
                    store(w.x43.add(p * w.rows0 * 32 + r * 32).add(j * L), v43);
                    let v31 = load(w.x31.add(p * 32 + j * L));
                    let v45 = mul(v31, v40); // x45
                    store(w.x45.add(p * w.rows0 * 32 + r * 32).add(j * L), v45);
                }
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x41, x42, x44, x46.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s10(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += q k^T
            product_across_ahead::<8, 2, false>(&mut acc, w.q.add(r * 32), 32, 32, 1024, w.k_t.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            each!(8, i, {
                let r = r + i;
                let v15r = splat(*w.x15.add(r));
                let v31r = splat(*w.x31.add(r));
                each!(2, j, {
                    let v41 = acc[i][j]; // x41
                    store(w.x41.add(p * 1024 + r * 32).add(j * L), v41);
                    let v11 = load(w.x11.add(p * 1024 + r * 32).add(j * L));
                    let v42 = mul(v41, v11); // x42
                    store(w.x42.add(p * 1024 + r * 32).add(j * L), v42);
                    let v44 = mul(v15r, v42); // x44
                    store(w.x44.add(p * 1024 + r * 32).add(j * L), v44);
                    let v46 = mul(v31r, v42); // x46
                    store(w.x46.add(p * 1024 + r * 32).add(j * L), v46);
                });
            });
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// All of x50.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s11(w: &Work) {
            total_scalar(w.x10, w.x50, 32);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// All of x51.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s12(w: &Work) {
            suffix_scalar(w.x10, w.x51, 32);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x52.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s13(w: &Work, p: usize) {
            for r in 0..32 {
                let _ = r;
                let v51r = splat(*w.x51.add(r));
                for j in 0..2 {
                    let v4 = load(w.k.add(p * 1024 + r * 32).add(j * L));
                    let v52 = mul(v51r, v4); // x52
                    store(w.x52.add(p * 1024 + r * 32).add(j * L), v52);
                }
            }
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x60, x72.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s14(w: &Work, p: usize) {
            let mut s60 = [zero(); 2];
            let mut s72 = [zero(); 2];
            for r in 0..w.n0 {
                let _ = r;
                for j in 0..2 {
                    let v55 = load(w.x55.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v22 = load(w.R.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v58 = mul(v55, v22); // x58
                    s60[j] = add(s60[j], v58);
                    let v54 = load(w.x54.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v0 = load(w.S.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v70 = mul(v54, v0); // x70
                    s72[j] = add(s72[j], v70);
                }
            }
            for j in 0..2 {
                store(w.x60.add(p * 32 + j * L), s60[j]);
            }
            for j in 0..2 {
                store(w.x72.add(p * 32 + j * L), s72[j]);
            }
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x61, x73.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s15(w: &Work) {
            for r in 0..1 {
                let _ = r;
                let mut s61 = zero();
                let mut s73 = zero();
                for p in 0..w.n1 / 32 {
                    for j in 0..2 {
                        let v60 = load(w.x60.add(p * 32 + j * L));
                        s61 = add(s61, v60);
                        let v72 = load(w.x72.add(p * 32 + j * L));
                        s73 = add(s73, v72);
                    }
                }
                for p in w.n1 / 32..w.panels1 {
                    for j in 0..2 {
                        let v60 = load(w.x60.add(p * 32 + j * L));
                        s61 = add(s61, first(v60, w.n1 as isize - (p * 32 + j * L) as isize));
                        let v72 = load(w.x72.add(p * 32 + j * L));
                        s73 = add(s73, first(v72, w.n1 as isize - (p * 32 + j * L) as isize));
                    }
                }
                *w.x61.add(r) = sum(s61);
                *w.x73.add(r) = sum(s73);
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x64, x65, x66, x67, x90.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s16(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += x55^T x38^T
            product_across_ahead::<8, 2, false>(&mut acc, w.x55.add(r * 32), 32, 32, w.rows0 * 32, w.x38_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
            // acc += x54^T x21^T
            product_across_ahead::<8, 2, false>(&mut acc, w.x54.add(r * 32), 32, 32, w.rows0 * 32, w.x21_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
            let mut s67 = [zero(); 2];
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v64 = acc[i][j]; // x64
                    let v4t = load(w.k_t.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v65 = mul(v64, v4t); // x65
                    let v51 = load(w.x51.add(p * 32 + j * L));
                    let v66 = mul(v64, v51); // x66
                    let v87 = load(w.x87.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v39t = load(w.q_t.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v88 = mul(v87, v39t); // x88
                    let v90 = add(v66, v88); // x90
                    store(w.x90.add(p * w.rows0 * 32 + r * 32).add(j * L), v90);
                    if r < w.n0 { s67[j] = add(s67[j], v65); }
                });
            });
            for j in 0..2 {
                store(w.x67.add(p * 32 + j * L), if r == 0 { s67[j] } else { add(load(w.x67.add(p * 32 + j * L)), s67[j]) });
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x68.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s17(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v67 = load(w.x67.add(p * 32 + j * L));
                    let v51 = load(w.x51.add(p * 32 + j * L));
                    let v68 = mul(v67, v51); // x68
                    store(w.x68.add(p * 32).add(j * L), v68);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// All of x69.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s18(w: &Work) {
            sum_before_scalar(w.x68, w.x69, 32);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x74.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s19(w: &Work) {
            let v61 = splat(*w.x61);
            let v73 = splat(*w.x73);
            for r in 0..1 {
                let _ = r;
                for j in 0..1 {
                    let v74 = add(v61, v73); // x74
                    store(w.x74.add(j * L), v74);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x75.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s20(w: &Work) {
            let v74 = splat(*w.x74);
            let v50 = splat(*w.x50);
            for r in 0..1 {
                let _ = r;
                for j in 0..1 {
                    let v75 = mul(v74, v50); // x75
                    store(w.x75.add(j * L), v75);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x76.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s21(w: &Work, p: usize) {
            let v75 = splat(*w.x75);
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v2 = load(w.x2.add(p * 32 + j * L));
                    let v76 = if_nonzero(v2, v75); // x76
                    store(w.x76.add(p * 32).add(j * L), v76);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x77.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s22(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v69 = load(w.x69.add(p * 32 + j * L));
                    let v76 = load(w.x76.add(p * 32 + j * L));
                    let v77 = add(v69, v76); // x77
                    store(w.x77.add(p * 32).add(j * L), v77);
                }
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Sums over lanes: x80.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s23(w: &Work) {
            for r in 0..32 {
                *w.x80.add(r) = sum(load(w.x80_part.add(r * L)));
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Sums over lanes: x83.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s24(w: &Work) {
            for r in 0..32 {
                *w.x83.add(r) = sum(load(w.x83_part.add(r * L)));
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x87.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s25(w: &Work, p: usize) {
            let v85 = splat(0.0);
            for r in 0..w.n0 {
                let _ = r;
                for j in 0..2 {
                    let v80 = load(w.x80.add(p * 32 + j * L));
                    let v4t = load(w.k_t.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v86 = inside(v4t, v85, v85, v85); // x86
                    let v87 = add(v80, v86); // x87
                    store(w.x87.add(p * w.rows0 * 32 + r * 32).add(j * L), v87);
                }
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x91, x93, x95, x96, x97.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s26(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += x53 x38^T
            product_across_ahead::<8, 2, false>(&mut acc, w.x53.add(r * 32), 32, 32, 1024, w.x38_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
            each!(8, i, {
                let r = r + i;
                let mut s97 = zero();
                let v31r = splat(*w.x31.add(r));
                each!(2, j, {
                    let v91 = acc[i][j]; // x91
                    let v93 = below_diagonal(v91, r, p * 32 + j * L); // x93
                    let v42 = load(w.x42.add(p * 1024 + r * 32).add(j * L));
                    let v95 = mul(v93, v42); // x95
                    let v96 = mul(v93, v31r); // x96
                    store(w.x96.add(r * 32).add(j * L), v96);
                    s97 = add(s97, v95);
                });
                let at = w.x97_part.add(r * L);
                store(at, if p == 0 { s97 } else { add(load(at), s97) });
            });
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Sums over lanes: x97.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s27(w: &Work) {
            for r in 0..32 {
                *w.x97.add(r) = sum(load(w.x97_part.add(r * L)));
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x98, x101, x102, x103.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s28(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += R^T x53^T
            product_across_ahead::<8, 2, false>(&mut acc, w.R.add(r * 32), 32, 32, w.rows0 * 32, w.x53_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
            let mut s103 = [zero(); 2];
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v98 = acc[i][j]; // x98
                    let v40 = load(w.x40.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v101 = mul(v98, v40); // x101
                    let v31 = load(w.x31.add(p * 32 + j * L));
                    let v102 = mul(v98, v31); // x102
                    store(w.x102.add(r * 32).add(j * L), v102);
                    if r < w.n0 { s103[j] = add(s103[j], v101); }
                });
            });
            for j in 0..2 {
                store(w.x103.add(p * 32 + j * L), if r == 0 { s103[j] } else { add(load(w.x103.add(p * 32 + j * L)), s103[j]) });
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x104.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s29(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v97 = load(w.x97.add(p * 32 + j * L));
                    let v103 = load(w.x103.add(p * 32 + j * L));
                    let v104 = add(v97, v103); // x104
                    store(w.x104.add(p * 32).add(j * L), v104);
                }
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x105, x107, x109, x110, x111, x112, x121, x122.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s30(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += x53 x21^T
            product_across_ahead::<8, 2, false>(&mut acc, w.x53.add(r * 32), 32, 32, 1024, w.x21_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
            let tile = acc;
            for i in 0..8 {
                let r = r + i;
                let mut s111 = zero();
                let v15r = splat(*w.x15.add(r));
                for j in 0..2 {
                    let v105 = tile[i][j]; // x105
                    let v107 = below_diagonal(v105, r, p * 32 + j * L); // x107
                    let v42 = load(w.x42.add(p * 1024 + r * 32).add(j * L));
                    let v109 = mul(v107, v42); // x109
                    let v110 = mul(v107, v15r); // x110
                    let v96 = load(w.x96.add(r * 32).add(j * L));
                    let v112 = add(v96, v110); // x112
                    let v11 = load(w.x11.add(p * 1024 + r * 32).add(j * L));
                    let v121 = mul(v112, v11); // x121
                    store(w.x121.add(p * 1024 + r * 32).add(j * L), v121);
                    let v41 = load(w.x41.add(p * 1024 + r * 32).add(j * L));
                    let v122 = mul(v112, v41); // x122
                    store(w.x122.add(p * 1024 + r * 32).add(j * L), v122);
                    s111 = add(s111, v109);
                }
                let at = w.x111_part.add(r * L);
                store(at, if p == 0 { s111 } else { add(load(at), s111) });
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Sums over lanes: x111.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s31(w: &Work) {
            for r in 0..32 {
                *w.x111.add(r) = sum(load(w.x111_part.add(r * L)));
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x113, x116, x117, x118, x120, x127, x128, x129.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s32(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += S^T x53^T
            product_across_ahead::<8, 2, false>(&mut acc, w.S.add(r * 32), 32, 32, w.rows0 * 32, w.x53_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
            let mut s118 = [zero(); 2];
            let mut s129 = [zero(); 2];
            let tile = acc;
            for i in 0..8 {
                let r = r + i;
                for j in 0..2 {
                    let v113 = tile[i][j]; // x113
                    let v40 = load(w.x40.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v116 = mul(v113, v40); // x116
                    let v15 = load(w.x15.add(p * 32 + j * L));
                    let v117 = mul(v113, v15); // x117
                    let v102 = load(w.x102.add(r * 32).add(j * L));
                    let v120 = add(v102, v117); // x120
                    let v39t = load(w.q_t.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v127 = mul(v120, v39t); // x127
                    let v13 = load(w.x13.add(p * 32 + j * L));
                    let v128 = mul(v120, v13); // x128
                    store(w.x128.add(r * 32).add(j * L), v128);
                    if r < w.n0 { s118[j] = add(s118[j], v116); }
                    if r < w.n0 { s129[j] = add(s129[j], v127); }
                }
            }
            for j in 0..2 {
                store(w.x118.add(p * 32 + j * L), if r == 0 { s118[j] } else { add(load(w.x118.add(p * 32 + j * L)), s118[j]) });
            }
            for j in 0..2 {
                store(w.x129.add(p * 32 + j * L), if r == 0 { s129[j] } else { add(load(w.x129.add(p * 32 + j * L)), s129[j]) });
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x119.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s33(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v111 = load(w.x111.add(p * 32 + j * L));
                    let v118 = load(w.x118.add(p * 32 + j * L));
                    let v119 = add(v111, v118); // x119
                    store(w.x119.add(p * 32).add(j * L), v119);
                }
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x130.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s34(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x89^T + x128^T
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v87 = load(w.x87.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v4t = load(w.k_t.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v89 = mul(v87, v4t); // x89
                    let v128 = load(w.x128.add(r * 32).add(j * L));
                    acc[i][j] = add(v89, v128);
                });
            });
            // acc += k^T x121^T
            product::<8, 2, false>(&mut acc, w.k.add(r / 32 * 1024 + r % 32), 1, 32, w.x121_t.add(p * 1024), 32, 32);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v130 = acc[i][j]; // x130
                    store(w.x130.add(p * w.rows0 * 32 + r * 32).add(j * L), v130);
                });
            });
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// A block of rows, by substitution, of x132, x133, x136, x137, x147, x148, x149, x152, x153.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s35(w: &Work, p: usize, r: usize) {
            let mut acc0 = zeros::<8, 2>();
            // acc0 = x82
            each!(8, i, {
                let r = r + i;
                let v48r = splat(*w.x48.add(r));
                let v23r = splat(*w.gamma.add(r));
                each!(2, j, {
                    let v53 = load(w.x53.add(p * 1024 + r * 32).add(j * L));
                    let v79 = mul(v53, v48r); // x79
                    let v82 = mul(v79, v23r); // x82
                    acc0[i][j] = v82;
                });
            });
            // acc0 += x52 x55^T
            product_across_ahead::<8, 2, false>(&mut acc0, w.x52.add(r * 32), 32, 32, 1024, w.x55.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            // acc0 += x46^T x53
            product::<8, 2, false>(&mut acc0, w.x46.add(r / 32 * 1024 + r % 32).add((r) * 32), 1, 32, w.x53.add(p * 1024 + (r) * 32), 32, 32 - r);
            // acc0 += x12^T x133, rows after this block
            if r + 8 < 32 {
                product::<8, 2, false>(&mut acc0, w.x12.add(r / 32 * 1024 + r % 32).add((r + 8) * 32), 1, 32, w.x133.add(p * 1024 + (r + 8) * 32), 32, (32usize).saturating_sub(r + 8));
            }
            let m0_0 = w.x12.add(r * 32 + r);
            let v26 = splat(*w.x26);
            let v25 = splat(*w.clip);
            each_back!(8, i, {
                let r = r + i;
                let mut s137 = zero();
                let mut s149 = zero();
                let v33r = splat(*w.x33.add(r));
                let v28r = splat(*w.x28.add(r));
                let mut w0 = [zero(); 2];
                each!(2, j, {
                    let y0 = acc0[i][j];
                    let u0 = mul(v33r, y0);
                    store(w.x133.add(p * 1024 + r * 32).add(j * L), u0);
                    let v35 = load(w.x35.add(p * 1024 + r * 32).add(j * L));
                    let v136 = mul(y0, v35); // x136
                    let v27 = load(w.x27.add(p * 1024 + r * 32).add(j * L));
                    let v147 = mul(y0, v27); // x147
                    let v148 = mul(y0, v28r); // x148
                    let v6 = load(w.v.add(p * w.v_panel + (r) * w.v_row).add(j * L));
                    let v19 = load(w.x19.add(p * 1024 + r * 32).add(j * L));
                    let v24 = sub(v6, v19); // x24
                    let v152 = inside(v24, v26, v25, v148); // x152
                    store(w.x152.add(r * 32).add(j * L), v152);
                    let v153 = neg(v152); // x153
                    store(w.x153.add(r * 32).add(j * L), v153);
                    s137 = add(s137, first(v136, w.n1 as isize - (p * 32 + j * L) as isize));
                    s149 = add(s149, first(v147, w.n1 as isize - (p * 32 + j * L) as isize));
                    w0[j] = u0;
                });
                let at = w.x137_part.add(r * L);
                store(at, if p == 0 { s137 } else { add(load(at), s137) });
                let at = w.x149_part.add(r * L);
                store(at, if p == 0 { s149 } else { add(load(at), s149) });
                // this row's writes into the rows that follow
                each!(8, k, {
                    if k < i {
                        let m = splat(*m0_0.add(k * 1 + i * 32));
                        each!(2, j, {
                            acc0[k][j] = fma(m, w0[j], acc0[k][j]);
                        });
                    }
                });
            });
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// A tile of x134, x135.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s36(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += x133 x38^T, as far as the diagonal
            if r + 8 > p * 32 + L {
                product_across_ahead::<8, 2, false>(&mut acc, w.x133.add(r * 32), 32, 32, 1024, w.x38_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
            } else if r + 8 > p * 32 {
                let mut part = zeros::<8, 1>();
                product_across_ahead::<8, 1, false>(&mut part, w.x133.add(r * 32), 32, 32, 1024, w.x38_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
                each!(8, i, { acc[i][0] = part[i][0]; });
            }
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v134 = acc[i][j]; // x134
                    let v135 = below_diagonal(v134, r, p * 32 + j * L); // x135
                    store(w.x135.add(r * 32).add(j * L), v135);
                });
            });
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// Sums over lanes: x137.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s37(w: &Work) {
            for r in 0..32 {
                *w.x137.add(r) = sum(load(w.x137_part.add(r * L)));
            }
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// Elementwise x138.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s38(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v2 = load(w.x2.add(p * 32 + j * L));
                    let v137 = load(w.x137.add(p * 32 + j * L));
                    let v138 = if_nonzero(v2, v137); // x138
                    store(w.x138.add(p * 32).add(j * L), v138);
                }
            }
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// Elementwise x139, x140, x141.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s39(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v104 = load(w.x104.add(p * 32 + j * L));
                    let v138 = load(w.x138.add(p * 32 + j * L));
                    let v139 = sub(v104, v138); // x139
                    let v15 = load(w.x15.add(p * 32 + j * L));
                    let v140 = mul(v139, v15); // x140
                    store(w.x140.add(p * 32).add(j * L), v140);
                    let v23 = load(w.gamma.add(p * 32 + j * L));
                    let v141 = mul(v139, v23); // x141
                    store(w.x141.add(p * 32).add(j * L), v141);
                }
            }
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// Elementwise x142.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s40(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v83 = load(w.x83.add(p * 32 + j * L));
                    let v140 = load(w.x140.add(p * 32 + j * L));
                    let v142 = add(v83, v140); // x142
                    store(w.x142.add(p * 32).add(j * L), v142);
                }
            }
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// Elementwise x143.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s41(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v119 = load(w.x119.add(p * 32 + j * L));
                    let v141 = load(w.x141.add(p * 32 + j * L));
                    let v143 = add(v119, v141); // x143
                    store(w.x143.add(p * 32).add(j * L), v143);
                }
            }
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// A tile of x146.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s42(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x59^T
            let v50 = splat(*w.x50);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v55 = load(w.x55.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v59 = mul(v55, v50); // x59
                    acc[i][j] = v59;
                });
            });
            // acc += x45^T x53
            product_across::<8, 2, false>(&mut acc, w.x45.add(r * 32), 32, 32, w.rows0 * 32, w.x53.add(p * 1024), 32, 32);
            // acc += x14^T x133
            product::<8, 2, false>(&mut acc, w.x14.add(r / 32 * 1024 + r % 32), 1, 32, w.x133.add(p * 1024), 32, 32);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v146 = acc[i][j]; // x146
                    store(w.x146.add(p * w.rows0 * 32 + r * 32).add(j * L), v146);
                });
            });
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// Sums over lanes: x149.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s43(w: &Work) {
            for r in 0..32 {
                *w.x149.add(r) = sum(load(w.x149_part.add(r * L)));
            }
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// Elementwise x150.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s44(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v2 = load(w.x2.add(p * 32 + j * L));
                    let v149 = load(w.x149.add(p * 32 + j * L));
                    let v150 = if_nonzero(v2, v149); // x150
                    store(w.x150.add(p * 32).add(j * L), v150);
                }
            }
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// Elementwise x151.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s45(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v142 = load(w.x142.add(p * 32 + j * L));
                    let v150 = load(w.x150.add(p * 32 + j * L));
                    let v151 = add(v142, v150); // x151
                    store(w.x151.add(p * 32).add(j * L), v151);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// A block of rows, by substitution, of x155, x156, x160, x161, x189, x190, x191, x192.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s46(w: &Work, p: usize, r: usize) {
            let mut acc0 = zeros::<8, 2>();
            // acc0 += x52 x54^T
            product_across_ahead::<8, 2, false>(&mut acc0, w.x52.add(r * 32), 32, 32, 1024, w.x54.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            // acc0 += x44^T x53
            product::<8, 2, false>(&mut acc0, w.x44.add(r / 32 * 1024 + r % 32).add((r) * 32), 1, 32, w.x53.add(p * 1024 + (r) * 32), 32, 32 - r);
            // acc0 += x12^T x156, rows after this block
            if r + 8 < 32 {
                product::<8, 2, false>(&mut acc0, w.x12.add(r / 32 * 1024 + r % 32).add((r + 8) * 32), 1, 32, w.x156.add(p * 1024 + (r + 8) * 32), 32, (32usize).saturating_sub(r + 8));
            }
            let m0_0 = w.x12.add(r * 32 + r);
            each_back!(8, i, {
                let r = r + i;
                let mut s161 = zero();
                let mut s191 = zero();
                let v18r = splat(*w.x18.add(r));
                let v7r = splat(*w.x7.add(r));
                let mut w0 = [zero(); 2];
                each!(2, j, {
                    let y0 = acc0[i][j];
                    let v153 = load(w.x153.add(r * 32).add(j * L));
                    let u0 = fma(v18r, y0, v153);
                    store(w.x156.add(p * 1024 + r * 32).add(j * L), u0);
                    let v19 = load(w.x19.add(p * 1024 + r * 32).add(j * L));
                    let v160 = mul(y0, v19); // x160
                    let v6 = load(w.v.add(p * w.v_panel + (r) * w.v_row).add(j * L));
                    let v189 = mul(y0, v6); // x189
                    let v190 = mul(y0, v7r); // x190
                    let v152 = load(w.x152.add(r * 32).add(j * L));
                    let v192 = add(v152, v190); // x192
                    store(w.x192.add(p * w.x192_panel + (r) * w.x192_row).add(j * L), v192);
                    s161 = add(s161, first(v160, w.n1 as isize - (p * 32 + j * L) as isize));
                    s191 = add(s191, first(v189, w.n1 as isize - (p * 32 + j * L) as isize));
                    w0[j] = u0;
                });
                let at = w.x161_part.add(r * L);
                store(at, if p == 0 { s161 } else { add(load(at), s161) });
                let at = w.x191_part.add(r * L);
                store(at, if p == 0 { s191 } else { add(load(at), s191) });
                // this row's writes into the rows that follow
                each!(8, k, {
                    if k < i {
                        let m = splat(*m0_0.add(k * 1 + i * 32));
                        each!(2, j, {
                            acc0[k][j] = fma(m, w0[j], acc0[k][j]);
                        });
                    }
                });
            });
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// A tile of x157, x158, x159, x179, x180, x181, x182.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s47(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += x156 x21^T, as far as the diagonal
            if r + 8 > p * 32 + L {
                product_across_ahead::<8, 2, false>(&mut acc, w.x156.add(r * 32), 32, 32, 1024, w.x21_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
            } else if r + 8 > p * 32 {
                let mut part = zeros::<8, 1>();
                product_across_ahead::<8, 1, false>(&mut part, w.x156.add(r * 32), 32, 32, 1024, w.x21_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
                each!(8, i, { acc[i][0] = part[i][0]; });
            }
            let tile = acc;
            for i in 0..8 {
                let r = r + i;
                for j in 0..2 {
                    let v157 = tile[i][j]; // x157
                    let v158 = below_diagonal(v157, r, p * 32 + j * L); // x158
                    let v135 = load(w.x135.add(r * 32).add(j * L));
                    let v159 = add(v135, v158); // x159
                    let v11 = load(w.x11.add(p * 1024 + r * 32).add(j * L));
                    let v179 = mul(v159, v11); // x179
                    store(w.x179.add(p * 1024 + r * 32).add(j * L), v179);
                    let v9 = load(w.x9.add(p * 1024 + r * 32).add(j * L));
                    let v180 = mul(v159, v9); // x180
                    let v122 = load(w.x122.add(p * 1024 + r * 32).add(j * L));
                    let v181 = add(v122, v180); // x181
                    let v182 = mul(v181, v11); // x182
                    store(w.x182.add(p * 1024 + r * 32).add(j * L), v182);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Sums over lanes: x161.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s48(w: &Work) {
            for r in 0..32 {
                *w.x161.add(r) = sum(load(w.x161_part.add(r * L)));
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x162, x163, x164.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s49(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v2 = load(w.x2.add(p * 32 + j * L));
                    let v161 = load(w.x161.add(p * 32 + j * L));
                    let v162 = if_nonzero(v2, v161); // x162
                    let v15 = load(w.x15.add(p * 32 + j * L));
                    let v163 = mul(v162, v15); // x163
                    store(w.x163.add(p * 32).add(j * L), v163);
                    let v5 = load(w.beta.add(p * 32 + j * L));
                    let v164 = mul(v162, v5); // x164
                    store(w.x164.add(p * 32).add(j * L), v164);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x165, x166.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s50(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v143 = load(w.x143.add(p * 32 + j * L));
                    let v164 = load(w.x164.add(p * 32 + j * L));
                    let v165 = sub(v143, v164); // x165
                    let v15 = load(w.x15.add(p * 32 + j * L));
                    let v166 = mul(v165, v15); // x166
                    store(w.x166.add(p * 32).add(j * L), v166);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// A tile of x169, x171, x172, x173.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s51(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += R^T x133^T
            product_across_ahead::<8, 2, false>(&mut acc, w.R.add(r * 32), 32, 32, w.rows0 * 32, w.x133_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
            // acc += S^T x156^T
            product_across_ahead::<8, 2, false>(&mut acc, w.S.add(r * 32), 32, 32, w.rows0 * 32, w.x156_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
            let mut s173 = [zero(); 2];
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v169 = acc[i][j]; // x169
                    let v4t = load(w.k_t.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v171 = mul(v169, v4t); // x171
                    let v13 = load(w.x13.add(p * 32 + j * L));
                    let v172 = mul(v169, v13); // x172
                    store(w.x172.add(p * w.rows0 * 32 + r * 32).add(j * L), v172);
                    if r < w.n0 { s173[j] = add(s173[j], v171); }
                });
            });
            for j in 0..2 {
                store(w.x173.add(p * 32 + j * L), if r == 0 { s173[j] } else { add(load(w.x173.add(p * 32 + j * L)), s173[j]) });
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// A tile of x170.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s52(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x71^T
            let v50 = splat(*w.x50);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v54 = load(w.x54.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v71 = mul(v54, v50); // x71
                    acc[i][j] = v71;
                });
            });
            // acc += x43^T x53
            product_across::<8, 2, false>(&mut acc, w.x43.add(r * 32), 32, 32, w.rows0 * 32, w.x53.add(p * 1024), 32, 32);
            // acc += x14^T x156
            product::<8, 2, false>(&mut acc, w.x14.add(r / 32 * 1024 + r % 32), 1, 32, w.x156.add(p * 1024), 32, 32);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v170 = acc[i][j]; // x170
                    store(w.x170.add(p * w.rows0 * 32 + r * 32).add(j * L), v170);
                });
            });
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x174, x176.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s53(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v129 = load(w.x129.add(p * 32 + j * L));
                    let v173 = load(w.x173.add(p * 32 + j * L));
                    let v174 = add(v129, v173); // x174
                    let v13 = load(w.x13.add(p * 32 + j * L));
                    let v176 = mul(v174, v13); // x176
                    store(w.x176.add(p * 32).add(j * L), v176);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// All of x177.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s54(w: &Work) {
            sum_after_scalar(w.x176, w.x177, 32);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x178.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s55(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v77 = load(w.x77.add(p * 32 + j * L));
                    let v177 = load(w.x177.add(p * 32 + j * L));
                    let v178 = add(v77, v177); // x178
                    store(w.x178.add(p * 32).add(j * L), v178);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// All of x183.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s56(w: &Work) {
            rectangle_sum(w.x182, w.x183, w.x183_tmp, 32, 32);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x184, x195.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s57(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v178 = load(w.x178.add(p * 32 + j * L));
                    let v183 = load(w.x183.add(p * 32 + j * L));
                    let v184 = add(v178, v183); // x184
                    let v2 = load(w.x2.add(p * 32 + j * L));
                    let v195 = if_nonzero(v2, v184); // x195
                    store(w.x195.add(p * 32).add(j * L), v195);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// A tile of x188.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s58(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x90^T + x172^T
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v90 = load(w.x90.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v172 = load(w.x172.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    acc[i][j] = add(v90, v172);
                });
            });
            // acc += q^T x121
            product::<8, 2, false>(&mut acc, w.q.add(r / 32 * 1024 + r % 32), 1, 32, w.x121.add(p * 1024), 32, 32);
            // acc += k^T x179^T
            product::<8, 2, false>(&mut acc, w.k.add(r / 32 * 1024 + r % 32), 1, 32, w.x179_t.add(p * 1024), 32, 32);
            // acc += k^T x179
            product::<8, 2, false>(&mut acc, w.k.add(r / 32 * 1024 + r % 32), 1, 32, w.x179.add(p * 1024), 32, 32);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v188 = acc[i][j]; // x188
                    store(w.x188.add(p * w.rows0 * 32 + r * 32).add(j * L), v188);
                });
            });
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Sums over lanes: x191.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s59(w: &Work) {
            for r in 0..32 {
                *w.x191.add(r) = sum(load(w.x191_part.add(r * L)));
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x193.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s60(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v2 = load(w.x2.add(p * 32 + j * L));
                    let v191 = load(w.x191.add(p * 32 + j * L));
                    let v193 = if_nonzero(v2, v191); // x193
                    store(w.x193.add(p * 32).add(j * L), v193);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x194.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s61(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v193 = load(w.x193.add(p * 32 + j * L));
                    let v163 = load(w.x163.add(p * 32 + j * L));
                    let v194 = sub(v193, v163); // x194
                    store(w.x194.add(p * 32).add(j * L), v194);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x196.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s62(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v166 = load(w.x166.add(p * 32 + j * L));
                    let v195 = load(w.x195.add(p * 32 + j * L));
                    let v196 = add(v166, v195); // x196
                    store(w.x196.add(p * 32).add(j * L), v196);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// The other orientation of k.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s63(w: &Work, p: usize) {
            turn(w.k.add(p * 1024), 32, 32, w.k_t.add(p * 32 * 32), 32, w.rows0 * 32);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// The other orientation of x21.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s64(w: &Work, p: usize) {
            turn(w.x21.add(p * 1024), 32, 32, w.x21_t.add(p * 32 * 32), 32, w.rows1 * 32);
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// The other orientation of x38.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s65(w: &Work, p: usize) {
            turn(w.x38.add(p * 1024), 32, 32, w.x38_t.add(p * 32 * 32), 32, w.rows1 * 32);
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// The other orientation of q.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s66(w: &Work, p: usize) {
            turn(w.q.add(p * 1024), 32, 32, w.q_t.add(p * 32 * 32), 32, w.rows0 * 32);
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// The other orientation of x53.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s67(w: &Work, p: usize) {
            turn(w.x53.add(p * 1024), 32, 32, w.x53_t.add(p * 32 * 32), 32, w.rows1 * 32);
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// The other orientation of x121.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s68(w: &Work, p: usize) {
            turn(w.x121.add(p * 1024), 32, 32, w.x121_t.add(p * 32 * 32), 32, 1024);
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// The other orientation of x130.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s69(w: &Work, p: usize) {
            turn(w.x130.add(p * w.rows0 * 32), w.n0, 32, w.x130_t.add(p * 32 * 32), 32, 1024);
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// The other orientation of x133.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s70(w: &Work, p: usize) {
            turn(w.x133.add(p * 1024), 32, 32, w.x133_t.add(p * 32 * 32), 32, w.rows1 * 32);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// The other orientation of x156.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s71(w: &Work, p: usize) {
            turn(w.x156.add(p * 1024), 32, 32, w.x156_t.add(p * 32 * 32), 32, w.rows1 * 32);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// The other orientation of x179.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s72(w: &Work, p: usize) {
            turn(w.x179.add(p * 1024), 32, 32, w.x179_t.add(p * 32 * 32), 32, 1024);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// The other orientation of x188.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s73(w: &Work, p: usize) {
            turn(w.x188.add(p * w.rows0 * 32), w.n0, 32, w.x188_t.add(p * 32 * 32), 32, 1024);
        }

        /// What depends on no token, once a call.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn once(w: &Work) {
            let _ = w;
            s6(w);
        }

        /// One chunk, packed.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn chunk(w: &Work) {
            for p in 0..1 {
                s0(w, p);
            }
            s2(w);
            s3(w);
            s4(w);
            for p in 0..w.panels1 {
                s5(w, p);
                s7(w, p);
                s64(w, p);
                s67(w, p);
            }
            s11(w);
            s12(w);
            for p in 0..w.panels0 {
                s13(w, p);
                s63(w, p);
                s66(w, p);
            }
            for p in 0..1 {
                for r in (0..32).step_by(8) {
                    s1(w, p, r);
                }
                s9(w, p);
                for r in (0..32).step_by(8) {
                    s10(w, p, r);
                }
            }
            for p in 0..w.panels1 {
                for r in (0..32).step_by(8) {
                    s8(w, p, r);
                }
                s65(w, p);
            }
            s23(w);
            s24(w);
            for p in 0..1 {
                s25(w, p);
                for r in (0..32).step_by(8) {
                    s26(w, p, r);
                }
                for r in (0..32).step_by(8) {
                    s30(w, p, r);
                }
                s68(w, p);
            }
            s27(w);
            s31(w);
            for p in 0..1 {
                for r in (0..w.n0).step_by(8) {
                    s16(w, p, r);
                }
                s17(w, p);
                for r in (0..w.n0).step_by(8) {
                    s28(w, p, r);
                }
                s29(w, p);
                for r in (0..w.n0).step_by(8) {
                    s32(w, p, r);
                }
                s33(w, p);
                for r in (0..w.n0).step_by(8) {
                    s34(w, p, r);
                }
                s69(w, p);
            }
            s18(w);
            for p in 0..w.panels1 {
                s14(w, p);
                for r in (0..32).step_by(8).rev() {
                    s35(w, p, r);
                }
                for r in (0..w.n0).step_by(8) {
                    s42(w, p, r);
                }
                for r in (0..32).step_by(8).rev() {
                    s46(w, p, r);
                }
                for r in (0..w.n0).step_by(8) {
                    s52(w, p, r);
                }
                s70(w, p);
                s71(w, p);
            }
            s15(w);
            s19(w);
            s20(w);
            for p in 0..1 {
                s21(w, p);
                s22(w, p);
                for r in (0..32).step_by(8) {
                    s36(w, p, r);
                }
                for r in (0..32).step_by(8) {
                    s47(w, p, r);
                }
                for r in (0..w.n0).step_by(8) {
                    s51(w, p, r);
                }
                s53(w, p);
                s72(w, p);
            }
            s37(w);
            for p in 0..1 {
                s38(w, p);
                s39(w, p);
                s40(w, p);
                s41(w, p);
                for r in (0..w.n0).step_by(8) {
                    s58(w, p, r);
                }
                s73(w, p);
            }
            s43(w);
            for p in 0..1 {
                s44(w, p);
                s45(w, p);
            }
            s48(w);
            for p in 0..1 {
                s49(w, p);
                s50(w, p);
            }
            s54(w);
            for p in 0..1 {
                s55(w, p);
            }
            s56(w);
            for p in 0..1 {
                s57(w, p);
                s62(w, p);
            }
            s59(w);
            for p in 0..1 {
                s60(w, p);
                s61(w, p);
            }
        }

        /// Reads the chunk that starts at token `t0` and has `valid` tokens.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn read_chunk(w: &Work, x: &Args, t0: usize, valid: usize) {
            let _ = (w, x, t0, valid);
            pack_scalars(&*x.inputs.add(3), t0, valid, 32, w.g);
            for t in 0..32 {
                *w.x2.add(t) = if t < valid { 1.0 } else { 0.0 };
            }
            pack(&*x.inputs.add(1), t0, valid, 32, w.n0, w.k, 32, 1024);
            pack_scalars(&*x.inputs.add(4), t0, valid, 32, w.beta);
            if w.v == w.v_own { pack(&*x.inputs.add(2), t0, valid, 32, w.n1, w.v, 32, w.v_panel); }
            pack_scalars(&*x.inputs.add(5), t0, valid, 32, w.gamma);
            pack(&*x.inputs.add(0), t0, valid, 32, w.n0, w.q, 32, 1024);
            pack_or_zero(&*x.output_grads.add(0), t0, valid, 32, w.n1, w.x53, 32, 1024);
        }

        /// Writes the chunk's results.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn write_chunk(w: &Work, x: &Args, t0: usize, valid: usize) {
            let _ = (w, x, t0, valid);
            unpack_streamed(&*x.input_grads.add(0), t0, valid, w.n0, w.x130_t, 32, 1024);
            unpack_streamed(&*x.input_grads.add(1), t0, valid, w.n0, w.x188_t, 32, 1024);
            if w.x192 == w.x192_own { unpack_streamed(&*x.input_grads.add(2), t0, valid, w.n1, w.x192, 32, w.x192_panel); }
            unpack_scalars(&*x.input_grads.add(3), t0, valid, w.x196);
            unpack_scalars(&*x.input_grads.add(4), t0, valid, w.x194);
            unpack_scalars(&*x.input_grads.add(5), t0, valid, w.x151);
        }

        /// Lists the rows of the chunk at token `t0`, to be fetched during the chunk before it.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn fetch(w: &Work, x: &Args, t0: usize) -> Ahead {
            let rows = (x.tokens - t0).min(32);
            let list = w.list as *mut (*const f32, usize);
            let mut count = 0;
            fetch_rows(list, &mut count, &*x.inputs.add(1), t0, rows, w.n0);
            fetch_rows(list, &mut count, &*x.inputs.add(2), t0, rows, w.n1);
            fetch_rows(list, &mut count, &*x.inputs.add(0), t0, rows, w.n0);
            fetch_rows(list, &mut count, &*x.output_grads.add(0), t0, rows, w.n1);
            if !streams(&*x.input_grads.add(0), w.n0, 32) { fetch_rows(list, &mut count, &*x.input_grads.add(0), t0, rows, w.n0); }
            if !streams(&*x.input_grads.add(1), w.n0, 32) { fetch_rows(list, &mut count, &*x.input_grads.add(1), t0, rows, w.n0); }
            fetch_rows(list, &mut count, &*x.input_grads.add(2), t0, rows, w.n1);
            let kept = kept(w);
            fetch_block(list, &mut count, x.saved.add(t0 / 32 * kept), kept);
            // requests that this chunk's products make
            let requests = 2 * 1 * 4 * (w.n0 / 4) + 4 * 1 * 4 * (w.n1 / 4) + 6 * 1 * w.n0.div_ceil(8) * (w.n1 / 4) + 2 * w.panels1 * 4 * (w.n0 / 4);
            Ahead::list(list, count, requests)
        }

        /// The whole pass over one sequence and head.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        pub unsafe fn run(x: &Args) {
            let (mut w, _) = Work::new(x.sizes, x.scratch);
            let mut ahead = Ahead::nothing(x.scratch);
            w.ahead = &mut ahead;
            w.clip = x.constants.add(0) as *mut f32;
            once(&w);
            load_state(&*x.state_grads_in.add(0), false, w.n1, w.n0, w.state0, 32, w.rows0);
            load_state(&*x.state_grads_in.add(1), false, w.n1, w.n0, w.state1, 32, w.rows0);
            let chunks = x.tokens.div_ceil(32);
            for c in (0..chunks).rev() {
                let t0 = c * 32;
                let valid = (x.tokens - t0).min(32);
                let kept = kept(&w);
                let here = x.saved.add(c * kept);
                let start0 = here;
                let start1 = here.add(lines(w.panels1 * w.rows0 * 32));
                let saved0 = here.add(lines(w.panels1 * w.rows0 * 32) + lines(w.panels1 * w.rows0 * 32));
                let saved1 = here.add(lines(w.panels1 * w.rows0 * 32) + lines(w.panels1 * w.rows0 * 32) + lines(w.panels1 * 32 * 32));
                let _ = (start0, start1, saved0, saved1,);
                w.x54 = w.state0;
                let next0 = w.state0;
                w.x55 = w.state1;
                let next1 = w.state1;
                w.x146 = next1;
                w.x170 = next0;
                w.S = start0;
                w.x19 = saved0;
                w.R = start1;
                w.x30 = saved1;
                (w.v, w.v_panel, w.v_row) = place(&*x.inputs.add(2), t0, valid == 32, w.n1, 32, w.v_own, 1024);
                (w.x192, w.x192_panel, w.x192_row) = place(&*x.input_grads.add(2), t0, valid == 32, w.n1, 32, w.x192_own, 1024);
                read_chunk(&w, x, t0, valid);
                ahead = if c > 0 { fetch(&w, x, t0 - 32) } else { Ahead::nothing(x.scratch) };
                chunk(&w);
                write_chunk(&w, x, t0, valid);
            }
            fence();
            store_state(&*x.state_grads_out.add(0), false, w.n1, w.n0, w.state0, 32, w.rows0);
            store_state(&*x.state_grads_out.add(1), false, w.n1, w.n0, w.state1, 32, w.rows0);
        }
    }

    mod forward_bf16 {
        use super::abi::*;
        use super::bf16::*;
        use super::decay::*;
        use super::math::*;
        use super::pack::*;
        use super::rows::*;
        use super::simd::*;
        use super::tile::*;

        /// Sizes, and where each value of a chunk lies.
        #[derive(Clone, Copy)]
        struct Work {
            n0: usize,
            panels0: usize,
            rows0: usize,
            n1: usize,
            panels1: usize,
            rows1: usize,
            ahead: *mut Ahead,
            g: *mut f32,
            x2: *mut f32,
            beta: *mut f32,
            x7: *mut f32,
            x10: *mut f32,
            x11: *mut f32,
            x12: *mut f32,
            x13: *mut f32,
            x16: *mut f32,
            x19: *mut f32,
            x22: *mut f32,
            gamma: *mut f32,
            x27: *mut f32,
            x29: *mut f32,
            x30: *mut f32,
            x33: *mut f32,
            x35: *mut f32,
            x37: *mut f32,
            x42: *mut f32,
            x44: *mut f32,
            x48: *mut f32,
            x50: *mut f32,
            x54: *mut f32,
            x56: *mut f32,
            x58_own: *mut f32,
            x59: *mut f32,
            x61: *mut f32,
            S_pairs: *mut f32,
            k_pairs: *mut f32,
            k_bf16: *mut f32,
            k_t_pairs: *mut f32,
            v_bf16_own: *mut f32,
            R_pairs: *mut f32,
            q_bf16: *mut f32,
            x62_pairs: *mut f32,
            x66_pairs: *mut f32,
            list: *mut f32,
            x64: *mut f32,
            x68: *mut f32,
            x64_pairs: *mut f32,
            x68_pairs: *mut f32,
            S: *mut f32,
            R: *mut f32,
            clip: *mut f32,
            x58: *mut f32,
            v_bf16: *mut f32,
            x58_panel: usize,
            x58_row: usize,
            v_bf16_panel: usize,
            v_bf16_row: usize,
            state0: *mut f32,
            state1: *mut f32,
        }

        impl Work {
            /// Lays the working memory out from `base` on; also the floats it takes.
            unsafe fn new(n: *const usize, base: *mut f32) -> (Work, usize) {
                let mut used = 0;
                let none = core::ptr::null_mut::<f32>();
                let mut w = Work {
                    n0: *n.add(0),
                    panels0: (*n.add(0)).div_ceil(32),
                    rows0: (*n.add(0)).next_multiple_of(32),
                    n1: *n.add(1),
                    panels1: (*n.add(1)).div_ceil(32),
                    rows1: (*n.add(1)).next_multiple_of(32),
                    ahead: core::ptr::null_mut(),
                    g: none,
                    x2: none,
                    beta: none,
                    x7: none,
                    x10: none,
                    x11: none,
                    x12: none,
                    x13: none,
                    x16: none,
                    x19: none,
                    x22: none,
                    gamma: none,
                    x27: none,
                    x29: none,
                    x30: none,
                    x33: none,
                    x35: none,
                    x37: none,
                    x42: none,
                    x44: none,
                    x48: none,
                    x50: none,
                    x54: none,
                    x56: none,
                    x58_own: none,
                    x59: none,
                    x61: none,
                    S_pairs: none,
                    k_pairs: none,
                    k_bf16: none,
                    k_t_pairs: none,
                    v_bf16_own: none,
                    R_pairs: none,
                    q_bf16: none,
                    x62_pairs: none,
                    x66_pairs: none,
                    list: none,
                    x64: none,
                    x68: none,
                    x64_pairs: none,
                    x68_pairs: none,
                    S: none,
                    R: none,
                    clip: none,
                    x58: none,
                    v_bf16: none,
                    x58_panel: 0,
                    x58_row: 0,
                    v_bf16_panel: 0,
                    v_bf16_row: 0,
                    state0: none,
                    state1: none,
                };
                w.g = take(base, &mut used, 1 * 32);
                w.x2 = take(base, &mut used, 1 * 32);
                w.beta = take(base, &mut used, 1 * 32);
                w.x7 = take(base, &mut used, 1 * 32);
                w.x10 = take(base, &mut used, 1 * 32);
                w.x11 = take(base, &mut used, 1 * 1024);
                w.x12 = take(base, &mut used, 1 * 1024);
                w.x16 = take(base, &mut used, 1 * 32);
                w.x19 = take(base, &mut used, 1 * 32);
                w.x22 = take(base, &mut used, 32 * 32);
                w.gamma = take(base, &mut used, 1 * 32);
                w.x27 = take(base, &mut used, 1 * 16);
                w.x29 = take(base, &mut used, 1 * 32);
                w.x30 = take(base, &mut used, 32 * 32);
                w.x33 = take(base, &mut used, 1 * 32);
                w.x35 = take(base, &mut used, 1 * 32);
                w.x37 = take(base, &mut used, 32 * 32);
                w.x44 = take(base, &mut used, 1 * 1024);
                w.x50 = take(base, &mut used, 1 * 1024);
                w.x54 = take(base, &mut used, 1 * 32);
                w.x56 = take(base, &mut used, 32 * 32);
                w.x58_own = take(base, &mut used, w.panels1 * 1024);
                w.x59 = take(base, &mut used, 1 * 16);
                w.x61 = take(base, &mut used, 1 * 32);
                w.S_pairs = take(base, &mut used, w.panels1 * w.rows0 * 16);
                w.k_pairs = take(base, &mut used, w.panels0 * 512);
                w.k_bf16 = take(base, &mut used, w.panels0 * 512);
                w.k_t_pairs = take(base, &mut used, 1 * w.rows0 * 16);
                w.v_bf16_own = take(base, &mut used, w.panels1 * 512);
                w.R_pairs = take(base, &mut used, w.panels1 * w.rows0 * 16);
                w.q_bf16 = take(base, &mut used, w.panels0 * 512);
                w.x62_pairs = take(base, &mut used, 512);
                w.x66_pairs = take(base, &mut used, 512);
                w.list = take(base, &mut used, 520);
                // values that are never alive together share a place
                w.x13 = w.beta;
                w.x42 = w.x2;
                w.x48 = w.g;
                w.x64_pairs = w.S_pairs;
                w.x68_pairs = w.R_pairs;
                w.state0 = take(base, &mut used, w.panels1 * w.rows0 * 32);
                w.state1 = take(base, &mut used, w.panels1 * w.rows0 * 32);
                (w, used)
            }
        }

        /// Floats of working memory.
        pub unsafe fn scratch(n: *const usize) -> usize {
            Work::new(n, core::ptr::null_mut()).1
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// Elementwise x3, x7, x10, x16, x17, x18, x19, x29, x33, x34, x35.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s0(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v2 = load(w.x2.add(p * 32 + j * L));
                    let v1 = load(w.g.add(p * 32 + j * L));
                    let v3 = if_nonzero(v2, v1); // x3
                    let v5 = load(w.beta.add(p * 32 + j * L));
                    let v7 = if_nonzero(v2, v5); // x7
                    store(w.x7.add(p * 32).add(j * L), v7);
                    let v10 = exp(v3); // x10
                    store(w.x10.add(p * 32).add(j * L), v10);
                    let v16 = exp(v1); // x16
                    store(w.x16.add(p * 32).add(j * L), v16);
                    let v17 = mul(v5, v16); // x17
                    let v18 = if_nonzero(v2, v17); // x18
                    let v19 = neg(v18); // x19
                    store(w.x19.add(p * 32).add(j * L), v19);
                    let v24 = load(w.gamma.add(p * 32 + j * L));
                    let v29 = if_nonzero(v2, v24); // x29
                    store(w.x29.add(p * 32).add(j * L), v29);
                    let v33 = mul(v24, v16); // x33
                    store(w.x33.add(p * 32).add(j * L), v33);
                    let v34 = if_nonzero(v2, v33); // x34
                    let v35 = neg(v34); // x35
                    store(w.x35.add(p * 32).add(j * L), v35);
                }
            }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// A tile of x9, x12.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s1(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += k k^T, as far as the diagonal
            if r + 8 > p * 32 + L {
                product_pairs_across::<8, 2, false>(&mut acc, w.k_bf16.add(r * 16), 16, 16, 512, w.k_t_pairs.add(p * w.rows0 * 16), 32, w.n0, Some(&mut *w.ahead));
            } else if r + 8 > p * 32 {
                let mut part = zeros::<8, 1>();
                product_pairs_across::<8, 1, false>(&mut part, w.k_bf16.add(r * 16), 16, 16, 512, w.k_t_pairs.add(p * w.rows0 * 16), 32, w.n0, Some(&mut *w.ahead));
                each!(8, i, { acc[i][0] = part[i][0]; });
            }
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v9 = acc[i][j]; // x9
                    let v11 = load(w.x11.add(p * 1024 + r * 32).add(j * L));
                    let v12 = mul(v9, v11); // x12
                    store(w.x12.add(p * 1024 + r * 32).add(j * L), v12);
                });
            });
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// All of x11.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s2(w: &Work) {
            segment(w.x10, w.x11, 32, 32);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// All of x13.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s3(w: &Work) {
            prefix_scalar(w.x10, w.x13, 32);
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// A block of rows, by substitution, of x21, x22, x25, x28, x30, x62.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s4(w: &Work, p: usize, r: usize) {
            let mut acc0 = zeros::<8, 2>();
            // acc0 = x13 (k S^T)
            product_pairs_across::<8, 2, false>(&mut acc0, w.k_bf16.add(r * 16), 16, 16, 512, w.S_pairs.add(p * w.rows0 * 16), 32, w.n0, Some(&mut *w.ahead));
            each!(8, i, {
                let r = r + i;
                let v13r = splat(*w.x13.add(r));
                each!(2, j, {
                    acc0[i][j] = mul(v13r, acc0[i][j]);
                });
            });
            // acc0 += x12 x22, rows before this block
            if r > 0 {
                product_across::<8, 2, false>(&mut acc0, w.x12.add(r * 32), 32, 32, 1024, w.x22, 32, r);
            }
            let m0_0 = w.x12.add(r * 32 + r);
            let v27 = splat(*w.x27);
            let v26 = splat(*w.clip);
            let mut h62 = [zero(); 2];
            each!(8, i, {
                let r = r + i;
                let v7r = splat(*w.x7.add(r));
                let v19r = splat(*w.x19.add(r));
                let v29r = splat(*w.x29.add(r));
                let v61r = splat(*w.x61.add(r));
                let mut w0 = [zero(); 2];
                each!(2, j, {
                    let y0 = acc0[i][j];
                    let v6 = load_bf16(w.v_bf16.add(p * w.v_bf16_panel + (r) * w.v_bf16_row).add(j * L / 2));
                    let v8 = mul(v7r, v6); // x8
                    let u0 = fma(v19r, y0, v8);
                    store(w.x22.add(r * 32).add(j * L), u0);
                    let v25 = sub(v6, y0); // x25
                    let v28 = clamp(v25, v27, v26); // x28
                    let v30 = mul(v29r, v28); // x30
                    store(w.x30.add(r * 32).add(j * L), v30);
                    let v62 = mul(v61r, u0); // x62
                    if i % 2 == 0 { h62[j] = v62; } else { store(w.x62_pairs.add((r / 2) * 32).add(j * L), pair(h62[j], v62)); }
                    w0[j] = u0;
                });
                // this row's writes into the rows that follow
                each!(8, k, {
                    if k > i {
                        let m = splat(*m0_0.add(k * 32 + i * 1));
                        each!(2, j, {
                            acc0[k][j] = fma(m, w0[j], acc0[k][j]);
                        });
                    }
                });
            });
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// Elementwise x27.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s5(w: &Work) {
            let v26 = splat(*w.clip);
            for r in 0..1 {
                let _ = r;
                for j in 0..1 {
                    let v27 = neg(v26); // x27
                    store(w.x27.add(j * L), v27);
                }
            }
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A block of rows, by substitution, of x37, x55, x56, x66.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s6(w: &Work, p: usize, r: usize) {
            let mut acc0 = zeros::<8, 2>();
            // acc0 = x13 (k R^T)
            product_pairs_across::<8, 2, false>(&mut acc0, w.k_bf16.add(r * 16), 16, 16, 512, w.R_pairs.add(p * w.rows0 * 16), 32, w.n0, Some(&mut *w.ahead));
            each!(8, i, {
                let r = r + i;
                let v13r = splat(*w.x13.add(r));
                each!(2, j, {
                    acc0[i][j] = mul(v13r, acc0[i][j]);
                });
            });
            // acc0 += x12 x37, rows before this block
            if r > 0 {
                product_across::<8, 2, false>(&mut acc0, w.x12.add(r * 32), 32, 32, 1024, w.x37, 32, r);
            }
            let m0_0 = w.x12.add(r * 32 + r);
            let mut h66 = [zero(); 2];
            each!(8, i, {
                let r = r + i;
                let v35r = splat(*w.x35.add(r));
                let v24r = splat(*w.gamma.add(r));
                let v54r = splat(*w.x54.add(r));
                let v61r = splat(*w.x61.add(r));
                let mut w0 = [zero(); 2];
                each!(2, j, {
                    let y0 = acc0[i][j];
                    let v30 = load(w.x30.add(r * 32).add(j * L));
                    let u0 = fma(v35r, y0, v30);
                    store(w.x37.add(r * 32).add(j * L), u0);
                    let v55 = mul(v24r, u0); // x55
                    let v56 = mul(v54r, v55); // x56
                    store(w.x56.add(r * 32).add(j * L), v56);
                    let v66 = mul(v61r, u0); // x66
                    if i % 2 == 0 { h66[j] = v66; } else { store(w.x66_pairs.add((r / 2) * 32).add(j * L), pair(h66[j], v66)); }
                    w0[j] = u0;
                });
                // this row's writes into the rows that follow
                each!(8, k, {
                    if k > i {
                        let m = splat(*m0_0.add(k * 32 + i * 1));
                        each!(2, j, {
                            acc0[k][j] = fma(m, w0[j], acc0[k][j]);
                        });
                    }
                });
            });
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x39, x40, x44, x50.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s7(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += q k^T, as far as the diagonal
            if r + 8 > p * 32 + L {
                product_pairs_across::<8, 2, false>(&mut acc, w.q_bf16.add(r * 16), 16, 16, 512, w.k_t_pairs.add(p * w.rows0 * 16), 32, w.n0, Some(&mut *w.ahead));
            } else if r + 8 > p * 32 {
                let mut part = zeros::<8, 1>();
                product_pairs_across::<8, 1, false>(&mut part, w.q_bf16.add(r * 16), 16, 16, 512, w.k_t_pairs.add(p * w.rows0 * 16), 32, w.n0, Some(&mut *w.ahead));
                each!(8, i, { acc[i][0] = part[i][0]; });
            }
            each!(8, i, {
                let r = r + i;
                let v16r = splat(*w.x16.add(r));
                let v33r = splat(*w.x33.add(r));
                each!(2, j, {
                    let v39 = acc[i][j]; // x39
                    let v11 = load(w.x11.add(p * 1024 + r * 32).add(j * L));
                    let v40 = mul(v39, v11); // x40
                    let v44 = mul(v16r, v40); // x44
                    store(w.x44.add(p * 1024 + r * 32).add(j * L), v44);
                    let v50 = mul(v33r, v40); // x50
                    store(w.x50.add(p * 1024 + r * 32).add(j * L), v50);
                });
            });
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x42, x48.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s8(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v16 = load(w.x16.add(p * 32 + j * L));
                    let v13 = load(w.x13.add(p * 32 + j * L));
                    let v42 = mul(v16, v13); // x42
                    store(w.x42.add(p * 32).add(j * L), v42);
                    let v33 = load(w.x33.add(p * 32 + j * L));
                    let v48 = mul(v33, v13); // x48
                    store(w.x48.add(p * 32).add(j * L), v48);
                }
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x54.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s9(w: &Work) {
            for r in 0..32 {
                let _ = r;
                let mut s54 = zero();
                for p in 0..w.n0 / 32 {
                    for j in 0..2 {
                        let v4 = load_bf16(w.k_bf16.add(p * 512 + r * 16).add(j * L / 2));
                        let v38 = load_bf16(w.q_bf16.add(p * 512 + r * 16).add(j * L / 2));
                        let v53 = mul(v4, v38); // x53
                        s54 = add(s54, v53);
                    }
                }
                for p in w.n0 / 32..w.panels0 {
                    for j in 0..2 {
                        let v4 = load_bf16(w.k_bf16.add(p * 512 + r * 16).add(j * L / 2));
                        let v38 = load_bf16(w.q_bf16.add(p * 512 + r * 16).add(j * L / 2));
                        let v53 = mul(v4, v38); // x53
                        s54 = add(s54, first(v53, w.n0 as isize - (p * 32 + j * L) as isize));
                    }
                }
                *w.x54.add(r) = sum(s54);
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x58.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s10(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x42 (q S^T)
            product_pairs_across::<8, 2, false>(&mut acc, w.q_bf16.add(r * 16), 16, 16, 512, w.S_pairs.add(p * w.rows0 * 16), 32, w.n0, Some(&mut *w.ahead));
            // acc += x56
            each!(8, i, {
                let r = r + i;
                let v42r = splat(*w.x42.add(r));
                each!(2, j, {
                    let v56 = load(w.x56.add(r * 32).add(j * L));
                    acc[i][j] = fma(v42r, acc[i][j], v56);
                });
            });
            // acc += x48 (q R^T)
            let mut part = zeros::<8, 2>();
            product_pairs_across::<8, 2, false>(&mut part, w.q_bf16.add(r * 16), 16, 16, 512, w.R_pairs.add(p * w.rows0 * 16), 32, w.n0, Some(&mut *w.ahead));
            each!(8, i, {
                let r = r + i;
                let v48r = splat(*w.x48.add(r));
                each!(2, j, {
                    acc[i][j] = fma(v48r, part[i][j], acc[i][j]);
                });
            });
            // acc += x44 x22
            product_across::<8, 2, false>(&mut acc, w.x44.add(r * 32), 32, 32, 1024, w.x22, 32, (32).min(r + 8));
            // acc += x50 x37
            product_across::<8, 2, false>(&mut acc, w.x50.add(r * 32), 32, 32, 1024, w.x37, 32, (32).min(r + 8));
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v58 = acc[i][j]; // x58
                    store(w.x58.add(p * w.x58_panel + (r) * w.x58_row).add(j * L), v58);
                });
            });
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// All of x59.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s11(w: &Work) {
            total_scalar(w.x10, w.x59, 32);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// All of x61.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s12(w: &Work) {
            suffix_scalar(w.x10, w.x61, 32);
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// A tile of x64.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s13(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x60^T
            let v59 = splat(*w.x59);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v0 = load(w.S.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v60 = mul(v59, v0); // x60
                    acc[i][j] = v60;
                });
            });
            // acc += k^T x62^T
            product_pairs::<8, 2, false>(&mut acc, w.k_pairs.add(r / 32 * 512 + r % 32), 1, 32, w.x62_pairs, 32, 32, None);
            let mut h64 = [zero(); 2];
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v64 = acc[i][j]; // x64
                    if i % 2 == 0 { h64[j] = v64; } else { store(w.x64_pairs.add(p * w.rows0 * 16 + (r / 2) * 32).add(j * L), pair(h64[j], v64)); }
                    store(w.x64.add(p * w.rows0 * 32 + r * 32).add(j * L), v64);
                });
            });
            if w.n0 % 2 == 1 && r <= w.n0 && w.n0 < r + 8 { end_pairs(w.x64_pairs.add(p * w.rows0 * 16 + (w.n0 / 2) * 32), 2); }
        }

        /// From `R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T`.
        /// A tile of x68.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s14(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x65^T
            let v59 = splat(*w.x59);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v23 = load(w.R.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v65 = mul(v59, v23); // x65
                    acc[i][j] = v65;
                });
            });
            // acc += k^T x66^T
            product_pairs::<8, 2, false>(&mut acc, w.k_pairs.add(r / 32 * 512 + r % 32), 1, 32, w.x66_pairs, 32, 32, None);
            let mut h68 = [zero(); 2];
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v68 = acc[i][j]; // x68
                    if i % 2 == 0 { h68[j] = v68; } else { store(w.x68_pairs.add(p * w.rows0 * 16 + (r / 2) * 32).add(j * L), pair(h68[j], v68)); }
                    store(w.x68.add(p * w.rows0 * 32 + r * 32).add(j * L), v68);
                });
            });
            if w.n0 % 2 == 1 && r <= w.n0 && w.n0 < r + 8 { end_pairs(w.x68_pairs.add(p * w.rows0 * 16 + (w.n0 / 2) * 32), 2); }
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// A copy in bf16 of k.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s15(w: &Work, p: usize) {
            pair_rows(w.k_bf16.add(p * 512), 32, 32, w.k_pairs.add(p * 512));
        }

        /// From `S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T`.
        /// A copy in bf16, in the other orientation, of k.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s16(w: &Work, p: usize) {
            turn(w.k_bf16.add(p * 512), 32, 16, w.k_t_pairs.add(p * 512), 32, w.rows0 * 16);
        }

        /// What depends on no token, once a call.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn once(w: &Work) {
            let _ = w;
            s5(w);
        }

        /// One chunk, packed.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn chunk(w: &Work) {
            for p in 0..1 {
                s0(w, p);
            }
            s2(w);
            s3(w);
            for p in 0..1 {
                s8(w, p);
            }
            s9(w);
            s11(w);
            s12(w);
            for p in 0..w.panels0 {
                s15(w, p);
                s16(w, p);
            }
            for p in 0..1 {
                for r in (0..32).step_by(8) {
                    s1(w, p, r);
                }
                for r in (0..32).step_by(8) {
                    s7(w, p, r);
                }
            }
            for p in 0..w.panels1 {
                for r in (0..32).step_by(8) {
                    s4(w, p, r);
                }
                for r in (0..32).step_by(8) {
                    s6(w, p, r);
                }
                for r in (0..32).step_by(8) {
                    s10(w, p, r);
                }
                for r in (0..w.n0).step_by(8) {
                    s13(w, p, r);
                }
                for r in (0..w.n0).step_by(8) {
                    s14(w, p, r);
                }
            }
        }

        /// Reads the chunk that starts at token `t0` and has `valid` tokens.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn read_chunk(w: &Work, x: &Args, t0: usize, valid: usize) {
            let _ = (w, x, t0, valid);
            pack_scalars(&*x.inputs.add(3), t0, valid, 32, w.g);
            for t in 0..32 {
                *w.x2.add(t) = if t < valid { 1.0 } else { 0.0 };
            }
            read_bf16(&*x.inputs.add(1), t0, valid, 32, w.n0, w.k_bf16, 16, 512);
            pack_scalars(&*x.inputs.add(4), t0, valid, 32, w.beta);
            if w.v_bf16 == w.v_bf16_own { read_bf16(&*x.inputs.add(2), t0, valid, 32, w.n1, w.v_bf16, 16, w.v_bf16_panel); }
            pack_scalars(&*x.inputs.add(5), t0, valid, 32, w.gamma);
            read_bf16(&*x.inputs.add(0), t0, valid, 32, w.n0, w.q_bf16, 16, 512);
        }

        /// Writes the chunk's results.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn write_chunk(w: &Work, x: &Args, t0: usize, valid: usize) {
            let _ = (w, x, t0, valid);
            if w.x58 == w.x58_own { write_rows(&*x.outputs.add(0), t0, valid, w.n1, w.x58, 32, w.x58_panel); }
        }

        /// Lists the rows of the chunk at token `t0`, to be fetched during the chunk before it.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn fetch(w: &Work, x: &Args, t0: usize) -> Ahead {
            let rows = (x.tokens - t0).min(32);
            let list = w.list as *mut (*const f32, usize);
            let mut count = 0;
            fetch_rows(list, &mut count, &*x.inputs.add(1), t0, rows, w.n0);
            fetch_rows(list, &mut count, &*x.inputs.add(2), t0, rows, w.n1);
            fetch_rows(list, &mut count, &*x.inputs.add(0), t0, rows, w.n0);
            fetch_rows(list, &mut count, &*x.outputs.add(0), t0, rows, w.n1);
            // requests that this chunk's products make
            let requests = 2 * 1 * 4 * (w.n0 / 8) + 4 * w.panels1 * 4 * (w.n0 / 8);
            Ahead::list(list, count, requests)
        }

        /// The whole pass over one sequence and head.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        pub unsafe fn run(x: &Args) {
            let (mut w, _) = Work::new(x.sizes, x.scratch);
            let mut ahead = Ahead::nothing(x.scratch);
            w.ahead = &mut ahead;
            w.clip = x.constants.add(0) as *mut f32;
            once(&w);
            load_state(&*x.states_in.add(0), false, w.n1, w.n0, w.state0, 32, w.rows0);
            load_state(&*x.states_in.add(1), false, w.n1, w.n0, w.state1, 32, w.rows0);
            for p in 0..w.panels1 {
                pack_pairs(w.state0.add(p * w.rows0 * 32), w.n0, 32, w.S_pairs.add(p * w.rows0 * 16));
            }
            for p in 0..w.panels1 {
                pack_pairs(w.state1.add(p * w.rows0 * 32), w.n0, 32, w.R_pairs.add(p * w.rows0 * 16));
            }
            let chunks = x.tokens.div_ceil(32);
            for c in 0..chunks {
                let t0 = c * 32;
                let valid = (x.tokens - t0).min(32);
                w.S = w.state0;
                let next0 = w.state0;
                w.R = w.state1;
                let next1 = w.state1;
                w.x64 = next0;
                w.x68 = next1;
                (w.x58, w.x58_panel, w.x58_row) = place(&*x.outputs.add(0), t0, valid == 32, w.n1, 32, w.x58_own, 1024);
                (w.v_bf16, w.v_bf16_panel, w.v_bf16_row) = place_bf16(&*x.inputs.add(2), t0, valid == 32, w.n1, 16, w.v_bf16_own, 512);
                read_chunk(&w, x, t0, valid);
                ahead = if c + 1 < chunks { fetch(&w, x, t0 + 32) } else { Ahead::nothing(x.scratch) };
                chunk(&w);
                write_chunk(&w, x, t0, valid);
            }
            store_state(&*x.states_out.add(0), false, w.n1, w.n0, w.state0, 32, w.rows0);
            store_state(&*x.states_out.add(1), false, w.n1, w.n0, w.state1, 32, w.rows0);
        }
    }

    unsafe extern "C" fn forward_entry(x: *const abi::Args) {
        // SAFETY: the caller passes valid arguments, on a machine with this level's features.
        unsafe {
            if !(*x).saved.is_null() {
                return forward_save::run(&*x);
            }
            forward::run(&*x)
        }
    }

    unsafe extern "C" fn forward_bf16_entry(x: *const abi::Args) {
        // SAFETY: as for forward, on a machine that has avx512bf16 too.
        unsafe { forward_bf16::run(&*x) }
    }

    unsafe extern "C" fn decode_entry(x: *const abi::Args) {
        // SAFETY: as for forward.
        unsafe { decode::run(&*x) }
    }

    unsafe extern "C" fn backward_entry(x: *const abi::Args) {
        // SAFETY: as for forward.
        unsafe { backward::run(&*x) }
    }

    unsafe extern "C" fn saved(tokens: usize, sizes: *const usize) -> usize {
        // SAFETY: one size a side.
        unsafe { forward_save::saved(tokens, sizes) }
    }

    unsafe extern "C" fn scratch(pass: u32, sizes: *const usize) -> usize {
        // SAFETY: one size a side.
        unsafe {
            match pass {
                abi::PASS_FORWARD => forward::scratch(sizes),
                abi::PASS_DECODE => decode::scratch(sizes),
                abi::PASS_FORWARD_BF16 => forward_bf16::scratch(sizes),
                abi::PASS_FORWARD_SAVE => forward_save::scratch(sizes),
                abi::PASS_BACKWARD => backward::scratch(sizes),
                _ => 0,
            }
        }
    }

    /// The kernels of this level.
    pub fn entry() -> abi::Entry {
        abi::Entry {
            forward: Some(forward_entry),
            forward_bf16: Some(forward_bf16_entry),
            backward: Some(backward_entry),
            decode: Some(decode_entry),
            scratch: Some(scratch),
            saved: Some(saved),
        }
    }
}

/// The kernels for avx512.
#[cfg(target_arch = "x86_64")]
#[unsafe(no_mangle)]
pub extern "C" fn rla_c_db0f4a7fe25c0a6125a02633a7674d92_avx512() -> abi::Entry {
    avx512::entry()
}

