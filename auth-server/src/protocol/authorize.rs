//! The authorization request (RFC 6749 §4.1.1, OIDC Core §3.1.2.1) and the one decision that follows it:
//! [`next_step`]. Until a redirect URI has matched, an error is a page; afterwards it goes back to the client.

use super::acr::{Level, Wanted};
use super::claims_request::ClaimsRequest;
use super::client::{Client, GrantType};
use super::confirmation::Confirmation;
use super::details::{self, DetailType, Details};
use super::feature::Features;
use super::oxide;
use super::params::Params;
use super::pkce::Challenge;
use super::redirect::{Redirect, ResponseMode, ResponseType};
use super::refusal::{Code, Refusal, invalid_request};
use super::resource::{self, Resource};
use super::scope::{OPENID, Scope};
pub use step::{Hint, SignedIn, Step, next_step};

mod step;

/// Where an error of the authorization endpoint may go.
#[derive(Clone, Debug)]
pub enum AuthorizeError {
    /// Client or redirect URI could not be trusted: shown to the user, never redirected (rule A-23).
    Page(Refusal),
    /// Sent to the client.
    Redirect(Box<Redirect>, Refusal),
}

/// `prompt` values (OIDC Core §3.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// No page may be shown.
    None,
    /// Sign in again.
    Login,
    /// Ask for consent again.
    Consent,
    /// Let the user choose another account.
    SelectAccount,
}

impl Prompt {
    fn parse(text: Option<&str>) -> Result<Vec<Prompt>, Refusal> {
        let mut prompts = Vec::new();
        for word in text
            .unwrap_or_default()
            .split(' ')
            .filter(|word| !word.is_empty())
        {
            prompts.push(match word {
                "none" => Prompt::None,
                "login" => Prompt::Login,
                "consent" => Prompt::Consent,
                "select_account" => Prompt::SelectAccount,
                _ => {
                    return Err(invalid_request(
                        "prompt must be none, login, consent or select_account",
                    ));
                }
            });
        }
        if prompts.contains(&Prompt::None) && prompts.iter().any(|prompt| *prompt != Prompt::None) {
            return Err(invalid_request(
                "prompt=none excludes every other prompt (OIDC Core 3.1.2.1)",
            ));
        }
        Ok(prompts)
    }
}

/// An accepted authorization request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where the answer goes.
    pub redirect: Redirect,
    /// What the answer is.
    pub response_type: ResponseType,
    /// S256 challenge.
    pub challenge: Option<Challenge>,
    /// Requested scope, known tokens only, defaults filled in.
    pub scope: Scope,
    /// Requested resources in registered spelling.
    pub resources: Vec<String>,
    /// `nonce`
    pub nonce: Option<String>,
    /// `prompt`
    pub prompts: Vec<Prompt>,
    /// Seconds since the last sign-in.
    pub max_age: Option<i64>,
    /// `login_hint`, to prefill the form.
    pub login_hint: Option<String>,
    /// Single claims that are asked for (OIDC Core §5.5).
    pub claims: ClaimsRequest,
    /// Levels of authentication that are asked for.
    pub acr: Wanted,
    /// What is asked for beyond scopes (RFC 9396).
    pub details: Details,
    /// True when the operator has answered for the users: they are asked only when the request wants them to be.
    pub first_party: bool,
    /// The key that alone may redeem the code (RFC 9449 §10).
    pub dpop_jkt: Option<Confirmation>,
}

/// What this server has, as a request is held against it.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// Registered resources.
    pub resources: &'a [Resource],
    /// Levels of authentication, the weakest first.
    pub levels: &'a [Level],
    /// Types of authorization details.
    pub detail_types: &'a [DetailType],
    /// The switches.
    pub features: Features,
}

impl Request {
    /// Everything that the user has to allow: the scope, and the scopes that would open the claims asked for one by one.
    #[must_use]
    pub fn wanted(&self) -> Scope {
        self.scope.union(&self.claims.scope())
    }
}

