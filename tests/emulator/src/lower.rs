//! Statements to steps.
mod float;
mod integer;
mod scalar;

pub use integer::SHARED_WINDOW;

use crate::fault::{Fault, Result};
use crate::flow::meetings;
use crate::program::{Address, Factor, From, Operation, Program, Shuffle, Space, Step};
use crate::ptx::{Entry, Operand, Register, Statement};

/// The program of a kernel.
///
/// # Errors
/// A statement that the emulator does not know.
pub fn lower(entry: &Entry) -> Result<Program> {
    let mut steps = Vec::with_capacity(entry.statements.len());
    for statement in &entry.statements {
        let operation = operation(statement)?;
        steps.push(Step { line: statement.line, guard: statement.guard, operation });
    }
    Ok(Program {
        name: entry.name.clone(),
        meetings: meetings(&steps),
        steps,
        registers: entry.registers,
        parameters: entry.parameters.clone(),
        shared: entry.shared,
        threads: entry.threads,
        cluster: entry.cluster,
    })
}

/// A statement's operands, by their kind.
struct Operands<'s>(&'s Statement);

impl Operands<'_> {
    fn wrong(&self, at: usize, wanted: &str) -> Fault {
        Fault::at(self.0.line, format!("operand {at} of `{}` is not {wanted}", self.0.operation))
    }

    fn get(&self, at: usize) -> Result<&Operand> {
        self.0.operands.get(at).ok_or_else(|| self.wrong(at, "there"))
    }

    fn number(&self, operand: &Operand, at: usize) -> Result<From> {
        match operand {
            Operand::Register(r) | Operand::Passed(r) => Ok(From::Register(*r)),
            Operand::Bits(bits) => Ok(From::Bits(*bits)),
            _ => Err(self.wrong(at, "a number")),
        }
    }

    fn from(&self, at: usize) -> Result<From> {
        self.number(self.get(at)?, at)
    }

    fn register(&self, at: usize) -> Result<Register> {
        match self.get(at)? {
            Operand::Register(r) => Ok(*r),
            _ => Err(self.wrong(at, "a register")),
        }
    }

    fn bits(&self, at: usize) -> Result<u64> {
        match self.get(at)? {
            Operand::Bits(bits) => Ok(*bits),
            _ => Err(self.wrong(at, "a literal")),
        }
    }

    fn address(&self, at: usize) -> Result<Address> {
        match self.get(at)? {
            Operand::Address(base, offset) => Ok(Address { base: self.number(base, at)?, offset: *offset }),
            _ => Err(self.wrong(at, "an address")),
        }
    }

    /// One number, or those of a list.
    fn all(&self, at: usize) -> Result<Vec<From>> {
        match self.get(at)? {
            Operand::List(parts) => parts.iter().map(|p| self.number(p, at)).collect(),
            one => Ok(vec![self.number(one, at)?]),
        }
    }

    /// One register, or those of a list.
    fn registers(&self, at: usize) -> Result<Vec<Register>> {
        let one = |from: &From| match from {
            From::Register(r) => Ok(*r),
            From::Bits(_) => Err(self.wrong(at, "registers")),
        };
        self.all(at)?.iter().map(one).collect()
    }

    fn four(&self, at: usize) -> Result<[From; 4]> {
        self.all(at)?.try_into().map_err(|_| self.wrong(at, "four registers"))
    }

    fn four_registers(&self, at: usize) -> Result<[Register; 4]> {
        self.registers(at)?.try_into().map_err(|_| self.wrong(at, "four registers"))
    }
}

