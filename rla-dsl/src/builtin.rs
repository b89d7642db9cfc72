//! Published recurrences, as `.rla` texts: `variants/*.rla`, one a file.

macro_rules! builtins {
    ($($name:literal),* $(,)?) => {
        /// Name and text of every built-in variant.
        pub const BUILTINS: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../variants/", $name, ".rla"))),)*
        ];
    };
}

builtins![
    "linear_attention",
    "linear_attention_norm",
    "simple_gla",
    "mamba2",
    "retnet",
    "gla",
    "rwkv6",
    "rwkv7",
    "delta_net",
    "gated_delta_net",
    "gdn_raw",
    "comba",
    "kda",
    "delta_product2",
    "value_decay",
    "gsa",
    "rla",
    "rdn",
];

/// The text of the built-in variant of that name.
pub fn builtin(name: &str) -> Option<&'static str> {
    BUILTINS.iter().find(|row| row.0 == name).map(|row| row.1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_built_in_is_accepted_without_warnings() {
        for (name, text) in super::BUILTINS {
            let parsed = crate::parse(text).unwrap_or_else(|problems| panic!("{}", problems.render(name, text)));
            assert!(parsed.warnings.is_empty(), "{}", parsed.warnings.render(name, text));
            assert_eq!(parsed.variants.len(), 1, "{name}: one recurrence a file");
            assert_eq!(parsed.variants[0].name, *name);
        }
    }
}
