//! What tests need: where the peers are, a fresh assistant, something that runs beside the test, and checks that say what was wrong.

use abi::error::{DeathKind, FaultRecord};
use abi::manifest::GrantKind;
use abi::message::bits;
use abi::task::{TaskState, TaskStatus};
use abi::{Status, TaskId};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use rt::ipc::{CallError, Endpoint, Reply};
use rt::notify::Notification;
use rt::syscall as sys;
use rt::thread::JoinHandle;
use rt::time::{Timer, now_ns, sleep_ms};
use spin::Mutex;
use supervisor::{Error, Refusal, Supervisor};

/// How a test ends: with nothing, or with the reason why it failed.
pub type Outcome = Result<(), String>;

/// Longest that anything in the system may take, in milliseconds.
pub const PATIENCE_MS: u64 = 10_000;

/// Fails the test with a formatted reason unless the condition holds.
macro_rules! check {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            return Err(alloc::format!($($reason)+));
        }
    };
}

/// Fails the test unless both are equal.
macro_rules! same {
    ($found:expr, $wanted:expr, $($what:tt)+) => {{
        let (found, wanted) = (&$found, &$wanted);
        if found != wanted {
            return Err(alloc::format!("{}: {found:?} instead of {wanted:?}", core::format_args!($($what)+)));
        }
    }};
}
pub(crate) use {check, same};

/// A result whose error becomes the reason of the failure, behind what was being done.
pub trait Context<T> {
    /// `what` was being done.
    fn context(self, what: &str) -> Result<T, String>;
}

impl<T, E: core::fmt::Display> Context<T> for Result<T, E> {
    fn context(self, what: &str) -> Result<T, String> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}

/// The system handle.
pub fn system() -> Result<u32, String> {
    let entry = rt::entries().iter().find(|entry| entry.kind == GrantKind::System as u32);
    entry.map(|entry| entry.handle).ok_or_else(|| "the suite has no system handle".to_string())
}

/// A peer's endpoint.
pub fn peer(name: &str) -> Result<Endpoint, String> {
    Endpoint::peer(name).ok_or_else(|| format!("system.toml does not let the suite call {name}"))
}

/// The supervisor.
pub fn boss() -> Result<Supervisor, String> {
    peer("supervisor").map(Supervisor)
}

/// A task's row, from the boot archive.
pub fn row(name: &str) -> Result<usize, String> {
    let archive = rt::archive::Archive::map().ok_or("the suite has no boot archive")?;
    archive.find(name).ok_or_else(|| format!("there is no task {name}"))
}

/// A task's state.
pub fn status(index: usize) -> Result<TaskStatus, String> {
    rt::task::status(index).context("task_status")
}

/// Asks, and wants label 0.
pub fn ask(server: Endpoint, label: u16, words: [u64; 4]) -> Result<[u64; 4], String> {
    let reply = server.call(label, words).context("call")?;
    check!(reply.label == 0, "request {label} was answered with label {}", reply.label);
    Ok(reply.words)
}

/// The status of this number, in words.
pub fn name_of(code: u64) -> String {
    match u32::try_from(code).ok().and_then(Status::from_u32) {
        Some(status) => format!("{status:?}"),
        None => format!("{code:#x}, which is no status"),
    }
}

/// Fails the test unless `code` is the number of `wanted`.
pub fn want(code: u64, wanted: Status, what: &str) -> Outcome {
    check!(code == wanted as u64, "{what}: {} instead of {wanted:?}", name_of(code));
    Ok(())
}

/// Fails the test unless the result is this error.
pub fn want_error<T>(result: Result<T, Status>, wanted: Status, what: &str) -> Outcome {
    let found = result.err().unwrap_or(Status::Ok);
    check!(found == wanted, "{what}: {found:?} instead of {wanted:?}");
    Ok(())
}

/// Repeats `ready` every few milliseconds until it says yes.
pub fn eventually(what: &str, most_ms: u64, mut ready: impl FnMut() -> Result<bool, String>) -> Outcome {
    let deadline = now_ns() + most_ms * 1_000_000;
    while !ready()? {
        check!(now_ns() < deadline, "{what} did not happen within {most_ms} ms");
        sleep_ms(5);
    }
    Ok(())
}

/// A life of a task of the suite's own, which ends with this value.
pub struct Life {
    /// Which life.
    pub id: TaskId,
}

impl Life {
    /// Starts `name`; a life left over from before is ended first.
    pub fn start(name: &str, argument: &str) -> Result<Life, String> {
        let boss = boss()?;
        match boss.spawn(name, argument) {
            Err(Error::Refused(Refusal::RunsAlready(id))) => {
                // It may just be ending by itself.
                let _ = boss.kill(id);
                boss.wait(id).context("wait for an old life")?;
                boss.spawn(name, argument)
            }
            result => result,
        }
        .map(|id| Life { id })
        .map_err(|error| format!("spawn {name} {argument}: {error}"))
    }

    /// Ends it.
    pub fn kill(&self) -> Outcome {
        boss()?.kill(self.id).context("kill")
    }

