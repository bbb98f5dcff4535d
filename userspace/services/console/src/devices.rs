//! The drivers that the console joins. Each is asked by threads of its own, so that one that is dead, hung or waits for something keeps
//! nobody else waiting: a driver's death is over in milliseconds, but one that dies again and again is restarted later and later.

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

/// The bits that the threads set in the task's notification, and that of the timer which ends a wait for them.
pub mod bits {
    /// A reader has something.
    pub const INPUT: u64 = 1 << 32;
    /// Who waits for a display may look again.
    pub const PRINTED: u64 = 1 << 33;
    /// The bit of the timer that ends such a wait.
    pub const LATE: rt::Bit = rt::Bit::new(35);
}

/// The bits of a thread's own notification.
mod wake {
    /// The driver may have begun a new life.
    pub const RENEW: u64 = 1;
    /// There is something to print, or something may be read.
    pub const WORK: u64 = 2;
    /// The device has something to read.
    pub const DATA: u64 = 4;
}

/// Longest time that a flush waits for a serial line that sends nothing, in nanoseconds.
const FLUSH_NS: u64 = 2_000_000_000;

/// Pages of a thread's stack.
const STACK_PAGES: usize = 8;

/// Bytes that one read of the serial line takes.
const BYTES: usize = 128;

/// Events that the keyboard's stub takes at once: fewer mean that none is left.
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

/// Runs `f` on a thread of its own, which is given a notification; `None` where that cannot be had.
fn thread(name: &str, f: impl FnOnce(Notification) + Send + 'static) -> Option<Notification> {
    let wake = Notification::create();
    let priority = rt::info().priority as u8;
    let started = wake.and_then(|wake| rt::thread::spawn(move || f(wake), STACK_PAGES, priority).map(|_| wake));
    started.inspect_err(|status| println!("{name} is left out: {status}")).ok()
}

/// Sets bits in a notification of this task's.
fn signal(notification: Notification, bits: u64) {
    // Refused only to handles without the right, which one's own has.
    let _ = notification.signal(bits);
}

/// A device that prints.
trait Display: Send + 'static {
    fn print(&mut self, piece: &Piece) -> Result<(), Box<dyn core::error::Error>>;

    /// Why nobody sees what is printed there, where the driver says so.
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

/// A display, the text that waits for it, what its driver says is wrong with it, and the thread that prints.
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

    /// Gives the display something, and waits for it until it is late.
    fn put(&self, piece: Piece, limit_ns: u64, timer: Option<&Timer>) {
        if self.outbox.lock().push(piece, now_ns()) {
            signal(self.wake, wake::WORK);
        }
        loop {
            let until = self.outbox.lock().wait_until(now_ns(), limit_ns);
            // Without a timer there would be no end to it.
            let Some((until, timer)) = until.zip(timer) else { break };
            timer.arm_at(until);
            Notification::own().wait(bits::PRINTED | bits::LATE.mask());
        }
    }

    fn renew(&self) {
        self.outbox.lock().renew();
        signal(self.wake, wake::WORK);
    }

    /// What is wrong with it, as a line of text, if anything is.
    fn trouble(&self) -> Option<String> {
        let stands_still = self.outbox.lock().trouble();
        let what = stands_still.map(|what| format!("{} {what}\n", self.name));
        what.or_else(|| Some(format!("{}: {}\n", self.name, self.trouble.lock().as_ref()?)))
    }
}

/// Prints what there is, for ever.
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
            // Who cannot be asked fails to print too, and that is said.
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
                // It appears in the log, and so on whatever device is left.
                println!("{name} is left out: {error}");
            }
        }
    }
}

/// What a reader has read, and whether it may read on.
struct Inbox<T> {
    /// Each with the position behind it.
    items: Vec<(u32, T)>,
    /// The position up to which all is safe, where it is to read on from there.
    from: Option<u32>,
}

/// A device that is read, and the thread that reads it: once each time it is asked to, so that what is not wanted yet stays with the driver. Everything that it
/// gives has a position, and stays with the driver too until a later read says that it is safe.
pub struct Input<T: 'static> {
    inbox: &'static Mutex<Inbox<T>>,
    wake: Notification,
}

impl<T: Send> Input<T> {
    /// `subscribe` has a notification's bits set whenever there is something; `read` appends what there is from a position on, each with the position
    /// behind it, and returns whether there may be more.
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
                        // It is told at once where something is there.
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

    /// Whether something was read that nobody has taken.
    pub fn has_items(&self) -> bool {
        !self.inbox.lock().items.is_empty()
    }

    /// What was read since the last time, each with the position behind it.
    pub fn take(&self) -> Vec<(u32, T)> {
        core::mem::take(&mut self.inbox.lock().items)
    }

    /// Has the device read once more, from this position on: what lies before is safe, and the driver may forget it.
    pub fn ask(&self, from: u32) {
        let mut inbox = self.inbox.lock();
        // What was read and not taken comes first.
        if inbox.items.is_empty() && inbox.from.replace(from).is_none() {
            drop(inbox);
            signal(self.wake, wake::WORK);
        }
    }
}

/// All devices. One that `system.toml` does not let the console call is missing.
pub struct Devices {
    screen: Option<Output>,
    line: Option<Output>,
    /// Bytes from the serial line.
    pub serial: Option<Input<u8>>,
    /// Keys from the keyboard; events that are no key of a line are `None`.
    pub keyboard: Option<Input<Option<Key>>>,
    timer: Option<Timer>,
}

impl Devices {
    /// The peers `display`, `serial` and `keyboard`: whatever task serves as that.
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

    /// A peer has begun a new life: whatever was gone may be back, and has forgotten who subscribed.
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

    /// Waits until the serial line has sent everything. Returns whether it has; it has not where it sends nothing for two seconds.
    pub fn flush(&self) -> bool {
        self.put(&self.line, Piece::Flush, FLUSH_NS);
        self.line.as_ref().is_none_or(|line| line.outbox.lock().is_idle())
    }

    /// Sets the colours of text to come on both; 0 to 15 each.
    pub fn set_color(&self, foreground: u8, background: u8) {
        for output in [&self.screen, &self.line] {
            self.put(output, Piece::Color(foreground, background), LATE_NS);
        }
    }

    /// One line for each display that does not show what it is given.
    pub fn trouble(&self) -> String {
        self.screen.iter().chain(&self.line).filter_map(Output::trouble).collect()
    }

    fn put(&self, output: &Option<Output>, piece: Piece, limit_ns: u64) {
        if let Some(output) = output {
            output.put(piece, limit_ns, self.timer.as_ref());
        }
    }
}
