//! The packet that opens a session.

use std::time::Duration;

use serde::Serialize;

use super::{query::Transport, settings::Settings, sid::Sid};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Open<'a> {
    sid: &'a str,
    upgrades: &'a [&'a str],
    ping_interval: u64,
    ping_timeout: u64,
    max_payload: usize,
}

/// Returns the packet that opens a session.
pub(super) fn open_packet(sid: Sid, transport: Transport, settings: &Settings) -> String {
    let upgrades: &[&str] = match transport {
        Transport::Polling if settings.upgrades => &["websocket"],
        _ => &[],
    };
    let open = Open {
        sid: sid.as_str(),
        upgrades,
        ping_interval: millis(settings.ping_interval),
        ping_timeout: millis(settings.ping_timeout),
        max_payload: settings.max_payload,
    };
    format!("0{}", serde_json::to_string(&open).expect("numbers and text"))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_packet_has_the_five_parameters() {
        let sid = Sid::parse("A1-_A1-_A1-_A1-_A1-_").expect("an id");
        let settings = Settings::new().ping_interval(Duration::from_millis(300));
        assert_eq!(
            open_packet(sid, Transport::Polling, &settings),
            r#"0{"sid":"A1-_A1-_A1-_A1-_A1-_","upgrades":["websocket"],"pingInterval":300,"pingTimeout":20000,"maxPayload":1000000}"#
        );
        assert!(open_packet(sid, Transport::WebSocket, &settings).contains(r#""upgrades":[]"#));
        assert!(open_packet(sid, Transport::Polling, &settings.upgrades(false)).contains(r#""upgrades":[]"#));
    }
}
