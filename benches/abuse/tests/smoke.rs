//! The program runs: some seconds with few clients.

use std::{fs, process::Command};

/// Returns the cells of the row of a table that begins with this label.
fn row<'a>(document: &'a str, label: &str) -> Vec<&'a str> {
    let begin = format!("| {label} |");
    let found = document.lines().find_map(|line| line.strip_prefix(&begin));
    let row = found.unwrap_or_else(|| panic!("no row {label}\n{document}"));
    row.trim_end_matches('|').split('|').map(str::trim).collect()
}

fn number(cell: &str) -> f64 {
    cell.replace(',', "").parse().unwrap_or_else(|_| panic!("{cell} is not a number"))
}

/// The program itself fails if an honest message is lost, an honest connection ends, a hostile one
/// has another end than its row requires, memory exceeds the limits, or a connection is left.
#[test]
fn honest_clients_lose_nothing_beside_hostile_ones_and_nothing_is_left() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let paths = ["md", "svg", "csv"].map(|extension| directory.path().join(format!("abuse.{extension}")));
    let output = Command::new(env!("CARGO_BIN_EXE_abuse"))
        .arg("--quick")
        .args(["--markdown".as_ref(), paths[0].as_os_str()])
        .args(["--svg".as_ref(), paths[1].as_os_str()])
        .args(["--csv".as_ref(), paths[2].as_os_str()])
        .output()
        .expect("it is executable");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let [document, svg, csv] = paths.map(|path| fs::read_to_string(path).expect("it was written"));

    for messages in row(&document, "messages") {
        assert!(number(messages) > 100.0, "{document}");
    }
    let (empty, end) = (row(&document, "without clients"), row(&document, "all have gone"));
    assert_eq!((end[0], end[..3] == empty[..3]), ("0", true), "{document}");
    assert_eq!(row(&document, "honest clients")[0], "200", "{document}");
    for (hostile, end) in [
        ("1", "handshake timeout: "),
        ("33", "1009, message larger than the limit"),
        ("34", "1008, message of more than 1024 fragments"),
        ("42", "1009, message larger than the limit"),
        ("45", "write timeout: "),
        ("47", "write timeout: "),
        ("57", "client gone: "),
        ("58", "1008, message timeout: "),
        ("63", "client gone: "),
    ] {
        let ended = row(&document, hostile)[2];
        assert!(ended.contains(end), "row {hostile} ended so: {ended}\n{errors}");
    }
    assert!(svg.ends_with("</svg>\n"));
    assert!(csv.lines().count() > 5, "{csv}");
}
