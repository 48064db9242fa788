//! What a form's sender hears: 204, 200, 201 with a document, or a redirect, as its fields ask; and
//! the tag set of a form as a header.

use super::{Fields, escape};
use crate::error::malformed_xml;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HOST, LOCATION};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, Uri};
use quick_xml::escape::escape as xml;
use s3s::{Body, S3Result};

/// How a PUT's answer is re-said.
#[derive(Debug)]
pub(crate) struct Answer {
    redirect: Option<String>,
    status: StatusCode,
    location: String,
    bucket: String,
    key: String,
}

impl Answer {
    pub(super) fn new(head: &Parts, fields: &Fields, bucket: &str, key: &str) -> Self {
        let redirect = fields
            .get("success_action_redirect")
            .or_else(|| fields.get("redirect"));
        // What is not a URL is ignored, as is a status that is none of the three.
        let redirect = redirect.filter(|url| is_url(url)).map(str::to_owned);
        let status = match fields.get("success_action_status") {
            Some("200") => StatusCode::OK,
            Some("201") => StatusCode::CREATED,
            _ => StatusCode::NO_CONTENT,
        };
        Self {
            redirect,
            status,
            location: location(head, bucket, key),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        }
    }

    /// Re-says the answer of the PUT; errors stay as they are.
    pub(crate) fn say(self, mut response: Response<Body>) -> Response<Body> {
        if response.status() != StatusCode::OK {
            return response;
        }
        let etag = response
            .headers()
            .get(ETAG)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let (status, location) = match &self.redirect {
            Some(url) => (StatusCode::SEE_OTHER, self.redirected(url, &etag)),
            None => (self.status, self.location.clone()),
        };
        let body = match status {
            StatusCode::CREATED => self.document(&etag),
            _ => String::new(),
        };
        let headers = response.headers_mut();
        headers.remove(CONTENT_TYPE);
        headers.remove(CONTENT_LENGTH);
        if let Ok(location) = HeaderValue::from_str(&location) {
            headers.insert(LOCATION, location);
        }
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        }
        if status != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        *response.status_mut() = status;
        *response.body_mut() = Body::from(bytes::Bytes::from(body));
        response
    }

    fn redirected(&self, url: &str, etag: &str) -> String {
        let (url, fragment) = url
            .split_once('#')
            .map_or((url, None), |(u, f)| (u, Some(f)));
        let join = if url.contains('?') { '&' } else { '?' };
        let (bucket, key, etag) = (escape(&self.bucket), escape(&self.key), escape(etag));
        let fragment = fragment.map(|f| format!("#{f}")).unwrap_or_default();
        format!("{url}{join}bucket={bucket}&key={key}&etag={etag}{fragment}")
    }

    fn document(&self, etag: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{}</Location>\
             <Bucket>{}</Bucket><Key>{}</Key><ETag>{}</ETag></PostResponse>",
            xml(&self.location),
            xml(&self.bucket),
            xml(&self.key),
            xml(etag)
        )
    }
}

fn is_url(text: &str) -> bool {
    let parsed: Option<Uri> = text.parse().ok();
    let web =
        |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
    // A fragment is no part of a Uri: what stands before it decides.
    parsed.is_some_and(|uri| web(&uri)) && !text.chars().any(char::is_control)
}

/// Where the object is, as the client came.
fn location(head: &Parts, bucket: &str, key: &str) -> String {
    let host = head.headers.get(HOST).and_then(|h| h.to_str().ok());
    let host = host
        .or_else(|| head.uri.authority().map(http::uri::Authority::as_str))
        .unwrap_or_default();
    let secure = head
        .extensions
        .get::<std::sync::Arc<crate::request::RequestState>>()
        .is_some_and(|state| state.secure);
    let scheme = if secure { "https" } else { "http" };
    // Virtual-hosted: the host names the bucket already, and the path is bare.
    let hosted = head.uri.path().trim_matches('/').is_empty();
    let bucket = if hosted {
        String::new()
    } else {
        format!("/{}", escape(bucket))
    };
    let key = key.split('/').map(escape).collect::<Vec<_>>().join("/");
    format!("{scheme}://{host}{bucket}/{key}")
}

