//! The command line: arguments in, text and exit codes out.
//!
//! What a person asked for goes to standard output, everything else to standard error. `--json` exists wherever there
//! is a table. Exit codes follow sysexits: 0 done, 1 failed, 2 wrong arguments, 69 nobody answers, 78 the config is wrong.

mod check;
mod completions;
mod confirm;
mod dead_letter;
mod demo;
mod events;
mod fold;
mod given;
mod graph;
mod hash_password;
mod import;
mod init;
mod input;
mod json;
mod logging;
mod probe;
mod queue;
mod receive;
mod reload;
mod rule;
mod run;
mod sink;
mod status;
mod table;
mod tail;
mod template;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::admin::client::ClientError;
use crate::allocator;
use crate::config::{self, Config};
use crate::rule::functions::jq;
use crate::suggestion::in_shell;
use given::Given;

/// What ended a command.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// For standard error; a whole report, without a prefix.
    pub message: String,
}

impl Failure {
    /// Something went wrong that is nobody's configuration.
    #[must_use]
    pub fn failed(error: &dyn std::error::Error) -> Self {
        Self { code: 1, message: format!("error: {}", chain(error)) }
    }

    /// Nobody answers (`EX_UNAVAILABLE`).
    #[must_use]
    pub fn unavailable(error: &dyn std::error::Error) -> Self {
        Self { code: 69, message: format!("error: {}", chain(error)) }
    }

    /// The config is wrong (`EX_CONFIG`).
    #[must_use]
    pub fn config(report: &impl ToString) -> Self {
        Self { code: 78, message: report.to_string() }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused { .. } => Self::failed(&error),
            _ => Self::unavailable(&error),
        }
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Takes custody of MQTT messages and delivers them to HTTP services over an uplink that comes and goes.
#[derive(Debug, Parser)]
#[command(name = "waypost", version, propagate_version = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT
    Run(ConfigArguments),
    /// Write a config to begin with
    Init(init::InitArguments),
    /// Say everything that is wrong with a config file, and what would be right
    Check(ConfigArguments),
    /// Try the connections to brokers and services, without sending anything
    Probe(probe::ProbeArguments),
    /// Show what a running Waypost is doing, and what is wrong
    Status(status::StatusArguments),
    /// Show events and what becomes of them, as it happens
    Tail(tail::TailArguments),
    /// Draw sources, rules and sinks, with what flows between them while a Waypost runs
    Graph(graph::GraphArguments),
    /// Pause a sink, let it go on, or end its wait
    #[command(subcommand)]
    Sink(sink::SinkCommands),
    /// Look at dead letters, send them again, edit or remove them; also of a gateway that is stopped
    #[command(subcommand, visible_alias = "dlq")]
    DeadLetter(dead_letter::DeadLetterCommand),
    /// Have a running Waypost read its config file again, and say what has changed
    Reload(reload::ReloadArguments),
    /// Look at what waits in the queues, and drop it
    #[command(subcommand)]
    Queue(queue::QueueCommand),
    /// Show the whole path at work in a temporary directory, with the uplink cut in between
    Demo(demo::DemoArguments),
    /// Receive HTTP requests, print them, and misbehave on request: for first steps and tests
    Receive(receive::ReceiveArguments),
    /// Try rules without a broker or a service, and look at their language
    #[command(subcommand)]
    Rule(rule::RuleCommand),
    /// Look at the events there are
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Try templates
    #[command(subcommand)]
    Template(template::TemplateCommand),
    /// Make a config from the files of another broker, and say what is not the same
    #[command(subcommand)]
    Import(import::ImportCommand),
    /// Run jq programs for a Waypost that asks on standard input
    #[command(hide = true)]
    JqHelper,
    /// Read a password from standard input and print the hash that a broker user needs
    HashPassword,
    /// Print the JSON Schema of the config file, for editors
    Schema,
    /// Print what a shell needs to complete command lines
    Completions(completions::CompletionsArguments),
}

/// Where the config file is.
#[derive(Debug, Args)]
struct ConfigArguments {
    /// The config file
    #[arg(long, short, value_name = "FILE", default_value = config::CONFIG_FILE)]
    config: PathBuf,
}

