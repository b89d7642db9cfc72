//! Texts made to break a reader.

/// Texts of 64 KiB made to hurt: deep, long, wide, repetitive.
pub fn texts() -> Vec<String> {
    let filled = |head: &str, unit: &str, tail: &str| {
        let n = (64 * 1024 - head.len() - tail.len()) / unit.len();
        format!("{head}{}{tail}", unit.repeat(n))
    };
    let open = "variant a { input v: value; output o = ";
    let mut texts = vec![String::new()];
    for unit in [
        "(",
        ")",
        "[",
        "{",
        "-",
        "+",
        "v+",
        "v.*",
        "v*",
        "v ",
        "^T",
        "exp(",
        "v^T*",
        "S[t]",
        "S[t-1]+",
        "1",
        "1 ",
        ".",
        "..",
        "#",
        "#![doc]",
        "///\n",
        "/*",
        "*/",
        "\"",
        "'",
        "r#",
        "\\",
        "\u{0}",
        "\u{3b2} ",
        "I*",
        "I+",
        "v,",
        ";",
        "}",
        "t ",
        "0x",
        "1e",
        "clamp(v,",
        "- -",
        "let a = v;",
        "(v)",
        "x x ",
        "\n",
        "\r\n",
        "r\"",
        "r#\"",
        "b'",
        "//",
        "//!\n",
        "/**/",
    ] {
        texts.push(filled("", unit, ""));
        texts.push(filled(open, unit, "; }"));
        texts.push(filled("variant a { ", unit, " }"));
    }
    for (unit, close) in
        [("(", ")"), ("exp(", ")"), ("[", "]"), ("{", "}"), ("clamp(v, 1, ", ")"), ("(-", ")"), ("sum(1+", ")")]
    {
        let n = (64 * 1024 - open.len() - 5) / (unit.len() + close.len());
        texts.push(format!("{open}{}v{}; }}", unit.repeat(n), close.repeat(n)));
        texts.push(format!("{}{}", unit.repeat(n), close.repeat(n)));
    }
    let numbered = |item: &dyn Fn(usize) -> String| {
        let mut text = "variant a { input v: value; state S: value; ".to_string();
        for i in 0.. {
            let next = item(i);
            if text.len() + next.len() > 64 * 1024 - 40 {
                break;
            }
            text += &next;
        }
        text + " output o = v; }"
    };
    texts.extend([
        numbered(&|i| format!("let a{i} = v;")),
        numbered(&|i| format!("let a{i} = a{};", i + 1)),
        numbered(&|i| format!("let a{i} = S[t];")),
        numbered(&|i| format!("const c{i} = {i};")),
        numbered(&|i| if i == 0 { "const c0 = 1;".into() } else { format!("const c{i} = c{};", i - 1) }),
        numbered(&|i| format!("state S{i}: value x key;")),
        numbered(&|i| format!("dim d{i};")),
        numbered(&|_| "dim d;".to_string()),
        numbered(&|i| format!("input x{i}: key;")),
        numbered(&|i| format!("let b{i} = v * v;")),
        numbered(&|i| format!("let b{i} = unknown{i};")),
        numbered(&|_| "S[t] = v;".to_string()),
        numbered(&|_| "output v = v;".to_string()),
        numbered(&|i| format!("let b{i} = clamp(v, {i}, 1);")),
        numbered(&|i| format!("let b{i} = sqrt(v);")),
    ]);
    texts
}