/// Reads and checks an authorization request for a client that is already known.
pub fn accept(
    params: &Params,
    client: &Client,
    known: Known<'_>,
) -> Result<Request, AuthorizeError> {
    let redirect = redirect(params, client, known.features)?;
    accept_rest(params, client, known, &redirect)
        .map_err(|refusal| AuthorizeError::Redirect(Box::new(redirect), refusal))
}

/// Where the answer goes, whatever else the request says.
pub fn redirect(
    params: &Params,
    client: &Client,
    on: Features,
) -> Result<Redirect, AuthorizeError> {
    // An unknown type is refused later, with a redirect; until then it is a code as any other.
    let kind = params.get("response_type").and_then(ResponseType::parse);
    let kind = kind.filter(|_| on.hybrid).unwrap_or_default();
    let (mode, mode_error) = match ResponseMode::parse(params.get("response_mode"), kind, on) {
        Ok(mode) => (mode, None),
        Err(refusal) => {
            let usual = ResponseMode::parse(None, kind, on).unwrap_or_default();
            (usual, Some(refusal))
        }
    };
    let requested = params.once("redirect_uri").map_err(AuthorizeError::Page)?;
    // A repeated state cannot be returned unmodified; the error then goes back without one.
    let state = params.once("state").unwrap_or(None);
    let redirect = Redirect::match_registered(&client.redirects, requested, mode, state)
        .map_err(AuthorizeError::Page)?;
    match mode_error {
        Some(refusal) => Err(AuthorizeError::Redirect(Box::new(redirect), refusal)),
        None => Ok(redirect),
    }
}

fn accept_rest(
    params: &Params,
    client: &Client,
    known: Known<'_>,
    redirect: &Redirect,
) -> Result<Request, Refusal> {
    params.refuse_repeats()?;
    if params.get("registration").is_some() {
        let why = "registration is not supported";
        return Err(Refusal::new(Code::RegistrationNotSupported, why));
    }
    let response_type = ResponseType::accept(params.get("response_type"), known.features)?;
    if !client.may_ask_for(response_type) {
        let kind = response_type.as_str();
        let why = format!("this client did not register response_type {kind}");
        return Err(Refusal::new(Code::UnauthorizedClient, why).setting("clients.response_types"));
    }
    if !client.may(GrantType::AuthorizationCode) {
        return Err(Refusal::new(
            Code::UnauthorizedClient,
            "this client may not use the authorization code grant",
        )
        .setting("clients.grant_types"));
    }
    let challenge = Challenge::parse(
        params.get("code_challenge"),
        params.get("code_challenge_method"),
    )?;
    if challenge.is_none() && client.needs_pkce() {
        return Err(invalid_request(
            "code_challenge is missing: PKCE with S256 is required (OAuth 2.1 4.1.1)",
        ));
    }
    let resources = resources(params, client, known.resources)?;
    client.check_resources(resources.iter().map(|resource| resource.id.as_str()))?;
    let scope = scope(params.get("scope"), client, &resources)?;
    let scope = oxide::authorization(client, redirect, &scope, challenge.as_ref())?;
    let nonce = bounded(params, "nonce", 1024)?;
    if response_type == ResponseType::CodeIdToken {
        if !scope.has("openid") {
            let why = "response_type code id_token needs the scope openid";
            return Err(Refusal::new(Code::InvalidScope, why));
        }
        if nonce.is_none() {
            let why = "nonce is missing; with response_type code id_token it is required (OIDC Core 3.3.2.11)";
            return Err(invalid_request(why));
        }
    }
    let mut claims = match params
        .get("claims")
        .filter(|_| known.features.claims_parameter)
    {
        Some(text) => ClaimsRequest::parse(text)?,
        None => ClaimsRequest::default(),
    };
    if let Some(limit) = client.scope_limit() {
        claims.limit(&limit);
    }
    let default_acr = client
        .metadata
        .default_acr_values
        .as_deref()
        .unwrap_or_default();
    let acr = Wanted::of(&claims, params.get("acr_values"), default_acr, known.levels);
    Ok(Request {
        redirect: redirect.clone(),
        response_type,
        challenge,
        scope,
        resources: resources
            .into_iter()
            .map(|resource| resource.id.clone())
            .collect(),
        nonce,
        prompts: Prompt::parse(params.get("prompt"))?,
        max_age: max_age(params)?.or(client.metadata.default_max_age),
        login_hint: bounded(params, "login_hint", 256)?,
        claims,
        acr,
        first_party: client.skips_consent(),
        details: details::parse(
            params.get("authorization_details"),
            known.detail_types,
            client,
        )?,
        dpop_jkt: match params.get("dpop_jkt").filter(|_| known.features.dpop) {
            Some(text) => Some(Confirmation::from_dpop_jkt(text)?),
            None => None,
        },
    })
}

