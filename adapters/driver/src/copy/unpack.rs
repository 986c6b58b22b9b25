//! An archive as it comes, block by block.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use kubewire::{Error, ErrorKind};
use tar::{EntryType, Header};

use super::paths::{refused, relative};

const BLOCK: usize = 512;
/// The most that the records before an entry (long names, pax) may take.
const MAX_RECORDS: u64 = 256 << 10;

/// What an entry of an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// A regular file; its content follows as data.
    File,
    /// A directory.
    Directory,
    /// A symbolic link: reported, never followed or made.
    Symlink,
    /// A second name of a file that came before: reported, never made.
    HardLink,
    /// A device, a pipe, a sparse file, or something unknown: reported, its content is skipped.
    Other,
}

/// What an archive tells about an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Relative, of plain names only: no root, no `..`, no drive. Empty for the directory itself that was packed.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// The permission bits, `0o777` at most.
    pub mode: u32,
    /// How much data follows: 0 unless it is a file.
    pub size: u64,
    /// When it was modified, in seconds since 1970.
    pub modified: u64,
    /// Where a link points, as the container says: do not trust it.
    pub target: Option<Vec<u8>>,
}

/// What comes out of an archive, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// The next entry. All data of the one before has come.
    Entry(Entry),
    /// The next piece of the file that was the last entry. Never empty.
    Data(Bytes),
}

/// Why an archive is refused. The source of an [`Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnpackError {
    /// An entry has a name that leads out of the target, or none.
    Path {
        /// The name, readable.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A header's checksum is wrong: this is no archive, or it is damaged.
    Checksum,
    /// A header or its records do not follow the format.
    Format(&'static str),
    /// The records before an entry are longer than 256 KiB.
    TooLong,
    /// The archive ends in the middle.
    Truncated,
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { path, reason } => {
                write!(f, "the archive's entry \"{path}\" is refused: {reason}")
            }
            Self::Checksum => f.write_str("this is no archive, or it is damaged: wrong checksum"),
            Self::Format(what) => write!(f, "the archive is malformed: {what}"),
            Self::TooLong => f.write_str("the archive has a name or records longer than 256 KiB"),
            Self::Truncated => f.write_str("the archive ends in the middle"),
        }
    }
}

impl std::error::Error for UnpackError {}

