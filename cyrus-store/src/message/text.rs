//! One buffer for all the strings that parsing a message makes.

/// A string in a [`Text`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: usize,
    end: usize,
}

impl Span {
    pub(super) fn non_empty(self) -> Option<Self> {
        (self.end > self.start).then_some(self)
    }
}

/// The buffer; strings are appended and named by their [`Span`].
#[derive(Debug, Default)]
pub(super) struct Text {
    bytes: Vec<u8>,
    /// Room for a string that cannot grow in place.
    pub(super) scratch: Vec<u8>,
}

impl Text {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(capacity),
            scratch: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn last(&self) -> Option<u8> {
        self.bytes.last().copied()
    }

    pub(super) fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.span_from(start)
    }

    /// Appends `bytes` in upper case.
    pub(super) fn append_upper(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend(bytes.iter().map(u8::to_ascii_uppercase));
        self.span_from(start)
    }

    /// What was appended since the buffer was `start` long.
    pub(super) fn span_from(&self, start: usize) -> Span {
        Span {
            start,
            end: self.bytes.len(),
        }
    }

    pub(super) fn get(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start..span.end).unwrap_or_default()
    }
}
