//! The webhook.

use std::os::unix::fs::PermissionsExt;

use crate::authority::Authority;
use crate::config;
use crate::house::{House, wait_until};
use crate::http::Http;

const TOKEN: &str = "t0ken-of-the-hook";

fn house(url: &str, house: House) -> House {
    let text = format!(
        "webhook = \"{url}\"\nwebhook-token-file = \"token\"\ngather = \"0s\"\npause = \"1s\"\nretry = \"1s\"\n"
    );
    house.put("danelaw.toml", config(&text));
    house.put("token", TOKEN);
    std::fs::set_permissions(house.path("token"), std::fs::Permissions::from_mode(0o600)).unwrap();
    house
}

#[test]
fn a_message_is_posted_until_the_status_is_2xx_and_no_redirect_gets_the_token() {
    let http = Http::start(None);
    http.answer(&[500, 302]);
    let house = house(
        &format!("http://{}/hook/secret-path", http.address),
        House::good().begun_after("export DANELAW_LOG=trace"),
    );
    let daemon = house.start();
    wait_until("it is taken", || http.posted().iter().any(|posted| posted.status == 204));
    let posted = http.posted();
    assert_eq!(posted.iter().map(|posted| posted.status).collect::<Vec<_>>(), [500, 302, 204]);
    for one in &posted {
        assert_eq!(one.head[0], "POST /hook/secret-path HTTP/1.1");
        for header in [&*format!("authorization: Bearer {TOKEN}"), "content-type: application/json"] {
            assert!(one.head.iter().any(|line| line == header), "{header}: {:?}", one.head);
        }
        assert_eq!(one.json, posted[0].json, "the same on every try");
    }
    let json = &posted[0].json;
    assert_eq!((&json["version"], &json["more"], &json["undelivered"]), (&1.into(), &0.into(), &0.into()));
    assert!(json["host"].is_string() && json["id"].is_string() && json["at"].is_u64());
    let notice = &json["notices"][0];
    assert_eq!((&notice["kind"], &notice["subject"]), (&"tlsa-published".into(), &"mail.example.org".into()));
    assert_eq!((&notice["text"], &notice["urgent"]), (&"_25._tcp.mail.example.org".into(), &false.into()));
    wait_until("no problem is left", || daemon.problems().is_empty());
    let said = format!("{}\n{}", daemon.log(), daemon.status());
    assert!(said.contains("HTTP status 500") && said.contains(&format!("webhook http://{}", http.address)), "{said}");
    assert!(!said.contains(TOKEN) && !said.contains("secret-path"), "{said}");
}

#[test]
fn https_is_verified() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let http = Http::start(Some(&authority.config));
    let url = format!("https://localhost:{}/", http.address.port());
    let good = house(&url, House::good().begun_after(&authority.trusted()));
    let _daemon = good.start();
    wait_until("it is taken", || http.posted().len() == 1);
    let wary = house(&url, House::good().begun_after(&stranger.trusted()));
    let daemon = wary.start();
    wait_until("status tells", || daemon.problems().contains("could not be told"));
    assert!(daemon.problems().to_lowercase().contains("certificate"), "{}", daemon.problems());
    assert_eq!(http.posted().len(), 1);
}

#[test]
fn a_webhook_that_never_answers_keeps_nobody_from_stopping() {
    let http = Http::start(None);
    http.answer(&[0]);
    let house = house(&format!("http://{}/", http.address), House::good());
    let daemon = house.start();
    wait_until("it is asked", || http.posted().len() == 1);
    daemon.stop();
    let _daemon = house.start();
    wait_until("it is told all the same", || http.posted().iter().any(|posted| posted.status == 204));
    assert_eq!(http.posted()[0].json, http.posted()[1].json);
}
