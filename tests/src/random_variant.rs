//! Random variants of the class, as text of the language, from a seed.
//!
//! One to three states of any sides (vector states too), each with one to three writes; scalar, row-side and column-side
//! decays, in log or linear space, given or computed; delta-rule erasures on either side, in one or two steps, factored or
//! written out as a write of an own readout; clip, tanh, sigmoid and the like between states; per-head parameters, constants,
//! declared dims; one to three outputs, scalars and columns of any side. Keys have unit length and coefficients stay within
//! what keeps states bounded for most draws.
mod ingredients;
mod states;

use ingredients::Ingredients;
use rla_runtime::draw::Rng;
use states::Shape;

/// A side of the generated variant: key, value or a declared dim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Key,
    Value,
    Slot,
}

/// The text of the variant of this seed. It is called `random_SEED`.
pub fn text(seed: u64) -> String {
    let mut rng = Rng::new(seed);
    let slot = rng.chance(0.3);
    let count = 1 + rng.below(3);
    let shapes: Vec<Shape> = (0..count).map(|_| Shape::draw(slot, &mut rng)).collect();
    // rank[i]: place of state i in the order of dependency; states are written down in their own order
    let mut rank: Vec<usize> = (0..count).collect();
    for i in (1..count).rev() {
        rank.swap(i, rng.below(i + 1));
    }
    let mut ingredients = Ingredients::new(rng, shapes, rank);
    // an output may stand before the states it reads at t-1
    let early = ingredients.rng.chance(0.15);
    if early {
        ingredients.output(0);
    }
    for state in 0..count {
        ingredients.assign(state);
    }
    let outputs = 1 + ingredients.rng.below(2) + usize::from(early);
    for index in usize::from(early)..outputs {
        ingredients.output(index);
    }
    ingredients.finish(seed, slot)
}
