//! The directories of the sockets, the state and the configuration. Nobody but this user can reach into that of the sockets.

use std::{
    env,
    fs::{self, DirBuilder, Metadata},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use super::{error::EndpointError, peer::user};

const NAME: &str = "python-interpreter-mcp";

/// The directory of the sockets: created if missing, and checked to be 0700 and the user's own.
pub fn runtime_directory() -> Result<PathBuf, EndpointError> {
    let session = absolute_path("XDG_RUNTIME_DIR");
    if let Some(session) = &session {
        refuse_other_users_session(session)?;
    }
    let path = locate(session.as_deref(), Path::new("/run/user"), Path::new("/tmp"), user());
    secure(&path)?;
    Ok(path)
}

/// `$XDG_STATE_HOME/python-interpreter-mcp`, else the same under `~/.local/state`, created if missing; `None` without a home.
pub fn state_directory() -> Option<PathBuf> {
    let path = state_place()?;
    create(&path).ok()?;
    Some(path)
}

/// The path of [`state_directory`], whether it can be created or not.
pub fn state_place() -> Option<PathBuf> {
    let parent = absolute_path("XDG_STATE_HOME").or_else(|| Some(absolute_path("HOME")?.join(".local/state")))?;
    Some(parent.join(NAME))
}

/// `$XDG_CONFIG_HOME/python-interpreter-mcp`, else the same under `~/.config`; `None` without a home. It need not exist.
pub fn config_directory() -> Option<PathBuf> {
    let parent = absolute_path("XDG_CONFIG_HOME").or_else(|| Some(absolute_path("HOME")?.join(".config")))?;
    Some(parent.join(NAME))
}

/// A variable that names an absolute path. A relative path is ignored, because it would mean another place in every process.
fn absolute_path(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Without XDG_RUNTIME_DIR, which many clients strip, the same places are found by fixed names. So TMPDIR does not count.
fn locate(session: Option<&Path>, sessions: &Path, temporary: &Path, user: u32) -> PathBuf {
    if let Some(session) = session {
        return session.join(NAME);
    }
    let own = sessions.join(user.to_string());
    match fs::symlink_metadata(&own) {
        Ok(found) if found.is_dir() && found.uid() == user => own.join(NAME),
        _ => temporary.join(format!("{NAME}-{user}")),
    }
}

/// `sudo` may pass one user's XDG_RUNTIME_DIR to another, whose directory there would lock the first user out.
fn refuse_other_users_session(path: &Path) -> Result<(), EndpointError> {
    match fs::metadata(path) {
        Ok(found) if found.uid() != user() && found.uid() != 0 => Err(EndpointError::Refused {
            path: path.to_owned(),
            reason: format!("(XDG_RUNTIME_DIR) belongs to another user, {}, not to {}", found.uid(), user()),
            remedy: "unset XDG_RUNTIME_DIR, or set it to a directory of yours".to_owned(),
        }),
        _ => Ok(()),
    }
}

fn secure(path: &Path) -> Result<(), EndpointError> {
    let remedy = "set XDG_RUNTIME_DIR to a directory of yours";
    let failed = |source| EndpointError::Directory { path: path.to_owned(), remedy, source };
    create(path).map_err(failed)?;
    // Symbolic links are not followed: their owner could change the target later.
    let found = fs::symlink_metadata(path).map_err(failed)?;
    match objection(&found, user()) {
        None => Ok(()),
        Some((reason, remedy)) => {
            let remedy = remedy.replace("{}", &path.display().to_string());
            Err(EndpointError::Refused { path: path.to_owned(), reason, remedy })
        }
    }
}

fn create(path: &Path) -> std::io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => DirBuilder::new().mode(0o700).recursive(true).create(path),
        result => result,
    }
}

fn objection(found: &Metadata, user: u32) -> Option<(String, &'static str)> {
    if found.file_type().is_symlink() {
        return Some(("is a symbolic link, not a directory".to_owned(), "remove it: `rm {}`"));
    }
    if !found.is_dir() {
        return Some(("is not a directory".to_owned(), "remove it: `rm {}`"));
    }
    if found.uid() != user {
        let reason = format!("belongs to another user, {}, not to {user}", found.uid());
        return Some((reason, "set XDG_RUNTIME_DIR to a directory of yours"));
    }
    let mode = found.mode() & 0o777;
    (mode & 0o077 != 0)
        .then(|| (format!("is open to other users (mode {mode:04o})"), "close it if it is yours: `chmod 700 {}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    #[test]
    fn the_session_directory_comes_first() {
        let path = locate(Some(Path::new("/session")), Path::new("/nowhere"), Path::new("/tmp"), 7);
        assert_eq!(path, Path::new("/session/python-interpreter-mcp"));
    }

    #[test]
    fn a_stripped_environment_finds_the_session_directory_by_its_name() {
        let sessions = tempfile::tempdir().unwrap();
        let own = sessions.path().join(user().to_string());
        fs::create_dir(&own).unwrap();
        let path = locate(None, sessions.path(), Path::new("/tmp"), user());
        assert_eq!(path, own.join("python-interpreter-mcp"));
    }

    #[test]
    fn without_a_session_the_temporary_directory_carries_the_user_id() {
        let sessions = tempfile::tempdir().unwrap();
        symlink("/", sessions.path().join("7")).unwrap();
        for user in [7, 8] {
            let path = locate(None, sessions.path(), Path::new("/tmp"), user);
            assert_eq!(path, PathBuf::from(format!("/tmp/python-interpreter-mcp-{user}")));
        }
    }

    #[test]
    fn a_missing_directory_is_created_for_this_user_alone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("session/python-interpreter-mcp");
        secure(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        secure(&path).unwrap();
    }

    #[test]
    fn a_directory_that_others_can_reach_is_refused_with_the_remedy() {
        let parent = tempfile::tempdir().unwrap();
        let open = parent.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        let said = secure(&open).unwrap_err().to_string();
        assert!(said.contains("mode 0755") && said.contains(&format!("chmod 700 {}", open.display())), "{said}");

        let link = parent.path().join("link");
        symlink(parent.path(), &link).unwrap();
        assert!(secure(&link).unwrap_err().to_string().contains("symbolic link"));

        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(secure(&file).unwrap_err().to_string().contains("not a directory"));
    }

    #[test]
    fn another_users_directory_is_refused() {
        if user() != 0 {
            eprintln!("skipped: giving a directory to another user takes root");
            return;
        }
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("theirs");
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        chown(&path, Some(4242), None).unwrap();
        assert!(secure(&path).unwrap_err().to_string().contains("another user, 4242"));
        assert!(refuse_other_users_session(&path).unwrap_err().to_string().contains("unset XDG_RUNTIME_DIR"));
    }
}
