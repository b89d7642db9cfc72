//! Checkpoints: one folder each, complete or not there.
//!
//! `step-00000100/` holds `config.json` (the model), `model.safetensors` (its weights), `training.json` (settings and
//! progress) and `optimizer.safetensors` (AdamW's moments). It is written under a temporary name, flushed, and renamed;
//! older ones are removed only afterwards. So whatever kills the program, the last complete checkpoint is there.

use crate::error::{Error, Result};
use crate::model::weights::Weights;
use crate::model::{Config, Lm, Place};
use crate::train::optimizer::Moments;
use crate::train::settings::Progress;
use candle_core::{Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const PROGRESS: &str = "training.json";
const MOMENTS: &str = "optimizer.safetensors";
/// Complete checkpoints that stay in a run's folder.
const KEPT: usize = 2;

/// f32 tensors by name: elements and shape.
type Named = BTreeMap<String, (Vec<f32>, Vec<usize>)>;

/// Writes a file so that it is there whole or not at all: a temporary name in the same folder, flushed, renamed.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    write_flushed(&temporary, bytes)?;
    std::fs::rename(&temporary, path).map_err(|e| Error::file(path, e))
}

fn write_flushed(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = std::fs::File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|e| Error::file(path, e))
}

/// Saves a checkpoint of a run and removes all but the newest two. Returns its folder.
pub fn save(run: &Path, lm: &Lm, moments: &BTreeMap<String, Moments>, progress: &Progress) -> Result<PathBuf> {
    std::fs::create_dir_all(run).map_err(|e| Error::file(run, e))?;
    let name = format!("step-{:08}", progress.step);
    let (temporary, folder) = (run.join(format!("{name}.tmp")), run.join(&name));
    remove(&temporary)?;
    std::fs::create_dir(&temporary).map_err(|e| Error::file(&temporary, e))?;

    let mut weights = Named::new();
    for p in lm.parameters() {
        weights.insert(p.name.clone(), (p.var.flatten_all()?.to_vec1::<f32>()?, p.var.dims().to_vec()));
    }
    let mut saved = Named::new();
    for (name, m) in moments {
        saved.insert(format!("{name}.first"), (m.first.clone(), vec![m.first.len()]));
        saved.insert(format!("{name}.second"), (m.second.clone(), vec![m.second.len()]));
    }
    let json = |value: serde_json::Result<String>| value.map_err(|e| Error::file(&temporary, e));
    write_flushed(&temporary.join(CONFIG), json(serde_json::to_string_pretty(lm.config()))?.as_bytes())?;
    write_flushed(&temporary.join(PROGRESS), json(serde_json::to_string_pretty(progress))?.as_bytes())?;
    write_flushed(&temporary.join(WEIGHTS), &serialize(&weights, progress.step, &temporary)?)?;
    write_flushed(&temporary.join(MOMENTS), &serialize(&saved, progress.step, &temporary)?)?;
    flush_folder(&temporary)?;
    // a run that is repeated over its own checkpoint: the old one moves aside until the new one is in place
    let aside = run.join(format!("{name}.old.tmp"));
    remove(&aside)?;
    if folder.exists() {
        std::fs::rename(&folder, &aside).map_err(|e| Error::file(&folder, e))?;
    }
    std::fs::rename(&temporary, &folder).map_err(|e| Error::file(&folder, e))?;
    flush_folder(run)?;
    remove(&aside)?;
    for (_, old) in complete(run)?.into_iter().rev().skip(KEPT) {
        remove(&old)?;
    }
    Ok(folder)
}

/// The folder of a checkpoint: `path` itself, or the newest one of a run.
pub fn find(path: &Path) -> Result<PathBuf> {
    if path.join(CONFIG).is_file() {
        return Ok(path.to_path_buf());
    }
    match complete(path)?.pop() {
        Some((_, folder)) => Ok(folder),
        None => Err(Error::file(path, "no checkpoint here (a folder with config.json, or one of step-* folders)")),
    }
}

/// Whether a folder holds a run's checkpoints.
pub fn exists(run: &Path) -> bool {
    run.is_dir() && complete(run).is_ok_and(|list| !list.is_empty())
}

/// Loads the model of a checkpoint.
pub fn load_model(path: &Path, place: impl Into<Place>) -> Result<Lm> {
    let (place, folder) = (place.into(), find(path)?);
    let config = Config::read(&folder.join(CONFIG))?;
    let file = folder.join(WEIGHTS);
    let (named, _) = deserialize(&file)?;
    let mut tensors = BTreeMap::new();
    for (name, (data, shape)) in named {
        tensors.insert(name, Tensor::from_vec(data, shape, &Device::Cpu)?);
    }
    Lm::new(&config, place.backend, Weights::loaded(tensors).on(&place.device))
        .map_err(|e| Error::file(file, format!("not this model's weights: {e}")))
}

