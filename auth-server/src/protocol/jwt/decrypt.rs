//! Opening what others encrypted to us (RFC 7516): compact form only, bounded in size before any work, and with one
//! refusal for every failure behind the header, so that nobody learns from it what went wrong.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwe::{ECDH_ES, ECDH_ES_A128KW, ECDH_ES_A256KW, JweDecrypter, RSA_OAEP, RSA_OAEP_256};
use serde_json::{Map, Value};

use super::content::CONTEXT;
use super::{Enc, Invalid, KeyAlg, Wrap, invalid};

/// The longest encrypted message that is looked at, in bytes.
pub const LONGEST_ENCRYPTED: usize = 48 * 1024;
/// The longest header of one, in bytes of base64url: a public key stands in it, nothing more.
const LONGEST_HEADER: usize = 2048;

/// A key of ours that others encrypt to.
pub struct DecryptionKey {
    /// `kid` in JWKS and in the headers of messages.
    pub kid: String,
    /// How content keys reach it.
    pub wrap: Wrap,
    /// The public key as it stands in JWKS.
    pub jwk: Value,
    decrypters: Vec<(KeyAlg, Box<dyn JweDecrypter>)>,
}

impl DecryptionKey {
    pub(super) fn build(
        kid: String,
        wrap: Wrap,
        jwk: Value,
        pem: &str,
    ) -> Result<DecryptionKey, Invalid> {
        let of_alg = |alg: KeyAlg| {
            macro_rules! decrypter {
                ($algorithm:expr) => {
                    $algorithm
                        .decrypter_from_pem(pem)
                        .map(|built| Box::new(built) as _)
                };
            }
            let built: Result<Box<dyn JweDecrypter>, _> = match alg {
                KeyAlg::RsaOaep => decrypter!(RSA_OAEP),
                KeyAlg::RsaOaep256 => decrypter!(RSA_OAEP_256),
                KeyAlg::EcdhEs => decrypter!(ECDH_ES),
                KeyAlg::EcdhEsA128Kw => decrypter!(ECDH_ES_A128KW),
                KeyAlg::EcdhEsA256Kw => decrypter!(ECDH_ES_A256KW),
            };
            let built = built.map_err(|e| invalid(e.to_string()))?;
            Ok((alg, built))
        };
        let decrypters = KeyAlg::ALL
            .into_iter()
            .filter(|alg| alg.wrap() == wrap)
            .map(of_alg)
            .collect::<Result<_, Invalid>>()?;
        Ok(DecryptionKey {
            kid,
            wrap,
            jwk,
            decrypters,
        })
    }
}

/// A message whose header was read, and whose parts have the lengths that its algorithms give them.
pub struct Encrypted<'a> {
    text: &'a str,
    alg: KeyAlg,
    kid: Option<String>,
}

