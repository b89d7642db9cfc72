//! The structs of a variant's tensors, their documentation, and the way from names to positions and back.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use rla_dsl::Recurrence;
use rla_dsl::print::expression;
use rla_dsl::recurrence::{Const, Domain, Input, InputKind, Side, State, Type};

use super::fields::Names;
use super::indented;

/// A field: its documentation, its name, its type.
struct Field<'n> {
    docs: Vec<String>,
    name: &'n Ident,
    kind: &'n TokenStream,
}

/// All structs and their conversions.
pub(super) fn structs(variant: &Recurrence, names: &Names) -> TokenStream {
    let view = &quote!(::rla_runtime::View<'a>);
    let optional_view = &quote!(::core::option::Option<::rla_runtime::View<'a>>);
    let optional_number = &quote!(::core::option::Option<f64>);
    let offsets = &quote!(::core::option::Option<&'a [i64]>);
    let layout = &quote!(::rla_runtime::StateLayout);
    let products = &quote!(::rla_runtime::Products);
    let tensor = &quote!(::rla_runtime::Tensor);
    let cu_seqlens = &Ident::new("cu_seqlens", names.layout.span());
    let (inputs, consts, states) = (&variant.inputs, &variant.consts, &variant.states);
    let (input_fields, output_fields) = (&names.input_fields, &names.output_fields);
    let (state_fields, initial_fields) = (&names.state_fields, &names.initial_fields);

    let given = each(inputs, input_fields, view, |_, d| input_docs(variant, d));
    let mut optional = each(consts, &names.constant_fields, optional_number, |_, d| constant_docs(variant, d));
    optional.extend(each(states, initial_fields, optional_view, |_, d| {
        with(&d.docs, format!("{}, the initial value of `{}`; `None`: zero.", state_shape(variant, d), d.name))
    }));
    let docs = "Offsets `[N+1]` of packed sequences, B = 1; `None`: each of B is a sequence.";
    optional.push(Field { docs: vec![docs.into()], name: cu_seqlens, kind: offsets });
    optional.push(Field { docs: vec!["How states lie in memory.".into()], name: &names.layout, kind: layout });
    let docs = "What products of `forward` may be computed in; `forward_saving` and `decode` compute them in f32.";
    optional.push(Field { docs: vec![docs.into()], name: &names.products, kind: products });
    let made = each(&variant.outputs, output_fields, tensor, |i, _| output_docs(variant, i));
    let carried = each(states, state_fields, tensor, |_, d| with(&d.docs, state_shape(variant, d) + "."));
    let mut seeds = each(&variant.outputs, output_fields, optional_view, |_, name| {
        vec![format!("Of the output `{name}`, its shape; `None`: zero.")]
    });
    seeds.extend(each(states, state_fields, optional_view, |_, d| {
        vec![format!("Of the final state `{}`, {}; `None`: zero.", d.name, state_shape(variant, d))]
    }));
    let mut grads = each(inputs, input_fields, tensor, |_, d| vec![format!("Of `{}`, its shape.", d.name)]);
    grads.extend(each(states, initial_fields, tensor, |_, d| {
        vec![format!("Of the initial value of `{}`, {}.", d.name, state_shape(variant, d))]
    }));

    let plain = quote!(Clone, Debug);
    let copied = quote!(Clone, Copy, Debug);
    let defaulted = quote!(Clone, Copy, Debug, Default);
    let of = format!("of [`{}`]", names.name);
    let structures = [
        (&names.inputs, format!("Inputs and parameters {of}."), &copied, given),
        (&names.options, format!("What a call {of} may leave out."), &defaulted, optional),
        (&names.outputs, format!("Outputs {of}."), &plain, made),
        (&names.states, format!("States {of}, f32: one a sequence, or a pool of slots for decode."), &plain, carried),
        (&names.cotangents, format!("Gradients of the outputs and final states {of}."), &defaulted, seeds),
        (
            &names.gradients,
            format!(
                "Gradients of the inputs, parameters and initial states {of}; those of gates, parameters and states are f32."
            ),
            &plain,
            grads,
        ),
    ];
    let structures =
        structures.map(|(name, summary, derives, fields)| structure(names, name, &summary, derives, fields));
    let conversions = conversions(variant, names);
    quote! {
        #(#structures)*
        #conversions
    }
}

/// One field a declaration.
fn each<'n, T>(
    declared: &[T],
    names: &'n [Ident],
    kind: &'n TokenStream,
    docs: impl Fn(usize, &T) -> Vec<String>,
) -> Vec<Field<'n>> {
    declared.iter().zip(names).enumerate().map(|(i, (d, name))| Field { docs: docs(i, d), name, kind }).collect()
}

fn structure(names: &Names, name: &Ident, summary: &str, derives: &TokenStream, fields: Vec<Field>) -> TokenStream {
    let visibility = &names.visibility;
    let summary = format!(" {summary}");
    let borrows = fields.iter().any(|field| field.kind.to_string().contains("'a"));
    let life = if borrows { quote!(<'a>) } else { quote!() };
    let fields = fields.into_iter().map(|Field { docs, name, kind }| {
        let docs = docs.into_iter().map(indented);
        quote! {
            #(#[doc = #docs])*
            pub #name: #kind,
        }
    });
    quote! {
        #[doc = #summary]
        #[derive(#derives)]
        #[allow(non_snake_case, dead_code)]
        #visibility struct #name #life {
            #(#fields)*
        }
    }
}

fn conversions(variant: &Recurrence, names: &Names) -> TokenStream {
    let Names { inputs, options, outputs, states, input_fields, constant_fields, .. } = names;
    let (initial_fields, output_fields, state_fields) =
        (&names.initial_fields, &names.output_fields, &names.state_fields);
    let life = if input_fields.is_empty() { quote!() } else { quote!(<'a>) };
    let view_life = if input_fields.is_empty() { quote!('static) } else { quote!('a) };
    let (input_count, constant_count, state_count) = (input_fields.len(), constant_fields.len(), state_fields.len());
    let constants = variant.consts.iter().map(|d| &d.name);
    quote! {
        impl #life #inputs #life {
            fn positions(&self) -> [::rla_runtime::View<#view_life>; #input_count] {
                [#(self.#input_fields),*]
            }
        }

        impl<'a> #options<'a> {
            #[allow(clippy::type_complexity)]
            fn positions(
                &self,
            ) -> (
                [(&'static str, ::core::option::Option<f64>); #constant_count],
                [::core::option::Option<::rla_runtime::View<'a>>; #state_count],
            ) {
                ([#((#constants, self.#constant_fields)),*], [#(self.#initial_fields),*])
            }
        }

        impl #outputs {
            fn from_positions(tensors: ::std::vec::Vec<::rla_runtime::Tensor>) -> Self {
                let mut tensors = tensors.into_iter();
                Self { #(#output_fields: ::rla_runtime::variant::next(&mut tensors)),* }
            }
        }

        impl #states {
            #[allow(unused_mut, unused_variables)]
            fn from_positions(tensors: ::std::vec::Vec<::rla_runtime::Tensor>) -> Self {
                let mut tensors = tensors.into_iter();
                Self { #(#state_fields: ::rla_runtime::variant::next(&mut tensors)),* }
            }
        }
    }
}

/// A declaration's own documentation under a line of ours.
fn with(docs: &str, line: String) -> Vec<String> {
    let own = docs.lines().map(str::to_string);
    let gap = (!docs.is_empty()).then(String::new);
    own.chain(gap).chain([line]).collect()
}

fn size(variant: &Recurrence, side: Side) -> &str {
    match side {
        Side::KEY => "K",
        Side::VALUE => "V",
        _ => &variant.sides[side.0 as usize],
    }
}

fn input_docs(variant: &Recurrence, decl: &Input) -> Vec<String> {
    let mut axes = match (decl.kind, decl.per_key_head()) {
        (InputKind::Param, _) => vec!["HV"],
        (InputKind::Input, true) => vec!["B", "T", "H"],
        (InputKind::Input, false) => vec!["B", "T", "HV"],
    };
    axes.extend(decl.side.map(|side| size(variant, side)));
    let domain = match decl.domain {
        Domain::Any => String::new(),
        Domain::Unit => ", of unit length".into(),
        Domain::Range(low, high) => format!(", from {low} to {high}"),
    };
    with(&decl.docs, format!("`[{}]`{domain}.", axes.join(",")))
}

fn constant_docs(variant: &Recurrence, decl: &Const) -> Vec<String> {
    with(&decl.docs, format!("`None`: `{}`.", expression(variant, decl.value)))
}

fn state_shape(variant: &Recurrence, decl: &State) -> String {
    let cols = size(variant, decl.cols);
    match decl.rows {
        Some(rows) => format!("`[N,HV,{},{cols}]`", size(variant, rows)),
        None => format!("`[N,HV,{cols}]`"),
    }
}

fn output_docs(variant: &Recurrence, index: usize) -> Vec<String> {
    let side = match variant.output_type(index) {
        Type::Column(side) | Type::Row(side) => format!(",{}", size(variant, side)),
        Type::Scalar | Type::Matrix(..) => String::new(),
    };
    with(&variant.output(index).docs, format!("`[B,T,HV{side}]`."))
}
