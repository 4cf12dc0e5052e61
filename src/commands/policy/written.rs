//! The forms of a policy: the JSON document itself, a CloudFormation template, or a Terraform file. A value that is not
//! known is a word in capitals in JSON, a parameter in CloudFormation, and a variable in Terraform.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Open, Part, Policy, Text};
use crate::cli::PolicyFormat as Format;

/// The most characters of all inline policies of one role together (IAM quotas). Whitespace is not counted.
const MOST_INLINE: usize = 10_240;
/// The most characters of one managed policy (IAM quotas). Whitespace is not counted.
const MOST_MANAGED: usize = 6_144;
/// The longest values that may take the place of an unknown one: a region, an account, and the id of a resource.
const LONGEST_REGION: &str = "ap-southeast-1";
const ANY_ACCOUNT: &str = "123456789012";
const ANY_ID: &str = "eipalloc-0123456789abcdef0";

/// The place of the resources, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Location {
    pub region: Option<String>,
    /// The twelve digits of the nodes' account.
    pub account: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    version: &'static str,
    statement: Vec<Entry>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    sid: String,
    effect: &'static str,
    action: Value,
    resource: Value,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    condition: BTreeMap<&'static str, BTreeMap<String, Value>>,
}

impl Location {
    /// The partition of the region, as ARNs name it.
    fn partition(&self) -> &'static str {
        match self.region.as_deref() {
            Some(region) if region.starts_with("cn-") => "aws-cn",
            Some(region) if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        }
    }
}

/// The writing of texts in one form, for one place.
#[derive(Clone, Copy)]
struct Pen<'a> {
    format: Format,
    place: &'a Location,
}

impl Pen<'_> {
    /// The text as a value of the document.
    fn value(self, text: &Text) -> Value {
        let written: String = text.iter().map(|part| self.part(part)).collect();
        // Only CloudFormation must be told that a text has parts to be replaced.
        if self.format == Format::Cloudformation && written.contains("${") {
            json!({ "Fn::Sub": written })
        } else {
            Value::String(written)
        }
    }

    /// The value if it is known, or else what stands for it in JSON, CloudFormation and Terraform.
    fn known(self, value: Option<&str>, [json, cloudformation, terraform]: [&str; 3]) -> String {
        let open = match self.format {
            Format::Json => json,
            Format::Cloudformation => cloudformation,
            Format::Terraform => terraform,
        };
        value.unwrap_or(open).to_owned()
    }

    /// A text in which nothing is replaced. Terraform replaces parts of every text, of keys as well; CloudFormation replaces
    /// only what stands in `Fn::Sub`.
    fn plain(self, text: &str) -> String {
        match self.format {
            Format::Json | Format::Cloudformation => text.to_owned(),
            Format::Terraform => text.replace("${", "$${").replace("%{", "%%{"),
        }
    }

    fn part(self, part: &Part) -> String {
        let Self { format, place } = self;
        match part {
            Part::Text(text) => match format {
                Format::Json | Format::Terraform => self.plain(text),
                Format::Cloudformation => text.replace("${", "${!"),
            },
            Part::Partition => {
                let told = place.region.as_ref().map(|_| place.partition());
                self.known(told, ["aws", "${AWS::Partition}", "${data.aws_partition.current.partition}"])
            }
            Part::Region => {
                self.known(place.region.as_deref(), ["REGION", "${AWS::Region}", "${data.aws_region.current.name}"])
            }
            Part::Account => {
                let found_out = "${data.aws_caller_identity.current.account_id}";
                self.known(place.account.as_deref(), ["ACCOUNT", "${AWS::AccountId}", found_out])
            }
            Part::Open(open) => match format {
                Format::Json => open.name.clone(),
                Format::Cloudformation => format!("${{{}}}", open.parameter()),
                Format::Terraform => format!("${{var.{}}}", open.variable()),
            },
        }
    }
}

impl Policy {
    /// The policy in this form, with a line break at its end.
    #[must_use]
    pub fn written(&self, format: Format, place: &Location) -> String {
        let document = pretty(&self.document(Pen { format, place }));
        match format {
            Format::Json => document,
            Format::Cloudformation => pretty(&template(self, &document)),
            Format::Terraform => terraform(self, &document),
        }
    }

    /// The values that the user of the policy must put in, each with the way to find the value. Only JSON leaves the region
    /// and the account open, because the other formats look them up.
    #[must_use]
    pub fn open(&self, format: Format, place: &Location) -> Vec<(String, String)> {
        let parts = self.parts();
        let needs = |part: &Part| format == Format::Json && parts.contains(part);
        let mut open = Vec::new();
        if place.region.is_none() && needs(&Part::Region) {
            open.push(("REGION".to_owned(), "the region of the nodes; or give --region".to_owned()));
        }
        if place.account.is_none() && needs(&Part::Account) {
            let how = "aws sts get-caller-identity --query Account; or give --account";
            open.push(("ACCOUNT".to_owned(), how.to_owned()));
        }
        open.extend(self.opens().into_iter().map(|one| (one.name, one.how)));
        open
    }

