//! The language as a whole: its texts print and read back, any text gets an answer, places are the text's own.

#[path = "language/hostile.rs"]
mod hostile;
#[path = "language/random.rs"]
mod random;

use proc_macro2::TokenStream;
use proptest::prelude::*;
use rla_dsl::recurrence::{ExprKind, Recurrence, Span};
use rla_dsl::{BUILTINS, Diagnostics, parse, parse_bytes, parse_tokens, print};

use random::{FUNCTIONS, Tape};

/// The recurrence with all places forgotten.
fn placeless(recurrence: &Recurrence) -> Recurrence {
    let mut r = recurrence.clone();
    r.span = Span::default();
    r.name_span = Span::default();
    r.inputs.iter_mut().for_each(|x| x.span = Span::default());
    r.consts.iter_mut().for_each(|x| x.span = Span::default());
    r.states.iter_mut().for_each(|x| x.span = Span::default());
    r.statements.iter_mut().for_each(|x| x.span = Span::default());
    r.exprs.iter_mut().for_each(|x| x.span = Span::default());
    r
}

/// Whatever was answered holds together: what is accepted prints and reads back, what is refused has its places.
fn sound(text: &str) -> Result<(), TestCaseError> {
    let diagnostics = match parse(text) {
        Ok(parsed) => {
            for variant in &parsed.variants {
                let printed = print(variant);
                if printed.len() > 64 * 1024 {
                    continue;
                }
                let again = parse(&printed).map_err(|e| TestCaseError::fail(e.render("printed", &printed)))?;
                prop_assert_eq!(placeless(&again.variants[0]), placeless(variant), "{}", printed);
                prop_assert_eq!(print(&again.variants[0]), printed);
            }
            parsed.warnings
        }
        Err(problems) => {
            prop_assert!(problems.has_errors());
            problems
        }
    };
    places(text, &diagnostics)
}

fn places(text: &str, diagnostics: &Diagnostics) -> Result<(), TestCaseError> {
    let lines: Vec<&str> = text.strip_prefix('\u{feff}').unwrap_or(text).split('\n').collect();
    for d in diagnostics {
        for span in d.notes.iter().filter_map(|note| note.span).chain([d.span]) {
            prop_assert!(span.line >= 1 && span.line as usize <= lines.len(), "{:?}", d);
            let length = lines[span.line as usize - 1].chars().count() as u32;
            prop_assert!(span.column <= length, "{:?} in a line of {} characters", d, length);
            prop_assert!((span.line, span.column) <= (span.end_line, span.end_column), "{:?}", d);
        }
    }
    let rendered = diagnostics.render("any.rla", text);
    prop_assert_eq!(rendered.is_empty(), diagnostics.is_empty());
    prop_assert!(!rendered.contains('\u{1b}'), "no escape reaches the terminal");
    Ok(())
}

#[test]
fn built_in_variants_print_and_read_back() {
    for (name, text) in BUILTINS {
        sound(text).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

#[test]
fn canonical_text_has_the_parentheses_it_needs() {
    let text = "/// Docs,\n///\n///  indented.\npub variant p {\n    dim n;\n    \
        input q, k: key unit, g: gate key in -inf..0.5;\n    param u: scalar in 0..1e300;\n    \
        /// An input.\n    input s: n;\n    const c = 1e-6 - (2 - 3) - -4 / (5 / 6);\n    state S: key x key;\n    \
        state z: n;\n\n    let a = -(q + k)^T * (I - u * k * k^T);\n    let b = (q^T)^T / (g .* (k * u)) - c;\n    \
        S[t] = S[t-1] * (2 * (I - I / 2)) - -(k * a);\n    z[t] = clamp(s, -c, dim(n)) - (z[t-1] - s);\n    \
        output o = S[t] * q + b;\n    output p = dot(z[t], s);\n}\n";
    let parsed = parse(text).unwrap_or_else(|e| panic!("{}", e.render("p.rla", text)));
    // `(q^T)^T` is the one pair that is not needed
    assert_eq!(print(&parsed.variants[0]), text.replace("(q^T)^T", "q^T^T"));
}

/// Words for texts that mean nothing.
const SOUP: &[&str] = &[
    "pub",
    "variant",
    "a",
    "S",
    "v",
    "q",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "dim",
    "input",
    "param",
    "const",
    "state",
    "let",
    "output",
    ":",
    ";",
    ",",
    "=",
    "+",
    "-",
    "*",
    ".*",
    "/",
    "..",
    "^T",
    "[t]",
    "[t-1]",
    "key",
    "value",
    "gate",
    "scalar",
    "unit",
    "in",
    "inf",
    "x",
    "1",
    "0.5",
    "1e-6",
    "exp",
    "clamp",
    "I",
    "t",
    "//",
    "/*",
    "*/",
    "///",
    "\n",
    "#[doc = \"d\"]",
    "#",
    "!",
    "'",
    "\"",
    "r#in",
    "\u{3b2}",
    "\u{2212}",
    "@",
    "&",
    "0x1",
    "1f32",
    "\u{0}",
    "\t",
    "\r",
    "dim(key)",
    "sum(v)",
];

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(SOUP), 0..120).prop_map(|words| words.join(" "))
}

