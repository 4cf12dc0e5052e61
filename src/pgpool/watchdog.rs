//! The word of Pgpool's own watchdog on this node's role, asked on the watchdog's local socket.
//!
//! The protocol is Pgpool's own, `src/watchdog/wd_ipc_*.c` (4.2 to 4.7): one type byte, four bytes of length in network
//! order, and JSON. The answer has the same form. The kernel tells which user is at the other end of the socket, and
//! only that user counts. The socket's place proves nothing, because anybody may make a socket in `/tmp`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::config::Pgpool;
use crate::error::one_line;
use crate::machine::trust::SharedOwners;
use crate::machine::whole_file;
use crate::observe::seen::{Quorum, Witness};

/// The longest time for the watchdog's answer. The watchdog stands still while a hook runs in its main loop.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// The time that the other places have after the first answer. A watchdog answers within a millisecond.
const TIME_FOR_OTHERS: Duration = Duration::from_millis(50);
/// The longest answer, in bytes. A true answer lists some nodes and is shorter.
const LONGEST_ANSWER: usize = 1 << 20;

/// The longest key file that is read, in bytes. A longer file holds something other than a key.
const LONGEST_KEY: u64 = 4096;

/// `WD_GET_NODES_LIST_COMMAND`, and below it the type of an answer that succeeded (wd_ipc_defines.h).
const LIST_NODES: u8 = b'3';
const OK: u8 = b'7';

/// The folders where Pgpool puts its socket: those of its packages, and the folder that a build from source uses.
const FOLDERS: [&str; 4] = ["/run/pgpool", "/run/postgresql", "/var/run/pgpool", "/tmp"];
const DEFAULT_PORT: u16 = 9000;

/// The way to ask the watchdog.
#[derive(Debug, Clone)]
pub struct Watchdog {
    /// The possible paths of the socket.
    places: Vec<PathBuf>,
    /// The place of the key.
    config: Pgpool,
    key: RefCell<Key>,
    trusted: SharedOwners,
}

/// The key as it was read last.
#[derive(Debug, Clone, Default)]
struct Key {
    value: Option<String>,
    /// A text that says what is wrong with the key's file.
    problem: Option<String>,
}

/// The watchdog's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Pgpool says that this node holds the VIP.
    pub escalated: bool,
    /// The delegate IPs of this Pgpool.
    pub delegate_ips: BTreeSet<IpAddr>,
    /// `None` if the watchdog says nothing of a quorum.
    pub quorum: Option<Quorum>,
}

/// The outcome of a question to the watchdog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    Word(Word),
    /// There is nobody to ask, so the desired-state file alone decides.
    Nobody(Nobody),
    /// There is a watchdog, and it took no question or gave no answer in time. The text tells which.
    NoAnswer(String),
    /// There is a watchdog, and what it gave is no word of its. The text tells why.
    Unheard(String),
}

impl Asked {
    /// The outcome for one VIP.
    #[must_use]
    pub fn on(&self, delegate_ip: IpAddr) -> Witness {
        match self {
            Self::Word(word) => word.on(delegate_ip),
            Self::Nobody(_) => Witness::Silent,
            Self::NoAnswer(_) | Self::Unheard(_) => Witness::Unheard,
        }
    }

    /// The word on the quorum of the watchdog that keeps this VIP; `None` if there is none.
    #[must_use]
    pub fn quorum(&self, delegate_ip: IpAddr) -> Option<Quorum> {
        match self {
            Self::Word(word) if word.delegate_ips.contains(&delegate_ip) => word.quorum,
            Self::Word(_) | Self::Nobody(_) | Self::NoAnswer(_) | Self::Unheard(_) => None,
        }
    }
}

/// The reason why there is nobody to ask. Its text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Nobody {
    #[error("{}", no_socket(.0))]
    NoSocket(Vec<PathBuf>),
    /// Pgpool's umask decides the socket's permissions. With the usual umask 022, only Pgpool's own user may connect.
    #[error(
        "the socket {} of Pgpool's watchdog is not for this user: give Pgpool's unit UMask=0002 and vipkeeper's unit \
         SupplementaryGroups= with the socket's group; or set witness = \"off\"", .0.display()
    )]
    NotPermitted(PathBuf),
    #[error("nobody answers at {}: Pgpool's watchdog is not running", .0.display())]
    NotRunning(PathBuf),
    /// Anybody may make a socket in `/tmp`, so a stranger's answer counts for nothing, and so does a stranger's
    /// silence.
    #[error("the socket {} belongs to uid {uid}, which is neither root nor one of hook_users", path.display())]
    Stranger { path: PathBuf, uid: u32 },
}

