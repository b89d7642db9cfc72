//! Training: text in, checkpoints, a log and a loss curve out.
//!
//! A step is a function of the checkpoint before it, the settings and the text: windows are drawn from the seed and the
//! step's number, and sums do not depend on the number of threads. So a resumed run repeats an uninterrupted one bit for
//! bit on one machine.

pub mod agreement;
pub mod corpus;
pub mod curve;
pub mod log;
pub mod optimizer;
pub mod settings;

use crate::checkpoint;
use crate::error::{Error, Result};
use crate::model::weights::Weights;
use crate::model::{Config, Lm, Place};
use corpus::{Corpus, Counts};
use log::{Entry, Log};
use optimizer::{AdamW, learning_rate};
use serde::Serialize;
use settings::{Progress, Settings};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Held-out windows of an evaluation between steps.
const GLANCE: usize = 32;
/// Held-out windows of a full evaluation.
const FULL: usize = 2048;

/// A run.
pub struct Trainer {
    lm: Lm,
    /// The same variables without a graph.
    frozen: Lm,
    optimizer: AdamW,
    progress: Progress,
    corpus: Corpus,
    folder: PathBuf,
    log: Log,
    trained: Duration,
    steps_here: usize,
}

/// The end of a run. Losses and entropies are in nats a byte.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Steps done in all.
    pub steps: usize,
    /// Bytes predicted a step.
    pub bytes_per_step: usize,
    /// Seconds of training in this process, evaluations and checkpoints not counted.
    pub seconds: f64,
    /// Bytes trained on a second.
    pub bytes_per_second: f64,
    /// Share of those seconds in the recurrences' kernels.
    pub kernel_share: f64,
    /// Mean loss of the last twentieth of the steps.
    pub training_loss: f64,
    /// Loss on the held-out text.
    pub held_out_loss: f64,
    /// The same by a bigram count model (add-one, fitted on the training part).
    pub bigram_entropy: f64,
    /// The same by byte counts.
    pub unigram_entropy: f64,
    /// The last checkpoint.
    pub checkpoint: PathBuf,
    /// The picture of the loss.
    pub curve: PathBuf,
    /// The log.
    pub log: PathBuf,
}

/// Held-out losses of a model, in nats a byte.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// The loss.
    pub held_out_loss: f64,
    /// The loss with the residual memory R forced to zero.
    pub without_residual: f64,
    /// The loss of a bigram count model (add-one, fitted on the training part).
    pub bigram_entropy: f64,
    /// The loss of byte counts.
    pub unigram_entropy: f64,
    /// Whether the text is another one than the checkpoint was trained on, so that files may have changed parts.
    pub text_changed: bool,
}

impl Trainer {
    /// A new run in a folder that holds none yet.
    pub fn start(
        config: &Config,
        place: impl Into<Place>,
        settings: &Settings,
        corpus: Corpus,
        folder: &Path,
    ) -> Result<Self> {
        settings.check()?;
        corpus.check(settings.tokens)?;
        if checkpoint::exists(folder) {
            return Err(Error::file(folder, "holds a run already; resume it, or name another folder"));
        }
        let place = place.into();
        let lm = Lm::new(config, place.backend, Weights::drawn(settings.seed).on(&place.device))?;
        let optimizer = AdamW::new(settings.optimizer.clone(), lm.parameters())?;
        let progress = Progress { step: 0, settings: settings.clone(), text: corpus.fingerprint() };
        Self::build(lm, optimizer, progress, corpus, folder)
    }

    /// Goes on from the newest checkpoint of a folder. `steps` replaces the number of steps in all.
    pub fn resume(folder: &Path, place: impl Into<Place>, steps: Option<usize>, corpus: Corpus) -> Result<Self> {
        let lm = checkpoint::load_model(folder, place)?;
        let (mut progress, moments) = checkpoint::load_training(folder)?;
        progress.settings.steps = steps.unwrap_or(progress.settings.steps);
        progress.settings.check()?;
        corpus.check(progress.settings.tokens)?;
        let adamw = progress.settings.optimizer.clone();
        let optimizer = AdamW::restored(adamw, progress.step, moments, lm.parameters())?;
        Self::build(lm, optimizer, progress, corpus, folder)
    }

    fn build(lm: Lm, optimizer: AdamW, progress: Progress, corpus: Corpus, folder: &Path) -> Result<Self> {
        let log = Log::open(folder, progress.step)?;
        let frozen = lm.frozen()?;
        let folder = folder.to_path_buf();
        Ok(Self { lm, frozen, optimizer, progress, corpus, folder, log, trained: Duration::ZERO, steps_here: 0 })
    }

    /// The model.
    pub fn model(&self) -> &Lm {
        &self.lm
    }

    /// The text.
    pub fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    /// How far the run is.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether the checkpoint that was resumed saw another text.
    pub fn text_changed(&self) -> bool {
        self.progress.text != self.corpus.fingerprint()
    }

