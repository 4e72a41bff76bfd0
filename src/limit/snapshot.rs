//! Saves all buckets to a file, so that a restart refills none.
//!
//! Only buckets in debt are written. The file has the secret under which keys are hashed, since buckets are found by that hash. A user
//! who can read the file could choose keys that share a bucket. The file ends in a checksum, so that half a file is not restored.
//!
//! ```text
//! magic and version (8) | secret (16) | time of writing: wall clock (8), clock (8) | limits (4) | each limit | CRC-32 (4)
//! limit:  name | key and calendar | overrides | tables, each of which took the place of the one before it | latest window (8)
//! table:  quota | max_clients (8) | overflow buckets | slots: (index + 1 (8), word (16))…, 0 (8)
//! ```
//!
//! The buckets that the consumers of a plan have under a limit are a limit of their own in the file.
//!
//! Numbers are little-endian; texts and lists begin with their length.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use super::key::{Fingerprint, Secret};
use super::quota::{MAX_TICKS, Quota};
use super::saved::{SavedLimit, SavedOverride, describe, name_of_plan};
use super::state::Limit;
use super::table::MAX_PREDECESSORS;
use super::table::Table;
use super::table::compact_table::CompactTable;
use super::table::predecessor::Predecessor;
use super::table::word::Word;
use crate::clock::Timestamp;

/// The first bytes of every file: a name, and the version of this format and of a table's layout.
const MAGIC: [u8; 8] = *b"gwbkts\x00\x03";

/// The same of the version before, which had no windows.
const MAGIC_WITHOUT_WINDOWS: [u8; 8] = *b"gwbkts\x00\x02";

/// The longest text in a file.
const MAX_TEXT: u32 = 1 << 16;

/// The most buckets of a limit in a file.
const MAX_CLIENTS: u64 = 1_000_000_000;

/// The buckets in a file.
pub struct Snapshot {
    pub(super) secret: Secret,
    pub(super) limits: Vec<SavedLimit>,
    /// When it was read.
    pub(super) read_at: Moment,
}

/// When a snapshot is written, or read.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Nanoseconds since 1970.
    pub wall: u64,
    /// The same moment on the gateway's clock.
    pub clock: Timestamp,
}

/// Writes the buckets of these limits. Requests may go on meanwhile.
///
/// # Errors
/// When `out` takes no more.
pub(super) fn write(limits: &[Limit], secret: &Secret, at: Moment, out: impl Write) -> io::Result<()> {
    let mut out = Checked { inner: out, sum: crc32fast::Hasher::new() };
    out.write_all(&MAGIC)?;
    out.write_all(secret.bytes())?;
    out.number(at.wall)?;
    out.number(at.clock.nanos())?;
    let in_process = limits.iter().filter(|limit| limit.leases().is_none());
    let saved: Vec<_> = in_process.flat_map(tables).collect();
    out.length(saved.len())?;
    for (limit, name, table) in saved {
        let now = limit.own_time(at.clock);
        let overrides = if name == limit.rule().name { limit.saved_overrides(now) } else { Vec::new() };
        out.text(&name)?;
        out.text(&describe(limit.rule()))?;
        out.length(overrides.len())?;
        for saved in overrides {
            out.word(saved.client.bits())?;
            out.quota(&saved.quota)?;
            out.word(saved.full_at)?;
        }
        // The oldest table first: a debt that is taken over meanwhile may be written twice, but is not left out.
        let before = std::iter::successors(table.predecessor(), |former| former.predecessor().former());
        let before: Vec<_> = before.collect();
        out.length(before.len() + 1)?;
        for former in before.iter().rev() {
            let debts = former.words_in_debt(now);
            out.table(former.quota(), former.capacity(), &former.overflow_words(), debts)?;
        }
        out.table(table.quota(), table.capacity(), &table.overflow_words(), table.words_in_debt(now))?;
        // After all that was counted in it.
        out.number(limit.latest_window())?;
    }
    let Checked { inner: mut out, sum } = out;
    out.write_all(&sum.finalize().to_le_bytes())?;
    out.flush()
}

