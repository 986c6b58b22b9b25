//! Files to and from containers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use kubewire::{ErrorKind, ExecOperation};
use kubewire_driver::Drive;
use kubewire_driver::copy::{EntryKind, Item, TarFailure};

use super::Need::Node;
use super::pods::run_pod;
use super::{Calls, Env};
use crate::harness::Scratch;

driven! { Exec;
    a_tree_comes_back_as_it_was: Node;
    values_go_and_come_without_files: Node;
    what_tar_says_is_the_error: Node;
    nothing_is_written_through_a_link: Node;
}

fn main_of_box<R: Drive>(env: &Env<R>) -> ExecOperation {
    env.api::<Pod>().exec("box").container("main")
}

/// All files below a directory; directories have no content.
fn read(root: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let (mut found, mut open) = (BTreeMap::new(), vec![root.to_path_buf()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(root).expect("below").to_path_buf();
            if path.is_dir() {
                found.insert(name, None);
                open.push(path);
            } else {
                found.insert(name, Some(fs::read(&path).expect("a file")));
            }
        }
    }
    found
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect()
}

async fn a_tree_comes_back_as_it_was<R: Drive>(env: &Env<R>) {
    run_pod(env, "box", "mkdir -p /data; sleep 600").await;
    let (here, back) = (Scratch::new(), Scratch::new());
    let tree = here.join("tree");
    fs::create_dir_all(tree.join("a/b/c")).expect("directories");
    fs::create_dir(tree.join("no files")).expect("a directory");
    for (name, content) in [
        ("empty".to_owned(), Vec::new()),
        ("big".to_owned(), noise(3 << 20)),
        ("a/b/c/one block".to_owned(), noise(512)),
        ("a/ünïcödé-文件".to_owned(), b"text".to_vec()),
        (format!("a/{}", "long".repeat(40)), noise(1000)),
        (format!("a/{}", "ü".repeat(90)), noise(511)),
    ] {
        fs::write(tree.join(name), content).expect("a file");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::Permissions::from_mode(0o750);
        fs::set_permissions(tree.join("big"), mode).expect("a mode");
    }
    let sent = env
        .client
        .copy_to(main_of_box(env), &tree, "/data")
        .await
        .expect("a copy");
    assert_eq!((sent.files, sent.directories, sent.skipped), (6, 5, 0));
    let came = env
        .client
        .copy_from(main_of_box(env), "/data/tree", &*back)
        .await
        .expect("a copy");
    assert_eq!((came.files, came.bytes), (6, sent.bytes));
    assert_eq!(read(&here), read(&back));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let metadata = fs::metadata(back.join("tree/big")).expect("a file");
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o750);
    }
    // Again, over what is there; and one file alone.
    env.client
        .copy_from(main_of_box(env), "/data/tree", &*back)
        .await
        .expect("a copy");
    assert_eq!(read(&here), read(&back));
    let one = env
        .client
        .copy_from(
            main_of_box(env),
            "/data/tree/a/b/c/one block",
            back.join("new/dir"),
        )
        .await
        .expect("a copy");
    assert_eq!((one.files, one.bytes), (1, 512));
    assert!(back.join("new/dir/one block").is_file());
}

async fn values_go_and_come_without_files<R: Drive>(env: &Env<R>) {
    run_pod(env, "box", "mkdir -p /data; sleep 600").await;
    let big = noise(300_000);
    let files = [
        ("conf/a", 0o600, &b"hello"[..]),
        ("conf/b", 0o755, &big),
        ("c", 0o644, b""),
    ];
    let sent = env
        .client
        .upload_files(main_of_box(env), "/data", files)
        .await
        .expect("a copy");
    assert_eq!((sent.files, sent.bytes), (3, 300_005));
    let mut download = env
        .client
        .download(main_of_box(env), "/data/conf")
        .await
        .expect("a session");
    let mut found = BTreeMap::new();
    let mut last = PathBuf::new();
    while let Some(item) = download.next().await.expect("an item") {
        match item {
            Item::Entry(entry) if entry.kind == EntryKind::File => {
                last.clone_from(&entry.path);
                found.insert(entry.path, (entry.mode, Vec::new()));
            }
            Item::Data(data) => {
                let (_, content) = found.get_mut(&last).expect("an entry before");
                content.extend_from_slice(&data);
            }
            Item::Entry(_) | _ => {}
        }
    }
    assert_eq!(found.len(), 2);
    assert_eq!(found[Path::new("conf/a")], (0o600, b"hello".to_vec()));
    assert_eq!(found[Path::new("conf/b")], (0o755, big));

    // What is wrong as written is said before it is sent.
    let mut upload = env
        .client
        .upload(main_of_box(env), "/data")
        .await
        .expect("a session");
    for path in ["/x", "../x", ""] {
        let error = upload.file(path, 0o644, 0).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Usage, "{path}: {error}");
    }
    upload.file("short", 0o644, 2).await.expect("accepted");
    assert!(upload.write(b"abc").await.is_err());
    assert!(upload.finish().await.is_err());
}

async fn what_tar_says_is_the_error<R: Drive>(env: &Env<R>) {
    run_pod(env, "box", "sleep 600").await;
    let back = Scratch::new();
    let error = env
        .client
        .copy_from(main_of_box(env), "/no/such", &*back)
        .await
        .expect_err("nothing is there");
    assert_eq!(error.kind(), ErrorKind::Api);
    let source = std::error::Error::source(&error).expect("a source");
    let failure = source.downcast_ref::<TarFailure>().expect("of tar");
    assert_ne!(failure.code, Some(0));
    assert!(error.to_string().contains("No such file"), "{error}");
    assert!(read(&back).is_empty());

    let error = env
        .client
        .copy_to(main_of_box(env), back.join("missing"), "/")
        .await
        .expect_err("nothing is there");
    assert_eq!(error.kind(), ErrorKind::Usage);
}

async fn nothing_is_written_through_a_link<R: Drive>(env: &Env<R>) {
    run_pod(
        env,
        "box",
        "mkdir -p /data/d; echo evil > /data/d/f; sleep 600",
    )
    .await;
    let (here, outside) = (Scratch::new(), Scratch::new());
    fs::write(outside.join("f"), "good").expect("a file");
    #[cfg(unix)]
    {
        let link = |to: &Path, from: PathBuf| std::os::unix::fs::symlink(to, from);
        // A link in place of the directory, then one in place of the file.
        link(&outside, here.join("d")).expect("a link");
        let copy = async || {
            env.client
                .copy_from(main_of_box(env), "/data/d", &*here)
                .await
        };
        copy().await.expect_err("refused");
        fs::remove_file(here.join("d")).expect("removed");
        fs::create_dir(here.join("d")).expect("a directory");
        link(&outside.join("f"), here.join("d/f")).expect("a link");
        copy().await.expect_err("refused");
        assert_eq!(fs::read(outside.join("f")).expect("a file"), b"good");
        assert_eq!(read(&here).len(), 2);
    }
}
