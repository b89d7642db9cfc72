//! `rla_variant!`: a linear-attention recurrence as a Rust item.
//!
//! A thin shell: the grammar and all checks are `rla-dsl`'s, the same as for `.rla` files. `problems` puts its diagnostics
//! on the user's tokens, `expand` writes the items.
#![forbid(unsafe_code)]

mod expand;
mod problems;
#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;

/// Defines a type for each variant in its body, which is the text of a `.rla` file.
///
/// ```
/// rla_dsl_macro::rla_variant! {
///     /// Linear attention.
///     pub variant linear_attention {
///         input q, k: key unit, v: value;
///         state S: value x key;
///
///         S[t] = S[t-1] + v * k^T;
///         output o = S[t] * q;
///     }
/// }
/// assert_eq!(LinearAttention::NAME, "linear_attention");
/// assert!(LinearAttention::SOURCE.contains("S[t] = S[t-1] + v * k^T;"));
/// ```
///
/// Every problem is an error at the tokens that it is about; a warning is a warning there.
///
/// ```compile_fail
/// rla_dsl_macro::rla_variant! {
///     variant wrong {
///         input q, k: key unit, v: value;
///         state S: value x key;
///
///         S[t] = S[t-1] + v * k; // a column times a column
///         output o = S[t] * q;
///     }
/// }
/// ```
#[proc_macro]
pub fn rla_variant(body: proc_macro::TokenStream) -> proc_macro::TokenStream {
    translate(body.into()).into()
}

fn translate(body: TokenStream) -> TokenStream {
    let (answer, spans) = rla_dsl::parse_tokens(body);
    match answer {
        Ok(parsed) => {
            let mut items = problems::warnings(&parsed.warnings, &spans);
            items.extend(parsed.variants.iter().map(|variant| expand::variant(variant, &spans)));
            items
        }
        Err(found) => problems::errors(&found, &spans),
    }
}
