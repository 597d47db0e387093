//! What the system says: processor time, open files, the speed of the disk, and its description.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit on open files of this process, and of those that it will start, to the maximum.
pub fn raise_file_limit() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")
}

/// Returns the processor time of all threads of a process, in user and kernel mode, which the kernel
/// reports in ticks of 10 ms.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("a process has ended")?;
    ticks(&stat).map(duration).with_context(|| format!("/proc/{pid}/stat has another form: {stat}"))
}

/// Returns the time for which cores were idle since the system was started, of all cores.
pub fn idle_time() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    idle_ticks(&stat).map(duration).context("/proc/stat has another form")
}

fn duration(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Returns the sum of the user and the system time.
fn ticks(stat: &str) -> Option<u64> {
    // The fields follow the name, which may contain spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

/// Returns the sum of the idle time and of the time in which only the disk was waited for.
fn idle_ticks(stat: &str) -> Option<u64> {
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let mut times = all.split_whitespace().skip(3).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

/// Returns the number of cores.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Returns the median time in which a disk stores 4 KiB at the end of a file.
pub fn sync_time(directory: &Path) -> Result<Duration> {
    let mut file = File::create(directory.join("sync"))?;
    let mut times = Vec::new();
    for _ in 0..101 {
        file.write_all(&[0; 4096])?;
        let begin = Instant::now();
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
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
    fn the_idle_time_is_that_of_all_cores() {
        assert_eq!(idle_ticks("cpu  10 0 5 70 3 0 1 0 0 0\ncpu0 5 0 2 35 1 0 0 0 0 0\n"), Some(73));
        assert_eq!(idle_ticks("cpu0 5 0 2 35 1\n"), None);
    }

    #[test]
    fn a_process_that_works_takes_processor_time() {
        let (pid, begin) = (std::process::id(), Instant::now());
        let before = cpu_time(pid).expect("this process runs");
        while cpu_time(pid).expect("this process runs") == before {
            assert!(begin.elapsed() < Duration::from_secs(30), "the time does not increase");
        }
    }
}
