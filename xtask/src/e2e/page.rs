//! A page, served to a browser that reports what it saw.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::shell::Failed;

/// How long a page may take until it reports.
const REPORT: Duration = Duration::from_secs(60);

/// A browser opens connections it may never use.
const REQUEST: Duration = Duration::from_secs(65);

/// Bytes of a report.
const REPORT_BYTES: usize = 1 << 20;

/// The server of a page, on a loopback port of its own.
pub(super) struct Page {
    listener: TcpListener,
    at: SocketAddr,
}

/// What the page is made of, by path: its media type and its text.
pub(super) type Files = BTreeMap<&'static str, (&'static str, String)>;

/// What the connections share.
struct Visit<'a> {
    files: &'a Files,
    report: Mutex<Option<String>>,
    /// Told once the report is there: what was held until then is answered.
    told: Condvar,
}

impl Page {
    pub(super) fn open() -> Result<Self, Failed> {
        let opened = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let opened = opened.and_then(|listener| Ok(Self { at: listener.local_addr()?, listener }));
        opened.map_err(|e| Failed::cannot(format!("cannot listen for a browser: {e}")))
    }

    /// Its origin, as the browser that is sent there calls it.
    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.at)
    }

    /// Serves while `browse` runs, and gives what the page reported. `/held` is answered once it did: a picture
    /// from there keeps the page from being loaded before.
    pub(super) fn report(
        &self,
        files: &Files,
        browse: impl FnOnce() -> Result<(), Failed>,
    ) -> Result<String, Failed> {
        let visit = Visit { files, report: Mutex::new(None), told: Condvar::new() };
        let over = AtomicBool::new(false);
        let browsed = thread::scope(|scope| {
            let (visit, over) = (&visit, &over);
            scope.spawn(move || {
                while let Ok((stream, _)) = self.listener.accept() {
                    if over.load(Ordering::Acquire) {
                        break;
                    }
                    // A browser that went away hears nothing; that shows in what it reports.
                    scope.spawn(move || visit.answer(stream).ok());
                }
            });
            let browsed = browse();
            over.store(true, Ordering::Release);
            // Wakes who waits for the next visitor.
            drop(TcpStream::connect(self.at));
            browsed
        });
        let report = visit.report.into_inner().ok().flatten();
        browsed?;
        report.ok_or_else(|| Failed::new(format!("the page did not report within {REPORT:?}")))
    }
}

impl Visit<'_> {
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(REQUEST))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut length = 0;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
                break;
            }
            let length_of = header.to_ascii_lowercase();
            if let Some(said) = length_of.strip_prefix("content-length:") {
                length = said.trim().parse().unwrap_or(0);
            }
        }
        let path = line.split(' ').nth(1).unwrap_or_default();
        let (status, kind, body) = match path {
            "/report" => {
                self.take(reader.take(length.min(REPORT_BYTES) as u64))?;
                ("204 No Content", "text/plain", "")
            }
            "/held" => {
                self.wait();
                ("204 No Content", "text/plain", "")
            }
            path => match self.files.get(path) {
                Some((kind, text)) => ("200 OK", *kind, text.as_str()),
                None => ("404 Not Found", "text/plain", ""),
            },
        };
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    }

    fn take(&self, mut body: impl Read) -> std::io::Result<()> {
        let mut text = String::new();
        body.read_to_string(&mut text)?;
        if let Ok(mut report) = self.report.lock() {
            *report = Some(text);
        }
        self.told.notify_all();
        Ok(())
    }

    fn wait(&self) {
        if let Ok(report) = self.report.lock() {
            // Without a report the page is loaded all the same, and found wanting.
            drop(self.told.wait_timeout_while(report, REPORT, |report| report.is_none()));
        }
    }
}
