//! NUMBER: a decimal literal without suffix or `_`.

use super::{Parse, Parser, Stop};
use crate::diagnostic::Message;
use crate::token::TokenKind;

impl Parser<'_, '_> {
    /// The number that stands here; the caller has seen a literal.
    pub(super) fn number(&mut self) -> Parse<f64> {
        let token = self.bump();
        let span = token.span;
        let TokenKind::Literal(text) = &token.kind else { return self.expected("a number") };
        match read(text) {
            Ok(x) if x.is_finite() => Ok(x),
            Ok(_) => {
                let text = shorten(text);
                self.out.report(Message::NumberRange { text }, span);
                Err(Stop)
            }
            Err(reason) => {
                let text = shorten(text);
                self.out.report(Message::BadNumber { text, reason: reason.into() }, span);
                Err(Stop)
            }
        }
    }
}

fn read(text: &str) -> Result<f64, &'static str> {
    let bytes = text.as_bytes();
    if !bytes[0].is_ascii_digit() {
        return Err("only numbers can be written out");
    }
    if bytes[0] == b'0' && matches!(bytes.get(1), Some(b'x' | b'o' | b'b')) {
        return Err("numbers are decimal");
    }
    let digits = |bytes: &[u8]| bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let mut end = digits(bytes);
    if bytes.get(end) == Some(&b'.') {
        end += 1;
        end += digits(&bytes[end..]);
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let count = digits(&bytes[end + 1 + sign..]);
        if count > 0 {
            end += 1 + sign + count;
        }
    }
    match bytes.get(end) {
        None => text.parse().map_err(|_| "it is malformed"),
        Some(b'_') => Err("digits are not grouped with `_`"),
        Some(_) => Err("a number has no suffix"),
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn decimal_literals() {
        for (text, value) in [("1", 1.0), ("0.5", 0.5), ("2.", 2.0), ("1e-6", 1e-6), ("1E+2", 100.0), ("007", 7.0)] {
            assert_eq!(read(text), Ok(value), "{text}");
        }
        for text in ["0x10", "1_000", "1f32", "1.0f64", "1_f32", "0b1", "1e", "1e_5", "\"a\"", "'a'", "b'a'", "1e5u"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
