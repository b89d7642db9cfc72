//! The items that a variant becomes: its type, and a struct for each list of tensors, one field a name.
//!
//! The expansion maps names to positions; what is done with them is `rla_runtime::variant`. For `variant rdn` with inputs q
//! and g, a constant c, a state S and an output o, in short:
//!
//! ```text
//! struct Rdn { operation: Operation }
//! struct RdnInputs<'a> { q: View<'a>, g: View<'a> }
//! struct RdnOptions<'a> { c: Option<f64>, S0: Option<View<'a>>, cu_seqlens: Option<&'a [i64]>, layout: StateLayout,
//!     products: Products }
//! struct RdnOutputs { o: Tensor }
//! struct RdnStates { S: Tensor }
//! struct RdnCotangents<'a> { o: Option<View<'a>>, S: Option<View<'a>> }
//! struct RdnGradients { q: Tensor, g: Tensor, S0: Tensor }
//! ```

mod fields;
mod tensors;

use fields::Names;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use rla_dsl::identity::kernels_variable;
use rla_dsl::recurrence::Span as Place;
use rla_dsl::{Recurrence, TokenSpans, print};

/// From places in the recurrence to the user's tokens.
pub(crate) enum Spans<'a> {
    /// The body of the macro.
    Tokens(&'a TokenSpans),
    /// A file, named by one literal.
    File(Span),
}

impl Spans<'_> {
    fn of(&self, place: Place) -> Span {
        match self {
            Spans::Tokens(spans) => spans.of(place).0,
            Spans::File(literal) => *literal,
        }
    }
}

/// The type of the variant's name, in UpperCamelCase, and the structs of its tensors.
pub(crate) fn variant(variant: &Recurrence, spans: &Spans) -> TokenStream {
    let names = Names::new(variant, spans);
    let structs = tensors::structs(variant, &names);
    let main = main(variant, spans, &names);
    quote! {
        #main
        #structs
    }
}

