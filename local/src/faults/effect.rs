//! The effects that a fault rule can have on a request.

use serde::{Deserialize, Serialize};

/// The effect of a rule on a request that it fires for.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The response is this service error. The operation is not carried out.
    Error {
        /// Exception name.
        code: String,
        /// HTTP status, 200 to 599.
        status: u16,
        /// Text for people.
        message: String,
    },
    /// The request waits for this number of milliseconds. Then the following rules are evaluated.
    DelayMs(u64),
    /// The `Date` header of the response is this number of milliseconds ahead of the endpoint's clock (negative: behind),
    /// as a proxy with a wrong clock would write it. Then the following rules are evaluated.
    DateOffsetMs(i64),
    /// The request is read and never answered, until the client disconnects or the endpoint stops. No event is
    /// accepted.
    Hang,
    /// The connection is reset.
    Reset(ResetWhen),
    /// The operation is carried out. The response breaks off in the middle and the connection is closed.
    CutResponse,
    /// The response is not HTTP: its first line is `HTTP/1.1 abc`. Then the connection is closed. The operation is not
    /// carried out. With TLS the bytes are outside of the TLS stream.
    Garbled,
    /// The response is an HTML page with this status, as a proxy would send it. The operation is not carried out.
    Html(u16),
    /// The response is this status without a body. The operation is not carried out.
    Empty(u16),
    /// The most matching requests per second. Requests above this rate get `ThrottlingException`; the rule does
    /// nothing to the others. The limiter is a token bucket that holds the tokens of one second, at least one token.
    ThrottlePerSecond(f64),
    /// Some events of a batch are rejected and the others accepted. It applies to `PutLogEvents` only.
    Reject(Reject),
    /// The response is `AccessDeniedException` in the first, third, fifth … period since the rule was set. The rule
    /// does nothing in the other periods.
    DenyThenAllowMs {
        /// Milliseconds of one period.
        period_ms: u64,
    },
}

/// The moment at which a connection is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetWhen {
    /// Before the operation is carried out.
    Before,
    /// After the operation was carried out, in place of the response.
    After,
}

/// The numbers of events of one batch that are rejected although the events are valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reject {
    /// Events at the beginning that are rejected as too old.
    pub too_old: usize,
    /// Events at the end that are rejected as too new.
    pub too_new: usize,
    /// Events that are rejected as expired. They follow the events that are too old.
    pub expired: usize,
}
