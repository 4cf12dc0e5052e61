//! Facts about one request: whether it was sent, to which host, and EC2's clock in the answer. The SDK's errors alone
//! do not tell whether a request that ran out of time had been sent.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_sdk_ec2::config::ConfigBag;
use aws_sdk_ec2::config::Intercept;
use aws_sdk_ec2::config::RuntimeComponents;
use aws_sdk_ec2::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeDeserializationInterceptorContextRef,
    BeforeTransmitInterceptorContextMut,
};
use aws_sdk_ec2::error::BoxError;
use aws_sdk_ec2::primitives::{DateTime, DateTimeFormat};
use aws_smithy_types::body::SdkBody;
use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::http;
use crate::ec2::server_clock::Dated;
use crate::ec2::stranger::breaks_off;
use crate::machine::clock::Clocks;

/// The observer of one request. Clones observe the same request.
#[derive(Debug, Clone, Default)]
pub struct Probe(Arc<Mutex<Traced>>);

/// The findings of a [`Probe`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Traced {
    /// Whether a connection had begun to write the request's body. The body names the operation, so EC2 may have
    /// received the request only after that.
    pub sent: bool,
    /// The host of the request. `None` if the request failed earlier, for example because there were no credentials.
    pub host: Option<String>,
    /// The proxy through which the host is asked, if any.
    pub proxy: Option<String>,
    /// The date of the answer. `None` without an answer, and if the answer had no date.
    pub dated: Option<Dated>,
    /// When the request was handed to the connection, by the clock since boot.
    begun: Duration,
    /// The body of an answer that breaks off, although the SDK took it for a whole one.
    pub cut: Option<Vec<u8>>,
}

impl Traced {
    /// How far this machine's clock is ahead of EC2's now, in seconds, by the date of the answer.
    #[expect(clippy::cast_precision_loss, reason = "an offset that a float cannot hold is wrong in any case")]
    pub fn ahead_s(&self) -> Option<f64> {
        let now = Clocks::now();
        let ahead_ms = self.dated?.time().ahead_ms(now.since_boot(), now.wall_ms);
        Some(ahead_ms as f64 / 1000.0)
    }
}

impl Probe {
    /// The findings so far.
    pub fn seen(&self) -> Traced {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, change: impl FnOnce(&mut Traced)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
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
        let request = context.request_mut();
        let (host, proxy) = (http::host_and_port(request.uri()), http::proxy_of(request.uri()));
        self.note(|seen| (seen.host, seen.proxy, seen.begun) = (host, proxy, Clocks::now().since_boot()));
        let body = std::mem::replace(request.body_mut(), SdkBody::taken());
        *request.body_mut() = SdkBody::from_body_1_x(Marked { body, probe: self.clone() });
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
        if let Some(date_ms) = date.and_then(|date| date.to_millis().ok()) {
            let answered = Clocks::now().since_boot();
            self.note(|seen| seen.dated = Some(Dated { sent: seen.begun, answered, date_ms }));
        }
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response().body().bytes().filter(|body| breaks_off(body));
        self.note(|seen| seen.cut = body.map(<[u8]>::to_vec));
        Ok(())
    }
}

/// A request's body that notes when it is first read. A connection reads the body when it writes the request.
struct Marked {
    body: SdkBody,
    probe: Probe,
}

impl Body for Marked {
    type Data = Bytes;
    type Error = <SdkBody as Body>::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.probe.note(|seen| seen.sent = true);
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&self.body)
    }
}
