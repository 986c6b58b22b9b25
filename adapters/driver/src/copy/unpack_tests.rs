use std::path::Path;

use tar::Builder;

use super::*;

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(1_700_000_000);
    header.set_size(size as u64);
    header
}

/// A header with a name that `tar` would not write.
fn hostile(name: &[u8], kind: EntryType) -> Vec<u8> {
    let mut header = header(kind, 0o644, 0);
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn long() -> String {
    format!("{}/{}", "d".repeat(90), "ü".repeat(100))
}

fn pax(records: &[u8]) -> Vec<u8> {
    let mut header = header(EntryType::XHeader, 0o644, records.len());
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(records);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

fn sample() -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    let mut add = |kind, mode, path: &str, data: &[u8]| {
        builder
            .append_data(&mut header(kind, mode, data.len()), path, data)
            .unwrap();
    };
    add(EntryType::Directory, 0o750, "dir", b"");
    add(EntryType::Regular, 0o4755, "dir/run", &[7; 1000]);
    add(EntryType::Regular, 0o644, "empty", b"");
    add(EntryType::Regular, 0o600, &long(), &[9; 512]);
    add(EntryType::Fifo, 0o600, "pipe", b"");
    builder
        .append_link(
            &mut header(EntryType::Symlink, 0o777, 0),
            "link",
            "/etc/passwd",
        )
        .unwrap();
    builder
        .append_pax_extensions([("path", &b"pax\nname"[..]), ("mtime", b"1600000000.5")])
        .unwrap();
    builder
        .append_data(
            &mut header(EntryType::Regular, 0o644, 3),
            "short",
            &b"abc"[..],
        )
        .unwrap();
    builder.into_inner().unwrap()
}

/// Entries, each with its data.
fn run(pieces: impl IntoIterator<Item = Vec<u8>>) -> Result<Vec<(Entry, Vec<u8>)>, UnpackError> {
    let mut unpack = Unpack::new();
    let mut result: Vec<(Entry, Vec<u8>)> = Vec::new();
    for piece in pieces {
        unpack.handle_data(piece.into());
        while let Some(item) = unpack.poll_item()? {
            match item {
                Item::Entry(entry) => result.push((entry, Vec::new())),
                Item::Data(data) => {
                    assert!(!data.is_empty());
                    result.last_mut().unwrap().1.extend_from_slice(&data);
                }
            }
        }
        assert!(unpack.input.is_empty());
    }
    unpack.handle_end()?;
    Ok(result)
}

fn random(seed: &mut u64) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    usize::try_from(*seed >> 33).unwrap()
}

#[test]
fn entries_come_with_their_data() {
    let entries = run([sample()]).unwrap();
    let kinds: Vec<_> = entries
        .iter()
        .map(|(entry, data)| {
            (
                entry.path.to_str().unwrap(),
                entry.kind,
                entry.mode,
                data.len(),
            )
        })
        .collect();
    let long = long();
    assert_eq!(
        kinds,
        [
            ("dir", EntryKind::Directory, 0o750, 0),
            ("dir/run", EntryKind::File, 0o755, 1000),
            ("empty", EntryKind::File, 0o644, 0),
            (&long, EntryKind::File, 0o600, 512),
            ("pipe", EntryKind::Other, 0o600, 0),
            ("link", EntryKind::Symlink, 0o777, 0),
            ("pax\nname", EntryKind::File, 0o644, 3),
        ]
    );
    assert_eq!(entries[1].1, [7; 1000]);
    assert_eq!(entries[1].0.modified, 1_700_000_000);
    assert_eq!(entries[5].0.target.as_deref(), Some(&b"/etc/passwd"[..]));
    assert_eq!(entries[6].0.modified, 1_600_000_000);
    assert_eq!(entries[6].1, b"abc");
}

#[test]
fn the_cut_makes_no_difference() {
    let (bytes, expected) = (sample(), run([sample()]).unwrap());
    assert_eq!(run(bytes.iter().map(|byte| vec![*byte])).unwrap(), expected);
    let mut seed = 42;
    for _ in 0..200 {
        let (mut rest, mut pieces) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let n = (random(&mut seed) % 1500).min(rest.len());
            pieces.push(rest[..n].to_vec());
            rest = &rest[n..];
        }
        assert_eq!(run(pieces).unwrap(), expected);
    }
}

