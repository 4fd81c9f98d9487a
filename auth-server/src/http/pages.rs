//! What people see. Every HTML page is one view struct here and one file in `templates/`; the handlers fill the struct
//! and never touch markup. This file is the only importer of askama. Views hold strings that are ready to be shown:
//! names as the client wrote them (the templates escape and isolate them), hosts without scheme, dates in words.
//!
//! | view | `data-page` | shown at | its form |
//! |---|---|---|---|
//! | [`SignIn`] | `sign-in` | `GET /sign-in` | `POST /sign-in`: `csrf`, `request`, `username`, `password`; `action=cancel` |
//! | [`Consent`] | `consent` | `GET /consent` | `POST /consent`: `csrf`, `request`, `shown`, `decision=allow\|deny\|switch` |
//! | [`Device`] | `device` | `GET /device` | `POST /device`: `csrf`, `user_code` |
//! | [`DeviceConfirm`] | `device-confirm` | `GET /device/confirm` | `POST /device/confirm`: `csrf`, `user_code`, `shown`, `decision=allow\|deny\|switch` |
//! | [`DeviceDone`] | `device-allowed`, `device-denied` | `GET /device/allowed`, `GET /device/denied` | – |
//! | [`DeviceScreen`] | `device-screen` | `GET /device/show` | – |
//! | [`Approve`] | `approve` | `GET /approve` | `POST /approve`: `csrf`, `request`, `shown`, `decision=allow\|deny\|switch` |
//! | [`ApproveDone`] | `approve-allowed`, `approve-denied` | `GET /approve/allowed`, `GET /approve/denied` | – |
//! | [`Logout`] | `logout` | `GET /logout` | `POST /logout`: `csrf`, `request` (a client's), `decision=confirm\|cancel` |
//! | [`SignedOut`] | `signed-out` | `GET /signed-out` | – |
//! | [`FormPost`] | `form-post` | `/authorize`, `POST /consent` | the response fields, to the client's redirect URI |
//! | [`Account`] | `account` | `GET /` | `POST /account/disconnect`: `csrf`, `grant`; `POST /sign-out`: `csrf` |
//! | [`ErrorPage`] | `error` | wherever it happens | – |
//!
//! The style sheet is served at `/assets/style.css` ([`STYLE`], [`style_href`]). No page needs script, and none holds an
//! inline style, so `default-src 'none'; style-src 'self'; img-src 'self' data:` suffices; [`FormPost`] alone
//! carries one script, under a nonce, and so does [`CheckSession`], which is no page.

mod approve;
mod device;
mod error;

pub(crate) use approve::{APPROVE, APPROVE_AGAIN, Approve, ApproveDone, Ask};
pub(crate) use askama::Template as Page;
pub(crate) use device::{
    Device, DeviceConfirm, DeviceDone, DeviceScreen, MISSING_CODE, TOO_MANY_CODES, WRONG_CODE,
};
pub(crate) use error::{ErrorPage, Leave};

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
    /// What the consent page showed.
    pub shown: Option<String>,
    /// Field `user_code`: the device that someone is about to connect.
    pub user_code: Option<String>,
    /// Field `approve`, [`APPROVE`] or [`APPROVE_AGAIN`]: someone signs in to answer what waits for them.
    pub approve: Option<&'static str>,
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
    /// Someone is about to connect a device.
    pub for_device: bool,
    /// Someone is about to answer what an app asked for elsewhere.
    pub for_approval: bool,
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
    /// Completes "… wants to": `read your documents`. `None`: `access {resource}`, or `sign you in`.
    pub wants: Option<String>,
    /// What is to be opened; `None` when it is only about who the user is.
    pub resource: Option<Resource>,
    /// What is asked for and not allowed yet.
    pub scopes: Vec<Scope>,
    /// What was allowed before and stays so; not empty makes this the step-up page.
    pub already: Vec<Scope>,
    /// What is asked for beyond scopes: a title, and rows of name and value.
    pub details: Vec<Detail>,
    /// Host of the redirect URI, or its scheme with colon for an app on this device (`cursor:`).
    pub redirect_host: String,
    /// All redirect URIs of the client are loopback: any program on this computer could be asking.
    pub loopback: bool,
    /// The app will hold a refresh token.
    pub stays_connected: bool,
}

