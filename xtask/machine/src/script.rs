//! What is done with a booted system without a person: keys and commands are typed, a picture is taken, and the machine is switched off.

use crate::guest::{Guest, split_commands};
use crate::keys;
use crate::paths::Paths;
use crate::ui::say;
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The error of a command of `--exec` that did not do what it should.
#[derive(Debug)]
pub struct CommandFailed(String);

impl CommandFailed {
    fn new(command: &str, status: Option<u8>, rest: usize) -> Self {
        let how = match status {
            Some(130) => "was interrupted",
            Some(_) => "failed; what it printed says why",
            None => "was not finished: the shell has begun anew",
        };
        let rest = match rest {
            0 => String::new(),
            1 => ". The command after it was not run; --keep-going would run it".to_owned(),
            rest => format!(". The {rest} commands after it were not run; --keep-going would run them"),
        };
        Self(format!("--exec: `{command}` {how}{rest}"))
    }
}

impl std::fmt::Display for CommandFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CommandFailed {}

/// What to do without a person.
#[derive(Debug)]
pub struct Script {
    /// Keys for the PS/2 keyboard, as [`keys::SYNTAX`] writes them; they are typed before the commands.
    pub keys: Option<String>,
    /// Commands for the shell at the serial line.
    pub commands: Vec<String>,
    /// Whether commands follow one that failed.
    pub keep_going: bool,
    /// A picture of the screen is taken in the end, and kept there.
    pub screenshot: Option<PathBuf>,
}

impl Script {
    /// Checks everything that can be checked before anything is built. `exec` holds commands that semicolons part. There is nothing to do where
    /// there are no commands, no keys, and no picture.
    ///
    /// # Errors
    /// When keys or commands are not written as they must be, or the picture cannot be kept there.
    pub fn parse(
        exec: Option<&str>,
        keys: Option<&str>,
        keep_going: bool,
        screenshot: Option<&Path>,
    ) -> Result<Option<Self>> {
        if exec.is_none() && keys.is_none() && screenshot.is_none() {
            return Ok(None);
        }
        if let Some(text) = keys {
            keys::parse(text)?;
        }
        if let Some(path) = screenshot {
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
            if let Some(dir) = dir.filter(|dir| !dir.is_dir()) {
                bail!("--screenshot: there is no directory {}; make it first", dir.display());
            }
            if path.extension().is_none_or(|kind| !kind.eq_ignore_ascii_case("png")) {
                bail!("--screenshot: the picture is a PNG; give a name that ends in .png");
            }
        }
        Ok(Some(Self {
            keys: keys.map(str::to_owned),
            commands: split_commands(exec.unwrap_or_default())?,
            keep_going,
            screenshot: screenshot.map(Path::to_path_buf),
        }))
    }

    /// Types, prints all that the guest prints on its serial line, takes the picture, switches off. What is left out are prompts, and the echo of
    /// what is typed there. `limit` is how long each step may take.
    ///
    /// # Errors
    /// When the guest does not do as it should, or a command fails ([`CommandFailed`]).
    pub fn perform(&self, guest: &mut Guest, limit: Duration, out: &mut dyn Write) -> Result<()> {
        let done = self.steps(guest, limit, out);
        // What was printed after the last command, or while something went wrong.
        show(&guest.rest(), out)?;
        done
    }

    fn steps(&self, guest: &mut Guest, limit: Duration, out: &mut dyn Write) -> Result<()> {
        guest.wait_prompt(limit)?;
        if let Some(text) = &self.keys {
            guest.type_keys(text)?;
            // What was typed has had its effect when nothing moves any more.
            guest.still_screen(Duration::from_millis(500), limit)?;
        }
        let (mut off, mut failed) = (false, None);
        for command in &self.commands {
            if ends_the_session(command) && self.screenshot.is_some() {
                self.picture(guest, limit)?;
            }
            let printed = guest.run(command, limit)?;
            show(&printed.before, out)?;
            show(&printed.lines, out)?;
            if !printed.prompt {
                off = true;
                break;
            }
            if printed.status != Some(0) && !self.keep_going {
                failed = Some((command, printed.status));
                break;
            }
        }
        if !off {
            self.picture(guest, limit)?;
            let ready = guest.wait_prompt(Duration::from_secs(1)).is_ok();
            if ready {
                let printed = guest.run("shutdown", limit)?;
                show(&printed.before, out)?;
                show(&printed.lines, out)?;
            } else if self.commands.is_empty() {
                // The keys have left something running, which was asked for: there is nobody to tell `shutdown`.
                guest.stop();
                return Ok(());
            }
        }
        guest.wait_off(limit).context("the machine was not switched off cleanly")?;
        match failed {
            None => Ok(()),
            Some((command, status)) => {
                let rest = self.commands.iter().skip_while(|other| *other != command).count() - 1;
                Err(CommandFailed::new(command, status, rest).into())
            }
        }
    }

    fn picture(&self, guest: &mut Guest, limit: Duration) -> Result<()> {
        let Some(path) = &self.screenshot else { return Ok(()) };
        let picture = guest.still_screen(Duration::from_secs(1), limit)?;
        picture.save(path)?;
        say(format!("the screen ({}x{}) is in {}", picture.width, picture.height, Paths::shown(path)));
        Ok(())
    }
}

fn ends_the_session(command: &str) -> bool {
    matches!(command.split_whitespace().next(), Some("shutdown" | "reboot"))
}

/// Prints lines, at once.
fn show(lines: &[String], out: &mut dyn Write) -> Result<()> {
    for line in lines {
        writeln!(out, "{line}").context("cannot write to the standard output")?;
    }
    out.flush().context("cannot write to the standard output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_found_before_the_build() {
        assert!(Script::parse(None, None, false, None).expect("nothing to check").is_none());
        let wrong = |exec, keys, screenshot: Option<&str>| {
            Script::parse(exec, keys, false, screenshot.map(Path::new)).expect_err("a mistake").to_string()
        };
        assert!(wrong(None, Some("<nokey>"), None).contains("<nokey>"));
        assert!(wrong(Some("echo 'a"), None, None).contains("not closed"));
        assert!(wrong(None, None, Some("a.jpg")).contains(".png"));
        assert!(wrong(None, None, Some("no/such/dir/a.png")).contains("no directory"));
    }

    #[test]
    fn a_session_ends_with_its_machine() {
        assert!(ends_the_session("shutdown") && ends_the_session("reboot now"));
        assert!(!ends_the_session("echo shutdown") && !ends_the_session(""));
    }

    #[test]
    fn a_command_that_failed_is_named_with_those_that_were_not_run() {
        let said = |status, rest| CommandFailed::new("ps x", status, rest).to_string();
        assert_eq!(said(Some(1), 0), "--exec: `ps x` failed; what it printed says why");
        assert!(
            said(Some(130), 1).contains("interrupted. The command after it")
                && said(None, 2).contains("begun anew. The 2 commands")
        );
    }
}
