//! The tables of tunings: parameters of kernels by device.
use crate::error::Error;
use rla_codegen::schedule::Schedule;
use std::path::Path;

/// The table that is used where no other is named.
const SHIPPED: &str = include_str!("../../../tunings/default.toml");

/// Parameters for one device.
#[derive(Clone, Debug)]
pub struct Table {
    values: toml::Table,
    path: String,
}

impl Table {
    /// The table that is part of this crate.
    pub fn shipped() -> Result<Table, Error> {
        Table::parse("tunings/default.toml", SHIPPED)
    }

    /// Reads a table.
    pub fn read(path: &Path) -> Result<Table, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::file(path, e))?;
        Table::parse(&path.display().to_string(), &text)
    }

    fn parse(path: &str, text: &str) -> Result<Table, Error> {
        let refuse = |reason: String| Error::Table { path: path.into(), reason };
        let values: toml::Table = text.parse().map_err(|e: toml::de::Error| refuse(e.to_string()))?;
        if let Some(key) = values.keys().find(|key| !["device", "schedule", "variant"].contains(&key.as_str())) {
            return Err(refuse(format!("`{key}`: expected device, schedule or variant")));
        }
        let table = Table { values, path: path.into() };
        table.schedule("")?;
        if let Some(toml::Value::Table(variants)) = table.values.get("variant") {
            variants.keys().try_for_each(|name| table.schedule(name).map(|_| ()))?;
        }
        Ok(table)
    }

    /// The device that the parameters are for.
    pub fn device(&self) -> &str {
        self.values.get("device").and_then(toml::Value::as_str).unwrap_or("default")
    }

    /// The parameters of a variant: the compiler's own, the table's general ones over them, the variant's over these.
    pub fn schedule(&self, variant: &str) -> Result<Schedule, Error> {
        let refuse = |reason: String| Error::Table { path: self.path.clone().into(), reason };
        let mut merged = toml::Table::try_from(Schedule::default()).map_err(|e| refuse(e.to_string()))?;
        let general = self.values.get("schedule");
        let own = self.values.get("variant").and_then(|variants| variants.get(variant));
        for layer in [general, own].into_iter().flatten() {
            let layer = layer.as_table().ok_or_else(|| refuse("expected a table of parameters".into()))?;
            for (key, value) in layer {
                match merged.get_mut(key) {
                    Some(slot) => *slot = value.clone(),
                    None => return Err(refuse(format!("`{key}`: the schedule has no such parameter"))),
                }
            }
        }
        let schedule: Schedule = merged.try_into().map_err(|e: toml::de::Error| refuse(e.to_string()))?;
        match schedule.refusal() {
            Some(reason) => Err(refuse(reason)),
            None => Ok(schedule),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_table_is_legal() {
        let table = Table::shipped().unwrap();
        assert_eq!(table.device(), "default");
        table.schedule("any").unwrap();
    }

    #[test]
    fn a_variant_overrides_single_parameters() {
        let text = "[schedule]\nchunk_forward = 16\n[variant.a]\nchunk_forward = 32\n";
        let table = Table::parse("t", text).unwrap();
        assert_eq!(table.schedule("a").unwrap().chunk_forward, 32);
        assert_eq!(table.schedule("b").unwrap().chunk_forward, 16);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, reason) in [
            ("chunk = 3", "expected device, schedule or variant"),
            ("[schedule]\nchonk = 3", "no such parameter"),
            ("[schedule]\nchunk_forward = 17", "chunk_forward"),
            ("[schedule]\nchunk_forward = \"x\"", "invalid type"),
            ("[variant.a]\nchunk_forward = 0", "chunk_forward"),
            ("[schedule", "TOML"),
        ] {
            let error = Table::parse("t.toml", text).unwrap_err().to_string();
            assert!(error.starts_with("t.toml") && error.contains(reason), "{text}: {error}");
        }
    }
}
