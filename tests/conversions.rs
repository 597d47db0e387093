//! Checks the table of `PORTABILITY.md`: it names each conversion of numbers in `src`, by file and
//! function, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const DOCUMENT: &str = "PORTABILITY.md";

/// The types that `as` and `try_from` convert to.
const NUMBERS: [&str; 14] =
    ["u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize", "f32", "f64"];

/// Functions that depend on an order of bytes.
const ORDERS: [&str; 7] = [
    "from_ne_bytes",
    "to_ne_bytes",
    "from_le_bytes",
    "to_le_bytes",
    "from_be_bytes",
    "to_be_bytes",
    "swap_bytes",
];

/// The kinds of conversions, by file and function.
type Conversions<'a> = BTreeMap<(String, &'a str), BTreeSet<String>>;

#[test]
fn each_conversion_in_the_source_has_a_row_and_each_row_has_its_conversion() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let markdown = fs::read_to_string(root.join(DOCUMENT)).expect("a document");
    let mut sources = BTreeMap::new();
    read_files(root, &root.join("src"), &mut sources);
    let faults = faults(&rows(&markdown), &conversions(&sources));
    assert!(faults.is_empty(), "{DOCUMENT}:\n{}", faults.join("\n"));
}

/// Reads the Rust files of a directory, by their paths below the root.
fn read_files(root: &Path, directory: &Path, sources: &mut BTreeMap<String, String>) {
    let entries = fs::read_dir(directory).expect("a directory");
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            read_files(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("a path below the root");
            let name = name.to_string_lossy().replace('\\', "/");
            sources.insert(name, fs::read_to_string(&path).expect("text"));
        }
    }
}

/// Returns a line for each difference between the table and the source.
fn faults(rows: &Conversions<'_>, found: &Conversions<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    let nothing = BTreeSet::new();
    for key in rows.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
        let (file, function) = key;
        let (row, found) = (rows.get(key).unwrap_or(&nothing), found.get(key).unwrap_or(&nothing));
        for kind in found.difference(row) {
            faults.push(format!("{file}: `{function}` has `{kind}`, which no row names"));
        }
        for kind in row.difference(found) {
            faults.push(format!("{file}: `{function}` has no `{kind}`, which its row names"));
        }
    }
    faults
}

/// Reads the rows that begin with a file in `src`: the file, a function or a constant, its kinds of
/// conversions, and a reason.
fn rows(markdown: &str) -> Conversions<'_> {
    let mut rows = Conversions::new();
    for line in markdown.lines().filter(|line| line.starts_with("| `src/")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let &[file, function, kinds, reason] = &cells[..] else { panic!("not four columns: {line}") };
        assert!(!reason.is_empty(), "no reason: {line}");
        let kinds = kinds.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let key = (file.trim_matches('`').to_owned(), function.trim_matches('`'));
        assert!(rows.insert(key, kinds).is_none(), "two rows: {line}");
    }
    rows
}

/// Finds the conversions in all files, except for those of tests.
fn conversions(sources: &BTreeMap<String, String>) -> Conversions<'_> {
    let tests = test_files(sources);
    let mut found = Conversions::new();
    for (file, source) in sources.iter().filter(|(file, _)| !tests.contains(Path::new(file))) {
        for (function, kind) in conversions_in(source) {
            found.entry((file.clone(), function)).or_default().insert(kind);
        }
    }
    found
}

/// Returns the files of modules that exist in tests only.
fn test_files(sources: &BTreeMap<String, String>) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for (file, source) in sources {
        let file = Path::new(file);
        let directory = match file.file_stem().and_then(|stem| stem.to_str()) {
            Some("lib" | "mod") | None => file.with_file_name(""),
            Some(stem) => file.with_file_name(stem),
        };
        let lines: Vec<_> = source.lines().map(str::trim).collect();
        let modules = lines.windows(2).filter(|pair| is_test_only(pair[0]));
        for name in modules.filter_map(|pair| pair[1].strip_suffix(';')?.split_once("mod ")) {
            files.insert(directory.join(format!("{}.rs", name.1)));
            files.insert(directory.join(name.1).join("mod.rs"));
        }
    }
    files
}

