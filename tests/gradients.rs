//! The oracle's gradient against finite differences: every built-in variant, every function and operator of the language,
//! recurrences outside the class, and random variants.
use rla_codegen::data::{Cotangents, Dims, Gradients, Inputs};
use rla_codegen::oracle;
use rla_dsl::recurrence::Recurrence;
use rla_runtime::draw::{self, Gates, Keys, Plan, Rng};
use rla_tests::{golden, random_variant};

/// Kinks lie farther from every argument than a step moves it.
const DISTANCE: f64 = 2e-2;
/// Relative error of a derivative; the difference formula leaves about 1e-10.
const BOUND: f64 = 1e-7;

/// `sum(cotangent * output)` over outputs and final states.
fn objective(recurrence: &Recurrence, inputs: &Inputs, cotangents: &Cotangents) -> f64 {
    let outputs = oracle::forward(recurrence, inputs).expect("the inputs fit");
    let pairs = outputs.outputs.iter().zip(&cotangents.outputs).chain(outputs.states.iter().zip(&cotangents.states));
    let dot = |(x, c): (&Vec<f64>, &Option<Vec<f64>>)| match c {
        Some(c) => x.iter().zip(c).map(|(x, c)| x * c).sum(),
        None => 0.0,
    };
    pairs.map(dot).sum()
}

/// Derivative along a direction of one tensor, by a six-point central difference.
fn difference(
    recurrence: &Recurrence,
    inputs: &Inputs,
    cotangents: &Cotangents,
    tensor: impl Fn(&mut Inputs) -> &mut Vec<f64>,
    direction: &[f64],
) -> f64 {
    const STEP: f64 = 2e-3;
    let at = |steps: f64| {
        let mut moved = inputs.clone();
        tensor(&mut moved).iter_mut().zip(direction).for_each(|(x, d)| *x += steps * STEP * d);
        objective(recurrence, &moved, cotangents)
    };
    let odd = |steps: f64| at(steps) - at(-steps);
    (45.0 * odd(1.0) - 9.0 * odd(2.0) + odd(3.0)) / (60.0 * STEP)
}

/// The worst relative error over every input, parameter and initial state, along random directions; and which it was.
fn worst(recurrence: &Recurrence, inputs: &Inputs, cotangents: &Cotangents, gradients: &Gradients) -> (f64, String) {
    let mut rng = Rng::new(7);
    let mut worst = (0.0, String::new());
    let mut check = |name: &str, gradient: &[f64], tensor: &dyn Fn(&mut Inputs) -> &mut Vec<f64>| {
        for _ in 0..2 {
            let mut direction: Vec<f64> = gradient.iter().map(|_| rng.normal()).collect();
            let norm = direction.iter().map(|x| x * x).sum::<f64>().sqrt();
            direction.iter_mut().for_each(|x| *x /= norm);
            let expected = difference(recurrence, inputs, cotangents, tensor, &direction);
            let found: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
            let size = gradient.iter().map(|x| x * x).sum::<f64>().sqrt() / (gradient.len() as f64).sqrt();
            let error = (found - expected).abs() / (size + 1e-3);
            if error.is_nan() || error > worst.0 {
                worst = (error, format!("{name}: {found} against {expected}"));
            }
        }
    };
    for (i, decl) in recurrence.inputs.iter().enumerate() {
        check(&decl.name, &gradients.inputs[i], &|inputs| &mut inputs.tensors[i]);
    }
    for (i, decl) in recurrence.states.iter().enumerate() {
        check(&format!("{}0", decl.name), &gradients.states[i], &|inputs| {
            inputs.states[i].as_mut().expect("initial states are given")
        });
    }
    worst
}

fn plan(recurrence: &Recurrence, packed: bool) -> Plan {
    let sizes = vec![5, 4, 3][..recurrence.sides.len()].to_vec();
    let (batch, cu_seqlens) = if packed { (1, Some(vec![0, 0, 1, 7])) } else { (2, None) };
    let dims = Dims { sizes, batch, tokens: 7, key_heads: 1, value_heads: 2 };
    Plan { dims, cu_seqlens, gates: Gates::Weak, keys: Keys::Independent, initial_states: true }
}

fn case(recurrence: &Recurrence, packed: bool) -> (Inputs, Cotangents) {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        if let Ok((inputs, _)) = draw::inputs(recurrence, &plan(recurrence, packed), DISTANCE, &mut rng) {
            let cotangents = draw::cotangents(recurrence, &inputs, &mut rng);
            return (inputs, cotangents);
        }
    }
    panic!("{}: no draw keeps away from its kinks", recurrence.name);
}

fn check(recurrence: &Recurrence) {
    for packed in [false, true] {
        let (inputs, cotangents) = case(recurrence, packed);
        let (outputs, gradients) = oracle::gradient(recurrence, &inputs, &cotangents).expect("the inputs fit");
        assert_eq!(outputs, oracle::forward(recurrence, &inputs).expect("the inputs fit"));
        let (error, which) = worst(recurrence, &inputs, &cotangents, &gradients);
        assert!(error <= BOUND, "{}: {error:.1e} at {which}", recurrence.name);
    }
}

#[test]
fn every_built_in_variant() {
    for (_, text) in rla_dsl::BUILTINS {
        check(&golden::parse(text));
    }
}

#[test]
fn random_variants() {
    (0..40).for_each(|seed| check(&golden::parse(&random_variant::text(seed))));
}

