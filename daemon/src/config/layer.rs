//! Makes the file's values the defaults of the command line, read by the same parsers. A setting is a command-line argument that also has an
//! environment variable.

use std::any::TypeId;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use python_interpreter::limits::Size;
use toml_edit::Value;

use super::file::{ConfigError, File, FileEntry};

/// A setting of both commands is one key.
const COMMANDS: [&str; 2] = ["serve", "interpreter"];
/// Flags whose key is in the plural, because it takes a list.
const PLURALS: [(&str, &str); 2] = [("mount", "mounts"), ("http-host", "http_hosts")];
/// Lists for which one word may stand.
const WORDS: [(&str, &str); 1] = [("preload", "auto")];
/// The least similarity of a suggestion (Jaro-Winkler).
const ALIKE: f64 = 0.7;

/// The TOML type of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TomlType {
    Number,
    Size,
    Text,
    List,
    /// A list, or this word.
    ListOr(&'static str),
}

impl TomlType {
    pub fn of(setting: &Arg) -> Self {
        if setting.get_value_delimiter().is_some() {
            let word = WORDS.iter().find(|(flag, _)| setting.get_long() == Some(flag));
            return word.map_or(Self::List, |(_, word)| Self::ListOr(word));
        }
        let parsed = setting.get_value_parser().type_id();
        let is_number = [TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<u64>(), TypeId::of::<Duration>()]
            .into_iter()
            .any(|number| parsed == number);
        match () {
            () if is_number => Self::Number,
            () if parsed == TypeId::of::<Size>() => Self::Size,
            () => Self::Text,
        }
    }

    fn words(self) -> String {
        match self {
            Self::Number => "a number".to_owned(),
            Self::Size => "a size, as \"512M\" or a number of bytes,".to_owned(),
            Self::Text => "a text in quotes".to_owned(),
            Self::List => "a list, as [\"a\", \"b\"],".to_owned(),
            Self::ListOr(word) => format!("a list, as [\"a\", \"b\"], or \"{word}\""),
        }
    }
}

/// The key of a setting; none for an argument without a variable.
pub fn key(argument: &Arg) -> Option<String> {
    argument.get_env()?;
    let long = argument.get_long()?;
    let plural = PLURALS.iter().find(|(flag, _)| *flag == long);
    Some(plural.map_or_else(|| long.replace('-', "_"), |(_, key)| (*key).to_owned()))
}

/// All settings, each once, in the order of the help.
pub fn settings(command: &Command) -> Vec<(String, &Arg)> {
    let mut settings: Vec<(String, &Arg)> = Vec::new();
    for argument in COMMANDS.iter().filter_map(|name| command.find_subcommand(name)).flat_map(Command::get_arguments) {
        if let Some(key) = key(argument)
            && settings.iter().all(|(known, _)| *known != key)
        {
            settings.push((key, argument));
        }
    }
    settings
}

/// The command line with the file's values as defaults. Every entry of the file is checked.
pub fn layered(mut command: Command, file: &File) -> Result<Command, ConfigError> {
    let known: Vec<String> = settings(&command).into_iter().map(|(key, _)| key).collect();
    for entry in &file.entries {
        if !known.contains(&entry.key) {
            return Err(file.wrong(entry, unknown(&entry.key, &known)));
        }
    }
    for name in COMMANDS {
        let bare = command.find_subcommand(name).cloned().unwrap_or_default();
        for argument in bare.get_arguments() {
            let Some(entry) = key(argument).and_then(|key| file.entry(&key)) else { continue };
            let words = words(argument, &entry.value).map_err(|reason| file.wrong(entry, refused(entry, &reason)))?;
            check(&bare, argument, &words).map_err(|reason| file.wrong(entry, refused(entry, &reason)))?;
            let id = argument.get_id().clone();
            command =
                command.mut_subcommand(name, |command| command.mut_arg(id, |argument| argument.default_values(words)));
        }
    }
    Ok(command)
}

