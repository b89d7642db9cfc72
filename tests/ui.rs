//! Every message of the language with its exact text: `ui/*.rla`, and beside it what is said about it.
//!
//! A file is named after the message's code, `CODE.rla` or `CODE.what.rla`. `RLA_BLESS=1 cargo test -p rla-tests --test ui`
//! writes the expected texts; read the difference before it is committed.

use std::fs;
use std::path::{Path, PathBuf};

use rla_dsl::diagnostic::{CODES, MOST};
use rla_dsl::{Diagnostics, parse, parse_bytes};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ui")
}

fn cases(extension: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder())
        .expect("tests/ui is there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    paths.sort();
    paths
}

/// What is said about a text: its errors, or its warnings.
fn said(bytes: &[u8]) -> Diagnostics {
    match parse_bytes(bytes) {
        Ok(parsed) => parsed.warnings,
        Err(problems) => problems,
    }
}

#[test]
fn each_message_has_its_exact_text() {
    let bless = std::env::var_os("RLA_BLESS").is_some_and(|value| value == "1");
    let mut wrong = Vec::new();
    for path in cases("rla") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let code = name.split('.').next().unwrap();
        let bytes = fs::read(&path).unwrap();
        let diagnostics = said(&bytes);
        assert!(diagnostics.iter().any(|d| d.code == code), "{name}: its own message is not among\n{diagnostics}");
        let found = diagnostics.render(name, std::str::from_utf8(&bytes).unwrap());
        let expected_path = path.with_extension("stderr");
        if bless {
            fs::write(&expected_path, &found).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if found != expected {
            wrong.push(format!("==== {name}: expected\n{expected}---- found\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{} (RLA_BLESS=1 accepts what was found)", wrong.join("\n"));
}

#[test]
fn expressions_nest_128_deep() {
    let text = |depth: usize| {
        format!("variant a {{ input v: value; output o = {}v{}; }}", "(".repeat(depth), ")".repeat(depth))
    };
    assert!(parse(&text(128)).is_ok());
    assert_eq!(parse(&text(129)).unwrap_err().iter().next().unwrap().code, "nesting");
}

/// Messages that need a text too large for a file of its own; below.
const ELSEWHERE: &[&str] = &["text-too-long", "not-utf8", "too-deep", "too-many"];

#[test]
fn each_message_has_a_case() {
    let names: Vec<String> =
        cases("rla").iter().map(|p| p.file_name().unwrap().to_str().unwrap().to_string()).collect();
    for code in CODES {
        let there = names.iter().any(|name| name.split('.').next() == Some(code));
        assert!(there != ELSEWHERE.contains(code), "`{code}` has no case of its own in tests/ui, or has two");
    }
    for path in cases("stderr") {
        assert!(path.with_extension("rla").exists(), "{} belongs to no case", path.display());
    }
}

#[test]
fn a_text_of_64_kib_is_the_longest() {
    let text = |n: usize| format!("variant a {{ input v: value; output o = v; /*{}*/ }}", " ".repeat(n));
    let around = text(0).len();
    assert!(parse(&text(65536 - around)).is_ok());
    let problems = parse(&text(65537 - around)).unwrap_err();
    assert_eq!(problems.to_string(), "1:1: error: the text has 65537 bytes; the limit is 65536");
}

#[test]
fn bytes_that_are_no_text() {
    let bytes = b"variant a {\n    input v\xff: value;\n}\n";
    let problems = parse_bytes(bytes).unwrap_err();
    let expected = "error[not-utf8]: the text is not UTF-8 from byte 23 on
 --> a.rla:2:12
  |
2 |     input v\u{fffd}: value;
  |            ^

";
    assert_eq!(problems.render("a.rla", &String::from_utf8_lossy(bytes)), expected);
}

#[test]
fn a_sum_of_4097_terms_is_the_longest() {
    let text = |terms: usize| {
        let sum = vec!["v"; terms].join("+");
        format!("variant a {{ input k: key, v: value; state S: value x key; S[t] = S[t-1]; output o = {sum}; }}")
    };
    assert!(parse(&text(4097)).is_ok());
    let problems = parse(&text(4098)).unwrap_err();
    assert_eq!(problems.len(), 1);
    let problem = problems.iter().next().unwrap();
    assert_eq!(problem.code, "too-deep");
    assert_eq!(problem.message, "more than 4096 operators on top of one another");
}

#[test]
fn after_64_errors_the_search_stops() {
    let lets: String = (0..1000).map(|i| format!("let a{i} = b * v;\n")).collect();
    let problems = parse(&format!("variant a {{\ninput v: value;\n{lets}output o = v;\n}}")).unwrap_err();
    assert_eq!(problems.len(), MOST + 1);
    let last = problems.iter().last().unwrap();
    assert_eq!((last.code, last.message.as_str()), ("too-many", "there may be more: the search stopped here"));
}