/// Loads what training needs beside the model: progress and the optimiser's moments.
pub fn load_training(path: &Path) -> Result<(Progress, BTreeMap<String, Moments>)> {
    let folder = find(path)?;
    let file = folder.join(PROGRESS);
    let text = std::fs::read_to_string(&file).map_err(|e| Error::file(&file, e))?;
    let progress: Progress =
        serde_json::from_str(&text).map_err(|e| Error::file(&file, format!("not a run's progress: {e}")))?;
    progress.settings.check()?;
    let mut moments: BTreeMap<String, Moments> = BTreeMap::new();
    for part in [WEIGHTS, MOMENTS] {
        let file = folder.join(part);
        let (named, step) = deserialize(&file)?;
        if step != Some(progress.step) {
            return Err(Error::file(file, format!("not of step {} as {PROGRESS} says", progress.step)));
        }
        if part == WEIGHTS {
            continue;
        }
        for (name, (data, _)) in named {
            let unknown = || Error::file(&file, format!("`{name}` is not a moment"));
            if let Some(base) = name.strip_suffix(".first") {
                moments.entry(base.to_string()).or_default().first = data;
            } else {
                let base = name.strip_suffix(".second").ok_or_else(unknown)?;
                moments.entry(base.to_string()).or_default().second = data;
            }
        }
    }
    Ok((progress, moments))
}

/// Complete checkpoints of a run, oldest first.
fn complete(run: &Path) -> Result<Vec<(usize, PathBuf)>> {
    let entries = std::fs::read_dir(run).map_err(|e| Error::file(run, e))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::file(run, e))?;
        let step = entry.file_name().to_str().and_then(|n| n.strip_prefix("step-")?.parse::<usize>().ok());
        if let Some(step) = step {
            found.push((step, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file(folder, e)),
        _ => Ok(()),
    }
}

/// Makes renames and new files of a folder durable, where the system can.
fn flush_folder(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        std::fs::File::open(folder).and_then(|f| f.sync_all()).map_err(|e| Error::file(folder, e))?;
    }
    Ok(())
}

fn serialize(named: &Named, step: usize, place: &Path) -> Result<Vec<u8>> {
    let bytes: Vec<(&String, Vec<u8>, &Vec<usize>)> = named
        .iter()
        .map(|(name, (data, shape))| (name, data.iter().flat_map(|x| x.to_le_bytes()).collect(), shape))
        .collect();
    let mut views = Vec::new();
    for (name, bytes, shape) in &bytes {
        let view = TensorView::new(Dtype::F32, (*shape).clone(), bytes).map_err(|e| Error::file(place, e))?;
        views.push((name.as_str(), view));
    }
    let metadata = std::collections::HashMap::from([("step".to_string(), step.to_string())]);
    safetensors::serialize(views, Some(metadata)).map_err(|e| Error::file(place, e))
}

/// Reads a file of f32 tensors and the step in its metadata.
fn deserialize(path: &Path) -> Result<(Named, Option<usize>)> {
    let bytes = std::fs::read(path).map_err(|e| Error::file(path, e))?;
    let broken = |e: safetensors::SafeTensorError| Error::file(path, format!("not a complete safetensors file: {e}"));
    let tensors = SafeTensors::deserialize(&bytes).map_err(broken)?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(broken)?;
    let step = header.metadata().as_ref().and_then(|m| m.get("step")?.parse().ok());
    let mut named = Named::new();
    for (name, view) in tensors.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(Error::file(path, format!("`{name}` is {:?}, expected F32", view.dtype())));
        }
        let data = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        named.insert(name.to_string(), (data, view.shape().to_vec()));
    }
    Ok((named, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_file_is_refused_at_every_length() {
        let named = Named::from([("a".to_string(), (vec![1.0, 2.0], vec![2]))]);
        let bytes = serialize(&named, 7, Path::new("x")).unwrap();
        let path = std::env::temp_dir().join(format!("rla-truncated-{}.safetensors", std::process::id()));
        write_atomically(&path, &bytes).unwrap();
        assert_eq!(deserialize(&path).unwrap(), (named, Some(7)));
        for length in 0..bytes.len() {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(deserialize(&path).is_err(), "{length} bytes of {}", bytes.len());
        }
        std::fs::remove_file(&path).unwrap();
    }
}