/// Returns whether a line is an attribute that leaves an item out of all builds but tests.
fn is_test_only(line: &str) -> bool {
    line == "#[cfg(test)]" || line.starts_with("#[cfg(all(test")
}

/// Returns the conversions in a file before its tests, each with the function that it is in, or the
/// constant outside of functions.
fn conversions_in(source: &str) -> Vec<(&str, String)> {
    let (mut found, mut owner) = (Vec::new(), "");
    for line in source.lines().take_while(|line| !line.starts_with("mod tests {")) {
        if line.trim_start().starts_with("//") {
            continue;
        }
        let code = line.split(" // ").next().unwrap_or_default();
        let constant = || word_after(code, "const ").or_else(|| word_after(code, "static "));
        let constant = || if code.starts_with(' ') { None } else { constant() };
        owner = word_after(code, "fn ").or_else(constant).unwrap_or(owner);
        found.extend(kinds(code).map(|kind| (owner, kind)));
    }
    found
}

/// Returns the name that follows a keyword.
fn word_after<'a>(code: &'a str, keyword: &str) -> Option<&'a str> {
    let at = code.find(keyword)?;
    let begins = code[..at].chars().last().is_none_or(|before| !is_of_name(before));
    let name = &code[at + keyword.len()..];
    let name = &name[..name.find(|char| !is_of_name(char)).unwrap_or(name.len())];
    (begins && !name.is_empty()).then_some(name)
}

/// Returns the kinds of conversions in a line.
fn kinds(code: &str) -> impl Iterator<Item = String> {
    let words: Vec<_> = code.split(|char| !is_of_name(char)).filter(|word| !word.is_empty()).collect();
    let pairs = words.windows(2).filter_map(|pair| match *pair {
        ["as", number] if NUMBERS.contains(&number) => Some(format!("as {number}")),
        [number, "try_from"] if NUMBERS.contains(&number) => Some(format!("{number}::try_from")),
        _ => None,
    });
    let orders = words.iter().filter(|word| ORDERS.contains(word)).map(|word| (*word).to_owned());
    pairs.chain(orders).collect::<Vec<_>>().into_iter()
}

fn is_of_name(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

#[test]
fn a_conversion_without_a_row_and_a_row_without_a_conversion_are_reported() {
    let source = "const A: [u8; 1] = {\n    [LEN as u8]\n};\n/// as u8\nfn f(x: u64) -> usize {\n    // as u16\n    \
        x as usize // as u32\n}\nfn g() {\n    let a = u32::try_from(1);\n    let b = 2_u16.to_be_bytes();\n\
        let c: u8 = d.try_from();\n}\n#[cfg(test)]\nmod tests {\n    fn h() { 1 as i8; }\n}\n";
    let parent = "#[cfg(test)]\nmod only;\n#[cfg(all(test, unix))]\npub(super) mod more;\nmod a;\n";
    let sources = [
        ("src/p/a.rs", source),
        ("src/p/mod.rs", parent),
        ("src/p/only.rs", source),
        ("src/p/more/mod.rs", source),
    ];
    let sources = BTreeMap::from(sources.map(|(file, source)| (file.to_owned(), source.to_owned())));
    let found = conversions(&sources);
    let row = |function: &str, kinds: &str| format!("| `src/p/a.rs` | `{function}` | {kinds} | because |\n");
    let table = row("A", "`as u8`") + &row("f", "`as usize`") + &row("g", "`u32::try_from`, `to_be_bytes`");
    assert_eq!(faults(&rows(&table), &found), Vec::<String>::new());
    for (table, fault) in [
        (table.replace("`f`", "`e`"), "`e` has no `as usize`"),
        (table.replace("`u32::try_from`, ", ""), "`g` has `u32::try_from`, which no row names"),
        (table.replace("`as u8`", "`as u8`, `as u16`"), "`A` has no `as u16`"),
        (table.clone() + &row("h", "`as i8`"), "`h` has no `as i8`"),
    ] {
        let found = faults(&rows(&table), &found);
        assert!(found.first().is_some_and(|first| first.contains(fault)), "{found:?}, not {fault}");
    }
}
