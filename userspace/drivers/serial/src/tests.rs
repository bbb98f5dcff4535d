//! The UART and its kept state against a model, with the driver dying before every single step.

use crate::device::{Errors, Uart};
use crate::keep::{Keep, RX_SIZE, TX_SIZE};
use crate::model::Model;
use crate::writes::{CHUNK, feed};
use abi::{Status, TaskId};
use proptest::prelude::*;
use rt::keep::damage::flip;
use rt::keep::fuse::{self, live};
use rt::keep::{Begin, low_bytes};
use std::vec::Vec;

const ALICE: TaskId = TaskId { index: 5, generation: 1 };
const CAROL: TaskId = TaskId { index: 7, generation: 1 };
const BOB: TaskId = TaskId { index: 6, generation: 3 };

fn keep() -> &'static Keep {
    keep_with(0)
}

fn keep_with(fill: u8) -> &'static Keep {
    rt::keep::damage::memory(fill)
}

fn text(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 31 + salt) % 251) as u8).collect()
}

/// A reader's memory.
fn into(got: &mut Vec<u8>) -> impl FnMut(usize, &[u8]) -> Result<(), Status> {
    |_, part| {
        got.extend_from_slice(part);
        Ok(())
    }
}

fn service<P: rt::port::Port>(uart: &mut Uart<P>) {
    while uart.service().more {}
}

/// One life's part in sending `data` as write `sequence` of `task`, as the task does it.
fn send(uart: &mut Uart<Model>, model: &Model, keep: &Keep, task: TaskId, sequence: u64, data: &[u8]) {
    let Begin::From(mut progress) = keep.begin_write(task, sequence) else {
        return;
    };
    loop {
        let all = feed(keep, data.len() as u32, &mut progress, &mut [0; CHUNK], |offset, buffer| {
            let part = &data[offset..offset + buffer.len()];
            buffer.copy_from_slice(part);
            Ok(part.len())
        });
        uart.kick();
        if all.unwrap() {
            keep.end_write(task, sequence);
            return;
        }
        model.0.borrow_mut().run(16);
        service(uart);
    }
}

fn drain(uart: &mut Uart<Model>, model: &Model, keep: &Keep) {
    while !keep.tx.is_empty() {
        model.0.borrow_mut().run(16);
        service(uart);
    }
    model.0.borrow_mut().run(16);
}

#[test]
fn set_up_is_115200_8n1_with_fifos() {
    let model = Model::new(true, false);
    let uart = Uart::start(model.clone(), keep());
    assert!(uart.is_present() && uart.is_exact() && !uart.is_warm());
    let state = model.0.borrow();
    assert_eq!(state.divisor(), 1);
    assert_eq!(state.line_control(), 3);
    assert_eq!(state.fifo_control() & 1, 1);
    assert_eq!(state.interrupts(), 1);
}

#[test]
fn nothing_there_is_found_out() {
    let model = Model::new(true, false);
    model.0.borrow_mut().absent = true;
    let keep = keep();
    let mut uart = Uart::start(model, keep);
    assert!(!uart.is_present());
    assert_eq!(uart.service(), Default::default());
    assert!(!keep.is_sound());
    assert!(uart.flushed(0));
}

#[test]
fn a_transmitter_that_never_runs_dry_does_not_hang_the_set_up() {
    let model = Model::new(true, true);
    let mut stuck = Stuck(model.clone());
    rt::port::Port::write8(&mut stuck, 0, b'x');
    assert!(Uart::start(stuck, keep()).is_present());
}

/// A UART whose line status never says that the transmitter is empty.
struct Stuck(Model);

impl rt::port::Port for Stuck {
    fn read8(&mut self, offset: u16) -> u8 {
        let value = self.0.read8(offset);
        if offset == 5 { value & !0x60 } else { value }
    }
    fn write8(&mut self, offset: u16, value: u8) {
        self.0.write8(offset, value);
    }
    fn read16(&mut self, offset: u16) -> u16 {
        self.0.read16(offset)
    }
    fn write16(&mut self, offset: u16, value: u16) {
        self.0.write16(offset, value);
    }
    fn read32(&mut self, offset: u16) -> u32 {
        self.0.read32(offset)
    }
    fn write32(&mut self, offset: u16, value: u32) {
        self.0.write32(offset, value);
    }
}

