//! The scripts that the server runs.

use redis::{
    Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, ToRedisArgs, aio::ConnectionLike, cmd,
};

/// The scripts that the server runs. Each reads or changes one room, or the leases, in one step.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) publish: Script,
    pub(crate) open: Script,
    pub(crate) read: Script,
    pub(crate) fork: Script,
    pub(crate) enter: Script,
    pub(crate) exit: Script,
    pub(crate) renew: Script,
    pub(crate) ended: Script,
    pub(crate) alive: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            publish: Script::new(include_str!("lua/publish.lua")),
            open: Script::new(include_str!("lua/open.lua")),
            read: Script::new(include_str!("lua/read.lua")),
            fork: Script::new(include_str!("lua/fork.lua")),
            enter: Script::new(include_str!("lua/enter.lua")),
            exit: Script::new(include_str!("lua/exit.lua")),
            renew: Script::new(include_str!("lua/renew.lua")),
            ended: Script::new(include_str!("lua/ended.lua")),
            alive: Script::new(include_str!("lua/alive.lua")),
        }
    }
}

/// A script, which is called by its digest.
#[derive(Debug)]
pub(crate) struct Script {
    code: &'static str,
    digest: String,
}

/// A call of a script.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    script: &'a Script,
    keys: Vec<Vec<u8>>,
    args: Vec<Vec<u8>>,
}

impl Script {
    fn new(code: &'static str) -> Self {
        Self { code, digest: redis::Script::new(code).get_hash().to_owned() }
    }

    /// Begins a call.
    pub(crate) fn key(&self, key: impl ToRedisArgs) -> Call<'_> {
        Call { script: self, keys: key.to_redis_args(), args: Vec::new() }
    }
}

impl Call<'_> {
    pub(crate) fn key(mut self, key: impl ToRedisArgs) -> Self {
        key.write_redis_args(&mut self.keys);
        self
    }

    pub(crate) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        arg.write_redis_args(&mut self.args);
        self
    }

    /// Calls the script.
    ///
    /// A server that does not know it gets its text, on the same way: in a cluster, it may be a server
    /// that the keys are being moved to, which owns no slot yet.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
    ) -> Result<T, RedisError> {
        match self.command("EVALSHA", &self.script.digest).query_async(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.command("EVAL", self.script.code).query_async(connection).await
            }
            result => result,
        }
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.args);
        command
    }
}
