//! The answers of EC2 and of the metadata service, by the SDK.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use vipkeeper::aws::AwsEc2;
use vipkeeper::aws::imds::{Card, Imds, WantedInterfaces};
use vipkeeper::binding::Account;
use vipkeeper::config::{Aws, Identity, Limits};
use vipkeeper::ec2::{Ec2Error, Ec2Read, EniQuery, TableQuery, Urgency};
use vipkeeper::error::one_line;

use super::{Fuzz, assert_fit_to_be_shown};

/// No answer may hold a node up for longer. The program's own limits are far below.
const PATIENCE: Duration = Duration::from_mins(1);
const MAC: &str = "0a:00:00:00:00:01";

/// An answer: status and body.
type Answer = (u16, Vec<u8>);

/// EC2 and the metadata service on loopback. Dropping the value stops it.
struct Service {
    url: String,
    /// The answers to the metadata service's paths. Any other path is EC2's, or unknown.
    ec2: Arc<Mutex<Answer>>,
    items: Arc<Mutex<BTreeMap<String, Answer>>>,
    task: JoinHandle<()>,
}

impl Service {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let ec2 = Arc::new(Mutex::new((200, Vec::new())));
        let items = Arc::new(Mutex::new(items()));
        let (of_ec2, of_items) = (Arc::clone(&ec2), Arc::clone(&items));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (ec2, items) = (Arc::clone(&of_ec2), Arc::clone(&of_items));
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = answer(&request, &ec2, &items);
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { url, ec2, items, task }
    }

    fn aws(&self) -> Aws {
        let url = Some(self.url.clone());
        Aws { region: Some("eu-central-1".to_owned()), endpoint_url: url.clone(), imds_endpoint: url, ..Aws::default() }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(
    request: &Request<Incoming>,
    ec2: &Mutex<Answer>,
    items: &Mutex<BTreeMap<String, Answer>>,
) -> Response<Full<Bytes>> {
    let response = Response::builder();
    if request.method() == Method::PUT {
        let token = response.header("x-aws-ec2-metadata-token-ttl-seconds", "21600");
        return token.body(Full::from("token")).unwrap();
    }
    let path = request.uri().path().strip_prefix("/latest/meta-data/");
    let known = path.map(|path| items.lock().unwrap().get(path).cloned());
    let (status, body) = match known {
        Some(item) => item.unwrap_or((404, Vec::new())),
        None => ec2.lock().unwrap().clone(),
    };
    response.status(status).body(Full::from(body)).unwrap()
}

/// The items of a healthy metadata service.
fn items() -> BTreeMap<String, Answer> {
    let role = r#"{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"AKID","SecretAccessKey":"s","Token":"t","LastUpdated":"2026-11-28T00:00:00Z","Expiration":"2036-11-28T00:00:00Z"}"#;
    let of_mac = |item: &str| format!("network/interfaces/macs/{MAC}/{item}");
    let items = [
        ("instance-id".to_owned(), "i-0123456789abcdef0".to_owned()),
        ("placement/region".to_owned(), "eu-central-1".to_owned()),
        ("mac".to_owned(), MAC.to_owned()),
        ("iam/security-credentials/".to_owned(), "role".to_owned()),
        ("iam/security-credentials/role".to_owned(), role.to_owned()),
        ("network/interfaces/macs/".to_owned(), format!("{MAC}/\n0a:00:00:00:00:02/")),
        (of_mac("interface-id"), "eni-0aa".to_owned()),
        (of_mac("local-ipv4s"), "10.0.1.10\n10.0.1.11".to_owned()),
        (of_mac("subnet-id"), "subnet-1".to_owned()),
        (of_mac("vpc-id"), "vpc-1".to_owned()),
        (of_mac("subnet-ipv4-cidr-block"), "10.0.1.0/24".to_owned()),
        (of_mac("vpc-ipv4-cidr-blocks"), "10.0.0.0/16\n10.1.0.0/16".to_owned()),
    ];
    items.map(|(path, text)| (path, (200, text.into_bytes()))).into()
}

const OPERATIONS: [&str; 4] = ["DescribeAddresses", "DescribeRouteTables", "DescribeNetworkInterfaces", "DescribeTags"];

/// A good answer to each of [`OPERATIONS`], and one refusal.
const GOOD: [&str; 5] = [
    "<DescribeAddressesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId><addressesSet><item><publicIp>20.0.0.50</publicIp><allocationId>eipalloc-1</allocationId><associationId>eipassoc-1</associationId><instanceId>i-0aa</instanceId><networkInterfaceId>eni-0a</networkInterfaceId><privateIpAddress>10.0.0.9</privateIpAddress><tagSet><item><key>k</key><value>v</value></item></tagSet></item></addressesSet></DescribeAddressesResponse>",
    "<DescribeRouteTablesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId><routeTableSet><item><routeTableId>rtb-1</routeTableId><vpcId>vpc-1</vpcId><routeSet><item><destinationCidrBlock>20.0.0.50/32</destinationCidrBlock><networkInterfaceId>eni-0a</networkInterfaceId><instanceId>i-0aa</instanceId><state>active</state><origin>CreateRoute</origin></item></routeSet><tagSet/></item></routeTableSet><nextToken/></DescribeRouteTablesResponse>",
    "<DescribeNetworkInterfacesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId><networkInterfaceSet><item><networkInterfaceId>eni-0a</networkInterfaceId><subnetId>subnet-1</subnetId><vpcId>vpc-1</vpcId><macAddress>0a:00:00:00:00:01</macAddress><privateIpAddress>10.0.1.10</privateIpAddress><privateIpAddressesSet><item><privateIpAddress>10.0.1.10</privateIpAddress><primary>true</primary></item></privateIpAddressesSet><ipv6AddressesSet/><sourceDestCheck>false</sourceDestCheck></item></networkInterfaceSet></DescribeNetworkInterfacesResponse>",
    "<DescribeTagsResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId><tagSet><item><resourceId>rtb-1</resourceId><resourceType>route-table</resourceType><key>vipkeeper:20.0.0.50:i-0aa</key><value>1795860000000</value></item></tagSet></DescribeTagsResponse>",
    "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>You are not authorized to perform this operation. Encoded authorization failure message: abc</Message></Error></Errors><RequestID>r</RequestID></Response>",
];

/// The result of one read as text, by the operation's place in [`OPERATIONS`].
async fn read(ec2: &AwsEc2, operation: usize) -> Result<String, Ec2Error> {
    let normal = Urgency::Normal;
    let own = Account::default();
    Ok(match operation {
        0 => format!("{:?}", ec2.addresses(&[Ipv4Addr::new(20, 0, 0, 50)].into(), normal).await?),
        1 => {
            let query = TableQuery::Ids(["rtb-1".parse().unwrap()].into());
            format!("{:?}", ec2.route_tables(&own, &query, normal).await?)
        }
        2 => format!("{:?}", ec2.interfaces(&EniQuery::Ids(["eni-0a".parse().unwrap()].into()), normal).await?),
        _ => format!("{:?}", ec2.tags("rtb-1", normal).await?),
    })
}

#[tokio::test]
async fn a_damaged_answer_of_ec2_is_an_error_or_whole() {
    let service = Service::start().await;
    let limits = Limits { requests_per_s: 1e6, burst: 1_000_000 };
    let instance = "i-0123456789abcdef0".parse().unwrap();
    let ec2 = AwsEc2::new(&service.aws(), "eu-central-1", &instance, limits, Rc::new(|_| ())).await.unwrap();

    // A part is never taken for the whole: what is missing would be taken for absent.
    for (operation, good) in OPERATIONS.iter().enumerate().map(|(number, _)| (number, GOOD[number])) {
        *service.ec2.lock().unwrap() = (200, good.into());
        let whole = read(&ec2, operation).await.expect("the good answer is understood");
        assert!(whole.contains("0a") || whole.contains("1795860000000"), "{whole}");
        for end in 0..good.len() {
            *service.ec2.lock().unwrap() = (200, good.as_bytes()[..end].into());
            let part = read(&ec2, operation).await;
            assert!(part.is_err(), "{} of {} bytes were taken for {part:?}", end, good.len());
        }
    }

    let words = &[
        "<item>",
        "</item>",
        "<nextToken>x</nextToken>",
        "<Code>",
        "xmlns=\"\"",
        "<tagSet/>",
        "<?xml version=\"1.0\"?>",
    ];
    let mut fuzz = Fuzz::new("EC2", &GOOD.map(str::as_bytes), words);
    while let Some(input) = fuzz.next() {
        let (operation, status) =
            (fuzz.damage.below(OPERATIONS.len()), [200, 200, 200, 400, 503, 302][fuzz.damage.below(6)]);
        *service.ec2.lock().unwrap() = (status, input.bytes.clone());
        let result = tokio::time::timeout(PATIENCE, read(&ec2, operation)).await.expect("no answer holds a node up");
        let result = match result {
            Ok(understood) => {
                assert_eq!(status, 200, "{understood}");
                format!("{} {}", OPERATIONS[operation], understood.len().min(1))
            }
            Err(error) => {
                assert_fit_to_be_shown(&one_line(&error));
                format!("{:?} {:?}", error.class, error.code.map(|code| code.len().min(2)))
            }
        };
        fuzz.came_of_it(&input, &result);
    }
}

#[tokio::test]
async fn a_damaged_answer_of_the_metadata_service_is_an_error_or_an_identity() {
    let service = Service::start().await;
    let imds = Imds::new(&service.aws()).unwrap();
    let wanted = WantedInterfaces { first: true, ..WantedInterfaces::default() };
    let cards = BTreeMap::from([("eth0".to_owned(), Card { mac: MAC.to_owned(), has_device: true })]);
    let aws = Aws { region: None, ..service.aws() };
    let good = items();
    let paths: Vec<_> = good.keys().filter(|path| !path.starts_with("iam/")).collect();
    let texts: Vec<_> = paths.iter().map(|path| good[*path].1.as_slice()).collect();
    let words = &["i-", "eni-", "0a:00:00:00:00:01/", "10.0.0.0/33", "::/0", "<html>", "\n"];
    let mut fuzz = Fuzz::new("metadata", &texts, words);
    let identity = Identity::default();
    while let Some(input) = fuzz.next() {
        let path = paths[fuzz.damage.below(paths.len())];
        // No 5xx: the client would try it again, with pauses.
        let status = [200, 200, 200, 404, 403, 302][fuzz.damage.below(6)];
        *service.items.lock().unwrap() = good.clone();
        service.items.lock().unwrap().insert(path.clone(), (status, input.bytes.clone()));
        let node = imds.node(&identity, &aws, &wanted, &cards);
        let result = match tokio::time::timeout(PATIENCE, node).await.expect("no answer holds a node up") {
            Ok(node) => {
                for why in node.missing.values() {
                    assert_fit_to_be_shown(why);
                }
                assert!(node.interfaces.len() + node.missing.len() == 1, "{node:?}");
                format!("{path}: {:?}", node.missing)
            }
            Err(error) => {
                assert_fit_to_be_shown(&one_line(&error));
                format!("{path}: {}", one_line(&error))
            }
        };
        fuzz.came_of_it(&input, &result);
    }
}
