//! The real system around the shell: kernel, supervisor, console, drivers.

use abi::error::{DeathKind, FaultRecord};
use abi::manifest::TaskRecord;
use abi::message::bits;
use abi::task::{SystemInfo, TaskStatus};
use abi::{Status, TaskId};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use console::Client;
use driver_keyboard::Layout;
use rt::archive::Archive;
use rt::ipc::Endpoint;
use rt::notify::Notification;
use rt::sync::Mutex;
use rt::time::Timer;
use shell::world::{Answer, World};
use supervisor::Supervisor;

/// Notification bits: the end of a sleep, and Ctrl-C during it or during a call.
const TIMER_BIT: u32 = 32;
const TIMER: u64 = 1 << TIMER_BIT;
const INTERRUPT: u64 = 1 << 33;
/// The end of a call that another thread makes.
const ANSWERED: u64 = 1 << 34;

/// Pages of the stack of such a thread.
const STACK: usize = 4;

/// The system.
pub struct System<'c> {
    console: &'c Client,
    archive: Option<Archive>,
    tasks: Rc<[TaskRecord]>,
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
    /// The system whose console is behind `console`, as this archive describes it.
    pub fn new(console: &'c Client, archive: Option<Archive>) -> Self {
        let tasks = archive.as_ref().map_or(&[][..], Archive::tasks).into();
        System { console, archive, tasks }
    }

    /// Has Ctrl-C set [`INTERRUPT`].
    fn subscribe_interrupt(&self, what: &str) {
        if let Err(error) = self.console.subscribe_interrupt(Notification::own(), INTERRUPT) {
            rt::println!("Ctrl-C will not end the {what}: {error}");
        }
    }
}

impl World for System<'_> {
    fn print(&mut self, text: &str) {
        if let Err(error) = self.console.write(text) {
            rt::println!("cannot print: {error}");
        }
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
        let table = self.archive.as_ref()?.file(&format!("sym/{task}"))?;
        let place = supervisor::symbols::find(table, address)?;
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

    fn given_up(&self, index: usize) -> bool {
        supervisor().is_ok_and(|supervisor| supervisor.state(index).is_ok_and(|state| state.given_up))
    }

    fn keymap(&mut self) -> Result<u64, String> {
        keyboard()?.layout().map(|layout| layout as u64).map_err(|error| error.to_string())
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
        let own = Notification::own();
        let deadline = rt::time::now_ns().saturating_add(ns);
        let timer = Timer::new(TIMER_BIT).map_err(kernel)?;
        own.poll(TIMER | INTERRUPT);
        self.subscribe_interrupt("sleep");
        timer.arm_at(deadline);
        loop {
            let bits = own.wait(TIMER | INTERRUPT | bits::HEARTBEAT | bits::PEER);
            if bits & INTERRUPT != 0 {
                return Ok(true);
            }
            if bits & bits::PEER != 0 {
                // It may be the console, which has forgotten us.
                self.subscribe_interrupt("sleep");
            }
            if rt::time::now_ns() >= deadline {
                return Ok(false);
            }
            timer.arm_at(deadline);
        }
    }

    fn shutdown(&mut self) -> Result<(), String> {
        let power = peer("power").map(driver_power::Client::new)?;
        // What the serial line has not sent yet would go with the machine. That it cannot be sent is no reason to stay on.
        let _ = self.console.flush();
        Err(power.shutdown().to_string())
    }

    fn reboot(&mut self) -> Result<(), String> {
        let power = peer("power").map(driver_power::Client::new)?;
        let _ = self.console.flush();
        Err(power.reboot().to_string())
    }

    fn may_call(&self, task: &str) -> bool {
        Endpoint::peer(task).is_some()
    }

    fn call(&mut self, task: &str, label: u16, words: [u64; 4]) -> Result<Answer, String> {
        // The task may never answer, so another thread waits for it, which stays behind where Ctrl-C gives the answer up.
        let (peer, own) = (peer(task)?, Notification::own());
        let place = Arc::new(Mutex::new(None));
        let answer = place.clone();
        own.poll(ANSWERED | INTERRUPT);
        self.subscribe_interrupt("call");
        let ask = move || {
            *answer.lock() = Some(peer.call(label, words));
            // The task's own notification lives as long as the task.
            let _ = own.signal(ANSWERED);
        };
        let thread = rt::thread::spawn(ask, STACK, rt::info().priority as u8).map_err(|status| {
            format!("no thread to make the call: {status}; answers given up with Ctrl-C hold theirs")
        })?;
        let reply = loop {
            let bits = own.wait(ANSWERED | INTERRUPT | bits::HEARTBEAT | bits::PEER);
            if let Some(reply) = place.lock().take() {
                break reply;
            }
            if bits & INTERRUPT != 0 {
                return Err(format!("{task} has not answered; given up by Ctrl-C"));
            }
            if bits & bits::PEER != 0 {
                // As in `sleep`.
                self.subscribe_interrupt("call");
            }
        };
        thread.join();
        let reply = reply.map_err(|error| error.to_string())?;
        if let Some(handle) = reply.handle {
            // Nothing at a prompt could use it.
            let _ = rt::ipc::close(handle);
        }
        Ok((reply.label, reply.words))
    }
}
