//! Case files: what is read from them, and what is refused, by name.
use half::{bf16, f16};
use rla_dsl::recurrence::Recurrence;
use rla_runtime::case::{Case, CaseError, Results, metadata, resolve_constants};
use rla_tests::golden;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

const B: usize = 2;
const T: usize = 3;

/// A file's tensors by name: type, shape, bytes.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn of_shape(shape: &[usize]) -> (Dtype, Vec<usize>, Vec<u8>) {
    let values: Vec<f32> = (0..shape.iter().product()).map(|i| 0.25 * (i % 5) as f32).collect();
    (Dtype::F32, shape.to_vec(), f32s(&values))
}

fn rdn() -> Recurrence {
    golden::built_in("rdn")
}

/// A case of RDN: K = 4, V = 2, H = 1, HV = 2.
fn tensors() -> Tensors {
    let mut all = Tensors::new();
    for (name, shape) in [
        ("q", vec![B, T, 1, 4]),
        ("k", vec![B, T, 1, 4]),
        ("v", vec![B, T, 2, 2]),
        ("g", vec![B, T, 2]),
        ("beta", vec![B, T, 2]),
        ("gamma", vec![B, T, 2]),
        ("S0", vec![B, 2, 2, 4]),
        ("cot.o", vec![B, T, 2, 2]),
        ("grad.S0", vec![B, 2, 2, 4]),
    ] {
        all.insert(name.to_string(), of_shape(&shape));
    }
    all
}

fn bytes(tensors: &Tensors, constants: Option<&str>) -> Vec<u8> {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).expect("shape and bytes fit"))
    });
    let entries = constants.map(|json| HashMap::from([("constants".to_string(), json.to_string())]));
    safetensors::serialize(views, entries).expect("a file")
}

fn read(tensors: &Tensors) -> Result<Case, CaseError> {
    Case::from_bytes(&bytes(tensors, None), Path::new("x.safetensors"), &rdn(), &[])
}

/// The message of a case with one tensor replaced (or added).
fn refused(name: &str, tensor: Option<(Dtype, Vec<usize>, Vec<u8>)>) -> String {
    let mut all = tensors();
    all.remove(name);
    all.extend(tensor.map(|t| (name.to_string(), t)));
    read(&all).expect_err("the case is wrong").to_string()
}

#[test]
fn sizes_come_from_the_shapes() {
    let case = read(&tensors()).unwrap_or_else(|e| panic!("{e}"));
    let dims = &case.inputs.dims;
    assert_eq!((&dims.sizes[..], dims.batch, dims.tokens, dims.key_heads, dims.value_heads), (&[4, 2][..], B, T, 1, 2));
    assert!(case.backward() && case.results.any());
    // R0 and the cotangents of the states are not there
    assert_eq!(case.inputs.states.iter().filter(|s| s.is_none()).count(), 1);
    assert!(case.cotangents.states.iter().all(Option::is_none));
}

#[test]
fn a_tensor_that_does_not_fit_is_named() {
    for (name, tensor, message) in [
        ("beta", None, "input `beta`: missing from the case"),
        (
            "out.z",
            Some(of_shape(&[1])),
            "tensor `out.z`: neither an input, an initial state, `cu_seqlens`, nor out.*, cot.* or grad.* of the variant",
        ),
        (
            "S",
            Some(of_shape(&[1])),
            "tensor `S`: neither an input, an initial state, `cu_seqlens`, nor out.*, cot.* or grad.* of the variant",
        ),
        (
            "k",
            Some(of_shape(&[B, T, 1, 5])),
            "tensor `k`: expected shape [B = 2, T = 3, H = 1, K = 4], found [2, 3, 1, 5]",
        ),
        ("g", Some(of_shape(&[B, T])), "tensor `g`: expected shape [B = 2, T = 3, HV = 2], found [2, 3]"),
        (
            "S0",
            Some(of_shape(&[B, 2, 4, 2])),
            "tensor `S0`: expected shape [N = 2, HV = 2, V = 2, K = 4], found [2, 2, 4, 2]",
        ),
        (
            "cot.o",
            Some(of_shape(&[B, T, 1, 2])),
            "tensor `cot.o`: expected shape [B = 2, T = 3, HV = 2, V = 2], found [2, 3, 1, 2]",
        ),
        (
            "v",
            Some((Dtype::I32, vec![B, T, 2, 2], vec![0; 96])),
            "tensor `v`: expected a floating type (F64, F32, F16, BF16, F8_E5M2, F8_E4M3), found I32",
        ),
    ] {
        assert_eq!(refused(name, tensor), message);
    }
}

