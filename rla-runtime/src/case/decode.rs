//! Elements of a stored tensor as f64 or i64.
use super::CaseError;
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// Any floating type of one byte and more, converted exactly.
pub(super) fn floats(name: &str, tensor: &TensorView<'_>) -> Result<Vec<f64>, CaseError> {
    let data = tensor.data();
    Ok(match tensor.dtype() {
        Dtype::F64 => elements(data).map(f64::from_le_bytes).collect(),
        Dtype::F32 => elements(data).map(|b| f32::from_le_bytes(b).into()).collect(),
        Dtype::F16 => elements(data).map(|b| f16::from_le_bytes(b).into()).collect(),
        Dtype::BF16 => elements(data).map(|b| bf16::from_le_bytes(b).into()).collect(),
        // the upper byte of an f16
        Dtype::F8_E5M2 => data.iter().map(|&b| f16::from_bits(u16::from(b) << 8).into()).collect(),
        Dtype::F8_E4M3 => data.iter().map(|&b| e4m3(b)).collect(),
        other => {
            let expected = "a floating type (F64, F32, F16, BF16, F8_E5M2, F8_E4M3)";
            return Err(CaseError::Type { name: name.to_string(), expected, found: format!("{other:?}") });
        }
    })
}

/// 32 or 64-bit signed integers.
pub(super) fn integers(name: &str, tensor: &TensorView<'_>) -> Result<Vec<i64>, CaseError> {
    match tensor.dtype() {
        Dtype::I64 => Ok(elements(tensor.data()).map(i64::from_le_bytes).collect()),
        Dtype::I32 => Ok(elements(tensor.data()).map(|b| i32::from_le_bytes(b).into()).collect()),
        other => {
            let found = format!("{other:?}");
            Err(CaseError::Type { name: name.to_string(), expected: "I32 or I64", found })
        }
    }
}

fn elements<const N: usize>(data: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    data.chunks_exact(N).map(|chunk| chunk.try_into().expect("chunks are N bytes long"))
}

/// The finite-only 8-bit type with 4 exponent bits, bias 7: no infinity, all ones is NaN.
fn e4m3(bits: u8) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 3 & 15), f64::from(bits & 7) / 8.0);
    let size = match (exponent, bits & 7) {
        (15, 7) => f64::NAN,
        (0, _) => fraction * 2f64.powi(-6),
        _ => (1.0 + fraction) * 2f64.powi(exponent - 7),
    };
    if bits & 128 == 0 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bit_floats() {
        assert_eq!(e4m3(0x38), 1.0);
        assert_eq!(e4m3(0xfe), -448.0);
        assert_eq!(e4m3(1), 2f64.powi(-9));
        assert!(e4m3(0x7f).is_nan());
        let view = TensorView::new(Dtype::F8_E5M2, vec![3], &[0x3c, 0xc0, 0x7c]).unwrap();
        assert_eq!(floats("x", &view).unwrap(), [1.0, -2.0, f64::INFINITY]);
    }

    #[test]
    fn integers_are_no_floats() {
        let view = TensorView::new(Dtype::I32, vec![1], &[1, 0, 0, 0]).unwrap();
        assert_eq!(floats("g", &view).unwrap_err().to_string().split(',').next_back(), Some(" found I32"));
        assert_eq!(integers("cu_seqlens", &view).unwrap(), [1]);
    }
}
