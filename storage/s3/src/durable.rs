//! s3s-fs with what it lacks: every method here hands over to it and then makes its work last.
//!
//! | s3s-fs 0.14 | here |
//! |---|---|
//! | never syncs | object, sidecars and directories are synced before the answer |
//! | leaves sidecars of deleted objects | removed with the object |
//! | completing an upload twice fails, and a failure keeps the parts | the same answer again; parts removed |
//! | answers an upload's completion after copying all of it | blanks keep the connection alive meanwhile, as AWS does |
//! | a put creates its bucket; a part arrives in an aborted upload | refused |
//! | an object whose digest is wrong stays | removed |
//! | a suffix longer than the object is an error; no 304; no `Accept-Ranges` | as S3 |
//! | reads 4 KiB at a time | 256 KiB |
//!
//! Not offered (501): copying parts, deleting buckets, everything else of S3.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::OnceCell;
use tokio_util::io::ReaderStream;
use tokio_util::task::TaskTracker;

use crate::clean::{remove, remove_upload};
use crate::disk::Disk;
use crate::place::{Place, upload_info, upload_part};

/// Completed uploads whose answer is remembered for a client that asks again.
const COMPLETIONS_MAX: usize = 1024;
const READ_BYTES: usize = 256 << 10;

/// The store; clones share it.
#[derive(Clone)]
pub(crate) struct Durable {
    files: Arc<FileSystem>,
    root: Arc<Path>,
    disk: Arc<dyn Disk>,
    completions: Arc<Completions>,
    /// Work that goes on when its client has left.
    pub(crate) tasks: TaskTracker,
}

type Answer<T> = S3Result<S3Response<T>>;

impl Durable {
    /// `root` exists and is canonical.
    pub(crate) fn new(root: &Path, disk: Arc<dyn Disk>) -> Result<Self, s3s_fs::Error> {
        Ok(Self {
            files: Arc::new(FileSystem::new(root)?),
            root: root.into(),
            disk,
            completions: Arc::default(),
            tasks: TaskTracker::new(),
        })
    }

    /// Where an object of an existing bucket is.
    async fn place(&self, bucket: &str, key: &str) -> S3Result<Place> {
        let place = Place::of(&self.root, bucket, key)?;
        match is_dir(&place.bucket).await? {
            true => Ok(place),
            false => Err(s3_error!(NoSuchBucket)),
        }
    }

    /// Where an object is that exists.
    async fn object(&self, bucket: &str, key: &str) -> S3Result<(Place, u64)> {
        let place = self.place(bucket, key).await?;
        match tokio::fs::metadata(&place.object).await {
            Ok(metadata) if metadata.is_file() => Ok((place, metadata.len())),
            // Part of the keys of others, not one itself; or one of its parts is an object.
            Ok(_) => Err(s3_error!(NoSuchKey)),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Err(s3_error!(NoSuchKey))
            }
            Err(error) => Err(S3Error::internal_error(error)),
        }
    }

    async fn sync(&self, paths: Vec<PathBuf>) -> S3Result<()> {
        let disk = self.disk.clone();
        self.block(move || paths.iter().try_for_each(|path| disk.sync(path)))
            .await
    }

    /// Blocking work, which ends even if its client leaves.
    async fn block(&self, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> S3Result<()> {
        let done = self
            .tasks
            .spawn_blocking(work)
            .await
            .map_err(S3Error::internal_error)?;
        done.map_err(|error| {
            tracing::error!(%error, "the disk of the S3 server fails");
            S3Error::internal_error(error)
        })
    }

    /// Removes an object with its sidecars and makes that last.
    async fn forget(&self, place: Place) -> S3Result<()> {
        let disk = self.disk.clone();
        self.block(move || {
            remove(&place.object)?;
            place.sidecars.iter().try_for_each(|path| remove(path))?;
            let existing = place.directories().filter(|directory| directory.exists());
            existing
                .into_iter()
                .try_for_each(|directory| disk.sync(&directory))
        })
        .await
    }

    async fn upload_must_exist(&self, upload: &str) -> S3Result<()> {
        let is_id = upload.len() == 36
            && upload
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if !is_id || !exists(&upload_info(&self.root, upload)).await? {
            return Err(s3_error!(NoSuchUpload));
        }
        Ok(())
    }

    /// Puts an upload together, once; leaves no part behind, whatever happens.
    async fn complete(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
        place: Place,
    ) -> S3Result<Done> {
        let upload = req.input.upload_id.clone();
        let done = async {
            let mut output = self.files.complete_multipart_upload(req).await?.output;
            if let Some(future) = output.future.take() {
                output = future.await?;
            }
            self.sync(place.to_sync()).await?;
            Ok(Done {
                e_tag: output.e_tag,
            })
        }
        .await;
        let root = self.root.clone();
        let cleaned = self.block(move || remove_upload(&root, &upload)).await;
        // The object is whole and synced: a part that stays is swept at the next start.
        if let (Ok(_), Err(error)) = (&done, cleaned) {
            tracing::warn!(%error, "the parts of a complete upload could not be removed");
        }
        done
    }
}

