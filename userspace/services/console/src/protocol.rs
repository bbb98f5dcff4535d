//! The console's protocol.

use crate::MAX_COMPLETIONS;
use crate::editor::MAX_PROMPT;
use rt::notify::Notification;

rt::protocol! {
    /// The console, as a client sees it. [`crate::Client`] is for those who edit lines.
    pub protocol console;

    refusals {
        /// The person gave the line up with Ctrl-C.
        Interrupted = 1 "the line was given up",
        /// Ctrl-D on an empty line.
        EndOfInput = 2 "the input has ended",
        /// Another task reads a line.
        Taken = 3 "another task reads a line",
        /// The serial line sends nothing. What was printed is sent if it does again.
        Stalled = 6 "the serial line sends nothing",
    }

    /// Prints UTF-8 text; answered when screen and serial line have it. How many bytes these are. A number that was finished already is only
    /// acknowledged; one that was begun goes on.
    [1 numbered(16)] fn write(text: &[u8]) -> usize;

    /// Lets a person edit a line after the prompt; answered when there is one. One task at a time. The number, if it is not 0, tells one reading of
    /// the task's from the next: asked again with the number of the last one, a line that was answered is answered again.
    [2 once later] fn read_line(number: u32, prompt: &[u8; ..=4 * MAX_PROMPT], line: &mut [u8]) -> Entered;

    /// Replaces the list of what Tab offers: one `command` or `command argument` a line.
    [3 idempotent(16)] fn set_completions(list: &[u8; ..=MAX_COMPLETIONS]);

    /// Clears the display.
    [4 idempotent(16)] fn clear();

    /// Sets the colours of text to come, 0 to 15 each as VGA numbers them.
    [5 idempotent(16)] fn set_color(foreground: u8, background: u8);

    /// Names who is told, by these bits, of Ctrl-C while nobody reads a line. Replaces the one before.
    [6 idempotent] fn subscribe_interrupt(bits: u64) passing notification: Notification[SIGNAL];

    /// Answered when the serial line has sent everything printed so far, or nothing for two seconds.
    [7 idempotent(16)] fn flush();

    /// Ends the reading of a line of this task, which is refused as cancelled. What was typed is there for the next one.
    [8 idempotent(16)] fn cancel();

    /// Writes a line for each display that does not show what it is given, and why.
    [9 idempotent(16)] fn trouble(text: &mut [u8]) -> Filled;
}

rt::words! {
    /// What was entered.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Entered {
        /// Bytes of the line that were written.
        pub written: usize,
        /// Its length.
        pub length: usize,
    }
}
