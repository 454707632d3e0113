//! Responses of the service, of a proxy and of a broken network.

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

/// The time between the first half of a cut response and the end of the connection, so that the client gets the half.
const CUT_AFTER: Duration = Duration::from_millis(20);

/// The body of a response, whole or cut in the middle.
pub(crate) enum Body {
    /// The whole body.
    Whole(Option<Bytes>),
    /// A part of the body; then the connection breaks.
    Cut {
        /// `None` after the part was sent.
        part: Option<Bytes>,
        /// The time before the connection breaks; it begins after the part was sent.
        delay: Option<Pin<Box<Sleep>>>,
    },
}

/// A fault rule cut the body.
#[derive(Debug, thiserror::Error)]
#[error("the response was cut by a fault rule")]
pub(crate) struct BodyCut;

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BodyCut;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Cut { part, delay } => match part.take() {
                Some(part) => Poll::Ready(Some(Ok(Frame::data(part)))),
                None => {
                    let delay = delay.get_or_insert_with(|| Box::pin(tokio::time::sleep(CUT_AFTER)));
                    delay.as_mut().poll(cx).map(|()| Some(Err(BodyCut)))
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
            Self::Cut { .. } => SizeHint::default(),
        }
    }
}

/// Makes the service's response to a successful call: 200 and the result.
pub(crate) fn success(json: Vec<u8>, now: SystemTime) -> Response<Body> {
    service(200, json, now)
}

/// Makes the service's response to a refused call.
pub(crate) fn error(error: &ServiceError, now: SystemTime) -> Response<Body> {
    let body = json!({"__type": error.code, "message": error.message});
    let mut response = service(error.status, body.to_string().into_bytes(), now);
    if let Ok(code) = HeaderValue::from_str(&error.code) {
        response.headers_mut().insert("x-amzn-errortype", code);
    }
    response
}

/// Cuts a response: the client gets all headers and half of the body; then the connection breaks.
pub(crate) fn cut(whole: Response<Body>) -> Response<Body> {
    let (mut head, body) = whole.into_parts();
    let bytes = match body {
        Body::Whole(Some(bytes)) if !bytes.is_empty() => bytes,
        // A response without a body has no middle, so it gets a short body.
        _ => Bytes::from_static(b"{}"),
    };
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    Response::from_parts(head, Body::Cut { part: Some(bytes.slice(..bytes.len() / 2)), delay: None })
}

/// Makes the page that a proxy between the client and the service would send.
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

/// Makes a response without a body.
pub(crate) fn empty(status: u16, now: SystemTime) -> Response<Body> {
    let mut response = Response::new(Body::Whole(None));
    *response.status_mut() = status_code(status);
    response.headers_mut().insert(DATE, date(now));
    response
}

/// Makes a response of the control paths: any JSON.
pub(crate) fn control(status: u16, body: &serde_json::Value, now: SystemTime) -> Response<Body> {
    let mut response = empty(status, now);
    *response.body_mut() = Body::Whole(Some(Bytes::from(format!("{body:#}\n"))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Replaces the date of a response.
pub(crate) fn set_date(response: &mut Response<Body>, now: SystemTime) {
    response.headers_mut().insert(DATE, date(now));
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
    HeaderValue::try_from(id).expect("hexadecimal digits are a valid header value")
}

fn date(now: SystemTime) -> HeaderValue {
    HeaderValue::try_from(httpdate::fmt_http_date(now)).expect("a date is a valid header value")
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
