//! Diagnostics as Rust items: `compile_error!` on the user's tokens, and for a warning the use of something deprecated,
//! the one way to a warning that a macro has.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use rla_dsl::{Diagnostic, Diagnostics, Severity, TokenSpans};

/// All of a refused text's diagnostics, warnings too.
pub(crate) fn errors(found: &Diagnostics, spans: &TokenSpans) -> TokenStream {
    let items = found.iter().map(|diagnostic| match diagnostic.severity {
        Severity::Error => {
            let (first, last) = spans.of(diagnostic.span);
            // an error over two tokens marks all from the first to the last
            let place = [Ident::new("_", first), Ident::new("_", last)];
            let [first, last] = place;
            syn::Error::new_spanned(quote::quote!(#first #last), sentence(diagnostic)).to_compile_error()
        }
        Severity::Warning | Severity::Note => warning(diagnostic, spans),
    });
    items.collect()
}

/// An accepted text's diagnostics.
pub(crate) fn warnings(found: &Diagnostics, spans: &TokenSpans) -> TokenStream {
    found.iter().map(|diagnostic| warning(diagnostic, spans)).collect()
}

fn warning(diagnostic: &Diagnostic, spans: &TokenSpans) -> TokenStream {
    let place = spans.of(diagnostic.span).0;
    let name = Ident::new("rla_variant", Span::call_site().located_at(place));
    let note = sentence(diagnostic);
    quote_spanned! {place=>
        const _: () = {
            #[deprecated(note = #note)]
            #[allow(non_upper_case_globals)]
            const #name: () = ();
            #name
        };
    }
}

/// Message, hints and other places in one string.
fn sentence(diagnostic: &Diagnostic) -> String {
    let mut text = diagnostic.message.clone();
    for note in &diagnostic.notes {
        text += &match note.span {
            None => format!("\n  help: {}", note.message),
            Some(span) => format!("\n  note: {}: line {}, column {}", note.message, span.line, span.column + 1),
        };
    }
    text
}
