use super::*;
use abi::error::MESSAGE_LEN;
use zerocopy::FromZeros;

const SYMBOLS: &[u8] = b"201000 10 _start\n\
201100 40 fault::kinds::divide_by_zero\n\
201140 40 core::panicking::panic_fmt\n\
201180 20 rt::panic::handler\n\
2011c0 20 fault::kinds::overflow_the_stack_in_a_very_long_module::with_a_very_long::function_name\n";

fn record(kind: DeathKind) -> FaultRecord {
    let mut record = FaultRecord::new_zeroed();
    record.kind = kind as u32;
    record.task = TaskId { index: 1, generation: 3 }.to_u32();
    record.rip = 0x201108;
    record.rsp = STACK_TOP - 0x100;
    record
}

fn exception(vector: u32, error_code: u64, address: u64) -> FaultRecord {
    FaultRecord { vector, error_code, address, ..record(DeathKind::Exception) }
}

fn report(record: &FaultRecord, next: Next) -> Vec<String> {
    let tasks = &["supervisor", "serial", "shell"];
    let lines =
        Crash { name: "serial", record, symbols: SYMBOLS, lines: &[], stack_bytes: 0x4000, next, tasks }.lines();
    for line in &lines {
        assert!(line.chars().count() <= WIDTH, "{} columns: {line}", line.chars().count());
        assert!(!line.contains('\n'));
    }
    lines
}

fn text(record: &FaultRecord) -> String {
    report(record, Next::Stay).join("\n")
}

fn with_message(mut record: FaultRecord, message: &str) -> FaultRecord {
    let len = message.len().min(MESSAGE_LEN);
    record.message[..len].copy_from_slice(&message.as_bytes()[..len]);
    record.message_len = len as u32;
    record
}

fn with_code(mut record: FaultRecord, code: &[u8]) -> FaultRecord {
    record.code[..code.len()].copy_from_slice(code);
    record.code_len = code.len() as u32;
    record
}

#[test]
fn a_whole_report() {
    let mut record = exception(14, 4 | 2, 8);
    record.registers = core::array::from_fn(|i| i as u64);
    record.rflags = 0x10202;
    record.backtrace[0] = 0x201140;
    record.backtrace[1] = 0x20100c;
    record.backtrace_len = 2;
    record.last_received = [2, TaskId { index: 2, generation: 1 }.to_u32()];
    record.last_sent = [7, 4];
    let expected = "\
serial (life 3) crashed: page fault (#PF)
  write to 0x0000000000000008: nothing is mapped there
  a null pointer, or a field at a null pointer
  at 0x201108 fault::kinds::divide_by_zero+0x8
  rax 0000000000000000 rbx 0000000000000001 rcx 0000000000000002
  rdx 0000000000000003 rsi 0000000000000004 rdi 0000000000000005
  rbp 0000000000000006 r8  0000000000000007 r9  0000000000000008
  r10 0000000000000009 r11 000000000000000a r12 000000000000000b
  r13 000000000000000c r14 000000000000000d r15 000000000000000e
  rsp 00007fffefffff00 rfl 0000000000010202
  called from 0x201140 fault::kinds::divide_by_zero+0x40
         from 0x20100c _start+0xc
  last received: label 2 from shell (life 1)
  last sent: label 7 on handle 4
  restarting in 50 ms";
    assert_eq!(report(&record, Next::Restart { delay_ms: 50 }).join("\n"), expected);
}

#[test]
fn page_faults_in_words() {
    let words = |error_code, address| report(&exception(14, error_code, address), Next::Stay)[1..3].join("\n");
    assert!(words(4, 0).contains("read from 0x0000000000000000: nothing is mapped"));
    assert!(words(4, 0).contains("null pointer"));
    assert!(words(7, 0x201000).contains("write to 0x0000000000201000: the page is read-only"));
    assert!(words(0x15, 0x301000).contains("execute at 0x0000000000301000: the page is not executable"));
    assert!(words(5, 0xffff_ffff_8000_0000).contains("the page is the kernel's\n  a kernel address"));
    assert!(words(6, STACK_TOP - 0x4000 - 8).contains("guard page: stack overflow"));
    assert!(words(7, INFO_ADDR + 8).contains("info page"));
}

