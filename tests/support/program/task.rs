//! Futures that are polled by hand, with wakers that count.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    ops::{Deref, DerefMut},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// Counts how often it was woken.
#[derive(Debug, Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A pending future.
pub struct Task<T, Op> {
    pub op: Op,
    future: Pin<Box<dyn Future<Output = T>>>,
    /// The wake-ups since the last poll; `None` before the first poll.
    wakes: Option<Arc<Wakes>>,
}

impl<T, Op> Task<T, Op> {
    pub fn new(op: Op, future: Pin<Box<dyn Future<Output = T>>>) -> Self {
        Self { op, future, wakes: None }
    }

    /// Polls it with a new waker, so that waking an earlier one does not count.
    pub fn poll(&mut self, with_new_waker: bool) -> Poll<T> {
        let wakes = match self.wakes.take() {
            Some(wakes) if !with_new_waker => wakes,
            _ => Arc::default(),
        };
        wakes.0.store(0, Ordering::Relaxed);
        let waker = Waker::from(wakes.clone());
        self.wakes = Some(wakes);
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    pub fn was_polled(&self) -> bool {
        self.wakes.is_some()
    }

    /// Returns whether an executor would poll it.
    pub fn is_woken(&self) -> bool {
        self.wakes.as_ref().is_none_or(|wakes| wakes.0.load(Ordering::Relaxed) > 0)
    }
}

/// A value that a future may borrow, and returns when it completes or is dropped.
#[derive(Debug)]
pub struct Slot<T>(Rc<RefCell<Option<T>>>);

impl<T> Slot<T> {
    pub fn new(value: T) -> Self {
        Self(Rc::new(RefCell::new(Some(value))))
    }

    /// Borrows the value. Returns `None` if it is borrowed already.
    pub fn lease(&self) -> Option<Lease<T>> {
        let value = self.0.borrow_mut().take()?;
        Some(Lease { slot: self.0.clone(), value: Some(value) })
    }

    /// Calls a function with the value. Returns `None` if the value is borrowed.
    pub fn look<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        self.0.borrow().as_ref().map(look)
    }

    /// Removes the value.
    pub fn take(&self) -> Option<T> {
        self.0.borrow_mut().take()
    }
}

/// A borrowed value.
#[derive(Debug)]
pub struct Lease<T> {
    slot: Rc<RefCell<Option<T>>>,
    value: Option<T>,
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("present until it is dropped")
    }
}

impl<T> DerefMut for Lease<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("present until it is dropped")
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        *self.slot.borrow_mut() = self.value.take();
    }
}

/// Waits for this many polls, and wakes itself for each.
pub async fn pause(mut polls: u32) {
    poll_fn(|cx| {
        if polls == 0 {
            return Poll::Ready(());
        }
        polls -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Polls a future this many times, without waiting in between, then drops it and returns `None`.
/// Without a number, polls it until it completes.
pub async fn polled<F: Future>(future: F, polls: Option<u32>) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let Some(mut left) = polls else { return Some(future.await) };
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}
