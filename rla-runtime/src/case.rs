//! Case files: the inputs of a call and, where they are known, its results, as one safetensors file.
//!
//! Tensors by name: the inputs and parameters; `S0`, the initial value of state S; `cu_seqlens`; `out.o`, `out.S` for the
//! outputs and final states; `cot.o`, `cot.S` their cotangents; `grad.q`, `grad.S0` the gradients. The metadata's `constants`
//! is a JSON object of constants, `recurrence` the text. Any floating type is read; f64 is written.
mod decode;
mod error;
mod sizes;

pub use error::CaseError;

use rla_codegen::data::{Cotangents, Gradients, Inputs, Outputs};
use rla_codegen::oracle::shape;
use rla_dsl::recurrence::Recurrence;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use sizes::{Axis, Sizes, input_axes, output_axes, state_axes};
use std::collections::BTreeMap;
use std::path::Path;

/// A case: what to compute from, and what is known of the results.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Inputs, initial states, constants, offsets.
    pub inputs: Inputs,
    /// Cotangents; backward is asked for if any is there.
    pub cotangents: Cotangents,
    /// Results that the file holds.
    pub results: Results,
}

/// Outputs and gradients, each there or not, in the order of the declarations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// `out.o`.
    pub outputs: Vec<Option<Vec<f64>>>,
    /// `out.S`.
    pub states: Vec<Option<Vec<f64>>>,
    /// `grad.q`.
    pub input_gradients: Vec<Option<Vec<f64>>>,
    /// `grad.S0`.
    pub state_gradients: Vec<Option<Vec<f64>>>,
}

/// The metadata of a case file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// The variant's name.
    pub variant: Option<String>,
    /// The recurrence as text of the language: the entry `rla`, or `recurrence` where that is such a text.
    pub text: Option<String>,
    /// The constants.
    pub constants: BTreeMap<String, f64>,
}

impl Case {
    /// Whether backward is asked for.
    pub fn backward(&self) -> bool {
        self.cotangents.outputs.iter().chain(&self.cotangents.states).any(Option::is_some)
    }

    /// Reads a case of `recurrence`. Constants: `overrides` over the file's metadata over the variant's defaults.
    pub fn read(path: &Path, recurrence: &Recurrence, overrides: &[(String, f64)]) -> Result<Case, CaseError> {
        let bytes = std::fs::read(path).map_err(|error| CaseError::Read(path.to_path_buf(), error))?;
        Case::from_bytes(&bytes, path, recurrence, overrides)
    }

