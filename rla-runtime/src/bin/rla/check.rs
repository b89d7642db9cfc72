//! `rla check FILE`: diagnostics.
use crate::output::{self, Failure};
use crate::source::Source;
use clap::Args;
use rla_codegen::canon;
use rla_dsl::{Diagnostic, Diagnostics, Severity};
use serde_json::json;
use std::process::ExitCode;

/// Checks the recurrences of a file: diagnostics with their source lines.
///
/// Diagnostics are written to stderr as rustc writes them, one line a variant to stdout: whether it is of the class that has
/// chunk-parallel kernels, and if not, which term is the reason (it then runs token by token). With --json everything is an
/// object a line on stdout.
#[derive(Args)]
#[command(after_help = "Exit codes: 0 no errors (warnings and notes or none), 1 errors, 2 the file cannot be read.")]
pub struct Arguments {
    /// A `.rla` file (or a built-in variant)
    #[arg(value_name = "FILE")]
    file: String,
    /// One JSON object a line: diagnostics, then variants
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let source = Source::open(&arguments.file)?;
    let parsed = match source.parse() {
        Ok(parsed) => parsed,
        Err(diagnostics) => {
            report(&source, &diagnostics, arguments.json)?;
            return Ok(ExitCode::from(1));
        }
    };
    report(&source, &parsed.warnings, arguments.json)?;
    for variant in &parsed.variants {
        let result = canon::canonicalize(variant);
        let remarks = result.as_ref().map_or(&[][..], |canonical| &canonical.remarks);
        let warnings = remarks
            .iter()
            .map(|remark| diagnostic(Severity::Warning, "unbounded-decay", remark.message.clone(), remark.span));
        report(&source, &warnings.collect(), arguments.json)?;
        if let Err(outside) = &result {
            let message = format!("`{}` has no chunk form and runs token by token: {}", variant.name, outside.reason);
            let note = diagnostic(Severity::Note, "outside-class", message, outside.span);
            report(&source, &Diagnostics::from_iter([note]), arguments.json)?;
        }
        let outside = result.err();
        let reason = outside.as_ref().map(|o| o.reason.as_str());
        if arguments.json {
            output::json(&json!({ "variant": variant.name, "in_class": outside.is_none(), "reason": reason }))?;
        } else {
            output::line(&match &outside {
                None => format!("{}: in the class", variant.name),
                Some(o) => {
                    let (line, column) = (o.span.line, o.span.column + 1);
                    format!("{}: note: outside the class, {line}:{column}: {}", variant.name, o.reason)
                }
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn diagnostic(severity: Severity, code: &'static str, message: String, span: rla_dsl::recurrence::Span) -> Diagnostic {
    Diagnostic { severity, code, message, span, notes: vec![] }
}

fn report(source: &Source, diagnostics: &Diagnostics, as_json: bool) -> Result<(), Failure> {
    if !as_json {
        eprint!("{}", source.render(diagnostics));
        return Ok(());
    }
    for diagnostic in diagnostics {
        let mut object = json!(diagnostic);
        object["file"] = json!(source.name);
        output::json(&object)?;
    }
    Ok(())
}
