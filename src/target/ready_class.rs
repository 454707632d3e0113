//! The classes of targets that are ready to send.

/// The class in which a target waits for a permit. The pool serves the classes in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyClass {
    /// The target is healthy, and its last answer was in time.
    Steady,
    /// The target has had no answer yet.
    New,
    /// The last batch of the target failed.
    Trial,
    /// The target is healthy, but its last answer was slow.
    Late,
    /// The last answer of the target was slow or never came, and the target fails.
    Slow,
}

impl ReadyClass {
    /// All classes, the most likely to be answered first.
    pub const ALL: [ReadyClass; 5] =
        [ReadyClass::Steady, ReadyClass::New, ReadyClass::Trial, ReadyClass::Late, ReadyClass::Slow];

    /// The place of the class in [`ReadyClass::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}