/// The `tagging` field's document as `x-amz-tagging` has it.
///
/// # Errors
/// `MalformedXML`.
pub(super) fn tagging_header(document: &str) -> S3Result<String> {
    use s3s::xml::{Deserialize as _, Deserializer};
    let mut deserializer = Deserializer::new(document.as_bytes());
    let tagging = s3s::dto::Tagging::deserialize(&mut deserializer);
    let tagging = tagging.map_err(|_not_tags| malformed_xml())?;
    let tags = tagging.tag_set.iter().map(|tag| {
        let text = |part: &Option<String>| escape(part.as_deref().unwrap_or_default());
        format!("{}={}", text(&tag.key), text(&tag.value))
    });
    Ok(tags.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn answer(fields: &[(&str, &str)], uri: &str) -> Answer {
        let mut form = Fields::default();
        for (name, value) in fields {
            form.add(name, (*value).to_owned()).expect("once");
        }
        let request = Request::builder()
            .uri(uri)
            .header(HOST, "h:9000")
            .body(())
            .expect("request");
        Answer::new(&request.into_parts().0, &form, "b", "a/k &.txt")
    }

    fn say(fields: &[(&str, &str)]) -> (u16, String, String) {
        let put = Response::builder()
            .header(ETAG, "\"e\"")
            .body(Body::empty())
            .expect("response");
        let said = answer(fields, "/b").say(put);
        let location = said.headers()[LOCATION].to_str().expect("text").to_owned();
        let kind = said
            .headers()
            .get(CONTENT_TYPE)
            .map(|v| v.to_str().expect("text").to_owned());
        (said.status().as_u16(), location, kind.unwrap_or_default())
    }

    #[test]
    fn forms_hear_what_they_asked_for() {
        let here = "http://h:9000/b/a/k%20%26.txt";
        let query = "bucket=b&key=a%2Fk%20%26.txt&etag=%22e%22";
        for (fields, status, location, kind) in [
            (vec![], 204, here.to_owned(), ""),
            (
                vec![("success_action_status", "200")],
                200,
                here.to_owned(),
                "",
            ),
            (
                vec![("success_action_status", "201")],
                201,
                here.to_owned(),
                "application/xml",
            ),
            (
                vec![("success_action_status", "404")],
                204,
                here.to_owned(),
                "",
            ),
            (
                vec![("success_action_redirect", "http://x/y")],
                303,
                format!("http://x/y?{query}"),
                "",
            ),
            (
                vec![("redirect", "http://x/y?z=1")],
                303,
                format!("http://x/y?z=1&{query}"),
                "",
            ),
            (
                vec![("success_action_redirect", "javascript:alert(1)")],
                204,
                here.to_owned(),
                "",
            ),
        ] {
            assert_eq!(
                say(&fields),
                (status, location, kind.to_owned()),
                "{fields:?}"
            );
        }
        assert_eq!(answer(&[], "/").location, "http://h:9000/a/k%20%26.txt");
        let document = answer(&[], "/b").document("\"e\"");
        assert!(
            document.contains("<Key>a/k &amp;.txt</Key><ETag>&quot;e&quot;</ETag>"),
            "{document}"
        );
    }

    #[test]
    fn errors_stay_as_they_are() {
        let mut put = Response::new(Body::empty());
        *put.status_mut() = StatusCode::FORBIDDEN;
        assert_eq!(
            answer(&[("success_action_status", "201")], "/b")
                .say(put)
                .status(),
            403
        );
    }

    #[test]
    fn tag_documents_become_headers() {
        let document = "<Tagging><TagSet><Tag><Key>0</Key><Value>0</Value></Tag><Tag><Key>a=b</Key>\
                        <Value></Value></Tag></TagSet></Tagging>";
        assert_eq!(tagging_header(document).expect("tags"), "0=0&a%3Db=");
        assert!(tagging_header("<Tagging>").is_err());
    }
}
