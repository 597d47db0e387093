//! The data of a message as a type of the program, and what is wrong if it is not of that type.

use serde::de::DeserializeOwned;
use serde_path_to_error::Path;

use super::error::{InvalidData, truncated};

/// The longest reason that is returned, in bytes.
const MAX_REASON: usize = 256;

/// Reasons of serde that quote a value of the data. What was expected follows behind it.
const QUOTING: [&str; 5] =
    ["invalid type", "invalid value", "invalid length", "unknown field", "unknown variant"];

/// Parses data. Data that is missing is `null`.
///
/// # Errors
/// The error names the field, and quotes no value.
pub(super) fn parse<T: DeserializeOwned>(data: Option<&str>) -> Result<T, InvalidData> {
    let json = data.unwrap_or("null");
    // Recording the path takes time, and most data is valid.
    if let Ok(value) = serde_json::from_str(json) {
        return Ok(value);
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| match error.path().iter().next() {
        None if data.is_none() => InvalidData::missing("data"),
        _ => explain(error.path(), error.inner()),
    })
}

fn explain(path: &Path, error: &serde_json::Error) -> InvalidData {
    let (text, field) = (error.to_string(), field(path));
    let position = format!(" at line {} column {}", error.line(), error.column());
    let reason = text.strip_suffix(&position).unwrap_or(&text);
    // These two are found in the parent, and contain a name of the program's type.
    let named = |prefix| reason.strip_prefix(prefix).and_then(|rest: &str| rest.strip_suffix('`'));
    if let Some(name) = named("missing field `") {
        return InvalidData::missing(&format!("{field}.{name}"));
    }
    if let Some(name) = named("duplicate field `") {
        return InvalidData::new(&format!("{field}.{name}"), "occurs twice");
    }
    let Some(kind) = QUOTING.iter().find(|kind| reason.starts_with(**kind)) else {
        return InvalidData::new(&field, truncated(reason, MAX_REASON));
    };
    // The last one, because the value that is quoted before may contain it as well.
    match reason.rsplit_once(", expected ") {
        Some((_, expected)) => {
            let expected = truncated(expected, MAX_REASON);
            InvalidData::new(&field, format_args!("{kind}, expected {expected}"))
        }
        None => InvalidData::new(&field, kind),
    }
}

/// Returns a path from the message on.
fn field(path: &Path) -> String {
    match path.to_string() {
        root if root == "." => "data".into(),
        index if index.starts_with('[') => format!("data{index}"),
        field => format!("data.{field}"),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fmt::Debug};

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "they are parsed")]
    struct Order {
        item: String,
        user: Option<User>,
        #[serde(default)]
        counts: Vec<u32>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "they are parsed")]
    struct User {
        name: String,
        role: Role,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Role {
        Teacher,
        Student,
    }

    fn error<T: DeserializeOwned + Debug>(json: &str) -> (String, String) {
        let invalid = parse::<T>(Some(json)).expect_err(json);
        (invalid.field().expect("a field").to_owned(), invalid.to_string())
    }

    #[test]
    fn the_error_names_the_field_and_what_was_expected() {
        for (json, field, reason) in [
            ("{}", "data.item", " is missing"),
            (r#"{"item":7}"#, "data.item", ": invalid type, expected a string"),
            (r#"{"item":"a","user":{"role":"teacher"}}"#, "data.user.name", " is missing"),
            (
                r#"{"item":"a","user":{"name":"b","role":"hunter2"}}"#,
                "data.user.role",
                ": unknown variant, expected `teacher` or `student`",
            ),
            (r#"{"item":"a","counts":[1,-2]}"#, "data.counts[1]", ": invalid value, expected u32"),
            (
                r#"{"item":"a","hunter2":1}"#,
                "data.hunter2",
                ": unknown field, expected one of `item`, `user`, `counts`",
            ),
            (r#""hunter2""#, "data", ": invalid type, expected struct Order"),
            (r#"{"item":"a","item":"b"}"#, "data.item", ": occurs twice"),
        ] {
            assert_eq!(error::<Order>(json), (field.into(), format!("field `{field}`{reason}")), "{json}");
        }
        assert_eq!(error::<Vec<u32>>("[1,true]").0, "data[1]");
    }

    #[test]
    fn row_88_a_value_is_never_quoted() {
        for value in ["hunter2", "hunter2, expected ", "a, expected hunter2, expected "] {
            let json =
                serde_json::to_string(&BTreeMap::from([("item", 1.into()), ("x", serde_json::json!(value))]));
            let json = json.expect("strings");
            let shown = error::<BTreeMap<String, u32>>(&json).1;
            assert_eq!(shown, "field `data.x`: invalid type, expected u32");
        }
    }

    #[test]
    fn data_that_is_missing_is_null() {
        assert!(parse::<()>(None).is_ok() && parse::<()>(Some("null")).is_ok());
        assert_eq!(parse::<Option<u32>>(None), Ok(None));
        assert_eq!(parse::<u32>(None).expect_err("missing").to_string(), "field `data` is missing");
        let shown = parse::<u32>(Some("null")).expect_err("null").to_string();
        assert_eq!(shown, "field `data`: invalid type, expected u32");
    }

    #[test]
    fn row_83_deep_data_and_long_names_give_a_short_error() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let invalid = parse::<serde_json::Value>(Some(&deep)).expect_err("too deep");
        assert!(invalid.to_string().ends_with("recursion limit exceeded"), "{invalid}");
        assert!(invalid.to_string().len() <= 1024 && invalid.field().is_some_and(|field| field.len() <= 256));
        let long = format!(r#"{{"{}":true}}"#, "x".repeat(100_000));
        assert!(error::<BTreeMap<String, u32>>(&long).1.len() <= 1024);
    }
}
