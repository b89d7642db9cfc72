//! Least arithmetic of known variants, and what programs execute.

use rla_codegen::explain::cost::{CHUNK, Term, executed, floor, per_step, total};
use rla_codegen::pipeline;

fn counted(name: &str, sizes: &[usize], group: usize) -> Vec<Term> {
    let text = rla_dsl::builtin::builtin(name).expect("a built-in variant");
    let recurrence = rla_dsl::parse(text).expect("accepted").variants.remove(0);
    let (canonical, _) = pipeline::chunk_programs(&recurrence).expect("in the class");
    floor(&recurrence, &canonical, sizes, group)
}

/// 4 readouts and 2 writes of a matrix state; K K^T and Q K^T once; the two applied to two states each.
#[test]
fn residual_delta_net_at_128() {
    let terms = counted("rdn", &[128, 128], 1);
    assert_eq!(per_step(&terms), 6.0 * 2.0 * 128.0 * 128.0);
    assert_eq!(total(&terms), 6.0 * 2.0 * 128.0 * 128.0 + 16.0 * (2.0 * 128.0 + 4.0 * 128.0));
}

#[test]
fn gated_delta_net_is_half_of_it_but_for_the_scores() {
    let terms = counted("gated_delta_net", &[64, 128], 1);
    assert_eq!(total(&terms), 3.0 * 2.0 * 64.0 * 128.0 + 16.0 * (2.0 * 64.0 + 2.0 * 128.0));
}

#[test]
fn scores_of_key_heads_are_shared_by_their_value_heads() {
    let (alone, shared) = (counted("simple_gla", &[32, 48], 1), counted("simple_gla", &[32, 48], 4));
    assert_eq!(total(&alone), 2.0 * 2.0 * 32.0 * 48.0 + 16.0 * (32.0 + 48.0));
    assert_eq!(total(&shared), 2.0 * 2.0 * 32.0 * 48.0 + 16.0 * (8.0 + 48.0));
}

/// A program cannot execute fewer products than the least.
#[test]
fn programs_execute_about_the_least() {
    for name in ["rla", "rdn", "gated_delta_net", "simple_gla", "delta_net"] {
        let text = rla_dsl::builtin::builtin(name).expect("a built-in variant");
        let recurrence = rla_dsl::parse(text).expect("accepted").variants.remove(0);
        let (canonical, programs) = pipeline::chunk_programs(&recurrence).expect("in the class");
        let sizes = [128, 128];
        let least = total(&floor(&recurrence, &canonical, &sizes, 1));
        let done = executed(&programs.forward, CHUNK, &sizes);
        assert!(done > 0.97 * least && done < 1.3 * least, "{name}: {done} against {least}");
    }
}
