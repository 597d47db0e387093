//! Tasks that end together.

use std::{
    future::Future,
    mem, panic,
    sync::{Arc, Mutex},
};

use tokio::task::{JoinError, JoinSet};

/// Tasks that end together: those of a process. Clones are the same tasks.
#[derive(Debug, Clone, Default)]
pub struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.lock().expect("no panic while it is held");
        tasks.spawn(task);
        // Those that have ended are not kept.
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                drop(tasks);
                return resume(error);
            }
        }
    }

    /// Drops all tasks, as the end of their process does.
    pub async fn kill(&self) {
        loop {
            let mut tasks = mem::take(&mut *self.0.lock().expect("no panic while it is held"));
            if tasks.is_empty() {
                return;
            }
            tasks.abort_all();
            while let Some(ended) = tasks.join_next().await {
                ended.unwrap_or_else(resume);
            }
        }
    }
}

/// Continues a panic of a task.
pub fn resume(error: JoinError) {
    if error.is_panic() {
        panic::resume_unwind(error.into_panic());
    }
}

/// So that a task of hyper ends with the others.
impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.spawn(async move { drop(task.await) });
    }
}
