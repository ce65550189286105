//! A session over a blocking reader and writer: pipes, a test's buffers, standard input and output.
//!
//! For tools and examples that serve one session in a thread of their own. Jobs run in that thread; TLS is not
//! offered; hints and deadlines are looked at only when the reader returns.

use std::io::{self, Read, Write};
use std::time::Instant;

use crate::deflate::{Compression, Flush};
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
    let mut layers = Layers::default();
    let mut buffer = vec![0; READ_SIZE];
    let mut ended = false;
    session.begin(link, Instant::now());
    loop {
        let now = Instant::now();
        if session.deadline().is_some_and(|deadline| deadline <= now) {
            session.tick(now);
        }
        if session.output().is_full() {
            layers.send(session.output(), &mut writer)?;
        }
        match session.step(now) {
            Step::NeedInput => {
                if let Some(clear) = layers.pending()? {
                    session.feed(&clear, Instant::now());
                    continue;
                }
                layers.send(session.output(), &mut writer)?;
                if ended {
                    return Ok(());
                }
                let count = read(&mut reader, &mut buffer)?;
                let bytes = buffer.get(..count).unwrap_or_default();
                if count == 0 {
                    ended = true;
                    session.end_of_input();
                } else if let Some(clear) = layers.receive(bytes)? {
                    session.feed(&clear, Instant::now());
                }
            }
            Step::Run(job) => run(session, job, &mut writer, &mut layers)?,
            Step::Secure(new) => {
                layers.send(session.output(), &mut writer)?;
                layers.security = Some(new);
            }
            Step::Compress(early) => {
                layers.send(session.output(), &mut writer)?;
                layers
                    .compression
                    .insert(Compression::default())
                    .inflate
                    .feed(&early);
            }
            Step::Bare => {
                layers.send(session.output(), &mut writer)?;
                layers.bare();
            }
            Step::StartTls => return Err(io::Error::new(io::ErrorKind::Unsupported, "no TLS over pipes")),
            Step::Close => return layers.send(session.output(), &mut writer),
        }
    }
}

fn run(
    session: &mut dyn Session,
    mut job: Job,
    writer: &mut impl Write,
    layers: &mut Layers,
) -> io::Result<()> {
    loop {
        let mut output = Output::new();
        let progress = job.run(&mut output, Output::HIGH_WATER as usize);
        session.output().append(output);
        match progress {
            Progress::More => layers.send(session.output(), writer)?,
            Progress::Done(done) => {
                session.done(done, Instant::now());
                return Ok(());
            }
        }
    }
}

/// What lies between the session and the wire.
#[derive(Default)]
struct Layers {
    compression: Option<Compression>,
    security: Option<Box<dyn SecurityLayer>>,
    /// What came in clear behind the command that ended the layers.
    early: Vec<u8>,
}

impl Layers {
    /// What the session can have without reading.
    fn pending(&mut self) -> io::Result<Option<Vec<u8>>> {
        if !self.early.is_empty() {
            return Ok(Some(std::mem::take(&mut self.early)));
        }
        match &mut self.compression {
            Some(compression) if compression.inflate.has_pending() => {
                let clear = compression.inflate.read(READ_SIZE).map_err(io::Error::other)?;
                Ok(Some(clear))
            }
            _ => Ok(None),
        }
    }

    /// What was read, for the session, if it can have it now.
    fn receive(&mut self, wire: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut clear = Vec::new();
        match &mut self.security {
            Some(layer) => layer.decode(wire, &mut clear).map_err(io::Error::other)?,
            None => clear.extend_from_slice(wire),
        }
        match &mut self.compression {
            Some(compression) => {
                compression.inflate.feed(&clear);
                Ok(None)
            }
            None => Ok(Some(clear)),
        }
    }

    fn send(&mut self, output: &mut Output, writer: &mut impl Write) -> io::Result<()> {
        let mut batch = Vec::new();
        while output.drain_into(&mut batch, READ_SIZE)? > 0 {
            if let Some(compression) = &mut self.compression {
                let flush = if output.is_empty() {
                    Flush::Now
                } else {
                    Flush::Later
                };
                let mut wire = Vec::new();
                compression
                    .deflate
                    .encode(&batch, flush, Instant::now(), &mut wire)
                    .map_err(io::Error::other)?;
                batch = wire;
            }
            if let Some(layer) = &mut self.security {
                let mut wire = Vec::new();
                layer.encode(&batch, &mut wire).map_err(io::Error::other)?;
                batch = wire;
            }
            writer.write_all(&batch)?;
            batch.clear();
        }
        writer.flush()
    }

    fn bare(&mut self) {
        let rest = self
            .compression
            .take()
            .map(|compression| compression.inflate.into_rest());
        self.early = rest.unwrap_or_default();
        self.security = None;
    }
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
