//! Why the CUDA kernels read a state in one bf16 part where the result decides a kink: a model of the rounding of a chunk of RDN's
//! base state, operand by operand, beside the recurrence in f64. A second part for the state alone changes next to nothing: what
//! moves elements across the clip is the rounding of the other operands, and what the state itself has gathered by then.

use half::bf16;

const CHUNK: usize = 32;
const SIDE: usize = 64;

/// Rows of a matrix.
type Rows = Vec<Vec<f64>>;

fn round(x: f64) -> f64 {
    bf16::from_f64(x).to_f64()
}

fn map(a: &Rows, f: impl Fn(usize, usize, f64) -> f64) -> Rows {
    let row = |(i, row): (usize, &Vec<f64>)| row.iter().enumerate().map(|(j, x)| f(i, j, *x)).collect();
    a.iter().enumerate().map(row).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// A B^T.
fn times_turned(a: &Rows, b: &Rows) -> Rows {
    a.iter().map(|row| b.iter().map(|column| dot(row, column)).collect()).collect()
}

fn turned(a: &Rows) -> Rows {
    (0..a[0].len()).map(|j| a.iter().map(|row| row[j]).collect()).collect()
}

fn times(a: &Rows, b: &Rows) -> Rows {
    times_turned(a, &turned(b))
}

/// (I + a)^-1, a strictly lower.
fn inverse(a: &Rows) -> Rows {
    let mut out: Rows = vec![];
    for (i, own) in a.iter().enumerate() {
        let row = (0..a.len()).map(|j| {
            let sum: f64 = own.iter().zip(&out).map(|(x, row)| x * row[j]).sum();
            f64::from(u8::from(i == j)) - sum
        });
        let row = row.collect();
        out.push(row);
    }
    out
}

struct Case {
    k: Rows,
    v: Rows,
    /// Log decay.
    g: Vec<f64>,
    beta: Vec<f64>,
}

fn case(tokens: usize, seed: u64) -> Case {
    let mut state = seed;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    // a sum of twelve is nearly normal
    let mut normal = || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
    let mut rows = || (0..tokens).map(|_| (0..SIDE).map(|_| normal()).collect()).collect::<Rows>();
    let (k, v) = (rows(), rows());
    let k = k.iter().map(|row| row.iter().map(|x| round(x / dot(row, row).sqrt())).collect()).collect();
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let beta = (0..tokens).map(|_| sigmoid(normal())).collect();
    let g = (0..tokens).map(|_| sigmoid(normal()).ln() / 16.0).collect();
    Case { k, v: map(&v, |_, _, x| round(x)), g, beta }
}

/// v - S[t-1] k, token by token.
fn exact(case: &Case) -> Rows {
    let mut s = vec![vec![0.0; SIDE]; SIDE];
    let mut out = vec![];
    for t in 0..case.k.len() {
        let (a, k, v) = (case.g[t].exp(), &case.k[t], &case.v[t]);
        let y: Vec<f64> = s.iter().map(|row| dot(row, k)).collect();
        out.push(v.iter().zip(&y).map(|(v, y)| v - y).collect());
        for (c, row) in s.iter_mut().enumerate() {
            let u = case.beta[t] * (v[c] - a * y[c]);
            row.iter_mut().zip(k).for_each(|(x, k)| *x = a * *x + u * k);
        }
    }
    out
}

/// The same by chunks, operands of products rounded by `round`; `read`: the state as the product of the kink has it.
fn by_chunks(case: &Case, round: fn(f64) -> f64, read: impl Fn(f64) -> f64) -> Rows {
    let mut s = vec![vec![0.0; SIDE]; SIDE];
    let mut out = vec![];
    for first in (0..case.k.len()).step_by(CHUNK) {
        let rows = |x: &Rows| x[first..first + CHUNK].to_vec();
        let (k, v, g, beta) = (rows(&case.k), rows(&case.v), &case.g[first..], &case.beta[first..]);
        let sum = |from: usize, to: usize| g[from..to].iter().sum::<f64>();
        // decay from behind token s to before token t
        let scores = map(&times_turned(&k, &k), |t, s, x| if s < t { x * sum(s + 1, t).exp() } else { 0.0 });
        let inverse = inverse(&map(&scores, |_, s, x| x * beta[s] * g[s].exp()));
        let of_values = map(&times(&inverse, &map(&scores, |_, s, x| x * beta[s])), |_, _, x| round(x));
        let of_state = map(&inverse, |_, _, x| round(x));
        let readout = |state: &Rows| {
            let before = map(&times_turned(&k, state), |t, _, x| round(x * sum(0, t).exp()));
            let (a, b) = (times(&of_state, &before), times(&of_values, &v));
            map(&a, |t, c, x| x + b[t][c])
        };
        let (own, kink) = (readout(&map(&s, |_, _, x| round(x))), readout(&map(&s, |_, _, x| read(x))));
        out.extend(map(&v, |t, c, x| x - kink[t][c]));
        let writes = map(&v, |t, c, x| round(beta[t] * (x - g[t].exp() * own[t][c]) * sum(t + 1, CHUNK).exp()));
        let (decay, added) = (sum(0, CHUNK).exp(), times(&turned(&writes), &k));
        s = map(&s, |c, n, x| decay * x + added[c][n]);
    }
    out
}

#[test]
fn a_second_part_of_the_state_does_not_save_kinks() {
    let two = |x: f64| round(x) + round(x - round(x));
    let (mut elements, mut one_part, mut two_parts) = (0, 0, 0);
    for seed in 1..=8 {
        let case = case(16 * CHUNK, seed);
        let side = |x: &f64| i32::from(*x >= 1.0) - i32::from(*x <= -1.0);
        let exact: Vec<i32> = exact(&case).iter().flatten().map(side).collect();
        let moved = |rows: Rows| rows.iter().flatten().zip(&exact).filter(|(x, e)| side(x) != **e).count();
        elements += exact.len();
        one_part += moved(by_chunks(&case, round, round));
        two_parts += moved(by_chunks(&case, round, two));
    }
    let rate = |moved: usize| moved as f64 / elements as f64;
    println!("kinks moved by rounding: {:.1e} of all with one part, {:.1e} with two", rate(one_part), rate(two_parts));
    assert!(rate(two_parts) > 1e-5, "two parts would do: the kernels should take them");
    assert!(two_parts as f64 > 0.7 * one_part as f64, "two parts would help: {two_parts} of {one_part}");
}

#[test]
fn the_model_is_the_recurrence_where_nothing_is_rounded() {
    let case = case(4 * CHUNK, 9);
    let (chunks, tokens) = (by_chunks(&case, |x| x, |x| x), exact(&case));
    let apart = chunks.iter().flatten().zip(tokens.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart < 1e-12, "{apart}");
}
