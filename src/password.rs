//! Passwords, as files of `htpasswd` keep them: as hashes by bcrypt or Argon2 (RFC 9106), which take so long on purpose that guessing them
//! takes years.
//!
//! Only a hash that is made in at most about a second, in at most 64 MiB, is taken: whoever asks has it made.

use std::collections::HashMap;
use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::alphabet::BCRYPT;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD_NO_PAD};
use subtle::ConstantTimeEq as _;

/// What bcrypt reads of a password, in bytes.
const BCRYPT_READS: usize = 72;

/// The costs of bcrypt. Each is twice the work of the one before; the highest takes about a second.
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=14;

/// The most memory that Argon2 may take, in KiB.
const MAX_MEMORY: u32 = 64 * 1024;

/// The most memory that Argon2 may go through in all its passes, in KiB: about a second's work.
const MAX_WORK: u64 = 8 * MAX_MEMORY as u64;

/// The most bytes of a salt, and of a hash.
const MAX_BYTES: usize = 64;

/// The base64 of bcrypt. The bits that the last digit of a salt has too many may be set, as some programs set them.
const BCRYPT_BASE64: GeneralPurpose =
    GeneralPurpose::new(&BCRYPT, NO_PAD.with_decode_allow_trailing_bits(true));

/// A password, as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    /// As it was written, for the keys of caches.
    text: String,
    parts: Parts,
}

#[derive(Clone, PartialEq, Eq)]
enum Parts {
    Bcrypt { cost: u32, salt: [u8; 16], hash: [u8; 23] },
    Argon2 { algorithm: Algorithm, version: Version, params: Params, salt: Vec<u8>, hash: Vec<u8> },
}

/// Why a text cannot be used as the hash of a password. Nothing of the hash is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub remedy: &'static str,
}

/// There is no memory for a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

/// Users with their passwords.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Users {
    hashes: Vec<PasswordHash>,
    by_name: HashMap<String, usize>,
}

const REMEDY: &str = "make it anew: `htpasswd -B FILE USER`";

impl PasswordHash {
    /// Reads the hash of a password: of bcrypt, `$2y$…`, `$2a$…` or `$2b$…`, or of Argon2, `$argon2id$…`, `$argon2i$…` or `$argon2d$…`.
    ///
    /// # Errors
    /// When it is something else, or takes too much time or memory to make.
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        let parts = match text.split('$').nth(1) {
            Some("2y" | "2a" | "2b") if text.starts_with('$') => bcrypt(text)?,
            Some("argon2id" | "argon2i" | "argon2d") if text.starts_with('$') => argon2(text)?,
            _ => {
                let what = format!("{} is not taken, only bcrypt and Argon2", kind(text));
                return Err(Unusable { what, remedy: REMEDY });
            }
        };
        Ok(Self { text: text.to_owned(), parts })
    }

    /// The hash, as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether this may be the password: bcrypt reads no more than 72 bytes, and other programs end at a zero byte.
    pub fn takes(&self, password: &[u8]) -> bool {
        match self.parts {
            Parts::Bcrypt { .. } => password.len() <= BCRYPT_READS && !password.contains(&0),
            Parts::Argon2 { .. } => true,
        }
    }

    /// Whether this is the password. It takes long.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn verifies(&self, password: &[u8]) -> Result<bool, NoMemory> {
        if !self.takes(password) {
            return Ok(false);
        }
        match &self.parts {
            Parts::Bcrypt { cost, salt, hash } => {
                // A password ends with a zero byte, if there is room for it.
                let mut key = [0; BCRYPT_READS];
                key[..password.len()].copy_from_slice(password);
                let made = bcrypt::bcrypt(*cost, *salt, &key[..BCRYPT_READS.min(password.len() + 1)]);
                Ok(made[..hash.len()].ct_eq(hash).into())
            }
            Parts::Argon2 { algorithm, version, params, salt, hash } => {
                let mut made = vec![0; hash.len()];
                let argon2 = Argon2::new(*algorithm, *version, params.clone());
                match argon2.hash_password_into(password, salt, &mut made) {
                    Ok(()) => Ok(made.ct_eq(hash).into()),
                    // All else was checked when it was read.
                    Err(_) => Err(NoMemory),
                }
            }
        }
    }
}

impl fmt::Debug for PasswordHash {
    /// Nothing of it: a password that is a word is found by trying words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(***)")
    }
}

