//! Host names of AWS that stay known while the resolver does not answer.
//!
//! A takeover opens connections, and must not wait for a name server that is gone. Every lookup asks the system's
//! resolver. If the resolver fails or dawdles, the addresses of its last answer serve. EC2's addresses stay in use for
//! long after a name server has last given them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use tokio::sync::watch;
use tokio::time::timeout;

/// The time that a lookup may take while addresses of an earlier answer are known. A resolver in the same VPC answers
/// within milliseconds.
const PATIENCE: Duration = Duration::from_millis(250);

/// The addresses of a name, or the reason why there are none.
type Answer = Result<Vec<IpAddr>, String>;
type Asking = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A resolver that remembers its last answer for each name.
#[derive(Clone)]
pub struct Remembering {
    ask: Arc<dyn Fn(String) -> Asking + Send + Sync>,
    names: Arc<Mutex<BTreeMap<String, Name>>>,
}

/// One name: the addresses of the last answer, and the lookup that runs now. A lookup can take half a minute and holds
/// a thread for that time, so there is one lookup for each name at most.
#[derive(Default)]
struct Name {
    addresses: Option<Vec<IpAddr>>,
    lookup: Option<watch::Receiver<Option<Answer>>>,
}

impl Remembering {
    /// The resolver of the system (getaddrinfo(3)).
    pub fn new() -> Self {
        Self::asking(|name| {
            Box::pin(async move {
                let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|error| error.to_string())?;
                Ok(found.map(|address| address.ip()).collect())
            })
        })
    }

    fn asking(ask: impl Fn(String) -> Asking + Send + Sync + 'static) -> Self {
        Self { ask: Arc::new(ask), names: Arc::default() }
    }

    async fn resolve(&self, name: &str) -> Answer {
        let (known, lookup) = self.look_up(name);
        match known {
            None => answer(lookup).await,
            Some(known) => match timeout(PATIENCE, answer(lookup)).await {
                Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
                Ok(_) | Err(_) => Ok(known),
            },
        }
    }

    /// The addresses that are known, and the lookup that runs or begins now.
    fn look_up(&self, name: &str) -> (Option<Vec<IpAddr>>, watch::Receiver<Option<Answer>>) {
        let mut names = self.names();
        let entry = names.entry(name.to_owned()).or_default();
        if let Some(lookup) = &entry.lookup {
            return (entry.addresses.clone(), lookup.clone());
        }
        let (tell, lookup) = watch::channel(None);
        entry.lookup = Some(lookup.clone());
        let (this, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            let answer = (this.ask)(name.clone()).await;
            this.keep(name, &answer);
            tell.send_replace(Some(answer));
        });
        (entry.addresses.clone(), lookup)
    }

    fn keep(&self, name: String, answer: &Answer) {
        let mut names = self.names();
        let entry = names.entry(name).or_default();
        entry.lookup = None;
        if let Ok(addresses) = answer
            && !addresses.is_empty()
        {
            entry.addresses = Some(addresses.clone());
        }
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<String, Name>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the end of a lookup.
async fn answer(mut lookup: watch::Receiver<Option<Answer>>) -> Answer {
    match lookup.wait_for(Option::is_some).await {
        Ok(answer) => answer.clone().unwrap_or_else(|| Ok(Vec::new())),
        Err(_) => Err("the lookup was given up".to_owned()),
    }
}

impl fmt::Debug for Remembering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembering").finish_non_exhaustive()
    }
}

impl ResolveDns for Remembering {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(
            async move { self.resolve(name).await.map_err(|why| ResolveDnsError::new(io::Error::other(why))) },
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::{Instant, sleep};

    use super::*;

    const NAME: &str = "ec2.eu-central-1.amazonaws.com";

    /// A resolver whose answers come in this order, each after a time, and how often it was asked.
    fn resolver(answers: Vec<(u64, Answer)>) -> (Remembering, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let remembering = Remembering::asking(move |_| {
            let (after_ms, answer) = answers[count.fetch_add(1, Ordering::Relaxed)].clone();
            Box::pin(async move {
                sleep(Duration::from_millis(after_ms)).await;
                answer
            })
        });
        (remembering, asked)
    }

    #[expect(clippy::unnecessary_wraps, reason = "the answer of a resolver")]
    fn at(last: u8) -> Answer {
        Ok(vec![IpAddr::from([10, 0, 0, last])])
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_does_not_answer_holds_nobody_up_who_knew_the_name_before() {
        let (resolver, asked) = resolver(vec![(1, at(1)), (20_000, at(2)), (1, at(3))]);
        assert_eq!(resolver.resolve(NAME).await, at(1));
        for _ in 0..5 {
            let began = Instant::now();
            assert_eq!(resolver.resolve(NAME).await, at(1));
            assert_eq!(began.elapsed(), PATIENCE);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2, "one lookup runs at a time");
        sleep(Duration::from_secs(20)).await;
        assert_eq!(resolver.names()[NAME].addresses, at(2).ok(), "a late answer counts");
        assert_eq!(resolver.resolve(NAME).await, at(3));
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_or_an_empty_answer_forgets_nothing() {
        let failed = || Err("temporary failure".to_owned());
        let (resolver, _) =
            resolver(vec![(1, failed()), (1, at(1)), (1, failed()), (1, Ok(Vec::new())), (1, failed())]);
        assert_eq!(resolver.resolve(NAME).await, failed(), "nothing is known yet");
        for _ in 0..4 {
            assert_eq!(resolver.resolve(NAME).await, at(1));
        }
    }
}
