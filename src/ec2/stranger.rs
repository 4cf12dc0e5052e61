//! Describes an answer that is not AWS's: who was asked, by which way, what came, and who may have sent it. People must
//! recognize the sender, because the fault is there and not in AWS. This module is pure.

use std::fmt;

/// The most characters that are shown of an answer's text.
const GLIMPSE: usize = 60;
/// How much of a body is looked at. The rest of a long web page tells nothing more.
const LOOKED_AT: usize = 4 << 10;

/// The service of AWS that was meant to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meant {
    Ec2,
    MetadataService,
}

/// The answer as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Stranger<'a> {
    pub meant: Meant,
    /// The address that was asked.
    pub asked: &'a str,
    /// The proxy through which the question went; `None` if it went directly.
    pub proxy: Option<&'a str>,
    pub status: u16,
    /// The headers `Server` and `Via`, with which a sender may name itself.
    pub server: Option<&'a str>,
    pub via: Option<&'a str>,
    pub body: &'a [u8],
}

/// The kind of an answer's body.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Empty,
    WebPage(String),
    Json(String),
    /// Begins like an answer of EC2, and breaks off.
    CutXml,
    OtherXml(String),
    Compressed,
    Text(String),
    Binary,
}

impl Form {
    fn of(body: &[u8]) -> Self {
        if body.starts_with(&[0x1f, 0x8b]) {
            return Self::Compressed;
        }
        let looked_at = &body[..body.len().min(LOOKED_AT)];
        let text = String::from_utf8_lossy(looked_at);
        let text = text.trim_start_matches('\u{feff}').trim();
        let strange = text.chars().filter(|c| *c == '\u{fffd}' || (c.is_control() && !c.is_whitespace())).count();
        let lower = text.to_ascii_lowercase();
        match text.chars().next() {
            None => Self::Empty,
            Some(_) if strange > text.len() / 10 => Self::Binary,
            Some('{' | '[') => Self::Json(glimpse(text)),
            Some('<') if lower.contains("<html") || lower.starts_with("<!doctype html") => {
                Self::WebPage(glimpse(&title(text, &lower)))
            }
            Some('<') if is_cut(&String::from_utf8_lossy(body)) => Self::CutXml,
            Some('<') => Self::OtherXml(glimpse(text)),
            Some(_) => Self::Text(glimpse(text)),
        }
    }
}

/// Whether a body is XML that breaks off. The SDK takes such an answer for a whole one that shows fewer things.
#[must_use]
pub fn breaks_off(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    text.trim_start_matches('\u{feff}').trim_start().starts_with('<') && is_cut(&text)
}

/// Whether the first element of an XML text is not closed.
fn is_cut(text: &str) -> bool {
    let mut elements = text.split('<').filter(|part| part.starts_with(|c: char| c.is_ascii_alphabetic()));
    let Some(name) = elements.next().and_then(|root| root.split([' ', '\t', '\r', '\n', '>', '/']).next()) else {
        return true;
    };
    let text = text.trim_end();
    let is_closed = text.ends_with(&format!("</{name}>")) || (text.ends_with("/>") && elements.next().is_none());
    !is_closed
}

/// The title of a web page, or else its words. `lower` is the page in lower case.
fn title(text: &str, lower: &str) -> String {
    let within = |start: &str, end: &str| {
        let from = lower.find(start)? + start.len();
        let to = from + lower[from..].find(end)?;
        Some(text[from..to].trim().to_owned()).filter(|title| !title.is_empty())
    };
    within("<title>", "</title>").or_else(|| within("<h1>", "</h1>")).unwrap_or_else(|| {
        // The tags are left out.
        text.split('<').filter_map(|part| part.split_once('>')).map(|(_, words)| words).collect::<Vec<_>>().join(" ")
    })
}

fn glimpse(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace(char::is_control, " ");
    let shown: String = text.chars().take(GLIMPSE).collect();
    if shown.len() < text.len() { shown + "..." } else { shown }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("with an empty body"),
            Self::WebPage(words) if words.is_empty() => f.write_str("with a web page"),
            Self::WebPage(words) => write!(f, "with the web page '{words}'"),
            Self::Json(text) => write!(f, "with JSON that begins with '{text}'"),
            Self::CutXml => f.write_str("with XML that breaks off"),
            Self::OtherXml(text) => write!(f, "with XML that begins with '{text}'"),
            Self::Compressed => f.write_str("with a compressed body, which nobody asked for"),
            Self::Text(text) => write!(f, "with text that begins with '{text}'"),
            Self::Binary => f.write_str("with a body that is no text"),
        }
    }
}

impl Stranger<'_> {
    /// Who may have sent the answer, by the status, the body and the way.
    fn sender(&self, form: &Form) -> &'static str {
        match (self.meant, self.proxy, form, self.status) {
            (_, _, _, 407) => "a proxy that wants a user and a password",
            (_, Some(_), Form::CutXml, _) => "the proxy, which cut AWS's answer off",
            (_, Some(_), ..) => "the proxy, or something behind it",
            (_, None, Form::CutXml, _) => "something on the way that cut AWS's answer off",
            (Meant::MetadataService, ..) => {
                "another service in the metadata service's place, as a container platform or kube2iam puts one there"
            }
            (_, _, Form::WebPage(_), 200..=399) => "a captive portal, or a web server at that address",
            (_, _, Form::WebPage(_), _) => "a transparent proxy or a load balancer on the way",
            (_, _, Form::Json(_), _) => "another service at that address",
            _ => "a transparent proxy, a load balancer or another service at that address",
        }
    }
}

