//! The architecture, checked: a file imports from its own layer and from the layers below it, and no files import each
//! other in a circle. The `use` lines of every file are read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The layers from top to bottom. Each name is a folder or a file of `src/`. What is missing here is a leaf: it belongs to
/// the layer below all others.
const LAYERS: &[&str] = &[
    "ffi", "sink", "engine", "schedule", "report", "target", "batch", "outcome", "service", "sources",
    "config", "memory",
];
const LEAVES: &[&str] =
    &["clock", "health", "json", "limits", "process", "service_clock", "sync", "threads", "wait_group"];
/// The files of one type whose methods stand in several files. They may import each other.
const ONE_TYPE: &[&str] = &["target/queue/"];

/// The `use` paths of each file of `src/`, as files of `src/` without their ending.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of src") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => rust_files(&path, files),
            false if path.extension().is_some_and(|ending| ending == "rs") => files.push(path),
            false => {}
        }
    }
}

/// The names behind `use`, with braces written out: `a::{b, c::d}` gives `a::b` and `a::c::d`.
fn spelled_out(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.trim().to_owned()] };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut parts, mut depth, mut part) = (Vec::new(), 0, String::new());
    for c in inner.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        match c {
            ',' if depth == 0 => parts.push(std::mem::take(&mut part)),
            _ => part.push(c),
        }
    }
    parts.push(part);
    let whole = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    whole.flat_map(|part| spelled_out(&format!("{}{part}", before.trim()))).collect()
}

/// Every path that a file names with `crate::` or `super::`, in a `use` or in the code, as names from the root of `src/`.
fn paths_of(text: &str, module: &[&str]) -> Vec<Vec<String>> {
    let code = text.split("#[cfg(test)]").next().unwrap_or(text);
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).fold(
        String::new(),
        |mut code, line| {
            code.push_str(line.trim());
            code.push(' ');
            code
        },
    );
    let mut paths = Vec::new();
    for root in ["crate::", "super::"] {
        for (place, _) in code.match_indices(root) {
            let before = code[..place].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let in_use = code[..place].trim_end().ends_with("use");
            let end = match in_use {
                true => code[place..].find(';'),
                false => code[place..].find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')),
            };
            let path = &code[place..end.map_or(code.len(), |end| place + end)];
            for path in spelled_out(path) {
                let mut names: Vec<&str> = path.split("::").map(str::trim).collect();
                let mut from = if names[0] == "super" { module.to_vec() } else { Vec::new() };
                while names.first().is_some_and(|name| *name == "super" || *name == "crate") {
                    if names.remove(0) == "super" {
                        from.pop();
                    }
                }
                paths.push(from.iter().chain(&names).map(|name| (*name).to_owned()).collect());
            }
        }
    }
    // A `use` without a root names a file below this one, such as `pub use budget::Budget` in `mod.rs`.
    for (place, _) in code.match_indices("use ") {
        let path = code[place + 4..].split(';').next().unwrap_or_default();
        if !path.starts_with("crate::") && !path.starts_with("super::") {
            for path in spelled_out(path) {
                let names = path.split("::").map(|name| name.trim().to_owned());
                paths.push(module.iter().map(|name| (*name).to_owned()).chain(names).collect());
            }
        }
    }
    paths
}

/// The file that a path leads to: the longest beginning of it that is one.
fn file_of(path: &[String], files: &BTreeSet<String>) -> Option<String> {
    (1..=path.len()).rev().find_map(|length| {
        let name = path[..length].join("/");
        [name.clone(), format!("{name}/mod")].into_iter().find(|file| files.contains(file))
    })
}

fn imports_of(sources: &BTreeMap<String, String>) -> Imports {
    let files: BTreeSet<String> = sources.keys().cloned().collect();
    let imports = sources.iter().map(|(file, text)| {
        let module: Vec<&str> = file.split('/').filter(|name| *name != "mod").collect();
        let targets = paths_of(text, &module).into_iter().filter_map(|path| file_of(&path, &files));
        (file.clone(), targets.filter(|target| target != file).collect())
    });
    imports.collect()
}

fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&root).expect("below src").with_extension("");
        (name.to_string_lossy().replace('\\', "/"), fs::read_to_string(&path).expect("readable"))
    };
    files.into_iter().map(read).filter(|(name, _)| name != "lib" && !name.ends_with("tests")).collect()
}

fn layer_of(file: &str) -> Result<usize, String> {
    let top = file.split('/').next().unwrap_or(file);
    if LEAVES.contains(&top) {
        return Ok(LAYERS.len());
    }
    let layer = LAYERS.iter().position(|layer| *layer == top);
    layer.ok_or_else(|| format!("src/{file}.rs belongs to no layer: tests/layers.rs lists them"))
}

fn upward(imports: &Imports) -> Vec<String> {
    let mut faults = Vec::new();
    for (file, targets) in imports {
        for target in targets {
            match (layer_of(file), layer_of(target)) {
                (Ok(from), Ok(to)) if from > to => {
                    faults.push(format!("src/{file}.rs imports src/{target}.rs from a layer above"));
                }
                (Err(fault), _) | (_, Err(fault)) => faults.push(fault),
                _ => {}
            }
        }
    }
    faults
}

fn is_one_type(file: &str, target: &str) -> bool {
    ONE_TYPE.iter().any(|folder| file.starts_with(folder) && target.starts_with(folder))
}

/// The files that reach themselves by imports.
fn cycles(imports: &Imports) -> Vec<String> {
    let mut faults = Vec::new();
    for file in imports.keys() {
        let (mut seen, mut open) = (BTreeSet::new(), vec![file]);
        while let Some(next) = open.pop() {
            let targets = imports.get(next).into_iter().flatten().filter(|target| !is_one_type(next, target));
            open.extend(targets.filter(|target| seen.insert((*target).clone())));
        }
        if seen.contains(file) {
            faults.push(format!("src/{file}.rs imports itself through other files"));
        }
    }
    faults
}

#[test]
fn imports_point_down() {
    let faults = upward(&imports_of(&sources()));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let faults = cycles(&imports_of(&sources()));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_layer_exists_and_has_imports() {
    let imports = imports_of(&sources());
    for layer in LAYERS.iter().chain(LEAVES) {
        assert!(imports.keys().any(|file| file.split('/').next() == Some(*layer)), "src/{layer} is missing");
    }
    let found: usize = imports.values().map(BTreeSet::len).sum();
    assert!(found > 150, "only {found} imports were found in {} files", imports.len());
}

#[test]
fn an_import_that_points_up_and_a_circle_are_found() {
    let mut sources = sources();
    for (file, line) in [
        ("target/queue/mod", "use crate::{limits, engine::{Engine, PushError}};\n"),
        ("limits", "fn f() { crate::json::json_string(\"\"); }\n"),
        ("json", "use super::limits::MESSAGE_BYTES_MAX;\n"),
    ] {
        sources.get_mut(file).expect("a file").insert_str(0, line);
    }
    let imports = imports_of(&sources);
    assert_eq!(upward(&imports), ["src/target/queue/mod.rs imports src/engine/mod.rs from a layer above"]);
    let circles = cycles(&imports);
    assert!(circles.contains(&"src/limits.rs imports itself through other files".to_owned()), "{circles:?}");
    assert!(circles.contains(&"src/json.rs imports itself through other files".to_owned()), "{circles:?}");
}
