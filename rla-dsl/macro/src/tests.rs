//! What comes out, seen with proc-macro2's own spans; the types at work are in examples/own_variant.

use proc_macro2::{Delimiter, Group, LineColumn, TokenStream, TokenTree};

use crate::translate;

/// Line and column.
type Place = (usize, usize);

fn place(at: LineColumn) -> Place {
    (at.line, at.column)
}

/// Start of the first and end of the last token of each `compile_error! { .. }`, with its message.
fn compile_errors(text: &str) -> Vec<(Place, Place, String)> {
    let stream: TokenStream = text.parse().unwrap();
    let trees: Vec<TokenTree> = translate(stream).into_iter().collect();
    let mut found = Vec::new();
    for (i, tree) in trees.iter().enumerate() {
        if !matches!(tree, TokenTree::Ident(ident) if ident == "compile_error") {
            continue;
        }
        let group = trees[i..].iter().find_map(|t| match t {
            TokenTree::Group(group) => Some(group),
            _ => None,
        });
        let group = group.expect("compile_error! has a body");
        let message: syn::LitStr = syn::parse2(group.stream()).unwrap();
        found.push((place(tree.span().start()), place(group.span().end()), message.value()));
    }
    found
}

#[test]
fn each_problem_lies_on_its_own_tokens() {
    let text = "variant a {
    input q, k: key unit, v: value;
    state S: value x key;
    let r = v .* q;
    let x = nothing;
    S[t] = S[t] + v * k^T;
    output o = v
}";
    let found = compile_errors(text);
    let expected = [
        ((4, 14), (4, 16), "`.*` does not take a column(value) and a column(key)"),
        ((5, 12), (5, 19), "`nothing` is not declared"),
        (
            (6, 11),
            (6, 15),
            "`S[t]` is read before it is assigned\n  note: assigned here: line 6, column 5\n  help: the state before this token is `S[t-1]`",
        ),
        ((7, 15), (7, 16), "expected `;`, found `}`"),
    ];
    assert_eq!(found, expected.map(|(start, end, message)| (start, end, message.to_string())));
}

#[test]
fn an_accepted_text_has_no_errors_and_its_warnings_are_deprecations() {
    let text = "variant a { input v: value, unread: scalar; state S: value; S[t] = S[t-1]; output o = v; }";
    assert!(compile_errors(text).is_empty());
    let items = translate(text.parse().unwrap()).to_string();
    assert!(items.contains("deprecated"), "{items}");
    assert!(items.contains("the input `unread` is never used; its gradient is zero"), "{items}");
    assert!(syn::parse_str::<syn::File>(&items).is_ok(), "the items are Rust: {items}");
}

/// The items of a text as Rust.
fn items(text: &str) -> syn::File {
    syn::parse2(translate(text.parse().unwrap())).expect("the items are Rust")
}

