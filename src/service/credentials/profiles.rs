//! AWS's configuration files, and the profile in them that applies.

use std::borrow::Cow;
use std::env;
use std::path::PathBuf;

use aws_config::profile::{self, Profile, ProfileSet};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_types::os_shim_internal::{Env, Fs};

use crate::service::ErrorText;
use crate::service::error_text::chain;

/// The name of the source that stands for the `credential_process` of a profile.
pub(super) const CREDENTIAL_PROCESS: &str = "cwl-sink.credential_process";

/// The profiles of the configuration files, as they are when they are read.
#[derive(Debug)]
pub struct Profiles {
    sections: ProfileSet,
    chosen_by: ChosenBy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChosenBy {
    Option,
    Environment,
    Default,
}

impl Profiles {
    /// Reads the configuration files. `option` is the profile to use instead of that of `AWS_PROFILE`. The error names the
    /// file, the line and the fault.
    pub async fn read(option: Option<&str>) -> Result<Self, String> {
        let chosen_by = match (option, env::var_os("AWS_PROFILE")) {
            (Some(_), _) => ChosenBy::Option,
            (None, Some(_)) => ChosenBy::Environment,
            (None, None) => ChosenBy::Default,
        };
        let name = option.map(|name| Cow::Owned(name.to_owned()));
        match profile::load(&Fs::real(), &Env::real(), &EnvConfigFiles::default(), name).await {
            Ok(sections) => Ok(Profiles { sections, chosen_by }),
            Err(error) => {
                Err(format!("the AWS configuration cannot be used: {}", ErrorText::of_chain(chain(&error))))
            }
        }
    }

    /// The value of a setting in the profile.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.sections.get(key)
    }

    /// A sentence about a profile that was chosen and does not exist.
    pub fn missing(&self) -> Option<String> {
        let name = self.sections.selected_profile();
        let chosen_by = match self.chosen_by {
            ChosenBy::Option => "option profile",
            ChosenBy::Environment => "AWS_PROFILE",
            ChosenBy::Default => return None,
        };
        self.sections.get_profile(name).is_none().then(|| {
            let [config, credentials] = files().map(|file| file.display().to_string());
            format!(
                "the profile {name:?} ({chosen_by}) is neither in {config} as [profile {name}] nor in {credentials} as [{name}]"
            )
        })
    }

    /// A sentence about a profile that cannot give credentials, whatever else there is.
    pub fn fault(&self) -> Option<String> {
        if self.chosen_by == ChosenBy::Option
            && let Some(missing) = self.missing()
        {
            return Some(missing);
        }
        let base = match self.base() {
            Ok(base) => base?,
            Err(fault) => return Some(fault),
        };
        let name = base.name();
        let is_login = base.get("login_session").is_some() && base.get("credential_source").is_none();
        is_login.then(|| {
            format!(
                "the profile {name:?} has login_session, which cwl-sink does not support: use a profile with \
                 credential_process = aws configure export-credentials --profile {name} --format process"
            )
        })
    }

    /// The end of a sentence about a failure of the profile: what an operator can do.
    pub(super) fn advice(&self) -> String {
        match self.base() {
            Ok(Some(base)) if base.get("sso_session").or(base.get("sso_start_url")).is_some() => {
                format!("; log in with: aws sso login --profile {}", base.name())
            }
            _ => String::new(),
        }
    }

    /// The name of the profile, in words.
    pub(super) fn name(&self) -> String {
        format!("the profile {:?}", self.sections.selected_profile())
    }

    /// The profile in words, with the files that may have it.
    pub(super) fn described(&self) -> String {
        let [config, credentials] = files().map(|file| file.display().to_string());
        format!("{} in {config} and {credentials}", self.name())
    }

    /// The `credential_process` that the credentials begin with, and the name of its profile.
    pub(super) fn credential_process(&self) -> Option<(&str, &str)> {
        let base = self.base().ok()??;
        let goes_first = ["credential_source", "sso_session", "sso_start_url", "login_session"];
        let is_other = goes_first.iter().any(|key| base.get(key).is_some())
            || (base.get("role_arn").is_some() && base.get("web_identity_token_file").is_some());
        base.get("credential_process").filter(|_| !is_other).map(|command| (command, base.name()))
    }

    /// The configuration files for the SDK. They say that the source [`CREDENTIAL_PROCESS`] gives the credentials of a profile
    /// with a `credential_process`.
    pub(super) fn files_for_sdk(&self) -> EnvConfigFiles {
        let files = EnvConfigFiles::builder()
            .include_default_config_file(true)
            .include_default_credentials_file(true);
        let Some((_, name)) = self.credential_process() else { return files.build() };
        let base = self.base().ok().flatten();
        let is_role_of_itself = base.is_some_and(|base| base.get("role_arn").is_some());
        let addition = match is_role_of_itself {
            // A profile with a role may have only one of `source_profile` and `credential_source`.
            true => format!(
                "[{name}]\nsource_profile = {CREDENTIAL_PROCESS}\n\
                 [{CREDENTIAL_PROCESS}]\ncredential_source = {CREDENTIAL_PROCESS}\n"
            ),
            false => format!("[{name}]\ncredential_source = {CREDENTIAL_PROCESS}\n"),
        };
        files.with_contents(EnvConfigFileKind::Credentials, addition).build()
    }

    /// The profile whose credentials are used as they are, or to assume the first role. The error is a sentence about a profile
    /// that another one names and that does not exist.
    fn base(&self) -> Result<Option<&Profile>, String> {
        let Some(mut profile) = self.sections.get_profile(self.sections.selected_profile()) else {
            return Ok(None);
        };
        let mut seen = vec![profile.name()];
        while profile.get("role_arn").is_some()
            && let Some(next) = profile.get("source_profile")
            && !seen.contains(&next)
        {
            seen.push(next);
            profile = self.sections.get_profile(next).ok_or_else(|| {
                format!("the source_profile {next:?} of the profile {:?} does not exist", profile.name())
            })?;
            if profile.get("aws_access_key_id").is_some() {
                break;
            }
        }
        Ok(Some(profile))
    }
}

/// The two configuration files, whether they exist or not.
fn files() -> [PathBuf; 2] {
    [("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")].map(|(variable, name)| {
        match (env::var_os(variable), env::var_os("HOME")) {
            (Some(path), _) => PathBuf::from(path),
            (None, Some(home)) => PathBuf::from(home).join(".aws").join(name),
            (None, None) => PathBuf::from("~/.aws").join(name),
        }
    })
}
