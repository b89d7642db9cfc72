//! A module's functions, kernels and variables.
use super::Entry;
use super::body::{Body, Names};
use super::token::{Token, tokens};
use crate::fault::{Fault, Result};
use std::collections::HashMap;

/// First byte of a block's shared memory that a kernel may use: the system has those before it.
pub const SHARED: usize = 1024;

/// A function's parameters and where its statements are.
#[derive(Clone, Debug, Default)]
pub(super) struct Function<'t> {
    pub name: &'t str,
    pub results: Vec<&'t str>,
    /// Names and bytes.
    pub parameters: Vec<(&'t str, usize)>,
    pub body: Vec<Token<'t>>,
    threads: Option<usize>,
    cluster: usize,
}

/// What a module's statements may name.
#[derive(Default)]
pub(super) struct Module<'t> {
    pub functions: HashMap<&'t str, Function<'t>>,
    /// Addresses in shared memory.
    pub shared: HashMap<&'t str, u64>,
}

/// Bytes of a type such as `.b32`.
fn bytes(word: &str) -> Option<usize> {
    let bits: usize = word.strip_prefix('.')?.trim_start_matches(|c: char| c.is_ascii_lowercase()).parse().ok()?;
    Some(bits / 8)
}

/// `.param .align 8 .b8 NAME[920]`, separated by commas: names and bytes.
fn parameters<'t>(list: &[Token<'t>]) -> Result<Vec<(&'t str, usize)>> {
    let mut out = vec![];
    for one in list.split(|t| t.text == ",") {
        let mut words: Vec<&Token> = one.iter().collect();
        if words.is_empty() {
            continue;
        }
        let line = words[0].line;
        if let Some(at) = words.iter().position(|t| t.text == ".align") {
            words.drain(at..at + 2);
        }
        let wrong = || Fault::at(line, "a parameter that is not understood");
        let size = words.get(1).and_then(|t| bytes(t.text)).ok_or_else(wrong)?;
        let name = words.get(2).ok_or_else(wrong)?.text;
        let count = match words.get(3) {
            Some(open) if open.text == "[" => words.get(4).and_then(|t| t.text.parse().ok()).ok_or_else(wrong)?,
            _ => 1,
        };
        out.push((name, size * count));
    }
    Ok(out)
}

/// Where the sign at `open` is closed.
fn closing(list: &[Token], open: usize) -> Result<usize> {
    let close = if list[open].text == "(" { ")" } else { "}" };
    let mut depth = 0;
    for (at, token) in list.iter().enumerate().skip(open) {
        if token.text == list[open].text {
            depth += 1;
        } else if token.text == close {
            depth -= 1;
            if depth == 0 {
                return Ok(at);
            }
        }
    }
    Err(Fault::at(list[open].line, format!("`{}` is never closed", list[open].text)))
}

/// The function whose `.func` or `.entry` is at `at`, and what is behind it.
fn function<'t>(list: &[Token<'t>], mut at: usize) -> Result<(Function<'t>, usize)> {
    let mut function = Function { cluster: 1, ..Function::default() };
    let get = |at: usize| list.get(at).ok_or_else(|| Fault::at(0, "the text ends within a function"));
    at += 1;
    if get(at)?.text == "(" {
        let end = closing(list, at)?;
        function.results = parameters(&list[at + 1..end])?.into_iter().map(|(name, _)| name).collect();
        at = end + 1;
    }
    function.name = get(at)?.text;
    at += 1;
    if get(at)?.text == "(" {
        let end = closing(list, at)?;
        function.parameters = parameters(&list[at + 1..end])?;
        at = end + 1;
    }
    loop {
        let token = get(at)?;
        let number = || list.get(at + 1).and_then(|t| t.text.parse::<usize>().ok());
        match token.text {
            ".maxntid" | ".reqntid" => function.threads = number(),
            ".reqnctapercluster" => function.cluster = number().unwrap_or(1),
            ";" => return Ok((function, at + 1)),
            "{" => {
                let end = closing(list, at)?;
                function.body = list[at + 1..end].to_vec();
                return Ok((function, end + 1));
            }
            _ => {}
        }
        at += 1;
    }
}

/// The kernels of a text.
///
/// # Errors
/// What is not understood.
pub fn parse(text: &str) -> Result<Vec<Entry>> {
    let list = tokens(text);
    let mut module = Module::default();
    let mut kernels = vec![];
    let (mut at, mut end, mut dynamic) = (0, SHARED, vec![]);
    while at < list.len() {
        match list[at].text {
            ".func" | ".entry" => {
                let (found, next) = function(&list, at)?;
                if list[at].text == ".entry" {
                    kernels.push(found);
                } else if !found.body.is_empty() {
                    module.functions.insert(found.name, found);
                }
                at = next;
            }
            ".shared" => {
                let stop = list[at..].iter().position(|t| t.text == ";").map_or(list.len(), |n| at + n);
                let words: Vec<&str> = list[at..stop].iter().map(|t| t.text).collect();
                let align = words.iter().position(|w| *w == ".align").and_then(|i| words.get(i + 1)?.parse().ok());
                let typed = words.iter().rposition(|w| bytes(w).is_some()).unwrap_or(0);
                let name = words.get(typed + 1).copied().unwrap_or("");
                match words.get(typed + 3).and_then(|w| w.parse::<usize>().ok()) {
                    Some(count) => {
                        let place = end.next_multiple_of(align.unwrap_or(8));
                        module.shared.insert(name, place as u64);
                        end = place + count * bytes(words[typed]).unwrap_or(1);
                    }
                    None => dynamic.push((name, align.unwrap_or(16))),
                }
                at = stop + 1;
            }
            _ => at += 1,
        }
    }
    for (name, align) in dynamic {
        end = end.next_multiple_of(align);
        module.shared.insert(name, end as u64);
    }
    kernels.iter().map(|kernel| entry(&module, kernel, end)).collect()
}

fn entry(module: &Module, kernel: &Function, shared: usize) -> Result<Entry> {
    let mut body = Body::new(module);
    let mut names = Names::default();
    let (mut size, mut parameters) = (0usize, vec![]);
    for (name, bytes) in &kernel.parameters {
        size = size.next_multiple_of((*bytes).min(8));
        names.parameter(name, size as u64);
        parameters.push((size, *bytes));
        size += bytes;
    }
    body.add(&kernel.body, names)?;
    let (statements, registers) = body.finish()?;
    Ok(Entry {
        name: kernel.name.into(),
        parameters,
        threads: kernel.threads,
        cluster: kernel.cluster,
        statements,
        registers,
        shared: shared - SHARED,
    })
}
