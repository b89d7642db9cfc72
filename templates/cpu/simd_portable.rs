//! Any machine: arrays of 4 floats, which the compiler turns into whatever vectors there are.

/// One vector.
pub type V = [f32; 4];
/// Lanes of a vector.
pub const L: usize = 4;
/// Vector registers.
pub const REGISTERS: usize = 16;

#[inline(always)]
pub unsafe fn zero() -> V {
    [0.0; 4]
}
#[inline(always)]
pub unsafe fn splat(x: f32) -> V {
    [x; 4]
}
#[inline(always)]
pub unsafe fn load(p: *const f32) -> V {
    (p as *const V).read_unaligned()
}
#[inline(always)]
pub unsafe fn store(p: *mut f32, x: V) {
    (p as *mut V).write_unaligned(x)
}
/// A plain store here.
#[inline(always)]
pub unsafe fn stream(p: *mut f32, x: V) {
    store(p, x)
}
/// Nothing to order here.
#[inline(always)]
pub unsafe fn fence() {}
#[inline(always)]
pub unsafe fn add(a: V, b: V) -> V {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]]
}
#[inline(always)]
pub unsafe fn sub(a: V, b: V) -> V {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3]]
}
#[inline(always)]
pub unsafe fn mul(a: V, b: V) -> V {
    [a[0] * b[0], a[1] * b[1], a[2] * b[2], a[3] * b[3]]
}
#[inline(always)]
pub unsafe fn div(a: V, b: V) -> V {
    [a[0] / b[0], a[1] / b[1], a[2] / b[2], a[3] / b[3]]
}
/// `a * b + c`, rounded twice.
#[inline(always)]
pub unsafe fn fma(a: V, b: V, c: V) -> V {
    add(mul(a, b), c)
}
/// `c - a * b`, rounded twice.
#[inline(always)]
pub unsafe fn fnma(a: V, b: V, c: V) -> V {
    sub(c, mul(a, b))
}
#[inline(always)]
fn sqrt1(x: f32) -> f32 {
    // Newton's iteration in f64 from an estimate by halving the exponent: `core` has no square root.
    if !(x > 0.0) || x == f32::INFINITY {
        return if x == 0.0 || x == f32::INFINITY { x } else { f32::NAN };
    }
    let x = x as f64;
    let mut y = f64::from_bits((x.to_bits() >> 1) + 0x1ff7_a3be_a91d_9b1b);
    let mut i = 0;
    while i < 4 {
        y = 0.5 * (y + x / y);
        i += 1;
    }
    y as f32
}
#[inline(always)]
pub unsafe fn sqrt(a: V) -> V {
    [sqrt1(a[0]), sqrt1(a[1]), sqrt1(a[2]), sqrt1(a[3])]
}
#[inline(always)]
fn abs1(x: f32) -> f32 {
    f32::from_bits(x.to_bits() & 0x7fff_ffff)
}
#[inline(always)]
pub unsafe fn abs(a: V) -> V {
    [abs1(a[0]), abs1(a[1]), abs1(a[2]), abs1(a[3])]
}
#[inline(always)]
fn pick(c: bool, y: f32, n: f32) -> f32 {
    if c { y } else { n }
}
/// The larger of a bound and x; a NaN x passes.
#[inline(always)]
pub unsafe fn at_least(bound: V, x: V) -> V {
    if_less(x, bound, bound, x)
}
/// The smaller of a bound and x; a NaN x passes.
#[inline(always)]
pub unsafe fn at_most(bound: V, x: V) -> V {
    if_less(bound, x, bound, x)
}
/// `y` where `a < b`, else `n`.
#[inline(always)]
pub unsafe fn if_less(a: V, b: V, y: V, n: V) -> V {
    [
        pick(a[0] < b[0], y[0], n[0]),
        pick(a[1] < b[1], y[1], n[1]),
        pick(a[2] < b[2], y[2], n[2]),
        pick(a[3] < b[3], y[3], n[3]),
    ]
}
/// `y` where x is a NaN, else `n`.
#[inline(always)]
pub unsafe fn if_nan(x: V, y: V, n: V) -> V {
    [
        pick(x[0].is_nan(), y[0], n[0]),
        pick(x[1].is_nan(), y[1], n[1]),
        pick(x[2].is_nan(), y[2], n[2]),
        pick(x[3].is_nan(), y[3], n[3]),
    ]
}
/// `y` where `mask` is not 0, else 0.
#[inline(always)]
pub unsafe fn if_nonzero(mask: V, y: V) -> V {
    [
        pick(mask[0] != 0.0, y[0], 0.0),
        pick(mask[1] != 0.0, y[1], 0.0),
        pick(mask[2] != 0.0, y[2], 0.0),
        pick(mask[3] != 0.0, y[3], 0.0),
    ]
}
/// The first `n` lanes, the others 0.
#[inline(always)]
pub unsafe fn first(x: V, n: isize) -> V {
    [pick(n > 0, x[0], 0.0), pick(n > 1, x[1], 0.0), pick(n > 2, x[2], 0.0), pick(n > 3, x[3], 0.0)]
}
/// The lanes from `n` on, the others 0.
#[inline(always)]
pub unsafe fn from(x: V, n: isize) -> V {
    [pick(n <= 0, x[0], 0.0), pick(n <= 1, x[1], 0.0), pick(n <= 2, x[2], 0.0), pick(n <= 3, x[3], 0.0)]
}
/// `x` with lane `n` replaced by `y`'s.
#[inline(always)]
pub unsafe fn insert(x: V, n: usize, y: V) -> V {
    [pick(n == 0, y[0], x[0]), pick(n == 1, y[1], x[1]), pick(n == 2, y[2], x[2]), pick(n == 3, y[3], x[3])]
}
#[inline(always)]
fn round1(x: f32) -> f32 {
    // adding and taking away 1.5 2^23 rounds to the nearest integer, ties to even
    let big = 12_582_912.0f32;
    if abs1(x) < 4_194_304.0 { (x + big) - big } else { x }
}
/// To the nearest integer, ties to even.
#[inline(always)]
pub unsafe fn round(x: V) -> V {
    [round1(x[0]), round1(x[1]), round1(x[2]), round1(x[3])]
}
#[inline(always)]
fn scale1(x: f32, n: f32) -> f32 {
    let n = n as i32;
    let half = n >> 1;
    let power = |n: i32| f32::from_bits(((n + 127) as u32) << 23);
    x * power(half) * power(n - half)
}
/// `x * 2^n` for an integer n within +-200: two factors, each a normal number.
#[inline(always)]
pub unsafe fn scale(x: V, n: V) -> V {
    [scale1(x[0], n[0]), scale1(x[1], n[1]), scale1(x[2], n[2]), scale1(x[3], n[3])]
}
#[inline(always)]
fn split1(x: f32) -> (f32, f32) {
    let tiny = x < f32::MIN_POSITIVE;
    let bits = if tiny { (x * 16_777_216.0).to_bits() } else { x.to_bits() };
    let e = (bits >> 23) as i32 - 126 - if tiny { 24 } else { 0 };
    (f32::from_bits(bits & 0x007f_ffff | 0x3f00_0000), e as f32)
}
/// `(m, e)` with `x = m * 2^e`, m in [0.5, 1), for positive finite x.
#[inline(always)]
pub unsafe fn split(x: V) -> (V, V) {
    let (a, b, c, d) = (split1(x[0]), split1(x[1]), split1(x[2]), split1(x[3]));
    ([a.0, b.0, c.0, d.0], [a.1, b.1, c.1, d.1])
}
/// Sum of all lanes.
#[inline(always)]
pub unsafe fn sum(x: V) -> f32 {
    (x[0] + x[2]) + (x[1] + x[3])
}
/// Largest lane.
#[inline(always)]
pub unsafe fn largest(x: V) -> f32 {
    let a = pick(x[0] < x[1], x[1], x[0]);
    let b = pick(x[2] < x[3], x[3], x[2]);
    pick(a < b, b, a)
}
/// Left to the hardware here.
#[inline(always)]
pub unsafe fn prefetch(_p: *const f32) {}
/// Left to the hardware here.
#[inline(always)]
pub unsafe fn prefetch_near(_p: *const f32) {}
/// `b[c][r] = a[r][c]` for a block of L rows and columns.
#[inline(always)]
pub unsafe fn transpose(a: *const f32, lda: usize, b: *mut f32, ldb: usize) {
    let (r0, r1, r2, r3) = (load(a), load(a.add(lda)), load(a.add(2 * lda)), load(a.add(3 * lda)));
    store(b, [r0[0], r1[0], r2[0], r3[0]]);
    store(b.add(ldb), [r0[1], r1[1], r2[1], r3[1]]);
    store(b.add(2 * ldb), [r0[2], r1[2], r2[2], r3[2]]);
    store(b.add(3 * ldb), [r0[3], r1[3], r2[3], r3[3]]);
}
/// The first `n` lanes from `p`, 1 <= n < L, the others 0; nothing past them is read.
#[inline(always)]
pub unsafe fn load_first(p: *const f32, n: usize) -> V {
    let mut lanes = [0.0; L];
    for i in 0..n {
        *lanes.as_mut_ptr().add(i) = *p.add(i);
    }
    load(lanes.as_ptr())
}
/// Writes the first `n` lanes, 1 <= n < L.
#[inline(always)]
pub unsafe fn store_first(p: *mut f32, x: V, n: usize) {
    let mut lanes = [0.0; L];
    store(lanes.as_mut_ptr(), x);
    for i in 0..n {
        *p.add(i) = *lanes.as_ptr().add(i);
    }
}
/// Sums of four vectors: lane r is the sum of vector r.
#[inline(always)]
pub unsafe fn quad(a: V, b: V, c: V, d: V) -> V {
    [sum(a), sum(b), sum(c), sum(d)]
}
/// The sums of L vectors in L lanes, from their quads.
#[inline(always)]
pub unsafe fn quads(g: [V; L / 4]) -> V {
    g[0]
}
