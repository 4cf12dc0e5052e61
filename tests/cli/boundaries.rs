//! The real program in situations that the golden files begin with: a proxy, a certificate, a metadata service or a profile
//! with a fault. The program must say word for word the error with which the golden file of the situation begins, so that
//! the file's page and advice are those that an operator gets. The golden files themselves are made by
//! `tests/daemon/situations.rs`, without the SDK.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::text;

const HOST: &str = "ec2.us-east-1.amazonaws.com";
/// The addresses in the golden files, in the place of those of a test's servers.
const PROXY: &str = "10.0.0.7:3128";
const METADATA: &str = "http://169.254.169.254";
const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "secret")];

/// The error at the beginning of a golden file, and its class where EC2 was to be asked.
fn golden(name: &str) -> (String, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/report/golden/situations/{name}.txt"));
    let file = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines = file.lines().map(str::to_owned);
    (lines.next().unwrap(), lines.next().unwrap())
}

/// A server on loopback that does this with each connection.
fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    address
}

/// An address at which nobody listens.
fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The head of a request; empty where the other side has closed the connection.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}", body.len())
}

/// A server that gives these answers. The first answer whose word is in the request's first line counts.
fn answers(answers: Vec<(&'static str, String)>) -> SocketAddr {
    server(move |mut stream| {
        let head = head(&mut stream);
        let line = head.lines().next().unwrap_or_default();
        let reply = answers.iter().find(|(word, _)| line.contains(word)).map_or("", |(_, reply)| reply);
        drop(stream.write_all(reply.as_bytes()));
    })
}

/// A file of the folder with the test's certificates.
fn certificate(name: &str) -> String {
    format!("{}/tests/cli/tls/{name}.pem", env!("CARGO_MANIFEST_DIR"))
}

/// Serves TLS with this certificate.
fn speak_tls(name: &str, mut stream: TcpStream) {
    let chain = CertificateDer::from_pem_file(certificate(name)).unwrap();
    let key = PrivateKeyDer::from_pem_file(certificate(name)).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
    while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
}

/// A proxy that opens every way, and at the end of each shows this certificate.
fn proxy_to(name: &'static str) -> SocketAddr {
    server(move |mut stream| {
        head(&mut stream);
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n"));
        speak_tls(name, stream);
    })
}

/// One run of the program: the additions to its configuration and to its environment.
#[derive(Default)]
struct Run {
    aws: String,
    variables: Vec<(&'static str, String)>,
    /// The content of the file with the SDK's profiles.
    profiles: &'static str,
    /// The parts that the configuration leaves to the metadata service.
    left_out: &'static [&'static str],
}

impl Run {
    fn with_keys() -> Self {
        Self { variables: KEYS.map(|(name, value)| (name, value.to_owned())).into(), ..Self::default() }
    }

    fn through(proxy: SocketAddr) -> Self {
        Self::with_keys().set("HTTPS_PROXY", format!("http://{proxy}"))
    }

    fn at(endpoint: &str) -> Self {
        Self { aws: format!("endpoint_url = \"{endpoint}\"\n"), ..Self::with_keys() }
    }

    fn with_metadata(service: SocketAddr) -> Self {
        Self::default().set("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{service}"))
    }

    fn with_profile(profiles: &'static str) -> Self {
        Self { aws: "profile = \"work\"\n".to_owned(), profiles, ..Self::default() }
    }

    fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// The program with this command, and the configuration of this run in the folder.
    fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let (config, profiles) = (folder.join("vipkeeper.toml"), folder.join("profiles"));
        let unless_left_out = |part, text| if self.left_out.contains(&part) { "" } else { text };
        let own = "[identity]\ninstance_id = \"i-0aa\"\ninterfaces = { eth0 = \"eni-0aa\" }\n";
        let (own, region) = (unless_left_out("identity", own), unless_left_out("region", "region = \"us-east-1\"\n"));
        let vip = "[[vip]]\ndelegate_ip = \"20.0.0.50\"\n[vip.route]\ntables = [\"rtb-1\"]\n";
        let state = folder.display();
        fs::write(&config, format!("state_dir = \"{state}\"\n[aws]\n{region}{}{own}{vip}", self.aws)).unwrap();
        fs::write(&profiles, self.profiles).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_vipkeeper"));
        command.env_clear().env("AWS_CONFIG_FILE", &profiles).env("AWS_SHARED_CREDENTIALS_FILE", &profiles);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.args(arguments).arg("--config").arg(&config);
        command
    }

    /// The error of the read, or of the search for the identity, as `vipkeeper plan --json` tells it.
    fn error(&self) -> String {
        let folder = tempfile::tempdir().unwrap();
        let output = self.command(folder.path(), &["plan", "--json"]).output().unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        assert_eq!(output.status.code(), Some(1), "{out}{err}");
        let said: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
        match &said["error"]["message"] {
            serde_json::Value::String(message) => message.clone(),
            _ => {
                let detail = said["vips"][0]["bindings"][0]["detail"].as_str().unwrap();
                detail.strip_prefix("the read failed: ").unwrap_or_else(|| panic!("{detail}")).to_owned()
            }
        }
    }
}

