//! Variants that have exact cases.

/// Built-in variants whose maps are clamp, relu, sq, abs and the decay's exp.
pub const VARIANTS: [&str; 14] = [
    "linear_attention",
    "simple_gla",
    "retnet",
    "gla",
    "rwkv6",
    "rwkv7",
    "delta_net",
    "gated_delta_net",
    "comba",
    "kda",
    "delta_product2",
    "value_decay",
    "rla",
    "rdn",
];
