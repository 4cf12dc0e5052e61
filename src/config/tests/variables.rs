//! Variables of other programs that count here, and mistakes in them.

use super::*;

#[test]
fn what_the_aws_cli_honours_is_honoured_or_named() {
    let with = |environment: &[(&str, &str)]| load_with(MINIMAL, environment, &[]);
    let config = with(&[("AWS_DEFAULT_REGION", "eu-west-1"), ("AWS_CA_BUNDLE", "/etc/ca.pem")]).unwrap();
    assert_eq!(config.aws.region.as_deref(), Some("eu-west-1"));
    assert_eq!(config.aws.ca_bundle, Some(PathBuf::from("/etc/ca.pem")));
    let both = [("REQUESTS_CA_BUNDLE", "/etc/last.pem"), ("AWS_CA_BUNDLE", "/etc/ca.pem")];
    assert_eq!(with(&both).unwrap().aws.ca_bundle, Some(PathBuf::from("/etc/ca.pem")));
    assert_eq!(with(&both[..1]).unwrap().aws.ca_bundle, Some(PathBuf::from("/etc/last.pem")));
    let both = [("AWS_DEFAULT_REGION", "eu-west-1"), ("AWS_REGION", "eu-north-1")];
    assert_eq!(with(&both).unwrap().aws.region.as_deref(), Some("eu-north-1"));
    let file = format!("[aws]\nregion = 'eu-south-1'\n{MINIMAL}");
    assert_eq!(load_with(&file, &both, &[]).unwrap().aws.region.as_deref(), Some("eu-south-1"));

    for (name, value, said) in [
        ("AWS_REGION", " ", "AWS_REGION: aws.region: is empty"),
        ("AWS_REGION", "eu-west-1 ", "'eu-west-1 ' has a space or a line break around it: write \"eu-west-1\""),
        ("AWS_REGION", "\teu-west-1\n", "has a space or a line break around it: write \"eu-west-1\""),
        ("AWS_REGION", "EU-West-1", "'EU-West-1' has capital letters: write \"eu-west-1\""),
        ("AWS_REGION", "eu-west-1a", "'eu-west-1a' is a zone, no region: write the region alone, \"eu-west-1\""),
        ("AWS_DEFAULT_REGION", "us-west-2-lax-1a", "write the region alone, \"us-west-2\""),
        ("AWS_REGION", "Frankfurt", "AWS_REGION: aws.region: 'Frankfurt' is no region: write it like"),
        ("VIPKEEPER_CLAIMS__MODE", "OFF", "claims.mode: 'OFF' has capital letters: write \"off\""),
        ("AWS_CA_BUNDLE", "ca.pem", "AWS_CA_BUNDLE: aws.ca_bundle: 'ca.pem' is relative"),
        ("HTTPS_PROXY", "http://user:secret@:3128", "HTTPS_PROXY: '...@:3128' is no URL of a proxy"),
        ("https_proxy", "http//proxy:3128", "https_proxy: 'http//proxy:3128' is no URL of a proxy"),
        ("ALL_PROXY", "socks5://proxy:1080", "ALL_PROXY: 'socks5://proxy:1080' is no URL of a proxy"),
    ] {
        let problems = with(&[(name, value)]).expect_err(value);
        assert!(problems.len() == 1 && problems[0].contains(said), "{problems:?}");
        assert!(!problems[0].contains("secret"), "{problems:?}");
    }
    for value in ["http://proxy:3128", "proxy.example.com:3128", "https://user:secret@proxy", ""] {
        with(&[("HTTPS_PROXY", value)]).expect(value);
    }
}