#[test]
fn what_leads_out_is_refused_before_its_entry() {
    let names: [&[u8]; 12] = [
        b"/etc/passwd",
        b"//x",
        b"..",
        b"../x",
        b"a/../../x",
        b"a/..",
        b"C:",
        b"c:\\x",
        b"a/C:/x",
        b"./../x",
        b".",
        b"./",
    ];
    for name in names {
        let result = run([hostile(name, EntryType::Regular)]);
        // A file with a slash at its end is a directory in old archives.
        let harmless = name == b"./";
        assert!(
            matches!(&result, Err(UnpackError::Path { .. })) != harmless,
            "{}: {result:?}",
            String::from_utf8_lossy(name)
        );
        for record in ["path", "GNU"] {
            let mut bytes = if record == "path" {
                let text = format!(" path={}\n", String::from_utf8_lossy(name));
                let mut length = text.len() + 1;
                length = text.len() + length.to_string().len();
                length = text.len() + length.to_string().len();
                pax(format!("{length}{text}").as_bytes())
            } else {
                let mut long = header(EntryType::GNULongName, 0o644, name.len());
                long.set_cksum();
                let mut bytes = long.as_bytes().to_vec();
                bytes.extend_from_slice(name);
                bytes.resize(BLOCK * 2, 0);
                bytes
            };
            bytes.extend(hostile(b"fine", EntryType::Symlink));
            let result = run([bytes]);
            assert!(
                matches!(&result, Err(UnpackError::Path { .. })),
                "{record} {name:?}: {result:?}"
            );
        }
    }
    assert!(matches!(
        run([hostile(b"", EntryType::Regular)]),
        Err(UnpackError::Path { .. })
    ));
    assert!(matches!(
        run([pax(b"12 path=a\0b\n"), hostile(b"x", EntryType::Regular)]
            .concat()
            .chunks(99)
            .map(<[u8]>::to_vec)),
        Err(UnpackError::Path { .. })
    ));
}

#[test]
fn windows_has_more_names_to_refuse() {
    for name in [
        "a\\b", "..\\x", "\\x", "a:b", "NUL", "nul.txt", "a/COM1", "lpt9.x", "x.", "x ",
    ] {
        assert!(relative(name.as_bytes(), true).is_err(), "{name}");
        assert_eq!(relative(name.as_bytes(), false).unwrap(), Path::new(name));
    }
    for name in ["a/b", "nulls", "com", "x.y", "./a//b/"] {
        assert_eq!(
            relative(name.as_bytes(), true).unwrap(),
            relative(name.as_bytes(), false).unwrap()
        );
    }
}

#[test]
fn a_truncated_archive_is_an_error() {
    let bytes = sample();
    let end = bytes.len() - 1024;
    for n in 0..end {
        assert_eq!(
            run([bytes[..n].to_vec()]).unwrap_err(),
            UnpackError::Truncated,
            "{n}"
        );
    }
    assert!(run([bytes[..end + BLOCK].to_vec()]).is_ok());
}

#[test]
fn garbage_is_an_error_and_no_panic() {
    assert_eq!(run([vec![1; 512]]).unwrap_err(), UnpackError::Checksum);
    let mut seed = 7;
    let original = sample();
    for _ in 0..3000 {
        let mut bytes = original.clone();
        for _ in 0..=random(&mut seed) % 4 {
            let at = random(&mut seed) % bytes.len();
            bytes[at] = u8::try_from(random(&mut seed) & 0xff).unwrap();
            // With a right checksum the rest of the header is looked at.
            let block = at / BLOCK * BLOCK;
            let mut header = Header::from_byte_slice(&bytes[block..block + BLOCK]).clone();
            header.set_cksum();
            bytes[block..block + BLOCK].copy_from_slice(header.as_bytes());
        }
        let _ = run([bytes]);
    }
    for records in [
        &b"x"[..],
        b"5",
        b"99 path=x\n",
        b"9 path=xy",
        b"3 \n",
        b"18446744073709551615 path=a\n",
        b"0 a=b\n",
        b"+9 a=bcd\n",
    ] {
        let bytes = [pax(records), hostile(b"x", EntryType::Regular)].concat();
        assert!(
            matches!(run([bytes]), Err(UnpackError::Format(_))),
            "{records:?}"
        );
    }
}

#[test]
fn records_are_bounded() {
    let mut long = header(EntryType::GNULongName, 0o644, 1 << 40);
    long.set_cksum();
    assert_eq!(
        run([long.as_bytes().to_vec()]).unwrap_err(),
        UnpackError::TooLong
    );
    let many = pax(&b"6 a=b\n".repeat(10_000)).repeat(5);
    assert_eq!(run([many]).unwrap_err(), UnpackError::TooLong);
}

#[test]
fn sparse_files_are_skipped_whole() {
    let mut sparse = header(EntryType::GNUSparse, 0o644, 700);
    sparse.as_old_mut().name[0] = b's';
    sparse.as_gnu_mut().unwrap().set_is_extended(true);
    sparse.set_cksum();
    let mut more = vec![1; BLOCK];
    let last = vec![0; BLOCK];
    more[504] = 1;
    let bytes = [
        sparse.as_bytes().to_vec(),
        more,
        last,
        vec![5; 1024],
        hostile(b"after", EntryType::Regular),
        vec![0; 1024],
    ]
    .concat();
    let entries = run(bytes.chunks(100).map(<[u8]>::to_vec)).unwrap();
    let kinds: Vec<_> = entries.iter().map(|(entry, _)| entry.kind).collect();
    assert_eq!(kinds, [EntryKind::Other, EntryKind::File]);
}
