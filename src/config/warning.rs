//! Warnings: what is legal in a configuration and probably not meant. Nothing is refused for them.

use std::fmt;
use std::str::FromStr;

use super::problem::{Place, Span};

/// A kind of warning. Its name is public: command lines have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lint {
    /// No route uses a limit.
    UnusedLimit,
    /// No route uses an upstream.
    UnusedUpstream,
    /// No consumer has a plan.
    UnusedPlan,
    /// A limit by consumer is on a route that asks nobody who it is.
    UnaskedConsumer,
    /// A route has no limit, while others have some.
    UnlimitedRoute,
    /// A route has a limit that counts none of its methods.
    UncountedRoute,
    /// A limit by what clients make up has no limit by address beside it.
    UnguardedKey,
    /// All who lack the key of a limit share a bucket.
    SharedMissingKey,
    /// A burst is smaller than what comes back in a second.
    SmallBurst,
    /// A restart counts a quota of a day or longer anew.
    ForgottenQuota,
    /// An override has the terms of its limit.
    RedundantOverride,
    /// A limit exempts everyone.
    ExemptEveryone,
    /// A limit tells the addresses of one client apart.
    LongIpv6Prefix,
    /// Everyone is trusted to say who the client is.
    TrustedEveryone,
    /// The side port is open to the world.
    OpenSidePort,
    /// A route gives up before a connection may have failed.
    ShortTimeout,
    /// A route redirects to itself.
    RedirectLoop,
    /// Nobody verifies who the servers of an upstream are.
    UnverifiedUpstream,
    /// No limit is kept in the store.
    UnusedStore,
    /// The store asks for no password, and is not on this machine.
    OpenStore,
    /// A lease is larger than what gateways may hold.
    LargeLease,
    /// Keys of tokens come from another machine without TLS.
    OpenKeys,
    /// Callers come in when nobody says who they are.
    LetInOnError,
    /// Anybody may write to a file.
    WritableFile,
    /// Anybody may replace a file.
    ReplaceableFile,
    /// Anybody may read a private key.
    ReadableKey,
    /// Anybody may read a secret, or hashes of passwords.
    ReadableSecret,
    /// Passwords may be guessed as often as one likes.
    UnlimitedGuesses,
    /// Two upstreams set cookies of one name.
    SameCookie,
}

impl Lint {
    /// All of them.
    pub const ALL: [Self; 29] = [
        Self::UnusedLimit,
        Self::UnusedUpstream,
        Self::UnusedPlan,
        Self::UnaskedConsumer,
        Self::UnlimitedRoute,
        Self::UncountedRoute,
        Self::UnguardedKey,
        Self::SharedMissingKey,
        Self::SmallBurst,
        Self::ForgottenQuota,
        Self::RedundantOverride,
        Self::ExemptEveryone,
        Self::LongIpv6Prefix,
        Self::TrustedEveryone,
        Self::OpenSidePort,
        Self::ShortTimeout,
        Self::RedirectLoop,
        Self::UnverifiedUpstream,
        Self::UnusedStore,
        Self::OpenStore,
        Self::LargeLease,
        Self::OpenKeys,
        Self::LetInOnError,
        Self::WritableFile,
        Self::ReplaceableFile,
        Self::ReadableKey,
        Self::ReadableSecret,
        Self::UnlimitedGuesses,
        Self::SameCookie,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnusedLimit => "unused-limit",
            Self::UnusedUpstream => "unused-upstream",
            Self::UnusedPlan => "unused-plan",
            Self::UnaskedConsumer => "unasked-consumer",
            Self::UnlimitedRoute => "unlimited-route",
            Self::UncountedRoute => "uncounted-route",
            Self::UnguardedKey => "unguarded-key",
            Self::SharedMissingKey => "shared-missing-key",
            Self::SmallBurst => "small-burst",
            Self::ForgottenQuota => "forgotten-quota",
            Self::RedundantOverride => "redundant-override",
            Self::ExemptEveryone => "exempt-everyone",
            Self::LongIpv6Prefix => "long-ipv6-prefix",
            Self::TrustedEveryone => "trusted-everyone",
            Self::OpenSidePort => "open-side-port",
            Self::ShortTimeout => "short-timeout",
            Self::RedirectLoop => "redirect-loop",
            Self::UnverifiedUpstream => "unverified-upstream",
            Self::UnusedStore => "unused-store",
            Self::OpenStore => "open-store",
            Self::LargeLease => "large-lease",
            Self::OpenKeys => "open-keys",
            Self::LetInOnError => "let-in-on-error",
            Self::WritableFile => "writable-file",
            Self::ReplaceableFile => "replaceable-file",
            Self::ReadableKey => "readable-key",
            Self::ReadableSecret => "readable-secret",
            Self::UnlimitedGuesses => "unlimited-guesses",
            Self::SameCookie => "same-cookie",
        }
    }
}

impl FromStr for Lint {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|lint| lint.name() == name).ok_or(())
    }
}

/// A warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Its kind.
    pub lint: Lint,
    /// The file that it is about.
    pub file: String,
    /// Its place in that file, in bytes and in lines; `None` if it is about a file as a whole.
    pub place: Option<(Span, Place)>,
    /// What is probably not meant, and what to do.
    pub message: String,
}

impl Warning {
    /// Where it is: `gateway.toml:3:1`.
    pub fn location(&self) -> String {
        match &self.place {
            Some((_, place)) => format!("{}:{}", self.file, place.start),
            None => self.file.clone(),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} [{}]", self.location(), self.message, self.lint.name())
    }
}
