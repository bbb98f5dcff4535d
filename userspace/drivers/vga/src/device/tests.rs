use super::*;
use crate::stream::Stream;
use alloc::vec::Vec;
use rt::port::FakePorts;
use std::collections::BTreeMap;

/// Records writes in order.
#[derive(Default)]
struct Cells(Vec<(usize, u16)>);

impl Window for Cells {
    fn write(&mut self, offset: usize, value: u16) {
        assert_eq!(offset % 2, 0);
        self.0.push((offset, value));
    }

    fn read(&mut self, offset: usize) -> u16 {
        self.0.iter().rev().find(|(at, _)| *at == offset).map_or(0, |(_, value)| *value)
    }
}

/// Video memory in a mode of packed pixels: what comes in does not come out.
struct Pixels(Cells);

impl Window for Pixels {
    fn write(&mut self, offset: usize, value: u16) {
        self.0.write(offset, value);
    }

    fn read(&mut self, offset: usize) -> u16 {
        self.0.read(offset) & 0xff00
    }
}

fn bochs() -> FakePorts {
    let mut dispi = FakePorts::new();
    dispi.set(DISPI_DATA, 0xb0c5);
    dispi
}

fn set_up() -> (Adapter<FakePorts, Cells>, FakePorts, Cells) {
    let (mut dispi, mut font) = (bochs(), Cells::default());
    let adapter = Adapter::set_up(FakePorts::new(), &mut dispi, &mut font, Cells::default());
    (adapter, dispi, font)
}

/// The indexed writes to one controller, in order.
fn indexed(ports: &FakePorts, controller: u16) -> Vec<(u32, u32)> {
    let own: Vec<_> = ports.writes.iter().filter(|w| w.0 == controller || w.0 == controller + 1).collect();
    own.chunks(2)
        .map(|pair| {
            assert_eq!((pair[0].0, pair[1].0), (controller, controller + 1), "index, then data");
            (pair[0].1, pair[1].1)
        })
        .collect()
}

fn last(writes: &[(u32, u32)]) -> BTreeMap<u32, u32> {
    writes.iter().copied().collect()
}

fn values(table: &[u8], first: u32) -> BTreeMap<u32, u32> {
    (first..).zip(table.iter().map(|&v| v.into())).collect()
}

#[test]
fn graphics_end_before_anything_else() {
    let (_, dispi, _) = set_up();
    assert_eq!(dispi.writes, [(0, 0), (0, 4), (1, 0)]);
    let mut other = FakePorts::new();
    let _ = Adapter::set_up(FakePorts::new(), &mut other, &mut Cells::default(), Cells::default());
    assert_eq!(other.writes, [(0, 0)], "no Bochs interface: only the question");
}

#[test]
fn every_register_ends_with_its_value() {
    let (adapter, _, _) = set_up();
    assert_eq!(adapter.ports.written(MISC_WRITE), [0x67]);
    let mut sequencer = values(&SEQUENCER_VALUES, 1);
    sequencer.insert(0, 3);
    sequencer.insert(1, 0x20);
    // The question whether it is a chip of Cirrus Logic's.
    sequencer.insert(6, 0);
    assert_eq!(last(&indexed(&adapter.ports, SEQUENCER)), sequencer);
    assert_eq!(last(&indexed(&adapter.ports, CRTC)), values(&CRTC_VALUES, 0));
    assert_eq!(last(&indexed(&adapter.ports, GRAPHICS)), values(&GRAPHICS_VALUES, 0));
}

#[test]
fn the_crt_controller_is_unlocked_first_and_the_clock_changes_in_reset() {
    let (adapter, _, _) = set_up();
    let crtc = indexed(&adapter.ports, CRTC);
    assert_eq!(crtc[0].0, 0x11);
    assert_eq!(crtc[0].1 & 0x80, 0);
    assert_eq!(crtc.len(), 26);
    let sequencer = indexed(&adapter.ports, SEQUENCER);
    assert_eq!(sequencer[..2], [(6, 0), (0, 1)]);
    let misc = adapter.ports.writes.iter().position(|w| w.0 == MISC_WRITE).unwrap();
    let start = adapter.ports.writes.windows(2).position(|w| w == [(SEQUENCER, 0), (SEQUENCER + 1, 3)]).unwrap();
    assert!(misc > 1 && misc < start);
}

#[test]
fn the_attribute_controller_gets_pairs_from_a_known_state() {
    let (adapter, _, _) = set_up();
    assert_eq!(adapter.ports.reads, [SEQUENCER + 1, STATUS]);
    let written = adapter.ports.written(ATTRIBUTE);
    let (pairs, end) = written.split_at(42);
    let pairs: BTreeMap<u32, u32> = pairs.chunks(2).map(|p| (p[0], p[1])).collect();
    assert_eq!(pairs, values(&ATTRIBUTE_VALUES, 0));
    assert_eq!(end, [0x20]);
    // The picture's data path is cut while the index is below 0x20, and no blinking: bit 7 is background.
    assert_eq!(pairs[&0x10] & 8, 0);
}

#[test]
fn the_font_goes_to_plane_2_and_nowhere_else() {
    let (adapter, _, font) = set_up();
    let sequencer = indexed(&adapter.ports, SEQUENCER);
    let graphics = indexed(&adapter.ports, GRAPHICS);
    assert_eq!(sequencer[sequencer.len() - 4..], [(2, 4), (4, 6), (2, 3), (4, 2)]);
    assert_eq!(graphics[graphics.len() - 6..], [(4, 2), (5, 0), (6, 4), (4, 0), (5, 0x10), (6, 0x0e)]);
    assert_eq!(font.0.len(), 256 * 8);
    let a = u16::from_le_bytes([FONT[65][2], FONT[65][3]]);
    assert!(font.0.contains(&(65 * 32 + 2, a)));
    assert!(font.0.iter().all(|&(at, _)| at % 32 < 16 && at < 256 * 32));
}

