//! Walks the table of the tile program's operations: each has a shape rule, an interpreter, a text form, an adjoint that
//! finite differences confirm (or is one), and an emitter whose kernels are run. An operation that is added is asked for here:
//! `rla_tests::mutant::kinds` does not compile without it.
use rla_codegen::data::Dims;
use rla_codegen::pass::differentiate::differentiate;
use rla_codegen::pipeline::{Programs, chunk_programs, token_programs};
use rla_codegen::tile::builder::Builder;
use rla_codegen::tile::eval::{Environment, Matrix, eval};
use rla_codegen::tile::verify::verify;
use rla_codegen::tile::{
    Axis, DecayKind, Direction, Leaf, MapFn, Op, Program, Role, ScanKind, Shape, StateSides, Value, parse, text,
};
use rla_runtime::case::{Case, Results};
use rla_runtime::draw::{self, Gates, KINK_DISTANCE, Keys, Plan, Rng};
use rla_runtime::ladder::{self, Setting};
use rla_runtime::{Backend, Operation};
use rla_tests::golden;
use rla_tests::mutant::kinds;
use std::collections::BTreeSet;

const TOKENS: usize = 5;
const SIZES: [usize; 3] = [3, 4, 1];
const KEYS: Shape = Shape::new(Axis::Token, Axis::Side(0));
const SCALARS: Shape = Shape::new(Axis::Token, Axis::One);

/// Leaves with fixed random values; one input may be moved along a direction.
struct Values {
    moved: Option<(usize, f64)>,
    positive: bool,
    /// Rows that are tokens; the rest fill the chunk.
    valid: usize,
}

impl Values {
    fn random(leaf: Leaf, stream: u64, rows: usize, cols: usize) -> Matrix {
        let name = leaf.to_string().bytes().fold(17u64, |h, b| h.wrapping_mul(131).wrapping_add(u64::from(b)));
        let mut rng = Rng::stream(name, stream);
        Matrix::from_fn(rows, cols, |_, _| rng.normal())
    }
}

impl Environment for Values {
    fn tokens(&self) -> usize {
        TOKENS
    }

    fn size(&self, side: u16) -> usize {
        SIZES[side as usize]
    }

    fn leaf(&self, leaf: Leaf, rows: usize, cols: usize) -> Matrix {
        let mut x = Values::random(leaf, 0, rows, cols);
        match leaf {
            Leaf::Valid => return Matrix::from_fn(rows, cols, |r, _| if r < self.valid { 1.0 } else { 0.0 }),
            Leaf::Identity(_) => return Matrix::from_fn(rows, cols, |r, c| if r == c { 1.0 } else { 0.0 }),
            // arguments of log, sqrt and division stay away from 0, all stay away from kinks
            Leaf::Input(_) if self.positive => x.data.iter_mut().for_each(|x| *x = 0.5 + x.abs()),
            Leaf::Input(_) => x.data.iter_mut().for_each(|x| *x += 0.05 * x.signum()),
            _ => {}
        }
        if let (Leaf::Input(i), Some((moved, step))) = (leaf, self.moved)
            && i == moved
        {
            let direction = Values::random(leaf, 1, rows, cols);
            x.data.iter_mut().zip(&direction.data).for_each(|(x, d)| *x += step * d);
        }
        x
    }
}

/// Builds the operation from inputs 0, 1 ... ; returns its value.
type Example = fn(&mut Builder) -> Value;

fn input(b: &mut Builder, index: usize, shape: Shape) -> Value {
    b.leaf(Leaf::Input(index), shape)
}

/// `[Token, Token]`, dense.
fn square(b: &mut Builder, index: usize) -> Value {
    let (p, w) = (input(b, index, KEYS), input(b, index + 1, KEYS));
    b.matmul(p, false, w, true)
}

fn lower(b: &mut Builder, index: usize) -> Value {
    let x = square(b, index);
    b.op_value(Op::StrictLower(x))
}

/// A log decay.
fn log(b: &mut Builder, index: usize, shape: Shape) -> Value {
    let x = input(b, index, shape);
    b.map(MapFn::LogSigmoid, &[x])
}

