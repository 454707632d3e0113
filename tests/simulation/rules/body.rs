//! The body of a request is the JSON of the service, for the target that the request names.

use std::borrow::Cow;
use std::io::Read;

use cwl_sink::service::PutLogEvents;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Body<'a> {
    log_group_name: &'a str,
    log_stream_name: &'a str,
    #[serde(borrow)]
    pub log_events: Vec<BodyEvent<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodyEvent<'a> {
    pub timestamp: i64,
    #[serde(borrow)]
    pub message: Cow<'a, str>,
}

/// Reads a body. A compressed body is unzipped into `unzipped`.
pub fn read<'a>(request: &'a PutLogEvents<'_>, unzipped: &'a mut Vec<u8>) -> Result<Body<'a>, String> {
    let bytes = &request.body.bytes;
    let json: &[u8] = if request.body.gzip {
        let mut decoder = flate2::read::GzDecoder::new(&bytes[..]);
        decoder.read_to_end(unzipped).map_err(|error| format!("the body is not gzip: {error}"))?;
        unzipped
    } else {
        bytes
    };
    let body: Body<'_> = serde_json::from_slice(json)
        .map_err(|error| format!("the body is not the JSON of the service: {error}"))?;
    if (body.log_group_name, body.log_stream_name) != (request.group, request.stream) {
        return Err("the body names another target than the request".into());
    }
    Ok(body)
}
