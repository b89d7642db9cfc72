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
            x8: *mut f32,
            gamma: *mut f32,
            x11: *mut f32,
            x12: *mut f32,
            x13: *mut f32,
            x16: *mut f32,
            x17: *mut f32,
            x22: *mut f32,
            x24: *mut f32,
            x25: *mut f32,
            x26: *mut f32,
            q: *mut f32,
            x31: *mut f32,
            x33: *mut f32,
            x36: *mut f32,
            x37: *mut f32,
            x39: *mut f32,
            x43: *mut f32,
            x45: *mut f32,
            x47_own: *mut f32,
            x48: *mut f32,
            x50: *mut f32,
            x51: *mut f32,
            list: *mut f32,
            x53: *mut f32,
            x56: *mut f32,
            S: *mut f32,
            R: *mut f32,
            clip: *mut f32,
            v: *mut f32,
            x47: *mut f32,
            v_panel: usize,
            v_row: usize,
            x47_panel: usize,
            x47_row: usize,
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
                    x8: none,
                    gamma: none,
                    x11: none,
                    x12: none,
                    x13: none,
                    x16: none,
                    x17: none,
                    x22: none,
                    x24: none,
                    x25: none,
                    x26: none,
                    q: none,
                    x31: none,
                    x33: none,
                    x36: none,
                    x37: none,
                    x39: none,
                    x43: none,
                    x45: none,
                    x47_own: none,
                    x48: none,
                    x50: none,
                    x51: none,
                    list: none,
                    x53: none,
                    x56: none,
                    S: none,
                    R: none,
                    clip: none,
                    v: none,
                    x47: none,
                    v_panel: 0,
                    v_row: 0,
                    x47_panel: 0,
                    x47_row: 0,
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
                w.x8 = take(base, &mut used, w.panels1 * 512);
                w.gamma = take(base, &mut used, 1 * 16);
                w.x11 = take(base, &mut used, 1 * 16);
                w.x13 = take(base, &mut used, w.panels0 * 512);
                w.x16 = take(base, &mut used, 1 * 256);
                w.x17 = take(base, &mut used, 1 * 256);
                w.x22 = take(base, &mut used, 1 * 16);
                w.x24 = take(base, &mut used, 1 * 16);
                w.x25 = take(base, &mut used, 16 * 32);
                w.x26 = take(base, &mut used, 1 * 16);
                w.q = take(base, &mut used, w.panels0 * 512);
                w.x31 = take(base, &mut used, w.panels0 * 512);
                w.x33 = take(base, &mut used, 1 * 256);
                w.x36 = take(base, &mut used, 1 * 16);
                w.x37 = take(base, &mut used, w.panels0 * 512);
                w.x39 = take(base, &mut used, 1 * 256);
                w.x45 = take(base, &mut used, 16 * 32);
                w.x47_own = take(base, &mut used, w.panels1 * 512);
                w.x51 = take(base, &mut used, w.panels0 * 512);
                w.list = take(base, &mut used, 264);
                // values that are never alive together share a place
                w.x12 = w.x7;
                w.x43 = w.beta;
                w.x48 = w.x7;
                w.x50 = w.x2;
                w.state0 = take(base, &mut used, w.panels1 * w.rows0 * 32);
                w.state1 = take(base, &mut used, w.panels1 * w.rows0 * 32);
                (w, used)
            }
        }

        /// Floats of working memory.
        pub unsafe fn scratch(n: *const usize) -> usize {
            Work::new(n, core::ptr::null_mut()).1
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x3, x7, x11, x24, x26, x36.
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
                    let v11 = exp(v3); // x11
                    store(w.x11.add(p * 16).add(j * L), v11);
                    let v10 = load(w.gamma.add(p * 16 + j * L));
                    let v24 = if_nonzero(v2, v10); // x24
                    store(w.x24.add(p * 16).add(j * L), v24);
                    let v26 = exp(v1); // x26
                    store(w.x26.add(p * 16).add(j * L), v26);
                    let v36 = mul(v10, v26); // x36
                    store(w.x36.add(p * 16).add(j * L), v36);
                }
            }
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Elementwise x8.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s1(w: &Work, p: usize) {
            for r in 0..16 {
                let _ = r;
                let v7r = splat(*w.x7.add(r));
                for j in 0..2 {
                    let v6 = load(w.v.add(p * w.v_panel + (r) * w.v_row).add(j * L));
                    let v8 = mul(v7r, v6); // x8
                    store(w.x8.add(p * 512 + r * 32).add(j * L), v8);
                }
            }
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// All of x12.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s2(w: &Work) {
            prefix_scalar(w.x11, w.x12, 16);
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x13, x31, x37, x43.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s3(w: &Work) {
            for r in 0..16 {
                let _ = r;
                let mut s43 = zero();
                let v12r = splat(*w.x12.add(r));
                let v26r = splat(*w.x26.add(r));
                let v36r = splat(*w.x36.add(r));
                for p in 0..w.n0 / 32 {
                    for j in 0..2 {
                        let v4 = load(w.k.add(p * 512 + r * 32).add(j * L));
                        let v13 = mul(v12r, v4); // x13
                        store(w.x13.add(p * 512 + r * 32).add(j * L), v13);
                        let v27 = load(w.q.add(p * 512 + r * 32).add(j * L));
                        let v28 = mul(v12r, v27); // x28
                        let v31 = mul(v26r, v28); // x31
                        store(w.x31.add(p * 512 + r * 32).add(j * L), v31);
                        let v37 = mul(v36r, v28); // x37
                        store(w.x37.add(p * 512 + r * 32).add(j * L), v37);
                        let v42 = mul(v4, v27); // x42
                        s43 = add(s43, v42);
                    }
                }
                for p in w.n0 / 32..w.panels0 {
                    for j in 0..2 {
                        let v4 = load(w.k.add(p * 512 + r * 32).add(j * L));
                        let v13 = mul(v12r, v4); // x13
                        store(w.x13.add(p * 512 + r * 32).add(j * L), v13);
                        let v27 = load(w.q.add(p * 512 + r * 32).add(j * L));
                        let v28 = mul(v12r, v27); // x28
                        let v31 = mul(v26r, v28); // x31
                        store(w.x31.add(p * 512 + r * 32).add(j * L), v31);
                        let v37 = mul(v36r, v28); // x37
                        store(w.x37.add(p * 512 + r * 32).add(j * L), v37);
                        let v42 = mul(v4, v27); // x42
                        s43 = add(s43, first(v42, w.n0 as isize - (p * 32 + j * L) as isize));
                    }
                }
                *w.x43.add(r) = sum(s43);
            }
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// A tile of x15, x17.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s4(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 1>();
            // acc += k k^T
            product_across_ahead::<8, 1, false>(&mut acc, w.k.add(r * 32), 32, 32, 512, w.k_t.add(p * w.rows0 * 16), 16, w.n0, &mut *w.ahead);
            each!(8, i, {
                let r = r + i;
                each!(1, j, {
                    let v15 = acc[i][j]; // x15
                    let v16 = load(w.x16.add(p * 256 + r * 16).add(j * L));
                    let v17 = mul(v15, v16); // x17
                    store(w.x17.add(p * 256 + r * 16).add(j * L), v17);
                });
            });
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// All of x16.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s5(w: &Work) {
            segment(w.x11, w.x16, 16, 16);
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x20, x23, x25, x44, x45.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s6(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = v
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v6 = load(w.v.add(p * w.v_panel + (r) * w.v_row).add(j * L));
                    acc[i][j] = v6;
                });
            });
            // acc -= x13 S^T
            product_across_ahead::<8, 2, true>(&mut acc, w.x13.add(r * 32), 32, 32, 512, w.S.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            // acc -= x17 x8
            product_across::<8, 2, true>(&mut acc, w.x17.add(r * 16), 16, 16, 256, w.x8.add(p * 512), 32, (16).min(r + 8));
            let v22 = splat(*w.x22);
            let v21 = splat(*w.clip);
            each!(8, i, {
                let r = r + i;
                let v24r = splat(*w.x24.add(r));
                let v10r = splat(*w.gamma.add(r));
                let v43r = splat(*w.x43.add(r));
                each!(2, j, {
                    let v20 = acc[i][j]; // x20
                    let v23 = clamp(v20, v22, v21); // x23
                    let v25 = mul(v24r, v23); // x25
                    store(w.x25.add(r * 32).add(j * L), v25);
                    let v44 = mul(v10r, v25); // x44
                    let v45 = mul(v43r, v44); // x45
                    store(w.x45.add(r * 32).add(j * L), v45);
                });
            });
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// Elementwise x22.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s7(w: &Work) {
            let v21 = splat(*w.clip);
            for r in 0..1 {
                let _ = r;
                for j in 0..1 {
                    let v22 = neg(v21); // x22
                    store(w.x22.add(j * L), v22);
                }
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x29, x30, x33, x39.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s8(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 1>();
            // acc += q k^T
            product_across_ahead::<8, 1, false>(&mut acc, w.q.add(r * 32), 32, 32, 512, w.k_t.add(p * w.rows0 * 16), 16, w.n0, &mut *w.ahead);
            each!(8, i, {
                let r = r + i;
                let v26r = splat(*w.x26.add(r));
                let v36r = splat(*w.x36.add(r));
                each!(1, j, {
                    let v29 = acc[i][j]; // x29
                    let v16 = load(w.x16.add(p * 256 + r * 16).add(j * L));
                    let v30 = mul(v29, v16); // x30
                    let v33 = mul(v26r, v30); // x33
                    store(w.x33.add(p * 256 + r * 16).add(j * L), v33);
                    let v39 = mul(v36r, v30); // x39
                    store(w.x39.add(p * 256 + r * 16).add(j * L), v39);
                });
            });
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x47.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s9(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x45
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v45 = load(w.x45.add(r * 32).add(j * L));
                    acc[i][j] = v45;
                });
            });
            // acc += x31 S^T
            product_across_ahead::<8, 2, false>(&mut acc, w.x31.add(r * 32), 32, 32, 512, w.S.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            // acc += x33 x8
            product_across::<8, 2, false>(&mut acc, w.x33.add(r * 16), 16, 16, 256, w.x8.add(p * 512), 32, (16).min(r + 8));
            // acc += x37 R^T
            product_across_ahead::<8, 2, false>(&mut acc, w.x37.add(r * 32), 32, 32, 512, w.R.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            // acc += x39 x25
            product_across::<8, 2, false>(&mut acc, w.x39.add(r * 16), 16, 16, 256, w.x25, 32, (16).min(r + 8));
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v47 = acc[i][j]; // x47
                    store(w.x47.add(p * w.x47_panel + (r) * w.x47_row).add(j * L), v47);
                });
            });
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// All of x48.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s10(w: &Work) {
            total_scalar(w.x11, w.x48, 16);
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// All of x50.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s11(w: &Work) {
            suffix_scalar(w.x11, w.x50, 16);
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Elementwise x51.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s12(w: &Work, p: usize) {
            for r in 0..16 {
                let _ = r;
                let v50r = splat(*w.x50.add(r));
                for j in 0..2 {
                    let v4 = load(w.k.add(p * 512 + r * 32).add(j * L));
                    let v51 = mul(v50r, v4); // x51
                    store(w.x51.add(p * 512 + r * 32).add(j * L), v51);
                }
            }
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// A tile of x53.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s13(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x49^T
            let v48 = splat(*w.x48);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v0 = load(w.S.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v49 = mul(v48, v0); // x49
                    acc[i][j] = v49;
                });
            });
            // acc += x51^T x8
            product::<8, 2, false>(&mut acc, w.x51.add(r / 32 * 512 + r % 32), 1, 32, w.x8.add(p * 512), 32, 16);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v53 = acc[i][j]; // x53
                    store(w.x53.add(p * w.rows0 * 32 + r * 32).add(j * L), v53);
                });
            });
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// A tile of x56.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s14(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x54^T
            let v48 = splat(*w.x48);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v9 = load(w.R.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v54 = mul(v48, v9); // x54
                    acc[i][j] = v54;
                });
            });
            // acc += x51^T x25
            product::<8, 2, false>(&mut acc, w.x51.add(r / 32 * 512 + r % 32), 1, 32, w.x25, 32, 16);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v56 = acc[i][j]; // x56
                    store(w.x56.add(p * w.rows0 * 32 + r * 32).add(j * L), v56);
                });
            });
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
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
            s7(w);
        }

        /// One chunk, packed.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn chunk(w: &Work) {
            for p in 0..1 {
                s0(w, p);
            }
            for p in 0..w.panels1 {
                s1(w, p);
            }
            s2(w);
            s3(w);
            s5(w);
            s10(w);
            s11(w);
            for p in 0..w.panels0 {
                s12(w, p);
                s15(w, p);
            }
            for p in 0..1 {
                for r in (0..16).step_by(8) {
                    s4(w, p, r);
                }
                for r in (0..16).step_by(8) {
                    s8(w, p, r);
                }
            }
            for p in 0..w.panels1 {
                for r in (0..16).step_by(8) {
                    s6(w, p, r);
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
            if w.x47 == w.x47_own { unpack(&*x.outputs.add(0), t0, valid, w.n1, w.x47, 32, w.x47_panel); }
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
            let requests = 2 * 1 * 2 * (w.n0 / 4) + 3 * w.panels1 * 2 * (w.n0 / 4);
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
                w.x53 = next0;
                w.x56 = next1;
                (w.v, w.v_panel, w.v_row) = place(&*x.inputs.add(2), t0, valid == 16, w.n1, 32, w.v_own, 512);
                (w.x47, w.x47_panel, w.x47_row) = place(&*x.outputs.add(0), t0, valid == 16, w.n1, 32, w.x47_own, 512);
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
            0 + 3 * lines(*n.add(0)) + 14 * lines(*n.add(1)) + lines(*n.add(1) * *n.add(0)) + lines(*n.add(1) * *n.add(0))
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
            let v18 = at;
            at = at.add(lines(n1));
            let v22 = output(&*x.outputs.add(0), t, n1, at);
            at = at.add(lines(n1));
            let v24 = at;
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
            let n_23 = number(&*x.inputs.add(4), t);
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
                let e24 = mul(n_23, e12);
                store(v24.add(r), e24);
                r += L;
            }
            let mut r = 0;
            while r < n1 {
                let m = if n1 - r < L { n1 - r } else { L };
                let [e3, e13] = dots::<2>(s0.add(r * ld0), ld0, m, n0, [v2 as *const f32, v9 as *const f32]); // S
                let [e7] = dots::<1>(s1.add(r * ld1), ld1, m, n0, [v2 as *const f32]); // R
                let e12 = load(v12.add(r));
                let e4 = mul(n_1, e3);
                let e8 = mul(n_6, e7);
                let e14 = sub(e12, e13);
                let e17 = clamp(e14, n_16, n_15);
                let e18 = mul(n_5, e17);
                let e19 = mul(n_5, e18);
                let e20 = mul(n_11, e19);
                let e21 = add(e8, e20);
                let e22 = add(e4, e21);
                store(v18.add(r), e18);
                store(v22.add(r), e22);
                update::<1, NUMBER, false, 2048>(s0.add(r * ld0), ld0, m, n0, n_1, core::ptr::null(), core::ptr::null(), [v24.add(r) as *const f32], [v9 as *const f32]); // S
                update::<1, NUMBER, false, 2048>(s1.add(r * ld1), ld1, m, n0, n_1, core::ptr::null(), core::ptr::null(), [v18.add(r) as *const f32], [v9 as *const f32]); // R
                r += L;
            }
            finish(&*x.outputs.add(0), t, n1, v22);
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
            let v20 = at;
            at = at.add(lines(n1));
            let v22 = output(&*x.outputs.add(0), t, n1, at);
            at = at.add(lines(n1));
            let v24 = at;
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
            let n_23 = number(&*x.inputs.add(4), t);
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
                let e24 = mul(n_23, e12);
                store(v24.add(r), e24);
                r += L;
            }
            sums::<8, 2>(s0, ld0, n0, n1, [v2 as *const f32, v9 as *const f32], [v3, v13]); // S
            let mut r = 0;
            while r < n1 {
                let m = if n1 - r < L { n1 - r } else { L };
                let e3 = load(v3.add(r));
                let e12 = load(v12.add(r));
                let e13 = load(v13.add(r));
                let e4 = mul(n_1, e3);
                let e14 = sub(e12, e13);
                let e17 = clamp(e14, n_16, n_15);
                let e18 = mul(n_5, e17);
                let e19 = mul(n_5, e18);
                let e20 = mul(n_11, e19);
                store(v4.add(r), e4);
                store(v18.add(r), e18);
                store(v20.add(r), e20);
                r += L;
            }
            sums::<8, 1>(s1, ld1, n0, n1, [v2 as *const f32], [v7]); // R
            let mut r = 0;
            while r < n1 {
                let m = if n1 - r < L { n1 - r } else { L };
                let e4 = load(v4.add(r));
                let e7 = load(v7.add(r));
                let e20 = load(v20.add(r));
                let e8 = mul(n_6, e7);
                let e21 = add(e8, e20);
                let e22 = add(e4, e21);
                store(v22.add(r), e22);
                r += L;
            }
            update::<1, NUMBER, false, 4096>(s0.add(0 * ld0), ld0, n0, n1, n_1, core::ptr::null(), core::ptr::null(), [v9.add(0) as *const f32], [v24 as *const f32]); // S
            update::<1, NUMBER, false, 4096>(s1.add(0 * ld1), ld1, n0, n1, n_1, core::ptr::null(), core::ptr::null(), [v9.add(0) as *const f32], [v18 as *const f32]); // R
            finish(&*x.outputs.add(0), t, n1, v22);
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
            x8: *mut f32,
            gamma: *mut f32,
            x11: *mut f32,
            x12: *mut f32,
            x13: *mut f32,
            x16: *mut f32,
            x17: *mut f32,
            x22: *mut f32,
            x24: *mut f32,
            x25: *mut f32,
            x26: *mut f32,
            q: *mut f32,
            x31: *mut f32,
            x33: *mut f32,
            x36: *mut f32,
            x37: *mut f32,
            x39: *mut f32,
            x43: *mut f32,
            x45: *mut f32,
            x47_own: *mut f32,
            x48: *mut f32,
            x50: *mut f32,
            x51: *mut f32,
            list: *mut f32,
            x20: *mut f32,
            x53: *mut f32,
            x56: *mut f32,
            S: *mut f32,
            R: *mut f32,
            clip: *mut f32,
            v: *mut f32,
            x47: *mut f32,
            keep0: *mut f32,
            sink0: *mut f32,
            keep1: *mut f32,
            sink1: *mut f32,
            v_panel: usize,
            v_row: usize,
            x47_panel: usize,
            x47_row: usize,
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
                    x8: none,
                    gamma: none,
                    x11: none,
                    x12: none,
                    x13: none,
                    x16: none,
                    x17: none,
                    x22: none,
                    x24: none,
                    x25: none,
                    x26: none,
                    q: none,
                    x31: none,
                    x33: none,
                    x36: none,
                    x37: none,
                    x39: none,
                    x43: none,
                    x45: none,
                    x47_own: none,
                    x48: none,
                    x50: none,
                    x51: none,
                    list: none,
                    x20: none,
                    x53: none,
                    x56: none,
                    S: none,
                    R: none,
                    clip: none,
                    v: none,
                    x47: none,
                    keep0: none,
                    sink0: none,
                    keep1: none,
                    sink1: none,
                    v_panel: 0,
                    v_row: 0,
                    x47_panel: 0,
                    x47_row: 0,
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
                w.x8 = take(base, &mut used, w.panels1 * 1024);
                w.gamma = take(base, &mut used, 1 * 32);
                w.x11 = take(base, &mut used, 1 * 32);
                w.x13 = take(base, &mut used, w.panels0 * 1024);
                w.x16 = take(base, &mut used, 1 * 1024);
                w.x17 = take(base, &mut used, 1 * 1024);
                w.x22 = take(base, &mut used, 1 * 16);
                w.x24 = take(base, &mut used, 1 * 32);
                w.x25 = take(base, &mut used, 32 * 32);
                w.x26 = take(base, &mut used, 1 * 32);
                w.q = take(base, &mut used, w.panels0 * 1024);
                w.x31 = take(base, &mut used, w.panels0 * 1024);
                w.x33 = take(base, &mut used, 1 * 1024);
                w.x36 = take(base, &mut used, 1 * 32);
                w.x37 = take(base, &mut used, w.panels0 * 1024);
                w.x39 = take(base, &mut used, 1 * 1024);
                w.x45 = take(base, &mut used, 32 * 32);
                w.x47_own = take(base, &mut used, w.panels1 * 1024);
                w.x48 = take(base, &mut used, 1 * 16);
                w.x51 = take(base, &mut used, w.panels0 * 1024);
                w.list = take(base, &mut used, 520);
                // values that are never alive together share a place
                w.x12 = w.x7;
                w.x43 = w.beta;
                w.x50 = w.x7;
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
            lines(w.panels1 * w.rows0 * 32) + lines(w.panels1 * w.rows0 * 32) + lines(w.panels1 * 32 * 32)
        }

        /// Floats kept for a sequence.
        pub unsafe fn saved(tokens: usize, n: *const usize) -> usize {
            let (w, _) = Work::new(n, core::ptr::null_mut());
            tokens.div_ceil(32) * kept(&w)
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x3, x7, x11, x24, x26, x36.
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
                    let v11 = exp(v3); // x11
                    store(w.x11.add(p * 32).add(j * L), v11);
                    let v10 = load(w.gamma.add(p * 32 + j * L));
                    let v24 = if_nonzero(v2, v10); // x24
                    store(w.x24.add(p * 32).add(j * L), v24);
                    let v26 = exp(v1); // x26
                    store(w.x26.add(p * 32).add(j * L), v26);
                    let v36 = mul(v10, v26); // x36
                    store(w.x36.add(p * 32).add(j * L), v36);
                }
            }
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Elementwise x8.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s1(w: &Work, p: usize) {
            for r in 0..32 {
                let _ = r;
                let v7r = splat(*w.x7.add(r));
                for j in 0..2 {
                    let v6 = load(w.v.add(p * w.v_panel + (r) * w.v_row).add(j * L));
                    let v8 = mul(v7r, v6); // x8
                    store(w.x8.add(p * 1024 + r * 32).add(j * L), v8);
                }
            }
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// All of x12.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s2(w: &Work) {
            prefix_scalar(w.x11, w.x12, 32);
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x13, x31, x37, x43.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s3(w: &Work) {
            for r in 0..32 {
                let _ = r;
                let mut s43 = zero();
                let v12r = splat(*w.x12.add(r));
                let v26r = splat(*w.x26.add(r));
                let v36r = splat(*w.x36.add(r));
                for p in 0..w.n0 / 32 {
                    for j in 0..2 {
                        let v4 = load(w.k.add(p * 1024 + r * 32).add(j * L));
                        let v13 = mul(v12r, v4); // x13
                        store(w.x13.add(p * 1024 + r * 32).add(j * L), v13);
                        let v27 = load(w.q.add(p * 1024 + r * 32).add(j * L));
                        let v28 = mul(v12r, v27); // x28
                        let v31 = mul(v26r, v28); // x31
                        store(w.x31.add(p * 1024 + r * 32).add(j * L), v31);
                        let v37 = mul(v36r, v28); // x37
                        store(w.x37.add(p * 1024 + r * 32).add(j * L), v37);
                        let v42 = mul(v4, v27); // x42
                        s43 = add(s43, v42);
                    }
                }
                for p in w.n0 / 32..w.panels0 {
                    for j in 0..2 {
                        let v4 = load(w.k.add(p * 1024 + r * 32).add(j * L));
                        let v13 = mul(v12r, v4); // x13
                        store(w.x13.add(p * 1024 + r * 32).add(j * L), v13);
                        let v27 = load(w.q.add(p * 1024 + r * 32).add(j * L));
                        let v28 = mul(v12r, v27); // x28
                        let v31 = mul(v26r, v28); // x31
                        store(w.x31.add(p * 1024 + r * 32).add(j * L), v31);
                        let v37 = mul(v36r, v28); // x37
                        store(w.x37.add(p * 1024 + r * 32).add(j * L), v37);
                        let v42 = mul(v4, v27); // x42
                        s43 = add(s43, first(v42, w.n0 as isize - (p * 32 + j * L) as isize));
                    }
                }
                *w.x43.add(r) = sum(s43);
            }
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// A tile of x15, x17.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s4(w: &Work, p: usize, r: usize) {
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
                    let v15 = acc[i][j]; // x15
                    let v16 = load(w.x16.add(p * 1024 + r * 32).add(j * L));
                    let v17 = mul(v15, v16); // x17
                    store(w.x17.add(p * 1024 + r * 32).add(j * L), v17);
                });
            });
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// All of x16.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s5(w: &Work) {
            segment(w.x11, w.x16, 32, 32);
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x20, x23, x25, x44, x45.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s6(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = v
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v6 = load(w.v.add(p * w.v_panel + (r) * w.v_row).add(j * L));
                    acc[i][j] = v6;
                });
            });
            // acc -= x13 S^T
            product_across_ahead::<8, 2, true>(&mut acc, w.x13.add(r * 32), 32, 32, 1024, w.S.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            // acc -= x17 x8
            product_across::<8, 2, true>(&mut acc, w.x17.add(r * 32), 32, 32, 1024, w.x8.add(p * 1024), 32, (32).min(r + 8));
            let v22 = splat(*w.x22);
            let v21 = splat(*w.clip);
            each!(8, i, {
                let r = r + i;
                let v24r = splat(*w.x24.add(r));
                let v10r = splat(*w.gamma.add(r));
                let v43r = splat(*w.x43.add(r));
                each!(2, j, {
                    let v20 = acc[i][j]; // x20
                    stream(w.x20.add(p * 1024 + r * 32).add(j * L), v20);
                    let v23 = clamp(v20, v22, v21); // x23
                    let v25 = mul(v24r, v23); // x25
                    store(w.x25.add(r * 32).add(j * L), v25);
                    let v44 = mul(v10r, v25); // x44
                    let v45 = mul(v43r, v44); // x45
                    store(w.x45.add(r * 32).add(j * L), v45);
                });
            });
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// Elementwise x22.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s7(w: &Work) {
            let v21 = splat(*w.clip);
            for r in 0..1 {
                let _ = r;
                for j in 0..1 {
                    let v22 = neg(v21); // x22
                    store(w.x22.add(j * L), v22);
                }
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x29, x30, x33, x39.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s8(w: &Work, p: usize, r: usize) {
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
                let v26r = splat(*w.x26.add(r));
                let v36r = splat(*w.x36.add(r));
                each!(2, j, {
                    let v29 = acc[i][j]; // x29
                    let v16 = load(w.x16.add(p * 1024 + r * 32).add(j * L));
                    let v30 = mul(v29, v16); // x30
                    let v33 = mul(v26r, v30); // x33
                    store(w.x33.add(p * 1024 + r * 32).add(j * L), v33);
                    let v39 = mul(v36r, v30); // x39
                    store(w.x39.add(p * 1024 + r * 32).add(j * L), v39);
                });
            });
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x47.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s9(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x45
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v45 = load(w.x45.add(r * 32).add(j * L));
                    acc[i][j] = v45;
                });
            });
            // acc += x31 S^T
            product_across_ahead::<8, 2, false>(&mut acc, w.x31.add(r * 32), 32, 32, 1024, w.S.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            // acc += x33 x8
            product_across::<8, 2, false>(&mut acc, w.x33.add(r * 32), 32, 32, 1024, w.x8.add(p * 1024), 32, (32).min(r + 8));
            // acc += x37 R^T
            product_across_ahead::<8, 2, false>(&mut acc, w.x37.add(r * 32), 32, 32, 1024, w.R.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            // acc += x39 x25
            product_across::<8, 2, false>(&mut acc, w.x39.add(r * 32), 32, 32, 1024, w.x25, 32, (32).min(r + 8));
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v47 = acc[i][j]; // x47
                    store(w.x47.add(p * w.x47_panel + (r) * w.x47_row).add(j * L), v47);
                });
            });
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// All of x48.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s10(w: &Work) {
            total_scalar(w.x11, w.x48, 32);
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// All of x50.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s11(w: &Work) {
            suffix_scalar(w.x11, w.x50, 32);
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Elementwise x51.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s12(w: &Work, p: usize) {
            for r in 0..32 {
                let _ = r;
                let v50r = splat(*w.x50.add(r));
                for j in 0..2 {
                    let v4 = load(w.k.add(p * 1024 + r * 32).add(j * L));
                    let v51 = mul(v50r, v4); // x51
                    store(w.x51.add(p * 1024 + r * 32).add(j * L), v51);
                }
            }
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// A tile of x53.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s13(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x49^T
            let v48 = splat(*w.x48);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v0 = load(w.S.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v49 = mul(v48, v0); // x49
                    acc[i][j] = v49;
                });
            });
            // acc += x51^T x8
            product::<8, 2, false>(&mut acc, w.x51.add(r / 32 * 1024 + r % 32), 1, 32, w.x8.add(p * 1024), 32, 32);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v53 = acc[i][j]; // x53
                    store(w.x53.add(p * w.rows0 * 32 + r * 32).add(j * L), v53);
                    stream(w.keep0.add(p * w.rows0 * 32 + r * 32).add(j * L), v53);
                });
            });
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// A tile of x56.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s14(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x54^T
            let v48 = splat(*w.x48);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v9 = load(w.R.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v54 = mul(v48, v9); // x54
                    acc[i][j] = v54;
                });
            });
            // acc += x51^T x25
            product::<8, 2, false>(&mut acc, w.x51.add(r / 32 * 1024 + r % 32), 1, 32, w.x25, 32, 32);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v56 = acc[i][j]; // x56
                    store(w.x56.add(p * w.rows0 * 32 + r * 32).add(j * L), v56);
                    stream(w.keep1.add(p * w.rows0 * 32 + r * 32).add(j * L), v56);
                });
            });
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// The other orientation of k.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s15(w: &Work, p: usize) {
            turn(w.k.add(p * 1024), 32, 32, w.k_t.add(p * 32 * 32), 32, w.rows0 * 32);
        }

        /// What depends on no token, once a call.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn once(w: &Work) {
            let _ = w;
            s7(w);
        }

        /// One chunk, packed.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn chunk(w: &Work) {
            for p in 0..1 {
                s0(w, p);
            }
            for p in 0..w.panels1 {
                s1(w, p);
            }
            s2(w);
            s3(w);
            s5(w);
            s10(w);
            s11(w);
            for p in 0..w.panels0 {
                s12(w, p);
                s15(w, p);
            }
            for p in 0..1 {
                for r in (0..32).step_by(8) {
                    s4(w, p, r);
                }
                for r in (0..32).step_by(8) {
                    s8(w, p, r);
                }
            }
            for p in 0..w.panels1 {
                for r in (0..32).step_by(8) {
                    s6(w, p, r);
                }
                for r in (0..32).step_by(8) {
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
            if w.x47 == w.x47_own { unpack(&*x.outputs.add(0), t0, valid, w.n1, w.x47, 32, w.x47_panel); }
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
            let requests = 2 * 1 * 4 * (w.n0 / 4) + 3 * w.panels1 * 4 * (w.n0 / 4);
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
                let _ = (start0, start1, saved0,);
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
                w.x20 = saved0;
                w.x53 = next0;
                w.x56 = next1;
                (w.v, w.v_panel, w.v_row) = place(&*x.inputs.add(2), t0, valid == 32, w.n1, 32, w.v_own, 1024);
                (w.x47, w.x47_panel, w.x47_row) = place(&*x.outputs.add(0), t0, valid == 32, w.n1, 32, w.x47_own, 1024);
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
            x8: *mut f32,
            x8_t: *mut f32,
            gamma: *mut f32,
            x11: *mut f32,
            x12: *mut f32,
            x13: *mut f32,
            x14: *mut f32,
            x15: *mut f32,
            x16: *mut f32,
            x19: *mut f32,
            x21: *mut f32,
            x22: *mut f32,
            x22_t: *mut f32,
            x23: *mut f32,
            q: *mut f32,
            q_t: *mut f32,
            x25: *mut f32,
            x26: *mut f32,
            x27: *mut f32,
            x28: *mut f32,
            x29: *mut f32,
            x30: *mut f32,
            x31: *mut f32,
            x32: *mut f32,
            x34: *mut f32,
            x36: *mut f32,
            x37: *mut f32,
            x38: *mut f32,
            x39: *mut f32,
            x39_t: *mut f32,
            x46: *mut f32,
            x47: *mut f32,
            x53: *mut f32,
            x54: *mut f32,
            x55: *mut f32,
            x58: *mut f32,
            x59: *mut f32,
            x60: *mut f32,
            x61: *mut f32,
            x62: *mut f32,
            x63: *mut f32,
            x66: *mut f32,
            x69: *mut f32,
            x73: *mut f32,
            x76: *mut f32,
            x82: *mut f32,
            x83: *mut f32,
            x88: *mut f32,
            x89: *mut f32,
            x91: *mut f32,
            x92: *mut f32,
            x93: *mut f32,
            x100: *mut f32,
            x101: *mut f32,
            x108: *mut f32,
            x111: *mut f32,
            x111_t: *mut f32,
            x112: *mut f32,
            x118: *mut f32,
            x119: *mut f32,
            x120: *mut f32,
            x120_t: *mut f32,
            x121: *mut f32,
            x124: *mut f32,
            x125: *mut f32,
            x126: *mut f32,
            x127: *mut f32,
            x128: *mut f32,
            x128_t: *mut f32,
            x133: *mut f32,
            x133_t: *mut f32,
            x136: *mut f32,
            x137: *mut f32,
            x138: *mut f32,
            x147: *mut f32,
            x148: *mut f32,
            x150: *mut f32,
            x150_t: *mut f32,
            x151: *mut f32,
            x152: *mut f32,
            x156: *mut f32,
            x157_own: *mut f32,
            x158: *mut f32,
            x159: *mut f32,
            x160: *mut f32,
            list: *mut f32,
            x83_part: *mut f32,
            x100_part: *mut f32,
            x124_part: *mut f32,
            x137_tmp: *mut f32,
            x156_part: *mut f32,
            x86: *mut f32,
            x145: *mut f32,
            S: *mut f32,
            R: *mut f32,
            x17: *mut f32,
            clip: *mut f32,
            x40: *mut f32,
            x41: *mut f32,
            v: *mut f32,
            x157: *mut f32,
            v_panel: usize,
            v_row: usize,
            x157_panel: usize,
            x157_row: usize,
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
                    x8: none,
                    x8_t: none,
                    gamma: none,
                    x11: none,
                    x12: none,
                    x13: none,
                    x14: none,
                    x15: none,
                    x16: none,
                    x19: none,
                    x21: none,
                    x22: none,
                    x22_t: none,
                    x23: none,
                    q: none,
                    q_t: none,
                    x25: none,
                    x26: none,
                    x27: none,
                    x28: none,
                    x29: none,
                    x30: none,
                    x31: none,
                    x32: none,
                    x34: none,
                    x36: none,
                    x37: none,
                    x38: none,
                    x39: none,
                    x39_t: none,
                    x46: none,
                    x47: none,
                    x53: none,
                    x54: none,
                    x55: none,
                    x58: none,
                    x59: none,
                    x60: none,
                    x61: none,
                    x62: none,
                    x63: none,
                    x66: none,
                    x69: none,
                    x73: none,
                    x76: none,
                    x82: none,
                    x83: none,
                    x88: none,
                    x89: none,
                    x91: none,
                    x92: none,
                    x93: none,
                    x100: none,
                    x101: none,
                    x108: none,
                    x111: none,
                    x111_t: none,
                    x112: none,
                    x118: none,
                    x119: none,
                    x120: none,
                    x120_t: none,
                    x121: none,
                    x124: none,
                    x125: none,
                    x126: none,
                    x127: none,
                    x128: none,
                    x128_t: none,
                    x133: none,
                    x133_t: none,
                    x136: none,
                    x137: none,
                    x138: none,
                    x147: none,
                    x148: none,
                    x150: none,
                    x150_t: none,
                    x151: none,
                    x152: none,
                    x156: none,
                    x157_own: none,
                    x158: none,
                    x159: none,
                    x160: none,
                    list: none,
                    x83_part: none,
                    x100_part: none,
                    x124_part: none,
                    x137_tmp: none,
                    x156_part: none,
                    x86: none,
                    x145: none,
                    S: none,
                    R: none,
                    x17: none,
                    clip: none,
                    x40: none,
                    x41: none,
                    v: none,
                    x157: none,
                    v_panel: 0,
                    v_row: 0,
                    x157_panel: 0,
                    x157_row: 0,
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
                w.x8 = take(base, &mut used, w.panels1 * 1024);
                w.x8_t = take(base, &mut used, 1 * w.rows1 * 32);
                w.gamma = take(base, &mut used, 1 * 32);
                w.x11 = take(base, &mut used, 1 * 32);
                w.x13 = take(base, &mut used, w.panels0 * 1024);
                w.x14 = take(base, &mut used, 1 * 1024);
                w.x15 = take(base, &mut used, 1 * 1024);
                w.x16 = take(base, &mut used, 1 * 1024);
                w.x19 = take(base, &mut used, 1 * 16);
                w.x21 = take(base, &mut used, 1 * 32);
                w.x22_t = take(base, &mut used, 1 * w.rows1 * 32);
                w.x23 = take(base, &mut used, 1 * 32);
                w.q = take(base, &mut used, w.panels0 * 1024);
                w.q_t = take(base, &mut used, 1 * w.rows0 * 32);
                w.x25 = take(base, &mut used, 1 * w.rows0 * 32);
                w.x26 = take(base, &mut used, 1 * 1024);
                w.x27 = take(base, &mut used, 1 * 1024);
                w.x28 = take(base, &mut used, 1 * w.rows0 * 32);
                w.x29 = take(base, &mut used, 1 * 1024);
                w.x30 = take(base, &mut used, 1 * 32);
                w.x31 = take(base, &mut used, 1 * w.rows0 * 32);
                w.x32 = take(base, &mut used, 1 * 1024);
                w.x36 = take(base, &mut used, 1 * 16);
                w.x37 = take(base, &mut used, 1 * 32);
                w.x38 = take(base, &mut used, w.panels0 * 1024);
                w.x39 = take(base, &mut used, w.panels1 * 1024);
                w.x39_t = take(base, &mut used, 1 * w.rows1 * 32);
                w.x46 = take(base, &mut used, w.panels1 * 32);
                w.x47 = take(base, &mut used, 1 * 16);
                w.x53 = take(base, &mut used, 1 * 32);
                w.x54 = take(base, &mut used, 1 * 32);
                w.x58 = take(base, &mut used, w.panels1 * 32);
                w.x59 = take(base, &mut used, 1 * 16);
                w.x60 = take(base, &mut used, 1 * 16);
                w.x66 = take(base, &mut used, 1 * 32);
                w.x73 = take(base, &mut used, 1 * w.rows0 * 32);
                w.x76 = take(base, &mut used, 1 * w.rows0 * 32);
                w.x82 = take(base, &mut used, 32 * 32);
                w.x88 = take(base, &mut used, w.rows0 * 32);
                w.x89 = take(base, &mut used, 1 * 32);
                w.x91 = take(base, &mut used, 1 * 32);
                w.x92 = take(base, &mut used, 1 * 32);
                w.x93 = take(base, &mut used, 1 * 32);
                w.x100 = take(base, &mut used, 1 * 32);
                w.x101 = take(base, &mut used, 1 * 32);
                w.x108 = take(base, &mut used, 1 * 32);
                w.x111 = take(base, &mut used, 1 * 1024);
                w.x111_t = take(base, &mut used, 1 * 1024);
                w.x112 = take(base, &mut used, 1 * 1024);
                w.x118 = take(base, &mut used, w.rows0 * 32);
                w.x119 = take(base, &mut used, 1 * 32);
                w.x120 = take(base, &mut used, 1 * w.rows0 * 32);
                w.x120_t = take(base, &mut used, w.panels0 * 1024);
                w.x121 = take(base, &mut used, 1 * 32);
                w.x157_own = take(base, &mut used, w.panels1 * 1024);
                w.list = take(base, &mut used, 904);
                w.x83_part = take(base, &mut used, 32 * 16);
                w.x100_part = take(base, &mut used, 32 * 16);
                w.x124_part = take(base, &mut used, 32 * 16);
                w.x137_tmp = take(base, &mut used, 512);
                w.x156_part = take(base, &mut used, 32 * 16);
                // values that are never alive together share a place
                w.x12 = w.beta;
                w.x22 = w.x8;
                w.x34 = w.g;
                w.x55 = w.x108;
                w.x61 = w.x59;
                w.x62 = w.x21;
                w.x63 = w.gamma;
                w.x69 = w.x66;
                w.x83 = w.x11;
                w.x124 = w.x119;
                w.x125 = w.x108;
                w.x126 = w.x21;
                w.x127 = w.x82;
                w.x128 = w.x8;
                w.x128_t = w.x22_t;
                w.x133 = w.x32;
                w.x133_t = w.x29;
                w.x136 = w.x16;
                w.x137 = w.x93;
                w.x138 = w.x119;
                w.x147 = w.x31;
                w.x148 = w.x7;
                w.x150 = w.k_t;
                w.x150_t = w.x38;
                w.x151 = w.g;
                w.x152 = w.x93;
                w.x156 = w.x121;
                w.x158 = w.x93;
                w.x159 = w.g;
                w.x160 = w.gamma;
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
            lines(w.panels1 * w.rows0 * 32) + lines(w.panels1 * w.rows0 * 32) + lines(w.panels1 * 32 * 32)
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x3, x7, x11, x21, x23, x30.
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
                    let v11 = exp(v3); // x11
                    store(w.x11.add(p * 32).add(j * L), v11);
                    let v10 = load(w.gamma.add(p * 32 + j * L));
                    let v21 = if_nonzero(v2, v10); // x21
                    store(w.x21.add(p * 32).add(j * L), v21);
                    let v23 = exp(v1); // x23
                    store(w.x23.add(p * 32).add(j * L), v23);
                    let v30 = mul(v10, v23); // x30
                    store(w.x30.add(p * 32).add(j * L), v30);
                }
            }
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Elementwise x8.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s1(w: &Work, p: usize) {
            for r in 0..32 {
                let _ = r;
                let v7r = splat(*w.x7.add(r));
                for j in 0..2 {
                    let v6 = load(w.v.add(p * w.v_panel + (r) * w.v_row).add(j * L));
                    let v8 = mul(v7r, v6); // x8
                    store(w.x8.add(p * 1024 + r * 32).add(j * L), v8);
                }
            }
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// All of x12.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s2(w: &Work) {
            prefix_scalar(w.x11, w.x12, 32);
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x13, x34.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s3(w: &Work) {
            for r in 0..32 {
                let _ = r;
                let mut s34 = zero();
                let v12r = splat(*w.x12.add(r));
                for p in 0..w.n0 / 32 {
                    for j in 0..2 {
                        let v4 = load(w.k.add(p * 1024 + r * 32).add(j * L));
                        let v13 = mul(v12r, v4); // x13
                        store(w.x13.add(p * 1024 + r * 32).add(j * L), v13);
                        let v24 = load(w.q.add(p * 1024 + r * 32).add(j * L));
                        let v33 = mul(v4, v24); // x33
                        s34 = add(s34, v33);
                    }
                }
                for p in w.n0 / 32..w.panels0 {
                    for j in 0..2 {
                        let v4 = load(w.k.add(p * 1024 + r * 32).add(j * L));
                        let v13 = mul(v12r, v4); // x13
                        store(w.x13.add(p * 1024 + r * 32).add(j * L), v13);
                        let v24 = load(w.q.add(p * 1024 + r * 32).add(j * L));
                        let v33 = mul(v4, v24); // x33
                        s34 = add(s34, first(v33, w.n0 as isize - (p * 32 + j * L) as isize));
                    }
                }
                *w.x34.add(r) = sum(s34);
            }
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// A tile of x14, x16.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s4(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += k k^T
            product_across_ahead::<8, 2, false>(&mut acc, w.k.add(r * 32), 32, 32, 1024, w.k_t.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v14 = acc[i][j]; // x14
                    store(w.x14.add(p * 1024 + r * 32).add(j * L), v14);
                    let v15 = load(w.x15.add(p * 1024 + r * 32).add(j * L));
                    let v16 = mul(v14, v15); // x16
                    store(w.x16.add(p * 1024 + r * 32).add(j * L), v16);
                });
            });
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// All of x15.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s5(w: &Work) {
            segment(w.x11, w.x15, 32, 32);
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// Elementwise x19.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s6(w: &Work) {
            let v18 = splat(*w.clip);
            for r in 0..1 {
                let _ = r;
                for j in 0..1 {
                    let v19 = neg(v18); // x19
                    store(w.x19.add(j * L), v19);
                }
            }
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x22, x66.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s7(w: &Work) {
            let v19 = splat(*w.x19);
            let v18 = splat(*w.clip);
            for r in 0..32 {
                let _ = r;
                let mut s66 = zero();
                let v21r = splat(*w.x21.add(r));
                let v10r = splat(*w.gamma.add(r));
                for p in 0..w.n1 / 32 {
                    for j in 0..2 {
                        let v17 = load(w.x17.add(p * 1024 + r * 32).add(j * L));
                        let v20 = clamp(v17, v19, v18); // x20
                        let v22 = mul(v21r, v20); // x22
                        store(w.x22.add(p * 1024 + r * 32).add(j * L), v22);
                        let v39 = load(w.x39.add(p * 1024 + r * 32).add(j * L));
                        let v35 = mul(v10r, v22); // x35
                        let v64 = mul(v39, v35); // x64
                        s66 = add(s66, v64);
                    }
                }
                for p in w.n1 / 32..w.panels1 {
                    for j in 0..2 {
                        let v17 = load(w.x17.add(p * 1024 + r * 32).add(j * L));
                        let v20 = clamp(v17, v19, v18); // x20
                        let v22 = mul(v21r, v20); // x22
                        store(w.x22.add(p * 1024 + r * 32).add(j * L), v22);
                        let v39 = load(w.x39.add(p * 1024 + r * 32).add(j * L));
                        let v35 = mul(v10r, v22); // x35
                        let v64 = mul(v39, v35); // x64
                        s66 = add(s66, first(v64, w.n1 as isize - (p * 32 + j * L) as isize));
                    }
                }
                *w.x66.add(r) = sum(s66);
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x25, x28, x31, x73.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s8(w: &Work, p: usize) {
            let v71 = splat(0.0);
            for r in 0..w.n0 {
                let _ = r;
                for j in 0..2 {
                    let v12 = load(w.x12.add(p * 32 + j * L));
                    let v24t = load(w.q_t.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v25 = mul(v12, v24t); // x25
                    store(w.x25.add(p * w.rows0 * 32 + r * 32).add(j * L), v25);
                    let v23 = load(w.x23.add(p * 32 + j * L));
                    let v28 = mul(v23, v25); // x28
                    store(w.x28.add(p * w.rows0 * 32 + r * 32).add(j * L), v28);
                    let v30 = load(w.x30.add(p * 32 + j * L));
                    let v31 = mul(v30, v25); // x31
                    store(w.x31.add(p * w.rows0 * 32 + r * 32).add(j * L), v31);
                    let v66 = load(w.x66.add(p * 32 + j * L));
                    let v4t = load(w.k_t.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v72 = inside(v4t, v71, v71, v71); // x72
                    let v73 = add(v66, v72); // x73
                    store(w.x73.add(p * w.rows0 * 32 + r * 32).add(j * L), v73);
                }
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x26, x27, x29, x32.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s9(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += q k^T
            product_across_ahead::<8, 2, false>(&mut acc, w.q.add(r * 32), 32, 32, 1024, w.k_t.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            each!(8, i, {
                let r = r + i;
                let v23r = splat(*w.x23.add(r));
                let v30r = splat(*w.x30.add(r));
                each!(2, j, {
                    let v26 = acc[i][j]; // x26
                    store(w.x26.add(p * 1024 + r * 32).add(j * L), v26);
                    let v15 = load(w.x15.add(p * 1024 + r * 32).add(j * L));
                    let v27 = mul(v26, v15); // x27
                    store(w.x27.add(p * 1024 + r * 32).add(j * L), v27);
                    let v29 = mul(v23r, v27); // x29
                    store(w.x29.add(p * 1024 + r * 32).add(j * L), v29);
                    let v32 = mul(v30r, v27); // x32
                    store(w.x32.add(p * 1024 + r * 32).add(j * L), v32);
                });
            });
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// All of x36.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s10(w: &Work) {
            total_scalar(w.x11, w.x36, 32);
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// All of x37.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s11(w: &Work) {
            suffix_scalar(w.x11, w.x37, 32);
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Elementwise x38.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s12(w: &Work, p: usize) {
            for r in 0..32 {
                let _ = r;
                let v37r = splat(*w.x37.add(r));
                for j in 0..2 {
                    let v4 = load(w.k.add(p * 1024 + r * 32).add(j * L));
                    let v38 = mul(v37r, v4); // x38
                    store(w.x38.add(p * 1024 + r * 32).add(j * L), v38);
                }
            }
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Elementwise x46, x58.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s13(w: &Work, p: usize) {
            let mut s46 = [zero(); 2];
            let mut s58 = [zero(); 2];
            for r in 0..w.n0 {
                let _ = r;
                for j in 0..2 {
                    let v41 = load(w.x41.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v9 = load(w.R.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v44 = mul(v41, v9); // x44
                    s46[j] = add(s46[j], v44);
                    let v40 = load(w.x40.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v0 = load(w.S.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v56 = mul(v40, v0); // x56
                    s58[j] = add(s58[j], v56);
                }
            }
            for j in 0..2 {
                store(w.x46.add(p * 32 + j * L), s46[j]);
            }
            for j in 0..2 {
                store(w.x58.add(p * 32 + j * L), s58[j]);
            }
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Elementwise x47, x59.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s14(w: &Work) {
            for r in 0..1 {
                let _ = r;
                let mut s47 = zero();
                let mut s59 = zero();
                for p in 0..w.n1 / 32 {
                    for j in 0..2 {
                        let v46 = load(w.x46.add(p * 32 + j * L));
                        s47 = add(s47, v46);
                        let v58 = load(w.x58.add(p * 32 + j * L));
                        s59 = add(s59, v58);
                    }
                }
                for p in w.n1 / 32..w.panels1 {
                    for j in 0..2 {
                        let v46 = load(w.x46.add(p * 32 + j * L));
                        s47 = add(s47, first(v46, w.n1 as isize - (p * 32 + j * L) as isize));
                        let v58 = load(w.x58.add(p * 32 + j * L));
                        s59 = add(s59, first(v58, w.n1 as isize - (p * 32 + j * L) as isize));
                    }
                }
                *w.x47.add(r) = sum(s47);
                *w.x59.add(r) = sum(s59);
            }
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x50, x51, x52, x53, x76.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s15(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += x41^T x22^T
            product_across_ahead::<8, 2, false>(&mut acc, w.x41.add(r * 32), 32, 32, w.rows0 * 32, w.x22_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
            // acc += x40^T x8^T
            product_across_ahead::<8, 2, false>(&mut acc, w.x40.add(r * 32), 32, 32, w.rows0 * 32, w.x8_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
            let mut s53 = [zero(); 2];
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v50 = acc[i][j]; // x50
                    let v4t = load(w.k_t.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v51 = mul(v50, v4t); // x51
                    let v37 = load(w.x37.add(p * 32 + j * L));
                    let v52 = mul(v50, v37); // x52
                    let v73 = load(w.x73.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v24t = load(w.q_t.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v74 = mul(v73, v24t); // x74
                    let v76 = add(v52, v74); // x76
                    store(w.x76.add(p * w.rows0 * 32 + r * 32).add(j * L), v76);
                    if r < w.n0 { s53[j] = add(s53[j], v51); }
                });
            });
            for j in 0..2 {
                store(w.x53.add(p * 32 + j * L), if r == 0 { s53[j] } else { add(load(w.x53.add(p * 32 + j * L)), s53[j]) });
            }
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Elementwise x54.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s16(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v53 = load(w.x53.add(p * 32 + j * L));
                    let v37 = load(w.x37.add(p * 32 + j * L));
                    let v54 = mul(v53, v37); // x54
                    store(w.x54.add(p * 32).add(j * L), v54);
                }
            }
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// All of x55.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s17(w: &Work) {
            sum_before_scalar(w.x54, w.x55, 32);
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Elementwise x60.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s18(w: &Work) {
            let v47 = splat(*w.x47);
            let v59 = splat(*w.x59);
            for r in 0..1 {
                let _ = r;
                for j in 0..1 {
                    let v60 = add(v47, v59); // x60
                    store(w.x60.add(j * L), v60);
                }
            }
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Elementwise x61.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s19(w: &Work) {
            let v60 = splat(*w.x60);
            let v36 = splat(*w.x36);
            for r in 0..1 {
                let _ = r;
                for j in 0..1 {
                    let v61 = mul(v60, v36); // x61
                    store(w.x61.add(j * L), v61);
                }
            }
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Elementwise x62.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s20(w: &Work, p: usize) {
            let v61 = splat(*w.x61);
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v2 = load(w.x2.add(p * 32 + j * L));
                    let v62 = if_nonzero(v2, v61); // x62
                    store(w.x62.add(p * 32).add(j * L), v62);
                }
            }
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Elementwise x63.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s21(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v55 = load(w.x55.add(p * 32 + j * L));
                    let v62 = load(w.x62.add(p * 32 + j * L));
                    let v63 = add(v55, v62); // x63
                    store(w.x63.add(p * 32).add(j * L), v63);
                }
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x69.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s22(w: &Work) {
            for r in 0..32 {
                let _ = r;
                let mut s69 = zero();
                let v34r = splat(*w.x34.add(r));
                for p in 0..w.n1 / 32 {
                    for j in 0..2 {
                        let v39 = load(w.x39.add(p * 1024 + r * 32).add(j * L));
                        let v65 = mul(v39, v34r); // x65
                        let v22 = load(w.x22.add(p * 1024 + r * 32).add(j * L));
                        let v67 = mul(v65, v22); // x67
                        s69 = add(s69, v67);
                    }
                }
                for p in w.n1 / 32..w.panels1 {
                    for j in 0..2 {
                        let v39 = load(w.x39.add(p * 1024 + r * 32).add(j * L));
                        let v65 = mul(v39, v34r); // x65
                        let v22 = load(w.x22.add(p * 1024 + r * 32).add(j * L));
                        let v67 = mul(v65, v22); // x67
                        s69 = add(s69, first(v67, w.n1 as isize - (p * 32 + j * L) as isize));
                    }
                }
                *w.x69.add(r) = sum(s69);
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x77, x79, x81, x82, x83.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s23(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += x39 x22^T
            product_across_ahead::<8, 2, false>(&mut acc, w.x39.add(r * 32), 32, 32, 1024, w.x22_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
            each!(8, i, {
                let r = r + i;
                let mut s83 = zero();
                let v30r = splat(*w.x30.add(r));
                each!(2, j, {
                    let v77 = acc[i][j]; // x77
                    let v79 = below_diagonal(v77, r, p * 32 + j * L); // x79
                    let v27 = load(w.x27.add(p * 1024 + r * 32).add(j * L));
                    let v81 = mul(v79, v27); // x81
                    let v82 = mul(v79, v30r); // x82
                    store(w.x82.add(r * 32).add(j * L), v82);
                    s83 = add(s83, v81);
                });
                let at = w.x83_part.add(r * L);
                store(at, if p == 0 { s83 } else { add(load(at), s83) });
            });
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x80, x122, x123, x124, x127, x128.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s24(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x68
            each!(8, i, {
                let r = r + i;
                let v34r = splat(*w.x34.add(r));
                let v10r = splat(*w.gamma.add(r));
                each!(2, j, {
                    let v39 = load(w.x39.add(p * 1024 + r * 32).add(j * L));
                    let v65 = mul(v39, v34r); // x65
                    let v68 = mul(v65, v10r); // x68
                    acc[i][j] = v68;
                });
            });
            // acc += x38 x41^T
            product_across_ahead::<8, 2, false>(&mut acc, w.x38.add(r * 32), 32, 32, 1024, w.x41.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            // acc += x32^T x39
            product::<8, 2, false>(&mut acc, w.x32.add(r / 32 * 1024 + r % 32).add((r) * 32), 1, 32, w.x39.add(p * 1024 + (r) * 32), 32, 32 - r);
            let v19 = splat(*w.x19);
            let v18 = splat(*w.clip);
            let tile = acc;
            for i in 0..8 {
                let r = r + i;
                let mut s124 = zero();
                let v21r = splat(*w.x21.add(r));
                for j in 0..2 {
                    let v80 = tile[i][j]; // x80
                    let v17 = load(w.x17.add(p * 1024 + r * 32).add(j * L));
                    let v20 = clamp(v17, v19, v18); // x20
                    let v122 = mul(v80, v20); // x122
                    let v123 = mul(v80, v21r); // x123
                    let v127 = inside(v17, v19, v18, v123); // x127
                    store(w.x127.add(r * 32).add(j * L), v127);
                    let v128 = neg(v127); // x128
                    store(w.x128.add(p * 1024 + r * 32).add(j * L), v128);
                    s124 = add(s124, first(v122, w.n1 as isize - (p * 32 + j * L) as isize));
                }
                let at = w.x124_part.add(r * L);
                store(at, if p == 0 { s124 } else { add(load(at), s124) });
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Sums over lanes: x83.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s25(w: &Work) {
            for r in 0..32 {
                *w.x83.add(r) = sum(load(w.x83_part.add(r * L)));
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x84, x87, x88, x89.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s26(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += R^T x39^T
            product_across_ahead::<8, 2, false>(&mut acc, w.R.add(r * 32), 32, 32, w.rows0 * 32, w.x39_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
            let mut s89 = [zero(); 2];
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v84 = acc[i][j]; // x84
                    let v25 = load(w.x25.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v87 = mul(v84, v25); // x87
                    let v30 = load(w.x30.add(p * 32 + j * L));
                    let v88 = mul(v84, v30); // x88
                    store(w.x88.add(r * 32).add(j * L), v88);
                    if r < w.n0 { s89[j] = add(s89[j], v87); }
                });
            });
            for j in 0..2 {
                store(w.x89.add(p * 32 + j * L), if r == 0 { s89[j] } else { add(load(w.x89.add(p * 32 + j * L)), s89[j]) });
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x86.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s27(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x45^T
            let v36 = splat(*w.x36);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v41 = load(w.x41.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v45 = mul(v41, v36); // x45
                    acc[i][j] = v45;
                });
            });
            // acc += x31^T x39
            product_across::<8, 2, false>(&mut acc, w.x31.add(r * 32), 32, 32, w.rows0 * 32, w.x39.add(p * 1024), 32, 32);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v86 = acc[i][j]; // x86
                    store(w.x86.add(p * w.rows0 * 32 + r * 32).add(j * L), v86);
                });
            });
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x90, x91, x92.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s28(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v83 = load(w.x83.add(p * 32 + j * L));
                    let v89 = load(w.x89.add(p * 32 + j * L));
                    let v90 = add(v83, v89); // x90
                    let v23 = load(w.x23.add(p * 32 + j * L));
                    let v91 = mul(v90, v23); // x91
                    store(w.x91.add(p * 32).add(j * L), v91);
                    let v10 = load(w.gamma.add(p * 32 + j * L));
                    let v92 = mul(v90, v10); // x92
                    store(w.x92.add(p * 32).add(j * L), v92);
                }
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x93.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s29(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v69 = load(w.x69.add(p * 32 + j * L));
                    let v91 = load(w.x91.add(p * 32 + j * L));
                    let v93 = add(v69, v91); // x93
                    store(w.x93.add(p * 32).add(j * L), v93);
                }
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x94, x96, x98, x99, x100, x102, x111, x112.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s30(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += x39 x8^T
            product_across_ahead::<8, 2, false>(&mut acc, w.x39.add(r * 32), 32, 32, 1024, w.x8_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
            let tile = acc;
            for i in 0..8 {
                let r = r + i;
                let mut s100 = zero();
                let v23r = splat(*w.x23.add(r));
                for j in 0..2 {
                    let v94 = tile[i][j]; // x94
                    let v96 = below_diagonal(v94, r, p * 32 + j * L); // x96
                    let v27 = load(w.x27.add(p * 1024 + r * 32).add(j * L));
                    let v98 = mul(v96, v27); // x98
                    let v99 = mul(v96, v23r); // x99
                    let v82 = load(w.x82.add(r * 32).add(j * L));
                    let v102 = add(v82, v99); // x102
                    let v15 = load(w.x15.add(p * 1024 + r * 32).add(j * L));
                    let v111 = mul(v102, v15); // x111
                    store(w.x111.add(p * 1024 + r * 32).add(j * L), v111);
                    let v26 = load(w.x26.add(p * 1024 + r * 32).add(j * L));
                    let v112 = mul(v102, v26); // x112
                    store(w.x112.add(p * 1024 + r * 32).add(j * L), v112);
                    s100 = add(s100, v98);
                }
                let at = w.x100_part.add(r * L);
                store(at, if p == 0 { s100 } else { add(load(at), s100) });
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Sums over lanes: x100.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s31(w: &Work) {
            for r in 0..32 {
                *w.x100.add(r) = sum(load(w.x100_part.add(r * L)));
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x101.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s32(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v92 = load(w.x92.add(p * 32 + j * L));
                    let v100 = load(w.x100.add(p * 32 + j * L));
                    let v101 = add(v92, v100); // x101
                    store(w.x101.add(p * 32).add(j * L), v101);
                }
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x103, x106, x107, x108, x110, x117, x118, x119.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s33(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += S^T x39^T
            product_across_ahead::<8, 2, false>(&mut acc, w.S.add(r * 32), 32, 32, w.rows0 * 32, w.x39_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
            let mut s108 = [zero(); 2];
            let mut s119 = [zero(); 2];
            let tile = acc;
            for i in 0..8 {
                let r = r + i;
                for j in 0..2 {
                    let v103 = tile[i][j]; // x103
                    let v25 = load(w.x25.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v106 = mul(v103, v25); // x106
                    let v23 = load(w.x23.add(p * 32 + j * L));
                    let v107 = mul(v103, v23); // x107
                    let v88 = load(w.x88.add(r * 32).add(j * L));
                    let v110 = add(v88, v107); // x110
                    let v24t = load(w.q_t.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v117 = mul(v110, v24t); // x117
                    let v12 = load(w.x12.add(p * 32 + j * L));
                    let v118 = mul(v110, v12); // x118
                    store(w.x118.add(r * 32).add(j * L), v118);
                    if r < w.n0 { s108[j] = add(s108[j], v106); }
                    if r < w.n0 { s119[j] = add(s119[j], v117); }
                }
            }
            for j in 0..2 {
                store(w.x108.add(p * 32 + j * L), if r == 0 { s108[j] } else { add(load(w.x108.add(p * 32 + j * L)), s108[j]) });
            }
            for j in 0..2 {
                store(w.x119.add(p * 32 + j * L), if r == 0 { s119[j] } else { add(load(w.x119.add(p * 32 + j * L)), s119[j]) });
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x109, x121.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s34(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v101 = load(w.x101.add(p * 32 + j * L));
                    let v108 = load(w.x108.add(p * 32 + j * L));
                    let v109 = add(v101, v108); // x109
                    let v23 = load(w.x23.add(p * 32 + j * L));
                    let v121 = mul(v109, v23); // x121
                    store(w.x121.add(p * 32).add(j * L), v121);
                }
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x120.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s35(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x75^T + x118^T
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v73 = load(w.x73.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v4t = load(w.k_t.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v75 = mul(v73, v4t); // x75
                    let v118 = load(w.x118.add(r * 32).add(j * L));
                    acc[i][j] = add(v75, v118);
                });
            });
            // acc += k^T x111^T
            product::<8, 2, false>(&mut acc, w.k.add(r / 32 * 1024 + r % 32), 1, 32, w.x111_t.add(p * 1024), 32, 32);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v120 = acc[i][j]; // x120
                    store(w.x120.add(p * w.rows0 * 32 + r * 32).add(j * L), v120);
                });
            });
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// Sums over lanes: x124.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s36(w: &Work) {
            for r in 0..32 {
                *w.x124.add(r) = sum(load(w.x124_part.add(r * L)));
            }
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// Elementwise x125.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s37(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v2 = load(w.x2.add(p * 32 + j * L));
                    let v124 = load(w.x124.add(p * 32 + j * L));
                    let v125 = if_nonzero(v2, v124); // x125
                    store(w.x125.add(p * 32).add(j * L), v125);
                }
            }
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// Elementwise x126.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s38(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v93 = load(w.x93.add(p * 32 + j * L));
                    let v125 = load(w.x125.add(p * 32 + j * L));
                    let v126 = add(v93, v125); // x126
                    store(w.x126.add(p * 32).add(j * L), v126);
                }
            }
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// A tile of x129, x131, x133, x134, x135, x136.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s39(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += x128 x8^T, as far as the diagonal
            if r + 8 > p * 32 + L {
                product_across_ahead::<8, 2, false>(&mut acc, w.x128.add(r * 32), 32, 32, 1024, w.x8_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
            } else if r + 8 > p * 32 {
                let mut part = zeros::<8, 1>();
                product_across_ahead::<8, 1, false>(&mut part, w.x128.add(r * 32), 32, 32, 1024, w.x8_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
                each!(8, i, { acc[i][0] = part[i][0]; });
            }
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v129 = acc[i][j]; // x129
                    let v131 = below_diagonal(v129, r, p * 32 + j * L); // x131
                    let v15 = load(w.x15.add(p * 1024 + r * 32).add(j * L));
                    let v133 = mul(v131, v15); // x133
                    store(w.x133.add(p * 1024 + r * 32).add(j * L), v133);
                    let v14 = load(w.x14.add(p * 1024 + r * 32).add(j * L));
                    let v134 = mul(v131, v14); // x134
                    let v112 = load(w.x112.add(p * 1024 + r * 32).add(j * L));
                    let v135 = add(v112, v134); // x135
                    let v136 = mul(v135, v15); // x136
                    store(w.x136.add(p * 1024 + r * 32).add(j * L), v136);
                });
            });
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// A tile of x132, x154, x155, x156, x157.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s40(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += x38 x40^T
            product_across_ahead::<8, 2, false>(&mut acc, w.x38.add(r * 32), 32, 32, 1024, w.x40.add(p * w.rows0 * 32), 32, w.n0, &mut *w.ahead);
            // acc += x29^T x39
            product::<8, 2, false>(&mut acc, w.x29.add(r / 32 * 1024 + r % 32).add((r) * 32), 1, 32, w.x39.add(p * 1024 + (r) * 32), 32, 32 - r);
            // acc += x16^T x128
            product::<8, 2, false>(&mut acc, w.x16.add(r / 32 * 1024 + r % 32).add((r) * 32), 1, 32, w.x128.add(p * 1024 + (r) * 32), 32, 32 - r);
            let tile = acc;
            for i in 0..8 {
                let r = r + i;
                let mut s156 = zero();
                let v7r = splat(*w.x7.add(r));
                for j in 0..2 {
                    let v132 = tile[i][j]; // x132
                    let v6 = load(w.v.add(p * w.v_panel + (r) * w.v_row).add(j * L));
                    let v154 = mul(v132, v6); // x154
                    let v155 = mul(v132, v7r); // x155
                    let v127 = load(w.x127.add(r * 32).add(j * L));
                    let v157 = add(v127, v155); // x157
                    store(w.x157.add(p * w.x157_panel + (r) * w.x157_row).add(j * L), v157);
                    s156 = add(s156, first(v154, w.n1 as isize - (p * 32 + j * L) as isize));
                }
                let at = w.x156_part.add(r * L);
                store(at, if p == 0 { s156 } else { add(load(at), s156) });
            }
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// All of x137.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s41(w: &Work) {
            rectangle_sum(w.x136, w.x137, w.x137_tmp, 32, 32);
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// Elementwise x138.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s42(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v63 = load(w.x63.add(p * 32 + j * L));
                    let v137 = load(w.x137.add(p * 32 + j * L));
                    let v138 = add(v63, v137); // x138
                    store(w.x138.add(p * 32).add(j * L), v138);
                }
            }
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// A tile of x143, x146, x147, x148.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s43(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc += S^T x128^T
            product_across_ahead::<8, 2, false>(&mut acc, w.S.add(r * 32), 32, 32, w.rows0 * 32, w.x128_t.add(p * w.rows1 * 32), 32, w.n1, &mut *w.ahead);
            let mut s148 = [zero(); 2];
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v143 = acc[i][j]; // x143
                    let v4t = load(w.k_t.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v146 = mul(v143, v4t); // x146
                    let v12 = load(w.x12.add(p * 32 + j * L));
                    let v147 = mul(v143, v12); // x147
                    store(w.x147.add(p * w.rows0 * 32 + r * 32).add(j * L), v147);
                    if r < w.n0 { s148[j] = add(s148[j], v146); }
                });
            });
            for j in 0..2 {
                store(w.x148.add(p * 32 + j * L), if r == 0 { s148[j] } else { add(load(w.x148.add(p * 32 + j * L)), s148[j]) });
            }
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// A tile of x145.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s44(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x57^T
            let v36 = splat(*w.x36);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v40 = load(w.x40.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v57 = mul(v40, v36); // x57
                    acc[i][j] = v57;
                });
            });
            // acc += x28^T x39
            product_across::<8, 2, false>(&mut acc, w.x28.add(r * 32), 32, 32, w.rows0 * 32, w.x39.add(p * 1024), 32, 32);
            // acc += x13^T x128
            product::<8, 2, false>(&mut acc, w.x13.add(r / 32 * 1024 + r % 32), 1, 32, w.x128.add(p * 1024), 32, 32);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v145 = acc[i][j]; // x145
                    store(w.x145.add(p * w.rows0 * 32 + r * 32).add(j * L), v145);
                });
            });
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// Elementwise x149, x151.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s45(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v119 = load(w.x119.add(p * 32 + j * L));
                    let v148 = load(w.x148.add(p * 32 + j * L));
                    let v149 = add(v119, v148); // x149
                    let v12 = load(w.x12.add(p * 32 + j * L));
                    let v151 = mul(v149, v12); // x151
                    store(w.x151.add(p * 32).add(j * L), v151);
                }
            }
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// A tile of x150.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s46(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x76^T + x147^T
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v76 = load(w.x76.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v147 = load(w.x147.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    acc[i][j] = add(v76, v147);
                });
            });
            // acc += q^T x111
            product::<8, 2, false>(&mut acc, w.q.add(r / 32 * 1024 + r % 32), 1, 32, w.x111.add(p * 1024), 32, 32);
            // acc += k^T x133^T
            product::<8, 2, false>(&mut acc, w.k.add(r / 32 * 1024 + r % 32), 1, 32, w.x133_t.add(p * 1024), 32, 32);
            // acc += k^T x133
            product::<8, 2, false>(&mut acc, w.k.add(r / 32 * 1024 + r % 32), 1, 32, w.x133.add(p * 1024), 32, 32);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v150 = acc[i][j]; // x150
                    store(w.x150.add(p * w.rows0 * 32 + r * 32).add(j * L), v150);
                });
            });
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// All of x152.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s47(w: &Work) {
            sum_after_scalar(w.x151, w.x152, 32);
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Elementwise x153, x159.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s48(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v138 = load(w.x138.add(p * 32 + j * L));
                    let v152 = load(w.x152.add(p * 32 + j * L));
                    let v153 = add(v138, v152); // x153
                    let v2 = load(w.x2.add(p * 32 + j * L));
                    let v159 = if_nonzero(v2, v153); // x159
                    store(w.x159.add(p * 32).add(j * L), v159);
                }
            }
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Sums over lanes: x156.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s49(w: &Work) {
            for r in 0..32 {
                *w.x156.add(r) = sum(load(w.x156_part.add(r * L)));
            }
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Elementwise x158.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s50(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v2 = load(w.x2.add(p * 32 + j * L));
                    let v156 = load(w.x156.add(p * 32 + j * L));
                    let v158 = if_nonzero(v2, v156); // x158
                    store(w.x158.add(p * 32).add(j * L), v158);
                }
            }
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Elementwise x160.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s51(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v121 = load(w.x121.add(p * 32 + j * L));
                    let v159 = load(w.x159.add(p * 32 + j * L));
                    let v160 = add(v121, v159); // x160
                    store(w.x160.add(p * 32).add(j * L), v160);
                }
            }
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// The other orientation of k.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s52(w: &Work, p: usize) {
            turn(w.k.add(p * 1024), 32, 32, w.k_t.add(p * 32 * 32), 32, w.rows0 * 32);
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// The other orientation of x8.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s53(w: &Work, p: usize) {
            turn(w.x8.add(p * 1024), 32, 32, w.x8_t.add(p * 32 * 32), 32, w.rows1 * 32);
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// The other orientation of x22.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s54(w: &Work, p: usize) {
            turn(w.x22.add(p * 1024), 32, 32, w.x22_t.add(p * 32 * 32), 32, w.rows1 * 32);
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// The other orientation of q.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s55(w: &Work, p: usize) {
            turn(w.q.add(p * 1024), 32, 32, w.q_t.add(p * 32 * 32), 32, w.rows0 * 32);
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// The other orientation of x39.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s56(w: &Work, p: usize) {
            turn(w.x39.add(p * 1024), 32, 32, w.x39_t.add(p * 32 * 32), 32, w.rows1 * 32);
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// The other orientation of x111.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s57(w: &Work, p: usize) {
            turn(w.x111.add(p * 1024), 32, 32, w.x111_t.add(p * 32 * 32), 32, 1024);
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// The other orientation of x120.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s58(w: &Work, p: usize) {
            turn(w.x120.add(p * w.rows0 * 32), w.n0, 32, w.x120_t.add(p * 32 * 32), 32, 1024);
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// The other orientation of x128.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s59(w: &Work, p: usize) {
            turn(w.x128.add(p * 1024), 32, 32, w.x128_t.add(p * 32 * 32), 32, w.rows1 * 32);
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// The other orientation of x133.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s60(w: &Work, p: usize) {
            turn(w.x133.add(p * 1024), 32, 32, w.x133_t.add(p * 32 * 32), 32, 1024);
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// The other orientation of x150.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn s61(w: &Work, p: usize) {
            turn(w.x150.add(p * w.rows0 * 32), w.n0, 32, w.x150_t.add(p * 32 * 32), 32, 1024);
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
            for p in 0..w.panels1 {
                s1(w, p);
                s53(w, p);
                s56(w, p);
            }
            s2(w);
            s3(w);
            s5(w);
            s7(w);
            s10(w);
            s11(w);
            for p in 0..w.panels0 {
                s12(w, p);
                s52(w, p);
                s55(w, p);
            }
            for p in 0..1 {
                for r in (0..32).step_by(8) {
                    s4(w, p, r);
                }
                s8(w, p);
                for r in (0..32).step_by(8) {
                    s9(w, p, r);
                }
            }
            s22(w);
            for p in 0..w.panels1 {
                s54(w, p);
            }
            for p in 0..1 {
                for r in (0..32).step_by(8) {
                    s23(w, p, r);
                }
                for r in (0..32).step_by(8) {
                    s30(w, p, r);
                }
                s57(w, p);
            }
            s25(w);
            s31(w);
            for p in 0..1 {
                for r in (0..w.n0).step_by(8) {
                    s15(w, p, r);
                }
                s16(w, p);
                for r in (0..w.n0).step_by(8) {
                    s26(w, p, r);
                }
                s28(w, p);
                s29(w, p);
                s32(w, p);
                for r in (0..w.n0).step_by(8) {
                    s33(w, p, r);
                }
                s34(w, p);
                for r in (0..w.n0).step_by(8) {
                    s35(w, p, r);
                }
                s58(w, p);
            }
            s17(w);
            for p in 0..w.panels1 {
                s13(w, p);
                for r in (0..32).step_by(8) {
                    s24(w, p, r);
                }
                for r in (0..w.n0).step_by(8) {
                    s27(w, p, r);
                }
                for r in (0..32).step_by(8) {
                    s40(w, p, r);
                }
                for r in (0..w.n0).step_by(8) {
                    s44(w, p, r);
                }
                s59(w, p);
            }
            s14(w);
            s18(w);
            s19(w);
            for p in 0..1 {
                s20(w, p);
                s21(w, p);
                for r in (0..32).step_by(8) {
                    s39(w, p, r);
                }
                for r in (0..w.n0).step_by(8) {
                    s43(w, p, r);
                }
                s45(w, p);
                s60(w, p);
            }
            s36(w);
            for p in 0..1 {
                s37(w, p);
                s38(w, p);
                for r in (0..w.n0).step_by(8) {
                    s46(w, p, r);
                }
                s61(w, p);
            }
            s41(w);
            for p in 0..1 {
                s42(w, p);
            }
            s47(w);
            for p in 0..1 {
                s48(w, p);
                s51(w, p);
            }
            s49(w);
            for p in 0..1 {
                s50(w, p);
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
            pack_or_zero(&*x.output_grads.add(0), t0, valid, 32, w.n1, w.x39, 32, 1024);
        }

        /// Writes the chunk's results.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        unsafe fn write_chunk(w: &Work, x: &Args, t0: usize, valid: usize) {
            let _ = (w, x, t0, valid);
            unpack_streamed(&*x.input_grads.add(0), t0, valid, w.n0, w.x120_t, 32, 1024);
            unpack_streamed(&*x.input_grads.add(1), t0, valid, w.n0, w.x150_t, 32, 1024);
            if w.x157 == w.x157_own { unpack_streamed(&*x.input_grads.add(2), t0, valid, w.n1, w.x157, 32, w.x157_panel); }
            unpack_scalars(&*x.input_grads.add(3), t0, valid, w.x160);
            unpack_scalars(&*x.input_grads.add(4), t0, valid, w.x158);
            unpack_scalars(&*x.input_grads.add(5), t0, valid, w.x126);
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
            let requests = 2 * 1 * 4 * (w.n0 / 4) + 3 * 1 * 4 * (w.n1 / 4) + 5 * 1 * w.n0.div_ceil(8) * (w.n1 / 4) + 2 * w.panels1 * 4 * (w.n0 / 4);
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
                let _ = (start0, start1, saved0,);
                w.x40 = w.state0;
                let next0 = w.state0;
                w.x41 = w.state1;
                let next1 = w.state1;
                w.x86 = next1;
                w.x145 = next0;
                w.S = start0;
                w.R = start1;
                w.x17 = saved0;
                (w.v, w.v_panel, w.v_row) = place(&*x.inputs.add(2), t0, valid == 32, w.n1, 32, w.v_own, 1024);
                (w.x157, w.x157_panel, w.x157_row) = place(&*x.input_grads.add(2), t0, valid == 32, w.n1, 32, w.x157_own, 1024);
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
            x8: *mut f32,
            gamma: *mut f32,
            x11: *mut f32,
            x12: *mut f32,
            x16: *mut f32,
            x17: *mut f32,
            x22: *mut f32,
            x24: *mut f32,
            x25: *mut f32,
            x26: *mut f32,
            x31: *mut f32,
            x33: *mut f32,
            x36: *mut f32,
            x38: *mut f32,
            x40: *mut f32,
            x44: *mut f32,
            x46: *mut f32,
            x48_own: *mut f32,
            x49: *mut f32,
            x51: *mut f32,
            x52: *mut f32,
            S_pairs: *mut f32,
            k_pairs: *mut f32,
            k_bf16: *mut f32,
            k_t_pairs: *mut f32,
            v_bf16_own: *mut f32,
            R_pairs: *mut f32,
            q_bf16: *mut f32,
            x53_pairs: *mut f32,
            x57_pairs: *mut f32,
            list: *mut f32,
            x55: *mut f32,
            x59: *mut f32,
            x55_pairs: *mut f32,
            x59_pairs: *mut f32,
            S: *mut f32,
            R: *mut f32,
            clip: *mut f32,
            x48: *mut f32,
            v_bf16: *mut f32,
            x48_panel: usize,
            x48_row: usize,
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
                    x8: none,
                    gamma: none,
                    x11: none,
                    x12: none,
                    x16: none,
                    x17: none,
                    x22: none,
                    x24: none,
                    x25: none,
                    x26: none,
                    x31: none,
                    x33: none,
                    x36: none,
                    x38: none,
                    x40: none,
                    x44: none,
                    x46: none,
                    x48_own: none,
                    x49: none,
                    x51: none,
                    x52: none,
                    S_pairs: none,
                    k_pairs: none,
                    k_bf16: none,
                    k_t_pairs: none,
                    v_bf16_own: none,
                    R_pairs: none,
                    q_bf16: none,
                    x53_pairs: none,
                    x57_pairs: none,
                    list: none,
                    x55: none,
                    x59: none,
                    x55_pairs: none,
                    x59_pairs: none,
                    S: none,
                    R: none,
                    clip: none,
                    x48: none,
                    v_bf16: none,
                    x48_panel: 0,
                    x48_row: 0,
                    v_bf16_panel: 0,
                    v_bf16_row: 0,
                    state0: none,
                    state1: none,
                };
                w.g = take(base, &mut used, 1 * 32);
                w.x2 = take(base, &mut used, 1 * 32);
                w.beta = take(base, &mut used, 1 * 32);
                w.x7 = take(base, &mut used, 1 * 32);
                w.x8 = take(base, &mut used, w.panels1 * 1024);
                w.gamma = take(base, &mut used, 1 * 32);
                w.x11 = take(base, &mut used, 1 * 32);
                w.x16 = take(base, &mut used, 1 * 1024);
                w.x17 = take(base, &mut used, 1 * 1024);
                w.x22 = take(base, &mut used, 1 * 16);
                w.x24 = take(base, &mut used, 1 * 32);
                w.x25 = take(base, &mut used, 32 * 32);
                w.x26 = take(base, &mut used, 1 * 32);
                w.x33 = take(base, &mut used, 1 * 1024);
                w.x38 = take(base, &mut used, 1 * 32);
                w.x40 = take(base, &mut used, 1 * 1024);
                w.x44 = take(base, &mut used, 1 * 32);
                w.x46 = take(base, &mut used, 32 * 32);
                w.x48_own = take(base, &mut used, w.panels1 * 1024);
                w.x49 = take(base, &mut used, 1 * 16);
                w.x51 = take(base, &mut used, 1 * 32);
                w.S_pairs = take(base, &mut used, w.panels1 * w.rows0 * 16);
                w.k_pairs = take(base, &mut used, w.panels0 * 512);
                w.k_bf16 = take(base, &mut used, w.panels0 * 512);
                w.k_t_pairs = take(base, &mut used, 1 * w.rows0 * 16);
                w.v_bf16_own = take(base, &mut used, w.panels1 * 512);
                w.R_pairs = take(base, &mut used, w.panels1 * w.rows0 * 16);
                w.q_bf16 = take(base, &mut used, w.panels0 * 512);
                w.x53_pairs = take(base, &mut used, w.panels1 * 512);
                w.x57_pairs = take(base, &mut used, 512);
                w.list = take(base, &mut used, 520);
                // values that are never alive together share a place
                w.x12 = w.beta;
                w.x31 = w.g;
                w.x36 = w.x2;
                w.x52 = w.x11;
                w.x55_pairs = w.S_pairs;
                w.x59_pairs = w.R_pairs;
                w.state0 = take(base, &mut used, w.panels1 * w.rows0 * 32);
                w.state1 = take(base, &mut used, w.panels1 * w.rows0 * 32);
                (w, used)
            }
        }

        /// Floats of working memory.
        pub unsafe fn scratch(n: *const usize) -> usize {
            Work::new(n, core::ptr::null_mut()).1
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x3, x7, x11, x24, x26.
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
                    let v11 = exp(v3); // x11
                    store(w.x11.add(p * 32).add(j * L), v11);
                    let v10 = load(w.gamma.add(p * 32 + j * L));
                    let v24 = if_nonzero(v2, v10); // x24
                    store(w.x24.add(p * 32).add(j * L), v24);
                    let v26 = exp(v1); // x26
                    store(w.x26.add(p * 32).add(j * L), v26);
                }
            }
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Elementwise x8.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s1(w: &Work, p: usize) {
            for r in 0..32 {
                let _ = r;
                let v7r = splat(*w.x7.add(r));
                for j in 0..2 {
                    let v6 = load_bf16(w.v_bf16.add(p * w.v_bf16_panel + (r) * w.v_bf16_row).add(j * L / 2));
                    let v8 = mul(v7r, v6); // x8
                    store(w.x8.add(p * 1024 + r * 32).add(j * L), v8);
                }
            }
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// All of x12.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s2(w: &Work) {
            prefix_scalar(w.x11, w.x12, 32);
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// A tile of x15, x17.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s3(w: &Work, p: usize, r: usize) {
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
                    let v15 = acc[i][j]; // x15
                    let v16 = load(w.x16.add(p * 1024 + r * 32).add(j * L));
                    let v17 = mul(v15, v16); // x17
                    store(w.x17.add(p * 1024 + r * 32).add(j * L), v17);
                });
            });
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// All of x16.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s4(w: &Work) {
            segment(w.x11, w.x16, 32, 32);
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x20, x23, x25, x45, x46, x57.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s5(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x12 (k S^T)
            product_pairs_across::<8, 2, false>(&mut acc, w.k_bf16.add(r * 16), 16, 16, 512, w.S_pairs.add(p * w.rows0 * 16), 32, w.n0, Some(&mut *w.ahead));
            // acc += v
            each!(8, i, {
                let r = r + i;
                let v12r = splat(*w.x12.add(r));
                each!(2, j, {
                    let v6 = load_bf16(w.v_bf16.add(p * w.v_bf16_panel + (r) * w.v_bf16_row).add(j * L / 2));
                    acc[i][j] = fnma(v12r, acc[i][j], v6);
                });
            });
            // acc -= x17 x8
            product_across::<8, 2, true>(&mut acc, w.x17.add(r * 32), 32, 32, 1024, w.x8.add(p * 1024), 32, (32).min(r + 8));
            let v22 = splat(*w.x22);
            let v21 = splat(*w.clip);
            let mut h57 = [zero(); 2];
            let tile = acc;
            for i in 0..8 {
                let r = r + i;
                let v24r = splat(*w.x24.add(r));
                let v10r = splat(*w.gamma.add(r));
                let v44r = splat(*w.x44.add(r));
                let v51r = splat(*w.x51.add(r));
                for j in 0..2 {
                    let v20 = tile[i][j]; // x20
                    let v23 = clamp(v20, v22, v21); // x23
                    let v25 = mul(v24r, v23); // x25
                    store(w.x25.add(r * 32).add(j * L), v25);
                    let v45 = mul(v10r, v25); // x45
                    let v46 = mul(v44r, v45); // x46
                    store(w.x46.add(r * 32).add(j * L), v46);
                    let v57 = mul(v51r, v25); // x57
                    if i % 2 == 0 { h57[j] = v57; } else { store(w.x57_pairs.add((r / 2) * 32).add(j * L), pair(h57[j], v57)); }
                }
            }
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// Elementwise x22.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s6(w: &Work) {
            let v21 = splat(*w.clip);
            for r in 0..1 {
                let _ = r;
                for j in 0..1 {
                    let v22 = neg(v21); // x22
                    store(w.x22.add(j * L), v22);
                }
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x28, x29, x33, x40.
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
                let v26r = splat(*w.x26.add(r));
                let v36r = splat(*w.x36.add(r));
                each!(2, j, {
                    let v28 = acc[i][j]; // x28
                    let v16 = load(w.x16.add(p * 1024 + r * 32).add(j * L));
                    let v29 = mul(v28, v16); // x29
                    let v33 = mul(v26r, v29); // x33
                    store(w.x33.add(p * 1024 + r * 32).add(j * L), v33);
                    let v40 = mul(v36r, v29); // x40
                    store(w.x40.add(p * 1024 + r * 32).add(j * L), v40);
                });
            });
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x31, x36, x38.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s8(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v26 = load(w.x26.add(p * 32 + j * L));
                    let v12 = load(w.x12.add(p * 32 + j * L));
                    let v31 = mul(v26, v12); // x31
                    store(w.x31.add(p * 32).add(j * L), v31);
                    let v10 = load(w.gamma.add(p * 32 + j * L));
                    let v36 = mul(v10, v26); // x36
                    store(w.x36.add(p * 32).add(j * L), v36);
                    let v38 = mul(v36, v12); // x38
                    store(w.x38.add(p * 32).add(j * L), v38);
                }
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// Elementwise x44.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s9(w: &Work) {
            for r in 0..32 {
                let _ = r;
                let mut s44 = zero();
                for p in 0..w.n0 / 32 {
                    for j in 0..2 {
                        let v4 = load_bf16(w.k_bf16.add(p * 512 + r * 16).add(j * L / 2));
                        let v27 = load_bf16(w.q_bf16.add(p * 512 + r * 16).add(j * L / 2));
                        let v43 = mul(v4, v27); // x43
                        s44 = add(s44, v43);
                    }
                }
                for p in w.n0 / 32..w.panels0 {
                    for j in 0..2 {
                        let v4 = load_bf16(w.k_bf16.add(p * 512 + r * 16).add(j * L / 2));
                        let v27 = load_bf16(w.q_bf16.add(p * 512 + r * 16).add(j * L / 2));
                        let v43 = mul(v4, v27); // x43
                        s44 = add(s44, first(v43, w.n0 as isize - (p * 32 + j * L) as isize));
                    }
                }
                *w.x44.add(r) = sum(s44);
            }
        }

        /// From `output o = a * S[t-1] * q + gamma * R[t] * q`.
        /// A tile of x48.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s10(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x31 (q S^T)
            product_pairs_across::<8, 2, false>(&mut acc, w.q_bf16.add(r * 16), 16, 16, 512, w.S_pairs.add(p * w.rows0 * 16), 32, w.n0, Some(&mut *w.ahead));
            // acc += x46
            each!(8, i, {
                let r = r + i;
                let v31r = splat(*w.x31.add(r));
                each!(2, j, {
                    let v46 = load(w.x46.add(r * 32).add(j * L));
                    acc[i][j] = fma(v31r, acc[i][j], v46);
                });
            });
            // acc += x38 (q R^T)
            let mut part = zeros::<8, 2>();
            product_pairs_across::<8, 2, false>(&mut part, w.q_bf16.add(r * 16), 16, 16, 512, w.R_pairs.add(p * w.rows0 * 16), 32, w.n0, Some(&mut *w.ahead));
            each!(8, i, {
                let r = r + i;
                let v38r = splat(*w.x38.add(r));
                each!(2, j, {
                    acc[i][j] = fma(v38r, part[i][j], acc[i][j]);
                });
            });
            // acc += x33 x8
            product_across::<8, 2, false>(&mut acc, w.x33.add(r * 32), 32, 32, 1024, w.x8.add(p * 1024), 32, (32).min(r + 8));
            // acc += x40 x25
            product_across::<8, 2, false>(&mut acc, w.x40.add(r * 32), 32, 32, 1024, w.x25, 32, (32).min(r + 8));
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v48 = acc[i][j]; // x48
                    store(w.x48.add(p * w.x48_panel + (r) * w.x48_row).add(j * L), v48);
                });
            });
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// All of x49.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s11(w: &Work) {
            total_scalar(w.x11, w.x49, 32);
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// All of x51.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s12(w: &Work) {
            suffix_scalar(w.x11, w.x51, 32);
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Elementwise x52.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s13(w: &Work, p: usize) {
            for r in 0..1 {
                let _ = r;
                for j in 0..2 {
                    let v7 = load(w.x7.add(p * 32 + j * L));
                    let v51 = load(w.x51.add(p * 32 + j * L));
                    let v52 = mul(v7, v51); // x52
                    store(w.x52.add(p * 32).add(j * L), v52);
                }
            }
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// Elementwise x53.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s14(w: &Work, p: usize) {
            let mut h53 = [zero(); 2];
            for r in 0..32 {
                let _ = r;
                let v52r = splat(*w.x52.add(r));
                for j in 0..2 {
                    let v6 = load_bf16(w.v_bf16.add(p * w.v_bf16_panel + (r) * w.v_bf16_row).add(j * L / 2));
                    let v53 = mul(v52r, v6); // x53
                    if r % 2 == 0 { h53[j] = v53; } else { store(w.x53_pairs.add(p * 512 + (r / 2) * 32).add(j * L), pair(h53[j], v53)); }
                }
            }
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// A tile of x55.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s15(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x50^T
            let v49 = splat(*w.x49);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v0 = load(w.S.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v50 = mul(v49, v0); // x50
                    acc[i][j] = v50;
                });
            });
            // acc += k^T x53^T
            product_pairs::<8, 2, false>(&mut acc, w.k_pairs.add(r / 32 * 512 + r % 32), 1, 32, w.x53_pairs.add(p * 512), 32, 32, Some(&mut *w.ahead));
            let mut h55 = [zero(); 2];
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v55 = acc[i][j]; // x55
                    if i % 2 == 0 { h55[j] = v55; } else { store(w.x55_pairs.add(p * w.rows0 * 16 + (r / 2) * 32).add(j * L), pair(h55[j], v55)); }
                    store(w.x55.add(p * w.rows0 * 32 + r * 32).add(j * L), v55);
                });
            });
            if w.n0 % 2 == 1 && r <= w.n0 && w.n0 < r + 8 { end_pairs(w.x55_pairs.add(p * w.rows0 * 16 + (w.n0 / 2) * 32), 2); }
        }

        /// From `R[t] = a * R[t-1] + gamma * r * k^T`.
        /// A tile of x59.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s16(w: &Work, p: usize, r: usize) {
            let mut acc = zeros::<8, 2>();
            // acc = x56^T
            let v49 = splat(*w.x49);
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v9 = load(w.R.add(p * w.rows0 * 32 + r * 32).add(j * L));
                    let v56 = mul(v49, v9); // x56
                    acc[i][j] = v56;
                });
            });
            // acc += k^T x57^T
            product_pairs::<8, 2, false>(&mut acc, w.k_pairs.add(r / 32 * 512 + r % 32), 1, 32, w.x57_pairs, 32, 32, Some(&mut *w.ahead));
            let mut h59 = [zero(); 2];
            each!(8, i, {
                let r = r + i;
                each!(2, j, {
                    let v59 = acc[i][j]; // x59
                    if i % 2 == 0 { h59[j] = v59; } else { store(w.x59_pairs.add(p * w.rows0 * 16 + (r / 2) * 32).add(j * L), pair(h59[j], v59)); }
                    store(w.x59.add(p * w.rows0 * 32 + r * 32).add(j * L), v59);
                });
            });
            if w.n0 % 2 == 1 && r <= w.n0 && w.n0 < r + 8 { end_pairs(w.x59_pairs.add(p * w.rows0 * 16 + (w.n0 / 2) * 32), 2); }
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// A copy in bf16 of k.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s17(w: &Work, p: usize) {
            pair_rows(w.k_bf16.add(p * 512), 32, 32, w.k_pairs.add(p * 512));
        }

        /// From `S[t] = a * S[t-1] + beta * v * k^T`.
        /// A copy in bf16, in the other orientation, of k.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn s18(w: &Work, p: usize) {
            turn(w.k_bf16.add(p * 512), 32, 16, w.k_t_pairs.add(p * 512), 32, w.rows0 * 16);
        }

        /// What depends on no token, once a call.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn once(w: &Work) {
            let _ = w;
            s6(w);
        }

        /// One chunk, packed.
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,avx512bf16")]
        unsafe fn chunk(w: &Work) {
            for p in 0..1 {
                s0(w, p);
            }
            for p in 0..w.panels1 {
                s1(w, p);
            }
            s2(w);
            s4(w);
            for p in 0..1 {
                s8(w, p);
            }
            s9(w);
            s11(w);
            s12(w);
            for p in 0..1 {
                s13(w, p);
            }
            for p in 0..w.panels1 {
                s14(w, p);
            }
            for p in 0..w.panels0 {
                s17(w, p);
                s18(w, p);
            }
            for p in 0..1 {
                for r in (0..32).step_by(8) {
                    s3(w, p, r);
                }
                for r in (0..32).step_by(8) {
                    s7(w, p, r);
                }
            }
            for p in 0..w.panels1 {
                for r in (0..32).step_by(8) {
                    s5(w, p, r);
                }
                for r in (0..32).step_by(8) {
                    s10(w, p, r);
                }
                for r in (0..w.n0).step_by(8) {
                    s15(w, p, r);
                }
                for r in (0..w.n0).step_by(8) {
                    s16(w, p, r);
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
            if w.x48 == w.x48_own { write_rows(&*x.outputs.add(0), t0, valid, w.n1, w.x48, 32, w.x48_panel); }
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
            let requests = 2 * 1 * 4 * (w.n0 / 8) + 3 * w.panels1 * 4 * (w.n0 / 8) + 2 * w.panels1 * w.n0.div_ceil(8) * (32 / 8);
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
                w.x55 = next0;
                w.x59 = next1;
                (w.x48, w.x48_panel, w.x48_row) = place(&*x.outputs.add(0), t0, valid == 32, w.n1, 32, w.x48_own, 1024);
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
pub extern "C" fn rla_c_a8a464fa868726bb53755f1357c740df_avx512() -> abi::Entry {
    avx512::entry()
}

