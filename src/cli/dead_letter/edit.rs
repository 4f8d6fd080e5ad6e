//! `waypost dead-letter edit`

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;

use super::access::{Access, Purpose};
use crate::admin::letters::{Content, ContentRequest, EditRequest};
use crate::cli::json::pretty;
use crate::cli::{Failure, Given, SocketArguments, input, say};
use crate::name::{RecordId, SinkName};

#[derive(Debug, Args)]
pub(in crate::cli) struct EditArguments {
    /// The id of its record
    id: RecordId,
    /// That of this sink, where several have one
    #[arg(long, value_name = "SINK", value_parser = SinkName::new)]
    sink: Option<SinkName>,
    /// Take the new content from a file, `-` for standard input, instead of asking an editor ($VISUAL, $EDITOR or vi)
    #[arg(long, value_name = "FILE")]
    file: Option<String>,
    #[command(flatten)]
    gateway: SocketArguments,
}

pub(super) fn edit(arguments: &EditArguments, given: &Given) -> Result<(), Failure> {
    let new = match &arguments.file {
        Some(file) => Some(input::read(file)?),
        None => edited(arguments)?,
    };
    let Some(new) = new else {
        say(&"nothing changed");
        return Ok(());
    };
    let access = Access::open(&arguments.gateway, Purpose::Change)?;
    let (id, sink) = (arguments.id.clone(), arguments.sink.clone());
    let request = EditRequest { id, sink, base64: BASE64.encode(new) };
    let edited = access.wait(access.client.edit(&request))?;
    say(&given.in_text(&format!(
        "{} is {} now; `waypost dead-letter replay --id {}` sends it",
        edited.edited_from, edited.id, edited.id
    )));
    Ok(())
}

/// What comes out of an editor; `None` when that is what went in.
fn edited(arguments: &EditArguments) -> Result<Option<Vec<u8>>, Failure> {
    let content = {
        // A stopped gateway is not locked while somebody thinks.
        let access = Access::open(&arguments.gateway, Purpose::Look)?;
        let (id, sink) = (arguments.id.clone(), arguments.sink.clone());
        access.wait(access.client.content(&ContentRequest { id, sink }))?
    };
    let before = text_of(&content)?;
    let suffix = if content.is_output { ".json" } else { ".txt" };
    let failed = |error: io::Error| Failure::failed(&error);
    // Made for its owner only.
    let file = tempfile::Builder::new().prefix("waypost-edit-").suffix(suffix).tempfile();
    let file = file.map_err(failed)?;
    fs::write(file.path(), &before).map_err(failed)?;
    ask_editor(file.path())?;
    let mut after = fs::read(file.path()).map_err(failed)?;
    // Editors end the last line.
    if after.ends_with(b"\n") && !before.ends_with(b"\n") {
        after.pop();
    }
    Ok((after != before).then_some(after))
}

/// As it is shown in an editor.
fn text_of(content: &Content) -> Result<Vec<u8>, Failure> {
    let bytes = BASE64.decode(&content.base64).map_err(|error| Failure::failed(&error))?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) if content.is_output => pretty(&text).into_bytes(),
        Ok(text) => text.into_bytes(),
        Err(error) => error.into_bytes(),
    })
}

fn ask_editor(file: &Path) -> Result<(), Failure> {
    let named = |variable| std::env::var(variable).ok().filter(|editor| !editor.is_empty());
    let editor = named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    // Through a shell, as others do it: the variable may hold arguments.
    let status = Command::new("/bin/sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(file)
        .stdin(Stdio::inherit())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure {
            code: 1,
            message: format!("error: nothing changed: the editor `{editor}` ended with {status}"),
        }),
        Err(error) => Err(Failure::failed(&error)),
    }
}