/// A built-in text with a few words taken out, doubled, exchanged or replaced.
fn damaged() -> impl Strategy<Value = String> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..4usize, prop::sample::select(SOUP)), 1..6);
    (prop::sample::select(BUILTINS), edits).prop_map(|((_, text), edits)| {
        let mut words: Vec<String> =
            text.split_inclusive([' ', '\n', ';', '(', ')', '[', ']']).map(String::from).collect();
        for (at, edit, word) in edits {
            let at = at.index(words.len());
            match edit {
                0 => drop(words.remove(at)),
                1 => words.insert(at, words[at].clone()),
                2 => words.insert(at, word.to_string()),
                _ => words.swap(at, at / 2),
            }
            if words.is_empty() {
                break;
            }
        }
        words.concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_recurrences_print_and_read_back(tape in prop::collection::vec(any::<u8>(), 0..300)) {
        let text = Tape(tape.iter()).variant();
        let parsed = parse(&text).map_err(|e| TestCaseError::fail(e.render("random.rla", &text)))?;
        prop_assert_eq!(parsed.variants.len(), 1);
        sound(&text)?;
    }

    #[test]
    fn random_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let answer = parse_bytes(&bytes);
        prop_assert!(answer.is_err(), "random bytes are no variant");
        places(&String::from_utf8_lossy(&bytes), &answer.unwrap_err())?;
    }

    #[test]
    fn random_texts_get_an_answer(text in "\\PC{0,200}") {
        sound(&text)?;
    }

    #[test]
    fn random_tokens_get_an_answer(text in soup()) {
        sound(&text)?;
    }

    #[test]
    fn random_items_get_an_answer(text in soup()) {
        sound(&format!("variant a {{ input q, k: key, v: value; state S: value x key; {text}; output o = S[t] * q; }}"))?;
    }

    #[test]
    fn random_expressions_get_an_answer(text in soup()) {
        sound(&format!("variant a {{ input q, k: key, v: value; state S: value x key; S[t] = {text}; output o = v; }}"))?;
    }

    #[test]
    fn damaged_variants_get_an_answer(text in damaged()) {
        sound(&text)?;
    }
}

#[test]
fn hostile_texts_get_an_answer() {
    for text in hostile::texts() {
        let start: String = text.chars().take(60).collect();
        sound(&text).unwrap_or_else(|e| panic!("{start} ...: {e}"));
    }
}

/// The text at a place.
fn slice(text: &str, span: Span) -> String {
    assert_eq!(span.line, span.end_line, "an operator or atom lies in one line");
    let line = text.split('\n').nth(span.line as usize - 1).unwrap();
    line.chars().skip(span.column as usize).take((span.end_column - span.column) as usize).collect()
}

#[test]
fn places_are_those_of_the_operators_and_atoms() {
    for (name, text) in BUILTINS {
        let variant = parse(text).unwrap().variants.remove(0);
        for expr in &variant.exprs {
            let expected = match &expr.kind {
                ExprKind::Number(x) => {
                    assert_eq!(slice(text, expr.span).parse(), Ok(*x), "{name}");
                    continue;
                }
                ExprKind::Input(i) => variant.inputs[*i].name.clone(),
                ExprKind::Const(i) => variant.consts[*i].name.clone(),
                ExprKind::Let(i) => variant.statements[*i].name.clone(),
                ExprKind::StatePrevious(i) => format!("{}[t-1]", variant.states[*i].name),
                ExprKind::StateCurrent(i) => format!("{}[t]", variant.states[*i].name),
                ExprKind::Identity => "I".into(),
                ExprKind::Dim(side) => format!("dim({})", variant.sides[side.0 as usize]),
                ExprKind::Negate(_) | ExprKind::Subtract(..) => "-".into(),
                ExprKind::Transpose(_) => "^T".into(),
                ExprKind::Add(..) => "+".into(),
                ExprKind::Multiply(..) => "*".into(),
                ExprKind::Hadamard(..) => ".*".into(),
                ExprKind::Divide(..) => "/".into(),
                ExprKind::Call(func, _) => func.name().into(),
            };
            assert_eq!(slice(text, expr.span), expected, "{name}");
        }
        for input in &variant.inputs {
            assert_eq!(slice(text, input.span), input.name);
        }
        for statement in &variant.statements {
            let whole = slice(text, statement.span);
            assert!(whole.contains(&statement.name) && whole.ends_with(';'), "{whole}");
        }
    }
}

