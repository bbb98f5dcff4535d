//! From the keyboard to the screen, on the executor: one future takes keys, one puts them on the screen, with a channel between them, and one answers
//! who asks how far they are.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use assist::typist;
use core::cell::Cell;
use driver_keyboard::{Key, KeyEvent, label as keyboard};
use driver_vga::label as screen;
use rt::exec::{Called, Exec, Lend, PendingCall};
use rt::ipc::{Endpoint, Reply};
use rt::sync::{Receiver, Sender, channel};

rt::entry!(main);

/// Events of one read, and how many reads are under way between the two.
const EVENTS: usize = 32;
const READS: usize = 4;

#[derive(Default)]
struct Progress {
    /// Characters on the screen, and what [`typist::fold`] makes of them.
    typed: Cell<(u64, u64)>,
    pause_ms: Cell<u64>,
}

fn main() {
    rt::exec::run(|exec| async move {
        let progress = Rc::new(Progress::default());
        let (keys, typed) = channel(READS);
        exec.spawn(take_keys(exec.clone(), progress.clone(), keys)).detach();
        exec.spawn(put_on_screen(exec.clone(), progress.clone(), typed)).detach();
        loop {
            let asked = exec.request().await;
            if asked.label == typist::PAUSE {
                progress.pause_ms.set(asked.words[0]);
            }
            let (count, folded) = progress.typed.get();
            // A caller that is gone wants no answer.
            let _ = asked.answer(0, [count, folded, 0, 0]);
        }
    })
}

/// What the driver answered, and the memory that it was lent.
async fn ended(call: &mut PendingCall) -> ([u64; 4], Vec<u8>) {
    match call.ended().await {
        Some(Called { reply: Ok(Reply { label: 0, words, .. }), lent }) => {
            (words, lent.into_iter().next().map(Lend::into_inner).unwrap_or_default())
        }
        other => panic!("a driver does not do it: {other:?}"),
    }
}

async fn take_keys(exec: Exec, progress: Rc<Progress>, keys: Sender<String>) {
    let mut reading = PendingCall::new(&exec, Endpoint::peer("keyboard").expect("a keyboard"));
    let mut bytes = vec![0; EVENTS * KeyEvent::LEN];
    for number in 1_u64.. {
        exec.sleep_ms(progress.pause_ms.take()).await;
        reading.begin(keyboard::read, [1, number, 0, 0], vec![Lend::Write(bytes)]);
        let count;
        ([count, ..], bytes) = ended(&mut reading).await;
        let (events, _) = bytes.as_chunks::<{ KeyEvent::LEN }>();
        let events =
            events.iter().take(count as usize).filter_map(|event| KeyEvent::from_u64(u64::from_le_bytes(*event)));
        let text = events.filter_map(|event| match event.key {
            Key::Char(character) => Some(character),
            Key::Special(_) => None,
        });
        if keys.send_async(text.collect()).await.is_err() {
            return;
        }
    }
}

async fn put_on_screen(exec: Exec, progress: Rc<Progress>, typed: Receiver<String>) {
    let mut writing = PendingCall::new(&exec, Endpoint::peer("vga").expect("a screen"));
    let mut number = 0;
    while let Ok(mut text) = typed.recv_async().await {
        while let Ok(more) = typed.try_recv() {
            text.push_str(&more);
        }
        number += 1;
        writing.begin(screen::write, [number, 0, 0, 0], vec![Lend::Read(text.replace('\n', "\r\n").into_bytes())]);
        ended(&mut writing).await;
        let (count, folded) = progress.typed.get();
        progress.typed.set((count + text.chars().count() as u64, text.chars().fold(folded, typist::fold)));
    }
}
