//! Names of the recurrence as names of Rust.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use rla_dsl::Recurrence;

use super::{Spans, joined};

/// All names that an expansion uses.
pub(super) struct Names {
    pub(super) visibility: TokenStream,
    pub(super) name: Ident,
    pub(super) inputs: Ident,
    pub(super) options: Ident,
    pub(super) outputs: Ident,
    pub(super) states: Ident,
    pub(super) cotangents: Ident,
    pub(super) gradients: Ident,
    /// In the order of declaration.
    pub(super) input_fields: Vec<Ident>,
    pub(super) constant_fields: Vec<Ident>,
    pub(super) state_fields: Vec<Ident>,
    /// `S0` for each state S.
    pub(super) initial_fields: Vec<Ident>,
    pub(super) output_fields: Vec<Ident>,
    /// Options that are no names of the recurrence and not reserved in it.
    pub(super) layout: Ident,
    pub(super) products: Ident,
}

impl Names {
    pub(super) fn new(variant: &Recurrence, spans: &Spans) -> Names {
        let name = Ident::new(&type_name(&variant.name), spans.of(variant.name_span));
        // one name space in the recurrence, so fields of one struct differ unless Rust's words made them equal
        let mut taken: Vec<Ident> = Vec::new();
        let mut field = |text: &str, span: Span| {
            let mut ident = field_name(text, span);
            while taken.contains(&ident) {
                ident = Ident::new(&format!("{}_", ident.to_string().trim_start_matches("r#")), span);
            }
            taken.push(ident.clone());
            ident
        };
        let input_fields = variant.inputs.iter().map(|d| field(&d.name, spans.of(d.span))).collect();
        let constant_fields = variant.consts.iter().map(|d| field(&d.name, spans.of(d.span))).collect();
        let state_fields = variant.states.iter().map(|d| field(&d.name, spans.of(d.span))).collect();
        let initial_fields = variant.states.iter().map(|d| field(&format!("{}0", d.name), spans.of(d.span))).collect();
        let output_fields =
            (0..variant.outputs.len()).map(|i| field(&variant.outputs[i], spans.of(variant.output(i).span))).collect();
        Names {
            visibility: if variant.public { quote!(pub) } else { quote!() },
            inputs: joined(&name, "Inputs"),
            options: joined(&name, "Options"),
            outputs: joined(&name, "Outputs"),
            states: joined(&name, "States"),
            cotangents: joined(&name, "Cotangents"),
            gradients: joined(&name, "Gradients"),
            input_fields,
            constant_fields,
            state_fields,
            initial_fields,
            output_fields,
            layout: field("layout", Span::call_site()),
            products: field("products", Span::call_site()),
            name,
        }
    }

    /// The lifetime of the struct of inputs, which has one where it has a field.
    pub(super) fn life(&self) -> TokenStream {
        if self.input_fields.is_empty() { quote!() } else { quote!(<'_>) }
    }
}

/// The name itself, `r#name` where it is a keyword, `self_` where not even that may be.
fn field_name(text: &str, span: Span) -> Ident {
    match text {
        "self" | "Self" | "super" | "crate" => Ident::new(&format!("{text}_"), span),
        _ if syn::parse_str::<Ident>(text).is_ok() => Ident::new(text, span),
        _ => Ident::new_raw(text, span),
    }
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
    use super::*;

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

    #[test]
    fn fields_are_the_names_wherever_rust_takes_them() {
        let text = "variant a {
            input q, type, self, self_: value, layout, products: scalar;
            state S: value;
            S[t] = layout * products * S[t-1] + q + type + self + self_;
            output fn = S[t];
        }";
        let variant = &rla_dsl::parse(text).unwrap().variants[0];
        let names = Names::new(variant, &Spans::File(Span::call_site()));
        let text = |idents: &[Ident]| idents.iter().map(Ident::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(text(&names.input_fields), "q r#type self_ self__ layout products");
        assert_eq!(text(&names.output_fields), "r#fn");
        assert_eq!(text(&names.initial_fields), "S0");
        assert_eq!(names.layout.to_string(), "layout_");
        assert_eq!(names.products.to_string(), "products_");
    }
}