fn map(b: &mut Builder, f: MapFn) -> Value {
    let first = input(b, 0, KEYS);
    let args: Vec<Value> = match f {
        MapFn::Clamp | MapFn::Inside => {
            let (low, high) = (b.number(-0.7), b.number(0.9));
            let mut args = vec![first, low, high];
            if f == MapFn::Inside {
                args.push(input(b, 1, KEYS));
            }
            args
        }
        MapFn::Keep => vec![b.valid(), first],
        f => (0..f.arity()).map(|i| input(b, i, KEYS)).collect(),
    };
    b.map(f, &args)
}

fn system(b: &mut Builder, direction: Direction, decay: bool) -> Value {
    // two readouts, one write; the first readout has no start, the write no base
    let (m, n) = (lower(b, 0), lower(b, 2));
    let (c, y) = (input(b, 4, SCALARS), input(b, 5, KEYS));
    let g = decay.then(|| log(b, 6, KEYS));
    let (m, c) = (vec![Some(m), Some(n)], vec![Some(c), Some(y)]);
    let y0 = vec![Some(y), None];
    b.op_value(Op::Solve { direction, m, c, y0, b: vec![None], decay: g })
}

/// An example of each operation that forward programs hold.
fn forward_examples() -> Vec<(&'static str, Example)> {
    let mut list: Vec<(&'static str, Example)> = vec![
        ("sum_cols", |b| {
            let x = input(b, 0, KEYS);
            b.op_value(Op::SumCols(x))
        }),
        ("sum_rows", |b| {
            let x = input(b, 0, KEYS);
            b.op_value(Op::SumRows(x))
        }),
        ("softmax", |b| {
            let x = input(b, 0, KEYS);
            b.op_value(Op::Softmax(x))
        }),
        ("l2norm", |b| {
            let (x, eps) = (input(b, 0, KEYS), input(b, 1, SCALARS));
            let eps = b.map(MapFn::Sq, &[eps]);
            b.op_value(Op::L2norm { x, eps })
        }),
        ("matmul", |b| square(b, 0)),
        ("transpose", |b| {
            let x = square(b, 0);
            b.op_value(Op::Transpose(x))
        }),
        ("strict_lower", |b| lower(b, 0)),
        ("scan_before", |b| {
            let x = input(b, 0, KEYS);
            b.op_value(Op::Scan(ScanKind::Before, x))
        }),
        ("scan_after", |b| {
            let x = input(b, 0, KEYS);
            b.op_value(Op::Scan(ScanKind::After, x))
        }),
        ("decay_prefix", |b| {
            let g = log(b, 0, KEYS);
            b.op_value(Op::Decay(DecayKind::Prefix, g))
        }),
        ("decay_suffix", |b| {
            let g = log(b, 0, KEYS);
            b.op_value(Op::Decay(DecayKind::Suffix, g))
        }),
        ("decay_total", |b| {
            let g = log(b, 0, KEYS);
            b.op_value(Op::Decay(DecayKind::Total, g))
        }),
        ("decay_segment", |b| {
            let g = log(b, 0, SCALARS);
            b.op_value(Op::Decay(DecayKind::Segment, g))
        }),
        ("decay_dot", |b| {
            let (p, w, g) = (input(b, 0, KEYS), input(b, 1, KEYS), log(b, 2, KEYS));
            b.op_value(Op::DecayDot { p, w, g })
        }),
        ("decay_apply", |b| {
            let (a, w, g) = (square(b, 0), input(b, 2, KEYS), log(b, 3, KEYS));
            b.op_value(Op::DecayApply { a, w, g, transposed: false })
        }),
        ("decay_apply_transposed", |b| {
            let (a, w, g) = (square(b, 0), input(b, 2, KEYS), log(b, 3, KEYS));
            b.op_value(Op::DecayApply { a, w, g, transposed: true })
        }),
        ("solve_down", |b| {
            let system = system(b, Direction::Down, false);
            b.op_value(Op::Part(system, 1))
        }),
        ("solve_down", |b| {
            let system = system(b, Direction::Down, true);
            b.op_value(Op::Part(system, 2))
        }),
        ("part", |b| {
            let system = system(b, Direction::Down, true);
            b.op_value(Op::Part(system, 0))
        }),
    ];
    macro_rules! maps {
        ($($name:literal $f:ident),*) => { list.extend([$(($name, (|b| map(b, MapFn::$f)) as Example)),*]) };
    }
    maps!("add" Add, "sub" Sub, "mul" Mul, "div" Div, "neg" Neg, "exp" Exp, "log" Log, "sqrt" Sqrt, "rsqrt" Rsqrt);
    maps!("sigmoid" Sigmoid, "logsigmoid" LogSigmoid, "tanh" Tanh, "silu" Silu, "softplus" Softplus, "relu" Relu);
    maps!("abs" Abs, "sq" Sq, "clamp" Clamp, "keep" Keep);
    list
}

