//! Signatures of the standards, and of another implementation.

use std::fs;
use std::path::Path;

use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The keys of a set.
fn set(keys: &Value) -> Result<KeySet, NoKeys> {
    KeySet::from_json(json!({"keys": keys}).to_string().as_bytes(), Trust::File)
}

/// Whether a token of a standard, whose payload need not be claims, has a right signature.
fn holds(token: &str, algorithm: Algorithm, key: &Value) -> bool {
    let jwk = serde_json::from_value(key.clone()).unwrap();
    // It installs the provider.
    assert_eq!(Key::from_jwk(&jwk).unwrap().algorithm(), algorithm);
    let (message, signature) = token.rsplit_once('.').unwrap();
    crypto::verify(signature, message.as_bytes(), &DecodingKey::from_jwk(&jwk).unwrap(), algorithm)
        .unwrap_or(false)
}

/// RFC 7515, appendices A.1 to A.3, and RFC 8037, appendix A.4.
#[test]
fn the_examples_of_the_standards_hold() {
    let examples = [
        (
            Algorithm::HS256,
            json!({"kty": "oct", "alg": "HS256", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}),
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            Algorithm::RS256,
            json!({"kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}),
            "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            Algorithm::ES256,
            json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}),
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            Algorithm::EdDSA,
            json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ];
    for (algorithm, key, token) in &examples {
        assert!(holds(token, *algorithm, key), "{algorithm:?}");
        assert!(!holds(&token.replacen("eyJ", "eyK", 1), *algorithm, key), "{algorithm:?}");
        let (message, signature) = token.rsplit_once('.').unwrap();
        for cut in ["", "AA", &signature[4..], &signature[..signature.len() - 4]] {
            assert!(!holds(&format!("{message}.{cut}"), *algorithm, key), "{algorithm:?} {cut}");
        }
    }
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/jwt").join(name)).unwrap()
}

fn rules() -> Rules {
    Rules {
        issuer: Some("https://issuer.example".into()),
        audience: vec!["gateway".into()],
        leeway: 30,
        consumer_claim: "sub".into(),
        plan_claim: None,
    }
}

#[test]
fn a_token_is_valid_for_its_time() {
    let keys = KeySet::from_json(&fixture("jwks.json"), Trust::File).unwrap();
    let tokens: Value = serde_json::from_slice(&fixture("tokens.json")).unwrap();
    let expires = 4_102_444_800;
    for (algorithm, token) in tokens.as_object().unwrap() {
        let at = |now| verify(token.as_str().unwrap().as_bytes(), &keys, &rules(), now);
        let proved = at(0).unwrap_or_else(|refused| panic!("{algorithm}: {refused:?}"));
        assert_eq!((&*proved.name, &proved.plan), ("alice", &None));
        assert_eq!(at(expires + 29).map(|proved| proved.valid.at(expires + 30)), Ok(false));
        for late in [expires + 30, i64::MAX] {
            assert_eq!(at(late), Err(Refused::Wrong("the token has expired")), "{algorithm}");
        }
    }
}

#[test]
fn a_key_has_one_algorithm() {
    let ok = |jwk: Value| Key::from_jwk(&serde_json::from_value(jwk).unwrap()).map(|key| key.algorithm());
    let set: Value = serde_json::from_slice(&fixture("jwks.json")).unwrap();
    let with = |index: usize, alg: Option<&str>| {
        let mut key = set["keys"][index].clone();
        match alg {
            Some(alg) => key["alg"] = json!(alg),
            None => drop(key.as_object_mut().unwrap().remove("alg")),
        }
        ok(key)
    };
    let (rsa, p256, p384, ed, secret) = (0, 6, 7, 8, 9);
    for (index, algorithm) in
        [(rsa, Algorithm::RS256), (p256, Algorithm::ES256), (p384, Algorithm::ES384), (ed, Algorithm::EdDSA)]
    {
        assert_eq!(with(index, None), Ok(algorithm));
    }
    assert_eq!(with(rsa, Some("PS512")), Ok(Algorithm::PS512));
    for (index, alg) in [
        (rsa, "HS256"),
        (rsa, "ES256"),
        (rsa, "RSA-OAEP"),
        (rsa, "none"),
        (p256, "ES384"),
        (p384, "ES256"),
        (p256, "RS256"),
        (ed, "ES256"),
        (secret, "RS256"),
        (secret, "HS512"),
    ] {
        assert!(with(index, Some(alg)).is_err(), "{index} {alg}");
    }
    assert!(with(secret, None).is_err(), "it could be for anything");
}

#[test]
fn numbers_of_rsa_keys_are_bounded() {
    let ok = |n: &[u8], e: &[u8]| {
        let text = |bytes: &[u8]| base64url(bytes);
        Key::from_jwk(&serde_json::from_value(json!({"kty": "RSA", "n": text(n), "e": text(e)})).unwrap())
            .is_ok()
    };
    let number = |bytes: usize, first: u8| {
        let mut number = vec![0xff; bytes];
        number[0] = first;
        number
    };
    let e: &[u8] = &[1, 0, 1];
    assert!(ok(&number(256, 0x80), e) && ok(&number(1024, 0xff), e));
    assert!(ok(&[&[0], &*number(256, 0x80)].concat(), e), "a zero before it changes nothing");
    assert!(!ok(&number(256, 0x7f), e) && !ok(&number(1025, 1), e) && !ok(&[], e) && !ok(&[0; 256], e));
    for wrong in [&[][..], &[0], &[1], &[2], &[1, 0, 0], &[1; 6]] {
        assert!(!ok(&number(256, 0xff), wrong), "{wrong:?}");
    }
}

fn any_part() -> impl Strategy<Value = String> {
    let parts = [
        base64url(br#"{"alg":"EdDSA","kid":"EdDSA"}"#),
        base64url(br#"{"alg":"HS256"}"#),
        base64url(br#"{"alg":"none"}"#),
        base64url(br#"{"sub":"alice","exp":4102444800,"aud":"gateway","iss":"https://issuer.example"}"#),
        String::new(),
    ];
    prop_oneof![
        proptest::sample::select(parts.to_vec()),
        proptest::collection::vec(any::<u8>(), 0..100).prop_map(|bytes| base64url(&bytes)),
        "\\PC{0,20}",
        r#"\{("(alg|kid|crit|exp|sub)":("EdDSA"|[0-9e.-]{1,9}|null|\[\]),?){0,4}\}"#
            .prop_map(|json| base64url(json.as_bytes())),
    ]
}

proptest! {
    #[test]
    fn what_nobody_has_signed_proves_nothing(parts in proptest::collection::vec(any_part(), 0..5)) {
        let keys = KeySet::from_json(&fixture("jwks.json"), Trust::File).unwrap();
        prop_assert!(verify(parts.join(".").as_bytes(), &keys, &rules(), 0).is_err());
    }

    #[test]
    fn a_token_that_has_changed_proves_nothing(at in 0..100_usize, to in any::<u8>(), algorithm in 0..12_usize) {
        let keys = KeySet::from_json(&fixture("jwks.json"), Trust::File).unwrap();
        let tokens: Value = serde_json::from_slice(&fixture("tokens.json")).unwrap();
        let token = tokens.as_object().unwrap().values().nth(algorithm).unwrap().as_str().unwrap();
        let mut changed = token.as_bytes().to_vec();
        let at = at * changed.len() / 100;
        changed[at] = to;
        let proved = verify(&changed, &keys, &rules(), 0);
        prop_assert_eq!(proved.is_ok(), changed == token.as_bytes());
    }

    #[test]
    fn any_text_is_a_set_of_keys_or_none(text in "\\PC{0,200}", trust in any::<bool>()) {
        let trust = if trust { Trust::File } else { Trust::Server };
        prop_assert!(KeySet::from_json(text.as_bytes(), trust).is_err());
    }
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = |chunk: &[u8]| {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let digit = |at: usize| char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]);
        (0..=chunk.len()).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(digits).collect()
}

#[test]
fn keys_are_found_by_their_names() {
    let ed = |seed: u8, kid: Option<&str>| {
        let mut key = json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(&[seed; 32])});
        if let Some(kid) = kid {
            key["kid"] = json!(kid);
        }
        key
    };
    let find = |keys: &KeySet, id: Option<&str>| match keys.find(id, Algorithm::EdDSA) {
        key_set::Found::Key(key) => key.id().unwrap_or("-").to_owned(),
        key_set::Found::UnknownName => "unknown".to_owned(),
        key_set::Found::OtherAlgorithm => "other".to_owned(),
        key_set::Found::Unnamed => "unnamed".to_owned(),
    };
    let two = set(&json!([ed(1, Some("a")), ed(2, Some("b"))])).unwrap();
    assert_eq!(
        [Some("a"), Some("b"), Some("c"), None].map(|id| find(&two, id)),
        ["a", "b", "unknown", "unnamed"]
    );
    let one = set(&json!([ed(1, Some("a"))])).unwrap();
    assert_eq!([Some("a"), Some("c"), None].map(|id| find(&one, id)), ["a", "unknown", "a"]);
    let nameless = set(&json!([ed(1, Some("a")), ed(2, None)])).unwrap();
    assert_eq!([Some("a"), Some("c"), None].map(|id| find(&nameless, id)), ["a", "-", "unnamed"]);
    let secret = json!({"kty": "oct", "k": base64url(&[1; 32]), "alg": "HS256", "kid": "a"});
    assert_eq!(find(&set(&json!([secret])).unwrap(), Some("a")), "other");
    assert_eq!(set(&json!([ed(1, Some("a")), ed(2, Some("a"))])), Err(NoKeys::SameName));
    assert_eq!(set(&json!([ed(1, None), ed(2, None)])), Err(NoKeys::SameName));
    assert_eq!(set(&json!([ed(1, Some("a")), ed(1, Some("a"))])).unwrap().count(), 1);
    let many: Vec<Value> =
        (0..3000).map(|n| ed(u8::try_from(n % 251).unwrap(), Some(&n.to_string()))).collect();
    assert_eq!(set(&json!(many)).unwrap().count(), 3000);
    assert_ne!(one.fingerprint(), two.fingerprint());
    assert_eq!(one.fingerprint(), set(&json!([ed(1, Some("a"))])).unwrap().fingerprint());
    assert_ne!(one.fingerprint(), set(&json!([ed(1, None)])).unwrap().fingerprint());
}