    /// Waits for its end, for [`PATIENCE_MS`] at most, and reads its record.
    pub fn record(&self) -> Result<FaultRecord, String> {
        let id = self.id;
        let waiting = Background::run(move || boss().and_then(|boss| boss.wait(id).context("wait")))?;
        let Some(result) = waiting.join(PATIENCE_MS)? else {
            self.kill()?;
            return Err(format!("it lives on after {PATIENCE_MS} ms"));
        };
        let kind = result?;
        let record = rt::task::fault(usize::from(id.index)).context("task_fault")?;
        same!(record.task, id.to_u32(), "the record's task");
        same!(DeathKind::from_u32(record.kind), kind, "the record's kind, against the supervisor's");
        Ok(record)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let running = status(self.id.index.into()).is_ok_and(|status| {
            status.id == self.id.to_u32() && TaskState::from_u32(status.state) != Some(TaskState::Empty)
        });
        if running && let Ok(boss) = boss() {
            // Either may fail where it has just ended by itself.
            let _ = boss.kill(self.id);
            let _ = boss.wait(self.id);
        }
    }
}

/// An assistant that serves, for one test.
pub struct Helper {
    /// Its endpoint.
    pub endpoint: Endpoint,
    /// Its life.
    pub life: Life,
}

impl Helper {
    /// Starts it.
    pub fn start() -> Result<Helper, String> {
        let life = Life::start("assist", assist::role::SERVE)?;
        Ok(Helper { endpoint: peer("assist")?, life })
    }

    /// Asks, and wants label 0.
    pub fn ask(&self, label: u16, words: [u64; 4]) -> Result<[u64; 4], String> {
        ask(self.endpoint, label, words)
    }
}

/// Something that runs on a thread of its own while the test goes on.
pub struct Background<T> {
    result: Arc<Mutex<Option<T>>>,
    done: Notification,
    thread: Option<JoinHandle>,
}

impl<T: Send + 'static> Background<T> {
    const DONE: u64 = 1;
    const LATE_BIT: u32 = 1;

    /// Runs `f`.
    pub fn run(f: impl FnOnce() -> T + Send + 'static) -> Result<Background<T>, String> {
        let result = Arc::new(Mutex::new(None));
        let done = Notification::create().context("notification for a thread")?;
        let slot = result.clone();
        let work = move || {
            let value = f();
            *slot.lock() = Some(value);
            // The test may have given up; then there is nobody to tell.
            let _ = done.signal(Self::DONE);
        };
        let thread = rt::thread::spawn(work, 8, rt::info().priority as u8).context("thread")?;
        Ok(Background { result, done, thread: Some(thread) })
    }

    /// Its result, or `None` where it does not end within `ms` milliseconds. The thread runs on then.
    pub fn join(mut self, ms: u64) -> Result<Option<T>, String> {
        let timer = Timer::on(self.done, Self::LATE_BIT).context("timer")?;
        timer.arm_in_ms(ms);
        let set = self.done.try_wait(Self::DONE | 1 << Self::LATE_BIT).context("wait for a thread")?;
        if set & Self::DONE == 0 {
            return Ok(None);
        }
        if let Some(thread) = self.thread.take() {
            thread.join();
            let _ = sys::handle_close(self.done.0);
        }
        Ok(self.result.lock().take())
    }

    /// Its result; it is a failure where that takes longer than [`PATIENCE_MS`].
    pub fn finish(self, what: &str) -> Result<T, String> {
        self.join(PATIENCE_MS)?.ok_or_else(|| format!("{what} did not end within {PATIENCE_MS} ms"))
    }
}

/// Has this thread wait for a lock once: it keeps the notification that this takes, and so counts the same afterwards whether it has to
/// wait or not.
pub fn warm_up() -> Outcome {
    // The timer on which the first thread sleeps: whoever waits for others to end sleeps only where they have not.
    sleep_ms(1);
    let lock = Arc::new(rt::sync::Mutex::new(false));
    let (held, inside) = (lock.clone(), Arc::new(rt::sync::Semaphore::new(0)));
    let entered = inside.clone();
    let thread = Background::run(move || {
        let mut done = held.lock();
        entered.release();
        sleep_ms(5);
        *done = true;
    })?;
    inside.acquire_blocking().context("semaphore")?.forget();
    check!(*lock.lock(), "the lock was not held");
    thread.finish("the thread with the lock")
}

/// Handles, kernel objects and frames of the suite, once it has no thread but its first: one that was joined ends in a moment.
pub fn used() -> Result<[u32; 3], String> {
    let own = rt::me().index.into();
    eventually("the end of all threads", 1_000, || Ok(status(own)?.threads == 1))?;
    status(own).map(|status| [status.handles, status.objects, status.frames])
}

/// Calls on a thread of its own.
pub fn call_beside(
    server: Endpoint,
    label: u16,
    words: [u64; 4],
) -> Result<Background<Result<Reply, CallError>>, String> {
    Background::run(move || server.call(label, words))
}

/// A bit of a notification that no test uses for anything else.
pub const SPARE_BIT: u32 = 45;
const _: () = assert!(bits::FREE_MASK & 1 << SPARE_BIT != 0);