#[test]
fn heads_and_offsets_must_fit() {
    let mut all = tensors();
    for name in ["q", "k"] {
        all.insert(name.to_string(), of_shape(&[B, T, 3, 4]));
    }
    let message = read(&all).expect_err("HV is no multiple of H").to_string();
    assert_eq!(message, "heads: expected HV a multiple of H, both at least 1, found H = 3, HV = 2");

    let packed = |offsets: &[i32]| {
        let mut all = tensors();
        for (name, (_, shape, bytes)) in &mut all {
            let whole = bytes.len();
            if name == "S0" || name == "grad.S0" {
                shape[0] = offsets.len().saturating_sub(1);
                *bytes = bytes.iter().cycle().take(whole / B * shape[0]).copied().collect();
            } else {
                shape[0] = 1;
                bytes.truncate(whole / B);
            }
        }
        let bytes = offsets.iter().flat_map(|x| x.to_le_bytes()).collect();
        all.insert("cu_seqlens".to_string(), (Dtype::I32, vec![offsets.len()], bytes));
        read(&all)
    };
    let case = packed(&[0, 1, 1, 3]).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(case.inputs.sequences(), [0..1, 1..1, 1..3]);
    for (offsets, message) in [
        (&[0, 2, 1, 3][..], "cu_seqlens: expected offsets that never fall, found 1 after 2"),
        (&[0, 1, 2], "cu_seqlens: expected offsets from 0 to T = 3, found 0 to 2"),
        (&[1, 3], "cu_seqlens: expected offsets from 0 to T = 3, found 1 to 3"),
        (&[], "tensor `cu_seqlens`: expected shape [N + 1], found [0]"),
    ] {
        assert_eq!(packed(offsets).expect_err("wrong offsets").to_string(), message);
    }
    let mut all = tensors();
    all.insert("cu_seqlens".to_string(), (Dtype::F32, vec![2], f32s(&[0.0, 3.0])));
    assert_eq!(read(&all).expect_err("floats").to_string(), "tensor `cu_seqlens`: expected I32 or I64, found F32");
}

#[test]
fn every_floating_type_is_read() {
    let values = [0.0f32, -1.5, 0.25, 3.0, f32::NEG_INFINITY, -10.0, 0.5, 2.0, 1.0, -0.125, 4.0, 0.75];
    let expected: Vec<f64> = values.iter().map(|&x| x.into()).collect();
    for (dtype, bytes) in [
        (Dtype::F64, expected.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()),
        (Dtype::F32, f32s(&values)),
        (Dtype::F16, values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()),
        (Dtype::BF16, values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect()),
    ] {
        let mut all = tensors();
        all.insert("g".to_string(), (dtype, vec![B, T, 2], bytes));
        let case = read(&all).unwrap_or_else(|e| panic!("{e}"));
        let g = rdn().inputs.iter().position(|input| input.name == "g").expect("RDN has g");
        assert_eq!(case.inputs.tensors[g], expected, "{dtype:?}");
    }
}

