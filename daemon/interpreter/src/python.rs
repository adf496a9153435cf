//! The host's Python: which one is used, and which host files a slot must show so that it runs.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::launch::{Launch, environment};
use crate::mounts::Mount;
use crate::output::{Kept, drain};
use crate::sandbox::{Bind, Network, Root};
use crate::settings::Settings;

/// The oldest supported Python: (major, minor).
pub const OLDEST: (u32, u32) = (3, 9);

/// Longest wait for a Python to describe itself. The first start from a cold disk takes seconds.
const DESCRIBE_DEADLINE: Duration = Duration::from_secs(20);

/// Longest description, in bytes.
const DESCRIBE_LIMIT: usize = 64 * 1024;

/// Where `python3` is searched for when it is not on PATH.
const USUAL_PLACES: [&str; 3] = ["/usr/bin/python3", "/usr/local/bin/python3", "/run/current-system/sw/bin/python3"];

/// Parts of /etc that programs read. None of them contains anything about the user.
const ETC: [&str; 11] = [
    "alternatives",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "protocols",
    "python3",
    "services",
    "ssl/certs",
];

/// Libraries read these to decide how many threads to start, and on which CPUs. Like /proc, they also reveal how busy the machine is.
const HARDWARE: [&str; 2] = ["/sys/devices/system/cpu", "/sys/devices/system/node"];

/// Identifies an installed Python, so that a replaced or removed one is noticed.
#[derive(Debug, Clone)]
pub struct Fingerprint {
    paths: Vec<PathBuf>,
    /// Of each path: device, inode and modification time. `None` if it does not exist.
    files: Vec<Option<(u64, u64, i64)>>,
}

impl Fingerprint {
    fn of(python: &Description) -> Self {
        let mut paths = python.prefixes.clone();
        paths.push(python.executable.clone());
        Fingerprint { files: Self::look(&paths), paths }
    }

    fn look(paths: &[PathBuf]) -> Vec<Option<(u64, u64, i64)>> {
        // A directory's modification time is left out: installing a package changes it, and slots see the new package anyway.
        let one = |path: &PathBuf| {
            let status = std::fs::metadata(path).ok()?;
            Some((status.dev(), status.ino(), if status.is_dir() { 0 } else { status.mtime() }))
        };
        paths.iter().map(one).collect()
    }

    /// A short text that another Python has not.
    pub fn digest(&self) -> String {
        let digest = Sha256::digest(format!("{:?}", (&self.paths, &self.files)));
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether the same Python is still installed.
    pub fn still_matches(&self) -> bool {
        Self::look(&self.paths) == self.files
    }
}

/// A Python that can run in slots.
#[derive(Debug, Clone)]
pub struct Python {
    pub fingerprint: Fingerprint,
    pub version: String,
    pub launch: Launch,
    pub root: Root,
    pub packages: Packages,
}

/// Where an environment's packages lie, and which bytecode is valid there.
#[derive(Debug, Clone)]
pub struct Packages {
    pub version: String,
    /// What names of bytecode contain. Empty if it is not known.
    pub cache_tag: String,
    /// What bytecode begins with.
    pub magic: [u8; 4],
    /// Each prefix's `site-packages`, as it is on the module path.
    pub directories: Vec<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    #[error(
        "no python3 was found on PATH or in /usr/bin: install Python {}.{} or later, or name one with \
         PYTHON_INTERPRETER_MCP_PYTHON", OLDEST.0, OLDEST.1
    )]
    Missing,
    #[error("{} cannot be run as Python: {reason}", path.display())]
    Broken { path: PathBuf, reason: String },
    #[error(
        "{} is Python {version}, and {}.{} or later is needed: install one and name it with PYTHON_INTERPRETER_MCP_PYTHON",
        path.display(), OLDEST.0, OLDEST.1
    )]
    TooOld { path: PathBuf, version: String },
    #[error("{} is {implementation}: CPython is needed, because programs run in forks of it", path.display())]
    OtherKind { path: PathBuf, implementation: String },
    #[error("{} cannot be shown to programs: {reason}", mount.display())]
    Mount { mount: PathBuf, reason: String },
    #[error(
        "Python's prefix {} contains {}, which programs must not see: use a Python with a directory of its own",
        prefix.display(), private.display()
    )]
    TooWide { prefix: PathBuf, private: PathBuf },
}

