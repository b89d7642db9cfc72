//! A toy regression: a student finds its teacher's parameters from the outputs alone, by Adam on the kernels' gradients.

use crate::check::{SIZES, Sizes, tensor, unit};
use crate::{Surprise, SurpriseCotangents, SurpriseInputs};
use rla_runtime::draw::Rng;
use rla_runtime::{Result, Tensor};

const STEPS: usize = 300;
const RATE: f64 = 0.05;

/// A parameter under Adam.
struct Parameter {
    value: Vec<f64>,
    shape: Vec<usize>,
    mean: Vec<f64>,
    square: Vec<f64>,
}

impl Parameter {
    fn new(value: f64, shape: &[usize]) -> Parameter {
        let count = shape.iter().product();
        Parameter { value: vec![value; count], shape: shape.to_vec(), mean: vec![0.0; count], square: vec![0.0; count] }
    }

    fn tensor(&self) -> Result<Tensor> {
        Tensor::from_vec(self.value.iter().map(|&x| x as f32).collect(), &self.shape)
    }

    fn step(&mut self, number: usize, gradient: &Tensor) {
        let rate = RATE * (1.0 - number as f64 / STEPS as f64);
        let correction = |decay: f64| 1.0 - decay.powi(number as i32 + 1);
        for (i, g) in gradient.to_f64().into_iter().enumerate() {
            self.mean[i] = 0.9 * self.mean[i] + 0.1 * g;
            self.square[i] = 0.99 * self.square[i] + 0.01 * g * g;
            let scale = (self.square[i] / correction(0.99)).sqrt() + 1e-12;
            self.value[i] -= rate * self.mean[i] / correction(0.9) / scale;
        }
    }
}

/// The loss before and after.
pub fn run(layer: &Surprise) -> Result<(f64, f64)> {
    let Sizes { batch: b, tokens: t, key_heads: h, value_heads: hv, key, value } = SIZES;
    let rng = &mut Rng::new(3);
    let (q, k) = (unit(&[b, t, h, key], rng)?, unit(&[b, t, h, key], rng)?);
    let v = tensor(&[b, t, hv, value], || rng.normal())?;
    let g = tensor(&[b, t, hv], || -0.1 * rng.exponential())?;
    let beta = tensor(&[b, t, hv], || rng.uniform())?;
    let teacher = (tensor(&[hv], || rng.normal())?, tensor(&[hv, value], || 1.0 + 0.5 * rng.normal())?);
    let given = SurpriseInputs {
        q: q.view(),
        k: k.view(),
        v: v.view(),
        g: g.view(),
        beta: beta.view(),
        strength: teacher.0.view(),
        gain: teacher.1.view(),
    };
    let (wanted, _) = layer.forward(&given, &Default::default())?;
    let wanted = wanted.o.to_f64();

    let (mut strength, mut gain) = (Parameter::new(0.0, &[hv]), Parameter::new(1.0, &[hv, value]));
    let mut losses = vec![];
    for number in 0..=STEPS {
        let student = (strength.tensor()?, gain.tensor()?);
        let inputs = SurpriseInputs { strength: student.0.view(), gain: student.1.view(), ..given };
        let (out, _, saved) = layer.forward_saving(&inputs, &Default::default())?;
        let difference: Vec<f64> = out.o.to_f64().iter().zip(&wanted).map(|(a, b)| a - b).collect();
        let count = difference.len() as f64;
        let loss = difference.iter().map(|x| x * x).sum::<f64>() / count;
        if number % 50 == 0 {
            println!("    step {number:3}  loss {loss:.2e}");
        }
        losses.push(loss);
        let slope: Vec<f32> = difference.iter().map(|x| (2.0 * x / count) as f32).collect();
        let slope = Tensor::from_vec(slope, out.o.shape())?;
        let cotangents = SurpriseCotangents { o: Some(slope.view()), ..Default::default() };
        let grads = layer.backward(&inputs, &saved, &cotangents)?;
        strength.step(number, &grads.strength);
        gain.step(number, &grads.gain);
    }
    Ok((losses[0], losses[STEPS]))
}
