//! Checks the tables of `DEPENDENCIES.md` against `Cargo.toml` and `Cargo.lock`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

const DOCUMENT: &str = "DEPENDENCIES.md";
/// The heading of the dependencies that `Cargo.toml` names.
const DIRECT: &str = "## Direct dependencies\n";

#[test]
fn each_dependency_has_a_row_and_no_row_is_stale() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !root.join("tests/all.sh").exists() {
        println!("not checked: the published package has a manifest of its own");
        return;
    }
    let read = |file: &str| fs::read_to_string(root.join(file)).expect("text");
    let faults = faults(&read(DOCUMENT), &read("Cargo.toml"), &read("Cargo.lock"));
    assert!(faults.is_empty(), "{DOCUMENT}:\n{}", faults.join("\n"));
}

/// Returns a line for each fault.
fn faults(markdown: &str, manifest: &str, lock: &str) -> Vec<String> {
    let (dependencies, locked) = (dependencies(manifest), locked(lock));
    let mut faults = Vec::new();
    let mut named = BTreeSet::new();
    let direct = markdown.find(DIRECT).expect("a heading");
    for (at, [name, version, with, purpose]) in rows(markdown) {
        if !locked.contains(&(name, version)) {
            faults.push(format!("{name} {version}: not in Cargo.lock"));
        }
        let behind = markdown[direct..at].lines().any(|line| line.starts_with("## Behind"));
        if behind {
            continue;
        }
        if !named.insert(name) {
            faults.push(format!("{name}: two rows"));
        }
        match dependencies.get(name) {
            None => faults.push(format!("{name}: not a dependency in Cargo.toml")),
            Some(needed) if needed != with => faults.push(format!("{name}: with {needed}, not {with}")),
            Some(_) if purpose.is_empty() => faults.push(format!("{name}: what for?")),
            Some(_) => {}
        }
    }
    let missing = dependencies.keys().filter(|name| !named.contains(*name));
    faults.extend(missing.map(|name| format!("{name}: no row")));
    faults
}

/// Returns the first four cells of each row, and where it begins.
fn rows(markdown: &str) -> impl Iterator<Item = (usize, [&str; 4])> {
    let rows = markdown.match_indices("\n| `").map(move |(at, _)| (at, markdown[at + 1..].lines().next()));
    rows.map(|(at, line)| {
        let mut cells = line.unwrap_or_default().trim_matches('|').split('|').map(str::trim);
        let cells = [(); 4].map(|()| cells.next().expect("four cells"));
        (at, [cells[0].trim_matches('`'), cells[1], cells[2], cells[3]])
    })
}

/// Returns the dependencies of a manifest, and the features that need each: `always`, or their names
/// as in the table.
fn dependencies(manifest: &str) -> BTreeMap<&str, String> {
    let names = section(manifest, "[dependencies]").map(|(name, _)| name);
    let features: Vec<_> = section(manifest, "[features]").collect();
    let needed = |name: &str| {
        let entry = format!("\"dep:{name}\"");
        let users = features.iter().filter(|(_, list)| list.contains(&entry));
        users.map(|(feature, _)| format!("`{feature}`")).collect::<Vec<_>>()
    };
    let with = |users: Vec<String>| if users.is_empty() { "always".to_owned() } else { users.join(", ") };
    names.map(|name| (name, with(needed(name)))).collect()
}

/// Returns the keys and values of a section that has each on one line.
fn section<'a>(manifest: &'a str, heading: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let lines = manifest.lines().skip_while(move |line| *line != heading).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(" = ")).collect::<Vec<_>>().into_iter()
}

/// Returns the names and versions in a lock file.
fn locked(lock: &str) -> BTreeSet<(&str, &str)> {
    lock.split("[[package]]\n")
        .filter_map(|package| {
            let mut lines = package.lines();
            let name = lines.next()?.strip_prefix("name = \"")?.strip_suffix('"')?;
            let version = lines.next()?.strip_prefix("version = \"")?.strip_suffix('"')?;
            Some((name, version))
        })
        .collect()
}

#[test]
fn missing_and_stale_rows_are_reported() {
    let manifest = "[features]\n# a comment\none = [\"dep:b\"]\ntwo = [\"one\", \"dep:b\"]\n\n[dependencies]\n\
        a = \"1\"\nb = { version = \"2\", optional = true }\n\n[dev-dependencies]\nc = \"3\"\n";
    let lock: String = [("a", 1), ("b", 2), ("c", 3)]
        .map(|(name, version)| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n\n"))
        .concat();
    let row =
        |name: &str, version: u8, with: &str| format!("| `{name}` | {version} | {with} | why | who |\n");
    let head = |heading: &str| format!("{heading}\n| crate |\n|---|\n");
    let direct = head(DIRECT) + &row("a", 1, "always") + &row("b", 2, "`one`, `two`");
    let fine = direct.clone() + "\n" + &head("## Behind them\n") + &row("c", 3, "always");
    assert_eq!(faults(&fine, manifest, &lock), Vec::<String>::new());
    for (markdown, fault) in [
        (fine.replace("| `a` | 1 |", "| `a` | 2 |"), "a 2: not in Cargo.lock"),
        (fine.replace("| `c` | 3 |", "| `c` | 4 |"), "c 4: not in Cargo.lock"),
        (fine.replace("`one`, `two`", "`one`"), "b: with `one`, `two`, not `one`"),
        (fine.replace(&row("a", 1, "always"), ""), "a: no row"),
        (direct.clone() + &row("a", 1, "always"), "a: two rows"),
        (direct + &row("c", 3, "always"), "c: not a dependency in Cargo.toml"),
        (fine.replace("always | why", "always | "), "a: what for?"),
    ] {
        let found = faults(&markdown, manifest, &lock);
        assert!(found.first().is_some_and(|first| first == fault), "{found:?}, not {fault}");
    }
}
