//! CloudWatch Logs by way of AWS's SDK.
//!
//! The SDK resolves credentials and endpoints, signs requests and reads answers. It does not serialize events: the body that
//! the pushes wrote replaces the body of the SDK before the request is signed. It does not retry: every call is one attempt.

use std::env;
use std::error::Error as StdError;
use std::path::PathBuf;
use std::sync::Arc;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::identity::IdentityCache;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{AppName, BehaviorVersion, Region};
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::config::retry::RetryConfig;
use aws_sdk_cloudwatchlogs::config::timeout::TimeoutConfig;
use aws_sdk_cloudwatchlogs::config::{Builder as ClientConfig, StalledStreamProtectionConfig};
use aws_sdk_cloudwatchlogs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudwatchlogs::operation::put_log_events::PutLogEventsOutput;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use thiserror::Error;
use tracing::warn;

use super::clock_skew::SdkClock;
use super::credentials::cache::{CredentialsCache, PresentCredentials};
use super::credentials::chain::{CredentialsChain, keys_in_environment};
use super::credentials::profiles::Profiles;
use super::error_text::chain;
use super::http_client;
use super::{
    Answer, ApiError, ErrorText, Failure, LogsApi, NewGroup, PutLogEvents, RejectedEvents, RequestBody,
};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::service_clock::ServiceClock;

type HttpResponse = aws_sdk_cloudwatchlogs::config::http::HttpResponse;

/// The service of AWS, or the server at `endpoint_url`.
#[derive(Debug)]
pub struct AwsLogs {
    client: Client,
    credentials: Arc<CredentialsCache>,
}

/// The reason why no client could be made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConnectError {
    /// No region is set in the options, the environment, the profile or the metadata of the instance.
    #[error(
        "no AWS region: set the option region, AWS_REGION, or a region in the profile (the instance's metadata was asked too){}",
        missing_profile.as_ref().map(|missing| format!("; {missing}")).unwrap_or_default()
    )]
    NoRegion {
        /// A sentence about the profile of `AWS_PROFILE`, if it does not exist.
        missing_profile: Option<String>,
    },
    /// The profile, or a configuration file, cannot be used, and what it should give is not there otherwise.
    #[error("{0}")]
    Profile(String),
}

impl AwsLogs {
    /// Makes a client from the options. Whatever they leave open comes from AWS's default chain. No request goes out,
    /// except to the metadata of the instance when no region is set anywhere else. The answers correct the clock.
    pub async fn connect(
        config: &Config,
        clock: Arc<ServiceClock<SystemClock>>,
    ) -> Result<Self, ConnectError> {
        let clock = SdkClock(clock);
        let profiles = Profiles::read(config.profile.as_deref()).await;
        let ca_bundle = ca_bundle(config, profiles.as_ref().ok());
        let http_client = SharedHttpClient::new(http_client::Client::new(ca_bundle));
        let timeouts = TimeoutConfig::builder().connect_timeout(config.connect_timeout).build();
        let providers = ProviderConfig::without_region()
            .with_behavior_version(Some(BehaviorVersion::latest()))
            .with_http_client(http_client.clone())
            .with_time_source(clock.clone())
            .with_timeout_config(timeouts);
        let region = find_region(config, &providers).await;
        let fault = match &profiles {
            Ok(profiles) => profiles.fault(),
            Err(fault) => Some(fault.clone()),
        };
        if let Some(fault) = fault {
            if region.is_none() || !has_keys_without_profile(config).await {
                return Err(ConnectError::Profile(fault));
            }
            warn!("{fault}; region and keys come from elsewhere");
        }
        let Some(region) = region else {
            let missing_profile = profiles.ok().and_then(|profiles| profiles.missing());
            return Err(ConnectError::NoRegion { missing_profile });
        };
        let chain = CredentialsChain::new(config, providers.with_region(Some(region.clone())));
        let credentials = CredentialsCache::new(chain);
        let present = PresentCredentials(credentials.clone());
        let client = Self::make_client(config, clock, region, http_client, present).await;
        Ok(AwsLogs { client, credentials })
    }

    /// The region that requests go to.
    pub fn region(&self) -> Option<String> {
        self.client.config().region().map(Region::to_string)
    }

