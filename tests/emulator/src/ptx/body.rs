//! The statements of a kernel, with those of the functions that it calls.
use super::module::Module;
use super::token::Token;
use super::{Operand, Register, SPECIAL, Statement};
use crate::fault::{Fault, Result};
use std::collections::HashMap;

/// What a name stands for.
#[derive(Clone, Debug)]
enum Meaning {
    Register(Register),
    /// `%r` of `%r<1748>`: the first of many.
    Many(Register),
    /// A value that is passed to a function, or back.
    Passed(Register),
    /// An address among a kernel's parameters.
    Parameter(u64),
}

/// The names of a function, scope by scope.
#[derive(Clone, Debug)]
pub(super) struct Names {
    scopes: Vec<HashMap<String, Meaning>>,
    /// Makes labels of one function and of another different.
    prefix: usize,
}

impl Default for Names {
    fn default() -> Names {
        Names { scopes: vec![HashMap::new()], prefix: 0 }
    }
}

impl Names {
    /// A kernel's parameter at an offset.
    pub fn parameter(&mut self, name: &str, offset: u64) {
        self.add(name, Meaning::Parameter(offset));
    }

    fn add(&mut self, name: &str, meaning: Meaning) {
        self.scopes.last_mut().expect("there is always one").insert(name.into(), meaning);
    }

    fn find(&self, name: &str) -> Option<&Meaning> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name))
    }
}

/// Statements as they come.
pub(super) struct Body<'m, 't> {
    module: &'m Module<'t>,
    statements: Vec<Statement>,
    registers: Register,
    labels: HashMap<String, usize>,
    /// Statements whose operand of this number is a label still to be found.
    open: Vec<(usize, String)>,
    functions: usize,
}

/// Bits of a literal.
fn literal(word: &str) -> Option<u64> {
    if let Some(hex) = word.strip_prefix("0f").filter(|h| h.len() == 8) {
        return u64::from_str_radix(hex, 16).ok();
    }
    if let Some(hex) = word.strip_prefix("0d").filter(|h| h.len() == 16) {
        return u64::from_str_radix(hex, 16).ok();
    }
    if let Some(hex) = word.strip_prefix("0x") {
        return u64::from_str_radix(hex.trim_end_matches('U'), 16).ok();
    }
    word.parse::<i64>().map(|n| n as u64).or_else(|_| word.parse::<u64>()).ok()
}

impl<'m, 't> Body<'m, 't> {
    pub fn new(module: &'m Module<'t>) -> Body<'m, 't> {
        Body {
            module,
            statements: vec![],
            registers: SPECIAL.len() as Register,
            labels: HashMap::new(),
            open: vec![],
            functions: 0,
        }
    }

    fn register(&mut self) -> Register {
        self.registers += 1;
        self.registers - 1
    }

    fn resolve(&mut self, word: &str, line: usize, names: &Names) -> Result<Operand> {
        if word == "_" {
            return Ok(Operand::Ignored);
        }
        if let Some(special) = SPECIAL.iter().position(|s| *s == word) {
            return Ok(Operand::Register(special as Register));
        }
        match names.find(word) {
            Some(Meaning::Register(r)) => return Ok(Operand::Register(*r)),
            Some(Meaning::Passed(r)) => return Ok(Operand::Passed(*r)),
            Some(Meaning::Parameter(offset)) => return Ok(Operand::Bits(*offset)),
            _ => {}
        }
        if let Some(bits) = literal(word) {
            return Ok(Operand::Bits(bits));
        }
        let stem = word.trim_end_matches(|c: char| c.is_ascii_digit());
        if let (Some(Meaning::Many(first)), Ok(index)) = (names.find(stem), word[stem.len()..].parse::<Register>()) {
            return Ok(Operand::Register(first + index));
        }
        match self.module.shared.get(word) {
            Some(address) => Ok(Operand::Bits(*address)),
            None => Err(Fault::at(line, format!("`{word}` is not declared"))),
        }
    }

    fn operand(&mut self, list: &[Token], at: &mut usize, names: &Names) -> Result<Operand> {
        let token = *list.get(*at).ok_or_else(|| Fault::at(0, "an operand is missing"))?;
        *at += 1;
        let first = match token.text {
            "{" => {
                let mut parts = vec![];
                while list.get(*at).is_some_and(|t| t.text != "}") {
                    if list[*at].text == "," {
                        *at += 1;
                    } else {
                        parts.push(self.operand(list, at, names)?);
                    }
                }
                *at += 1;
                Operand::List(parts)
            }
            "[" => {
                let base = self.operand(list, at, names)?;
                let mut offset = 0;
                if list.get(*at).is_some_and(|t| t.text == "+") {
                    let word = list.get(*at + 1).map_or("", |t| t.text);
                    offset = literal(word).ok_or_else(|| Fault::at(token.line, "an offset that is no number"))? as i64;
                    *at += 2;
                }
                *at += 1;
                Operand::Address(Box::new(base), offset)
            }
            word => self.resolve(word, token.line, names)?,
        };
        if list.get(*at).is_some_and(|t| t.text == "|") {
            *at += 1;
            let second = self.operand(list, at, names)?;
            return Ok(Operand::Both(Box::new(first), Box::new(second)));
        }
        Ok(first)
    }

