//! What processes use, from `/proc` (Linux).

use std::fmt;
use std::fs;
use std::ops::Sub;

/// Clock ticks a second in `/proc`: `USER_HZ`, which is 100 on every architecture that Linux shows it to.
const TICKS_PER_SECOND: f64 = 100.0;
/// Microseconds in a second.
pub(crate) const MICROS: f64 = 1_000_000.0;

/// CPU seconds, by who used them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) openorder: f64,
    /// OpenOrder's processes that are told apart from the others; none but where all roles are measured.
    pub(crate) beside: f64,
    pub(crate) postgres: f64,
    pub(crate) kafka: f64,
    /// Who places the orders: no part of the system.
    pub(crate) load: f64,
    /// Who keeps the traces: no part of the system.
    pub(crate) jaeger: f64,
}

impl Cpu {
    /// Of the system: OpenOrder, PostgreSQL and Kafka.
    pub(crate) fn total(self) -> f64 {
        self.openorder + self.beside + self.postgres + self.kafka
    }

    /// Microseconds each, when all of it was for so many orders.
    pub(crate) fn micros_each(self, orders: u64) -> Self {
        let micros = |seconds: f64| seconds * MICROS / orders.max(1) as f64;
        Self {
            openorder: micros(self.openorder),
            beside: micros(self.beside),
            postgres: micros(self.postgres),
            kafka: micros(self.kafka),
            load: micros(self.load),
            jaeger: micros(self.jaeger),
        }
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { openorder, beside, postgres, kafka, load, jaeger } = self;
        write!(f, "OpenOrder {openorder:.0}")?;
        if *beside > 0.0 {
            write!(f, " and {beside:.0} in the roles beside")?;
        }
        write!(
            f,
            ", PostgreSQL {postgres:.0}, Kafka {kafka:.0}; not counted: load {load:.0}, \
             Jaeger {jaeger:.0} µs"
        )
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            openorder: self.openorder - before.openorder,
            beside: self.beside - before.beside,
            postgres: self.postgres - before.postgres,
            kafka: self.kafka - before.kafka,
            load: self.load - before.load,
            jaeger: self.jaeger - before.jaeger,
        }
    }
}

/// Whose CPU time is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    /// The processes of OpenOrder that run now.
    pub(crate) openorder: Vec<u32>,
    /// Those that are told apart from them.
    pub(crate) beside: Vec<u32>,
    /// The first process of the PostgreSQL server.
    pub(crate) postgres: u32,
    /// The broker.
    pub(crate) kafka: u32,
    /// The load program, while it runs.
    pub(crate) load: Option<u32>,
    pub(crate) jaeger: Option<u32>,
}

impl Meter {
    /// CPU seconds since each process began.
    pub(crate) fn read(&self) -> Cpu {
        Cpu {
            openorder: self.openorder.iter().map(|pid| cpu_seconds(*pid)).sum(),
            beside: self.beside.iter().map(|pid| cpu_seconds(*pid)).sum(),
            postgres: tree_seconds(self.postgres),
            kafka: cpu_seconds(self.kafka),
            load: self.load.map_or(0.0, cpu_seconds),
            jaeger: self.jaeger.map_or(0.0, cpu_seconds),
        }
    }
}

/// CPU seconds that all cores have worked, for anybody.
pub(crate) fn machine_seconds() -> f64 {
    // proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal.
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = text.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8).enumerate();
    let busy = ticks.filter(|(place, _)| !matches!(place, 3 | 4)).filter_map(|(_, ticks)| ticks.parse::<f64>().ok());
    busy.sum::<f64>() / TICKS_PER_SECOND
}

/// CPU seconds of this process.
pub(crate) fn own_seconds() -> f64 {
    stat("self").map_or(0.0, |stat| stat.own)
}

/// CPU seconds of the children of this process that have ended.
pub(crate) fn ended_children_seconds() -> f64 {
    stat("self").map_or(0.0, |stat| stat.ended_children)
}

/// Resident memory in MiB; none when the process is gone.
pub(crate) fn resident_mib(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1_024.0)
}

fn cpu_seconds(pid: u32) -> f64 {
    stat(&pid.to_string()).map_or(0.0, |stat| stat.own)
}

/// A server that has a process a connection: its first process, what has ended below it, and what lives.
fn tree_seconds(pid: u32) -> f64 {
    let first = stat(&pid.to_string()).map_or(0.0, |stat| stat.own + stat.ended_children);
    first + children(pid).map(|(_, stat)| stat.own).sum::<f64>()
}

/// CPU seconds of a PostgreSQL server's living processes, without autovacuum: what it does now may be the other side's
/// rubbish. The processes of the clients must outlive the measurement.
pub(crate) fn clients_seconds(postgres: u32) -> f64 {
    let is_vacuum = |pid: u32| {
        let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&title).contains("autovacuum")
    };
    children(postgres).filter(|(pid, _)| !is_vacuum(*pid)).map(|(_, stat)| stat.own).sum()
}

fn children(parent: u32) -> impl Iterator<Item = (u32, Stat)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().into_string().ok()?.parse::<u32>().ok());
    let processes = numbers.filter_map(|number| Some((number, stat(&number.to_string())?)));
    processes.filter(move |(_, stat)| stat.parent == parent)
}

struct Stat {
    parent: u32,
    own: f64,
    ended_children: f64,
}

fn stat(process: &str) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// Fields 4 and 14 to 17 of `/proc/PID/stat` (proc(5)); the name in field 2 may hold anything, even brackets.
fn parse(stat: &str) -> Option<Stat> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let mut ticks = fields.skip(9).map(|field| field.parse::<f64>().ok());
    let mut both = || Some((ticks.next()?? + ticks.next()??) / TICKS_PER_SECOND);
    Some(Stat { parent, own: both()?, ended_children: both()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_parent_are_read_behind_a_name_with_brackets() {
        let stat = parse("42 (a) b (c)) S 7 42 42 0 -1 4194560 10 0 0 0 250 150 30 20 20 0 4 0 100 0 0").unwrap();
        assert_eq!((stat.parent, stat.own, stat.ended_children), (7, 4.0, 0.5));
        assert!(parse("42 (short) S 1").is_none());
    }

    #[test]
    fn what_the_load_and_jaeger_use_is_told_and_not_counted_as_the_systems() {
        let cpu = Cpu { openorder: 1.0, postgres: 2.0, kafka: 3.0, load: 40.0, jaeger: 50.0, ..Cpu::default() };
        let each = cpu.micros_each(1_000_000);
        assert_eq!((each.total(), each.load, each.jaeger), (6.0, 40.0, 50.0));
        let text = "OpenOrder 1, PostgreSQL 2, Kafka 3; not counted: load 40, Jaeger 50 µs";
        assert_eq!(each.to_string(), text);
        let shop = Cpu { beside: 4.0, ..cpu }.micros_each(1_000_000);
        assert_eq!(shop.total(), 10.0, "the other roles are a part of the system");
        assert!(shop.to_string().starts_with("OpenOrder 1 and 4 in the roles beside, PostgreSQL 2,"), "{shop}");
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(resident_mib(std::process::id()).is_some_and(|mib| mib > 0.1));
        assert!(resident_mib(0).is_none());
    }
}
