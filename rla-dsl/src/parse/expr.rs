//! Expressions: sums of products of factors, into the arena, children before parents.
//!
//! Chains (`a + b + ...`, `- - x`, `x^T^T`) are loops; only brackets are calls, and those are counted.

use super::{NESTING, Parse, Parser, Stop};
use crate::ast::{ExprKind, Id, Name, Operator};
use crate::diagnostic::Message;
use crate::recurrence::{Func, Span};
use crate::symbol;
use crate::token::{Delim, TokenKind};

impl<'t> Parser<'t, '_> {
    /// expr = term { ("+" | "-") term }
    pub(super) fn expr(&mut self) -> Parse<Id> {
        let mut left = self.term()?;
        loop {
            let operator = match self.raw() {
                TokenKind::Punct('+') => Operator::Add,
                TokenKind::Punct('-') => Operator::Subtract,
                _ => return Ok(left),
            };
            let span = self.bump().span;
            let right = self.term()?;
            left = self.node(ExprKind::Binary(operator, left, right), span);
        }
    }

    /// term = factor { ("*" | ".*" | "/") factor }
    fn term(&mut self) -> Parse<Id> {
        let mut left = self.factor()?;
        loop {
            let operator = match self.raw() {
                TokenKind::Punct('*') => Operator::Multiply,
                TokenKind::Punct('.') => Operator::Hadamard,
                TokenKind::Punct('/') => Operator::Divide,
                _ => return Ok(left),
            };
            let mut span = self.bump().span;
            if operator == Operator::Hadamard {
                let end = self.token().span;
                if !self.eat_punct('*') {
                    return self.expected("`*`, as in `.*`, the elementwise product");
                }
                span = span.to(end);
            }
            let right = self.factor()?;
            left = self.node(ExprKind::Binary(operator, left, right), span);
        }
    }

    /// factor = "-" factor | atom { "^" "T" }
    fn factor(&mut self) -> Parse<Id> {
        let mut signs = Vec::new();
        while matches!(self.raw(), TokenKind::Punct('-')) {
            signs.push(self.bump().span);
            self.limit(signs.len())?;
        }
        let mut value = self.atom()?;
        let mut transposed = 0;
        while matches!(self.raw(), TokenKind::Punct('^')) {
            let start = self.bump().span;
            let end = self.token().span;
            if !self.eat_ident("T") {
                return self.expected_with("`T`, as in `x^T`, the transpose", |d| {
                    d.help("a square is written `sq(x)`, a product `x .* x`");
                });
            }
            transposed += 1;
            self.limit(transposed)?;
            value = self.node(ExprKind::Transpose(value), start.to(end));
        }
        for span in signs.into_iter().rev() {
            value = self.node(ExprKind::Negate(value), span);
        }
        Ok(value)
    }

    /// atom = NUMBER | NAME [ "[" "t" [ "-" "1" ] "]" ] | "I" | "(" expr ")" | "dim" "(" SIDE ")" | FUNC "(" .. ")"
    fn atom(&mut self) -> Parse<Id> {
        // what a macro variable brings is whole, as if in parentheses
        if let TokenKind::Open(delim @ (Delim::Paren | Delim::None), close) = *self.raw() {
            self.at += 1;
            let value = self.nested(|parser| parser.expr())?;
            if self.at != close {
                let expected = if delim == Delim::Paren { "an operator or `)`" } else { "an operator" };
                return self.expected(expected);
            }
            self.at = close + 1;
            return Ok(value);
        }
        let span = self.token().span;
        match self.peek().clone() {
            TokenKind::Literal(_) => {
                let value = self.number()?;
                Ok(self.node(ExprKind::Number(value), span))
            }
            TokenKind::Ident(word) => self.word(&word, span),
            TokenKind::Punct('.') => self.expected_with("an expression", |d| {
                d.help("a number starts with a digit: `0.5`");
            }),
            _ => self.expected("an expression"),
        }
    }

    /// An atom that starts with a word.
    fn word(&mut self, word: &str, span: Span) -> Parse<Id> {
        let bracket = matches!(self.peek_at(1), TokenKind::Open(Delim::Bracket, _));
        let paren = matches!(self.peek_at(1), TokenKind::Open(Delim::Paren, _));
        let func = Func::from_name(word);
        match word {
            "I" => {
                self.bump();
                Ok(self.node(ExprKind::Identity, span))
            }
            "dim" if paren => {
                self.at += 2;
                let side = self.name("a side")?;
                if !matches!(self.raw(), TokenKind::Close(Delim::Paren)) {
                    return self.expected("`)`");
                }
                let end = self.bump().span;
                Ok(self.node(ExprKind::Dim(side), span.to(end)))
            }
            _ if func.is_some() => {
                self.bump();
                if !paren {
                    return self.expected(&format!("`(` after the function `{word}`"));
                }
                let arguments = self.arguments()?;
                Ok(self.node(ExprKind::Call(func.expect("just seen"), arguments), span))
            }
            _ if paren && symbol::reserved(word).is_none() => {
                let near = symbol::nearest(word, symbol::FUNCS.iter().map(|row| row.0).chain(["dim"]));
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "a product is written with `*`, or `.*` where it is elementwise".to_string(),
                };
                self.out.report(Message::UnknownFunction { name: word.into() }, span).help(help);
                self.bump();
                self.arguments()?;
                Ok(self.node(ExprKind::Error, span))
            }
            _ => {
                let name = self.name("an expression")?;
                if bracket { self.read(name) } else { Ok(self.node(ExprKind::Name(name.text), span)) }
            }
        }
    }

    /// "(" expr { "," expr } ")"
    fn arguments(&mut self) -> Parse<Vec<Id>> {
        let TokenKind::Open(_, close) = *self.peek() else { return self.expected("`(`") };
        self.at += 1;
        let arguments = self.nested(|parser| {
            let mut arguments = vec![parser.expr()?];
            while matches!(parser.raw(), TokenKind::Punct(',')) {
                parser.at += 1;
                arguments.push(parser.expr()?);
            }
            Ok(arguments)
        })?;
        if self.at != close {
            return self.expected("an operator, `,` or `)`");
        }
        self.at = close + 1;
        Ok(arguments)
    }

    /// "[" "t" [ "-" "1" ] "]" after a state's name.
    fn read(&mut self, name: Name) -> Parse<Id> {
        let TokenKind::Open(_, close) = *self.peek() else { return self.expected("`[`") };
        let inside = self.tokens[self.at + 1..close].iter().map(|token| &token.kind);
        let bound = |kind: &&TokenKind| matches!(kind, TokenKind::Open(Delim::None, _) | TokenKind::Close(Delim::None));
        let inside: Vec<&TokenKind> = inside.filter(|kind| !bound(kind)).take(4).collect();
        let previous = match inside[..] {
            [TokenKind::Ident(t)] if t == "t" => Some(false),
            [TokenKind::Ident(t), TokenKind::Punct('-'), TokenKind::Literal(one)] if t == "t" && one == "1" => {
                Some(true)
            }
            _ => None,
        };
        let back = matches!(inside[..], [_, TokenKind::Punct('-'), TokenKind::Literal(_)]);
        let inside = self.token().span.to(self.tokens[close].span);
        let span = name.span.to(inside);
        self.at = close + 1;
        match previous {
            Some(previous) => Ok(self.node(ExprKind::Read { name, previous }, span)),
            None => {
                let diagnostic = self.out.report(Message::BadTime { name: name.text }, inside);
                if back {
                    diagnostic.help("what lies further back is carried in a state of its own");
                }
                Ok(self.node(ExprKind::Error, span))
            }
        }
    }

    fn nested<T>(&mut self, inside: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        self.depth += 1;
        self.limit(self.depth)?;
        let result = inside(self);
        self.depth -= 1;
        result
    }

    /// Refuses the token just read where `depth` is beyond the limit.
    fn limit(&mut self, depth: usize) -> Parse<()> {
        if depth <= NESTING {
            return Ok(());
        }
        let span = self.tokens[self.at - 1].span;
        self.out.report(Message::Nesting { limit: NESTING.to_string() }, span);
        Err(Stop)
    }

    /// The next token, the bounds of macro variables included.
    fn raw(&self) -> &'t TokenKind {
        &self.tokens[self.at].kind
    }
}