/// Operations that only adjoints are made of.
const ADJOINTS: [&str; 6] = ["rect_sum", "decay_rect", "solve_up", "inside", "positive", "sign"];
/// What is given, not computed.
const LEAVES: [&str; 10] =
    ["input", "const", "size", "number", "state", "output_grad", "state_grad", "saved", "identity", "valid"];

/// A program whose output is the example, summed with random weights where it is not a row a token.
fn program(example: Example) -> Program {
    let mut b = Builder::new("forward", vec![]);
    let value = example(&mut b);
    let shape = b.shape(value);
    let output = match (shape.rows, shape.cols) {
        (Axis::Token, Axis::Token) => {
            let weights = square(&mut b, 7);
            let product = b.mul(value, weights);
            b.op_value(Op::SumCols(product))
        }
        (Axis::One, _) => {
            let weights = input(&mut b, 7, Shape::new(Axis::Token, shape.cols));
            b.mul(value, weights)
        }
        _ => value,
    };
    b.result(Role::Output(0), output);
    b.finish()
}

fn holds(program: &Program, kind: &str) -> bool {
    program.nodes.iter().any(|node| kinds::kind(&node.op) == kind)
}

fn derivative(program: &Program, positive: bool, valid: usize, moved: usize) -> f64 {
    const STEP: f64 = 1e-3;
    let at = |steps: f64| -> f64 {
        let env = Values { moved: Some((moved, steps * STEP)), positive, valid };
        let (_, output) = eval(program, &env).remove(0);
        let weights = Values::random(Leaf::OutputGrad(0), 0, output.rows, output.cols);
        output.data.iter().zip(&weights.data).map(|(x, w)| x * w).sum()
    };
    let odd = |steps: f64| at(steps) - at(-steps);
    (45.0 * odd(1.0) - 9.0 * odd(2.0) + odd(3.0)) / (60.0 * STEP)
}

#[test]
fn adjoints_are_derivatives() {
    let mut seen = BTreeSet::new();
    let mut made = BTreeSet::new();
    for (kind, example) in forward_examples() {
        let forward = program(example);
        assert!(holds(&forward, kind), "the example of {kind}:\n{forward}");
        seen.insert(kind);
        verify(&forward).unwrap_or_else(|e| panic!("{kind}: {e}\n{forward}"));
        let (backward, _) = differentiate(&forward);
        verify(&backward).unwrap_or_else(|e| panic!("the adjoint of {kind}: {e}\n{backward}"));
        made.extend(backward.nodes.iter().map(|node| kinds::kind(&node.op)));
        let positive = matches!(kind, "log" | "sqrt" | "rsqrt" | "div");
        // gradients of values that are the same for all tokens go to tokens only: a log decay of other rows is 0 by selection
        let valid = if kind == "keep" { TOKENS - 1 } else { TOKENS };
        let gradients = eval(&backward, &Values { moved: None, positive, valid });
        assert!(!gradients.is_empty(), "{kind} has no gradient");
        for (role, gradient) in gradients {
            let Role::InputGrad(index) = role else { panic!("{kind}: {role}") };
            let direction = Values::random(Leaf::Input(index), 1, gradient.rows, gradient.cols);
            let found: f64 = gradient.data.iter().zip(&direction.data).map(|(g, d)| g * d).sum();
            let expected = derivative(&forward, positive, valid, index);
            assert!(
                (found - expected).abs() <= 1e-8 * (1.0 + expected.abs()),
                "{kind}, gradient of input {index}: {found}, by differences {expected}\n{forward}\n{backward}"
            );
        }
    }
    for kind in ADJOINTS {
        assert!(made.contains(kind), "{kind} is no adjoint of anything");
        assert!(!seen.contains(kind));
    }
    for kind in kinds::ALL {
        assert!(seen.contains(kind) || ADJOINTS.contains(&kind) || LEAVES.contains(&kind), "{kind} has no example");
    }
}

