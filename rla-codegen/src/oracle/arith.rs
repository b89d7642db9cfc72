//! Elementwise arithmetic; a scalar operand stands for every element.

/// Element `i` of an operand that may be a scalar.
fn at(x: &[f64], i: usize) -> f64 {
    if x.len() == 1 { x[0] } else { x[i] }
}

/// `y = f(a, b)`.
pub(super) fn zip(y: &mut [f64], a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) {
    for (i, y) in y.iter_mut().enumerate() {
        *y = f(at(a, i), at(b, i));
    }
}

/// `dx += slope(i) dy`, summed where x is a scalar.
pub(super) fn pull(dx: &mut [f64], dy: &[f64], slope: impl Fn(usize) -> f64) {
    if dx.len() == 1 {
        dx[0] += dy.iter().enumerate().map(|(i, dy)| slope(i) * dy).sum::<f64>();
    } else {
        for (i, (dx, dy)) in dx.iter_mut().zip(dy).enumerate() {
            *dx += slope(i) * dy;
        }
    }
}

/// Adjoint of `a * b` to a: `da += b dy`.
pub(super) fn pull_scale(da: &mut [f64], b: &[f64], dy: &[f64]) {
    pull(da, dy, |i| at(b, i));
}

/// Adjoint of `a / b` to a: `da += dy / b`.
pub(super) fn pull_dividend(da: &mut [f64], b: &[f64], dy: &[f64]) {
    pull(da, dy, |i| 1.0 / at(b, i));
}

/// Adjoint of `y = a / b` to b: `db -= y dy / b`.
pub(super) fn pull_divisor(db: &mut [f64], b: &[f64], y: &[f64], dy: &[f64]) {
    pull(db, dy, |i| -y[i] / at(b, i));
}

/// `y = x^T`, x of `rows x cols`.
pub(super) fn transpose(y: &mut [f64], x: &[f64], rows: usize, cols: usize) {
    for i in 0..rows {
        for j in 0..cols {
            y[j * rows + i] = x[i * cols + j];
        }
    }
}

/// `dx += dy^T`, x of `rows x cols`.
pub(super) fn pull_transpose(dx: &mut [f64], dy: &[f64], rows: usize, cols: usize) {
    for i in 0..rows {
        for j in 0..cols {
            dx[i * cols + j] += dy[j * rows + i];
        }
    }
}
