//! The project's commands: `cargo xtask COMMAND`. `cli` has their flags and help; each is done by a module of its own.

mod cli;
mod debug;
mod doc;
#[cfg(test)]
mod documents;
mod image;
mod lint;
mod new;
mod run;
mod setup;
mod system;
mod test;

use anyhow::Context;
use clap::Parser;
use cli::{Bench, Chaos, Cli, Command, Debug, Fuzz, Image, New, NewWhat};
use lab::{bench, fault_injection, syscall_fuzz};
use machine::harness::Wanted;
use machine::{guest, interactive, paths, script, signals, ui};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    signals::install();
    let done = perform(cli.command);
    signals::yield_to_end();
    match done {
        Ok(code) => code,
        Err(error) => {
            interactive::restore_terminal();
            ui::say(format!("error: {error:#}"));
            match () {
                () if error.downcast_ref::<script::CommandFailed>().is_some() => ExitCode::from(3),
                () if error.downcast_ref::<guest::TimedOut>().is_some() => ExitCode::from(4),
                () => ExitCode::FAILURE,
            }
        }
    }
}

fn perform(command: Command) -> anyhow::Result<ExitCode> {
    let paths = paths::Paths::find()?;
    paths::check_temporary()?;
    paths::check_target(&paths)?;
    match command {
        Command::Run(run) => run::run(
            &paths,
            &run::Options {
                bios: run.bios,
                uefi: run.uefi,
                accel: run.accel,
                memory: run.memory,
                smp: run.smp,
                hardware: run.hardware,
                display: run.display,
                exec: run.exec,
                keep_going: run.keep_going,
                screenshot: run.screenshot,
                keys: run.keys,
                with: run.with,
                timeout: run.timeout,
                install: !run.install.no_install,
            },
        )?,
        Command::Test(test) => {
            let (kind, filter) = test::kind_and_filter(test.kind, test.filter)?;
            let (jobs, install) = (test.jobs as usize, !test.install.no_install);
            let wanted =
                Wanted { kind, filter, hardware: test.hardware, matrix: test.matrix, with: test.with, jobs, install };
            return test::test(&paths, &wanted);
        }
        Command::Image(image) => {
            let Image { uefi, out, with, hardware, install } = image;
            let install = !install.no_install;
            image::image(&paths, &image::Options { uefi, out, with, hardware, install })?;
        }
        Command::System(system) => print!("{}", system::report(&paths, &system.with, system.json)?),
        Command::New(New { what: NewWhat::Driver { name, kind, out } }) => {
            print!("{}", new::driver(&paths, &name, kind, out.as_deref())?);
        }
        Command::Bench(Bench { name, record, json, compare, svg, listing, accept, install }) => {
            let install = !install.no_install;
            return bench::bench(
                &paths,
                &bench::Options { name, record, json, compare, svg, listing, accept, install },
            );
        }
        Command::Chaos(Chaos { task, with, hardware, seed, count, syscalls, json, jobs, install }) => {
            let (jobs, install) = (jobs as usize, !install.no_install);
            fault_injection::check_hardware(&hardware, &with)?;
            if syscalls {
                let count = count.unwrap_or(syscall_fuzz::COUNT);
                return syscall_fuzz::fuzz(&paths, &syscall_fuzz::Options { seed, count, jobs, json, install });
            }
            let count = count.map(u32::try_from).transpose().context("--count: at most 4294967295 faults")?;
            return fault_injection::chaos(
                &paths,
                &fault_injection::Options { task, with, hardware, seed, count, jobs, json, install },
            );
        }
        Command::Fuzz(Fuzz { seed, count, json, jobs, install }) => {
            let (jobs, install) = (jobs as usize, !install.no_install);
            return syscall_fuzz::fuzz(&paths, &syscall_fuzz::Options { seed, count, jobs, json, install });
        }
        Command::Debug(Debug { task, bios, uefi, memory, hardware, display, batch, with, timeout, install }) => {
            let install = !install.no_install;
            debug::debug(
                &paths,
                &debug::Options { task, bios, uefi, memory, hardware, display, batch, with, timeout, install },
            )?;
        }
        Command::Doc(doc) => println!("{}", doc::doc(&paths, !doc.install.no_install)?.display()),
        Command::Lint(lint) => lint::lint(&paths, !lint.install.no_install)?,
        Command::Setup(setup) => setup::setup(&paths, setup.uefi, !setup.install.no_install)?,
    }
    Ok(ExitCode::SUCCESS)
}
