//! Matrix products, dense; columns are n x 1 and rows 1 x n.

/// Sizes of `y = a b`: a has `inner` columns, b `inner` rows and `cols` columns.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub inner: usize,
    pub cols: usize,
}

/// `y = a b`.
pub(super) fn product(y: &mut [f64], a: &[f64], b: &[f64], n: Sizes) {
    for (y, a) in y.chunks_exact_mut(n.cols).zip(a.chunks_exact(n.inner)) {
        if n.cols == 1 {
            y[0] = dot(a, b);
            continue;
        }
        y.fill(0.0);
        for (&a, b) in a.iter().zip(b.chunks_exact(n.cols)) {
            add_scaled(y, a, b);
        }
    }
}

/// `da += dy b^T`.
pub(super) fn pull_left(da: &mut [f64], b: &[f64], dy: &[f64], n: Sizes) {
    for (da, dy) in da.chunks_exact_mut(n.inner).zip(dy.chunks_exact(n.cols)) {
        for (da, b) in da.iter_mut().zip(b.chunks_exact(n.cols)) {
            *da += dot(dy, b);
        }
    }
}

/// `db += a^T dy`.
pub(super) fn pull_right(db: &mut [f64], a: &[f64], dy: &[f64], n: Sizes) {
    for (a, dy) in a.chunks_exact(n.inner).zip(dy.chunks_exact(n.cols)) {
        for (&a, db) in a.iter().zip(db.chunks_exact_mut(n.cols)) {
            add_scaled(db, a, dy);
        }
    }
}

/// Eight running sums: one alone would wait for each addition.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}

fn add_scaled(y: &mut [f64], a: f64, x: &[f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}
