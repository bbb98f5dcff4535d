use super::*;
use std::rc::Rc;

fn step(task: Option<&str>, function: &str, text: &str) -> Step {
    let instruction = Instruction { text: text.to_owned(), function: Rc::from(function), next: 0 };
    let phase = if task.is_some() { Phase::Task } else { Phase::Work };
    Step { task: task.map(str::to_owned), instruction, phase }
}

#[test]
fn each_instruction_is_in_its_phase() {
    let (stubs, fast) = (
        "kernel::arch::entry::syscall_entry::<kernel::kernel::Kernel>",
        "kernel::arch::message::call::<kernel::kernel::Kernel>",
    );
    let leave = "<kernel::kernel::Kernel as kernel::arch::fast::Core>::leave";
    let lines = [
        (Some("bench"), "bench::go", "syscall", Phase::Task),
        (None, stubs, "swapgs", Phase::Entry),
        (None, fast, "mov rcx, qword ptr [r15 + 8]", Phase::Lookup),
        (None, fast, "cmp rcx, qword ptr [r13 + 96]", Phase::Checks),
        (None, fast, "jne 0x10 <x>", Phase::Checks),
        (None, fast, "mov qword ptr [r13], rcx", Phase::Work),
        (None, fast, "movzx ecx, byte ptr [rdx - 8]", Phase::Switch),
        (None, fast, "or cl, byte ptr gs:[32]", Phase::Switch),
        (None, fast, "jne 0x20 <x>", Phase::Switch),
        (None, fast, "cmp rcx, qword ptr [r10 - 16]", Phase::Switch),
        (None, fast, "je 0x30 <x>", Phase::Switch),
        (None, fast, "mov cr3, rcx", Phase::Switch),
        (None, fast, "mov rbx, qword ptr [rdx - 8]", Phase::Exit),
        (None, fast, "sysretq", Phase::Exit),
        (Some("peer"), "peer::go", "cmp rax, 1", Phase::Task),
        (None, stubs, "swapgs", Phase::Entry),
        (None, "<kernel::kernel::Kernel as kernel::arch::fast::General>::on_syscall", "cmp rax, 9", Phase::Work),
        (None, leave, "sysretq", Phase::Exit),
    ];
    let mut steps: Vec<_> = lines.iter().map(|(task, function, text, _)| step(*task, function, text)).collect();
    phases(&mut steps);
    let found: Vec<_> = steps.iter().map(|step| step.phase).collect();
    let wanted: Vec<_> = lines.iter().map(|line| line.3).collect();
    assert_eq!(found, wanted);
    let counts = counts(&steps, 5, 6);
    assert_eq!((counts["cr3_writes"], counts["msr_writes"], counts["code_lines"]), (1, 0, 5));
    let summary = Trace { name: "x".to_owned(), steps, counts }.summary();
    assert_eq!(Summary::from_json(&summary.to_json()), Some(summary));
}

#[test]
fn operands_are_found() {
    let mut registers = [0; REGISTERS.len()];
    (registers[0], registers[6], registers[7]) = (3, 0x1000, 0x2000);
    let touches = |text: &str| {
        let instruction = Instruction { text: text.to_owned(), function: Rc::from(""), next: 0x500 };
        touched(&instruction, &registers, 0x9000).collect::<Vec<_>>()
    };
    assert_eq!(touches("mov rcx, qword ptr [rbp + 8*rax - 0x10]"), [0x1008]);
    assert_eq!(touches("mov rax, qword ptr gs:[24]"), [0x9018]);
    assert_eq!(touches("mov qword ptr [rip + 16], rbp"), [0x510]);
    assert_eq!(touches("push qword ptr [rbp]"), [0x1000, 0x1ff8]);
    assert_eq!((touches("ret"), touches("lea rcx, [rbp + 8]"), touches("swapgs")), (vec![0x2000], vec![], vec![]));
}

#[test]
fn listings_hold_no_addresses() {
    assert_eq!(
        shown("jne 0xffffffff80004e90 <kernel::arch::message::call::<kernel::kernel::Kernel>+0x110>"),
        "jne message::call +"
    );
    assert_eq!(
        shown("je 0xffffffff800053ec <kernel::arch::notify::signal::<kernel::kernel::Kernel>>"),
        "je notify::signal"
    );
    assert_eq!(shown("mov qword ptr [rip + 0x1234], rbp"), "mov qword ptr [rip], rbp");
    assert_eq!(shown("mov cr3, rbx"), "mov cr3, rbx");
}

#[test]
fn what_was_followed_must_be_what_was_measured() {
    let trace = |name: &str, steps: usize| Trace {
        name: name.to_owned(),
        steps: vec![step(None, "f", "nop"); steps],
        counts: BTreeMap::new(),
    };
    assert!(check(&trace("ipc_cross_0w", 283), 280, 3).is_ok() && check(&trace("ipc_cross_0w", 284), 280, 3).is_err());
    assert!(check(&trace("yield_switch", 795), 396, 3).is_ok() && check(&trace("yield_switch", 797), 396, 3).is_err());
    assert!(check(&trace("notify_wake", 672), 672, 3).is_ok() && check(&trace("notify_wake", 675), 672, 3).is_err());
    assert!(
        check(&trace("irq_to_driver", 696), 703, 3).is_ok() && check(&trace("irq_to_driver", 704), 703, 3).is_err()
    );
}
