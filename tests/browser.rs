//! A person's browser, without the person: keeps cookies, follows redirects on one origin, fills in plain HTML forms and
//! stops where a redirect leaves for somewhere else. Every flow in these tests is driven by it, so the pages are proven
//! to work without JavaScript.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use http::HeaderMap;
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Method, StatusCode};
use url::{Url, form_urlencoded};

use crate::html;

/// Where a request ended: on a page of the server, or on the way to another origin (not followed).
pub(crate) enum Landing {
    Page(Page),
    Away(Url),
}

/// A page as the browser sees it.
pub(crate) struct Page {
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) html: String,
}

/// One browser profile: one cookie jar.
pub(crate) struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

/// The buttons of who agrees to everything.
const YES: [&str; 5] = [
    "consent-allow",
    "device-continue",
    "device-allow",
    "approve-allow-1",
    "logout-confirm",
];

/// Whose hands are on the keyboard.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) password: String,
}

impl User {
    /// The configured user.
    pub(crate) fn alice() -> Self {
        Self {
            name: "alice".to_owned(),
            password: "correct horse battery staple".to_owned(),
        }
    }
}

impl Browser {
    pub(crate) fn new() -> Self {
        Self::through(crate::http_client())
    }

    /// A browser whose requests take this way.
    pub(crate) fn through(http: reqwest::Client) -> Self {
        Self {
            http,
            cookies: BTreeMap::new(),
        }
    }

    /// From here on requests take another way; the cookies stay.
    pub(crate) fn turn_to(&mut self, http: reqwest::Client) {
        self.http = http;
    }

    /// Signs in and allows whatever the authorization URL asks for. Returns the URL of the answer, which is not opened.
    pub(crate) async fn authorize(&mut self, url: &str, user: &User) -> Result<Url> {
        self.go_through(url, user).await?.away()
    }

    /// Signs in and says yes to whatever the pages ask for, until there is nothing more to say.
    pub(crate) async fn go_through(&mut self, url: &str, user: &User) -> Result<Landing> {
        let mut landing = self.open(url).await?;
        for _ in 0..6 {
            let page = match landing {
                Landing::Page(page) => page,
                Landing::Away(answer) => return Ok(Landing::Away(answer)),
            };
            let yes = YES.into_iter().find(|button| page.has(button));
            landing = match yes {
                _ if page.has("password") => self.sign_in(&page, user).await?,
                Some(button) => self.press(&page, button, &[]).await?,
                None => return Ok(Landing::Page(page)),
            };
        }
        bail!("still no answer after six pages")
    }

    /// Opens a URL as a typed address or a link.
    pub(crate) async fn open(&mut self, url: &str) -> Result<Landing> {
        self.travel(
            Method::GET,
            Url::parse(url).with_context(|| format!("bad URL {url:?}"))?,
            None,
        )
        .await
    }

    /// Opens a URL that must show a page.
    pub(crate) async fn page(&mut self, url: &str) -> Result<Page> {
        self.open(url).await?.page()
    }

    /// Fills in the sign-in form.
    pub(crate) async fn sign_in(&mut self, page: &Page, user: &User) -> Result<Landing> {
        self.press(
            page,
            "login-submit",
            &[("username", &user.name), ("password", &user.password)],
        )
        .await
    }

    /// Fills in the form that holds the button with this id, and presses the button.
    pub(crate) async fn press(
        &mut self,
        page: &Page,
        button: &str,
        input: &[(&str, &str)],
    ) -> Result<Landing> {
        let (target, sent) = fill_in(page, button, input)?;
        self.travel(Method::POST, target, Some(sent)).await
    }

    /// The request that pressing the button would send now, to be sent as often as a test likes.
    pub(crate) fn filled_in(
        &self,
        page: &Page,
        button: &str,
        input: &[(&str, &str)],
    ) -> Result<reqwest::RequestBuilder> {
        let (target, sent) = fill_in(page, button, input)?;
        Ok(self.request(Method::POST, target, Some(sent)))
    }

