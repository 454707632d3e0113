//! The gate to the endpoint: closed for everybody while a failure is nobody's own.
//!
//! Without credentials, or with a clock that the service does not believe, every target would fail alike. So one
//! gate stands before all workers: such a failure closes it, with a back-off, and when that is over one worker goes
//! through as the probe. What it comes back with opens the gate or closes it again. The targets' own breakers stay
//! as they are meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use crate::engine::Engine;
use crate::logs_api::ApiError;
use crate::retry::Backoff;

/// See the module.
#[derive(Debug)]
pub struct Gate {
    /// Guards the state. Nothing awaits while holding it.
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    position: Position,
    /// How often it closed since it was last open.
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Open,
    Closed { until: Instant },
    Probing,
}

/// The right to send one request.
#[derive(Debug)]
pub struct Pass {
    engine: Arc<Engine>,
    /// Gone once the probe came back; none for those that went through the open gate.
    probe: bool,
}

impl Gate {
    /// An open gate.
    pub fn new() -> Self {
        let state = State { position: Position::Open, failures: 0 };
        Gate { state: Mutex::new(state), changed: Notify::new() }
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.lock().position == Position::Open
    }

    /// Makes a closed gate let its probe through at once.
    pub fn due_now(&self) {
        let mut state = self.lock();
        if let Position::Closed { until } = &mut state.position {
            *until = Instant::now();
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Waits until a request may go out.
    pub async fn pass(engine: &Arc<Engine>) -> Pass {
        let gate = &engine.gate;
        loop {
            // Listening begins before the look, so that no change is missed between the two.
            let changed = gate.changed.notified();
            let until = {
                let mut state = gate.lock();
                match state.position {
                    Position::Open => return Pass { engine: engine.clone(), probe: false },
                    Position::Closed { until } if until <= Instant::now() => {
                        state.position = Position::Probing;
                        return Pass { engine: engine.clone(), probe: true };
                    }
                    Position::Closed { until } => Some(until),
                    Position::Probing => None,
                }
            };
            match until {
                Some(until) => drop(timeout_at(until, changed).await),
                None => changed.await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Pass {
    /// For a request that follows on one that was answered: it is not held up by the gate, and may close it.
    pub fn without_gate(engine: &Arc<Engine>) -> Self {
        Pass { engine: engine.clone(), probe: false }
    }

    /// Whether it is the probe's.
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// The endpoint answered: what it said is between it and the target.
    pub fn went_through(mut self) {
        if !std::mem::take(&mut self.probe) {
            return;
        }
        let gate = &self.engine.gate;
        let mut state = gate.lock();
        state.position = Position::Open;
        state.failures = 0;
        drop(state);
        gate.changed.notify_waiters();
        info!("CloudWatch Logs can be reached again");
    }

    /// The failure is nobody's own: closes the gate, and says until when.
    pub fn failed(mut self, why: &ApiError) -> Instant {
        let probe = std::mem::take(&mut self.probe);
        let gate = &self.engine.gate;
        let mut state = gate.lock();
        match state.position {
            Position::Closed { until } if !probe => return until,
            // The probe is out, and will say when it goes on.
            Position::Probing if !probe => return Instant::now(),
            _ => {}
        }
        let delay = self.engine.delay(Backoff::Short, state.failures);
        let until = Instant::now() + delay;
        state.failures = state.failures.saturating_add(1);
        state.position = Position::Closed { until };
        drop(state);
        gate.changed.notify_waiters();
        warn!("nothing is sent for now, to no target: {why}; next try in {:.1} s", delay.as_secs_f64());
        until
    }
}

impl Drop for Pass {
    /// A probe that came to nothing, such as one without a batch: the next may go.
    fn drop(&mut self) {
        if self.probe {
            let gate = &self.engine.gate;
            gate.lock().position = Position::Closed { until: Instant::now() };
            gate.changed.notify_waiters();
        }
    }
}
