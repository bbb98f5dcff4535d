//! The commands in a world made for the purpose.

use crate::commands::{COMMANDS, Completes, FAULTS, KEYMAPS, completions, find};
use crate::fake::{Fake, fake};
use crate::shell::Shell;
use abi::TaskId;
use abi::error::{DeathKind, FaultRecord};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use proptest::prelude::*;
use supervisor::Plan;
use zerocopy::FromZeros;

/// What a line prints.
fn run_in(world: &mut Fake, line: &str) -> String {
    world.out.clear();
    Shell::new(world).run(line);
    world.out.clone()
}

fn run(line: &str) -> String {
    run_in(&mut fake(), line)
}

#[test]
fn the_table_is_sound() {
    let mut names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), COMMANDS.len(), "names are unique");
    for command in COMMANDS {
        assert!(command.count.0 <= command.count.1, "{}", command.name);
        assert_eq!(command.count.1 == 0, command.arguments.is_empty(), "{}", command.name);
        assert!(!command.summary.is_empty() && !command.summary.ends_with('.'), "{}", command.name);
        assert!(command.details.is_empty() || command.details.ends_with('\n'), "{}", command.name);
        assert!(command.details.lines().all(|line| line.len() <= 100), "{}", command.name);
        if command.count.1 == 0 {
            assert_eq!(command.completes, Completes::Nothing, "{}", command.name);
        }
    }
    for promised in
        "help ps mem caps log kill spawn echo clear color keymap uptime sleep dmesg fault reboot shutdown call"
            .split(' ')
    {
        assert!(find(promised).is_some(), "{promised}");
    }
}

#[test]
fn help_lists_every_command_and_explains_each() {
    let text = run("help");
    for command in COMMANDS {
        assert!(text.contains(&command.usage()) && text.contains(command.summary), "{}", command.name);
        let one = run(&format!("help {}", command.name));
        assert!(one.starts_with(&command.usage()) && one.contains(command.summary), "{one}");
    }
    assert!(text.lines().all(|line| line.len() < 80), "{text}");
    assert_eq!(run("help hlep"), "help: there is no command `hlep`: did you mean `help`?\n");
}

#[test]
fn bad_input_gets_a_sentence() {
    assert_eq!(run("shutdwon"), "shutdwon: there is no command `shutdwon`: did you mean `shutdown`?\n");
    assert_eq!(run("frobnicate"), "frobnicate: there is no command `frobnicate`: `help` lists them all\n");
    assert_eq!(run("kill"), "kill: an argument is missing: write `kill TASK`\n");
    assert_eq!(run("caps a b"), "caps: that is too many arguments: leave `b` out, or write `caps TASK`\n");
    assert_eq!(run("ps now"), "ps: it takes no arguments: leave `now` out, or write `ps`\n");
    assert_eq!(run("caps seral"), "caps: there is no task `seral`: did you mean `serial`?\n");
    let none = run("kill everything");
    assert!(none.contains("the tasks are supervisor, serial, vga, console, shell, fault"), "{none}");
    assert!(run("echo \"a").contains("column 6 is not closed"));
    assert!(run("sleep -1").contains("`-1` is no number of seconds"));
}

#[test]
fn a_line_goes_on_after_a_failure_and_stops_at_an_interrupt() {
    assert_eq!(
        run("echo a; nonsense-word; echo \"b;  c\""),
        "a\nnonsense-word: there is no command `nonsense-word`: `help` lists them all\nb;  c\n"
    );
    let mut world = fake();
    world.interrupted = true;
    assert_eq!(run_in(&mut world, "echo a; sleep 1.5; echo b"), "a\n");
    assert_eq!(world.done, vec!["sleep 1500000000"]);
    // And where no command waits, before the next one.
    let mut world = fake();
    world.pressed = true;
    assert_eq!(run_in(&mut world, "echo a; echo b; sleep 1"), "a\n");
    assert_eq!(world.done, Vec::<String>::new());
}