impl<'a> Encrypted<'a> {
    /// Reads the header and checks lengths.
    pub fn parse(text: &'a str) -> Result<Encrypted<'a>, Invalid> {
        if text.len() > LONGEST_ENCRYPTED {
            return Err(invalid(format!(
                "an encrypted message has at most {LONGEST_ENCRYPTED} bytes"
            )));
        }
        let parts: Vec<&str> = text.split('.').collect();
        let [head, key, vector, _, tag] = parts[..] else {
            return Err(invalid("not a JWE in compact form"));
        };
        let header: Map<String, Value> = Some(head)
            .filter(|head| head.len() <= LONGEST_HEADER)
            .and_then(|head| URL_SAFE_NO_PAD.decode(head).ok())
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| invalid("not a JWE in compact form"))?;
        if ["crit", "zip", "b64"]
            .iter()
            .any(|name| header.contains_key(*name))
        {
            return Err(invalid("crit and zip are not supported"));
        }
        let named = |name| header.get(name).and_then(Value::as_str);
        let alg = named("alg").and_then(KeyAlg::parse).ok_or_else(|| {
            let all = KeyAlg::ALL.map(KeyAlg::as_str).join(", ");
            invalid(format!("alg must be one of {all}"))
        })?;
        let enc = named("enc").and_then(Enc::parse).ok_or_else(|| {
            let all = Enc::ALL.map(Enc::as_str).join(", ");
            invalid(format!("enc must be one of {all}"))
        })?;
        let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).map_or(usize::MAX, |b| b.len());
        let whole = match alg {
            // The length is the modulus's, which only the key knows.
            KeyAlg::RsaOaep | KeyAlg::RsaOaep256 => (256..=1024).contains(&bytes(key)),
            KeyAlg::EcdhEs => key.is_empty(),
            // RFC 3394: eight bytes more than what is wrapped.
            KeyAlg::EcdhEsA128Kw | KeyAlg::EcdhEsA256Kw => bytes(key) == enc.key_bytes() + 8,
        };
        let (of_vector, of_tag) = match enc {
            Enc::A128Gcm | Enc::A256Gcm => (12, 16),
            Enc::A128CbcHs256 => (16, 16),
            Enc::A256CbcHs512 => (16, 32),
        };
        if !whole || bytes(vector) != of_vector || bytes(tag) != of_tag {
            return Err(invalid("the parts of the JWE do not have their lengths"));
        }
        Ok(Encrypted {
            text,
            alg,
            kid: named("kid").map(str::to_owned),
        })
    }

    /// The key that the message names, when it names one.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The text inside, by the first of these keys that opens it.
    pub fn open<'k>(
        &self,
        keys: impl Iterator<Item = &'k DecryptionKey>,
    ) -> Result<String, Invalid> {
        keys.filter(|key| self.kid.as_ref().is_none_or(|kid| *kid == key.kid))
            .flat_map(|key| &key.decrypters)
            .filter(|(alg, _)| *alg == self.alg)
            .find_map(|(_, decrypter)| {
                let (plain, _) = CONTEXT.deserialize_compact(self.text, &**decrypter).ok()?;
                String::from_utf8(plain).ok()
            })
            .ok_or_else(|| invalid("no key of this server opens the JWE"))
    }
}

#[cfg(test)]
mod tests {
    use josekit::jwk::alg::{ec::EcKeyPair, rsa::RsaKeyPair};
    use josekit::jwk::{Jwk, KeyPair as _};
    use serde_json::json;

    use super::super::{Encryption, KeyUse, PrivateKey, PublicKeys};
    use super::*;

    /// The text of RFC 7520 §5.
    const FRODO: &str = "You can trust us to stick with you through thick and thin\u{2013}to the bitter end. And you can trust us to keep any secret of yours\u{2013}closer than you keep it yourself. But you cannot trust us to let you face trouble alone, and go off without a word. We are your friends, Frodo.";

    fn from_jwk(wrap: Wrap, jwk: &Value) -> DecryptionKey {
        let kid = jwk["kid"].as_str().unwrap_or_default().to_owned();
        let private = Jwk::from_map(jwk.as_object().unwrap().clone()).unwrap();
        let pem = match wrap {
            Wrap::Rsa => RsaKeyPair::from_jwk(&private).unwrap().to_pem_private_key(),
            Wrap::Ec => EcKeyPair::from_jwk(&private).unwrap().to_pem_private_key(),
        };
        DecryptionKey::build(kid, wrap, json!({}), std::str::from_utf8(&pem).unwrap()).unwrap()
    }

    fn open(key: &DecryptionKey, message: &str) -> Result<String, Invalid> {
        Encrypted::parse(message)?.open([key].into_iter())
    }