    /// [`Case::read`] of a file's contents; `path` is named in messages.
    pub fn from_bytes(
        bytes: &[u8],
        path: &Path,
        recurrence: &Recurrence,
        overrides: &[(String, f64)],
    ) -> Result<Case, CaseError> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| CaseError::Format(path.to_path_buf(), e.to_string()))?;
        let constants = metadata(bytes, path)?.constants;
        let mut reader = Reader::new(&file, recurrence);
        let cu_seqlens = reader.offsets()?;
        let tensors = reader.inputs()?;
        let states = reader.states("", "0")?;
        let results = Results {
            outputs: reader.outputs("out.")?,
            states: reader.states("out.", "")?,
            input_gradients: reader.input_gradients()?,
            state_gradients: reader.states("grad.", "0")?,
        };
        let cotangents = Cotangents { outputs: reader.outputs("cot.")?, states: reader.states("cot.", "")? };
        let dims = reader.finish(cu_seqlens.is_some())?;
        let consts = resolve_constants(recurrence, &dims.sizes, &constants, overrides)?;
        let inputs = Inputs { dims, consts, tensors, states, cu_seqlens };
        shape::check(recurrence, &inputs)?;
        shape::check_cotangents(recurrence, &inputs, &cotangents)?;
        Ok(Case { inputs, cotangents, results })
    }

    /// Writes the whole case, with the recurrence's text where it is given. Whole or not at all: a temporary name, then a rename.
    pub fn write(&self, path: &Path, recurrence: &Recurrence, text: Option<&str>) -> Result<(), CaseError> {
        let mut tensors = self.results.named(recurrence, &self.inputs);
        let dims = &self.inputs.dims;
        for (decl, data) in recurrence.inputs.iter().zip(&self.inputs.tensors) {
            tensors.push(Named::floats(decl.name.clone(), shape::input(decl, dims), data));
        }
        let sequences = self.inputs.sequence_count();
        for (i, decl) in recurrence.states.iter().enumerate() {
            let shape = shape::state(decl, dims, sequences);
            let mut push = |name: String, data: &Option<Vec<f64>>| {
                tensors.extend(data.as_ref().map(|data| Named::floats(name, shape.clone(), data)));
            };
            push(format!("{}0", decl.name), &self.inputs.states[i]);
            push(format!("cot.{}", decl.name), &self.cotangents.states[i]);
        }
        for (i, name) in recurrence.outputs.iter().enumerate() {
            let shape = shape::output(recurrence, i, dims);
            let data = self.cotangents.outputs[i].as_ref();
            tensors.extend(data.map(|data| Named::floats(format!("cot.{name}"), shape, data)));
        }
        if let Some(offsets) = &self.inputs.cu_seqlens {
            let bytes = offsets.iter().flat_map(|x| x.to_le_bytes()).collect();
            tensors.push(Named { name: "cu_seqlens".into(), shape: vec![offsets.len()], dtype: Dtype::I64, bytes });
        }
        store(path, recurrence, &self.inputs.consts, text, &tensors)
    }
}

impl Results {
    /// Results of a call.
    pub fn new(outputs: Outputs, gradients: Option<Gradients>) -> Results {
        let some = |tensors: Vec<Vec<f64>>| tensors.into_iter().map(Some).collect::<Vec<_>>();
        let (inputs, states) = gradients.map_or((vec![], vec![]), |g| (some(g.inputs), some(g.states)));
        Results {
            outputs: some(outputs.outputs),
            states: some(outputs.states),
            input_gradients: inputs,
            state_gradients: states,
        }
    }

    /// Whether all values are the same to the last bit.
    pub fn same_bits(&self, other: &Results) -> bool {
        let parts = |r: &Results| -> Vec<Option<Vec<u64>>> {
            let all = [&r.outputs, &r.states, &r.input_gradients, &r.state_gradients];
            let bits = |x: &Option<Vec<f64>>| x.as_ref().map(|x| x.iter().map(|x| x.to_bits()).collect());
            all.into_iter().flatten().map(bits).collect()
        };
        parts(self) == parts(other)
    }

    /// Whether any result is there.
    pub fn any(&self) -> bool {
        let all = [&self.outputs, &self.states, &self.input_gradients, &self.state_gradients];
        all.into_iter().flatten().any(Option::is_some)
    }

    /// Writes what is there under the names of a case file, whole or not at all.
    pub fn write(&self, path: &Path, recurrence: &Recurrence, inputs: &Inputs) -> Result<(), CaseError> {
        store(path, recurrence, &inputs.consts, None, &self.named(recurrence, inputs))
    }

    fn named(&self, recurrence: &Recurrence, inputs: &Inputs) -> Vec<Named> {
        let (dims, sequences) = (&inputs.dims, inputs.sequence_count());
        let mut tensors = vec![];
        let mut push = |name: String, shape: Vec<usize>, data: &Option<Vec<f64>>| {
            tensors.extend(data.as_ref().map(|data| Named::floats(name, shape, data)));
        };
        for (i, data) in self.outputs.iter().enumerate() {
            push(format!("out.{}", recurrence.outputs[i]), shape::output(recurrence, i, dims), data);
        }
        for (decl, data) in recurrence.states.iter().zip(&self.states) {
            push(format!("out.{}", decl.name), shape::state(decl, dims, sequences), data);
        }
        for (decl, data) in recurrence.inputs.iter().zip(&self.input_gradients) {
            push(format!("grad.{}", decl.name), shape::input(decl, dims), data);
        }
        for (decl, data) in recurrence.states.iter().zip(&self.state_gradients) {
            push(format!("grad.{}0", decl.name), shape::state(decl, dims, sequences), data);
        }
        tensors
    }
}

