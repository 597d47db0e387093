//! Checks `COMPLIANCE.md`: the files, items and tests that its rows name exist, and no row is open.

#[path = "support/tests_of.rs"]
mod tests_of;

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write,
    fs,
    path::Path,
};

use tests_of::tests_of;

const DOCUMENT: &str = "COMPLIANCE.md";
/// In place of the code, for a sentence that needs none.
const OTHERS: &str = "not for a library";
const NOT_FOLLOWED: &str = "not followed";

/// A requirement.
#[derive(Debug)]
struct Row<'a> {
    /// The heading above it.
    document: &'a str,
    id: &'a str,
    code: &'a str,
    /// The tests, or the reason why there are none.
    tests: &'a str,
}

#[test]
fn every_row_names_code_and_tests_that_exist_or_has_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let markdown = fs::read_to_string(root.join(DOCUMENT)).expect("a document");
    let mut faults = Vec::new();
    let rows = rows(&markdown, &mut faults);
    check_ids(&rows, &mut faults);
    let mut files = BTreeMap::new();
    let mut read = |path: &str| {
        let read = || fs::read_to_string(root.join(path)).ok();
        files.entry(path.to_owned()).or_insert_with(read).clone()
    };
    rows.iter().for_each(|row| check_row(row, &mut read, &mut faults));
    let counts = counts(&rows);
    if !markdown.contains(&counts) {
        faults.push(format!("the numbers are out of date:\n{counts}"));
    }
    assert!(faults.is_empty(), "{DOCUMENT}:\n{}", faults.join("\n"));
}

/// Reads the tables of requirements.
fn rows<'a>(markdown: &'a str, faults: &mut Vec<String>) -> Vec<Row<'a>> {
    let (mut rows, mut document) = (Vec::new(), "");
    for line in markdown.lines() {
        document = line.strip_prefix("## ").unwrap_or(document);
        let is_row = line.starts_with("| ") && line[2..].starts_with(|first: char| first.is_ascii_digit());
        if !is_row {
            continue;
        }
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        match &cells[..] {
            cells if cells.iter().any(|cell| cell.is_empty()) => faults.push(format!("empty cell: {line}")),
            &[id, _level, _requirement, code, tests] => rows.push(Row { document, id, code, tests }),
            _ => faults.push(format!("not five columns: {line}")),
        }
    }
    rows
}

/// An id: the RFC and the section, the number of the sentence, and the letter of a part of it.
fn parse_id(id: &str) -> Option<(&str, u32, Option<char>)> {
    let (section, rest) = id.rsplit_once('-')?;
    let letter = rest.chars().last().filter(char::is_ascii_lowercase);
    let number = rest.trim_end_matches(|last: char| last.is_ascii_lowercase()).parse().ok()?;
    Some((section, number, letter))
}

/// Checks that ids are unique, and that sentences and their parts are numbered without a gap.
fn check_ids(rows: &[Row<'_>], faults: &mut Vec<String>) {
    let mut seen = HashSet::new();
    let mut last: BTreeMap<&str, (u32, Option<char>)> = BTreeMap::new();
    for Row { id, .. } in rows {
        if !seen.insert(id) {
            faults.push(format!("{id}: this id is used twice"));
        }
        let Some((section, number, letter)) = parse_id(id) else {
            faults.push(format!("{id}: not an id"));
            continue;
        };
        let before = last.insert(section, (number, letter)).unwrap_or_default();
        let follows = match letter {
            None => number == before.0 + 1,
            Some('a') => before == (number, None),
            Some(letter) => {
                before.0 == number && before.1.map(|before| before as u32 + 1) == Some(letter as u32)
            }
        };
        if !follows {
            faults.push(format!("{id}: does not follow the id before it"));
        }
    }
}

/// Checks what a row names.
fn check_row(row: &Row<'_>, read: &mut impl FnMut(&str) -> Option<String>, faults: &mut Vec<String>) {
    let Row { id, code, tests, .. } = *row;
    if matches!(code, OTHERS | NOT_FOLLOWED) {
        return;
    }
    let mut check = |cell: &str, exists: fn(&str, &str) -> bool| {
        let named = named(cell);
        if named.iter().all(|(_, items)| items.is_empty()) || named.iter().any(|(_, items)| items.is_empty())
        {
            faults.push(format!("{id}: names nothing: {cell}"));
        }
        for (path, items) in named {
            match read(path) {
                None => faults.push(format!("{id}: there is no {path}")),
                Some(source) => faults.extend(
                    items
                        .into_iter()
                        .filter(|item| !exists(&source, item))
                        .map(|item| format!("{id}: there is no {item} in {path}")),
                ),
            }
        }
    };
    check(code, defines);
    check(tests, |source, name| tests_of(source).contains(&name));
}

/// Parses a list of files, each with the items in it: `` `path`: `item`, `item`; `path`: `item` ``.
fn named(cell: &str) -> Vec<(&str, Vec<&str>)> {
    let mut named: Vec<(&str, Vec<&str>)> = Vec::new();
    for part in cell.split('`').skip(1).step_by(2) {
        match (part.contains('/'), named.last_mut()) {
            (true, _) | (_, None) => named.push((part, Vec::new())),
            (false, Some((_, items))) => items.push(part),
        }
    }
    named
}

/// Returns whether a Rust file defines an item, such as `name`, `Type::function` or `Enum::Variant`.
fn defines(source: &str, item: &str) -> bool {
    let lines = || source.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
    let is_name = |char: char| char.is_alphanumeric() || char == '_';
    let defined = |name: &str| {
        lines().any(|line| {
            let words: Vec<_> = line.split(' ').collect();
            words.windows(2).any(|pair| {
                let keyword = ["fn", "struct", "enum", "trait", "type", "const", "static"].contains(&pair[0]);
                keyword && pair[1].split(|char| !is_name(char)).next() == Some(name)
            })
        })
    };
    let Some((owner, name)) = item.split_once("::") else { return defined(item) };
    let of_owner =
        |line: &str| line.starts_with("impl") && line.split(|char| !is_name(char)).any(|word| word == owner);
    let is_variant = |line: &str| {
        line.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with([',', '(', ' ']))
    };
    (lines().any(of_owner) && defined(name)) || (defined(owner) && lines().any(is_variant))
}

