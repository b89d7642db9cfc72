//! The bounds of each rung.
use rla_dsl::recurrence::{Input, InputKind};

/// Bounds on relative L2 errors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Of outputs.
    pub outputs: f64,
    /// Of final states.
    pub states: f64,
    /// Of gradients.
    pub gradients: f64,
    /// Of the gradients of gates, other scalars and parameters.
    pub gate_gradients: f64,
}

impl Bounds {
    /// The oracle against results computed elsewhere.
    pub const ORACLE: Bounds = Bounds::new(1e-12, 1e-12, 1e-11, 1e-11);
    /// The tile interpreter against the oracle.
    pub const TILE: Bounds = Bounds::new(1e-11, 1e-11, 1e-11, 1e-11);
    /// f32 arithmetic, whatever the type of the inputs.
    pub const F32: Bounds = Bounds::new(2e-6, 2e-6, 1e-5, 1e-5);
    /// Products in a 16-bit type on the CPU: forward and decode. Backward has none; its gradients are held to those of CUDA.
    pub const CPU_16_BIT_PRODUCTS: Bounds = Bounds::new(2e-3, 4e-3, 8e-3, 2e-2);
    /// CUDA kernels with bf16 inputs.
    pub const CUDA_BF16: Bounds = Bounds::new(5e-3, 5e-3, 8e-3, 2e-2);

    const fn new(outputs: f64, states: f64, gradients: f64, gate_gradients: f64) -> Bounds {
        Bounds { outputs, states, gradients, gate_gradients }
    }

    /// Of the gradient of an input: gates, other scalars and parameters have their own.
    pub fn of_gradient(&self, decl: &Input) -> f64 {
        let gate = decl.gate || decl.side.is_none() || decl.kind == InputKind::Param;
        if gate { self.gate_gradients } else { self.gradients }
    }
}
