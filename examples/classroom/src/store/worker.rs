//! The thread that owns the database.

use std::collections::VecDeque;

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::StoreError;

/// The most jobs of one transaction.
const BATCH: usize = 256;

/// A job: it runs in a transaction, or learns why there is none.
pub(super) type Job = Box<dyn FnOnce(Result<&Connection, StoreError>) -> Done + Send>;

/// A job that has run, and is answered once its transaction has ended.
pub(super) struct Done {
    failure: Option<StoreError>,
    /// Takes the error of the transaction, if that has failed.
    answer: Box<dyn FnOnce(Option<StoreError>)>,
}

/// Creates a job of a function that runs it and one that takes its result.
pub(super) fn job<T, W, A>(work: W, answer: A) -> Job
where
    T: 'static,
    W: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    A: FnOnce(Result<T, StoreError>) + Send + 'static,
{
    Box::new(move |transaction| {
        let result = transaction.and_then(|db| Ok(work(db)?));
        let failure = result.as_ref().err().cloned();
        let answer = move |failed: Option<StoreError>| match failed {
            Some(error) => answer(result.and(Err(error))),
            None => answer(result),
        };
        Done { failure, answer: Box::new(answer) }
    })
}

/// The database, on its thread.
pub(super) struct Worker {
    db: Connection,
}

impl Worker {
    pub(super) fn new(db: Connection) -> Self {
        Self { db }
    }

    /// Runs jobs until nobody can send any more.
    pub(super) fn run(self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            let mut batch = VecDeque::from([first]);
            while batch.len() < BATCH
                && let Ok(job) = jobs.try_recv()
            {
                batch.push_back(job);
            }
            while !batch.is_empty() {
                self.transact(&mut batch);
            }
        }
    }

    /// Runs jobs in one transaction, and answers them once it is on the disk.
    ///
    /// All jobs are removed, except those behind one whose error has ended the transaction.
    fn transact(&self, batch: &mut VecDeque<Job>) {
        let mut done = Vec::with_capacity(batch.len());
        let failed = self.run_all(batch, &mut done).err();
        if let Some(error) = &failed {
            tracing::error!(%error, jobs = done.len(), "a transaction has failed");
            if !self.db.is_autocommit()
                && let Err(error) = self.db.execute_batch("ROLLBACK")
            {
                tracing::error!(%error, "a transaction could not be rolled back");
            }
            // It did not begin.
            if done.is_empty() {
                done.extend(batch.drain(..).map(|job| job(Err(error.clone()))));
            }
        }
        for Done { answer, .. } in done {
            answer(failed.clone());
        }
    }

    fn run_all(&self, batch: &mut VecDeque<Job>, done: &mut Vec<Done>) -> Result<(), StoreError> {
        // Takes the write lock at once, which a transaction that has read may not get.
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        while let Some(job) = batch.pop_front() {
            self.db.execute_batch("SAVEPOINT job")?;
            let ran = job(Ok(&self.db));
            let failure = ran.failure.clone();
            done.push(ran);
            match failure {
                None => self.db.execute_batch("RELEASE job")?,
                // Some errors, such as a full disk, end the transaction.
                Some(error) if self.db.is_autocommit() => return Err(error),
                Some(_) => self.db.execute_batch("ROLLBACK TO job; RELEASE job")?,
            }
        }
        Ok(self.db.execute_batch("COMMIT")?)
    }
}
