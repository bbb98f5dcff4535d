//! A fake world for the tests of the commands.

use crate::world::{Answer, World};
use abi::error::{DeathKind, FaultRecord};
use abi::manifest::{Grant, TaskRecord};
use abi::syscall::KERNEL_LOG;
use abi::task::{Activity, SystemInfo, TaskState, TaskStatus};
use abi::{TaskId, name_from};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use rt::exec::Lend;
use supervisor::Plan;
use zerocopy::FromZeros;

/// The state that commands see, and a record of their effects.
#[derive(Default)]
pub struct Fake {
    pub out: String,
    pub done: Vec<String>,
    pub statuses: Vec<u8>,
    pub tasks: Vec<TaskRecord>,
    pub status: Vec<TaskStatus>,
    pub info: SystemInfo,
    pub logs: Vec<(u64, Vec<u8>)>,
    pub end: Option<(DeathKind, FaultRecord)>,
    pub trouble: String,
    pub interrupted: bool,
    /// Whether Ctrl-C was pressed while a command ran that does not wait.
    pub pressed: bool,
    pub keymap: u64,
    pub spawned: u32,
    pub plan: Option<Plan>,
    /// Whether the shell may call all tasks.
    pub callable: bool,
    /// The state of the killed task after a kill.
    pub after_kill: Option<TaskStatus>,
    pub answer: Option<Result<Answer, String>>,
}

fn record(name: &str, priority: u8, calls: &[u16]) -> TaskRecord {
    let mut record = TaskRecord::new_zeroed();
    record.name = name_from(name).unwrap();
    record.priority = priority;
    for &peer in calls {
        assert!(record.add(Grant::peer("", peer)));
    }
    record.frame_quota = 64;
    record.stack_frames = 8;
    record.handle_quota = 32;
    record.object_quota = 24;
    record.restart = 2;
    record.flags = TaskRecord::START;
    record
}

/// A world with six tasks, some of them dead or busy.
pub fn fake() -> Fake {
    let mut serial = record("serial", 2, &[]);
    assert!(serial.add(Grant::ports("", 0x3f8, 8)) && serial.add(Grant::irq("rx", 4, 0)));
    serial.keep_frames = 2;
    let mut vga = record("vga", 2, &[]);
    assert!(vga.add(Grant::range("text", 0xb8000, 0x8000, Grant::WRITE)));
    let mut supervisor = record("supervisor", 1, &[]);
    supervisor.flags |= TaskRecord::CONTROL | TaskRecord::INSPECT | TaskRecord::ARCHIVE;
    let mut shell = record("shell", 6, &[0, 3]);
    shell.heartbeat_ms = 500;
    let mut fault = record("fault", 8, &[]);
    fault.restart = 0;
    fault.flags = 0;
    let tasks = vec![supervisor, serial, vga, record("console", 4, &[1, 2]), shell, fault];
    let status = |index: u16, state: TaskState, activity: Activity| TaskStatus {
        id: TaskId { index, generation: u32::from(state != TaskState::Empty) }.to_u32(),
        state: state as u32,
        activity: activity as u32,
        priority: tasks[usize::from(index)].priority.into(),
        cpu_ns: 10_000_000 * u64::from(index),
        frames: 30,
        frame_quota: 64,
        handles: 4,
        handle_quota: 32,
        object_quota: 24,
        threads: u32::from(state == TaskState::Running),
        waits_for: u32::MAX,
        ..TaskStatus::default()
    };
    let mut statuses = vec![
        status(0, TaskState::Running, Activity::Waiting),
        status(1, TaskState::Running, Activity::Ready),
        status(2, TaskState::Dead, Activity::None),
        status(3, TaskState::Running, Activity::Replying),
        status(4, TaskState::Running, Activity::Running),
        status(5, TaskState::Empty, Activity::None),
    ];
    statuses[3].waits_for = 1;
    statuses[1].id = TaskId { index: 1, generation: 3 }.to_u32();
    Fake {
        tasks,
        status: statuses,
        info: SystemInfo {
            frames_total: 65_536,
            frames_free: 60_000,
            frames_kernel: 1_000,
            heap_used: 12_345,
            heap_size: 1_048_576,
            uptime_ns: 1_000_000_000,
            idle_ns: 900_000_000,
            tasks: 6,
            threads: 5,
            switches: 1_234_567,
            space_switches: 654_321,
            boot_ticks: 900_000,
            ..SystemInfo::default()
        },
        logs: vec![(1, b"up\nsaid \x1b[2J".to_vec()), (KERNEL_LOG, b"kernel line\n".to_vec())],
        ..Fake::default()
    }
}

