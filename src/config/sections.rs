//! All keys of the file except those of the VIPs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::{Checked, Table};
use super::values::{self, one_of};
use super::{
    Aws, Config, DEFAULT_LISTEN, Identity, Intervals, LeaderInterval, Limits, LogSettings, Pgpool, ProbeConfig,
    WitnessMode, vips,
};
use crate::binding::{ClaimMode, Connections, Handover};

/// The range of the leader's interval. All callers of an account share its request quota: at one look every 2 s, a
/// leader makes about as many requests as one node should.
const LEADER_INTERVAL: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(10));
/// The range of the standby's interval. A standby only clears what an earlier leadership left behind, so it may look
/// less often.
const STANDBY_INTERVAL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(10));

/// The range of the pause between two questions who answers. At the longest, an outage of some seconds would go unseen.
const PROBE_INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// Reads the whole configuration. On failure, the problems are recorded.
pub(super) fn config(mut root: Table<'_>) -> Checked<Config> {
    let state_dir = state_dir(&mut root);
    let hook_users = root.list("hook_users", "a list of user names like [\"postgres\"]", |user| {
        user.text("the name of a user in quotes", values::user_name)
    });
    let identity = root.table("identity", identity);
    let aws = root.table("aws", aws);
    let limits = root.table("limits", limits);
    let listen = metrics(&mut root);
    let intervals = root.table("intervals", intervals);
    let log = root.table("log", log);
    // A text in place of the table means the mode. The layers have already turned such a text into a table.
    let claims = root.optional("claims", |node| {
        let mut table = node.table("\"tags\", \"off\" or a table, [claims]")?;
        let mode = table.text("mode", "\"tags\" or \"off\"", one_of(CLAIM_MODES));
        let anchor = vips::anchor(&mut table);
        table.finish();
        Ok((mode?.unwrap_or_default(), anchor?))
    });
    // A bad `claims` table is reported only once: without claims, no VIP needs an anchor.
    let (mode, anchor) = claims.clone().map_or((ClaimMode::Off, None), Option::unwrap_or_default);
    let witness = root.text("witness", "\"off\", \"check\" or \"trust\"", one_of(WITNESS_MODES));
    let pgpool = root.table("pgpool", pgpool);
    let handover = root.text("handover", "\"at_once\", \"after_guard\" or \"always\"", one_of(HANDOVERS));
    let probe = root.switchable("probe", probe);
    let reset_connections = root.boolean("reset_connections");
    let on_change = on_change(&mut root);
    let vips = vips::vips(&mut root, mode, anchor.as_ref());
    root.finish();

    let default = Config::with_vips(vips?);
    Ok(Config {
        state_dir: state_dir?.unwrap_or(default.state_dir),
        hook_users: hook_users?.unwrap_or(default.hook_users),
        identity: identity?.unwrap_or_default(),
        aws: aws?.unwrap_or_default(),
        limits: limits?.unwrap_or_default(),
        listen: listen?,
        intervals: intervals?.unwrap_or_default(),
        log: log?.unwrap_or_default(),
        claims: claims?.map(|(mode, _)| mode).unwrap_or_default(),
        witness: witness?.unwrap_or_default(),
        pgpool: pgpool?.unwrap_or_default(),
        handover: handover?.unwrap_or_default(),
        connections: match reset_connections? {
            Some(false) => Connections::Leave,
            Some(true) | None => Connections::Reset,
        },
        probe: probe?,
        on_change: on_change?.unwrap_or_default(),
        vips: default.vips,
    })
}

const WITNESS_MODES: &[(&str, WitnessMode)] =
    &[("off", WitnessMode::Off), ("check", WitnessMode::Check), ("trust", WitnessMode::Trust)];

const HANDOVERS: &[(&str, Handover)] =
    &[("at_once", Handover::AtOnce), ("after_guard", Handover::AfterGuard), ("always", Handover::Always)];

const CLAIM_MODES: &[(&str, ClaimMode)] = &[("tags", ClaimMode::Tags), ("off", ClaimMode::Off)];

/// Reads the state folder. A hook also reads it alone, from a configuration that is otherwise unusable.
pub(super) fn state_dir(root: &mut Table<'_>) -> Checked<Option<PathBuf>> {
    root.text("state_dir", "an absolute path in quotes", values::state_dir)
}

fn pgpool(table: &mut Table<'_>) -> Checked<Pgpool> {
    let address = table.text("address", "an address with a port like \"127.0.0.1:9999\"", values::listen);
    let watchdog_socket = table.text("watchdog_socket", "an absolute path in quotes", values::absolute_path);
    let wd_authkey = table.text("wd_authkey", "the key in quotes", |text| Ok::<_, String>(text.to_owned()));
    let wd_authkey_file = table.text("wd_authkey_file", "an absolute path in quotes", values::absolute_path);
    Ok(Pgpool {
        address: address?.unwrap_or(Pgpool::default().address),
        watchdog_socket: watchdog_socket?,
        wd_authkey: wd_authkey?,
        wd_authkey_file: wd_authkey_file?,
    })
}

/// Reads the command that is told of events: an absolute path, then its arguments.
fn on_change(root: &mut Table<'_>) -> Checked<Option<Vec<String>>> {
    let mut is_program = true;
    root.list("on_change", "a list like [\"/usr/local/bin/tell\", \"argument\"]", |word| {
        if std::mem::take(&mut is_program) {
            let program = word.text("the absolute path of a program in quotes", values::absolute_path)?;
            // The conversion loses nothing: the path was a text.
            Ok(program.to_string_lossy().into_owned())
        } else {
            word.text("an argument in quotes", values::argument)
        }
    })
}

