//! The drivers that the console uses. Each is called by threads of its own, so that a driver that
//! is dead, hung or waiting does not delay the others: a driver is usually restarted within
//! milliseconds, but after longer and longer times if it dies again and again.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use console::input::key_of_event;
use console::key::Key;
use console::outbox::{LATE_NS, Outbox, Piece};
use console::text::color_sequence;
use driver_vga::Color;
use rt::keep::Run;
use rt::notify::Notification;
use rt::println;
use rt::sync::Mutex;
use rt::time::{Timer, now_ns};

/// Bits that the threads set in the task's notification, and the bit of the timer that ends a wait
/// for them.
pub mod bits {
    /// A reader has new input.
    pub const INPUT: u64 = 1 << 32;
    /// A display has printed a piece: those that wait for it check again.
    pub const PRINTED: u64 = 1 << 33;
    /// The bit of the timer that ends a wait for a display.
    pub const LATE: rt::Bit = rt::Bit::new(35);
}

/// Bits of a thread's own notification.
mod wake {
    /// The driver may have begun a new life.
    pub const RENEW: u64 = 1;
    /// There is output to print, or input may be read.
    pub const WORK: u64 = 2;
    /// The device has input.
    pub const DATA: u64 = 4;
}

/// Longest wait of a flush for a serial line that sends nothing, in nanoseconds.
const FLUSH_NS: u64 = 2_000_000_000;

/// Pages of a thread's stack.
const STACK_PAGES: usize = 8;

/// Most bytes of one read of the serial line.
const BYTES: usize = 128;

/// Most events of one read of the keyboard: fewer mean that none is left.
const EVENTS: usize = 32;

/// VGA's colours by number.
const COLORS: [Color; 16] = [
    Color::Black,
    Color::Blue,
    Color::Green,
    Color::Cyan,
    Color::Red,
    Color::Magenta,
    Color::Brown,
    Color::LightGray,
    Color::DarkGray,
    Color::LightBlue,
    Color::LightGreen,
    Color::LightCyan,
    Color::LightRed,
    Color::Pink,
    Color::Yellow,
    Color::White,
];

/// Runs `f` on a thread of its own, with a notification of its own; `None` if that could not be
/// created.
fn thread(name: &str, f: impl FnOnce(Notification) + Send + 'static) -> Option<Notification> {
    let wake = Notification::create();
    let priority = rt::info().priority as u8;
    let started = wake.and_then(|wake| rt::thread::spawn(move || f(wake), STACK_PAGES, priority).map(|_| wake));
    started.inspect_err(|status| println!("{name} is left out: {status}")).ok()
}

/// Sets bits in a notification of this task.
fn signal(notification: Notification, bits: u64) {
    // Fails only without the right, which the task's own handle has.
    let _ = notification.signal(bits);
}

/// A device that prints text.
trait Display: Send + 'static {
    fn print(&mut self, piece: &Piece) -> Result<(), Box<dyn core::error::Error>>;

    /// Why its output cannot be seen, if the driver reports that.
    fn trouble(&mut self) -> Result<Option<String>, Box<dyn core::error::Error>> {
        Ok(None)
    }
}

struct Screen(driver_vga::Client);

impl Display for Screen {
    fn print(&mut self, piece: &Piece) -> Result<(), Box<dyn core::error::Error>> {
        match piece {
            Piece::Text(text) => _ = self.0.write(text.as_bytes())?,
            Piece::Color(foreground, background) => {
                let color = |number: u8| COLORS.get(usize::from(number)).copied().unwrap_or(Color::LightGray);
                self.0.set_color(color(*foreground), color(*background))?;
            }
            Piece::Flush => {}
        }
        Ok(())
    }

    fn trouble(&mut self) -> Result<Option<String>, Box<dyn core::error::Error>> {
        Ok(self.0.trouble()?.map(|trouble| trouble.to_string()))
    }
}

struct Line(driver_serial::Client);

impl Display for Line {
    fn print(&mut self, piece: &Piece) -> Result<(), Box<dyn core::error::Error>> {
        match piece {
            Piece::Text(text) => _ = self.0.write(text.as_bytes())?,
            Piece::Color(foreground, background) => {
                self.0.write(color_sequence(*foreground, *background).as_bytes())?;
            }
            Piece::Flush => self.0.flush()?,
        }
        Ok(())
    }
}

/// A display with its waiting text, its trouble as its driver reports it, and the thread that
/// prints.
struct Output {
    name: &'static str,
    outbox: &'static Mutex<Outbox>,
    trouble: &'static Mutex<Option<String>>,
    wake: Notification,
}