/// What `runner/describe.py` prints.
#[derive(Debug, Deserialize)]
struct Description {
    version: (u32, u32, u32),
    implementation: String,
    #[serde(default)]
    cache_tag: String,
    #[serde(default)]
    magic: [u8; 4],
    /// Where packages may be.
    #[serde(default)]
    packages: Vec<PathBuf>,
    executable: PathBuf,
    /// `sys.prefix`, `sys.base_prefix` and so on: directories of the standard library and the packages.
    prefixes: Vec<PathBuf>,
}

/// Outside the sandbox only Python itself may run. `-S` skips `site`, and with it the `.pth` files of an environment, which may contain
/// any code.
const ALONE: [&str; 3] = ["-I", "-S", "-c"];
const DESCRIBE: &str = include_str!("../runner/describe.py");

/// Finds the configured Python, or `python3`, and asks it for its version and its directories. None of a caller's code runs here.
///
/// No slot may show a directory in `private`.
pub async fn discover(settings: &Settings, private: &[PathBuf]) -> Result<Python, PythonError> {
    let path = match settings.python.as_deref() {
        Some(path) => path.to_owned(),
        None => find().ok_or(PythonError::Missing)?,
    };
    let description = describe(&path).await?;
    let (major, minor, micro) = description.version;
    let version = format!("{major}.{minor}.{micro}");
    if (major, minor) < OLDEST {
        return Err(PythonError::TooOld { path, version });
    }
    if description.implementation != "cpython" {
        return Err(PythonError::OtherKind { path, implementation: description.implementation });
    }
    let mut root = root(&description, private)?;
    show_mounts(&mut root, &settings.mounts, private)?;
    if settings.network == Network::Host {
        show_name_service(&mut root, private)?;
    }
    let fingerprint = Fingerprint::of(&description);
    let directory = description.executable.parent().unwrap_or(Path::new("/usr/bin"));
    let environment = environment(directory);
    let (mut directories, mut seen) = (Vec::new(), Vec::new());
    for packages in description.packages {
        // `lib64` is often a link to `lib`.
        if let Ok(real) = packages.canonicalize()
            && !seen.contains(&real)
        {
            seen.push(real);
            directories.push(packages);
        }
    }
    let packages =
        Packages { version: version.clone(), cache_tag: description.cache_tag, magic: description.magic, directories };
    Ok(Python {
        fingerprint,
        version,
        launch: Launch {
            executable: description.executable,
            environment,
            preload: settings.preload.clone(),
            learned: None,
        },
        root,
        packages,
    })
}

fn find() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&on_path)
        .map(|directory| directory.join("python3"))
        .chain(USUAL_PLACES.map(PathBuf::from))
        .find(|path| {
            path.is_absolute() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file()
        })
}

async fn describe(path: &Path) -> Result<Description, PythonError> {
    let broken = |reason: String| PythonError::Broken { path: path.to_owned(), reason };
    if path.is_dir() {
        return Err(broken("it is a directory; for a virtual environment, name its bin/python".to_owned()));
    }
    let described = async {
        let mut command = Command::new(path);
        command.args(ALONE).arg(DESCRIBE).current_dir("/").kill_on_drop(true);
        let mut python = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (mut stdout, mut stderr) = (Kept::new(DESCRIBE_LIMIT), Kept::new(DESCRIBE_LIMIT));
        let ended = async {
            if let (Some(out), Some(err)) = (python.stdout.take(), python.stderr.take()) {
                tokio::join!(drain(out, &mut stdout), drain(err, &mut stderr));
            }
            python.wait().await
        };
        let status = ended.await?;
        std::io::Result::Ok((status, stdout.into_text(), stderr.into_text()))
    };
    let (status, stdout, stderr) = match tokio::time::timeout(DESCRIBE_DEADLINE, described).await {
        Ok(Ok(described)) => described,
        Ok(Err(error)) => return Err(broken(error.to_string())),
        Err(_) => return Err(broken(format!("it did not answer within {DESCRIBE_DEADLINE:?}"))),
    };
    serde_json::from_str(&stdout).map_err(|_| {
        let said: String = stderr.lines().last().unwrap_or_default().chars().take(200).collect();
        broken(format!("it ended with {status} and printed {said:?}"))
    })
}