fn identity(table: &mut Table<'_>) -> Checked<Identity> {
    let instance_id = table.text("instance_id", "an instance id like \"i-0123456789abcdef0\"", str::parse);
    let interfaces =
        table.map("interfaces", "a table like { eth0 = \"eni-0123456789abcdef0\" }", values::interface, |eni| {
            eni.text("the id of its ENI like \"eni-0123456789abcdef0\"", str::parse)
        });
    Ok(Identity { instance_id: instance_id?, interfaces: interfaces?.unwrap_or_default() })
}

fn aws(table: &mut Table<'_>) -> Checked<Aws> {
    let region = table.text("region", "a region like \"eu-central-1\"", values::region);
    let profile = table.text("profile", "the name of a profile in quotes", |text| Ok::<_, String>(text.to_owned()));
    let endpoint_url = table.text("endpoint_url", "a URL in quotes", values::endpoint_url);
    let assume_role_arn = table.text("assume_role_arn", "the ARN of a role in quotes", values::role_arn);
    let ca_bundle = table.text("ca_bundle", "an absolute path in quotes", values::absolute_path);
    let use_fips = table.boolean("use_fips");
    let use_dual_stack = table.boolean("use_dual_stack");
    let imds_endpoint = table.text("imds_endpoint", "a URL in quotes", values::endpoint_url);
    let aws = Aws {
        region: region?,
        profile: profile?,
        endpoint_url: endpoint_url?,
        assume_role_arn: assume_role_arn?,
        ca_bundle: ca_bundle?,
        use_fips: use_fips?.unwrap_or(false),
        use_dual_stack: use_dual_stack?.unwrap_or(false),
        imds_endpoint: imds_endpoint?,
    };
    // EC2's endpoint rules refuse `endpoint_url` together with either option. FIPS and dual stack are properties of
    // the endpoints that the SDK itself names.
    let refused: Vec<_> = [("use_fips", aws.use_fips), ("use_dual_stack", aws.use_dual_stack)]
        .into_iter()
        .filter(|(_, chosen)| *chosen && aws.endpoint_url.is_some())
        .map(|(key, _)| table.report(key, "cannot be combined with endpoint_url: name the endpoint of that kind there"))
        .collect();
    match refused.first() {
        Some(reported) => Err(*reported),
        None => Ok(aws),
    }
}

fn limits(table: &mut Table<'_>) -> Checked<Limits> {
    let requests_per_s = table.optional("requests_per_s", |node| node.number(&(0.5..=50.0)));
    let burst = table.optional("burst", |node| node.whole_number(&(5..=500)));
    let default = Limits::default();
    Ok(Limits {
        requests_per_s: requests_per_s?.unwrap_or(default.requests_per_s),
        burst: burst?.unwrap_or(default.burst),
    })
}

/// Reads the address for metrics. Without the table, metrics are served at the default address.
fn metrics(root: &mut Table<'_>) -> Checked<Option<SocketAddr>> {
    let metrics = root.table("metrics", |table| {
        let enabled = table.boolean("enabled");
        let listen = table.text("listen", "an address with a port like \"127.0.0.1:9813\"", values::listen);
        Ok((enabled?.unwrap_or(true), listen?))
    })?;
    let (enabled, listen) = metrics.unwrap_or((true, None));
    Ok(enabled.then_some(listen.unwrap_or(DEFAULT_LISTEN)))
}

fn intervals(table: &mut Table<'_>) -> Checked<Intervals> {
    let time = |(least, most)| values::interval(least..=most);
    let leader = table.text("leader", "\"auto\" or a time with its unit in quotes, like \"10s\"", |text| match text {
        "auto" => Ok(LeaderInterval::Auto),
        _ => time(LEADER_INTERVAL)(text).map(LeaderInterval::Every),
    });
    let standby = table.text("standby", "a time with its unit in quotes, like \"10s\"", time(STANDBY_INTERVAL));
    let default = Intervals::default();
    Ok(Intervals { leader: leader?.unwrap_or(default.leader), standby: standby?.unwrap_or(default.standby) })
}

fn probe(table: &mut Table<'_>) -> Checked<ProbeConfig> {
    let port = table.optional("port", |node| node.whole_number(&(1..=u32::from(u16::MAX))));
    let (least, most) = PROBE_INTERVAL;
    let interval =
        table.text("interval", "a time with its unit in quotes, like \"1s\"", values::interval(least..=most));
    let default = ProbeConfig::default();
    // The range leaves no number that a port cannot be.
    let port = port?.and_then(|port| u16::try_from(port).ok());
    Ok(ProbeConfig { port: port.unwrap_or(default.port), interval: interval?.unwrap_or(default.interval) })
}

fn log(table: &mut Table<'_>) -> Checked<LogSettings> {
    let level = table.text("level", "a level like \"info\"", one_of(values::LOG_LEVELS));
    let format = table.text("format", "\"text\" or \"json\"", one_of(values::LOG_FORMATS));
    let default = LogSettings::default();
    Ok(LogSettings { level: level?.unwrap_or(default.level), format: format?.unwrap_or(default.format) })
}