impl Output {
    fn start(name: &'static str, display: Option<impl Display>) -> Option<Output> {
        let display = display?;
        let outbox: &'static Mutex<Outbox> = Box::leak(Box::new(Mutex::new(Outbox::default())));
        let trouble: &'static Mutex<Option<String>> = Box::leak(Box::new(Mutex::new(None)));
        let wake = thread(name, move |wake| print_all(name, display, outbox, trouble, wake))?;
        Some(Output { name, outbox, trouble, wake })
    }

    /// Adds a piece of output, and waits until it is printed or the display is late.
    fn put(&self, piece: Piece, limit_ns: u64, timer: Option<&Timer>) {
        if self.outbox.lock().push(piece, now_ns()) {
            signal(self.wake, wake::WORK);
        }
        loop {
            let until = self.outbox.lock().wait_until(now_ns(), limit_ns);
            // Without a timer the wait would not end.
            let Some((until, timer)) = until.zip(timer) else { break };
            timer.arm_at(until);
            Notification::own().wait(bits::PRINTED | bits::LATE.mask());
        }
    }

    fn renew(&self) {
        self.outbox.lock().renew();
        signal(self.wake, wake::WORK);
    }

    /// What is wrong with the display, as a line of text, if anything is.
    fn trouble(&self) -> Option<String> {
        let stands_still = self.outbox.lock().trouble();
        let what = stands_still.map(|what| format!("{} {what}\n", self.name));
        what.or_else(|| Some(format!("{}: {}\n", self.name, self.trouble.lock().as_ref()?)))
    }
}

/// Prints the waiting text, without end.
fn print_all(
    name: &str,
    mut display: impl Display,
    outbox: &Mutex<Outbox>,
    trouble: &Mutex<Option<String>>,
    wake: Notification,
) {
    loop {
        let asks = outbox.lock().asks();
        if asks {
            // A display that does not answer fails to print too, which is reported.
            let said = display.trouble().unwrap_or_default();
            *trouble.lock() = said;
        }
        let Some(piece) = outbox.lock().take() else {
            signal(Notification::own(), bits::PRINTED);
            wake.wait(wake::WORK);
            continue;
        };
        match display.print(&piece) {
            Ok(()) => {
                if let Some(bytes) = outbox.lock().done(now_ns()) {
                    println!("{name} took nothing for a while: {bytes} bytes were left out there");
                }
            }
            Err(error) => {
                outbox.lock().give_up();
                // This message is in the log, and so on the other devices.
                println!("{name} is left out: {error}");
            }
        }
    }
}

/// Input that was read, and whether the reader may read more.
struct Inbox<T> {
    /// Items of input, each with the position after it.
    items: Vec<(u32, T)>,
    /// The position from which to read next, if a read is wanted; everything before it is stored.
    from: Option<u32>,
}

/// An input device, and the thread that reads it: once for each request, so that input that is not
/// wanted yet stays with the driver. Each item of input has a position, and the driver keeps it
/// until a later read says that it is stored.
pub struct Input<T: 'static> {
    inbox: &'static Mutex<Inbox<T>>,
    wake: Notification,
}

impl<T: Send> Input<T> {
    /// Starts the thread. `subscribe` has a notification's bits set whenever there is input; `read`
    /// appends the input from a position on, each item with the position after it, and returns
    /// whether there may be more.
    fn start<E: core::fmt::Display>(
        name: &'static str,
        mut subscribe: impl FnMut(Notification) -> Result<(), E> + Send + 'static,
        mut read: impl FnMut(u32, &mut Vec<(u32, T)>) -> Result<bool, E> + Send + 'static,
    ) -> Option<Input<T>> {
        let inbox: &'static Mutex<Inbox<T>> = Box::leak(Box::new(Mutex::new(Inbox { items: Vec::new(), from: None })));
        let wake = thread(name, move |wake| {
            let (mut present, mut more) = (false, false);
            loop {
                let bits = wake.wait(wake::RENEW | wake::WORK | wake::DATA);
                more |= bits & wake::DATA != 0;
                let mut ask = || -> Result<(), E> {
                    if bits & wake::RENEW != 0 {
                        // The notification is set at once if there is input.
                        subscribe(wake)?;
                        present = true;
                    }
                    while present && more {
                        let Some(from) = inbox.lock().from else { break };
                        let mut items = Vec::new();
                        more = read(from, &mut items)?;
                        if !items.is_empty() {
                            *inbox.lock() = Inbox { items, from: None };
                            signal(Notification::own(), bits::INPUT);
                        }
                    }
                    Ok(())
                };
                if let Err(error) = ask() {
                    present = false;
                    println!("{name} is left out: {error}");
                }
            }
        })?;
        Some(Input { inbox, wake })
    }

