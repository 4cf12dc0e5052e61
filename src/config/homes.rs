//! The table in which each key stands, to help where a key is written into the wrong one. TOML puts every key that follows
//! a heading into the heading's table, whatever the order of the keys means to their writer.

/// Every key below its table. A table in a table is a key as well.
pub(super) const KEYS: [(&str, &[&str]); 15] = [
    (
        "",
        &[
            "state_dir",
            "hook_users",
            "identity",
            "aws",
            "limits",
            "metrics",
            "intervals",
            "log",
            "claims",
            "witness",
            "pgpool",
            "handover",
            "probe",
            "reset_connections",
            "on_change",
            "vip",
        ],
    ),
    ("pgpool", &["address", "watchdog_socket", "wd_authkey_file", "wd_authkey"]),
    (
        "aws",
        &[
            "region",
            "profile",
            "endpoint_url",
            "assume_role_arn",
            "ca_bundle",
            "use_fips",
            "use_dual_stack",
            "imds_endpoint",
        ],
    ),
    ("identity", &["instance_id", "interfaces"]),
    ("intervals", &["leader", "standby"]),
    ("limits", &["requests_per_s", "burst"]),
    ("metrics", &["enabled", "listen"]),
    ("probe", &["enabled", "port", "interval"]),
    ("log", &["level", "format"]),
    ("claims", &["mode", "anchor"]),
    ("vip", &["delegate_ip", "anchor", "also", "elastic_ip", "route", "secondary_ip"]),
    ("vip.also", &["address"]),
    ("vip.elastic_ip", &["enabled", "allocation_id", "interface", "private_ip"]),
    ("vip.route", &["enabled", "tables", "table_tags", "assume_role_arn", "interface", "on_release"]),
    ("vip.secondary_ip", &["enabled", "interface"]),
];

/// The place of a key as the end of a sentence; `None` if there is no such key, or a key of this name in many tables.
pub(super) fn of(name: &str) -> Option<String> {
    let homes: Vec<&str> = KEYS.iter().filter(|(_, keys)| keys.contains(&name)).map(|(table, _)| *table).collect();
    let is_table = |table: &str| KEYS.iter().any(|(other, _)| *other == table);
    let place = |table: &&str| match *table {
        "" if name == "vip" => "at the beginning of a line, as [[vip]]".to_owned(),
        "" if is_table(name) => format!("into a table of its own, [{name}]"),
        "" => "to the top of the file, before the first table".to_owned(),
        "vip" if is_table(&format!("vip.{name}")) => {
            let heading = if name == "also" { "[[vip.also]]".to_owned() } else { format!("[vip.{name}]") };
            format!("to a VIP: write {heading} below its [[vip]]")
        }
        "vip" => "directly below [[vip]], before its other tables".to_owned(),
        "vip.also" => "below [[vip.also]]".to_owned(),
        table => format!("into [{table}]"),
    };
    (1..=2).contains(&homes.len()).then(|| homes.iter().map(place).collect::<Vec<_>>().join(" or "))
}