    async fn make_client(
        config: &Config,
        clock: SdkClock,
        region: Region,
        http_client: SharedHttpClient,
        credentials: PresentCredentials,
    ) -> Client {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(config.connect_timeout)
            .operation_attempt_timeout(config.request_timeout)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client)
            .time_source(clock.clone())
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .region(region)
            .credentials_provider(credentials)
            .identity_cache(IdentityCache::no_cache());
        if let Ok(name) = AppName::new(concat!("cwl-sink-", env!("CARGO_PKG_VERSION"))) {
            loader = loader.app_name(name);
        }
        if let Some(profile) = &config.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(url) = &config.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let client_config =
            ClientConfig::from(&loader.load().await).disable_clock_skew_correction(true).interceptor(clock);
        Client::from_conf(client_config.build())
    }

    /// The client, as soon as there are credentials to sign a request with. Their source has a time-out of its own, which is
    /// no part of that of the request.
    async fn client(&self) -> Result<&Client, ApiError> {
        self.credentials.ready().await.map_err(no_credentials)?;
        Ok(&self.client)
    }
}

impl LogsApi for AwsLogs {
    fn put_log_events<'a>(&'a self, request: PutLogEvents<'a>) -> Answer<'a, RejectedEvents> {
        Box::pin(async move {
            let operation = self.client().await?.put_log_events().customize();
            let operation = operation.interceptor(Serialized { body: request.body, emf: request.emf });
            operation.send().await.map(|output| rejected_events(&output)).map_err(api_error)
        })
    }

    fn create_log_group<'a>(&'a self, group: NewGroup<'a>) -> Answer<'a, ()> {
        Box::pin(async move {
            let created = self.client().await?.create_log_group().log_group_name(group.name).send().await;
            created.map(drop).map_err(api_error)
        })
    }

    fn create_log_stream<'a>(&'a self, group: &'a str, stream: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let request =
                self.client().await?.create_log_stream().log_group_name(group).log_stream_name(stream);
            request.send().await.map(drop).map_err(api_error)
        })
    }

    fn put_retention_policy<'a>(&'a self, group: &'a str, days: u32) -> Answer<'a, ()> {
        Box::pin(async move {
            let days = i32::try_from(days).unwrap_or(i32::MAX);
            let request =
                self.client().await?.put_retention_policy().log_group_name(group).retention_in_days(days);
            request.send().await.map(drop).map_err(api_error)
        })
    }

    fn renew_credentials(&self) -> Answer<'_, ()> {
        Box::pin(async move { self.credentials.renew().await.map_err(no_credentials) })
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

/// The file of the certificates to trust. AWS's SDK reads neither the variable nor the profile; its CLI and boto3 do.
fn ca_bundle(config: &Config, profiles: Option<&Profiles>) -> Option<PathBuf> {
    let from_environment = || env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()).map(PathBuf::from);
    let from_profile = || profiles?.setting("ca_bundle").filter(|path| !path.is_empty()).map(PathBuf::from);
    config.ca_bundle.clone().or_else(from_environment).or_else(from_profile)
}

/// The region. A profile that the options name goes before the environment.
async fn find_region(config: &Config, providers: &ProviderConfig) -> Option<Region> {
    if let Some(region) = &config.region {
        return Some(Region::new(region.clone()));
    }
    let environment = EnvironmentVariableRegionProvider::new();
    let profile = ProfileFileRegionProvider::builder().configure(providers);
    let chain = match &config.profile {
        Some(name) => RegionProviderChain::first_try(profile.profile_name(name).build()).or_else(environment),
        None => RegionProviderChain::first_try(environment).or_else(profile.build()),
    };
    let instance = ImdsRegionProvider::builder().configure(providers).build();
    chain.or_else(instance).region().await.filter(|region| !region.as_ref().is_empty())
}

/// Returns whether the options or the environment have keys, so that no profile is needed.
async fn has_keys_without_profile(config: &Config) -> bool {
    config.access_key_id.is_some()
        || (config.profile.is_none() && matches!(keys_in_environment().await, Ok(Some(_))))
}

fn no_credentials(why: Arc<str>) -> ApiError {
    let message = format!("no AWS credentials: {why}");
    ApiError { failure: Failure::NotSent, code: None, status: None, message: message.into() }
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
        None => match &error {
            // The cause says which connection failed and why.
            SdkError::DispatchFailure(_) => ErrorText::of_chain(chain(error.source().unwrap_or(&error))),
            _ => ErrorText::of_chain(chain(&error)),
        },
    };
    ApiError { failure, code, status, message }
}

/// Returns whether something answered that does not speak HTTP. The SDK gives such a failure no kind of its own.
fn is_not_http(error: &(dyn StdError + 'static)) -> bool {
    chain(error).filter_map(|error| error.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse)
}
