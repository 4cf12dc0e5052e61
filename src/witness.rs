//! The witness: what Pgpool's own watchdog says of this node, asked on its local socket; and what follows when that
//! contradicts the desired-state file.
//!
//! The protocol is that of Pgpool's `src/watchdog/wd_ipc_*.c` (4.2 to 4.7): one type byte, four bytes of length in
//! network order, JSON; the same back. Who answers is checked by the kernel's word on the other end of the socket, not by
//! where the socket lies: anybody may make a socket in `/tmp`.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::Access;
use rustix::io::Errno;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::config::WitnessMode;
use crate::desired::trust::SharedOwners;
use crate::desired::{Claim, Desired, WhyStandby, WhyUnknown};
use crate::error::one_line;
use crate::ids::ClaimId;
use crate::observed::{Moment, Witness};

/// A hook takes a moment between Pgpool's decision and its file: a contradiction counts after this long.
pub const CONTRADICTION: Duration = Duration::from_secs(10);

/// How long the watchdog may take to answer. It stands still while a hook runs in its main loop.
const PATIENCE: Duration = Duration::from_secs(1);
/// An answer lists some nodes; more than this is no answer.
const LONGEST_ANSWER: usize = 1 << 20;

/// `WD_GET_NODES_LIST_COMMAND` and the two answers that matter (wd_ipc_defines.h).
const LIST_NODES: u8 = b'3';
const OK: u8 = b'7';

/// Where Pgpool puts its socket: its packages' folders, and what a build from source takes.
const FOLDERS: [&str; 4] = ["/run/pgpool", "/run/postgresql", "/var/run/pgpool", "/tmp"];
const DEFAULT_PORT: u16 = 9000;

/// How to ask the watchdog.
#[derive(Debug, Clone)]
pub struct Watchdog {
    /// `None`: looked for where Pgpool's packages and its sources put it.
    socket: Option<PathBuf>,
    auth_key: Option<String>,
    trusted: SharedOwners,
}

/// What the watchdog said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// This node holds the VIP, by Pgpool's own account.
    pub escalated: bool,
    /// The addresses that this Pgpool is about.
    pub delegate_ips: BTreeSet<IpAddr>,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    Word(Word),
    /// The desired-state file alone decides.
    Nobody(Nobody),
    /// There is a watchdog, and it gave no word: why.
    Unheard(String),
}

/// Why there is nobody to ask, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Nobody {
    #[error("{}", no_socket(.0))]
    NoSocket(Vec<PathBuf>),
    /// Pgpool gives the socket the permissions that its umask leaves: with the usual 022 only its own user may connect.
    #[error(
        "the socket {} of Pgpool's watchdog is not for this user: give Pgpool's unit UMask=0002 and vipkeeper's unit \
         SupplementaryGroups= with the socket's group; or set witness = \"off\"", .0.display()
    )]
    NotPermitted(PathBuf),
    #[error("nobody answers at {}: Pgpool's watchdog is not running", .0.display())]
    NotRunning(PathBuf),
}

fn no_socket(places: &[PathBuf]) -> String {
    if places.is_empty() {
        return "there is no Pgpool whose watchdog could be asked".to_owned();
    }
    let places = places.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ");
    format!("Pgpool's watchdog has no socket {places}; [pgpool] watchdog_socket names another one")
}

/// Why there is no word.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("cannot ask Pgpool's watchdog at {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the socket {} is served by uid {uid}, which is neither root nor one of hook_users", path.display())]
    Stranger { path: PathBuf, uid: u32 },
    #[error("Pgpool's watchdog did not answer within {PATIENCE:?}")]
    TooLate,
    #[error("Pgpool's watchdog refused to answer (type '{0}'): is the key that pgpool.conf has as wd_authkey set?")]
    Refused(char),
    #[error("Pgpool's watchdog gave an answer that makes no sense: {0}")]
    Unclear(String),
}

impl Watchdog {
    /// Asks nothing yet. Only a Pgpool that runs as one of `trusted` is believed.
    #[must_use]
    pub fn new(socket: Option<PathBuf>, auth_key: Option<String>, trusted: impl Into<SharedOwners>) -> Self {
        Self { socket, auth_key, trusted: trusted.into() }
    }

    /// Where the socket may be.
    fn places(&self) -> Vec<PathBuf> {
        let usual = || FOLDERS.map(|folder| PathBuf::from(folder).join(format!(".s.PGPOOLWD_CMD.{DEFAULT_PORT}")));
        self.socket.clone().map_or_else(|| usual().to_vec(), |path| vec![path])
    }

