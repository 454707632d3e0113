//! The documents that are made from the code, or that list what the code has, are current.
//!
//! `UPDATE_DOCS=1` writes the made ones instead of comparing them: `make docs`.

use std::fs;
use std::path::Path;

use cwl_sink::config::{configuration_page, readme_table};
use cwl_sink::report::stats::{Snapshot, to_json};

const BEGIN: &str = "<!-- options -->\n";
const END: &str = "<!-- end of options -->\n";

fn committed(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Compares a document with what the code makes of it, or writes it.
fn compare(file: &str, made: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        fs::write(&path, made).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    } else {
        assert!(committed(file) == made, "{file} is stale: run `make docs`");
    }
}

#[test]
fn the_page_of_options_is_the_one_that_the_code_makes() {
    compare("docs/CONFIGURATION.md", &configuration_page());
}

#[test]
fn the_readme_has_the_table_of_options_that_the_code_makes() {
    let readme = committed("README.md");
    let (before, rest) = readme.split_once(BEGIN).expect("README.md has the marker of its options");
    let (_, after) = rest.split_once(END).expect("README.md has the marker of the end of its options");
    compare("README.md", &format!("{before}{BEGIN}\n{}\n{END}{after}", readme_table()));
}

#[test]
fn every_statistic_has_a_row_in_its_page() {
    let page = committed("docs/STATISTICS.md");
    let document: serde_json::Value = to_json(&Snapshot::default(), &[]).parse().expect("JSON");
    let members: Vec<&String> = document.as_object().expect("an object").keys().collect();
    assert!(members.len() > 20, "{members:?}");
    let missing: Vec<_> =
        members.iter().filter(|member| !page.contains(&format!("\n| `{member}` |"))).collect();
    assert!(missing.is_empty(), "docs/STATISTICS.md has no row for {missing:?}");
}
