//! Where the errors land, seen with proc-macro2's own spans.

use proc_macro2::{LineColumn, TokenStream, TokenTree};

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
