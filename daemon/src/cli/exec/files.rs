//! Saves the files of a result below a directory. The program chose their paths, so a path that leaves the directory, by `..` or through
//! a symbolic link, is refused. So is a hidden path: the user's own tools would run `.git/config` or `.bashrc`. Existing files are only
//! replaced with `--force`.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Component, Path};
use std::time::Duration;

use anyhow::{Context as _, bail};
use python_interpreter::wire::is_file_id;
use python_interpreter_mcp::endpoint::{self, Socket};
use reqwest::Client;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::call::ToolResult;

const WORKSPACE: &str = "/workspace";
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// How long the next piece of a file may take.
const READ_DEADLINE: Duration = Duration::from_secs(30);
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Saves as many files as possible. `force` replaces existing ones.
pub fn save(directory: &Path, result: &ToolResult, force: bool) -> anyhow::Result<()> {
    let files = &result.response.files;
    if files.is_empty() {
        return Ok(());
    }
    if result.interpreter != "embedded" {
        bail!(
            "the {} file(s) cannot be saved: the interpreter service at {} offers no download",
            files.len(),
            result.interpreter
        );
    }
    std::fs::create_dir_all(directory).with_context(|| format!("{} cannot be created", directory.display()))?;
    let flags = DIRECTORY.difference(OFlags::NOFOLLOW);
    let root = rustix::fs::open(directory, flags, Mode::empty())
        .with_context(|| format!("{} cannot be opened", directory.display()))?;
    let socket = endpoint::socket_path(Socket::Interpreter)?;
    let client = Client::builder().unix_socket(socket).no_proxy().connect_timeout(CONNECT_DEADLINE);
    let client = client.read_timeout(READ_DEADLINE).build().context("the HTTP client could not be set up")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut unsaved = 0;
    for (path, id) in files {
        if let Err(error) = runtime.block_on(save_one(&client, &root, path, id, force)) {
            unsaved += 1;
            // A name may hold escape sequences.
            let _ = writeln!(io::stderr(), "{} could not be saved: {error:#}", path.escape_debug());
        }
    }
    if unsaved > 0 {
        bail!("{unsaved} of {} file(s) were not saved in {}", files.len(), directory.display());
    }
    Ok(())
}

async fn save_one(client: &Client, root: &OwnedFd, path: &str, id: &str, force: bool) -> anyhow::Result<()> {
    let names = names(path)?;
    let Some((name, parents)) = names.split_last() else { bail!("its path names no file") };
    if !is_file_id(id) {
        bail!("its id is malformed");
    }
    if names.iter().any(|name| name.starts_with('.')) {
        bail!("its path is hidden (a name begins with a dot); have the program write it elsewhere");
    }
    let mut response = client.get(format!("http://localhost/v1/files/{id}")).send().await?.error_for_status()?;
    let directory = open_parents(root, parents)?;
    // Written under a temporary name and renamed, so that nobody sees half a file. A rename replaces even a symbolic link.
    let temporary = format!(".{}.{}.part", &id[..id.len().min(16)], std::process::id());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    let mut file = File::from(rustix::fs::openat(&directory, &temporary, flags, mode)?);
    let written = async {
        while let Some(chunk) = response.chunk().await? {
            file.write_all(&chunk)?;
        }
        let flags = if force { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        match rustix::fs::renameat_with(&directory, &temporary, &directory, *name, flags) {
            Err(Errno::EXIST) => bail!("it exists; use --force to replace it"),
            // Some file systems do not know RENAME_NOREPLACE.
            Err(Errno::INVAL) if !force => {
                match rustix::fs::linkat(&directory, &temporary, &directory, *name, AtFlags::empty()) {
                    Err(Errno::EXIST) => bail!("it exists; use --force to replace it"),
                    linked => linked.and_then(|()| rustix::fs::unlinkat(&directory, &temporary, AtFlags::empty()))?,
                }
            }
            renamed => renamed?,
        }
        anyhow::Ok(())
    };
    let result = written.await;
    if result.is_err() {
        let _ = rustix::fs::unlinkat(&directory, &temporary, AtFlags::empty());
    }
    result
}

/// The components of the path below the workspace.
fn names(path: &str) -> anyhow::Result<Vec<&str>> {
    let Ok(relative) = Path::new(path).strip_prefix(WORKSPACE) else { bail!("it is not below {WORKSPACE}") };
    relative
        .components()
        .map(|component| match component {
            Component::Normal(name) => name.to_str().context("its path is not text"),
            _ => bail!("its path leads elsewhere"),
        })
        .collect()
}

fn open_parents(root: &OwnedFd, parents: &[&str]) -> anyhow::Result<OwnedFd> {
    let mut directory = root.try_clone()?;
    for name in parents {
        match rustix::fs::mkdirat(&directory, *name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("the directory {} cannot be created", name.escape_debug()));
            }
        }
        directory = rustix::fs::openat(&directory, *name, DIRECTORY, Mode::empty())
            .with_context(|| format!("{} is not a directory of its own", name.escape_debug()))?;
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_workspace() {
        assert_eq!(names("/workspace/a/b.png").unwrap(), ["a", "b.png"]);
        assert_eq!(names("/workspace//a/./b").unwrap(), ["a", "b"]);
        for path in ["/etc/passwd", "a", "/workspace/../etc/x", "/workspace/a/../../x", "/workspaces/x"] {
            assert!(names(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_symbolic_link_on_the_way_is_refused() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = rustix::fs::open(inside.path(), DIRECTORY, Mode::empty()).unwrap();
        assert!(open_parents(&root, &["new", "newer"]).is_ok());
        assert!(inside.path().join("new/newer").is_dir());
        std::os::unix::fs::symlink(outside.path(), inside.path().join("link")).unwrap();
        assert!(open_parents(&root, &["link"]).is_err());
        assert!(open_parents(&root, &["link", "deeper"]).is_err());
        assert!(!outside.path().join("deeper").exists());
    }
}
