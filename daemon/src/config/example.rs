//! The example configuration: every setting with its help text, default and variable, generated from the command line's definition.

use clap::{Arg, Command};
use toml_edit::Value;

use super::layer::{TomlType, settings};

const WIDTH: usize = 100;
const HEAD: &str = "\
Settings of python-interpreter-mcpd. Save this as ~/.config/python-interpreter-mcp/config.toml.
A commented value is the default, or a placeholder in capitals if there is no fixed default. Flags override environment variables, which
override this file.
`python-interpreter-mcpd config show` prints the effective settings. After a change: `systemctl --user reload
python-interpreter-mcpd`, or `python-interpreter-mcpd reload`.";

pub fn example(command: &Command) -> String {
    let mut text = comment(HEAD);
    for (key, setting) in settings(command) {
        let help = setting.get_help().map(ToString::to_string).unwrap_or_default();
        let variable = setting.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let value = setting.get_value_names().and_then(<[_]>::first).map(ToString::to_string).unwrap_or_default();
        text += "\n";
        text += &comment(&format!("{help} ({value}; {variable})"));
        text += &format!("#{key} = {}\n", default(setting));
    }
    text
}

/// The default as TOML, or the placeholder if there is no default.
fn default(setting: &Arg) -> String {
    let words = |values: &[clap::builder::OsStr]| -> Vec<String> {
        values.iter().map(|value| value.to_string_lossy().into_owned()).collect()
    };
    let (kind, defaults) = (TomlType::of(setting), words(setting.get_default_values()));
    match (kind, setting.get_value_names()) {
        (TomlType::List | TomlType::ListOr(_), _) => toml(kind, &defaults),
        (_, Some([name, ..])) if defaults.is_empty() => toml(kind, &[name.to_string()]),
        _ => toml(kind, &defaults),
    }
}

/// Command-line values as TOML.
pub fn toml(kind: TomlType, words: &[String]) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    match (kind, words) {
        (TomlType::ListOr(word), [only]) if only == word => quoted(word),
        (TomlType::List | TomlType::ListOr(_), words) => {
            let items = words.iter().flat_map(|words| words.split(',')).filter(|word| !word.is_empty());
            format!("[{}]", items.map(quoted).collect::<Vec<_>>().join(", "))
        }
        (_, []) => "\"\"".to_owned(),
        (TomlType::Number, [word, ..]) => word.clone(),
        (_, [word, ..]) => quoted(word),
    }
}

fn comment(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, String::len);
        if line + 1 + word.len() > WIDTH {
            lines.push(String::from("#"));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}
