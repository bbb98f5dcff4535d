//! The assistant: see the library for what it can be asked.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod hunger;
mod roles;

use abi::Status;
use abi::message::{Header, Kind, Kinds, ReplyToken, Rights};
use abi::syscall::Syscall;
use alloc::vec::Vec;
use assist::raw::{Registers, syscall};
use assist::{Flood, role, threads};
use rt::ipc::{Handle, Request};
use rt::notify::Notification;
use rt::syscall as sys;
use rt::{Answer, Driver};

rt::entry!(run);

fn run() {
    let mut words = rt::arg().split(' ');
    match words.next().unwrap_or_default() {
        "" | role::SERVE => rt::serve(Assistant::init()),
        other => roles::play(other, words),
    }
}

/// The server.
struct Assistant {
    kept: Vec<(u64, ReplyToken)>,
    second_status: u64,
    notes: u64,
    last_note: u64,
    counted: u64,
    /// What [`assist::GIVE`] hands out.
    given: Vec<Handle>,
}

impl Driver for Assistant {
    const TAKES: Kinds = Kinds::NOTIFICATION.union(Kinds::ENDPOINT);

    fn init() -> Self {
        Assistant { kept: Vec::new(), second_status: u64::MAX, notes: 0, last_note: 0, counted: 0, given: Vec::new() }
    }

    fn request(&mut self, request: &Request) -> Answer {
        let words = request.words;
        match request.label {
            assist::ECHO => Answer::Reply(0, words),
            assist::LABEL => Answer::Reply(words[0] as u16, [words[3], words[2], words[1], words[0]]),
            assist::SUM => sum(request),
            assist::SUM_LATER => {
                rt::time::sleep_ms(words[0]);
                sum(request)
            }
            assist::FILL => fill(request),
            assist::ABUSE_LEASES => abuse_leases(request),
            assist::KEEP => {
                self.kept.push((words[0], request.token));
                Answer::Deferred
            }
            assist::RELEASE => self.release(words[0], words[1]),
            assist::KEPT => done(self.kept.len() as u64, 0),
            assist::ANSWER_TWICE => {
                let _ = sys::reply(request.token, Header::new(0), [1, 2, 3, 4], 0);
                self.second_status = code(sys::reply(request.token, Header::new(7), [9; 4], 0));
                Answer::Deferred
            }
            assist::SECOND_STATUS => done(self.second_status, 0),
            assist::DIE => {
                rt::time::sleep_ms(words[0]);
                if let Some(kind) = fault::KINDS.get(words[1] as usize) {
                    (kind.commit)();
                }
                Answer::bad_request()
            }
            assist::SLEEP => {
                rt::time::sleep_ms(words[0]);
                done(0, 0)
            }
            assist::TAKE_HANDLE => take_handle(request),
            assist::RING => ring(request),
            assist::CALL_BACK => call_back(request),
            assist::GIVE_MEMORY => give_memory(words[0]),
            assist::FLOOD => flood(words[0]),
            assist::WHO => done(rt::me().to_u32().into(), 0),
            assist::COPY_WILD => copy_wild(request),
            assist::NOTE => {
                self.notes += 1;
                self.last_note = words[0];
                Answer::Deferred
            }
            assist::COUNT => {
                self.counted += 1;
                Answer::Reply(0, [self.counted, words[1], words[2], words[3]])
            }
            assist::TOKEN => {
                let kept = self.kept.iter().find(|&&(key, _)| key == words[0]);
                done(kept.map_or(0, |(_, token)| token.0), 0)
            }
            assist::FORGE_REPLY => done(code(sys::reply(ReplyToken(words[0]), Header::new(0), [u64::MAX; 4], 0)), 0),
            assist::FLOOD_SENDS => flood_sends(words[0]),
            assist::SAY => {
                rt::println!("said {}", words[0]);
                done(0, 0)
            }
            assist::GIVE => self.give(words),
            assist::NOTES => done(self.notes, self.last_note),
            _ => Answer::bad_request(),
        }
    }
}

