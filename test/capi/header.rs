//! `include/acerust.h` is what the code says.

use std::path::{Path, PathBuf};

const TOP: &str = "\
/* The C interface of ACERust: site models of the atomic cluster expansion at hardware speed.
 *
 * Generated from src/capi: change it there, then run `ACERUST_BLESS=1 cargo test --test capi header`.
 *
 * Units are eV and Å; indices count from 0; matrices are row-major unless something else is said: positions of n atoms are
 * (n, 3), x y z of one atom after another.
 *
 * Every function returns a status: ACERUST_OK, or one of ACERUST_ERROR_…, and then acerust_last_error has a message that names the
 * culprit. Where a function fails, what its results hold is not specified, but handles that it was to make are left alone.
 *
 * Handles are made by functions whose last argument is `out` and freed by acerust_…_free. They are not addresses. A handle that was
 * freed, or never was one, is an error and does no harm. All functions may be called from several threads at once, on the same
 * handles too.
 *
 * Buffers belong to the caller; their lengths count entries, not bytes, and are checked. Buffers for results may not overlap each
 * other. Where a length is 0 the pointer may be null. */";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn generate() -> String {
    let config = cbindgen::Config {
        language: cbindgen::Language::C,
        header: Some(TOP.into()),
        include_guard: Some("ACERUST_H".into()),
        cpp_compat: true,
        usize_is_size_t: true,
        no_includes: true,
        sys_includes: vec!["stddef.h".into(), "stdint.h".into()],
        documentation_style: cbindgen::DocumentationStyle::Doxy,
        style: cbindgen::Style::Type,
        line_length: 132,
        ..cbindgen::Config::default()
    };
    let mut builder = cbindgen::Builder::new().with_config(config);
    for name in [
        "version", "status", "element", "model", "basis", "plan", "evaluate", "batch", "graph", "list", "op", "train",
        "fit", "active",
    ] {
        builder = builder.with_src(root().join(format!("src/capi/{name}.rs")));
    }
    let mut text = Vec::new();
    builder.generate().expect("the sources parse").write(&mut text);
    String::from_utf8(text).expect("UTF-8")
}

#[test]
fn header_is_in_step_with_the_code() {
    let path = root().join("include/acerust.h");
    let expected = generate();
    if std::env::var_os("ACERUST_BLESS").is_some() {
        std::fs::write(&path, &expected).expect("include/acerust.h can be written");
    }
    let found = std::fs::read_to_string(&path).expect("include/acerust.h");
    let line = found.lines().zip(expected.lines()).position(|(a, b)| a != b);
    assert!(
        found == expected,
        "include/acerust.h differs from the code, first in line {:?}; ACERUST_BLESS=1 writes it anew",
        line.map(|l| l + 1)
    );
}

/// The names after a marker in the sources of `src/capi`.
fn names(marker: &str) -> Vec<String> {
    let files = std::fs::read_dir(root().join("src/capi")).expect("src/capi");
    let mut names = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
        for rest in text.split(marker).skip(1) {
            names.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    names
}

#[test]
fn every_exported_function_is_in_the_header_once() {
    let header = std::fs::read_to_string(root().join("include/acerust.h")).expect("include/acerust.h");
    let exported: Vec<_> = names("extern \"C\" fn ");
    assert!(exported.len() > 40, "{exported:?}");
    for name in exported {
        assert_eq!(header.matches(&format!("{name}(")).count(), 1, "{name}");
    }
}
