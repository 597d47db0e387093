//! Checks `HOSTILE.md` against the tests.

#[path = "../../../tests/support/tests_of.rs"]
mod tests_of;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use tests_of::tests_of;

#[test]
fn each_row_names_tests_that_exist_and_each_hostile_test_is_in_a_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("HOSTILE.md")).expect("a table");
    let (mut all, mut hostile) = (BTreeSet::new(), BTreeSet::new());
    for path in files(&root.join("tests")).into_iter().chain(files(&root.join("src"))) {
        let source = fs::read_to_string(&path).expect("text");
        let tests = tests_of(&source).into_iter().map(str::to_owned);
        match path.file_name().and_then(|name| name.to_str()) {
            Some("hostile_table.rs") => {}
            Some(name) if name.starts_with("hostile") => hostile.extend(tests),
            _ => all.extend(tests),
        }
    }
    all.extend(hostile.iter().cloned());
    let faults = faults(&table, &all, &hostile);
    assert!(faults.is_empty(), "HOSTILE.md:\n{}", faults.join("\n"));
}

/// Returns the files with Rust code in a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Returns a line for each fault of a table.
fn faults(table: &str, all: &BTreeSet<String>, hostile: &BTreeSet<String>) -> Vec<String> {
    let (mut faults, mut named) = (Vec::new(), BTreeSet::new());
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #"));
    for (at, row) in rows.enumerate() {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let &[number, _, _, tests] = &cells[..] else {
            faults.push(format!("not four columns: {row}"));
            continue;
        };
        if number.parse() != Ok(at + 1) {
            faults.push(format!("row {} has the number {number}", at + 1));
        }
        let tests: Vec<_> = tests.split_whitespace().map(|test| test.trim_matches('`').to_owned()).collect();
        if tests.is_empty() {
            faults.push(format!("row {number} has no test"));
        }
        let missing = tests.iter().filter(|test| !all.contains(*test));
        faults.extend(missing.map(|test| format!("row {number} names no test: {test}")));
        named.extend(tests);
    }
    faults.extend(hostile.difference(&named).map(|test| format!("no row names {test}")));
    faults
}

#[test]
fn faults_of_a_table_are_found() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let (all, hostile) = (names(&["a", "b"]), names(&["b"]));
    let head = "| # | input | required | tests |\n|---|---|---|---|\n";
    for (rows, expected) in [
        ("| 1 | x | y | `a` `b` |", vec![]),
        ("| 1 | x | y | `a` |\n| 3 | x | y | `b` |", vec!["row 2 has the number 3"]),
        ("| 1 | x | y | |\n| 2 | x | y | `b` |", vec!["row 1 has no test"]),
        ("| 1 | x | y | `c` |", vec!["row 1 names no test: c", "no row names b"]),
        ("| 1 | x | `b` |", vec!["not four columns: | 1 | x | `b` |", "no row names b"]),
    ] {
        assert_eq!(faults(&format!("{head}{rows}"), &all, &hostile), expected);
    }
}
