//! Error answers as AWS words them: Code, Message, Resource, RequestId, HostId.
//!
//! s3s writes Code and Message only. Its answer is read back and written anew, so that errors of
//! s3s, of handlers and of the front itself look alike.

use crate::request::RequestState;
use http::{HeaderValue, Method, Response, StatusCode, header};
use quick_xml::escape::{escape, unescape};
use s3s::{Body, S3Error};
use std::fmt::Write as _;

/// Writes an error of the front itself.
pub(crate) fn error(error: S3Error) -> Response<Body> {
    let status = error
        .status_code()
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    error.to_http_response().unwrap_or_else(|_unserialisable| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response
    })
}

/// What every answer gets; errors are worded anew.
pub(crate) fn finish(
    response: &mut Response<Body>,
    state: &RequestState,
    method: &Method,
    resource: &str,
    region: &str,
) {
    // s3s gives operations no say in the status, and knows a partial GET only.
    let partial = response.headers().contains_key(header::CONTENT_RANGE);
    if partial && *method == Method::HEAD && response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        let (code, message) = read_error(response);
        set_header(response, "content-type", "application/xml");
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = if *method == Method::HEAD {
            Body::empty()
        } else {
            Body::from(document(&code, &message, resource, region, state))
        };
        if code == "AuthorizationHeaderMalformed" {
            set_header(response, "x-amz-bucket-region", region);
        }
    } else if let Some(xml) = state.answer() {
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(xml);
    }
    set_header(response, "x-amz-request-id", &state.id);
    set_header(response, "x-amz-id-2", &state.host_id);
    set_header(response, "server", "DataMesh");
}

fn set_header(response: &mut Response<Body>, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn document(
    code: &str,
    message: &str,
    resource: &str,
    region: &str,
    state: &RequestState,
) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
    let mut element = |name: &str, text: &str| {
        let _infallible = write!(xml, "<{name}>{}</{name}>", escape(printable(text)));
    };
    element("Code", code);
    element("Message", message);
    if code == "AuthorizationHeaderMalformed" {
        element("Region", region);
    }
    element("Resource", resource);
    element("RequestId", &state.id);
    element("HostId", &state.host_id);
    xml.push_str("</Error>");
    xml
}

/// XML 1.0 has no way to write most control characters.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && !matches!(c, '\t' | '\n' | '\r') {
                '?'
            } else {
                c
            }
        })
        .collect()
}

/// Code and message out of s3s's document; of an answer that has none, after its status.
fn read_error(response: &Response<Body>) -> (String, String) {
    let bytes = response.body().bytes().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let field = |name: &str| {
        let from = text.find(&format!("<{name}>"))? + name.len() + 2;
        let to = text.get(from..)?.find(&format!("</{name}>"))? + from;
        Some(unescape(text.get(from..to)?).ok()?.into_owned())
    };
    let status = response.status();
    let fallback = match status.as_u16() {
        412 => "PreconditionFailed",
        404 => "NoSuchKey",
        403 => "AccessDenied",
        405 => "MethodNotAllowed",
        503 => "ServiceUnavailable",
        500.. => "InternalError",
        _ => "InvalidRequest",
    };
    let code = field("Code").unwrap_or_else(|| fallback.into());
    let message =
        field("Message").unwrap_or_else(|| status.canonical_reason().unwrap_or("").into());
    (code, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::ConnectionInfo;
    use crate::options::FrontOptions;
    use s3s::s3_error;

    fn state() -> RequestState {
        let info = ConnectionInfo {
            peer: "127.0.0.1:1".parse().expect("address"),
            tls: false,
        };
        RequestState::new(&info, &http::HeaderMap::new(), &FrontOptions::default())
    }

    #[test]
    fn errors_carry_all_five_fields_and_survive_odd_text() {
        let state = state();
        let mut response = error(s3_error!(NoSuchKey, "a <b> & \"c\""));
        finish(&mut response, &state, &Method::GET, "/b/k&\u{1}<", "here");
        let body = response.body().bytes().expect("body");
        let text = String::from_utf8_lossy(&body);
        for part in [
            "<Code>NoSuchKey</Code>",
            "<Message>a &lt;b&gt; &amp; &quot;c&quot;</Message>",
            "<Resource>/b/k&amp;?&lt;</Resource>",
            &format!("<RequestId>{}</RequestId>", state.id),
            &format!("<HostId>{}</HostId>", state.host_id),
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(response.headers()["x-amz-request-id"], state.id.as_str());
        assert_eq!(response.status(), 404);
    }

    #[test]
    fn head_errors_have_no_body_and_a_wrong_region_names_the_right_one() {
        let mut response = error(s3_error!(NoSuchKey));
        finish(&mut response, &state(), &Method::HEAD, "/b/k", "here");
        assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(0));
        let mut response = error(s3_error!(AuthorizationHeaderMalformed));
        finish(&mut response, &state(), &Method::GET, "/", "here");
        let body = response.body().bytes().expect("body");
        assert!(String::from_utf8_lossy(&body).contains("<Region>here</Region>"));
    }

    #[test]
    fn a_handlers_own_document_is_the_answer_of_a_good_one_only() {
        let state = state();
        state.set_answer("<mine/>".into());
        let mut response = Response::new(Body::from(String::from("theirs")));
        finish(&mut response, &state, &Method::GET, "/", "here");
        assert_eq!(response.body().bytes().as_deref(), Some(&b"<mine/>"[..]));
        let mut response = error(s3_error!(NoSuchKey));
        finish(&mut response, &state, &Method::GET, "/", "here");
        let body = response.body().bytes().expect("body");
        assert!(String::from_utf8_lossy(&body).contains("<Code>NoSuchKey</Code>"));
    }

    #[test]
    fn good_answers_only_gain_headers() {
        let mut response = Response::new(Body::from(String::from("x")));
        finish(&mut response, &state(), &Method::GET, "/", "here");
        assert_eq!(response.body().bytes().as_deref(), Some(&b"x"[..]));
        assert!(response.headers().contains_key("x-amz-id-2"));
    }
}
