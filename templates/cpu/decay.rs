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