    /// The socket, if there is one.
    fn path(&self) -> Option<PathBuf> {
        self.places().into_iter().find(|path| path.exists())
    }

    /// Asks, and says why if there is nobody to ask.
    pub async fn consult(&self) -> Asked {
        match self.ask().await {
            Ok(Some(word)) => Asked::Word(word),
            Ok(None) => Asked::Nobody(self.why_nobody()),
            Err(error) => Asked::Unheard(one_line(&error)),
        }
    }

    fn why_nobody(&self) -> Nobody {
        match self.path() {
            None => Nobody::NoSocket(self.places()),
            Some(path) if rustix::fs::access(&path, Access::WRITE_OK) == Err(Errno::ACCESS) => {
                Nobody::NotPermitted(path)
            }
            Some(path) => Nobody::NotRunning(path),
        }
    }

    /// Asks; `None` where there is no socket to ask at, or where it is not for this user: Pgpool's own user alone may
    /// write to its socket, and whoever runs the daemon as another goes without a witness.
    ///
    /// # Errors
    /// Why there is no word although there is a socket.
    pub async fn ask(&self) -> Result<Option<Word>, AskError> {
        let Some(path) = self.path() else { return Ok(None) };
        match tokio::time::timeout(PATIENCE, self.ask_at(path)).await {
            Ok(Err(AskError::Io { source, .. })) if is_nobody(source.kind()) => Ok(None),
            Ok(word) => word.map(Some),
            Err(_) => Err(AskError::TooLate),
        }
    }

    async fn ask_at(&self, path: PathBuf) -> Result<Word, AskError> {
        let io = |source| AskError::Io { path: path.clone(), source };
        let mut stream = UnixStream::connect(&path).await.map_err(io)?;
        let uid = stream.peer_cred().map_err(io)?.uid();
        if !self.trusted.get().owns(uid) {
            return Err(AskError::Stranger { path, uid });
        }
        let mut question = json!({ "NodeID": -1 });
        if let Some(key) = &self.auth_key {
            question["IPCAuthKey"] = json!(key);
        }
        let body = question.to_string();
        let length = u32::try_from(body.len()).map_err(|_| AskError::Unclear("the key is too long".to_owned()))?;
        let mut request = vec![LIST_NODES];
        request.extend(length.to_be_bytes());
        request.extend(body.as_bytes());
        stream.write_all(&request).await.map_err(io)?;
        let mut head = [0; 5];
        stream.read_exact(&mut head).await.map_err(io)?;
        let [kind, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > LONGEST_ANSWER {
            return Err(AskError::Unclear(format!("it announces {length} bytes")));
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).await.map_err(io)?;
        if kind != OK {
            return Err(AskError::Refused(char::from(kind)));
        }
        Word::parse(&answer)
    }
}

/// Not for this user, or the socket that a dead Pgpool left behind.
fn is_nobody(error: io::ErrorKind) -> bool {
    matches!(error, io::ErrorKind::PermissionDenied | io::ErrorKind::ConnectionRefused)
}

impl Word {
    fn parse(answer: &[u8]) -> Result<Self, AskError> {
        // Pgpool ends its JSON with a zero byte in some versions.
        let text = answer.strip_suffix(&[0]).unwrap_or(answer);
        let answer: Value = serde_json::from_slice(text).map_err(|error| AskError::Unclear(error.to_string()))?;
        let escalated = match &answer["Escalated"] {
            Value::Bool(escalated) => *escalated,
            number => match number.as_i64() {
                Some(number) => number != 0,
                None => return Err(AskError::Unclear("it has no Escalated".to_owned())),
            },
        };
        let nodes = answer["WatchdogNodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let delegate_ips = nodes.iter().filter_map(|node| node["DelegateIP"].as_str()?.parse().ok()).collect();
        Ok(Self { escalated, delegate_ips })
    }

    /// What it says of one VIP: nothing if this Pgpool is about another.
    #[must_use]
    pub fn on(&self, delegate_ip: IpAddr) -> Witness {
        match self.delegate_ips.contains(&delegate_ip) {
            false => Witness::Silent,
            true if self.escalated => Witness::Escalated,
            true => Witness::NotEscalated,
        }
    }
}

/// The watchdog's word, and when it was given. It is kept until the watchdog is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub word: Witness,
    pub at: Moment,
}

/// A contradiction between file and watchdog, and since when it lasts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Contradiction {
    /// The watchdog's word; the file says the opposite, or nothing.
    escalated: bool,
    /// What the file says. If that changes a hook has come, and begins anew. `None` while it is remembered only that it
    /// does not say leader.
    file: Option<Desired>,
    since: Moment,
    /// Until when the watchdog's word stood.
    stood: Moment,
    /// The watchdog gave it again when it had lasted for long enough to count.
    lasts: bool,
    /// The wall clock at its beginning: milliseconds since the Unix epoch.
    since_ms: u64,
    /// It lasted already when the daemon was restarted, and the watchdog was not asked since.
    is_remembered: bool,
}