/// A wrong adjoint is seen: sum over later tokens for earlier ones.
#[test]
fn a_wrong_adjoint_is_not_a_derivative() {
    let (_, example) = forward_examples().into_iter().find(|(kind, _)| *kind == "scan_before").expect("it is there");
    let forward = program(example);
    let wrong = program(|b| {
        let x = input(b, 0, KEYS);
        b.op_value(Op::Scan(ScanKind::After, x))
    });
    let (right, other) = (derivative(&forward, false, TOKENS, 0), derivative(&wrong, false, TOKENS, 0));
    assert!((right - other).abs() > 1e-3);
}

/// Of one element, `y = x / sqrt(x^2 + eps)` hardly depends on x: its slope `eps / (x^2 + eps)^(3/2)` is what is left of two
/// terms that cancel, and all its digits are there.
#[test]
fn the_adjoint_of_a_norm_does_not_cancel() {
    const EPS: f64 = 1e-12;
    let forward = program(|b| {
        let (x, eps) = (input(b, 0, Shape::new(Axis::Token, Axis::Side(2))), b.number(EPS));
        b.op_value(Op::L2norm { x, eps })
    });
    let env = Values { moved: None, positive: false, valid: TOKENS };
    let (_, gradient) = eval(&differentiate(&forward).0, &env).remove(0);
    let (x, d) = (env.leaf(Leaf::Input(0), TOKENS, 1), env.leaf(Leaf::OutputGrad(0), TOKENS, 1));
    for ((found, x), d) in gradient.data.iter().zip(&x.data).zip(&d.data) {
        let expected = d * EPS / (x * x + EPS).powf(1.5);
        assert!((found - expected).abs() <= 1e-12 * expected.abs(), "at {x}: {found}, not {expected}");
    }
}

/// Where sigmoid and tanh are all but 1, their slopes still have all digits.
#[test]
fn slopes_of_saturated_functions_do_not_cancel() {
    fn beyond(b: &mut Builder, f: MapFn, shift: f64) -> Value {
        let (x, shift) = (input(b, 0, SCALARS), b.number(shift));
        let x = b.add(x, shift);
        b.map(f, &[x])
    }
    type Slope = fn(f64) -> f64;
    let cases: [(Example, Slope); 2] = [
        (|b| beyond(b, MapFn::Sigmoid, 30.0), |x| (-x - 30.0).exp() / (1.0 + (-x - 30.0).exp()).powi(2)),
        (|b| beyond(b, MapFn::Tanh, 15.0), |x| (x + 15.0).cosh().powi(-2)),
    ];
    for (example, slope) in cases {
        let forward = program(example);
        let env = Values { moved: None, positive: false, valid: TOKENS };
        let (_, gradient) = eval(&differentiate(&forward).0, &env).remove(0);
        let (x, d) = (env.leaf(Leaf::Input(0), TOKENS, 1), env.leaf(Leaf::OutputGrad(0), TOKENS, 1));
        for ((found, x), d) in gradient.data.iter().zip(&x.data).zip(&d.data) {
            let expected = d * slope(*x);
            assert!((found - expected).abs() <= 1e-12 * expected.abs(), "at {x}: {found}, not {expected}\n{forward}");
        }
    }
}

/// The shape rule refuses operands that do not fit.
#[test]
fn shape_rules_refuse() {
    let of = |v: Value| {
        [KEYS, SCALARS, Shape::new(Axis::Token, Axis::Side(1)), Shape::new(Axis::One, Axis::Side(0))][v.0 as usize]
    };
    let [keys, scalars, values, row] = [Value(0), Value(1), Value(2), Value(3)];
    let system = |m, y0| Op::Solve { direction: Direction::Down, m, c: vec![None], y0, b: vec![None], decay: None };
    let refused = [
        Op::Map(MapFn::Add, vec![keys, values]),
        Op::Map(MapFn::Add, vec![keys]),
        Op::Map(MapFn::Keep, vec![keys, keys]),
        Op::Matmul { a: keys, ta: false, b: values, tb: true },
        Op::L2norm { x: keys, eps: values },
        Op::StrictLower(keys),
        Op::Scan(ScanKind::Before, row),
        Op::RectSum(keys),
        Op::Decay(DecayKind::Prefix, row),
        Op::Decay(DecayKind::Segment, keys),
        Op::DecayDot { p: keys, w: values, g: keys },
        Op::DecayApply { a: keys, w: keys, g: keys, transposed: false },
        Op::DecayRect { a: scalars, p: keys, w: keys, g: keys },
        system(vec![Some(keys)], vec![Some(keys)]),
        system(vec![None], vec![None]),
        system(vec![], vec![Some(keys)]),
    ];
    for op in refused {
        assert!(rla_codegen::tile::shape::shape(&op, &of).is_err(), "{op}");
    }
}

