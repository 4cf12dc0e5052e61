//! What one request met on its way: whether it was sent at all, to whom, and EC2's clock in the answer.
//! The SDK's errors alone do not tell whether a request that ran out of time had been sent.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sdk_ec2::config::ConfigBag;
use aws_sdk_ec2::config::Intercept;
use aws_sdk_ec2::config::RuntimeComponents;
use aws_sdk_ec2::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_ec2::error::BoxError;
use aws_sdk_ec2::primitives::{DateTime, DateTimeFormat};
use aws_smithy_runtime_api::client::http::telemetry::CaptureHttpAttemptTelemetry;

use super::http;

/// One per request. Clones see the same request.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    connection: CaptureHttpAttemptTelemetry,
    notes: Arc<Mutex<Notes>>,
}

#[derive(Debug, Clone, Default)]
struct Notes {
    host: Option<String>,
    clock: Option<ClockOffset>,
}

/// What a [`Probe`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Whether a connection had taken the request: from then on EC2 may have got it.
    pub sent: bool,
    /// The host it was meant for; `None` if it did not get as far as that, for want of credentials, say.
    pub host: Option<String>,
    pub clock: Option<ClockOffset>,
}

/// How far this machine's clock is from EC2's: the Date header of an answer, which counts whole seconds, so that half a
/// second more or less means nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClockOffset {
    /// Seconds; positive if this machine's clock is ahead.
    pub ahead_s: f64,
    /// By this machine's clock.
    pub seen_at: SystemTime,
}

impl ClockOffset {
    /// EC2 wrote `date` at some moment of that second: the middle of it is the best guess.
    fn between(date: SystemTime, now: SystemTime) -> Self {
        let middle = date + Duration::from_millis(500);
        let ahead_s = match now.duration_since(middle) {
            Ok(ahead) => ahead.as_secs_f64(),
            Err(behind) => -behind.duration().as_secs_f64(),
        };
        Self { ahead_s, seen_at: now }
    }
}

impl Probe {
    /// What has been found so far.
    pub fn seen(&self) -> Seen {
        let Notes { host, clock } = self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Seen { sent: self.connection.get().connection().is_some(), host, clock }
    }

    fn note(&self, change: impl FnOnce(&mut Notes)) {
        change(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Intercept for Probe {
    fn name(&self) -> &'static str {
        "Probe"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().add_extension(self.connection.clone());
        let host = http::host(context.request().uri());
        self.note(|notes| notes.host = host);
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        if let Some(date) = date.and_then(|date| SystemTime::try_from(date).ok()) {
            self.note(|notes| notes.clock = Some(ClockOffset::between(date, SystemTime::now())));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_positive_when_this_clock_is_ahead() {
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let offset =
            |now_ms| ClockOffset::between(date, SystemTime::UNIX_EPOCH + Duration::from_millis(now_ms)).ahead_s;
        assert_eq!((offset(1_003_500), offset(1_000_500), offset(997_500)), (3.0, 0.0, -3.0));
    }
}
