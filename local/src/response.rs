//! Answers: what the service, a proxy, or a broken network would send back.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;
use tokio::time::Sleep;

use crate::error::ServiceError;

/// Time for the first half of a cut answer to leave before the connection is closed.
const CUT_AFTER: Duration = Duration::from_millis(20);

/// A body that is whole, or that stops in the middle.
pub(crate) enum Body {
    /// All of it.
    Whole(Option<Bytes>),
    /// This much, then the connection breaks.
    Cut(Option<Bytes>, Option<Pin<Box<Sleep>>>),
}

/// The body was not finished on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut by a fault rule")]
pub(crate) struct Cut;

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Cut(half, sleep) => match half.take() {
                Some(half) => Poll::Ready(Some(Ok(Frame::data(half)))),
                None => {
                    let sleep = sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(CUT_AFTER)));
                    sleep.as_mut().poll(cx).map(|()| Some(Err(Cut)))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Cut(..) => SizeHint::default(),
        }
    }
}

/// An answer of the service: 200 and the operation's result.
pub(crate) fn success(json: Vec<u8>, now: SystemTime) -> Response<Body> {
    service(200, json, now)
}

/// An answer of the service: an error.
pub(crate) fn error(error: &ServiceError, now: SystemTime) -> Response<Body> {
    let body = json!({"__type": error.code, "message": error.message});
    let mut response = service(error.status, body.to_string().into_bytes(), now);
    if let Ok(code) = HeaderValue::from_str(&error.code) {
        response.headers_mut().insert("x-amzn-errortype", code);
    }
    response
}

/// The whole answer's headers and half of its body; then the connection breaks.
pub(crate) fn cut(whole: Response<Body>) -> Response<Body> {
    let (mut head, body) = whole.into_parts();
    let bytes = match body {
        Body::Whole(Some(bytes)) if !bytes.is_empty() => bytes,
        // An answer without a body has no middle; this one then pretends to have one.
        _ => Bytes::from_static(b"{}"),
    };
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    Response::from_parts(head, Body::Cut(Some(bytes.slice(..bytes.len() / 2)), None))
}

/// A page as a proxy between the client and the service gives it.
pub(crate) fn html(status: u16, now: SystemTime) -> Response<Body> {
    let status = status_code(status);
    let page = format!(
        "<html>\n<head><title>{status}</title></head>\n<body>\n<center><h1>{status}</h1></center>\n<hr>\n\
         </body>\n</html>\n"
    );
    let mut response = empty(status.as_u16(), now);
    *response.body_mut() = Body::Whole(Some(Bytes::from(page)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

/// A status and nothing else.
pub(crate) fn empty(status: u16, now: SystemTime) -> Response<Body> {
    let mut response = Response::new(Body::Whole(None));
    *response.status_mut() = status_code(status);
    response.headers_mut().insert(DATE, date(now));
    response
}

/// An answer of the control paths: any JSON.
pub(crate) fn control(status: u16, body: &serde_json::Value, now: SystemTime) -> Response<Body> {
    let mut response = empty(status, now);
    *response.body_mut() = Body::Whole(Some(Bytes::from(format!("{body:#}\n"))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn service(status: u16, body: Vec<u8>, now: SystemTime) -> Response<Body> {
    let mut response = empty(status, now);
    if !body.is_empty() {
        *response.body_mut() = Body::Whole(Some(Bytes::from(body)));
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    headers.insert("x-amzn-requestid", request_id());
    response
}

fn request_id() -> HeaderValue {
    let id = format!("{:032x}", fastrand::u128(..));
    let id = format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]);
    HeaderValue::try_from(id).expect("hexadecimal digits are a header value")
}

fn date(now: SystemTime) -> HeaderValue {
    HeaderValue::try_from(httpdate::fmt_http_date(now)).expect("a date is a header value")
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
