//! PTX text to words and signs.

/// A word or a sign, and its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'t> {
    /// The text.
    pub text: &'t str,
    /// Its line, from 1.
    pub line: usize,
}

fn in_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'$' | b'%' | b':')
}

/// The tokens of a text, without comments and without lines that only tell where a source line is.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut out = vec![];
    for (number, line) in text.lines().enumerate() {
        let line = line.split("//").next().unwrap_or("");
        if matches!(line.split_whitespace().next(), Some(".loc" | ".file")) {
            continue;
        }
        let bytes = line.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let start = at;
            if bytes[at] == b'"' {
                at += 1 + line[at + 1..].find('"').unwrap_or(line.len() - at - 1);
                at = (at + 1).min(bytes.len());
            } else if in_word(bytes[at]) || (bytes[at] == b'-' && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)) {
                at += 1;
                while at < bytes.len() && in_word(bytes[at]) {
                    at += 1;
                }
            } else {
                at += 1;
                if bytes[start].is_ascii_whitespace() {
                    continue;
                }
            }
            out.push(Token { text: &line[start..at], line: number + 1 });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_dots_and_signs_stand_alone() {
        let words = |text| tokens(text).into_iter().map(|t| t.text).collect::<Vec<_>>();
        let text = "\t@%p1 ld.shared.v2.f32 \t{%f1, %f2}, [shared+-8]; // why\n$L__BB0_1:\n\t.loc 1 2 3\nelect.sync _|p, 0xff;";
        let wanted = [
            "@",
            "%p1",
            "ld.shared.v2.f32",
            "{",
            "%f1",
            ",",
            "%f2",
            "}",
            ",",
            "[",
            "shared",
            "+",
            "-8",
            "]",
            ";",
            "$L__BB0_1:",
            "elect.sync",
            "_",
            "|",
            "p",
            ",",
            "0xff",
            ";",
        ];
        assert_eq!(words(text), wanted);
    }
}