fn operation(statement: &Statement) -> Result<Operation> {
    let o = Operands(statement);
    let name = statement.operation.as_str();
    let words: Vec<&str> = name.split('.').collect();
    let has = |word: &str| words.contains(&word);
    let unknown = || Fault::at(statement.line, format!("`{name}` is not known to the emulator"));
    Ok(match words[0] {
        "bra" => match o.get(0)? {
            Operand::Target(target) => Operation::Branch(*target),
            _ => return Err(o.wrong(0, "a label")),
        },
        "exit" | "ret" => Operation::Exit,
        "ld" | "ldu" => load(&o, &words)?,
        "st" => store(&o, &words)?,
        "mov" if matches!(o.get(1)?, Operand::List(_)) => {
            Operation::Pack { to: o.register(0)?, of: o.all(1)?, bits: part(&o, &words, 1)? }
        }
        "mov" if matches!(o.get(0)?, Operand::List(_)) => {
            let Operand::List(parts) = o.get(0)? else { return Err(unknown()) };
            let to = parts.iter().map(|p| if let Operand::Register(r) = p { Some(*r) } else { None }).collect();
            Operation::Unpack { to, of: o.from(1)?, bits: part(&o, &words, 0)? }
        }
        "shfl" => {
            let kind = match words[2] {
                "bfly" => Shuffle::Butterfly,
                "up" => Shuffle::Up,
                "down" => Shuffle::Down,
                "idx" => Shuffle::Index,
                _ => return Err(unknown()),
            };
            let (to, found) = match o.get(0)? {
                Operand::Both(to, found) => (to.as_ref(), Some(found.as_ref())),
                one => (one, None),
            };
            let register = |operand: &Operand| match operand {
                Operand::Register(r) => Ok(*r),
                _ => Err(o.wrong(0, "a register")),
            };
            let found = found.map(register).transpose()?;
            Operation::Shuffle { kind, to: register(to)?, found, of: o.from(1)?, by: o.from(2)?, clamp: o.from(3)? }
        }
        "vote" if has("ballot") => Operation::Ballot { to: o.register(0)?, of: o.from(1)?, lanes: o.from(2)? },
        "elect" => match o.get(0)? {
            Operand::Both(_, predicate) => match predicate.as_ref() {
                Operand::Register(r) => Operation::Elect(*r),
                _ => return Err(o.wrong(0, "a predicate")),
            },
            _ => return Err(o.wrong(0, "a predicate")),
        },
        "bar" if has("warp") => Operation::Gather(o.from(0)?),
        "bar" | "barrier" if has("cluster") => match words[2] {
            "arrive" => Operation::ArriveCluster,
            "wait" => Operation::AwaitCluster,
            _ => return Err(unknown()),
        },
        "bar" | "barrier" if has("sync") => {
            let threads = if statement.operands.len() > 1 { Some(o.from(1)?) } else { None };
            Operation::Barrier { number: o.from(0)?, threads }
        }
        "mbarrier" => match words[1] {
            "init" => Operation::InitBarrier { at: o.address(0)?, count: o.from(1)? },
            "arrive" if has("expect_tx") => Operation::Arrive { at: o.address(1)?, bytes: o.from(2)? },
            "arrive" => Operation::Arrive { at: o.address(1)?, bytes: From::Bits(0) },
            "try_wait" | "test_wait" if has("parity") => {
                Operation::Test { to: o.register(0)?, at: o.address(1)?, parity: o.from(2)? }
            }
            _ => return Err(unknown()),
        },
        "mapa" => Operation::Map { to: o.register(0)?, at: o.from(1)?, block: o.from(2)? },
        "cp" if has("bulk") && has("mbarrier::complete_tx::bytes") && has("global") => {
            let blocks = if has("multicast::cluster") { Some(o.from(4)?) } else { None };
            Operation::Bulk { to: o.address(0)?, of: o.address(1)?, bytes: o.from(2)?, barrier: o.address(3)?, blocks }
        }
        "cp" if has("commit_group") => Operation::CommitCopies,
        "cp" if has("wait_group") && !has("bulk") => Operation::AwaitCopies(Some(o.bits(0)? as usize)),
        "cp" if has("wait_all") => Operation::AwaitCopies(None),
        "cp" if has("async") && has("shared") && has("global") && statement.operands.len() == 3 => {
            Operation::Copy { to: o.address(0)?, of: o.address(1)?, bytes: o.bits(2)? as usize }
        }
        "mma" => {
            let factor = factor(&words).ok_or_else(unknown)?;
            let columns = if factor == Factor::Tf32 { "m16n8k8" } else { "m16n8k16" };
            if !has(columns) || !has("row") || !has("col") || words.last() != Some(&"f32") {
                return Err(unknown());
            }
            Operation::Product { factor, to: o.four_registers(0)?, a: o.four(1)?, b: o.all(2)?, c: o.four(3)? }
        }
        "wgmma" => match words[1] {
            "fence" => Operation::Nothing,
            "commit_group" => Operation::CommitWide,
            "wait_group" => Operation::AwaitWide(o.bits(0)? as usize),
            "mma_async" => {
                // accumulators, left, right, whether they add, signs of left and right, whether the right one is turned
                let factor = factor(&words).filter(|f| *f != Factor::Tf32).ok_or_else(unknown)?;
                if o.bits(5)? != 1 {
                    return Err(unknown());
                }
                let minus = o.bits(4)? as i64 == -1;
                let turned = o.bits(6)? == 1;
                Operation::Wide { factor, to: o.registers(0)?, a: o.four_registers(1)?, b: o.from(2)?, minus, turned }
            }
            _ => return Err(unknown()),
        },
        "ldmatrix" if has("m8n8") && has("b16") => {
            Operation::LoadMatrices { to: o.registers(0)?, at: o.address(1)?, turned: has("trans") }
        }
        "stmatrix" if has("m8n8") && has("b16") => {
            Operation::StoreMatrices { of: o.all(1)?, at: o.address(0)?, turned: has("trans") }
        }
        "movmatrix" => Operation::TurnMatrix { to: o.register(0)?, of: o.from(1)? },
        "griddepcontrol" if has("wait") => Operation::AwaitLaunch,
        "griddepcontrol" if has("launch_dependents") => Operation::Release,
        "fence" if has("proxy") && has("async") => Operation::Fence,
        "fence" | "membar" | "setmaxnreg" | "nanosleep" | "prefetch" | "discard" => Operation::Nothing,
        _ => {
            let f = scalar::of(name).ok_or_else(unknown)?;
            let mut of = [From::Bits(0); 3];
            for (i, slot) in of.iter_mut().enumerate().take(statement.operands.len() - 1) {
                *slot = o.from(i + 1)?;
            }
            if statement.operands.len() > 4 {
                return if words[0] == "bfi" { insert(&o) } else { Err(unknown()) };
            }
            Operation::Scalar { f, to: o.register(0)?, of }
        }
    })
}

