//! What people see. Every HTML page is one view struct here and one file in `templates/`; the handlers fill the struct
//! and never touch markup. This file is the only importer of askama. Views hold strings that are ready to be shown:
//! names as the client wrote them (the templates escape and isolate them), hosts without scheme, dates in words.
//!
//! | view | `data-page` | shown at | its form |
//! |---|---|---|---|
//! | [`SignIn`] | `sign-in` | `GET /sign-in` | `POST /sign-in`: `csrf`, `request`, `username`, `password`; `action=cancel` |
//! | [`Consent`] | `consent` | `GET /consent` | `POST /consent`: `csrf`, `request`, `decision=allow\|deny\|switch` |
//! | [`Logout`] | `logout` | `GET /logout` | `POST /logout`: `csrf`, `request`, `decision=confirm\|cancel` |
//! | [`SignedOut`] | `signed-out` | `GET /signed-out` | – |
//! | [`FormPost`] | `form-post` | `/authorize`, `POST /consent` | the response fields, to the client's redirect URI |
//! | [`Account`] | `account` | `GET /` | `POST /account/disconnect`: `csrf`, `grant`; `POST /sign-out`: `csrf` |
//! | [`ErrorPage`] | `error` | wherever it happens | – |
//!
//! The style sheet is served at `/assets/style.css` ([`STYLE`], [`style_href`]). No page needs script, and none holds an
//! inline style, so `default-src 'none'; style-src 'self'; img-src 'self' data:` suffices; [`FormPost`] alone
//! carries one script, under a nonce.

pub(crate) use askama::{Error as RenderError, Template as Page};

/// The one style sheet, served at `/assets/style.css` as `text/css; charset=utf-8`.
pub(crate) const STYLE: &str = include_str!("../../../templates/style.css");

/// FNV-1a of [`STYLE`]: changes with the file, so that the sheet can be cached for ever.
const STYLE_VERSION: u64 = {
    let bytes = STYLE.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
};

/// The link to the style sheet below `base`, with the version of its content.
pub(crate) fn style_href(base: &str) -> String {
    format!("{base}/assets/style.css?v={STYLE_VERSION:016x}")
}

/// [`SignIn::error`]: the same words whether or not the user exists.
pub(crate) const WRONG_PASSWORD: &str = "Wrong username or password.";
/// [`SignIn::error`]: a field was left empty.
pub(crate) const MISSING_FIELDS: &str = "Enter your username and your password.";
/// [`SignIn::error`]: throttled, by account or by address.
pub(crate) const TOO_MANY_ATTEMPTS: &str = "Too many attempts. Wait a few minutes, then try again.";
/// [`SignIn::error`]: the CSRF token did not match; the form is shown again with a fresh one.
pub(crate) const FORM_EXPIRED: &str = "This page was open for too long. Please try again.";
/// [`SignIn::error`]: the request is for one user (`id_token_hint`) and another one signed in.
pub(crate) const OTHER_USER: &str = "The app asked for a different account. Sign in with that one.";

/// What surrounds every page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    /// The operator's name for this server, as people know it.
    pub server_name: String,
    /// Path prefix of the issuer without trailing slash: empty, or `/tenant`.
    pub base: String,
}

/// The hidden fields that tie a form to the browser and to the authorization request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hidden {
    /// Field `csrf`.
    pub csrf: String,
    /// Field `request`: the opaque id of the request being answered; left out when there is none.
    pub request: Option<String>,
}

/// Who stands behind a client's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Dynamic registration: anyone can claim any name.
    #[default]
    SelfRegistered,
    /// A metadata document fetched from the host of the client id: that host vouches for the name.
    Published,
    /// Entered by the operator of this server.
    Trusted,
}

/// A client as people see it. Nothing in it is trusted: not its name, not its links.
#[derive(Clone, Debug, Default)]
pub(crate) struct App {
    /// `client_name`, unaltered.
    pub name: String,
    /// Host of the client id when that is a URL.
    pub id_host: Option<String>,
    /// Who vouches for the name.
    pub standing: Standing,
    /// A `data:image/…` URI or a path on this server (with base); anything else is not shown.
    pub logo: Option<String>,
    /// `client_uri`; the links are shown only if `https:` or `http:`.
    pub client_uri: Option<String>,
    /// `policy_uri`.
    pub policy_uri: Option<String>,
    /// `tos_uri`.
    pub tos_uri: Option<String>,
}