#[test]
fn narrow_bus_works_and_says_so() {
    let model = Model::new(false, false);
    let keep = keep();
    let mut uart = Uart::start(model.clone(), keep);
    assert!(uart.is_present() && !uart.is_exact());
    let data = text(3000, 1);
    send(&mut uart, &model, keep, ALICE, 1, &data);
    drain(&mut uart, &model, keep);
    assert_eq!(model.0.borrow().line, data);
    model.0.borrow_mut().input.extend(text(100, 2));
    assert_eq!(receive_all(&mut uart, &model, keep), text(100, 2));
}

#[test]
fn transmitter_interrupt_is_on_only_while_there_is_something_to_send() {
    let model = Model::new(true, true);
    let keep = keep();
    let mut uart = Uart::start(model.clone(), keep);
    assert_eq!(model.0.borrow().interrupts() & 2, 0);
    keep.tx.push(&text(40, 0));
    uart.kick();
    assert_eq!(model.0.borrow().interrupts() & 2, 2);
    assert!(!model.0.borrow().interrupt(), "the FIFO is full: no interrupt yet");
    model.0.borrow_mut().run(16);
    assert!(model.0.borrow().interrupt());
    service(&mut uart);
    model.0.borrow_mut().run(16);
    service(&mut uart);
    assert_eq!(model.0.borrow().interrupts() & 2, 0);
    assert!(!model.0.borrow().interrupt());
    let accepted = keep.tx.head();
    assert!(!uart.flushed(accepted));
    model.0.borrow_mut().run(16);
    assert!(uart.flushed(accepted));
    assert_eq!(model.0.borrow().line, text(40, 0));
}

#[test]
fn a_full_receive_ring_leaves_the_rest_in_the_uart() {
    let model = Model::new(true, false);
    let keep = keep();
    let mut uart = Uart::start(model.clone(), keep);
    let data = text(RX_SIZE as usize + 500, 3);
    model.0.borrow_mut().input.extend(&data);
    for _ in 0..1000 {
        model.0.borrow_mut().run(0);
        service(&mut uart);
    }
    assert_eq!(keep.rx.unread(), RX_SIZE - 1);
    assert!(!model.0.borrow().interrupt(), "a full ring turns the receive interrupt off");
    assert_eq!(receive_all(&mut uart, &model, keep), data);
}

#[test]
fn errors_on_the_line_are_counted_and_told_once() {
    let model = Model::new(true, false);
    let keep = keep();
    let mut uart = Uart::start(model.clone(), keep);
    let mut said = uart.errors();
    // Overrun; parity and framing at once; a break, which loses nothing (PC16550D, section 8.4).
    for (bits, bytes) in [(0x02, 1), (0x0c, 2), (0x10, 0), (0x00, 0)] {
        let mut state = model.0.borrow_mut();
        state.errors = bits;
        state.input.extend(b"x");
        state.run(0);
        drop(state);
        service(&mut uart);
        assert_eq!(uart.errors().bytes_since(said), bytes, "{bits:#x}");
        said = uart.errors();
    }
    assert_eq!(said, Errors { overruns: 1, parity: 1, framing: 1, breaks: 1 });
}

/// Reads everything, numbered.
fn receive_all(uart: &mut Uart<Model>, model: &Model, keep: &Keep) -> Vec<u8> {
    let mut got = Vec::new();
    for sequence in 1.. {
        model.0.borrow_mut().run(0);
        service(uart);
        let before = got.len();
        let count = keep.rx.read(ALICE, sequence, 100, low_bytes(into(&mut got)));
        assert_eq!(count.unwrap(), got.len() - before);
        uart.received_room();
        if got.len() == before && model.0.borrow().input.is_empty() && !model.0.borrow().interrupt() {
            return got;
        }
    }
    unreachable!()
}