fn no_socket(places: &[PathBuf]) -> String {
    if places.is_empty() {
        return "there is no Pgpool whose watchdog could be asked".to_owned();
    }
    let places = places.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ");
    format!("Pgpool's watchdog has no socket {places}; [pgpool] watchdog_socket names another one")
}

/// The reason why the watchdog gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("cannot ask Pgpool's watchdog at {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("Pgpool's watchdog accepts no connection at {}, because its queue is full: Pgpool hangs", .0.display())]
    QueueFull(PathBuf),
    #[error("Pgpool's watchdog did not answer within {PATIENCE:?}: Pgpool hangs, or waits for one of its hooks")]
    TooLate,
    #[error("Pgpool's watchdog refused to answer (type '{kind}'): {why}")]
    Refused { kind: char, why: String },
    #[error("Pgpool's watchdog gave an answer that makes no sense: {0}")]
    Unclear(String),
}

/// The key for Pgpool's watchdog, and a text that says what is wrong with the key's file.
#[must_use]
fn auth_key(config: &Pgpool) -> (Option<String>, Option<String>) {
    let Some(path) = &config.wd_authkey_file else { return (config.wd_authkey.clone(), None) };
    let failed = |why: &str| (None, Some(format!("the key of Pgpool's watchdog, {}: {why}", path.display())));
    let file = match whole_file::read(path, LONGEST_KEY) {
        Ok(Some(file)) => file,
        Ok(None) => return failed("there is no such file"),
        Err(error) => return failed(&one_line(&error)),
    };
    let Ok(text) = String::from_utf8(file.bytes) else { return failed("it is no text") };
    let key = text.trim_end_matches(['\n', '\r']);
    if key.is_empty() {
        return failed("it is empty");
    }
    let is_open = file.stat.st_mode & 0o007 != 0;
    let open = || format!("every user of this machine may open {}: chmod 640, chgrp vipkeeper", path.display());
    (Some(key.to_owned()), is_open.then(open))
}

impl Watchdog {
    /// Reads the key and asks nothing yet. Without a `watchdog_socket`, the socket is looked for in the folders of
    /// Pgpool's packages and of a build from source. The answer counts only if Pgpool runs as one of `trusted`.
    #[must_use]
    pub fn of(config: &Pgpool, trusted: impl Into<SharedOwners>) -> Self {
        let usual = || FOLDERS.map(|folder| PathBuf::from(folder).join(format!(".s.PGPOOLWD_CMD.{DEFAULT_PORT}")));
        let places = config.watchdog_socket.clone().map_or_else(|| usual().to_vec(), |path| vec![path]);
        let watchdog = Self { places, config: config.clone(), key: RefCell::default(), trusted: trusted.into() };
        watchdog.read_key();
        watchdog
    }

    /// A watchdog with this socket and this key.
    #[must_use]
    pub fn new(socket: Option<PathBuf>, auth_key: Option<String>, trusted: impl Into<SharedOwners>) -> Self {
        let config = Pgpool { watchdog_socket: socket, wd_authkey: auth_key, ..Pgpool::default() };
        Self::of(&config, trusted)
    }

    /// Reads the key again. A key that was read before stays in use while its file cannot be read.
    pub fn read_key(&self) {
        let (value, problem) = auth_key(&self.config);
        let mut key = self.key.borrow_mut();
        key.value = value.or(key.value.take());
        key.problem = problem;
    }

    /// The text that says what is wrong with the key's file; `None` if nothing is.
    #[must_use]
    pub fn key_problem(&self) -> Option<String> {
        self.key.borrow().problem.clone()
    }

    /// Asks the watchdog, and gives the reason if there is nobody to ask.
    pub async fn consult(&self) -> Asked {
        match self.ask_all().await {
            Ok(Ok(word)) => Asked::Word(word),
            Ok(Err(nobody)) => Asked::Nobody(nobody),
            Err(error @ (AskError::QueueFull(_) | AskError::TooLate)) => Asked::NoAnswer(one_line(&error)),
            Err(error) => Asked::Unheard(one_line(&error)),
        }
    }

