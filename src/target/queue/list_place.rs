//! The place of a target among those that hold memory.

/// The bits for the number of a listing. The bits above are for the size.
const LISTING_BITS: u32 = 56;

/// The place of a target in a list: first its size, then how early it was listed. Larger ones come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListPlace(pub(super) u64);

/// The size of a target that holds this number of bytes.
pub(super) fn binary_digits(bytes: usize) -> u32 {
    usize::BITS - bytes.leading_zeros()
}

impl ListPlace {
    /// The place of a target that holds this number of bytes, at the listing with this number. `None` if it holds nothing.
    pub fn new(bytes: usize, listing: u64) -> Option<Self> {
        let earliness = ((1 << LISTING_BITS) - 1) - listing;
        (bytes > 0).then(|| ListPlace(u64::from(binary_digits(bytes)) << LISTING_BITS | earliness))
    }

    pub(super) fn of_bits(bits: u64) -> Option<Self> {
        (bits > 0).then_some(ListPlace(bits))
    }

    pub(super) fn size(self) -> u32 {
        (self.0 >> LISTING_BITS) as u32
    }
}
