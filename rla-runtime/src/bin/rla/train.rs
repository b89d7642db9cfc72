//! `rla train`: a language model on text, with progress, a log, checkpoints and a loss curve.
use crate::options::{BackendOption, DeviceOption, ModeOption};
use crate::output::{self, Failure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rla_runtime::model::{Config, Place};
use rla_runtime::sample::{Generator, Sampling};
use rla_runtime::train::agreement::{GRADIENTS, LOGITS, agreement};
use rla_runtime::train::corpus::Corpus;
use rla_runtime::train::log::Entry;
use rla_runtime::train::settings::Settings;
use rla_runtime::train::{self, Evaluation, Summary, Trainer};
use rla_runtime::{Error, checkpoint};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Train a language model of linear-attention layers on text.
///
/// With no option: an RDN model on the text files (.rs, .md, .rla ...) of the current folder, in a few minutes on two
/// cores; then the loss curve's path and a sample. Tokens are bytes. One file in ten is held out; beside the loss on it
/// stand the entropies of two count models of the same text (nats a byte, lower is better).
///
/// The folder of a run holds its checkpoints (step-*/, the newest two), log.jsonl (a line a step) and loss.svg. A run
/// that was interrupted goes on with --resume, bit for bit as if it had not been.
#[derive(Args)]
pub struct Arguments {
    /// Text files, or folders of them [default: the current folder]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    data: Vec<PathBuf>,
    /// Folder of the run [default: a new one, runs/VARIANT or runs/VARIANT-2 ...]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the run in this folder; --steps may extend it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "model", "recipe"])]
    resume: Option<PathBuf>,
    /// Do not train: evaluate runs or checkpoints on the held-out text, as they are and with the residual memory R
    /// forced to zero; with --device cuda also hold logits, gradients and decode to the CPU's
    #[arg(long, value_name = "DIR", num_args = 1.., conflicts_with_all = ["out", "resume", "model", "recipe", "steps"])]
    evaluate: Vec<PathBuf>,
    /// Steps in all [default: 400]
    #[arg(long)]
    steps: Option<usize>,
    /// Bytes to generate at the end; 0: none
    #[arg(long, value_name = "N", default_value_t = 400)]
    sample: usize,
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
    /// The result as one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    recipe: RecipeArguments,
}

#[derive(Args)]
#[group(id = "model", multiple = true)]
#[command(next_help_heading = "Model")]
struct ModelArguments {
    /// Mixer of the layers: rla, rdn, gated_delta_net or simple_gla; or one a layer, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "rdn")]
    variant: Vec<String>,
    /// Width of the residual stream [default: 192]
    #[arg(long)]
    width: Option<usize>,
    /// Layers [default: 3, or one for each --variant]
    #[arg(long)]
    layers: Option<usize>,
    /// Heads [default: width / head size]
    #[arg(long)]
    heads: Option<usize>,
    /// Size of a key head and of a value head
    #[arg(long, default_value_t = 64)]
    head_size: usize,
    /// Inner width of the SwiGLU part [default: 8/3 width]
    #[arg(long)]
    ff_size: Option<usize>,
    /// A head of its own instead of the embedding's transpose
    #[arg(long)]
    untied: bool,
}

#[derive(Args)]
#[group(id = "recipe", multiple = true)]
#[command(next_help_heading = "Training")]
struct RecipeArguments {
    /// Windows of a step
    #[arg(long, default_value_t = Settings::default().batch)]
    batch: usize,
    /// Bytes of a window
    #[arg(long, default_value_t = Settings::default().tokens)]
    tokens: usize,
    /// Peak learning rate of AdamW; a cosine takes it to a tenth
    #[arg(long, default_value_t = Settings::default().rate)]
    rate: f64,
    /// Steps of linear warm-up
    #[arg(long, default_value_t = Settings::default().warmup)]
    warmup: usize,
    /// Weight decay of the matrices
    #[arg(long, default_value_t = Settings::default().optimizer.weight_decay)]
    weight_decay: f64,
    /// Largest norm of the gradient
    #[arg(long, default_value_t = Settings::default().optimizer.clip_norm)]
    clip_norm: f64,
    /// Seed of the weights and of the windows
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Steps from one checkpoint to the next
    #[arg(long, value_name = "N", default_value_t = Settings::default().checkpoint_every)]
    checkpoint_every: usize,
    /// Steps from one held-out evaluation to the next
    #[arg(long, value_name = "N", default_value_t = Settings::default().evaluate_every)]
    evaluate_every: usize,
}

impl ModelArguments {
    fn config(&self) -> Result<Config, Error> {
        let layers = self.layers.unwrap_or(if self.variant.len() > 1 { self.variant.len() } else { 3 });
        let width = self.width.unwrap_or(192);
        let heads = self.heads.unwrap_or_else(|| (width / self.head_size.max(1)).max(1));
        if self.variant.len() > 1 && self.variant.len() != layers {
            let found = format!("{} for {layers} layers", self.variant.len());
            return Err(Error::argument("--variant", "one variant, or one a layer", found));
        }
        let mut config = Config::uniform("", width, layers, heads, self.head_size);
        config.mixers = self.variant.iter().cycle().take(layers).cloned().collect();
        config.ff_size = self.ff_size.unwrap_or(config.ff_size);
        config.tied_head = !self.untied;
        config.check()?;
        Ok(config)
    }
}

impl RecipeArguments {
    fn settings(&self, steps: Option<usize>) -> Settings {
        let mut settings = Settings {
            batch: self.batch,
            tokens: self.tokens,
            rate: self.rate,
            warmup: self.warmup,
            seed: self.seed,
            checkpoint_every: self.checkpoint_every,
            evaluate_every: self.evaluate_every,
            ..Settings::default()
        };
        settings.steps = steps.unwrap_or(settings.steps);
        settings.optimizer.weight_decay = self.weight_decay;
        settings.optimizer.clip_norm = self.clip_norm;
        settings
    }
}

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    crate::options::threads(arguments.threads)?;
    crate::options::mode(arguments.mode)?;
    let place = arguments.device.place(arguments.backend)?;
    let here = [PathBuf::from(".")];
    let corpus = Corpus::read(if arguments.data.is_empty() { &here } else { &arguments.data })?;
    if !arguments.evaluate.is_empty() {
        return evaluate(&arguments, &place, &corpus);
    }
    let mut trainer = match &arguments.resume {
        Some(folder) => Trainer::resume(folder, place.clone(), arguments.steps, corpus)?,
        None => {
            let config = arguments.model.config()?;
            let folder = arguments.out.clone().unwrap_or_else(|| free_folder(&config.mixers[0]));
            Trainer::start(&config, place.clone(), &arguments.recipe.settings(arguments.steps), corpus, &folder)?
        }
    };
    announce(&trainer);
    let progress = Progress::new(&trainer);
    let summary = trainer.run(|entry| progress.show(entry))?;
    progress.finish();
    report(&arguments, &summary)?;
    if arguments.sample > 0 {
        sample(&arguments, &place, &summary.checkpoint)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `runs/VARIANT`, or the first free `runs/VARIANT-n`.
fn free_folder(variant: &str) -> PathBuf {
    let named = |n: usize| Path::new("runs").join(if n == 1 { variant.to_string() } else { format!("{variant}-{n}") });
    (1..).map(named).find(|path| !path.exists()).unwrap_or_else(|| named(1))
}

/// What is about to happen, on stderr.
fn announce(trainer: &Trainer) {
    let (config, corpus, progress) = (trainer.model().config(), trainer.corpus(), trainer.progress());
    let mut mixers = config.mixers.clone();
    mixers.dedup();
    eprintln!(
        "model   {} layers of {}, width {}, {} heads of {}: {:.2} M parameters",
        config.mixers.len(),
        mixers.join(", "),
        config.width,
        config.value_heads,
        config.value_size,
        config.parameters() as f64 / 1e6,
    );
    eprintln!("kernels {}", trainer.model().kernels());
    let held_out = match corpus.held_out_files {
        0 => "the last tenth".to_string(),
        n => format!("{n} files"),
    };
    eprintln!(
        "text    {:.2} MB in {} files; held out: {held_out}, {:.2} MB",
        corpus.train.len() as f64 / 1e6,
        corpus.train_files,
        corpus.held_out.len() as f64 / 1e6,
    );
    let settings = &progress.settings;
    eprintln!("steps   {} to {} of {} x {} bytes", progress.step + 1, settings.steps, settings.batch, settings.tokens);
    if trainer.text_changed() {
        eprintln!("note    the text has changed since this run started: it goes on, but not as it would have");
    }
}

/// The bar on a terminal, and now and then a line, on stderr.
struct Progress {
    bar: ProgressBar,
    every: usize,
    last: usize,
}

impl Progress {
    fn new(trainer: &Trainer) -> Progress {
        let progress = trainer.progress();
        let bar = ProgressBar::new(progress.settings.steps as u64);
        let template = "{bar:30} {pos}/{len}  {msg}  {eta} left";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_position(progress.step as u64);
        Progress { bar, every: progress.settings.steps.div_ceil(20), last: progress.settings.steps }
    }

    fn show(&self, entry: &Entry) {
        let rate = entry.bytes_per_second;
        self.bar.set_position(entry.step as u64);
        self.bar.set_message(format!("loss {:.3}  {rate:.0} bytes/s", entry.loss));
        let due = entry.step == 1 || entry.step.is_multiple_of(self.every) || entry.step == self.last;
        if due || entry.held_out.is_some() {
            let held_out = entry.held_out.map(|loss| format!("  held out {loss:.3}")).unwrap_or_default();
            let line = format!("step {:>5}  loss {:.3}{held_out}  {rate:.0} bytes/s", entry.step, entry.loss);
            self.bar.suspend(|| eprintln!("{line}"));
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// The result on stdout.
fn report(arguments: &Arguments, summary: &Summary) -> Result<(), Failure> {
    if arguments.json {
        return output::json(&json!(summary));
    }
    let s = summary;
    let below = if s.held_out_loss < s.bigram_entropy { "below" } else { "NOT below" };
    output::line(&format!(
        "trained     {} steps in {:.0} s: {:.0} bytes/s, {:.0} % of the time in the recurrences' kernels",
        s.steps,
        s.seconds,
        s.bytes_per_second,
        100.0 * s.kernel_share
    ))?;
    output::line(&format!("training    {:.3} nats/byte", s.training_loss))?;
    output::line(&format!(
        "held out    {:.3} nats/byte, {below} the bigram counts' {:.3} (byte counts: {:.3})",
        s.held_out_loss, s.bigram_entropy, s.unigram_entropy
    ))?;
    output::line(&format!("curve       {}", s.curve.display()))?;
    output::line(&format!("log         {}", s.log.display()))?;
    output::line(&format!("checkpoint  {}", s.checkpoint.display()))
}

/// A sample of the trained model, on stdout, or on stderr where stdout is JSON.
fn sample(arguments: &Arguments, place: &Place, folder: &Path) -> Result<(), Failure> {
    let lm = checkpoint::load_model(folder, place.clone())?.frozen()?;
    let mut generator = Generator::new(&lm, b"", 1, &Sampling::default())?;
    let mut bytes = Vec::new();
    for _ in 0..arguments.sample {
        bytes.extend(generator.next_bytes()?);
    }
    let text = format!("sample      (rla generate {} for more)\n{}", folder.display(), printable(&bytes));
    if arguments.json {
        eprintln!("{text}");
        return Ok(());
    }
    output::line(&text)
}

/// Text for a terminal: bytes that are no text, and control characters, become a replacement character.
pub fn printable(bytes: &[u8]) -> String {
    let visible = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    String::from_utf8_lossy(bytes).chars().map(visible).collect()
}

/// `--evaluate`: each run's held-out loss, with R and without; for several runs, the spread between them.
fn evaluate(arguments: &Arguments, place: &Place, corpus: &Corpus) -> Result<ExitCode, Failure> {
    let mut results: Vec<Evaluation> = Vec::new();
    let mut agrees = true;
    for folder in &arguments.evaluate {
        let result = train::evaluate(folder, place.clone(), corpus)?;
        if result.text_changed {
            eprintln!("note: {} was trained on another text; what is held out now it may have seen", folder.display());
        }
        if arguments.json {
            output::json(&json!({"run": folder, "result": result}))?;
        } else {
            output::line(&format!(
                "{}: held out {:.4}, with R forced to zero {:.4} (bigram counts {:.4}, byte counts {:.4})",
                folder.display(),
                result.held_out_loss,
                result.without_residual,
                result.bigram_entropy,
                result.unigram_entropy
            ))?;
        }
        results.push(result);
        if arguments.device == DeviceOption::Cuda {
            let found = agreement(folder, place, corpus)?;
            let words = if found.holds() { "the same as on the CPU" } else { "NOT the same as on the CPU" };
            let line = format!(
                "{words}: logits within {:.1e}, decode {:.1e} (bound {LOGITS:.0e}), gradients {:.1e} (bound {GRADIENTS:.0e}; {})",
                found.logits, found.decode, found.gradient, found.parameter
            );
            match arguments.json {
                true => output::json(&json!({"run": folder, "cuda_against_cpu": found}))?,
                false => output::line(&line)?,
            }
            agrees &= found.holds();
        }
    }
    let losses = |f: fn(&Evaluation) -> f64| results.iter().map(f).fold((f64::INFINITY, f64::NEG_INFINITY), min_max);
    let (low, high) = losses(|r| r.held_out_loss);
    let (least, _) = losses(|r| r.without_residual - r.held_out_loss);
    if results.len() > 1 && !arguments.json {
        let spread = high - low;
        let verdict = if least > spread { "worse by more than" } else { "NOT worse by more than" };
        output::line(&format!(
            "R forced to zero costs at least {least:.4}; the runs' spread is {spread:.4}: {verdict} the spread"
        ))?;
    }
    Ok(ExitCode::from(u8::from(!agrees)))
}

fn min_max((low, high): (f64, f64), x: f64) -> (f64, f64) {
    (low.min(x), high.max(x))
}