/// The tables of a limit, each with its name in a file.
fn tables(limit: &Limit) -> impl Iterator<Item = (&Limit, String, &Table)> {
    let own = limit.table().map(|table| (limit, limit.rule().name.clone(), table));
    let of_plans = limit.tables_of_plans();
    own.into_iter()
        .chain(of_plans.map(move |(plan, table)| (limit, name_of_plan(&limit.rule().name, plan), &**table)))
}

/// Checks that a file is whole.
///
/// # Errors
/// When it is not, or cannot be read.
pub fn check(mut file: impl Read, length: u64) -> io::Result<()> {
    let Some(mut left) = length.checked_sub(4) else { return Err(broken("it is too short")) };
    let mut sum = crc32fast::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = file.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(broken("it ends too early"));
        }
        sum.update(&buffer[..read]);
        left -= read as u64;
    }
    let mut written = [0; 4];
    file.read_exact(&mut written)?;
    match u32::from_le_bytes(written) == sum.finalize() {
        true => Ok(()),
        false => Err(broken("its checksum is wrong")),
    }
}

impl Snapshot {
    /// Reads a file that has been checked. The time since it was written is that on the wall clock, or zero if that was set back.
    ///
    /// # Errors
    /// When it is of another version, or makes no sense.
    pub fn read(file: impl Read, now: Moment) -> io::Result<Self> {
        let mut file = Source(file);
        let has_windows = match file.bytes()? {
            MAGIC => true,
            MAGIC_WITHOUT_WINDOWS => false,
            _ => return Err(broken("it is no snapshot of this version")),
        };
        let secret = Secret::from_bytes(file.bytes()?);
        let (wall, clock) = (file.number()?, file.number()?);
        let away = Duration::from_nanos(now.wall.saturating_sub(wall));
        let shift = Shift { then: Timestamp::from_nanos(clock).after(away), now: now.clock };
        let limits = (0..file.length()?)
            .map(|_| read_limit(&mut file, shift, has_windows))
            .collect::<io::Result<_>>()?;
        Ok(Self { secret, limits, read_at: now })
    }
}

/// The same moment on the clock of the process that wrote the file, and on the clock of this one.
#[derive(Clone, Copy)]
struct Shift {
    then: Timestamp,
    now: Timestamp,
}

impl Shift {
    /// When a bucket will be full, on the clock of this process; zero if it is full. A later time than [`MAX_TICKS`] is that, as in a
    /// table.
    fn full_at(self, full_at: u128, quota: &Quota) -> u128 {
        if quota.is_by_window() {
            // Windows have the same numbers in both processes.
            return full_at.min(MAX_TICKS);
        }
        match full_at.saturating_sub(quota.ticks_at(self.then)) {
            0 => 0,
            missing => quota.ticks_at(self.now).saturating_add(missing).min(MAX_TICKS),
        }
    }
}

fn read_limit(file: &mut Source<impl Read>, shift: Shift, has_windows: bool) -> io::Result<SavedLimit> {
    let (name, what) = (file.text()?, file.text()?);
    let mut overrides = Vec::new();
    for _ in 0..file.length()? {
        let (client, quota) = (Fingerprint::from_bits(file.word()?), file.quota()?);
        overrides.push(SavedOverride { client, quota, full_at: shift.full_at(file.word()?, &quota) });
    }
    let mut table = None;
    for _ in 0..file.length()? {
        table = Some(read_table(file, shift, table)?);
    }
    let table = table.ok_or_else(|| broken("a limit has no table"))?;
    let window = if has_windows { file.number()? } else { 0 };
    Ok(SavedLimit { name, what, window, table, overrides })
}

/// Reads a table. It takes memory for the debts in the file, not for the size that the file names: the table may come from a machine
/// with more memory.
fn read_table(
    file: &mut Source<impl Read>,
    shift: Shift,
    before: Option<Arc<CompactTable>>,
) -> io::Result<Arc<CompactTable>> {
    let quota = file.quota()?;
    let max_clients = file.number()?;
    if max_clients > MAX_CLIENTS {
        return Err(broken("a number is too large"));
    }
    let max_clients = usize::try_from(max_clients).unwrap_or(usize::MAX);
    let overflow = file.length()?;
    let overflow: Vec<_> =
        (0..overflow).map(|_| Ok(shift.full_at(file.word()?, &quota))).collect::<io::Result<_>>()?;
    let mut debts = Vec::new();
    while let Some(index) = file.number()?.checked_sub(1) {
        let word = Word::from_bits(file.word()?).with_full_at(|full_at| shift.full_at(full_at, &quota));
        if word != Word::FREE {
            debts.push((usize::try_from(index).unwrap_or(usize::MAX), word.bits()));
        }
    }
    let before = before.map(Predecessor::of).unwrap_or_default();
    if before.depth() > MAX_PREDECESSORS {
        return Err(broken("it has too many tables in a row"));
    }
    let compact = CompactTable::new(quota, max_clients, debts, &overflow, before);
    compact.ok_or_else(|| broken("it has another layout"))
}

