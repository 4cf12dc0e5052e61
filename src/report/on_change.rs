//! The command that `on_change` of the configuration names. A thread of its own runs it, once for each event and one at a
//! time, so that it holds up nothing. Whatever comes of it changes nothing but the log.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use serde::Serialize;
use tracing::{debug, info, warn};

use super::locked::locked;
use crate::shown;
use crate::status::event::shown::date;
use crate::status::event::{EventKind, NodeEvent};

/// How many events may wait for their turn. A further event is not told to the command.
const WAITING: usize = 32;
/// How long the command may run. Its whole process group is killed then.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// How often the thread looks whether the command ended.
const TICK: Duration = Duration::from_millis(20);
/// How much of the command's output is logged, in bytes. The rest is read and dropped.
const MOST_OUTPUT: usize = 8 << 10;
/// The command gets no other variable of the daemon's environment, which may hold credentials.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The events of which the command is told.
const TOLD: [EventKind; 6] = [
    EventKind::Gained,
    EventKind::Lost,
    EventKind::Contested,
    EventKind::NobodyServes,
    EventKind::Astray,
    EventKind::Blocked,
];

/// The command, and the queue of those events that wait for it.
#[derive(Debug, Default)]
pub(super) struct OnChange {
    command: Mutex<Option<Arc<[String]>>>,
    /// The queue of the thread, once there is one.
    queue: Mutex<Option<SyncSender<Run>>>,
}

/// One run of the command.
#[derive(Debug)]
struct Run {
    command: Arc<[String]>,
    /// The event as one JSON object.
    input: String,
    variables: Vec<(&'static str, String)>,
}

/// The event as the command gets it on its standard input.
#[derive(Serialize)]
struct Input<'a> {
    node: Option<&'a str>,
    #[serde(flatten)]
    event: &'a NodeEvent,
}

impl OnChange {
    /// From now on, this command is run. An empty one switches it off. Events that wait are still told to the command of
    /// before.
    pub(super) fn set(&self, command: &[String]) {
        *locked(&self.command) = (!command.is_empty()).then(|| command.into());
    }

    /// Has the command told of the event, if it is one of those that it is told of.
    pub(super) fn tell(&self, event: &NodeEvent, node: Option<&str>) {
        let Some(kind) = event.kind.known().filter(|kind| TOLD.contains(kind)) else { return };
        let Some(command) = locked(&self.command).clone() else { return };
        let Ok(input) = serde_json::to_string(&Input { node, event }) else { return };
        let run = Run { command, input: shown::json(input) + "\n", variables: variables(kind, event, node) };
        let mut queue = locked(&self.queue);
        if queue.is_none() {
            match start() {
                Ok(started) => *queue = Some(started),
                Err(error) => return warn!(%error, "on_change: no thread can be started to run the command"),
            }
        }
        if let Some(Err(TrySendError::Full(_))) = queue.as_ref().map(|queue| queue.try_send(run)) {
            warn!(
                event = kind.name(),
                "on_change: {WAITING} events wait already, so the command is not told of this one"
            );
        }
    }
}

/// The event in the command's environment. The names do not begin like the variables of the configuration, which a
/// `vipkeeper` that the command starts would read.
fn variables(kind: EventKind, event: &NodeEvent, node: Option<&str>) -> Vec<(&'static str, String)> {
    let text = |text: &str| shown::line(text).replace('\0', "");
    let mut variables =
        vec![("EVENT", kind.name().to_owned()), ("EVENT_AT", date(event.at_ms)), ("EVENT_WHAT", text(&event.what))];
    let mut put = |name, value: Option<String>| variables.extend(value.map(|value| (name, value)));
    put("EVENT_NODE", node.map(text));
    put("EVENT_VIP", event.vip.map(|vip| vip.to_string()));
    put("EVENT_BINDING", event.binding.as_ref().map(|binding| text(&binding.to_string())));
    put("EVENT_WHY", event.why.as_deref().map(text));
    variables
}

fn start() -> io::Result<SyncSender<Run>> {
    let (queue, runs) = sync_channel(WAITING);
    std::thread::Builder::new().name("on_change".to_owned()).spawn(move || work(&runs))?;
    Ok(queue)
}

fn work(runs: &Receiver<Run>) {
    // The capability for local addresses is the daemon's alone. Capabilities belong to a thread, and a child gets those of
    // the thread that starts it. Without ambient capabilities there is nothing to give up.
    let _ = rustix::thread::clear_ambient_capability_set();
    while let Ok(run) = runs.recv() {
        carry_out(&run, TIME_LIMIT);
    }
}