#[test]
fn a_fault_beside_another_threads_stack_pointer_hints_at_its_stack() {
    let mut record = exception(14, 6, 0x1000_0000_0ff8);
    record.rsp = 0x1000_0000_1010;
    assert!(text(&record).contains("stack overflow?"));
    record.rsp = 0x1000_0100_0000;
    assert!(!text(&record).contains("stack overflow"));
}

#[test]
fn general_protection_names_the_instruction() {
    let mut record = with_code(exception(13, 0, 0), &[0xec, 0x90]);
    record.registers[RDX] = 0x3f8;
    assert!(text(&record).contains("in from port 0x3f8 (dx), which is not granted"));
    let record = with_code(exception(13, 0, 0), &[0x8b, 0x00]);
    assert!(text(&record).contains("non-canonical address"));
    assert!(text(&record).contains("code at rip: 8b 00"));
}

#[test]
fn other_exceptions_in_words() {
    assert!(text(&exception(0, 0, 0)).contains("division by zero"));
    assert!(text(&exception(3, 0, 0)).contains("int3"));
    assert!(text(&with_code(exception(6, 0, 0), &[0x0f, 0x0b])).contains("\n  ud2\n"));
    assert!(text(&with_code(exception(6, 0, 0), &[0x06])).contains("no such instruction"));
    assert!(text(&exception(12, 0, 0)).contains("stack address is not canonical"));
    assert!(text(&exception(17, 0, 0)).contains("misaligned access"));
    assert!(text(&exception(99, 0, 0)).contains("unknown exception"));
}

#[test]
fn a_panic_shows_message_and_the_function_that_called_the_machinery() {
    let mut record = with_message(record(DeathKind::Panicked), "panicked at src/main.rs:7:5:\nindex out of bounds");
    record.rip = 0x201190;
    record.backtrace[..2].copy_from_slice(&[0x201160, 0x201120]);
    record.backtrace_len = 2;
    let lines = report(&record, Next::Restart { delay_ms: 0 });
    assert_eq!(lines[0], "serial (life 3) panicked");
    assert_eq!(lines[1], "  | panicked at src/main.rs:7:5:");
    assert_eq!(lines[2], "  | index out of bounds");
    assert_eq!(lines[3], "  at 0x201120 fault::kinds::divide_by_zero+0x20");
    assert_eq!(lines.last().map(String::as_str), Some("  restarting now"));
}

#[test]
fn a_panic_names_the_function_whose_last_instruction_was_the_call() {
    let mut record = with_message(record(DeathKind::Panicked), "too much");
    record.rip = 0x201190;
    // The first byte of the function behind it.
    record.backtrace[..2].copy_from_slice(&[0x201160, 0x201140]);
    record.backtrace_len = 2;
    assert_eq!(report(&record, Next::Stay)[2], "  at 0x201140 fault::kinds::divide_by_zero+0x40");
}

/// A function, its file, its line, and the number of the one that it is inlined in, counted from 1;
/// 0 for none.
type Site = (&'static str, &'static str, u32, u32);

/// A table of lines as `lines` says that it looks: for each of `ranges`, which follow each other
/// from `base` on, its length below 128 and its site.
fn lines_table(base: u64, ranges: &[(u8, u8)], all: &[Site]) -> Vec<u8> {
    let (mut names, mut text) = (Vec::new(), Vec::new());
    let mut name = |name: &str| {
        names.extend((text.len() as u32).to_le_bytes());
        text.extend(name.bytes());
        (names.len() / 4 - 1) as u16
    };
    let (mut sites, mut stream, mut last) = (Vec::new(), Vec::new(), 0);
    for &(function, file, line, outer) in all {
        [function, file].into_iter().for_each(|part| sites.extend(name(part).to_le_bytes()));
        [line, outer].into_iter().for_each(|number| sites.extend(&number.to_le_bytes()[..3]));
    }
    for &(length, site) in ranges {
        let step = i16::from(site) - last;
        stream.extend([length, (step << 1 ^ step >> 15) as u8]);
        last = i16::from(site);
    }
    let counts = [1, all.len(), names.len() / 4, stream.len(), text.len()].map(|count| (count as u32).to_le_bytes());
    [&lines::MAGIC, &base.to_le_bytes()[..], counts.as_flattened(), &[0; 8], &sites, &names, &stream, &text].concat()
}

