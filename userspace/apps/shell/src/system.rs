//! The real system: kernel, supervisor, console, drivers.

use abi::error::{DeathKind, FaultRecord};
use abi::manifest::TaskRecord;
use abi::message::bits;
use abi::task::{SystemInfo, TaskStatus};
use abi::{Status, TaskId};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use console::Client;
use driver_keyboard::Layout;
use rt::archive::Archive;
use rt::exec::{Either, Exec, Lend, select};
use rt::ipc::Endpoint;
use rt::notify::Notification;
use shell::world::{Answer, World};
use supervisor::{Plan, Supervisor, lines, symbols};

/// Notification bit of Ctrl-C.
const INTERRUPT: u64 = 1 << 32;

/// Most unanswered calls, those included that Ctrl-C ended: a further call waits until a thread is
/// free.
const CALLS: usize = 8;

/// The real system around the shell.
pub struct System<'c> {
    console: &'c Client,
    archive: Option<Archive>,
    tasks: Rc<[TaskRecord]>,
    exec: Exec,
}

fn peer(name: &str) -> Result<Endpoint, String> {
    Endpoint::peer(name).ok_or_else(|| {
        format!("the shell may not call {name}: add it to `calls` of [task.shell] in userspace/system.toml")
    })
}

fn supervisor() -> Result<Supervisor, String> {
    peer("supervisor").map(Supervisor)
}

fn keyboard() -> Result<driver_keyboard::Client, String> {
    peer("keyboard").map(driver_keyboard::Client::new)
}

fn kernel(status: Status) -> String {
    match status {
        Status::NoRights => String::from(
            "the kernel does not tell the shell: give [task.shell] `kernel = [\"inspect\", \"logs\"]` in userspace/system.toml",
        ),
        status => format!("the kernel refused: {status}"),
    }
}

impl<'c> System<'c> {
    /// The system whose console is behind `console`, described by `archive`.
    pub fn new(console: &'c Client, archive: Option<Archive>) -> Self {
        let tasks = archive.as_ref().map_or(&[][..], Archive::tasks).into();
        let system = System { console, archive, tasks, exec: rt::exec::start(CALLS) };
        system.subscribe();
        system
    }

    /// Subscribes to the console's Ctrl-C.
    fn subscribe(&self) {
        if let Err(error) = self.console.subscribe_interrupt(Notification::own(), INTERRUPT) {
            rt::println!("Ctrl-C will not end what runs: {error}");
        }
    }

    /// Waits for Ctrl-C.
    async fn ctrl_c(&self) {
        // The PEER bit may stand for a new life of the console, which does not have the
        // subscription.
        while self.exec.bits(INTERRUPT | bits::PEER).await & INTERRUPT == 0 {
            self.subscribe();
        }
    }

    /// The result of a future, or `None` if Ctrl-C comes first, or has come since Enter.
    fn unless_interrupted<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        match self.exec.block_on(select(self.ctrl_c(), future)) {
            Either::First(()) => None,
            Either::Second(value) => Some(value),
        }
    }
}