/// In the class, with functions that no built-in variant uses.
const CHUNKED: &str = "variant functions {
    dim slot;
    input q, k: key unit, v: value, s: slot; input b: scalar in 0..1, g: scalar in -inf..0; param w: scalar;
    state S: value x key; state Z: value x slot;
    let x = silu(v) + softplus(v) + logsigmoid(v) + relu(v) + abs(v) + tanh(v) + exp(-sq(v));
    S[t] = exp(g) * S[t-1] * (I - b * k * k^T) + sigmoid(w) * x * k^T / dim(key);
    let r = clamp(v - S[t-1] * k, -0.7, 0.9);
    Z[t] = exp(g) * Z[t-1] + (log(sq(r) + 1.0) - sqrt(sq(r) + 1.0)) * softmax(s)^T;
    output o = S[t] * q / (1.0 + sq(dot(q, k))) + rsqrt(sq(Z[t] * s) + 1.0) + l2norm(v, 0.1);
}";

/// Outside the class: a state under a nonlinearity.
const BY_TOKEN: &str = "variant outside {
    input q, k: key unit, v: value; input b: scalar in 0..1; param w: scalar;
    state S: value x key; state P: key x key;
    let r = v - S[t-1] * k;
    let x = silu(r) + softplus(r) + logsigmoid(r) + relu(r) + abs(r) + tanh(r) + clamp(r, -0.5, 0.7) - exp(-sq(r));
    let y = log(sq(x) + 1.0) + sqrt(sq(x) + 1.0) + rsqrt(sq(v) + 1.0) + softmax(v);
    S[t] = 0.9 * S[t-1] * (I - b * k * k^T) + sigmoid(w) * x * k^T / dim(key);
    P[t] = 0.9 * P[t-1] + 0.1 * (I - b * k * k^T);
    output o = S[t] * P[t] * q / (1.0 + sq(dot(q, k))) + y;
}";

fn all_programs(programs: &Programs) -> [&Program; 4] {
    [&programs.forward, &programs.forward_save, &programs.backward, &programs.decode]
}

/// Draws a case and holds the kernels to the definition.
fn run(recurrence: rla_dsl::Recurrence, backend: Backend) {
    let sizes = vec![20, 9, 5][..recurrence.sides.len()].to_vec();
    let dims = Dims { sizes, batch: 2, tokens: 37, key_heads: 1, value_heads: 2 };
    let (gates, keys) = (Gates::Weak, Keys::Independent);
    let plan = Plan { dims, cu_seqlens: None, gates, keys, initial_states: true };
    let mut rng = Rng::new(5);
    let (inputs, _) = draw::inputs(&recurrence, &plan, KINK_DISTANCE, &mut rng).expect("bounded");
    let cotangents = draw::cotangents(&recurrence, &inputs, &mut rng);
    let case = Case { inputs, cotangents, results: Results::default() };
    let operation = Operation::new(recurrence, backend).unwrap_or_else(|e| panic!("{e}"));
    let outcome = ladder::evaluate(&operation, &case, &Setting::of(backend)).unwrap_or_else(|e| panic!("{e}"));
    assert!(outcome.passed, "{} on {}: {:#?}", operation.recurrence().name, backend.name(), outcome.lines);
}

