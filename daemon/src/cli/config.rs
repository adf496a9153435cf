//! `config`: shows the effective settings and where each comes from, checks the file, and prints an example.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Subcommand};

use crate::cli::services::commands;
use crate::config::{self, File, TomlType};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the effective settings and where each comes from: this shell's environment, the file, or the defaults
    Show,
    /// Check the configuration file, or FILE
    Check {
        /// The file to check instead of the configuration file
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the path of the configuration file, whether it exists or not
    Path,
    /// Print an example configuration file with every setting, its meaning and its default
    Example,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let text = match &arguments.command {
        Command::Show => show()?,
        Command::Check { file } => {
            let file = file.as_deref().map_or_else(config::read, |path| config::read_at(path).map(Some))?;
            check(file.as_ref())?;
            String::new()
        }
        Command::Path => config::path().map(|path| format!("{}\n", path.display())).unwrap_or_default(),
        Command::Example => config::example(&commands()),
    };
    // The reader may have closed the pipe.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// The commands with the file's settings as defaults, and the resulting settings of `serve` and `interpreter`.
fn check(file: Option<&File>) -> anyhow::Result<(clap::Command, ArgMatches, ArgMatches)> {
    let command = match file {
        Some(file) => config::layered(commands(), file)?,
        None => commands(),
    };
    let matches = |name: &str| {
        let matches = command.clone().try_get_matches_from([command.get_name(), name])?;
        matches.subcommand_matches(name).cloned().ok_or_else(|| anyhow::anyhow!("{name} has no settings"))
    };
    let (serve, interpreter) = (matches("serve")?, matches("interpreter")?);
    Ok((command, serve, interpreter))
}

fn show() -> anyhow::Result<String> {
    let file = config::read()?;
    let (command, serve, interpreter) = check(file.as_ref())?;
    // In release builds, clap does not say which settings a match has.
    let serves = |id: &str| {
        command
            .find_subcommand("serve")
            .is_some_and(|serve| serve.get_arguments().any(|setting| setting.get_id() == id))
    };
    let of = |id: &str| if serves(id) { &serve } else { &interpreter };
    let mut lines = Vec::new();
    for (key, setting) in config::settings(&command) {
        let matches = of(setting.get_id().as_str());
        let source = config::source(matches, setting, file.as_ref());
        let kind = TomlType::of(setting);
        lines.push(
            match words(matches, setting.get_id().as_str())
                .or_else(|| matches!(kind, TomlType::List | TomlType::ListOr(_)).then(Vec::new))
            {
                Some(words) => (format!("{key} = {}", config::toml(kind, &words)), source),
                None => (format!("#{key} ="), "not set".to_owned()),
            },
        );
    }
    let widest = lines.iter().map(|(setting, _)| setting.chars().count().min(48)).max().unwrap_or(0);
    let lines = lines.iter().map(|(setting, source)| format!("{setting:widest$}  # {source}\n"));
    Ok(head(file.as_ref()) + &lines.collect::<String>())
}

fn head(file: Option<&File>) -> String {
    match (file, config::path()) {
        (Some(file), _) => format!("# {}\n", file.path.display()),
        (None, Some(path)) => format!("# {} is not there\n", path.display()),
        (None, None) => "# there is no configuration file, because there is no home directory\n".to_owned(),
    }
}

fn words(matches: &ArgMatches, id: &str) -> Option<Vec<String>> {
    Some(matches.get_raw(id)?.map(|word| word.to_string_lossy().into_owned()).collect())
}