/// A driver that dies before step `first` of its first life and before step `second` of its second one.
fn send_with_deaths(slow: bool, first: u64, second: Option<u64>) -> bool {
    let model = Model::new(true, slow);
    let keep = keep();
    let data = text(90, 7);
    drop(Uart::start(model.clone(), keep));
    let answered = std::cell::Cell::new(0);
    let life = || {
        let mut uart = Uart::start(model.clone(), keep);
        // The client repeats what was not answered, whatever the lives before had done of it.
        for (sequence, data) in [(1, data.as_slice()), (2, b"!")] {
            if answered.get() < sequence {
                send(&mut uart, &model, keep, ALICE, sequence, data);
                // The reply is a step of its own: a death before it loses the answer.
                fuse::tick();
                answered.set(sequence);
            }
        }
        drain(&mut uart, &model, keep);
    };
    let whole = live(Some(first), life);
    if let Some(second) = second {
        live(Some(second), life);
    }
    assert!(live(None, life));
    let mut expected = data.clone();
    expected.push(b'!');
    assert_eq!(model.0.borrow().line, expected, "died before step {first}, then {second:?}");
    whole
}

#[test]
fn a_death_at_any_step_neither_doubles_nor_loses_a_byte_sent() {
    for slow in [false, true] {
        let mut step = 0;
        while !send_with_deaths(slow, step, None) {
            step += 1;
        }
        assert!(step > 200, "the fuse must have reached into every part: {step}");
    }
}

#[test]
fn two_deaths_at_any_steps_neither_double_nor_lose_a_byte_sent() {
    for first in (0..300).step_by(3) {
        for second in (0..60).chain([100, 150, 200]) {
            send_with_deaths(first % 2 == 0, first, Some(second));
        }
    }
}

/// Like a reading client: repeats a read that died, with its number.
fn receive_with_deaths(deaths: &[u64]) -> bool {
    let model = Model::new(true, false);
    let keep = keep();
    drop(Uart::start(model.clone(), keep));
    let data = text(60, 9);
    model.0.borrow_mut().input.extend(&data);
    let mut got = Vec::new();
    let mut sequence = 1;
    let mut whole = false;
    for death in deaths.iter().map(|steps| Some(*steps)).chain([None]) {
        whole = live(death, || {
            let mut uart = Uart::start(model.clone(), keep);
            while got.len() < data.len() {
                model.0.borrow_mut().run(0);
                service(&mut uart);
                let mut answer = Vec::new();
                keep.rx.read(ALICE, sequence, 7, low_bytes(into(&mut answer))).unwrap();
                // The reply is a step of its own: a death before it loses the answer.
                fuse::tick();
                got.extend_from_slice(&answer);
                sequence += 1;
                uart.received_room();
            }
        });
        if whole {
            break;
        }
    }
    assert!(whole);
    assert_eq!(got, data, "died before steps {deaths:?}");
    assert_eq!(model.0.borrow().rx_resets, 1, "only the first set-up may reset the receive FIFO");
    fuse::set(None);
    deaths.is_empty()
}

#[test]
fn a_death_at_any_step_neither_doubles_nor_loses_a_byte_received() {
    receive_with_deaths(&[]);
    for first in 0..700 {
        receive_with_deaths(&[first]);
    }
    for first in (0..300).step_by(7) {
        for second in 0..40 {
            receive_with_deaths(&[first, second]);
        }
    }
}

#[test]
fn a_death_during_the_first_set_up_starts_over() {
    for step in (0..200).chain((200..2600).step_by(50)) {
        let model = Model::new(true, false);
        let keep = keep();
        live(Some(step), || drop(Uart::start(model.clone(), keep)));
        let mut uart = Uart::start(model.clone(), keep);
        send(&mut uart, &model, keep, ALICE, 1, b"hello");
        drain(&mut uart, &model, keep);
        assert_eq!(model.0.borrow().line, b"hello", "died before step {step}");
        assert_eq!(model.0.borrow().divisor(), 1);
    }
}

