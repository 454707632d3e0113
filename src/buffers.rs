//! Where request bodies are written: small ones on the heap, large ones in pages of their own, which are used again.
//!
//! Invariants:
//!
//! * a large buffer's pages are the sink's alone, so that giving it up gives them back to the system at once, whatever
//!   the host's heap looks like;
//! * free buffers are kept for the next batches, so that a busy target's pushes meet pages that are there; what is
//!   kept and what events hold is no more than `buffer_max_bytes` together, once a batch has the room that it took;
//! * a sink that is idle keeps none: [`give_back_when_idle`].

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use memmap2::MmapMut;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::memory::NoRoom;

/// Buffers of this many bytes and more have pages of their own.
const LARGE_BYTES_MIN: usize = 64 * 1024;

/// Of the sizes between a power of two and the next, so many are used, so that those which are free fit others.
const SIZES_A_DOUBLING: usize = 4;

/// The part of `buffer_max_bytes` that free buffers may take: what a busy sink has in flight comes back all the time.
const KEPT_PART: usize = 2;

/// Buffers that nobody took for this long are given back.
const IDLE: Duration = Duration::from_secs(2);

/// The free buffers of a sink.
#[derive(Debug)]
pub struct Buffers {
    /// Guards the list. Nothing awaits while holding it.
    free: Mutex<Vec<MmapMut>>,
    /// Bytes in the list.
    kept: AtomicUsize,
    kept_max: usize,
    /// How often a buffer came or went.
    moves: AtomicU64,
    /// The list was empty and is not any more.
    filled: Notify,
}

impl Buffers {
    /// None yet, for a sink with so much memory.
    pub fn new(buffer_max_bytes: usize) -> Arc<Self> {
        Arc::new(Buffers {
            free: Mutex::default(),
            kept: AtomicUsize::new(0),
            kept_max: buffer_max_bytes / KEPT_PART,
            moves: AtomicU64::new(0),
            filled: Notify::new(),
        })
    }

    /// Bytes of the free ones.
    pub fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// Gives free ones back to the system until they are no more than so many bytes.
    pub fn shrink_to(&self, most: usize) {
        while self.kept() > most {
            let mut free = self.lock();
            let Some(first) = free.pop() else { return };
            self.kept.fetch_sub(first.len(), Ordering::Relaxed);
            drop(free);
            drop(first);
        }
    }

    fn take(&self, bytes: usize) -> Option<MmapMut> {
        self.moves.fetch_add(1, Ordering::Relaxed);
        let mut free = self.lock();
        let place = free.iter().rposition(|map| map.len() == bytes)?;
        self.kept.fetch_sub(bytes, Ordering::Relaxed);
        Some(free.swap_remove(place))
    }

