//! Finds the tests in a file.

/// Returns the names of the tests in a Rust or Python file.
///
/// In Rust, only functions with the attribute of a test count.
pub(crate) fn tests_of(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim_start) {
        let definition = match line.strip_prefix("def ") {
            Some(definition) => Some(definition).filter(|name| name.starts_with("test_")),
            None => line.trim_start_matches("async ").strip_prefix("fn ").filter(|_| is_test),
        };
        found.extend(definition.and_then(|definition| definition.split(['(', '<']).next()));
        is_test = match line {
            _ if line.starts_with("#[test]") || line.starts_with("#[tokio::test") => true,
            _ => is_test && (line.starts_with("#[") || line.starts_with("///")),
        };
    }
    found
}
