//! Two variants of one's own: forward, backward and decode checked against their definition, and a small training.
#![deny(unsafe_code)]

mod check;
mod train;

use rla_runtime::rla_variant;

rla_variant! {
    /// A delta rule with a second memory: what the first one did not foresee, squashed, is kept there.
    pub variant surprise {
        input q, k: key unit, v: value;
        /// Log decay of both memories.
        input g: scalar in -inf..0;
        /// How much of an association is rewritten.
        input beta: scalar in 0..1;
        /// The weight of the second memory, as a logit.
        param strength: scalar;
        /// What each channel of the output is multiplied with.
        param gain: value;
        const slope = 2.0;
        state S, R: value x key;

        let a = exp(g);
        let missed = tanh(slope * (v - S[t-1] * k));
        R[t] = a * R[t-1] + missed * k^T;
        S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T;
        output o = gain .* (S[t] * q + sigmoid(strength) * R[t] * q);
    }
}

rla_variant!("variants/forgetting_average.rla");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let layer = Surprise::new()?;
    println!("{}", layer.operation().report().map(ToString::to_string).unwrap_or_default());
    let worst = check::surprise()?.max(check::forgetting_average()?);
    println!("worst error against the definition {worst:.1e}");
    check::refusals()?;
    let (first, last) = train::run(&layer)?;
    println!("loss {first:.2e} before training, {last:.2e} after");
    if worst > 1e-5 || last > 0.05 * first {
        return Err("not what was promised".into());
    }
    println!("ok");
    Ok(())
}
