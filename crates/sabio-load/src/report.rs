//! The figures of a run as one JSON object, times in seconds or microseconds as the keys say.

use crate::args::{Mode, Plan};
use crate::generator::Measured;

/// The object, on one line.
pub(crate) fn json(plan: &Plan, mode: &Mode, measured: &Measured) -> String {
    let seconds = measured.elapsed.as_secs_f64();
    let microseconds = |share| measured.latencies.percentile(share).as_secs_f64() * 1e6;
    let mode = match mode {
        Mode::Echo { size } => format!(r#""mode": "echo", "size": {size}"#),
        Mode::Http => r#""mode": "http""#.to_owned(),
    };
    let server = measured.server.as_ref().map_or_else(String::new, |used| {
        format!(
            r#", "server": {{"cpu_seconds": {:.6}, "user_seconds": {:.2}, "system_seconds": {:.2}, "source": "{}"}}"#,
            used.total.as_secs_f64(),
            used.user.as_secs_f64(),
            used.system.as_secs_f64(),
            used.source,
        )
    });
    format!(
        r#"{{{mode}, "connections": {}, "messages": {}, "seconds": {seconds:.6}, "throughput": {:.1}, "latency_p50_us": {:.1}, "latency_p99_us": {:.1}{server}}}"#,
        plan.connections,
        measured.messages,
        measured.messages as f64 / seconds,
        microseconds(0.5),
        microseconds(0.99),
    )
}
