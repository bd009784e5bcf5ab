//! What is said of peers that were refused: not more often than somebody reads it.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// While peers are refused, the log says so once in this time.
const INTERVAL: Duration = Duration::from_secs(10);

/// When something was said last.
#[derive(Debug, Default)]
pub(crate) struct LogThrottle(Mutex<Option<Instant>>);

impl LogThrottle {
    /// Whether it may be said again; then it counts as said.
    pub(crate) fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= INTERVAL);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// Whether a handshake failed for want of a certificate that the other end believes, and not because what came was no TLS.
pub(crate) fn is_about_certificates(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(
        cause,
        Some(
            rustls::Error::InvalidCertificate(_)
                | rustls::Error::NoCertificatesPresented
                | rustls::Error::AlertReceived(_)
        )
    )
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

    use super::*;

    #[test]
    fn what_was_said_just_now_is_not_said_again() {
        let throttle = LogThrottle::default();
        assert!(throttle.is_due() && !throttle.is_due());
    }

    #[test]
    fn bytes_that_are_no_tls_are_no_refused_peer() {
        let of = |error: Error| is_about_certificates(&io::Error::new(io::ErrorKind::InvalidData, error));
        assert!(of(Error::InvalidCertificate(CertificateError::Expired)) && of(Error::NoCertificatesPresented));
        assert!(of(Error::AlertReceived(AlertDescription::CertificateRequired)));
        assert!(!of(Error::InvalidMessage(InvalidMessage::InvalidContentType)));
        assert!(!is_about_certificates(&io::ErrorKind::UnexpectedEof.into()));
    }
}