/// The resources of a request, of the client's default, or the only one there is (rule A-27).
pub(super) fn resources<'a>(
    params: &Params,
    client: &Client,
    registered: &'a [Resource],
) -> Result<Vec<&'a Resource>, Refusal> {
    let requested = params.resources();
    if !requested.is_empty() {
        return resource::find(registered, &requested);
    }
    if let Some(default) = &client.metadata.default_resource {
        return resource::find(registered, &[default]);
    }
    Ok(match registered {
        [only] => vec![only],
        _ => vec![],
    })
}

/// Known tokens of the request, or the defaults of its resources (rule A-29). The operator's word on a client's scope
/// is a limit; a client's own is not, since assistants ask for more in a step-up than they registered.
pub(super) fn scope(
    requested: Option<&str>,
    client: &Client,
    resources: &[&Resource],
) -> Result<Scope, Refusal> {
    let known = resources
        .iter()
        .fold(OPENID.into_iter().collect::<Scope>(), |known, resource| {
            known.union(&resource.scope())
        });
    let known = match client.scope_limit() {
        Some(limit) => known.intersect(&limit),
        None => known,
    };
    let scope = Scope::parse(requested.unwrap_or_default()).intersect(&known);
    if !scope.is_empty() {
        return Ok(scope);
    }
    let default = resources.iter().fold(Scope::default(), |scope, resource| {
        scope.union(&resource.default_scope().intersect(&known))
    });
    if default.is_empty() {
        return Err(Refusal::new(
            Code::InvalidScope,
            "no scope of the request is known and the resource has no default scope",
        )
        .setting("resources.scopes.default"));
    }
    Ok(default)
}

fn bounded(params: &Params, name: &str, most: usize) -> Result<Option<String>, Refusal> {
    match params.get(name) {
        Some(text) if text.len() > most => Err(invalid_request(format!(
            "{name} is longer than {most} bytes"
        ))),
        text => Ok(text.map(str::to_owned)),
    }
}

