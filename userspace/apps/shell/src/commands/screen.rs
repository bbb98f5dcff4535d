//! Commands for the display and the keyboard.

use crate::format::list;
use crate::parse::nearest;
use crate::shell::{Failure, Shell};
use alloc::format;
use alloc::string::String;
use driver_keyboard::Layout;

/// The 16 colours, in VGA's order (attribute bits: blue, green, red, bright).
pub const COLORS: [&str; 16] = console::COLORS;

/// The keyboard layouts, in the order of the keyboard driver's numbers.
pub const KEYMAPS: [&str; Layout::ALL.len()] = {
    let (mut names, mut layout) = ([""; Layout::ALL.len()], 0);
    while layout < names.len() {
        names[layout] = Layout::ALL[layout].1;
        layout += 1;
    }
    names
};

pub fn echo(shell: &mut Shell<'_>, arguments: &[String]) -> Result<(), Failure> {
    shell.world.print(&(arguments.join(" ") + "\n"));
    Ok(())
}

pub fn clear(shell: &mut Shell<'_>, _: &[String]) -> Result<(), Failure> {
    Ok(shell.world.clear()?)
}

/// The index of `word` in `words`, or a message that lists them.
fn choose(word: &str, words: &[&str], what: &str) -> Result<usize, Failure> {
    words.iter().position(|known| *known == word).ok_or_else(|| {
        Failure::Say(match nearest(word, words.iter().copied()) {
            Some(near) => format!("there is no {what} `{word}`: did you mean `{near}`?"),
            None => format!("there is no {what} `{word}`: choose one of {}", list(words.iter().copied())),
        })
    })
}

pub fn color(shell: &mut Shell<'_>, arguments: &[String]) -> Result<(), Failure> {
    let Some(foreground) = arguments.first() else {
        let (dark, bright) = COLORS.split_at(8);
        shell.world.print(&format!("{}\n{}\n", dark.join(" "), bright.join(" ")));
        return Ok(());
    };
    let foreground = choose(foreground, &COLORS, "colour")?;
    let background = match arguments.get(1) {
        Some(name) => choose(name, &COLORS, "colour")?,
        None => 0,
    };
    if foreground == background {
        let name = COLORS.get(foreground).copied().unwrap_or_default();
        let other = if name == "white" { "black" } else { "white" };
        return Err(Failure::Say(format!(
            "{name} on {name} cannot be read: choose another background, as in `color {name} {other}`"
        )));
    }
    Ok(shell.world.set_color(foreground as u8, background as u8)?)
}

pub fn keymap(shell: &mut Shell<'_>, arguments: &[String]) -> Result<(), Failure> {
    let number = match arguments.first() {
        Some(name) => {
            let number = choose(name, &KEYMAPS, "layout")?;
            shell.world.set_keymap(number as u64)?;
            number
        }
        None => shell.world.keymap()? as usize,
    };
    let name = KEYMAPS.get(number).copied().unwrap_or("unknown");
    shell.world.print(&format!("keymap {name} (known: {})\n", KEYMAPS.join(" ")));
    Ok(())
}
