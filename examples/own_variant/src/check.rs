//! The compiled kernels against the definition, `oracle()`, which is the same type with the same calls.

use crate::{
    ForgettingAverage, ForgettingAverageCotangents, ForgettingAverageInputs, ForgettingAverageOptions, Surprise,
    SurpriseCotangents, SurpriseInputs, SurpriseOptions,
};
use rla_runtime::draw::Rng;
use rla_runtime::{Result, StateLayout, Tensor};

/// B sequences of T tokens, two value heads to a key head.
pub const SIZES: Sizes = Sizes { batch: 2, tokens: 100, key_heads: 2, value_heads: 4, key: 24, value: 40 };

/// The sizes of a call.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub batch: usize,
    pub tokens: usize,
    pub key_heads: usize,
    pub value_heads: usize,
    pub key: usize,
    pub value: usize,
}

/// A tensor of what `draw` gives.
pub fn tensor(shape: &[usize], mut draw: impl FnMut() -> f64) -> Result<Tensor> {
    let data = (0..shape.iter().product()).map(|_| draw() as f32).collect::<Vec<f32>>();
    Tensor::from_vec(data, shape)
}

/// Vectors of length 1 along the last dimension.
pub fn unit(shape: &[usize], rng: &mut Rng) -> Result<Tensor> {
    let mut data: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal() as f32).collect();
    for row in data.chunks_exact_mut(shape[shape.len() - 1]) {
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= length);
    }
    Tensor::from_vec(data, shape)
}

/// Relative L2 error of a result, printed under its name.
fn error(name: &str, found: &Tensor, exact: &Tensor) -> f64 {
    let (found, exact) = (found.to_f64(), exact.to_f64());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let distance = norm(&mut found.iter().zip(&exact).map(|(a, b)| a - b));
    let error = distance / norm(&mut exact.iter().copied()).max(1e-30);
    println!("    {name:<18} {error:.1e}");
    error
}

/// Forward, backward and decode of the variant in the macro.
pub fn surprise() -> Result<f64> {
    let Sizes { batch: b, tokens: t, key_heads: h, value_heads: hv, key, value } = SIZES;
    let rng = &mut Rng::new(1);
    let (q, k) = (unit(&[b, t, h, key], rng)?, unit(&[b, t, h, key], rng)?);
    let v = tensor(&[b, t, hv, value], || rng.normal())?;
    let g = tensor(&[b, t, hv], || -0.1 * rng.exponential())?;
    let beta = tensor(&[b, t, hv], || rng.uniform())?;
    let strength = tensor(&[hv], || rng.normal())?;
    let gain = tensor(&[hv, value], || rng.normal())?;
    let start = tensor(&[b, hv, value, key], || rng.normal())?;
    let d_o = tensor(&[b, t, hv, value], || rng.normal())?;
    let d_r = tensor(&[b, hv, value, key], || rng.normal())?;

    let (kernels, exact) = (Surprise::new()?, Surprise::oracle()?);
    let inputs = SurpriseInputs {
        q: q.view(),
        k: k.view(),
        v: v.view(),
        g: g.view(),
        beta: beta.view(),
        strength: strength.view(),
        gain: gain.view(),
    };
    let options = SurpriseOptions { slope: Some(1.5), R0: Some(start.view()), ..Default::default() };
    let cotangents = SurpriseCotangents { o: Some(d_o.view()), R: Some(d_r.view()), ..Default::default() };
    let (out, states, saved) = kernels.forward_saving(&inputs, &options)?;
    let (exact_out, exact_states, exact_saved) = exact.forward_saving(&inputs, &options)?;
    let grads = kernels.backward(&inputs, &saved, &cotangents)?;
    let exact_grads = exact.backward(&inputs, &exact_saved, &cotangents)?;
    println!("{}", Surprise::NAME);
    let mut errors = vec![
        error("o", &out.o, &exact_out.o),
        error("S", &states.S, &exact_states.S),
        error("R", &states.R, &exact_states.R),
        error("gradient q", &grads.q, &exact_grads.q),
        error("gradient k", &grads.k, &exact_grads.k),
        error("gradient v", &grads.v, &exact_grads.v),
        error("gradient g", &grads.g, &exact_grads.g),
        error("gradient beta", &grads.beta, &exact_grads.beta),
        error("gradient strength", &grads.strength, &exact_grads.strength),
        error("gradient gain", &grads.gain, &exact_grads.gain),
        error("gradient R0", &grads.R0, &exact_grads.R0),
    ];

    // the same tokens one at a time, the two sequences in slots 2 and 0 of a pool of three
    let slots = [2, 0];
    let token = |tensor: &Tensor, at: usize| -> Result<Tensor> {
        let part = tensor.view().narrow(1, at, 1)?;
        Tensor::from_f64(tensor.dtype(), &part.to_f64(), part.shape())
    };
    let mut pool = kernels.zero_states(&inputs, 3, StateLayout::ValueMajor)?;
    for (from, &to) in slots.iter().enumerate() {
        let row = start.view().narrow(0, from, 1)?.to_f64();
        pool.R.view_mut().narrow(0, to as usize, 1)?.write_f64(&row);
    }
    let options = SurpriseOptions { slope: Some(1.5), ..Default::default() };
    let mut stepped = Tensor::zeros(out.o.dtype(), out.o.shape())?;
    for at in 0..t {
        let parts = [token(&q, at)?, token(&k, at)?, token(&v, at)?, token(&g, at)?, token(&beta, at)?];
        let [q, k, v, g, beta] = parts.each_ref().map(Tensor::view);
        let step = SurpriseInputs { q, k, v, g, beta, ..inputs };
        let next = kernels.decode(&step, &slots, &mut pool, &options)?;
        stepped.view_mut().narrow(1, at, 1)?.write_f64(&next.o.to_f64());
    }
    errors.push(error("o, decoded", &stepped, &exact_out.o));
    Ok(errors.into_iter().fold(0.0, f64::max))
}

