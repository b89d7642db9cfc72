//! The text: files found, split into a training and a held-out part, and its count models.

use crate::draw::Rng;
use crate::error::{Error, Result};
use crate::model::weights::fnv;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Endings of the files that a folder contributes.
pub const ENDINGS: [&str; 12] = ["rs", "md", "rla", "tera", "toml", "txt", "py", "c", "h", "cpp", "cu", "cuh"];
/// Folders that are not entered: build output, and text that a machine wrote.
const SKIPPED: [&str; 3] = ["target", "generated", "node_modules"];
/// Larger files are data, not text.
const LARGEST: u64 = 4 << 20;
/// A zero byte stands between files, so that the model knows where a text starts.
const SEPARATOR: u8 = 0;

/// A text corpus in bytes.
#[derive(Debug)]
pub struct Corpus {
    /// The training part, each file after a zero byte.
    pub train: Vec<u8>,
    /// The held-out part: a tenth of the files, or the last tenth of the text where there are fewer than ten.
    pub held_out: Vec<u8>,
    /// Files trained on.
    pub train_files: usize,
    /// Files held out; 0 where the last tenth of the text is.
    pub held_out_files: usize,
}

impl Corpus {
    /// Reads files, and folders by [`ENDINGS`]; hidden folders, build output and links are left out.
    pub fn read(paths: &[PathBuf]) -> Result<Self> {
        let mut files = Vec::new();
        for path in paths {
            let meta = std::fs::metadata(path).map_err(|e| Error::file(path, e))?;
            if meta.is_dir() {
                let mut found = Vec::new();
                walk(path, &mut found)?;
                files.extend(found.into_iter().map(|file| (file.clone(), name(&file, path))));
            } else {
                files.push((path.clone(), name(path, path.parent().unwrap_or(path))));
            }
        }
        files.sort();
        files.dedup();
        let mut texts = Vec::with_capacity(files.len());
        for (path, name) in files {
            let text = std::fs::read(&path).map_err(|e| Error::file(path, e))?;
            texts.push((name, text));
        }
        texts.retain(|(_, text)| !text.is_empty());
        if texts.is_empty() {
            let places: Vec<String> = paths.iter().map(|p| format!("`{}`", p.display())).collect();
            let endings = ENDINGS.map(|e| format!(".{e}")).join(", ");
            let expected = format!("text files ({endings}) under {}", places.join(", "));
            return Err(Error::argument("data", expected, "none; name files or folders with --data"));
        }
        Ok(Self::split(&texts))
    }

    /// Splits named texts: a tenth of them is held out, chosen by a hash of the names, so that a text keeps its part
    /// when others come or go.
    pub fn split(texts: &[(String, Vec<u8>)]) -> Self {
        let join = |part: &mut Vec<u8>, text: &[u8]| {
            part.push(SEPARATOR);
            part.extend_from_slice(text);
        };
        let (mut train, mut held_out) = (Vec::new(), Vec::new());
        let held_out_files = texts.len() / 10;
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&i| Rng::stream(fnv(texts[i].0.as_bytes()), 0).bits());
        let out: BTreeSet<usize> = order.into_iter().take(held_out_files).collect();
        for (i, (_, text)) in texts.iter().enumerate() {
            join(if out.contains(&i) { &mut held_out } else { &mut train }, text);
        }
        if held_out_files == 0 {
            held_out = train.split_off(train.len() - train.len() / 10);
        }
        Self { train, held_out, train_files: texts.len() - held_out_files, held_out_files }
    }

    /// A fingerprint of the training part, to notice at a resume that the text has changed.
    pub fn fingerprint(&self) -> String {
        format!("{:016x}", fnv(&self.train))
    }

    /// Refuses a corpus that has no window of `tokens + 1` bytes to train on, or none to evaluate.
    pub fn check(&self, tokens: usize) -> Result<()> {
        for (name, part) in [("training", &self.train), ("held-out", &self.held_out)] {
            if part.len() <= tokens {
                let found = format!("{} bytes", part.len());
                return Err(Error::argument("data", format!("more than {tokens} bytes in the {name} part"), found));
            }
        }
        Ok(())
    }

    /// The `batch` windows `[B, T+1]` of a training step: a function of the seed and the step alone.
    pub fn windows(&self, seed: u64, step: usize, batch: usize, tokens: usize) -> Vec<u8> {
        let mut rng = Rng::stream(seed, 1 + step as u64);
        let mut windows = Vec::with_capacity(batch * (tokens + 1));
        for _ in 0..batch {
            let start = rng.below(self.train.len() - tokens);
            windows.extend_from_slice(&self.train[start..=start + tokens]);
        }
        windows
    }

    /// The held-out windows of `tokens + 1` bytes, one after the other, overlapping by the byte that is both the last
    /// target and the next input; at most `limit` of them, evenly spread.
    pub fn held_out_windows(&self, tokens: usize, limit: usize) -> Vec<&[u8]> {
        let count = (self.held_out.len() - 1) / tokens;
        let used = count.min(limit);
        (0..used).map(|i| i * count / used * tokens).map(|at| &self.held_out[at..=at + tokens]).collect()
    }
}