impl Users {
    /// Adds a user. Returns whether the name was free.
    pub fn add(&mut self, name: &str, hash: PasswordHash) -> bool {
        if self.by_name.contains_key(name) {
            return false;
        }
        self.by_name.insert(name.to_owned(), self.hashes.len());
        self.hashes.push(hash);
        true
    }

    /// The hash of this user's password.
    pub fn named(&self, name: &str) -> Option<&PasswordHash> {
        self.by_name.get(name).map(|&index| &self.hashes[index])
    }

    /// The hash of some user's password, always the same for the same number; `None` without users.
    pub fn some(&self, number: u64) -> Option<&PasswordHash> {
        let count = u64::try_from(self.hashes.len()).unwrap_or(u64::MAX);
        let index = number.checked_rem(count)?;
        self.hashes.get(usize::try_from(index).ok()?)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}

impl fmt::Debug for Users {
    /// How many there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.len())
    }
}

/// What a text is that stands in the place of a hash.
fn kind(text: &str) -> &'static str {
    match text {
        _ if text.starts_with("$apr1$") || text.starts_with("$1$") => "MD5",
        _ if text.starts_with("{SHA}") || text.starts_with("{SSHA}") => "SHA-1",
        _ if text.starts_with("$5$") || text.starts_with("$6$") => "SHA-2 of crypt",
        _ if text.starts_with("$2") => "another variant of bcrypt than $2y$, $2a$ and $2b$",
        _ if text.starts_with('$') => "this kind of hash",
        _ => "a password in the clear, or a hash of crypt,",
    }
}

/// `$2y$05$`, then 22 digits of the salt and 31 of the hash.
fn bcrypt(text: &str) -> Result<Parts, Unusable> {
    let damaged = || Unusable { what: "this hash of bcrypt is damaged".to_owned(), remedy: REMEDY };
    let [_, _, cost, digits] = fields(text).ok_or_else(damaged)?;
    let cost = whole(cost).ok_or_else(damaged)?;
    if !BCRYPT_COSTS.contains(&cost) {
        let what = format!(
            "bcrypt with a cost of {cost} is not taken, only from {} to {}",
            BCRYPT_COSTS.start(),
            BCRYPT_COSTS.end()
        );
        return Err(Unusable { what, remedy: "make it anew: `htpasswd -B -C 10 FILE USER`" });
    }
    let (salt, hash) = digits.split_at_checked(22).filter(|_| text.len() == 60).ok_or_else(damaged)?;
    let mut parts = ([0; 16], [0; 23]);
    let read =
        [BCRYPT_BASE64.decode_slice(salt, &mut parts.0), BCRYPT_BASE64.decode_slice(hash, &mut parts.1)];
    match read {
        [Ok(16), Ok(23)] => Ok(Parts::Bcrypt { cost, salt: parts.0, hash: parts.1 }),
        _ => Err(damaged()),
    }
}

/// `$argon2id$v=19$m=65536,t=3,p=4$`, then the salt and the hash in base64. Without a version it is 16.
fn argon2(text: &str) -> Result<Parts, Unusable> {
    let damaged = || Unusable { what: "this hash of Argon2 is damaged".to_owned(), remedy: REMEDY };
    let (version, [_, algorithm, numbers, salt, hash]) = match fields(text) {
        Some([before, algorithm, version, numbers, salt, hash]) => {
            let version = version.strip_prefix("v=").and_then(whole);
            (version.ok_or_else(damaged)?, [before, algorithm, numbers, salt, hash])
        }
        None => (0x10, fields(text).ok_or_else(damaged)?),
    };
    let mut numbers = numbers.split(',');
    let mut number = |name: &str| {
        let value = numbers.next().and_then(|number| whole(number.strip_prefix(name)?));
        value.ok_or_else(damaged)
    };
    let (memory, passes, lanes) = (number("m=")?, number("t=")?, number("p=")?);
    if numbers.next().is_some() {
        return Err(damaged());
    }
    if memory > MAX_MEMORY || u64::from(memory) * u64::from(passes) > MAX_WORK {
        let what = format!(
            "Argon2 with m={memory},t={passes} takes too much: m is at most {MAX_MEMORY}, and m times t at most {MAX_WORK}"
        );
        return Err(Unusable { what, remedy: "make it anew, such as with m=19456,t=2,p=1" });
    }
    let bytes = |digits: &str, least: usize| {
        let bytes = STANDARD_NO_PAD.decode(digits).map_err(|_| damaged())?;
        if (least..=MAX_BYTES).contains(&bytes.len()) { Ok(bytes) } else { Err(damaged()) }
    };
    let (salt, hash) = (bytes(salt, argon2::MIN_SALT_LEN)?, bytes(hash, Params::MIN_OUTPUT_LEN)?);
    Ok(Parts::Argon2 {
        algorithm: Algorithm::new(algorithm).map_err(|_| damaged())?,
        version: Version::try_from(version).map_err(|_| damaged())?,
        params: Params::new(memory, passes, lanes, Some(hash.len())).map_err(|_| damaged())?,
        salt,
        hash,
    })
}

