//! A server on the executor: it holds as many callers as there are, and answers each in its time.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::rc::Rc;
use assist::patient;
use core::cell::Cell;
use rt::exec::{Exec, ReceivedRequest};

rt::entry!(main);

/// Callers held now, at the most so far, and those whose handler was dropped.
#[derive(Default)]
struct Held {
    now: Cell<u64>,
    most: Cell<u64>,
}

fn main() {
    rt::exec::run(|exec| async move {
        let held = Rc::new(Held::default());
        loop {
            let asked = exec.request().await;
            exec.spawn(answer(exec.clone(), asked, held.clone())).detach();
        }
    })
}

async fn answer(exec: Exec, asked: ReceivedRequest, held: Rc<Held>) {
    let words = asked.words;
    held.now.set(held.now.get() + 1);
    held.most.set(held.most.get().max(held.now.get()));
    let (label, words) = match asked.label {
        patient::LATER => {
            exec.sleep_ms(words[0]).await;
            (0, words)
        }
        patient::FILL_LATER => {
            exec.sleep_ms(words[0]).await;
            let filled = asked.lease_len(0).and_then(|len| asked.write(0, 0, &alloc::vec![words[1] as u8; len]));
            (0, [filled.unwrap_or(0) as u64, 0, 0, 0])
        }
        patient::HELD => (0, [held.now.get() - 1, held.most.get(), 0, 0]),
        // Dropped without an answer.
        _ => {
            held.now.set(held.now.get() - 1);
            return;
        }
    };
    held.now.set(held.now.get() - 1);
    // A caller that is gone wants no answer.
    let _ = asked.answer(label, words);
}
