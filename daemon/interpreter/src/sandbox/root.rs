//! The root file system. Built once: a small read-only tmpfs with bind mounts of Python's prefixes and a few devices. Built for each slot:
//! memory-backed writable places and its own /proc. What is not listed here does not exist for a program.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, fstat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind, mount_change,
    move_mount, open_tree, unmount,
};
use rustix::process::{chdir, pivot_root, umask};
use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::runner;

/// Where a program may write. [`Limits::workspace`] bounds all of them together.
pub const WRITABLE: [&str; 3] = ["/workspace", "/tmp", "/dev/shm"];
/// The home directory of the program's user.
pub const HOME: &str = "/tmp/home";
/// The slot's pseudo-terminals.
pub const TERMINALS: &str = "/dev/pts";
pub const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// These list the kernel's keyrings, which belong to the user and not to a namespace.
const MASKED: [&str; 2] = ["/proc/keys", "/proc/key-users"];
/// Where the new root is assembled. It exists on every Linux system.
const STAGING: &str = "/tmp";
/// Where a slot's writable places are assembled. Its /proc is mounted over it afterwards, so that nothing has to be unmounted: an unmount
/// waits for an RCU grace period.
const SLOT_STAGING: &str = "/proc";
/// The root itself only has directories, links and small files.
const ROOT_OPTIONS: &CStr = c"mode=0755,size=4m,nr_inodes=4096";

/// The variable part of the root, prepared once.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Root {
    /// Mounted read-only.
    pub binds: Vec<Bind>,
    /// Symbolic links: (link, what it points to).
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Small files: (path, content).
    pub files: Vec<(PathBuf, String)>,
}

/// A file or directory of the host, mounted read-only at `target`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    pub source: PathBuf,
    pub target: PathBuf,
}

/// Detached copies of the mounts to be attached, with their final attributes.
pub struct Sources {
    binds: Vec<OwnedFd>,
    devices: Vec<OwnedFd>,
}

impl Root {
    /// Opens all sources by their paths outside, while this process can still reach them.
    pub fn open_sources(&self) -> io::Result<Sources> {
        // Keeps mounts made here from propagating to the host.
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
        let read_only = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
        let device = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
        Ok(Sources {
            binds: self.binds.iter().map(|bind| open_restricted(&bind.source, read_only)).collect::<io::Result<_>>()?,
            devices: DEVICES.iter().map(|path| open_restricted(Path::new(path), device)).collect::<io::Result<_>>()?,
        })
    }

    /// Builds the outer sandbox's root, and makes it this process's root.
    pub fn build(&self, sources: Sources, limits: &Limits) -> io::Result<()> {
        umask(Mode::from_raw_mode(0o022));
        let own = MountFlags::NOSUID | MountFlags::NODEV;
        mount("tmpfs", STAGING, "tmpfs", own, ROOT_OPTIONS)?;
        chdir(STAGING)?;
        fs::create_dir("proc")?;
        // First, because a Python may be installed below one of these places.
        mount_writable(Path::new(""), limits)?;
        self.attach(sources)?;
        // Writable, because the slots' id maps and network settings are written through it. Nothing may be mounted over parts of it, or the
        // kernel would refuse to mount a /proc in slots.
        mount("proc", "proc", "proc", own | MountFlags::NOEXEC, None)?;
        // Stacks both roots at one place, then detaches the old one: so the new root needs no directory for it.
        pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        chdir("/")?;
        set_attributes(CWD, c"/", 0, libc::MOUNT_ATTR_RDONLY)
    }

    /// Mounts a slot's own places over those of the outer sandbox, and changes to `/workspace`.
    pub fn build_slot(&self, limits: &Limits) -> io::Result<()> {
        umask(Mode::from_raw_mode(0o022));
        let is_covered = |bind: &&Bind| WRITABLE.iter().any(|path| bind.target.starts_with(path));
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let covered = self.binds.iter().filter(is_covered).map(|bind| Ok((bind, open_tree(CWD, &bind.target, flags)?)));
        let covered: Vec<(&Bind, OwnedFd)> = covered.collect::<io::Result<_>>()?;
        mount_writable(Path::new("/"), limits)?;
        chdir("/")?;
        for (bind, source) in covered {
            attach(&bind.target, &source)?;
        }
        mount_terminals()?;
        mount_proc()?;
        Ok(chdir(WRITABLE[0])?)
    }