/// The text with a golden file's address in the place of a test's own, and as it is outside of a container.
fn at_home(text: &str, own: SocketAddr, golden: &str) -> String {
    let in_container = "; in a container the service's hop limit must be 2: `aws ec2 modify-instance-metadata-options \
                        --http-put-response-hop-limit 2`";
    let text = text.replace(in_container, "; a firewall on this machine may forbid it to this user");
    text.replace(&format!("http://{own}"), &format!("http://{golden}")).replace(&own.to_string(), golden)
}

/// Compares each situation, and tells every one that differs.
fn compare(situations: Vec<(&str, Run, SocketAddr, &str)>) {
    let differing: Vec<_> = situations
        .into_iter()
        .filter_map(|(name, run, own, in_golden)| {
            let (_, wanted) = golden(name);
            // On a busy machine a handshake may take longer than the program waits, so a second and a third try count.
            let mut tries = (0..3).map(|_| at_home(&run.error(), own, in_golden));
            let first = tries.next().unwrap();
            let said = if first == wanted { first } else { tries.find(|said| *said == wanted).unwrap_or(first) };
            (said != wanted).then(|| format!("{name}\n  golden:  {wanted}\n  program: {said}"))
        })
        .collect();
    assert!(differing.is_empty(), "\n{}", differing.join("\n"));
}

#[test]
fn a_proxy_with_a_fault_is_told_in_the_words_of_its_golden_file() {
    let said = |status: &str| answers(vec![("CONNECT", answer(status, "", ""))]);
    let (gone, refuses, locked) = (closed(), said("403 Forbidden"), said("407 Proxy Authentication Required"));
    let hangs_up = server(|mut stream| drop(head(&mut stream)));
    let no_tls = answers(vec![("CONNECT", "HTTP/1.1 200 OK\r\n\r\n".to_owned())]);
    let all = [
        ("proxy-unreachable", gone),
        ("proxy-lets-nothing-through", refuses),
        ("proxy-tunnel-wants-password", locked),
        ("proxy-hangs-up", hangs_up),
        ("proxy-breaks-tls", no_tls),
        ("tls-unknown-issuer-behind-proxy", proxy_to("host")),
    ];
    compare(all.into_iter().map(|(name, proxy)| (name, Run::through(proxy), proxy, PROXY)).collect());
}