#[test]
fn ps_shows_states_and_shares() {
    let mut world = fake();
    world.plan = Some(Plan::GivenUp);
    let text = {
        let mut shell = Shell::new(&mut world);
        shell.run("ps");
        shell.run("ps");
        world.out.clone()
    };
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        "NAME STATE PRIO RESTARTS CPU% NOW% MEMORY HNDL THRD".split(' ').collect::<Vec<_>>()
    );
    let row = |n: usize| lines[n].split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(row(1), "supervisor waiting 1 0 0.0 0.0 120/256 4 1");
    assert_eq!(row(2), "serial ready 2 2 1.0 1.0 120/256 4 1");
    assert_eq!(row(3), "vga given up 2 0 2.0 2.0 120/256 4 0");
    assert_eq!(row(4), "console calling serial 4 0 3.0 3.0 120/256 4 1");
    assert_eq!(row(5), "shell running 6 0 4.0 4.0 120/256 4 1");
    assert_eq!(row(6), "fault given up 8 0 5.0 5.0 120/256 4 0");
    assert_eq!(lines[7], "idle 90.0 % of 1.0 s, 90.0 % of the last 1.0 s");
    // The second one has an interval without work.
    assert_eq!(lines[8 + 2].split_whitespace().nth(5), Some("-"));
    assert!(lines.iter().all(|line| line.len() < 80), "{text}");
    world.trouble = "vga: no display: no VGA adapter answers\n".into();
    world.out.clear();
    Shell::new(&mut world).run("ps");
    assert!(world.out.ends_with("\nvga: no display: no VGA adapter answers\n"), "{}", world.out);
}

#[test]
fn shares_of_the_last_interval() {
    let mut world = fake();
    let mut shell = Shell::new(&mut world);
    shell.run("ps");
    let previous = shell.previous.clone();
    world.info.uptime_ns += 500_000_000;
    world.info.idle_ns += 250_000_000;
    world.status[4].cpu_ns += 250_000_000;
    world.out.clear();
    let mut shell = Shell::new(&mut world);
    shell.previous = previous;
    shell.run("ps");
    let text = world.out;
    assert!(text.lines().nth(5).unwrap().contains("50.0"), "{text}");
    assert!(text.ends_with("50.0 % of the last 0.5 s\n"), "{text}");
}

#[test]
fn caps_shows_what_the_manifest_says() {
    assert_eq!(
        run("caps serial"),
        "serial\n\
         \x20 priority   2 (0 is the most important, 31 the least)\n\
         \x20 ports      0x3f8-0x3ff (8)\n\
         \x20 irqs       rx = line 4 (bit 0)\n\
         \x20 ranges     none\n\
         \x20 calls      none\n\
         \x20 called by  console\n\
         \x20 kernel     none\n\
         \x20 memory     at most 256 KiB\n\
         \x20 stack      32 KiB\n\
         \x20 keep       8 KiB\n\
         \x20 handles    at most 32\n\
         \x20 objects    at most 24\n\
         \x20 float      no\n\
         \x20 restart    always\n\
         \x20 heartbeat  none\n\
         \x20 start      at boot\n\
         \x20 now        it runs (life 3)\n"
    );
    let mut world = fake();
    world.status[1].frame_quota = 32;
    world.status[1].handle_quota = 16;
    let text = run_in(&mut world, "caps serial");
    assert!(text.contains("memory     at most 128 KiB (256 KiB is more than this machine can give)\n"), "{text}");
    assert!(text.contains("handles    at most 16 (32 is more than this machine can give)\n"), "{text}");
    assert!(run("caps vga").contains("ranges     text = 0xb8000-0xbffff (32 KiB, writable)\n"));
    let shell = run("caps shell");
    assert!(shell.contains("calls      supervisor, console\n") && shell.contains("every 500 ms"), "{shell}");
    assert!(run("caps supervisor").contains("kernel     control, inspect, archive\n"));
    let fault = run("caps fault");
    assert!(fault.contains("restart    never\n") && fault.contains("start      on request\n"), "{fault}");
    let mut world = fake();
    world.tasks.clear();
    assert!(run_in(&mut world, "caps serial").contains("kernel right `archive`"));
}

#[test]
fn logs() {
    assert_eq!(run("log serial"), "[serial] up\n[serial] said ?[2J\n");
    assert_eq!(run("log vga"), "(nothing is printed yet; vga has ended and is not restarted: `spawn vga` starts it)\n");
    assert_eq!(run("log"), "[serial] up\n[serial] said ?[2J\n");
    assert_eq!(run("dmesg"), "kernel line\n");
    let mut world = fake();
    for log in &mut world.logs {
        log.1 = format!("{}[supervisor] all is well\n", "x".repeat(79)).into_bytes();
    }
    let wrapped = format!("{}\n  [supervisor] all is well\n", "x".repeat(79));
    assert_eq!(run_in(&mut world, "dmesg"), wrapped);
    let mut world = fake();
    world.logs.clear();
    assert_eq!(run_in(&mut world, "log; dmesg"), "(no task has printed anything)\n(the kernel has said nothing)\n");
}