#[test]
fn the_palette_has_six_bits() {
    let (adapter, _, _) = set_up();
    assert_eq!(adapter.ports.written(DAC_INDEX), [0]);
    let dac = adapter.ports.written(DAC_INDEX + 1);
    assert_eq!((dac.len(), &dac[18..21]), (48, &[0x2a, 0x15, 0][..]));
    assert!(dac.iter().all(|&v| v < 64));
}

#[test]
fn the_screen_is_dark_until_it_is_filled() {
    let (mut adapter, _, _) = set_up();
    let clocking = |ports: &FakePorts| last(&indexed(ports, SEQUENCER))[&1];
    assert_eq!(clocking(&adapter.ports), 0x20);
    assert_eq!(adapter.text.0.len(), 2000);
    adapter.screen_on();
    assert_eq!(clocking(&adapter.ports), 0);
}

#[test]
fn only_what_changed_is_painted() {
    let (mut adapter, _, _) = set_up();
    let mut screen = Screen::default();
    adapter.paint(&screen, screen.cells().len() as u32 | crate::screen::ALL_ROWS);
    adapter.text.0.clear();
    adapter.ports.take_writes();
    Stream::default().feed(&mut screen, b"\x1b[2;1Hhi");
    adapter.paint(&screen, 1 << 1);
    assert_eq!(adapter.text.0, [(160, 0x0768), (162, 0x0769)]);
    assert_eq!(indexed(&adapter.ports, CRTC), [(0x0e, 0), (0x0f, 82)]);
    adapter.text.0.clear();
    adapter.ports.take_writes();
    adapter.paint(&screen, crate::screen::ALL_ROWS);
    assert!(adapter.text.0.is_empty() && adapter.ports.writes.is_empty());
}

#[test]
fn the_cursor_follows_shape_and_visibility() {
    let (mut adapter, _, _) = set_up();
    let mut show = |text: &[u8]| {
        let mut screen = Screen::default();
        Stream::default().feed(&mut screen, text);
        adapter.ports.take_writes();
        adapter.paint(&screen, 0);
        indexed(&adapter.ports, CRTC)
    };
    assert_eq!(show(b""), [(10, 13), (11, 14), (14, 0), (15, 0)]);
    assert_eq!(show(b"\x1b[25;80H"), [(14, 7), (15, 0xcf)]);
    assert_eq!(show(b"\x1b[?25l"), [(10, 0x20)]);
    assert_eq!(show(b"\x1b[?25lmoved"), []);
    assert_eq!(show(b"\x1b[2 q"), [(10, 0), (11, 15), (14, 0), (15, 0)]);
}

/// Ports of an adapter of which the cursor's place reads back.
fn answering() -> FakePorts {
    let mut ports = FakePorts::new();
    let mut register = 0;
    ports.hook(move |access| match access {
        rt::fake::Access::Write(0x15, value) => {
            register = value;
            None
        }
        rt::fake::Access::Read(0x15) => Some(register),
        _ => None,
    });
    ports
}

#[test]
fn an_absent_adapter_is_noticed() {
    let (mut adapter, _, _) = set_up();
    assert_eq!(adapter.trouble(), Some(Trouble::Absent));
    let mut adapter = Adapter::set_up(answering(), &mut bochs(), &mut Cells::default(), Cells::default());
    assert_eq!(adapter.trouble(), None);
    let left: Vec<_> = (0..4000).step_by(2).filter(|at| adapter.text.read(*at) != 0).collect();
    assert!(left.is_empty(), "nothing stays of the question: {left:?}");
}

#[test]
fn a_window_that_is_no_text_is_noticed_and_said() {
    let mut adapter = Adapter::set_up(answering(), &mut bochs(), &mut Cells::default(), Pixels(Cells::default()));
    let trouble = adapter.trouble().expect("it does not read back");
    assert_eq!(trouble, Trouble::NoText { offset: 0, written: 0x1234, read: 0x1200 });
    assert!(std::string::ToString::to_string(&trouble).contains("at 0xb8000 0x1234 was written and 0x1200 read"));
}

#[test]
fn the_modes_of_a_cirrus_chip_end_first_and_its_extensions_are_locked_again() {
    let mut ports = FakePorts::new();
    let (mut index, mut lock) = (0, 0x0f);
    ports.hook(move |access| match access {
        rt::fake::Access::Write(SEQUENCER, value) => {
            index = value;
            None
        }
        rt::fake::Access::Write(0x05, value) if index == 6 => {
            lock = if value == 0x12 { 0x12 } else { 0x0f };
            None
        }
        rt::fake::Access::Read(0x05) => Some(if index == 6 { lock } else { 0xff }),
        _ => None,
    });
    let adapter = Adapter::set_up(ports, &mut bochs(), &mut Cells::default(), Cells::default());
    let sequencer = indexed(&adapter.ports, SEQUENCER);
    assert_eq!(sequencer[..5], [(6, 0), (6, 0x12), (7, 0), (6, 0), (0, 1)]);
    assert_eq!(indexed(&adapter.ports, GRAPHICS)[..3], [(9, 0), (10, 0), (11, 0)]);
    assert_eq!(indexed(&adapter.ports, CRTC)[..4], [(0x19, 0), (0x1a, 0), (0x1b, 0), (0x1d, 0)]);
    assert_eq!(adapter.ports.written(DAC_MASK), [0, 0xff], "the hidden register, then the mask");
    let mask = adapter.ports.reads.iter().filter(|offset| **offset == DAC_MASK).count();
    assert_eq!(mask, 4);
}
