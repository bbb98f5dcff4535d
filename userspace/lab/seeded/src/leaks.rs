//! Whether everything that was taken came back: counters before and after.

use abi::task::{SystemInfo, TaskStatus};
use alloc::string::String;
use alloc::vec::Vec;

/// What a task holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub name: String,
    /// Frames, handles, kernel objects, threads.
    pub counts: [u64; 4],
}

/// The machine's counters, and those of each task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    machine: [u64; 9],
    tasks: Vec<Held>,
}

const MACHINE: [&str; 9] =
    ["frames", "kernel-frames", "kernel-heap", "threads", "endpoints", "notifications", "memories", "timers", "tasks"];
const TASK: [&str; 4] = ["frames", "handles", "objects", "threads"];

/// The kernel's heap holds the free lists of frames, whose nodes come and go with the order in which frames are freed: by so many bytes it
/// may differ. A leak of one node with each death would be far more.
const HEAP_SLACK: u64 = 8192;

/// A counter that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Whose: a task's name, or `machine`.
    pub who: String,
    /// Which.
    pub what: &'static str,
    /// Before and after.
    pub values: [u64; 2],
}

impl Counters {
    /// From what the kernel tells.
    pub fn new(info: &SystemInfo, tasks: impl Iterator<Item = (String, TaskStatus)>) -> Counters {
        let used = info.frames_total - info.frames_free;
        let machine = [
            used,
            info.frames_kernel,
            info.heap_used,
            info.threads.into(),
            info.endpoints.into(),
            info.notifications.into(),
            info.memories.into(),
            info.timers.into(),
            info.tasks.into(),
        ];
        let counts = |t: &TaskStatus| [t.frames.into(), t.handles.into(), t.objects.into(), t.threads.into()];
        Counters { machine, tasks: tasks.map(|(name, status)| Held { name, counts: counts(&status) }).collect() }
    }

    /// What differs afterwards, whether more or less.
    pub fn compare(&self, after: &Counters) -> Vec<Leak> {
        let mut leaks = Vec::new();
        let mut note = |who: &str, what: &'static str, before: u64, after: u64| {
            if before != after {
                leaks.push(Leak { who: who.into(), what, values: [before, after] });
            }
        };
        for ((what, &before), &after) in MACHINE.into_iter().zip(&self.machine).zip(&after.machine) {
            if what == "kernel-heap" && before.abs_diff(after) <= HEAP_SLACK {
                continue;
            }
            note("machine", what, before, after);
        }
        for (one, other) in self.tasks.iter().zip(&after.tasks) {
            for ((what, &before), &after) in TASK.into_iter().zip(&one.counts).zip(&other.counts) {
                note(&one.name, what, before, after);
            }
        }
        note("machine", "rows", self.tasks.len() as u64, after.tasks.len() as u64);
        leaks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(change: impl FnOnce(&mut SystemInfo, &mut TaskStatus)) -> Counters {
        let mut info = SystemInfo { frames_total: 100, frames_free: 60, timers: 3, ..SystemInfo::default() };
        let mut task = TaskStatus { frames: 9, handles: 4, objects: 5, threads: 1, ..TaskStatus::default() };
        change(&mut info, &mut task);
        Counters::new(&info, [("one".into(), task)].into_iter())
    }

    #[test]
    fn nothing_leaks_where_nothing_changed() {
        assert_eq!(counters(|_, _| {}).compare(&counters(|_, _| {})), []);
    }

    #[test]
    fn one_frame_handle_or_object_is_noticed() {
        let before = counters(|_, _| {});
        let leaked = |change: fn(&mut SystemInfo, &mut TaskStatus)| {
            let leaks = before.compare(&counters(change));
            leaks.iter().map(|leak| (leak.who.clone(), leak.what, leak.values)).collect::<Vec<_>>()
        };
        assert_eq!(leaked(|info, _| info.frames_free -= 1), [("machine".into(), "frames", [40, 41])]);
        assert_eq!(leaked(|info, _| info.timers += 1), [("machine".into(), "timers", [3, 4])]);
        assert_eq!(leaked(|info, _| info.heap_used += HEAP_SLACK), []);
        assert_eq!(leaked(|info, _| info.heap_used += 9000), [("machine".into(), "kernel-heap", [0, 9000])]);
        assert_eq!(leaked(|_, task| task.handles += 1), [("one".into(), "handles", [4, 5])]);
        assert_eq!(leaked(|_, task| task.objects -= 1), [("one".into(), "objects", [5, 4])]);
        assert_eq!(before.compare(&Counters { tasks: Vec::new(), ..before.clone() }).len(), 1);
    }
}
