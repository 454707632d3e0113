//! The places where credentials are looked up, in AWS's order.
//!
//! Keys in the options are used as they are. With the option `profile`, the profile goes first and the environment is left
//! out, as in boto3. Otherwise the order is that of the SDK: environment, profile, web identity, container, instance. The
//! providers of the SDK keep what they have read, so each lookup makes new ones: a file that was replaced is seen.

use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_types::error::ErrorMetadata;
use tokio::time::timeout;

use super::asked::Asked;
use super::cache::{Found, Source};
use super::process::CredentialProcess;
use super::profiles::{CREDENTIAL_PROCESS, Profiles};
use crate::config::{Config, Secret};
use crate::service::ErrorText;
use crate::service::error_text::chain;

/// See the module.
#[derive(Debug)]
pub struct CredentialsChain {
    /// The keys of the options.
    keys: Option<Credentials>,
    /// The option `profile`.
    profile: Option<String>,
    provider_config: ProviderConfig,
    timeout: Duration,
}

impl CredentialsChain {
    /// A chain for these options. `provider_config` has the HTTP client and the region.
    pub fn new(config: &Config, provider_config: ProviderConfig) -> Self {
        let keys = match (&config.access_key_id, &config.secret_access_key) {
            (Some(key), Some(secret)) => {
                let token = config.session_token.as_ref().map(Secret::reveal).map(str::to_owned);
                Some(Credentials::new(key, secret.reveal(), token, None, "options"))
            }
            _ => None,
        };
        let (profile, timeout) = (config.profile.clone(), config.credentials_timeout);
        CredentialsChain { keys, profile, provider_config, timeout }
    }

    async fn look_in_all_places(&self, asked: &Asked) -> Result<Credentials, String> {
        if let Some(keys) = &self.keys {
            return Ok(keys.clone());
        }
        if self.profile.is_none()
            && let Some(keys) = keys_in_environment().await?
        {
            return Ok(keys);
        }
        let profiles = Profiles::read(self.profile.as_deref()).await?;
        if let Some(fault) = profiles.fault() {
            return Err(fault);
        }
        for (place, provider) in self.places(&profiles, asked) {
            asked.set(&place);
            match provider.provide_credentials().await {
                Ok(credentials) => return Ok(credentials),
                Err(CredentialsError::CredentialsNotLoaded(_)) => {}
                Err(error) => return Err(format!("{place}: {}{}", text_of(&error), profiles.advice())),
            }
        }
        Err(self.nothing_found(&profiles))
    }

    /// The places after the options and the environment, each with its name for an operator.
    fn places(&self, profiles: &Profiles, asked: &Asked) -> Vec<(String, SharedCredentialsProvider)> {
        let config = &self.provider_config;
        let mut profile = ProfileFileCredentialsProvider::builder()
            .configure(config)
            .profile_files(profiles.files_for_sdk());
        if let Some(name) = &self.profile {
            profile = profile.profile_name(name);
        }
        if let Some((command, name)) = profiles.credential_process() {
            let place = format!("the credential_process of the profile {name:?}");
            let helper = CredentialProcess { command: command.to_owned(), place, asked: asked.clone() };
            profile = profile.with_custom_provider(CREDENTIAL_PROCESS, helper);
        }
        // The default of 1 s for an answer is too short for an instance that is busy.
        let instance = imds::Client::builder().configure(config).read_timeout(self.timeout).build();
        let instance = ImdsCredentialsProvider::builder().configure(config).imds_client(instance).build();
        let mut places = vec![(profiles.name(), SharedCredentialsProvider::new(profile.build()))];
        let mut add = |name: &str, provider| places.push((name.to_owned(), provider));
        if self.profile.is_none() {
            let web_identity = WebIdentityTokenCredentialsProvider::builder().configure(config).build();
            add(
                "the web identity (AWS_WEB_IDENTITY_TOKEN_FILE)",
                SharedCredentialsProvider::new(web_identity),
            );
        }
        let container = EcsCredentialsProvider::builder().configure(config).build();
        add("the container (AWS_CONTAINER_CREDENTIALS_...)", SharedCredentialsProvider::new(container));
        add("the metadata of the instance", SharedCredentialsProvider::new(instance));
        places
    }

    fn nothing_found(&self, profiles: &Profiles) -> String {
        if let Some(missing) = profiles.missing() {
            return format!("{missing}, and no container or instance has any");
        }
        let profile = profiles.described();
        match self.profile {
            Some(_) => format!("there are none in {profile}, the container and the instance"),
            None => format!(
                "there are none in the environment, {profile}, the web identity, the container and the instance"
            ),
        }
    }
}

impl Source for CredentialsChain {
    fn look_up(&self) -> Found<'_> {
        Box::pin(async {
            let asked = Asked::default();
            timeout(self.timeout, self.look_in_all_places(&asked)).await.unwrap_or_else(|_| {
                let seconds = self.timeout.as_secs_f64();
                Err(format!("{} did not answer within {seconds} s (credentials_timeout_ms)", asked.get()))
            })
        })
    }
}

/// The keys of the environment, if it has any.
pub async fn keys_in_environment() -> Result<Option<Credentials>, String> {
    match EnvironmentVariableCredentialsProvider::new().provide_credentials().await {
        Ok(keys) => Ok(Some(keys)),
        Err(CredentialsError::CredentialsNotLoaded(_)) => Ok(None),
        Err(error) => Err(text_of(&error)),
    }
}

/// The text of the causes: the answer of a service, if there is one. The text of the error itself says only that credentials
/// could not be loaded.
fn text_of(error: &CredentialsError) -> String {
    let answer = chain(error).find_map(|error| error.downcast_ref::<ErrorMetadata>());
    let text = match answer.and_then(|answer| Some((answer.code()?, answer.message()?))) {
        Some((code, message)) => format!("{code}: {message}"),
        None => ErrorText::of_chain(chain(error).filter(|error| !error.is::<CredentialsError>())).to_string(),
    };
    ErrorText::from(text).to_string()
}
