//! The hook users, whose desired-state files count. A lookup may ask a server (LDAP, sssd) that does not answer, so each
//! user is looked up on a thread of its own. A user that takes long delays neither the loop nor the other users. A lookup
//! that does not end keeps its thread and is not repeated, so that threads do not pile up.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::parts::PartVoice;
use crate::error::one_line;
use crate::machine::trust::{SharedOwners, TrustedOwners, UserError};

/// The time after which a lookup counts as a problem.
const LATE: Duration = Duration::from_secs(2);
/// The pause before a user that was not found is looked up again.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(10);

/// Looks up a user's uid, and may take long.
pub type LookUp = Arc<dyn Fn(&str) -> Result<u32, UserError> + Send + Sync>;

/// The result of one lookup.
#[derive(Debug)]
pub struct FoundUser {
    name: String,
    uid: Result<u32, UserError>,
}

/// The hook users of a config, and how far they are known.
pub struct HookUsers {
    look_up: LookUp,
    tell: mpsc::UnboundedSender<FoundUser>,
    trusted: SharedOwners,
    voice: PartVoice,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    wanted: BTreeMap<String, User>,
    /// The lookups that have not ended, and when each began. Users that left the config are among them.
    under_way: BTreeMap<String, Instant>,
}

/// One configured user.
#[derive(Debug, Clone, Default)]
struct User {
    /// The uid that was found last. It stays while a later lookup fails or does not end.
    uid: Option<u32>,
    /// Why the last lookup failed.
    error: Option<String>,
    /// When the user is to be looked up again; `None` once the user was found.
    due: Option<Instant>,
}

impl HookUsers {
    /// Trusts root alone so far. The results of lookups come on the channel and belong into [`HookUsers::learn`].
    #[must_use]
    pub fn new(look_up: LookUp, trusted: SharedOwners, voice: PartVoice) -> (Self, mpsc::UnboundedReceiver<FoundUser>) {
        let (tell, found) = mpsc::unbounded_channel();
        trusted.replace(TrustedOwners::root());
        (Self { look_up, tell, trusted, voice, state: RefCell::default() }, found)
    }

    /// Wants these users from now on. All are looked up again, because users may have been added since. Users that were
    /// known before count meanwhile.
    pub fn want(&self, names: &[String]) {
        let mut state = self.state.borrow_mut();
        let before = std::mem::take(&mut state.wanted);
        let due = Some(Instant::now());
        let user = |name: &String| User { due, ..before.get(name).cloned().unwrap_or_default() };
        state.wanted = names.iter().map(|name| (name.clone(), user(name))).collect();
        drop(state);
        self.trust();
        self.keep();
    }

    /// Takes over the result of a lookup, and says whether other users are trusted now. A user whose lookup failed with
    /// an error other than "unknown" keeps the trust that he had.
    pub fn learn(&self, found: FoundUser) -> bool {
        let FoundUser { name, uid } = found;
        let mut state = self.state.borrow_mut();
        let began = state.under_way.remove(&name);
        if let Some(user) = state.wanted.get_mut(&name) {
            // The config may have asked for the user anew since the lookup began.
            let asked_anew = user.due.is_some_and(|due| began.is_some_and(|began| due > began));
            let next = if uid.is_ok() { None } else { Some(Instant::now() + LOOK_UP_AGAIN) };
            user.due = if asked_anew { user.due } else { next };
            user.error = uid.as_ref().err().map(|error| one_line(error));
            match uid {
                Ok(uid) => user.uid = Some(uid),
                Err(UserError::Unknown(_)) => user.uid = None,
                Err(UserError::Lookup { .. }) => {}
            }
        }
        drop(state);
        self.keep();
        self.trust()
    }

