//! `vipkeeper probe`: asks through a VIP who answers there. It needs no configuration, and works from any machine that the
//! security groups let through.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use crate::error::one_line;
use crate::ids::InstanceId;
use crate::probe::ask::{PacketWay, ProbeReply, ask};

/// The longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// The pause between two questions. It stays within what the daemon answers to one source.
const PAUSE: Duration = Duration::from_millis(200);

/// The questions to ask.
#[derive(Debug, Clone, Copy)]
pub struct ProbeRequest {
    pub delegate_ip: IpAddr,
    /// The UDP port.
    pub port: u16,
    /// The number of questions, one after the other.
    pub count: u32,
}

/// Who answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Probed {
    delegate_ip: IpAddr,
    port: u16,
    /// The answers in the order of the questions.
    answers: Vec<OneAnswer>,
}

/// The end of one question.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct OneAnswer {
    /// The node that answered; `None` if nobody did.
    instance: Option<InstanceId>,
    /// The time from the question to its answer, in milliseconds.
    took_ms: Option<f64>,
    /// Whether the address is this machine's own, so that no packet left it.
    inside: bool,
    /// Why nobody could be asked; `None` if somebody could.
    error: Option<String>,
}

/// Asks, and waits for each answer for a second at most.
pub async fn probe(question: ProbeRequest) -> Probed {
    let ProbeRequest { delegate_ip, port, count } = question;
    let mut answers = Vec::new();
    for number in 0..count {
        if number > 0 {
            sleep(PAUSE).await;
        }
        let asked = ask(SocketAddr::new(delegate_ip, port), PATIENCE).await;
        answers.push(asked.map_or_else(|error| OneAnswer::failed(one_line(&error)), OneAnswer::of));
    }
    Probed { delegate_ip, port, answers }
}

impl OneAnswer {
    fn of(reply: Option<ProbeReply>) -> Self {
        Self {
            inside: reply.as_ref().is_some_and(|reply| reply.way == PacketWay::Inside),
            took_ms: reply.as_ref().map(|reply| (reply.took.as_secs_f64() * 10_000.0).round() / 10.0),
            instance: reply.map(|reply| reply.instance),
            error: None,
        }
    }

    fn failed(error: String) -> Self {
        Self { error: Some(error), ..Self::of(None) }
    }
}

impl Probed {
    /// 0: one node answered every question. 2: several nodes answered, or not every question was answered. 1: nobody
    /// answered.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let first = self.answers.iter().find_map(|answer| answer.instance.as_ref());
        match first {
            None => 1,
            Some(first) if self.answers.iter().all(|answer| answer.instance.as_ref() == Some(first)) => 0,
            Some(_) => 2,
        }
    }

    /// One line for each question.
    #[must_use]
    pub fn page(&self) -> String {
        let at = format!("{} port {}", self.delegate_ip, self.port);
        let mut page = String::new();
        for answer in &self.answers {
            let line = match (&answer.instance, answer.took_ms, &answer.error) {
                (Some(instance), Some(took_ms), _) => {
                    let inside =
                        if answer.inside { "; the address is this machine's own: no packet left it" } else { "" };
                    format!("{instance} answers in {took_ms:.1} ms{inside}")
                }
                (_, _, Some(error)) => format!("nobody answers: {error}"),
                _ => format!("nobody answers within {} s", PATIENCE.as_secs()),
            };
            let _ = writeln!(page, "{at}: {line}");
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(instances: &[Option<&str>]) -> Probed {
        let reply = |instance: &str| ProbeReply {
            instance: instance.parse().unwrap(),
            took: Duration::from_micros(430),
            way: PacketWay::Outside,
        };
        let answers = instances.iter().map(|instance| OneAnswer::of(instance.map(reply))).collect();
        Probed { delegate_ip: "20.0.0.50".parse().unwrap(), port: 9814, answers }
    }

    #[test]
    fn the_exit_code_tells_one_from_several_and_from_nobody() {
        for (instances, code) in [
            (&[Some("i-a"), Some("i-a")][..], 0),
            (&[Some("i-a"), Some("i-b")], 2),
            (&[None, Some("i-b")], 2),
            (&[None, None], 1),
        ] {
            assert_eq!(answers(instances).exit_code(), code, "{instances:?}");
        }
    }

    #[test]
    fn the_page_has_one_line_for_each_question() {
        let mut asked = answers(&[Some("i-a"), None]);
        asked.answers.push(OneAnswer::failed("Connection refused".to_owned()));
        asked.answers[0].inside = true;
        let expected = "20.0.0.50 port 9814: i-a answers in 0.4 ms; the address is this machine's own: no packet left it\n\
                        20.0.0.50 port 9814: nobody answers within 1 s\n\
                        20.0.0.50 port 9814: nobody answers: Connection refused\n";
        assert_eq!(asked.page(), expected);
    }
}
