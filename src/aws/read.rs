//! The reads. Every read selects by filters, never by ids: one id that does not exist would fail the whole call. No
//! read goes without a filter, because EC2 sets smaller limits for such calls ("Request throttling for the Amazon EC2
//! API").

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use aws_sdk_ec2::types::Filter;
use futures_util::future::try_join_all;

use super::{AwsEc2, convert};
use crate::binding::Account;
use crate::ec2::codes::is_bad_page;
use crate::ec2::message::refused;
use crate::ec2::server_clock::ServerTime;
use crate::ec2::{Address, Class, Ec2Error, Ec2Read, Eni, EniQuery, RouteTable, TableQuery, Urgency};
use crate::ids::{EniId, RouteTableId};

/// The most values that EC2 takes in one filter.
const FILTER_VALUES: usize = 200;
/// The largest page sizes that EC2 allows (EC2 API reference).
const PAGE_TABLES: i32 = 100;
const PAGE_ENIS: i32 = 1000;
const PAGE_TAGS: i32 = 1000;
/// The most pages that one listing may have. An endpoint that always names a next page must not hold the loop for
/// ever.
const PAGES: usize = 100;

impl Ec2Read for AwsEc2 {
    fn time(&self) -> Option<ServerTime> {
        self.clock.borrow().time()
    }

    async fn addresses(&self, public_ips: &BTreeSet<Ipv4Addr>, urgency: Urgency) -> Result<Vec<Address>, Ec2Error> {
        let mut found = Vec::new();
        for filter in filters("public-ip", public_ips) {
            let answer = self
                .call(&Account::Own, "DescribeAddresses", urgency, async |client, probe| {
                    let call = client.describe_addresses().filters(filter.clone());
                    call.customize().interceptor(probe).send().await
                })
                .await?;
            found.extend(answer.addresses().iter().filter_map(convert::address));
        }
        Ok(found)
    }

    async fn route_tables(
        &self,
        account: &Account,
        query: &TableQuery,
        urgency: Urgency,
    ) -> Result<Vec<RouteTable>, Ec2Error> {
        let calls = match query {
            TableQuery::Ids(ids) => filters("route-table-id", ids).map(|filter| vec![filter]).collect(),
            TableQuery::Tagged { vpc, tags } => {
                let tags = tags.iter().map(|(key, value)| filter(format!("tag:{key}"), [literal(value)]));
                vec![std::iter::once(filter("vpc-id", [vpc.as_str()])).chain(tags).collect::<Vec<_>>()]
            }
        };
        let mut found: BTreeMap<RouteTableId, RouteTable> = BTreeMap::new();
        for filters in calls {
            let tables = all_pages("DescribeRouteTables", async |page| {
                let answer = self
                    .call(account, "DescribeRouteTables", urgency, async |client, probe| {
                        let call = client.describe_route_tables().max_results(PAGE_TABLES);
                        let call = call.set_filters(Some(filters.clone())).set_next_token(page.clone());
                        call.customize().interceptor(probe).send().await
                    })
                    .await?;
                let tables: Vec<_> = answer.route_tables().iter().filter_map(convert::route_table).collect();
                Ok(Page { items: tables, next: convert::text(answer.next_token()).map(str::to_owned) })
            });
            // EC2 may give the routes of one large table on several pages.
            for table in tables.await? {
                match found.get_mut(&table.id) {
                    Some(known) => known.routes.extend(table.routes),
                    None => drop(found.insert(table.id.clone(), table)),
                }
            }
        }
        Ok(found.into_values().collect())
    }

    async fn interfaces(&self, query: &EniQuery, urgency: Urgency) -> Result<Vec<Eni>, Ec2Error> {
        let calls: Vec<Vec<Filter>> = match query {
            EniQuery::Ids(ids) => filters("network-interface-id", ids).map(|filter| vec![filter]).collect(),
            EniQuery::PrivateIps { vpc, addresses } => filters("addresses.private-ip-address", addresses)
                .map(|addresses| vec![filter("vpc-id", [vpc.as_str()]), addresses])
                .collect(),
            EniQuery::Subnets(subnets) => filters("subnet-id", subnets).map(|filter| vec![filter]).collect(),
        };
        let found = try_join_all(calls.into_iter().map(|filters| self.enis(filters, urgency))).await?;
        let found: BTreeMap<EniId, Eni> = found.into_iter().flatten().map(|eni| (eni.id.clone(), eni)).collect();
        Ok(found.into_values().collect())
    }