    /// The advice for a policy that IAM refuses because of its size in this form; `None` where IAM takes the policy.
    /// CloudFormation and Terraform make an inline policy. The document itself may become a managed policy too.
    #[must_use]
    pub fn size_advice(&self, format: Format, place: &Location) -> Option<String> {
        let size = self.size(place);
        let told = format!("the policy has {size} characters without whitespace");
        if size > MOST_INLINE {
            return Some(format!(
                "{told}, and IAM takes {MOST_INLINE} in the inline policies of a role and {MOST_MANAGED} in a managed policy: \
                 choose the route tables by a tag (table_tags), whose policy does not grow with their number, or divide the \
                 statements and their resources among several managed policies of the role"
            ));
        }
        (format == Format::Json && size > MOST_MANAGED).then(|| {
            format!(
                "{told}, more than the {MOST_MANAGED} of a managed policy: make it an inline policy of the role (aws iam \
                 put-role-policy), where all of the role's together may have {MOST_INLINE}"
            )
        })
    }

    /// The number of characters that IAM counts once the open values are put in. An unknown value counts with the longest
    /// one that may take its place.
    fn size(&self, place: &Location) -> usize {
        let known = Location {
            region: Some(place.region.clone().unwrap_or_else(|| LONGEST_REGION.to_owned())),
            account: Some(place.account.clone().unwrap_or_else(|| ANY_ACCOUNT.to_owned())),
        };
        let document = self.written(Format::Json, &known);
        let filled = self.opens().iter().fold(document, |document, open| document.replace(&open.name, ANY_ID));
        filled.chars().filter(|character| !character.is_whitespace()).count()
    }

    fn opens(&self) -> Vec<Open> {
        let open = |part| if let Part::Open(open) = part { Some(open) } else { None };
        self.parts().into_iter().filter_map(open).collect()
    }

    fn parts(&self) -> BTreeSet<Part> {
        let texts = self.statements.iter().flat_map(|statement| {
            let values = statement.conditions.iter().flat_map(|(_, _, values)| values);
            statement.resources.iter().chain(values)
        });
        texts.flatten().cloned().collect()
    }

    fn document(&self, pen: Pen<'_>) -> Document {
        let all = |texts: &[Text]| single(texts.iter().map(|text| pen.value(text)).collect());
        let statement = self.statements.iter().map(|statement| {
            let mut condition: BTreeMap<_, BTreeMap<String, Value>> = BTreeMap::new();
            for (operator, key, values) in &statement.conditions {
                condition.entry(*operator).or_default().insert(pen.plain(key), all(values));
            }
            Entry {
                sid: statement.sid.clone(),
                effect: "Allow",
                action: single(statement.actions.iter().cloned().map(Value::String).collect()),
                resource: all(&statement.resources),
                condition,
            }
        });
        Document { version: "2012-10-17", statement: statement.collect() }
    }
}

impl Open {
    /// The name of a CloudFormation parameter, which has letters and digits alone: `AllocationIdOf203x0x113x10`.
    fn parameter(&self) -> String {
        let words = self.name.split('-').map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_uppercase() + &rest.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "x")
        });
        words.collect()
    }

    fn variable(&self) -> String {
        self.name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_")
    }
}

/// One value as itself, several as a list.
fn single(mut values: Vec<Value>) -> Value {
    if values.len() == 1 { values.remove(0) } else { Value::Array(values) }
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("texts and lists have a JSON form") + "\n"
}

/// A template whose parameters are the open values and the role's name.
fn template(policy: &Policy, document: &str) -> Value {
    let mut parameters = Map::new();
    let parameter = |how: &str| json!({ "Type": "String", "Description": how });
    parameters.insert("RoleName".to_owned(), parameter("The role of the nodes' instance profile"));
    parameters.extend(policy.opens().into_iter().map(|open| (open.parameter(), parameter(&open.how))));
    let document: Value = serde_json::from_str(document).expect("the document was written just now");
    json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "The least policy for vipkeeper's configuration",
        "Parameters": parameters,
        "Resources": { "VipkeeperPolicy": {
            // An inline policy may be longer than a managed one.
            "Type": "AWS::IAM::RolePolicy",
            "Properties": {
                "PolicyName": "vipkeeper",
                "PolicyDocument": document,
                "RoleName": { "Ref": "RoleName" },
            },
        } },
    })
}

fn terraform(policy: &Policy, document: &str) -> String {
    let mut file = String::new();
    for data in ["partition", "region", "caller_identity"] {
        if document.contains(&format!("${{data.aws_{data}.")) {
            let _ = writeln!(file, "data \"aws_{data}\" \"current\" {{}}\n");
        }
    }
    let mut variable = |name: &str, how: &str| {
        let how = Value::String(how.to_owned());
        let _ = writeln!(file, "variable \"{name}\" {{\n  type        = string\n  description = {how}\n}}\n");
    };
    variable("role_name", "The role of the nodes' instance profile");
    for open in policy.opens() {
        variable(&open.variable(), &open.how);
    }
    let document = document.trim_end().replace('\n', "\n  ");
    let _ = writeln!(
        file,
        "resource \"aws_iam_role_policy\" \"vipkeeper\" {{\n  name   = \"vipkeeper\"\n  role   = var.role_name\n  \
         policy = jsonencode({document})\n}}"
    );
    file
}