/// What is remembered of a completed upload.
#[derive(Clone)]
struct Done {
    e_tag: Option<ETag>,
}

/// Answers by upload, the newest last.
#[derive(Default)]
struct Completions(Mutex<VecDeque<(String, Arc<OnceCell<Done>>)>>);

impl Completions {
    /// The cell of an upload, and whether it was asked for before.
    fn cell(&self, upload: &str) -> (Arc<OnceCell<Done>>, bool) {
        // A queue of cells is whole at any moment, also after a panic.
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cell)) = cells.iter().find(|(known, _)| known == upload) {
            return (cell.clone(), true);
        }
        let cell = Arc::new(OnceCell::new());
        cells.push_back((upload.into(), cell.clone()));
        if cells.len() > COMPLETIONS_MAX {
            cells.pop_front();
        }
        (cell, false)
    }
}

#[async_trait::async_trait]
impl S3 for Durable {
    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> Answer<CreateBucketOutput> {
        let done = self.files.create_bucket(req).await?;
        self.sync(vec![self.root.to_path_buf()]).await?;
        Ok(done)
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        self.files.head_bucket(req).await
    }

    async fn list_buckets(&self, req: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
        self.files.list_buckets(req).await
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> Answer<GetBucketLocationOutput> {
        self.files.get_bucket_location(req).await
    }

    async fn list_objects(&self, req: S3Request<ListObjectsInput>) -> Answer<ListObjectsOutput> {
        self.files.list_objects(req).await
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> Answer<ListObjectsV2Output> {
        self.files.list_objects_v2(req).await
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        let place = self.place(&req.input.bucket, &req.input.key).await?;
        match self.files.put_object(req).await {
            Ok(done) => {
                self.sync(place.to_sync()).await?;
                Ok(done)
            }
            Err(error) => {
                if *error.code() == S3ErrorCode::BadDigest {
                    self.forget(place).await?;
                }
                Err(error)
            }
        }
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
        let CopySource::Bucket { bucket, key, .. } = &req.input.copy_source else {
            return Err(s3_error!(NotImplemented));
        };
        self.object(bucket, key).await?;
        let place = self.place(&req.input.bucket, &req.input.key).await?;
        let done = self.files.copy_object(req).await?;
        self.sync(place.to_sync()).await?;
        Ok(done)
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        self.object(&req.input.bucket, &req.input.key).await?;
        let mut found = self.files.head_object(req).await?;
        found.output.accept_ranges = Some("bytes".into());
        Ok(found)
    }

    async fn get_object(&self, mut req: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        let (place, bytes) = self.object(&req.input.bucket, &req.input.key).await?;
        if let Some(Range::Suffix { length }) = req.input.range
            && length >= bytes
            && bytes > 0
        {
            req.input.range = Some(Range::Int {
                first: 0,
                last: None,
            });
        }
        let part = match &req.input.range {
            Some(range) => range.check(bytes)?,
            None => 0..bytes,
        };
        if req.input.range.is_some() && part.is_empty() {
            return Err(s3_error!(InvalidRange));
        }
        let unless = req.input.if_none_match.take();
        let mut found = self.files.get_object(req).await?;
        let is_known = match (&unless, &found.output.e_tag) {
            (Some(ETagCondition::Any), _) => true,
            (Some(ETagCondition::ETag(known)), Some(e_tag)) => known.weak_cmp(e_tag),
            _ => false,
        };
        if is_known {
            return Err(s3_error!(NotModified));
        }
        let mut file = tokio::fs::File::open(&place.object)
            .await
            .map_err(|error| s3_error!(error, NoSuchKey))?;
        file.seek(io::SeekFrom::Start(part.start))
            .await
            .map_err(S3Error::internal_error)?;
        let body = ReaderStream::with_capacity(file.take(part.end - part.start), READ_BYTES);
        found.output.body = Some(StreamingBlob::wrap(body));
        found.output.accept_ranges = Some("bytes".into());
        Ok(found)
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
        match self.object(&req.input.bucket, &req.input.key).await {
            Ok((place, _)) => self.forget(place).await?,
            Err(error) if *error.code() == S3ErrorCode::NoSuchKey => {}
            Err(error) => return Err(error),
        }
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> Answer<DeleteObjectsOutput> {
        if !is_dir(&self.root.join(&req.input.bucket)).await? {
            return Err(s3_error!(NoSuchBucket));
        }
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in req.input.delete.objects {
            let done = match self.object(&req.input.bucket, &object.key).await {
                Ok((place, _)) => self.forget(place).await,
                Err(error) if *error.code() == S3ErrorCode::NoSuchKey => Ok(()),
                Err(error) => Err(error),
            };
            let key = Some(object.key);
            match done {
                Ok(()) => deleted.push(DeletedObject {
                    key,
                    ..Default::default()
                }),
                Err(error) => errors.push(Error {
                    key,
                    code: Some(error.code().as_str().into()),
                    // Clients take it for granted.
                    message: Some(error.message().unwrap_or(error.code().as_str()).into()),
                    ..Default::default()
                }),
            }
        }
        let output = DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: Some(errors),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        self.place(&req.input.bucket, &req.input.key).await?;
        self.files.create_multipart_upload(req).await
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
        let (upload, number) = (req.input.upload_id.clone(), req.input.part_number);
        self.upload_must_exist(&upload).await?;
        if number < 1 {
            return Err(s3_error!(InvalidArgument, "parts are counted from 1"));
        }
        let done = self.files.upload_part(req).await?;
        // Its upload may have been aborted meanwhile.
        if let Err(error) = self.upload_must_exist(&upload).await {
            let part = upload_part(&self.root, &upload, number);
            self.block(move || remove(&part)).await?;
            return Err(error);
        }
        Ok(done)
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
        self.upload_must_exist(&req.input.upload_id).await?;
        self.files.list_parts(req).await
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        let place = self.place(&bucket, &key).await?;
        let (cell, is_known) = self.completions.cell(&req.input.upload_id);
        if !is_known {
            self.upload_must_exist(&req.input.upload_id).await?;
        }
        let store = self.clone();
        // In a task of its own: a client that leaves half-way must not leave half an object.
        let task = self.tasks.spawn(async move {
            let done = cell.get_or_try_init(|| store.complete(req, place)).await;
            done.cloned()
        });
        let answer = async move {
            let done = task.await.map_err(S3Error::internal_error)??;
            Ok(CompleteMultipartUploadOutput {
                bucket: Some(bucket),
                key: Some(key),
                e_tag: done.e_tag,
                ..Default::default()
            })
        };
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            future: Some(Box::pin(answer)),
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        let upload = req.input.upload_id.clone();
        self.upload_must_exist(&upload).await?;
        let root = self.root.clone();
        self.block(move || {
            // First the upload itself, so that a part that arrives late finds it gone.
            remove(&upload_info(&root, &upload))?;
            remove_upload(&root, &upload)
        })
        .await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

async fn exists(path: &Path) -> S3Result<bool> {
    tokio::fs::try_exists(path)
        .await
        .map_err(S3Error::internal_error)
}

async fn is_dir(path: &Path) -> S3Result<bool> {
    match tokio::fs::metadata(path).await {
        Ok(metadata) => Ok(metadata.is_dir()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(S3Error::internal_error(error)),
    }
}