    #[test]
    fn the_examples_of_rfc_7516_and_rfc_7520_open() {
        // RFC 7516 A.1: RSA-OAEP and A256GCM.
        let key = from_jwk(
            Wrap::Rsa,
            &json!({"kty": "RSA", "e": "AQAB",
                "n": "oahUIoWw0K0usKNuOR6H4wkf4oBUXHTxRvgb48E-BVvxkeDNjbC4he8rUWcJoZmds2h7M70imEVhRU5djINXtqllXI4DFqcI1DgjT9LewND8MW2Krf3Spsk_ZkoFnilakGygTwpZ3uesH-PFABNIUYpOiN15dsQRkgr0vEhxN92i2asbOenSZeyaxziK72UwxrrKoExv6kc5twXTq4h-QChLOln0_mtUZwfsRaMStPs6mS6XrgxnxbWhojf663tuEQueGC-FCMfra36C9knDFGzKsNa7LZK2djYgyD3JR_MB_4NUJW_TqOQtwHYbxevoJArm-L5StowjzGy-_bq6Gw",
                "d": "kLdtIj6GbDks_ApCSTYQtelcNttlKiOyPzMrXHeI-yk1F7-kpDxY4-WY5NWV5KntaEeXS1j82E375xxhWMHXyvjYecPT9fpwR_M9gV8n9Hrh2anTpTD93Dt62ypW3yDsJzBnTnrYu1iwWRgBKrEYY46qAZIrA2xAwnm2X7uGR1hghkqDp0Vqj3kbSCz1XyfCs6_LehBwtxHIyh8Ripy40p24moOAbgxVw3rxT_vlt3UVe4WO3JkJOzlpUf-KTVI2Ptgm-dARxTEtE-id-4OJr0h-K-VFs3VSndVTIznSxfyrj8ILL6MG_Uv8YAu7VILSB3lOW085-4qE3DzgrTjgyQ",
                "p": "1r52Xk46c-LsfB5P442p7atdPUrxQSy4mti_tZI3Mgf2EuFVbUoDBvaRQ-SWxkbkmoEzL7JXroSBjSrK3YIQgYdMgyAEPTPjXv_hI2_1eTSPVZfzL0lffNn03IXqWF5MDFuoUYE0hzb2vhrlN_rKrbfDIwUbTrjjgieRbwC6Cl0",
                "q": "wLb35x7hmQWZsWJmB_vle87ihgZ19S8lBEROLIsZG4ayZVe9Hi9gDVCOBmUDdaDYVTSNx_8Fyw1YYa9XGrGnDew00J28cRUoeBB_jKI1oma0Orv1T9aXIWxKwd4gvxFImOWr3QRL9KEBRzk2RatUBnmDZJTIAfwTs0g68UZHvtc",
                "dp": "ZK-YwE7diUh0qR1tR7w8WHtolDx3MZ_OTowiFvgfeQ3SiresXjm9gZ5KLhMXvo-uz-KUJWDxS5pFQ_M0evdo1dKiRTjVw_x4NyqyXPM5nULPkcpU827rnpZzAJKpdhWAgqrXGKAECQH0Xt4taznjnd_zVpAmZZq60WPMBMfKcuE",
                "dq": "Dq0gfgJ1DdFGXiLvQEZnuKEN0UUmsJBxkjydc3j4ZYdBiMRAy86x0vHCjywcMlYYg4yoC4YZa9hNVcsjqA3FeiL19rk8g6Qn29Tt0cj8qqyFpz9vNDBUfCAiJVeESOjJDZPYHdHY8v1b-o-Z2X5tvLx-TCekf7oxyeKDUqKWjis",
                "qi": "VIMpMYbPf47dT1w_zDUXfPimsSegnMOA1zTaX7aGk_8urY6R8-ZW1FxU7AlWAyLWybqq6t16VFd7hQd0y6flUK4SlOydB61gwanOsXGOAOv82cHq0E3eL4HrtZkUuKvnPrMnsUUFlfUdybVzxyjz9JF_XyaY14ardLSjf4L_FNY"}),
        );
        let message = "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.OKOawDo13gRp2ojaHV7LFpZcgV7T6DVZKTyKOMTYUmKoTCVJRgckCL9kiMT03JGeipsEdY3mx_etLbbWSrFr05kLzcSr4qKAq7YN7e9jwQRb23nfa6c9d-StnImGyFDbSv04uVuxIp5Zms1gNxKKK2Da14B8S4rzVRltdYwam_lDp5XnZAYpQdb76FdIKLaVmqgfwX7XWRxv2322i-vDxRfqNzo_tETKzpVLzfiwQyeyPGLBIO56YJ7eObdv0je81860ppamavo35UgoRdbYaBcoh9QcfylQr66oc6vFWXRcZ_ZT2LawVCWTIy3brGPi6UklfCpIMfIjf7iGdXKHzg.48V1_ALb6US04U3b.5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6jiSdiwkIr3ajwQzaBtQD_A.XFBoMYUZodetZdvTiFvSkQ";
        assert_eq!(
            open(&key, message).unwrap(),
            "The true sign of intelligence is not knowledge but imagination."
        );
        // RFC 7520 5.4: ECDH-ES+A128KW over P-384 and A128GCM.
        let key = from_jwk(
            Wrap::Ec,
            &json!({"kty": "EC", "kid": "peregrin.took@tuckborough.example", "crv": "P-384",
                "x": "YU4rRUzdmVqmRtWOs2OpDE_T5fsNIodcG8G5FWPrTPMyxpzsSOGaQLpe2FpxBmu2",
                "y": "A8-yxCHxkfBz3hKZfI1jUYMjUhsEveZ9THuwFjH2sCNdtksRJU7D5-SkgaFL1ETP",
                "d": "iTx2pk7wW-GqJkHcEkFQb2EFyYcO7RugmaW3mRrQVAOUiPommT0IdnYK2xDlZh-j"}),
        );
        let message = "eyJhbGciOiJFQ0RILUVTK0ExMjhLVyIsImtpZCI6InBlcmVncmluLnRvb2tAdHVja2Jvcm91Z2guZXhhbXBsZSIsImVwayI6eyJrdHkiOiJFQyIsImNydiI6IlAtMzg0IiwieCI6InVCbzRrSFB3Nmtiang1bDB4b3dyZF9vWXpCbWF6LUdLRlp1NHhBRkZrYllpV2d1dEVLNml1RURzUTZ3TmROZzMiLCJ5Ijoic3AzcDVTR2haVkMyZmFYdW1JLWU5SlUyTW84S3BvWXJGRHI1eVBOVnRXNFBnRXdaT3lRVEEtSmRhWTh0YjdFMCJ9LCJlbmMiOiJBMTI4R0NNIn0.0DJjBXri_kBcC46IkU5_Jk9BqaQeHdv2.mH-G2zVqgztUtnW_.tkZuOO9h95OgHJmkkrfLBisku8rGf6nzVxhRM3sVOhXgz5NJ76oID7lpnAi_cPWJRCjSpAaUZ5dOR3Spy7QuEkmKx8-3RCMhSYMzsXaEwDdXta9Mn5B7cCBoJKB0IgEnj_qfo1hIi-uEkUpOZ8aLTZGHfpl05jMwbKkTe2yK3mjF6SBAsgicQDVCkcY9BLluzx1RmC3ORXaM0JaHPB93YcdSDGgpgBWMVrNU1ErkjcMqMoT_wtCex3w03XdLkjXIuEr2hWgeP-nkUZTPU9EoGSPj6fAS-bSz87RCPrxZdj_iVyC6QWcqAu07WNhjzJEPc4jVntRJ6K53NgPQ5p99l3Z408OUqj4ioYezbS6vTPlQ.WuGzxmcreYjpHGJoa17EBg";
        assert_eq!(open(&key, message).unwrap(), FRODO);
        // RFC 7520 5.5: ECDH-ES over P-256 and A128CBC-HS256.
        let key = from_jwk(
            Wrap::Ec,
            &json!({"kty": "EC", "kid": "meriadoc.brandybuck@buckland.example", "crv": "P-256",
                "x": "Ze2loSV3wrroKUN_4zhwGhCqo3Xhu1td4QjeQ5wIVR0",
                "y": "HlLtdXARY_f55A3fnzQbPcm6hgr34Mp8p-nuzQCE0Zw",
                "d": "r_kHyZ-a06rmxM3yESK84r1otSg-aQcVStkRhA-iCM8"}),
        );
        let message = "eyJhbGciOiJFQ0RILUVTIiwia2lkIjoibWVyaWFkb2MuYnJhbmR5YnVja0BidWNrbGFuZC5leGFtcGxlIiwiZXBrIjp7Imt0eSI6IkVDIiwiY3J2IjoiUC0yNTYiLCJ4IjoibVBVS1RfYkFXR0hJaGcwVHBqanFWc1AxclhXUXVfdndWT0hIdE5rZFlvQSIsInkiOiI4QlFBc0ltR2VBUzQ2ZnlXdzVNaFlmR1RUMElqQnBGdzJTUzM0RHY0SXJzIn0sImVuYyI6IkExMjhDQkMtSFMyNTYifQ..yc9N8v5sYyv3iGQT926IUg.BoDlwPnTypYq-ivjmQvAYJLb5Q6l-F3LIgQomlz87yW4OPKbWE1zSTEFjDfhU9IPIOSA9Bml4m7iDFwA-1ZXvHteLDtw4R1XRGMEsDIqAYtskTTmzmzNa-_q4F_evAPUmwlO-ZG45Mnq4uhM1fm_D9rBtWolqZSF3xGNNkpOMQKF1Cl8i8wjzRli7-IXgyirlKQsbhhqRzkv8IcY6aHl24j03C-AR2le1r7URUhArM79BY8soZU0lzwI-sD5PZ3l4NDCCei9XkoIAfsXJWmySPoeRb2Ni5UZL4mYpvKDiwmyzGd65KqVw7MsFfI_K767G9C9Azp73gKZD0DyUn1mn0WW5LmyX_yJ-3AROq8p1WZBfG-ZyJ6195_JGG2m9Csg.WCCkNa-x4BeB9hIDIfFuhg";
        assert_eq!(open(&key, message).unwrap(), FRODO);
    }