impl From<UnpackError> for Error {
    fn from(error: UnpackError) -> Self {
        let kind = match error {
            UnpackError::Path { .. } | UnpackError::Checksum | UnpackError::Format(_) => {
                ErrorKind::Peer
            }
            UnpackError::TooLong => ErrorKind::Limit,
            UnpackError::Truncated => ErrorKind::Truncated,
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}

/// Takes a tar archive apart as it comes: POSIX ustar and pax, GNU and older ones.
///
/// A machine without IO: give it data with [`handle_data`](Self::handle_data), take items with
/// [`poll_item`](Self::poll_item) until there is none, say when the data ends with
/// [`handle_end`](Self::handle_end). How the data is cut makes no difference. Beyond the data it was given it holds at most
/// the 256 KiB of an entry's records. After an error it does nothing more.
///
/// ```
/// use kubewire_driver::copy::{Item, Unpack};
///
/// let mut unpack = Unpack::new();
/// unpack.handle_data(vec![0; 1024].into());
/// while let Some(item) = unpack.poll_item()? {
///     if let Item::Entry(entry) = item {
///         println!("{}", entry.path.display());
///     }
/// }
/// unpack.handle_end()?;
/// # Ok::<(), kubewire_driver::copy::UnpackError>(())
/// ```
#[derive(Default)]
pub struct Unpack {
    input: Bytes,
    block: Vec<u8>,
    state: State,
    records: Records,
}

#[derive(Debug, Default)]
enum State {
    /// Blocks of headers.
    #[default]
    Header,
    /// After a block of zeros, which may be the first of the two at the end.
    Zero,
    /// The content of an entry, then its padding.
    Content {
        left: u64,
        padding: u64,
        file: bool,
    },
    /// A record, to be held.
    Record {
        kind: Record,
        left: usize,
        padding: u64,
    },
    /// Further headers of a sparse file, whose content has this length.
    Sparse {
        size: u64,
    },
    /// After the archive. What comes now is not looked at.
    End,
    Failed(UnpackError),
}

#[derive(Clone, Copy, Debug)]
enum Record {
    Name,
    Target,
    Pax,
}

/// What the records before an entry say about it.
#[derive(Default)]
struct Records {
    held: Vec<u8>,
    total: u64,
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    pax_name: Option<Vec<u8>>,
    pax_target: Option<Vec<u8>>,
    size: Option<u64>,
    modified: Option<u64>,
    sparse: bool,
}

fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

impl Unpack {
    /// At the beginning of an archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next data. Poll all items of the data before first, or it is held as well.
    pub fn handle_data(&mut self, data: Bytes) {
        if self.input.is_empty() {
            self.input = data;
        } else {
            let mut both = BytesMut::with_capacity(self.input.len() + data.len());
            both.extend_from_slice(&self.input);
            both.extend_from_slice(&data);
            self.input = both.freeze();
        }
    }

    /// The next item; `None` if it takes more data, or the archive is at its end.
    pub fn poll_item(&mut self) -> Result<Option<Item>, UnpackError> {
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        self.advance().inspect_err(|error| {
            self.state = State::Failed(error.clone());
            self.input = Bytes::new();
        })
    }

    /// Says that there is no more data.
    ///
    /// # Errors
    ///
    /// [`UnpackError::Truncated`] if the archive is not at its end, or the error that there was.
    pub fn handle_end(&mut self) -> Result<(), UnpackError> {
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        // Some write one block of zeros where there should be two.
        if matches!(self.state, State::Zero | State::End) && self.block.is_empty() {
            return Ok(());
        }
        self.state = State::Failed(UnpackError::Truncated);
        Err(UnpackError::Truncated)
    }

    /// Whether the end of the archive was read.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// At most so many bytes of the input.
    fn take(&mut self, most: u64) -> Bytes {
        let n = usize::try_from(most)
            .unwrap_or(usize::MAX)
            .min(self.input.len());
        self.input.split_to(n)
    }

    /// A whole block, once there is one.
    fn take_block(&mut self) -> Option<[u8; BLOCK]> {
        let piece = self.take((BLOCK - self.block.len()) as u64);
        self.block.extend_from_slice(&piece);
        let block = <[u8; BLOCK]>::try_from(&self.block[..]).ok()?;
        self.block.clear();
        Some(block)
    }

    fn advance(&mut self) -> Result<Option<Item>, UnpackError> {
        loop {
            match &mut self.state {
                State::Header | State::Zero => {
                    let Some(block) = self.take_block() else {
                        return Ok(None);
                    };
                    if block.iter().all(|byte| *byte == 0) {
                        self.state = if matches!(self.state, State::Zero) {
                            State::End
                        } else {
                            State::Zero
                        };
                        continue;
                    }
                    if let Some(entry) = self.header(&block)? {
                        return Ok(Some(Item::Entry(entry)));
                    }
                }
                State::Content {
                    left: 0,
                    padding: 0,
                    ..
                } => self.state = State::Header,
                State::Content {
                    left,
                    padding,
                    file,
                } => {
                    let (most, data) = if *left > 0 {
                        (*left, *file)
                    } else {
                        (*padding, false)
                    };
                    let piece = self.take(most);
                    if piece.is_empty() {
                        return Ok(None);
                    }
                    if let State::Content { left, padding, .. } = &mut self.state {
                        let counter = if *left > 0 { left } else { padding };
                        *counter -= piece.len() as u64;
                    }
                    if data {
                        return Ok(Some(Item::Data(piece)));
                    }
                }
                State::Record {
                    kind,
                    left: 0,
                    padding,
                } => {
                    let (kind, padding) = (*kind, *padding);
                    self.state = State::Content {
                        left: 0,
                        padding,
                        file: false,
                    };
                    self.records.take(kind)?;
                }
                State::Record { left, .. } => {
                    let most = *left as u64;
                    let piece = self.take(most);
                    if piece.is_empty() {
                        return Ok(None);
                    }
                    self.records.held.extend_from_slice(&piece);
                    if let State::Record { left, .. } = &mut self.state {
                        *left -= piece.len();
                    }
                }
                State::Sparse { size } => {
                    let size = *size;
                    let Some(block) = self.take_block() else {
                        return Ok(None);
                    };
                    // `isextended` of struct extended_sparse_header.
                    if block[504] == 0 {
                        self.state = State::Content {
                            left: size,
                            padding: padding(size),
                            file: false,
                        };
                    }
                }
                State::End => {
                    self.input = Bytes::new();
                    return Ok(None);
                }
                State::Failed(error) => return Err(error.clone()),
            }
        }
    }

    /// Reads a header, and says what follows it.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is skipped")]
    fn header(&mut self, block: &[u8; BLOCK]) -> Result<Option<Entry>, UnpackError> {
        let header = Header::from_byte_slice(block);
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| {
                u32::from(if (148..156).contains(&at) {
                    b' '
                } else {
                    *byte
                })
            })
            .sum();
        if header.cksum().ok() != Some(sum) {
            return Err(UnpackError::Checksum);
        }
        let size = header
            .entry_size()
            .map_err(|_| UnpackError::Format("the size is no number"))?;
        let record = match header.entry_type() {
            EntryType::GNULongName => Some(Record::Name),
            EntryType::GNULongLink => Some(Record::Target),
            EntryType::XHeader => Some(Record::Pax),
            EntryType::XGlobalHeader => {
                self.content(size, false);
                return Ok(None);
            }
            _ => None,
        };
        if let Some(kind) = record {
            self.records.total = self.records.total.saturating_add(size);
            if self.records.total > MAX_RECORDS {
                return Err(UnpackError::TooLong);
            }
            self.state = State::Record {
                kind,
                left: usize::try_from(size).map_err(|_| UnpackError::TooLong)?,
                padding: padding(size),
            };
            return Ok(None);
        }
        self.entry(header, size).map(Some)
    }

    fn content(&mut self, size: u64, file: bool) {
        self.state = State::Content {
            left: size,
            padding: padding(size),
            file,
        };
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is skipped")]
    fn entry(&mut self, header: &Header, size: u64) -> Result<Entry, UnpackError> {
        let records = std::mem::take(&mut self.records);
        let size = records.size.unwrap_or(size);
        let name = match records.pax_name.or(records.name) {
            Some(name) => Cow::Owned(name),
            None => header.path_bytes(),
        };
        let kind = match header.entry_type() {
            _ if records.sparse => EntryKind::Other,
            // The oldest archives have no directories but files with a slash.
            EntryType::Regular if name.ends_with(b"/") => EntryKind::Directory,
            EntryType::Regular | EntryType::Continuous => EntryKind::File,
            EntryType::Directory => EntryKind::Directory,
            EntryType::Symlink => EntryKind::Symlink,
            EntryType::Link => EntryKind::HardLink,
            _ => EntryKind::Other,
        };
        let path = relative(&name, cfg!(windows))?;
        if path.as_os_str().is_empty() && kind != EntryKind::Directory {
            return Err(refused(&name, "it names nothing"));
        }
        let target = records
            .pax_target
            .or(records.target)
            .or_else(|| header.link_name_bytes().map(Cow::into_owned));
        match header.entry_type() {
            EntryType::GNUSparse if header.as_gnu().is_some_and(tar::GnuHeader::is_extended) => {
                self.state = State::Sparse { size };
            }
            // Whatever the size says, these have no content.
            EntryType::Directory
            | EntryType::Symlink
            | EntryType::Link
            | EntryType::Char
            | EntryType::Block
            | EntryType::Fifo => self.content(0, false),
            _ => self.content(size, kind == EntryKind::File),
        }
        let usual = if kind == EntryKind::Directory {
            0o755
        } else {
            0o644
        };
        Ok(Entry {
            path,
            kind,
            mode: header.mode().unwrap_or(usual) & 0o777,
            size: if kind == EntryKind::File { size } else { 0 },
            modified: records
                .modified
                .or_else(|| header.mtime().ok())
                .unwrap_or(0),
            target: target.filter(|_| matches!(kind, EntryKind::Symlink | EntryKind::HardLink)),
        })
    }
}

impl Records {
    /// Reads the record that is held.
    fn take(&mut self, kind: Record) -> Result<(), UnpackError> {
        let mut held = std::mem::take(&mut self.held);
        match kind {
            Record::Pax => return self.pax(&held),
            Record::Name | Record::Target => {
                let end = held.iter().position(|byte| *byte == 0);
                held.truncate(end.unwrap_or(held.len()));
            }
        }
        if matches!(kind, Record::Name) {
            self.name = Some(held);
        } else {
            self.target = Some(held);
        }
        Ok(())
    }

    /// Lines of `LENGTH KEY=VALUE`, where the length is that of the line and the value may have lines itself.
    fn pax(&mut self, mut rest: &[u8]) -> Result<(), UnpackError> {
        const BAD: UnpackError = UnpackError::Format("a pax record is not one");
        while rest.first().is_some_and(|byte| *byte != 0) {
            let space = rest.iter().position(|byte| *byte == b' ').ok_or(BAD)?;
            let length: usize = number(&rest[..space]).ok_or(BAD)?;
            let line = rest.get(space + 1..length).ok_or(BAD)?;
            rest = &rest[length..];
            let line = line.strip_suffix(b"\n").ok_or(BAD)?;
            let equals = line.iter().position(|byte| *byte == b'=').ok_or(BAD)?;
            let (key, value) = (&line[..equals], &line[equals + 1..]);
            match key {
                b"path" => self.pax_name = Some(value.to_vec()),
                b"linkpath" => self.pax_target = Some(value.to_vec()),
                b"size" => self.size = Some(number(value).ok_or(BAD)?),
                // With a fraction, and negative before 1970.
                b"mtime" => {
                    self.modified = value.split(|byte| *byte == b'.').next().and_then(number);
                }
                _ if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {}
            }
        }
        Ok(())
    }
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    // `parse` would take a sign.
    let plain = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| plain)?
        .parse()
        .ok()
}

impl fmt::Debug for Unpack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpack")
            .field("state", &self.state)
            .field("input_len", &self.input.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
