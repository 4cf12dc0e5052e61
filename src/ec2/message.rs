//! A failed call as an [`Ec2Error`], with one line of text that helps at three in the morning. This module is pure: the
//! adapter passes on what came, and the words, the class and the reason are chosen here.

use super::codes::{self, FailedCall, Missing, Reply};
use super::reason::{self, Reason};
use super::stranger::{Meant, Stranger};
use super::{Class, Ec2Error};

/// The longest message, in characters.
const LONGEST: usize = 400;
/// The longest list of what the sources of credentials said. The source at fault is the last one.
const LONGEST_LIST: usize = 1000;
/// The HTTP client's text where the proxy itself cannot be reached. The client calls that an error of the tunnel too.
const NO_WAY_TO_PROXY: &str = "failed to create underlying connection";
/// The TLS library's texts about a certificate that nobody whom this machine trusts has signed: an unknown authority's, or
/// one that signed itself.
const UNTRUSTED: [&str; 2] = ["UnknownIssuer", "CaUsedAsEndEntity"];
/// The TLS library's texts where the other side speaks no TLS, or another kind of it, or hangs up meanwhile.
const TLS_BROKEN: [&str; 4] =
    ["tls handshake eof", "received corrupt message", "received fatal alert", "peer is incompatible"];
/// The most ARNs that are kept from the part that is cut off.
const MOST_ARNS: usize = 3;

/// Everything that is known about a failed call beside its code, its text and its reply.
#[derive(Debug, Clone, Copy, Default)]
pub struct AroundCall<'a> {
    /// The host that was asked; `None` if the request failed before a host was chosen.
    pub host: Option<&'a str>,
    /// The proxy through which the host is asked, if any.
    pub proxy: Option<&'a str>,
    /// How far this machine's clock is ahead of EC2's, in seconds, by the date of the answer.
    pub ahead_s: Option<f64>,
    /// The answer's headers `Server` and `Via`, and its body.
    pub server: Option<&'a str>,
    pub via: Option<&'a str>,
    pub body: &'a [u8],
    /// The causes of a missing answer as one text, the outermost first.
    pub causes: &'a str,
    pub request_id: Option<&'a str>,
}

impl FailedCall<'_> {
    /// The error that the loop and people get.
    #[must_use]
    pub fn error(&self, around: &AroundCall<'_>) -> Ec2Error {
        let clock = around.ahead_s.and_then(|ahead_s| reason::wrong_clock(self.code?, ahead_s));
        let reason = match clock {
            Some(_) => Some(Reason::ClockOff),
            None => self.reason().or_else(|| self.on_the_way(around)).or_else(|| self.outlived(around)),
        };
        let message = match (self.code, self.reply) {
            (Some(code), _) => {
                let clock = clock.map(|clock| format!(" ({clock})")).unwrap_or_default();
                format!("{code}: {}{clock}", self.message)
            }
            (None, Reply::Status(status)) => around.strange(status),
            (None, Reply::Missing { why, sent: true }) => around.unanswered(why),
            (None, Reply::Missing { why, sent: false }) => around.unsent(why),
        };
        Ec2Error {
            operation: self.operation,
            code: self.code.map(str::to_owned),
            reason,
            message: one_line(&message),
            request_id: around.request_id.map(str::to_owned),
            class: self.class(),
            effect: self.effect(),
        }
    }

    /// The reason where EC2 calls the request expired although the two clocks agree.
    fn outlived(&self, around: &AroundCall<'_>) -> Option<Reason> {
        around.ahead_s?;
        codes::is_expired(self.code?).then_some(Reason::CredentialsOld)
    }

    /// The reason on the way between this node and EC2, for an answer that is not EC2's or for a missing one.
    fn on_the_way(&self, around: &AroundCall<'_>) -> Option<Reason> {
        match self.reply {
            _ if self.code.is_some() => None,
            // AWS's own load balancers send some 5xx without a code.
            Reply::Status(500..) if around.proxy.is_none() => None,
            // Only a proxy asks for a password in this way.
            Reply::Status(407) => Some(Reason::Proxy),
            Reply::Status(_) => Some(Reason::NotAws),
            Reply::Missing { why: Missing::NotMade, .. } | Reply::Missing { sent: true, .. } => None,
            Reply::Missing { .. } if UNTRUSTED.iter().any(|part| around.causes.contains(part)) => {
                Some(Reason::UntrustedIssuer)
            }
            Reply::Missing { .. } if around.causes.contains("invalid peer certificate") => Some(Reason::BadCertificate),
            Reply::Missing { .. } if TLS_BROKEN.iter().any(|part| around.causes.contains(part)) => {
                Some(Reason::TlsBroken)
            }
            Reply::Missing { .. } if around.proxy.is_some() => Some(Reason::Proxy),
            Reply::Missing { .. } => around.causes.contains("dns error").then_some(Reason::NoAddress),
        }
    }
}

