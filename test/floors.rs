//! The imports of `src` point down: from the borders to the ground, floor by floor, and in no circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// From the ground up; what stands on one floor may use what is below it, and what stands left of it on the same floor.
const FLOORS: [(&str, &str); 8] = [
    ("ground", "error element memory random file npz parallel simd dtype precision device"),
    ("atoms", "structure graph extxyz"),
    ("mathematics", "stage ops pace"),
    ("potentials", "part mace model potential"),
    ("engines", "cpu cuda"),
    ("front door", "plan stack batch train bench"),
    ("fitting", "build fit"),
    ("borders", "shared capi bin"),
];

/// The code of a file: no comments, strings or unit tests.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            // A module ends with its brace; one in a file of its own, or a line of a list, with the line.
            let Some(item) = lines.next() else { break };
            let end = format!("{}}}", &item[..item.len() - item.trim_start().len()]);
            if item.ends_with('{') {
                lines.by_ref().find(|line| **line == end);
            }
            continue;
        }
        let line = line.split("//").next().unwrap_or_default();
        code.extend(line.split('"').step_by(2));
        code.push('\n');
    }
    code
}

/// The modules of the crate that `text` names, by `crate::…` or, in the program, by `acerust::…`.
fn imports(text: &str) -> BTreeSet<String> {
    let name = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = BTreeSet::new();
    for root in ["crate::", "acerust::"] {
        for (at, _) in text.match_indices(root) {
            let rest = &text[at + root.len()..];
            let Some(list) = rest.strip_prefix('{') else {
                found.insert(name(rest));
                continue;
            };
            // The first names of a list in braces; what is in inner braces belongs to them.
            let mut depth = 0;
            let mut item = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => drop(found.insert(name(std::mem::take(&mut item).trim()))),
                    _ => {}
                }
                item.extend((c != ',').then_some(c));
            }
            found.insert(name(item.trim()));
        }
    }
    found
}

/// What each module of `src` uses, and one file in which it does.
fn uses(folder: &Path, module: &str, into: &mut BTreeMap<(String, String), String>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let module = if module.is_empty() { &name[..] } else { module };
        if path.is_dir() {
            uses(&path, module, into);
        } else if path.extension().is_some_and(|e| e == "rs") && module != "lib" {
            let text = fs::read_to_string(&path).expect("a source");
            for used in imports(&code(&text)) {
                into.entry((module.to_owned(), used)).or_insert_with(|| path.display().to_string());
            }
        }
    }
}

#[test]
fn imports_point_down() {
    let place: BTreeMap<&str, usize> =
        FLOORS.iter().flat_map(|(_, modules)| modules.split(' ')).enumerate().map(|(k, module)| (module, k)).collect();
    let mut edges = BTreeMap::new();
    uses(Path::new("src"), "", &mut edges);
    let modules: BTreeSet<&str> = edges.keys().map(|(module, _)| &module[..]).collect();
    assert!(edges.len() > 100, "{} imports: the test reads too little", edges.len());
    for module in &modules {
        assert!(place.contains_key(module), "src/{module} stands on no floor of this test");
    }
    let upwards: Vec<String> = edges
        .iter()
        .filter(|((module, used), _)| place.get(&used[..]).is_some_and(|at| *at > place[&module[..]]))
        .map(|((module, used), file)| format!("{module} uses {used}: {file}"))
        .collect();
    assert!(upwards.is_empty(), "{upwards:#?}");
}

#[test]
fn imports_are_read_as_they_are_written() {
    let text = "use crate::{Error, graph::{Graph, Sites}, parallel};\nuse crate::simd::Isa; // crate::plan\n\
                let x = \"crate::plan\"; acerust::model::Model\n#[cfg(test)]\nmod tests {\n    use crate::plan::Plan;\n}\ncrate::stage";
    let found: Vec<String> = imports(&code(text)).into_iter().collect();
    assert_eq!(found, ["Error", "graph", "model", "parallel", "simd", "stage"]);
}
