//! The sources of a sink, and the keeping of their offsets: at most once a second, and at shutdown.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tracing::warn;

use crate::engine::Engine;
use crate::offsets::Source;
use crate::state_dir::{StateDir, StateError};

/// Shortest time between two writes of the state.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub struct Sources {
    dir: Option<StateDir>,
    /// The sources that are in use, by name. Nothing awaits while holding it.
    open: Mutex<HashMap<Box<str>, Arc<Source>>>,
    /// Told by each source whose offset moved on.
    moved: Arc<Notify>,
    /// Held while the state is written, so that a write never overtakes a later one. Nothing awaits under it.
    saving: Mutex<()>,
}

impl Sources {
    /// Sources whose offsets are kept in that folder, if one is given.
    pub fn new(state_dir: Option<&str>) -> Result<Self, StateError> {
        let dir = state_dir.map(|path| StateDir::open(Path::new(path))).transpose()?;
        Ok(Sources { dir, ..Sources::default() })
    }

    /// The source of that name, at the offset that was kept for it.
    pub fn open(&self, name: &str) -> Result<Arc<Source>, StateError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, source| self.is_needed(source));
        if let Some(source) = open.get(name) {
            return Ok(source.clone());
        }
        let offset = self.dir.as_ref().map(|dir| dir.load(name)).transpose()?.flatten();
        let source = Arc::new(Source::new(name, offset, self.moved.clone()));
        open.insert(name.into(), source.clone());
        Ok(source)
    }

    /// Keeps every offset that moved on. Blocks on the disk. False when some could not be kept.
    pub fn save(&self) -> bool {
        let errors = self.save_quietly();
        for error in &errors {
            warn!("an offset could not be kept: {error}");
        }
        errors.is_empty()
    }

    /// Whether somebody uses the source, or its offset is still to be kept.
    fn is_needed(&self, source: &Arc<Source>) -> bool {
        Arc::strong_count(source) > 1 || (self.dir.is_some() && source.unsaved().is_some())
    }

    /// The sink has ended: keeps no offset any more, and leaves the folder to another sink. Not while a write hangs.
    pub fn release(&self) {
        if let Some(dir) = &self.dir
            && let Ok(_nobody_writes) = self.saving.try_lock()
        {
            dir.release();
        }
    }

    fn save_quietly(&self) -> Vec<StateError> {
        let mut errors = Vec::new();
        let _one_at_a_time = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let open: Vec<_> =
            self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for source in open {
            let (Some(dir), Some(offset)) = (&self.dir, source.unsaved()) else { continue };
            if dir.is_released() {
                break;
            }
            match dir.save(source.name(), offset) {
                Ok(()) => source.saved(offset),
                Err(error) => errors.push(error),
            }
        }
        errors
    }
}

/// The task that keeps the offsets: until it is cancelled with the runtime. It sleeps while nothing moves.
pub async fn keep_offsets(engine: Arc<Engine>) {
    while engine.sources.dir.is_some() {
        engine.sources.moved.notified().await;
        let saving = engine.clone();
        // A disk may hang; the workers must not.
        let saved = tokio::task::spawn_blocking(move || saving.sources.save()).await;
        if !saved.unwrap_or(false) {
            engine.sources.moved.notify_one();
        }
        tokio::time::sleep(SAVE_INTERVAL).await;
    }
}
