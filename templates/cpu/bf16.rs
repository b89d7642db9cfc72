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
