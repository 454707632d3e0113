//! The request bodies with the log lines, byte for byte as the sink makes them.

use std::io::Write;

use crate::Failure;
use crate::lines::Lines;

const PREFIX: &[u8] = br#"{"logGroupName":"/bench/x","logStreamName":"s","logEvents":["#;

/// Makes as few bodies for `events` events as the service's limits allow.
pub fn make_bodies(lines: &Lines, events: u64) -> Result<Vec<Vec<u8>>, Failure> {
    lines.batches(events).map(|batch| make_body(&batch)).collect()
}

/// Returns the size of all bodies together, in megabytes of 10^6 bytes.
pub fn megabytes(bodies: &[Vec<u8>]) -> f64 {
    bodies.iter().map(Vec::len).sum::<usize>() as f64 / 1e6
}

fn make_body(batch: &[&str]) -> Result<Vec<u8>, Failure> {
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
    fn a_body_has_the_json_that_the_service_reads() {
        let body = make_body(&["say \"hello\"", "two"]).unwrap();
        let expected = concat!(
            r#"{"logGroupName":"/bench/x","logStreamName":"s","logEvents":["#,
            r#"{"timestamp":1700000000000,"message":"say \"hello\""},"#,
            r#"{"timestamp":1700000000000,"message":"two"}]}"#
        );
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }
}
