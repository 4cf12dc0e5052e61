//! What one exploration covers, and the rules that can be broken on purpose.

/// What kind of binding it is about. They differ in what EC2 can promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pointing {
    /// Conditional create, release by association id; the record comes with the same read.
    ElasticIp,
    /// Conditional create, no release at all; the record comes with the same read.
    Route,
    /// Conditional create, release in two steps (read, then an unconditional delete).
    RouteDeleted,
    /// Conditional create, release from the own ENI only; the record comes with another read.
    SecondaryIp,
}

/// One rule broken, to see that the check would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The record of claims is written and never read.
    ClaimsNotRead,
    /// All nodes write one and the same tag.
    SharedTag,
    /// What is gone is put back by force.
    RestoreTakes,
    /// What points elsewhere is taken back at the first look.
    OneLook,
    /// A newer claim on record does not end an older one.
    NeverSuperseded,
    /// A release names no association: it removes whatever is there.
    ReleasesWhateverIsThere,
    /// A claim takes by force without looking, however old it is.
    AlwaysFresh,
    /// A claim's term is raised after any look, not only after the first one of a young claim.
    RaisesAlways,
    /// A superseded node leads again as soon as one look does not show the newer claim.
    ForgetsRivals,
    /// A node that stands down leaves its claim on record.
    NeverWithdraws,
    /// A withdrawal does not say which claim it ends.
    EndsUnnamed,
}

/// Who should have the binding in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rightful {
    /// The newest leadership that has not ended.
    Newest,
    /// Whose claim has the highest term of those that have not ended: where clocks or hooks break the assumptions,
    /// the nodes must still agree.
    OnRecord,
    /// There is no record: the newest leadership if all others have ended and nobody else took the binding, and rest
    /// in any case.
    OnlyLeader,
}

/// One exploration: which things may happen, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub name: &'static str,
    pub nodes: u8,
    pub pointing: Pointing,
    pub ups: u8,
    /// Changes by hand.
    pub drifts: u8,
    /// Lost writes, lost replies, writes that arrive after their client gave up, reads that fail.
    pub faults: u8,
    pub restarts: u8,
    /// What a daemon persisted may be lost in a restart.
    pub forgetful: bool,
    /// How many earlier states of EC2 a stale read may show.
    pub stale: usize,
    /// Other things happen between a look's beginning and its answer.
    pub slow_looks: bool,
    /// Other things happen between a write's effect and its answer.
    pub slow_answers: bool,
    /// Leaderships follow one another more than 5 s apart.
    pub spaced: bool,
    /// Writes arrive in the order and within the second that they are sent in, and reads are not stale.
    pub timely: bool,
    /// Pauses of over a minute happen.
    pub long_pauses: bool,
    pub claims_off: bool,
    pub tags_refused: bool,
    /// By how much each node's clock is ahead.
    pub skew_ms: [u64; 3],
    /// The time between two leaderships by a perfect clock, in milliseconds.
    pub term_step: u64,
    pub rightful: Rightful,
    /// Within how many passes of each node it must end.
    pub passes: u32,
    pub mutant: Option<Mutant>,
}

impl Setup {
    pub const fn new(name: &'static str, pointing: Pointing) -> Self {
        Self {
            name,
            nodes: 2,
            pointing,
            ups: 2,
            drifts: 0,
            faults: 0,
            restarts: 0,
            forgetful: false,
            stale: 0,
            slow_looks: false,
            slow_answers: false,
            spaced: true,
            timely: false,
            long_pauses: false,
            claims_off: false,
            tags_refused: false,
            skew_ms: [0; 3],
            term_step: 6000,
            rightful: Rightful::Newest,
            passes: 3,
            mutant: None,
        }
    }
}
