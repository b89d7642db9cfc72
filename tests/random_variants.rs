//! Random variants of the class: 200 from consecutive seeds are accepted by the checker and stay bounded under the oracle.
//! The tile interpreter's and the kernels' tests use the same variants.
use rla_codegen::data::Dims;
use rla_runtime::draw::{self, Gates, KINK_DISTANCE, Keys, Plan, Rejection, Rng};
use rla_tests::{golden, random_variant};

#[test]
fn two_hundred_variants_are_accepted_and_bounded() {
    let (mut unbounded, mut stuck, mut moved) = (vec![], vec![], 0);
    for seed in 0..200 {
        let text = random_variant::text(seed);
        let recurrence = golden::parse(&text);
        let dims = Dims {
            sizes: vec![6, 5, 4][..recurrence.sides.len()].to_vec(),
            batch: 1,
            tokens: 40,
            key_heads: 1,
            value_heads: 2,
        };
        let plan = Plan { dims, cu_seqlens: None, gates: Gates::Weak, keys: Keys::Independent, initial_states: true };
        match draw::inputs(&recurrence, &plan, KINK_DISTANCE, &mut Rng::new(seed)) {
            Ok((_, survey)) => moved += survey.moved,
            Err(Rejection::Unbounded(size)) => unbounded.push((seed, size)),
            Err(Rejection::Stuck(site)) => stuck.push((seed, site)),
            Err(Rejection::Misfit(misfit)) => panic!("seed {seed}: {misfit}\n{text}"),
        }
    }
    println!(
        "200 variants: {moved} tokens moved, {} rejected for their states: {unbounded:?}, {} for a kink: {stuck:?}",
        unbounded.len(),
        stuck.len()
    );
    assert!(unbounded.len() + stuck.len() <= 20, "too few usable draws");
}
