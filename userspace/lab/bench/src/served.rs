//! A server on the executor, to be compared with `peer`, which is callbacks.
#![cfg_attr(target_os = "none", no_std, no_main)]

use bench::label;
use rt::exec::ReceivedRequest;

rt::entry!(main);

fn main() {
    rt::exec::run_with(0, |exec| async move {
        loop {
            let asked = exec.request().await;
            match asked.label {
                label::ECHO => answer(asked),
                label::ECHO_SPAWNED => exec.spawn(async { answer(asked) }).detach(),
                _ => drop(asked),
            }
        }
    })
}

fn answer(asked: ReceivedRequest) {
    let words = asked.words;
    // A caller that is gone wants no answer.
    let _ = asked.answer(0, words);
}