/// One object of a rich authorization request.
#[derive(Debug, Default)]
pub(crate) struct Detail {
    /// A sentence.
    pub title: String,
    /// Name and value of each member.
    pub rows: Vec<(String, String)>,
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
    /// For the developer of the client: what of its request cannot be followed.
    pub problem: Option<String>,
    /// The one setting that would change that.
    pub setting: Option<String>,
}

/// Says that the session is over.
#[derive(Debug, Default, Page)]
#[template(path = "signed_out.html")]
pub(crate) struct SignedOut {
    pub layout: Layout,
    /// Pages of apps that hear of it when they are loaded.
    pub frames: Vec<String>,
    /// Where it goes on.
    pub next: Option<Leave>,
}

/// The frame in which pages of clients watch the session (Session Management 1.0): no page of ours, and seen by nobody.
#[derive(Debug, Default, Page)]
#[template(path = "check_session.html")]
pub(crate) struct CheckSession {
    /// The cookie that it reads.
    pub cookie: &'static str,
    /// The nonce of `script-src 'nonce-…'`.
    pub nonce: String,
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
    /// How many requests wait for an answer.
    pub waiting: usize,
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

impl Layout {
    /// The link to the style sheet.
    fn style(&self) -> String {
        style_href(&self.base)
    }
}

impl Consent {
    /// Words for a redirect that stays on this device.
    fn lands_here(&self) -> Option<&'static str> {
        match self.redirect_host.as_str() {
            "localhost" | "127.0.0.1" | "[::1]" => Some("This computer"),
            scheme if scheme.ends_with(':') => Some("An app on this device"),
            _ => None,
        }
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