    /// One navigation: the request, then every redirect that stays on the origin where it began.
    async fn travel(
        &mut self,
        mut method: Method,
        mut url: Url,
        mut body: Option<String>,
    ) -> Result<Landing> {
        let home = url.origin();
        for _ in 0..10 {
            let request = self.request(method.clone(), url.clone(), body.take());
            let response = request
                .send()
                .await
                .with_context(|| format!("{method} {url}"))?;
            let (status, headers) = (response.status(), response.headers().clone());
            self.remember(&headers)?;
            if !status.is_redirection() {
                let html = response.text().await?;
                return Ok(Landing::Page(Page {
                    url,
                    status,
                    headers,
                    html,
                }));
            }
            ensure!(
                status != StatusCode::TEMPORARY_REDIRECT,
                "{url} would make the browser repeat the form elsewhere"
            );
            let location = headers
                .get(LOCATION)
                .context("a redirect without Location")?
                .to_str()?;
            url = url
                .join(location)
                .with_context(|| format!("bad Location {location:?}"))?;
            if url.origin() != home {
                return Ok(Landing::Away(url));
            }
            method = Method::GET;
        }
        bail!("more than ten redirects, last to {url}")
    }

    fn request(&self, method: Method, url: Url, body: Option<String>) -> reqwest::RequestBuilder {
        let home = url.origin();
        let mut request = self.http.request(method, url);
        if !self.cookies.is_empty() {
            let jar: Vec<_> = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request = request.header(COOKIE, jar.join("; "));
        }
        if let Some(form) = body {
            request = request
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(ORIGIN, home.ascii_serialization())
                .body(form);
        }
        request
    }

    /// The value of a cookie, as a script of the same origin would read it.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    fn remember(&mut self, headers: &HeaderMap) -> Result<()> {
        for cookie in headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str()?;
            let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
            let (name, value) = pair.split_once('=').context("a cookie without a name")?;
            let gone = attributes
                .to_ascii_lowercase()
                .split(';')
                .any(|attribute| attribute.trim() == "max-age=0");
            if gone || value.is_empty() {
                self.cookies.remove(name.trim());
            } else {
                self.cookies
                    .insert(name.trim().to_owned(), value.to_owned());
            }
        }
        Ok(())
    }
}

/// Where the form with this button goes, and what it sends.
fn fill_in(page: &Page, button: &str, input: &[(&str, &str)]) -> Result<(Url, String)> {
    let form = html::forms(&page.html)
        .into_iter()
        .find(|form| form.button(button).is_some());
    let form =
        form.with_context(|| format!("no form with the button #{button} on {}", page.describe()))?;
    for (name, _) in input {
        ensure!(
            form.fields.iter().any(|(field, _)| field == name),
            "no field {name} in the form of #{button}"
        );
    }
    let mut body = form_urlencoded::Serializer::new(String::new());
    for (name, value) in &form.fields {
        let typed = input
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, text)| *text);
        body.append_pair(name, typed.unwrap_or(value));
    }
    if let Some((name, value)) = form.button(button).and_then(|button| button.sends.as_ref()) {
        body.append_pair(name, value);
    }
    let target = page.url.join(&form.action)?;
    ensure!(form.method == "post", "the form of #{button} is not a POST");
    Ok((target, body.finish()))
}

impl Landing {
    /// The page, where a page is due.
    pub(crate) fn page(self) -> Result<Page> {
        match self {
            Landing::Page(page) => Ok(page),
            Landing::Away(url) => bail!("a page was due, but the browser was sent to {url}"),
        }
    }

    /// Where the browser is in the end.
    pub(crate) fn url(self) -> Url {
        match self {
            Landing::Page(page) => page.url,
            Landing::Away(url) => url,
        }
    }

    /// The other origin's URL, where leaving is due.
    pub(crate) fn away(self) -> Result<Url> {
        match self {
            Landing::Away(url) => Ok(url),
            Landing::Page(page) => bail!(
                "the browser should have left, but shows {}",
                page.describe()
            ),
        }
    }
}

impl Page {
    /// Whether an element has this id.
    pub(crate) fn has(&self, id: &str) -> bool {
        html::tags(&self.html).any(|tag| tag.attribute("id").as_deref() == Some(id))
    }

    /// The words a person reads, tags removed and white space collapsed.
    pub(crate) fn text(&self) -> String {
        html::text(&self.html)
    }

    /// `data-page` of the body: which page this is.
    pub(crate) fn kind(&self) -> Option<String> {
        html::tags(&self.html)
            .find(|tag| tag.name == "body")?
            .attribute("data-page")
    }

    /// One line for a failure message.
    pub(crate) fn describe(&self) -> String {
        let text: String = self.text().chars().take(300).collect();
        format!("{} {} {:?}: {text}", self.status, self.url, self.kind())
    }
}
