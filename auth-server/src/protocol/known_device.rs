//! Devices on which a user has signed in before. The mark is a cookie that only we can make, for one user and the
//! password of that time; it opens nothing, but attempts from such a device have a budget of their own, which strangers
//! cannot use up.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::secret::{DerivationKey, same};

/// How long a mark counts after the last sign-in, in seconds.
pub const LIFETIME: i64 = 365 * 86_400;

/// A device on which one user has signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownDevice {
    id: String,
}

impl KnownDevice {
    /// A device that was not known before.
    #[must_use]
    pub fn new(fresh: [u8; 16]) -> KnownDevice {
        KnownDevice {
            id: URL_SAFE_NO_PAD.encode(fresh),
        }
    }

    /// The device, when the cookie is its mark for this user with this password hash and is not too old.
    #[must_use]
    pub fn read(
        cookie: &str,
        key: &DerivationKey,
        user_id: &str,
        password_hash: &str,
        now: i64,
    ) -> Option<KnownDevice> {
        let mut parts = cookie.strip_prefix("dv_")?.split('.');
        let (id, since, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next())
        else {
            return None;
        };
        let device = KnownDevice { id: id.to_owned() };
        let since: i64 = since.parse().ok()?;
        let is_mark = same(cookie, &device.mark(key, user_id, password_hash, since));
        (is_mark && now < since + LIFETIME).then_some(device)
    }

    /// The cookie after a sign-in at `since`, in unix seconds.
    #[must_use]
    pub fn mark(
        &self,
        key: &DerivationKey,
        user_id: &str,
        password_hash: &str,
        since: i64,
    ) -> String {
        let id = &self.id;
        let value = format!("{user_id} {id} {since} {password_hash}");
        let proof = URL_SAFE_NO_PAD.encode(key.derive("known device", &value));
        format!("dv_{id}.{since}.{proof}")
    }

    /// What attempts of this user on this device are counted under.
    #[must_use]
    pub fn counter(&self, user_id: &str) -> String {
        format!("device {user_id} {}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_219_200;

    #[test]
    fn a_mark_counts_for_its_user_its_password_and_its_time() {
        let key = DerivationKey::from_master(&[1; 32]);
        let device = KnownDevice::new([7; 16]);
        let mark = device.mark(&key, "us_1", "hash", NOW);
        let read = |cookie: &str, user, hash, now| KnownDevice::read(cookie, &key, user, hash, now);
        assert_eq!(read(&mark, "us_1", "hash", NOW), Some(device.clone()));
        assert_eq!(read(&mark, "us_2", "hash", NOW), None, "another user");
        assert_eq!(read(&mark, "us_1", "new", NOW), None, "a new password");
        assert_eq!(read(&mark, "us_1", "hash", NOW + LIFETIME), None, "too old");
        let other = DerivationKey::from_master(&[2; 32]);
        assert_eq!(KnownDevice::read(&mark, &other, "us_1", "hash", NOW), None);
        let younger = mark.replace(&NOW.to_string(), &(NOW + 1).to_string());
        for bad in [
            "",
            "dv_",
            "dv_a.1.x",
            "dv_a.1",
            &younger,
            &format!("{mark}."),
        ] {
            assert_eq!(read(bad, "us_1", "hash", NOW), None, "{bad}");
        }
        assert!(mark.len() <= 128, "cookies are read up to 128 bytes");
    }
}
