//! The classes of targets that are ready to send.

/// The class in which a target waits for a permit. The pool serves the classes in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyClass {
    /// The target is healthy, and its last request was answered in time.
    Steady,
    /// The service has not taken a batch of the target yet, and its last batch did not fail. Its last request, if there was
    /// one, was answered in time: a batch that is refused for good leaves the target in this class.
    New,
    /// The last batch of the target failed, or its last request got no answer. The last request was not slow.
    Trial,
    /// The target is healthy, but its last answer was slow.
    Late,
    /// The last request of the target was slow, answered or not. The target is not healthy, or the request got no answer.
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
