//! The form of a Grafana dashboard: [`json`] makes the document that Grafana imports from the panels in `panels.rs`.

use serde_json::{Value, json};

/// Grafana divides a dashboard's width by 24.
const WIDTH: u64 = 24;
/// The schema of Grafana 10.
const SCHEMA: u64 = 38;
/// The variables by which every query chooses its nodes. Empty labels match `.*`, so that `cluster` may be missing.
const NODE: &str = r#"job=~"$job", cluster=~"$cluster", instance=~"$instance""#;

/// The way in which a panel shows its queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One large value for each series, in the colour that [`Good`] gives it.
    Now(Good),
    /// Lines over time.
    Lines,
    /// Bars that are stacked on one another, for counts.
    Bars,
    /// One strip for each series, coloured by its value.
    Strips,
    /// One row for each series.
    Table,
}

/// The values that a panel shows in green.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Good {
    /// 1 is good and 0 is bad.
    One,
    /// 0 is good and everything else is bad.
    Zero,
    /// Every value is as good as another.
    Any,
}

/// One panel. `{@node}` and `{@vip}` in a query stand for the matchers of the dashboard's variables.
#[derive(Debug, Clone, Copy)]
pub struct Panel {
    pub title: &'static str,
    pub description: &'static str,
    pub shape: Shape,
    /// Grafana's name of the unit.
    pub unit: &'static str,
    pub width: u64,
    /// Each query with the legend of its series.
    pub queries: &'static [(&'static str, &'static str)],
    /// Words that are shown in place of values.
    pub words: &'static [(&'static str, &'static str)],
}

/// A row of panels under one heading.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub title: &'static str,
    pub panels: &'static [Panel],
}

/// Everything that Grafana replaces, with a value that Prometheus understands.
pub fn filled_in(expression: &str, rate_interval: &str) -> String {
    let variables = ["$job", "$cluster", "$instance", "$vip"];
    let filled = variables.iter().fold(expression.to_owned(), |text, variable| text.replace(variable, ".*"));
    filled.replace("$__rate_interval", rate_interval).replace("$__range", "1h")
}

/// The whole dashboard as Grafana imports it.
pub fn json(rows: &[Row]) -> Value {
    let (mut panels, mut next, mut y) = (Vec::new(), 1..=999_u64, 0);
    let mut id = || next.next().expect("fewer panels than ids");
    for row in rows {
        panels.push(json!({
            "id": id(), "type": "row", "title": row.title, "collapsed": false, "panels": [],
            "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y},
        }));
        y += 1;
        let (mut x, mut tallest) = (0, 0);
        for panel in row.panels {
            if x + panel.width > WIDTH {
                (x, y) = (0, y + tallest);
                tallest = 0;
            }
            let height = if matches!(panel.shape, Shape::Now(_)) { 4 } else { 8 };
            tallest = tallest.max(height);
            panels.push(panel.json(id(), &json!({"h": height, "w": panel.width, "x": x, "y": y})));
            x += panel.width;
        }
        y += tallest;
    }
    json!({
        "uid": "vipkeeper",
        "title": "vipkeeper",
        "description": "The virtual IPs of Pgpool-II clusters on AWS: who leads, whether everything points there, and what happened.",
        "tags": ["vipkeeper", "pgpool", "aws"],
        "editable": false,
        "graphTooltip": 1,
        "schemaVersion": SCHEMA,
        "version": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "fiscalYearStartMonth": 0,
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": variables()},
        "panels": panels,
    })
}

fn variables() -> Value {
    let variable = |name: &str, label: &str, all: &str, within: &str| {
        let query = format!("label_values(vipkeeper_desired_role{{{within}}}, {name})");
        json!({
            "name": name, "label": label, "type": "query", "datasource": datasource(),
            "query": {"query": query, "refId": name}, "definition": query,
            "refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": all, "hide": 0,
            "current": {"text": "All", "value": "$__all", "selected": true}, "options": [], "regex": "",
        })
    };
    json!([
        {
            "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0,
            "refresh": 1, "multi": false, "includeAll": false, "current": {}, "options": [], "regex": "",
        },
        variable("job", "Job", ".+", ""),
        variable("cluster", "Cluster", ".*", "job=~\"$job\""),
        variable("instance", "Instance", ".+", "job=~\"$job\", cluster=~\"$cluster\""),
        variable("vip", "VIP", ".+", "job=~\"$job\", cluster=~\"$cluster\""),
    ])
}

fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

impl Shape {
    fn grafanas_name(self) -> &'static str {
        match self {
            Self::Now(_) => "stat",
            Self::Lines | Self::Bars => "timeseries",
            Self::Strips => "state-timeline",
            Self::Table => "table",
        }
    }

    fn options(self) -> Value {
        match self {
            Self::Now(_) => json!({
                "colorMode": "background", "graphMode": "none", "justifyMode": "center", "orientation": "auto",
                "textMode": "auto", "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
            }),
            Self::Lines | Self::Bars => json!({
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }),
            Self::Strips => json!({
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": false},
                "tooltip": {"mode": "single", "sort": "none"},
                "alignValue": "left", "mergeValues": true, "rowHeight": 0.8, "showValue": "auto",
            }),
            Self::Table => json!({"cellHeight": "sm", "showHeader": true, "footer": {"show": false}}),
        }
    }

    fn custom(self) -> Value {
        match self {
            Self::Lines => json!({"drawStyle": "line", "lineWidth": 1, "fillOpacity": 0, "showPoints": "never"}),
            Self::Bars => json!({
                "drawStyle": "bars", "lineWidth": 0, "fillOpacity": 80, "showPoints": "never",
                "stacking": {"mode": "normal", "group": "A"},
            }),
            Self::Strips => json!({"fillOpacity": 80, "lineWidth": 0}),
            Self::Now(_) | Self::Table => json!({}),
        }
    }

    /// The colours from 0 on and from 1 on.
    fn colours(self) -> [&'static str; 2] {
        match self {
            Self::Now(Good::One) => ["red", "green"],
            Self::Now(Good::Zero) => ["green", "red"],
            Self::Strips => ["text", "green"],
            _ => ["blue", "blue"],
        }
    }
}

impl Panel {
    /// The queries as Grafana sends them, but for its variables.
    pub fn expressions(&self) -> impl Iterator<Item = String> {
        let vip = format!("{NODE}, vip=~\"$vip\"");
        self.queries.iter().map(move |(query, _)| query.replace("@vip", &vip).replace("@node", NODE))
    }

    fn json(&self, id: u64, place: &Value) -> Value {
        let is_instant = matches!(self.shape, Shape::Now(_) | Shape::Table);
        let targets = self.expressions().zip(self.queries).zip('A'..='Z').map(|((expression, (_, legend)), name)| {
            json!({
                "refId": name.to_string(), "datasource": datasource(), "editorMode": "code", "expr": expression,
                "legendFormat": legend, "instant": is_instant, "range": !is_instant,
                "format": if self.shape == Shape::Table { "table" } else { "time_series" },
            })
        });
        let [zero, one] = self.shape.colours();
        let mappings: Vec<_> = if self.words.is_empty() {
            Vec::new()
        } else {
            let options: serde_json::Map<_, _> = self
                .words
                .iter()
                .enumerate()
                .map(|(index, (value, word))| ((*value).to_owned(), json!({"text": word, "index": index})))
                .collect();
            vec![json!({"type": "value", "options": options})]
        };
        json!({
            "id": id, "type": self.shape.grafanas_name(), "title": self.title, "description": self.description,
            "datasource": datasource(), "gridPos": place, "targets": targets.collect::<Vec<_>>(),
            "options": self.shape.options(),
            "fieldConfig": {
                "defaults": {
                    "unit": self.unit, "min": if self.unit.starts_with("dateTime") { Value::Null } else { json!(0) },
                    "color": {"mode": if matches!(self.shape, Shape::Lines | Shape::Bars) { "palette-classic" } else { "thresholds" }},
                    "thresholds": {"mode": "absolute", "steps": [
                        {"color": zero, "value": null}, {"color": one, "value": 1},
                    ]},
                    "mappings": mappings, "custom": self.shape.custom(),
                },
                "overrides": [],
            },
        })
    }
}
