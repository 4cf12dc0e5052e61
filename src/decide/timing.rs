//! The constants of the claim protocol and of the loop's pace, and the relations that must hold between them.
//! docs/claims.md gives the reasons for those of the protocol.

use std::time::Duration;

use crate::ec2::reason::CLOCK_TOLERANCE;

/// The longest time that an answer of EC2 may take: the timeout of one operation.
pub const LONGEST_ANSWER: Duration = Duration::from_secs(8);

/// A claim whose hook ran no longer ago than this takes at once. An older claim looks for a newer one first.
pub const FRESH: Duration = Duration::from_secs(5);

/// The age from which a claim looks before it takes.
pub const NOT_FRESH: Duration = FRESH.saturating_add(Duration::from_millis(1));

/// For this long after its `up`, a claim may raise its term over the terms that it reads. The window is longer than
/// clocks may differ, and shorter than the time between two leaderships.
pub const RAISE_WINDOW: Duration = Duration::from_secs(5);

/// A term that is further ahead of EC2's clock than this is no claim: EC2 refuses requests that are signed by a clock as far
/// off as this, so no node with such a clock records one.
pub const PLAUSIBLE_AHEAD: Duration = CLOCK_TOLERANCE;

/// A term that differs by more than this from the time at which its hook ran, by EC2's clock, came from a wrong
/// clock. A term that was raised as far as a term may be raised differs by less.
pub const CLOCK_WAS_WRONG: Duration = Duration::from_mins(11);

/// For this long after an accepted write, a read that contradicts the write is not believed, because EC2's reads lag
/// its writes.
pub const SETTLE: Duration = Duration::from_secs(5);

/// If more claims than this were seen to be given up, those that are not on record any more are forgotten. A resource has
/// room for 50 tags, and tags of ever other nodes must not make the memory grow.
pub const MOST_GIVEN_UP: usize = 50;

/// A look that began longer ago than this no longer allows a take by force: a take that failed and is tried again must
/// not rest on an old look.
pub const LOOK_COUNTS: Duration = Duration::from_secs(10);

/// A claim that is older than this and not on record takes nothing that somebody else holds.
pub const UNRECORDED_TAKE_WINDOW: Duration = Duration::from_mins(1);

/// A superseded leader looks at the record this often if its watchdog says that it leads. It must serve within 2 s of
/// the newer claim's `down`.
pub const FOLLOW_ESCALATED: Duration = Duration::from_secs(1);

/// A superseded leader that has no watchdog to ask looks this often.
pub const FOLLOW: Duration = Duration::from_secs(2);

/// A superseded leader looks so often for this long, and at its interval afterwards: a cut between two nodes that lasts
/// longer costs the account no more than a standby does.
pub const FOLLOW_FOR: Duration = Duration::from_mins(10);

/// A binding that points elsewhere is looked at again after this long before it is taken back; after each retake twice
/// as long from the second one on, up to [`RETAKE_PAUSE_MAX`].
pub const RETAKE_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause before a retake.
pub const RETAKE_PAUSE_MAX: Duration = Duration::from_secs(30);

/// A binding counts as contested once it had to be taken or put back this often.
pub const CONTESTED_FROM: u32 = 3;

/// The shortest usual interval of a leader. With the jitter of the loop, a look begins at most 3.4 s after the end of the
/// one before it. A binding that was removed is then back within 4 s, and one that was pointed elsewhere, which needs a
/// second look, within 9 s.
pub const QUICK_INTERVAL: Duration = Duration::from_millis(2700);

/// The interval varies by this share up and down, so that the nodes of an account do not look all at once.
pub const JITTER: f64 = 0.25;

/// The looks that all nodes of a cluster make in a minute, if they can. EC2 counts the requests of an account by
/// operation, and a look makes one request of each operation: 30 looks a minute are a twentieth of the smallest quota
/// for reads, 10 requests a second.
pub const LOOKS_A_MINUTE: f64 = 30.0;

/// The usual number of nodes, and the least that is counted: a Pgpool watchdog needs three nodes for a quorum that
/// outlives one of them. Fewer may be on record, because only nodes that have led are.
pub const USUAL_NODES: usize = 3;

/// The longest usual interval of a leader.
pub const EASY_INTERVAL: Duration = Duration::from_secs(10);

/// Each throttling that was seen doubles the interval of a leader. Each time that this long passes without another one,
/// one doubling ends.
pub const EASED_FOR: Duration = Duration::from_mins(2);

/// A change is refused for good once this many looks between its refusals showed that nothing moved.
pub const UNMOVED_FROM: u32 = 2;

/// A change is refused for good at the earliest after this long. Looks may lag behind by [`SETTLE`], so a shorter time
/// would take a stale look for a world that does not move.
pub const REFUSED_FOR: Duration = Duration::from_secs(15);

/// Retakes are forgotten when nothing had to be taken or put back for this long.
pub const CALM: Duration = Duration::from_mins(10);

/// The number of times in a row that each of two bindings must have gone with the return of the other. Somebody else's
/// hand may look like that once or twice.
pub const UNDONE_FROM: u32 = 3;

