//! Kinks: where clamp, relu and abs change their slope.
//!
//! A [`Kinks`] sees every argument of a kink and may choose another branch than the argument's own. With it a check asks
//! how near an argument lies ([`Nearest`]), writes the branches down ([`Branches`]), or runs the definition on a kernel's
//! branches ([`Forced`]).
use rla_dsl::recurrence::{ExprId, Func};
use std::collections::BTreeMap;

/// The piece of a piecewise function that an element is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Branch {
    /// clamp: at or below the lower bound, slope 0. relu: at or below 0, slope 0. abs: below 0, slope -1.
    Below,
    /// clamp: strictly inside, slope 1. relu: above 0, slope 1. abs: exactly 0, slope 0. A NaN of clamp or relu.
    Inside,
    /// clamp: at or above the upper bound, slope 0. abs: above 0 (or NaN), slope 1.
    Above,
}

/// One element of one kink at one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    /// The call of clamp, relu or abs.
    pub call: ExprId,
    /// The value head.
    pub head: usize,
    /// The token, on the flat `B * T` axis.
    pub position: usize,
    /// The element of the column or row; 0 for a scalar.
    pub element: usize,
}

/// What a [`Kinks`] is shown.
pub struct Kink<'a> {
    /// Where.
    pub site: Site,
    /// The argument.
    pub argument: f64,
    /// Its distance to the nearest point where the slope changes.
    pub distance: f64,
    /// The branch it is on.
    pub branch: Branch,
    pub(super) scale: &'a dyn Fn() -> f64,
}

impl Kink<'_> {
    /// The size of what the argument was summed from: `|a| + |b|` for a sum or difference, `|row| |x|` for a product,
    /// so `|v| + |S_row| |k|` for `v - S k`. Rounding moves the argument by a unit of it.
    pub fn scale(&self) -> f64 {
        (self.scale)()
    }
}

/// Decides the branch of each kink; asked anew whenever a token is recomputed, and must then answer the same.
pub trait Kinks {
    /// The branch to take.
    fn branch(&mut self, kink: &Kink<'_>) -> Branch;

    /// Is shown the value of every smooth function too, and may scale it, as rounding would; `site.element` is 0. Not softmax's:
    /// scaled, it would have no derivative.
    fn value(&mut self, _site: Site, _value: &mut [f64]) {}
}

/// Every argument on its own branch.
pub struct OwnBranches;

impl Kinks for OwnBranches {
    fn branch(&mut self, kink: &Kink<'_>) -> Branch {
        kink.branch
    }
}

/// Own branches; keeps the arguments that lie within a distance of a kink.
#[derive(Clone, Debug, Default)]
pub struct Nearest {
    /// Arguments at most so far are kept.
    pub within: f64,
    /// How many arguments were seen.
    pub seen: usize,
    /// Those kept: where, and how far.
    pub near: Vec<(Site, f64)>,
}

impl Nearest {
    /// Keeps what lies within `within`.
    pub fn within(within: f64) -> Nearest {
        Nearest { within, seen: 0, near: vec![] }
    }
}

impl Kinks for Nearest {
    fn branch(&mut self, kink: &Kink<'_>) -> Branch {
        self.seen += 1;
        if kink.distance <= self.within {
            self.near.push((kink.site, kink.distance));
        }
        kink.branch
    }
}

/// Own branches, all written down.
#[derive(Clone, Debug, Default)]
pub struct Branches {
    /// By site.
    pub taken: BTreeMap<Site, Branch>,
}

impl Kinks for Branches {
    fn branch(&mut self, kink: &Kink<'_>) -> Branch {
        self.taken.insert(kink.site, kink.branch);
        kink.branch
    }
}

/// The named sites on the given branches, all others on their own.
#[derive(Clone, Debug, Default)]
pub struct Forced {
    /// The branches to take.
    pub branches: BTreeMap<Site, Branch>,
    /// Of the named sites whose own branch differs: distance to the kink, and [`Kink::scale`].
    pub moved: BTreeMap<Site, (f64, f64)>,
}

impl Forced {
    /// Takes these branches.
    pub fn new(branches: BTreeMap<Site, Branch>) -> Forced {
        Forced { branches, moved: BTreeMap::new() }
    }
}

impl Kinks for Forced {
    fn branch(&mut self, kink: &Kink<'_>) -> Branch {
        match self.branches.get(&kink.site) {
            Some(&branch) => {
                if branch != kink.branch {
                    self.moved.insert(kink.site, (kink.distance, kink.scale()));
                }
                branch
            }
            None => kink.branch,
        }
    }
}

/// The branch of argument `x`, its distance to the kink; `bounds` are clamp's.
pub(super) fn classify(func: Func, x: f64, bounds: (f64, f64)) -> (Branch, f64) {
    match func {
        Func::Clamp => {
            let (low, high) = bounds;
            let distance = (x - low).abs().min((x - high).abs());
            let branch = if x.is_nan() {
                Branch::Inside
            } else if x.max(low) >= high {
                // bounds in the wrong order give the upper one, as x.max(low).min(high) does
                Branch::Above
            } else if x <= low {
                Branch::Below
            } else {
                Branch::Inside
            };
            (branch, distance)
        }
        Func::Relu => (if x <= 0.0 { Branch::Below } else { Branch::Inside }, x.abs()),
        _ if x == 0.0 => (Branch::Inside, 0.0),
        _ => (if x < 0.0 { Branch::Below } else { Branch::Above }, x.abs()),
    }
}

/// Value of the function on a branch.
pub(super) fn value(func: Func, branch: Branch, x: f64, bounds: (f64, f64)) -> f64 {
    match (func, branch) {
        (Func::Clamp, Branch::Below) => bounds.0,
        (Func::Clamp, Branch::Above) => bounds.1,
        (Func::Relu, Branch::Below) => 0.0,
        (Func::Abs, Branch::Below) => -x,
        _ => x,
    }
}

/// Slope of the function on a branch.
pub(super) fn slope(func: Func, branch: Branch) -> f64 {
    match (func, branch) {
        (Func::Abs, Branch::Below) => -1.0,
        (Func::Abs, Branch::Above) => 1.0,
        (Func::Abs, Branch::Inside) => 0.0,
        (_, Branch::Inside) => 1.0,
        (Func::Relu, Branch::Above) => 1.0,
        _ => 0.0,
    }
}
