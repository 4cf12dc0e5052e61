//! The names in an X.509 certificate (RFC 5280): whose it is and who issued it. Nothing is verified here. The names are
//! for people who must find out who is in between when a certificate is not trusted.

use std::fmt;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const BMP_STRING: u8 = 0x1e;
/// The tag of the optional version number.
const VERSION: u8 = 0xa0;
/// The object ids of the common name and of the organization.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

/// The names in one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub subject: String,
    pub issuer: String,
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the certificate that came is of '{}', issued by '{}'", self.subject, self.issuer)
    }
}

/// Reads the names in a certificate in DER form; `None` if it cannot be read.
#[must_use]
pub fn names(der: &[u8]) -> Option<Names> {
    let certificate = Element::first(der)?.within(SEQUENCE)?;
    let mut rest = Element::first(certificate)?.within(SEQUENCE)?;
    let mut next = || {
        let element = Element::first(rest)?;
        rest = element.rest;
        Some(element)
    };
    let first = next()?;
    let _serial = if first.tag == VERSION { next()? } else { first };
    let _algorithm = next()?;
    let issuer = next()?.within(SEQUENCE)?;
    let _validity = next()?;
    let subject = next()?.within(SEQUENCE)?;
    Some(Names { subject: name(subject), issuer: name(issuer) })
}

/// The common name, and the organization behind it in brackets.
fn name(parts: &[u8]) -> String {
    let find = |wanted: &[u8]| {
        all(parts).filter_map(|set| set.within(SET)).flat_map(all).filter_map(|pair| pair.within(SEQUENCE)).find_map(
            |pair| {
                let id = Element::first(pair)?;
                let value = Element::first(id.rest)?;
                (id.within(OBJECT_ID)? == wanted).then(|| value.text())
            },
        )
    };
    match (find(COMMON_NAME), find(ORGANIZATION)) {
        (Some(name), Some(organization)) => format!("{name} ({organization})"),
        (Some(name), None) | (None, Some(name)) => name,
        (None, None) => "nobody".to_owned(),
    }
}

/// One element of DER: a tag, its content, and everything behind it.
#[derive(Clone, Copy)]
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

fn all(der: &[u8]) -> impl Iterator<Item = Element<'_>> {
    std::iter::successors(Element::first(der), |element| Element::first(element.rest))
}

impl<'a> Element<'a> {
    fn first(der: &'a [u8]) -> Option<Self> {
        let (&tag, rest) = der.split_first()?;
        let (&length, mut rest) = rest.split_first()?;
        let mut length = usize::from(length);
        // In the long form, the lower seven bits count the bytes of the length.
        if length >= 0x80 {
            let (bytes, after) = rest.split_at_checked(length & 0x7f).filter(|(bytes, _)| bytes.len() <= 4)?;
            length = bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte));
            rest = after;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        Some(Self { tag, content, rest })
    }

    fn within(self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.content)
    }

    fn text(self) -> String {
        if self.tag == BMP_STRING {
            let units: Vec<_> =
                self.content.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            return String::from_utf16_lossy(&units);
        }
        String::from_utf8_lossy(self.content).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate of `ec2.eu-west-1.amazonaws.com` by a CA that no system trusts.
    const EXAMPLE: &[u8] = include_bytes!("certificate/example.der");

    #[test]
    fn the_subject_and_the_issuer_are_read() {
        assert_eq!(
            names(EXAMPLE).unwrap().to_string(),
            "the certificate that came is of 'ec2.eu-west-1.amazonaws.com (Example)', issued by 'Example Interception CA \
             (Example Proxy Inc.)'"
        );
    }

    #[test]
    fn whatever_comes_is_read_or_not_and_never_ends_the_program() {
        for end in 0..EXAMPLE.len() {
            assert_eq!(names(&EXAMPLE[..end]), None, "cut at {end}");
        }
        for place in 0..EXAMPLE.len() {
            let mut torn = EXAMPLE.to_vec();
            torn[place] = 0xff;
            let _ = names(&torn);
        }
        assert_eq!(names(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
