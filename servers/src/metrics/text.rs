//! The text format of Prometheus, version 0.0.4.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use cyrus_proto::imap::metrics::commands;
use cyrus_store::metrics::{Histogram, STORE};

use super::{NetMetrics, ServiceMetrics};

impl NetMetrics {
    /// All metrics of this process.
    pub(super) fn text(&self) -> String {
        let mut text = Text(String::with_capacity(64 * 1024));
        self.services(&mut text);
        text.head(
            "cyrus_jobs_waiting",
            "gauge",
            "Jobs that wait for a worker thread.",
        );
        text.line("cyrus_jobs_waiting", "", self.waiting.load(Ordering::Relaxed));
        text.head("cyrus_imap_commands_total", "counter", "IMAP commands that came.");
        for (name, metrics) in commands() {
            let labels = format!("{{command=\"{}\"}}", name.to_ascii_lowercase());
            text.line("cyrus_imap_commands_total", &labels, metrics.count.get());
        }
        text.head(
            "cyrus_imap_command_seconds",
            "histogram",
            "How long IMAP commands took that are not answered at once.",
        );
        for (name, metrics) in commands() {
            let label = format!("command=\"{}\"", name.to_ascii_lowercase());
            text.histogram("cyrus_imap_command_seconds", &label, &metrics.latency);
        }
        store(&mut text);
        text.0
    }

    fn services(&self, text: &mut Text) {
        type Read = fn(&ServiceMetrics) -> u64;
        let families: [(&str, &str, &str, Read); 8] = [
            (
                "connections_total",
                "counter",
                "Connections that were accepted.",
                |of| of.accepted.get(),
            ),
            (
                "connections_refused_total",
                "counter",
                "Connections that were turned away: too many were open.",
                |of| of.refused.get(),
            ),
            ("sessions", "gauge", "Connections that are open.", |of| {
                of.accepted.get().saturating_sub(of.closed.get())
            }),
            ("logins_total", "counter", "Users who logged in.", |of| {
                of.logins.get()
            }),
            (
                "tls_failures_total",
                "counter",
                "TLS handshakes that failed.",
                |of| of.tls_failures.get(),
            ),
            (
                "received_octets_total",
                "counter",
                "Octets that came from the network.",
                |of| of.received.get(),
            ),
            (
                "sent_octets_total",
                "counter",
                "Octets that went to the network.",
                |of| of.sent.get(),
            ),
            ("closed_total", "counter", "Connections that are gone.", |of| {
                of.closed.get()
            }),
        ];
        for (name, kind, help, read) in families {
            let name = format!("cyrus_{name}");
            text.head(&name, kind, help);
            for service in &self.services {
                let labels = format!("{{service=\"{}\"}}", escaped(&service.name));
                text.line(&name, &labels, read(service));
            }
        }
        text.head(
            "cyrus_job_seconds",
            "histogram",
            "How long pieces of work took on worker threads.",
        );
        for service in &self.services {
            let label = format!("service=\"{}\"", escaped(&service.name));
            text.histogram("cyrus_job_seconds", &label, &service.jobs);
        }
    }
}

/// What the store counts.
fn store(text: &mut Text) {
    for (name, help, value) in [
        (
            "appended_messages",
            "Messages that came into mailboxes.",
            STORE.appended.get(),
        ),
        (
            "appended_octets",
            "Octets of those messages.",
            STORE.appended_octets.get(),
        ),
        (
            "delivered_messages",
            "Messages that were delivered, one a mailbox.",
            STORE.delivered.get(),
        ),
        (
            "duplicate_deliveries",
            "Deliveries left out as duplicates.",
            STORE.duplicates.get(),
        ),
        (
            "failed_deliveries",
            "Deliveries that failed.",
            STORE.undelivered.get(),
        ),
        (
            "expunged_messages",
            "Messages that were expunged.",
            STORE.expunged.get(),
        ),
        (
            "cache_hits",
            "Cache records that were read.",
            STORE.cache_hits.get(),
        ),
        (
            "cache_misses",
            "Messages that were parsed for want of a cache record.",
            STORE.cache_misses.get(),
        ),
    ] {
        let name = format!("cyrus_{name}_total");
        text.head(&name, "counter", help);
        text.line(&name, "", value);
    }
    text.head(
        "cyrus_lock_wait_seconds",
        "histogram",
        "How long locks of files were waited for.",
    );
    text.histogram("cyrus_lock_wait_seconds", "", &STORE.locks);
    text.head(
        "cyrus_sync_seconds",
        "histogram",
        "How long calls took that wait for stable storage.",
    );
    text.histogram("cyrus_sync_seconds", "", &STORE.syncs);
}

struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One value; `labels` is empty or in braces.
    fn line(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    /// A histogram; `label` is empty or `name="value"`.
    fn histogram(&mut self, name: &str, label: &str, histogram: &Histogram) {
        let cumulative = histogram.cumulative();
        let count = cumulative.last().copied().unwrap_or_default();
        let comma = if label.is_empty() { "" } else { "," };
        for (micros, below) in Histogram::BOUNDS_MICROS.iter().zip(cumulative) {
            let seconds = *micros as f64 / 1e6;
            let _ = writeln!(self.0, "{name}_bucket{{{label}{comma}le=\"{seconds}\"}} {below}");
        }
        let _ = writeln!(self.0, "{name}_bucket{{{label}{comma}le=\"+Inf\"}} {count}");
        let braced = match label {
            "" => String::new(),
            label => format!("{{{label}}}"),
        };
        let _ = writeln!(self.0, "{name}_sum{braced} {}", histogram.sum().as_secs_f64());
        let _ = writeln!(self.0, "{name}_count{braced} {count}");
    }
}

/// The value of a label.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_upwards() {
        let histogram = Histogram::new();
        histogram.observe(std::time::Duration::from_millis(2));
        let mut text = Text(String::new());
        text.histogram("x_seconds", "a=\"b\"", &histogram);
        let lines: Vec<&str> = text.0.lines().collect();
        assert_eq!(lines[0], "x_seconds_bucket{a=\"b\",le=\"0.0001\"} 0");
        assert_eq!(lines[3], "x_seconds_bucket{a=\"b\",le=\"0.005\"} 1");
        assert_eq!(lines[11], "x_seconds_bucket{a=\"b\",le=\"+Inf\"} 1");
        assert_eq!(lines[12], "x_seconds_sum{a=\"b\"} 0.002");
        assert_eq!(lines[13], "x_seconds_count{a=\"b\"} 1");
    }

    #[test]
    fn everything_is_there_before_anything_has_happened() {
        let text = NetMetrics::default().text();
        for line in [
            "cyrus_imap_commands_total{command=\"fetch\"} ",
            "cyrus_imap_command_seconds_bucket{command=\"append\",le=\"0.001\"} ",
            "cyrus_delivered_messages_total ",
            "cyrus_lock_wait_seconds_count ",
            "cyrus_sync_seconds_sum ",
            "cyrus_jobs_waiting ",
        ] {
            assert!(text.lines().any(|found| found.starts_with(line)), "{line}");
        }
    }
}