/// The metadata of a file's contents; `path` is named in messages.
pub fn metadata(bytes: &[u8], path: &Path) -> Result<Metadata, CaseError> {
    let read = SafeTensors::read_metadata(bytes);
    let (_, header) = read.map_err(|e| CaseError::Format(path.to_path_buf(), e.to_string()))?;
    let Some(entries) = header.metadata() else { return Ok(Metadata::default()) };
    let constants = match entries.get("constants") {
        Some(json) => serde_json::from_str(json).map_err(|e| CaseError::Constants(e.to_string()))?,
        None => BTreeMap::new(),
    };
    let is_text = |text: &&String| {
        let mut words = text.split_whitespace().filter(|&word| word != "pub");
        words.next() == Some("variant")
    };
    let text = entries.get("rla").or(entries.get("recurrence").filter(is_text));
    Ok(Metadata { variant: entries.get("variant").cloned(), text: text.cloned(), constants })
}

/// Values of a variant's constants: `overrides` over `given` over the defaults, which may build on earlier constants.
pub fn resolve_constants(
    recurrence: &Recurrence,
    sizes: &[usize],
    given: &BTreeMap<String, f64>,
    overrides: &[(String, f64)],
) -> Result<Vec<f64>, CaseError> {
    let known = |name: &&String| recurrence.consts.iter().any(|c| c.name == **name);
    let mut names = given.keys().chain(overrides.iter().map(|(name, _)| name));
    if let Some(name) = names.find(|name| !known(name)) {
        return Err(CaseError::UnknownConstant(name.clone()));
    }
    let mut values = vec![];
    for constant in &recurrence.consts {
        let override_ = overrides.iter().rev().find(|(name, _)| *name == constant.name).map(|(_, value)| *value);
        let value = override_.or(given.get(&constant.name).copied());
        values.push(value.unwrap_or_else(|| recurrence.const_value(constant.value, sizes, &values)));
    }
    Ok(values)
}

/// Takes tensors by name; what is left over at the end is unknown.
struct Reader<'a> {
    tensors: BTreeMap<String, TensorView<'a>>,
    recurrence: &'a Recurrence,
    sizes: Sizes<'a>,
}

