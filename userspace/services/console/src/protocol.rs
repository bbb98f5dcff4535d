//! The console's protocol.

use crate::MAX_COMPLETIONS;
use crate::editor::MAX_PROMPT;
use rt::notify::Notification;

rt::protocol! {
    /// The console's requests. [`crate::Client`] is for tasks that read lines.
    pub protocol console;

    refusals {
        /// The person ended the line with Ctrl-C.
        Interrupted = 1 "the line was given up",
        /// The person typed Ctrl-D on an empty line.
        EndOfInput = 2 "the input has ended",
        /// Another task is reading a line.
        Taken = 3 "another task reads a line",
        /// The serial line sends nothing. The printed text is sent when it works again.
        Stalled = 6 "the serial line sends nothing",
    }

    /// Prints UTF-8 text, and returns the number of its bytes when screen and serial line have it.
    /// A write whose number was finished already is only acknowledged; one that was begun is
    /// continued.
    [1 numbered(16)] fn write(text: &[u8]) -> usize;

    /// Lets a person edit a line after the prompt, and returns when it has ended. One task at a
    /// time. The number, if it is not 0, identifies the task's request for this line: if a request
    /// comes again with the number of the last one, the same line is returned again.
    [2 once later] fn read_line(number: u32, prompt: &[u8; ..=4 * MAX_PROMPT], line: &mut [u8]) -> Entered;

    /// Replaces the list of words that Tab completes: one `command` or `command argument` a line.
    [3 idempotent(16)] fn set_completions(list: &[u8; ..=MAX_COMPLETIONS]);

    /// Clears the display.
    [4 idempotent(16)] fn clear();

    /// Sets the colours of future text, 0 to 15 each as VGA numbers them.
    [5 idempotent(16)] fn set_color(foreground: u8, background: u8);

    /// Subscribes to Ctrl-C while no task reads a line: these bits are set then. Replaces the
    /// previous subscription, of any task.
    [6 idempotent] fn subscribe_interrupt(bits: u64) passing notification: Notification[SIGNAL];

    /// Returns when the serial line has sent everything printed so far, or with an error when it
    /// sends nothing for two seconds.
    [7 idempotent(16)] fn flush();

    /// Ends this task's request for a line, which is refused as cancelled. The typed text is the
    /// beginning of the next line.
    [8 idempotent(16)] fn cancel();

    /// Writes a line of text for each display whose output cannot be seen, with the reason.
    [9 idempotent(16)] fn trouble(text: &mut [u8]) -> Filled;
}

rt::words! {
    /// The result of reading a line.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Entered {
        /// Bytes of the line that were written to the lent memory.
        pub written: usize,
        /// Length of the line, in bytes.
        pub length: usize,
    }
}
