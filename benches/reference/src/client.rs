//! The SDK with its defaults, as most programs use it. Only the retries are off, so that every failure is visible.

use std::future::Future;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_cloudwatchlogs::config::Credentials;
use aws_sdk_cloudwatchlogs::error::DisplayErrorContext;
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use tokio::task::JoinSet;

use crate::result::Failure;

const GROUP: &str = "/bench/sdk";
const STREAM: &str = "s";
const IN_FLIGHT: usize = 2;
const WORKER_THREADS: usize = 2;

/// A client that sends to one stream.
pub struct Client(aws_sdk_cloudwatchlogs::Client);

impl Client {
    /// Makes a client with the credentials of cwl-local, and creates the group and the stream.
    pub async fn connect(endpoint: &str) -> Result<Self, Failure> {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "bench"))
            .endpoint_url(endpoint)
            .retry_config(RetryConfig::disabled())
            .load()
            .await;
        let client = aws_sdk_cloudwatchlogs::Client::new(&config);
        if let Err(error) = client.create_log_group().log_group_name(GROUP).send().await
            && !error.as_service_error().is_some_and(|error| error.is_resource_already_exists_exception())
        {
            return Err(with_causes(error));
        }
        let stream = client.create_log_stream().log_group_name(GROUP).log_stream_name(STREAM);
        if let Err(error) = stream.send().await
            && !error.as_service_error().is_some_and(|error| error.is_resource_already_exists_exception())
        {
            return Err(with_causes(error));
        }
        Ok(Self(client))
    }

    /// Sends every batch, at most two at the same time, waits for all responses and returns the number of requests.
    pub async fn send<'a>(&self, batches: impl Iterator<Item = Vec<&'a str>>) -> Result<u64, Failure> {
        let mut in_flight = JoinSet::new();
        let mut requests = 0;
        for batch in batches {
            let events = batch.into_iter().map(make_event).collect::<Result<_, _>>()?;
            if in_flight.len() == IN_FLIGHT
                && let Some(response) = in_flight.join_next().await
            {
                response??;
            }
            in_flight.spawn(put(self.0.clone(), events));
            requests += 1;
        }
        while let Some(response) = in_flight.join_next().await {
            response??;
        }
        Ok(requests)
    }
}

/// Runs a future on the runtime of `#[tokio::main(worker_threads = 2)]`.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(WORKER_THREADS).enable_all().build()?.block_on(work)
}

fn make_event(message: &str) -> Result<InputLogEvent, Failure> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    Ok(InputLogEvent::builder().timestamp(i64::try_from(now_ms)?).message(message).build()?)
}

async fn put(client: aws_sdk_cloudwatchlogs::Client, events: Vec<InputLogEvent>) -> Result<(), Failure> {
    let request = client.put_log_events().log_group_name(GROUP).log_stream_name(STREAM);
    let response = request.set_log_events(Some(events)).send().await.map_err(with_causes)?;
    match response.rejected_log_events_info() {
        Some(rejected) => Err(format!("events were rejected: {rejected:?}").into()),
        None => Ok(()),
    }
}

/// Makes a failure whose text names all causes of the error.
fn with_causes(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    DisplayErrorContext(error).to_string().into()
}
