//! What a model is made of; stored beside its weights as `config.json`.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The vocabulary: tokens are bytes, so a text needs no tokeniser and every file is in the vocabulary.
pub const VOCABULARY: usize = 256;

/// Mixers a layer may have: built-in variants whose inputs are among q, k, v, g, beta and gamma.
pub const MIXERS: [&str; 4] = ["rla", "rdn", "gated_delta_net", "simple_gla"];

/// Sizes and choices of a language model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Number of tokens, 256: bytes.
    pub vocabulary: usize,
    /// D, the width of the residual stream.
    pub width: usize,
    /// The variant of each layer's mixer, first layer first; its length is the number of layers.
    pub mixers: Vec<String>,
    /// H, heads of queries and keys.
    pub key_heads: usize,
    /// HV, heads of values and gates; a multiple of H.
    pub value_heads: usize,
    /// K, the size of a key head.
    pub key_size: usize,
    /// V, the size of a value head.
    pub value_size: usize,
    /// Taps of the causal convolution, 4.
    pub conv_width: usize,
    /// F, the inner width of the SwiGLU part.
    pub ff_size: usize,
    /// The bound of the residual's clip, for variants that have one.
    pub clip: f64,
    /// Whether the head is the embedding's transpose.
    pub tied_head: bool,
}

impl Default for Config {
    /// The model of the main job: about 2 M parameters of RDN layers.
    fn default() -> Self {
        Self::uniform("rdn", 192, 3, 3, 64)
    }
}

impl Config {
    /// A model whose layers all have one variant, with heads of equal size for keys and values.
    pub fn uniform(variant: &str, width: usize, layers: usize, heads: usize, head_size: usize) -> Self {
        Self {
            vocabulary: VOCABULARY,
            width,
            mixers: vec![variant.to_string(); layers],
            key_heads: heads,
            value_heads: heads,
            key_size: head_size,
            value_size: head_size,
            conv_width: super::fused::conv::WIDTH,
            ff_size: default_ff(width),
            clip: 1.0,
            tied_head: true,
        }
    }

    /// Channels of the packed projection of q, k and v: `2 H K + HV V`.
    pub fn packed(&self) -> usize {
        2 * self.key_heads * self.key_size + self.value_heads * self.value_size
    }

    /// Refuses what no model can be built from; the message names the field.
    pub fn check(&self) -> Result<()> {
        let range = |name: &str, value: usize, low: usize, high: usize| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(Error::argument(format!("config.{name}"), format!("{low} to {high}"), value.to_string()))
        };
        range("vocabulary", self.vocabulary, VOCABULARY, VOCABULARY)?;
        range("width", self.width, 1, 16_384)?;
        range("mixers (layers)", self.mixers.len(), 1, 1024)?;
        range("key_heads", self.key_heads, 1, 1024)?;
        range("value_heads", self.value_heads, 1, 1024)?;
        range("key_size", self.key_size, 1, 256)?;
        range("value_size", self.value_size, 1, 256)?;
        range("conv_width", self.conv_width, super::fused::conv::WIDTH, super::fused::conv::WIDTH)?;
        range("ff_size", self.ff_size, 1, 65_536)?;
        if !self.value_heads.is_multiple_of(self.key_heads) {
            let found = format!("{} for {} key heads", self.value_heads, self.key_heads);
            return Err(Error::argument("config.value_heads", "a multiple of key_heads", found));
        }
        if !(self.clip > 0.0 && self.clip.is_finite()) {
            return Err(Error::argument("config.clip", "a positive number", self.clip.to_string()));
        }
        if let Some(mixer) = self.mixers.iter().find(|m| !MIXERS.contains(&m.as_str())) {
            return Err(Error::argument(
                "config.mixers",
                format!("one of {}", MIXERS.join(", ")),
                format!("`{mixer}`"),
            ));
        }
        let parameters = self.parameters();
        if parameters > 1 << 31 {
            return Err(Error::argument("config", "at most 2^31 parameters", parameters.to_string()));
        }
        Ok(())
    }

    /// Number of parameters, all gates counted.
    pub fn parameters(&self) -> u64 {
        let [d, c, f] = [self.width, self.packed(), self.ff_size].map(|n| n as u64);
        let (heads, value) = (self.value_heads as u64, self.value_size as u64);
        let mixer = d * c + 4 * c + d * 3 * heads + 2 * heads + 2 * d * heads * value + value;
        let embedding = VOCABULARY as u64 * d * if self.tied_head { 1 } else { 2 };
        embedding + d + self.mixers.len() as u64 * (mixer + 2 * d + 3 * d * f)
    }

    /// Reads and checks a JSON file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::file(path, e))?;
        let config: Self =
            serde_json::from_str(&text).map_err(|e| Error::file(path, format!("not a model's configuration: {e}")))?;
        config.check()?;
        Ok(config)
    }
}

/// 8/3 of the width, rounded up to a multiple of 32.
fn default_ff(width: usize) -> usize {
    (width * 8).div_ceil(3).next_multiple_of(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_field_is_named() {
        let refuse = |change: fn(&mut Config), name: &str| {
            let mut config = Config::default();
            change(&mut config);
            let message = config.check().unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        };
        assert!(Config::default().check().is_ok());
        refuse(|c| c.vocabulary = 300, "vocabulary");
        refuse(|c| c.width = 0, "width");
        refuse(|c| c.mixers = vec!["rdn".into(), "lstm".into()], "`lstm`");
        refuse(|c| c.mixers.clear(), "layers");
        refuse(|c| c.key_size = 257, "key_size");
        refuse(|c| c.value_heads = 4, "value_heads");
        refuse(|c| c.clip = f64::NAN, "clip");
        refuse(|c| (c.width, c.ff_size, c.mixers) = (16_384, 65_536, vec!["rla".into(); 1024]), "2^31");
    }

    #[test]
    fn json_keeps_the_configuration_and_refuses_unknown_fields() {
        let text = serde_json::to_string(&Config::default()).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), Config::default());
        assert!(serde_json::from_str::<Config>(&text.replacen('{', "{\"extra\": 1,", 1)).is_err());
    }
}