/// How the claims begin that follow from the watchdog's word.
const CLAIM_PREFIX: &str = "watchdog-";

impl Contradiction {
    /// One on which an earlier daemon acted: it began this claim, or ended it.
    #[must_use]
    pub fn remembered(claim: &ClaimId, started_ms: u64, now: Moment) -> Self {
        let escalated = claim.as_str().starts_with(CLAIM_PREFIX);
        Self {
            escalated,
            file: (!escalated).then(|| Desired::Leader(Claim { id: claim.clone(), started_ms })),
            since: now,
            stood: now,
            lasts: true,
            since_ms: started_ms,
            is_remembered: true,
        }
    }

    /// Whether it is about this file.
    fn is_about(&self, desired: &Desired) -> bool {
        self.file.as_ref().map_or(!matches!(desired, Desired::Leader(_)), |file| file == desired)
    }

    /// Whether it still does without a new word: for a while, and for as long as nobody could be asked yet.
    fn counts(&self, heard: Heard, now: Moment) -> bool {
        now < self.stood + CONTRADICTION || (self.is_remembered && heard.at.is_zero())
    }

    /// What an operator reads.
    #[must_use]
    pub fn message(&self) -> &'static str {
        if self.escalated {
            "Pgpool's watchdog says that this node holds the VIP, but no `up` has come"
        } else {
            "Pgpool's watchdog says that this node does not hold the VIP, but no `down` has come"
        }
    }
}

/// What file and watchdog come to together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub desired: Desired,
    /// They have contradicted each other for too long: a hook was lost.
    pub hook_lost: bool,
}

