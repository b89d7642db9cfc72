//! Random variants of the class, from consecutive seeds and nowhere in the repository as text: the checker accepts them, they
//! stay bounded under the oracle, and the derived chunk form and its derivative agree with the oracle, chunk length by chunk length.
use rla_codegen::data::{Cotangents, Dims, Inputs};
use rla_codegen::pipeline::{chunk_programs, token_programs};
use rla_dsl::recurrence::Recurrence;
use rla_runtime::case::Results;
use rla_runtime::draw::{self, Gates, KINK_DISTANCE, Keys, Plan, Rejection, Rng};
use rla_tests::compare::{self, Bounds};
use rla_tests::{golden, random_variant, tile};

/// Seeds of the suite.
const SEEDS: std::ops::Range<u64> = 0..200;
/// Draws of a variant's case before the suite fails.
const ATTEMPTS: u64 = 10;

/// Sizes, gates, keys and packing differ from seed to seed.
fn plan(recurrence: &Recurrence, rng: &mut Rng) -> Plan {
    let sizes = (0..recurrence.sides.len()).map(|_| 1 + rng.below(7)).collect();
    let key_heads = 1 + rng.below(2);
    let tokens = *rng.pick(&[1, 5, 16, 33, 40]);
    let packed = rng.chance(0.4);
    let dims = Dims {
        sizes,
        batch: if packed { 1 } else { 1 + rng.below(2) },
        tokens,
        key_heads,
        value_heads: key_heads * (1 + rng.below(2)),
    };
    Plan {
        dims,
        cu_seqlens: packed.then(|| draw::packing(tokens, 5, rng)),
        gates: *rng.pick(&[Gates::Weak, Gates::Strong, Gates::Abyss]),
        keys: *rng.pick(&[Keys::Independent, Keys::Independent, Keys::Repeated, Keys::NearEqual]),
        initial_states: rng.chance(0.7),
    }
}

struct Drawn {
    recurrence: Recurrence,
    text: String,
    inputs: Inputs,
    cotangents: Cotangents,
    moved: usize,
    rejected: Vec<Rejection>,
}

/// The variant of a seed with the first of its draws whose states stay bounded and whose kinks lie elsewhere.
fn draw(seed: u64) -> Drawn {
    let text = random_variant::text(seed);
    let recurrence = golden::parse(&text);
    let mut rejected = vec![];
    for attempt in 0..ATTEMPTS {
        let mut rng = Rng::new(seed + 1000 * attempt);
        let plan = plan(&recurrence, &mut rng);
        match draw::inputs(&recurrence, &plan, KINK_DISTANCE, &mut rng) {
            Ok((inputs, survey)) => {
                let cotangents = draw::cotangents(&recurrence, &inputs, &mut rng);
                return Drawn { recurrence, text, inputs, cotangents, moved: survey.moved, rejected };
            }
            Err(rejection) => rejected.push(rejection),
        }
    }
    panic!("seed {seed}: every draw was rejected: {rejected:?}\n{text}");
}

/// All seeds; prints how many draws were rejected.
fn all() -> Vec<(u64, Drawn)> {
    let drawn: Vec<(u64, Drawn)> = SEEDS.map(|seed| (seed, draw(seed))).collect();
    let moved: usize = drawn.iter().map(|(_, case)| case.moved).sum();
    let rejected: Vec<&Rejection> = drawn.iter().flat_map(|(_, case)| &case.rejected).collect();
    println!(
        "{} random variants, {moved} tokens moved from a kink, {} draws rejected: {rejected:?}",
        drawn.len(),
        rejected.len()
    );
    assert!(rejected.len() <= drawn.len() / 10, "too many draws are rejected");
    drawn
}

#[test]
fn chunk_form_and_its_derivative_agree_with_the_oracle() {
    let mut failed = String::new();
    let mut compared = 0;
    for (seed, Drawn { recurrence, text, inputs, cotangents, .. }) in all() {
        let programs = match chunk_programs(&recurrence) {
            Ok((_, programs)) => programs,
            Err(outside) => {
                failed += &format!("\nseed {seed}: outside the class: {outside:?}\n{text}");
                continue;
            }
        };
        let reference = compare::oracle(&recurrence, &inputs, &cotangents);
        let token = token_programs(&recurrence);
        let chunks = [(1, false), (7, true), (16, true), (64, false)].map(|(chunk, fill)| (&programs, chunk, fill));
        let for_cuda = programs.for_cuda();
        for (programs, chunk, fill) in chunks.into_iter().chain([(&for_cuda, 16, true), (&token, 1, false)]) {
            let got = tile::run_programs(&recurrence, programs, &inputs, &cotangents, chunk, fill);
            let rows = compare::failures(&recurrence, &inputs, &cotangents, &got, &reference, &Bounds::TILE);
            compared += 1;
            if !rows.is_empty() {
                failed += &format!("\nseed {seed}, chunk {chunk}:{rows}\n{text}");
                break;
            }
        }
    }
    println!("{compared} runs of tile programs");
    assert!(failed.is_empty(), "{failed}");
}

/// The comparison above rejects a result that is wrong in one element of one tensor.
#[test]
fn a_wrong_element_is_rejected() {
    let Drawn { recurrence, inputs, cotangents, .. } = draw(0);
    let reference = compare::oracle(&recurrence, &inputs, &cotangents);
    let good = tile::run(&recurrence, &inputs, &cotangents, 16, true).expect("it is in the class");
    let rows = |got: &Results| compare::failures(&recurrence, &inputs, &cotangents, got, &reference, &Bounds::TILE);
    assert_eq!(rows(&good), "");
    for part in 0..4 {
        let mut wrong = good.clone();
        let tensors = match part {
            0 => &mut wrong.outputs,
            1 => &mut wrong.states,
            2 => &mut wrong.input_gradients,
            _ => &mut wrong.state_gradients,
        };
        let tensor = tensors[0].as_mut().expect("it is computed");
        *tensor.last_mut().expect("it has elements") += 1e-6;
        assert_ne!(rows(&wrong), "", "part {part}");
    }
}
