//! Which upstream the requests of a route go to.

use crate::limit::key::Key;
use crate::route::{Share, Shares};

/// Which upstream the requests of a route go to.
#[derive(Clone, Debug)]
pub enum Destination {
    /// This one: an index into [`Config::upstreams`](super::Config::upstreams).
    One(usize),
    /// Each of several gets its share.
    Split(Box<Split>),
}

/// The shares of several upstreams in the requests of a route.
#[derive(Clone, Debug)]
pub struct Split {
    /// The shares of the upstreams, which are indices into [`Config::upstreams`](super::Config::upstreams).
    pub shares: Shares,
    /// The key whose value decides; `None` draws at random for each request. A request without the value, or with several, goes by its client's
    /// address: the key itself has no fingerprint then.
    pub by: Option<Key>,
}

impl Destination {
    /// The upstreams that it names, those without a share included.
    pub fn upstreams(&self) -> impl Iterator<Item = usize> {
        let (one, shares) = self.parts();
        one.into_iter().chain(shares.iter().map(|share| share.target))
    }

    /// The upstreams that get requests.
    pub fn used(&self) -> impl Iterator<Item = usize> {
        let (one, shares) = self.parts();
        let used = shares.iter().filter(|share| share.weight > 0).map(|share| share.target);
        one.into_iter().chain(used)
    }

    /// The split, if it is one.
    pub fn split(&self) -> Option<&Split> {
        match self {
            Self::One(_) => None,
            Self::Split(split) => Some(split),
        }
    }

    fn parts(&self) -> (Option<usize>, &[Share]) {
        match self {
            Self::One(upstream) => (Some(*upstream), &[]),
            Self::Split(split) => (None, split.shares.all()),
        }
    }
}
