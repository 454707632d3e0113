//! CloudWatch Logs by way of AWS's SDK.
//!
//! The SDK resolves credentials and endpoints, signs requests and reads answers. It does not serialize events: the body that
//! the pushes wrote replaces the body of the SDK before the request is signed. It does not retry: every call is one attempt.

use std::env;
use std::error::Error as StdError;
use std::iter;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use aws_config::{AppName, BehaviorVersion, Region};
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::config::retry::RetryConfig;
use aws_sdk_cloudwatchlogs::config::timeout::TimeoutConfig;
use aws_sdk_cloudwatchlogs::config::{Credentials, StalledStreamProtectionConfig};
use aws_sdk_cloudwatchlogs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudwatchlogs::operation::put_log_events::PutLogEventsOutput;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use thiserror::Error;

use super::http_client;
use super::{
    Answer, ApiError, ErrorText, Failure, LogsApi, NewGroup, PutLogEvents, RejectedEvents, RequestBody,
};
use crate::config::{Config, Secret};

type HttpResponse = aws_sdk_cloudwatchlogs::config::http::HttpResponse;

/// The service of AWS, or the server at `endpoint_url`.
#[derive(Debug)]
pub struct AwsLogs {
    config: Config,
    /// Guards the client, which is replaced when credentials are looked for again. Nothing awaits while holding it.
    client: RwLock<Client>,
}

/// The reason why no client could be made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConnectError {
    /// No region is set in the options, the environment, the profile or the metadata of the instance.
    #[error(
        "no AWS region: set the option region, AWS_REGION, or a region in the profile (the instance's metadata was asked too)"
    )]
    NoRegion,
}

impl AwsLogs {
    /// Makes a client from the options. Whatever they leave open comes from AWS's default chain. No request goes out,
    /// except to the metadata of the instance when no region is set anywhere else.
    pub async fn connect(config: &Config) -> Result<Self, ConnectError> {
        let client = Self::make_client(config).await?;
        // The region is kept: a later client must not fail because the metadata of the instance cannot be had.
        let mut config = config.clone();
        config.region = client.config().region().map(Region::to_string);
        Ok(AwsLogs { config, client: RwLock::new(client) })
    }

    /// The present client. It stays usable when it is replaced.
    fn client(&self) -> Client {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn make_client(config: &Config) -> Result<Client, ConnectError> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(config.connect_timeout)
            .operation_attempt_timeout(config.request_timeout)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client::Client::new(ca_bundle(config)))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Ok(name) = AppName::new(concat!("cwl-sink-", env!("CARGO_PKG_VERSION"))) {
            loader = loader.app_name(name);
        }
        if let Some(region) = &config.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &config.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(url) = &config.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        if let (Some(key), Some(secret)) = (&config.access_key_id, &config.secret_access_key) {
            let token = config.session_token.as_ref().map(Secret::reveal);
            let token = token.map(str::to_owned);
            loader =
                loader.credentials_provider(Credentials::new(key, secret.reveal(), token, None, "options"));
        }
        let sdk_config = loader.load().await;
        if sdk_config.region().is_none() {
            return Err(ConnectError::NoRegion);
        }
        Ok(Client::new(&sdk_config))
    }
}

impl LogsApi for AwsLogs {
    fn put_log_events<'a>(&'a self, request: PutLogEvents<'a>) -> Answer<'a, RejectedEvents> {
        Box::pin(async move {
            let operation = self.client().put_log_events().customize();
            let operation = operation.interceptor(Serialized { body: request.body, emf: request.emf });
            operation.send().await.map(|output| rejected_events(&output)).map_err(api_error)
        })
    }

    fn create_log_group<'a>(&'a self, group: NewGroup<'a>) -> Answer<'a, ()> {
        Box::pin(async move {
            let created = self.client().create_log_group().log_group_name(group.name).send().await;
            created.map(drop).map_err(api_error)
        })
    }

