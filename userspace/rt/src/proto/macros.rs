//! The macro [`protocol!`](crate::protocol).

mod parts;

/// Declares a protocol: labels, refusals, a client, requests for futures, a trait for the server,
/// and the code that calls its methods. A module can have only one.
///
/// ```
/// use rt::notify::Notification;
/// use rt::proto::{Asker, In, Owned};
///
/// rt::words! {
///     /// What a lamp is like.
///     #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
///     pub struct State { pub percent: u8, pub broken: bool }
/// }
///
/// rt::protocol! {
///     /// A lamp.
///     pub protocol lamp;
///     refusals {
///         /// The bulb is broken, after so many hours.
///         Broken(hours: u32) = 1 "the bulb is broken, after {hours} hours",
///     }
///     /// Sets how bright it is; with `wait`, answered when it is.
///     [1 idempotent later] fn dim(percent: u8, wait: bool);
///     /// Blinks a text. Exactly once: the request is numbered.
///     [2 numbered] fn blink(text: &[u8; 1..=64]) -> u32;
///     /// Writes what was blinked last.
///     [3 idempotent] fn last(text: &mut [u8]) -> Filled;
///     /// Has `bits` set in a notification when the bulb breaks.
///     [4 idempotent] fn subscribe(bits: u64) passing bell: Notification[SIGNAL];
///     /// What it is like.
///     [5 idempotent(3)] fn state() -> State;
/// }
///
/// #[derive(Default)]
/// struct Lamp { state: State, last: Vec<u8> }
///
/// impl Server for Lamp {
///     fn dim(&mut self, _call: Call<()>, percent: u8, _wait: bool) -> Outcome<()> {
///         self.state.percent = percent;
///         Ok(()).into()
///     }
///     fn blink(&mut self, _: Asker, text: In) -> Result<u32, Refusal> {
///         if self.state.broken { return Err(Refusal::Broken(1000)) }
///         self.last = text.to_vec().map_err(|_| Refusal::BadLease)?;
///         Ok(self.last.len() as u32)
///     }
///     fn last(&mut self, _: Asker, text: rt::proto::Out) -> Result<usize, Refusal> {
///         text.write_all(0, &self.last).map_err(|_| Refusal::BadLease)?;
///         Ok(self.last.len())
///     }
///     fn subscribe(&mut self, _: Asker, _bits: u64, _bell: Owned<Notification>) -> Result<(), Refusal> {
///         Ok(())
///     }
///     fn state(&mut self, _: Asker) -> Result<State, Refusal> {
///         Ok(self.state)
///     }
/// }
///
/// // On the host a client and its server can run on one thread.
/// let mut lamp = Lamp::default();
/// rt::fake::fake_peer(rt::ipc::Endpoint(7), move |request| Ok(dispatch(&mut lamp, request)));
/// let client = Client::new(rt::ipc::Endpoint(7));
/// client.dim(40, false)?;
/// assert_eq!(client.state()?.percent, 40);
/// assert_eq!(client.blink(b"sos")?, 3);
/// assert!(client.blink(b"").is_err(), "its bounds say 1..=64");
/// # Ok::<(), Error>(())
/// ```
///
/// `protocol NAME;` is the name of the task that serves it; if that is not a Rust identifier,
/// `protocol my_lamp = "my-lamp";`.
///
/// A refusal has a name, optionally a value, a number below 0xfffc, and a text as for `format!`,
/// whose further arguments are in parentheses after it.
///
/// In brackets:
/// - the label, a number below 0xffff;
/// - what a client does when the server dies over the request: `once` (it returns the error),
///   `idempotent` (it repeats the request, any number of times), `idempotent(3)` (at most three
///   tries), `numbered` (it repeats the request with the same number, any number of times, by which
///   the server's next life recognises it: see [`rt::keep`](crate::keep)), `numbered(16)` (at most
///   16 tries);
/// - `later` if the reply may be deferred: the method is given a [`Call`](crate::proto::Call) and
///   returns an [`Outcome`](crate::proto::Outcome), which is made either from an answer or by
///   deferring the reply.
///
/// Arguments are values of [`Words`](crate::proto::Words), each of which begins one of the four
/// words, or memory. The number of a numbered operation takes the word after them, so its arguments
/// have three words left; what needs more is lent as memory. Memory: `&[u8]` is lent for reading, `&mut [u8]`
/// for writing, with `; BOUNDS` after `u8` for its length in bytes. `passing` declares a handle
/// that the request brings, its kind and the rights that the server gets. The answer is one value;
/// `Filled` stands for a `usize`, the number of bytes of the operation's only `&mut [u8]` that the
/// server has filled, which the client limits to the length that it lent.
///
/// A request that is not as declared (label, number of leases, their access and bounds, kind and
/// rights of the handle, values of enums) is refused before a method is called.
#[macro_export]
macro_rules! protocol {
    (
        $(#[$protocol_meta:meta])*
        $vis:vis protocol $protocol:ident $(= $peer:literal)?;
        refusals {
            $(
                $(#[$refusal_meta:meta])*
                $refusal:ident $(($payload:ident : $payload_type:ty))? = $code:literal $text:literal $(($($value:expr),+))?
            ),* $(,)?
        }
        $(
            $(#[$meta:meta])*
            [$label:literal $policy:ident $(($tries:literal))? $($later:ident)?]
            fn $op:ident(
                $($arg:ident : $(& $($mutable:ident)? [$byte:ident $(; $bounds:expr)?])? $($word:path)?),* $(,)?
            )
            $(passing $handle:ident : $kind:ident [$($right:ident)|+])?
            $(-> $answer:tt)?;
        )*
    ) => {
        /// The labels of the operations.
        #[allow(non_upper_case_globals)]
        $vis mod label {
            $($(#[$meta])* pub const $op: u16 = $label;)*
        }

        const _: () = assert!(
            $crate::proto::distinct(&[$crate::proto::ASK_HASH, $($label),*]),
            "two operations have the same label, or one has 0xffff"
        );
        const _: () = assert!(
            $crate::proto::distinct(&[
                0,
                $crate::proto::BUSY,
                $crate::proto::BAD_LEASE,
                $crate::proto::CANCELLED,
                $crate::proto::BAD_REQUEST,
                $($code),*
            ]),
            "two refusals have the same number, or one has that of no refusal (0) or of every protocol's (0xfffc to 0xffff)"
        );

        $(
            const _: () = {
                use $crate::proto::{MAX_LEASES, Words};
                const WORDS: u32 = policy::$op.numbered as u32 $($(+ <$word as Words>::BITS.div_ceil(64))?)*;
                const LEASES: &[&str] = &[$($(stringify!($byte),)?)*];
                assert!(WORDS <= 4, concat!("the arguments take more than four words: ", stringify!($op)));
                assert!(LEASES.len() <= MAX_LEASES, concat!("too many leases: ", stringify!($op)));
                assert!(
                    <$crate::__protocol!(@answer $($answer)?) as Words>::BITS <= 256,
                    concat!("the answer takes more than four words: ", stringify!($op))
                );
                const ROOMS: &[&str] = &[$($($(stringify!($mutable),)?)?)*];
                assert!(
                    ROOMS.len() == 1 || !$crate::__protocol!(@is_filled $($answer)?),
                    concat!("`Filled` speaks of one `&mut [u8]`: ", stringify!($op))
                );
            };
        )*

        #[allow(non_upper_case_globals)]
        mod policy {
            $(pub(super) const $op: $crate::proto::Policy = $crate::__protocol!(@policy $policy $(($tries))?);)*
        }

        /// The numbers of this task's requests, for each numbered operation.
        #[allow(non_upper_case_globals, unused)]
        mod number {
            $(pub(super) static $op: $crate::proto::Numbers = $crate::proto::Numbers::new();)*
        }

        /// A hash of the protocol: labels, arguments, answers and refusals. It differs if client
        /// and server were built from different declarations.
        $vis const HASH: u64 = {
            let hash = $crate::proto::mix_text(0, stringify!($protocol));
            $(
                let hash = $crate::proto::mix($crate::proto::mix_text(hash, stringify!($op)), $label);
                let hash = $crate::proto::mix(hash, policy::$op.numbered as u64);
                $(
                    $(let hash = $crate::proto::mix_text(
                        hash,
                        concat!("&", $(stringify!($mutable),)? stringify!($byte), $(stringify!($bounds))?),
                    );)?
                    $(let hash = $crate::proto::mix(hash, <$word as $crate::proto::Words>::SHAPE);)?
                )*
                $(
                    let hash = $crate::proto::mix(hash, <$kind as $crate::proto::Passable>::KIND as u64);
                    let hash = $crate::proto::mix(hash, $crate::__protocol!(@rights $($right)+).bits() as u64);
                )?
                let hash = $crate::proto::mix(hash, <$crate::__protocol!(@answer $($answer)?) as $crate::proto::Words>::SHAPE);
            )*
            $(
                let hash = $crate::proto::mix($crate::proto::mix_text(hash, stringify!($refusal)), $code);
                $(let hash = $crate::proto::mix(hash, <$payload_type as $crate::proto::Words>::SHAPE);)?
            )*
            hash
        };

        /// The description of the protocol as text, for people: see `rt::described!`.
        $vis const DESCRIPTION: &str = $crate::__joined!(
            concat!("protocol ", stringify!($protocol), "\n"),
            $(
                concat!("op ", $label, " ", stringify!($op), " "),
                $(
                    concat!(stringify!($arg), ":"),
                    $($crate::__protocol!(@text $byte $($mutable)?),)?
                    $(<$word as $crate::proto::Words>::TEXT,)?
                    " ",
                )*
                $(concat!("+", stringify!($kind), " "),)?
                if policy::$op.numbered { "# " } else { "" },
                "-> ", $crate::__protocol!(@answer_text $($answer)?), "\n",
            )*
            $(
                concat!("no ", $code, " "),
                $crate::__protocol!(@value_text $($payload: $payload_type)?), " ",
                $text, "\n",
            )*
        );

        /// The reasons for which the server refuses a request.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        $vis enum Refusal {
            $($(#[$refusal_meta])* $refusal $(($payload_type))?,)*
            /// A request of the same kind by the same task already waits.
            Busy,
            /// The lent memory is missing, too short or too long, or not accessible.
            BadLease,
            /// The server has abandoned the request.
            Cancelled,
            /// The server does not know the operation, or not with these arguments.
            BadRequest,
            /// The server gave a reason that this client does not know.
            Unknown(u16),
        }

        impl Refusal {
            /// The outcome in the reply.
            pub const fn code(self) -> u16 {
                match self {
                    $(Refusal::$refusal { .. } => $code,)*
                    Refusal::Busy => $crate::proto::BUSY,
                    Refusal::BadLease => $crate::proto::BAD_LEASE,
                    Refusal::Cancelled => $crate::proto::CANCELLED,
                    Refusal::BadRequest => $crate::proto::BAD_REQUEST,
                    Refusal::Unknown(code) => code,
                }
            }
        }

        impl $crate::proto::Refuse for Refusal {
            #[inline]
            fn encode(self) -> $crate::Answer {
                #[allow(unused_mut)]
                let mut words = $crate::proto::Pack::new();
                match self {
                    $($(Refusal::$refusal($payload) => <$payload_type as $crate::proto::Words>::pack(&$payload, &mut words),)?)*
                    _ => {}
                }
                $crate::Answer::Reply(self.code(), words.words())
            }
            fn decode(outcome: u16, words: [u64; 4]) -> Self {
                let known = match outcome {
                    $($code => $crate::__protocol!(@refusal words $refusal $(, $payload: $payload_type)?),)*
                    $crate::proto::BUSY => Some(Refusal::Busy),
                    $crate::proto::BAD_LEASE => Some(Refusal::BadLease),
                    $crate::proto::CANCELLED => Some(Refusal::Cancelled),
                    $crate::proto::BAD_REQUEST => Some(Refusal::BadRequest),
                    _ => None,
                };
                let _ = words;
                known.unwrap_or(Refusal::Unknown(outcome))
            }
        }

        impl core::fmt::Display for Refusal {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self {
                    $(Refusal::$refusal $(($payload))? => write!(f, $text $(, $($value),+)?),)*
                    Refusal::Busy => f.write_str("another request waits already"),
                    Refusal::BadLease => f.write_str("the memory lent cannot be reached"),
                    Refusal::Cancelled => f.write_str("the request was given up"),
                    Refusal::BadRequest => f.write_str("the request makes no sense"),
                    Refusal::Unknown(code) => write!(f, "the request was refused ({code})"),
                }
            }
        }

        /// The reasons for which a client has no answer.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        $vis enum Error {
            /// The call failed; `CallError::Died` only if the operation may not be repeated.
            Call($crate::ipc::CallError),
            /// The server refused the request.
            Refused(Refusal),
        }

        impl core::fmt::Display for Error {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self {
                    Error::Call(error) => error.fmt(f),
                    Error::Refused(refusal) => refusal.fmt(f),
                }
            }
        }

        impl core::error::Error for Error {}

        impl From<$crate::proto::Failure<Refusal>> for Error {
            fn from(failure: $crate::proto::Failure<Refusal>) -> Self {
                match failure {
                    $crate::proto::Failure::Call(error) => Error::Call(error),
                    $crate::proto::Failure::Refused(refusal) => Error::Refused(refusal),
                }
            }
        }

        /// The answer in a reply of this protocol.
        ///
        /// # Errors
        /// The call failed, or the server refused the request.
        $vis fn answer<A: $crate::proto::Words>(
            reply: Result<$crate::ipc::Reply, $crate::ipc::CallError>,
        ) -> Result<A, Error> {
            $crate::proto::answer::<A, Refusal>(reply).map_err(Error::from)
        }

        $(#[$protocol_meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        $vis struct Client {
            endpoint: $crate::ipc::Endpoint,
        }

        #[allow(dead_code)]
        impl Client {
            /// A client of the server at this endpoint.
            pub const fn new(endpoint: $crate::ipc::Endpoint) -> Self {
                Client { endpoint }
            }

            /// A client of the task with the protocol's name, if `system.toml` lets this task call
            /// it.
            pub fn peer() -> Option<Self> {
                $crate::ipc::Endpoint::peer($crate::__protocol!(@peer $protocol $($peer)?)).map(Client::new)
            }

            /// The hash of the server's protocol, which equals [`HASH`] if it was built from the
            /// same declaration.
            ///
            /// # Errors
            /// The call failed.
            pub fn hash(&self) -> Result<u64, Error> {
                answer(self.endpoint.call($crate::proto::ASK_HASH, [0; 4]))
            }

            $(
                $(#[$meta])*
                ///
                /// # Errors
                /// The call failed, or the server refuses.
                #[allow(clippy::too_many_arguments)]
                pub fn $op(
                    &self,
                    $($arg: $(& $($mutable)? [$byte])? $($word)?,)*
                    $($handle: $kind,)?
                ) -> Result<$crate::__protocol!(@answer $($answer)?), Error> {
                    #[allow(unused_mut)]
                    let mut words = $crate::proto::Pack::new();
                    $($(words.whole(); <$word as $crate::proto::Words>::pack(&$arg, &mut words);)?)*
                    if policy::$op.numbered {
                        words.whole();
                        words.push(64, number::$op.draw());
                    }
                    #[allow(unused_variables)]
                    let room = 0 $($(+ $crate::__protocol!(@room $arg $($mutable)?))?)*;
                    let reply = $crate::proto::call(
                        self.endpoint,
                        label::$op,
                        words.words(),
                        &mut [$($($crate::__protocol!(@loan $arg $byte $($mutable)?),)?)*],
                        $crate::__protocol!(@handle $($handle $kind $($right)+)?),
                        policy::$op,
                    );
                    let answered = answer(reply);
                    $crate::__protocol!(@clamp answered room $($answer)?)
                }
            )*
        }

        /// Requests for futures: each owns the memory that it lends. Its method `of` makes it, as
        /// does a `PendingCall`.
        #[allow(dead_code)]
        $vis struct Requests;

        #[allow(dead_code)]
        impl Requests {
            $(
                $(#[$meta])*
                #[allow(clippy::too_many_arguments)]
                pub fn $op(
                    $($arg: $($crate::__protocol!(@owned $byte))? $($word)?,)*
                    $($handle: $kind,)?
                ) -> $crate::proto::Ask<$crate::__protocol!(@answer $($answer)?), Refusal> {
                    #[allow(unused_mut)]
                    let mut words = $crate::proto::Pack::new();
                    $($(words.whole(); <$word as $crate::proto::Words>::pack(&$arg, &mut words);)?)*
                    if policy::$op.numbered {
                        words.whole();
                        words.push(64, number::$op.draw());
                    }
                    let lent = $crate::__alloc::vec![$($($crate::__protocol!(@lend $arg $byte $($mutable)?),)?)*];
                    let handle = $crate::__protocol!(@handle $($handle $kind $($right)+)?);
                    let ask = $crate::proto::Ask::new(label::$op, words.words(), lent, handle, policy::$op);
                    if $crate::__protocol!(@is_filled $($answer)?) { ask.filling() } else { ask }
                }
            )*
        }

        /// A call with an answer `A` whose reply may be deferred.
        $vis type Call<A> = $crate::proto::Call<A, Refusal>;
        /// What a method returns for a call: an answer, or the proof that the reply is deferred.
        $vis type Outcome<A> = $crate::proto::Outcome<A, Refusal>;
        /// Calls with an answer `A` that wait for deferred replies, with data `W` of the server's.
        $vis type Queue<W, A = ()> = $crate::proto::Queue<W, A, Refusal>;

        /// The server's methods, one for each operation. [`dispatch`] calls them.
        $vis trait Server {
            $(
                $(#[$meta])*
                #[allow(clippy::too_many_arguments, clippy::missing_errors_doc)]
                fn $op(
                    &mut self,
                    call: $crate::__protocol!(@call [$($later)?] $($answer)?),
                    $($arg: $($crate::__protocol!(@served $byte $($mutable)?))? $($word)?,)*
                    $($handle: $crate::proto::Owned<$kind>,)?
                ) -> $crate::__protocol!(@outcome [$($later)?] $($answer)?);
            )*
        }

        /// Decodes a request, checks its arguments, and calls the server's method.
        #[inline]
        $vis fn dispatch<S: Server>(server: &mut S, request: &$crate::ipc::Request) -> $crate::Answer {
            let done = match request.label {
                $(
                    label::$op => {
                        #[inline(always)]
                        #[allow(unused_mut, unused_variables)]
                        fn serve<S: Server>(server: &mut S, request: &$crate::ipc::Request) -> Result<$crate::Answer, u16> {
                            const LEASES: &[&str] = &[$($(stringify!($byte),)?)*];
                            // The handle is taken first, so that it is closed if anything else is
                            // not as declared.
                            $(let $handle = $crate::proto::taken::<$kind>(request, $crate::__protocol!(@rights $($right)+));)?
                            let mut args = $crate::proto::Args::new(request, LEASES.len())?;
                            $(let $handle = $handle.ok_or($crate::proto::BAD_REQUEST)?;)?
                            $(
                                let $arg = $($crate::__protocol!(@take args $byte [$($mutable)?] $($bounds)?))? $(args.word::<$word>())? ?;
                            )*
                            let number = if policy::$op.numbered { args.word::<u64>()? } else { 0 };
                            let call = $crate::proto::FromCall::from_call(request, number);
                            Ok($crate::proto::Respond::respond(server.$op(call, $($arg,)* $($handle,)?)))
                        }
                        serve(server, request)
                    }
                )*
                $crate::proto::ASK_HASH => Ok($crate::Answer::ok([HASH, 0, 0, 0])),
                _ => Err($crate::proto::BAD_REQUEST),
            };
            match done {
                Ok(answer) => answer,
                Err(outcome) => $crate::Answer::refuse(outcome),
            }
        }

        /// The protocol as a type, for `rt::proto::Served`.
        #[derive(Clone, Copy, Debug)]
        #[allow(dead_code)]
        $vis struct Protocol;

        impl<S: Server> $crate::proto::Dispatch<S> for Protocol {
            const TAKES: $crate::proto::Kinds = TAKES;
            fn takes_handle(label: u16) -> bool {
                takes_handle(label)
            }
            #[inline]
            fn dispatch(server: &mut S, request: &$crate::ipc::Request) -> $crate::Answer {
                dispatch(server, request)
            }
        }

        /// The kinds of handles that requests may bring.
        $vis const TAKES: $crate::proto::Kinds = $crate::proto::Kinds::empty()
            $($(.union($crate::proto::Kinds::of(Some(<$kind as $crate::proto::Passable>::KIND))))?)*;

        /// Whether requests with this label may bring a handle.
        $vis const fn takes_handle(label: u16) -> bool {
            match label {
                $($(label::$op => { let _ = stringify!($kind); true })?)*
                _ => false,
            }
        }
    };
    ($($other:tt)*) => {
        $crate::__protocol! { @check $($other)* }
    };
}
