//! `rla_variant!("variants/mine.rla")`: the variants of a file, its path from the crate's root.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use std::path::PathBuf;

use crate::expand::{self, Spans};

/// The literal, where the body is one string literal and nothing else.
pub(crate) fn named(body: &TokenStream) -> Option<syn::LitStr> {
    let mut trees = body.clone().into_iter();
    match (trees.next(), trees.next()) {
        (Some(TokenTree::Literal(literal)), None) => syn::parse2(TokenTree::from(literal).into()).ok(),
        _ => None,
    }
}

/// The items of the file's variants. A file has no tokens of the user's crate: all problems lie at its name, each with its
/// own line and caret in the message.
pub(crate) fn translate(name: &syn::LitStr) -> TokenStream {
    let error = |message: String| syn::Error::new(name.span(), message).to_compile_error();
    let root = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    let path = root.join(name.value());
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(reason) => return error(format!("{}: {reason} (the path starts at the crate's root)", name.value())),
    };
    match rla_dsl::parse_bytes(&bytes) {
        Ok(parsed) => {
            let path = path.to_string_lossy();
            // a changed file is a changed crate
            let mut items = quote!(
                const _: &[u8] = include_bytes!(#path);
            );
            items.extend(parsed.variants.iter().map(|v| expand::variant(v, &Spans::File(name.span()))));
            items
        }
        Err(found) => error(format!("\n{}", found.render(&name.value(), &String::from_utf8_lossy(&bytes)))),
    }
}
