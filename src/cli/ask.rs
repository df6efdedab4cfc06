//! `status`, `explain`, `withdraw`, `restore`, `reload`: asks the running daemon and prints its answer.

use serde_json::Value;

use super::args::Command;
use super::output::Output;
use super::{CliError, Outcome};
use crate::config::Config;
use crate::serve::control::{Request, call};

/// Asks at the configuration's control socket.
pub fn run(config: &Config, command: &Command, out: &mut Output) -> Result<Outcome, CliError> {
    let (request, json) = match command {
        Command::Status(plain) => (Request::Status, plain.json),
        Command::Explain(host) => (Request::Explain { host: host.host.clone() }, host.json),
        Command::Withdraw(host) => (Request::Withdraw { host: host.host.clone() }, host.json),
        Command::Restore(host) => (Request::Restore { host: host.host.clone() }, host.json),
        Command::Reload(plain) => (Request::Reload, plain.json),
        _ => return Err(CliError::Usage("not a request to the daemon".to_owned())),
    };
    let answer = call(&config.control_socket, &request)?;
    if json {
        out.json(&answer)?;
    } else {
        out.line(readable(&answer).trim_end())?;
    }
    Ok(Outcome::Done)
}

/// Any JSON as indented `key: value` lines.
fn readable(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, &mut text);
    text
}

fn write(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                let empty = field.as_object().is_some_and(serde_json::Map::is_empty)
                    || field.as_array().is_some_and(Vec::is_empty);
                if empty {
                    text.push_str(&format!("{indent}{key}: none\n"));
                } else if field.is_object() || field.is_array() {
                    text.push_str(&format!("{indent}{key}:\n"));
                    write(field, depth + 1, text);
                } else {
                    text.push_str(&format!("{indent}{key}: {}\n", scalar(field)));
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                if item.is_object() || item.is_array() {
                    let mut inner = String::new();
                    write(item, depth + 1, &mut inner);
                    // The first line of an item begins with its dash.
                    text.push_str(&format!("{indent}- {}", inner.trim_start()));
                } else {
                    text.push_str(&format!("{indent}- {}\n", scalar(item)));
                }
            }
        }
        other => text.push_str(&format!("{indent}{}\n", scalar(other))),
    }
}

/// A plain value. Control characters, which a zone file or a peer may have put there, don't reach the terminal.
fn scalar(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn any_answer_is_readable_and_harmless() {
        let answer = json!({"zones": [{"name": "a.", "signed": true}, {"name": "b."}], "none": [], "x": "\u{1b}[31m"});
        assert_eq!(
            readable(&answer),
            "none: none\nx: \u{fffd}[31m\nzones:\n  - name: a.\n    signed: yes\n  - name: b.\n"
        );
        assert_eq!(readable(&json!("done")), "done\n");
    }
}