#[test]
fn a_panic_names_functions_that_are_inlined_and_what_machinery_is_inlined_in() {
    let all = [
        ("driver::request", "src/main.rs", 30, 0),
        ("core::option::Option::expect", "core/src/option.rs", 970, 1),
        ("driver::request", "src/main.rs", 31, 0),
        ("driver::looks", "src/device.rs", 12, 3),
        ("rt::alloc_error", "rt/src/heap.rs", 5, 0),
    ];
    let table = lines_table(0x201100, &[(0x20, 2), (0x20, 4), (0x20, 5)], &all);
    let at = |address: u64| {
        let mut record = with_message(record(DeathKind::Panicked), "none");
        record.rip = 0x201190;
        record.backtrace[..2].copy_from_slice(&[0x201150, address]);
        record.backtrace_len = 2;
        let tasks = &["driver"];
        let crash = Crash {
            name: "driver",
            record: &record,
            symbols: SYMBOLS,
            lines: &table,
            stack_bytes: 0,
            next: Next::Stay,
            tasks,
        };
        crash.lines()[2..4].join("\n")
    };
    assert!(at(0x201108).starts_with("  at 0x201108 driver::request (src/main.rs:30)\n"), "{}", at(0x201108));
    let inlined = "  at 0x201128 driver::looks (src/device.rs:12)\n     inlined in driver::request (src/main.rs:31)";
    assert_eq!(at(0x201128), inlined);
    // The call was the last instruction before what is the runtime's.
    assert_eq!(at(0x201140), inlined.replace("201128", "201140"));
}

#[test]
fn a_message_cannot_forge_lines_or_hide_behind_escapes() {
    let record = with_message(record(DeathKind::Panicked), "one\rtwo\x1b[2Jthree \u{e4} end");
    assert!(text(&record).contains("one?two?[2Jthree \u{e4} end"));
}

#[test]
fn long_text_is_broken_at_spaces_and_long_names_lose_their_middle() {
    let record = with_message(record(DeathKind::Panicked), &"word ".repeat(38));
    let lines = report(&record, Next::Stay);
    let words: usize = lines.iter().map(|line| line.split(' ').filter(|&word| word == "word").count()).sum();
    assert_eq!(words, 38);
    let mut record = exception(6, 0, 0);
    record.rip = 0x2011d0;
    let all = text(&record);
    assert!(all.contains("  at 0x2011d0 ..") && all.contains("::function_name+0x10"), "{all}");
    let one_word = with_message(self::record(DeathKind::Panicked), &"x".repeat(MESSAGE_LEN));
    assert_eq!(text(&one_word).matches('x').count(), MESSAGE_LEN + "at 0x201108".matches('x').count() + 1);
}

#[test]
fn exits_and_kills_are_short() {
    let exited = FaultRecord { error_code: -2_i32 as u32 as u64, ..record(DeathKind::Exited) };
    assert_eq!(report(&exited, Next::Stay), ["serial (life 3) exited with code -2", "  not restarted"]);
    let killed = record(DeathKind::Killed);
    assert_eq!(
        report(&killed, Next::GivenUp),
        ["serial (life 3) was killed on request", "  given up: it died too often"]
    );
    assert!(text(&record(DeathKind::Hung)).contains("missed its heartbeat"));
}

