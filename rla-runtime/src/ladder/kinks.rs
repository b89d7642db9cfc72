//! A kernel's branch at kinks, where rounding put an element on the other side than the oracle's.
//!
//! Kernels do not report branches. The elements that may differ are those within one unit of the input type times the
//! size of what their argument was summed from; of these, the ones whose other branch explains the results better are
//! taken to be on it.
use super::{Judged, Reference, Setting, by_oracle};
use crate::case::Case;
use crate::error::Result;
use crate::judge;
use crate::problem::Products;
use crate::tensor::DType;
use rla_codegen::oracle::kink::{Branch, Forced, Kink, Kinks, OwnBranches, Site};
use rla_dsl::recurrence::{ExprKind, Func, Recurrence};
use std::collections::BTreeMap;

/// Elements near a kink that are tried; a case with more is judged as it stands.
const MOST: usize = 64;

/// Keeps the elements that rounding may move across a kink.
struct Doubtful {
    unit: f64,
    sites: BTreeMap<Site, Branch>,
}

impl Kinks for Doubtful {
    fn branch(&mut self, kink: &Kink<'_>) -> Branch {
        if kink.distance <= self.unit * kink.scale() {
            self.sites.insert(kink.site, kink.branch);
        }
        kink.branch
    }
}

/// The oracle's results on the branch that the computed results show, and how many elements of it differ from the oracle's
/// own; `None` where there is no such branch, or where the oracle itself does not agree with the file.
pub(super) fn other_branch(
    recurrence: &Recurrence,
    case: &Case,
    setting: &Setting,
    judged: &[Judged],
    computed: &[Vec<f64>],
    file: &Reference,
) -> Result<Option<(usize, Reference)>> {
    let kinked =
        |e: &rla_dsl::recurrence::Expr| matches!(e.kind, ExprKind::Call(Func::Clamp | Func::Relu | Func::Abs, _));
    if !recurrence.exprs.iter().any(kinked) {
        return Ok(None);
    }
    let unit = match (setting.dtype, setting.products) {
        (DType::F64, _) => f64::EPSILON,
        (DType::Bf16, Products::Input) => f64::powi(2.0, -8),
        (DType::F16, Products::Input) => f64::powi(2.0, -11),
        _ => f64::from(f32::EPSILON),
    };
    let mut doubtful = Doubtful { unit, sites: BTreeMap::new() };
    by_oracle(recurrence, case, &mut doubtful)?;
    if doubtful.sites.is_empty() || doubtful.sites.len() > MOST {
        return Ok(None);
    }
    let own = by_oracle(recurrence, case, &mut OwnBranches)?;
    let agrees = |i: usize, reference: &[f64]| {
        let bound = setting.bounds(crate::op::Backend::Oracle);
        // inputs that were rounded to f32 move the oracle away from the file; then the kernel's own bound must do
        let bound = if setting.dtype == DType::F64 { bound.gradients } else { judged[i].bound };
        judge::judge(&own[i], reference, &judged[i].layout, bound, judged[i].rms, &mut Vec::new).passed
    };
    if !file.iter().enumerate().all(|(i, reference)| reference.as_ref().is_none_or(|r| agrees(i, r))) {
        return Ok(None);
    }
    let misfit = |results: &[Vec<f64>]| -> f64 {
        let one = |((x, reference), tensor): ((&Vec<f64>, &Vec<f64>), &Judged)| {
            let verdict = judge::judge(x, reference, &tensor.layout, tensor.bound, tensor.rms, &mut Vec::new);
            verdict.error.max(verdict.slice_error) / tensor.bound
        };
        computed.iter().zip(results).zip(judged).map(one).sum()
    };
    let (mut taken, mut best) = (BTreeMap::new(), own);
    let mut least = misfit(&best);
    for (&site, &branch) in &doubtful.sites {
        for other in [Branch::Below, Branch::Inside, Branch::Above] {
            if other == branch {
                continue;
            }
            let mut trial = taken.clone();
            trial.insert(site, other);
            let results = by_oracle(recurrence, case, &mut Forced::new(trial.clone()))?;
            let sum = misfit(&results);
            if sum < least {
                (taken, best, least) = (trial, results, sum);
            }
        }
    }
    Ok((!taken.is_empty()).then(|| (taken.len(), best.into_iter().map(Some).collect())))
}