fn broken(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Writes, and makes a checksum of what is written.
struct Checked<W> {
    inner: W,
    sum: crc32fast::Hasher,
}

impl<W: Write> Checked<W> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.inner.write_all(bytes)
    }

    fn number(&mut self, number: u64) -> io::Result<()> {
        self.write_all(&number.to_le_bytes())
    }

    fn word(&mut self, word: u128) -> io::Result<()> {
        self.write_all(&word.to_le_bytes())
    }

    fn length(&mut self, length: usize) -> io::Result<()> {
        let length = u32::try_from(length).map_err(|_| broken("a list is too long"))?;
        self.write_all(&length.to_le_bytes())
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        self.length(text.len())?;
        self.write_all(text.as_bytes())
    }

    fn table(
        &mut self,
        quota: &Quota,
        capacity: usize,
        overflow: &[u128],
        debts: impl Iterator<Item = (usize, u128)>,
    ) -> io::Result<()> {
        self.quota(quota)?;
        self.number(capacity as u64)?;
        self.length(overflow.len())?;
        overflow.iter().try_for_each(|word| self.word(*word))?;
        for (index, word) in debts {
            self.number(index as u64 + 1)?;
            self.word(word)?;
        }
        self.number(0)
    }

    fn quota(&mut self, quota: &Quota) -> io::Result<()> {
        let (burst, ticks_per_nano, ticks_per_token) = quota.parts();
        self.number(burst.into())?;
        self.number(ticks_per_nano.into())?;
        self.number(ticks_per_token)
    }
}

/// Reads what [`Checked`] wrote.
struct Source<R>(R);

impl<R: Read> Source<R> {
    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn number(&mut self) -> io::Result<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn word(&mut self) -> io::Result<u128> {
        self.bytes().map(u128::from_le_bytes)
    }

    fn length(&mut self) -> io::Result<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn text(&mut self) -> io::Result<String> {
        let length = self.length()?;
        if length > MAX_TEXT {
            return Err(broken("a text is too long"));
        }
        let mut text = String::new();
        (&mut self.0).take(length.into()).read_to_string(&mut text)?;
        Ok(text)
    }