    /// `.reg .b32 %r<8>, a;` or, in a call, `.param .b64 name;`.
    fn declare(&mut self, list: &[Token], names: &mut Names) {
        for one in list[2..].split(|t| t.text == ",") {
            match one {
                [name] => {
                    let register = self.register();
                    let passed = list[0].text == ".param";
                    names.add(name.text, if passed { Meaning::Passed(register) } else { Meaning::Register(register) });
                }
                [name, _, count, _] => {
                    let first = self.registers;
                    self.registers += count.text.parse::<Register>().unwrap_or(0);
                    names.add(name.text, Meaning::Many(first));
                }
                _ => {}
            }
        }
    }

    /// Adds the statements of a function's body.
    pub fn add(&mut self, list: &[Token<'t>], mut names: Names) -> Result<()> {
        let mut at = 0;
        let exit = format!("{}:exit", names.prefix);
        while at < list.len() {
            let token = list[at];
            match token.text {
                "{" => {
                    names.scopes.push(HashMap::new());
                    at += 1;
                    continue;
                }
                "}" => {
                    names.scopes.pop();
                    at += 1;
                    continue;
                }
                ";" => {
                    at += 1;
                    continue;
                }
                word if word.ends_with(':') => {
                    self.labels.insert(format!("{}:{}", names.prefix, &word[..word.len() - 1]), self.statements.len());
                    at += 1;
                    continue;
                }
                _ => {}
            }
            let end = list[at..].iter().position(|t| t.text == ";").map_or(list.len(), |n| at + n);
            let words = &list[at..end];
            at = end + 1;
            match token.text {
                ".reg" | ".param" => self.declare(words, &mut names),
                ".pragma" => {}
                word if word.starts_with('.') => {
                    return Err(Fault::at(token.line, format!("`{word}` is not known to the emulator")));
                }
                _ => self.statement(words, &names, &exit)?,
            }
        }
        self.labels.insert(exit, self.statements.len());
        Ok(())
    }

    fn statement(&mut self, words: &[Token<'t>], names: &Names, exit: &str) -> Result<()> {
        let mut at = 0;
        let line = words[0].line;
        let mut guard = None;
        if words[0].text == "@" {
            let negated = words.get(1).is_some_and(|t| t.text == "!");
            at = if negated { 2 } else { 1 };
            match self.operand(words, &mut at, names)? {
                Operand::Register(r) => guard = Some((r, !negated)),
                _ => return Err(Fault::at(line, "a guard that is no predicate")),
            }
        }
        let operation = words.get(at).ok_or_else(|| Fault::at(line, "a guard without a statement"))?.text;
        at += 1;
        if operation.starts_with("call") {
            return self.call(&words[at..], line, names);
        }
        let place = self.statements.len();
        let mut operands = vec![];
        if operation.starts_with("bra") {
            let label = words.get(at).ok_or_else(|| Fault::at(line, "a branch to nowhere"))?.text;
            self.open.push((place, format!("{}:{label}", names.prefix)));
        } else if operation == "ret" && names.prefix > 0 {
            self.open.push((place, exit.to_string()));
        } else {
            while at < words.len() {
                operands.push(self.operand(words, &mut at, names)?);
                if words.get(at).is_some_and(|t| t.text != ",") {
                    return Err(Fault::at(line, format!("`{}` behind an operand", words[at].text)));
                }
                at += 1;
            }
        }
        let operation = if operation == "ret" && names.prefix > 0 { "bra" } else { operation };
        self.statements.push(Statement { line, guard, operation: operation.into(), operands });
        Ok(())
    }

    /// `call (results), name, (parameters)`: the function's statements, its parameters being the caller's registers.
    fn call(&mut self, words: &[Token<'t>], line: usize, names: &Names) -> Result<()> {
        let mut groups: Vec<Vec<Token>> = vec![];
        let mut name = None;
        for token in words {
            match token.text {
                "(" => groups.push(vec![]),
                ")" | "," => {}
                word if groups.is_empty() || (name.is_none() && self.module.functions.contains_key(word)) => {
                    name = Some(word);
                }
                _ => groups.last_mut().expect("one was opened").push(*token),
            }
        }
        let function = name.and_then(|n| self.module.functions.get(n));
        let function = function.ok_or_else(|| Fault::at(line, "a call of a function that the text does not have"))?;
        self.functions += 1;
        if self.functions > 1000 {
            return Err(Fault::at(line, format!("{} calls itself", function.name)));
        }
        let mut inner = Names { prefix: self.functions, ..Names::default() };
        let given: Vec<Token> = groups.into_iter().flatten().collect();
        let wanted = function.results.iter().chain(function.parameters.iter().map(|(name, _)| name));
        for (formal, actual) in wanted.zip(&given) {
            let Operand::Passed(register) = self.resolve(actual.text, line, names)? else {
                return Err(Fault::at(line, format!("`{}` is no parameter", actual.text)));
            };
            inner.add(formal, Meaning::Passed(register));
        }
        self.add(&function.body, inner)
    }

    /// The statements with their labels found, and how many registers they use.
    pub fn finish(mut self) -> Result<(Vec<Statement>, usize)> {
        for (statement, label) in std::mem::take(&mut self.open) {
            let target = self.labels.get(&label);
            let line = self.statements[statement].line;
            let target = target.ok_or_else(|| Fault::at(line, format!("no label `{label}`")))?;
            self.statements[statement].operands = vec![Operand::Target(*target)];
        }
        let line = self.statements.last().map_or(0, |s| s.line);
        self.statements.push(Statement { line, guard: None, operation: "exit".into(), operands: vec![] });
        Ok((self.statements, self.registers as usize))
    }
}