/// Where the value of a setting comes from.
pub fn source(matches: &ArgMatches, setting: &Arg, file: Option<&File>) -> String {
    let entry = file.and_then(|file| Some((file, file.entry(&key(setting)?)?)));
    match (matches.value_source(setting.get_id().as_str()), entry) {
        (Some(ValueSource::EnvVariable), _) => {
            setting.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        }
        (_, Some((file, entry))) => format!("{}:{}", file.path.display(), entry.line),
        _ => "default".to_owned(),
    }
}

fn unknown(key: &str, known: &[String]) -> String {
    let nearest = known.iter().map(|known| (strsim::jaro_winkler(key, known), known));
    let nearest = nearest.max_by(|(one, _), (other, _)| one.total_cmp(other)).filter(|(alike, _)| *alike >= ALIKE);
    match nearest {
        Some((_, nearest)) => format!("there is no setting \"{key}\"; did you mean \"{nearest}\"?"),
        None => format!("there is no setting \"{key}\"; `python-interpreter-mcpd config example` lists all"),
    }
}

fn refused(entry: &FileEntry, reason: &str) -> String {
    format!("{} = {} is refused: {reason}", entry.key, entry.value.to_string().trim())
}

/// The value as words of the command line.
fn words(setting: &Arg, value: &Value) -> Result<Vec<String>, String> {
    let kind = TomlType::of(setting);
    let is_path = setting.get_value_parser().type_id() == TypeId::of::<std::path::PathBuf>();
    match (kind, value) {
        (TomlType::Number | TomlType::Size, Value::Integer(number)) => Ok(vec![number.value().to_string()]),
        (TomlType::Text, Value::String(text)) if is_path => Ok(vec![at_home(text.value())]),
        (TomlType::Text | TomlType::Size, Value::String(text)) => Ok(vec![text.value().clone()]),
        (TomlType::ListOr(word), Value::String(text)) if text.value() == word => Ok(vec![text.value().clone()]),
        (TomlType::List | TomlType::ListOr(_), Value::Array(list)) => list.iter().map(word).collect(),
        _ => Err(format!("{} is expected", kind.words().trim_end_matches(','))),
    }
}

/// A string, or a mount as SOURCE:TARGET.
fn word(value: &Value) -> Result<String, String> {
    let text = match value {
        Value::String(text) => Some(text.value().clone()),
        Value::InlineTable(mount) if mount.len() == 2 => {
            let part = |name| mount.get(name).and_then(Value::as_str);
            part("source").zip(part("target")).map(|(source, target)| format!("{source}:{target}"))
        }
        _ => None,
    };
    match text {
        Some(text) if text.contains(',') => Err("a comma cannot stand in it".to_owned()),
        Some(text) => Ok(text),
        None => Err("a list holds texts, or mounts as { source = \"~/data\", target = \"/data\" }".to_owned()),
    }
}

/// Resolves `~`, which the shell does on a command line.
fn at_home(path: &str) -> String {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest).to_string_lossy().into_owned(),
        _ => path.to_owned(),
    }
}

/// Checks the value with the setting's own parser.
fn check(command: &Command, setting: &Arg, words: &[String]) -> Result<(), String> {
    let Some(long) = setting.get_long().filter(|_| !words.is_empty()) else { return Ok(()) };
    let value = format!("--{long}={}", words.join(","));
    let bare = command.clone().mut_args(|argument| argument.env(None));
    let Err(error) = bare.try_get_matches_from([command.get_name(), &value]) else { return Ok(()) };
    use clap::error::{ContextKind, ContextValue};
    Err(match (std::error::Error::source(&error), error.get(ContextKind::ValidValue)) {
        (Some(reason), _) => reason.to_string(),
        (None, Some(ContextValue::Strings(valid))) => format!("it must be {}", valid.join(" or ")),
        _ => "it cannot be read".to_owned(),
    })
}