impl ConfigArguments {
    /// The checked config.
    fn load(&self) -> Result<Config, Failure> {
        let loaded = config::load(&self.config).map_err(|report| Failure::config(&report))?;
        Ok(loaded.0)
    }

    /// Where a Waypost takes commands that may run with what the config file said before it was wrong; `None` when that
    /// cannot be told. Says that the file is wrong.
    fn socket_anyway(&self) -> Option<PathBuf> {
        let socket = config::admin_socket(&self.config)?;
        let check = format!("`waypost check --config {}`", in_shell(&self.config));
        tell(&format!(
            "note: the config file is wrong, {check} says what: asking a running waypost all the same"
        ));
        Some(socket)
    }

    /// The checked config; what is risky in it goes to standard error.
    fn load_and_warn(&self) -> Result<Config, Failure> {
        let (config, warnings) =
            config::load(&self.config).map_err(|report| Failure::config(&report))?;
        for warning in warnings {
            tell(&warning);
        }
        Ok(config)
    }
}

/// Whom to ask.
#[derive(Debug, Args)]
struct SocketArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// The admin socket, instead of the one the config names
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl SocketArguments {
    /// A config that is wrong is no reason not to ask the Waypost that runs with an earlier one.
    fn socket(&self) -> Result<PathBuf, Failure> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        match self.config() {
            Ok(config) => Ok(config.gateway.admin_socket),
            Err(failure) => self.config.socket_anyway().ok_or_else(|| {
                let advice = "`--socket PATH` asks a running Waypost without its config";
                Failure { message: format!("{}\n{advice}", failure.message.trim_end()), ..failure }
            }),
        }
    }

    /// Warnings of the config are for `check` and `run` to tell.
    fn config(&self) -> Result<Config, Failure> {
        self.config.load()
    }
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    // This program as it is, whatever an upgrade has put in its place meanwhile.
    jq::set_helper(PathBuf::from("/proc/self/exe"));
    allocator::hold_on_to_little();
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let given = Given::in_arguments(&matches);
    match execute(arguments.command, &given) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(&given.in_text(&failure.message));
            ExitCode::from(failure.code)
        }
    }
}

fn execute(command: Command, given: &Given) -> Result<(), Failure> {
    match command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Init(arguments) => init::init(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Probe(arguments) => probe::probe(&arguments),
        Command::Status(arguments) => status::status(&arguments, given),
        Command::Tail(arguments) => tail::tail(&arguments),
        Command::Graph(arguments) => graph::graph(&arguments),
        Command::Sink(command) => sink::sink(&command, given),
        Command::DeadLetter(command) => dead_letter::dead_letter(&command, given),
        Command::Reload(arguments) => reload::reload(&arguments),
        Command::Queue(command) => queue::queue(&command, given),
        Command::Rule(command) => rule::rule(&command),
        Command::Events(command) => events::events(&command),
        Command::Template(command) => template::template(&command),
        Command::Demo(arguments) => demo::demo(&arguments),
        Command::Receive(arguments) => receive::receive(&arguments),
        Command::Import(command) => import::import(&command),
        Command::JqHelper => {
            jq::serve();
            Ok(())
        }
        Command::HashPassword => hash_password::run(),
        Command::Schema => {
            say(&format!("{:#}", config::schema()));
            Ok(())
        }
        Command::Completions(arguments) => {
            completions::completions(&arguments);
            Ok(())
        }
    }
}

/// Writes a line to standard output. A reader that has gone (`| head`) is not an error.
fn say(line: &impl ToString) {
    write_line(&mut io::stdout().lock(), line);
}

/// Writes lines to standard error, as a terminal shows them best.
fn tell(line: &impl ToString) {
    const INDENT: usize = 2;
    let mut out = io::stderr().lock();
    let columns = fold::columns(&out);
    write_line(&mut out, &fold::folded(&line.to_string(), columns, INDENT));
}

fn write_line(to: &mut impl io::Write, line: &impl ToString) {
    let mut text = line.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    // Nobody is left to be told.
    drop(to.write_all(text.as_bytes()).and_then(|()| to.flush()));
}

/// The runtime that commands wait on.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("waypost")
        .build()
        .map_err(|error| Failure::failed(&error))
}