#[test]
fn writes_are_done_once_per_number_task_and_life() {
    let keep = keep();
    assert_eq!(keep.begin_write(ALICE, 1), Begin::From(0));
    keep.tx.push(b"one");
    keep.end_write(ALICE, 1);
    assert_eq!(keep.begin_write(ALICE, 1), Begin::Done);
    assert_eq!(keep.begin_write(ALICE, 2), Begin::From(0));
    keep.tx.push(b"tw");
    assert_eq!(keep.begin_write(ALICE, 2), Begin::From(2));
    // Another client gets in between, and one without numbers; the first one's progress is not lost.
    assert_eq!(keep.begin_write(BOB, 1), Begin::From(0));
    keep.tx.push(b"bob");
    assert_eq!(keep.begin_write(CAROL, 0), Begin::From(0));
    keep.tx.push(b"anonymous");
    assert_eq!(keep.begin_write(ALICE, 2), Begin::From(2));
    keep.end_write(ALICE, 2);
    assert_eq!(keep.begin_write(BOB, 1), Begin::From(3));
    // The next life of the client counts from 1 again.
    let reborn = TaskId { generation: 2, ..ALICE };
    assert_eq!(keep.begin_write(reborn, 1), Begin::From(0));
    // A task index out of range is served without memory.
    assert_eq!(keep.begin_write(TaskId { index: 900, generation: 1 }, 4), Begin::From(0));
}

#[test]
fn only_the_last_number_can_be_done_already() {
    let keep = keep();
    keep.begin_write(ALICE, 70);
    keep.tx.push(b"x");
    keep.end_write(ALICE, 70);
    // Else a bit that changes in what is kept could have every later write be taken for done, and never sent.
    for other in [1, 69, 71, 1 << 40] {
        assert_eq!(keep.begin_write(ALICE, other), Begin::From(0), "write {other}");
        keep.drop_write();
    }
    assert_eq!(keep.begin_write(ALICE, 70), Begin::Done);
}

/// A state with bytes unsent, unread, and given to a reader; a write done, one cut off and overtaken, one begun.
fn used(model: &Model, keep: &'static Keep) {
    let mut uart = Uart::start(model.clone(), keep);
    send(&mut uart, model, keep, ALICE, 1, b"first");
    model.0.borrow_mut().input.extend(b"in and out");
    model.0.borrow_mut().run(1);
    service(&mut uart);
    keep.rx.read(BOB, 1, 3, low_bytes(|_, _| -> Result<(), Status> { Ok(()) })).unwrap();
    keep.begin_write(BOB, 7);
    keep.tx.push(&text(30, 1));
    keep.begin_write(ALICE, 2);
    keep.tx.push(&text(20, 2));
}

#[test]
fn with_any_bit_of_kept_memory_changed_the_driver_comes_up_and_serves() {
    // The rings' contents are bytes of clients: no bit of theirs is more than a byte's.
    let state_bits = (size_of::<Keep>() - TX_SIZE as usize - 2 * RX_SIZE as usize) * 8;
    let positions = core::mem::offset_of!(Keep, tx) * 8;
    for bit in (0..state_bits).chain(positions..positions + 128).chain((state_bits..size_of::<Keep>() * 8).step_by(509))
    {
        let model = Model::new(true, false);
        let keep = keep();
        used(&model, keep);
        flip(keep, bit);
        let mut uart = Uart::start(model.clone(), keep);
        for (sequence, data) in [(2, text(60, 2)), (3, b"third".to_vec()), (4, b"fourth".to_vec())] {
            send(&mut uart, &model, keep, ALICE, sequence, &data);
        }
        drain(&mut uart, &model, keep);
        let line = model.0.borrow().line.clone();
        assert!(line.ends_with(b"thirdfourth"), "bit {bit}: {:?}", std::string::String::from_utf8_lossy(&line));
        assert!(uart.is_exact(), "bit {bit}: the next death would double a byte");
        model.0.borrow_mut().input.extend(b"more");
        let received = receive_all(&mut uart, &model, keep);
        assert!(received.ends_with(b"more"), "bit {bit}: {received:?}");
    }
}

