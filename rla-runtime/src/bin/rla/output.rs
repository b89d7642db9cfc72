//! Results on stdout, line by line. A reader that stops reading ends the program quietly.
use rla_runtime::Error;
use serde_json::Value;
use std::io::{ErrorKind, Write};

/// Why a subcommand ends before its end.
pub enum Failure {
    /// Nobody reads stdout any more.
    Pipe,
    /// An error, with its message and exit code.
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

/// One line of a result.
pub fn line(text: &str) -> Result<(), Failure> {
    write(&format!("{text}\n"))
}

/// One object on a line.
pub fn json(value: &Value) -> Result<(), Failure> {
    line(&value.to_string())
}

/// Text as it stands.
pub fn write(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::Pipe),
        Err(error) => Err(Failure::Error(Error::file("stdout", error))),
    }
}

/// A number as JSON; what JSON cannot hold (NaN, infinities) becomes null.
pub fn number(x: f64) -> Value {
    serde_json::Number::from_f64(x).map_or(Value::Null, Value::Number)
}