/// A whole number, without a sign.
fn whole(digits: &str) -> Option<u32> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// A text cut at each `$`, if it has so many parts.
fn fields<const N: usize>(text: &str) -> Option<[&str; N]> {
    let mut parts = text.split('$');
    let mut fields = [""; N];
    for field in &mut fields {
        *field = parts.next()?;
    }
    parts.next().is_none().then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes that other programs have made: `htpasswd -nbB -C 5` of apache2-utils 2.4.71, `bcrypt.hashpw` of Python's bcrypt 5.0.0, and
    /// `argon2.PasswordHasher` of argon2-cffi 25.1.0, which uses the reference implementation.
    const MADE: &[(&str, &str)] = &[
        ("open sesame", "$2y$05$9lOzT9zSJ/znvyxPLf0w2OcnFWj4O9xd/ruOXYsyIQB/vxCT16/Uy"),
        ("p:ä\"\\", "$2y$05$JUl.3Ya/RAFRh7Lg7qk9ze5XxiOcpjec02kuwPEJRTZzrBJPMYosO"),
        ("hunter2", "$2b$04$5K5Ej8vybqQ88cufPwEZKeVE5mqaT0PUsOdq.WxDMVRg.xl8PhCvm"),
        ("hunter2", "$2a$04$7rvq3IvkSXmyB4C0bHEPwuBOjA7xFR520hKqJI5gBWMKnoHo2596a"),
        ("", "$2b$04$vTBjt7YoS3QVjgCYaonajukOQ/V84D4YBYjh2SOkJbcpaHXysqlEq"),
        (
            "hunter2",
            "$argon2id$v=19$m=1024,t=2,p=2$1CiL3oNXXUVoneorvRTkKQ$3UVNZs1dgDq8oi3ZJs1aI6iT8XjXT/XKjTmn6GzsoYY",
        ),
        ("hunter2", "$argon2i$v=19$m=64,t=3,p=1$qDjOFSZhZhM$xwxKUsdqx7SSjbDnIuQFZsfs17OzMlPp"),
        (
            "hunter2",
            "$argon2d$v=19$m=64,t=1,p=1$lGeiB36D1ZcyxzFKn06USw$YuOveYXV//7xjEja3RkELJbAQeyBNhncWWU/NtGdOAg",
        ),
        (
            "hunter2",
            "$argon2id$v=16$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$F5QLcYEc8cL4WejvANmjqcyht7/jaTj62zJY17k5uU8",
        ),
        (
            "hunter2",
            "$argon2id$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$F5QLcYEc8cL4WejvANmjqcyht7/jaTj62zJY17k5uU8",
        ),
        // The defaults of argon2-cffi.
        (
            "open sesame",
            "$argon2id$v=19$m=65536,t=3,p=4$nWzuQ1mhtJ8k3T5TxjTgAg$eGEHpTBKDFF+/9OAY+TqfofmwGg/Su/L4IqkGPF9n+4",
        ),
    ];

    #[test]
    fn hashes_of_other_programs_are_verified() {
        for (password, text) in MADE {
            let hash = PasswordHash::parse(text).unwrap_or_else(|why| panic!("{text}: {why:?}"));
            assert_eq!(hash.verifies(password.as_bytes()), Ok(true), "{text}");
            assert_eq!(hash.verifies(format!("{password}x").as_bytes()), Ok(false), "{text}");
            assert_eq!(format!("{hash:?}"), "PasswordHash(***)");
        }
    }

    #[test]
    fn bcrypt_does_not_let_in_by_the_first_part_of_a_long_password() {
        let hash =
            PasswordHash::parse("$2b$04$F5XaYnl92xstmFpw3A./WuRtb0McKe4BwfdgSGi/WxH9aVvgZfNgO").unwrap();
        for (length, right) in [(71, false), (72, true), (73, false), (100, false)] {
            assert_eq!(hash.verifies(&vec![b'x'; length]), Ok(right), "{length}");
        }
        let empty =
            PasswordHash::parse("$2b$04$vTBjt7YoS3QVjgCYaonajukOQ/V84D4YBYjh2SOkJbcpaHXysqlEq").unwrap();
        assert_eq!(empty.verifies(b"\0"), Ok(false));
    }

    #[test]
    fn what_is_no_hash_or_takes_too_long_is_refused() {
        let salted = "$1CiL3oNXXUVoneorvRTkKQ$3UVNZs1dgDq8oi3ZJs1aI6iT8XjXT/XKjTmn6GzsoYY";
        let argon2 = |numbers: &str| format!("$argon2id$v=19${numbers}{salted}");
        let bcrypt = MADE[0].1;
        for (text, told) in [
            ("$apr1$HRD2WQi6$QR6iQWC.Gg84bim5Y9Dto.".to_owned(), "MD5 is not taken"),
            ("{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=".to_owned(), "SHA-1 is not taken"),
            (
                "$5$18f6GJZAj34Yqs.C$Ljo12GQfP5qUxzpygD5IIgHU.vJJ8bUl92nPmdbKYnA".to_owned(),
                "SHA-2 of crypt is not",
            ),
            ("BIGr0J/6hwXw.".to_owned(), "in the clear, or a hash of crypt"),
            (String::new(), "in the clear"),
            ("x$2y$".to_owned(), "in the clear"),
            ("$scrypt$".to_owned(), "this kind of hash is not taken"),
            (bcrypt.replace("$2y", "$2x"), "another variant of bcrypt"),
            (bcrypt.replace("$05$", "$15$"), "a cost of 15 is not taken, only from 4 to 14"),
            (bcrypt.replace("$05$", "$03$"), "a cost of 3"),
            (bcrypt.replace("$05$", "$5$"), "bcrypt is damaged"),
            (bcrypt.replace("$05$", "$+5$"), "bcrypt is damaged"),
            (bcrypt[..59].to_owned(), "bcrypt is damaged"),
            (format!("{bcrypt}x"), "bcrypt is damaged"),
            (bcrypt.replace("cnFW", "c!FW"), "bcrypt is damaged"),
            (bcrypt.replace("Ocn", "öc"), "bcrypt is damaged"),
            (argon2("m=65537,t=1,p=1"), "takes too much"),
            (argon2("m=65536,t=9,p=1"), "takes too much"),
            (argon2("m=8,t=4294967295,p=1"), "takes too much"),
            (argon2("m=7,t=1,p=1"), "Argon2 is damaged"),
            (argon2("m=64,t=1,p=9"), "Argon2 is damaged"),
            (argon2("m=64,t=1,p=4294967295"), "Argon2 is damaged"),
            (argon2("m=64,t=0,p=1"), "Argon2 is damaged"),
            (argon2("m=64,t=1,p=1,data=eA"), "Argon2 is damaged"),
            (argon2("t=1,m=64,p=1"), "Argon2 is damaged"),
            ("$argon2id$v=18$m=64,t=1,p=1".to_owned() + salted, "Argon2 is damaged"),
            ("$argon2id$v=19$m=64,t=1,p=1$c2hvcnQ$3UVNZs1dgDq8oi3Z".to_owned(), "Argon2 is damaged"),
            ("$argon2id$v=19$m=64,t=1,p=1".to_owned(), "Argon2 is damaged"),
        ] {
            let why = PasswordHash::parse(&text).map(|_| ()).unwrap_err();
            assert!(why.what.contains(told), "{text}: {why:?}");
        }
    }

    #[test]
    fn users_have_a_name_each() {
        let hash = |index: usize| PasswordHash::parse(MADE[index].1).unwrap();
        let mut users = Users::default();
        assert_eq!((users.some(7), users.is_empty()), (None, true));
        assert!(users.add("a", hash(0)) && users.add("b", hash(1)) && !users.add("a", hash(2)));
        assert_eq!((users.named("a"), users.named("c"), users.len()), (Some(&hash(0)), None, 2));
        assert_eq!((users.some(2), users.some(u64::MAX)), (Some(&hash(0)), Some(&hash(1))));
    }
}
