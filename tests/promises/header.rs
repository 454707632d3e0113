//! Documents that are generated from the code are current.

use std::fs;
use std::path::Path;

fn committed(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_committed_header_is_the_one_that_the_code_makes() {
    let generated =
        fs::read_to_string(env!("CWL_SINK_GENERATED_HEADER")).expect("build.rs generates a header");
    assert!(committed("include/cwl_sink.h") == generated, "include/cwl_sink.h is stale: run `make header`");
}