/// Weighs the file against the watchdog's word. The word is acted upon only in mode `trust`; a contradiction that lasts
/// is told in mode `check` as well.
#[must_use]
pub fn judge(
    mode: WitnessMode,
    desired: &Desired,
    heard: Heard,
    memory: &mut Option<Contradiction>,
    now: Moment,
    wall_ms: u64,
) -> Judgement {
    let contradicts = match (heard.word, desired) {
        (Witness::Escalated, Desired::Unknown(_) | Desired::Standby(_)) => Some(true),
        (Witness::NotEscalated, Desired::Leader(_)) => Some(false),
        // An unknown role that the watchdog does not contradict needs no hook: nobody has called one yet.
        (Witness::NotEscalated, Desired::Unknown(_) | Desired::Standby(_))
        | (Witness::Escalated, Desired::Leader(_)) => None,
        // No word is no news for a while: a watchdog that runs a hook stands still. One that is gone contradicts nothing.
        (Witness::Silent | Witness::Asking | Witness::Unheard, _) => memory
            .as_ref()
            .filter(|before| before.is_about(desired) && before.counts(heard, now))
            .map(|before| before.escalated),
    };
    let stands = matches!(heard.word, Witness::Escalated | Witness::NotEscalated);
    let before = memory.take().filter(|before| before.is_about(desired));
    *memory = contradicts.map(|escalated| match before {
        Some(before) if before.escalated == escalated && stands => Contradiction {
            file: Some(desired.clone()),
            stood: now,
            // What the watchdog said at the beginning says nothing of how long that lasts: it may be dead since.
            lasts: before.lasts || heard.at >= before.since + CONTRADICTION,
            is_remembered: false,
            ..before
        },
        Some(before) if before.escalated == escalated => before,
        _ => Contradiction {
            escalated,
            file: Some(desired.clone()),
            since: now,
            stood: now,
            lasts: false,
            since_ms: wall_ms,
            is_remembered: false,
        },
    });
    let lasting = memory.as_ref().filter(|contradiction| mode != WitnessMode::Off && contradiction.lasts);
    let desired = match lasting {
        Some(Contradiction { is_remembered: true, .. }) if mode == WitnessMode::Trust => {
            Desired::Unknown(WhyUnknown::NotAskedSince)
        }
        // A claim of its own: the hook that should have begun one never came.
        Some(Contradiction { escalated: true, since_ms, .. }) if mode == WitnessMode::Trust => {
            Desired::Leader(Claim { id: ClaimId::new(format!("{CLAIM_PREFIX}{since_ms}")), started_ms: *since_ms })
        }
        Some(_) if mode == WitnessMode::Trust => Desired::Standby(WhyStandby::Watchdog),
        _ => desired.clone(),
    };
    Judgement { desired, hook_lost: lasting.is_some() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::trust::TrustedOwners;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn leader() -> Desired {
        Desired::Leader(Claim { id: ClaimId::new("c1"), started_ms: 5 })
    }

    /// An answer, to be weighed at once.
    fn said(word: Witness, at_s: u64) -> Heard {
        Heard { word, at: S(at_s) }
    }

    #[test]
    fn a_short_contradiction_is_a_hook_on_its_way() {
        let mut memory = None;
        let judged = judge(WitnessMode::Trust, &leader(), said(Witness::NotEscalated, 100), &mut memory, S(100), 0);
        assert_eq!(judged, Judgement { desired: leader(), hook_lost: false });
        let judged = judge(WitnessMode::Trust, &leader(), said(Witness::Escalated, 105), &mut memory, S(105), 0);
        assert_eq!(judged, Judgement { desired: leader(), hook_lost: false });
        assert_eq!(memory, None, "the next one begins anew");
    }

    #[test]
    fn a_lasting_contradiction_is_a_lost_hook_and_acted_upon_only_in_mode_trust() {
        for (mode, lost, desired) in [
            (WitnessMode::Off, false, leader()),
            (WitnessMode::Check, true, leader()),
            (WitnessMode::Trust, true, Desired::Standby(WhyStandby::Watchdog)),
        ] {
            let mut memory = None;
            let _ = judge(mode, &leader(), said(Witness::NotEscalated, 100), &mut memory, S(100), 0);
            // A watchdog that is busy for a moment does not end it.
            let _ = judge(mode, &leader(), said(Witness::Silent, 105), &mut memory, S(105), 0);
            let judged = judge(mode, &leader(), said(Witness::NotEscalated, 110), &mut memory, S(110), 0);
            assert_eq!(judged, Judgement { desired, hook_lost: lost }, "{mode:?}");
        }
    }

    #[test]
    fn a_watchdog_that_is_escalated_without_a_hook_begins_one_claim_and_keeps_it() {
        let nothing = Desired::Unknown(WhyUnknown::NoFile);
        let mut memory = None;
        let _ = judge(WitnessMode::Trust, &nothing, said(Witness::Escalated, 100), &mut memory, S(100), 7_000);
        let first = judge(WitnessMode::Trust, &nothing, said(Witness::Escalated, 110), &mut memory, S(110), 17_000);
        let later = judge(WitnessMode::Trust, &nothing, said(Witness::Escalated, 300), &mut memory, S(300), 207_000);
        assert_eq!(first, later);
        let claim = Claim { id: ClaimId::new("watchdog-7000"), started_ms: 7_000 };
        assert_eq!(first, Judgement { desired: Desired::Leader(claim), hook_lost: true });
    }

    #[test]
    fn a_watchdog_that_is_gone_contradicts_nothing_for_long() {
        let nothing = Desired::Unknown(WhyUnknown::NoFile);
        let mut memory = None;
        let _ = judge(WitnessMode::Trust, &nothing, said(Witness::Escalated, 100), &mut memory, S(100), 7_000);
        let _ = judge(WitnessMode::Trust, &nothing, said(Witness::Escalated, 110), &mut memory, S(110), 17_000);
        let busy = judge(WitnessMode::Trust, &nothing, said(Witness::Silent, 119), &mut memory, S(119), 26_000);
        assert!(busy.hook_lost);
        let gone = judge(WitnessMode::Trust, &nothing, said(Witness::Silent, 120), &mut memory, S(120), 27_000);
        assert_eq!(gone, Judgement { desired: nothing, hook_lost: false });
    }

    #[test]
    fn the_last_word_of_a_watchdog_that_died_is_no_lost_hook() {
        let dead = Desired::Standby(WhyStandby::GuardDead);
        let mut memory = None;
        let before_it_died = said(Witness::Escalated, 95);
        let _ = judge(WitnessMode::Trust, &dead, before_it_died, &mut memory, S(100), 7_000);
        let _ = judge(WitnessMode::Trust, &dead, before_it_died, &mut memory, S(101), 8_000);
        for now in 102..112 {
            let judged = judge(WitnessMode::Trust, &dead, said(Witness::Silent, now), &mut memory, S(now), 9_000);
            assert_eq!(judged, Judgement { desired: dead.clone(), hook_lost: false }, "at {now} s");
        }
    }

    #[test]
    fn what_an_earlier_daemon_did_on_the_watchdogs_word_stands_until_it_is_asked_and_no_hook_waits_for_that() {
        let unasked = || Heard { word: Witness::Silent, at: Moment::ZERO };
        let judged = |desired: &Desired, heard, memory: &mut Option<Contradiction>, now| {
            judge(WitnessMode::Trust, desired, heard, memory, S(now), 9_000).desired
        };
        let (down, held_back) = (Desired::Standby(WhyStandby::Down), Desired::Unknown(WhyUnknown::NotAskedSince));
        let began = || Some(Contradiction::remembered(&ClaimId::new("watchdog-7000"), 7_000, S(0)));
        let mut memory = began();
        assert_eq!(judged(&down, unasked(), &mut memory, 60), held_back, "however long that takes");
        let claim = Claim { id: ClaimId::new("watchdog-7000"), started_ms: 7_000 };
        assert_eq!(judged(&down, said(Witness::Escalated, 61), &mut memory, 61), Desired::Leader(claim));
        assert_eq!(judged(&down, said(Witness::NotEscalated, 62), &mut began(), 62), down);
        assert_eq!(judged(&down, said(Witness::Silent, 62), &mut began(), 62), down, "Pgpool is gone");
        assert_eq!(judged(&leader(), unasked(), &mut began(), 1), leader(), "its `up` came after all");

        let ended = || Some(Contradiction::remembered(&ClaimId::new("c1"), 5, S(0)));
        assert_eq!(judged(&leader(), unasked(), &mut ended(), 60), held_back);
        let watchdog = Desired::Standby(WhyStandby::Watchdog);
        assert_eq!(judged(&leader(), said(Witness::NotEscalated, 1), &mut ended(), 1), watchdog);
        assert_eq!(judged(&leader(), said(Witness::Escalated, 1), &mut ended(), 1), leader());
        let anew = Desired::Leader(Claim { id: ClaimId::new("c2"), started_ms: 8_000 });
        assert_eq!(judged(&anew, unasked(), &mut ended(), 1), anew, "the next `up`");
        let checked = judge(WitnessMode::Check, &down, unasked(), &mut began(), S(1), 9_000);
        assert_eq!(checked.desired, down, "trusted no more");
    }

    #[tokio::test]
    async fn a_socket_that_a_killed_pgpool_left_behind_is_nobody_to_ask() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let watchdog = Watchdog::new(Some(path), None, TrustedOwners::root());
        assert_eq!(watchdog.ask().await.unwrap(), None);
    }

    #[tokio::test]
    async fn who_cannot_be_asked_is_said_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let watchdog = Watchdog::new(Some(path.clone()), None, TrustedOwners::root());
        assert_eq!(watchdog.consult().await, Asked::Nobody(Nobody::NoSocket(vec![path.clone()])));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        // What Pgpool's usual umask leaves.
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        drop(listener);
        assert_eq!(watchdog.consult().await, Asked::Nobody(Nobody::NotRunning(path.clone())));
        let said = Nobody::NotPermitted(path).to_string();
        assert!(said.contains("UMask=0002") && said.contains("SupplementaryGroups="), "{said}");
        assert_eq!(
            Nobody::NoSocket(Vec::new()).to_string(),
            "there is no Pgpool whose watchdog could be asked",
            "as in the demo"
        );
        let unnamed = Watchdog::new(None, None, TrustedOwners::root());
        assert!(unnamed.places().len() == FOLDERS.len());
    }

    #[test]
    fn a_word_is_about_the_addresses_of_its_own_pgpool() {
        let answer = br#"{"Escalated":1,"QuorumStatus":1,"WatchdogNodes":[{"ID":0,"DelegateIP":"20.0.0.50"}]}"#;
        let word = Word::parse(answer).unwrap();
        assert_eq!(word.on("20.0.0.50".parse().unwrap()), Witness::Escalated);
        assert_eq!(word.on("20.0.0.51".parse().unwrap()), Witness::Silent);
        let word = Word::parse(b"{\"Escalated\":false,\"WatchdogNodes\":[{\"DelegateIP\":\"20.0.0.50\"}]}\0").unwrap();
        assert_eq!(word.on("20.0.0.50".parse().unwrap()), Witness::NotEscalated);
        for nonsense in [&b""[..], b"[]", b"{}", b"{\"Escalated\":\"yes\"}"] {
            assert!(Word::parse(nonsense).is_err(), "{nonsense:?}");
        }
    }
}