/// Writes the table with the numbers of rows.
fn counts(rows: &[Row<'_>]) -> String {
    let mut documents: Vec<_> = rows.iter().map(|row| row.document).collect();
    documents.dedup();
    let mut table = "| document | sentences | done | not for a library | not followed | rows |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for document in documents.into_iter().map(Some).chain([None]) {
        let rows: Vec<_> =
            rows.iter().filter(|row| document.is_none_or(|name| row.document == name)).collect();
        let is_sentence =
            |row: &&&Row<'_>| matches!(parse_id(row.id), Some((section, _, None)) if !section.contains("-e"));
        let count = |is: fn(&str) -> bool| rows.iter().filter(is_sentence).filter(|row| is(row.code)).count();
        writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} |",
            document.unwrap_or("all"),
            count(|_| true),
            count(|code| !matches!(code, OTHERS | NOT_FOLLOWED)),
            count(|code| code == OTHERS),
            count(|code| code == NOT_FOLLOWED),
            rows.len()
        )
        .expect("writing to a string cannot fail");
    }
    table
}

#[test]
fn a_row_that_is_open_or_names_what_does_not_exist_is_reported() {
    let source = "impl<T> From<T> for A<T> {\n    pub(crate) const fn f(&self) {}\n}\nenum E {\n    V(u8),\n}\n\
        // struct Gone\n#[test]\n#[cfg(unix)]\nfn passes() {}\nfn helper() {}\nasync def test_python():\n";
    let found = |table: &str| {
        let mut faults = Vec::new();
        let rows = rows(table, &mut faults);
        check_ids(&rows, &mut faults);
        rows.iter().for_each(|row| {
            check_row(row, &mut |path| (path == "src/a.rs").then(|| source.to_owned()), &mut faults);
        });
        faults
    };
    let row = |id: &str, code: &str, tests: &str| format!("| {id} | MUST | what | {code} | {tests} |\n");
    let fine = row("1-2.3-1", "`src/a.rs`: `A::f`, `f`, `E::V`, `E`", "`src/a.rs`: `passes`");
    let more = row("1-2.3-1a", NOT_FOLLOWED, "a reason") + &row("1-2.3-2", OTHERS, "a reason");
    assert_eq!(found(&(fine.clone() + &more)), Vec::<String>::new());
    for (table, fault) in [
        (fine.repeat(2), "1-2.3-1: this id is used twice"),
        (fine.clone() + &row("1-2.3-3", OTHERS, "a reason"), "1-2.3-3: does not follow"),
        (fine.clone() + &row("1-2.3-1b", OTHERS, "a reason"), "1-2.3-1b: does not follow"),
        (row("1-2.3-1", OTHERS, ""), "empty cell"),
        (row("1-2.3-1", OTHERS, "a | reason"), "not five columns"),
        (row("1-x", OTHERS, "a reason"), "1-x: not an id"),
        (fine.replace("A::f", "B::f"), "1-2.3-1: there is no B::f in src/a.rs"),
        (fine.replace("E::V", "E::W"), "1-2.3-1: there is no E::W in src/a.rs"),
        (fine.replace("`f`", "`Gone`"), "1-2.3-1: there is no Gone in src/a.rs"),
        (fine.replace("src/a.rs`: `A", "src/b.rs`: `A"), "1-2.3-1: there is no src/b.rs"),
        (fine.replace("passes", "helper"), "1-2.3-1: there is no helper in src/a.rs"),
        (row("1-2.3-1", "`src/a.rs`: `f`", "none"), "1-2.3-1: names nothing"),
        (row("1-2.3-1", "`src/a.rs`", "`src/a.rs`: `passes`"), "1-2.3-1: names nothing"),
    ] {
        let faults = found(&table);
        assert!(faults.first().is_some_and(|first| first.starts_with(fault)), "{faults:?}, not {fault}");
    }
    assert_eq!(tests_of(source), ["passes"], "a coroutine is no test of pytest");
}
