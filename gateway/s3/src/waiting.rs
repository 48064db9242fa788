//! What clients hear while the store is not open: 503 `ServiceUnavailable`, and why.

use crate::front::ConnectionInfo;
use crate::options::FrontOptions;
use crate::render;
use crate::request::RequestState;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use s3s::s3_error;

/// Answers a request without a store. Its body is not read; nothing of it is believed.
pub fn waiting<B>(
    request: &Request<B>,
    info: &ConnectionInfo,
    options: &FrontOptions,
    reason: &str,
) -> Response<Full<Bytes>> {
    let state = RequestState::new(info, request.headers(), options);
    let mut response = render::error(s3_error!(ServiceUnavailable, "{reason}"));
    let (method, resource) = (request.method(), request.uri().path());
    render::finish(&mut response, &state, method, resource, &options.region);
    tracing::debug!(request_id = %state.id, "answered before the store was open");
    response.map(|body| Full::new(body.bytes().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn the_reason_is_told_and_head_has_no_body() {
        let info = ConnectionInfo {
            peer: "127.0.0.1:1".parse().expect("address"),
            tls: false,
        };
        for method in [Method::GET, Method::HEAD] {
            let request = Request::builder().method(&method).uri("/b/k");
            let request = request.body(()).expect("request");
            let answer = waiting(&request, &info, &FrontOptions::default(), "3 <of> 6");
            assert_eq!(answer.status(), 503);
            assert!(answer.headers().contains_key("x-amz-request-id"));
            let body = answer.into_body().collect().await.expect("body").to_bytes();
            let text = String::from_utf8_lossy(&body);
            if method == Method::HEAD {
                assert!(text.is_empty());
                continue;
            }
            assert!(text.contains("<Code>ServiceUnavailable</Code>"), "{text}");
            assert!(text.contains("<Message>3 &lt;of&gt; 6</Message>"), "{text}");
            assert!(text.contains("<Resource>/b/k</Resource>"), "{text}");
        }
    }
}
