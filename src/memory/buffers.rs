//! Buffers for request bodies: small ones on the heap, large ones in pages of their own, which are reused.
//!
//! Invariants:
//!
//! * A large buffer has pages of its own. Freeing it gives them back to the system at once, whatever the heap of the host
//!   looks like.
//! * Free buffers are kept for the next batches, so that the pushes to a busy target find mapped pages. Kept buffers and
//!   the memory of events together are at most `buffer_max_bytes`, except while a batch is growing.
//! * An idle sink keeps no free buffer: a task frees them.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use memmap2::MmapMut;
use tokio::sync::Notify;

use crate::sync::lock;

/// The size from which a buffer has pages of its own, in bytes.
const LARGE_BYTES_MIN: usize = 64 * 1024;

/// The number of sizes between a power of two and the next. Few sizes make it likely that a free buffer fits.
const SIZES_A_DOUBLING: usize = 4;

/// The part of `buffer_max_bytes` that free buffers may take. The buffers in flight of a busy sink come back all the time.
const KEPT_PART: usize = 2;

/// The free buffers of a sink, kept for the next batches.
#[derive(Debug)]
pub struct Buffers {
    /// Guards the list. Nothing awaits while holding it.
    free: Mutex<Vec<MmapMut>>,
    /// Bytes of the buffers in the list.
    kept: AtomicUsize,
    kept_max: usize,
    /// The number of times that a buffer was taken or given back.
    moves: AtomicU64,
    /// Notified when the list is no longer empty.
    filled: Notify,
    /// See [`Buffers::set_exhausted`].
    is_exhausted: AtomicBool,
}

impl Buffers {
    /// An empty list, for a sink with this memory bound.
    pub fn new(buffer_max_bytes: usize) -> Arc<Self> {
        Arc::new(Buffers {
            free: Mutex::default(),
            kept: AtomicUsize::new(0),
            kept_max: buffer_max_bytes / KEPT_PART,
            moves: AtomicU64::new(0),
            filled: Notify::new(),
            is_exhausted: AtomicBool::new(false),
        })
    }

    /// Lets every growth of a buffer fail from now on, as if the system had no memory. A fault for tests.
    pub fn set_exhausted(&self, is_exhausted: bool) {
        self.is_exhausted.store(is_exhausted, Ordering::Relaxed);
    }

    /// Bytes of the free buffers.
    pub fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// Gives free buffers back to the system until at most `max` bytes are kept.
    pub fn shrink_to(&self, max: usize) {
        while self.kept() > max {
            let mut free = self.lock();
            let Some(first) = free.pop() else { return };
            self.kept.fetch_sub(first.len(), Ordering::Relaxed);
            drop(free);
            drop(first);
        }
    }

    /// The number of times that a buffer was taken or given back so far.
    pub fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    /// Waits until the list is no longer empty.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    fn take(&self, bytes: usize) -> Option<MmapMut> {
        self.moves.fetch_add(1, Ordering::Relaxed);
        let mut free = self.lock();
        let place = free.iter().rposition(|map| map.len() == bytes)?;
        self.kept.fetch_sub(bytes, Ordering::Relaxed);
        Some(free.swap_remove(place))
    }

    fn give_back(&self, map: MmapMut) {
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

    fn lock(&self) -> MutexGuard<'_, Vec<MmapMut>> {
        lock(&self.free)
    }
}

/// There is no memory for a reservation or an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// A buffer that is appended to. It grows only by [`Buffer::grow_to`], since growth needs a reservation.
#[derive(Debug)]
pub struct Buffer {
    storage: Storage,
    used: usize,
}

#[derive(Debug)]
enum Storage {
    /// The length is the capacity.
    Heap(Box<[u8]>),
    Pages(Pages),
}

/// Pages that go back to the free buffers when they are dropped.
#[derive(Debug)]
struct Pages {
    /// `None` only during the drop.
    map: Option<MmapMut>,
    buffers: Arc<Buffers>,
}

impl Drop for Pages {
    fn drop(&mut self) {
        if let Some(map) = self.map.take() {
            self.buffers.give_back(map);
        }
    }
}

impl Buffer {
    /// A buffer without capacity.
    pub fn new() -> Self {
        Buffer { storage: Storage::Heap(Box::default()), used: 0 }
    }

