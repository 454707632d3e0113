//! The bodies of the requests that carry the lines, byte for byte as the sink makes them.

use std::io::Write;

use crate::Failure;
use crate::lines::Lines;

const PREFIX: &[u8] = br#"{"logGroupName":"/bench/x","logStreamName":"s","logEvents":["#;

/// So many events in as few bodies as the service's limits allow.
pub fn bodies(lines: &Lines, events: u64) -> Result<Vec<Vec<u8>>, Failure> {
    lines.batches(events).map(|batch| body(&batch)).collect()
}

/// The bytes of all of them.
pub fn megabytes(bodies: &[Vec<u8>]) -> f64 {
    bodies.iter().map(Vec::len).sum::<usize>() as f64 / 1e6
}

fn body(batch: &[&str]) -> Result<Vec<u8>, Failure> {
    let mut body = PREFIX.to_vec();
    for (index, message) in batch.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.write_all(br#"{"timestamp":1700000000000,"message":"#)?;
        serde_json::to_writer(&mut body, message)?;
        body.push(b'}');
    }
    body.extend_from_slice(b"]}");
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_what_the_service_reads() {
        let body = body(&["say \"hello\"", "two"]).unwrap();
        let expected = concat!(
            r#"{"logGroupName":"/bench/x","logStreamName":"s","logEvents":["#,
            r#"{"timestamp":1700000000000,"message":"say \"hello\""},"#,
            r#"{"timestamp":1700000000000,"message":"two"}]}"#
        );
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }
}