    /// Whether input was read that was not taken.
    pub fn has_items(&self) -> bool {
        !self.inbox.lock().items.is_empty()
    }

    /// Takes the input that was read since the previous call, each item with the position after it.
    pub fn take(&self) -> Vec<(u32, T)> {
        core::mem::take(&mut self.inbox.lock().items)
    }

    /// Requests one more read from this position on: everything before it is stored, and the driver
    /// may drop it.
    pub fn ask(&self, from: u32) {
        let mut inbox = self.inbox.lock();
        // Input that was read and not taken comes first.
        if inbox.items.is_empty() && inbox.from.replace(from).is_none() {
            drop(inbox);
            signal(self.wake, wake::WORK);
        }
    }
}

/// All devices. A device that `system.toml` does not let the console call is missing.
pub struct Devices {
    screen: Option<Output>,
    line: Option<Output>,
    /// Bytes from the serial line.
    pub serial: Option<Input<u8>>,
    /// Keys from the keyboard; events without a use in a line are `None`.
    pub keyboard: Option<Input<Option<Key>>>,
    timer: Option<Timer>,
}

impl Devices {
    /// The peers `display`, `serial` and `keyboard`, whichever tasks they are.
    pub fn peers() -> Devices {
        let peer = rt::ipc::Endpoint::peer;
        let serial = peer("serial").map(driver_serial::Client::new);
        let keyboard = peer("keyboard").map(driver_keyboard::Client::new);
        let devices = Devices {
            // Named after the protocol, whichever task serves it.
            screen: Output::start("vga", peer("display").map(driver_vga::Client::new).map(Screen)),
            line: Output::start("serial", serial.map(Line)),
            serial: serial.and_then(|client| {
                Input::start(
                    "serial",
                    move |wake| client.subscribe(wake::DATA, wake),
                    move |from, bytes| {
                        let mut buffer = [0; BYTES];
                        let Run { first, count } = client.read_from(from, &mut buffer)?;
                        let ends = (0..count).map(|number| first.wrapping_add(number + 1));
                        bytes.extend(ends.zip(buffer));
                        Ok(count as usize == buffer.len())
                    },
                )
            }),
            keyboard: keyboard.and_then(|client| {
                Input::start(
                    "keyboard",
                    move |wake| client.subscribe(wake::DATA, wake),
                    move |from, keys| {
                        let (first, mut events) = client.events_from(from)?;
                        let count = events.total();
                        while let Some(event) = events.next() {
                            keys.push((first.wrapping_add(events.taken()), key_of_event(event)));
                        }
                        Ok(count == EVENTS)
                    },
                )
            }),
            timer: Timer::new(bits::LATE).ok(),
        };
        devices.renew();
        devices
    }

    /// A peer has begun a new life: a device may be back, and has no subscriptions.
    pub fn renew(&self) {
        self.screen.iter().chain(&self.line).for_each(Output::renew);
        let inputs = [self.serial.as_ref().map(|input| input.wake), self.keyboard.as_ref().map(|input| input.wake)];
        inputs.into_iter().flatten().for_each(|input| signal(input, wake::RENEW));
    }

    /// Prints on the screen.
    pub fn screen(&self, text: &str) {
        self.put(&self.screen, Piece::Text(text.into()), LATE_NS);
    }

    /// Prints on the serial line.
    pub fn line(&self, text: &str) {
        self.put(&self.line, Piece::Text(text.into()), LATE_NS);
    }

    /// Waits until the serial line has sent everything. Returns false if it sends nothing for two
    /// seconds.
    pub fn flush(&self) -> bool {
        self.put(&self.line, Piece::Flush, FLUSH_NS);
        self.line.as_ref().is_none_or(|line| line.outbox.lock().is_idle())
    }

    /// Sets the colours of future text on screen and serial line; 0 to 15 each.
    pub fn set_color(&self, foreground: u8, background: u8) {
        for output in [&self.screen, &self.line] {
            self.put(output, Piece::Color(foreground, background), LATE_NS);
        }
    }

    /// One line of text for each display whose output cannot be seen.
    pub fn trouble(&self) -> String {
        self.screen.iter().chain(&self.line).filter_map(Output::trouble).collect()
    }

    fn put(&self, output: &Option<Output>, piece: Piece, limit_ns: u64) {
        if let Some(output) = output {
            output.put(piece, limit_ns, self.timer.as_ref());
        }
    }
}