/// The host files in a slot's root: the system's programs and libraries, a few files of /etc, and this Python.
fn root(python: &Description, private: &[PathBuf]) -> Result<Root, PythonError> {
    let mut root = Root::default();
    for path in ["/usr", "/nix/store"] {
        show(&mut root, Path::new(path), private)?;
    }
    for name in ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"] {
        match std::fs::read_link(name) {
            Ok(target) => root.links.push((name.into(), target)),
            Err(_) => show(&mut root, Path::new(name), private)?,
        }
    }
    let (major, minor, _) = python.version;
    let versioned = format!("python{major}.{minor}");
    for path in HARDWARE {
        show(&mut root, Path::new(path), private)?;
    }
    for name in ETC.iter().copied().chain([versioned.as_str()]) {
        show(&mut root, &Path::new("/etc").join(name), private)?;
    }
    for prefix in &python.prefixes {
        show(&mut root, prefix, private)?;
    }
    show_links(&mut root, &python.executable, private)?;
    for (path, content) in [
        (
            "/etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp/home:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        ),
        ("/etc/group", "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n"),
        ("/etc/hosts", "127.0.0.1 localhost python\n::1 localhost\n"),
        ("/etc/hostname", "python\n"),
        ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    ] {
        root.files.push((path.into(), content.to_owned()));
    }
    Ok(root)
}

/// Shows `path` under its own name and, if it contains symbolic links, also under its real name. A missing `path` is skipped.
fn show(root: &mut Root, path: &Path, private: &[PathBuf]) -> Result<(), PythonError> {
    let Ok(real) = path.canonicalize() else { return Ok(()) };
    if let Some(private) = private.iter().find(|private| private.starts_with(&real)) {
        return Err(PythonError::TooWide { prefix: real, private: private.clone() });
    }
    for target in [path, &real] {
        let covered = |bind: &Bind| {
            let Ok(rest) = target.strip_prefix(&bind.target) else { return false };
            target == bind.target || bind.source.join(rest).canonicalize().is_ok_and(|there| there == real)
        };
        let linked = root.links.iter().any(|(link, _)| target.starts_with(link));
        if !linked && !root.binds.iter().any(covered) {
            root.binds.push(Bind { source: real.clone(), target: target.to_owned() });
        }
    }
    Ok(())
}

/// Shows every link of the chain that leads to `executable`. In a virtual environment the chain leads to the base Python.
fn show_links(root: &mut Root, executable: &Path, private: &[PathBuf]) -> Result<(), PythonError> {
    let mut hop = executable.to_owned();
    for _ in 0..40 {
        show(root, &hop, private)?;
        match std::fs::read_link(&hop) {
            Ok(target) => hop = hop.parent().unwrap_or(Path::new("/")).join(target),
            Err(_) => break,
        }
    }
    Ok(())
}

/// Adds `mounts` to the root. Refuses a mount that contains a `private` directory or lies in one, unless that one is the home directory.
fn show_mounts(root: &mut Root, mounts: &[Mount], private: &[PathBuf]) -> Result<(), PythonError> {
    for mount in mounts {
        let refused = |reason: String| PythonError::Mount { mount: mount.source.clone(), reason };
        let source = mount.source.canonicalize().map_err(|error| refused(error.to_string()))?;
        if let Some(private) = private.iter().find(|private| private.starts_with(&source)) {
            return Err(refused(format!("it holds {}, which programs must not see", private.display())));
        }
        let home = std::env::home_dir().and_then(|home| home.canonicalize().ok());
        let inside = private.iter().find(|private| Some(*private) != home.as_ref() && source.starts_with(private));
        if let Some(private) = inside {
            return Err(refused(format!("it lies in {}, which programs must not see", private.display())));
        }
        root.binds.push(Bind { source, target: mount.target.clone() });
    }
    Ok(())
}

/// Replaces a slot's own files for name lookup by the host's.
fn show_name_service(root: &mut Root, private: &[PathBuf]) -> Result<(), PythonError> {
    const FILES: [&str; 3] = ["/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf"];
    root.files.retain(|(path, _)| !FILES.iter().any(|file| path == Path::new(file)));
    FILES.iter().try_for_each(|file| show(root, Path::new(file), private))
}

/// Directories of this user and of this program that no slot may show.
pub fn private_directories(state: &Path) -> Vec<PathBuf> {
    let named = ["HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"].map(std::env::var_os);
    let mut directories: Vec<PathBuf> = named.into_iter().flatten().map(PathBuf::from).collect();
    directories.push(state.to_owned());
    // Accounts without a home directory have "/". A missing directory cannot be shown anyway.
    directories.into_iter().filter_map(|path| path.canonicalize().ok()).filter(|path| path != Path::new("/")).collect()
}
