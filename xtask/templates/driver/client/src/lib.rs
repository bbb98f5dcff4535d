//! The protocols of the task `{{name}}` and of the server that it calls.
//!
//! Client and server are made of one declaration, so that they cannot drift apart. In the shell: `call {{name}} 1`.
#![no_std]
#![forbid(unsafe_code)]

rt::protocol! {
    /// The task, as its own clients see it.
    pub protocol {{crate}} = "{{name}}";

    refusals {
        /// The server was given up, or does not understand the request.
        NoServer = 1 "the server gives no answer",
    }

    // In brackets: the label, and what a client does when the task dies over the request.
    /// The total, as the server tells it.
    [1 idempotent] fn read() -> u64;

    /// Has the server add an amount; the new total. If this task dies over it, it may have been added or not, and the caller decides.
    [2 once] fn add(amount: u32) -> u64;
}

/// The server's protocol: `sum` is what this task calls it (`calls` in the manifest).
pub mod sum {
    rt::protocol! {
        /// A server that adds amounts up.
        pub protocol sum;

        refusals {}

        // `numbered`: if the server dies over it, the client repeats it with its number, by which the next life knows whether it is done.
        /// Adds an amount, exactly once; the new total.
        [1 numbered] fn add(amount: u32) -> u64;

        /// The total.
        [2 idempotent] fn total() -> u64;
    }
}