/// Runs the command, and logs its output and its end.
fn carry_out(run: &Run, limit: Duration) {
    let began = Instant::now();
    let program = run.command.first().map_or("", String::as_str);
    let event = run.variables.first().map_or("", |(_, kind)| kind);
    let mut output = Vec::new();
    let ended = begin(run).and_then(|child| attend(child, began + limit, &mut output));
    for line in String::from_utf8_lossy(&output).lines().filter(|line| !line.trim().is_empty()) {
        info!(program, event, "on_change says: {}", shown::line(line));
    }
    let took = began.elapsed();
    match ended {
        Ok(Some(status)) if status.success() => debug!(program, event, ?took, "on_change: done"),
        Ok(Some(status)) => warn!(program, event, ?took, "on_change: the command failed: {}", told(status)),
        Ok(None) => warn!(program, event, "on_change: the command ran for {limit:?} and was killed"),
        Err(error) => warn!(program, event, "on_change: the command cannot be run: {error}"),
    }
}

fn told(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit status".to_owned(),
    }
}

fn begin(run: &Run) -> io::Result<Child> {
    let (program, arguments) = run.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    // A file in memory instead of a pipe: the command may read it late, in part, or not at all, and nobody waits for that.
    let mut input = std::fs::File::from(rustix::fs::memfd_create("event", rustix::fs::MemfdFlags::CLOEXEC)?);
    input.write_all(run.input.as_bytes())?;
    io::Seek::rewind(&mut input)?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PATH).envs(run.variables.iter().map(|(name, value)| (name, value)));
    command.current_dir("/").process_group(0);
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Waits for the end of the command and collects its output. `None`: it was killed at the deadline. Whatever the command
/// left running in its process group ends with it.
fn attend(mut child: Child, deadline: Instant, output: &mut Vec<u8>) -> io::Result<Option<ExitStatus>> {
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let child_id = Pid::from_child(&child);
    for pipe in [stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)].into_iter().flatten() {
        rustix::fs::fcntl_setfl(pipe, OFlags::NONBLOCK)?;
    }
    // The child is not reaped before its group was killed: until then, no other group can have its number.
    let looks = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    loop {
        let is_over = rustix::process::waitid(WaitId::Pid(child_id), looks)?.is_some();
        let is_late = Instant::now() >= deadline;
        if is_over || is_late {
            // An error would say that nothing of the group is left.
            let _ = rustix::process::kill_process_group(child_id, Signal::KILL);
        }
        drain(stdout.as_mut(), output);
        drain(stderr.as_mut(), output);
        if is_over || is_late {
            let status = child.wait()?;
            return Ok(is_over.then_some(status));
        }
        std::thread::park_timeout(TICK);
    }
}