    fn ours(wrap: Wrap) -> DecryptionKey {
        let private = PrivateKey::make(KeyUse::Decrypt(wrap), [7; 32]).unwrap();
        private.into_decryption_key().unwrap().unwrap()
    }

    fn encrypt(key: &DecryptionKey, alg: KeyAlg, enc: Enc) -> String {
        let keys = PublicKeys::parse(&json!({"keys": [&key.jwk]})).unwrap();
        keys.encrypt(Encryption { alg, enc }, "a.b.c").unwrap()
    }

    #[test]
    fn every_algorithm_opens_what_it_closed_and_nothing_that_was_changed() {
        for wrap in [Wrap::Rsa, Wrap::Ec] {
            let key = ours(wrap);
            for alg in KeyAlg::ALL.into_iter().filter(|alg| alg.wrap() == wrap) {
                for enc in Enc::ALL {
                    let message = encrypt(&key, alg, enc);
                    assert_eq!(open(&key, &message).unwrap(), "a.b.c", "{alg:?} {enc:?}");
                    let parts: Vec<&str> = message.split('.').collect();
                    for (at, part) in parts
                        .iter()
                        .enumerate()
                        .filter(|(_, part)| !part.is_empty())
                    {
                        let mut bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
                        *bytes.last_mut().unwrap() ^= 1;
                        let flipped = URL_SAFE_NO_PAD.encode(&bytes);
                        bytes.pop();
                        for other in [flipped, URL_SAFE_NO_PAD.encode(&bytes), String::new()] {
                            let mut changed = parts.clone();
                            changed[at] = &other;
                            assert!(
                                open(&key, &changed.join(".")).is_err(),
                                "{alg:?} {enc:?} {at}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_message_with_a_foreign_header_or_beyond_its_bounds_is_refused_before_any_work() {
        let good = encrypt(&ours(Wrap::Ec), KeyAlg::EcdhEs, Enc::A128Gcm);
        let (head, rest) = good.split_once('.').unwrap();
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap();
        let with = |name: &str, value: Value| {
            let mut header = header.clone();
            header[name] = value;
            format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
        };
        let cut = |message: &str, at: usize| {
            let mut parts: Vec<&str> = message.split('.').collect();
            parts[at] = &parts[at][..parts[at].len() - 4];
            parts.join(".")
        };
        let wrapped = encrypt(&ours(Wrap::Ec), KeyAlg::EcdhEsA256Kw, Enc::A128Gcm);
        for bad in [
            with("alg", json!("RSA1_5")),
            with("alg", json!("dir")),
            with("alg", json!("PBES2-HS256+A128KW")),
            with("alg", json!("none")),
            with("alg", json!(null)),
            with("enc", json!("A192GCM")),
            with("enc", json!("A256CBC-HS512")),
            with("zip", json!("DEF")),
            with("crit", json!(["exp"])),
            with("x5c", json!("A".repeat(LONGEST_HEADER))),
            cut(&good, 4),
            cut(&good, 2),
            cut(&wrapped, 1),
            wrapped.replacen(wrapped.split('.').nth(1).unwrap(), "AAAA", 1),
            "a.b.c".into(),
            "....".into(),
            String::new(),
            format!("{good}.x"),
            format!("{good}{}", "A".repeat(LONGEST_ENCRYPTED)),
        ] {
            assert!(Encrypted::parse(&bad).is_err(), "{bad}");
        }
        // A public key on another curve, and one that is on none.
        for epk in [
            json!({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}),
            json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}),
            json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
            json!(7),
        ] {
            assert!(open(&ours(Wrap::Ec), &with("epk", epk)).is_err());
        }
    }
}
