//! Metrics for Prometheus: counters that services, sessions and the store raise anyway, written down for whoever asks.
//!
//! `metrics_listen: address:port` (for one service `imap_metrics_listen` and the like, as each daemon has a socket of its own)
//! opens the socket. A scrape reads atomics and nothing else: no lock, no file, no database.

mod listener;
mod text;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cyrus_proto::net::Service;
use cyrus_store::metrics::{Counter, Histogram};

pub use listener::{ListenError, listen};

/// What the network core counts for one service.
#[derive(Debug)]
struct ServiceMetrics {
    name: String,
    accepted: Counter,
    refused: Counter,
    closed: Counter,
    received: Counter,
    sent: Counter,
    logins: Counter,
    tls_failures: Counter,
    jobs: Histogram,
}

/// The counters of a process's services; all of them are there from the start.
#[derive(Debug, Default)]
pub struct NetMetrics {
    services: Vec<ServiceMetrics>,
    waiting: AtomicU64,
}

impl NetMetrics {
    /// Counters for these services.
    pub fn new<'s>(services: impl IntoIterator<Item = &'s Service>) -> Self {
        let mut names: Vec<&str> = services.into_iter().map(|service| &*service.name).collect();
        names.sort_unstable();
        names.dedup();
        let services = names.into_iter().map(|name| ServiceMetrics {
            name: name.to_owned(),
            accepted: Counter::new(),
            refused: Counter::new(),
            closed: Counter::new(),
            received: Counter::new(),
            sent: Counter::new(),
            logins: Counter::new(),
            tls_failures: Counter::new(),
            jobs: Histogram::new(),
        });
        Self {
            services: services.collect(),
            waiting: AtomicU64::new(0),
        }
    }

    /// Adds to a counter of a service; a process has few of them.
    fn add(&self, service: &str, counter: impl FnOnce(&ServiceMetrics) -> &Counter, more: u64) {
        if let Some(metrics) = self.services.iter().find(|metrics| metrics.name == service) {
            counter(metrics).add(more);
        }
    }

    /// A connection was accepted.
    pub fn accepted(&self, service: &str) {
        self.add(service, |metrics| &metrics.accepted, 1);
    }

    /// A connection was turned away.
    pub fn refused(&self, service: &str) {
        self.add(service, |metrics| &metrics.refused, 1);
    }

    /// A connection is gone.
    pub fn closed(&self, service: &str) {
        self.add(service, |metrics| &metrics.closed, 1);
    }

    /// Octets came.
    pub fn received(&self, service: &str, octets: u64) {
        self.add(service, |metrics| &metrics.received, octets);
    }

    /// Octets went.
    pub fn sent(&self, service: &str, octets: u64) {
        self.add(service, |metrics| &metrics.sent, octets);
    }

    /// Somebody has logged in.
    pub fn logged_in(&self, service: &str) {
        self.add(service, |metrics| &metrics.logins, 1);
    }

    /// A TLS handshake failed.
    pub fn tls_failed(&self, service: &str) {
        self.add(service, |metrics| &metrics.tls_failures, 1);
    }

    /// A piece of a job ran for this long.
    pub fn job_ran(&self, service: &str, took: Duration) {
        if let Some(metrics) = self.services.iter().find(|metrics| metrics.name == service) {
            metrics.jobs.observe(took);
        }
    }

    /// So many jobs wait for a worker.
    pub fn waiting(&self, jobs: usize) {
        self.waiting.store(jobs as u64, Ordering::Relaxed);
    }
}
