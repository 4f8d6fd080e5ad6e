//! Reads what `strace -f -y -xx` wrote.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What is recorded.
pub(super) const CALLS: &str = "trace=openat,open,creat,write,pwrite64,writev,pwritev,ftruncate,\
    fallocate,fsync,fdatasync,sync_file_range,rename,renameat,renameat2,unlink,unlinkat,mkdir,\
    mkdirat,rmdir";

/// A system call that succeeded, with paths below the recorded directory.
#[derive(Debug, Clone)]
pub(super) enum Call {
    /// A file was opened and made if need be.
    Create {
        path: PathBuf,
        truncate: bool,
    },
    MakeDir {
        path: PathBuf,
    },
    /// `offset` is `None` for an append.
    Write {
        path: PathBuf,
        offset: Option<u64>,
        bytes: Vec<u8>,
    },
    Truncate {
        path: PathBuf,
        size: u64,
    },
    /// Everything written before `SyncBegin` of this path is durable.
    SyncBegin {
        path: PathBuf,
        id: u64,
    },
    SyncEnd {
        path: PathBuf,
        id: u64,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
}

/// The calls in the order in which they took effect: writes and names when they returned, and a sync covers what
/// had returned when it was entered.
pub(super) fn parse(trace: &[u8], root: &Path) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: HashMap<String, (String, u64)> = HashMap::new();
    let mut sync_id = 0;
    for line in trace.split(|byte| *byte == b'\n') {
        let line = std::str::from_utf8(line).expect("-xx gives ASCII");
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            sync_id += 1;
            if let Some(path) = synced_path(begun, root) {
                calls.push(Call::SyncBegin { path, id: sync_id });
            }
            unfinished.insert(pid.to_owned(), (begun.to_owned(), sync_id));
        } else if rest.starts_with("<... ") {
            let Some((begun, id)) = unfinished.remove(pid) else { continue };
            let (_, ended) = rest.split_once(" resumed>").expect("a resumed call");
            finish(&format!("{begun}{ended}"), root, Some(id), &mut calls);
        } else {
            finish(rest, root, None, &mut calls);
        }
    }
    calls
}

fn synced_path(call: &str, root: &Path) -> Option<PathBuf> {
    let (name, arguments) = call.split_once('(')?;
    matches!(name, "fsync" | "fdatasync").then(|| descriptor_path(arguments, root))?
}

fn finish(line: &str, root: &Path, begun: Option<u64>, calls: &mut Vec<Call>) {
    let Some((call, result)) = line.rsplit_once(" = ") else { return };
    if result.trim_start().starts_with('-') {
        return;
    }
    let call = call.trim_end();
    let Some((name, arguments)) = call.split_once('(') else { return };
    let arguments = arguments.strip_suffix(')').unwrap_or(arguments);
    let fields: Vec<&str> = arguments.split(", ").collect();
    let named = |index: usize| text_path(fields[index], root);
    match name {
        "openat" => {
            let truncate = fields[2].contains("O_TRUNC");
            if fields[2].contains("O_CREAT")
                && let Some(path) = named(1)
            {
                calls.push(Call::Create { path, truncate });
            }
        }
        "write" | "pwrite64" => {
            let Some(path) = descriptor_path(arguments, root) else { return };
            let offset = (name == "pwrite64").then(|| fields[fields.len() - 1].parse().unwrap());
            let mut bytes = unescape(fields[1]);
            bytes.truncate(result.split_whitespace().next().unwrap().parse().unwrap());
            calls.push(Call::Write { path, offset, bytes });
        }
        "ftruncate" => {
            let Some(path) = descriptor_path(arguments, root) else { return };
            calls.push(Call::Truncate { path, size: fields[1].parse().unwrap() });
        }
        "fsync" | "fdatasync" => {
            let Some(path) = descriptor_path(arguments, root) else { return };
            let id = begun.unwrap_or(0);
            if begun.is_none() {
                calls.push(Call::SyncBegin { path: path.clone(), id });
            }
            calls.push(Call::SyncEnd { path, id });
        }
        "rename" => {
            if let (Some(from), Some(to)) = (named(0), named(1)) {
                calls.push(Call::Rename { from, to });
            }
        }
        "unlink" | "rmdir" => calls.extend(named(0).map(|path| Call::Remove { path })),
        "unlinkat" => {
            // Relative to an open directory, as the standard library removes trees.
            let name = String::from_utf8(unescape(fields[1])).unwrap();
            let parent = descriptor_path(arguments, root);
            let path = match parent {
                Some(parent) => Some(parent.join(&name)),
                None => below(Path::new(&name), root),
            };
            calls.extend(path.map(|path| Call::Remove { path }));
        }
        "mkdir" => calls.extend(named(0).map(|path| Call::MakeDir { path })),
        "mkdirat" => calls.extend(named(1).map(|path| Call::MakeDir { path })),
        "sync_file_range" => {}
        other => {
            let touches = arguments.contains(root.to_str().unwrap());
            assert!(!touches, "a call that the simulation does not know: {other}");
        }
    }
}

/// `5<\x2f...>` or `5</path>`.
fn descriptor_path(arguments: &str, root: &Path) -> Option<PathBuf> {
    let (_, rest) = arguments.split_once('<')?;
    let (path, _) = rest.split_once('>')?;
    below(Path::new(&text(path)), root)
}

fn text_path(field: &str, root: &Path) -> Option<PathBuf> {
    below(Path::new(&String::from_utf8(unescape(field)).ok()?), root)
}

fn text(escaped: &str) -> String {
    String::from_utf8_lossy(&unescape(escaped)).into_owned()
}

fn below(path: &Path, root: &Path) -> Option<PathBuf> {
    path.strip_prefix(root).ok().map(Path::to_owned)
}

/// `"\x41\x42"`, or plain text.
fn unescape(field: &str) -> Vec<u8> {
    let field = field.trim_end_matches("...").trim_matches('"').as_bytes();
    if !field.starts_with(b"\\x") {
        return field.to_vec();
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0',
        _ => byte - b'a' + 10,
    };
    field.chunks_exact(4).map(|four| digit(four[2]) * 16 + digit(four[3])).collect()
}
