//! The reply of Pgpool's watchdog at its socket.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use vipkeeper::machine::trust::TrustedOwners;
use vipkeeper::pgpool::watchdog::{Asked, Watchdog};

use super::{Fuzz, assert_fit_to_be_shown};

const NODES: &[u8] = br#"{"NodeCount":3,"Escalated":1,"QuorumStatus":1,"WatchdogNodes":[{"ID":0,"DelegateIP":"20.0.0.50","State":4,"Priority":5},{"ID":1,"DelegateIP":"20.0.0.50","State":7}]}"#;

/// A whole reply: the letter, the length, the text.
fn framed(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap();
    [b"7", &length.to_be_bytes()[..], text].concat()
}

#[tokio::test]
async fn a_damaged_reply_of_the_watchdog_is_no_word() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let own = rustix::process::geteuid().as_raw();
    let watchdog = Watchdog::new(Some(path), None, TrustedOwners::root().with_uid(own));
    let words = &["\"Escalated\":", "\"QuorumStatus\":", "\"WatchdogNodes\":[", "\"DelegateIP\":", "true", "-2"];
    let whole = framed(NODES);
    let mut fuzz = Fuzz::new("watchdog", &[&whole, NODES], words);
    while let Some(input) = fuzz.next() {
        // Half of the texts are damaged within a frame that fits, so that the reading gets to them.
        let reply = if input.number % 2 == 0 { framed(&input.bytes) } else { input.bytes.clone() };
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = [0; 5];
            stream.read_exact(&mut question).await.unwrap();
            let length = u32::from_be_bytes(question[1..].try_into().unwrap());
            stream.read_exact(&mut vec![0; length.try_into().unwrap()]).await.unwrap();
            // Whoever asks may hang up before the end.
            drop(stream.write_all(&reply).await);
        };
        let (asked, ()) = tokio::join!(watchdog.consult(), serve);
        let result = match asked {
            Asked::Word(word) => {
                let announced = reply.get(1..5).map(|length| u32::from_be_bytes(length.try_into().unwrap()));
                let announced = usize::try_from(announced.expect("a word has a length")).unwrap();
                assert!(reply[0] == b'7' && reply.len() - 5 >= announced, "half a reply was taken for a whole one");
                format!("{} {:?} {}", word.escalated, word.quorum, word.delegate_ips.len().min(3))
            }
            Asked::Nobody(nobody) => panic!("{nobody:?}: it was there"),
            Asked::NoAnswer(why) | Asked::Unheard(why) => {
                assert_fit_to_be_shown(&why);
                why
            }
        };
        fuzz.came_of_it(&input, &result);
    }
}
