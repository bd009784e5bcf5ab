//! The least HTTP/1.1 that a health check needs: no client library starts up for it.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More of an answer is not read.
const ANSWER_LENGTH_MAX: u64 = 4 << 20;

/// An answer: its status code and its body as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: String,
}

/// `GET http://{address}{path}`.
///
/// # Errors
/// Nobody listens, the bound is over, or the answer is not HTTP.
pub(crate) async fn get(address: &str, path: &str, bound: Duration) -> io::Result<Answer> {
    let answer = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_LENGTH_MAX).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let too_slow = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {bound:?}"));
    let answer = tokio::time::timeout(bound, answer).await.map_err(|_| too_slow())??;
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| io::Error::other("the answer is not HTTP"))
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut words = head.lines().next()?.split(' ');
    let version = words.next()?;
    let code = words.next()?.parse().ok()?;
    version.starts_with("HTTP/1.").then(|| Answer { code, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_code_and_a_body() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}").unwrap();
        assert_eq!(answer, Answer { code: 503, body: "{}".to_owned() });
    }

    #[test]
    fn other_protocols_are_no_answer() {
        for other in ["", "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 ok\r\n\r\n", "HTTP/1.1 200 OK\r\n"] {
            assert_eq!(parse(other), None, "{other:?}");
        }
    }
}