    /// Asks the watchdog. `None` if there is nobody to ask: no socket, or no socket that this user may use. With
    /// Pgpool's usual umask only Pgpool's own user may write to the socket, so a daemon of another user goes without a
    /// witness.
    ///
    /// # Errors
    /// The reason why a watchdog that is there gave no answer.
    pub async fn ask(&self) -> Result<Option<Word>, AskError> {
        Ok(self.ask_all().await?.ok())
    }

    /// Asks at every place at once, so that no place delays another: not even one that accepts the question and says
    /// nothing. Of several answers, that of the first place in the list counts. A place without a trusted user's watchdog
    /// counts for nothing.
    async fn ask_all(&self) -> Result<Result<Word, Nobody>, AskError> {
        let ask_at = |(index, path): (usize, &PathBuf)| {
            let asked = tokio::time::timeout(PATIENCE, self.ask_at(path.clone()));
            async move { (index, asked.await.unwrap_or(Err(AskError::TooLate))) }
        };
        let mut asking: FuturesUnordered<_> = self.places.iter().enumerate().map(ask_at).collect();
        // No place takes longer than PATIENCE.
        let (mut asked, mut until) = (BTreeMap::new(), Instant::now() + 2 * PATIENCE);
        while let Ok(Some((index, answer))) = tokio::time::timeout_at(until, asking.next()).await {
            if matches!(answer, Ok(Ok(_))) {
                until = until.min(Instant::now() + TIME_FOR_OTHERS);
            }
            asked.insert(index, answer);
        }
        let (mut unheard, mut nobody) = (None, Nobody::NoSocket(self.places.clone()));
        for answer in asked.into_values() {
            match answer {
                Ok(Ok(word)) => return Ok(Ok(word)),
                Ok(Err(why)) if why.rank() > nobody.rank() => nobody = why,
                Ok(Err(_)) => {}
                Err(error) => drop(unheard.get_or_insert(error)),
            }
        }
        unheard.map_or(Ok(Err(nobody)), Err)
    }

    /// Asks at one place.
    async fn ask_at(&self, path: PathBuf) -> Result<Result<Word, Nobody>, AskError> {
        // A stranger's entry may be a link to a socket of root's, or a socket with a full queue, so the entry's owner
        // is checked before the connection. This program's own user counts as an owner too, because an operator may
        // have given the socket to that user.
        let Ok(entry) = std::fs::symlink_metadata(&path) else { return Ok(Err(Nobody::NoSocket(vec![path]))) };
        let own = rustix::process::geteuid().as_raw();
        if entry.uid() != own && !self.trusted.get().owns(entry.uid()) {
            return Ok(Err(Nobody::Stranger { path, uid: entry.uid() }));
        }
        let mut stream = match UnixStream::connect(&path).await {
            Ok(stream) => stream,
            Err(error) => return why_not(path, error),
        };
        let uid = stream.peer_cred().map_err(|source| AskError::Io { path: path.clone(), source })?.uid();
        if !self.trusted.get().owns(uid) {
            return Ok(Err(Nobody::Stranger { path, uid }));
        }
        self.converse(&mut stream, path).await.map(Ok)
    }

    async fn converse(&self, stream: &mut UnixStream, path: PathBuf) -> Result<Word, AskError> {
        let io = |source| AskError::Io { path: path.clone(), source };
        let mut question = json!({ "NodeID": -1 });
        if let Some(key) = &self.key.borrow().value {
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
            let usual = || "is the key that pgpool.conf has as wd_authkey set?".to_owned();
            return Err(AskError::Refused { kind: char::from(kind), why: self.key_problem().unwrap_or_else(usual) });
        }
        Word::parse(&answer)
    }
}