impl World for System<'_> {
    fn print(&mut self, text: &str) {
        if let Err(error) = self.console.write(text) {
            rt::println!("cannot print: {error}");
        }
    }

    fn finished(&mut self, status: u8) {
        // The sequence that terminals know as the end of a command ("semantic prompts", OSC 133 ;
        // D); others ignore it.
        self.print(&format!("\x1b]133;D;{status}\x1b\\"));
    }

    fn begin(&mut self) {
        if self.exec.take_bits(INTERRUPT | bits::PEER) & bits::PEER != 0 {
            self.subscribe();
        }
    }

    fn interrupted(&mut self) -> bool {
        self.exec.take_bits(INTERRUPT) != 0
    }

    fn trouble(&self) -> String {
        self.console.trouble().unwrap_or_else(|error| format!("console: {error}\n"))
    }

    fn clear(&mut self) -> Result<(), String> {
        self.console.clear().map_err(|error| error.to_string())
    }

    fn set_color(&mut self, foreground: u8, background: u8) -> Result<(), String> {
        self.console.set_color(foreground, background).map_err(|error| error.to_string())
    }

    fn tasks(&self) -> Rc<[TaskRecord]> {
        self.tasks.clone()
    }

    fn status(&self, index: usize) -> Result<TaskStatus, String> {
        rt::task::status(index).map_err(kernel)
    }

    fn system_info(&self) -> Result<SystemInfo, String> {
        rt::task::system_info().map_err(kernel)
    }

    fn log_read(&self, log: u64, position: u64, buf: &mut [u8]) -> Result<(usize, u64), String> {
        let (len, next) = rt::task::log_read(log as usize, position, buf).map_err(kernel)?;
        Ok((len, next.saturating_sub(len as u64)))
    }

    fn fault(&self, index: usize) -> Option<FaultRecord> {
        rt::task::fault(index).ok()
    }

    fn function(&self, task: &str, address: u64) -> Option<String> {
        let archive = self.archive.as_ref()?;
        if let Some(line) = archive.file(&format!("lines/{task}")).and_then(|table| lines::find(table, address).next())
        {
            return Some(format!("{} ({}:{})", line.function, line.file, line.line));
        }
        let place = symbols::find(archive.file(&format!("sym/{task}"))?, address)?;
        Some(format!("{}+0x{:x}", place.name, place.offset))
    }

    fn kill(&mut self, id: TaskId) -> Result<(), String> {
        supervisor()?.kill(id).map_err(|error| error.to_string())
    }

    fn spawn(&mut self, name: &str, argument: &str) -> Result<TaskId, String> {
        supervisor()?.spawn(name, argument).map_err(|error| error.to_string())
    }

    fn wait(&mut self, id: TaskId) -> Result<DeathKind, String> {
        supervisor()?.wait(id).map_err(|error| error.to_string())
    }

    fn plan(&self, index: usize) -> Option<Plan> {
        supervisor().ok()?.state(index).ok().map(|state| state.plan)
    }

    fn keymap(&mut self) -> Result<u64, String> {
        keyboard()?.layout().map(|info| info.layout as u64).map_err(|error| error.to_string())
    }

    fn set_keymap(&mut self, number: u64) -> Result<(), String> {
        let layout = u32::try_from(number).ok().and_then(Layout::from_u32);
        let layout = layout.ok_or_else(|| String::from("the keyboard driver does not know this layout"))?;
        keyboard()?.set_layout(layout).map_err(|error| error.to_string())
    }

    fn now_ns(&self) -> u64 {
        rt::time::now_ns()
    }

    fn sleep(&mut self, ns: u64) -> Result<bool, String> {
        let deadline = rt::time::now_ns().saturating_add(ns);
        Ok(self.unless_interrupted(self.exec.sleep_until(deadline)).is_none())
    }

    fn shutdown(&mut self) -> Result<(), String> {
        let power = peer("power").map(driver_power::Client::new)?;
        // Unsent text would be lost with the power. If it cannot be sent, the machine is powered
        // off all the same.
        let _ = self.console.flush();
        let Err(error) = power.shutdown();
        Err(error.to_string())
    }

    fn reboot(&mut self) -> Result<(), String> {
        let power = peer("power").map(driver_power::Client::new)?;
        let _ = self.console.flush();
        let Err(error) = power.reboot();
        Err(error.to_string())
    }

    fn may_call(&self, task: &str) -> bool {
        Endpoint::peer(task).is_some()
    }

    fn protocol(&self, task: &str) -> Option<String> {
        let text = self.archive.as_ref()?.file(&format!("proto/{task}"))?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn call(
        &mut self,
        task: &str,
        label: u16,
        words: [u64; 4],
        lent: Vec<Lend>,
    ) -> Result<(Answer, Vec<Lend>), String> {
        // The task may never answer: if Ctrl-C ends the wait, the thread that waits for the answer
        // stays.
        let called = self.unless_interrupted(self.exec.call_with(peer(task)?, label, words, lent));
        let called = called.ok_or_else(|| format!("{task} has not answered; given up by Ctrl-C"))?;
        let reply = called.reply.map_err(|error| error.to_string())?;
        Ok(((reply.label, reply.words), called.lent))
    }
}
