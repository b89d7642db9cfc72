//! The grammar: tokens to the syntax tree. One function a rule, named as the language page names it.
//!
//! A rule that fails has reported why and answers [`Stop`]; reading goes on after the item's `;`, so that one mistake
//! hides no other. An item whose right-hand side cannot be read still declares its name.

mod expr;
mod number;

use crate::ast::{Body, Domain, DomainKind, Expr, ExprKind, Group, Item, ItemKind, Name, Variant};
use crate::diagnostic::{Collector, Diagnostic, Message};
use crate::recurrence::{InputKind, Span};
use crate::symbol;
use crate::token::{Delim, Token, TokenKind};

/// A rule failed, and reported why.
pub(crate) struct Stop;

type Parse<T> = Result<T, Stop>;

/// Nesting of expressions that is accepted: brackets, and signs and transpositions in a row.
pub(crate) const NESTING: usize = 128;

/// file = variant { variant }
pub(crate) fn file(tokens: &[Token], out: &mut Collector) -> Vec<Variant> {
    let mut parser = Parser { tokens, at: 0, exprs: Vec::new(), depth: 0, out };
    let mut variants = Vec::new();
    while !matches!(parser.peek(), TokenKind::End) && !parser.out.is_full() {
        match parser.variant() {
            Ok(variant) => variants.push(variant),
            Err(Stop) => parser.skip_to_variant(),
        }
    }
    if variants.is_empty() && parser.out.errors() == 0 {
        parser.out.report(Message::NoVariant {}, tokens[0].span);
    }
    variants
}

pub(crate) struct Parser<'t, 'o> {
    tokens: &'t [Token],
    at: usize,
    /// Nodes of the variant being read.
    exprs: Vec<Expr>,
    depth: usize,
    out: &'o mut Collector,
}