#[test]
fn a_later_life_sets_right_what_the_last_one_did_to_the_uart() {
    let model = Model::new(true, false);
    let keep = keep();
    drop(Uart::start(model.clone(), keep));
    // Another speed, a break, no FIFOs, loop back: what a life may do in its last moments.
    let mut port = model.clone();
    for (register, value) in [(3, 0x80), (0, 7), (1, 9), (3, 0x43), (2, 0), (4, 0x10)] {
        rt::port::Port::write8(&mut port, register, value);
    }
    let mut uart = Uart::start(model.clone(), keep);
    assert!(uart.is_warm());
    let state = model.0.borrow();
    assert_eq!((state.divisor(), state.line_control(), state.fifo_control() & 1), (1, 3, 1));
    drop(state);
    send(&mut uart, &model, keep, ALICE, 1, b"hello");
    drain(&mut uart, &model, keep);
    assert_eq!(model.0.borrow().line, b"hello");
}

#[test]
fn reads_repeat_only_the_last_number_of_the_same_reader() {
    let keep = keep();
    for byte in *b"abcdef" {
        keep.rx.slot().put(0x100 | byte as u16);
        assert!(keep.rx.accept());
    }
    let read = |task, sequence, capacity| {
        let mut got = Vec::new();
        keep.rx.read(task, sequence, capacity, low_bytes(into(&mut got))).unwrap();
        got
    };
    assert_eq!(read(ALICE, 1, 2), b"ab");
    assert_eq!(read(ALICE, 1, 3), b"abc");
    assert_eq!(read(ALICE, 2, 1), b"d");
    assert_eq!(read(BOB, 2, 1), b"e");
    assert_eq!(read(BOB, 0, 1), b"f");
    assert_eq!(read(BOB, 0, 1), b"");
    let failed = keep.rx.read(ALICE, 3, 1, low_bytes(|_, _| Err(Status::LeaseFault)));
    assert_eq!(failed, Ok(0), "nothing to give, nothing to fail");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_garbage_in_kept_memory_is_survived(fill in any::<u8>(), positions in proptest::collection::vec(any::<u32>(), 6)) {
        let keep = keep_with(fill);
        let model = Model::new(true, false);
        // A state word that passes, positions that may not.
        keep.scramble(&positions);
        let mut uart = Uart::start(model.clone(), keep);
        keep.begin_write(ALICE, 3);
        keep.tx.push(b"x");
        keep.end_write(ALICE, 3);
        uart.kick();
        model.0.borrow_mut().input.extend(b"in");
        model.0.borrow_mut().run(1);
        for _ in 0..1000 { service(&mut uart); }
        prop_assert_eq!(keep.tx.len(), 0);
        let last = model.0.borrow().line.last().copied();
        prop_assert_eq!(last, Some(b'x'));
        prop_assert!(keep.rx.unread() < RX_SIZE);
        let mut total = 0;
        for sequence in 1..10 {
            total += keep.rx.read(BOB, sequence, 4096, low_bytes(|_, _| -> Result<(), Status> { Ok(()) })).unwrap();
        }
        prop_assert!(total < RX_SIZE as usize);
    }

    #[test]
    fn writes_of_any_lengths_come_out_in_order(lengths in proptest::collection::vec(0usize..3 * TX_SIZE as usize, 1..4), slow: bool) {
        let model = Model::new(true, slow);
        let keep = keep();
        let mut uart = Uart::start(model.clone(), keep);
        let mut expected = Vec::new();
        for (sequence, len) in lengths.iter().enumerate() {
            let data = text(*len, sequence);
            send(&mut uart, &model, keep, ALICE, sequence as u64 + 1, &data);
            expected.extend(data);
        }
        drain(&mut uart, &model, keep);
        let line = model.0.borrow().line.clone();
        prop_assert_eq!(line, expected);
    }
}
