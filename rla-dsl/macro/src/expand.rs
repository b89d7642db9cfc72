//! The items that a variant becomes.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use rla_dsl::{Recurrence, TokenSpans, print};

/// The type of the variant's name, in UpperCamelCase.
pub(crate) fn variant(variant: &Recurrence, spans: &TokenSpans) -> TokenStream {
    let name = Ident::new(&type_name(&variant.name), spans.of(variant.name_span).0);
    let source = print(variant);
    let visibility = if variant.public { quote!(pub) } else { quote!() };
    let docs = docs(variant, &source);
    let text = &variant.name;
    quote! {
        #(#[doc = #docs])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #visibility struct #name;

        impl #name {
            /// The variant's name.
            pub const NAME: &'static str = #text;
            /// The recurrence in canonical text.
            pub const SOURCE: &'static str = #source;
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
    let indented = |line: String| if line.is_empty() { line } else { format!(" {line}") };
    own.chain(gap).chain(block).map(indented).collect()
}

/// `gated_delta_net` is `GatedDeltaNet`.
fn type_name(name: &str) -> String {
    let mut camel = String::new();
    for part in name.split('_') {
        let mut rest = part.chars();
        camel.extend(rest.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(rest.as_str());
    }
    match camel.as_str() {
        "" | "Self" => camel + "Variant",
        _ if camel.starts_with(|c: char| c.is_ascii_digit()) => format!("_{camel}"),
        _ => camel,
    }
}

#[cfg(test)]
mod tests {
    use super::type_name;

    #[test]
    fn type_names() {
        let cases = [
            ("rdn", "Rdn"),
            ("gated_delta_net", "GatedDeltaNet"),
            ("delta_product2", "DeltaProduct2"),
            ("RLA", "RLA"),
            ("_x", "X"),
            ("a__b_", "AB"),
            ("self", "SelfVariant"),
            ("__", "Variant"),
            ("_2d", "_2d"),
            ("type", "Type"),
        ];
        for (name, expected) in cases {
            assert_eq!(type_name(name), expected, "{name}");
            assert!(syn::parse_str::<syn::Ident>(expected).is_ok(), "{expected}");
        }
    }
}