/// The resource server that is to be opened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resource {
    /// Its name, by the operator: `Cupcake documents`.
    pub name: String,
    /// Its host: `docs.example.com`.
    pub host: String,
}

/// One scope in plain words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    /// The scope on the wire, for drivers and developers: `docs.read`.
    pub name: String,
    /// What it lets the app do, as a phrase: `Read your documents`.
    pub title: String,
    /// A sentence more, if there is something to say.
    pub detail: Option<String>,
}

/// A user who is signed in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visitor {
    /// The name to greet with: the display name, else the username.
    pub name: String,
    /// What tells two accounts of one person apart: username or e-mail address; left out when equal to the name.
    pub login: Option<String>,
}

/// Asks for username and password, on the way to an app or directly.
#[derive(Debug, Default, Page)]
#[template(path = "sign_in.html")]
pub(crate) struct SignIn {
    pub layout: Layout,
    pub hidden: Hidden,
    /// The app that waits; `None` when someone came to sign in here.
    pub app: Option<App>,
    /// Prefills the name: `login_hint`, or what was typed before.
    pub username: String,
    /// Someone is signed in, but the app asked to be sure (`prompt=login`, `max_age`).
    pub again: bool,
    /// One of the constants above.
    pub error: Option<&'static str>,
}

/// Asks whether an app may have what it asked for.
#[derive(Debug, Default, Page)]
#[template(path = "consent.html")]
pub(crate) struct Consent {
    pub layout: Layout,
    pub hidden: Hidden,
    pub user: Visitor,
    pub app: App,
    /// Completes "ChatGPT wants to …": `read your documents`. `None`: `access {resource}`, or `sign you in`.
    pub wants: Option<String>,
    /// What is to be opened; `None` when it is only about who the user is.
    pub resource: Option<Resource>,
    /// What is asked for and not allowed yet.
    pub scopes: Vec<Scope>,
    /// What was allowed before and stays so; not empty makes this the step-up page.
    pub already: Vec<Scope>,
    /// Host of the redirect URI, or its scheme with colon for an app on this device (`cursor:`).
    pub redirect_host: String,
    /// All redirect URIs of the client are loopback: any program on this computer could be asking.
    pub loopback: bool,
    /// The app will hold a refresh token.
    pub stays_connected: bool,
}

/// Asks whether someone really wants to sign out.
#[derive(Debug, Default, Page)]
#[template(path = "logout.html")]
pub(crate) struct Logout {
    pub layout: Layout,
    pub hidden: Hidden,
    pub user: Option<Visitor>,
    /// The app that asked, when it is known for certain.
    pub app: Option<App>,
}

/// Says that the session is over.
#[derive(Debug, Default, Page)]
#[template(path = "signed_out.html")]
pub(crate) struct SignedOut {
    pub layout: Layout,
}

/// Carries an authorization response to the client by POST (OAuth 2.0 Form Post Response Mode).
#[derive(Debug, Default, Page)]
#[template(path = "form_post.html")]
pub(crate) struct FormPost {
    pub layout: Layout,
    /// The redirect URI, matched against the registered ones.
    pub action: String,
    /// Host of it.
    pub redirect_host: String,
    /// The response parameters, in order.
    pub fields: Vec<(String, String)>,
    /// The nonce of `script-src 'nonce-…'`.
    pub nonce: String,
}

/// The front door, and what an account has connected.
#[derive(Debug, Default, Page)]
#[template(path = "account.html")]
pub(crate) struct Account {
    pub layout: Layout,
    pub csrf: String,
    /// `None`: nobody is signed in.
    pub user: Option<Visitor>,
    pub apps: Vec<Connected>,
    /// What was just done: `ChatGPT is disconnected.`
    pub notice: Option<String>,
}

/// An app that holds a grant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connected {
    /// Field `grant` of the disconnect form.
    pub grant: String,
    pub app: App,
    pub resource: Option<Resource>,
    pub scopes: Vec<Scope>,
    /// The day it was allowed, in words: `12 March 2026`.
    pub since: String,
}

