//! The scope of one exploration, and the rules that can be broken on purpose.

/// The kind of the binding. The kinds differ in the promises that EC2 makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pointing {
    /// Creation is conditional, and a release names the association id. The same read gives the record.
    ElasticIp,
    /// Creation is conditional, and there is no release. The same read gives the record.
    Route,
    /// Creation is conditional, and a release takes two steps: a read, then an unconditional delete.
    RouteDeleted,
    /// Creation is conditional, and a release works only on the node's own ENI. Another read gives the record.
    SecondaryIp,
}

/// One broken rule. The check must notice it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The record of claims is written but never read.
    ClaimsNotRead,
    /// All nodes write the same tag.
    SharedTag,
    /// A binding that is gone is put back by force.
    RestoreTakes,
    /// A binding that points elsewhere is taken back after the first look.
    OneLook,
    /// A newer claim on record does not end an older one.
    NeverSuperseded,
    /// A release names no association, so it removes whatever is there.
    ReleasesWhateverIsThere,
    /// A claim takes by force without a look first, however old the claim is.
    AlwaysFresh,
    /// A claim's term is raised after any look. The true rule raises it only after the first look of a young claim.
    RaisesAlways,
    /// A superseded node leads again as soon as one look does not show the newer claim.
    ForgetsRivals,
    /// A node that stands down leaves its claim on record.
    NeverWithdraws,
    /// A withdrawal does not say which claim it ends.
    EndsUnnamed,
    /// A read that may be older than the end of a newer claim makes that claim stand again.
    BelievesOldReads,
    /// A binding that a newer claim left behind is looked at twice before it is taken back.
    LeftoversWait,
    /// A binding whose holder gave up some claim, however old, is taken back after the first look.
    AllAreLeftovers,
    /// A node whose leadership ended keeps the binding although a newer claim is on record.
    KeepsFromASuccessor,
    /// A node whose leadership ended keeps the binding for as long as nobody claims it.
    KeepsForEver,
    /// A node whose leadership ended keeps the binding although its watchdog has lost the quorum.
    KeepsWithoutQuorum,
    /// A binding that points elsewhere is taken back after two looks, whether or not it changed hands in between.
    AnyHolder,
}

/// The node that should have the binding at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rightful {
    /// The newest leadership that has not ended.
    Newest,
    /// The leader whose claim has the highest term among the claims that have not ended. This serves where clocks or
    /// hooks break the assumptions: the nodes must still agree.
    OnRecord,
    /// There is no record. The newest leader has the binding if all other leaderships have ended and nobody else took
    /// the binding. In any case the nodes come to rest.
    OnlyLeader,
}

/// One exploration: the events that may happen, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub name: &'static str,
    pub nodes: u8,
    pub pointing: Pointing,
    pub ups: u8,
    /// The number of changes by hand.
    pub drifts: u8,
    /// The number of faults: lost writes, lost replies, writes that arrive after their client gave up, and reads that
    /// fail.
    pub faults: u8,
    pub restarts: u8,
    /// The number of times that the watchdog of a node that keeps the binding loses the quorum.
    pub quorums_lost: u8,
    /// A restart may lose the state that the daemon persisted.
    pub forgetful: bool,
    /// The number of earlier states of EC2 that a stale read may show.
    pub stale: usize,
    /// Other events may happen between the beginning of a look and its answer.
    pub slow_looks: bool,
    /// Other events may happen between the effect of a write and its answer.
    pub slow_answers: bool,
    /// Two leaderships begin more than 5 s apart.
    pub spaced: bool,
    /// Writes arrive in the order in which they were sent and within a second, and reads are not stale.
    pub timely: bool,
    /// Pauses of over a minute may happen.
    pub long_pauses: bool,
    /// A node whose leadership ended keeps the binding for a successor while its Pgpool serves.
    pub keeps: bool,
    pub claims_off: bool,
    pub tags_refused: bool,
    /// The time by which each node's clock is ahead, in milliseconds.
    pub skew_ms: [u64; 3],
    /// The time between two leaderships by a perfect clock, in milliseconds.
    pub term_step: u64,
    pub rightful: Rightful,
    /// The greatest number of passes of each node until the binding is where it belongs.
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
            quorums_lost: 0,
            forgetful: false,
            stale: 0,
            slow_looks: false,
            slow_answers: false,
            spaced: true,
            timely: false,
            long_pauses: false,
            keeps: false,
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
