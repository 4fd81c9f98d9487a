//! RFC 9449, Demonstrating Proof of Possession: the proofs of its examples, and the requests of §5, §7 and §8 with fresh ones.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, anyhow, ensure};
use auth_server::protocol::confirmation::Confirmation;
use auth_server::protocol::dpop::{Asked, check};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwk::Jwk;
use josekit::jwk::alg::ec::EcCurve;
use josekit::jws::{ES256, JwsHeader};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::relying_party::{REDIRECT_URI, now, parameter};
use super::wire::{Answered, client, post, unfold};
use crate::browser::Browser;
use crate::world::{Setup, World};

/// §4.1: for `POST https://server.example.com/token`, made at [`AT`].
const AT_TOKEN: &str = include_str!("token.jwt");
/// §7.1: for `GET https://resource.example.org/protectedresource`, with the access token [`TOKEN`].
const AT_RESOURCE: &str = include_str!("resource.jwt");
const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const AT: i64 = 1_562_262_616;
/// §6.1: the thumbprint of the key of both.
const THUMBPRINT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
/// `s6BhdRkqt3:gX1fBat3bV`
const BASIC: (&str, &str) = ("authorization", "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");

/// Who holds a key.
pub(crate) struct Holder {
    key: Jwk,
}

impl Holder {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            key: Jwk::generate_ec_key(EcCurve::P256)?,
        })
    }

    /// A proof for a request (§4.2), with further claims.
    pub(crate) fn proof(&self, method: &str, url: &str, more: &Value) -> Result<String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!(
            "{} {}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let mut claims = json!({"jti": id, "htm": method, "htu": url, "iat": now()});
        for (name, value) in more.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        let mut header = JwsHeader::new();
        header.set_token_type("dpop+jwt");
        header.set_jwk(self.key.to_public_key()?);
        let signer = ES256.signer_from_jwk(&self.key)?;
        let text = claims.to_string();
        Ok(josekit::jws::serialize_compact(
            text.as_bytes(),
            &header,
            &signer,
        )?)
    }

    /// RFC 7638 thumbprint of the key.
    pub(crate) fn thumbprint(&self) -> Result<String> {
        let public = serde_json::to_value(self.key.to_public_key()?)?;
        let member = |name: &str| public[name].as_str().unwrap_or_default().to_owned();
        let text = format!(
            r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#,
            member("x"),
            member("y")
        );
        Ok(URL_SAFE_NO_PAD.encode(Sha256::digest(text)))
    }
}

/// `ath` (§4.2)
pub(crate) fn hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token))
}

#[test]
fn the_proofs_of_the_examples_hold_for_their_requests_alone() -> Result<()> {
    let asked = |method: &'static str, url: &str, access_token, now| {
        let urls: &'static [String] = vec![url.to_owned()].leak();
        Asked {
            method,
            urls,
            access_token,
            now,
        }
    };
    let at_token = asked("POST", "https://server.example.com/token", None, AT);
    let proof = check(&unfold(AT_TOKEN), &at_token).map_err(|why| anyhow!("{why:?}"))?;
    ensure!(
        proof.thumbprint == THUMBPRINT && proof.nonce.is_none(),
        "{proof:?}"
    );
    let resource = "https://resource.example.org/protectedresource";
    let at_resource = asked("GET", resource, Some(TOKEN), AT + 2);
    let proof = check(&unfold(AT_RESOURCE), &at_resource).map_err(|why| anyhow!("{why:?}"))?;
    ensure!(proof.thumbprint == THUMBPRINT, "{proof:?}");
    ensure!(hash(TOKEN) == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
    // One is no proof for the request of the other.
    ensure!(check(&unfold(AT_RESOURCE), &at_token).is_err());
    ensure!(check(&unfold(AT_TOKEN), &at_resource).is_err());
    Ok(())
}

#[test]
fn the_thumbprint_of_section_10_names_a_key() -> Result<()> {
    let jkt = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
    let bound = Confirmation::from_dpop_jkt(jkt).map_err(|why| anyhow!("{why:?}"))?;
    ensure!(
        serde_json::to_value(&bound)? == json!({"jkt": jkt}),
        "{bound:?}"
    );
    // §6.1: as an access token has it.
    let claims = json!({"sub": "someone@example.com", "cnf": {"jkt": THUMBPRINT}});
    let read = Confirmation::of(claims.as_object().context("no object")?);
    ensure!(
        read == Some(Confirmation::Key(THUMBPRINT.to_owned())),
        "{read:?}"
    );
    ensure!(Confirmation::from_dpop_jkt(&jkt[1..]).is_err());
    Ok(())
}

async fn start(features: &str) -> Result<World> {
    let own = format!(
        "redirect_uris = [\"{REDIRECT_URI}\"]\nrequire_pkce = false\ngrant_types = [\"authorization_code\", \"refresh_token\"]"
    );
    World::start(Setup {
        more: &format!("{features}{}", client("gX1fBat3bV", &own)),
        ..Setup::default()
    })
    .await
}

