//! The renewal of credentials.

use std::time::Duration;

use cwl_sink::service::ApiError;

use crate::faults::{self, BACKOFF_MAX};
use crate::record::Steadiness;
use crate::scenario::pick;
use crate::world::World;

/// A renewal that ends after this time.
pub struct PendingRenewal {
    pub number: u64,
    pub delay: Duration,
    pub panics: bool,
}

impl World {
    /// A renewal of credentials begins.
    pub fn renewal_begins(&mut self) -> PendingRenewal {
        let now = self.tick();
        self.counts.renewals += 1;
        let number = self.call_begins(None, Steadiness::Unknown, 0);
        let kept = self.endpoint.renewal_begins(now, number);
        self.report_if_broken(kept);
        self.note("renew", &[]);
        let panics = !self.faults.healed && self.scenario.panics && self.rng.u32(..20) == 0;
        let max_ms = if self.faults.healed { 5 } else { *pick(&mut self.rng, &[0, 5, 2000]) };
        PendingRenewal { number, delay: Duration::from_millis(self.rng.u64(0..=max_ms)), panics }
    }

    /// A renewal of credentials ends.
    pub fn renewal_ends(&mut self, number: u64) -> Result<(), ApiError> {
        let now = self.tick();
        let gone = self.faults.credentials_gone.filter(|gone| now.at < gone.until);
        if gone.is_none() {
            self.faults.renewal_needed = false;
        }
        if gone.is_some_and(|gone| self.faults.errors[gone.fault] == faults::not_sent()) {
            self.counts.endpoint_failures += 1;
            self.endpoint.renewal_fails(now, number);
            self.batch_is_lost_in_renewal(false);
            return Err(faults::not_sent());
        }
        self.endpoint.renewal_succeeds(now, number);
        Ok(())
    }

    /// A renewal panicked. Its batch is tried again after a back-off, and the service cannot see whose it is.
    pub fn queue_fails_unseen(&mut self) {
        self.record.queues.iter_mut().for_each(|queue| queue.breaker.may_fail());
    }

    /// A renewal failed or panicked. The service cannot see whose batch failed with it, and if that batch was final
    /// then: after a panic, or when it was tried for too long.
    pub fn batch_is_lost_in_renewal(&mut self, panicked: bool) {
        let now = self.tick();
        let max_age = self.scenario.config.retry_max_age;
        let latest_retry = now.at + BACKOFF_MAX;
        for queue in &mut self.record.queues {
            let mut may_be_final = panicked || now.closing;
            for key in &queue.unfinished {
                let Some(batch) = queue.batches.get_mut(key) else { continue };
                if batch.first_attempt_at + max_age < latest_retry {
                    batch.note_may_be_given_up();
                    may_be_final = true;
                }
            }
            if may_be_final {
                queue.breaker.may_close();
            }
        }
    }
}
