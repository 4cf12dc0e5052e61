//! `vipkeeper check` gathers the facts that the checks judge. All facts are gathered at once, and EC2 is asked as little
//! as the ids allow: up to three rounds of reads, as for `plan`, and one round of dry runs beside the reads of the
//! surroundings. The command holds an [`Ec2Read`] and an [`Ec2Ask`], and nothing that writes.

mod machine;
mod pgpool;
mod reach;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::{join, join_all};
use tokio::time::{Instant, sleep};

use crate::action::Action;
use crate::binding::{Binding, Vip};
use crate::check::facts::{CloudFacts, CloudReads, EndpointFacts, Facts, Need};
use crate::check::{Category, Results, asks, judge};
use crate::commands::look::LookOnce;
use crate::commands::policy::allowed;
use crate::config::Config;
use crate::ec2::ask::{DryRun, Ec2Ask, Slots, Travelled};
use crate::ec2::{Ec2Error, Ec2Read, Urgency};
use crate::identity::Identify;
use crate::ids::{AllocationId, EniId};
use crate::machine::clock::wall_ms;
use crate::observe::seen::Moment;
use crate::observe::{Known, World, observe};

/// The dry runs that are under way at the same time.
const AT_ONCE: usize = 20;
/// The pause between two checks of `--wait`.
const PAUSE: Duration = Duration::from_secs(2);
/// All reads have one moment. It is not zero, because zero stands for a read that was not made.
const LOOKED_AT: Moment = Moment::from_millis(1);

/// The configuration as it was found, and what else the command was told.
pub struct CheckRequest {
    /// The configuration, or every problem of it.
    pub config: Result<Config, Vec<String>>,
    /// The state folder that hooks use.
    pub state_dir: PathBuf,
    /// Why hooks write into another state folder than the daemon reads, if they do.
    pub hooks_elsewhere: Option<String>,
    pub categories: Vec<Category>,
    pub pgpool_conf: Option<PathBuf>,
}

/// Checks once, or again and again until nothing fails any more, for this time at most. The last results count.
pub async fn check_for(wait: Option<Duration>, once: impl AsyncFn() -> Results) -> Results {
    let until = Instant::now() + wait.unwrap_or_default();
    loop {
        let results = once().await;
        if results.summary.failed == 0 || Instant::now() + PAUSE > until {
            return results;
        }
        sleep(PAUSE).await;
    }
}

/// Gathers all facts and judges them.
pub async fn check<E: Ec2Read + Ec2Ask, I: Identify>(request: &CheckRequest, ec2: &E, identify: &I) -> Results {
    let categories = if request.categories.is_empty() { Category::ALL } else { request.categories.as_slice() };
    let config = request.config.as_ref().ok();
    let local = async {
        let machine = machine::facts(config, &request.state_dir, request.hooks_elsewhere.clone()).await;
        let pgpool = pgpool::facts(config, request.pgpool_conf.as_deref(), &machine).await;
        (machine, pgpool)
    };
    let cloud = async {
        match &request.config {
            Err(_) => not_asked("the configuration has errors"),
            Ok(_) if !categories.iter().any(|category| category.needs_cloud()) => not_asked("nobody was asked"),
            Ok(config) => cloud(config, ec2, identify, reach::endpoint).await,
        }
    };
    let ((machine, pgpool), cloud) = join(local, cloud).await;
    judge(&Facts { config: request.config.clone(), machine, cloud, pgpool }, categories)
}

fn not_asked(why: &str) -> CloudFacts {
    CloudFacts { node: Err(why.to_owned()), endpoint: EndpointFacts::not_asked(), reads: None }
}

/// Asks the metadata service and EC2. `reach` looks EC2's host up and tries its addresses.
pub async fn cloud<E: Ec2Read + Ec2Ask, I: Identify>(
    config: &Config,
    ec2: &E,
    identify: &I,
    reach: impl AsyncFn(Travelled) -> EndpointFacts,
) -> CloudFacts {
    let node = match identify.identify(config).await {
        Ok(node) => node,
        Err(why) => return CloudFacts { node: Err(why), endpoint: EndpointFacts::not_asked(), reads: None },
    };
    let (mut known, mut world) = (Known::new(node.clone()), World::default());
    LookOnce { urgency: Urgency::Urgent, at: LOOKED_AT }.look(config, ec2, &mut known, &mut world).await;
    let travelled = ec2.travelled();
    let slots = slots(config, ec2, identify);
    let ((mut reads, slots), endpoint) =
        join(join(surroundings(config, ec2, known, world), slots), reach(travelled)).await;
    reads.slots = slots;
    CloudFacts { node: Ok(node), endpoint, reads: Some(reads) }
}

