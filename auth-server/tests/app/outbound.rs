//! what the outbound client asks, and what it listens to.

use auth_server::config;
use auth_server::outbound::{Cause, Fetched, Outbound, Share};
use url::Url;

use crate::hosts::{Hosts, json, status};
use crate::world::START;

const URL: &str = "https://client.example/a.json";
const LARGEST: usize = 16 * 1024;

async fn fetch(outbound: &Outbound, url: &str) -> Result<Fetched, String> {
    outbound
        .get_json(
            &Url::parse(url).unwrap(),
            Share::Strangers("192.0.2.1"),
            START,
        )
        .await
        .map_err(|error| error.why)
}

/// What is fetched when the host sends these bytes.
async fn answered(answer: impl Into<Vec<u8>>) -> Result<Fetched, String> {
    let hosts = Hosts::start(&["client.example"]).await;
    hosts.put(URL, answer);
    fetch(&Outbound::new(&hosts.settings()).unwrap(), URL).await
}

#[tokio::test]
async fn json_is_fetched_with_its_freshness() {
    let fetched = answered(json("cache-control: max-age=60\r\n", "{}"))
        .await
        .unwrap();
    assert_eq!(
        (fetched.body.as_slice(), fetched.fresh_for),
        (&b"{}"[..], Some(60))
    );
}

#[tokio::test]
async fn a_bad_answer_is_refused_and_explained() {
    let large = "x".repeat(LARGEST + 1);
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\n{}";
    let lying = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    for (answer, why) in [
        (
            "HTTP/1.1 302 Found\r\nlocation: https://127.0.0.1/\r\ncontent-length: 0\r\n\r\n"
                .to_owned(),
            "redirects (302)",
        ),
        (status("404 Not Found"), "status 404"),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), "status 204"),
        (page.to_owned(), "content type `text/html`"),
        (json("", &large), "larger than 16 KiB"),
        (lying, "larger than 16 KiB"),
        (
            json("", "{}").replace("content-length: 2", "content-length: 9"),
            "whole HTTP answer",
        ),
        ("nonsense\r\n\r\n".to_owned(), "whole HTTP answer"),
    ] {
        let refused = answered(answer).await.unwrap_err();
        assert!(refused.contains(why), "{refused} / {why}");
    }
}

#[tokio::test]
async fn a_silent_host_is_left_after_five_seconds() {
    let refused = answered("").await.unwrap_err();
    assert_eq!(refused, "the host did not answer within 5 s");
}

#[tokio::test]
async fn a_name_that_resolves_to_a_special_use_address_is_refused() {
    let production = Outbound::new(&config::Outbound::default()).unwrap();
    let why = fetch(&production, "https://localhost/a.json")
        .await
        .unwrap_err();
    assert_eq!(why, "the host resolves to a loopback address (RFC 6890)");
    let development = config::Outbound {
        loopback: true,
        ..config::Outbound::default()
    };
    let development = Outbound::new(&development).unwrap();
    let why = fetch(&development, "https://localhost:9/a.json")
        .await
        .unwrap_err();
    assert_eq!(why, "no connection to the host");
}

#[tokio::test]
async fn an_address_in_the_url_is_judged_in_every_spelling() {
    let outbound = Outbound::new(&config::Outbound::default()).unwrap();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "10.0.0.1",
        "[::1]",
        "[::ffff:169.254.169.254]",
        "[fd00::1]",
        "169.254.169.254",
        "127.0.0.1.",
    ] {
        let refused = fetch(&outbound, &format!("https://{host}/x"))
            .await
            .unwrap_err();
        assert!(refused.contains("RFC 6890"), "{host}: {refused}");
    }
    for url in [
        "http://client.example/x",
        "http://localhost/x",
        "ftp://client.example/x",
        "https://a:b@client.example/x",
    ] {
        assert!(
            fetch(&outbound, url)
                .await
                .unwrap_err()
                .starts_with("the URL must"),
            "{url}"
        );
    }
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let hosts = Hosts::start(&["client.example"]).await;
    let settings = config::Outbound {
        extra_ca: None,
        ..hosts.settings()
    };
    let refused = fetch(&Outbound::new(&settings).unwrap(), URL)
        .await
        .unwrap_err();
    assert!(refused.contains("TLS is not accepted"), "{refused}");
    let other = Hosts::start(&["other.example"]).await;
    let mut settings = other.settings();
    settings
        .hosts
        .insert("client.example".into(), other.address);
    let refused = fetch(&Outbound::new(&settings).unwrap(), URL)
        .await
        .unwrap_err();
    assert!(refused.contains("TLS is not accepted"), "{refused}");
}