/// A file's path below its root, with `/` on every system.
fn name(file: &Path, root: &Path) -> String {
    let parts = file.strip_prefix(root).unwrap_or(file).components();
    parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Adds the text files below a folder.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::file(folder, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| Error::file(folder, e))?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let kind = entry.file_type().map_err(|e| Error::file(&path, e))?;
        if name.starts_with('.') {
            continue;
        }
        if kind.is_dir() && !SKIPPED.contains(&name.as_ref()) {
            walk(&path, files)?;
        } else if kind.is_file() {
            let text = path.extension().is_some_and(|e| ENDINGS.iter().any(|known| e == *known));
            if text && entry.metadata().map_err(|e| Error::file(&path, e))?.len() <= LARGEST {
                files.push(path);
            }
        }
    }
    Ok(())
}

/// Count models of bytes, add-one, fitted on one text: the yardsticks of the model's loss.
pub struct Counts {
    singles: Vec<u64>,
    pairs: Vec<u64>,
}

impl Counts {
    /// Counts a text.
    pub fn fit(text: &[u8]) -> Self {
        let (mut singles, mut pairs) = (vec![0u64; 256], vec![0u64; 256 * 256]);
        text.iter().for_each(|&b| singles[usize::from(b)] += 1);
        text.windows(2).for_each(|w| pairs[usize::from(w[0]) * 256 + usize::from(w[1])] += 1);
        Self { singles, pairs }
    }

    /// Entropies in nats a byte of windows' targets (all bytes but the first): `(unigram, bigram given the byte before)`.
    pub fn entropies(&self, windows: &[&[u8]]) -> (f64, f64) {
        let total = self.singles.iter().sum::<u64>() as f64 + 256.0;
        let rows: Vec<f64> = self.pairs.chunks_exact(256).map(|row| row.iter().sum::<u64>() as f64 + 256.0).collect();
        let (mut unigram, mut bigram, mut count) = (0.0, 0.0, 0u64);
        for pair in windows.iter().flat_map(|w| w.windows(2)) {
            let (before, byte) = (usize::from(pair[0]), usize::from(pair[1]));
            unigram -= ((self.singles[byte] as f64 + 1.0) / total).ln();
            bigram -= ((self.pairs[before * 256 + byte] as f64 + 1.0) / rows[before]).ln();
            count += 1;
        }
        (unigram / count.max(1) as f64, bigram / count.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(texts: Vec<Vec<u8>>) -> Vec<(String, Vec<u8>)> {
        texts.into_iter().enumerate().map(|(i, text)| (format!("src/file{i}.rs"), text)).collect()
    }

    #[test]
    fn one_file_in_ten_is_held_out_and_few_files_give_their_last_tenth() {
        let texts = named((1..=25).map(|i| vec![i; 8]).collect());
        let corpus = Corpus::split(&texts);
        assert_eq!((corpus.train_files, corpus.held_out_files), (23, 2));
        assert_eq!((corpus.train.len(), corpus.held_out.len()), (23 * 9, 2 * 9));
        assert!((1..=25).all(|i| corpus.train.contains(&i) != corpus.held_out.contains(&i)));
        // what is held out stays so when texts are added, up to the tenth's own growth
        let fewer = Corpus::split(&texts[..22]);
        let kept = fewer.held_out.chunks(9).filter(|text| corpus.held_out.contains(&text[1])).count();
        assert!(kept >= 1 && fewer.held_out_files == 2);
        let corpus = Corpus::split(&texts[..3]);
        assert_eq!((corpus.train.len(), corpus.held_out.len()), (25, 2));
    }

    #[test]
    fn windows_depend_on_seed_and_step_alone_and_stay_inside() {
        let corpus = Corpus::split(&named(vec![(0..=255).collect()]));
        assert_eq!(corpus.windows(1, 2, 3, 16), corpus.windows(1, 2, 3, 16));
        assert_ne!(corpus.windows(1, 2, 3, 16), corpus.windows(1, 3, 3, 16));
        let whole = corpus.train.len() - 1;
        assert_eq!(corpus.windows(1, 0, 2, whole).len(), 2 * corpus.train.len());
        assert!(corpus.check(whole + 1).is_err());
        let held_out = corpus.held_out_windows(4, 100);
        assert_eq!(held_out.len(), (corpus.held_out.len() - 1) / 4);
        assert_eq!(held_out[0][4], held_out[1][0]);
        assert_eq!(corpus.held_out_windows(4, 2).len(), 2);
    }

    #[test]
    fn count_models_give_the_entropies_by_hand() {
        let (unigram, bigram) = Counts::fit(b"abab").entropies(&[b"ab"]);
        assert!((unigram + (3.0f64 / 260.0).ln()).abs() < 1e-12);
        assert!((bigram + (3.0f64 / 258.0).ln()).abs() < 1e-12);
    }

    #[test]
    fn no_text_is_a_clear_error() {
        let folder = std::env::temp_dir().join(format!("rla-no-text-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("image.png"), [1, 2, 3]).unwrap();
        let message = Corpus::read(std::slice::from_ref(&folder)).unwrap_err().to_string();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(message.contains(".rs") && message.contains("--data"), "{message}");
        assert!(Corpus::read(&[folder]).is_err());
    }
}
