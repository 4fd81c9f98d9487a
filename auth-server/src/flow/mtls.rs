//! Client authentication by a certificate (RFC 8705 §2): one that an authority of the operator's signed for the client's
//! name, or one that holds a key of the client's. TLS, or the proxy that ended it, saw that the client holds its key.

use super::{Result, Server, client_keys};
use crate::protocol::certificate::Certificate;
use crate::protocol::client::{Certified, Client};
use crate::protocol::jwt::PublicKeys;
use crate::protocol::refusal::{Refusal, invalid_client};

/// Refuses a client whose certificate is not the one that it is known by.
pub async fn prove(
    server: &Server,
    client: &Client,
    certified: &Certified,
    certificate: Option<&Certificate>,
    address: &str,
) -> Result<()> {
    let Some(certificate) = certificate else {
        let refusal =
            invalid_client("this client authenticates by a certificate, and none was shown");
        return Err(if server.config.features.mtls {
            refusal.into()
        } else {
            refusal.setting("features.mtls").into()
        });
    };
    let now = server.now();
    match certified {
        Certified::Name(name) => {
            let authorities = server.authorities.as_ref();
            if !authorities.is_some_and(|them| them.vouch_for(certificate, now)) {
                return Err(untrusted().into());
            }
            if !certificate.bears(name) {
                return Err(invalid_client("the certificate is not the client's").into());
            }
        }
        Certified::Keys(source) => {
            if !certificate.is_current(now) {
                return Err(invalid_client("the certificate is not within its time").into());
            }
            let keys = client_keys::keys(server, client, source, None, address).await?;
            let held = |keys: &PublicKeys| certificate.jwk().is_some_and(|jwk| keys.holds(jwk));
            if held(&keys) {
                return Ok(());
            }
            // A name that no key has: the client may have a new one.
            let thumbprint = certificate.thumbprint();
            let name = Some(thumbprint.as_str());
            let keys = client_keys::keys(server, client, source, name, address).await?;
            if !held(&keys) {
                return Err(invalid_client("the certificate holds no key of the client's").into());
            }
        }
    }
    Ok(())
}

fn untrusted() -> Refusal {
    invalid_client("no authority that is trusted here signed the certificate for a client, or it is not within its time")
        .setting("mtls.ca_file")
}