    /// Element id, title and address of the links worth showing.
    fn links(&self) -> Vec<(&'static str, &'static str, &str)> {
        let web = |link: &&str| link.starts_with("https://") || link.starts_with("http://");
        [
            ("client-website", "Website", &self.client_uri),
            ("client-policy", "Privacy policy", &self.policy_uri),
            ("client-tos", "Terms of service", &self.tos_uri),
        ]
        .into_iter()
        .filter_map(|(id, title, link)| Some((id, title, link.as_deref().filter(web)?)))
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
        .find(|c| c.is_alphanumeric() && !invisible(*c))
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

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str =
        "\u{202e}<script>alert(1)</script>\"'><h1>Your bank</h1> \u{1f9c1} wants nothing";

    fn layout() -> Layout {
        Layout {
            server_name: "Cupcake <Accounts>".into(),
            base: "/tenant".into(),
        }
    }

    fn hidden() -> Hidden {
        Hidden {
            csrf: "c5rf".into(),
            request: Some("rq1".into()),
            shown: None,
            user_code: None,
            approve: None,
        }
    }

    fn app() -> App {
        App {
            name: "ChatGPT".into(),
            id_host: Some("chatgpt.com".into()),
            standing: Standing::Published,
            logo: Some("data:image/png;base64,AAAA".into()),
            client_uri: Some("https://chatgpt.com".into()),
            policy_uri: Some("https://chatgpt.com/privacy".into()),
            tos_uri: Some("https://chatgpt.com/terms".into()),
        }
    }

    fn hostile() -> App {
        App {
            name: HOSTILE.repeat(3),
            logo: Some("https://evil.example/pixel.png".into()),
            client_uri: Some("javascript:alert(1)".into()),
            policy_uri: Some("https://evil.example/\"><script>".into()),
            tos_uri: Some("data:text/html,hi".into()),
            ..App::default()
        }
    }

    fn scope(name: &str, title: &str, detail: Option<&str>) -> Scope {
        Scope {
            name: name.into(),
            title: title.into(),
            detail: detail.map(Into::into),
        }
    }

    fn read() -> Scope {
        scope("docs.read", "Read your documents", Some("Search them."))
    }

    fn alice() -> Visitor {
        Visitor {
            name: "Alice".into(),
            login: Some("alice@example.com".into()),
        }
    }

    fn docs() -> Resource {
        Resource {
            name: "Cupcake documents".into(),
            host: "docs.example.com".into(),
        }
    }

    fn sign_in() -> SignIn {
        SignIn {
            layout: layout(),
            hidden: hidden(),
            app: Some(app()),
            ..SignIn::default()
        }
    }

    fn consent() -> Consent {
        Consent {
            layout: layout(),
            hidden: hidden(),
            user: alice(),
            app: app(),
            wants: Some("read your documents".into()),
            resource: Some(docs()),
            scopes: vec![read()],
            redirect_host: "chatgpt.com".into(),
            stays_connected: true,
            ..Consent::default()
        }
    }

    fn account(app: App) -> Account {
        Account {
            layout: layout(),
            csrf: "c5rf".into(),
            user: Some(alice()),
            apps: vec![Connected {
                grant: "g1".into(),
                app,
                resource: Some(docs()),
                scopes: vec![read()],
                since: "12 March 2026".into(),
            }],
            waiting: 0,
            notice: None,
        }
    }

    fn form_post() -> FormPost {
        FormPost {
            layout: layout(),
            action: "https://client.example/cb?a=1&b=2".into(),
            redirect_host: "client.example".into(),
            fields: vec![
                ("code".into(), "abc".into()),
                ("state".into(), "\"><script>".into()),
            ],
            nonce: "n0nce".into(),
        }
    }

    fn refused() -> ErrorPage {
        ErrorPage {
            description: Some("`redirect_uri` must equal a registered value.".into()),
            setting: Some("redirect_uris".into()),
            reference: Some("01JD".into()),
            ..ErrorPage::new(layout(), "invalid_request")
        }
    }

    fn logout(app: Option<App>) -> Logout {
        Logout {
            layout: layout(),
            hidden: hidden(),
            user: Some(alice()),
            app,
            ..Logout::default()
        }
    }

    fn refused_logout() -> Logout {
        Logout {
            problem: Some("<b>not registered</b>".into()),
            setting: Some("clients.post_logout_redirect_uris".into()),
            ..logout(Some(hostile()))
        }
    }

    fn leaving() -> SignedOut {
        SignedOut {
            layout: layout(),
            frames: vec!["https://app.example/front?a=b&c=\"".into()],
            next: Some(Leave {
                app: hostile().name,
                host: "app.example".into(),
                uri: "https://app.example/bye?a=b".into(),
            }),
        }
    }

    fn device(brought: bool, error: Option<&'static str>) -> Device {
        Device {
            layout: layout(),
            hidden: hidden(),
            code: if brought { "WDJB-MJHT" } else { "\"><script>" }.into(),
            brought,
            error,
        }
    }

    fn device_confirm(app: App) -> DeviceConfirm {
        DeviceConfirm {
            layout: layout(),
            hidden: hidden(),
            code: "WDJB-MJHT".into(),
            user: alice(),
            app,
            wants: Some("read your documents".into()),
            resource: Some(docs()),
            scopes: vec![read()],
            stays_connected: true,
        }
    }

    fn device_done(allowed: bool) -> DeviceDone {
        DeviceDone {
            layout: layout(),
            allowed,
        }
    }

    fn device_screen() -> DeviceScreen {
        DeviceScreen {
            layout: layout(),
            address: "https://auth.example.com/tenant/device".into(),
            code: "WDJB-MJHT".into(),
        }
    }

    fn approve(app: &App, count: usize) -> Approve {
        let ask = |n: usize| Ask {
            number: format!("-{}", n + 1),
            hidden: Hidden {
                request: Some(format!("rq{n}")),
                shown: Some("s".into()),
                ..hidden()
            },
            app: app.clone(),
            message: (n == 0).then(|| "\"><script> W4SCT".into()),
            wants: Some("read your documents".into()),
            resource: Some(docs()),
            scopes: vec![read()],
            details: vec![Detail {
                title: "Make a payment".into(),
                rows: vec![("amount".into(), "12.50 <b>".into())],
            }],
            stays_connected: true,
            again: n == 1,
            waits: "4 minutes".into(),
        };
        Approve {
            layout: layout(),
            hidden: Hidden {
                request: None,
                ..hidden()
            },
            user: alice(),
            requests: (0..count).map(ask).collect(),
            looks: count == 0,
        }
    }

    fn approve_pages() -> Vec<(&'static str, Render)> {
        let done = |allowed| ApproveDone {
            layout: layout(),
            allowed,
        };
        vec![
            ("approve", Box::new(|| approve(&app(), 0).render())),
            ("approve", Box::new(|| approve(&app(), 1).render())),
            ("approve", Box::new(|| approve(&hostile(), 3).render())),
            (
                "account",
                Box::new(|| {
                    Account {
                        waiting: 2,
                        ..account(app())
                    }
                    .render()
                }),
            ),
            ("approve-allowed", Box::new(move || done(true).render())),
            ("approve-denied", Box::new(move || done(false).render())),
        ]
    }

    type Render = Box<dyn Fn() -> Result<String, askama::Error>>;

    /// Every page in every variant, with its `data-page`.
    fn every_page() -> Vec<(&'static str, String)> {
        let pages: Vec<(&str, Render)> = vec![
            ("sign-in", Box::new(|| sign_in().render())),
            (
                "sign-in",
                Box::new(|| {
                    SignIn {
                        app: None,
                        ..sign_in()
                    }
                    .render()
                }),
            ),
            (
                "sign-in",
                Box::new(|| {
                    SignIn {
                        app: Some(hostile()),
                        ..sign_in()
                    }
                    .render()
                }),
            ),
            (
                "sign-in",
                Box::new(|| {
                    SignIn {
                        again: true,
                        error: Some(WRONG_PASSWORD),
                        ..sign_in()
                    }
                    .render()
                }),
            ),
            ("consent", Box::new(|| consent().render())),
            (
                "consent",
                Box::new(|| {
                    Consent {
                        app: hostile(),
                        loopback: true,
                        ..consent()
                    }
                    .render()
                }),
            ),
            (
                "consent",
                Box::new(|| {
                    Consent {
                        already: vec![read()],
                        ..consent()
                    }
                    .render()
                }),
            ),
            ("logout", Box::new(|| logout(None).render())),
            ("logout", Box::new(|| logout(Some(hostile())).render())),
            ("signed-out", Box::new(|| leaving().render())),
            ("logout", Box::new(|| refused_logout().render())),
            ("form-post", Box::new(|| form_post().render())),
            ("account", Box::new(|| account(app()).render())),
            ("account", Box::new(|| account(hostile()).render())),
            (
                "account",
                Box::new(|| {
                    Account {
                        layout: layout(),
                        ..Account::default()
                    }
                    .render()
                }),
            ),
            ("error", Box::new(|| refused().render())),
            (
                "error",
                Box::new(|| ErrorPage::new(layout(), "not_found").render()),
            ),
        ];
        pages
            .into_iter()
            .chain(device_pages())
            .chain(approve_pages())
            .map(|(name, page)| (name, page().unwrap()))
            .collect()
    }

    fn device_pages() -> Vec<(&'static str, Render)> {
        vec![
            ("device", Box::new(|| device(false, None).render())),
            ("device", Box::new(|| device(true, None).render())),
            (
                "device",
                Box::new(|| device(false, Some(WRONG_CODE)).render()),
            ),
            (
                "device-confirm",
                Box::new(|| device_confirm(app()).render()),
            ),
            (
                "device-confirm",
                Box::new(|| device_confirm(hostile()).render()),
            ),
            ("device-allowed", Box::new(|| device_done(true).render())),
            ("device-denied", Box::new(|| device_done(false).render())),
            ("device-screen", Box::new(|| device_screen().render())),
        ]
    }

    /// The start tags of an element, each without its angle brackets.
    fn tags<'a>(html: &'a str, element: &str) -> Vec<&'a str> {
        let start = format!("<{element}");
        html.match_indices(&start)
            .map(|(at, _)| &html[at + 1..at + html[at..].find('>').unwrap()])
            .filter(|tag| {
                tag[element.len()..].starts_with([' ', '\n']) || tag.len() == element.len()
            })
            .collect()
    }

