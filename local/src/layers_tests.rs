//! Checks that imports point down only, as the crate docs say.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The modules by layer, from the highest to the lowest. Modules of one layer do not import each other.
const LAYERS: [&[&str]; 9] = [
    &["endpoint"],
    &["listener"],
    &["handler"],
    &["control"],
    &["server"],
    &["options", "operations"],
    &["auth", "faults", "store", "request_log", "response"],
    &["names"],
    &["error", "limits", "operation", "glob", "connection", "tls", "uplink"],
];

/// Parts of the crate that no layer has: the program, which imports only the public API, and the tests.
const WITHOUT_LAYER: [&str; 5] = ["lib", "main", "args", "wire_tests", "layers_tests"];

/// Collects the source text by top-level module.
fn read_sources(folder: &Path, module: Option<&str>, sources: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let module = module.unwrap_or(&name);
        if path.is_dir() {
            read_sources(&path, Some(module), sources);
        } else {
            sources.entry(module.to_owned()).or_default().push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn imports_point_down_only() {
    let mut sources = BTreeMap::new();
    read_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), None, &mut sources);
    let layer_of = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    for (module, source) in sources.iter().filter(|(module, _)| !WITHOUT_LAYER.contains(&module.as_str())) {
        let layer = layer_of(module).unwrap_or_else(|| panic!("{module} has no layer"));
        let paths = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        for path in paths.flat_map(|line| line.split("crate::").skip(1)) {
            let imported = path.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            let imported_layer = layer_of(imported);
            assert!(
                imported == module || imported_layer.is_some_and(|imported_layer| imported_layer > layer),
                "{module} imports crate::{imported}, which is not in a layer below"
            );
        }
    }
}
