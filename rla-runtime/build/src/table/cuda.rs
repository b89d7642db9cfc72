//! Rows of tables that hold for a GPU: `[[cuda]]`.
use super::Table;
use super::measured::{Entry, Measured, short};
use rla_codegen::schedule::cuda::{Choices, Slot, parameters, refusal};
use serde::{Deserialize, Serialize};

/// What a search found for one pass of one variant, sizes and type on a GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What all rows say. The call was captured in a graph, the second-level cache flushed before it.
    #[serde(flatten)]
    pub measured: Measured,
    /// Architecture that the kernels were compiled for.
    pub architecture: String,
    /// B, T, H, HV of the call that was timed.
    pub timed: [usize; 4],
    /// Time to move inputs and results once at the card's copy rate, over the time.
    pub of_copy: f64,
    /// The parameters.
    pub choices: Choices,
    /// What is known of their being right.
    pub evidence: Proof,
}

/// The evidence of a row: checks of `rla verify` on that GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Random cases against the oracle, exact cases and cases of laws.
    pub cases: usize,
    /// Runs with equal bits.
    pub repeats: usize,
    /// Largest error over its bound.
    pub worst: f64,
    /// Whether the whole ladder and the laws passed.
    pub verified: bool,
}

impl Row {
    /// The same, figures as a table holds them.
    pub fn rounded(self) -> Row {
        let evidence = Proof { worst: short(self.evidence.worst), ..self.evidence };
        Row { of_copy: short(self.of_copy), evidence, ..self }
    }
}

impl Entry for Row {
    const NAME: &'static str = "cuda";

    fn measured(&self) -> &Measured {
        &self.measured
    }

    fn machine(&self) -> &str {
        &self.architecture
    }

    fn heads(&self) -> &[usize] {
        &[]
    }

    fn has_parameter(name: &str) -> bool {
        Slot::ALL.iter().flat_map(|slot| parameters(*slot)).any(|parameter| parameter.name == name)
    }

    fn refusal(&self) -> Option<String> {
        if Slot::named(&self.measured.pass).is_none() {
            return Some(format!("`{}` is no pass", self.measured.pass));
        }
        refusal(&self.choices)
    }

    fn of(table: &mut Table) -> &mut Vec<Row> {
        &mut table.cuda
    }
}

#[cfg(test)]
mod tests {
    use super::super::measured::{Search, put};
    use super::super::mode::{Bucket, Mode, Work};
    use super::*;
    use crate::tune::time::Comparison;

    fn row(chunk: usize) -> Row {
        let parsed = rla_dsl::parse(rla_dsl::builtin::builtin("rdn").expect("a built-in")).expect("it is right");
        let measured = Measured::from(Search {
            recurrence: parsed.variant("rdn").expect("it is there"),
            pass: Slot::Training.name(),
            dtype: "bf16",
            sizes: &[128, 128],
            mode: Mode::Invariant,
            work: Work::new(1, 16, 8192),
            comparison: Comparison { ratio: 0.9, spread: 0.01, seconds: 9e-4, other: 1e-3 },
            seconds: 12.34,
            candidates: 9,
            compiler: "here",
            text: &"0".repeat(32),
        });
        Row {
            measured,
            architecture: "sm_90a".into(),
            timed: [1, 8192, 16, 16],
            of_copy: 0.2,
            choices: Choices { chunk, ..Choices::default() },
            evidence: Proof { cases: 4, repeats: 2, worst: 0.5, verified: true },
        }
    }

    #[test]
    fn a_row_comes_back_as_it_was_and_a_newer_one_replaces_it() {
        let mut table = Table::of_device("a card");
        put(&mut table.cuda, row(16));
        put(&mut table.cuda, row(64));
        let read = Table::parse("t.toml", &table.text().unwrap()).unwrap();
        assert_eq!(read.cuda_rows(), [row(64)]);
        assert_eq!(read.device(), "a card");
    }

    #[test]
    fn rows_of_other_buckets_stand_beside_one_another() {
        let bucketed = |chunk, heads| {
            let mut row = row(chunk);
            row.measured.mode = Mode::Throughput;
            row.measured.bucket = Some(Bucket { heads, tokens: [1024, 2047] });
            row
        };
        let rows = [row(32), bucketed(16, [16, 31]), bucketed(64, [32, 63]), bucketed(32, [16, 31])];
        let mut table = Table::of_device("a card");
        rows.clone().into_iter().for_each(|row| put(&mut table.cuda, row));
        let text = table.text().unwrap();
        let read = Table::parse("t.toml", &text).unwrap();
        assert_eq!(read.cuda_rows(), [rows[0].clone(), rows[3].clone(), rows[2].clone()]);
        assert!(text.contains("mode = \"throughput\"") && text.contains("[cuda.bucket]"), "{text}");
        assert!(read.cuda_rows()[1].name().ends_with("128,128, 16 to 31 heads of 1024 to 2047 tokens"));
        for (from, to, reason) in [
            ("tokens = [1024, 2047]", "tokens = [2048, 2047]", "bucket.tokens: expected two numbers"),
            ("tokens = [1024, 2047]", "t = [1024, 2047]", "unknown field `t`"),
            ("mode = \"throughput\"", "mode = \"invariant\"", "a bucket in mode invariant"),
            ("mode = \"invariant\"", "mode = \"throughput\"", "without the bucket"),
            ("mode = \"invariant\"", "mode = \"fast\"", "unknown variant `fast`"),
        ] {
            let text = text.replace(from, to).replace("[1024,\n", "");
            assert_ne!(text, table.text().unwrap(), "nothing was changed by {from}");
            let error = Table::parse("t.toml", &text).unwrap_err().to_string();
            assert!(error.contains(reason), "{reason}: {error}");
        }
    }

    #[test]
    fn a_row_of_another_compilers_parameters_is_passed_over_and_kept() {
        let mut table = Table::of_device("a card");
        put(&mut table.cuda, row(16));
        let text = table.text().unwrap().replace("groups = ", "blocks_abreast = 2\ngroups = ");
        let mut read = Table::parse("t.toml", &text).unwrap();
        assert_eq!(read.cuda_rows(), []);
        let notes: Vec<&str> = read.notes("rdn").collect();
        let expected = "rdn training: `blocks_abreast` is a parameter of another compiler (here), ignored";
        assert_eq!(notes, [expected]);
        assert_eq!(read.notes("rla").count(), 0);
        // a search adds its row to it, and the other compiler still finds its own
        put(&mut read.cuda, row(64));
        let written = read.text().unwrap();
        assert!(written.contains("blocks_abreast = 2"), "{written}");
        assert_eq!(Table::parse("t.toml", &written).unwrap().cuda_rows(), [row(64)]);
    }

    #[test]
    fn an_illegal_row_is_refused() {
        let mut table = Table::of_device("a card");
        put(&mut table.cuda, row(48));
        let error = Table::parse("t.toml", &table.text().unwrap()).unwrap_err().to_string();
        assert!(error.contains("the row rdn training sm_90a bf16 128,128") && error.contains("chunk is 16"), "{error}");
    }

    #[test]
    fn a_field_that_no_row_has_is_refused() {
        let mut table = Table::of_device("a card");
        put(&mut table.cuda, row(16));
        let text = table.text().unwrap().replace("of_copy", "level = 3\nof_copy");
        let error = Table::parse("t.toml", &text).unwrap_err().to_string();
        assert!(error.contains("unknown field `level`"), "{error}");
    }
}