/// Says what went wrong, first to people and then to developers. It links nowhere.
#[derive(Debug, Default, Page)]
#[template(path = "error.html")]
pub(crate) struct ErrorPage {
    pub layout: Layout,
    /// In human words, for people.
    pub heading: String,
    /// One or two sentences for people.
    pub explanation: String,
    /// Stable and registered: `invalid_request`.
    pub code: String,
    /// For the developer of the client: the rule that was broken.
    pub description: Option<String>,
    /// The one setting that would change the outcome.
    pub setting: Option<String>,
    /// What to quote to support: the request id.
    pub reference: Option<String>,
}

impl ErrorPage {
    /// The page for `code` with our words for people; add the rest by `..`.
    pub(crate) fn new(layout: Layout, code: &str) -> Self {
        let (heading, explanation) = words(code);
        Self {
            layout,
            heading: heading.to_owned(),
            explanation: explanation.to_owned(),
            code: code.to_owned(),
            ..Self::default()
        }
    }
}

/// Heading and explanation for people, by error code.
fn words(code: &str) -> (&'static str, &'static str) {
    match code {
        "not_found" => (
            "There is nothing here",
            "The address may be mistyped, or the page may have moved.",
        ),
        "invalid_client" | "unauthorized_client" => (
            "We do not know this app",
            "The app that sent you here is not registered with this server. Nothing was shared with it. \
             Go back to the app and connect again; if that does not help, tell its developer.",
        ),
        "invalid_redirect_uri" => (
            "We stopped here to keep you safe",
            "The app asked us to send you to an address it has not registered. Nothing was shared with it. \
             If you trust the app, tell its developer.",
        ),
        "access_denied" => (
            "You cannot use this",
            "Your account does not have access. Nothing was shared with the app.",
        ),
        "request_expired" => (
            "This page has expired",
            "It was open for too long, or it was answered already. Go back to the app and connect again.",
        ),
        "form_expired" => (
            "Please try that again",
            "The form was open for too long, or it did not come from this page. Nothing was changed.",
        ),
        "too_many_requests" => (
            "Too many attempts",
            "To keep accounts safe we slow down repeated attempts. Wait a few minutes, then try again.",
        ),
        "temporarily_unavailable" => (
            "We are very busy right now",
            "Nothing was lost. Wait a moment, then try again.",
        ),
        "server_error" => (
            "Something went wrong on our side",
            "It is not your fault. Try again in a moment; if it happens again, send the reference below to whoever \
             runs this server.",
        ),
        _ => (
            "This request does not work",
            "The app that sent you here made a request we cannot accept. Nothing was shared with it. \
             Go back to the app and connect again; if that does not help, tell its developer.",
        ),
    }
}

impl Layout {
    /// The link to the style sheet.
    fn style(&self) -> String {
        style_href(&self.base)
    }
}

impl App {
    /// The name, or words for it when nothing of it would be visible.
    fn shown(&self) -> &str {
        if self.name.chars().all(invisible) {
            "An app without a name"
        } else {
            self.name.trim()
        }
    }

    /// The letter that stands in for a missing logo.
    fn initial(&self) -> String {
        initial(&self.name)
    }

    /// The logo, if it loads nothing from elsewhere.
    fn logo(&self) -> Option<&str> {
        let own = |logo: &&str| {
            logo.starts_with("data:image/")
                || (logo.starts_with('/') && !logo[1..].starts_with(['/', '\\']))
        };
        self.logo.as_deref().filter(own)
    }

    /// Title and address of the links worth showing.
    fn links(&self) -> Vec<(&'static str, &str)> {
        let web = |link: &&str| link.starts_with("https://") || link.starts_with("http://");
        [
            ("Website", &self.client_uri),
            ("Privacy policy", &self.policy_uri),
            ("Terms of service", &self.tos_uri),
        ]
        .into_iter()
        .filter_map(|(title, link)| Some((title, link.as_deref().filter(web)?)))
        .collect()
    }
}

impl Visitor {
    /// The letter in the circle.
    fn initial(&self) -> String {
        initial(&self.name)
    }
}

/// The first letter or digit, in upper case.
fn initial(name: &str) -> String {
    name.chars()
        .find(|c| c.is_alphanumeric())
        .map_or_else(|| "?".to_owned(), |c| c.to_uppercase().collect())
}

/// Blanks, controls, and the format characters that draw nothing.
fn invisible(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}'
        )
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}')
        || matches!(c, '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}