#[test]
fn a_log_that_grows_for_ever_ends() {
    let mut world = fake();
    world.logs = vec![(1, vec![b'x'; 2 << 20])];
    let text = run_in(&mut world, "log serial");
    assert!(text.len() > 200_000 && text.len() < 330_000, "{}", text.len());
}

/// Whether the log of one task is asked for or all of them: no row can be taken for another task's.
#[test]
fn no_log_passes_for_another_tasks() {
    let mut world = fake();
    let forged = format!("a\r[supervisor] x\n[supervisor] y\n{}[supervisor] vga crashed\u{301}\n", " ".repeat(70));
    world.logs = vec![(1, forged.into_bytes())];
    for command in ["log serial", "log"] {
        let text = run_in(&mut world, command);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.lines().all(|line| line.starts_with("[serial]") && line.chars().count() < 80), "{text}");
        assert!(text.contains("\n[serial]> [supervisor] vga crashed?\n"), "{text}");
    }
    // A panic's message is one line of the report of its death.
    let text = run_in(
        &mut dead(DeathKind::Panicked, |record| {
            let message = b"a.rs:1: no\n[supervisor] vga crashed\x1b[2J";
            record.message[..message.len()].copy_from_slice(message);
            record.message_len = message.len() as u32;
        }),
        "fault panic",
    );
    assert_eq!(text, "fault (life 1) panicked: a.rs:1: no?[supervisor] vga crashed?[2J\n");
}

#[test]
fn kill_and_spawn() {
    let mut world = fake();
    assert_eq!(run_in(&mut world, "kill serial"), "killed serial (life 3)\n");
    assert_eq!(world.done, vec!["kill 1 3"]);
    assert_eq!(run("kill supervisor"), "kill: cannot kill supervisor: the supervisor does not allow that\n");
    let mut world = fake();
    assert_eq!(run_in(&mut world, "spawn fault null-read twice"), "started fault (life 1)\n");
    assert_eq!(world.done, vec!["spawn fault <null-read twice>"]);
    assert!(run(&format!("spawn fault {}", "x".repeat(129))).contains("129 bytes, 128 are the most"));
}

/// Every command that has to do with a task says of each state what is true of it.
#[test]
fn every_state_of_a_task_is_told_as_it_is() {
    // Row 2 has lived, row 5 never.
    let cases = [
        (
            2,
            Some(Plan::Restart { in_ms: 50 }),
            "is dead and restarts in 50 ms: `spawn vga` starts it at once",
            "restart in 50 ms",
        ),
        (2, Some(Plan::Restart { in_ms: 0 }), "is dead and restarts now", "restarting"),
        (2, Some(Plan::GivenUp), "is given up, it failed too often: `spawn vga` starts it", "given up"),
        (2, Some(Plan::Nothing), "has ended and is not restarted: `spawn vga` starts it", "dead"),
        (2, None, "has ended and is not restarted: `spawn vga` starts it", "dead"),
        (5, Some(Plan::Nothing), "has not been started: `spawn fault` starts it", "off"),
        // It could not even be started.
        (5, Some(Plan::GivenUp), "is given up, it failed too often: `spawn fault` starts it", "given up"),
        (
            5,
            Some(Plan::Restart { in_ms: 3200 }),
            "is dead and restarts in 3200 ms: `spawn fault` starts it at once",
            "restart in 3200 ms",
        ),
    ];
    for (row, plan, truth, word) in cases {
        let mut world = fake();
        world.plan = plan;
        world.callable = true;
        let name = ["", "", "vga", "", "", "fault"][row];
        assert_eq!(run_in(&mut world, &format!("kill {name}")), format!("kill: {name} {truth}\n"));
        assert!(world.done.is_empty());
        let caps = run_in(&mut world, &format!("caps {name}"));
        assert!(caps.ends_with(&format!("  now        it {truth}\n")), "{caps}");
        let log = run_in(&mut world, &format!("log {name}"));
        assert_eq!(log, format!("(nothing is printed yet; {name} {truth})\n"));
        let ps = run_in(&mut world, "ps");
        let line = ps.lines().nth(row + 1).unwrap();
        assert!(line.starts_with(&format!("{name:<10} {word} ")), "{ps}");
        assert!(ps.lines().all(|line| line.len() < 80), "{ps}");
        world.answer = Some(Err("the server is gone for good".into()));
        let call = run_in(&mut world, &format!("call {name} 1"));
        assert_eq!(call, format!("call: the server is gone for good; {name} {truth}\n"));
    }
    // One that dies by itself just before it is killed.
    let mut world = fake();
    world.plan = Some(Plan::Restart { in_ms: 100 });
    world.after_kill = Some(world.status[2]);
    assert_eq!(
        run_in(&mut world, "kill serial"),
        "kill: life 3 has ended by itself; serial is dead and restarts in 100 ms: `spawn serial` starts it at once\n"
    );
}