/// The reason why a trusted user's socket refused the connection: this user may not use the socket, a dead Pgpool left
/// it behind, or it went away meanwhile. Any other reason is an error.
fn why_not(path: PathBuf, error: io::Error) -> Result<Result<Word, Nobody>, AskError> {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Ok(Err(Nobody::NotPermitted(path))),
        io::ErrorKind::ConnectionRefused => Ok(Err(Nobody::NotRunning(path))),
        io::ErrorKind::NotFound => Ok(Err(Nobody::NoSocket(vec![path]))),
        // The kernel keeps a few connections for a process that does not accept them, and refuses the next one so.
        io::ErrorKind::WouldBlock => Err(AskError::QueueFull(path)),
        _ => Err(AskError::Io { path, source: error }),
    }
}

impl Nobody {
    /// The rank of the reason by its use to an operator. Of several places without anybody to ask, the reason with the
    /// highest rank is told.
    fn rank(&self) -> u8 {
        match self {
            Self::NoSocket(_) => 0,
            Self::Stranger { .. } => 1,
            Self::NotRunning(_) => 2,
            Self::NotPermitted(_) => 3,
        }
    }
}

impl Word {
    fn parse(answer: &[u8]) -> Result<Self, AskError> {
        // Some versions of Pgpool end their JSON with a zero byte.
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
        // Half of the votes (0) suffice for a quorum where the configuration says so, and Pgpool escalates only then.
        let quorum = match answer["QuorumStatus"].as_i64() {
            Some(0 | 1) => Some(Quorum::Has),
            Some(-1) => Some(Quorum::Lost),
            Some(-2) => Some(Quorum::NoLeader),
            _ => None,
        };
        Ok(Self { escalated, delegate_ips, quorum })
    }

