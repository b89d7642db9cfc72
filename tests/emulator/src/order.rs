//! In which of the orders that a text allows things happen.

/// How work that may happen at several times is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Copies and products of four warps happen only when they are waited for; else at once.
    pub late: bool,
    /// Warps take turns of random lengths, by this number; else each goes on as far as it can.
    pub seed: Option<u64>,
    /// A launch that may overlap the one before starts as soon as that lets it, and goes first; else launches follow one another.
    pub overlap: bool,
    /// Accesses to shared memory that nothing orders are faults.
    pub races: bool,
}

impl Order {
    /// `late`, `early`, `overlap`, `races` and `seed=NUMBER`, separated by commas.
    ///
    /// # Errors
    /// Another word.
    pub fn parse(text: &str) -> Result<Order, String> {
        let mut order = Order { late: false, seed: None, overlap: false, races: false };
        for word in text.split(',').filter(|w| !w.is_empty()) {
            match word.split_once('=') {
                None if word == "late" => order.late = true,
                None if word == "early" => order.late = false,
                None if word == "overlap" => order.overlap = true,
                None if word == "races" => order.races = true,
                Some(("seed", number)) => {
                    order.seed = Some(number.parse().map_err(|_| format!("`{number}` is no number"))?);
                }
                _ => return Err(format!("`{word}`; known are late, early, overlap, races and seed=NUMBER")),
            }
        }
        Ok(order)
    }
}

/// Numbers that look random (xorshift).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}
