//! What the system says and is asked for: cores, priority, open files, processor time, memory.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result};
use rustix::{
    process::{Resource, getrlimit, nice, setrlimit},
    thread::{CpuSet, sched_setaffinity},
};

/// The core of the server; clients use the last one.
pub const SERVER_CORE: usize = 0;

/// Returns the number of cores, also once this thread is pinned to one.
pub fn cores() -> usize {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    count_cores(&stat).max(1)
}

fn count_cores(stat: &str) -> usize {
    let of_core = |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| !rest.starts_with(' '));
    stat.lines().filter(of_core).count()
}

/// Pins this thread, and those that it will start, to one core. If that is impossible, as in a
/// container that may use other cores only, it continues where it is.
pub fn pin_to(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    if let Err(error) = sched_setaffinity(None, &set) {
        eprintln!("abuse: not pinned to core {core}: {error}");
    }
}

/// Gives this process a low priority: it yields its core to others at once, but is not kept from running
/// on a machine that is busy.
pub fn yield_to_others() -> Result<()> {
    nice(10).context("cannot lower the priority")?;
    Ok(())
}

/// Raises the limit on open files of this process, and of those that it will start, to the maximum.
/// Returns the limit.
pub fn raise_file_limit() -> Result<usize> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")?;
    Ok(limit.maximum.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX)))
}

/// Returns the processor time of all threads of a process, in user and kernel mode, which the kernel
/// reports in ticks of 10 ms.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("a process has ended")?;
    let ticks = ticks(&stat).with_context(|| format!("/proc/{pid}/stat has another form: {stat}"))?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Returns the time for which all cores together were busy since the system was started.
pub fn busy_time() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let ticks = busy_ticks(&stat).context("/proc/stat has another form")?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Returns the sum of all times but those in which a core was idle, or waited for a disk.
fn busy_ticks(stat: &str) -> Option<u64> {
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // User, nice, system, idle, waiting, interrupts (of devices, then of software), stolen. The two that
    // follow are part of the first.
    let times: Vec<u64> = all.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    (times.len() == 8).then(|| times.iter().sum::<u64>() - times[3] - times[4])
}

/// Returns the sum of the user and the system time.
fn ticks(stat: &str) -> Option<u64> {
    // The fields follow the name, which may contain spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

/// Returns the resident memory of a process, in bytes.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("a process has ended")?;
    let kilobytes = resident(&status).context("/proc/PID/status has another form")?;
    Ok(kilobytes << 10)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Returns how many files a process has open.
pub fn open_files(pid: u32) -> Result<u64> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd")).context("a process has ended")?.count() as u64)
}

/// Returns cores, processor and kernel in one line.
pub fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // The part after the version names the distributor.
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    format!("{} cores, {name}, {} {kernel}, {}", cores(), std::env::consts::OS, std::env::consts::ARCH)
}

/// Returns the version of the compiler in the path.
pub fn compiler() -> Result<String> {
    let output = Command::new("rustc").arg("--version").output().context("cannot run rustc")?;
    let version = String::from_utf8_lossy(&output.stdout);
    Ok(version.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_behind_any_name() {
        let stat = "17 (a) b (c) S 1 17 17 0 -1 4194560 1 0 0 0 250 31 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(281));
        assert_eq!(ticks("17 (a) S 1"), None);
    }

    #[test]
    fn busy_is_what_is_not_idle() {
        assert_eq!(busy_ticks("cpu  10 1 5 70 3 2 4 8 9 9\ncpu0 5 0 2 35 1 0 0 0 0 0\n"), Some(30));
        assert_eq!(busy_ticks("cpu0 5 0 2 35 1\n"), None);
    }

    #[test]
    fn the_resident_memory_is_found() {
        assert_eq!(resident("Name:\tabuse\nVmRSS:\t    5312 kB\nRssAnon:\t 9 kB\n"), Some(5312));
        assert_eq!(resident("Name:\tabuse\n"), None);
    }

    #[test]
    fn the_line_of_all_cores_is_not_a_core() {
        assert_eq!(count_cores("cpu  10 0 5\ncpu0 5 0 2\ncpu1 5 0 3\nintr 7\n"), 2);
    }
}