impl<'a> Reader<'a> {
    fn new(file: &'a SafeTensors<'a>, recurrence: &'a Recurrence) -> Reader<'a> {
        Reader { tensors: file.tensors().into_iter().collect(), recurrence, sizes: Sizes::new(recurrence) }
    }

    fn offsets(&mut self) -> Result<Option<Vec<i64>>, CaseError> {
        let Some(tensor) = self.tensors.remove("cu_seqlens") else { return Ok(None) };
        let offsets = decode::integers("cu_seqlens", &tensor)?;
        if tensor.shape().len() != 1 || offsets.is_empty() {
            let found = tensor.shape().to_vec();
            return Err(CaseError::Shape { name: "cu_seqlens".into(), expected: "[N + 1]".into(), found });
        }
        self.sizes.know(Axis::Sequences, offsets.len() - 1);
        Ok(Some(offsets))
    }

    fn take(&mut self, name: &str, axes: &[Axis]) -> Result<Option<Vec<f64>>, CaseError> {
        let Some(tensor) = self.tensors.remove(name) else { return Ok(None) };
        self.sizes.unify(name, axes, tensor.shape())?;
        decode::floats(name, &tensor).map(Some)
    }

    fn inputs(&mut self) -> Result<Vec<Vec<f64>>, CaseError> {
        let recurrence = self.recurrence;
        let packed = self.sizes.get(Axis::Sequences).is_some();
        let mut tensors = vec![];
        for decl in &recurrence.inputs {
            let tensor = self.take(&decl.name, &input_axes(decl))?;
            tensors.push(tensor.ok_or_else(|| CaseError::MissingInput(decl.name.clone()))?);
        }
        if !packed && let Some(batch) = self.sizes.get(Axis::Batch) {
            self.sizes.know(Axis::Sequences, batch);
        }
        Ok(tensors)
    }

    fn states(&mut self, prefix: &str, suffix: &str) -> Result<Vec<Option<Vec<f64>>>, CaseError> {
        let states = self.recurrence.states.iter();
        states.map(|decl| self.take(&format!("{prefix}{}{suffix}", decl.name), &state_axes(decl))).collect()
    }

    fn outputs(&mut self, prefix: &str) -> Result<Vec<Option<Vec<f64>>>, CaseError> {
        let recurrence = self.recurrence;
        let outputs = recurrence.outputs.iter().enumerate();
        outputs.map(|(i, name)| self.take(&format!("{prefix}{name}"), &output_axes(recurrence, i))).collect()
    }

    fn input_gradients(&mut self) -> Result<Vec<Option<Vec<f64>>>, CaseError> {
        let inputs = self.recurrence.inputs.iter();
        inputs.map(|decl| self.take(&format!("grad.{}", decl.name), &input_axes(decl))).collect()
    }

    fn finish(self, packed: bool) -> Result<rla_codegen::data::Dims, CaseError> {
        match self.tensors.into_keys().next() {
            Some(name) => Err(CaseError::UnknownTensor(name)),
            None => self.sizes.dims(packed),
        }
    }
}

struct Named {
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
    bytes: Vec<u8>,
}

impl Named {
    fn floats(name: String, shape: Vec<usize>, data: &[f64]) -> Named {
        Named { name, shape, dtype: Dtype::F64, bytes: data.iter().flat_map(|x| x.to_le_bytes()).collect() }
    }
}

/// The bytes of a file: a length of eight bytes, a header, the data. The library writes the entries of metadata in the order of a hash
/// map, another in every run; here they are put into its header by name.
fn bytes_of(tensors: &[Named], entries: &BTreeMap<&str, &str>) -> Result<Vec<u8>, SafeTensorError> {
    let views = tensors.iter().map(|t| Ok((&t.name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes)?)));
    let plain = safetensors::serialize(views.collect::<Result<Vec<_>, SafeTensorError>>()?, None)?;
    let (length, _) = SafeTensors::read_metadata(&plain)?;
    let (header, data) = plain[8..].split_at(length);
    let mut with = br#"{"__metadata__":"#.to_vec();
    with.extend(serde_json::to_vec(entries)?);
    with.extend(if tensors.is_empty() { &b""[..] } else { b"," });
    with.extend(header[1..].trim_ascii_end());
    with.resize(with.len().next_multiple_of(8), b' ');
    Ok([&(with.len() as u64).to_le_bytes(), &with[..], data].concat())
}

fn store(
    path: &Path,
    recurrence: &Recurrence,
    consts: &[f64],
    text: Option<&str>,
    tensors: &[Named],
) -> Result<(), CaseError> {
    let failed = |reason: String| CaseError::Write(path.to_path_buf(), std::io::Error::other(reason));
    let constants: BTreeMap<&str, f64> =
        recurrence.consts.iter().map(|c| c.name.as_str()).zip(consts.iter().copied()).collect();
    let constants = serde_json::to_string(&constants).map_err(|e| failed(e.to_string()))?;
    let mut entries = BTreeMap::from([("variant", recurrence.name.as_str()), ("constants", &constants)]);
    entries.extend(text.map(|text| ("recurrence", text)));
    let bytes = bytes_of(tensors, &entries).map_err(|e| failed(e.to_string()))?;
    let name = path.file_name().map_or_else(|| "case".into(), |n| n.to_string_lossy().into_owned());
    let temporary = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
    let written = std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&temporary);
        CaseError::Write(path.to_path_buf(), error)
    })
}
