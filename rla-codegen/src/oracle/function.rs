//! The smooth functions of the language, each beside its adjoint. The kinked ones are in [`super::kink`].
use super::product::dot;
use rla_dsl::recurrence::Func;

/// Whether the function has a kink.
pub(super) fn kinked(func: Func) -> bool {
    matches!(func, Func::Clamp | Func::Relu | Func::Abs)
}

/// `y = func(args)`.
pub(super) fn value(func: Func, y: &mut [f64], args: &[&[f64]]) {
    let x = args[0];
    match func {
        Func::L2norm => {
            let scale = norm_scale(x, args[1][0]);
            y.iter_mut().zip(x).for_each(|(y, x)| *y = x * scale);
        }
        Func::Softmax => {
            let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            y.iter_mut().zip(x).for_each(|(y, x)| *y = (x - top).exp());
            let total: f64 = y.iter().sum();
            y.iter_mut().for_each(|y| *y /= total);
        }
        Func::Sum => y[0] = x.iter().sum(),
        Func::Dot => y[0] = dot(x, args[1]),
        Func::Diag => {
            y.fill(0.0);
            x.iter().enumerate().for_each(|(i, x)| y[i * x_stride(args[0])] = *x);
        }
        _ => y.iter_mut().zip(x).for_each(|(y, x)| *y = func.scalar(&[*x])),
    }
}

/// `d(args[which]) += (d func / d args[which])^T dy`.
pub(super) fn pull(func: Func, which: usize, dx: &mut [f64], args: &[&[f64]], y: &[f64], dy: &[f64]) {
    let x = args[0];
    match (func, which) {
        (Func::L2norm, 0) => {
            let scale = norm_scale(x, args[1][0]);
            let along = scale * scale * scale * dot(x, dy);
            (0..x.len()).for_each(|i| dx[i] += scale * dy[i] - along * x[i]);
        }
        (Func::L2norm, _) => {
            let scale = norm_scale(x, args[1][0]);
            dx[0] -= 0.5 * scale * scale * scale * dot(x, dy);
        }
        (Func::Softmax, _) => {
            let mean = dot(y, dy);
            (0..x.len()).for_each(|i| dx[i] += y[i] * (dy[i] - mean));
        }
        (Func::Sum, _) => dx.iter_mut().for_each(|dx| *dx += dy[0]),
        (Func::Dot, _) => dx.iter_mut().zip(args[1 - which]).for_each(|(dx, other)| *dx += other * dy[0]),
        (Func::Diag, _) => (0..x.len()).for_each(|i| dx[i] += dy[i * x_stride(x)]),
        _ => (0..x.len()).for_each(|i| dx[i] += slope(func, x[i], y[i]) * dy[i]),
    }
}

fn norm_scale(x: &[f64], eps: f64) -> f64 {
    1.0 / (dot(x, x) + eps).sqrt()
}

/// Distance between the diagonal elements of a matrix with x on its diagonal.
fn x_stride(x: &[f64]) -> usize {
    x.len() + 1
}

/// Derivative of an elementwise function at x, where its value is y.
fn slope(func: Func, x: f64, y: f64) -> f64 {
    let sigmoid = || Func::Sigmoid.scalar(&[x]);
    match func {
        Func::Exp => y,
        Func::Log => 1.0 / x,
        Func::Sqrt => 0.5 / y,
        Func::Rsqrt => -0.5 * y / x,
        Func::Sigmoid => y * Func::Sigmoid.scalar(&[-x]),
        Func::LogSigmoid => Func::Sigmoid.scalar(&[-x]),
        // 1 - tanh^2 loses all digits where tanh rounds to 1; sech^2 does not
        Func::Tanh => {
            let decay = (-2.0 * x.abs()).exp();
            4.0 * decay / ((1.0 + decay) * (1.0 + decay))
        }
        Func::Silu => sigmoid() * (1.0 + x * Func::Sigmoid.scalar(&[-x])),
        Func::Softplus => sigmoid(),
        Func::Sq => 2.0 * x,
        Func::Relu | Func::Abs | Func::Clamp => unreachable!("kinks take their slope from their branch"),
        Func::L2norm | Func::Softmax | Func::Sum | Func::Dot | Func::Diag => unreachable!("not elementwise"),
    }
}
