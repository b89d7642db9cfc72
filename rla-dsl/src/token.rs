//! From a proc-macro2 token stream to one flat list of tokens: the same for `.rla` text and for the macro.
//!
//! Groups become an opening and a closing token, each knowing the other's index. Documentation attributes become one
//! token, and are dropped with a warning where they document nothing. Groups without delimiters, which a `macro_rules`
//! variable brings, are looked through; where one holds an operator its bounds stay as [`Delim::None`], so that `$x * y`
//! multiplies the whole of `$x`.

use proc_macro2::{Delimiter, Group, Literal, TokenStream, TokenTree};

use crate::diagnostic::{Collector, Message};
use crate::lex;
use crate::recurrence::Span;

/// The most tokens a token stream may have, and the most bytes a text may have.
pub(crate) const MOST: usize = 64 * 1024;

/// A pair of delimiters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delim {
    Paren,
    Bracket,
    Brace,
    /// Around what a `macro_rules` variable brought.
    None,
}

impl Delim {
    fn marks(self) -> (&'static str, &'static str) {
        match self {
            Delim::Paren => ("`(`", "`)`"),
            Delim::Bracket => ("`[`", "`]`"),
            Delim::Brace => ("`{`", "`}`"),
            Delim::None => ("a macro variable", "the end of a macro variable"),
        }
    }
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenKind {
    Ident(String),
    Punct(char),
    Literal(String),
    /// With the index of its closing token.
    Open(Delim, usize),
    Close(Delim),
    /// A line or more of documentation.
    Doc(String),
    End,
}

/// A token and its place.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

impl Token {
    /// The token in a sentence.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            TokenKind::Ident(text) | TokenKind::Literal(text) if text.chars().count() > 40 => {
                format!("`{}...`", text.chars().take(40).collect::<String>())
            }
            TokenKind::Ident(text) | TokenKind::Literal(text) => format!("`{text}`"),
            TokenKind::Punct(c) => format!("`{c}`"),
            TokenKind::Open(delim, _) => delim.marks().0.to_string(),
            TokenKind::Close(delim) => delim.marks().1.to_string(),
            TokenKind::Doc(_) => "documentation".to_string(),
            TokenKind::End => "the end of the text".to_string(),
        }
    }
}

/// The proc-macro spans of a token stream, which [`Span::token`] and [`Span::end_token`] index.
#[derive(Debug, Default)]
pub struct TokenSpans(Vec<proc_macro2::Span>);

impl TokenSpans {
    /// The spans of the first and the last token of `span`; the call site where there is no token.
    pub fn of(&self, span: Span) -> (proc_macro2::Span, proc_macro2::Span) {
        let at = |i: u32| self.0.get(i as usize).copied().unwrap_or_else(proc_macro2::Span::call_site);
        (at(span.token), at(span.end_token))
    }

    fn add(&mut self, span: proc_macro2::Span) -> Span {
        let (start, end) = (span.start(), span.end());
        let token = self.0.len() as u32;
        self.0.push(span);
        Span {
            line: start.line as u32,
            column: start.column as u32,
            end_line: end.line as u32,
            end_column: end.column as u32,
            token,
            end_token: token,
        }
    }
}

/// Reads a text. `None` where it holds no token stream, which is then reported.
pub(crate) fn read_text(text: &str, out: &mut Collector) -> Option<Vec<Token>> {
    if text.len() > MOST {
        let message = Message::TooLong { size: format!("{} bytes", text.len()), limit: MOST.to_string() };
        out.report(message, Span { line: 1, end_line: 1, ..Span::default() });
        return None;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.parse::<TokenStream>() {
        Ok(stream) => read_stream(stream, &mut TokenSpans::default(), out),
        Err(error) => {
            lex::explain(text, error.span().start(), out);
            None
        }
    }
}

/// Reads a token stream. `None` where it is too long, which is then reported.
pub(crate) fn read_stream(stream: TokenStream, spans: &mut TokenSpans, out: &mut Collector) -> Option<Vec<Token>> {
    let mut reader = Reader { tokens: Vec::new(), spans, out };
    reader.flatten(stream);
    let Reader { mut tokens, .. } = reader;
    if tokens.len() > MOST {
        let message = Message::TooLong { size: format!("{} tokens", tokens.len()), limit: MOST.to_string() };
        out.report(message, tokens[0].span);
        return None;
    }
    drop_stray_docs(&mut tokens, out);
    let end = tokens.last().map_or(Span { line: 1, end_line: 1, ..Span::default() }, |t| t.span.after());
    tokens.push(Token { kind: TokenKind::End, span: end });
    pair(&mut tokens);
    Some(tokens)
}

struct Reader<'a> {
    tokens: Vec<Token>,
    spans: &'a mut TokenSpans,
    out: &'a mut Collector,
}

