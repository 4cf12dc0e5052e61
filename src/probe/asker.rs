//! Asks again and again who answers at one address.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::ask::ask;
use super::post::Post;

/// The longest wait for an answer while somebody answers.
const PATIENCE: Duration = Duration::from_secs(1);
/// The pause between two questions, and the longest wait, while the answers have just ended.
const QUICK: Duration = Duration::from_millis(200);
/// For how long after the last answer the questions are quick.
const QUICK_FOR: Duration = Duration::from_mins(1);

/// Asks for ever. While nobody answers, questions follow one another quickly for a minute: the VIP is probably moving, and
/// the new leader measures its way by the first question that arrives.
pub(super) async fn keep_asking(to: SocketAddr, interval: Duration, post: Post) {
    let mut answered = Instant::now();
    let mut is_silent = false;
    loop {
        let began = Instant::now();
        let is_quick = is_silent && began.duration_since(answered) < QUICK_FOR;
        let (pause, patience) = if is_quick { (QUICK, QUICK) } else { (interval, PATIENCE.min(interval)) };
        // An error says that no packet can go there, or that nobody listens: nobody answers.
        let reply = ask(to, patience).await.ok().flatten();
        is_silent = reply.is_none();
        if !is_silent {
            answered = began;
        }
        post.tell(to.ip(), reply);
        let turned_silent = is_silent && !is_quick && began.duration_since(answered) < QUICK_FOR;
        sleep_until(began + if turned_silent { QUICK } else { pause }).await;
    }
}