impl Assistant {
    /// Something of the kind in word 0, which is made once.
    fn give(&mut self, words: [u64; 4]) -> Answer {
        let Some(kind) = Kind::from_u64(words[0]) else { return Answer::bad_request() };
        if let Some(&given) = self.given.iter().find(|given| given.kind == kind) {
            return Answer::ReplyHandle(0, words, given);
        }
        let made = match kind {
            Kind::Endpoint => sys::endpoint_create(),
            Kind::Notification => sys::notification_create(),
            _ => sys::memory_create(256, false),
        };
        let Ok(number) = made else { return Answer::bad_request() };
        self.given.push(Handle { kind, number, rights: Rights::all() });
        self.give(words)
    }

    fn release(&mut self, key: u64, word: u64) -> Answer {
        let Some(at) = self.kept.iter().position(|&(kept, _)| kept == key) else {
            return done(u64::MAX, 0);
        };
        let (_, token) = self.kept.remove(at);
        done(code(sys::reply(token, Header::new(0), [key, word, 0, 0], 0)), 0)
    }
}

fn done(first: u64, second: u64) -> Answer {
    Answer::Reply(0, [first, second, 0, 0])
}

/// A result as the number of its status.
fn code<T>(result: Result<T, Status>) -> u64 {
    result.err().unwrap_or(Status::Ok) as u32 as u64
}

fn sum(request: &Request) -> Answer {
    let Ok(length) = request.lease_len(0) else {
        return Answer::bad_request();
    };
    let mut buffer = [0; 512];
    let (mut total, mut at) = (0_u64, 0);
    while at < length {
        match request.read(0, at, &mut buffer) {
            Ok(count @ 1..) => {
                total += buffer[..count].iter().map(|&byte| u64::from(byte)).sum::<u64>();
                at += count;
            }
            _ => break,
        }
    }
    Answer::Reply(0, [total, length as u64, at as u64, 0])
}

fn fill(request: &Request) -> Answer {
    let [byte, offset, length, _] = request.words;
    let bytes = alloc::vec![byte as u8; length as usize];
    match request.write(0, offset as usize, &bytes) {
        Ok(count) => done(count as u64, 0),
        Err(status) => done(0, status as u32 as u64),
    }
}

fn abuse_leases(request: &Request) -> Answer {
    let mut buffer = [0; 4];
    let past_the_end = request.lease_len(0).unwrap_or(0) + 1;
    let words = [
        code(sys::lease_write(request.token, 0, 0, &buffer)),
        code(sys::lease_read(request.token, 1, 0, &mut buffer)),
        code(sys::lease_read(request.token, 2, 0, &mut buffer)),
        code(sys::lease_read(request.token, 0, past_the_end, &mut buffer)),
    ];
    Answer::Reply(0, words)
}

fn take_handle(request: &Request) -> Answer {
    let Some(Handle { number: handle, .. }) = request.handle else {
        return Answer::bad_request();
    };
    let signalled = code(sys::signal(handle, request.words[0]));
    let taken = code(sys::poll(handle, u64::MAX));
    let duplicated = code(sys::handle_dup(handle, Rights::SIGNAL, 0));
    let _ = sys::handle_close(handle);
    Answer::Reply(0, [signalled, taken, duplicated, code(sys::handle_close(handle))])
}

fn ring(request: &Request) -> Answer {
    let Some(Handle { number: handle, .. }) = request.handle else {
        return Answer::bad_request();
    };
    let bits = |set: &dyn Fn(u32) -> Result<(), Status>| {
        (0..64).filter(|&bit| set(bit).is_ok()).fold(0, |all, bit| all | 1_u64 << bit)
    };
    let all = code(sys::signal(handle, u64::MAX));
    let signalled = bits(&|bit| sys::signal(handle, 1 << bit));
    let copied = sys::handle_dup(handle, Rights::all(), u64::MAX).map_or(0, |copy| {
        let signalled = bits(&|bit| sys::signal(copy, 1 << bit));
        let _ = sys::handle_close(copy);
        signalled
    });
    let timed = bits(&|bit| {
        let timer = sys::timer_create(handle, bit)?;
        sys::timer_arm(timer, 0)?;
        // It fires at the next tick.
        rt::time::sleep_ms(2);
        sys::handle_close(timer)
    });
    let _ = sys::handle_close(handle);
    Answer::Reply(0, [signalled, timed, copied, all])
}