fn max_age(params: &Params) -> Result<Option<i64>, Refusal> {
    params
        .get("max_age")
        .map(|text| {
            text.parse()
                .ok()
                .filter(|age| *age >= 0)
                .ok_or_else(|| invalid_request("max_age must be a number of seconds"))
        })
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::client::{Metadata, Origin};
    use crate::protocol::resource::ResourceScope;

    pub(super) const CHALLENGE: &str =
        "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";

    pub(super) fn client(redirects: &[&str]) -> Client {
        let metadata = Metadata {
            redirect_uris: redirects.iter().map(|&uri| uri.to_owned()).collect(),
            token_endpoint_auth_method: Some("none".into()),
            ..Metadata::default()
        };
        Client::accept(metadata, Origin::Static)
            .unwrap()
            .into_client("c".into(), Origin::Static, None)
            .unwrap()
    }

    fn docs() -> Resource {
        let scope = |name: &str, default| ResourceScope {
            name: name.into(),
            description: String::new(),
            detail: None,
            default,
        };
        Resource {
            id: "https://docs.example/mcp".into(),
            name: "Docs".into(),
            aliases: vec![],
            scopes: vec![scope("docs.read", true), scope("docs.write", false)],
            access_lifetime: None,
            access_token: crate::protocol::resource::Form::Jwt,
            signing_alg: None,
        }
    }

    fn known(resources: &[Resource]) -> Known<'_> {
        Known {
            resources,
            levels: &[],
            detail_types: &[],
            features: Features::default(),
        }
    }

    pub(super) fn request(query: &str) -> Result<Request, AuthorizeError> {
        let query = format!("response_type=code&redirect_uri=https://c.example/cb&{query}");
        accept(
            &Params::from_form(query.as_bytes()).unwrap(),
            &client(&["https://c.example/cb", "http://127.0.0.1/cb"]),
            known(&[docs()]),
        )
    }

    fn refused(query: &str) -> Code {
        match request(query) {
            Err(AuthorizeError::Redirect(_, refusal)) => refusal.code,
            Err(AuthorizeError::Page(refusal)) => panic!("a page: {}", refusal.description),
            Ok(_) => panic!("accepted: {query}"),
        }
    }

    #[test]
    fn scopes_are_known_ones_or_the_defaults() {
        assert_eq!(request(CHALLENGE).unwrap().scope.to_string(), "docs.read");
        assert_eq!(
            request(&format!("{CHALLENGE}&scope="))
                .unwrap()
                .scope
                .to_string(),
            "docs.read"
        );
        assert_eq!(
            request(&format!("{CHALLENGE}&scope=docs.write+nonsense+openid"))
                .unwrap()
                .scope
                .to_string(),
            "docs.write openid"
        );
        assert_eq!(
            request(CHALLENGE).unwrap().resources,
            ["https://docs.example/mcp"]
        );
    }

    #[test]
    fn each_bad_parameter_is_refused_with_its_code() {
        for (query, code) in [
            ("", Code::InvalidRequest),
            (
                &format!("{CHALLENGE}&response_mode=fragment"),
                Code::InvalidRequest,
            ),
            (
                &format!("{CHALLENGE}&nonce=a&nonce=b"),
                Code::InvalidRequest,
            ),
            (
                &format!("{CHALLENGE}&state=a&state=b"),
                Code::InvalidRequest,
            ),
            (
                &format!("{CHALLENGE}&prompt=none+login"),
                Code::InvalidRequest,
            ),
            (&format!("{CHALLENGE}&prompt=create"), Code::InvalidRequest),
            (&format!("{CHALLENGE}&max_age=-1"), Code::InvalidRequest),
            (&format!("{CHALLENGE}&dpop_jkt=x"), Code::InvalidRequest),
            (
                &format!("{CHALLENGE}&registration=x"),
                Code::RegistrationNotSupported,
            ),
            (
                &format!("{CHALLENGE}&resource=https://other.example"),
                Code::InvalidTarget,
            ),
            (
                &format!("{CHALLENGE}&resource=https://docs.example/mcp%23x"),
                Code::InvalidTarget,
            ),
            (
                "code_challenge=short&code_challenge_method=S256",
                Code::InvalidRequest,
            ),
        ] {
            assert_eq!(refused(query), code, "{query}");
        }
        let token = accept(
            &Params::from_form(
                format!("response_type=token&{CHALLENGE}&redirect_uri=https://c.example/cb")
                    .as_bytes(),
            )
            .unwrap(),
            &client(&["https://c.example/cb"]),
            known(&[docs()]),
        );
        assert!(
            matches!(token, Err(AuthorizeError::Redirect(_, r)) if r.code == Code::UnsupportedResponseType)
        );
    }

    #[test]
    fn an_unregistered_or_repeated_redirect_uri_is_a_page() {
        for query in [
            "redirect_uri=https://evil.example/",
            "redirect_uri=https://c.example/cb&redirect_uri=https://c.example/cb",
            "",
        ] {
            let params =
                Params::from_form(format!("response_type=code&{query}").as_bytes()).unwrap();
            let client = client(&["https://c.example/cb", "https://c.example/other"]);
            assert!(
                matches!(
                    accept(&params, &client, known(&[docs()])),
                    Err(AuthorizeError::Page(_))
                ),
                "{query}"
            );
        }
    }
}
