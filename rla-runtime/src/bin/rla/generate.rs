//! `rla generate`: text from a trained model.
use crate::options::{BackendOption, DeviceOption, ModeOption};
use crate::output::{self, Failure};
use crate::train::printable;
use clap::Args;
use rla_runtime::checkpoint;
use rla_runtime::sample::{Generator, Sampling};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Generate text with a trained model, byte by byte with the decode kernels.
///
/// The text goes to stdout as it is made (without the prompt), figures to stderr. The same seed gives the same text.
#[derive(Args)]
pub struct Arguments {
    /// A run's folder or one of its checkpoints, as written by `rla train`
    checkpoint: PathBuf,
    /// Text to go on from [default: the start of a file]
    #[arg(long, default_value = "")]
    prompt: String,
    /// Bytes to generate
    #[arg(long, default_value_t = 400)]
    tokens: usize,
    /// Divides the logits; 0 takes the likeliest byte
    #[arg(long, default_value_t = Sampling::default().temperature)]
    temperature: f64,
    /// Only the so many likeliest bytes; 0: all
    #[arg(long, default_value_t = Sampling::default().top_k)]
    top_k: usize,
    /// Only the likeliest bytes whose probabilities reach this sum
    #[arg(long, default_value_t = Sampling::default().top_p)]
    top_p: f64,
    /// Seed of the draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Texts to generate together
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// Where the model lives
    #[arg(long, value_enum, default_value_t = DeviceOption::Cpu, conflicts_with = "backend")]
    device: DeviceOption,
    /// What runs the recurrences of a model on the CPU
    #[arg(long, value_enum, default_value_t = BackendOption::Cpu)]
    backend: BackendOption,
    /// What the configuration of the recurrence's calls may depend on [default: invariant, or what RLA_MODE says]
    #[arg(long, value_enum)]
    mode: Option<ModeOption>,
    /// Threads [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// One JSON object a text on stdout instead of the text itself
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    crate::options::threads(arguments.threads)?;
    crate::options::mode(arguments.mode)?;
    let place = arguments.device.place(arguments.backend)?;
    let lm = checkpoint::load_model(&arguments.checkpoint, place)?.frozen()?;
    let sampling = Sampling {
        temperature: arguments.temperature,
        top_k: arguments.top_k,
        top_p: arguments.top_p,
        seed: arguments.seed,
    };
    let prompt = arguments.prompt.as_bytes();
    let start = Instant::now();
    let mut generator = Generator::new(&lm, prompt, arguments.count, &sampling)?;
    let prefill = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let mut texts = vec![Vec::new(); arguments.count];
    let mut printed = 0;
    for _ in 0..arguments.tokens {
        for (text, byte) in texts.iter_mut().zip(generator.next_bytes()?) {
            text.push(byte);
        }
        if arguments.count == 1 && !arguments.json {
            printed += stream(&texts[0][printed..], false)?;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    match (arguments.json, arguments.count) {
        (true, _) => {
            for text in &texts {
                output::json(&json!({"prompt": arguments.prompt, "text": String::from_utf8_lossy(text)}))?;
            }
        }
        (false, 1) => {
            stream(&texts[0][printed..], true)?;
            output::line("")?;
        }
        (false, _) => {
            for (i, text) in texts.iter().enumerate() {
                output::line(&format!("--- {}\n{}", i + 1, printable(text)))?;
            }
        }
    }
    let bytes = arguments.tokens * arguments.count;
    eprintln!(
        "prefill {} bytes in {:.1} ms; {bytes} bytes at {:.0} bytes/s, {:.2} ms a step; {}",
        prompt.len().max(1),
        1e3 * prefill,
        bytes as f64 / seconds.max(1e-9),
        1e3 * seconds / arguments.tokens.max(1) as f64,
        lm.kernels()
    );
    Ok(ExitCode::SUCCESS)
}

/// Writes what is text so far, keeping back a character that may still be incomplete; the number of bytes written.
fn stream(bytes: &[u8], last: bool) -> Result<usize, Failure> {
    let ready = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() && !last => error.valid_up_to(),
        _ => bytes.len(),
    };
    output::write(&printable(&bytes[..ready]))?;
    Ok(ready)
}