#[test]
fn a_certificate_or_a_way_with_a_fault_is_told_in_the_words_of_its_golden_file() {
    let shows = |name: &'static str| server(move |stream| speak_tls(name, stream));
    let trusting = |run: Run| run.set("AWS_CA_BUNDLE", certificate("ca"));
    let (unknown, other, expired) = (shows("host"), shows("other"), shows("expired"));
    let no_tls = server(|mut stream| drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
    let (gone, mute) = (closed(), server(|stream| drop((stream, thread::park()))));
    compare(vec![
        ("tls-unknown-issuer", Run::at(&format!("https://{unknown}")), unknown, HOST),
        ("tls-not-spoken", Run::at(&format!("https://{no_tls}")), no_tls, HOST),
        ("unreachable", Run::at(&format!("http://{gone}")), gone, HOST),
        ("unanswered", Run::at(&format!("http://{mute}")), mute, HOST),
        ("unconnected", Run::at(&format!("https://{mute}")), mute, HOST),
    ]);
    // The TLS library names the host without its port.
    let said = trusting(Run::at(&format!("https://{other}"))).error();
    let said = at_home(&said, other, HOST).replace("127.0.0.1", HOST);
    assert_eq!(said, golden("tls-other-host").1);
    // Each run has times of its own.
    let said = at_home(&trusting(Run::at(&format!("https://{expired}"))).error(), expired, HOST);
    let without_times = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    assert_eq!(without_times(&said), without_times(&golden("tls-expired").1));
    // Whether there is a name server decides about the last words.
    let said = Run::at("http://ec2.invalid").error().replace("ec2.invalid", HOST);
    let same = "failed to lookup address information";
    assert_eq!(said.split(same).next(), golden("unresolved").1.split(same).next());
}

#[test]
fn a_source_of_credentials_with_a_fault_is_told_in_the_words_of_its_golden_file() {
    let token = || ("PUT", answer("200 OK", "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n", "token"));
    let no_role = answers(vec![token(), ("GET", answer("404 Not Found", "", ""))]);
    let refuses = answers(vec![("PUT", answer("403 Forbidden", "", ""))]);
    let other = answers(vec![("PUT", answer("400 Bad Request", "", "unable to find a role for this pod"))]);
    let silent = closed();
    let served = [
        ("credentials-none", no_role),
        ("credentials-metadata-refuses", refuses),
        ("credentials-kube2iam", other),
        ("credentials-metadata-silent", silent),
    ];
    let bare = METADATA.trim_start_matches("http://");
    let mut all: Vec<_> =
        served.into_iter().map(|(name, service)| (name, Run::with_metadata(service), service, bare)).collect();
    all.push(("credentials-metadata-off", Run::default().set("AWS_EC2_METADATA_DISABLED", "true"), silent, bare));
    let sso = "[profile work]\nsso_start_url = https://x.awsapps.com/start\nsso_region = us-east-1\n\
               sso_account_id = 123456789012\nsso_role_name = r\n";
    for (name, profiles) in [
        ("credentials-process", "[profile work]\ncredential_process = /usr/bin/true\n"),
        ("credentials-sso", sso),
        ("credentials-login", "[profile work]\nlogin_session = arn:aws:iam::123456789012:user/me\n"),
    ] {
        all.push((name, Run::with_profile(profiles), silent, bare));
    }
    all.push(("credentials-half-a-pair", Run::default().set("AWS_ACCESS_KEY_ID", "AKID"), silent, bare));
    let sourceless = "[default]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = nosuch\n";
    let sourceless = Run { profiles: sourceless, ..Run::default() };
    let no_config = Run::default().set("AWS_CONFIG_FILE", "/nonexistent/config");
    all.extend([
        ("credentials-profile-missing", Run::default().set("AWS_PROFILE", "nosuch"), silent, bare),
        ("credentials-source-profile-missing", sourceless, silent, bare),
        ("credentials-profiles-unreadable", no_config, silent, bare),
    ]);
    compare(all);
}

#[test]
fn a_container_or_a_token_with_a_fault_is_told_in_the_words_of_its_golden_file() {
    const AT: &str = "169.254.170.2";
    let refuses = answers(vec![("GET", answer("403 Forbidden", "", "nobody's pod"))]);
    let denied = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized to perform \
                  sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>";
    let sts = answers(vec![("POST", answer("403 Forbidden", "", denied))]);
    let with_token = |file: String| {
        let run = Run::default()
            .set("AWS_WEB_IDENTITY_TOKEN_FILE", file)
            .set("AWS_ENDPOINT_URL_STS", format!("http://{sts}"));
        run.set("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/x")
    };
    let container = Run::default().set("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{refuses}/role"));
    let without_role = Run::default().set("AWS_WEB_IDENTITY_TOKEN_FILE", certificate("ca"));
    compare(vec![
        ("credentials-container-refuses", container, refuses, AT),
        // Any file is a token here.
        ("credentials-token-without-role", without_role, refuses, AT),
        ("credentials-token-refused", with_token(certificate("ca")), sts, AT),
        ("credentials-token-without-file", with_token(certificate("none")), sts, AT),
    ]);
}

