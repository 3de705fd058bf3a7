//! The one error type; its kinds are `BraytonTextStatus`.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    InvalidModel = 1,
    InvalidArgument = 2,
    Unsupported = 3,
    Internal = 4,
}

#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn model(message: impl Into<String>) -> Self {
        Error { kind: Kind::InvalidModel, message: message.into() }
    }

    pub fn argument(message: impl Into<String>) -> Self {
        Error { kind: Kind::InvalidArgument, message: message.into() }
    }

    pub fn unsupported(message: impl Into<String>) -> Self {
        Error { kind: Kind::Unsupported, message: message.into() }
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Error { kind: Kind::Internal, message: message.into() }
    }
}
