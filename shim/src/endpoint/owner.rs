//! The program that owns a socket, and where the daemon's is found.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{error::EndpointError, log::daemon_log, socket::Socket};

const DAEMON: &str = "python-interpreter-mcpd";
const CONFIGURED: &str = "PYTHON_INTERPRETER_MCPD";

/// The program that owns a socket and how it is started.
#[derive(Debug, Clone)]
pub struct Owner {
    /// An absolute path: the process is started in `/`.
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// The socket unit that starts it, if it is installed.
    pub unit: Option<&'static str>,
    /// The file to which its stderr is appended (mode 0600); without one it is discarded.
    pub log: Option<PathBuf>,
}

/// The owner of `mcp.sock`: `python-interpreter-mcpd serve --background`. PYTHON_INTERPRETER_MCPD (an absolute path)
/// names the program, else it is next to the current executable, else on PATH.
pub fn daemon() -> Result<Owner, EndpointError> {
    let configured = env::var_os(CONFIGURED).filter(|value| !value.is_empty());
    // The unit may name another program.
    let unit = configured.is_none().then_some(Socket::Mcp.unit());
    let program = find(configured, &beside(), env::var_os("PATH").as_deref())?;
    Ok(Owner { program, arguments: vec!["serve".into(), "--background".into()], unit, log: daemon_log() })
}

/// The directory of the executable, and that of the name by which it was launched, which may be a symbolic link to it.
fn beside() -> Vec<PathBuf> {
    let launched = env::args_os().next().map(PathBuf::from).filter(|path| path.is_absolute());
    let folders = [env::current_exe().ok(), launched];
    folders.into_iter().flatten().filter_map(|path| path.parent().map(Path::to_owned)).collect()
}

fn find(configured: Option<OsString>, beside: &[PathBuf], path: Option<&OsStr>) -> Result<PathBuf, EndpointError> {
    let mut candidates = Vec::new();
    match configured {
        // A configured program is never silently replaced by another.
        Some(configured) => candidates.push(PathBuf::from(configured)),
        None => {
            let folders = path.into_iter().flat_map(env::split_paths);
            candidates.extend(beside.iter().cloned().chain(folders).map(|folder| folder.join(DAEMON)));
        }
    }
    if let Some(found) = candidates.iter().find(|candidate| is_program(candidate)) {
        return Ok(found.clone());
    }
    candidates.dedup();
    let looked: Vec<String> = candidates.iter().map(|candidate| candidate.display().to_string()).collect();
    Err(EndpointError::DaemonMissing { looked: looked.join(", ") })
}

fn is_program(path: &Path) -> bool {
    path.is_absolute() && path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn folder_with_daemon() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(DAEMON);
        fs::write(&program, "").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }

    #[test]
    fn the_configured_daemon_comes_before_the_sibling_and_the_sibling_before_the_path() {
        let (configured, sibling, path) = (folder_with_daemon(), folder_with_daemon(), folder_with_daemon());
        let named = configured.path().join(DAEMON);
        let beside = [sibling.path().to_owned()];
        let search = Some(path.path().as_os_str());
        assert_eq!(find(Some(named.clone().into()), &beside, search).unwrap(), named);
        assert_eq!(find(None, &beside, search).unwrap(), sibling.path().join(DAEMON));
        assert_eq!(find(None, &[], search).unwrap(), path.path().join(DAEMON));
    }

    #[test]
    fn a_missing_daemon_is_reported_with_the_places_that_were_searched() {
        let said = find(None, &["/opt/here".into()], Some(OsStr::new("/opt/there"))).unwrap_err().to_string();
        assert!(said.contains("/opt/here/python-interpreter-mcpd, /opt/there/python-interpreter-mcpd"), "{said}");
    }

    #[test]
    fn a_configured_daemon_that_is_not_there_is_not_replaced_by_another() {
        let sibling = folder_with_daemon();
        for configured in ["/opt/none", "relative/name"] {
            let said = find(Some(configured.into()), &[sibling.path().to_owned()], None).unwrap_err().to_string();
            assert!(said.contains(configured), "{said}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_run_is_passed_over() {
        let (plain, program) = (folder_with_daemon(), folder_with_daemon());
        fs::set_permissions(plain.path().join(DAEMON), fs::Permissions::from_mode(0o644)).unwrap();
        let beside = [plain.path().to_owned(), program.path().to_owned()];
        assert_eq!(find(None, &beside, None).unwrap(), program.path().join(DAEMON));
    }
}
