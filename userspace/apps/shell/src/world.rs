//! The interface to the rest of the system, so that commands can be tested without it.

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
    /// Prints text on the console.
    fn print(&mut self, text: &str);
    /// Reports that a line is done, with its status, to a program that reads the console; a person
    /// does not see it.
    fn finished(&mut self, status: u8);
    /// To be called before a line is read: a Ctrl-C that came before is dropped.
    fn begin(&mut self);
    /// Takes a Ctrl-C that came since [`World::begin`] and has ended nothing yet.
    fn interrupted(&mut self) -> bool;
    /// A line of text for each display whose output cannot be seen, with the reason.
    fn trouble(&self) -> String;
    /// Clears the console.
    fn clear(&mut self) -> Result<(), String>;
    /// Sets the console's colours, 0 to 15 each, as VGA numbers them.
    fn set_color(&mut self, foreground: u8, background: u8) -> Result<(), String>;
    /// The task table.
    fn tasks(&self) -> Rc<[TaskRecord]>;
    /// State of the task in this row.
    fn status(&self, index: usize) -> Result<TaskStatus, String>;
    /// The machine's counters.
    fn system_info(&self) -> Result<SystemInfo, String>;
    /// Reads the log of a task, or [`abi::syscall::KERNEL_LOG`], from a position on; returns the
    /// number of bytes, and the position of the first.
    fn log_read(&self, log: u64, position: u64, buf: &mut [u8]) -> Result<(usize, u64), String>;
    /// The fault record of the last death of the task in this row.
    fn fault(&self, index: usize) -> Option<FaultRecord>;
    /// The function of `task` that contains an address.
    fn function(&self, task: &str, address: u64) -> Option<String>;
    /// Ends a life of a task.
    fn kill(&mut self, id: TaskId) -> Result<(), String>;
    /// Starts a task; returns its new life.
    fn spawn(&mut self, name: &str, argument: &str) -> Result<TaskId, String>;
    /// Waits until a life has ended and its report is printed.
    fn wait(&mut self, id: TaskId) -> Result<DeathKind, String>;
    /// The supervisor's plan for the task in this row; `None` if the supervisor cannot be asked.
    fn plan(&self, index: usize) -> Option<Plan>;
    /// The number of the keyboard's layout, see [`crate::commands::KEYMAPS`].
    fn keymap(&mut self) -> Result<u64, String>;
    /// Sets the keyboard's layout by its number.
    fn set_keymap(&mut self, number: u64) -> Result<(), String>;
    /// Nanoseconds since boot.
    fn now_ns(&self) -> u64;
    /// Waits; `true` if Ctrl-C ended that early.
    fn sleep(&mut self, ns: u64) -> Result<bool, String>;
    /// Powers the machine off; returns only if that failed.
    fn shutdown(&mut self) -> Result<(), String>;
    /// Resets the machine; returns only if that failed.
    fn reboot(&mut self) -> Result<(), String>;
    /// Whether the shell may call this task.
    fn may_call(&self, task: &str) -> bool;
    /// The protocol that a task's program serves, as text: see [`crate::protocol`].
    fn protocol(&self, task: &str) -> Option<String>;
    /// Calls a task, and lends memory, which is returned.
    fn call(&mut self, task: &str, label: u16, words: [u64; 4], lent: Vec<Lend>)
    -> Result<(Answer, Vec<Lend>), String>;
}