#[tokio::test]
async fn a_file_without_certificates_is_no_authority() {
    let settings = config::Outbound {
        extra_ca: Some(b"nothing".to_vec()),
        ..config::Outbound::default()
    };
    assert!(Outbound::new(&settings).is_err());
}

#[tokio::test]
async fn callers_at_the_same_time_share_one_request_and_later_ones_ask_anew() {
    let hosts = Hosts::start(&["client.example"]).await;
    hosts.put(URL, json("", "{}"));
    let outbound = Outbound::new(&hosts.settings()).unwrap();
    let all = futures_util::future::join_all((0..20).map(|_| fetch(&outbound, URL))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(hosts.asked(URL), 1);
    fetch(&outbound, URL).await.unwrap();
    assert_eq!(hosts.asked(URL), 2);
}

#[tokio::test]
async fn strangers_do_not_use_up_what_is_known_of_a_host() {
    let hosts = Hosts::start(&["client.example"]).await;
    hosts.put(URL, json("", "{}"));
    let outbound = Outbound::new(&hosts.settings()).unwrap();
    let url = Url::parse(URL).unwrap();
    let ask = async |url: &Url, address: &str| {
        let fetched = outbound.get_json(url, Share::Strangers(address), START);
        fetched.await.map(|_| ()).map_err(|error| error.why)
    };
    for n in 0..60 {
        let missing = Url::parse(&format!("https://client.example/x{n}")).unwrap();
        let caller = format!("2001:db8:0:{}::{n}", n / 15);
        ask(&missing, &caller).await.unwrap_err();
        if n == 14 {
            let more = ask(&url, "2001:db8::ffff").await.unwrap_err();
            let why = "this host was asked too often from your network within a minute";
            assert_eq!(more, why);
            assert_eq!(ask(&url, "2001:db8:0:f::1").await, Ok(()), "somebody else");
        }
    }
    let refused = ask(&url, "192.0.2.1").await.unwrap_err();
    assert_eq!(refused, "this host was asked too often within a minute");
    assert!(outbound.get_json(&url, Share::Known, START).await.is_ok());
}

#[tokio::test]
async fn a_host_that_is_away_is_left_alone_for_five_seconds_and_every_other_word_counts_at_once() {
    let hosts = Hosts::start(&["client.example"]).await;
    let outbound = Outbound::new(&hosts.settings()).unwrap();
    let url = Url::parse(URL).unwrap();
    let at = async |now: i64| {
        let fetched = outbound.get_json(&url, Share::Known, now).await;
        fetched.map(|_| ()).map_err(|error| error.cause)
    };
    for (n, (answer, cause)) in [
        ("403 Forbidden", Cause::Away),
        ("429 Too Many Requests", Cause::Away),
        ("503 Service Unavailable", Cause::Away),
        ("404 Not Found", Cause::Gone),
        ("410 Gone", Cause::Gone),
        ("401 Unauthorized", Cause::Useless),
        ("302 Found", Cause::Useless),
    ]
    .into_iter()
    .enumerate()
    {
        let now = START + 100 * i64::try_from(n).unwrap();
        hosts.put(URL, status(answer));
        assert_eq!(at(now).await, Err(cause), "{answer}");
        hosts.put(URL, json("", "{}"));
        let soon = match cause {
            Cause::Away => Err(Cause::Away),
            Cause::Gone | Cause::Useless => Ok(()),
        };
        assert_eq!(at(now + 4).await, soon, "{answer}");
        assert_eq!(at(now + 5).await, Ok(()), "{answer}");
    }
}
