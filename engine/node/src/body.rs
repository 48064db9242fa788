//! A request body as it comes in: exactly as long as announced, cut into frames.

use crate::api::BodyDigests;
use crate::{ByteStream, EngineError};
use bytes::{Buf, Bytes};
use engine_core::digest::Hasher;
use engine_core::md5::Md5;
use engine_core::stripes::{FRAME_PLAIN, FRAME_SEALED};
use engine_types::ChecksumAlgorithm;
use futures::StreamExt;

/// Reads a body and counts it.
pub(crate) struct Intake {
    stream: ByteStream,
    announced: u64,
    got: u64,
    rest: Bytes,
}

impl Intake {
    pub(crate) fn new(stream: ByteStream, announced: u64) -> Self {
        Self {
            stream,
            announced,
            got: 0,
            rest: Bytes::new(),
        }
    }

    fn wrong_length(&self, got: u64) -> EngineError {
        EngineError::Length {
            announced: self.announced,
            got,
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        match self.stream.next().await {
            None => Ok(None),
            Some(Ok(bytes)) => Ok(Some(bytes)),
            Some(Err(error)) => Err(EngineError::Body(error)),
        }
    }

    /// Fills `to` from the body.
    pub(crate) async fn fill(&mut self, mut to: &mut [u8]) -> Result<(), EngineError> {
        while !to.is_empty() {
            if self.rest.is_empty() {
                self.rest = self
                    .next()
                    .await?
                    .ok_or_else(|| self.wrong_length(self.got))?;
                continue;
            }
            let count = to.len().min(self.rest.len());
            let (now, later) = to.split_at_mut(count);
            self.rest.copy_to_slice(now);
            self.got += count as u64;
            to = later;
        }
        Ok(())
    }

    /// Fills `plain` bytes into frames of `stripe`, each with room for its tag behind it, and says
    /// of each how long it is.
    pub(crate) async fn fill_frames(
        &mut self,
        stripe: &mut [u8],
        plain: usize,
        filled: impl Fn(usize),
    ) -> Result<(), EngineError> {
        let mut left = plain;
        for frame in stripe.chunks_mut(FRAME_SEALED) {
            let count = left.min(FRAME_PLAIN);
            self.fill(&mut frame[..count]).await?;
            filled(count);
            left -= count;
        }
        Ok(())
    }

    /// Reads to the body's end (its trailers come only then); nothing may be left.
    pub(crate) async fn finish(&mut self) -> Result<(), EngineError> {
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-length-check") {
            return Ok(());
        }
        loop {
            if !self.rest.is_empty() {
                return Err(self.wrong_length(self.got + self.rest.len() as u64));
            }
            match self.next().await? {
                Some(bytes) => self.rest = bytes,
                None => return Ok(()),
            }
        }
    }
}

/// The running checksums that were asked for of a body, and its length; all but its MD5, which is
/// made side by side with those of other bodies.
#[derive(Debug)]
pub(crate) struct Asked {
    hashers: Vec<(ChecksumAlgorithm, Hasher)>,
    length: u64,
}

impl Asked {
    pub(crate) fn new(algorithms: &[ChecksumAlgorithm]) -> Self {
        let hashers = algorithms.iter().map(|a| (*a, Hasher::checksum(*a)));
        Self {
            hashers: hashers.collect(),
            length: 0,
        }
    }
    /// Takes the next bytes of the plaintext.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for (_, hasher) in &mut self.hashers {
            hasher.update(bytes);
        }
        self.length += bytes.len() as u64;
    }
    /// The values, with the MD5 of the same bytes.
    pub(crate) fn finish(self, md5: Md5) -> BodyDigests {
        let values = self.hashers.into_iter();
        BodyDigests {
            md5: md5.finish(),
            checksums: values.map(|(a, hasher)| (a, hasher.finish())).collect(),
            length: self.length,
        }
    }
}
