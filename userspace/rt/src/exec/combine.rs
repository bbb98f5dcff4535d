//! Futures that combine other futures.

use super::state::Exec;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::Poll;

/// The result of the future that was ready first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Either<A, B> {
    /// The first future was.
    First(A),
    /// The second future was.
    Second(B),
}

/// The error of [`timeout`]: the future was not ready in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed;

/// Runs both futures concurrently, until both are ready.
pub async fn join<A: Future, B: Future>(first: A, second: B) -> (A::Output, B::Output) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut a, mut b) = (None, None);
    poll_fn(|context| {
        if a.is_none()
            && let Poll::Ready(value) = first.as_mut().poll(context)
        {
            a = Some(value);
        }
        if b.is_none()
            && let Poll::Ready(value) = second.as_mut().poll(context)
        {
            b = Some(value);
        }
        match (a.take(), b.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (one, other) => {
                (a, b) = (one, other);
                Poll::Pending
            }
        }
    })
    .await
}

/// Runs all futures concurrently until all are ready; the values are in the order of the futures.
pub async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    enum Part<F: Future> {
        Running(Pin<Box<F>>),
        Done(F::Output),
    }
    let mut parts: Vec<_> = futures.into_iter().map(|future| Part::Running(Box::pin(future))).collect();
    // Only the futures are pinned, each in a box of its own.
    poll_fn(|context| {
        let mut running = false;
        for part in &mut parts {
            if let Part::Running(future) = part {
                match future.as_mut().poll(context) {
                    Poll::Ready(value) => *part = Part::Done(value),
                    Poll::Pending => running = true,
                }
            }
        }
        if running { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    let value = |part| match part {
        Part::Done(value) => Some(value),
        Part::Running(_) => None,
    };
    parts.into_iter().filter_map(value).collect()
}

/// Runs both futures until one is ready, and drops the other. If both are ready, the first is
/// chosen.
pub async fn select<A: Future, B: Future>(first: A, second: B) -> Either<A::Output, B::Output> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|context| {
        if let Poll::Ready(value) = first.as_mut().poll(context) {
            return Poll::Ready(Either::First(value));
        }
        second.as_mut().poll(context).map(Either::Second)
    })
    .await
}

/// The value of the future if it is ready within `ms` milliseconds; otherwise the future is
/// dropped.
///
/// # Errors
/// [`Elapsed`] if it was not ready in time.
pub async fn timeout<F: Future>(exec: &Exec, ms: u64, future: F) -> Result<F::Output, Elapsed> {
    match select(future, exec.sleep_ms(ms)).await {
        Either::First(value) => Ok(value),
        Either::Second(()) => Err(Elapsed),
    }
}

/// Lets the other ready futures run first, once.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if core::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}