#[test]
fn a_record_full_of_nonsense_is_reported_all_the_same() {
    let mut record = exception(14, u64::MAX, u64::MAX);
    record.backtrace = [u64::MAX; BACKTRACE_LEN];
    record.backtrace_len = u32::MAX;
    record.code_len = u32::MAX;
    record.message_len = u32::MAX;
    record.message = [0xff; MESSAGE_LEN];
    record.last_received = [u32::MAX; 2];
    record.registers = [u64::MAX; 15];
    record.rsp = u64::MAX;
    assert!(report(&record, Next::Stay).len() > 10);
    record.vector = 13;
    assert!(text(&record).contains("general protection"));
    record.kind = DeathKind::Panicked as u32;
    record.backtrace = [0; BACKTRACE_LEN];
    assert!(text(&record).contains("(no function)"));
}

#[test]
fn callers_that_repeat_are_shown_once() {
    let mut record = exception(14, 6, 8);
    let frames = |record: &mut FaultRecord, frames: &[u64]| {
        let held = frames.len().min(BACKTRACE_LEN);
        record.backtrace = [0; BACKTRACE_LEN];
        record.backtrace[..held].copy_from_slice(&frames[..held]);
        record.backtrace_len = frames.len() as u32;
        let lines = report(record, Next::Stay);
        let from = lines.iter().position(|line| line.contains("called from")).expect("callers");
        lines[from..lines.len() - 1].to_vec()
    };
    let (a, b, c) = (0x201108, 0x201148, 0x20100c);
    assert_eq!(
        frames(&mut record, &[a; BACKTRACE_LEN]),
        ["  called from 0x201108 fault::kinds::divide_by_zero+0x8, 16 times"],
        "all there were"
    );
    assert_eq!(
        frames(&mut record, &[a; BACKTRACE_LEN + 1]),
        [
            "  called from 0x201108 fault::kinds::divide_by_zero+0x8, 16 times",
            "         and more, which were not recorded"
        ]
    );
    assert_eq!(
        frames(&mut record, &[b, a, a, a, c]),
        [
            "  called from 0x201148 core::panicking::panic_fmt+0x8",
            "         from 0x201108 fault::kinds::divide_by_zero+0x8, 3 times",
            "         from 0x20100c _start+0xc"
        ]
    );
    assert_eq!(
        frames(&mut record, &[a, b, a, b, a, b, c]),
        [
            "  called from 0x201108 fault::kinds::divide_by_zero+0x8",
            "         from 0x201148 core::panicking::panic_fmt+0x8",
            "         (these 2 callers 3 times)",
            "         from 0x20100c _start+0xc"
        ]
    );
    assert_eq!(repetition(&[]), (1, 1));
    assert_eq!(repetition(&[1, 2, 3]), (1, 1));
    assert_eq!(repetition(&[1, 1, 1, 1, 2]), (1, 4));
}

#[test]
fn places_are_shown_in_one_row_where_they_fit() {
    let place = |function: &str, file: &str| {
        let mut out = Vec::new();
        push_place(&mut out, "  called from 0x201108 ", &Line { function, file, line: 55 }, "");
        assert!(out.iter().all(|line| line.len() <= WIDTH), "{out:?}");
        out.join("\n")
    };
    assert_eq!(place("rtc::run", "rtc/src/main.rs"), "  called from 0x201108 rtc::run (rtc/src/main.rs:55)");
    assert_eq!(
        place("driver_rtc::device::read", "userspace/rtc/src/main.rs"),
        "  called from 0x201108 driver_rtc::device::read (src/main.rs:55)"
    );
    assert_eq!(
        place("driver_rtc::device::read_the_clock_chip", "userspace/rtc/src/main.rs"),
        "  called from 0x201108 driver_rtc::device::read_the_clock_chip\n     (userspace/rtc/src/main.rs:55)"
    );
    let long = "x".repeat(200);
    assert!(place(&long, &long).contains("x:55)"));
    assert_eq!(place("rtc::run", ""), "  called from 0x201108 rtc::run");
}
