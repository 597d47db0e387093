//! Checks `tests/HOSTILE.md`, the table of hostile input, against the tests that are named after
//! its rows.
//!
//! `HOSTILE_TABLE=write cargo test --test hostile_table` writes the list of tests below the table.

#[path = "support/tests_of.rs"]
mod tests_of;

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use tests_of::tests_of;

const TABLE: &str = "tests/HOSTILE.md";
/// The heading of the list that [`list`] writes.
const LIST: &str = "\n## Tests\n";
/// Directories that may hold tests.
const DIRECTORIES: [&str; 3] = ["examples", "src", "tests"];

/// The tests of each row, by file.
type Tests = BTreeMap<u32, BTreeMap<String, Vec<String>>>;

#[test]
fn every_row_has_a_test_and_every_numbered_test_has_a_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !root.join("tests/all.sh").exists() {
        println!("not checked: the published package has neither the table nor all of the tests");
        return;
    }
    let markdown = fs::read_to_string(root.join(TABLE)).expect("a table");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("a manifest");
    let (table, listed) = markdown.split_once(LIST).expect("a table, then a list");
    let rows = rows(table);
    let tests = tests(root);

    let exists = |what: &str| features(&manifest).any(|feature| feature == what) || root.join(what).exists();
    let faults = faults(&rows, &tests, exists);
    assert!(faults.is_empty(), "{TABLE}:\n{}", faults.join("\n"));

    let list = list(&tests);
    if std::env::var("HOSTILE_TABLE").is_ok_and(|value| value == "write") {
        fs::write(root.join(TABLE), format!("{table}{LIST}{list}")).expect("a file that can be written");
    } else {
        assert!(
            listed == list,
            "{TABLE} is out of date: HOSTILE_TABLE=write cargo test --test hostile_table"
        );
    }
}

/// Returns a line for each fault.
fn faults(rows: &BTreeMap<u32, Vec<&str>>, tests: &Tests, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    for (row, waits_for) in rows {
        let built: Vec<_> = waits_for.iter().filter(|what| exists(what)).collect();
        if waits_for.is_empty() && !tests.contains_key(row) {
            faults.push(format!("row {row} has no test"));
        } else if !built.is_empty() {
            faults.push(format!(
                "row {row} waits for {built:?}, which exists: write its tests, empty its last column"
            ));
        } else if !waits_for.is_empty() && tests.contains_key(row) {
            faults.push(format!("row {row} has tests, but waits for {waits_for:?}: empty its last column"));
        }
    }
    for (row, files) in tests.iter().filter(|(row, _)| !rows.contains_key(row)) {
        faults.push(format!("row {row} is not in the table, but has tests: {files:?}"));
    }
    faults
}

/// Reads the table: the number of each row, and what the row waits for.
fn rows(table: &str) -> BTreeMap<u32, Vec<&str>> {
    let mut rows = BTreeMap::new();
    for line in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let &[number, _, _, waits_for] = &cells[..] else { panic!("not four columns: {line}") };
        let number = number.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        let waits_for = waits_for.split_whitespace().map(|name| name.trim_matches('`')).collect();
        assert!(rows.insert(number, waits_for).is_none(), "two rows have the number {number}");
    }
    assert!(rows.keys().copied().eq(1..=rows.len() as u32), "the rows are not numbered from 1 on");
    rows
}

/// Returns the names in the section `[features]` of a manifest.
fn features(manifest: &str) -> impl Iterator<Item = &str> {
    let section = manifest.lines().skip_while(|line| *line != "[features]").skip(1);
    section.take_while(|line| !line.starts_with('[')).filter_map(|line| Some(line.split_once(" = ")?.0))
}

/// Finds all tests that are named after a row.
fn tests(root: &Path) -> Tests {
    let mut tests = Tests::new();
    let mut files = Vec::new();
    for directory in DIRECTORIES {
        find_files(&root.join(directory), &mut files);
    }
    for path in files {
        let source = fs::read_to_string(&path).expect("text");
        let file =
            path.strip_prefix(root).expect("a path below the root").to_string_lossy().replace('\\', "/");
        for (row, name) in numbered(&source) {
            tests.entry(row).or_default().entry(file.clone()).or_default().push(name.to_owned());
        }
    }
    tests
}

/// Collects the Rust and Python files of a directory.
fn find_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("node_modules") {
            find_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "py") {
            files.push(path);
        }
    }
}

/// Returns the tests of a file that are named after a row. Those in Python begin with `test_`.
fn numbered(source: &str) -> Vec<(u32, &str)> {
    let names = tests_of(source).into_iter().map(|name| name.strip_prefix("test_").unwrap_or(name));
    let numbered = names.filter(|name| name.starts_with("row_")).map(|name| {
        let number = name[4..].split('_').next().and_then(|digits| digits.parse().ok());
        (number.unwrap_or_else(|| panic!("no number: {name}")), name)
    });
    numbered.collect()
}

/// Writes the tests of each row.
fn list(tests: &Tests) -> String {
    let mut list = String::new();
    for (row, files) in tests {
        write!(list, "\n### Row {row}\n\n").expect("writing to a string cannot fail");
        for (file, names) in files {
            writeln!(list, "- `{file}`").expect("writing to a string cannot fail");
            for name in names {
                writeln!(list, "  - `{name}`").expect("writing to a string cannot fail");
            }
        }
    }
    list
}

#[test]
fn rows_without_tests_and_tests_without_rows_are_reported() {
    let table = "| # | input | required | waits for |\n|---|---|---|---|\n| 1 | a | b | |\n| 2 | a | b | `x` |\n| 3 | a | b | |";
    let tests_of = |source: &str| -> Tests {
        let names = numbered(source).into_iter();
        names.map(|(row, name)| (row, BTreeMap::from([("file".to_owned(), vec![name.to_owned()])]))).collect()
    };
    let rust = |row: u32| format!("#[test]\nfn row_{row:02}_a() {{}}\n");
    let (rows, nothing) = (rows(table), |_: &str| false);
    let complete = tests_of(&(rust(1) + "def test_row_03_b():"));
    assert_eq!(faults(&rows, &complete, nothing), Vec::<String>::new());
    // A function that is not a test, a row that is not in the table, a feature that exists.
    for (source, exists, fault) in [
        (rust(1) + "fn row_03_b() {}", false, "row 3 has no test"),
        (rust(1) + &rust(3) + &rust(4), false, "row 4 is not in the table"),
        (rust(1) + &rust(3) + &rust(2), false, "row 2 has tests"),
        (rust(1) + &rust(3), true, "row 2 waits for [\"x\"], which exists"),
        (rust(1) + &rust(2) + &rust(3), true, "row 2 waits for [\"x\"], which exists"),
    ] {
        let found = faults(&rows, &tests_of(&source), |what| exists && what == "x");
        assert!(matches!(&found[..], [one] if one.starts_with(fault)), "{found:?}, not {fault}");
    }
    let manifest =
        "[package]\nname = 1\n[features]\ndefault = []\n# a comment\ntls = [\"dep:x\"]\n[lib]\nbench = 1";
    assert_eq!(features(manifest).collect::<Vec<_>>(), ["default", "tls"]);
}