    async fn tags(&self, resource: &str, urgency: Urgency) -> Result<BTreeMap<String, String>, Ec2Error> {
        let tags = all_pages("DescribeTags", async |page| {
            let answer = self
                .call(&Account::Own, "DescribeTags", urgency, async |client, probe| {
                    let call = client.describe_tags().max_results(PAGE_TAGS);
                    let call = call.filters(filter("resource-id", [resource])).set_next_token(page.clone());
                    call.customize().interceptor(probe).send().await
                })
                .await?;
            let tags = answer.tags().iter().filter_map(|tag| {
                Some((convert::text(tag.key())?.to_owned(), tag.value().unwrap_or_default().to_owned()))
            });
            Ok(Page { items: tags.collect(), next: convert::text(answer.next_token()).map(str::to_owned) })
        });
        Ok(tags.await?.into_iter().collect())
    }
}

impl AwsEc2 {
    /// The ENIs that hold an IPv6 address, in all VPCs. Two VPCs may use equal private IPv6 ranges, so the caller
    /// must compare the VPC.
    pub(super) async fn holders_of(&self, address: Ipv6Addr, urgency: Urgency) -> Result<Vec<Eni>, Ec2Error> {
        self.enis(vec![filter("ipv6-addresses.ipv6-address", [address])], urgency).await
    }

    async fn enis(&self, filters: Vec<Filter>, urgency: Urgency) -> Result<Vec<Eni>, Ec2Error> {
        let enis = all_pages("DescribeNetworkInterfaces", async |page| {
            let answer = self
                .call(&Account::Own, "DescribeNetworkInterfaces", urgency, async |client, probe| {
                    let call = client.describe_network_interfaces().max_results(PAGE_ENIS);
                    let call = call.set_filters(Some(filters.clone())).set_next_token(page.clone());
                    call.customize().interceptor(probe).send().await
                })
                .await?;
            let enis = answer.network_interfaces().iter().filter_map(convert::eni).collect();
            Ok(Page { items: enis, next: convert::text(answer.next_token()).map(str::to_owned) })
        });
        enis.await
    }
}

/// One page of a listing, and the token of the next page.
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

/// Reads all pages. If EC2 rejects a page token, the listing starts again, once.
async fn all_pages<T>(
    operation: &'static str,
    page: impl AsyncFn(Option<String>) -> Result<Page<T>, Ec2Error>,
) -> Result<Vec<T>, Ec2Error> {
    match pages_from_start(operation, &page).await {
        Err(error) if error.code.as_deref().is_some_and(is_bad_page) => pages_from_start(operation, &page).await,
        outcome => outcome,
    }
}

async fn pages_from_start<T>(
    operation: &'static str,
    page: &impl AsyncFn(Option<String>) -> Result<Page<T>, Ec2Error>,
) -> Result<Vec<T>, Ec2Error> {
    let mut items = Vec::new();
    let mut token = None;
    for _ in 0..PAGES {
        let Page { items: more, next } = page(token).await?;
        items.extend(more);
        if next.is_none() {
            return Ok(items);
        }
        token = next;
    }
    Err(refused(operation, Class::Transient, format!("the listing does not end within {PAGES} pages")))
}

/// One filter for every [`FILTER_VALUES`] values. Without values there is no filter at all, because a filter without
/// values would match everything.
pub(super) fn filters<T: ToString>(name: &'static str, values: &BTreeSet<T>) -> impl Iterator<Item = Filter> {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    let chunks: Vec<Filter> = values.chunks(FILTER_VALUES).map(|chunk| filter(name, chunk)).collect();
    chunks.into_iter()
}

pub(super) fn filter(name: impl Into<String>, values: impl IntoIterator<Item = impl ToString>) -> Filter {
    let values = values.into_iter().map(|value| value.to_string()).collect();
    Filter::builder().name(name).set_values(Some(values)).build()
}

/// Escapes a value for a filter, so that EC2 does not read its `*` and `?` as wildcards (EC2 API reference, "Filter":
/// a backslash escapes).
fn literal(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