impl AroundCall<'_> {
    fn host(&self) -> &str {
        self.host.unwrap_or("EC2")
    }

    /// The host that was asked, and the proxy in between if there is one.
    fn way(&self) -> String {
        let host = self.host();
        self.proxy.map_or_else(|| host.to_owned(), |proxy| format!("{host} through the proxy {proxy}"))
    }

    /// Describes an answer without an EC2 error code.
    fn strange(&self, status: u16) -> String {
        let (asked, meant) = (self.host(), Meant::Ec2);
        let Self { proxy, server, via, body, .. } = *self;
        Stranger { meant, asked, proxy, status, server, via, body }.to_string()
    }

    /// Describes the failure of a request that left this machine.
    fn unanswered(&self, why: Missing) -> String {
        match why {
            Missing::TimedOut => format!("connected to {}, but no answer came in time", self.way()),
            Missing::Io => format!("the connection to {} broke before the answer: {}", self.way(), self.causes),
            Missing::NotMade => self.not_made(),
        }
    }

    /// Describes the failure of a request that never left this machine.
    fn unsent(&self, why: Missing) -> String {
        match why {
            Missing::TimedOut => format!("no connection to {} in time", self.way()),
            Missing::Io => self.not_connected(),
            Missing::NotMade => self.not_made(),
        }
    }

    fn not_made(&self) -> String {
        format!("the request could not be made: {}", self.causes)
    }

    /// Describes a connection that was not made. With a proxy, the obstacle is one of three: the proxy cannot be reached,
    /// the proxy does not open the way, or TLS fails behind the open way or with the proxy itself.
    fn not_connected(&self) -> String {
        let (host, causes) = (self.host(), self.causes);
        let says = |part: &str| causes.contains(part);
        match self.proxy {
            Some(proxy) if says("certificate") => {
                format!("no connection to {host} through the proxy {proxy}: {causes}")
            }
            Some(proxy) if says(NO_WAY_TO_PROXY) => {
                format!("no connection to the proxy {proxy}, through which {host} is asked: {causes}")
            }
            Some(proxy) if says("tunnel error") => format!("the proxy {proxy} does not let {host} through: {causes}"),
            // Without a tunnel, as to an endpoint that speaks no TLS, only the proxy itself is connected to.
            Some(proxy) if says("tcp connect error") || says("dns error") => {
                format!("no connection to the proxy {proxy}, through which {host} is asked: {causes}")
            }
            Some(proxy) => format!("no connection to {host} through the proxy {proxy}: {causes}"),
            None => format!("no connection to {host}: {causes}"),
        }
    }
}

/// An error that vipkeeper makes itself. Nothing was sent.
pub fn refused(operation: &'static str, class: Class, message: impl Into<String>) -> Ec2Error {
    Ec2Error {
        operation,
        code: None,
        reason: None,
        message: message.into(),
        request_id: None,
        class,
        effect: super::Effect::None,
    }
}

/// Shortens a text to one line of bounded length. An encoded authorization message is a kilobyte that people cannot
/// read: it is cut, and the line says where to find the whole message and how to decode it. The ARNs in the part that
/// is cut off are kept: one of them names the policy that denies.
#[must_use]
pub fn one_line(text: &str) -> String {
    within(LONGEST, text)
}

