//! Kinks in the oracle: slopes at ties, NaN, the log of distances, and runs on given branches.
use rla_codegen::data::{Cotangents, Dims, Gradients, Inputs, Outputs};
use rla_codegen::oracle::kink::{Branches, Forced, Nearest};
use rla_codegen::oracle::{self, Branch};
use rla_dsl::recurrence::Recurrence;
use rla_runtime::draw::{self, Gates, KINK_DISTANCE_16_BIT, Keys, Plan, Rng};
use rla_tests::golden;
use std::collections::BTreeMap;

/// One value of a scalar map, and its derivative: of `S[t] = map(x)`, one token.
fn map(map: &str, x: f64) -> (f64, f64) {
    let recurrence =
        golden::parse(&format!("variant map {{ input x: value; state z: value; z[t] = {map}; output o = z[t]; }}"));
    let dims = Dims { sizes: vec![1, 1], batch: 1, tokens: 1, key_heads: 1, value_heads: 1 };
    let inputs = Inputs { dims, consts: vec![], tensors: vec![vec![x]], states: vec![None], cu_seqlens: None };
    let cotangents = Cotangents { outputs: vec![Some(vec![1.0])], states: vec![None] };
    let (outputs, gradients) = oracle::gradient(&recurrence, &inputs, &cotangents).expect("it fits");
    (outputs.outputs[0][0], gradients.inputs[0][0])
}

#[test]
fn slopes_at_ties_and_beyond() {
    for (x, expected) in [
        (-2.0, (-1.0, 0.0)),
        (-1.0, (-1.0, 0.0)),
        (-0.999, (-0.999, 1.0)),
        (0.499, (0.499, 1.0)),
        (0.5, (0.5, 0.0)),
        (f64::INFINITY, (0.5, 0.0)),
        (f64::NEG_INFINITY, (-1.0, 0.0)),
    ] {
        assert_eq!(map("clamp(x, -1, 0.5)", x), expected, "clamp at {x}");
    }
    for (x, expected) in
        [(-2.0, (0.0, 0.0)), (0.0, (0.0, 0.0)), (-0.0, (0.0, 0.0)), (1e-300, (1e-300, 1.0)), (3.0, (3.0, 1.0))]
    {
        assert_eq!(map("relu(x)", x), expected, "relu at {x}");
    }
    for (x, expected) in [(-2.0, (2.0, -1.0)), (0.0, (0.0, 0.0)), (3.0, (3.0, 1.0))] {
        assert_eq!(map("abs(x)", x), expected, "abs at {x}");
    }
}

#[test]
fn a_nan_passes_through_every_kink() {
    for text in ["clamp(x, -1, 1)", "relu(x)", "abs(x)"] {
        let (value, slope) = map(text, f64::NAN);
        assert!(value.is_nan() && slope == 1.0, "{text}: {value}, {slope}");
    }
}

fn rdn_case(distance: f64) -> (Recurrence, Inputs, Cotangents) {
    let recurrence = golden::built_in("rdn");
    let dims = Dims { sizes: vec![6, 5], batch: 2, tokens: 12, key_heads: 2, value_heads: 4 };
    let plan = Plan { dims, cu_seqlens: None, gates: Gates::Weak, keys: Keys::Independent, initial_states: true };
    let mut rng = Rng::new(3);
    let (inputs, survey) = draw::inputs(&recurrence, &plan, distance, &mut rng).expect("a bounded draw");
    assert!(distance == 0.0 || survey.moved > 0, "no token had to be moved: this case shows nothing");
    let cotangents = draw::cotangents(&recurrence, &inputs, &mut rng);
    (recurrence, inputs, cotangents)
}

#[test]
fn a_draw_keeps_its_distance() {
    let near = |distance: f64| {
        let (recurrence, inputs, _) = rdn_case(distance);
        let mut nearest = Nearest::within(KINK_DISTANCE_16_BIT);
        oracle::forward_with(&recurrence, &inputs, &mut nearest).expect("it fits");
        assert_eq!(nearest.seen, 2 * 12 * 4 * 5, "one clip of V elements a token and head");
        nearest.near.len()
    };
    assert_eq!(near(KINK_DISTANCE_16_BIT), 0);
    assert!(near(0.0) > 0);
}

fn run(forced: &mut Forced) -> (Outputs, Gradients) {
    let (recurrence, inputs, cotangents) = rdn_case(0.0);
    oracle::gradient_with(&recurrence, &inputs, &cotangents, forced).expect("it fits")
}

#[test]
fn forced_branches_are_taken_and_told() {
    let (recurrence, inputs, _) = rdn_case(0.0);
    let mut own = Branches::default();
    oracle::forward_with(&recurrence, &inputs, &mut own).expect("it fits");
    assert_eq!(own.taken.len(), 2 * 12 * 4 * 5);

    // its own branches change nothing, and none counts as moved
    let mut all = Forced::new(own.taken.clone());
    assert_eq!(run(&mut all), run(&mut Forced::default()));
    assert!(all.moved.is_empty());

    // one element from inside to above: r is the upper bound, and neither v nor the state gets a slope from it
    let (&site, _) = own.taken.iter().find(|(_, branch)| **branch == Branch::Inside).expect("some are inside");
    let mut one = Forced::new(BTreeMap::from([(site, Branch::Above)]));
    let moved = run(&mut one);
    assert_ne!(moved, run(&mut Forced::default()));
    let (distance, scale) = one.moved[&site];
    assert!(distance > 0.0 && distance < 1.0, "{distance}");

    // the size of what the argument is summed from: |v| + |S_row| |k|, here at the first token of a sequence
    assert_eq!(site.position % 12, 0, "the first site is of a first token");
    let v = recurrence.inputs.iter().position(|i| i.name == "v").expect("RDN has v");
    let value = inputs.tensors[v][(site.position * 4 + site.head) * 5 + site.element];
    let state = inputs.states[0].as_ref().expect("initial states");
    let row = &state[((site.position / 12 * 4 + site.head) * 5 + site.element) * 6..][..6];
    let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
    assert!((scale - value.abs() - norm).abs() < 1e-12, "{scale} against {value} and {norm}");
}