    /// The values of an attribute, in order.
    fn values<'a>(html: &'a str, attribute: &str) -> Vec<&'a str> {
        let start = format!(" {attribute}=\"");
        html.split(&start)
            .skip(1)
            .map(|rest| &rest[..rest.find('"').unwrap()])
            .collect()
    }

    /// What a person reads: the text of `<main>`, one line for each line of the template.
    fn words_of(html: &str) -> String {
        let main = html
            .split_once("<main>")
            .unwrap()
            .1
            .split_once("</main>")
            .unwrap()
            .0;
        let mut text = String::new();
        let mut inside = false;
        for c in main.replace("</dt>", ": ").chars() {
            match c {
                '<' => inside = true,
                '>' => inside = false,
                c if !inside => text.push(c),
                _ => {}
            }
        }
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn consent_reads_like_a_sentence() {
        insta::assert_snapshot!(words_of(&consent().render().unwrap()), @r"
        ChatGPT wants to
        read your documents at docs.example.com
        Published by chatgpt.com
        A
        Signed in as Alice
        alice@example.com
        Not you? Switch account
        This will let the app
        Read your documents
        Search them.
        Details
        Access to: Cupcake documents docs.example.com
        Returns you to: chatgpt.com
        How long: Stays connected until you disconnect it
        Allow
        Deny
        Website of the app, opens in a new tab
        Privacy policy of the app, opens in a new tab
        Terms of service of the app, opens in a new tab
        ");
    }

    #[test]
    fn step_up_shows_the_additions_and_folds_the_rest() {
        let page = Consent {
            wants: Some("change your documents".into()),
            scopes: vec![scope("docs.write", "Change your documents", None)],
            already: vec![read()],
            stays_connected: false,
            ..consent()
        };
        let html = page.render().unwrap();
        let (new, folded) = html.split_once("<details").unwrap();
        assert!(new.contains("docs.write") && !new.contains("docs.read"));
        assert!(folded.contains("docs.read") && !folded.contains("docs.write"));
        insta::assert_snapshot!(words_of(&html), @r"
        ChatGPT also wants to
        change your documents at docs.example.com
        Published by chatgpt.com
        A
        Signed in as Alice
        alice@example.com
        Not you? Switch account
        New: this will also let the app
        Change your documents
        Already allowed (1)
        Read your documents
        Search them.
        Details
        Access to: Cupcake documents docs.example.com
        Returns you to: chatgpt.com
        Allow
        Deny
        Website of the app, opens in a new tab
        Privacy policy of the app, opens in a new tab
        Terms of service of the app, opens in a new tab
        ");
    }

    #[test]
    fn a_client_that_lives_on_this_computer_comes_with_a_warning() {
        let page = Consent {
            app: App {
                name: "Inspector".into(),
                ..App::default()
            },
            redirect_host: "127.0.0.1".into(),
            loopback: true,
            ..consent()
        };
        insta::assert_snapshot!(words_of(&page.render().unwrap()), @r"
        I
        Inspector wants to
        read your documents at docs.example.com
        This app registered itself; its name is not verified.
        This app runs on your own computer. Any program there could use this name, so continue only if you started it yourself a moment ago.
        A
        Signed in as Alice
        alice@example.com
        Not you? Switch account
        This will let the app
        Read your documents
        Search them.
        Details
        Access to: Cupcake documents docs.example.com
        Returns you to: This computer 127.0.0.1
        How long: Stays connected until you disconnect it
        Allow
        Deny
        ");
    }

    #[test]
    fn sign_in_says_where_it_leads() {
        let page = SignIn {
            again: true,
            error: Some(WRONG_PASSWORD),
            ..sign_in()
        };
        insta::assert_snapshot!(words_of(&page.render().unwrap()), @r"
        Sign in to continue to ChatGPT
        The app belongs to chatgpt.com
        Please sign in again to confirm it is you.
        Wrong username or password.
        Username
        Password
        Sign in
        Cancel
        Website of the app, opens in a new tab
        Privacy policy of the app, opens in a new tab
        Terms of service of the app, opens in a new tab
        ");
    }

    #[test]
    fn an_error_speaks_to_people_first() {
        insta::assert_snapshot!(words_of(&refused().render().unwrap()), @r"
        This request does not work
        The app that sent you here made a request we cannot accept. Nothing was shared with it. Go back to the app and connect again; if that does not help, tell its developer.
        Details for developers
        `redirect_uri` must equal a registered value.
        Error code: invalid_request
        Setting to change: redirect_uris
        Reference: 01JD
        ");
    }

    #[test]
    fn an_account_lists_what_is_connected() {
        insta::assert_snapshot!(words_of(&account(app()).render().unwrap()), @r"
        Your account
        This is the sign-in service of Cupcake &#60;Accounts&#62;.
        A
        Signed in as Alice
        alice@example.com
        Sign out
        Connected apps
        ChatGPT
        chatgpt.com · since 12 March 2026
        Cupcake documents docs.example.com
        Read your documents
        Search them.
        Disconnect ChatGPT
        ");
    }

    #[test]
    fn every_page_names_itself_and_has_one_heading() {
        for (name, html) in every_page() {
            assert!(
                html.contains(&format!("<body data-page=\"{name}\">")),
                "{name}"
            );
            assert!(
                html.starts_with("<!doctype html>\n<html lang=\"en\">"),
                "{name}"
            );
            assert_eq!(tags(&html, "h1").len(), 1, "{name}");
            assert_eq!(tags(&html, "main").len(), 1, "{name}");
            assert!(
                html.contains("Cupcake &#60;Accounts&#62;</title>"),
                "{name}"
            );
        }
    }

    #[test]
    fn machines_find_their_way() {
        let has = |html: &str, ids: &[&str]| {
            for id in ids {
                assert_eq!(
                    values(html, "id").iter().filter(|it| it == &id).count(),
                    1,
                    "{id}"
                );
            }
        };
        let error = SignIn {
            error: Some(WRONG_PASSWORD),
            ..sign_in()
        };
        let html = error.render().unwrap();
        has(
            &html,
            &[
                "username",
                "password",
                "login-submit",
                "login-cancel",
                "error",
            ],
        );
        has(
            &consent().render().unwrap(),
            &[
                "consent-allow",
                "consent-deny",
                "consent-switch",
                "redirect-host",
            ],
        );
        has(
            &logout(None).render().unwrap(),
            &["logout-confirm", "logout-cancel"],
        );
        has(
            &refused().render().unwrap(),
            &["error", "error-code", "error-setting", "error-reference"],
        );
        has(
            &ErrorPage::new(layout(), "not_found").render().unwrap(),
            &["error", "error-code"],
        );
        has(&form_post().render().unwrap(), &["continue"]);
        has(
            &approve(&app(), 2).render().unwrap(),
            &[
                "approve-allow-1",
                "approve-deny-1",
                "approve-allow-2",
                "approve-deny-2",
                "binding-message-1",
                "approve-switch",
                "approve-refresh",
            ],
        );
        has(
            &device(false, Some(WRONG_CODE)).render().unwrap(),
            &["user-code", "device-continue", "error"],
        );
        has(
            &device_confirm(app()).render().unwrap(),
            &[
                "user-code",
                "device-allow",
                "device-deny",
                "device-switch",
                "phishing",
            ],
        );
    }

    #[test]
    fn ids_are_unique() {
        for (name, html) in every_page() {
            let mut ids = values(&html, "id");
            let all = ids.len();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), all, "{name}");
        }
    }

    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        for (name, html) in every_page() {
            let scripts = if name == "form-post" {
                vec!["script nonce=\"n0nce\""]
            } else {
                vec![]
            };
            assert_eq!(tags(&html, "script"), scripts, "{name}");
            assert!(
                values(&html, "style").is_empty() && tags(&html, "style").is_empty(),
                "{name}"
            );
            for event in ["onclick", "onload", "onerror", "onsubmit"] {
                assert!(values(&html, event).is_empty(), "{name}");
            }
            for frame in tags(&html, "iframe") {
                assert!(frame.contains("sandbox=\"allow-scripts allow-same-origin\""));
            }
            let own = |link: &&str| link.starts_with("/tenant/") || link.starts_with("data:image/");
            for source in values(&html, "src") {
                let framed = name == "signed-out" && source.starts_with("https://app.example/");
                assert!(framed || own(&source), "{name}: {source}");
            }
            for link in tags(&html, "link") {
                assert!(values(link, "href").iter().all(own), "{name}: {link}");
            }
        }
    }

    #[test]
    fn every_input_has_a_label() {
        for (name, html) in every_page() {
            let labelled = values(&html, "for");
            for input in tags(&html, "input") {
                let hidden = input.contains("type=\"hidden\"");
                assert!(
                    hidden || values(input, "id").iter().all(|id| labelled.contains(id)),
                    "{name}: {input}"
                );
            }
        }
    }

    #[test]
    fn every_form_of_ours_posts_below_the_base_with_its_csrf_token() {
        for (name, html) in every_page()
            .into_iter()
            .filter(|(name, _)| *name != "form-post")
        {
            for form in html.split("<form").skip(1) {
                let form = form.split("</form>").next().unwrap();
                assert!(form.contains("method=\"post\" action=\"/tenant/"), "{name}");
                assert!(form.contains("name=\"csrf\" value=\"c5rf\""), "{name}");
            }
        }
    }

    #[test]
    fn a_hostile_name_is_escaped_and_isolated() {
        for (name, html) in every_page() {
            assert!(!html.contains("<script>"));
            for (at, _) in html.match_indices("\u{202e}") {
                let before = &html[..at];
                assert!(before.rfind("<bdi") > before.rfind("</bdi>"), "{name}");
            }
        }
    }

    #[test]
    fn links_and_logos_from_a_client_are_shown_only_if_harmless() {
        let app = hostile();
        assert_eq!(
            app.links(),
            [(
                "client-policy",
                "Privacy policy",
                "https://evil.example/\"><script>"
            )]
        );
        assert_eq!(app.logo(), None);
        for (logo, shown) in [
            ("/logos/a.png", true),
            ("//evil.example/a", false),
            ("/\\evil.example/a", false),
            ("", false),
        ] {
            let app = App {
                logo: Some(logo.into()),
                ..App::default()
            };
            assert_eq!(app.logo().is_some(), shown, "{logo}");
        }
        for (name, html) in every_page() {
            for link in tags(&html, "a").iter().filter(|link| link.contains("http")) {
                assert!(link.contains("rel=\"noopener noreferrer\""), "{name}");
            }
        }
        assert!(tags(&refused().render().unwrap(), "a").is_empty());
    }

    #[test]
    fn an_invisible_name_is_replaced() {
        let app = App {
            name: "\u{200b}\u{3164} \u{202e}".into(),
            ..App::default()
        };
        assert_eq!(
            (app.shown(), app.initial().as_str()),
            ("An app without a name", "?")
        );
        let app = App {
            name: " \u{200b}zed ".into(),
            ..App::default()
        };
        assert_eq!(app.initial(), "Z");
    }

    #[test]
    fn the_response_travels_unaltered() {
        let html = form_post().render().unwrap();
        assert!(html.contains("action=\"https://client.example/cb?a=1&#38;b=2\""));
        assert!(html.contains("name=\"state\" value=\"&#34;&#62;&#60;script&#62;\""));
    }

    #[test]
    fn the_style_sheet_is_versioned_and_loads_nothing() {
        let href = style_href("/tenant");
        let version = href.strip_prefix("/tenant/assets/style.css?v=").unwrap();
        assert!(version.len() == 16 && version.bytes().all(|b| b.is_ascii_hexdigit()));
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    }

    /// Relative luminance of `--name` in one colour scheme (WCAG 2.2).
    fn luminance(scheme: &str, name: &str) -> f64 {
        let start = format!("--{name}: #");
        let at = scheme.find(&start).unwrap() + start.len();
        let channel = |i: usize| {
            let value = u8::from_str_radix(&scheme[at + i..at + i + 2], 16).unwrap();
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
    }

    #[test]
    fn both_colour_schemes_have_enough_contrast() {
        let (light, dark) = STYLE
            .split_once("@media (prefers-color-scheme: dark)")
            .unwrap();
        let text = [
            "ink ground",
            "ink card",
            "ink soft",
            "quiet card",
            "quiet ground",
            "accent card",
            "accent soft",
            "accent-strong card",
            "on-accent accent",
            "on-accent accent-strong",
            "bad bad-soft",
            "warn warn-soft",
            "good good-soft",
        ];
        let shapes = [
            "edge card",
            "accent card",
            "accent ground",
            "warn-edge card",
        ];
        for scheme in [light, dark] {
            for (pairs, least) in [(&text[..], 4.5), (&shapes[..], 3.0)] {
                for pair in pairs {
                    let (front, back) = pair.split_once(' ').unwrap();
                    let (a, b) = (luminance(scheme, front), luminance(scheme, back));
                    let ratio = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                    assert!(ratio >= least, "{pair}: {ratio:.2}");
                }
            }
        }
    }
}
