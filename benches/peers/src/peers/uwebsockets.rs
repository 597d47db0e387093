//! uWebSockets: a program in C++, which is compiled here from a directory with its source.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, Result, ensure};

use super::{Peer, Standing};

/// The directories of uSockets that are compiled, below the directory of uWebSockets.
const C_SOURCES: [&str; 3] = ["uSockets/src", "uSockets/src/eventing", "uSockets/src/crypto"];

/// The flags of both compilers: optimised as the others are, for any processor of the architecture,
/// and without the libraries for TLS and compression.
const FLAGS: [&str; 4] = ["-O3", "-flto=auto", "-DLIBUS_NO_SSL", "-DUWS_NO_ZLIB"];

/// The program, once it is compiled.
static PROGRAM: OnceLock<Program> = OnceLock::new();

#[derive(Debug)]
struct Program {
    path: PathBuf,
    version: String,
}

#[derive(Debug)]
pub struct UWebSockets;

impl Peer for UWebSockets {
    fn name(&self) -> &'static str {
        "uWebSockets"
    }

    fn package(&self) -> Option<&'static str> {
        None
    }

    fn version(&self) -> Option<&'static str> {
        PROGRAM.get().map(|program| program.version.as_str())
    }

    fn standing(&self) -> Standing {
        Standing::Apart
    }

    fn notes(&self) -> &'static str {
        if PROGRAM.get().is_some() {
            "a library in C++ with an event loop of its own, which is shown and not among the best peers; `c++ -std=c++20 -O3 \
             -flto=auto`, without `-march` (as the others), TLS and zlib; `send` in the handler for a message, where the \
             library gathers the answers to a read by itself up to 16 KiB: both loops are the same; a broadcast by \
             `publish`; closes a connection after 120 s of silence and pings before; UTF-8 checked; its limits are raised to \
             16 MiB for a message and for what is unsent; what is allocated is glibc's count, its headers included"
        } else {
            "not measured: it needs `--uwebsockets DIR`, a checkout with its submodule uSockets, and a C++ compiler"
        }
    }

    fn is_present(&self) -> bool {
        PROGRAM.get().is_some()
    }

    fn program(&self) -> Option<&'static Path> {
        PROGRAM.get().map(|program| program.path.as_path())
    }
}

/// Compiles the server with the library in this directory. Returns whether there is a compiler.
///
/// # Errors
/// Fails if it does not compile.
pub fn compile(directory: &Path) -> Result<bool> {
    let directory = directory.canonicalize().context("the directory of uWebSockets")?;
    let target = env::current_exe()?.with_file_name("uwebsockets");
    // Objects of an earlier run would be linked too.
    unless_missing(fs::remove_dir_all(&target))?;
    fs::create_dir(&target)?;
    let mut sources = Vec::new();
    for part in C_SOURCES {
        sources.extend(files(&directory.join(part), "c")?);
    }
    let path = target.join("server");
    let c = compiler("CC", "cc", &directory, &target).arg("-c").args(sources).status();
    let Some(compiled) = unless_missing(c)? else { return Ok(false) };
    ensure!(compiled.success(), "uSockets was not compiled");
    let cpp = compiler("CXX", "c++", &directory, &target)
        .args(["-std=c++20", concat!(env!("CARGO_MANIFEST_DIR"), "/uwebsockets/server.cpp")])
        .args(files(&target, "o")?)
        .arg("-o")
        .arg(&path)
        .status();
    let Some(compiled) = unless_missing(cpp)? else { return Ok(false) };
    ensure!(compiled.success(), "the server of uWebSockets was not compiled");
    let version = version(&directory)?;
    Ok(PROGRAM.set(Program { path, version }).is_ok())
}

/// Returns a command for the compiler that an environment variable names, or for the usual one.
fn compiler(variable: &str, usual: &str, directory: &Path, target: &Path) -> Command {
    let mut command = Command::new(env::var_os(variable).unwrap_or_else(|| usual.into()));
    command.args(FLAGS).current_dir(target);
    for include in ["src", "uSockets/src"] {
        command.arg("-I").arg(directory.join(include));
    }
    command
}

/// Returns `None` if the program or the directory does not exist.
fn unless_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Returns the files in a directory that have this extension.
fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|found| found == extension)).collect())
}

/// Returns the version as git describes it; empty without git or without a repository.
fn version(directory: &Path) -> Result<String> {
    let run = Command::new("git").args(["describe", "--tags", "--always"]).current_dir(directory).output();
    let output = unless_missing(run)?.filter(|output| output.status.success());
    let described = output.map(|output| String::from_utf8(output.stdout)).transpose()?;
    Ok(described.unwrap_or_default().trim().to_owned())
}