fn call_back(request: &Request) -> Answer {
    let Some(Handle { number: handle, .. }) = request.handle else {
        return Answer::bad_request();
    };
    let result = sys::call(handle, Header::new(1), [0; 4]).map_err(|failure| failure.status);
    let _ = sys::handle_close(handle);
    done(code(result), 0)
}

fn give_memory(word: u64) -> Answer {
    let give = || {
        let memory = sys::memory_create(1, false)?;
        // SAFETY: the kernel chooses a free address for this fresh object, so nothing else refers to it.
        let address = unsafe { sys::memory_map(memory, 0, true) }?;
        // SAFETY: the page is mapped writable and page-aligned, and this is its only user.
        unsafe { (address as *mut u64).write(word) };
        // SAFETY: nothing refers to the mapping any more.
        unsafe { sys::memory_unmap(address) }?;
        Ok::<u32, Status>(memory)
    };
    match give() {
        Ok(memory) => Answer::ReplyHandle(0, [0; 4], Handle::memory(memory, Rights::READ)),
        Err(_) => Answer::bad_request(),
    }
}

/// Makes objects until one is refused. They stay until this life ends.
fn flood(kind: u64) -> Answer {
    /// More than any quota allows; of the log's 1 MiB, because each byte of it goes to a port too.
    const ENOUGH: u64 = 200_000;
    const ENOUGH_LOG: u64 = 1024;
    let Some(kind) = Flood::from_u64(kind) else {
        return Answer::bad_request();
    };
    let memory = if kind == Flood::Mappings { sys::memory_create(1, false) } else { Ok(0) };
    let Ok(memory) = memory else {
        return Answer::bad_request();
    };
    let deaf = if kind == Flood::Calls { sys::endpoint_create() } else { Ok(0) };
    let Ok(deaf) = deaf else {
        return Answer::bad_request();
    };
    let make = || match kind {
        Flood::Endpoints => sys::endpoint_create().map(drop),
        Flood::Notifications => Notification::create().map(drop),
        Flood::Timers => sys::timer_create(Notification::own().0, 40).map(drop),
        Flood::SmallMemory => sys::memory_create(1, false).map(drop),
        Flood::LargeMemory => sys::memory_create(256, false).map(drop),
        Flood::Handles => sys::handle_dup(Notification::own().0, Rights::SIGNAL, 0).map(drop),
        // SAFETY: nobody looks at this memory, however often it is mapped.
        Flood::Mappings => unsafe { sys::memory_map(memory, 0, true) }.map(drop),
        Flood::Threads => threads::start(threads::yield_forever, 0, 31).map(drop),
        Flood::Calls => threads::start(threads::call_forever, deaf.into(), 31).map(drop),
        Flood::Log => sys::log_write(&LINE).map(drop),
    };
    let enough = if kind == Flood::Log { ENOUGH_LOG } else { ENOUGH };
    for count in 0..enough {
        if let Err(status) = make() {
            return done(count, status as u32 as u64);
        }
    }
    done(enough, Status::Ok as u32 as u64)
}

/// What floods the log: a line, as long as one call takes.
static LINE: [u8; 1024] = {
    let mut line = [b'.'; 1024];
    line[1023] = b'\n';
    line
};

fn flood_sends(count: u64) -> Answer {
    let send = || {
        let deaf = sys::endpoint_create()?;
        let mut refused = 0;
        for i in 0..count {
            refused += u64::from(sys::send(deaf, Header::new(1), [i; 4], 0) == Err(Status::WouldBlock));
        }
        sys::handle_close(deaf)?;
        Ok::<u64, Status>(refused)
    };
    done(send().unwrap_or(0), 0)
}

fn copy_wild(request: &Request) -> Answer {
    let [address, direction, length, _] = request.words;
    let number = if direction == 0 { Syscall::LeaseRead } else { Syscall::LeaseWrite };
    let registers = Registers { rdi: request.token.0, r10: address, r8: length, ..Registers::default() };
    // SAFETY: the suite names only addresses where this task has nothing; the kernel is to refuse them.
    let outcome = unsafe { syscall(number as u64, registers) };
    done(outcome.code, 0)
}