fn dead(kind: DeathKind, change: impl FnOnce(&mut FaultRecord)) -> Fake {
    let mut record = FaultRecord::new_zeroed();
    record.task = TaskId { index: 5, generation: 1 }.to_u32();
    change(&mut record);
    Fake { end: Some((kind, record)), ..fake() }
}

#[test]
fn faults_are_listed_run_and_described() {
    assert_eq!(run("fault"), format!("{}\n", FAULTS.join(" ")));
    assert_eq!(run("fault div"), "fault: there is no fault `div`: did you mean `divide`?\n");
    assert!(run("fault xyzzy").contains("the kinds are null-read write-code"));
    let mut world = dead(DeathKind::Exception, |record| {
        record.vector = 14;
        record.error_code = 6;
        record.address = 0x1234;
        record.rip = 0x20_1000;
    });
    assert_eq!(
        run_in(&mut world, "fault null-read"),
        "fault (life 1) died of a page fault (#PF), writing 0x1234, at 0x201000 in fault::somewhere\n"
    );
    assert_eq!(world.done, vec!["spawn fault <null-read>"]);
    let mut world = dead(DeathKind::Exception, |record| record.vector = 6);
    assert_eq!(
        run_in(&mut world, "fault invalid-opcode"),
        "fault (life 1) died of an exception: invalid opcode (#UD), at 0x0\n"
    );
    let mut world = dead(DeathKind::Panicked, |record| {
        record.message[..4].copy_from_slice(b"oops");
        record.message_len = 4;
    });
    assert_eq!(run_in(&mut world, "fault panic"), "fault (life 1) panicked: oops\n");
    let mut world = dead(DeathKind::Exited, |record| record.error_code = 7);
    assert_eq!(run_in(&mut world, "fault breakpoint"), "fault (life 1) exited with code 7\n");
    // A record of another life is not this one's.
    let mut world = dead(DeathKind::Exception, |record| record.task = 0);
    assert_eq!(run_in(&mut world, "fault divide"), "fault (life 1) died of an exception\n");
}

#[test]
fn calls_show_outcome_and_words() {
    let mut world = fake();
    world.answer = Some(Ok((0, [80, 25, 0, u64::MAX])));
    assert_eq!(
        run_in(&mut world, "call console 4 1 0x10"),
        "outcome 0 (done), words 80 (0x50) 25 (0x19) 0 (0x0) 18446744073709551615 (0xffffffffffffffff)\n"
    );
    assert_eq!(world.done, vec!["call console 4 [1, 16, 0, 0]"]);
    world.answer = Some(Ok((0xffff, [0; 4])));
    assert!(run_in(&mut world, "call console 0x99").starts_with("outcome 65535 (the task does not know this request)"));
    world.answer = Some(Err("the server is gone for good".into()));
    assert_eq!(run_in(&mut world, "call console 1"), "call: the server is gone for good\n");
    let refused = run("call vga 1");
    assert!(refused.contains("only supervisor, console: add vga to `calls` of [task.shell]"), "{refused}");
    assert!(run("call console 70000").contains("`70000` is no operation"));
    assert!(run("call console 1 x").contains("`x` is no word"));
    assert!(run("call console 1 1 2 3 4 5").contains("leave `5` out"));
    assert!(run("call nobody 1").contains("there is no task `nobody`"));
}

#[test]
fn calls_know_what_a_task_declares() {
    let listed = run("call supervisor");
    assert!(listed.contains("    2  spawn TEXT TEXT\n") && listed.contains("    4  state ROW\n"), "{listed}");
    assert!(run("call console").contains("console does not say what can be asked of it"));
    let mut world = fake();
    world.answer = Some(Ok((0, [7 | 6 << 32, 9, 2 | 50 << 32, 4 | 14 << 16])));
    let said = run_in(&mut world, "call supervisor state 2");
    assert!(
        said.ends_with(
            "\nrestarts 7, ended 6, ended_ns 9, plan Restart, wait_ms 50, kind 4, vector 14, given_up false\n"
        ),
        "{said}"
    );
    assert_eq!(world.done, vec!["call supervisor 4 [2, 0, 0, 0]"]);
    world.answer = Some(Ok((3, [9, 0, 0, 0])));
    let said = run_in(&mut world, "call supervisor spawn \"fault\" \"null x\"");
    assert!(said.starts_with("outcome 3 (the kernel refused: 9), words 9 "), "{said}");
    assert_eq!(
        world.done[1],
        "call supervisor 2 [0, 0, 0, 0] Read([102, 97, 117, 108, 116]) Read([110, 117, 108, 108, 32, 120])"
    );
    assert!(run("call supervisor stat 1").contains("or what supervisor does: kill, spawn, wait, state, kill_named"));
    assert!(run("call supervisor spawn x").contains("`spawn` takes 2 arguments: spawn TEXT TEXT"));
}