impl World for Fake {
    fn print(&mut self, text: &str) {
        self.out.push_str(text);
    }
    fn finished(&mut self, status: u8) {
        self.statuses.push(status);
    }
    fn clear(&mut self) -> Result<(), String> {
        self.done.push("clear".into());
        Ok(())
    }
    fn set_color(&mut self, foreground: u8, background: u8) -> Result<(), String> {
        self.done.push(format!("color {foreground} {background}"));
        Ok(())
    }
    fn tasks(&self) -> Rc<[TaskRecord]> {
        self.tasks.clone().into()
    }
    fn status(&self, index: usize) -> Result<TaskStatus, String> {
        Ok(self.status[index])
    }
    fn system_info(&self) -> Result<SystemInfo, String> {
        Ok(self.info)
    }
    fn log_read(&self, log: u64, position: u64, buf: &mut [u8]) -> Result<(usize, u64), String> {
        let empty = Vec::new();
        let text = self.logs.iter().find(|(of, _)| *of == log).map_or(&empty, |(_, text)| text);
        let rest = text.get(position as usize..).unwrap_or_default();
        // Short reads, to test that the reader continues.
        let len = rest.len().min(buf.len()).min(3);
        buf[..len].copy_from_slice(&rest[..len]);
        Ok((len, position))
    }
    fn fault(&self, _: usize) -> Option<FaultRecord> {
        self.end.map(|(_, record)| record)
    }
    fn function(&self, task: &str, address: u64) -> Option<String> {
        (address != 0).then(|| format!("{task}::somewhere"))
    }
    fn kill(&mut self, id: TaskId) -> Result<(), String> {
        self.done.push(format!("kill {} {}", id.index, id.generation));
        if let Some(status) = self.after_kill {
            self.status[usize::from(id.index)] = status;
            return Err("that life has ended".into());
        }
        if id.index == 0 { Err("the supervisor does not allow that".into()) } else { Ok(()) }
    }
    fn spawn(&mut self, name: &str, argument: &str) -> Result<TaskId, String> {
        self.done.push(format!("spawn {name} <{argument}>"));
        self.spawned += 1;
        Ok(TaskId { index: 5, generation: self.spawned })
    }
    fn wait(&mut self, id: TaskId) -> Result<DeathKind, String> {
        assert_eq!(id.index, 5);
        Ok(self.end.map_or(DeathKind::Alive, |(kind, _)| kind))
    }
    fn plan(&self, index: usize) -> Option<Plan> {
        let running = self.status[index].state == TaskState::Running as u32;
        if running { Some(Plan::Runs) } else { self.plan }
    }
    fn keymap(&mut self) -> Result<u64, String> {
        Ok(self.keymap)
    }
    fn set_keymap(&mut self, number: u64) -> Result<(), String> {
        self.keymap = number;
        Ok(())
    }
    fn now_ns(&self) -> u64 {
        self.info.uptime_ns
    }
    fn trouble(&self) -> String {
        self.trouble.clone()
    }
    fn begin(&mut self) {
        self.pressed = false;
    }
    fn interrupted(&mut self) -> bool {
        core::mem::take(&mut self.pressed)
    }
    fn sleep(&mut self, ns: u64) -> Result<bool, String> {
        self.done.push(format!("sleep {ns}"));
        Ok(self.interrupted)
    }
    fn shutdown(&mut self) -> Result<(), String> {
        self.done.push("shutdown".into());
        Ok(())
    }
    fn reboot(&mut self) -> Result<(), String> {
        Err("the task power is gone for good".into())
    }
    fn may_call(&self, task: &str) -> bool {
        self.callable || matches!(task, "supervisor" | "console")
    }
    fn protocol(&self, task: &str) -> Option<String> {
        (task == "supervisor").then(|| supervisor::protocol::DESCRIPTION.into())
    }
    fn call(
        &mut self,
        task: &str,
        label: u16,
        words: [u64; 4],
        lent: Vec<Lend>,
    ) -> Result<(Answer, Vec<Lend>), String> {
        let memory: String = lent.iter().map(|lend| format!(" {lend:?}")).collect();
        self.done.push(format!("call {task} {label} {words:?}{memory}"));
        self.answer.clone().unwrap_or(Ok((0, [0; 4]))).map(|answer| (answer, lent))
    }
}