impl<'t> Parser<'t, '_> {
    /// variant = ["pub"] "variant" NAME "{" { item } "}"
    fn variant(&mut self) -> Parse<Variant> {
        let docs = self.docs();
        let start = self.token().span;
        let public = self.eat_ident("pub");
        if !self.eat_ident("variant") {
            return self.expected(if public { "`variant`" } else { "`variant` or `pub variant`" });
        }
        let name = self.name("the variant's name")?;
        let TokenKind::Open(Delim::Brace, close) = *self.peek() else {
            return self.expected("`{`");
        };
        self.bump();
        self.exprs.clear();
        let mut items = Vec::new();
        let mut damaged = false;
        while self.at < close && !self.out.is_full() {
            if matches!(self.peek(), TokenKind::Close(_)) {
                break;
            }
            let first = self.at;
            match self.item() {
                Ok(item) => items.push(item),
                Err(Stop) => {
                    damaged = true;
                    self.after_item(first);
                }
            }
        }
        self.at = close;
        let end = self.bump().span;
        Ok(Variant { docs, public, name, items, exprs: std::mem::take(&mut self.exprs), damaged, span: start.to(end) })
    }

    fn item(&mut self) -> Parse<Item> {
        let docs = self.docs();
        let first = self.at;
        let start = self.token().span;
        let word = match self.peek() {
            TokenKind::Ident(word) => word.clone(),
            _ => return self.unknown_item(),
        };
        let kind = match word.as_str() {
            "dim" => self.dim_item()?,
            "input" => self.input_item(InputKind::Input)?,
            "param" => self.input_item(InputKind::Param)?,
            "const" => {
                self.bump();
                let name = self.name("the constant's name")?;
                ItemKind::Const(name, self.body(first))
            }
            "state" => self.state_item()?,
            "let" => {
                self.bump();
                let name = self.name("a name")?;
                ItemKind::Let(name, self.body(first))
            }
            "output" => {
                self.bump();
                let name = self.name("the output's name")?;
                ItemKind::Output(name, self.body(first))
            }
            _ if matches!(self.peek_at(1), TokenKind::Open(Delim::Bracket, _)) => self.assign_item(first)?,
            _ => return self.unknown_item(),
        };
        let end = self.tokens[self.at.saturating_sub(1)].span;
        Ok(Item { docs, kind, span: start.to(end) })
    }

    /// "dim" NAME { "," NAME } ";"
    fn dim_item(&mut self) -> Parse<ItemKind> {
        self.bump();
        let names = self.names("the dim's name")?;
        self.semicolon("`,` or `;`")?;
        Ok(ItemKind::Dim(names))
    }

    /// ("input" | "param") group { "," group } ";"
    fn input_item(&mut self, kind: InputKind) -> Parse<ItemKind> {
        self.bump();
        let mut groups = vec![self.group()?];
        while self.eat_punct(',') {
            groups.push(self.group()?);
        }
        let last = groups.last().expect("one at least");
        self.semicolon(if last.domain.is_some() { "`,` or `;`" } else { "a domain, `,` or `;`" })?;
        Ok(ItemKind::Inputs(kind, groups))
    }

    /// group = NAME { "," NAME } ":" type [ "unit" | "in" bound ".." bound ]
    fn group(&mut self) -> Parse<Group> {
        let names = self.names("a name")?;
        if !self.eat_punct(':') {
            return self.expected("`,` or `:` and a type");
        }
        let (gate, side) = self.type_()?;
        let start = self.token().span;
        let kind = if self.eat_ident("unit") {
            Some(DomainKind::Unit)
        } else if self.eat_ident("in") {
            let low = self.bound()?;
            if !(self.eat_punct('.') && self.eat_punct('.')) {
                return self.expected("`..`");
            }
            if matches!(self.peek(), TokenKind::Punct('=')) {
                return self.expected_with("a number", |d| {
                    d.help("both bounds belong to the domain: write `a..b`");
                });
            }
            Some(DomainKind::Range(low, self.bound()?))
        } else {
            None
        };
        let end = self.tokens[self.at - 1].span;
        Ok(Group { names, gate, side, domain: kind.map(|kind| Domain { kind, span: start.to(end) }) })
    }

    /// type = [ "gate" ] SIDE | "scalar"
    fn type_(&mut self) -> Parse<(bool, Option<Name>)> {
        if self.eat_ident("scalar") {
            return Ok((false, None));
        }
        let start = self.token().span;
        let gate = self.eat_ident("gate");
        if gate && matches!(self.peek(), TokenKind::Ident(word) if word == "scalar") {
            let end = self.bump().span;
            self.out.report(Message::GateScalar {}, start.to(end));
            return Ok((false, None));
        }
        let side = self.name(if gate { "a side" } else { "a type: `scalar`, a side, or `gate` and a side" })?;
        Ok((gate, Some(side)))
    }

    /// bound = ["-"] ( NUMBER | "inf" )
    fn bound(&mut self) -> Parse<f64> {
        let sign = if self.eat_punct('-') { -1.0 } else { 1.0 };
        if self.eat_ident("inf") {
            return Ok(sign * f64::INFINITY);
        }
        match self.peek() {
            TokenKind::Literal(_) => Ok(sign * self.number()?),
            _ => self.expected("a number or `inf`"),
        }
    }

    /// "state" NAME { "," NAME } ":" SIDE [ "x" SIDE ] ";"
    fn state_item(&mut self) -> Parse<ItemKind> {
        self.bump();
        let names = self.names("the state's name")?;
        if !self.eat_punct(':') {
            return self.expected("`,` or `:` and the state's sides");
        }
        let first = self.name("a side")?;
        let second = if self.eat_ident("x") { Some(self.name("a side")?) } else { None };
        self.semicolon(if second.is_some() { "`;`" } else { "`x` and a side, or `;`" })?;
        Ok(ItemKind::State { names, first, second })
    }

    /// NAME "[" "t" "]" "=" expr ";"
    fn assign_item(&mut self, first: usize) -> Parse<ItemKind> {
        let name = self.name("a state")?;
        let TokenKind::Open(Delim::Bracket, close) = *self.peek() else {
            return self.expected("`[t]`");
        };
        let inside = &self.tokens[self.at + 1..close];
        if !matches!(inside, [Token { kind: TokenKind::Ident(t), .. }] if t == "t") {
            let span = self.token().span.to(self.tokens[close].span);
            let expected = format!("`{}[t]`", name.text);
            let message = Message::Expected { expected, found: "another time".into() };
            self.out.report(message, span).help("a statement gives a state its value at the token `t`, nothing else");
        }
        self.at = close + 1;
        Ok(ItemKind::Assign(name, self.body(first)))
    }

    /// "=" expr ";" of the item that began at token `item`. On failure the item keeps its name and has no value.
    fn body(&mut self, item: usize) -> Body {
        let first = self.exprs.len();
        let value = (|| {
            if !self.eat_punct('=') {
                return self.expected("`=`");
            }
            let root = self.expr()?;
            self.semicolon("an operator or `;`")?;
            Ok(root)
        })();
        match value {
            Ok(root) => Body { first, root },
            Err(Stop) => {
                let span = self.token().span;
                self.after_item(item);
                self.depth = 0;
                self.exprs.truncate(first);
                Body { first, root: self.node(ExprKind::Error, span) }
            }
        }
    }

    fn names(&mut self, expected: &str) -> Parse<Vec<Name>> {
        let mut names = vec![self.name(expected)?];
        while self.eat_punct(',') {
            names.push(self.name("a name")?);
        }
        Ok(names)
    }

    /// NAME: an ASCII identifier that is not a word of the language.
    fn name(&mut self, expected: &str) -> Parse<Name> {
        let span = self.token().span;
        let TokenKind::Ident(text) = self.peek() else { return self.expected(expected) };
        let mut text = text.clone();
        if let Some(reason) = symbol::reserved(&text) {
            self.out.report(Message::ReservedName { name: text, reason: reason.into() }, span);
            return Err(Stop);
        }
        if let Some(plain) = text.strip_prefix("r#") {
            let message = Message::BadName { name: text.clone(), reason: "a name has no `r#`".into() };
            self.out.report(message, span).help(format!("write `{plain}`: Rust's keywords are names like any other"));
            text = plain.to_string();
        } else if !text.is_ascii() || text == "_" {
            let reason = "a name is made of ASCII letters, digits and `_`, and is not `_` alone".into();
            self.out.report(Message::BadName { name: text.clone(), reason }, span);
        }
        self.bump();
        Ok(Name { text, span })
    }

    /// ";" or a report right after the token before it. Where the next item plainly begins, reading goes on there.
    fn semicolon(&mut self, expected: &str) -> Parse<()> {
        if self.eat_punct(';') {
            return Ok(());
        }
        let next = self.token();
        let here = self.tokens[self.at - 1].span;
        let next_item = match &next.kind {
            TokenKind::Ident(word) => {
                let item = symbol::ITEMS.contains(&word.as_str()) || self.is_assignment();
                item && next.span.line > here.end_line
            }
            TokenKind::Close(Delim::Brace) | TokenKind::Doc(_) => true,
            _ => false,
        };
        if next_item {
            let message = Message::Expected { expected: "`;`".into(), found: next.describe() };
            self.out.report(message, here.after());
            return Ok(());
        }
        let product = matches!(next.kind, TokenKind::Ident(_) | TokenKind::Literal(_) | TokenKind::Open(..));
        let operator = expected.starts_with("an operator");
        self.expected_with(expected, |d| {
            if operator && product {
                d.help("a product is written with `*`, or `.*` where it is elementwise");
            } else if operator && d.message.ends_with("`@`") {
                d.help("a product of matrices and vectors is written with `*`");
            }
        })
    }

    /// Whether `NAME [ t ] =` stands here.
    fn is_assignment(&self) -> bool {
        matches!(self.peek_at(1), TokenKind::Open(Delim::Bracket, _))
            && matches!(self.peek_at(3), TokenKind::Close(Delim::Bracket))
            && matches!(self.peek_at(4), TokenKind::Punct('='))
    }

    fn unknown_item<T>(&mut self) -> Parse<T> {
        let token = self.token();
        let message = Message::UnknownItem { found: token.describe() };
        let diagnostic = self.out.report(message, token.span);
        match &token.kind {
            TokenKind::Ident(word) => {
                let next = &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].kind;
                if let Some(near) = symbol::nearest(word, symbol::ITEMS.iter().copied()) {
                    diagnostic.help(format!("did you mean `{near}`?"));
                } else if matches!(next, TokenKind::Punct('=')) {
                    diagnostic.help(format!("`let {word} = ...` names a value, `{word}[t] = ...` assigns a state"));
                } else {
                    diagnostic.help("an item starts with `dim`, `input`, `param`, `const`, `state`, `let` or `output`, or reads `S[t] = ...`");
                }
            }
            TokenKind::Punct(';') => {
                diagnostic.help("remove it");
            }
            _ => {}
        }
        Err(Stop)
    }

    /// Goes on behind the item that began at token `first`: after its `;`, or at the variant's end.
    fn after_item(&mut self, first: usize) {
        self.at = first;
        loop {
            match self.tokens[self.at].kind {
                TokenKind::Punct(';') => {
                    self.at += 1;
                    return;
                }
                TokenKind::Open(_, close) => self.at = close + 1,
                TokenKind::Close(Delim::Brace) | TokenKind::End => return,
                _ => self.at += 1,
            }
        }
    }

    /// Goes on at the next `variant` outside of braces, at least one token further.
    fn skip_to_variant(&mut self) {
        loop {
            match &self.tokens[self.at].kind {
                TokenKind::Open(_, close) => self.at = close + 1,
                TokenKind::End => return,
                _ => self.at += 1,
            }
            let word = |i: usize, word: &str| matches!(&self.tokens[i].kind, TokenKind::Ident(w) if w == word);
            if word(self.at, "variant") || word(self.at, "pub") && word(self.at + 1, "variant") {
                return;
            }
        }
    }

    /// All documentation that stands here.
    fn docs(&mut self) -> String {
        let mut lines = Vec::new();
        while let TokenKind::Doc(text) = self.peek() {
            lines.push(text.clone());
            self.bump();
        }
        lines.join("\n")
    }

    fn expected<T>(&mut self, expected: &str) -> Parse<T> {
        self.expected_with(expected, |_| {})
    }

    fn expected_with<T>(&mut self, expected: &str, add: impl FnOnce(&mut Diagnostic)) -> Parse<T> {
        let token = self.token();
        let message = Message::Expected { expected: expected.into(), found: token.describe() };
        add(self.out.report(message, token.span));
        Err(Stop)
    }

    /// Skips the bounds of macro variables, which mean something only to [`Parser::atom`].
    fn skip_none(&mut self) {
        while let TokenKind::Open(Delim::None, _) | TokenKind::Close(Delim::None) = self.tokens[self.at].kind {
            self.at += 1;
        }
    }

    fn token(&mut self) -> &'t Token {
        self.skip_none();
        &self.tokens[self.at]
    }

    fn peek(&mut self) -> &'t TokenKind {
        &self.token().kind
    }

    fn peek_at(&self, ahead: usize) -> &'t TokenKind {
        &self.tokens[(self.at + ahead).min(self.tokens.len() - 1)].kind
    }

    fn bump(&mut self) -> &'t Token {
        self.skip_none();
        let at = self.at;
        self.at = (at + 1).min(self.tokens.len() - 1);
        &self.tokens[at]
    }

    fn eat_punct(&mut self, c: char) -> bool {
        let found = *self.peek() == TokenKind::Punct(c);
        if found {
            self.bump();
        }
        found
    }

    fn eat_ident(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), TokenKind::Ident(w) if w == word);
        if found {
            self.bump();
        }
        found
    }

    fn node(&mut self, kind: ExprKind, span: Span) -> usize {
        self.exprs.push(Expr { kind, span });
        self.exprs.len() - 1
    }
}
