//! Replies and errors of redis-rs in the protocol's words.

use redis::{ErrorKind, RedisError, Value};
use serde::Serialize;
use serde_json::json;

/// The protocol's error object.
#[derive(Serialize, Debug)]
pub struct Failure {
    pub kind: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exception: Option<String>,
}

impl Failure {
    pub fn config(message: String) -> Self {
        Self::own("config", message)
    }

    pub fn unsupported(message: String) -> Self {
        Self::own("unsupported", message)
    }

    pub fn closed(message: String) -> Self {
        Self::own("closed", message)
    }

    fn own(kind: &'static str, message: String) -> Self {
        Failure { kind, message, code: None, exception: None }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Failure {
            kind: kind_of(&error),
            message: error.to_string(),
            code: error.code().map(str::to_owned),
            exception: Some(format!("redis::RedisError ({:?})", error.kind())),
        }
    }
}

fn kind_of(error: &RedisError) -> &'static str {
    // The server's words, without the error's code.
    let details = error.detail().unwrap_or_default();
    match error.kind() {
        // Both what the provider says of a token that cannot be had and what the library says of a refused sign-in.
        ErrorKind::AuthenticationFailed if error.to_string().starts_with("Entra ID authentication failed") => "token",
        ErrorKind::AuthenticationFailed => "auth",
        ErrorKind::Extension | ErrorKind::Server(_) => match error.code() {
            Some("WRONGPASS" | "NOAUTH") => "auth",
            // Azure is known to put "ERR " before the word that Redis starts with.
            Some("ERR") if details.starts_with("WRONGPASS") || details.starts_with("NOAUTH") => "auth",
            _ => "redis",
        },
        ErrorKind::InvalidClientConfig | ErrorKind::Client | ErrorKind::RESP3NotSupported => "config",
        _ if error.is_timeout() => "timeout",
        _ => "network",
    }
}

/// A reply as the protocol's type and value.
pub fn typed(value: &Value) -> serde_json::Value {
    let all = |items: &[Value]| items.iter().map(typed).collect::<Vec<_>>();
    let (kind, value) = match value {
        Value::Nil => ("null", json!(null)),
        Value::Int(number) => ("integer", json!(number)),
        Value::BulkString(bytes) | Value::BigNumber(bytes) => ("bulk", json!(String::from_utf8_lossy(bytes))),
        Value::SimpleString(text) => ("simple", json!(text)),
        Value::Okay => ("simple", json!("OK")),
        Value::VerbatimString { text, .. } => ("verbatim", json!(text)),
        // JSON has no such numbers: in Redis' words.
        Value::Double(number) if number.is_nan() => ("double", json!("nan")),
        Value::Double(number) if number.is_infinite() => ("double", json!(if *number > 0.0 { "inf" } else { "-inf" })),
        Value::Double(number) => ("double", json!(number)),
        Value::Boolean(value) => ("boolean", json!(value)),
        Value::Array(items) | Value::Push { data: items, .. } => ("array", json!(all(items))),
        Value::Set(items) => ("set", json!(all(items))),
        Value::Map(pairs) => ("map", json!(pairs.iter().map(|(key, value)| [typed(key), typed(value)]).collect::<Vec<_>>())),
        Value::Attribute { data, .. } => return typed(data),
        Value::ServerError(error) => ("error", json!(error.to_string())),
        other => ("bulk", json!(format!("{other:?}"))),
    };
    json!({"type": kind, "value": value})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_keep_their_type() {
        let cases = [
            (Value::Okay, json!({"type": "simple", "value": "OK"})),
            (Value::SimpleString("PONG".into()), json!({"type": "simple", "value": "PONG"})),
            (Value::BulkString(b"\xff".to_vec()), json!({"type": "bulk", "value": "\u{fffd}"})),
            (Value::Nil, json!({"type": "null", "value": null})),
            (Value::Double(f64::NEG_INFINITY), json!({"type": "double", "value": "-inf"})),
            (Value::Boolean(true), json!({"type": "boolean", "value": true})),
            (
                Value::Map(vec![(Value::Int(1), Value::Array(vec![Value::Double(1.5)]))]),
                json!({"type": "map", "value": [[
                    {"type": "integer", "value": 1},
                    {"type": "array", "value": [{"type": "double", "value": 1.5}]},
                ]]}),
            ),
            (Value::Set(vec![Value::Nil]), json!({"type": "set", "value": [{"type": "null", "value": null}]})),
        ];
        for (value, want) in cases {
            assert_eq!(typed(&value), want, "{value:?}");
        }
    }

    #[test]
    fn errors_get_a_kind_and_keep_their_text() {
        let server = |code: &str, detail: &str| redis::make_extension_error(code.into(), Some(detail.into()));
        let io = |kind| RedisError::from(std::io::Error::from(kind));
        let cases = [
            (server("NOPERM", "this user has no permissions"), "redis"),
            (server("WRONGPASS", "invalid username-password pair"), "auth"),
            (server("NOAUTH", "Authentication required."), "auth"),
            (server("ERR", "WRONGPASS invalid username-password pair"), "auth"),
            (server("ERR", "unknown command"), "redis"),
            (RedisError::from((ErrorKind::AuthenticationFailed, "Password authentication failed")), "auth"),
            (RedisError::from((ErrorKind::AuthenticationFailed, "Entra ID authentication failed", "503".into())), "token"),
            (RedisError::from((ErrorKind::InvalidClientConfig, "Scopes cannot be empty")), "config"),
            (io(std::io::ErrorKind::TimedOut), "timeout"),
            (io(std::io::ErrorKind::ConnectionReset), "network"),
        ];
        for (error, kind) in cases {
            let message = error.to_string();
            let failure = Failure::from(error);
            assert_eq!((failure.kind, &failure.message), (kind, &message));
        }
        assert_eq!(Failure::from(server("NOPERM", "no")).code.as_deref(), Some("NOPERM"));
    }
}
