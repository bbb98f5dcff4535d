//! What the shell needs of the rest of the system, so that the commands can be tested without it.

use abi::TaskId;
use abi::error::{DeathKind, FaultRecord};
use abi::manifest::TaskRecord;
use abi::task::{SystemInfo, TaskStatus};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use rt::exec::Lend;
use supervisor::Plan;

/// The answer to a message: outcome label and words.
pub type Answer = (u16, [u64; 4]);

/// The system around the shell. Errors are sentences for people.
pub trait World {
    /// Prints at the console.
    fn print(&mut self, text: &str);
    /// Tells whoever reads the console by program that a line is done, and how it ended; a person does not see it.
    fn finished(&mut self, status: u8);
    /// A line is read next: a Ctrl-C that has come is not meant for it.
    fn begin(&mut self);
    /// Whether Ctrl-C was pressed since then, and ended nothing yet; it is taken.
    fn interrupted(&mut self) -> bool;
    /// A line for each display that does not show what it is given, and why.
    fn trouble(&self) -> String;
    /// Clears the console.
    fn clear(&mut self) -> Result<(), String>;
    /// Sets the console's colours, 0 to 15 each, as VGA numbers them.
    fn set_color(&mut self, foreground: u8, background: u8) -> Result<(), String>;
    /// The task table.
    fn tasks(&self) -> Rc<[TaskRecord]>;
    /// What the task of this row does now.
    fn status(&self, index: usize) -> Result<TaskStatus, String>;
    /// The machine's counters.
    fn system_info(&self) -> Result<SystemInfo, String>;
    /// Reads the log of a task, or [`abi::syscall::KERNEL_LOG`]: bytes read, position of the first.
    fn log_read(&self, log: u64, position: u64, buf: &mut [u8]) -> Result<(usize, u64), String>;
    /// The record of the task's last death.
    fn fault(&self, index: usize) -> Option<FaultRecord>;
    /// The function of `task` that holds an address.
    fn function(&self, task: &str, address: u64) -> Option<String>;
    /// Ends a life.
    fn kill(&mut self, id: TaskId) -> Result<(), String>;
    /// Starts a task.
    fn spawn(&mut self, name: &str, argument: &str) -> Result<TaskId, String>;
    /// Waits for the end of a life and for its report.
    fn wait(&mut self, id: TaskId) -> Result<DeathKind, String>;
    /// What is to become of the task of this row; `None` where the supervisor cannot be asked.
    fn plan(&self, index: usize) -> Option<Plan>;
    /// The number of the keyboard's layout, see [`crate::commands::KEYMAPS`].
    fn keymap(&mut self) -> Result<u64, String>;
    /// Sets it.
    fn set_keymap(&mut self, number: u64) -> Result<(), String>;
    /// Nanoseconds since boot.
    fn now_ns(&self) -> u64;
    /// Waits; `true` where Ctrl-C ended it early.
    fn sleep(&mut self, ns: u64) -> Result<bool, String>;
    /// Turns the machine off, and returns only where that failed.
    fn shutdown(&mut self) -> Result<(), String>;
    /// Resets the machine, and returns only where that failed.
    fn reboot(&mut self) -> Result<(), String>;
    /// Whether the shell may call this task.
    fn may_call(&self, task: &str) -> bool;
    /// The protocol that a task's program serves, as text: see [`crate::protocol`].
    fn protocol(&self, task: &str) -> Option<String>;
    /// Calls it, lending memory, which comes back.
    fn call(&mut self, task: &str, label: u16, words: [u64; 4], lent: Vec<Lend>)
    -> Result<(Answer, Vec<Lend>), String>;
}
