//! Texts at the limits of the language: accepted ones compile or are refused with a reason, and soon.

use rla_codegen::interpret::Interpreter;
use rla_codegen::pipeline::{chunk_programs, token_programs};
use rla_codegen::{canon, oracle};
use rla_dsl::Recurrence;
use rla_runtime::draw::{self, Gates, KINK_DISTANCE, Keys, Plan, Rng};
use rla_tests::golden;

fn variant(body: &str) -> Recurrence {
    let text = format!("variant limit {{ input q, k: key unit, v: value; input b: scalar in 0..1; {body} }}");
    assert!(text.len() < 64 * 1024, "{} bytes", text.len());
    golden::parse(&text)
}

/// In the class: programs, and forward in the interpreter as the oracle says. Outside: the reason. Token programs always.
fn answer(recurrence: &Recurrence) -> Result<(), String> {
    token_programs(recurrence);
    let (_, programs) = chunk_programs(recurrence).map_err(|outside| outside.reason)?;
    let dims = rla_codegen::data::Dims { sizes: vec![3, 2], batch: 1, tokens: 5, key_heads: 1, value_heads: 1 };
    let plan = Plan { dims, cu_seqlens: None, gates: Gates::Weak, keys: Keys::Independent, initial_states: true };
    let (inputs, _) = draw::inputs(recurrence, &plan, KINK_DISTANCE, &mut Rng::new(7)).expect("a case");
    let run =
        Interpreter { recurrence, forward: &programs.forward_save, backward: &programs.backward, chunk: 2, fill: true };
    let (outputs, _) = run.forward(&inputs);
    let reference = oracle::forward(recurrence, &inputs).expect("the case fits");
    for (x, r) in outputs.outputs.iter().zip(&reference.outputs) {
        for (x, r) in x.iter().zip(r) {
            assert!((x - r).abs() <= 1e-9 * r.abs().max(1.0), "{x} is not {r}");
        }
    }
    Ok(())
}

#[test]
fn a_sum_as_high_as_the_checker_allows() {
    let sum = "b + ".repeat(3000) + "b";
    let body = format!("state S: value x key; S[t] = S[t-1] + v * k^T; output o = 0.001 * ({sum}) * S[t] * q;");
    assert_eq!(answer(&variant(&body)), Ok(()));
}

#[test]
fn many_terms_in_an_update() {
    let sum: String = (0..1500).map(|i| format!(" + {}e-4 * b * v * k^T", i + 1)).collect();
    let body = format!("state S: value x key; S[t] = S[t-1]{sum}; output o = S[t] * q;");
    assert_eq!(answer(&variant(&body)), Ok(()));
}

#[test]
fn products_that_grow_without_bound_are_refused() {
    let squares: String = (1..30).map(|i| format!("let m{i} = m{} * m{};", i - 1, i - 1)).collect();
    let body = format!(
        "state S: value x key; let m0 = I - b * k * k^T - q * k^T; {squares} S[t] = S[t-1] * m29 + v * k^T; output o = S[t] * q;"
    );
    let reason = answer(&variant(&body)).expect_err("it grows as 2^29");
    assert!(reason.contains("expands to more than"), "{reason}");
}

#[test]
fn a_variant_without_a_state() {
    assert_eq!(answer(&variant("output o = b * dot(q, k) * v;")), Ok(()));
}

#[test]
fn a_state_that_nothing_is_written_to() {
    assert_eq!(answer(&variant("state S: value x key; S[t] = b * S[t-1]; output o = S[t] * q + v;")), Ok(()));
    assert_eq!(answer(&variant("state z: key; z[t] = b * z[t-1]; output o = dot(z[t], q) * v;")), Ok(()));
}

#[test]
fn outside_the_class_names_the_term() {
    let recurrence = variant("state S: value x key; S[t] = S[t-1] + tanh(S[t-1] * k) * k^T; output o = S[t] * q;");
    let outside = canon::canonicalize(&recurrence).expect_err("an own readout under a nonlinearity");
    assert_eq!(outside.reason, "S[t-1] enters its own update through tanh");
    assert_eq!((outside.span.line, outside.span.column > 0), (1, true));
}