/// Reads what is there, and keeps as much as is logged.
fn drain(pipe: Option<&mut impl Read>, output: &mut Vec<u8>) {
    let Some(pipe) = pipe else { return };
    let mut bytes = [0; 4096];
    // A command that writes without end is read in turns, so that its deadline still counts.
    for _ in 0..64 {
        match pipe.read(&mut bytes) {
            Ok(read) if read > 0 => {
                let room = MOST_OUTPUT.saturating_sub(output.len());
                output.extend_from_slice(&bytes[..read.min(room)]);
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;
    use crate::binding::{BindingKey, Kind};

    fn script(folder: &Path, text: &str) -> Arc<[String]> {
        let path = folder.join("tell");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        [path.to_str().unwrap().to_owned(), folder.to_str().unwrap().to_owned(), "a b".to_owned()].into()
    }

    fn blocked() -> NodeEvent {
        let event = NodeEvent::new(EventKind::Blocked, "blocked").because(Some("denied;\n$(touch /tmp/x)\0 \u{202e}"));
        let key = BindingKey::new(Kind::Route, "rtb-1");
        NodeEvent { at_ms: 1_700_000_000_123, ..event.of_vip("20.0.0.50".parse().unwrap()).of_binding(Some(&key)) }
    }

    fn run(folder: &Path, text: &str) -> Run {
        let event = blocked();
        let input = serde_json::to_string(&Input { node: Some("i-0a"), event: &event }).unwrap();
        let variables = variables(EventKind::Blocked, &event, Some("i-0a"));
        Run { command: script(folder, text), input, variables }
    }

    /// Runs the script to its end, and gives its end and its output.
    fn ended(folder: &Path, text: &str, limit: Duration) -> (Option<ExitStatus>, String) {
        let mut output = Vec::new();
        // Another test that starts a program just now may still have the script open for writing.
        let child = std::iter::repeat_with(|| begin(&run(folder, text)))
            .find(|begun| begun.as_ref().err().is_none_or(|error| error.kind() != io::ErrorKind::ExecutableFileBusy))
            .unwrap();
        let ended = attend(child.unwrap(), Instant::now() + limit, &mut output).unwrap();
        (ended, String::from_utf8_lossy(&output).into_owned())
    }

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn the_command_gets_the_event_and_nothing_else_of_the_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let (status, output) = ended(folder.path(), "cat > \"$1/in\"; env | sort; echo \"$2\" >&2; pwd", LONG);
        assert!(status.unwrap().success(), "{output}");
        let json: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(folder.path().join("in")).unwrap()).unwrap();
        assert_eq!(
            (&json["node"], &json["kind"], &json["vip"]),
            (&"i-0a".into(), &"blocked".into(), &"20.0.0.50".into())
        );
        let names: Vec<_> = output.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        let own = ["EVENT", "EVENT_AT", "EVENT_BINDING", "EVENT_NODE", "EVENT_VIP", "EVENT_WHAT", "EVENT_WHY", "PATH"];
        let is_shells = |name: &&str| ["PWD", "OLDPWD", "SHLVL", "_"].contains(name);
        assert_eq!(names.into_iter().filter(|name| !is_shells(name)).collect::<Vec<_>>(), own);
        assert!(output.contains("EVENT_WHY=denied;\\n$(touch /tmp/x)"), "{output}");
        assert!(output.contains("a b\n") && output.contains("\n/\n"), "{output}");
    }

    #[test]
    fn a_command_that_hangs_ends_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let began = Instant::now();
        let (status, output) =
            ended(folder.path(), "sleep 600 & echo $! > \"$1/child\"; echo begun; wait", Duration::from_millis(500));
        assert!(status.is_none() && began.elapsed() < LONG, "{output}");
        assert_eq!(output, "begun\n");
        let child: u32 = fs::read_to_string(folder.path().join("child")).unwrap().trim().parse().unwrap();
        let is_gone = || fs::read_to_string(format!("/proc/{child}/stat")).map_or(true, |stat| stat.contains(") Z "));
        assert!(
            (0..500).any(|_| is_gone() || {
                std::thread::park_timeout(TICK);
                false
            }),
            "{child} lives on"
        );
    }

    #[test]
    fn a_command_that_leaves_a_child_behind_with_its_output_open_is_over_when_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let began = Instant::now();
        let (status, output) = ended(folder.path(), "setsid sleep 5 & echo done; exit 3", LONG);
        assert_eq!((status.unwrap().code(), output.as_str()), (Some(3), "done\n"));
        assert!(began.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn output_without_end_is_neither_kept_nor_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (status, output) = ended(folder.path(), "yes; true", Duration::from_millis(600));
        assert!(status.is_none());
        assert_eq!(output.len(), MOST_OUTPUT);
    }

    #[test]
    fn events_are_told_one_at_a_time_and_only_so_many_wait() {
        let folder = tempfile::tempdir().unwrap();
        let on_change = OnChange::default();
        on_change.tell(&blocked(), None);
        assert!(locked(&on_change.queue).is_none(), "without a command there is no thread");
        let command =
            script(folder.path(), "mkdir \"$1/alone\" && echo >> \"$1/told\" && sleep 0.05 && rmdir \"$1/alone\"");
        on_change.set(&command);
        let began = Instant::now();
        for _ in 0..WAITING * 4 {
            on_change.tell(&blocked(), None);
            on_change.tell(&NodeEvent::new(EventKind::Started, "started"), None);
        }
        assert!(began.elapsed() < Duration::from_secs(2), "nobody waits for the command");
        let told = || fs::read_to_string(folder.path().join("told")).unwrap_or_default().lines().count();
        let all_told = || told() >= WAITING && !folder.path().join("alone").exists();
        assert!(
            (0..3_000).any(|_| all_told() || {
                std::thread::park_timeout(TICK);
                false
            }),
            "{}",
            told()
        );
        std::thread::park_timeout(Duration::from_millis(300));
        assert!(told() < WAITING * 2, "{}", told());
    }

    #[test]
    fn a_command_that_is_not_there_is_an_error_and_no_more() {
        let event = blocked();
        let command: Arc<[String]> = ["/nonexistent/tell".to_owned()].into();
        let run = Run { command, input: String::new(), variables: variables(EventKind::Blocked, &event, None) };
        assert_eq!(begin(&run).unwrap_err().kind(), io::ErrorKind::NotFound);
        carry_out(&run, LONG);
    }
}