    fn quota(&mut self) -> io::Result<Quota> {
        let parts = (self.number()?, self.number()?, self.number()?);
        Quota::from_parts(parts).ok_or_else(|| broken("it has a quota that cannot be"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::client_state::ClientState;
    use crate::limit::key::{Key, KeyPart, MissingKey};
    use crate::limit::table::predecessor::Former as _;
    use crate::limit::{Limiter, Override, Rule, Terms};
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn moment(seconds: u64) -> Moment {
        Moment {
            wall: (1_000_000 + seconds) * 1_000_000_000,
            clock: Timestamp::from_nanos(seconds * 1_000_000_000),
        }
    }

    fn rules(burst: u64, max_clients: usize) -> Vec<Rule> {
        let key = Key { parts: vec![KeyPart::ClientIp], missing: MissingKey::ClientIp, ipv6_prefix: 64 };
        let quota = Quota::new(1, SECOND, burst).unwrap();
        let terms = Terms::Rate(Quota::new(1, SECOND, 50).unwrap());
        let overrides = vec![Override { value: "203.0.113.1".into(), terms }];
        vec![Rule { overrides, ..Rule::new("l".into(), quota, key, max_clients) }]
    }

    fn address(id: u32) -> String {
        std::net::Ipv4Addr::from(id).to_string()
    }

    /// What a client may have, and takes `cost` of it without asking.
    fn left(limiter: &Limiter, address: &str, at: Moment, cost: u32) -> u32 {
        let limit = &limiter.limits()[0];
        let client = limit.rule().key.fingerprint_of(&[address], limiter.secret()).unwrap();
        let Some(ClientState::Bucket(home)) = limit.client_state(client, None) else {
            panic!("the limit has buckets")
        };
        home.owe(client, cost, at.clock, None);
        limit.remaining(client, None, at.clock).unwrap().left()
    }

    fn saved(limiter: &Limiter, at: Moment) -> Vec<u8> {
        let mut file = Vec::new();
        limiter.save(at, &mut file).unwrap();
        file
    }

    fn restored(file: &[u8], rules: Vec<Rule>, now: Moment) -> io::Result<Limiter> {
        check(file, file.len() as u64)?;
        Ok(Limiter::restored(rules, Snapshot::read(file, now)?, now.clock))
    }

    #[test]
    fn every_debt_survives_and_goes_on_being_paid() {
        let limiter = Limiter::new(rules(100, 500), Secret::random());
        for id in 0..400 {
            left(&limiter, &address(id), moment(50), id % 100);
        }
        left(&limiter, "203.0.113.1", moment(50), 30);
        let file = saved(&limiter, moment(50));
        // It is written five seconds of the wall clock before it is read, by a process whose clock begins anew.
        let now = Moment { wall: moment(55).wall, clock: Timestamp::from_nanos(7) };
        let again = restored(&file, rules(100, 500), now).unwrap();
        for id in 0..400 {
            assert_eq!(left(&again, &address(id), now, 0), (100 - id % 100 + 5).min(100), "client {id}");
        }
        assert_eq!(left(&again, "203.0.113.1", now, 0), 25);
        // With another burst and another number of buckets, each has its share.
        let other = restored(&file, rules(10, 5000), now).unwrap();
        assert_eq!(left(&other, &address(50), now, 0), 5);
        assert_eq!(left(&other, &address(99), now, 0), 0);
    }

    #[test]
    fn debts_that_have_not_come_over_after_a_reload_survive_too() {
        let mut limiter = Limiter::new(rules(100, 500), Secret::random());
        left(&limiter, "192.0.2.1", moment(50), 50);
        for (burst, id) in [(200, 2), (400, 3)] {
            limiter = limiter.succeeded_by(rules(burst, 500), moment(50).clock);
            left(&limiter, &format!("192.0.2.{id}"), moment(50), 100);
        }
        let again = restored(&saved(&limiter, moment(50)), rules(400, 500), moment(50)).unwrap();
        let remaining = [1, 2, 3, 4].map(|id| left(&again, &format!("192.0.2.{id}"), moment(50), 0));
        assert_eq!(remaining, [200, 200, 300, 400]);
    }

    #[test]
    fn a_clock_that_was_set_back_gives_nothing() {
        let limiter = Limiter::new(rules(100, 500), Secret::random());
        left(&limiter, "192.0.2.1", moment(50), 60);
        let now = Moment { wall: 5, clock: Timestamp::from_nanos(0) };
        let again = restored(&saved(&limiter, moment(50)), rules(100, 500), now).unwrap();
        assert_eq!(left(&again, "192.0.2.1", now, 0), 40);
    }

    /// For how many clients, the overflow buckets, and the slots in debt.
    type WrittenTable = (u64, Vec<u128>, Vec<(usize, u128)>);

    /// A file of one limit whose key is that of `rules`, with this override and these tables.
    fn written(bucket: Option<(Fingerprint, u128)>, tables: &[WrittenTable]) -> Vec<u8> {
        let (rule, quota) = (rules(100, 500).remove(0), Quota::new(1, SECOND, 50).unwrap());
        let mut out = Checked { inner: Vec::new(), sum: crc32fast::Hasher::new() };
        out.write_all(&MAGIC).unwrap();
        out.write_all(&[7; 16]).unwrap();
        out.number(moment(50).wall).unwrap();
        out.number(moment(50).clock.nanos()).unwrap();
        out.length(1).unwrap();
        out.text(&rule.name).unwrap();
        out.text(&describe(&rule)).unwrap();
        out.length(bucket.iter().len()).unwrap();
        if let Some((client, full_at)) = bucket {
            out.word(client.bits()).unwrap();
            out.quota(&quota).unwrap();
            out.word(full_at).unwrap();
        }
        out.length(tables.len()).unwrap();
        for (max_clients, overflow, debts) in tables {
            let max_clients = usize::try_from(*max_clients).unwrap();
            out.table(&quota, max_clients, overflow, debts.iter().copied()).unwrap();
        }
        out.number(0).unwrap();
        let Checked { inner: mut out, sum } = out;
        out.extend(sum.finalize().to_le_bytes());
        out
    }

    #[test]
    fn a_file_of_a_larger_machine_takes_what_it_has_debts() {
        // Its table was 1.5 GB.
        let (max_clients, overflow) = (50_000_000, 185_546);
        let file =
            written(None, &[(max_clients, vec![0; overflow], vec![(90_000_000, 7 << 80 | 60_000_000_000)])]);
        let saved = Snapshot::read(&*file, moment(50)).unwrap();
        assert_eq!(saved.limits[0].table.room(), 1);
        let again = restored(&file, rules(100, 500), moment(50)).unwrap();
        assert_eq!(again.limits()[0].clients(moment(50).clock), 1);
        assert_eq!(again.limits()[0].table().unwrap().capacity(), 500);
    }

    #[test]
    fn what_no_gateway_has_written_is_refused() {
        let debt = |slot| (slot, 7 << 80 | 60_000_000_000_u128);
        let read = |tables: &[_]| Snapshot::read(&*written(None, tables), moment(50)).map(drop);
        assert!(read(&[(500, vec![0], vec![debt(1), debt(2)])]).is_ok());
        for wrong in [
            vec![(500, vec![0], vec![debt(2), debt(1)])],
            vec![(500, vec![0], vec![debt(1), debt(1)])],
            vec![(500, vec![0], vec![debt(1_000_000)])],
            vec![(500, vec![0; 2], vec![])],
            vec![(u64::MAX, vec![0], vec![])],
            vec![],
            vec![(500, vec![0], vec![]); MAX_PREDECESSORS + 2],
        ] {
            assert!(read(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_debt_beyond_all_measure_is_the_most_that_is_owed() {
        let key = &rules(100, 500)[0].key;
        let client = key.fingerprint_of(&["203.0.113.1"], &Secret::from_bytes([7; 16])).unwrap();
        let file = written(Some((client, u128::MAX)), &[(500, vec![u128::MAX], vec![(3, u128::MAX)])]);
        // Its clock was ahead of ours, and ours may be anywhere.
        for now in [moment(0), moment(50), Moment { wall: u64::MAX, clock: Timestamp::from_nanos(u64::MAX) }]
        {
            let again = restored(&file, rules(100, 500), now).unwrap();
            assert_eq!(left(&again, "203.0.113.1", now, 0), 0);
            assert_eq!(left(&again, "203.0.113.1", now, u32::MAX), 0);
            assert_eq!(left(&again, "192.0.2.1", now, 1), 99);
        }
    }

    #[test]
    fn buckets_of_another_key_or_name_are_nobodys() {
        let limiter = Limiter::new(rules(100, 500), Secret::random());
        left(&limiter, "192.0.2.1", moment(50), 60);
        let file = saved(&limiter, moment(50));
        let mut renamed = rules(100, 500);
        renamed[0].name = "m".into();
        let mut rekeyed = rules(100, 500);
        rekeyed[0].key.ipv6_prefix = 48;
        for rules in [renamed, rekeyed] {
            let again = restored(&file, rules, moment(50)).unwrap();
            assert_eq!(left(&again, "192.0.2.1", moment(50), 0), 100);
        }
    }

    proptest! {
        #[test]
        fn a_damaged_file_is_refused(at in any::<prop::sample::Index>(), bits in 1..=255_u8, cut in any::<bool>()) {
            let limiter = Limiter::new(rules(100, 50), Secret::random());
            for id in 0..40 {
                left(&limiter, &address(id), moment(50), 3);
            }
            let mut file = saved(&limiter, moment(50));
            let at = at.index(file.len());
            if cut { file.truncate(at) } else { file[at] ^= bits };
            prop_assert!(restored(&file, rules(100, 50), moment(50)).is_err());
        }

        #[test]
        fn nothing_that_passes_for_a_file_makes_it_panic(mut body in prop::collection::vec(any::<u8>(), 0..400)) {
            body.splice(0..0, MAGIC);
            let _ = Snapshot::read(&*body, moment(1));
        }
    }
}
