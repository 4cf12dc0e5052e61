//! The panels of the dashboard, row by row. This file is the dashboard's source: `UPDATE_GOLDEN=1 cargo test --test
//! dashboards` writes `dashboards/vipkeeper.json`.

use super::board::Good::{Any, One, Zero};
use super::board::Shape::{Bars, Lines, Now, Strips, Table};
use super::board::{Panel, Row};

const NO_WORDS: &[(&str, &str)] = &[];
const YES_NO: &[(&str, &str)] = &[("0", "no"), ("1", "yes")];

pub const ROWS: &[Row] = &[
    Row { title: "Is it well?", panels: IS_IT_WELL },
    Row { title: "Failovers", panels: FAILOVERS },
    Row { title: "Drift", panels: DRIFT },
    Row { title: "Changes", panels: CHANGES },
    Row { title: "Requests to EC2", panels: EC2 },
    Row { title: "Claims and hooks", panels: CLAIMS },
    Row { title: "The daemon", panels: DAEMON },
];

const IS_IT_WELL: &[Panel] = &[
    Panel {
        title: "Leaders",
        description: "How many nodes are wanted as leader of each VIP. One is right; see 'No leader, or two' in docs/operations.md.",
        shape: Now(Any),
        unit: "short",
        width: 4,
        queries: &[(r#"sum by (vip) (vipkeeper_desired_role{@vip, role="leader"})"#, "{{vip}}")],
        words: &[("0", "NONE"), ("1", "one"), ("2", "TWO")],
    },
    Panel {
        title: "Led by",
        description: "The node whose desired-state file says leader.",
        shape: Now(One),
        unit: "short",
        width: 5,
        queries: &[(r#"vipkeeper_desired_role{@vip, role="leader"} == 1"#, "{{vip}} {{instance}}")],
        words: &[("1", "leads")],
    },
    Panel {
        title: "In sync",
        description: "Whether every binding of the VIP is as it should be, on every node.",
        shape: Now(One),
        unit: "short",
        width: 4,
        queries: &[(r#"min by (vip) (vipkeeper_binding_state{@vip, state="in_sync"})"#, "{{vip}}")],
        words: &[("0", "NO"), ("1", "yes")],
    },
    Panel {
        title: "Contested",
        description: "Whether somebody keeps taking what the leader put back.",
        shape: Now(Zero),
        unit: "short",
        width: 3,
        queries: &[("max by (vip) (vipkeeper_contested{@vip})", "{{vip}}")],
        words: &[("0", "no"), ("1", "YES")],
    },
    Panel {
        title: "Leads since",
        description: "When the newest claim began: the last failover.",
        shape: Now(Any),
        unit: "dateTimeFromNow",
        width: 4,
        queries: &[("max by (vip) (vipkeeper_claim_term{@vip}) > 0", "{{vip}}")],
        words: NO_WORDS,
    },
    Panel {
        title: "Last failover took",
        description: "Time from the start of the hook of the newest claim until every binding was in place at its node. Nothing where the claim waits for that, and where an operator's hold was part of that time.",
        shape: Now(Any),
        unit: "s",
        width: 4,
        queries: &[(
            "max by (vip) (vipkeeper_claim_convergence_seconds{@vip} and on (job, cluster, instance, vip) topk by (job, cluster, vip) (1, vipkeeper_claim_term{@vip}))",
            "{{vip}}",
        )],
        words: NO_WORDS,
    },
];

const FAILOVERS: &[Panel] = &[
    Panel {
        title: "Who led",
        description: "Each node's role by its desired-state file. Two at once: one of them hangs or is cut off.",
        shape: Strips,
        unit: "short",
        width: 12,
        queries: &[(r#"vipkeeper_desired_role{@vip, role="leader"}"#, "{{vip}} {{instance}}")],
        words: &[("0", "-"), ("1", "leader")],
    },
    Panel {
        title: "Takeovers",
        description: "Times that the VIP came to a node or left it.",
        shape: Bars,
        unit: "short",
        width: 6,
        queries: &[(
            "sum by (vip, instance, direction) (increase(vipkeeper_takeovers_total{@vip}[$__rate_interval])) > 0",
            "{{vip}} {{direction}} {{instance}}",
        )],
        words: NO_WORDS,
    },
    Panel {
        title: "Convergence",
        description: "From the start of the hook until every binding was seen at the new leader; slowest and median.",
        shape: Lines,
        unit: "s",
        width: 6,
        queries: &[
            (
                "histogram_quantile(1, sum by (vip, le) (increase(vipkeeper_convergence_seconds_bucket{@vip}[$__rate_interval])))",
                "{{vip}} slowest",
            ),
            (
                "histogram_quantile(0.5, sum by (vip, le) (increase(vipkeeper_convergence_seconds_bucket{@vip}[$__rate_interval])))",
                "{{vip}} median",
            ),
        ],
        words: NO_WORDS,
    },
    Panel {
        title: "Superseded",
        description: "Claims that gave way to a newer one: a leader was cut off, or its down hook was lost.",
        shape: Bars,
        unit: "short",
        width: 12,
        queries: &[(
            "sum by (vip, instance) (increase(vipkeeper_superseded_total{@vip}[$__rate_interval]))",
            "{{vip}} {{instance}}",
        )],
        words: NO_WORDS,
    },
    Panel {
        title: "Connections ended",
        description: "TCP connections that a node ended before it removed their address, so that their clients are told at once.",
        shape: Bars,
        unit: "short",
        width: 12,
        queries: &[(
            "sum by (vip, instance) (increase(vipkeeper_connections_reset_total{@vip}[$__rate_interval]))",
            "{{vip}} {{instance}}",
        )],
        words: NO_WORDS,
    },
    Panel {
        title: "Answered by",
        description: "Which node answers each node's probes of the VIP, where [probe] is on. A gap: nobody answers.",
        shape: Strips,
        unit: "short",
        width: 8,
        queries: &[("vipkeeper_vip_answered_by{@vip}", "{{vip}} by {{node}}, asked from {{instance}}")],
        words: &[("1", "answers")],
    },
    Panel {
        title: "Packets go astray",
        description: "By the probes of a node: packets for the VIP do not arrive where EC2 leads them. See 'PacketsArrive: no' in docs/operations.md.",
        shape: Strips,
        unit: "short",
        width: 8,
        queries: &[("vipkeeper_packets_astray{@vip}", "{{vip}} {{reason}} {{instance}}")],
        words: YES_NO,
    },
    Panel {
        title: "From EC2's word to the first packet",
        description: "Time from EC2's accepted change to the first probe of another machine that came through the VIP.",
        shape: Lines,
        unit: "s",
        width: 8,
        queries: &[(
            "sum by (vip, instance) (increase(vipkeeper_datapath_seconds_sum{@vip}[$__rate_interval])) / sum by (vip, instance) (increase(vipkeeper_datapath_seconds_count{@vip}[$__rate_interval]))",
            "{{vip}} {{instance}}",
        )],
        words: NO_WORDS,
    },
];

const DRIFT: &[Panel] = &[
    Panel {
        title: "Bindings in sync",
        description: "Each binding on each node: green where it is as it should be.",
        shape: Strips,
        unit: "short",
        width: 12,
        queries: &[(r#"vipkeeper_binding_state{@vip, state="in_sync"}"#, "{{vip}} {{kind}} {{target}} {{instance}}")],
        words: &[("0", "not in sync"), ("1", "in sync")],
    },
    Panel {
        title: "Drift",
        description: "Times that a binding differed unasked, and how.",
        shape: Bars,
        unit: "short",
        width: 12,
        queries: &[(
            "sum by (vip, kind, target, reason) (increase(vipkeeper_drift_total{@vip}[$__rate_interval])) > 0",
            "{{vip}} {{kind}} {{target}} {{reason}}",
        )],
        words: NO_WORDS,
    },
];

const CHANGES: &[Panel] = &[
    Panel {
        title: "Changes by outcome",
        description: "Changes in EC2 and in the kernel. Denied and rejected ones need a person.",
        shape: Bars,
        unit: "short",
        width: 8,
        queries: &[(
            "sum by (kind, outcome) (increase(vipkeeper_actions_total{@vip}[$__rate_interval])) > 0",
            "{{kind}} {{outcome}}",
        )],
        words: NO_WORDS,
    },
    Panel {
        title: "Duration of changes",
        description: "Nine changes in ten take no longer.",
        shape: Lines,
        unit: "s",
        width: 8,
        queries: &[(
            "histogram_quantile(0.9, sum by (action, le) (rate(vipkeeper_action_duration_seconds_bucket{@node}[$__rate_interval])))",
            "{{action}}",
        )],
        words: NO_WORDS,
    },
    Panel {
        title: "Held back after failures",
        description: "How long the next try of a binding waits; 30 s at most.",
        shape: Lines,
        unit: "s",
        width: 8,
        queries: &[("vipkeeper_backoff_seconds{@vip} > 0", "{{vip}} {{kind}} {{target}} {{instance}}")],
        words: NO_WORDS,
    },
];

const EC2: &[Panel] = &[
    Panel {
        title: "Requests",
        description: "Requests to EC2 by operation.",
        shape: Lines,
        unit: "reqps",
        width: 8,
        queries: &[(
            "sum by (operation) (rate(vipkeeper_ec2_requests_total{@node}[$__rate_interval]))",
            "{{operation}}",
        )],
        words: NO_WORDS,
    },
    Panel {
        title: "Errors",
        description: "Requests that EC2 did not answer with ok, by operation and code.",
        shape: Bars,
        unit: "reqps",
        width: 8,
        queries: &[(
            r#"sum by (operation, code) (rate(vipkeeper_ec2_requests_total{@node, code!="ok"}[$__rate_interval])) > 0"#,
            "{{operation}} {{code}}",
        )],
        words: NO_WORDS,
    },
    Panel {
        title: "Throttled",
        description: "Requests that EC2 refused by the account's rate limit.",
        shape: Bars,
        unit: "reqps",
        width: 8,
        queries: &[(
            "sum by (operation) (rate(vipkeeper_ec2_throttled_total{@node}[$__rate_interval]))",
            "{{operation}}",
        )],
        words: NO_WORDS,
    },
    Panel {
        title: "Duration of requests",
        description: "Nine requests in ten take no longer.",
        shape: Lines,
        unit: "s",
        width: 8,
        queries: &[(
            "histogram_quantile(0.9, sum by (operation, le) (rate(vipkeeper_ec2_request_duration_seconds_bucket{@node}[$__rate_interval])))",
            "{{operation}}",
        )],
        words: NO_WORDS,
    },
    Panel {
        title: "Wait for vipkeeper's own limit",
        description: "Time that nine requests in ten waited at most for [limits]. Often above 0: raise the limit or the intervals.",
        shape: Lines,
        unit: "s",
        width: 8,
        queries: &[(
            "histogram_quantile(0.9, sum by (instance, le) (rate(vipkeeper_rate_limit_wait_seconds_bucket{@node}[$__rate_interval])))",
            "{{instance}}",
        )],
        words: NO_WORDS,
    },
    Panel {
        title: "Age of the last reading",
        description: "Time since each source was last read in all its parts.",
        shape: Lines,
        unit: "s",
        width: 8,
        queries: &[(
            "time() - (vipkeeper_last_successful_observation_timestamp_seconds{@node} > 0)",
            "{{source}} {{instance}}",
        )],
        words: NO_WORDS,
    },
];

const CLAIMS: &[Panel] = &[
    Panel {
        title: "Claim on record as the newest",
        description: "1 on a leader whose claim was read as the newest on record, else 0.",
        shape: Strips,
        unit: "short",
        width: 8,
        queries: &[("vipkeeper_claim_recorded{@vip}", "{{vip}} {{instance}}")],
        words: YES_NO,
    },
    Panel {
        title: "Watchdog process behind the claim",
        description: "1 while Pgpool's watchdog process behind a leader's claim lives, else 0.",
        shape: Strips,
        unit: "short",
        width: 8,
        queries: &[("vipkeeper_guard_alive{@vip}", "{{vip}} {{instance}}")],
        words: YES_NO,
    },
    Panel {
        title: "Nobody serves, hooks lost, claims not read, files that do not count, holds",
        description: "EC2 leads the clients to nobody, Pgpool's watchdog contradicts the desired-state file, a leader cannot read the claims, the desired-state file cannot be trusted, or an operator holds the VIP.",
        shape: Lines,
        unit: "short",
        width: 8,
        queries: &[
            ("vipkeeper_hook_lost{@vip}", "hook lost {{vip}} {{instance}}"),
            ("vipkeeper_claims_not_read{@vip}", "claims not read {{vip}} {{instance}}"),
            ("vipkeeper_desired_invalid{@vip}", "invalid {{vip}} {{instance}}"),
            ("vipkeeper_held{@vip}", "held {{vip}} {{instance}}"),
            ("vipkeeper_held_unserved{@vip}", "held unserved {{vip}} {{instance}}"),
            ("vipkeeper_nobody_serves{@vip}", "nobody serves {{vip}} {{instance}}"),
        ],
        words: NO_WORDS,
    },
    Panel {
        title: "Watchdog process gone",
        description: "1 where the desired-state file says leader, and the watchdog process that said so is gone.",
        shape: Strips,
        unit: "short",
        width: 8,
        queries: &[("vipkeeper_watchdog_gone{@vip}", "{{vip}} {{instance}}")],
        words: NO_WORDS,
    },
    Panel {
        title: "Obstacles to a takeover",
        description: "Known reasons why a takeover by this node would fail.",
        shape: Lines,
        unit: "short",
        width: 8,
        queries: &[("vipkeeper_takeover_obstacles{@vip}", "{{vip}} {{instance}}")],
        words: NO_WORDS,
    },
    Panel {
        title: "Clocks",
        description: "How far each node's clock is ahead of EC2's, and the largest error that its kernel admits.",
        shape: Lines,
        unit: "s",
        width: 8,
        queries: &[
            ("vipkeeper_clock_offset_seconds{@node}", "ahead {{instance}}"),
            ("vipkeeper_clock_max_error_seconds{@node}", "largest error {{instance}}"),
        ],
        words: NO_WORDS,
    },
];

const DAEMON: &[Panel] = &[
    Panel {
        title: "Reached by Prometheus",
        description: "Whether the daemon answers.",
        shape: Strips,
        unit: "short",
        width: 8,
        queries: &[("up{@node}", "{{instance}}")],
        words: YES_NO,
    },
    Panel {
        title: "Versions",
        description: "The running program on each node.",
        shape: Table,
        unit: "short",
        width: 8,
        queries: &[("max by (cluster, instance, version) (vipkeeper_build_info{@node})", "{{instance}} {{version}}")],
        words: NO_WORDS,
    },
    Panel {
        title: "Started",
        description: "When each daemon started.",
        shape: Table,
        unit: "dateTimeFromNow",
        width: 8,
        queries: &[("max by (cluster, instance) (process_start_time_seconds{@node}) * 1000", "{{instance}}")],
        words: NO_WORDS,
    },
    Panel {
        title: "Passes",
        description: "Passes of the loop by what they came to.",
        shape: Lines,
        unit: "ops",
        width: 8,
        queries: &[(
            "sum by (instance, result) (rate(vipkeeper_passes_total{@node}[$__rate_interval]))",
            "{{instance}} {{result}}",
        )],
        words: NO_WORDS,
    },
    Panel {
        title: "Duration of passes",
        description: "Nine passes in ten take no longer.",
        shape: Lines,
        unit: "s",
        width: 8,
        queries: &[(
            "histogram_quantile(0.9, sum by (instance, le) (rate(vipkeeper_pass_duration_seconds_bucket{@node}[$__rate_interval])))",
            "{{instance}}",
        )],
        words: NO_WORDS,
    },
    Panel {
        title: "Credentials run out in",
        description: "Time until the credentials in use stop working. They are renewed by themselves.",
        shape: Lines,
        unit: "s",
        width: 8,
        queries: &[("vipkeeper_credentials_expiry_timestamp_seconds{@node} - time()", "{{instance}}")],
        words: NO_WORDS,
    },
    Panel {
        title: "Processor",
        description: "Share of one core.",
        shape: Lines,
        unit: "percentunit",
        width: 8,
        queries: &[("rate(process_cpu_seconds_total{@node}[$__rate_interval])", "{{instance}}")],
        words: NO_WORDS,
    },
    Panel {
        title: "Memory",
        description: "Resident memory.",
        shape: Lines,
        unit: "bytes",
        width: 8,
        queries: &[("process_resident_memory_bytes{@node}", "{{instance}}")],
        words: NO_WORDS,
    },
    Panel {
        title: "Open files",
        description: "Open file descriptors.",
        shape: Lines,
        unit: "short",
        width: 8,
        queries: &[("process_open_fds{@node}", "{{instance}}")],
        words: NO_WORDS,
    },
    Panel {
        title: "Lines of the log that were lost",
        description: "Lines that could not be written, or that nobody read in time.",
        shape: Lines,
        unit: "short",
        width: 8,
        queries: &[("increase(vipkeeper_log_lines_lost_total{@node}[$__rate_interval])", "{{instance}}")],
        words: NO_WORDS,
    },
];