/// A binding that is found gone within this time after another one was pointed here counts as gone with it. A loss is
/// found in the next look, and believed once the own change has settled.
pub const WENT_WITH: Duration = Duration::from_secs(30);

/// Older claims of other nodes are forgotten once the newest has held for this long: a resource has room for 50 tags.
pub const FORGET_AFTER: Duration = Duration::from_hours(1);

/// With `on_release` set to delete, a route is kept for this long after its node stood down.
pub const DELETE_ROUTE_AFTER: Duration = Duration::from_secs(30);

/// A former leader that keeps its bindings for a successor keeps them for this long at most. It is longer than the time
/// after which Pgpool was seen to elect a node again whose watchdog process had died: 11.9 s.
pub const KEEP_FOR: Duration = Duration::from_secs(15);

/// Nobody serves a VIP if two looks that are this far apart, and each look between, about every [`EASY_INTERVAL`], show that EC2 leads its clients to no
/// node that leads. An ordinary failover is over by then: a former leader keeps its bindings for [`KEEP_FOR`] at most, and
/// the call that takes them has an answer within [`LONGEST_ANSWER`].
pub const NOBODY_AFTER: Duration = Duration::from_secs(30);

/// The answers on a VIP and EC2's reads may differ for this long while EC2 carries a change. The silence of a failover
/// lasts a few seconds.
pub const ASTRAY_AFTER: Duration = Duration::from_secs(15);

/// A former leader keeps nothing for longer than this without a look at the record.
pub const KEEP_WITHOUT_LOOK: Duration = LONGEST_ANSWER;

/// A former leader that keeps its bindings looks for a successor's claim this long after its last look.
pub const KEEP_LOOK: Duration = Duration::from_secs(1);

/// A watchdog that has just won an election has no quorum until the other nodes have joined it, which took it 1.0 s. Within
/// this time after its first word that it has none, that word is no reason to let go of bindings that are kept because
/// the watchdog process before it died.
pub const QUORUM_COMES_WITHIN: Duration = Duration::from_secs(3);

/// A former leader that needs its watchdog's word to keep its bindings waits no longer than this for the word.
pub const WORD_WITHIN: Duration = Duration::from_secs(1);

/// A dispute between file and watchdog that lasts this long is a lost hook. Some time passes between Pgpool's decision
/// and the file that its hook writes.
pub const HOOK_LOST_AFTER: Duration = Duration::from_secs(10);

/// The watchdog's word counts for this long. The watchdog is asked again long before, unless the machine was suspended
/// or the daemon stood still.
pub const WORD_COUNTS: Duration = Duration::from_secs(20);

/// Pgpool's watchdog is asked again this long after its last word: a hook that never comes must be noticed within
/// seconds.
pub const ASK_AGAIN: Duration = Duration::from_secs(10);

/// The watchdog is asked again this long after its last word while there is no hook's word: a hook may have been lost.
pub const ASK_WITHOUT_DESIRED: Duration = Duration::from_secs(5);

/// The watchdog is asked again this long after its last word while a VIP is kept for a successor: the watchdog may have
/// lost its quorum.
pub const ASK_WHILE_KEEPING: Duration = Duration::from_secs(1);

/// The watchdog is asked again this long after its last word while that word and the file are in dispute. Once the
/// dispute has lasted so long that a hook must have been lost, [`ASK_AGAIN`] suffices as long as the watchdog gives its
/// word. The watchdog may have stood still for a moment, and without a new word the dispute is over soon.
pub const ASK_IN_DISPUTE: Duration = Duration::from_secs(2);

/// For this long after the daemon adopted a claim, the claim's looks do not wait for the account's rate limit. The hooks'
/// `wait` ends somewhat earlier.
pub const URGENT_FOR: Duration = Duration::from_secs(10);

/// For this long after the daemon adopted a claim that has not taken everything, the claim is eager: the loop looks often,
/// so that it notices the end of a fault at once.
pub const EAGER_FOR: Duration = Duration::from_mins(1);

/// The delays of the looks that follow an own write: EC2's reads lag its writes.
pub const AFTER_WRITE: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// A claim's first look waits for its takes to be accepted, but no longer than this.
pub const LOOK_DESPITE_WRITES: Duration = Duration::from_secs(1);

/// A change whose answers were lost more often than this in a row is not looked for each time.
pub const LOOKS_SOON: u32 = 5;

/// A change that perhaps happened is tried again once a look has shown whether it did, or after this long without such
/// a look.
pub const UNKNOWN_FOR: Duration = Duration::from_secs(1);

/// The shortest delay after a failure that only an operator can mend.
pub const DENIED_FLOOR: Duration = Duration::from_secs(15);

/// The delay after EC2 refused to forget an old claim. Old claims do no harm for a long time: the anchor has room for
/// 50 tags.
pub const FORGET_FLOOR: Duration = Duration::from_hours(1);

/// A subject that failed this often in a row keeps its backoff, even if EC2 accepts other changes.
pub const FAILS_FOR_LONG: u32 = 8;

/// The number of waiting changes that may go early after EC2 accepted another change.
pub const RELEASED_BY_SUCCESS: usize = 2;