    fn give(&self, map: MmapMut) {
        self.moves.fetch_add(1, Ordering::Relaxed);
        let mut free = self.lock();
        if self.kept() + map.len() <= self.kept_max {
            self.kept.fetch_add(map.len(), Ordering::Relaxed);
            free.push(map);
            if free.len() == 1 {
                self.filled.notify_one();
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<MmapMut>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that gives buffers back which nobody needs: until it is cancelled with the runtime. Without free buffers it
/// sleeps.
pub async fn give_back_when_idle(buffers: Arc<Buffers>) {
    loop {
        buffers.filled.notified().await;
        loop {
            let before = buffers.moves.load(Ordering::Relaxed);
            sleep(IDLE).await;
            if buffers.moves.load(Ordering::Relaxed) == before {
                break;
            }
        }
        buffers.shrink_to(0);
    }
}

/// Bytes that are appended to. It grows only when told to, since that takes memory.
#[derive(Debug)]
pub struct Buffer {
    storage: Storage,
    used: usize,
}

#[derive(Debug)]
enum Storage {
    /// Its length is its capacity.
    Heap(Box<[u8]>),
    Pages(Pages),
}

/// Pages that go home when they are dropped.
#[derive(Debug)]
struct Pages {
    /// None only while it is dropped.
    map: Option<MmapMut>,
    home: Arc<Buffers>,
}

impl Drop for Pages {
    fn drop(&mut self) {
        if let Some(map) = self.map.take() {
            self.home.give(map);
        }
    }
}

impl Buffer {
    /// One without room.
    pub fn new() -> Self {
        Buffer { storage: Storage::Heap(Box::default()), used: 0 }
    }

    /// The capacity that a buffer has which was asked for so many bytes.
    pub fn capacity_for(bytes: usize) -> usize {
        if bytes < LARGE_BYTES_MIN {
            return bytes;
        }
        let step = (bytes.next_power_of_two() / 2 / SIZES_A_DOUBLING).max(LARGE_BYTES_MIN / SIZES_A_DOUBLING);
        bytes.next_multiple_of(step)
    }

    /// Bytes that it has room for.
    pub fn capacity(&self) -> usize {
        match &self.storage {
            Storage::Heap(heap) => heap.len(),
            Storage::Pages(pages) => pages.map.as_ref().map_or(0, |map| map.len()),
        }
    }

    /// What was written.
    pub fn bytes(&self) -> &[u8] {
        &self.all()[..self.used]
    }

    /// How much was written.
    #[inline]
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Appends what there is room for: the caller knows that there is.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) {
        let used = self.used;
        self.all_mut()[used..][..bytes.len()].copy_from_slice(bytes);
        self.used += bytes.len();
    }

    /// Whether there is room for so many bytes more.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.capacity() - self.used >= bytes
    }

    /// The room behind what was written.
    #[inline]
    pub fn room_mut(&mut self) -> &mut [u8] {
        let used = self.used;
        &mut self.all_mut()[used..]
    }

    /// So many bytes of that room were written.
    #[inline]
    pub fn lengthen(&mut self, bytes: usize) {
        self.used += bytes;
        debug_assert!(self.used <= self.capacity());
    }

    /// Takes the last bytes back.
    pub fn shorten(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// Moves what was written to where there is room for so many bytes in all: [`Buffer::capacity_for`] those.
    pub fn grow_to(&mut self, bytes: usize, home: &Arc<Buffers>) -> Result<(), NoRoom> {
        let capacity = Self::capacity_for(bytes);
        if capacity <= self.capacity() {
            return Ok(());
        }
        let storage = if capacity < LARGE_BYTES_MIN {
            let mut heap = Vec::new();
            heap.try_reserve_exact(capacity).map_err(|_| NoRoom)?;
            heap.resize(capacity, 0);
            Storage::Heap(heap.into())
        } else {
            let map = match home.take(capacity) {
                Some(map) => map,
                None => MmapMut::map_anon(capacity).map_err(|_| NoRoom)?,
            };
            Storage::Pages(Pages { map: Some(map), home: home.clone() })
        };
        let before = std::mem::replace(self, Buffer { storage, used: 0 });
        self.append(before.bytes());
        Ok(())
    }

    /// The bytes, to be shared. Large ones go home when the last who shares them is done.
    pub fn into_bytes(self) -> Bytes {
        struct Shared(Buffer);
        impl AsRef<[u8]> for Shared {
            fn as_ref(&self) -> &[u8] {
                self.0.bytes()
            }
        }
        match self.storage {
            Storage::Heap(heap) => Bytes::from(heap).slice(..self.used),
            Storage::Pages(_) => Bytes::from_owner(Shared(self)),
        }
    }

    #[inline]
    fn all(&self) -> &[u8] {
        match &self.storage {
            Storage::Heap(heap) => heap,
            Storage::Pages(pages) => pages.map.as_deref().unwrap_or_default(),
        }
    }

    #[inline]
    fn all_mut(&mut self) -> &mut [u8] {
        match &mut self.storage {
            Storage::Heap(heap) => heap,
            Storage::Pages(pages) => pages.map.as_deref_mut().unwrap_or_default(),
        }
    }
}

impl From<Vec<u8>> for Buffer {
    /// One with these bytes, and no room for more.
    fn from(bytes: Vec<u8>) -> Self {
        Buffer { used: bytes.len(), storage: Storage::Heap(bytes.into()) }
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(bytes: usize, home: &Arc<Buffers>) -> Buffer {
        let mut buffer = Buffer::new();
        buffer.grow_to(bytes, home).expect("memory");
        buffer
    }

    #[test]
    fn what_was_written_survives_every_growth() {
        let home = Buffers::new(1 << 30);
        let mut buffer = Buffer::new();
        let mut expected = Vec::new();
        for round in 0..2000_u32 {
            let part = round.to_le_bytes().repeat(50);
            if !buffer.has_room(part.len()) {
                buffer.grow_to((buffer.capacity() * 2).max(part.len()), &home).expect("memory");
            }
            buffer.append(&part);
            expected.extend_from_slice(&part);
        }
        assert_eq!(buffer.bytes(), expected);
        buffer.shorten(7);
        assert_eq!(buffer.into_bytes(), expected[..expected.len() - 7]);
    }

    #[test]
    fn large_buffers_are_used_again_once_the_last_who_shares_them_is_done() {
        let home = Buffers::new(1 << 30);
        let mut first = buffer(100_000, &home);
        first.append(b"first");
        let place = first.bytes().as_ptr();
        let (shared, other) = (first.into_bytes(), buffer(100_000, &home));
        let also = shared.clone();
        drop(shared);
        assert_eq!((home.kept(), &also[..]), (0, &b"first"[..]));
        assert_ne!(other.bytes().as_ptr(), place);
        drop(also);
        assert_eq!(home.kept(), Buffer::capacity_for(100_000));
        let again = buffer(100_000, &home);
        assert_eq!((again.bytes().as_ptr(), again.len(), home.kept()), (place, 0, 0));
    }

    #[test]
    fn half_of_the_memory_is_kept_at_most_and_nothing_once_nobody_needs_it() {
        let home = Buffers::new(2 * 1024 * 1024);
        let many: Vec<_> = (0..20).map(|_| buffer(200_000, &home)).collect();
        drop(many);
        assert!((500_000..=1024 * 1024).contains(&home.kept()), "{} bytes", home.kept());
        home.shrink_to(0);
        assert_eq!(home.kept(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn free_buffers_are_given_back_when_none_was_needed_for_a_while() {
        let home = Buffers::new(1 << 30);
        let task = tokio::spawn(give_back_when_idle(home.clone()));
        for _ in 0..10 {
            drop(buffer(200_000, &home));
            sleep(IDLE / 2).await;
            assert_ne!(home.kept(), 0, "it is in use");
        }
        sleep(2 * IDLE).await;
        assert_eq!(home.kept(), 0);
        drop(buffer(200_000, &home));
        sleep(3 * IDLE).await;
        assert_eq!(home.kept(), 0, "once more");
        task.abort();
    }

    #[test]
    fn a_capacity_is_at_most_a_quarter_more_than_was_asked_for() {
        for bytes in (1..10_000_000).step_by(997) {
            let capacity = Buffer::capacity_for(bytes);
            assert!((bytes..=bytes + bytes / 4 + 1).contains(&capacity), "{capacity} for {bytes}");
            assert_eq!(Buffer::capacity_for(capacity), capacity);
        }
    }
}
