//! The scripts that the server runs.

use redis::{RedisError, Script, aio::MultiplexedConnection};

/// The scripts that the server runs. Each changes one room, or the leases, in one step.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) publish: Script,
    pub(crate) open: Script,
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
            fork: Script::new(include_str!("lua/fork.lua")),
            enter: Script::new(include_str!("lua/enter.lua")),
            exit: Script::new(include_str!("lua/exit.lua")),
            renew: Script::new(include_str!("lua/renew.lua")),
            ended: Script::new(include_str!("lua/ended.lua")),
            alive: Script::new(include_str!("lua/alive.lua")),
        }
    }

    /// Loads them, so that the first calls need not. One that the server has forgotten is loaded
    /// again by the call.
    pub(crate) async fn load(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let Self { publish, open, fork, enter, exit, renew, ended, alive } = self;
        for script in [publish, open, fork, enter, exit, renew, ended, alive] {
            script.load_async(connection).await?;
        }
        Ok(())
    }
}
