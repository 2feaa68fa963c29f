//! Who gets on the trust list, and who may change it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lxd_api::certificates::CertificatesPost;
use lxd_api::server::ServerPut;
use lxd_model::ErrorKind;
use serde_json::json;

use super::*;
use crate::testing::{TestApp, next_event, root};

/// A client's certificate, in DER.
fn client(name: &str) -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.self_signed(&key).unwrap().der().to_vec()
}

fn stranger(der: &[u8]) -> Ctx {
    let caller = Caller::Untrusted {
        certificate: Some(der.to_vec()),
    };
    Ctx {
        address: "127.0.0.1:1234".into(),
        ..Ctx::new(caller)
    }
}

fn post(value: Value) -> CertificatesPost {
    serde_json::from_value(value).unwrap()
}

fn base64(der: &[u8]) -> String {
    let pem = x509::to_pem(der);
    pem.lines().filter(|line| !line.starts_with('-')).collect()
}

async fn added(app: &Arc<App>, ctx: &Ctx, value: Value) -> Result<String> {
    match add(app, ctx, post(value)).await? {
        Added::Certificate(fingerprint) => Ok(fingerprint),
        Added::Token(_) => panic!("a token"),
    }
}

#[tokio::test]
async fn a_password_lets_clients_in() {
    let app = TestApp::start().await;
    let der = client("foo");
    let ctx = stranger(&der);
    let wrong = json!({"type": "client", "password": "foo"});
    assert_eq!(
        added(&app, &ctx, wrong.clone()).await.unwrap_err().kind(),
        ErrorKind::Forbidden
    );
    let config: ServerPut =
        serde_json::from_value(json!({"config": {"core.trust_password": "foo"}})).unwrap();
    crate::server::patch(&app, &root(), config, None).await.unwrap();
    for refused in [
        json!({"type": "client"}),
        json!({"type": "client", "password": "bar"}),
        json!({"token": true}),
    ] {
        assert_eq!(
            added(&app, &ctx, refused).await.unwrap_err().kind(),
            ErrorKind::Forbidden
        );
    }
    assert!(!app.trust.identify(Some(&der)).eq(&Caller::Daemon));
    let fingerprint = added(&app, &ctx, wrong.clone()).await.unwrap();
    assert_eq!(fingerprint, x509::fingerprint(&der));
    let Caller::Tls {
        name,
        restricted: false,
        ..
    } = app.trust.identify(Some(&der))
    else {
        panic!("not trusted")
    };
    assert_eq!(name, "foo");
    let trusted = Ctx::new(app.trust.identify(Some(&der)));
    let again = added(&app, &trusted, json!({})).await.unwrap_err();
    assert_eq!(again.text(), "Client is already trusted");
}

