//! Calls to the system: cores, file limits, processor time and memory, and the machine's
//! description.
#![allow(unsafe_code)]

use std::{fs, io, mem, ops::Range, time::Duration};

use anyhow::{Context, Result, ensure};

/// The core of the server; the load generator uses the last one.
pub const SERVER_CORE: usize = 0;

/// Returns the number of cores.
pub fn cores() -> usize {
    // SAFETY: it takes no pointer.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(count).unwrap_or(1)
}

/// Pins this thread, and those that it will start, to one core, unless there is a single core.
pub fn pin_to(core: usize) -> Result<()> {
    if cores() < 2 {
        return Ok(());
    }
    allow(core..core + 1)
}

/// Allows this thread, and those that it will start, to run on all cores.
pub fn unpin() -> Result<()> {
    allow(0..cores())
}

fn allow(cores: Range<usize>) -> Result<()> {
    // SAFETY: an all-zero set is an empty set, the cores are far below its size, and it outlives the
    // call.
    let failed = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        for core in cores.clone() {
            libc::CPU_SET(core, &mut set);
        }
        libc::sched_setaffinity(0, mem::size_of_val(&set), &set) != 0
    };
    ensure!(!failed, "cannot run on the cores {cores:?}: {}", io::Error::last_os_error());
    Ok(())
}

/// Raises the limit on open files of this process to the maximum. Returns the limit.
pub fn raise_file_limit() -> Result<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is valid, and outlives both calls.
    let failed = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 || {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit) != 0
        }
    };
    ensure!(!failed, "cannot raise the limit of open files: {}", io::Error::last_os_error());
    Ok(usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX))
}

/// Returns the processor time of all threads of a process, in user and kernel mode.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let pid = libc::pid_t::try_from(pid)?;
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: both results are valid, and outlive the calls.
    let failed = unsafe {
        libc::clock_getcpuclockid(pid, &mut clock) != 0 || libc::clock_gettime(clock, &mut time) != 0
    };
    ensure!(!failed, "cannot read the clock of process {pid}");
    Ok(Duration::new(u64::try_from(time.tv_sec)?, u32::try_from(time.tv_nsec)?))
}

/// Returns the processor time of all threads of a process in user mode, which the kernel samples by
/// its ticks.
pub fn user_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The fields follow the name, which may contain spaces.
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let ticks: u32 = fields.split_whitespace().nth(11).context("no user time")?.parse()?;
    // SAFETY: it takes no pointer.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(Duration::from_secs(1) * ticks / u32::try_from(per_second)?)
}

/// Returns the processor time of this thread, which other processes affect less than elapsed time.
pub fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the result is valid, and outlives the call. Every thread has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Returns the resident memory of a process, in bytes.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes << 10)
}

/// Returns how many files a process has open.
pub fn open_files(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
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
    let kernel = kernel.trim().split('-').next().unwrap_or_default().to_owned();
    format!("{} cores, {name}, {} {kernel}, {}", cores(), std::env::consts::OS, std::env::consts::ARCH)
}