/// The number of waiting changes that may go early after EC2 answers again.
pub const RELEASED_AFTER_FAULT: usize = 8;

/// If EC2 accepted no change for this long, the success of a change that had failed tells that a fault is over.
pub const NOTHING_ACCEPTED_FOR: Duration = Duration::from_secs(2);

/// The shortest delay after a look with failures, however often looks failed before.
pub const RETRY_FLOOR: Duration = Duration::from_secs(1);

/// The delay after a look with failures while a claim is being taken: the end of a fault must be noticed within a second.
pub const RETRY_WHILE_EAGER: Duration = Duration::from_millis(500);

/// The number of looks that may be under way at once while a claim is being taken. A look that hangs is given up after
/// some seconds, and looks must not pile up until then.
pub const LOOKS_AT_ONCE: usize = 6;

/// Route tables chosen by tag are looked for again this often: tables come and go rarely.
pub const CHOOSE_AGAIN: Duration = Duration::from_mins(5);

/// The interval at which a node whose ENI EC2 does not show searches anew for its identity.
pub const SEARCH_AGAIN: Duration = Duration::from_mins(1);

/// The pause between two tries of Pgpool's port.
pub const KNOCK_AGAIN: Duration = Duration::from_millis(500);

// A claim that is too old to be fresh must also be too old to raise its term: a restarted daemon raises nothing.
const _: () = assert!(RAISE_WINDOW.as_millis() <= FRESH.as_millis());
// A term that was raised over the highest plausible term does not count as made by a wrong clock.
const _: () = assert!(CLOCK_WAS_WRONG.as_millis() > 2 * PLAUSIBLE_AHEAD.as_millis() + RAISE_WINDOW.as_millis());
// A new leader's tag is written, or seen, within the pause between an older leader's two looks. The second look also
// shows everything that was true when the first look was answered.
const _: () = assert!(RETAKE_PAUSE.as_millis() >= SETTLE.as_millis());
// The first pause before a retake is not longer than the longest one.
const _: () = assert!(RETAKE_PAUSE.as_millis() <= RETAKE_PAUSE_MAX.as_millis());
// A look is still recent enough to use even if its answer took as long as an answer may take.
const _: () = assert!(LOOK_COUNTS.as_millis() > LONGEST_ANSWER.as_millis());
// A loss that an own change brings about is found within the time in which it counts as that.
const _: () =
    assert!(WENT_WITH.as_millis() > SETTLE.as_millis() + LOOK_COUNTS.as_millis() + LONGEST_ANSWER.as_millis());
// A route is deleted only after every successor had the time to replace it: Pgpool elects in 2 to 7 s.
const _: () = assert!(DELETE_ROUTE_AFTER.as_millis() > 7000 + LONGEST_ANSWER.as_millis());
// A route that is to be deleted is still there when the bindings that are kept are released.
const _: () = assert!(KEEP_FOR.as_millis() < DELETE_ROUTE_AFTER.as_millis());
// No ordinary failover counts as a VIP that nobody serves.
const _: () = assert!(NOBODY_AFTER.as_millis() > KEEP_FOR.as_millis() + LONGEST_ANSWER.as_millis());
// A claim that waits for its record has time for two looks before it may no longer take by force.
const _: () = assert!(UNRECORDED_TAKE_WINDOW.as_millis() > LOOK_COUNTS.as_millis() + RETAKE_PAUSE.as_millis());
// Two doublings of the shortest interval, the most that throttling makes, reach the longest one.
const _: () = assert!(QUICK_INTERVAL.as_millis() * 4 >= EASY_INTERVAL.as_millis());
// Old claims are forgotten only long after nothing is contested any more.
const _: () = assert!(FORGET_AFTER.as_millis() > CALM.as_millis());
// The next look of a leader begins in time for the promise at `QUICK_INTERVAL`.
const _: () = assert!(QUICK_INTERVAL.as_secs_f64() * (1.0 + JITTER) < 3.4);
// The watchdog's word still counts when the watchdog is asked again and takes as long as it may.
const _: () = assert!(ASK_AGAIN.as_millis() + WORD_WITHIN.as_millis() < WORD_COUNTS.as_millis());
// A dispute has heard the watchdog more than once before it counts as a lost hook.
const _: () = assert!(2 * ASK_IN_DISPUTE.as_millis() < HOOK_LOST_AFTER.as_millis());
// The looks after an own write are over before a look that contradicts the write is believed.
const _: () = assert!(AFTER_WRITE[2].as_millis() < SETTLE.as_millis());
// The number of looks at once is limited before a look that hangs is given up.
const _: () = assert!(LOOKS_AT_ONCE as u128 * RETRY_WHILE_EAGER.as_millis() < LONGEST_ANSWER.as_millis());
// The end of a fault lets more changes go than one success does.
const _: () = assert!(RELEASED_AFTER_FAULT > RELEASED_BY_SUCCESS);
// A claim's looks stay urgent for less time than the claim is eager.
const _: () = assert!(URGENT_FOR.as_millis() < EAGER_FOR.as_millis());
