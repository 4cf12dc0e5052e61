//! The constants of the claim protocol, and what each must be to the others. docs/claims.md says what they rest on.

use std::time::Duration;

/// The longest time that an answer of EC2 may take: the timeout of one operation.
pub const LONGEST_ANSWER: Duration = Duration::from_secs(8);

/// A claim whose hook ran no longer ago than this takes at once. An older claim looks for a newer one first.
pub const FRESH: Duration = Duration::from_secs(5);

/// A claim may raise its term over those that it reads for this long after its `up`: longer than clocks may differ, and
/// shorter than the time between two leaderships.
pub const RAISE_WINDOW: Duration = Duration::from_secs(5);

/// A term that is further ahead of the wall clock than this is no claim. EC2 refuses requests whose clock is as far off.
pub const PLAUSIBLE_AHEAD: Duration = Duration::from_mins(5);

/// A claim whose hook ran by a wall clock that differs from today's by more than this counts by today's. A term that was
/// raised as far as one may be differs by less.
pub const CLOCK_WAS_WRONG: Duration = Duration::from_mins(11);

/// A read that contradicts an own accepted write is not believed for this long: EC2's reads lag its writes.
pub const SETTLE: Duration = Duration::from_secs(5);

/// A look that began longer ago than this allows nobody to take by force: a take that failed and is tried again must not
/// rest on an old truth.
pub const LOOK_HOLDS: Duration = Duration::from_secs(10);

/// A claim that is older than this and not on record takes nothing that somebody else holds.
pub const UNRECORDED_TAKE_WINDOW: Duration = Duration::from_mins(1);

/// A superseded leader whose watchdog says that it leads looks this often: it is to serve within 2 s of the newer one's
/// `down`.
pub const FOLLOW_ESCALATED: Duration = Duration::from_secs(1);

/// A superseded leader that has no watchdog to ask looks this often.
pub const FOLLOW: Duration = Duration::from_secs(2);

/// A superseded leader looks so often for this long, and at its interval afterwards: a cut between two nodes that lasts
/// longer costs the account no more than a standby does.
pub const FOLLOW_FOR: Duration = Duration::from_mins(10);

/// A binding that points elsewhere is looked at again after this long before it is taken back; after each retake twice
/// as long, up to [`RETAKE_HOLD_MAX`].
pub const RETAKE_HOLD: Duration = Duration::from_secs(5);

/// The longest hold before a retake.
pub const RETAKE_HOLD_MAX: Duration = Duration::from_secs(30);

/// A binding counts as contested once it had to be taken or put back this often.
pub const CONTESTED_FROM: u32 = 3;

/// Retakes are forgotten when nothing had to be taken or put back for this long.
pub const CALM: Duration = Duration::from_mins(10);

/// Older claims of other nodes are forgotten once the newest has held for this long: a resource has room for 50 tags.
pub const FORGET_AFTER: Duration = Duration::from_hours(1);

/// A route whose node stood down is kept for this long, where it is to be deleted at all.
pub const DELETE_ROUTE_AFTER: Duration = Duration::from_secs(30);

/// A contradiction between file and watchdog counts after this long: a hook takes a moment between Pgpool's decision and
/// its file.
pub const CONTRADICTION: Duration = Duration::from_secs(10);

// A restarted daemon counts as not fresh, and must then still be able to raise nothing.
const _: () = assert!(RAISE_WINDOW.as_millis() <= FRESH.as_millis());
// What was raised over the highest plausible term is not taken for a wrong clock.
const _: () = assert!(CLOCK_WAS_WRONG.as_millis() > 2 * PLAUSIBLE_AHEAD.as_millis() + RAISE_WINDOW.as_millis());
// A new leader's tag is written, or seen, within the hold between an older leader's two looks.
const _: () = assert!(RETAKE_HOLD.as_millis() >= SETTLE.as_millis());
// The second look of a retake can show everything that was true when the first one was answered.
const _: () = assert!(RETAKE_HOLD.as_millis() <= RETAKE_HOLD_MAX.as_millis());
// A look may still be used when its answer took as long as an answer may.
const _: () = assert!(LOOK_HOLDS.as_millis() > LONGEST_ANSWER.as_millis());
// A route is deleted only after every successor had the time to replace it: Pgpool elects in 2 to 7 s.
const _: () = assert!(DELETE_ROUTE_AFTER.as_millis() > 7000 + LONGEST_ANSWER.as_millis());
// A claim that waits for its record has looked, and looked again, before it gives up on force.
const _: () = assert!(UNRECORDED_TAKE_WINDOW.as_millis() > LOOK_HOLDS.as_millis() + RETAKE_HOLD.as_millis());
// Old claims are forgotten only long after nothing is contested any more.
const _: () = assert!(FORGET_AFTER.as_millis() > CALM.as_millis());