/// As [`one_line`], for the list of what the sources of credentials said.
#[must_use]
pub fn list_on_one_line(text: &str) -> String {
    within(LONGEST_LIST, text)
}

fn within(longest: usize, text: &str) -> String {
    const ENCODED: &str = "Encoded authorization failure message:";
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = match text.split_once(ENCODED) {
        Some((before, blob)) => {
            let start: String = blob.trim_start().chars().take(16).collect();
            format!(
                "{before}{ENCODED} {start}... (CloudTrail has it whole; 'aws sts decode-authorization-message --encoded-message' reads it)"
            )
        }
        None => text,
    };
    let Some((end, _)) = text.char_indices().nth(longest) else { return text };
    // The cut is at the last space, if there is one, so that no ARN is split.
    let end = text[..end].rfind(' ').unwrap_or(end);
    let arns = text[end..].split(' ').filter(|word| word.starts_with("arn:")).take(MOST_ARNS);
    std::iter::once(format!("{}...", &text[..end])).chain(arns.map(str::to_owned)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_of_bounded_length_without_the_encoded_blob() {
        let blob = "x".repeat(1000);
        let text = format!("You are not authorized\nto  do this. Encoded authorization failure message: {blob}");
        assert_eq!(
            one_line(&text),
            "You are not authorized to do this. Encoded authorization failure message: xxxxxxxxxxxxxxxx... \
             (CloudTrail has it whole; 'aws sts decode-authorization-message --encoded-message' reads it)"
        );
        let arn = format!("arn:aws:organizations::1:policy/o-a/service_control_policy/{}", "p".repeat(80));
        for before in [300, 380, 399, 500] {
            let line = one_line(&format!("{} with an explicit deny in a policy: {arn}", "w ".repeat(before / 2)));
            assert!(line.split(' ').any(|word| word == arn), "the policy is named whole: {line}");
        }
        assert_eq!(one_line(&"é".repeat(1000)).chars().count(), LONGEST + 3);
    }

    #[test]
    fn a_proxy_in_between_is_named_as_what_it_is() {
        let host = "ec2.eu-west-1.amazonaws.com";
        let told = |proxy, causes| {
            let reply = Reply::Missing { why: Missing::Io, sent: false };
            let call = FailedCall { operation: "DescribeTags", code: None, message: "", reply };
            let error = call.error(&AroundCall { host: Some(host), proxy, causes, ..AroundCall::default() });
            (error.message, error.reason)
        };
        let proxy = Some("http://10.0.0.7:3128");
        let refused = "tcp connect error: Connection refused (os error 111)";
        let in_tunnel = format!("tunnel error: failed to create underlying connection: {refused}");
        for causes in [refused, in_tunnel.as_str()] {
            let words =
                format!("no connection to the proxy http://10.0.0.7:3128, through which {host} is asked: {causes}");
            assert_eq!(told(proxy, causes), (words, Some(Reason::Proxy)));
        }
        let (message, reason) = told(proxy, "tls handshake eof");
        assert!(message.starts_with(&format!("no connection to {host} through the proxy http://10")), "{message}");
        assert_eq!(reason, Some(Reason::TlsBroken));
        let (message, reason) = told(proxy, "tunnel error: proxy authorization required");
        assert!(message.starts_with("the proxy http://10.0.0.7:3128 does not let ec2."), "{message}");
        assert_eq!(reason, Some(Reason::Proxy));
        for causes in [
            "invalid peer certificate: UnknownIssuer",
            "invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))",
        ] {
            let (message, reason) = told(proxy, causes);
            assert!(message.starts_with("no connection to ec2.eu-west-1.amazonaws.com through the proxy"), "{message}");
            assert_eq!(reason, Some(Reason::UntrustedIssuer));
        }
        assert_eq!(told(None, refused), (format!("no connection to {host}: {refused}"), None));
        let unknown = "dns error: failed to lookup address information: Name or service not known";
        assert_eq!(told(None, unknown).1, Some(Reason::NoAddress));
        assert_eq!(told(proxy, unknown).1, Some(Reason::Proxy), "the proxy's own name");
    }
}