#[test]
fn constants_of_the_call_over_the_file_over_the_variant() {
    let read = |json: Option<&str>, overrides: &[(String, f64)]| {
        Case::from_bytes(&bytes(&tensors(), json), Path::new("x.safetensors"), &rdn(), overrides)
    };
    let clip = |case: Result<Case, CaseError>| case.unwrap_or_else(|e| panic!("{e}")).inputs.consts;
    let two = [("clip".to_string(), 2.0)];
    assert_eq!(clip(read(None, &[])), [1.0]);
    assert_eq!(clip(read(Some("{\"clip\": 0.5}"), &[])), [0.5]);
    assert_eq!(clip(read(Some("{\"clip\": 0.5}"), &two)), [2.0]);
    let message = |json: &str| read(Some(json), &[]).expect_err("wrong constants").to_string();
    assert_eq!(message("{\"clap\": 0.5}"), "constant `clap`: the variant has no such constant");
    assert!(message("{\"clip\": \"one\"}").starts_with("metadata `constants`: invalid type"));
    assert!(message("[1]").starts_with("metadata `constants`: "));

    // a default that is built on another constant follows it
    let recurrence = golden::parse(
        "variant steps { input k: key, v: value; const a = 2; const b = 3 * a; state S: value x key;
           S[t] = S[t-1] + b * v * k^T; output o = S[t] * k; }",
    );
    let consts = resolve_constants(&recurrence, &[4, 4], &BTreeMap::from([("a".to_string(), 5.0)]), &[]);
    assert_eq!(consts.unwrap_or_else(|e| panic!("{e}")), [5.0, 15.0]);
}

#[test]
fn what_is_written_is_the_same_bytes_every_time() {
    let case = read(&tensors()).unwrap_or_else(|e| panic!("{e}"));
    let folder = std::env::temp_dir().join(format!("rla-case-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("case.safetensors");
    let bytes_of = |results: &Results| {
        case.results.write(&path, &rdn(), &case.inputs).expect("results are written");
        let known = std::fs::read(&path).expect("a file");
        results.write(&path, &rdn(), &case.inputs).expect("results are written");
        let results = std::fs::read(&path).expect("a file");
        case.write(&path, &rdn(), Some("variant rdn { \"é\" }")).expect("the case is written");
        [known, results, std::fs::read(&path).expect("a file")]
    };
    let first = bytes_of(&Results::default());
    // of three entries there are six orders
    assert!((0..20).all(|_| bytes_of(&Results::default()) == first));
    for bytes in &first {
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
        assert!(length % 8 == 0, "tensors are aligned");
        assert_eq!(metadata(bytes, &path).unwrap_or_else(|e| panic!("{e}")).variant.as_deref(), Some("rdn"));
    }
    let [.., whole] = first;
    assert_eq!(Case::from_bytes(&whole, &path, &rdn(), &[]).unwrap_or_else(|e| panic!("{e}")), case);
    let metadata = metadata(&whole, &path).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(metadata.text.as_deref(), Some("variant rdn { \"é\" }"));
    assert_eq!(metadata.constants, BTreeMap::from([("clip".to_string(), 1.0)]));
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}

#[test]
fn no_cut_or_changed_file_makes_a_panic() {
    let whole = bytes(&tensors(), Some("{\"clip\": 0.5}"));
    let path = Path::new("x.safetensors");
    for length in 0..whole.len() {
        assert!(Case::from_bytes(&whole[..length], path, &rdn(), &[]).is_err(), "cut at {length}");
    }
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().expect("eight bytes")) as usize;
    let mut changed = 0;
    for at in 0..header {
        for bit in [1, 4, 32, 128] {
            let mut file = whole.clone();
            file[at] ^= bit;
            let _ = metadata(&file, path);
            changed += usize::from(Case::from_bytes(&file, path, &rdn(), &[]).is_err());
        }
    }
    // a few changes leave a file that means the same
    assert!(changed > header * 3);
    assert!(Case::read(Path::new("/nowhere/x.safetensors"), &rdn(), &[]).is_err());
}

#[test]
fn shapes_that_ask_for_results_without_end_are_refused() {
    let mut all = tensors();
    for (name, (_, shape, bytes)) in &mut all {
        shape[0] = 1 << 40;
        bytes.clear();
        if !name.ends_with("S0") {
            shape[1] = 0;
        }
    }
    all.retain(|name, _| !name.ends_with("S0"));
    let message = read(&all).expect_err("the states would not fit anywhere").to_string();
    assert!(message.contains("at most"), "{message}");
}
