//! The open sources of a sink, and the saving of their offsets.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tracing::warn;

use super::source::Source;
use super::state_dir::{StateDir, StateError};
use crate::sync::lock;

/// See the module.
#[derive(Debug, Default)]
pub struct Sources {
    dir: Option<StateDir>,
    /// Guards the sources that are in use, by name. Nothing awaits while holding it.
    open: Mutex<HashMap<Box<str>, Arc<Source>>>,
    /// Notified by each source whose offset advanced.
    advanced: Arc<Notify>,
    /// Held while offsets are written, so that a write never overtakes a later one. Nothing awaits while holding it.
    saving: Mutex<()>,
}

impl Sources {
    /// Sources whose offsets are kept in the folder `state_dir`, if one is given.
    pub fn new(state_dir: Option<&str>) -> Result<Self, StateError> {
        let dir = state_dir.map(|path| StateDir::open(Path::new(path))).transpose()?;
        Ok(Sources { dir, ..Sources::default() })
    }

    /// Opens a source by its name, at the offset that was saved for it.
    pub fn open(&self, name: &str) -> Result<Arc<Source>, StateError> {
        let mut open = lock(&self.open);
        open.retain(|_, source| self.is_needed(source));
        if let Some(source) = open.get(name) {
            return Ok(source.clone());
        }
        let offset = self.dir.as_ref().map(|dir| dir.load(name)).transpose()?.flatten();
        let source = Arc::new(Source::new(name, offset, self.advanced.clone()));
        open.insert(name.into(), source.clone());
        Ok(source)
    }

    /// Saves every offset that has advanced. Blocks on the disk. Returns false when some offset could not be saved.
    pub fn save(&self) -> bool {
        let errors = self.save_offsets();
        for error in &errors {
            warn!("the offset of a source could not be saved: {error}");
        }
        errors.is_empty()
    }

    /// Returns whether somebody uses the source, or its offset is still to be saved.
    fn is_needed(&self, source: &Arc<Source>) -> bool {
        Arc::strong_count(source) > 1 || (self.dir.is_some() && source.unsaved().is_some())
    }

    /// Leaves the folder to another sink, after the end of this one. Does nothing while a write hangs.
    pub fn release(&self) {
        if let Some(dir) = &self.dir
            && let Ok(_no_write_is_running) = self.saving.try_lock()
        {
            dir.release();
        }
    }

    fn save_offsets(&self) -> Vec<StateError> {
        let mut errors = Vec::new();
        let _one_at_a_time = lock(&self.saving);
        let open: Vec<_> = lock(&self.open).values().cloned().collect();
        for source in open {
            let (Some(dir), Some(offset)) = (&self.dir, source.unsaved()) else { continue };
            if dir.is_released() {
                break;
            }
            match dir.save(source.name(), offset) {
                Ok(()) => source.mark_saved(offset),
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    /// Returns whether offsets are kept on disk.
    pub fn are_kept(&self) -> bool {
        self.dir.is_some()
    }

    /// Notified when the offset of a source has advanced.
    pub fn advanced(&self) -> &Notify {
        &self.advanced
    }
}