#[tokio::test]
async fn admins_add_change_and_remove() {
    let app = TestApp::start().await;
    let mut listener = app.listen();
    let der = client("foo");
    let body = json!({"type": "client", "certificate": base64(&der), "name": "hello"});
    let fingerprint = added(&app, &root(), body.clone()).await.unwrap();
    assert_eq!(
        next_event(&mut listener).await["metadata"]["action"],
        "certificate-created"
    );
    let taken = added(&app, &root(), body).await.unwrap_err();
    assert_eq!(
        (taken.kind(), taken.text().as_str()),
        (ErrorKind::Conflict, "Certificate already in trust store")
    );
    let seen = get(&app, &root(), &fingerprint[..12]).await.unwrap();
    assert_eq!(
        (seen.value.name.as_str(), seen.value.r#type.as_str()),
        ("hello", "client")
    );

    let change = json!({"restricted": true, "projects": ["default"]});
    patch(&app, &root(), &fingerprint, change, Some(&seen.etag))
        .await
        .unwrap();
    let Caller::Tls {
        restricted: true,
        projects,
        ..
    } = app.trust.identify(Some(&der))
    else {
        panic!("not restricted")
    };
    assert_eq!(projects, ["default"]);
    let lost = patch(&app, &root(), &fingerprint, json!({"projects": ["nope"]}), None)
        .await
        .unwrap_err();
    assert_eq!(
        (lost.kind(), lost.text().as_str()),
        (ErrorKind::NotFound, "Project not found")
    );
    let typed = patch(&app, &root(), &fingerprint, json!({"type": "metrics"}), None)
        .await
        .unwrap_err();
    assert_eq!(typed.text(), "The certificate type cannot be changed");

    let own = Ctx::new(app.trust.identify(Some(&der)));
    let lifted = patch(&app, &own, &fingerprint, json!({"restricted": false}), None)
        .await
        .unwrap_err();
    assert_eq!(lifted.kind(), ErrorKind::Forbidden);
    let new = client("foo2");
    patch(
        &app,
        &own,
        &fingerprint,
        json!({"certificate": x509::to_pem(&new)}),
        None,
    )
    .await
    .unwrap();
    assert_eq!(
        app.trust.identify(Some(&der)),
        Caller::Untrusted {
            certificate: Some(der)
        }
    );
    delete(&app, &root(), &x509::fingerprint(&new)).await.unwrap();
    assert!(list(&app, &root()).await.unwrap().is_empty());
    let gone = get(&app, &root(), &fingerprint).await.unwrap_err();
    assert_eq!(
        (gone.kind(), gone.text().as_str()),
        (ErrorKind::NotFound, "Certificate not found")
    );
}

#[tokio::test]
async fn refusals_read_as_the_references() {
    let app = TestApp::start().await;
    let der = client("foo");
    for (body, kind, text) in [
        (json!({}), ErrorKind::BadRequest, "Client is already trusted"),
        (
            json!({"type": "client"}),
            ErrorKind::BadRequest,
            "Client is already trusted",
        ),
        (
            json!({"type": "foo", "certificate": "xx"}),
            ErrorKind::BadRequest,
            "Invalid certificate type",
        ),
        (
            json!({"type": "client", "certificate": base64(&der), "projects": ["nope"]}),
            ErrorKind::NotFound,
            "Project not found",
        ),
    ] {
        let error = added(&app, &root(), body.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.text().as_str()), (kind, text), "{body}");
    }
    let body = json!({"type": "client", "certificate": "xx"});
    assert_eq!(
        added(&app, &root(), body).await.unwrap_err().kind(),
        ErrorKind::BadRequest
    );
}

#[tokio::test]
async fn a_token_is_good_once_and_grants_what_its_maker_wished() {
    let app = TestApp::start().await;
    let wish = json!({"type": "client", "name": "guest", "restricted": true, "projects": ["default"], "token": true});
    let deaf = add(&app, &root(), post(wish.clone())).await.err().unwrap();
    assert_eq!(
        deaf.text(),
        "Can't issue token when server isn't listening on network"
    );
    let put: ServerPut =
        serde_json::from_value(json!({"config": {"core.https_address": "127.0.0.1:1"}})).unwrap();
    crate::server::patch(&app, &root(), put, None).await.unwrap();
    let Added::Token(operation) = add(&app, &root(), post(wish)).await.unwrap() else {
        panic!("no token")
    };
    let metadata = operation.metadata();
    assert_eq!(metadata["fingerprint"], app.server_certificate().fingerprint);
    let token = json!({
        "client_name": "guest", "fingerprint": metadata["fingerprint"], "addresses": metadata["addresses"],
        "secret": metadata["secret"], "expires_at": "0001-01-01T00:00:00Z",
    });
    let password = STANDARD.encode(token.to_string());
    let der = client("foo");
    let body = json!({"type": "client", "password": password, "restricted": false});
    added(&app, &stranger(&der), body.clone()).await.unwrap();
    let Caller::Tls {
        name,
        restricted: true,
        projects,
        ..
    } = app.trust.identify(Some(&der))
    else {
        panic!("free")
    };
    assert_eq!((name.as_str(), projects.len()), ("guest", 1));
    let again = added(&app, &stranger(&client("bar")), body).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Forbidden);
}
