//! The folder in which the offsets of sources are kept, so that a host continues there after a restart.
//!
//! Each source has one small file, which is replaced as a whole: a new file is written and synced, then renamed, then the
//! folder is synced. A file is checked when it is read. One that is torn, empty, of another source or of a newer version is
//! an error, never offset 0. The folder is locked as long as the sink uses it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::process::ClosedInChild;
use crate::sync::lock;

const MAGIC: &str = "cwl-sink source offset";
const VERSION: u32 = 1;

/// The most characters of the name of a source that stand in the name of its file.
const READABLE: usize = 100;

/// The reason why the folder, or a file in it, cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// The file or the folder cannot be read or written.
    #[error("state_dir: {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// Another sink uses the folder.
    #[error("state_dir: {0} is in use by another sink; each needs a folder of its own")]
    InUse(PathBuf),
    /// The content of the file is not what a sink wrote.
    #[error("state_dir: {path} cannot be trusted: {why}. Remove it to read the source from its beginning")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The fault of its content.
        why: String,
    },
}

/// The folder, locked.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Guards the lock file. `None` once the folder was released.
    lock: Mutex<Option<LockFile>>,
}

/// The locked file. Children do not keep it.
#[derive(Debug)]
struct LockFile {
    /// Dropped before the file is closed.
    _closed_in_child: ClosedInChild,
    file: File,
}

impl StateDir {
    /// Creates the folder if it is missing, and locks it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let at = |place: &Path| {
            let path = place.to_owned();
            move |source| StateError::Io { path, source }
        };
        fs::create_dir_all(path).map_err(at(path))?;
        let lock_path = path.join("lock");
        let lock = File::options().create(true).append(true).open(&lock_path).map_err(at(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {
                let closed_in_child = ClosedInChild::new(lock.as_raw_fd());
                let lock = LockFile { _closed_in_child: closed_in_child, file: lock };
                Ok(StateDir { path: path.to_owned(), lock: Mutex::new(Some(lock)) })
            }
            Err(TryLockError::WouldBlock) => Err(StateError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(at(&lock_path)(error)),
        }
    }

    /// Releases the folder for another sink.
    pub fn release(&self) {
        if let Some(lock) = lock(&self.lock).take() {
            // Also when a child has the descriptor, such as one between fork and exec. Closing unlocks it otherwise.
            let _ = lock.file.unlock();
        }
    }

    /// Returns whether the folder was released, so that another sink may use it.
    pub fn is_released(&self) -> bool {
        lock(&self.lock).is_none()
    }

    /// Loads the saved offset of a source. `None` if none was saved.
    pub fn load(&self, name: &str) -> Result<Option<u64>, StateError> {
        let path = self.file_of(name);
        match fs::read(&path) {
            Ok(bytes) => match parse(&bytes, name) {
                Ok(offset) => Ok(Some(offset)),
                Err(why) => Err(StateError::Damaged { path, why }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Io { path, source }),
        }
    }

    /// Saves the offset of a source.
    pub fn save(&self, name: &str, offset: u64) -> Result<(), StateError> {
        let path = self.file_of(name);
        let new_path = path.with_extension("new");
        let written = || -> io::Result<()> {
            let mut file = File::create(&new_path)?;
            file.write_all(render(name, offset).as_bytes())?;
            file.sync_all()?;
            fs::rename(&new_path, &path)?;
            File::open(&self.path)?.sync_all()
        };
        written().map_err(|source| StateError::Io { path: path.clone(), source })
    }

    /// The path of the file of a source: the readable part of its name, and a hash that tells names apart.
    fn file_of(&self, name: &str) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
        let readable: String = name.chars().map(plain).take(READABLE).collect();
        let hash = Sha256::digest(name);
        let first: [u8; 8] = std::array::from_fn(|place| hash[place]);
        self.path.join(format!("{readable}-{:016x}.offset", u64::from_be_bytes(first)))
    }
}

fn render(name: &str, offset: u64) -> String {
    let name = String::from_utf8_lossy(&crate::json::json_string(name)).into_owned();
    let body = format!("{MAGIC} {VERSION}\nname {name}\noffset {offset}\n");
    format!("{body}checksum {:08x}\n", crc32fast::hash(body.as_bytes()))
}

/// Parses a state file. The error is the fault of its content.
fn parse(bytes: &[u8], name: &str) -> Result<u64, String> {
    if bytes.is_empty() {
        return Err("it is empty".to_owned());
    }
    let text = str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    let version = text.lines().next().and_then(|line| line.strip_prefix(MAGIC)?.strip_prefix(' '));
    match version.map(str::parse::<u32>) {
        Some(Ok(VERSION)) => {}
        Some(Ok(other)) => return Err(format!("it is of version {other}, and this library knows {VERSION}")),
        _ => return Err(format!("it does not begin with {MAGIC:?}")),
    }
    let offset = text.lines().nth(2).and_then(|line| line.strip_prefix("offset ")?.parse().ok());
    let offset = offset.ok_or_else(|| "it is torn".to_owned())?;
    if text == render(name, offset) { Ok(offset) } else { Err("it is torn, or of another source".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_comes_back_as_it_was_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("made/if/missing");
        let state = StateDir::open(&path).expect("open");
        let long = "ü/".repeat(300);
        for name in ["/var/log/x", "with\nlines \"and\" quotes", &long, ""] {
            assert_eq!(state.load(name).expect("nothing yet"), None);
            for offset in [0, 17, u64::MAX] {
                state.save(name, offset).expect("saved");
                assert_eq!(state.load(name).expect("loaded"), Some(offset));
            }
        }
        drop(state);
        assert_eq!(StateDir::open(&path).expect("again").load("/var/log/x").expect("kept"), Some(u64::MAX));
    }

    #[test]
    fn afile_that_is_torn_empty_newer_or_anothers_is_refused_and_never_read_as_zero() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::open(folder.path()).expect("open");
        state.save("source", 12_345).expect("saved");
        let path = state.file_of("source");
        let good = fs::read(&path).expect("there");
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).expect("torn");
            assert!(state.load("source").is_err(), "{length} of {} bytes are not trusted", good.len());
        }
        for at in 0..good.len() {
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            fs::write(&path, &flipped).expect("flipped");
            assert!(state.load("source").is_err(), "a bit flipped at {at} is seen");
        }
        fs::write(&path, render("other", 1)).expect("another's");
        assert!(state.load("source").is_err());
        fs::write(&path, String::from_utf8_lossy(&good).replace("offset 1\n", "offset 2\n")).expect("newer");
        let error = state.load("source").expect_err("newer").to_string();
        assert!(error.contains("version 2") && error.contains(&path.display().to_string()), "{error}");
    }

    #[test]
    fn a_folder_is_one_sinks_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = StateDir::open(folder.path()).expect("open");
        let error = StateDir::open(folder.path()).expect_err("locked").to_string();
        assert!(error.contains("in use"), "{error}");
        drop(first);
        StateDir::open(folder.path()).expect("free again");
    }
}
