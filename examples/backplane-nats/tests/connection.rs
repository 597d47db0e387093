//! The connection: being away, coming back, and credentials.

#[path = "../../../tests/support/backplane.rs"]
mod backplane;
mod support;

use std::time::Duration;

use async_nats::ConnectOptions;
use backplane::{Engine, Node, room, soon};
use fullduplex::hub::{BackplaneError, Hub};
use fullduplex_backplane_nats::{Failure, Nats};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use support::{
    Server, builder, changed, connected,
    proxy::{Mode, Proxy},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_fail_at_once_while_the_server_is_away_and_go_on_when_it_is_back() {
    let server = Server::start();
    let mut node = server.node().await;
    let mut member = node.joined("r").await;
    let server = changed(server, |server| server.kill()).await;
    node.available(false).await;
    assert!(!node.hub.is_available());
    for _ in 0..1000 {
        assert!(matches!(node.hub.read_before(&room("r"), None, 9).await, Err(BackplaneError::Away)));
        assert!(matches!(node.hub.present(&room("r")).await, Err(BackplaneError::Away)));
        assert!(matches!(node.hub.signal("x"), Err(BackplaneError::Away)));
    }
    let waiting = {
        let hub = node.hub.clone();
        tokio::spawn(async move { hub.publish(&room("r"), "waits").await })
    };
    let _server = changed(server, |server| server.run()).await;
    node.available(true).await;
    let published = soon("publishing", waiting).await.expect("no panic").expect("published");
    assert_eq!(member.stored().await, (published.position, "waits".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_away_after_the_timeout() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let url = format!("nats://127.0.0.1:{}", proxy.port);
    let nats = builder(&url).timeout(Duration::from_millis(500)).build().expect("valid");
    let mut node = connected(&nats).await;
    let mut member = node.joined("r").await;
    proxy.set(Mode::Stall);
    // No call: the connection is checked all the same.
    node.available(false).await;
    assert!(!nats.is_connected() && nats.last_failure().is_some());
    let other = server.node().await;
    let position = other.publish("r", "missed").await;
    proxy.set(Mode::Pass);
    node.available(true).await;
    assert_eq!(member.stored().await, (position, "missed".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_can_be_created_before_the_server_runs() {
    let server = Server::start();
    let server = changed(server, |server| server.kill()).await;
    let nats = builder(&server.url()).build().expect("valid");
    let mut node = Node::new(nats.clone());
    soon("an attempt", nats.connected()).await.expect_err("it does not run");
    let joining = {
        let seat = node.seat();
        tokio::spawn(async move {
            seat.member.join(&room("r")).await.expect("joined");
            seat
        })
    };
    let _server = changed(server, |server| server.run()).await;
    node.available(true).await;
    let mut seat = soon("joining", joining).await.expect("no panic");
    node.publish("r", "a").await;
    assert_eq!(seat.stored().await.1, "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_the_server_refuses_are_reported() {
    let server = Server::start();
    let nats: Nats<String> = builder(&server.url()).name("x").replicas(3).build().expect("valid");
    let _node = Node::new(nats.clone());
    let failure =
        soon("an attempt", nats.connected()).await.expect_err("one server stores no three replicas");
    let printed = format!("{failure:?}");
    assert!(printed.contains("replicas"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_reported_and_no_password_is_printed() {
    let server = Server::start_with(&["--user", "me", "--pass", "hunter 2"]);
    let url = |password: &str| format!("nats://me:{password}@127.0.0.1:{}", server.port());
    let node = connected(&builder(&url("hunter%202")).build().expect("valid")).await;
    node.publish("r", "a").await;
    let options = ConnectOptions::new().user_and_password("me".into(), "hunter 2".into());
    let node = connected(&builder(&server.url()).options(options).build().expect("valid")).await;
    node.publish("r", "b").await;

    let nats: Nats<String> = builder(&url("swordfish")).build().expect("valid");
    let node = Node::new(nats.clone());
    let failure = soon("an attempt", nats.connected()).await.expect_err("the password is wrong");
    let failed = node.hub.read_before(&room("r"), None, 9).await.expect_err("it is away");
    let printed = format!("{failure} {failure:?} {:?} {nats:?} {failed} {failed:?}", nats.last_failure());
    assert!(printed.contains("uthorization"), "{printed}");
    assert!(!printed.contains("swordfish") && !printed.contains("hunter"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_separate() {
    let server = Server::start();
    let one = connected(&builder(&server.url()).name("one").build().expect("valid")).await;
    let two = connected(&builder(&server.url()).name("two").build().expect("valid")).await;
    let (mut a, mut b) = (one.joined("r").await, two.joined("r").await);
    for (node, text) in [(&one, "1"), (&two, "2")] {
        node.hub.to_all().send(text).await;
        node.publish("r", text).await;
    }
    assert_eq!((a.next().await, a.stored().await.1), ("1".into(), "1".into()));
    assert_eq!((b.next().await, b.stored().await.1), ("2".into(), "2".into()));
}

#[tokio::test]
#[should_panic(expected = "a hub is attached already")]
async fn a_second_hub_is_refused() {
    let nats: Nats<String> = builder("nats://127.0.0.1:1").build().expect("valid");
    let _first: Hub<String> = Hub::builder().backplane(nats.clone()).build();
    let _second: Hub<String> = Hub::builder().backplane(nats).build();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_used_and_certificates_are_verified() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str, contents: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, contents).expect("writable");
        path
    };
    // Authorities with names of their own.
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("random");
        let certificate = file(name, &params.self_signed(&key).expect("valid").pem());
        (certificate, Issuer::new(params, key))
    };
    let ((known, issuer), (other, _)) = (authority("known"), authority("other"));
    let key = KeyPair::generate().expect("random");
    let params = CertificateParams::new(["localhost".into()]).expect("valid");
    let certificate = file("cert.pem", &params.signed_by(&key, &issuer).expect("valid").pem());
    let key = file("key.pem", &key.serialize_pem());
    let text = |path: &std::path::Path| path.to_str().expect("text").to_owned();
    let server = Server::start_with(&["--tls", "--tlscert", &text(&certificate), "--tlskey", &text(&key)]);
    let url = format!("tls://localhost:{}", server.port());
    let trusting = |path| builder(&url).options(ConnectOptions::new().add_root_certificates(path));

    let node = connected(&trusting(known).build().expect("valid")).await;
    let mut member = node.joined("r").await;
    let position = node.publish("r", "a").await;
    assert_eq!(member.stored().await, (position, "a".into()));

    for distrusting in [trusting(other), builder(&url)] {
        let nats: Nats<String> = distrusting.build().expect("valid");
        let node = Node::new(nats.clone());
        let failure = soon("an attempt", nats.connected()).await.expect_err("the certificate is not known");
        let Failure::Tls(error) = &failure else { panic!("{failure:?}") };
        assert!(format!("{error} {error:?}").contains("UnknownIssuer"), "{failure:?}");
        assert!(matches!(node.hub.present(&room("r")).await, Err(BackplaneError::Away)));
    }
}
