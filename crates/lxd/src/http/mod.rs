//! HTTP: listeners, TLS, routing, the envelope, bodies and websockets. What requests mean is in [`crate::api`].

pub(crate) mod answer;
pub(crate) mod body;
mod complaints;
pub(crate) mod connection;
pub(crate) mod download;
pub(crate) mod error;
pub(crate) mod json;
mod linger;
pub(crate) mod listener;
pub(crate) mod origins;
pub(crate) mod request;
pub(crate) mod routes;
pub(crate) mod service;
pub(crate) mod tls;
pub(crate) mod websocket;