impl Reader<'_> {
    /// Walks the trees with a stack of its own: nesting in the text must not become nesting of calls.
    fn flatten(&mut self, stream: TokenStream) {
        let mut stack = vec![(stream.into_iter().peekable(), None)];
        while let Some((trees, _)) = stack.last_mut() {
            let Some(tree) = trees.next() else {
                if let Some((_, Some((delim, span)))) = stack.pop() {
                    self.push(TokenKind::Close(delim), span);
                }
                continue;
            };
            match tree {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    // `#[doc = ".."]`, or `#![doc = ".."]` (from `//!`), which is a plain comment here
                    let bang = |t: &TokenTree| matches!(t, TokenTree::Punct(p) if p.as_char() == '!');
                    let inner = trees.next_if(bang).is_some();
                    let attribute = trees.next_if(|t| matches!(t, TokenTree::Group(_)));
                    let docs = match &attribute {
                        Some(TokenTree::Group(group)) => doc_text(group),
                        _ => None,
                    };
                    let place = match &attribute {
                        Some(TokenTree::Group(group)) => group.span_close(),
                        _ => punct.span(),
                    };
                    let span = self.spans.add(punct.span()).to(self.spans.add(place));
                    match docs {
                        Some(_) if inner => {}
                        Some(docs) => self.tokens.push(Token { kind: TokenKind::Doc(docs), span }),
                        None => {
                            self.out.report(Message::Attribute {}, span);
                        }
                    }
                }
                TokenTree::Punct(punct) => self.push(TokenKind::Punct(punct.as_char()), punct.span()),
                TokenTree::Ident(ident) => self.push(TokenKind::Ident(ident.to_string()), ident.span()),
                TokenTree::Literal(literal) => self.push(TokenKind::Literal(literal.to_string()), literal.span()),
                TokenTree::Group(group) => {
                    let delim = match group.delimiter() {
                        Delimiter::Parenthesis => Delim::Paren,
                        Delimiter::Bracket => Delim::Bracket,
                        Delimiter::Brace => Delim::Brace,
                        Delimiter::None if !holds_operator(&group) => {
                            stack.push((group.stream().into_iter().peekable(), None));
                            continue;
                        }
                        Delimiter::None => Delim::None,
                    };
                    self.push(TokenKind::Open(delim, 0), group.span_open());
                    stack.push((group.stream().into_iter().peekable(), Some((delim, group.span_close()))));
                }
            }
        }
    }

    fn push(&mut self, kind: TokenKind, span: proc_macro2::Span) {
        let span = self.spans.add(span);
        self.tokens.push(Token { kind, span });
    }
}

/// The text of `[doc = "..."]`, without the blank that follows `///`.
fn doc_text(group: &Group) -> Option<String> {
    let mut trees = group.stream().into_iter();
    match (group.delimiter(), trees.next()?, trees.next()?, trees.next()?, trees.next()) {
        (Delimiter::Bracket, TokenTree::Ident(doc), TokenTree::Punct(equals), value, None)
            if doc == "doc" && equals.as_char() == '=' =>
        {
            let text = string_value(&value)?;
            let lines = text.split('\n').map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end_matches('\r'));
            Some(lines.collect::<Vec<_>>().join("\n").replace('\r', ""))
        }
        _ => None,
    }
}

fn string_value(tree: &TokenTree) -> Option<String> {
    let literal: Literal = match tree {
        TokenTree::Literal(literal) => literal.clone(),
        TokenTree::Group(group) if group.delimiter() == Delimiter::None => match group.stream().into_iter().next()? {
            TokenTree::Literal(literal) => literal,
            _ => return None,
        },
        _ => return None,
    };
    match syn::Lit::new(literal) {
        syn::Lit::Str(text) => Some(text.value()),
        _ => None,
    }
}

/// Whether the group is an expression with an operator at its outside, so that its bounds matter.
fn holds_operator(group: &Group) -> bool {
    let mut operator = false;
    let mut dot = false;
    for tree in group.stream() {
        let TokenTree::Punct(punct) = tree else {
            dot = false;
            continue;
        };
        match punct.as_char() {
            '.' if dot => return false, // a range
            '+' | '-' | '*' | '/' => operator = true,
            '=' | ';' | ',' | ':' => return false,
            _ => {}
        }
        dot = punct.as_char() == '.';
    }
    operator
}

/// Keeps documentation that stands before a variant or an item.
fn drop_stray_docs(tokens: &mut Vec<Token>, out: &mut Collector) {
    let mut keep = vec![true; tokens.len()];
    let mut start = true; // whether an item or a variant may start here
    let mut pending: Vec<usize> = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        match &token.kind {
            TokenKind::Doc(_) => {
                if start {
                    pending.push(i);
                } else {
                    keep[i] = false;
                    out.report(Message::StrayDoc {}, token.span);
                }
            }
            kind => {
                if matches!(kind, TokenKind::Close(_)) {
                    for i in &pending {
                        keep[*i] = false;
                        out.report(Message::StrayDoc {}, tokens[*i].span);
                    }
                }
                pending.clear();
                start = matches!(
                    kind,
                    TokenKind::Punct(';') | TokenKind::Open(Delim::Brace, _) | TokenKind::Close(Delim::Brace)
                ) || (start && matches!(kind, TokenKind::Open(Delim::None, _) | TokenKind::Close(Delim::None)));
            }
        }
    }
    for i in pending {
        keep[i] = false;
        out.report(Message::StrayDoc {}, tokens[i].span);
    }
    let mut keep = keep.into_iter();
    tokens.retain(|_| keep.next().expect("one flag a token"));
}

/// Lets each opening token know its closing one.
fn pair(tokens: &mut [Token]) {
    let mut open = Vec::new();
    for i in 0..tokens.len() {
        match tokens[i].kind {
            TokenKind::Open(..) => open.push(i),
            TokenKind::Close(_) => {
                let at: usize = open.pop().expect("groups are balanced");
                if let TokenKind::Open(_, close) = &mut tokens[at].kind {
                    *close = i;
                }
            }
            _ => {}
        }
    }
}