    /// Fills the new root, which must be the working directory.
    fn attach(&self, sources: Sources) -> io::Result<()> {
        for (bind, source) in self.binds.iter().zip(sources.binds) {
            attach(&bind.target, &source)?;
        }
        for (path, source) in DEVICES.iter().zip(sources.devices) {
            attach(Path::new(path), &source)?;
        }
        for (link, target) in &self.links {
            create_parent(link)?;
            symlink(target, relative(link))?;
        }
        for (name, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
            symlink(format!("/proc/self/fd{target}"), format!("dev/{name}"))?;
        }
        fs::create_dir(relative(Path::new(TERMINALS)))?;
        symlink("pts/ptmx", "dev/ptmx")?;
        for (path, content) in &self.files {
            create_parent(path)?;
            fs::write(relative(path), content)?;
        }
        for (path, content) in runner::FILES {
            create_parent(Path::new(path))?;
            fs::write(relative(Path::new(path)), content)?;
        }
        Ok(())
    }
}

/// Mounts one tmpfs in three places below `root`, so that one size bounds all that a program can write.
fn mount_writable(root: &Path, limits: &Limits) -> io::Result<()> {
    let options = format!("mode=0755,size={},nr_inodes={}", limits.workspace.0, limits.workspace_files);
    let own = MountFlags::NOSUID | MountFlags::NODEV;
    let options = CString::new(options).map_err(io::Error::other)?;
    let staging = root.join(relative(Path::new(SLOT_STAGING)));
    mount("tmpfs", &staging, "tmpfs", own, options.as_c_str())?;
    // As usual, everyone may write to /tmp and /dev/shm, and only the program's user to the workspace.
    for ((part, mode), path) in [("workspace", 0o755), ("tmp", 0o1777), ("shm", 0o1777)].into_iter().zip(WRITABLE) {
        let (part, place) = (staging.join(part), root.join(relative(Path::new(path))));
        fs::create_dir(&part)?;
        fs::set_permissions(&part, fs::Permissions::from_mode(mode))?;
        if !place.exists() {
            fs::create_dir_all(&place)?;
        }
        mount_bind(&part, &place)?;
    }
    fs::DirBuilder::new().mode(0o700).create(root.join(relative(Path::new(HOME))))
}

/// Mounts the slot's own pseudo-terminals. Few, because there is a limit for the whole machine.
fn mount_terminals() -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    Ok(mount("devpts", TERMINALS, "devpts", flags, c"newinstance,ptmxmode=0666,mode=0600,max=32")?)
}

/// Mounts the pid namespace's own /proc, read-only so that no kernel setting can be changed.
fn mount_proc() -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    mount("proc", "/proc", "proc", flags, None)?;
    for path in MASKED.into_iter().filter(|path| Path::new(path).exists()) {
        mount_bind("/dev/null", path)?;
    }
    Ok(())
}

/// A detached copy of the mount at `path` with all submounts, each with `attributes`.
fn open_restricted(path: &Path, attributes: u64) -> io::Result<OwnedFd> {
    let named = |error: rustix::io::Errno| {
        io::Error::new(io::Error::from(error).kind(), format!("{}: {error}", path.display()))
    };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, path, flags).map_err(named)?;
    set_attributes(tree.as_fd(), c"", libc::AT_EMPTY_PATH | libc::AT_RECURSIVE, attributes)?;
    Ok(tree)
}

fn attach(target: &Path, source: &OwnedFd) -> io::Result<()> {
    let place = relative(target);
    if FileType::from_raw_mode(fstat(source)?.st_mode).is_dir() {
        fs::create_dir_all(place)?;
    } else {
        create_parent(target)?;
        // Below another bind mount it exists already, and is read-only.
        if !place.exists() {
            fs::File::create(place)?;
        }
    }
    Ok(move_mount(source, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

fn create_parent(path: &Path) -> io::Result<()> {
    match relative(path).parent() {
        Some(parent) => fs::DirBuilder::new().recursive(true).mode(0o755).create(parent),
        None => Ok(()),
    }
}

/// An absolute path, relative to the root that is being built.
fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// mount_setattr(2): adds `attributes`. Unlike a remount, it does not have to repeat those that the host's mount has and locks.
fn set_attributes(directory: BorrowedFd<'_>, path: &CStr, flags: libc::c_int, attributes: u64) -> io::Result<()> {
    let change = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is a C string, the size is that of the structure, and both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            directory.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const change,
            size_of::<libc::mount_attr>(),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
