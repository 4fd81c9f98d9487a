//! Both programs on real sockets, driven by real clients and a real browser. `README.md` beside this file tells what is
//! where and which test holds which rule of the protocol.

mod app;
mod browser;
mod chromium;
mod clients;
mod conformance;
mod flows;
mod hosts;
mod html;
mod need;
mod nodes;
mod process;
mod resource;
mod rules;
mod site;
mod world;

/// A client that follows no redirect and knows the one TLS implementation of this workspace.
fn http_client() -> reqwest::Client {
    http_client_builder().build().unwrap_or_default()
}

/// The same, open to more settings.
fn http_client_builder() -> reqwest::ClientBuilder {
    static TLS: std::sync::Once = std::sync::Once::new();
    TLS.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(std::time::Duration::from_mins(1))
}