    /// Begins the lookups that are due, and tells of users that are missing or late. To be called each second or so.
    pub fn keep(&self) {
        let now = Instant::now();
        let mut state = self.state.borrow_mut();
        let State { wanted, under_way } = &mut *state;
        for (name, _) in wanted.iter().filter(|(_, user)| user.due.is_some_and(|due| due <= now)) {
            if !under_way.contains_key(name) && self.begin(name) {
                under_way.insert(name.clone(), now);
            }
        }
        let errors = wanted.values().filter_map(|user| user.error.clone());
        let is_late = |name: &String| under_way.get(name).is_some_and(|since| now > *since + LATE);
        let late: Vec<_> = wanted.keys().filter(|name| is_late(name)).map(String::as_str).collect();
        let late = (!late.is_empty()).then(|| {
            let names = late.join(", ");
            format!(
                "hook users are still being looked up ({names}): those who were known before count meanwhile, and root"
            )
        });
        let problems: Vec<_> = errors.chain(late).collect();
        self.voice.tell(if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) });
    }

    /// Whether all users have been looked up.
    #[must_use]
    pub fn all_answered(&self) -> bool {
        let state = self.state.borrow();
        state.wanted.keys().all(|name| !state.under_way.contains_key(name))
    }

    /// Starts the thread of one lookup. Says whether there is a thread; without one, the lookup stays due.
    fn begin(&self, name: &str) -> bool {
        let (look_up, tell, name) = (Arc::clone(&self.look_up), self.tell.clone(), name.to_owned());
        let thread = std::thread::Builder::new().name("user".to_owned());
        let started = thread.spawn(move || {
            let uid = look_up(&name);
            // The channel is closed only when the daemon ends.
            let _ = tell.send(FoundUser { name, uid });
        });
        started.is_ok()
    }

    /// Trusts root and the known users. Says whether that changed who is trusted.
    fn trust(&self) -> bool {
        let state = self.state.borrow();
        let uids = state.wanted.values().filter_map(|user| user.uid);
        let trusted = uids.fold(TrustedOwners::root(), TrustedOwners::with_uid);
        let changed = *self.trusted.get() != trusted;
        self.trusted.replace(trusted);
        changed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::problem::ProblemReason;
    use crate::wake::{self, Parts};

    /// The answers of a server. It answers one question at each message.
    struct Directory {
        questions: Receiver<()>,
        answer: Sender<Result<u32, UserError>>,
    }

    /// Users of whom `postgres` is in a file, and all others are in a directory that answers when it is told to.
    fn users() -> (HookUsers, mpsc::UnboundedReceiver<FoundUser>, Directory, SharedOwners, Parts) {
        let (ask, questions) = channel();
        let (answer, answers) = channel();
        let server = Mutex::new((ask, answers));
        let look_up = move |name: &str| {
            if name == "postgres" {
                return Ok(26);
            }
            let (ask, answers) = &*server.lock().unwrap();
            ask.send(()).unwrap();
            answers.recv().unwrap()
        };
        let (parts, trusted) = (Parts::default(), SharedOwners::from(TrustedOwners::root()));
        let voice = parts.voice(ProblemReason::HookUsers, wake::channel().0);
        let (users, found) = HookUsers::new(Arc::new(look_up), trusted.clone(), voice);
        (users, found, Directory { questions, answer }, trusted, parts)
    }

    #[tokio::test(start_paused = true)]
    async fn a_directory_that_does_not_answer_delays_no_other_user_and_is_asked_once() {
        let (users, mut found, directory, trusted, parts) = users();
        let names = ["ldap".to_owned(), "postgres".to_owned()];
        users.want(&names);
        assert!(users.learn(found.recv().await.unwrap()), "postgres counts at once");
        assert!(trusted.get().owns(26) && !users.all_answered());
        directory.questions.recv().unwrap();

        tokio::time::advance(LATE + Duration::from_secs(1)).await;
        users.keep();
        let late = "hook users are still being looked up (ldap): those who were known before count meanwhile, and root";
        assert_eq!(parts.changes(), [(ProblemReason::HookUsers, Err(late.to_owned()))]);

        // At a reload everybody is asked for again, and who was known counts meanwhile.
        for _ in 0..10 {
            users.want(&names);
            assert!(trusted.get().owns(26));
            assert!(!users.learn(found.recv().await.unwrap()));
        }
        assert!(directory.questions.try_recv().is_err(), "no second thread waits for the directory");

        directory.answer.send(Ok(1_000)).unwrap();
        assert!(users.learn(found.recv().await.unwrap()));
        assert!(trusted.get().owns(1_000) && trusted.get().owns(26));
        // The reload asked anew since, so the directory is asked once more.
        directory.answer.send(Ok(1_001)).unwrap();
        users.learn(found.recv().await.unwrap());
        assert!(trusted.get().owns(1_001) && !trusted.get().owns(1_000) && users.all_answered());
        assert_eq!(parts.changes(), [(ProblemReason::HookUsers, Ok(()))]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_lookup_takes_no_trust_away_and_is_repeated() {
        let (users, mut found, directory, trusted, parts) = users();
        users.want(&["ldap".to_owned()]);
        directory.answer.send(Ok(1_000)).unwrap();
        assert!(users.learn(found.recv().await.unwrap()));
        users.want(&["ldap".to_owned()]);
        let failed = UserError::Lookup { name: "ldap".to_owned(), message: "no route to host".to_owned() };
        directory.answer.send(Err(failed)).unwrap();
        assert!(!users.learn(found.recv().await.unwrap()));
        assert!(trusted.get().owns(1_000));
        let told = parts.changes();
        assert!(matches!(&told[..], [(_, Err(message))] if message.contains("no route to host")), "{told:?}");

        tokio::time::advance(LOOK_UP_AGAIN).await;
        users.keep();
        directory.answer.send(Err(UserError::Unknown("ldap".to_owned()))).unwrap();
        assert!(users.learn(found.recv().await.unwrap()), "he is gone");
        assert!(!trusted.get().owns(1_000));

        users.want(&[]);
        assert_eq!(parts.changes(), [(ProblemReason::HookUsers, Ok(()))]);
    }
}