impl fmt::Display for Stranger<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.meant {
            Meant::Ec2 => "EC2's",
            Meant::MetadataService => "the metadata service's",
        };
        let way = self.proxy.map_or("asked directly".to_owned(), |proxy| format!("asked through the proxy {proxy}"));
        let form = Form::of(self.body);
        let sender = self.sender(&form);
        let (asked, status) = (self.asked, self.status);
        write!(f, "{asked}, {way}, gave an answer that is none of {whose}: HTTP {status} {form}, as from {sender}")?;
        let named = [("server", self.server), ("via", self.via)];
        let named = named.into_iter().filter_map(|(name, value)| Some(format!("{name}: {}", glimpse(value?))));
        let named: Vec<_> = named.collect();
        if named.is_empty() { Ok(()) } else { write!(f, " ({})", named.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(meant: Meant, proxy: Option<&str>, status: u16, body: &[u8]) -> String {
        let asked = if meant == Meant::Ec2 { "ec2.eu-west-1.amazonaws.com" } else { "http://169.254.169.254" };
        Stranger { meant, asked, proxy, status, server: None, via: None, body }.to_string()
    }

    #[test]
    fn each_kind_of_answer_leads_to_its_sender() {
        let page = b"<!DOCTYPE html>\n<html><head><title>Welcome\n to Airport WiFi</title></head><body>x</body></html>";
        let denied = b"<html><body><h1>Access Denied</h1><p>by policy</p></body></html>";
        let cut = b"<?xml version=\"1.0\"?>\n<DescribeAddressesResponse xmlns=\"x\"><addressesSet><item>";
        let other = b"<?xml version=\"1.0\"?><Envelope><Body>hello</Body></Envelope>";
        let gzip = [0x1f, 0x8b, 8, 0, 0];
        let proxy = Some("http://proxy.example:3128");
        for (proxy, status, body, what, sender) in [
            (None, 200, &page[..], "HTTP 200 with the web page 'Welcome to Airport WiFi'", "a captive portal"),
            (None, 403, denied, "HTTP 403 with the web page 'Access Denied'", "a transparent proxy or a load balancer"),
            (proxy, 403, denied, "HTTP 403 with the web page 'Access Denied'", "the proxy, or something behind it"),
            (None, 407, b"", "HTTP 407 with an empty body", "a proxy that wants a user and a password"),
            (None, 200, b"", "HTTP 200 with an empty body", "a transparent proxy, a load balancer or another service"),
            (None, 200, b"{\"a\": 1}", "with JSON that begins with '{\"a\": 1}'", "another service at that address"),
            (None, 200, cut, "with XML that breaks off", "something on the way that cut AWS's answer off"),
            (proxy, 200, cut, "with XML that breaks off", "the proxy, which cut AWS's answer off"),
            (None, 200, other, "with XML that begins with '<?xml version", "another service at that address"),
            (None, 200, &gzip, "with a compressed body", "another service at that address"),
            (None, 502, b"upstream\nfailed", "with text that begins with 'upstream failed'", "a load balancer"),
            (None, 200, &[0, 1, 2, 3, 0xff, 0xfe], "with a body that is no text", "another service"),
            (None, 502, b"<html></html>", "HTTP 502 with a web page,", "a load balancer"),
        ] {
            let told = told(Meant::Ec2, proxy, status, body);
            let (found_what, found_sender) = told.split_once(", as from ").unwrap();
            assert!(format!("{found_what},").contains(what) && found_sender.contains(sender), "{told}");
        }
    }

    #[test]
    fn who_was_asked_and_by_which_way_is_named() {
        assert!(told(Meant::Ec2, None, 200, b"").starts_with("ec2.eu-west-1.amazonaws.com, asked directly, gave"));
        let through = told(Meant::Ec2, Some("http://10.0.0.7:3128"), 503, b"");
        assert!(through.contains("asked through the proxy http://10.0.0.7:3128, gave"), "{through}");
        let kube = told(Meant::MetadataService, None, 200, b"pod is not annotated");
        assert!(kube.starts_with("http://169.254.169.254, asked directly, gave"), "{kube}");
        assert!(kube.contains("none of the metadata service's") && kube.contains("kube2iam"), "{kube}");
        let named = Stranger {
            meant: Meant::Ec2,
            asked: "ec2",
            proxy: None,
            status: 503,
            server: Some("squid/5.7"),
            via: Some("1.1 edge"),
            body: b"",
        };
        assert!(named.to_string().ends_with(" (server: squid/5.7, via: 1.1 edge)"), "{named}");
    }

    #[test]
    fn an_answer_that_breaks_off_is_told_from_a_whole_one() {
        let whole = "<?xml version=\"1.0\"?>\n<AResponse xmlns=\"x\"><set/><b>1</b></AResponse>\n";
        for (body, cut) in [
            (whole, false),
            ("<AResponse/>", false),
            ("<AResponse><set/>", true),
            ("<AResponse><b>1</b", true),
            ("<?xml version=\"1.0\"?>", true),
            ("", false),
            ("{\"a\": 1}", false),
        ] {
            assert_eq!(breaks_off(body.as_bytes()), cut, "{body}");
        }
        let last = whole.trim_end().len();
        assert!((1..last).all(|end| breaks_off(&whole.as_bytes()[..end])), "wherever it breaks off");
    }

    #[test]
    fn a_long_answer_is_shown_in_part_and_on_one_line() {
        let long = format!("<html><title>{}</title></html>", "no\x1b[2J ".repeat(5000));
        let told = told(Meant::Ec2, None, 200, long.as_bytes());
        assert!(told.len() < 350 && !told.contains(char::is_control), "{told}");
    }
}