/// The fields of a struct, with their types.
fn fields(items: &syn::File, name: &str) -> Vec<String> {
    let found = items.items.iter().find_map(|item| match item {
        syn::Item::Struct(item) if item.ident == name => Some(item),
        _ => None,
    });
    let found = found.unwrap_or_else(|| panic!("no struct {name}"));
    let text = |field: &syn::Field| {
        let kind = &field.ty;
        let kind = quote::quote!(#kind).to_string().replace([' '], "");
        let kind = kind.replace("::rla_runtime::", "").replace("::core::option::", "");
        format!("{}: {kind}", field.ident.as_ref().unwrap())
    };
    found.fields.iter().map(text).collect()
}

/// The lines of an item's documentation.
fn docs(attributes: &[syn::Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => {
            let value = &pair.value;
            let text: syn::LitStr = syn::parse2(quote::quote!(#value)).unwrap();
            Some(text.value() + "\n")
        }
        _ => None,
    });
    lines.collect()
}

const OWN: &str = "
    /// A layer.
    ///
    /// Of two lines.
    pub variant own_type {
        dim slot;
        /// Read.
        input fn, in: key, type: gate key in 0..1, w: slot;
        param bias: value;
        const scale = 1 / sqrt(dim(key));
        state struct: value x key;
        state z: slot;
        struct[t] = 0.25 * 2 * struct[t-1] + (type^T * in) * bias * in^T;
        z[t] = 0.5 * z[t-1] + w;
        output match = scale * struct[t] * fn;
        output total = sum(z[t]);
    }
";

#[test]
fn each_name_is_a_field() {
    let items = items(OWN);
    assert_eq!(
        fields(&items, "OwnTypeInputs"),
        ["r#fn: View<'a>", "r#in: View<'a>", "r#type: View<'a>", "w: View<'a>", "bias: View<'a>"]
    );
    assert_eq!(
        fields(&items, "OwnTypeOptions"),
        [
            "scale: Option<f64>",
            "struct0: Option<View<'a>>",
            "z0: Option<View<'a>>",
            "cu_seqlens: Option<&'a[i64]>",
            "layout: StateLayout",
            "products: Products"
        ]
    );
    assert_eq!(fields(&items, "OwnTypeOutputs"), ["r#match: Tensor", "total: Tensor"]);
    assert_eq!(fields(&items, "OwnTypeStates"), ["r#struct: Tensor", "z: Tensor"]);
    assert_eq!(fields(&items, "OwnTypeCotangents").len(), 4);
    assert_eq!(fields(&items, "OwnTypeGradients").last().unwrap(), "z0: Tensor");
}

#[test]
fn documentation_is_the_users_and_the_recurrence() {
    let items = items(OWN);
    let of = |name: &str| {
        items.items.iter().find_map(|item| match item {
            syn::Item::Struct(item) if item.ident == name => Some(item.clone()),
            _ => None,
        })
    };
    let main = docs(&of("OwnType").unwrap().attrs);
    assert!(main.starts_with(" A layer.\n\n Of two lines.\n\n ```text\n pub variant own_type {\n"), "{main}");
    assert!(main.contains("     output total = sum(z[t]);\n }\n ```\n"), "{main}");
    let inputs = of("OwnTypeInputs").unwrap();
    let texts: Vec<String> = inputs.fields.iter().map(|field| docs(&field.attrs)).collect();
    let read = " Read.\n\n `[B,T,";
    assert_eq!(texts[0], format!("{read}H,K]`.\n"));
    assert_eq!(texts[2], format!("{read}HV,K]`, from 0 to 1.\n"));
    assert_eq!(texts[3], format!("{read}HV,slot]`.\n"));
    assert_eq!(texts[4], " `[HV,V]`.\n");
}

#[test]
fn missing_kernels_are_told_with_the_line_to_add() {
    let text = translate(OWN.parse().unwrap()).to_string();
    let variant = &rla_dsl::parse(OWN).unwrap().variants[0];
    assert!(text.contains(&format!("include ! (env ! (\"{}\" , ", rla_dsl::identity::kernels_variable(variant))));
    assert!(text.contains("add the line `rla_build::kernels();` to `fn main()` in build.rs"), "{text}");
}

/// The `SOURCE` constant of the items' variant.
fn source(items: TokenStream) -> String {
    let file: syn::File = syn::parse2(items).unwrap();
    let constants = file.items.iter().filter_map(|item| match item {
        syn::Item::Impl(item) => Some(&item.items),
        _ => None,
    });
    let source = constants.flatten().find_map(|item| match item {
        syn::ImplItem::Const(item) if item.ident == "SOURCE" => Some(&item.expr),
        _ => None,
    });
    let source: syn::LitStr = syn::parse2(quote::quote!(#source)).unwrap();
    source.value()
}

#[test]
fn text_is_canonical_and_reads_back() {
    let source = source(translate(OWN.parse().unwrap()));
    let parsed = rla_dsl::parse(&source).unwrap();
    assert_eq!(rla_dsl::print(&parsed.variants[0]), source);
    assert!(source.starts_with("/// A layer.\n///\n/// Of two lines.\npub variant own_type {\n"), "{source}");
}

#[test]
fn a_macro_variable_is_one_operand() {
    // as a macro_rules macro hands over `$decay`
    let decay = TokenTree::Group(Group::new(Delimiter::None, "1 - 0.75".parse().unwrap()));
    let low = TokenTree::Group(Group::new(Delimiter::None, "-1".parse().unwrap()));
    let text = quote::quote! {
        variant a {
            input q, k: key, v: value, g: scalar in #low..1;
            const c = #decay * 2;
            state S: value x key;
            S[t] = c * g * S[t-1] + v * k^T;
            output o = S[t] * q;
        }
    };
    let variant = rla_dsl::parse(&source(translate(text))).unwrap().variants.remove(0);
    assert_eq!(variant.const_defaults(&[1, 1]), [0.5]);
    assert_eq!(variant.inputs[3].domain, rla_dsl::recurrence::Domain::Range(-1.0, 1.0));
}

#[test]
fn a_file_may_be_named_instead() {
    // beside this crate's manifest
    let of = |name: &str| translate(format!("{name:?}").parse().unwrap());
    assert!(source(of("../variants/rdn.rla")).contains("pub variant rdn {"));
    let missing = compile_errors("\"../variants/nothing.rla\"");
    assert!(missing[0].2.starts_with("../variants/nothing.rla: "), "{missing:?}");
    let refused = compile_errors("\"Cargo.toml\"");
    assert!(refused[0].2.contains("Cargo.toml:1:"), "{refused:?}");
}