    /// The watchdog's word on one VIP. `Silent` if this Pgpool has another delegate IP.
    #[must_use]
    pub fn on(&self, delegate_ip: IpAddr) -> Witness {
        match self.delegate_ips.contains(&delegate_ip) {
            false => Witness::Silent,
            true if self.escalated => Witness::Escalated,
            true => Witness::NotEscalated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::trust::TrustedOwners;

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
        // The permissions that Pgpool's usual umask leaves.
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
        assert!(unnamed.places.len() == FOLDERS.len());
    }

    /// A client that looks for the watchdog in these places.
    fn at(places: &[PathBuf]) -> Watchdog {
        let own = rustix::process::geteuid().as_raw();
        Watchdog { places: places.to_vec(), ..Watchdog::new(None, None, TrustedOwners::root().with_uid(own)) }
    }

    /// A watchdog that answers at `path`.
    fn live(path: &std::path::Path) -> tokio::task::JoinHandle<()> {
        let listener = tokio::net::UnixListener::bind(path).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 5]).await.unwrap();
            let body = br#"{"Escalated":1,"WatchdogNodes":[{"DelegateIP":"20.0.0.50"}]}"#;
            let mut answer = vec![OK];
            answer.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
            answer.extend(body);
            stream.write_all(&answer).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        })
    }

    #[tokio::test]
    async fn every_place_is_tried_whatever_stands_at_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let [dead, mute, missing, good] = ["dead", "mute", "missing", "good"].map(|name| folder.path().join(name));
        drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
        let _mute = std::os::unix::net::UnixListener::bind(&mute).unwrap();
        let _live = live(&good);
        let began = std::time::Instant::now();
        let places = [dead.clone(), mute.clone(), missing.clone(), good];
        assert!(matches!(at(&places).consult().await, Asked::Word(word) if word.escalated));
        assert!(began.elapsed() < PATIENCE / 2, "the mute one delays the answer: {:?}", began.elapsed());
        assert_eq!(
            at(&[missing.clone(), dead.clone()]).consult().await,
            Asked::Nobody(Nobody::NotRunning(dead.clone()))
        );
        let Asked::NoAnswer(why) = at(&[dead, mute, missing]).consult().await else { panic!("the mute one lives") };
        assert!(why.contains("did not answer within"), "{why}");
    }

    #[tokio::test]
    async fn a_watchdog_that_accepts_no_connection_is_said_to_hang() {
        let folder = tempfile::tempdir().unwrap();
        let full = folder.path().join("full");
        let listener = std::os::unix::net::UnixListener::bind(&full).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let _waiting = [UnixStream::connect(&full).await, UnixStream::connect(&full).await];
        let Asked::NoAnswer(why) = at(std::slice::from_ref(&full)).consult().await else { panic!("it hangs") };
        let wanted = format!("accepts no connection at {}, because its queue is full: Pgpool hangs", full.display());
        assert!(why.ends_with(&wanted), "{why}");
    }

    #[tokio::test]
    async fn a_stranger_counts_for_nothing_and_costs_no_time() {
        if !rustix::process::geteuid().is_root() {
            let _ = io::Write::write_all(&mut io::stderr(), b"skipped: only root may give files away\n");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let [mute, full, link, root] = ["mute", "full", "link", "root"].map(|name| folder.path().join(name));
        let nobody = 65534;
        let _mute = std::os::unix::net::UnixListener::bind(&mute).unwrap();
        let crowded = std::os::unix::net::UnixListener::bind(&full).unwrap();
        rustix::net::listen(&crowded, 0).unwrap();
        let _waiting = [UnixStream::connect(&full).await, UnixStream::connect(&full).await];
        let _root = std::os::unix::net::UnixListener::bind(&root).unwrap();
        std::os::unix::fs::symlink(&root, &link).unwrap();
        for path in [&mute, &full, &link] {
            std::os::unix::fs::lchown(path, Some(nobody), None).unwrap();
        }
        let began = std::time::Instant::now();
        let asked = at(&[mute.clone(), full, link]).consult().await;
        assert_eq!(asked, Asked::Nobody(Nobody::Stranger { path: mute.clone(), uid: nobody }));
        assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());

        // The program's own user owns the socket file. The kernel tells who listens there, and that user is the one who
        // is judged.
        let given = folder.path().join("given");
        let _live = live(&given);
        let asked = at(&[mute, given]).consult().await;
        assert!(matches!(asked, Asked::Word(_)), "{asked:?}");
    }

    #[test]
    fn the_key_stands_in_a_file_of_its_own_that_strangers_may_not_open() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let config = Pgpool {
            wd_authkey: Some("of the config".to_owned()),
            wd_authkey_file: Some(path.clone()),
            ..Pgpool::default()
        };
        let (key, problem) = auth_key(&config);
        assert!(key.is_none() && problem.unwrap().ends_with("key: there is no such file"));
        std::fs::write(&path, "secret\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(auth_key(&config), (Some("secret".to_owned()), None));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let (key, problem) = auth_key(&config);
        assert!(key.is_some() && problem.unwrap().starts_with("every user of this machine may open "));
        std::fs::write(&path, "\n").unwrap();
        assert!(auth_key(&config).0.is_none());
        assert_eq!(auth_key(&Pgpool { wd_authkey_file: None, ..config }), (Some("of the config".to_owned()), None));
    }

    #[test]
    fn a_word_says_whether_the_quorum_is_lost_and_not_only_unknown() {
        let quorum = |said: &str| Word::parse(format!(r#"{{"Escalated":0{said}}}"#).as_bytes()).unwrap().quorum;
        for (said, wanted) in [
            (r#","QuorumStatus":0"#, Some(Quorum::Has)),
            (r#","QuorumStatus":-1"#, Some(Quorum::Lost)),
            (r#","QuorumStatus":-2"#, Some(Quorum::NoLeader)),
            (r#","QuorumStatus":"well""#, None),
            ("", None),
        ] {
            assert_eq!(quorum(said), wanted, "{said}");
        }
    }

    #[test]
    fn a_word_is_about_the_addresses_of_its_own_pgpool() {
        let answer = br#"{"Escalated":1,"QuorumStatus":1,"WatchdogNodes":[{"ID":0,"DelegateIP":"20.0.0.50"}]}"#;
        let word = Word::parse(answer).unwrap();
        assert_eq!(word.on("20.0.0.50".parse().unwrap()), Witness::Escalated);
        assert_eq!(word.quorum, Some(Quorum::Has));
        assert_eq!(word.on("20.0.0.51".parse().unwrap()), Witness::Silent);
        let word = Word::parse(b"{\"Escalated\":false,\"WatchdogNodes\":[{\"DelegateIP\":\"20.0.0.50\"}]}\0").unwrap();
        assert_eq!(word.on("20.0.0.50".parse().unwrap()), Witness::NotEscalated);
        for nonsense in [&b""[..], b"[]", b"{}", b"{\"Escalated\":\"yes\"}"] {
            assert!(Word::parse(nonsense).is_err(), "{nonsense:?}");
        }
    }
}
