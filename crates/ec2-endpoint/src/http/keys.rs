//! Access keys: whose they are. Signatures are not verified; a key that was never issued belongs to a caller of the
//! key's own name, so that a client needs no more than `AWS_ACCESS_KEY_ID=node-a`.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use hyper::HeaderMap;

use crate::{ApiError, Caller};

/// Temporary credentials.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: String,
    /// RFC 3339.
    pub expiration: String,
}

#[derive(Default)]
pub(crate) struct Keys {
    /// By access key id: whose it is, and until when, since the endpoint's start.
    owners: BTreeMap<String, (Caller, Option<Duration>)>,
    issued: u64,
}

impl Keys {
    pub fn insert(&mut self, access_key_id: String, caller: Caller) {
        self.owners.insert(access_key_id, (caller, None));
    }

    /// Makes credentials that last for a while from now on.
    pub fn issue(&mut self, now: Duration, caller: Caller, lifetime: Duration) -> Credentials {
        self.issued += 1;
        let access_key_id = format!("ASIA{:016}", self.issued);
        self.owners.insert(access_key_id.clone(), (caller, Some(now + lifetime)));
        Credentials {
            secret_access_key: format!("secret-of-{access_key_id}"),
            session_token: format!("token-of-{access_key_id}"),
            access_key_id,
            expiration: humantime::format_rfc3339_seconds(SystemTime::now() + lifetime).to_string(),
        }
    }

    /// Who made a request: its Authorization header (or query parameter) names the key in the credential scope.
    pub fn caller(&self, now: Duration, headers: &HeaderMap, query: Option<&str>) -> Result<Caller, Refused> {
        let header = headers.get(hyper::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let scope = header
            .and_then(|header| header.split_once("Credential=").map(|(_, scope)| scope))
            .or(query)
            .ok_or(Refused::Anonymous)?;
        let key = scope.split('/').next().filter(|key| !key.is_empty()).ok_or(Refused::Anonymous)?;
        match self.owners.get(key) {
            Some((_, Some(until))) if *until <= now => Err(Refused::Expired),
            Some((caller, _)) => Ok(caller.clone()),
            None => Ok(Caller::named(key)),
        }
    }
}

/// Why nobody made a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Anonymous,
    Expired,
}

impl Refused {
    /// EC2 API reference, "Error codes"; STS spells the second one in its own way.
    pub fn error(self, is_sts: bool) -> ApiError {
        match self {
            Self::Anonymous => {
                ApiError::new(403, "MissingAuthenticationToken", "The request must contain valid credentials.")
            }
            Self::Expired if is_sts => {
                ApiError::new(403, "ExpiredToken", "The security token included in the request is expired")
            }
            Self::Expired => ApiError::client("RequestExpired", "Request has expired."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(keys: &Keys, now: Duration, authorization: Option<&str>) -> Result<Caller, Refused> {
        let mut headers = HeaderMap::new();
        if let Some(authorization) = authorization {
            headers.insert(hyper::header::AUTHORIZATION, authorization.parse().unwrap());
        }
        keys.caller(now, &headers, None)
    }

    #[test]
    fn a_key_is_its_owner_s_until_it_expires() {
        let mut keys = Keys::default();
        let second = Duration::from_secs(1);
        let issued = keys.issue(second, Caller::named("node-a"), second * 10).access_key_id;
        let header = format!("AWS4-HMAC-SHA256 Credential={issued}/20300101/us-east-1/ec2/aws4_request");
        assert_eq!(caller(&keys, second * 10, Some(&header)), Ok(Caller::named("node-a")));
        assert_eq!(caller(&keys, second * 11, Some(&header)), Err(Refused::Expired));
        assert_eq!(Refused::Expired.error(false).code, "RequestExpired");
        assert_eq!(Refused::Expired.error(true).code, "ExpiredToken");
    }

    #[test]
    fn without_a_key_nobody_calls() {
        let keys = Keys::default();
        for header in [None, Some("Basic eDp5"), Some("AWS4-HMAC-SHA256 Credential=/20300101")] {
            assert_eq!(caller(&keys, Duration::ZERO, header), Err(Refused::Anonymous), "{header:?}");
        }
    }
}