#[test]
fn an_identity_that_is_not_told_is_told_in_the_words_of_its_golden_file() {
    let token = || ("PUT", answer("200 OK", "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n", "token"));
    let region = || ("placement/region", answer("200 OK", "", "us-east-1"));
    let other = answers(vec![("PUT", answer("400 Bad Request", "", "unable to find a role for this pod"))]);
    let bare = answers(vec![token(), region(), ("GET", answer("404 Not Found", "", ""))]);
    let gone = closed();
    let asking = |service: SocketAddr| Run { left_out: &["identity"], ..Run::with_metadata(service) };
    let both: &[&str] = &["identity", "region"];
    let at_zone = Run { left_out: both, profiles: "[default]\nregion = us-east-1a\n", ..Run::default() };
    let with_empty_region = Run { left_out: both, ..asking(bare) }.set("AWS_REGION", "");
    let untrusting = Run::at("https://127.0.0.1").set("SSL_CERT_FILE", "/nonexistent/roots.pem");
    let metadata = METADATA.trim_start_matches("http://");
    compare(vec![
        ("identity-kube2iam", asking(other), other, metadata),
        ("identity-silent", asking(gone), gone, metadata),
        ("identity-zone", at_zone, gone, metadata),
        ("identity-nothing-trusted", untrusting, gone, metadata),
        // A variable that is set and empty counts as not set.
        ("identity-not-told", with_empty_region, bare, metadata),
    ]);
}

#[test]
fn a_trust_store_that_comes_after_the_start_is_used_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    let shows = server(|stream| speak_tls("other", stream));
    let run = Run::at(&format!("https://{shows}")).set("SSL_CERT_FILE", roots.to_str().unwrap());
    let mut daemon = run.command(folder.path(), &["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let says = |words: &str| {
        let status = || text(run.command(folder.path(), &["status", "--json"]).output().unwrap().stdout);
        let began = Instant::now();
        let mut last = status();
        while !last.contains(words) && began.elapsed() < Duration::from_mins(1) {
            thread::sleep(Duration::from_millis(100));
            last = status();
        }
        if last.contains(words) { Ok(()) } else { Err(format!("{words}: {last}")) }
    };
    let untrusting = says("no certificate of an authority is trusted");
    fs::copy(certificate("ca"), roots).unwrap();
    // The issuer is trusted now, and the certificate is another host's.
    let trusting = says("certificate not valid for name");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert_eq!((untrusting, trusting), (Ok(()), Ok(())));
}

#[test]
fn plan_asks_pgpools_watchdog_with_the_key_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, key) = (folder.path().join("socket"), folder.path().join("key"));
    fs::write(&key, "of-the-file\n").unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let question = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = vec![0; 500];
        let length = stream.read(&mut question).unwrap();
        text(question[5..length].to_vec())
    });
    let gone = closed();
    let pgpool = format!("[pgpool]\nwatchdog_socket = {socket:?}\nwd_authkey_file = {key:?}\n");
    let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
    let mut run = Run::at(&format!("http://{gone}")).set("VIPKEEPER_HOOK_USERS", format!("[\"{me}\"]"));
    run.aws += &pgpool;
    run.error();
    assert!(question.join().unwrap().contains(r#""IPCAuthKey":"of-the-file""#));
}

#[test]
fn the_variables_of_proxies_count_as_they_do_for_the_aws_cli() {
    let gone = closed();
    let hidden = Run::with_keys().set("HTTPS_PROXY", "").set("https_proxy", format!("http://{gone}"));
    compare(vec![("proxy-unreachable", hidden, gone, PROXY)]);
    let through = |variable, endpoint: &str| Run::at(endpoint).set(variable, format!("http://{gone}"));
    // A web server that starts a CGI program sets this variable; this program is none.
    let said = through("HTTP_PROXY", "http://ec2.invalid").set("REQUEST_METHOD", "GET").error();
    assert!(said.contains(&gone.to_string()), "{said}");
    // Nobody answers at the address, which is for examples alone.
    for (no_proxy, endpoint, is_past) in [
        ("ec2.invalid:8443", "https://ec2.invalid:8443", true),
        ("ec2.invalid:8443", "https://ec2.invalid", false),
        ("*.invalid:443", "https://ec2.invalid", true),
        ("*", "https://192.0.2.1", true),
        ("192.0.2.1:8443", "https://192.0.2.1:8443", true),
        ("", "https://192.0.2.1", false),
    ] {
        let said = through("HTTPS_PROXY", endpoint).set("NO_PROXY", no_proxy).error();
        assert_eq!(!said.contains(&gone.to_string()), is_past, "{no_proxy} {endpoint}: {said}");
    }
    let said = through("HTTPS_PROXY", "https://ec2.invalid").set("NO_PROXY", "").set("no_proxy", "invalid").error();
    assert!(!said.contains(&gone.to_string()), "{said}");
}
