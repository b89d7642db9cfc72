//! Compiles the kernels of the built-in variants.

/// The variants that the models use.
const MODELS: [&str; 4] = ["rla", "rdn", "gated_delta_net", "simple_gla"];

fn main() {
    // documentation needs no kernel; docs.rs sets this variable, and so does whoever wants it quickly
    println!("cargo::rerun-if-env-changed=DOCS_RS");
    if std::env::var_os("DOCS_RS").is_some() {
        return rla_build::builtin(&[]);
    }
    if std::env::var_os("CARGO_FEATURE_ALL_VARIANTS").is_some() {
        let names: Vec<&str> = rla_build::builtin_names();
        rla_build::builtin(&names);
    } else {
        rla_build::builtin(&MODELS);
    }
    if std::env::var_os("CARGO_FEATURE_CUBINS").is_some() {
        rla_build::cubins(&MODELS);
    }
}