    /// The capacity of a buffer that is grown to `bytes` bytes.
    pub fn capacity_for(bytes: usize) -> usize {
        if bytes < LARGE_BYTES_MIN {
            return bytes;
        }
        let step = (bytes.next_power_of_two() / 2 / SIZES_A_DOUBLING).max(LARGE_BYTES_MIN / SIZES_A_DOUBLING);
        bytes.next_multiple_of(step)
    }

    /// The capacity in bytes.
    pub fn capacity(&self) -> usize {
        match &self.storage {
            Storage::Heap(heap) => heap.len(),
            Storage::Pages(pages) => pages.map.as_ref().map_or(0, |map| map.len()),
        }
    }

    /// The written bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.all()[..self.used]
    }

    /// The number of written bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.used
    }

    /// Returns whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Appends bytes. The caller knows that there is room for them.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) {
        let used = self.used;
        self.all_mut()[used..][..bytes.len()].copy_from_slice(bytes);
        self.used += bytes.len();
    }

    /// Returns whether there is room for `bytes` more bytes.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.capacity() - self.used >= bytes
    }

    /// The room after the written bytes.
    #[inline]
    pub fn room_mut(&mut self) -> &mut [u8] {
        let used = self.used;
        &mut self.all_mut()[used..]
    }

    /// Notes that `bytes` bytes of the room were written.
    #[inline]
    pub fn lengthen(&mut self, bytes: usize) {
        self.used += bytes;
        debug_assert!(self.used <= self.capacity());
    }

    /// Removes the last `bytes` bytes.
    pub fn shorten(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// Moves the written bytes to a place with a capacity of [`Buffer::capacity_for`] `bytes`.
    pub fn grow_to(&mut self, bytes: usize, buffers: &Arc<Buffers>) -> Result<(), NoRoom> {
        let capacity = Self::capacity_for(bytes);
        if capacity <= self.capacity() {
            return Ok(());
        }
        if buffers.is_exhausted.load(Ordering::Relaxed) {
            return Err(NoRoom);
        }
        let storage = if capacity < LARGE_BYTES_MIN {
            let mut heap = Vec::new();
            heap.try_reserve_exact(capacity).map_err(|_| NoRoom)?;
            heap.resize(capacity, 0);
            Storage::Heap(heap.into())
        } else {
            let map = match buffers.take(capacity) {
                Some(map) => map,
                None => MmapMut::map_anon(capacity).map_err(|_| NoRoom)?,
            };
            Storage::Pages(Pages { map: Some(map), buffers: buffers.clone() })
        };
        let before = std::mem::replace(self, Buffer { storage, used: 0 });
        self.append(before.bytes());
        Ok(())
    }

    /// The bytes, to be shared. Pages go back to the free buffers when the last reference is dropped.
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
    /// A buffer with these bytes, and no room for more.
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

    fn buffer(bytes: usize, buffers: &Arc<Buffers>) -> Buffer {
        let mut buffer = Buffer::new();
        buffer.grow_to(bytes, buffers).expect("memory");
        buffer
    }

    #[test]
    fn what_was_written_survives_every_growth() {
        let buffers = Buffers::new(1 << 30);
        let mut buffer = Buffer::new();
        let mut expected = Vec::new();
        for round in 0..2000_u32 {
            let part = round.to_le_bytes().repeat(50);
            if !buffer.has_room(part.len()) {
                buffer.grow_to((buffer.capacity() * 2).max(part.len()), &buffers).expect("memory");
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
        let buffers = Buffers::new(1 << 30);
        let mut first = buffer(100_000, &buffers);
        first.append(b"first");
        let place = first.bytes().as_ptr();
        let (shared, other) = (first.into_bytes(), buffer(100_000, &buffers));
        let also = shared.clone();
        drop(shared);
        assert_eq!((buffers.kept(), &also[..]), (0, &b"first"[..]));
        assert_ne!(other.bytes().as_ptr(), place);
        drop(also);
        assert_eq!(buffers.kept(), Buffer::capacity_for(100_000));
        let again = buffer(100_000, &buffers);
        assert_eq!((again.bytes().as_ptr(), again.len(), buffers.kept()), (place, 0, 0));
    }

    #[test]
    fn half_of_the_memory_is_kept_at_most_and_nothing_once_nobody_needs_it() {
        let buffers = Buffers::new(2 * 1024 * 1024);
        let many: Vec<_> = (0..20).map(|_| buffer(200_000, &buffers)).collect();
        drop(many);
        assert!((500_000..=1024 * 1024).contains(&buffers.kept()), "{} bytes", buffers.kept());
        buffers.shrink_to(0);
        assert_eq!(buffers.kept(), 0);
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
