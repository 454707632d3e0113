//! Sets the retention that is owed to groups: one try after the other, until the service has taken it.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::owed_settings::{NextTry, SettingTry};
use super::shared::Shared;
use crate::schedule::backoff::Backoff;
use crate::schedule::service_errors::{Verdict, classify, words};
use crate::service::ApiError;

/// Tries after which a group that is not found counts as deleted. A group that was just created may not be found either.
const NOT_FOUND_MAX: u32 = 5;

/// Tries the settings that are owed, until the sink stops.
pub(super) async fn set_owed_settings(shared: Arc<Shared>) {
    let Some(days) = shared.config.retention_days else { return };
    let owed = &shared.owed_settings;
    loop {
        match owed.next(Instant::now()) {
            NextTry::Try(begun) => {
                let attempt = Attempt { shared: shared.clone(), begun: Some(begun) };
                tokio::spawn(attempt.run(days));
            }
            NextTry::NotBefore(at) => drop(timeout_at(at, owed.changed()).await),
            NextTry::WaitForChange => owed.changed().await,
            NextTry::Stopped => return,
        }
    }
}

/// One try, in a task of its own. When it is dropped without a result, by a panic, the setting is tried again later.
struct Attempt {
    shared: Arc<Shared>,
    /// `None` once the try has ended.
    begun: Option<SettingTry>,
}

impl Attempt {
    async fn run(mut self, days: u32) {
        let Some(begun) = &self.begun else { return };
        let answer = self.shared.api.put_retention_policy(&begun.group, days).await;
        let Some(begun) = self.begun.take() else { return };
        match answer {
            Ok(()) => {
                self.shared.owed_settings.on_settled(&begun.group);
                info!("log group {}: the retention is set to {days} days", begun.group);
            }
            Err(error) => self.fail(&begun, days, &error),
        }
    }

    fn fail(&self, begun: &SettingTry, days: u32, error: &ApiError) {
        let SettingTry { group, failures, .. } = begun;
        let verdict = classify(error);
        if verdict == Verdict::Create && failures + 1 >= NOT_FOUND_MAX {
            self.shared.owed_settings.on_settled(group);
            info!("log group {group}: no retention is set, since the group was deleted");
            return;
        }
        let backoff = match verdict {
            Verdict::Retry(backoff) => backoff,
            Verdict::Throttle => Backoff::Unavailable,
            _ => Backoff::Refused,
        };
        let wait = self.shared.delay(backoff, *failures);
        self.shared.owed_settings.on_failed(begun, verdict == Verdict::Throttle, wait);
        if *failures == 0 {
            warn!(
                "log group {group}: the retention could not be set to {days} days: {}: {error}; \
                 trying again until it is set, while events are delivered; settings_owed counts such groups",
                words(error)
            );
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(begun) = self.begun.take() {
            let wait = self.shared.delay(Backoff::Refused, begun.failures);
            self.shared.owed_settings.on_failed(&begun, false, wait);
        }
    }
}
