//! Bringing a server up: master key, store, signing keys, and the users of the configuration.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, RwLock};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{
    Inner, Server, audit, client_keys, clients, document, keys, limits, logos, passwords,
    published, tick,
};
use crate::config::{Config, Password};
use crate::credential::password;
use crate::effects::Effects;
use crate::outbound::Outbound;
use crate::protocol::secret::DerivationKey;
use crate::store::{Access, Store, User};
use crate::tls::Authorities;

impl Server {
    /// Opens everything that the configuration names. On the first start the master key and the signing keys are made.
    pub async fn start(config: Config, effects: Effects, access: Access) -> anyhow::Result<Server> {
        let store = open_store(&config, access).await?;
        let authorities = config.mtls.authorities.as_deref().map(Authorities::load);
        let has_keys = !store.keys(effects.now()).await?.is_empty();
        let master = master_key(&config.master_key_file, has_keys, &effects)?;
        let server = Server(Arc::new(Inner {
            keys: keys::KeyRing::new(master, config.features.encryption),
            derivation: DerivationKey::from_master(&master),
            authorities: authorities.transpose().map_err(anyhow::Error::msg)?,
            outbound: Outbound::new(&config.outbound)
                .map_err(anyhow::Error::msg)
                .context("outbound")?,
            passwords: passwords::Passwords::new(),
            clients: clients::Known::default(),
            client_keys: client_keys::Cache::default(),
            logos: logos::Logos::default(),
            limits: limits::Limits::new(&config.limits),
            notices: tokio::sync::Notify::new(),
            stopping: AtomicBool::new(false),
            metadata: published::Published::new(&super::metadata(&config, &config.resources)),
            refusals: audit::Refusals::default(),
            events: AtomicU32::new(0),
            resources: RwLock::new(Arc::new(config.resources.clone())),
            config,
            store,
            effects,
        }));
        keys::ensure(&server).await?;
        if access == Access::Serve {
            document::look_at_catalogue(&server.config).await;
            static_users(&server).await?;
        }
        tick::refresh(&server).await?;
        Ok(server)
    }
}

/// Opens the store, making its folder when it is missing.
pub async fn open_store(config: &Config, access: Access) -> anyhow::Result<Store> {
    if let crate::store::Location::Sqlite(path) = &config.store {
        let folder = path.parent().unwrap_or(Path::new("."));
        make_folder_of(path)
            .with_context(|| format!("store.url: cannot make the folder {}", folder.display()))?;
    }
    Store::open(&config.store, access)
        .await
        .with_context(|| match &config.store {
            crate::store::Location::Sqlite(path) => {
                format!("store.url: {} cannot be opened", path.display())
            }
            // A password may stand in the URL.
            crate::store::Location::Postgres(_) => {
                "store.url: the database cannot be opened".to_owned()
            }
        })
}

/// Reads the master key, or makes it, readable by its owner alone. A store that has keys already needs the file that
/// they were sealed with: a new one could not open them.
fn master_key(path: &Path, store_has_keys: bool, effects: &Effects) -> anyhow::Result<[u8; 32]> {
    match read_master_key(path)? {
        Some(key) => {
            warn_of_readers(path);
            if !store_has_keys {
                tracing::warn!(
                    file = %path.display(),
                    "the master key is there, and the store has no keys: a first start, or another store.url than before"
                );
            }
            Ok(key)
        }
        None if store_has_keys => anyhow::bail!(
            "keys.master_key_file: {}: the file is missing, and the store holds keys that were sealed with it; bring it back from a backup",
            path.display()
        ),
        None => {
            let key: [u8; 32] = effects.fresh();
            write_private(path, &URL_SAFE_NO_PAD.encode(key))
                .with_context(|| format!("keys.master_key_file: {}", path.display()))?;
            tracing::info!(file = %path.display(), "a new master key was made; back it up together with the database");
            Ok(key)
        }
    }
}

/// The master key of a file; `None` when the file is not there.
pub(super) fn read_master_key(path: &Path) -> anyhow::Result<Option<[u8; 32]>> {
    let name = || format!("keys.master_key_file: {}", path.display());
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        // Bytes that are no text, as of a key that was not encoded, are what is said below.
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => String::new(),
        text => text.with_context(name)?,
    };
    let bytes = URL_SAFE_NO_PAD.decode(text.trim()).ok();
    match bytes.and_then(|bytes| bytes.try_into().ok()) {
        Some(key) => Ok(Some(key)),
        None => anyhow::bail!(
            "{}: must hold 32 bytes in base64url (43 characters)",
            name()
        ),
    }
}

/// Whoever reads the file can sign tokens: worth a word, although some ways to hand a file over leave no choice.
fn warn_of_readers(path: &Path) {
    #[cfg(unix)]
    if let Ok(about) = std::fs::metadata(path) {
        let mode = std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o777;
        if mode & 0o077 != 0 {
            tracing::warn!(
                file = %path.display(), mode = format!("{mode:o}"),
                "keys.master_key_file: others on this machine can use the file; give it mode 600"
            );
        }
    }
}

/// Makes the folder of a file, readable by its owner alone; one that is there stays as it is.
pub(super) fn make_folder_of(file: &Path) -> std::io::Result<()> {
    let Some(folder) = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    else {
        return Ok(());
    };
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Writes a new file that its owner alone can read.
pub(super) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    make_folder_of(path)?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    Ok(())
}

/// Brings the users of the configuration into the store; those who left the file are disabled.
async fn static_users(server: &Server) -> anyhow::Result<()> {
    let mut users = Vec::new();
    for user in &server.config.users {
        let hash = match &user.password {
            Password::Hash(hash) => hash.clone(),
            Password::Clear(clear) => {
                let known = server
                    .store
                    .user_by_name(&user.username)
                    .await?
                    .and_then(|known| known.password_hash);
                match known {
                    // The stored hash stays as long as it fits, so that a start does not hash anew.
                    Some(hash) if password::verify(clear, Some(&hash)) => hash,
                    _ => {
                        password::hash(clear, server.effects.fresh()).map_err(anyhow::Error::msg)?
                    }
                }
            }
        };
        users.push(User {
            id: server.fresh_id("us_"),
            username: user.username.clone(),
            password_hash: Some(hash),
            claims: user.claims.clone(),
            disabled_at: None,
        });
    }
    let now = server.now();
    let names: Vec<String> = users.iter().map(|user| user.username.clone()).collect();
    server
        .store
        .write((users, names), move |tx, (users, names)| {
            Box::pin(async move {
                for user in users {
                    tx.upsert_static_user(user, now).await?;
                }
                tx.disable_static_users_except(names, now).await
            })
        })
        .await?;
    Ok(())
}
