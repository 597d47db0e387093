//! The program runs: a moment of each case, with few rooms.

use std::{fs, process::Command};

/// The program itself fails if a message is missing, arrives twice, or not in order.
#[test]
fn all_messages_arrive_once_and_in_order() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("nodes.md");
    let output = Command::new(env!("CARGO_BIN_EXE_nodes"))
        .args(["--quick", "--markdown"])
        .arg(&path)
        .output()
        .expect("it is executable");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");

    let document = fs::read_to_string(&path).expect("the document");
    let (_, rest) = document.split_once("\nAll ").expect("it says how many messages have arrived");
    let (count, _) = rest.split_once(' ').expect("a number");
    let count: u64 = count.replace(',', "").parse().expect("a number");
    assert!(count > 1_000, "only {count} messages\n{document}");
    for row in ["| 1 room | other node |", "| 20 rooms | other node |", "| 20 rooms | both nodes |"] {
        let rows = document.lines().filter(|line| line.starts_with(row)).count();
        assert!(rows >= 2, "{rows} rows of {row}\n{document}");
    }
}
