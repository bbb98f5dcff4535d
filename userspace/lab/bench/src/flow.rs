//! A client of the drivers of screen and serial line: what each character costs.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use bench::calibrate;
use bench::throughput::{CHUNK, Clock, ECHOED, GLYPHS, LINE, LINES, REPAINTS, SENT, text};
use driver_vga::screen::CELLS;
use rt::ipc::Endpoint;
use rt::println;

rt::entry!(run);

fn run() {
    calibrate::print();
    for (name, what) in [("serial", serial as fn() -> Result<(), &'static str>), ("screen", screen)] {
        // A new period, with a budget that nobody has touched.
        rt::time::sleep_ms(110);
        if let Err(reason) = what() {
            println!("failed {name} {reason}");
        }
    }
    println!("done");
    if let Some(power) = Endpoint::peer("power") {
        let Err(error) = driver_power::Client::new(power).shutdown();
        println!("failed power {error}");
    }
}

fn serial() -> Result<(), &'static str> {
    let serial = driver_serial::Client::new(Endpoint::peer("serial").ok_or("no such peer")?);
    let whole = text(SENT);
    for (name, bytes, each) in
        [("serial_driver_each", whole.get(..ECHOED).unwrap_or_default(), 1), ("serial_driver", &whole[..], CHUNK)]
    {
        let clock = Clock::start();
        for part in bytes.chunks(each) {
            serial.write(part).map_err(|_| "no write")?;
        }
        serial.flush().map_err(|_| "no flush")?;
        clock.print(name, bytes.len());
    }
    Ok(())
}

fn screen() -> Result<(), &'static str> {
    let vga = driver_vga::Client::peer().ok_or("no such peer")?;
    vga.write(b"\x1b[2J\x1b[H").map_err(|_| "no write")?;
    let bytes = text(ECHOED);
    let clock = Clock::start();
    for part in bytes.chunks(1) {
        vga.write(part).map_err(|_| "no write")?;
    }
    clock.print("screen_driver_each", bytes.len());
    let bytes = text(LINES * LINE);
    let clock = Clock::start();
    for line in bytes.chunks(LINE) {
        vga.write(line).map_err(|_| "no write")?;
    }
    clock.print("screen_driver", bytes.len());
    let mut samples = bench::Samples::new("screen_repaint_driver", REPAINTS);
    let mut cells = alloc::vec![0; CELLS * 2];
    for round in 0..REPAINTS {
        let glyph = GLYPHS[round % GLYPHS.len()];
        let mut frame = alloc::vec![glyph; CELLS + 3];
        frame[..3].copy_from_slice(b"\x1b[H");
        let clock = Clock::start();
        vga.write(&frame).map_err(|_| "no write")?;
        samples.add(clock.instructions());
        vga.read_cells(&mut cells).map_err(|_| "no cells")?;
        if cells.chunks_exact(2).any(|cell| cell[0] != glyph) {
            return Err("not all cells were painted");
        }
    }
    samples.print();
    Ok(())
}