/// Forward and backward of the variant in the file, its two sequences packed into one row.
pub fn forgetting_average() -> Result<f64> {
    let Sizes { tokens: t, key_heads: h, value_heads: hv, key, value, .. } = SIZES;
    let rng = &mut Rng::new(2);
    let (q, k) = (tensor(&[1, t, h, key], || rng.uniform())?, tensor(&[1, t, h, key], || rng.uniform())?);
    let v = tensor(&[1, t, hv, value], || rng.normal())?;
    let g = tensor(&[1, t, hv], || -0.1 * rng.exponential())?;
    let d_o = tensor(&[1, t, hv, value], || rng.normal())?;
    let inputs = ForgettingAverageInputs { q: q.view(), k: k.view(), v: v.view(), g: g.view() };
    let offsets = [0, 37, t as i64];
    let options = ForgettingAverageOptions { cu_seqlens: Some(&offsets), ..Default::default() };
    let cotangents = ForgettingAverageCotangents { o: Some(d_o.view()), ..Default::default() };

    let (kernels, exact) = (ForgettingAverage::new()?, ForgettingAverage::oracle()?);
    let (out, states, saved) = kernels.forward_saving(&inputs, &options)?;
    let (exact_out, exact_states, exact_saved) = exact.forward_saving(&inputs, &options)?;
    let grads = kernels.backward(&inputs, &saved, &cotangents)?;
    let exact_grads = exact.backward(&inputs, &exact_saved, &cotangents)?;
    println!("{}", ForgettingAverage::NAME);
    let errors = [
        error("o", &out.o, &exact_out.o),
        error("S", &states.S, &exact_states.S),
        error("z", &states.z, &exact_states.z),
        error("gradient q", &grads.q, &exact_grads.q),
        error("gradient k", &grads.k, &exact_grads.k),
        error("gradient v", &grads.v, &exact_grads.v),
        error("gradient g", &grads.g, &exact_grads.g),
    ];
    Ok(errors.into_iter().fold(0.0, f64::max))
}

/// What a wrong call is told.
pub fn refusals() -> Result<()> {
    let (q, v) =
        (Tensor::from_vec(vec![0.0f32; 2 * 8], &[1, 2, 1, 8])?, Tensor::from_vec(vec![0.0f32; 8], &[1, 1, 1, 8])?);
    let g = Tensor::from_vec(vec![0.0f32; 2], &[1, 2, 1])?;
    let inputs = ForgettingAverageInputs { q: q.view(), k: q.view(), v: v.view(), g: g.view() };
    match ForgettingAverage::new()?.forward(&inputs, &Default::default()) {
        Err(error) => println!("refused: {error}"),
        Ok(_) => println!("not refused"),
    }
    Ok(())
}
