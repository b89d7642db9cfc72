//! `rla_variant!`: a linear-attention recurrence as a Rust item.
//!
//! A thin shell: the grammar and all checks are `rla-dsl`'s, the same as for `.rla` files. `problems` puts its diagnostics
//! on the user's tokens, `expand` writes the items; `file` reads them from a `.rla` file instead.
#![forbid(unsafe_code)]

mod expand;
mod file;
mod problems;
#[cfg(test)]
mod tests;

use expand::Spans;
use proc_macro2::TokenStream;

/// Defines a type for each variant in its body, which is the text of a `.rla` file, or the name of one.
///
/// Used as `rla_runtime::rla_variant!`, in a crate whose build script calls `rla_build::kernels()`: the type calls the kernels
/// that were compiled there. Without the build script the error says what to add.
///
/// ```text
/// rla_variant! {
///     /// A delta rule that forgets.
///     pub variant my_delta {
///         input q, k: key unit, v: value;
///         input g: scalar in -inf..0, beta: scalar in 0..1;
///         const scale = 1.0;
///         state S: value x key;
///
///         S[t] = exp(g) * S[t-1] * (I - beta * k * k^T) + beta * v * k^T;
///         output o = scale * S[t] * q;
///     }
/// }
///
/// rla_variant!("variants/other.rla");
///
/// let layer = MyDelta::new()?;
/// let inputs = MyDeltaInputs { q: q.view(), k: k.view(), v: v.view(), g: g.view(), beta: beta.view() };
/// let options = MyDeltaOptions { scale: Some(0.5), ..Default::default() };
/// let (out, states, saved) = layer.forward_saving(&inputs, &options)?;           // out.o, states.S
/// let cotangents = MyDeltaCotangents { o: Some(d_o.view()), ..Default::default() };
/// let grads = layer.backward(&inputs, &saved, &cotangents)?;                     // grads.q ... grads.S0
/// let next = layer.decode(&token, &[0, 1], &mut states, &options)?;              // next.o; slots 0 and 1 of the states
/// ```
///
/// Beside `MyDelta` there are `MyDeltaInputs` (inputs and parameters), `MyDeltaOptions` (constants, initial states, packing,
/// layout of states, what products may be computed in, all with defaults), `MyDeltaOutputs`, `MyDeltaStates`, `MyDeltaCotangents` and `MyDeltaGradients`: one field a name of the
/// recurrence. A name that is a keyword of Rust is written `r#type`.
///
/// Every problem is an error at the tokens that it is about; a warning is a warning there.
#[proc_macro]
pub fn rla_variant(body: proc_macro::TokenStream) -> proc_macro::TokenStream {
    translate(body.into()).into()
}

fn translate(body: TokenStream) -> TokenStream {
    if let Some(name) = file::named(&body) {
        return file::translate(&name);
    }
    let (answer, spans) = rla_dsl::parse_tokens(body);
    match answer {
        Ok(parsed) => {
            let mut items = problems::warnings(&parsed.warnings, &spans);
            items.extend(parsed.variants.iter().map(|variant| expand::variant(variant, &Spans::Tokens(&spans))));
            items
        }
        Err(found) => problems::errors(&found, &spans),
    }
}
