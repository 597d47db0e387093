//! Checks the figures of the guide `how_it_is_tested` against what they count.

use std::{fs, path::Path};

/// Returns the text of a file of the repository.
fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

/// Returns the first number before `unit` in the guide.
fn figure(guide: &str, unit: &str) -> usize {
    let (before, _after) = guide.split_once(unit).unwrap_or_else(|| panic!("no figure of {unit:?}"));
    let number = before.trim_end().rsplit([' ', '|']).next().expect("a word");
    number.replace(',', "").parse().unwrap_or_else(|_| panic!("no number before {unit:?}: {number:?}"))
}

#[test]
fn the_figures_of_the_guide_are_true() {
    if !Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all.sh").exists() {
        println!("not checked: the published package lacks what is counted");
        return;
    }
    let guide = read("src/docs/how_it_is_tested.rs");

    let cases = read("tests/autobahn/baseline.json").matches("\": ").count();
    assert_eq!((figure(&guide, "of 517 cases"), figure(&guide, "cases pass")), (cases, cases));
    let compliance = read("COMPLIANCE.md");
    let all = compliance.lines().find(|line| line.starts_with("| all |")).expect("the sums");
    let sums: Vec<usize> = all.split('|').filter_map(|cell| cell.trim().parse().ok()).collect();
    let sums_in_guide =
        ["sentences", "done", "not for a library", "not followed"].map(|unit| figure(&guide, unit));
    assert_eq!(sums[..4], sums_in_guide);
    let rows = read("tests/HOSTILE.md");
    let is_row = |line: &&str| line.strip_prefix("| ").is_some_and(|rest| rest.starts_with(char::is_numeric));
    assert_eq!(figure(&guide, "rows"), rows.lines().filter(is_row).count());
    let defences = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/defences")).expect("lists");
    let lists = defences.map(|list| fs::read_to_string(list.expect("readable").path()).expect("a list"));
    assert_eq!(figure(&guide, "defences"), lists.map(|list| list.matches("[[defence]]").count()).sum());
    assert!(
        read("tests/coverage.py").contains(&format!("\nLEAST = {}.0\n", figure(&guide, "% of the lines")))
    );
    let mutants = read("tests/mutants.md");
    for unit in ["mutants, drawn", " viable,", " caught, which"] {
        assert_eq!(figure(&guide, unit), figure(&mutants, unit), "{unit}");
    }
    assert_eq!(figure(&guide, "targets"), read("fuzz/Cargo.toml").matches("[[bin]]").count());
    let faults = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults")).expect("tests");
    let faults = faults.map(|file| file.expect("readable").path());
    let faults = faults.filter(|file| file.extension().is_some_and(|extension| extension == "py"));
    let faults = faults.map(|file| fs::read_to_string(file).expect("a test").matches("\ndef test_").count());
    assert_eq!(figure(&guide, "fault runs"), faults.sum());
    let growth = "GROWTH = 4 << 20";
    assert_eq!(figure(&guide, "MiB more memory"), 4);
    assert!(read("tests/faults/programs.py").contains(growth), "no {growth}");
    assert_eq!(
        figure(&guide, "models of a split"),
        read("src/stream/split/model.rs").matches("#[test]").count()
    );
}
