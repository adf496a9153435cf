//! What the interpreter and the zygote agree on. Both crates compile this file, so there is one definition of each format.
//!
//! It needs no standard library and no other crate. Each side uses only a part of it.
#![allow(dead_code, reason = "one side writes what the other reads")]

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

/// The descriptor at which the zygote has its socket to the spawner.
pub const ZYGOTE_SOCKET: i32 = 3;
/// A program's working directory.
pub const WORKSPACE: &CStr = c"/workspace";
/// The program that a child runs ahead of need: see [`SlotRequest::PROGRAM`].
pub const REHEARSAL: &CStr = c"/python-interpreter/rehearsal.py";
/// Longest job, in bytes.
pub const JOB_LIMIT: usize = 192 * 1024;
/// Longest confinement, in bytes.
pub const CONFINEMENT_LIMIT: usize = 64 * 1024;

/// The name of the step that fails without Landlock. It is taken on both sides, and has a remedy of its own.
pub const LANDLOCK_STEP: &str = "restrict with Landlock";

/// How children are confined: the zygote's first message. Numbers are in the machine's byte order.
#[derive(Debug, PartialEq, Eq)]
pub struct Confinement {
    /// CLONE_NEW* flags of the namespaces that a child joins. Its pid namespace is not among them: the child is born into it.
    pub namespaces: i32,
    /// (RLIMIT_* number, soft and hard limit)
    pub limits: Vec<(u32, u64)>,
    /// A BPF program of 8-byte instructions.
    pub filter: Vec<u8>,
}

impl Confinement {
    pub fn write(&self) -> Vec<u8> {
        let mut message = Vec::new();
        message.extend(self.namespaces.to_ne_bytes());
        message.extend((self.limits.len() as u32).to_ne_bytes());
        for (resource, value) in &self.limits {
            message.extend(resource.to_ne_bytes());
            message.extend(value.to_ne_bytes());
        }
        message.extend(&self.filter);
        message
    }

    /// `None` if the message is incomplete, or has no filter.
    pub fn read(message: &[u8]) -> Option<Self> {
        let (namespaces, rest) = message.split_first_chunk()?;
        let (count, mut rest) = rest.split_first_chunk()?;
        let mut limits = Vec::new();
        for _ in 0..u32::from_ne_bytes(*count) {
            let (resource, after) = rest.split_first_chunk()?;
            let (value, after) = after.split_first_chunk()?;
            limits.push((u32::from_ne_bytes(*resource), u64::from_ne_bytes(*value)));
            rest = after;
        }
        let is_whole = !rest.is_empty() && rest.len() % 8 == 0;
        is_whole.then(|| Confinement { namespaces: i32::from_ne_bytes(*namespaces), limits, filter: rest.to_vec() })
    }
}

/// The descriptors of a request for a child. The message itself says what the child rehearses.
pub struct SlotRequest<T> {
    /// pidfd of the slot's first process.
    pub slot: T,
    /// Socket to the interpreter: it brings the job, and takes the child's [`reports`](Report).
    pub control: T,
    pub stdout: T,
    pub stderr: T,
    /// Landlock ruleset.
    pub rules: T,
    /// `cgroup.procs` of the slot's control group, if it has one.
    pub group: Option<T>,
}

impl<T> SlotRequest<T> {
    /// Most descriptors of a request.
    pub const DESCRIPTORS: usize = 6;
    /// Nothing.
    pub const NOTHING: &'static [u8] = b"nothing";
    /// A small program.
    pub const PROGRAM: &'static [u8] = b"program";
    /// The same, and imports.
    pub const IMPORTS: &'static [u8] = b"imports";

    pub fn into_list(self) -> Vec<T> {
        [self.slot, self.control, self.stdout, self.stderr, self.rules].into_iter().chain(self.group).collect()
    }

    /// `None` if descriptors are missing.
    pub fn from_list(list: impl IntoIterator<Item = T>) -> Option<Self> {
        let mut list = list.into_iter();
        Some(SlotRequest {
            slot: list.next()?,
            control: list.next()?,
            stdout: list.next()?,
            stderr: list.next()?,
            rules: list.next()?,
            group: list.next(),
        })
    }
}

/// What the zygote or a child reports to the interpreter. It is JSON, because the spawner's messages on the same socket are: the
/// interpreter reads all of them as its `SlotMessage`.
pub enum Report {
    Ready,
    /// `error` is an errno, or 0.
    Refused {
        step: &'static str,
        error: i32,
    },
    /// `status` is that of wait(2).
    Exited {
        status: i32,
        cpu_milliseconds: u64,
    },
}

impl Report {
    /// A step must not contain characters that JSON escapes.
    pub fn write(&self) -> String {
        match self {
            Report::Ready => "\"Ready\"".into(),
            Report::Refused { step, error } => format!("{{\"Refused\":{{\"step\":\"{step}\",\"error\":{error}}}}}"),
            Report::Exited { status, cpu_milliseconds } => {
                format!("{{\"Exited\":{{\"status\":{status},\"cpu_milliseconds\":{cpu_milliseconds}}}}}")
            }
        }
    }
}

/// What a child is to do. No text may contain a NUL.
#[derive(Debug, PartialEq, Eq)]
pub enum Job<T> {
    /// `script NUL variable NUL variable NUL …`: run a script of the workspace, with these environment variables added.
    Run(T),
    /// `executable NUL script NUL variable NUL variable NUL …`: replace the process by a new Python with exactly these variables.
    Execute(T),
}

impl<'a> Job<&'a [u8]> {
    /// `None` if it is neither.
    pub fn read(message: &'a [u8]) -> Option<Self> {
        match message.split_first()? {
            (b'r', texts) => Some(Job::Run(texts)),
            (b'x', texts) => Some(Job::Execute(texts)),
            _ => None,
        }
    }
}

impl Job<Vec<String>> {
    pub fn write(&self) -> Vec<u8> {
        let (kind, texts) = match self {
            Job::Run(texts) => (b'r', texts),
            Job::Execute(texts) => (b'x', texts),
        };
        let mut message = Vec::from([kind]);
        texts.iter().for_each(|text| message.extend(text.bytes().chain([0])));
        message
    }
}