    fn create_log_stream<'a>(&'a self, group: &'a str, stream: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let request = self.client().create_log_stream().log_group_name(group).log_stream_name(stream);
            request.send().await.map(drop).map_err(api_error)
        })
    }

    fn put_retention_policy<'a>(&'a self, group: &'a str, days: u32) -> Answer<'a, ()> {
        Box::pin(async move {
            let days = i32::try_from(days).unwrap_or(i32::MAX);
            let request = self.client().put_retention_policy().log_group_name(group).retention_in_days(days);
            request.send().await.map(drop).map_err(api_error)
        })
    }

    fn renew_credentials(&self) -> Answer<'_, ()> {
        // The SDK keeps the content of configuration files, and credentials that never expire. Only a new client sees a
        // file that was replaced.
        Box::pin(async move {
            let made = Self::make_client(&self.config).await.map_err(|error| ApiError {
                failure: Failure::NotSent,
                code: None,
                status: None,
                message: error.to_string().into(),
            })?;
            *self.client.write().unwrap_or_else(PoisonError::into_inner) = made;
            Ok(())
        })
    }
}

/// Replaces the body of the SDK by a serialized one, and refuses an answer without a body. The service always sends a JSON
/// object, and the empty 200 of a proxy must not pass for "delivered".
#[derive(Debug)]
struct Serialized {
    body: RequestBody,
    emf: bool,
}

#[dyn_dispatch_hint]
impl Intercept for Serialized {
    fn name(&self) -> &'static str {
        "Serialized"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Serialized { body, emf } = self;
        let request = context.request_mut();
        *request.body_mut() = SdkBody::from(body.bytes.clone());
        request.headers_mut().insert("content-length", body.bytes.len().to_string());
        if body.gzip {
            request.headers_mut().insert("content-encoding", "gzip");
        }
        if *emf {
            request.headers_mut().insert("x-amzn-logs-format", "json/emf");
        }
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let empty = response.body().bytes().is_some_and(<[u8]>::is_empty);
        if response.status().is_success() && empty {
            return Err("the answer has no body, so it does not come from CloudWatch Logs".into());
        }
        Ok(())
    }
}

/// The file of the certificates to trust. AWS's SDK does not read the variable; its CLI and boto3 do.
fn ca_bundle(config: &Config) -> Option<PathBuf> {
    let from_environment = || env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()).map(PathBuf::from);
    config.ca_bundle.clone().or_else(from_environment)
}

fn rejected_events(output: &PutLogEventsOutput) -> RejectedEvents {
    let Some(info) = output.rejected_log_events_info() else { return RejectedEvents::default() };
    let index = |value: Option<i32>| value.map(|value| usize::try_from(value).unwrap_or(0));
    RejectedEvents {
        too_old_end: index(info.too_old_log_event_end_index()).unwrap_or(0),
        expired_end: index(info.expired_log_event_end_index()).unwrap_or(0),
        too_new_start: index(info.too_new_log_event_start_index()),
    }
}

fn api_error<E>(error: SdkError<E, HttpResponse>) -> ApiError
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.as_service_error().and_then(|error| error.code()).map(ErrorText::from);
    let failure = match &error {
        SdkError::ServiceError(_) => Failure::Answered,
        SdkError::TimeoutError(_) => Failure::TimedOut,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => Failure::TimedOut,
        SdkError::DispatchFailure(failure) if failure.is_io() => Failure::Connection,
        SdkError::DispatchFailure(_) if is_not_http(&error) => Failure::Unreadable,
        SdkError::ResponseError(_) => Failure::Unreadable,
        _ => Failure::NotSent,
    };
    let text = error.as_service_error().and_then(|error| error.message()).filter(|text| !text.is_empty());
    let message = match text {
        Some(text) => text.into(),
        None if code.is_some() => "the service sent no message".into(),
        None => ErrorText::of_chain(chain(&error)),
    };
    ApiError { failure, code, status, message }
}

/// The error and its sources, from the outermost to the innermost.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    iter::successors(Some(error), |&error| error.source())
}

/// Returns whether something answered that does not speak HTTP. The SDK gives such a failure no kind of its own, and
/// failures to find credentials neither.
fn is_not_http(error: &(dyn StdError + 'static)) -> bool {
    chain(error).filter_map(|error| error.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse)
}
