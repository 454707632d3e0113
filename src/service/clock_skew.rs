//! The date of each answer of CloudWatch Logs, for the [`ServiceClock`].
//!
//! An answer is one of the service if it has a request id of AWS and a JSON object as its body, and no cache kept it. The
//! SDK would learn the time from any answer, such as a proxy's error page, so its own correction is off.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_cloudwatchlogs::error::ProvideErrorMetadata;
use aws_sdk_cloudwatchlogs::operation::create_log_group::CreateLogGroupError;
use aws_sdk_cloudwatchlogs::operation::create_log_stream::CreateLogStreamError;
use aws_sdk_cloudwatchlogs::operation::put_log_events::PutLogEventsError;
use aws_sdk_cloudwatchlogs::operation::put_retention_policy::PutRetentionPolicyError;
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef, Error,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::DateTime;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use aws_smithy_types::date_time::Format;
use tracing::{info, warn};

use super::CLOCK_ERRORS;
use crate::clock::SystemClock;
use crate::service_clock::{ClockChange, ServiceClock, Signature, SignedAt};

/// The clock as the SDK reads it: signatures have the time of the service.
#[derive(Clone, Debug)]
pub(super) struct SdkClock(pub(super) Arc<ServiceClock<SystemClock>>);

impl TimeSource for SdkClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(self.0.signing_now_ms()).unwrap_or(0))
    }
}

/// The moment at which the request of an operation was signed.
#[derive(Debug)]
struct Sent(SignedAt);

impl Storable for Sent {
    type Storer = StoreReplace<Self>;
}

#[dyn_dispatch_hint]
impl Intercept for SdkClock {
    fn name(&self) -> &'static str {
        "SdkClock"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        state: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        state.interceptor_state().store_put(Sent(self.0.signed_now()));
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        state: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(date_ms) = service_date_ms(context.response()) else { return Ok(()) };
        let Some(Sent(signed_at)) = state.load::<Sent>() else { return Ok(()) };
        let error = context.output_or_error().err().and_then(|error| error.as_operation_error());
        let signature = match error.and_then(code) {
            Some(code) if CLOCK_ERRORS.contains(&code) => Signature::Refused,
            _ => Signature::Accepted,
        };
        match self.0.on_answer(*signed_at, signature, date_ms) {
            Some(ClockChange::Corrected { machine_ahead_ms }) => warn!(
                "the clock of this machine is {} CloudWatch Logs: requests and events without a timestamp get the time of CloudWatch Logs; set the clock of the machine right",
                Ahead(machine_ahead_ms)
            ),
            Some(ClockChange::Uncorrected) => {
                info!("the clock of this machine is followed again: it agrees with CloudWatch Logs")
            }
            None => {}
        }
        Ok(())
    }
}

/// The date of an answer, if the answer is one of the service.
fn service_date_ms(response: &HttpResponse) -> Option<i64> {
    let headers = response.headers();
    let is_object = response.body().bytes().is_some_and(|body| body.trim_ascii_start().starts_with(b"{"));
    if headers.get("x-amzn-requestid").is_none() || headers.get("age").is_some() || !is_object {
        return None;
    }
    DateTime::from_str(headers.get("date")?, Format::HttpDate).ok()?.to_millis().ok()
}

/// The code of an error of one of the operations that the library calls.
fn code(error: &Error) -> Option<&str> {
    fn of<E: ProvideErrorMetadata + StdError + Send + Sync + 'static>(error: &Error) -> Option<&str> {
        error.downcast_ref::<E>()?.code()
    }
    of::<PutLogEventsError>(error)
        .or_else(|| of::<CreateLogStreamError>(error))
        .or_else(|| of::<CreateLogGroupError>(error))
        .or_else(|| of::<PutRetentionPolicyError>(error))
}

/// The difference of two clocks in words, such as "3 h 0 min ahead of".
struct Ahead(i64);

impl fmt::Display for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.0.unsigned_abs() / 60_000;
        let side = if self.0 < 0 { "behind" } else { "ahead of" };
        match minutes / 60 {
            0 => write!(f, "{minutes} min {side}"),
            hours => write!(f, "{hours} h {} min {side}", minutes % 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn response(headers: &[(&'static str, &'static str)], body: &'static str) -> HttpResponse {
        let mut response = HttpResponse::new(200.try_into().expect("a status"), SdkBody::from(body));
        for (name, value) in headers {
            response.headers_mut().insert(*name, *value);
        }
        response
    }

    #[test]
    fn only_an_answer_of_the_service_has_a_date_that_counts() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let id = ("x-amzn-requestid", "5f2e");
        let date_ms = |headers: &[_], body| service_date_ms(&response(headers, body));
        assert_eq!(date_ms(&[date, id], r#"{"__type":"ThrottlingException"}"#), Some(784_111_777_000));
        assert_eq!(date_ms(&[date], "{}"), None, "no request id");
        assert_eq!(date_ms(&[date, id], "<html>"), None, "no JSON");
        assert_eq!(date_ms(&[date, id], ""), None, "no body");
        assert_eq!(date_ms(&[date, id, ("age", "7")], "{}"), None, "from a cache");
        assert_eq!(date_ms(&[id], "{}"), None, "no date");
        assert_eq!(date_ms(&[("date", "yesterday"), id], "{}"), None, "not a date");
    }

    #[test]
    fn the_difference_of_two_clocks_is_readable() {
        let words = [-600_000, 10_799_000, 1_728_000_000].map(|ms| Ahead(ms).to_string());
        assert_eq!(words, ["10 min behind", "2 h 59 min ahead of", "480 h 0 min ahead of"]);
    }
}
