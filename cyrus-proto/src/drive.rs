//! A session over a blocking reader and writer: pipes, a test's buffers, standard input and output.
//!
//! For tools and examples that serve one session in a thread of their own. Jobs run in that thread; TLS is not
//! offered; hints and deadlines are looked at only when the reader returns.

use std::io::{self, Read, Write};
use std::time::Instant;

use crate::job::{Job, Link, Progress, SecurityLayer, Session, Step};
use crate::output::Output;

/// Serves `session` until it closes or `reader` ends.
///
/// # Errors
/// Reading or writing failed, or the session asked for TLS.
pub fn drive(
    session: &mut dyn Session,
    mut reader: impl Read,
    mut writer: impl Write,
    link: &Link,
) -> io::Result<()> {
    let mut layer: Option<Box<dyn SecurityLayer>> = None;
    let mut buffer = vec![0; READ_SIZE];
    let mut ended = false;
    session.begin(link, Instant::now());
    loop {
        let now = Instant::now();
        if session.deadline().is_some_and(|deadline| deadline <= now) {
            session.tick(now);
        }
        if session.output().is_full() {
            send(session.output(), &mut writer, &mut layer)?;
        }
        match session.step(now) {
            Step::NeedInput => {
                send(session.output(), &mut writer, &mut layer)?;
                if ended {
                    return Ok(());
                }
                let count = read(&mut reader, &mut buffer)?;
                let bytes = buffer.get(..count).unwrap_or_default();
                if count == 0 {
                    ended = true;
                    session.end_of_input();
                } else if let Some(layer) = &mut layer {
                    let mut clear = Vec::new();
                    layer.decode(bytes, &mut clear).map_err(io::Error::other)?;
                    session.feed(&clear, Instant::now());
                } else {
                    session.feed(bytes, Instant::now());
                }
            }
            Step::Run(job) => run(session, job, &mut writer, &mut layer)?,
            Step::Secure(new) => {
                send(session.output(), &mut writer, &mut layer)?;
                layer = Some(new);
            }
            Step::StartTls => return Err(io::Error::new(io::ErrorKind::Unsupported, "no TLS over pipes")),
            Step::Close => return send(session.output(), &mut writer, &mut layer),
        }
    }
}

fn run(
    session: &mut dyn Session,
    mut job: Job,
    writer: &mut impl Write,
    layer: &mut Option<Box<dyn SecurityLayer>>,
) -> io::Result<()> {
    loop {
        let mut output = Output::new();
        let progress = job.run(&mut output, Output::HIGH_WATER as usize);
        session.output().append(output);
        match progress {
            Progress::More => send(session.output(), writer, layer)?,
            Progress::Done(done) => {
                session.done(done, Instant::now());
                return Ok(());
            }
        }
    }
}

fn send(
    output: &mut Output,
    writer: &mut impl Write,
    layer: &mut Option<Box<dyn SecurityLayer>>,
) -> io::Result<()> {
    let mut batch = Vec::new();
    while output.drain_into(&mut batch, READ_SIZE)? > 0 {
        if let Some(layer) = layer {
            let mut wire = Vec::new();
            layer.encode(&batch, &mut wire).map_err(io::Error::other)?;
            batch = wire;
        }
        writer.write_all(&batch)?;
        batch.clear();
    }
    writer.flush()
}

fn read(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

const READ_SIZE: usize = 64 * 1024;
