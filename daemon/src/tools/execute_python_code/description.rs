//! What a model reads about the tool, generated from what the interpreter can do. It states only what is known, and the same interpreter
//! gives the same text.

use std::time::Duration;

use crate::interpreter::Capabilities;
use crate::tools::interface::OUTPUT_CHARACTERS;

/// How many libraries are named. The rest is counted.
const MAX_LIBRARIES: usize = 60;
/// Packages that every installation has, and that tell a model nothing.
const TOOLS: [&str; 4] = ["pip", "setuptools", "wheel", "distlib"];

const WHAT: &str = "Run a Python program in an isolated, fresh environment and return what it printed. Use it to execute code: to \
    calculate, to analyse or convert data, to draw plots and charts, to process text, tables, images and other files, and to check \
    code by running it.";
const FRESH: &str = "Each call starts anew: no variables, imports or files are left from earlier calls, so put everything that a program \
    needs into one call. Only what is printed comes back: print() every result that you want to see.";
const ENDS: &str = "An uncaught exception is a normal result, with its traceback in stderr and exit_code 1.";

pub fn text(capabilities: Option<&Capabilities>, timeout: Duration) -> String {
    let seconds = timeout.as_secs_f64();
    let mut lines = vec![WHAT.to_owned(), FRESH.to_owned()];
    let Some(capabilities) = capabilities else {
        lines.push(
            "The working directory is /workspace; files that are made there are returned in `files` as path to id, and can be given \
             to a later call with its argument `files`."
                .to_owned(),
        );
        lines.push(format!("A program may run for at most {seconds} s."));
        lines.push(format!("Output over {OUTPUT_CHARACTERS} characters is shortened in the middle."));
        lines.push(ENDS.to_owned());
        return lines.join("\n");
    };
    lines.push(format!("Python {}. {}", capabilities.python, libraries(capabilities)));
    lines.push(
        "The working directory is /workspace. Files that are made or changed there are returned in `files` as path to id, can be read as \
         resources for a day, and can be given to a later call with its argument `files`. Pictures (PNG, JPEG, WebP, GIF) are shown \
         as well; matplotlib's plt.show() saves plot.png, PIL's Image.show() image.png."
            .to_owned(),
    );
    lines.push(
        match capabilities.network.as_str() {
            "none" => "There is no network: nothing can be downloaded or installed.",
            _ => "The network of the user's machine can be reached.",
        }
        .to_owned(),
    );
    if !capabilities.mounts.is_empty() {
        lines.push(format!("Folders of the user that can be read: {}.", capabilities.mounts.join(", ")));
    }
    let limits = &capabilities.limits;
    lines.push(format!(
        "Limits: {} s, {} of memory, {} of files. Output over {OUTPUT_CHARACTERS} characters is shortened in the middle, and the whole is \
         a file.",
        seconds.min(limits.timeout_seconds),
        size(limits.memory_bytes),
        size(limits.workspace_bytes)
    ));
    lines.push(ENDS.to_owned());
    lines.join("\n")
}

fn libraries(capabilities: &Capabilities) -> String {
    let mut known: Vec<String> = capabilities
        .libraries
        .iter()
        .filter(|(name, _)| !TOOLS.contains(&name.as_str()))
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    known.sort_by_key(|name| name.to_lowercase());
    let more = known.len().saturating_sub(MAX_LIBRARIES);
    known.truncate(MAX_LIBRARIES);
    let mut text = match known.is_empty() {
        true => "Beside the standard library no libraries are installed.".to_owned(),
        false => format!("Installed beside the standard library: {}", known.join(", ")),
    };
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    if !known.is_empty() {
        text.push('.');
    }
    if !capabilities.preloaded.is_empty() {
        text.push_str(&format!(
            " Imported ahead of need, so that importing takes no time: {}.",
            capabilities.preloaded.join(", ")
        ));
    }
    text
}

fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= 1 << 30 && bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        bytes => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(300);

    fn described(changes: serde_json::Value) -> String {
        let mut capabilities = json!({
            "python": "3.12.1", "network": "none", "libraries": {"numpy": "2.1.0", "pip": "24.0"}, "preloaded": ["json"],
            "limits": {"timeout_seconds": 60.0, "memory_bytes": 2_u64 << 30, "workspace_bytes": 512 << 20},
        });
        capabilities.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        text(Some(&serde_json::from_value(capabilities).unwrap()), LONGEST)
    }

    #[test]
    fn it_says_what_the_interpreter_can_do() {
        let text = described(json!({}));
        for part in
            ["Python 3.12.1.", "numpy 2.1.0.", "no network", "60 s, 2 GiB of memory, 512 MiB of files", ": json."]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("pip") && !text.contains("Folders"));
        assert!(described(json!({"network": "host"})).contains("network of the user's machine"));
        assert!(described(json!({"mounts": ["/data"]})).contains("can be read: /data."));
        assert!(described(json!({"libraries": {}})).contains("no libraries are installed"));
        let many: serde_json::Map<_, _> = (0..100).map(|number| (format!("l{number:03}"), json!("1"))).collect();
        assert!(described(json!({"libraries": many})).contains("l059 1 and 40 more."));
    }

    #[test]
    fn of_an_unknown_interpreter_it_promises_nothing() {
        let text = text(None, LONGEST);
        for promise in ["network", "plt.show", "memory", "resources", "Installed"] {
            assert!(!text.contains(promise), "{promise}: {text}");
        }
    }

    #[test]
    fn it_holds_the_words_that_one_would_search_for() {
        for word in ["run", "execute", "python", "code", "calculate", "data", "plot", "analyse", "files"] {
            assert!(text(None, LONGEST).to_lowercase().contains(word), "{word}");
        }
    }
}