/// §5: the form of a token request.
async fn code(world: &World) -> Result<String> {
    let endpoint = world.metadata["authorization_endpoint"]
        .as_str()
        .unwrap_or_default();
    let url = format!("{endpoint}?response_type=code&client_id=s6BhdRkqt3&scope=openid&state=xyz");
    let answer = Browser::new().authorize(&url, &world.user).await?;
    let code = parameter(&answer, "code").context("no code")?;
    Ok(format!(
        "grant_type=authorization_code&code={code}\n&redirect_uri=https%3A%2F%2Fclient.example.org%2Fcb"
    ))
}

async fn userinfo(world: &World, scheme: &str, token: &str, proof: &str) -> Result<Answered> {
    let url = world.metadata["userinfo_endpoint"]
        .as_str()
        .context("no userinfo")?;
    let mut request = crate::http_client()
        .get(url)
        .header("authorization", format!("{scheme} {token}"));
    if !proof.is_empty() {
        request = request.header("dpop", proof);
    }
    Answered::to(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_bound_to_the_key_of_its_proof_and_goes_with_another_proof() -> Result<()> {
    let world = start("").await?;
    let (token_url, userinfo_url) = (
        named(&world, "token_endpoint")?,
        named(&world, "userinfo_endpoint")?,
    );
    let form = code(&world).await?;
    // §5: the proof of the RFC is genuine, old, and for another server.
    let printed = unfold(AT_TOKEN);
    let refused = post(
        &world,
        "token_endpoint",
        &[("dpop", &printed), BASIC],
        &form,
    )
    .await?;
    ensure!(
        refused.status == 400 && refused.error() == "invalid_dpop_proof",
        "{refused:?}"
    );
    let holder = Holder::new()?;
    let proof = holder.proof("POST", &token_url, &json!({}))?;
    let answer = post(&world, "token_endpoint", &[("dpop", &proof), BASIC], &form).await?;
    let tokens = answer.json();
    ensure!(
        answer.status == 200 && tokens["token_type"] == "DPoP",
        "{answer:?}"
    );
    let token = tokens["access_token"].as_str().context("no token")?;
    // §6.2: whoever asks is told.
    let about = post(
        &world,
        "introspection_endpoint",
        &[BASIC],
        &format!("token={token}"),
    )
    .await?;
    ensure!(
        about.json()["cnf"]["jkt"] == holder.thumbprint()?,
        "{about:?}"
    );
    ensure!(about.json()["token_type"] == "DPoP", "{about:?}");

    // §7.1
    let bound = json!({"ath": hash(token)});
    let good = holder.proof("GET", &userinfo_url, &bound)?;
    let answer = userinfo(&world, "DPoP", token, &good).await?;
    ensure!(answer.status == 200, "{answer:?}");
    // §11.1 the same once more; §7.1 without the hash; §7.2 as Bearer; another key.
    let stranger = Holder::new()?.proof("GET", &userinfo_url, &bound)?;
    let blank = holder.proof("GET", &userinfo_url, &json!({}))?;
    let fresh = holder.proof("GET", &userinfo_url, &bound)?;
    for (scheme, proof) in [
        ("DPoP", &good),
        ("DPoP", &blank),
        ("Bearer", &fresh),
        ("DPoP", &stranger),
        ("DPoP", &String::new()),
    ] {
        let answer = userinfo(&world, scheme, token, proof).await?;
        ensure!(answer.status == 401, "{scheme} {proof}: {answer:?}");
        let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
        let dpop = challenges
            .iter()
            .find(|value| value.as_bytes().starts_with(b"DPoP"));
        let dpop = dpop.context("no DPoP challenge")?.to_str()?;
        ensure!(dpop.contains("algs=\"") && dpop.contains("ES256"), "{dpop}");
    }
    Ok(())
}

fn named(world: &World, endpoint: &str) -> Result<String> {
    Ok(world.metadata[endpoint]
        .as_str()
        .context("no endpoint")?
        .to_owned())
}

/// §8
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_nonces_gives_one_with_the_error() -> Result<()> {
    let world = start("[features]\ndpop_nonces = true\n").await?;
    let token_url = named(&world, "token_endpoint")?;
    let (form, holder) = (code(&world).await?, Holder::new()?);
    let proof = holder.proof("POST", &token_url, &json!({}))?;
    let answer = post(&world, "token_endpoint", &[("dpop", &proof), BASIC], &form).await?;
    ensure!(
        answer.status == 400 && answer.error() == "use_dpop_nonce",
        "{answer:?}"
    );
    ensure!(
        answer.header("cache-control").contains("no-store"),
        "{answer:?}"
    );
    let nonce = answer.header("dpop-nonce").to_owned();
    ensure!(!nonce.is_empty(), "{answer:?}");
    // One that the server never gave, here that of the RFC, is as good as none.
    let printed = holder.proof(
        "POST",
        &token_url,
        &json!({"nonce": "eyJ7S_zG.eyJH0-Z.HX4w-7v"}),
    )?;
    let answer = post(
        &world,
        "token_endpoint",
        &[("dpop", &printed), BASIC],
        &form,
    )
    .await?;
    ensure!(answer.error() == "use_dpop_nonce", "{answer:?}");
    let proof = holder.proof("POST", &token_url, &json!({"nonce": nonce}))?;
    let answer = post(&world, "token_endpoint", &[("dpop", &proof), BASIC], &form).await?;
    ensure!(
        answer.status == 200 && answer.json()["token_type"] == "DPoP",
        "{answer:?}"
    );
    Ok(())
}
