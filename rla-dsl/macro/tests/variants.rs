//! The macro as a user meets it: what it accepts becomes items, at any place and from any macro.

use rla_dsl_macro::rla_variant;

rla_variant! {
    /// Residual Delta Net.
    ///
    /// With a clipped residual.
    pub variant rdn {
        input q, k: key unit, v: value;
        input g: scalar in -inf..0, beta, gamma: scalar in 0..1;
        const clip = 1.0;
        state S, R: value x key;

        let a = exp(g);
        let r = clamp(v - S[t-1] * k, -clip, clip);
        R[t] = a * R[t-1] * (I - gamma * k * k^T) + gamma * r * k^T;
        S[t] = a * S[t-1] * (I - beta * k * k^T) + beta * v * k^T;
        output o = a * S[t-1] * q + gamma * R[t] * q;
    }

    // two in one body, names that are Rust's keywords
    variant own_type {
        //! a comment like any other
        input fn, in: key, type: value in 0..1;
        state struct: value x key;
        struct[t] = 2.*struct[t-1] + type * in^T; /* 2 times */
        output match = struct[t] * fn;
    }
}

#[test]
fn text_is_canonical_and_reads_back() {
    assert_eq!(Rdn::NAME, "rdn");
    let parsed = rla_dsl::parse(Rdn::SOURCE).unwrap();
    assert_eq!(rla_dsl::print(&parsed.variants[0]), Rdn::SOURCE);
    assert!(Rdn::SOURCE.starts_with("/// Residual Delta Net.\n///\n/// With a clipped residual.\npub variant rdn {\n"));
    assert!(OwnType::SOURCE.contains("    struct[t] = 2 * struct[t-1] + type * in^T;\n"));
}

macro_rules! linear {
    ($name:ident, $decay:expr, $side:ident, $low:literal) => {
        rla_variant! {
            variant $name {
                input q, k: $side, v: value, g: scalar in $low..1;
                const c = $decay * 2;
                state S: value x $side;
                S[t] = c * g * S[t-1] + v * k^T;
                output o = S[t] * q;
            }
        }
    };
}

linear!(made_by_a_macro, 1 - 0.75, key, -1);

#[test]
fn a_macro_variable_is_one_operand() {
    let variant = rla_dsl::parse(MadeByAMacro::SOURCE).unwrap().variants.remove(0);
    assert_eq!(variant.const_defaults(&[1, 1]), [0.5]);
    assert!(MadeByAMacro::SOURCE.contains("g: scalar in -1..1;"));
}
