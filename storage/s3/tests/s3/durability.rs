//! No answer before the bytes are on the disk.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use object_store::ObjectStoreExt;
use s3::{Disk, Fault, Server, SystemDisk};
use storage::blob::Blobs;

use crate::{BUCKET, Running, options, pattern};

/// Notes what is synced.
#[derive(Default)]
struct Notes(Mutex<Vec<PathBuf>>);

impl Disk for Notes {
    fn sync(&self, path: &Path) -> io::Result<()> {
        SystemDisk.sync(path)?;
        self.0.lock().unwrap().push(path.into());
        Ok(())
    }
}

impl Notes {
    /// Paths below a directory since the last call, without the directory.
    fn take(&self, root: &Path) -> BTreeSet<String> {
        let root = root.canonicalize().unwrap();
        let taken = std::mem::take(&mut *self.0.lock().unwrap());
        taken
            .iter()
            .map(|path| path.strip_prefix(&root).unwrap().display().to_string())
            .collect()
    }
}

#[tokio::test]
async fn every_file_and_every_directory_of_an_object_is_synced() {
    let notes = Arc::new(Notes::default());
    let running = Running::on(notes.clone()).await;
    assert_eq!(
        notes.take(running.dir.path()),
        ["", BUCKET].map(String::from).into(),
        "at the start"
    );
    let (client, root) = (running.client(), running.dir.path());
    let expected = |key: &str| -> BTreeSet<String> {
        let directories = [
            "".into(),
            BUCKET.into(),
            format!("{BUCKET}/v"),
            format!("{BUCKET}/v/{key}"),
        ];
        running
            .beside()
            .into_iter()
            .chain(directories)
            .chain([format!("{BUCKET}/v/{key}/a")])
            .collect()
    };
    client.put(&"v/1/a".into(), "x".into()).await.unwrap();
    assert_eq!(running.beside().len(), 2);
    assert_eq!(notes.take(root), expected("1"), "put");

    client.delete(&"v/1/a".into()).await.unwrap();
    assert!(
        notes
            .take(root)
            .is_superset(&["".into(), format!("{BUCKET}/v/1")].into()),
        "delete"
    );

    let mut upload = client.put_multipart(&"v/2/a".into()).await.unwrap();
    upload.put_part(pattern(6 << 20).into()).await.unwrap();
    upload.put_part("end".into()).await.unwrap();
    assert!(
        notes.take(root).is_empty(),
        "parts are copied when the upload is complete"
    );
    upload.complete().await.unwrap();
    assert_eq!(notes.take(root), expected("2"), "complete");

    client.copy(&"v/2/a".into(), &"v/3/a".into()).await.unwrap();
    assert!(
        notes.take(root).contains(&format!("{BUCKET}/v/3/a")),
        "copy"
    );
}

/// Holds every sync of a file with a certain name until it is let go.
struct Held {
    name: &'static str,
    entered: Mutex<Sender<()>>,
    released: Mutex<Receiver<()>>,
}

impl Disk for Held {
    fn sync(&self, path: &Path) -> io::Result<()> {
        if path.ends_with(self.name) {
            self.entered.lock().unwrap().send(()).unwrap();
            self.released.lock().unwrap().recv().unwrap();
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_waits_for_the_disk() {
    let ((entered, has_entered), (release, released)) = (channel(), channel());
    let disk = Held {
        name: "held",
        entered: Mutex::new(entered),
        released: Mutex::new(released),
    };
    let running = Running::on(Arc::new(disk)).await;
    let (client, bytes) = (running.client(), pattern(6 << 20));
    for is_in_parts in [false, true] {
        let (client, bytes) = (client.clone(), bytes.clone());
        let put = tokio::spawn(async move {
            if is_in_parts {
                let mut upload = client.put_multipart(&"held".into()).await.unwrap();
                upload.put_part(bytes.into()).await.unwrap();
                upload.complete().await.map(|_| ())
            } else {
                client.put(&"held".into(), bytes.into()).await.map(|_| ())
            }
        });
        tokio::task::block_in_place(|| has_entered.recv_timeout(Duration::from_secs(20))).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(
            !put.is_finished(),
            "answered before the sync ended (in parts: {is_in_parts})"
        );
        release.send(()).unwrap();
        put.await.unwrap().unwrap();
    }
}

/// A disk that gives up.
struct Broken;

impl Disk for Broken {
    fn sync(&self, path: &Path) -> io::Result<()> {
        match path.extension() {
            Some(extension) if extension == "mp4" => Err(io::Error::from_raw_os_error(5)),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_disk_that_fails_is_no_success() {
    let running = Running::on(Arc::new(Broken)).await;
    let client = running.client();
    assert!(client.put(&"a.mp4".into(), "x".into()).await.is_err());
    let mut upload = client.put_multipart(&"b.mp4".into()).await.unwrap();
    upload.put_part("x".into()).await.unwrap();
    assert!(upload.complete().await.is_err());
    client.put(&"c.jpg".into(), "x".into()).await.unwrap();
}

#[tokio::test]
async fn a_completion_whose_answer_was_lost_is_answered_again() {
    let running = Running::start().await;
    let bucket = running.bucket();
    running
        .faults
        .some(Some(Method::POST), "uploadId=", 2, Fault::LoseAnswer);
    let body = pattern(17 << 20);
    let mut writer = bucket.create("v/1", "video/mp4").await.unwrap();
    writer.write(body.clone().into()).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(running.faults.left(), 0, "both answers were lost");
    assert!(
        running
            .client()
            .get(&"v/1".into())
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap()
            == body
    );
}

#[tokio::test]
async fn what_was_put_is_there_after_a_restart_and_what_was_left_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let first = Running {
        server: Server::start(options(dir.path())).await.unwrap(),
        dir,
        faults: Default::default(),
    };
    first
        .client()
        .put(&"v/1".into(), "kept".into())
        .await
        .unwrap();
    first
        .client()
        .put(&"v/2".into(), "lost".into())
        .await
        .unwrap();
    // As if the process had died between the object and its sidecars, and while it wrote.
    std::fs::remove_file(first.dir.path().join(BUCKET).join("v/2")).unwrap();
    std::fs::write(first.dir.path().join(".tmp.7.internal.part"), b"half").unwrap();
    let Running { server, dir, .. } = first;
    server.shutdown().await;

    let second = Running {
        server: Server::start(options(dir.path())).await.unwrap(),
        dir,
        faults: Default::default(),
    };
    let kept = second.client().get(&"v/1".into()).await.unwrap();
    assert_eq!(kept.bytes().await.unwrap(), "kept");
    assert_eq!(second.beside().len(), 2, "{:?}", second.beside());
}
