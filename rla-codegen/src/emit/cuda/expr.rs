//! Elementwise functions as C++ text.

use crate::tile::MapFn;

/// A number as a C++ float.
pub fn number(x: f64) -> String {
    let x = x as f32;
    if x == f32::INFINITY {
        "INFINITY".into()
    } else if x == f32::NEG_INFINITY {
        "(-INFINITY)".into()
    } else if x.is_nan() {
        "NAN".into()
    } else if x < 0.0 {
        format!("({x:?}f)")
    } else {
        format!("{x:?}f")
    }
}

/// A function of operands that are already text.
pub fn map(f: MapFn, x: &[String]) -> String {
    let call = |name: &str| format!("{name}({})", x.join(", "));
    match f {
        MapFn::Add => format!("({} + {})", x[0], x[1]),
        MapFn::Sub => format!("({} - {})", x[0], x[1]),
        MapFn::Mul => format!("({} * {})", x[0], x[1]),
        MapFn::Div => format!("({} / {})", x[0], x[1]),
        MapFn::Neg => format!("(-{})", x[0]),
        MapFn::Exp => call("f_exp"),
        MapFn::Log => call("f_log"),
        MapFn::Sqrt => call("sqrtf"),
        MapFn::Rsqrt => format!("(1.f / sqrtf({}))", x[0]),
        MapFn::Sigmoid => call("f_sigmoid"),
        MapFn::LogSigmoid => call("f_logsigmoid"),
        MapFn::Tanh => call("f_tanh"),
        MapFn::Silu => call("f_silu"),
        MapFn::Softplus => call("f_softplus"),
        MapFn::Relu => call("f_relu"),
        MapFn::Abs => call("fabsf"),
        MapFn::Sq => call("f_sq"),
        MapFn::Clamp => call("f_clamp"),
        MapFn::Inside => call("f_inside"),
        MapFn::Positive => call("f_positive"),
        MapFn::Sign => call("f_sign"),
        MapFn::Keep => call("f_keep"),
    }
}

/// Whether evaluating it twice costs more than storing it.
pub fn is_costly(f: MapFn) -> bool {
    !matches!(
        f,
        MapFn::Add
            | MapFn::Sub
            | MapFn::Mul
            | MapFn::Neg
            | MapFn::Sq
            | MapFn::Abs
            | MapFn::Relu
            | MapFn::Clamp
            | MapFn::Inside
            | MapFn::Positive
            | MapFn::Sign
            | MapFn::Keep
    )
}
