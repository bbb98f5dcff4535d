//! Parts of [`protocol!`](crate::protocol), and what it says of declarations that are wrong.

/// Parts of [`protocol!`](crate::protocol).
#[doc(hidden)]
#[macro_export]
macro_rules! __protocol {
    (@policy once) => { $crate::proto::Policy { tries: 1, numbered: false } };
    (@policy idempotent) => { $crate::proto::Policy { tries: u32::MAX, numbered: false } };
    (@policy idempotent($tries:literal)) => { $crate::proto::Policy { tries: $tries, numbered: false } };
    (@policy numbered) => { $crate::proto::Policy { tries: u32::MAX, numbered: true } };
    (@policy numbered($tries:literal)) => { $crate::proto::Policy { tries: $tries, numbered: true } };
    (@policy $other:ident $($rest:tt)*) => {
        ::core::compile_error!(concat!(
            "`", stringify!($other $($rest)*), "` is no policy: `once`, `idempotent`, `idempotent(TRIES)`, `numbered` or `numbered(TRIES)`"
        ))
    };

    (@peer $protocol:ident) => { stringify!($protocol) };
    (@peer $protocol:ident $peer:literal) => { $peer };

    (@answer) => { () };
    (@answer Filled) => { usize };
    (@answer $answer:tt) => { $answer };

    (@text $byte:ident) => { "&" };
    (@text $byte:ident mut) => { "&mut" };
    (@text $byte:ident $other:ident) => { "?" };
    (@answer_text) => { "()" };
    (@answer_text Filled) => { "filled" };
    (@answer_text $answer:tt) => { <$answer as $crate::proto::Words>::TEXT };
    (@value_text) => { "-" };
    (@value_text $payload:ident : $type:ty) => {
        $crate::__joined!(concat!(stringify!($payload), ":"), <$type as $crate::proto::Words>::TEXT)
    };

    (@is_filled Filled) => { true };
    (@is_filled $($answer:tt)?) => { false };

    (@clamp $answered:ident $room:ident Filled) => { $answered.map(|answer: usize| answer.min($room)) };
    (@clamp $answered:ident $room:ident $($answer:tt)?) => { $answered };

    (@room $arg:ident) => { 0 };
    (@room $arg:ident mut) => { $arg.len() };
    (@room $arg:ident $other:ident) => { 0 };

    (@rights $($right:ident)+) => { $crate::proto::Rights::empty()$(.union($crate::proto::Rights::$right))+ };

    (@handle) => { None };
    (@handle $handle:ident $kind:ident $($right:ident)+) => {
        Some($crate::ipc::Handle {
            kind: <$kind as $crate::proto::Passable>::KIND,
            number: $crate::proto::Passable::number(&$handle),
            rights: $crate::__protocol!(@rights $($right)+),
        })
    };

    (@call [] $($answer:tt)?) => { $crate::proto::Asker };
    (@call [later] $($answer:tt)?) => { Call<$crate::__protocol!(@answer $($answer)?)> };
    (@call [$other:ident] $($answer:tt)?) => { $crate::proto::Asker };

    (@outcome [] $($answer:tt)?) => { Result<$crate::__protocol!(@answer $($answer)?), Refusal> };
    (@outcome [later] $($answer:tt)?) => { Outcome<$crate::__protocol!(@answer $($answer)?)> };
    (@outcome [$other:ident] $($answer:tt)?) => {
        ::core::compile_error!(concat!("`", stringify!($other), "`: after the policy comes `later`, or nothing"))
    };

    (@loan $arg:ident u8) => { $crate::ipc::Loan::Read($arg) };
    (@loan $arg:ident u8 mut) => { $crate::ipc::Loan::Write($arg) };
    (@loan $arg:ident $($other:ident)+) => { $crate::ipc::Loan::Read(&[]) };
    (@lend $arg:ident u8) => { $crate::exec::Lend::Read($arg) };
    (@lend $arg:ident u8 mut) => { $crate::exec::Lend::Write($arg) };
    (@lend $arg:ident $($other:ident)+) => { $crate::exec::Lend::Read($crate::__alloc::vec![]) };
    (@owned $byte:ident) => { $crate::__alloc::vec::Vec<u8> };
    (@served u8) => { $crate::proto::In };
    (@served u8 mut) => { $crate::proto::Out };
    (@served u8 $other:ident) => {
        ::core::compile_error!(concat!("memory is lent as `&[u8]` or `&mut [u8]`, not as `&", stringify!($other), " [u8]`"))
    };
    (@served $byte:ident $($mutable:ident)?) => {
        ::core::compile_error!(concat!(
            "memory is lent as bytes, `&[u8]` or `&mut [u8]`, not as `&", $(stringify!($mutable), " ",)? "[", stringify!($byte), "]`"
        ))
    };
    (@take $args:ident u8 [] $($bounds:expr)?) => { $args.lent_in($crate::__protocol!(@bounds $($bounds)?)) };
    (@take $args:ident u8 [mut] $($bounds:expr)?) => { $args.lent_out($crate::__protocol!(@bounds $($bounds)?)) };
    (@take $args:ident $($other:tt)*) => { $args.lent_in(..) };
    (@bounds) => { .. };
    (@bounds $bounds:expr) => { $bounds };

    (@refusal $words:ident $refusal:ident) => { Some(Refusal::$refusal) };
    (@refusal $words:ident $refusal:ident, $payload:ident : $type:ty) => {
        $crate::proto::from_words::<$type>($words).map(Refusal::$refusal)
    };

    // What of a declaration that is none is wrong: the first thing that is not as it should be is
    // named.
    (@check
        $(#[$meta:meta])*
        $vis:vis protocol $protocol:ident $(= $peer:literal)?;
        refusals { $($refusals:tt)* }
        $($operations:tt)*
    ) => {
        $crate::__protocol! { @refusals $($refusals)* }
        $crate::__protocol! { @operations $($operations)* }
    };
    (@check $(#[$meta:meta])* $vis:vis protocol $protocol:ident $(= $peer:literal)?; $($rest:tt)*) => {
        ::core::compile_error!(concat!(
            "protocol `", stringify!($protocol), "`: after its name come `refusals { ... }`, which may be empty, and then its operations"
        ));
    };
    (@check $($other:tt)*) => {
        ::core::compile_error!("a protocol begins with its name, as in `pub protocol lamp;`");
    };

    (@refusals) => {};
    (@refusals
        $(#[$meta:meta])*
        $refusal:ident $(($payload:ident : $type:ty))? = $code:literal $text:literal $(($($value:expr),+))?
        $(, $($rest:tt)*)?
    ) => {
        $crate::__protocol! { @refusals $($($rest)*)? }
    };
    (@refusals $(#[$meta:meta])* $refusal:ident $($rest:tt)*) => {
        ::core::compile_error!(concat!(
            "refusal `", stringify!($refusal), "`: it is declared as `", stringify!($refusal), " = NUMBER \"text\",` or `",
            stringify!($refusal), "(value: Type) = NUMBER \"text with {value}\",`"
        ));
    };
    (@refusals $($other:tt)*) => {
        ::core::compile_error!(concat!("a refusal is declared as `Name = NUMBER \"text\",`, not as `", stringify!($($other)*), "`"));
    };

    (@operations) => {};
    (@operations
        $(#[$meta:meta])*
        [$label:literal $policy:ident $(($tries:literal))? $($later:ident)?]
        fn $op:ident(
            $($arg:ident : $(& $($mutable:ident)? [$byte:ident $(; $bounds:expr)?])? $($word:path)?),* $(,)?
        )
        $(passing $handle:ident : $kind:ident [$($right:ident)|+])?
        $(-> $answer:tt)?;
        $($rest:tt)*
    ) => {
        $crate::__protocol! { @operations $($rest)* }
    };
    (@operations $(#[$meta:meta])* fn $op:ident $($rest:tt)*) => {
        ::core::compile_error!(concat!(
            "operation `", stringify!($op), "`: before `fn` come label and policy, as in `[1 idempotent] fn ", stringify!($op), "`"
        ));
    };
    (@operations
        $(#[$meta:meta])*
        [$label:literal $policy:ident $(($tries:literal))? $($later:ident)?]
        fn $op:ident($($arguments:tt)*)
        $($rest:tt)*
    ) => {
        $crate::__protocol! { @arguments $op [$($rest)*] $($arguments)* , }
    };
    (@operations $(#[$meta:meta])* [$($head:tt)*] fn $op:ident $($rest:tt)*) => {
        ::core::compile_error!(concat!(
            "operation `", stringify!($op), "`: `[", stringify!($($head)*), "]` is not a label, a policy and perhaps `later`, as in ",
            "`[1 numbered later]`"
        ));
    };
    (@operations $($other:tt)*) => {
        ::core::compile_error!(concat!(
            "an operation is declared as `[LABEL POLICY] fn name(argument: Type) -> Answer;`, not as `", stringify!($($other)*), "`"
        ));
    };

    (@arguments $op:ident $rest:tt , ) => { $crate::__protocol! { @behind $op $rest } };
    (@arguments $op:ident $rest:tt) => { $crate::__protocol! { @behind $op $rest } };
    (@arguments $op:ident $rest:tt $arg:ident : & $($mutable:ident)? [$byte:ident $(; $bounds:expr)?], $($more:tt)*) => {
        $crate::__protocol! { @arguments $op $rest $($more)* }
    };
    (@arguments $op:ident $rest:tt $arg:ident : & $($other:tt)*) => {
        ::core::compile_error!(concat!(
            "operation `", stringify!($op), "`, argument `", stringify!($arg), "`: memory is lent as `&[u8]`, `&mut [u8]`, ",
            "or with bounds for its length as in `&[u8; 1..=64]`; a text is bytes"
        ));
    };
    (@arguments $op:ident $rest:tt $arg:ident : $word:path, $($more:tt)*) => {
        $crate::__protocol! { @arguments $op $rest $($more)* }
    };
    (@arguments $op:ident $rest:tt $arg:ident $($other:tt)*) => {
        ::core::compile_error!(concat!(
            "operation `", stringify!($op), "`, argument `", stringify!($arg), "`: it is declared as `", stringify!($arg),
            ": Type`, with the name of a type"
        ));
    };
    (@arguments $op:ident $rest:tt $($other:tt)*) => {
        ::core::compile_error!(concat!(
            "operation `", stringify!($op), "`: `", stringify!($($other)*), "` is no argument; one is declared as `name: Type`"
        ));
    };

    (@behind $op:ident [passing $handle:ident : $kind:ident [$($right:ident)|+] $(-> $answer:tt)? $($other:tt)*]) => {
        $crate::__protocol! { @end $op }
    };
    (@behind $op:ident [passing $($other:tt)*]) => {
        ::core::compile_error!(concat!(
            "operation `", stringify!($op), "`: a handle is passed as in `passing bell: Notification[SIGNAL]`, with its kind and its rights"
        ));
    };
    (@behind $op:ident $rest:tt) => { $crate::__protocol! { @end $op } };

    (@end $op:ident) => {
        ::core::compile_error!(concat!(
            "operation `", stringify!($op), "`: behind its arguments come `-> Answer` (one name, or a pair in parentheses), if it has one, ",
            "and `;`"
        ));
    };
}