#[test]
fn both_readers_answer_alike_and_tokens_keep_their_spans() {
    let wrong =
        "variant a {\n    input v: value;\n    state S: value x key;\n    let a = v * v;\n    output o = b .* S[t];\n}";
    for text in BUILTINS.iter().map(|row| row.1).chain([wrong]) {
        let stream: TokenStream = text.parse().unwrap();
        let (answer, spans) = parse_tokens(stream);
        match (answer, parse(text)) {
            (Ok(from_tokens), Ok(from_text)) => {
                assert_eq!(from_tokens.variants, from_text.variants);
                for expr in &from_tokens.variants[0].exprs {
                    let (first, last) = spans.of(expr.span);
                    let (start, end) = (first.start(), last.end());
                    assert_eq!((start.line as u32, start.column as u32), (expr.span.line, expr.span.column));
                    assert_eq!((end.line as u32, end.column as u32), (expr.span.end_line, expr.span.end_column));
                }
            }
            (Err(from_tokens), Err(from_text)) => assert_eq!(from_tokens, from_text),
            _ => panic!("one reader accepts what the other refuses:\n{text}"),
        }
    }
}

/// The stream with some identifiers replaced by what a `macro_rules` variable would bring.
fn with_variables(text: &str, variables: &[(&str, &str)]) -> TokenStream {
    use proc_macro2::{Delimiter, Group, TokenTree};
    fn replace(stream: TokenStream, variables: &[(&str, &str)]) -> TokenStream {
        let replaced = stream.into_iter().map(|tree| match tree {
            TokenTree::Ident(ident) => match variables.iter().find(|row| ident == row.0) {
                Some((_, brought)) => Group::new(Delimiter::None, brought.parse().unwrap()).into(),
                None => ident.into(),
            },
            TokenTree::Group(group) => Group::new(group.delimiter(), replace(group.stream(), variables)).into(),
            other => other,
        });
        replaced.collect()
    }
    replace(text.parse().unwrap(), variables)
}

#[test]
fn macro_variables_are_looked_through() {
    let text = "VIS variant NAME { input v: SIDE in LOW..1; const c = X * 2; state z: SIDE; \
        z[TIME] = c * ATOM .* z[PREVIOUS]; OUTPUT }";
    let variables = [
        ("VIS", "pub"),
        ("NAME", "a"),
        ("SIDE", "value"),
        ("LOW", "-1"),
        ("X", "1 + 2"),
        ("TIME", "t"),
        ("ATOM", "v"),
        ("PREVIOUS", "t - 1"),
        ("OUTPUT", "output o = z[t] + v;"),
    ];
    let (answer, _) = parse_tokens(with_variables(text, &variables));
    let variant = answer.unwrap_or_else(|e| panic!("{e}")).variants.remove(0);
    // `X` is one operand: (1 + 2) * 2
    let expected = "pub variant a { input v: value in -1..1; const c = (1 + 2) * 2; state z: value; \
        z[t] = c * v .* z[t-1]; output o = z[t] + v; }";
    assert_eq!(placeless(&variant), placeless(&parse(expected).unwrap().variants[0]));

    let (answer, _) = parse_tokens(with_variables("variant a { input v: value; output o = X; }", &[("X", "v v")]));
    assert_eq!(answer.unwrap_err().iter().map(|d| d.code).collect::<Vec<_>>(), ["expected"]);
}

/// The texts in a Markdown page that are whole variants.
fn variants_of_page(page: &str) -> Vec<&str> {
    page.split("```text\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .filter(|block| block.contains("variant ") && block.trim_end().ends_with('}'))
        .collect()
}

#[test]
fn the_language_page_says_what_is_so() {
    let page = include_str!("../docs/language.md");
    let variants = variants_of_page(page);
    assert_eq!(variants.len(), 4);
    for text in variants {
        let parsed = parse(text).unwrap_or_else(|e| panic!("{}", e.render("language.md", text)));
        assert!(parsed.warnings.is_empty(), "{}", parsed.warnings.render("language.md", text));
        sound(text).unwrap_or_else(|e| panic!("{e}"));
    }
    for function in FUNCTIONS.iter().chain(&["clamp", "l2norm", "softmax", "sum", "dot", "diag", "dim"]) {
        assert!(page.contains(&format!("`{function}(")), "`{function}` is not on the page");
    }
}