/// Asks by dry runs for the permissions, and reads the surroundings of the ENIs.
async fn surroundings<E: Ec2Read + Ec2Ask>(config: &Config, ec2: &E, known: Known, world: World) -> CloudReads {
    let vips: Vec<_> = config.vips.iter().map(|vip| observe(config, vip, &known, &world).0).collect();
    let mut actions: Vec<Action> = Vec::new();
    for action in vips.iter().flat_map(|vip| asks(vip, &world)) {
        if !actions.contains(&action) {
            actions.push(action);
        }
    }
    let enis: BTreeSet<EniId> =
        vips.iter().flat_map(|vip| vip.bindings.values().flatten()).filter_map(eni_of).cloned().collect();
    let around = join_all(enis.iter().map(|eni| async {
        let surroundings = ec2.surroundings(eni).await;
        let groups = surroundings.as_ref().ok().and_then(Option::as_ref).map(|around| around.groups.clone());
        let ingress = match groups {
            Some(groups) if !groups.is_empty() => Some(ec2.ingress(&groups).await),
            Some(_) | None => None,
        };
        (eni.clone(), surroundings, ingress)
    }));
    let places = known.node().interfaces.values().filter(|interface| enis.contains(&interface.eni));
    let tables = join_all(places.filter_map(|interface| {
        let (vpc, subnet) = (interface.vpc.as_ref()?, interface.subnet.as_ref()?);
        Some(async { (interface.eni.clone(), ec2.table_of(vpc, subnet).await) })
    }));
    let permissions = join(dry_runs(&actions, ec2), border_groups(&vips, ec2));
    let ((dry_runs, border_groups), (around, tables)) = join(permissions, join(around, tables)).await;
    let needs = allowed(config).into_iter().map(|(account, statement, action)| Need { account, statement, action });
    let travelled = ec2.travelled();
    let tables = tables.into_iter().collect();
    let (mut surroundings, mut ingress) = (BTreeMap::new(), BTreeMap::new());
    for (eni, found, rules) in around {
        if let Some(rules) = rules {
            ingress.insert(eni.clone(), rules);
        }
        surroundings.insert(eni, found);
    }
    let (time, slowest) = (ec2.time(), travelled.slowest);
    let now = UNIX_EPOCH + Duration::from_millis(wall_ms());
    let credentials_last = travelled.expiry.map(|expiry| expiry.duration_since(now).unwrap_or_default());
    let needs = needs.collect();
    CloudReads {
        known,
        world,
        time,
        slowest,
        credentials_last,
        needs,
        dry_runs,
        surroundings,
        ingress,
        // The caller asks the metadata service for the type first.
        slots: Err("the instance type is not known".to_owned()),
        border_groups,
        tables,
    }
}

/// Asks whether EC2 would carry out these actions, some of them at a time.
async fn dry_runs<E: Ec2Ask>(actions: &[Action], ec2: &E) -> Vec<(Action, Result<DryRun, Ec2Error>)> {
    let mut answered = Vec::new();
    for some in actions.chunks(AT_ONCE) {
        let answers = join_all(some.iter().map(|action| ec2.dry_run(action))).await;
        answered.extend(some.iter().cloned().zip(answers));
    }
    answered
}

/// Reads the network border group of each Elastic IP of these VIPs.
async fn border_groups<E: Ec2Ask>(vips: &[Vip], ec2: &E) -> Result<BTreeMap<AllocationId, String>, Ec2Error> {
    let bindings = vips.iter().flat_map(|vip| vip.bindings.values().flatten());
    let elastic: BTreeSet<_> = bindings.filter_map(allocation_of).cloned().collect();
    if elastic.is_empty() { Ok(BTreeMap::new()) } else { ec2.border_groups(&elastic).await }
}

/// The most private addresses of an interface of this instance's type, or why that is not known.
async fn slots<E: Ec2Ask, I: Identify>(config: &Config, ec2: &E, identify: &I) -> Result<Slots, String> {
    let instance_type = identify.instance_type(config).await?;
    match ec2.slots(&instance_type).await {
        Ok(slots) => slots.ok_or_else(|| format!("EC2 does not tell the limits of {instance_type}")),
        Err(error) => Err(format!("{error}: allow ec2:DescribeInstanceTypes for this check, or look by hand")),
    }
}

fn allocation_of(binding: &Binding) -> Option<&AllocationId> {
    if let Binding::ElasticIp { allocation, .. } = binding { Some(allocation) } else { None }
}

fn eni_of(binding: &Binding) -> Option<&EniId> {
    match binding {
        Binding::ElasticIp { eni, .. }
        | Binding::Route { eni, .. }
        | Binding::SecondaryIp { eni, .. }
        | Binding::SourceDestCheck { eni } => Some(eni),
        Binding::LocalAddress { .. } => None,
    }
}
