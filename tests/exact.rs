//! Exact cases: small integers throughout, where every order of summation and every type gives the same bits. The tile
//! interpreter meets the oracle bit for bit, forward and backward; the kernels' tests use the same cases.
use rla_codegen::data::Dims;
use rla_codegen::oracle::magnitudes;
use rla_dsl::recurrence::Recurrence;
use rla_runtime::draw::exact::{self, MOST_TOKENS};
use rla_runtime::draw::{self, Gates, Keys, Plan, Rng};
use rla_tests::exact::VARIANTS;
use rla_tests::{compare, golden, tile};

fn plan(recurrence: &Recurrence, tokens: usize, packed: bool, rng: &mut Rng) -> Plan {
    let sizes = vec![6, 5, 4][..recurrence.sides.len()].to_vec();
    let dims = Dims { sizes, batch: if packed { 1 } else { 2 }, tokens, key_heads: 1, value_heads: 2 };
    let cu_seqlens = packed.then(|| draw::packing(tokens, 5, rng));
    Plan { dims, cu_seqlens, gates: Gates::Weak, keys: Keys::Independent, initial_states: false }
}

#[test]
fn the_tile_programs_meet_the_oracle_bit_for_bit() {
    for name in VARIANTS {
        let recurrence = golden::built_in(name);
        let mut rng = Rng::new(1);
        for (tokens, packed) in [(MOST_TOKENS, false), (40, true), (7, false)] {
            let plan = plan(&recurrence, tokens, packed, &mut rng);
            let case = exact::case(&recurrence, &plan, &mut rng).expect("the plan fits");
            let (inputs, cotangents) = case.unwrap_or_else(|| panic!("{name}: no exact case of {tokens} tokens"));
            let expected = compare::oracle(&recurrence, &inputs, &cotangents);
            for chunk in [1, 7, 16, 64] {
                let got = tile::run(&recurrence, &inputs, &cotangents, chunk, true).expect("it is in the class");
                assert!(got == expected, "{name}, {tokens} tokens, chunk {chunk}");
            }
        }
    }
}

#[test]
fn other_variants_have_none() {
    for (name, text) in rla_dsl::BUILTINS.iter().filter(|(name, _)| !VARIANTS.contains(name)) {
        let recurrence = golden::parse(text);
        let mut rng = Rng::new(1);
        let plan = plan(&recurrence, 7, false, &mut rng);
        assert!(exact::case(&recurrence, &plan, &mut rng).expect("the plan fits").is_none(), "{name}");
    }
}

/// The cases are exact: no fraction, and clip at its very ends, among others.
#[test]
fn magnitudes_notice_fractions_and_size() {
    let recurrence = golden::built_in("rdn");
    let mut rng = Rng::new(2);
    let plan = plan(&recurrence, 16, false, &mut rng);
    let (mut inputs, cotangents) = exact::case(&recurrence, &plan, &mut rng).expect("it fits").expect("rdn has one");
    let found = magnitudes(&recurrence, &inputs, &cotangents).expect("it fits");
    assert!(!found.fractions && found.operand >= 2.0 && found.sum >= found.operand / 2.0);
    let v = recurrence.inputs.iter().position(|i| i.name == "v").expect("rdn has v");
    inputs.tensors[v][3] = 0.5;
    assert!(magnitudes(&recurrence, &inputs, &cotangents).expect("it fits").fractions);
    inputs.tensors[v][3] = 1024.0;
    assert!(magnitudes(&recurrence, &inputs, &cotangents).expect("it fits").operand >= 512.0);
}
