//! What clients may ask for here. Looked at where metadata are brought: what the operator switches off later is refused
//! when it is used.

use super::accept::invalid_metadata;
use super::policy::FAPI2;
use super::{Accepted, Metadata, Method};
use crate::protocol::feature::Features;
use crate::protocol::jwt::{Alg, PublicKeys};
use crate::protocol::refusal::Refusal;

/// What this server has, as far as a client's metadata may name it.
#[derive(Clone, Copy, Debug)]
pub struct Support<'a> {
    /// What we sign with.
    pub algorithms: &'a [Alg],
    /// What is switched on.
    pub features: Features,
}

impl Accepted {
    /// Refuses what this server does not have, and keys in the metadata that are malformed: too much work for every lookup of
    /// a client.
    pub(super) fn check(&self, support: Support<'_>) -> Result<(), Refusal> {
        let (metadata, on) = (&self.metadata, support.features);
        if let Some(jwks) = &metadata.jwks {
            PublicKeys::parse(jwks).map_err(|why| invalid_metadata(format!("jwks: {why}")))?;
        }
        if metadata.subject_type.as_deref() == Some("pairwise") && !on.pairwise_subjects {
            return Err(invalid_metadata("subject_type pairwise is switched off")
                .setting("features.pairwise_subjects"));
        }
        if metadata.profile.as_deref() == Some(FAPI2) {
            let needed = [
                (on.pushed_requests, "features.pushed_requests"),
                (on.dpop || on.mtls, "features.dpop"),
            ];
            if let Some((_, setting)) = needed.into_iter().find(|(on, _)| !on) {
                let why = "profile fapi2 needs what is switched off";
                return Err(invalid_metadata(why).setting(setting));
            }
        }
        if let Some(types) = &metadata.response_types
            && !on.hybrid
            && !types.is_empty()
            && !types.iter().any(|kind| kind == "code")
        {
            return Err(
                invalid_metadata("response_types: code id_token is switched off")
                    .setting("features.hybrid"),
            );
        }
        for wanted in self.answers.iter() {
            if wanted
                .alg
                .is_some_and(|alg| !support.algorithms.contains(&alg))
            {
                let member = wanted.answer.signed_by();
                let names: Vec<_> = support.algorithms.iter().map(|alg| alg.as_str()).collect();
                let why = format!("{member} must be one of {}", names.join(", "));
                return Err(invalid_metadata(why).setting("keys.algorithms"));
            }
            if wanted.encryption.is_some() && !on.encryption {
                return Err(invalid_metadata("encrypted answers are switched off")
                    .setting("features.encryption"));
            }
        }
        if self.method == Method::SecretJwt && !on.client_secret_jwt {
            return Err(invalid_metadata("client_secret_jwt is switched off")
                .setting("features.client_secret_jwt"));
        }
        let bound = metadata.tls_client_certificate_bound_access_tokens == Some(true);
        if (Method::MTLS.contains(&self.method) || bound) && !on.mtls {
            let why = "certificates of clients are not asked for here";
            return Err(invalid_metadata(why).setting("features.mtls"));
        }
        Ok(())
    }
}

impl Metadata {
    /// Leaves out of a list to choose from what this server does not have (rule A-44).
    pub(super) fn narrow(&mut self, support: Support<'_>) {
        if let Some(types) = &mut self.response_types
            && !support.features.hybrid
            && types.iter().any(|kind| kind == "code")
        {
            types.retain(|kind| kind == "code");
        }
        if let Some(methods) = &mut self.token_endpoint_auth_methods_supported
            && !support.features.client_secret_jwt
        {
            methods.retain(|method| method != Method::SecretJwt.as_str());
        }
    }
}