    /// Runs the remaining steps. `observe` sees every step; a checkpoint stands at every `checkpoint_every` steps and at
    /// the end.
    pub fn run(&mut self, mut observe: impl FnMut(&Entry)) -> Result<Summary> {
        let settings = self.progress.settings.clone();
        while self.progress.step < settings.steps {
            let entry = self.step()?;
            observe(&entry);
            let step = self.progress.step;
            if step.is_multiple_of(settings.checkpoint_every) && step < settings.steps {
                self.save()?;
            }
        }
        let checkpoint = self.save()?;
        let held_out_loss = self.evaluate(FULL)?;
        let (unigram_entropy, bigram_entropy) = yardsticks(&self.corpus, settings.tokens);
        let curve = self.folder.join("loss.svg");
        curve::draw(&curve, self.log.entries(), held_out_loss, bigram_entropy)?;
        let seconds = self.trained.as_secs_f64();
        let bytes_per_step = settings.batch * settings.tokens;
        Ok(Summary {
            steps: self.progress.step,
            bytes_per_step,
            seconds,
            bytes_per_second: (self.steps_here * bytes_per_step) as f64 / seconds.max(1e-9),
            kernel_share: self.kernel_share(),
            training_loss: self.log.recent_loss(settings.steps.div_ceil(20)),
            held_out_loss,
            bigram_entropy,
            unigram_entropy,
            checkpoint,
            curve,
            log: self.log.path().to_path_buf(),
        })
    }

    /// One step, logged.
    pub fn step(&mut self) -> Result<Entry> {
        let start = Instant::now();
        let Progress { step, settings, .. } = &self.progress;
        let (step, rate) = (*step, learning_rate(*step, settings.steps, settings.warmup, settings.rate));
        let windows = self.corpus.windows(settings.seed, step, settings.batch, settings.tokens);
        let loss = self.lm.loss(&windows, settings.batch)?;
        let grads = loss.backward()?;
        let norm = self.optimizer.step(self.lm.parameters(), &grads, rate)?;
        let loss = f64::from(loss.to_scalar::<f32>()?);
        self.trained += start.elapsed();
        self.steps_here += 1;
        let bytes = settings.batch * settings.tokens;
        let every = settings.evaluate_every;
        self.progress.step += 1;
        let held_out = if (step + 1).is_multiple_of(every) { Some(self.evaluate(GLANCE)?) } else { None };
        let entry = Entry {
            step: self.progress.step,
            loss,
            held_out,
            rate,
            norm,
            bytes_per_second: bytes as f64 / start.elapsed().as_secs_f64().max(1e-9),
            kernel_share: self.kernel_share(),
        };
        self.log.push(entry.clone())?;
        Ok(entry)
    }

    /// Saves a checkpoint; its folder.
    pub fn save(&self) -> Result<PathBuf> {
        let moments = self.optimizer.moments()?;
        checkpoint::save(&self.folder, &self.lm, &moments, &self.progress)
    }

    fn evaluate(&self, limit: usize) -> Result<f64> {
        held_out_loss(&self.frozen, &self.corpus, &self.progress.settings, limit)
    }

    fn kernel_share(&self) -> f64 {
        self.lm.kernel_time().as_secs_f64() / self.trained.as_secs_f64().max(1e-9)
    }
}

/// Loss of a model on at most `limit` held-out windows.
fn held_out_loss(lm: &Lm, corpus: &Corpus, settings: &Settings, limit: usize) -> Result<f64> {
    let windows = corpus.held_out_windows(settings.tokens, limit);
    let mut sum = 0.0;
    for batch in windows.chunks(settings.batch) {
        let loss = lm.loss(&batch.concat(), batch.len())?.to_scalar::<f32>()?;
        sum += f64::from(loss) * batch.len() as f64;
    }
    Ok(sum / windows.len() as f64)
}

/// `(unigram, bigram)` entropies of the windows of a full evaluation.
fn yardsticks(corpus: &Corpus, tokens: usize) -> (f64, f64) {
    Counts::fit(&corpus.train).entropies(&corpus.held_out_windows(tokens, FULL))
}

/// Held-out losses of a checkpoint, with its residual memory and with R forced to zero.
pub fn evaluate(path: &Path, place: impl Into<Place>, corpus: &Corpus) -> Result<Evaluation> {
    let (progress, _) = checkpoint::load_training(path)?;
    let settings = &progress.settings;
    corpus.check(settings.tokens)?;
    let mut lm = checkpoint::load_model(path, place)?.frozen()?;
    let with = held_out_loss(&lm, corpus, settings, FULL)?;
    lm.remove_residual();
    let without_residual = held_out_loss(&lm, corpus, settings, FULL)?;
    let (unigram_entropy, bigram_entropy) = yardsticks(corpus, settings.tokens);
    let text_changed = progress.text != corpus.fingerprint();
    Ok(Evaluation { held_out_loss: with, without_residual, bigram_entropy, unigram_entropy, text_changed })
}