/// Every function, with the operators around it: columns, rows, scalars, matrices and their transposes.
#[test]
fn every_function_and_operator() {
    let maps =
        ["exp(x)", "log(sq(x) + 1)", "sqrt(sq(x) + 1)", "rsqrt(sq(x) + 1)", "sigmoid(x)", "logsigmoid(x)", "tanh(x)"];
    let more =
        ["silu(x)", "softplus(x)", "relu(x)", "abs(x)", "sq(x)", "clamp(x, -0.5, 0.7)", "l2norm(x, 0.1)", "softmax(x)"];
    for map in maps.iter().chain(&more) {
        check(&golden::parse(&format!(
            "variant map {{ input k: key unit, x: value, b: scalar; state S: value x key;
               S[t] = 0.5 * S[t-1] + ({map}) * k^T; output o = S[t] * k + b * ({map}); }}"
        )));
    }
    // of a state: outside the class
    for map in maps.iter().chain(&more) {
        let map = map
            .replace('x', "(x - S[t-1] * k)")
            .replace("e(x - S[t-1] * k)p", "exp")
            .replace("softma(x - S[t-1] * k)", "softmax");
        check(&golden::parse(&format!(
            "variant map_of_state {{ input k: key unit, x: value; state S: value x key;
               S[t] = 0.5 * S[t-1] + ({map}) * k^T; output o = S[t] * k; }}"
        )));
    }
    let values = [
        "(2 - b) * x",
        "x .* y",
        "x / (sq(y) + 1)",
        "b / (sq(x) + 1)",
        "x / (sq(b) + 1)",
        "x - b",
        "b - x",
        "b + y",
        "-x",
        "sum(x) * y",
        "dot(x, y) * x",
        "(x^T * y) * x",
        "(x * y^T) * y",
        "(x * y^T)^T * y",
        "diag(x) * y",
        "(I - x * y^T) * y",
        "((I - x * y^T) * (diag(y) + I))^T * x",
        "(x * b)^T^T",
        "(x^T * (y * x^T))^T",
        "(x^T .* y^T)^T",
        "(x^T / (1 + sq(b)))^T",
        "((x * y^T) / (1 + sq(b))) * y",
        "l2norm(x, 0.1) * dim(value)",
        "dim(key) / (2 + softmax(y))",
        "b^T * x",
        "(x^T - b)^T",
        "tanh(x^T)^T",
        "((x + y)^T * b)^T",
    ];
    for value in values {
        check(&golden::parse(&format!(
            "variant value {{ input k: key unit, x, y: value, b: scalar; state S: value x key;
               S[t] = 0.5 * S[t-1] + ({value}) * k^T; output o = S[t] * k + ({value}); }}"
        )));
    }
}

/// What is not of the class has a definition and a gradient all the same.
#[test]
fn recurrences_outside_the_class() {
    let texts = [
        // an own readout under a nonlinearity
        "variant outside { input q, k: key unit, v: value; state S: value x key;
           S[t] = 0.9 * S[t-1] + tanh(v - S[t-1] * k) * k^T; output o = S[t] * q; }",
        // a state-dependent decay
        "variant outside { input q, k: key unit, v: value; state S: value x key; let a = sigmoid(sum(S[t-1] * k));
           S[t] = a * S[t-1] + v * k^T; output o = S[t] * q; }",
        // a product of two states, and matrix lets
        "variant outside { input q, k: key unit, v: value; state S, R: value x key; let M = 0.3 * S[t-1] * R[t-1]^T;
           S[t] = 0.8 * S[t-1] + v * k^T; R[t] = 0.5 * R[t-1] - 0.2 * M * S[t-1] + v * q^T; output o = S[t] * q + M^T * v; }",
        // states that read each other, momentum
        "variant outside { input q, k: key unit, v: value, b: scalar in 0..1; state S, M: value x key;
           M[t] = 0.9 * M[t-1] + b * (v - S[t-1] * k) * k^T; S[t] = S[t-1] + 0.5 * M[t]; output o = S[t] * q; }",
        // a square state under its own transpose, a vector state that steers it, scalar and other outputs
        "variant outside { dim n; input u: n unit, v: value, k: key unit; param w: n; state A: n x n; state z: n; state S: value x key;
           A[t] = 0.4 * (A[t-1] + A[t-1]^T) + diag(w) * u * u^T; z[t] = 0.5 * tanh(A[t] * u) + 0.2 * z[t-1];
           S[t] = sigmoid(dot(z[t], u)) * S[t-1] + v * k^T;
           output o = S[t] * k; output p = A[t]^T * z[t-1]; output s = z[t]^T * A[t-1] * u; }",
    ];
    texts.iter().for_each(|text| check(&golden::parse(text)));
}

/// The check above rejects a gradient that is wrong in one element of one tensor, or lacks a value head.
#[test]
fn a_wrong_gradient_is_rejected() {
    let recurrence = golden::built_in("rdn");
    let (inputs, cotangents) = case(&recurrence, false);
    let (_, gradients) = oracle::gradient(&recurrence, &inputs, &cotangents).expect("the inputs fit");
    for i in 0..recurrence.inputs.len() {
        let mut wrong = gradients.clone();
        let largest =
            (0..wrong.inputs[i].len()).max_by(|a, b| wrong.inputs[i][*a].abs().total_cmp(&wrong.inputs[i][*b].abs()));
        wrong.inputs[i][largest.expect("not empty")] *= 1.001;
        assert!(worst(&recurrence, &inputs, &cotangents, &wrong).0 > BOUND, "{}", recurrence.inputs[i].name);
    }
}