/// `bfi`: its place and length are literals in every text, so they are one number.
fn insert(o: &Operands) -> Result<Operation> {
    let place = o.bits(3)? << 8 | o.bits(4)?;
    Ok(Operation::Scalar { f: integer::insert, to: o.register(0)?, of: [o.from(1)?, o.from(2)?, From::Bits(place)] })
}

/// Bits of each of the parts of a `mov` to or from a list.
fn part(o: &Operands, words: &[&str], list: usize) -> Result<u32> {
    let whole: u32 = words[1][1..].parse().map_err(|_| o.wrong(0, "of a known width"))?;
    match o.get(list)? {
        Operand::List(parts) if !parts.is_empty() => Ok(whole / parts.len() as u32),
        _ => Err(o.wrong(list, "a list")),
    }
}

fn factor(words: &[&str]) -> Option<Factor> {
    let is = |word: &str| words.contains(&word);
    match (is("bf16"), is("f16"), is("tf32")) {
        (true, false, false) => Some(Factor::Bf16),
        (false, true, false) => Some(Factor::F16),
        (false, false, true) => Some(Factor::Tf32),
        _ => None,
    }
}

fn space(words: &[&str]) -> Space {
    for word in words {
        match *word {
            "global" => return Space::Global,
            "shared" | "shared::cta" | "shared::cluster" => return Space::Shared,
            "param" => return Space::Parameters,
            _ => {}
        }
    }
    Space::Generic
}

/// Bytes of a type's numbers, and whether it is signed.
fn width(o: &Operands, words: &[&str]) -> Result<(usize, bool)> {
    let word = words.last().copied().unwrap_or("");
    let bits: usize =
        word.trim_start_matches(|c: char| c.is_ascii_lowercase()).parse().map_err(|_| o.wrong(0, "typed"))?;
    Ok((bits / 8, word.starts_with('s')))
}

fn load(o: &Operands, words: &[&str]) -> Result<Operation> {
    let (bytes, signed) = width(o, words)?;
    if let Operand::Address(base, _) = o.get(1)?
        && let Operand::Passed(register) = base.as_ref()
    {
        let f = scalar::read(bytes, signed).ok_or_else(|| o.wrong(1, "of a known width"))?;
        return Ok(Operation::Scalar {
            f,
            to: o.register(0)?,
            of: [From::Register(*register), From::Bits(0), From::Bits(0)],
        });
    }
    let awaits = words.contains(&"acquire") || words.contains(&"volatile");
    Ok(Operation::Load { space: space(words), bytes, signed, to: o.registers(0)?, at: o.address(1)?, awaits })
}

fn store(o: &Operands, words: &[&str]) -> Result<Operation> {
    let (bytes, _) = width(o, words)?;
    if let Operand::Address(base, _) = o.get(0)?
        && let Operand::Passed(register) = base.as_ref()
    {
        let f = scalar::read(bytes, false).ok_or_else(|| o.wrong(1, "of a known width"))?;
        return Ok(Operation::Scalar { f, to: *register, of: [o.from(1)?, From::Bits(0), From::Bits(0)] });
    }
    let tells = words.contains(&"release");
    Ok(Operation::Store { space: space(words), bytes, of: o.all(1)?, at: o.address(0)?, tells })
}