#[test]
fn screen_and_keyboard() {
    let mut world = fake();
    run_in(&mut world, "clear; color light-green; color white blue");
    assert_eq!(world.done, vec!["clear", "color 10 0", "color 15 1"]);
    assert_eq!(run("color gren"), "color: there is no colour `gren`: did you mean `green`?\n");
    assert!(run("color white white").contains("`color white black`"));
    assert!(run("color black").contains("`color black white`"));
    assert!(run("color").contains("light-magenta yellow white\n"));
    assert_eq!(run("keymap"), "keymap us (known: us uk de fr dvorak)\n");
    assert_eq!(run_in(&mut world, "keymap dvorak"), "keymap dvorak (known: us uk de fr dvorak)\n");
    assert_eq!(world.keymap, 4);
    assert_eq!(KEYMAPS, driver_keyboard::Layout::ALL.map(|(_, name)| name), "the driver's numbers");
    assert!(run("keymap klingon").contains("choose one of us, uk, de, fr, dvorak"));
}

#[test]
fn the_machine() {
    let text = run("mem");
    assert!(text.contains("262,144 KiB (65,536 frames of 4 KiB)"), "{text}");
    assert!(text.contains("240,000 KiB (91.5 %)") && text.contains("12,345 bytes of 1,048,576 (1.1 %)"), "{text}");
    assert_eq!(run("uptime"), "up 1.0 s, idle 90.0 %, 0 interrupts (0 spurious), 1,234,567 context switches\n");
    let mut world = fake();
    run_in(&mut world, "shutdown");
    assert_eq!(world.done, vec!["shutdown"]);
    assert_eq!(run("reboot"), "reboot: the task power is gone for good\n");
    assert_eq!(run("echo Hello,   World"), "Hello, World\n");
}

#[test]
fn completions_know_commands_and_arguments() {
    let text = completions(&fake().tasks);
    let lines: Vec<&str> = text.lines().collect();
    for entry in
        ["ps", "shutdown", "kill vga", "caps serial", "fault null-read", "keymap dvorak", "color red", "help ps"]
    {
        assert!(lines.contains(&entry), "{entry}");
    }
    assert!(lines.len() <= console::complete::MAX_ENTRIES, "{}", lines.len());
    let list = console::complete::Completions::parse(&text);
    assert_eq!(list.candidates("shu").words, vec!["shutdown".to_string()]);
}

proptest! {
    #[test]
    fn any_line_is_survived(line in any::<String>()) {
        run(&line);
    }

    #[test]
    fn any_command_survives_any_arguments(
        command in prop::sample::select(COMMANDS.iter().map(|command| command.name).collect::<Vec<_>>()),
        arguments in prop::collection::vec(prop_oneof![
            prop::sample::select(vec!["vga", "serial", "1", "0x7", "white", "panic", "de"]).prop_map(String::from),
            "[ -~]{0,8}",
        ], 0..6),
    ) {
        run(&format!("{command} {}", arguments.join(" ")));
    }
}

#[test]
fn how_a_line_ended_is_told_once() {
    let status = |line: &str, change: fn(&mut Fake)| {
        let mut world = fake();
        change(&mut world);
        run_in(&mut world, line);
        let [status] = world.statuses[..] else { panic!("{line:?} is told {:?}", world.statuses) };
        status
    };
    for line in ["", "echo a", "echo a; echo b", "ps", "fault null-read"] {
        assert_eq!(status(line, |_| {}), 0, "{line:?}");
    }
    // The first failure counts as much as the last.
    for line in
        ["nonsense", "echo \\", "sleep", "sleep x", "echo a b; nonsense", "nonsense; echo a", "kill nobody", "fault x"]
    {
        assert_eq!(status(line, |_| {}), 1, "{line:?}");
    }
    assert_eq!(status("call serial 1", |world| world.answer = Some(Err("it died".into()))), 1);
    assert_eq!(status("sleep 1; echo a", |world| world.interrupted = true), 130);
}
