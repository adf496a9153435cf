//! The clients that are supported: where each keeps its configuration, in which format, and how it writes the entry of a server.

use std::path::{Path, PathBuf};

use clap::ValueEnum as _;
use serde_json::{Value, json};

/// The name of the server in every client's configuration.
pub const NAME: &str = "python-interpreter";

/// A server's entry. Values are scalars, arrays of scalars, or empty tables.
pub type ServerEntry = Vec<(&'static str, Value)>;

const DESCRIPTION: &str = "Run Python code, isolated: calculate, analyse data, draw plots";

/// The format of a configuration.
#[derive(Debug, Clone, Copy)]
pub enum Format {
    /// With comments and trailing commas, which most clients allow.
    Json,
    Toml,
    Yaml,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Client {
    ClaudeDesktop,
    ClaudeCode,
    Cursor,
    #[value(name = "vscode")]
    VsCode,
    Zed,
    Codex,
    Gemini,
    Goose,
}

impl Client {
    pub fn title(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "Claude Desktop",
            Self::ClaudeCode => "Claude Code",
            Self::Cursor => "Cursor",
            Self::VsCode => "VS Code",
            Self::Zed => "Zed",
            Self::Codex => "Codex",
            Self::Gemini => "Gemini CLI",
            Self::Goose => "Goose",
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The format of its configuration.
    pub fn format(self) -> Format {
        match self {
            Self::Codex => Format::Toml,
            Self::Goose => Format::Yaml,
            _ => Format::Json,
        }
    }

    /// The top-level key that holds the servers.
    pub fn servers(self) -> &'static str {
        match self {
            Self::ClaudeDesktop | Self::ClaudeCode | Self::Cursor | Self::Gemini => "mcpServers",
            Self::VsCode => "servers",
            Self::Zed => "context_servers",
            Self::Codex => "mcp_servers",
            Self::Goose => "extensions",
        }
    }

    /// The key of an entry that names the program.
    pub fn command(self) -> &'static str {
        if self == Self::Goose { "cmd" } else { "command" }
    }

    /// The entry, in the client's own order of keys, with everything that its older versions need.
    pub fn entry(self, shim: &str) -> ServerEntry {
        let mut entry: ServerEntry = match self {
            Self::ClaudeDesktop | Self::Codex | Self::Gemini => vec![],
            Self::ClaudeCode | Self::Cursor | Self::VsCode => vec![("type", json!("stdio"))],
            Self::Zed => vec![("source", json!("custom"))],
            Self::Goose => vec![
                ("enabled", json!(true)),
                ("type", json!("stdio")),
                ("name", json!(NAME)),
                ("description", json!(DESCRIPTION)),
            ],
        };
        entry.push((self.command(), json!(shim)));
        match self {
            Self::ClaudeCode | Self::Zed => entry.extend([("args", json!([])), ("env", json!({}))]),
            Self::Goose => entry.extend([
                ("args", json!([])),
                ("envs", json!({})),
                ("env_keys", json!([])),
                ("timeout", json!(300)),
                ("bundled", json!(null)),
            ]),
            _ => {}
        }
        entry
    }

    /// Its user-wide configuration file: where the client's own variables say, else at the usual place below `home`.
    pub fn file(self, home: &Path, variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
        let configuration = || variable("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
        // Electron's place for application data.
        let application = || {
            if cfg!(target_os = "macos") { home.join("Library/Application Support") } else { configuration() }
        };
        match self {
            Self::ClaudeDesktop => application().join("Claude/claude_desktop_config.json"),
            Self::ClaudeCode => variable("CLAUDE_CONFIG_DIR").unwrap_or_else(|| home.to_owned()).join(".claude.json"),
            Self::Cursor => home.join(".cursor/mcp.json"),
            Self::VsCode => application().join("Code/User/mcp.json"),
            Self::Zed => configuration().join("zed/settings.json"),
            Self::Codex => variable("CODEX_HOME").unwrap_or_else(|| home.join(".codex")).join("config.toml"),
            Self::Gemini => {
                variable("GEMINI_CLI_HOME").unwrap_or_else(|| home.to_owned()).join(".gemini/settings.json")
            }
            Self::Goose => match variable("GOOSE_PATH_ROOT") {
                Some(root) => root.join("config/config.yaml"),
                None => configuration().join("goose/config.yaml"),
            },
        }
    }

    /// A path that exists once the client is installed, even before it has a configuration.
    pub fn trace(self, file: &Path) -> PathBuf {
        let directory = file.parent().unwrap_or(file);
        if self == Self::ClaudeCode { directory.join(".claude") } else { directory.to_owned() }
    }
}