/// Delta-rule steps one after another within a token: more readouts than a block of rows has registers for.
#[test]
fn systems_of_many_readouts_run() {
    use std::fmt::Write;
    let steps = 6;
    let list = |name: &str| (0..steps).map(|i| format!("{name}{i}")).collect::<Vec<_>>().join(", ");
    let mut text = format!("pub variant steps {{ input q, {}: key unit, {}: value;", list("k"), list("v"));
    write!(text, "input g: scalar in -inf..0, {}: scalar in 0..1; state S: value x key;", list("b")).expect("text");
    for i in 0..steps {
        let before = if i == 0 { "exp(g) * S[t-1]".to_string() } else { format!("X{}", i - 1) };
        let after = if i + 1 == steps { "S[t]".to_string() } else { format!("let X{i}") };
        write!(text, "{after} = {before} * (I - b{i} * k{i} * k{i}^T) + b{i} * v{i} * k{i}^T;").expect("text");
    }
    text.push_str("output o = S[t] * q; }");
    run(golden::parse(&text), Backend::Cpu);
}

/// Every kind is in a program whose kernels are run: the built-in variants' (in `kernels_golden`) or the two above (here).
#[test]
fn every_operation_is_emitted_and_run() {
    let mut emitted: BTreeSet<&'static str> = BTreeSet::new();
    let mut add = |programs: &Programs| {
        for program in all_programs(programs) {
            emitted.extend(program.nodes.iter().map(|node| kinds::kind(&node.op)));
        }
    };
    for (name, text) in rla_dsl::BUILTINS {
        let recurrence = golden::parse(text);
        add(&chunk_programs(&recurrence).unwrap_or_else(|e| panic!("{name}: {e:?}")).1);
        add(&token_programs(&recurrence));
    }
    for (text, backend) in [(CHUNKED, Backend::Cpu), (CHUNKED, Backend::Recurrent), (BY_TOKEN, Backend::Cpu)] {
        let recurrence = golden::parse(text);
        match chunk_programs(&recurrence) {
            Ok((_, programs)) => add(&programs),
            Err(_) => assert_eq!(recurrence.name, "outside"),
        }
        add(&token_programs(&recurrence));
        run(recurrence, backend);
    }
    let missing: Vec<&str> = kinds::ALL.into_iter().filter(|kind| !emitted.contains(kind)).collect();
    assert!(missing.is_empty(), "no kernel that is run has {missing:?}");
}

/// Printed and read again, every program is the same.
#[test]
fn text_is_read_back() {
    let mut read = 0;
    let mut seen = BTreeSet::new();
    let mut check = |program: &Program| {
        let printed = text::print(program);
        let again = parse::parse(&printed).unwrap_or_else(|e| panic!("{e}\n{printed}"));
        let mut bare = program.clone();
        bare.nodes.iter_mut().for_each(|node| node.origin = None);
        assert_eq!(again, bare, "{printed}");
        seen.extend(program.nodes.iter().map(|node| kinds::kind(&node.op)));
        read += 1;
    };
    for (name, text) in rla_dsl::BUILTINS {
        let recurrence = golden::parse(text);
        let (_, programs) = chunk_programs(&recurrence).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        all_programs(&programs).into_iter().for_each(&mut check);
        all_programs(&token_programs(&recurrence)).into_iter().for_each(&mut check);
    }
    for text in [CHUNKED, BY_TOKEN] {
        all_programs(&token_programs(&golden::parse(text))).into_iter().for_each(&mut check);
    }
    for (_, example) in forward_examples() {
        let forward = program(example);
        check(&forward);
        check(&differentiate(&forward).0);
    }
    let states = vec![StateSides { free: Axis::Side(1), contracted: Axis::Side(0), transposed: true }];
    check(&Builder::new("a name of several words", states).finish());
    println!("{read} programs printed and read again");
    let missing: Vec<&str> = kinds::ALL.into_iter().filter(|kind| !seen.contains(kind)).collect();
    assert!(missing.is_empty(), "{missing:?} were not among them");
}

#[test]
fn what_is_no_program_is_refused_with_its_line() {
    for (text, line) in [
        ("program x\n%0: [token, side0] = input", 2),
        ("program x\n%1: [token, side0] = input 0", 2),
        ("%0: [token, side0] = matmul %1", 1),
        ("%0: [token] = input 0", 1),
        ("%0: [token, 1] = frobnicate %0", 1),
        ("%0: [token, 1] = solve sideways y0 [] m [] c [] b []", 1),
        ("output 0", 1),
    ] {
        let error = parse::parse(text).expect_err(text);
        assert!(error.starts_with(&format!("line {line}: ")), "{error}");
    }
}