/// The variant's own type.
fn main(variant: &Recurrence, spans: &Spans, names: &Names) -> TokenStream {
    let source = print(variant);
    let docs = docs(variant, &source);
    let text = &variant.name;
    let Names { visibility, name, inputs, options, outputs, states, cotangents, gradients, .. } = names;
    let kernels = kernels(variant, spans.of(variant.name_span));
    let (input_list, state_list) = (&names.input_fields, &names.state_fields);
    let (output_list, initial_list) = (&names.output_fields, &names.initial_fields);
    let (layout, products) = (&names.layout, &names.products);
    let life = names.life();
    let runtime = quote!(::rla_runtime);
    let result = quote!(::rla_runtime::Result);
    quote! {
        #(#[doc = #docs])*
        #[derive(Clone)]
        #[allow(dead_code)]
        #visibility struct #name {
            operation: #runtime::Operation,
        }

        impl ::core::fmt::Debug for #name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(Self::NAME)
            }
        }

        #[allow(dead_code)]
        impl #name {
            /// The variant's name.
            pub const NAME: &'static str = #text;
            /// The recurrence in canonical text.
            pub const SOURCE: &'static str = #source;

            /// The kernels that this crate's build script compiled, for the best instruction set of this machine.
            pub fn new() -> #result<Self> {
                let recurrence = #runtime::variant::recurrence(Self::SOURCE)?;
                let operation = #runtime::Operation::compiled(recurrence, #kernels)?;
                ::core::result::Result::Ok(Self { operation })
            }

            /// The definition, token by token in f64: what the kernels are checked against.
            pub fn oracle() -> #result<Self> {
                let recurrence = #runtime::variant::recurrence(Self::SOURCE)?;
                let operation = #runtime::Operation::new(recurrence, #runtime::Backend::Oracle)?;
                ::core::result::Result::Ok(Self { operation })
            }

            /// The operation underneath, which takes tensors by position and memory of the caller, and says which kernel runs.
            pub fn operation(&self) -> &#runtime::Operation {
                &self.operation
            }

            /// Outputs and final states.
            pub fn forward(&self, inputs: &#inputs #life, options: &#options<'_>) -> #result<(#outputs, #states)> {
                let (outputs, states, _) = self.run(inputs, options, false)?;
                ::core::result::Result::Ok((outputs, states))
            }

            /// Forward that also keeps what backward needs.
            pub fn forward_saving(
                &self,
                inputs: &#inputs #life,
                options: &#options<'_>,
            ) -> #result<(#outputs, #states, #runtime::variant::Saved<Self>)> {
                self.run(inputs, options, true)
            }

            fn run(
                &self,
                inputs: &#inputs #life,
                options: &#options<'_>,
                save: bool,
            ) -> #result<(#outputs, #states, #runtime::variant::Saved<Self>)> {
                let (constants, initial) = options.positions();
                let call = #runtime::variant::Call {
                    constants: &constants,
                    initial: &initial,
                    cu_seqlens: options.cu_seqlens,
                    layout: options.#layout,
                    products: options.#products,
                };
                let (outputs, states, saved) =
                    #runtime::variant::forward::<Self>(&self.operation, &inputs.positions(), &call, save)?;
                ::core::result::Result::Ok((#outputs::from_positions(outputs), #states::from_positions(states), saved))
            }

            /// Gradients of all inputs, parameters and initial states, from the inputs, what
            /// [`forward_saving`](Self::forward_saving) kept, and the gradients of outputs and final states. Constants,
            /// packing and state layout are those of forward.
            pub fn backward(
                &self,
                inputs: &#inputs #life,
                saved: &#runtime::variant::Saved<Self>,
                cotangents: &#cotangents<'_>,
            ) -> #result<#gradients> {
                let (inputs, states) = #runtime::variant::backward(
                    &self.operation,
                    &inputs.positions(),
                    saved,
                    &[#(cotangents.#output_list),*],
                    &[#(cotangents.#state_list),*],
                )?;
                let (mut inputs, mut states) = (inputs.into_iter(), states.into_iter());
                ::core::result::Result::Ok(#gradients {
                    #(#input_list: #runtime::variant::next(&mut inputs),)*
                    #(#initial_list: #runtime::variant::next(&mut states),)*
                })
            }

            /// One to eight tokens of each of B sequences, against states `[slots,HV,..]` that are updated in place. Sequence b
            /// uses slot `slots[b]`; -1 is padding: no state is touched, its outputs are zero.
            pub fn decode(
                &self,
                inputs: &#inputs #life,
                slots: &[i64],
                states: &mut #states,
                options: &#options<'_>,
            ) -> #result<#outputs> {
                let (constants, initial) = options.positions();
                let call = #runtime::variant::Call {
                    constants: &constants,
                    initial: &initial,
                    cu_seqlens: options.cu_seqlens,
                    layout: options.#layout,
                    products: options.#products,
                };
                let pool = &mut [#(states.#state_list.view_mut()),*];
                let outputs = #runtime::variant::decode(&self.operation, &inputs.positions(), slots, pool, &call)?;
                ::core::result::Result::Ok(#outputs::from_positions(outputs))
            }

            /// Zero states for `slots` sequences, of the sizes that `inputs` show.
            pub fn zero_states(
                &self,
                inputs: &#inputs #life,
                slots: usize,
                layout: #runtime::StateLayout,
            ) -> #result<#states> {
                let states = #runtime::variant::states(&self.operation, &inputs.positions(), slots, layout)?;
                ::core::result::Result::Ok(#states::from_positions(states))
            }
        }
    }
}

/// What the build script wrote about the kernels of exactly this recurrence, or the error that says how to have one.
fn kernels(variant: &Recurrence, place: Span) -> TokenStream {
    let variable = kernels_variable(variant);
    let missing = format!(
        "the kernels of `{}` are not compiled: add the line `rla_build::kernels();` to `fn main()` in build.rs, and \
         `rla-build` under [build-dependencies] in Cargo.toml, of this crate. (Where both are there: the build script reads \
         src, examples, tests, benches and variants, and finds no variant that a macro_rules macro puts together.)",
        variant.name
    );
    quote_spanned! {place=>
        {
            #[allow(unused_imports)]
            use ::rla_runtime::variant::{Compiled, Entry, Form, Level};
            include!(env!(#variable, #missing))
        }
    }
}

/// The variant's own documentation, then the recurrence.
fn docs(variant: &Recurrence, source: &str) -> Vec<String> {
    let own = variant.docs.lines().map(str::to_string);
    // the recurrence without its documentation, which stands above it
    let body = source.lines().skip(if variant.docs.is_empty() { 0 } else { variant.docs.split('\n').count() });
    let gap = (!variant.docs.is_empty()).then(String::new);
    let block = ["```text".to_string()].into_iter().chain(body.map(str::to_string)).chain(["```".to_string()]);
    own.chain(gap).chain(block).map(indented).collect()
}

/// As rustdoc wants it after `///`.
fn indented(line: String) -> String {
    if line.is_empty() { line } else { format!(" {line}") }
}

/// A type's name with an ending.
fn joined(name: &Ident, ending: &str) -> Ident {
    format_ident!("{name}{ending}", span = name.span())
}
