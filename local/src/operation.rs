//! The names of the operations that this endpoint implements.

/// `PutLogEvents`, the only operation that takes gzip and that the fault rules may make reject events.
pub(crate) const PUT_LOG_EVENTS: &str = "PutLogEvents";

/// All operations.
pub(crate) const OPERATIONS: [&str; 9] = [
    PUT_LOG_EVENTS,
    "CreateLogGroup",
    "CreateLogStream",
    "PutRetentionPolicy",
    "DeleteLogGroup",
    "DeleteLogStream",
    "DescribeLogGroups",
    "DescribeLogStreams",
    "GetLogEvents",
];
