//! The pictures that a result shows: as many as fit. Those that are left out are named.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::fit::{self, NotShown, Picture};
use crate::interpreter::{Execution, FileSource, Part};

/// The most bytes of base64 of all pictures of a result. Clients refuse much larger messages.
const PICTURE_BYTES: usize = 1024 * 1024;
const MAX_PICTURES: usize = 10;
/// The largest file that is decoded.
const MAX_PICTURE_FILE_BYTES: u64 = 32 * 1024 * 1024;
/// How many omitted pictures are named. The rest is counted.
const MAX_NAMED: usize = 5;

/// How much of a file is read first. Most pictures are smaller.
const FIRST_BYTES: u64 = 64 * 1024;
/// The memory of all larger pictures that are being read or decoded, in KiB.
const ROOM_KIBIBYTES: usize = 128 * 1024;

/// The bounds that all calls with pictures share.
#[derive(Debug, Clone)]
pub struct PictureTurns {
    /// One picture is decoded at a time, because decoding needs much memory.
    decoding: Arc<Semaphore>,
    room: Arc<Semaphore>,
}

impl Default for PictureTurns {
    fn default() -> Self {
        Self { decoding: Arc::new(Semaphore::new(1)), room: Arc::new(Semaphore::new(ROOM_KIBIBYTES)) }
    }
}

/// A picture's file, with its share of the memory.
struct Content {
    part: Part,
    _room: Option<OwnedSemaphorePermit>,
}

impl PictureTurns {
    /// Reads a file. Of a too large one only the first bytes are returned. Only calls with large pictures wait for each other here.
    async fn read(&self, files: &dyn FileSource, id: &str) -> Option<Content> {
        let part = files.read(id, 0, FIRST_BYTES).await.ok()?;
        if part.total <= FIRST_BYTES || part.total > MAX_PICTURE_FILE_BYTES {
            return Some(Content { part, _room: None });
        }
        let kibibytes = u32::try_from(part.total.div_ceil(1024)).ok()?;
        let room = self.room.clone().acquire_many_owned(kibibytes).await.ok()?;
        let part = files.read(id, 0, part.total).await.ok()?;
        Some(Content { part, _room: Some(room) })
    }

    /// Makes a picture fit. A started decoding keeps its turn until it is done, even if its call is gone.
    async fn fit(&self, content: Content, room: usize) -> Result<Picture, NotShown> {
        let Ok(turn) = self.decoding.clone().acquire_owned().await else { return Err(NotShown::NoRoom) };
        let fit = move || {
            let (_turn, content) = (turn, content);
            fit::fit(&content.part.bytes, room)
        };
        tokio::task::spawn_blocking(fit).await.unwrap_or(Err(NotShown::Damaged))
    }
}

/// The pictures of a result.
#[derive(Debug, Default)]
pub struct Shown {
    pub pictures: Vec<Picture>,
    /// What is not shown and why, one line each.
    pub omitted: Vec<String>,
}

impl Shown {
    /// Reads the pictures among the files, as many as fit.
    pub async fn of(execution: &Execution, files: &dyn FileSource, turns: &PictureTurns) -> Self {
        let mut shown = Self::default();
        if !execution.has_files {
            return shown;
        }
        let mut candidates: Vec<_> =
            execution.response.files.iter().filter(|(path, _)| fit::may_be_picture(path)).collect();
        let too_many = candidates.split_off(candidates.len().min(MAX_PICTURES));
        let mut omitted = Vec::new();
        let mut room = PICTURE_BYTES;
        for (place, (path, id)) in candidates.iter().enumerate() {
            let Some(content) = turns.read(files, id).await else { continue };
            let total = content.part.total;
            if total > MAX_PICTURE_FILE_BYTES {
                omitted.push(format!("{path}: {total} bytes are too many"));
                continue;
            }
            // Each picture has an equal share of the remaining room.
            let share = room / (candidates.len() - place);
            match turns.fit(content, share).await {
                Ok(picture) => {
                    room -= picture.base64.len();
                    shown.pictures.push(picture);
                }
                // Its content is no picture.
                Err(NotShown::NoPicture) => {}
                Err(reason) => omitted.push(format!("{path}: {reason}")),
            }
        }
        omitted.extend(too_many.iter().map(|(path, _)| format!("{path}: a result shows {MAX_PICTURES}")));
        let untold = omitted.len().saturating_sub(MAX_NAMED);
        omitted.truncate(MAX_NAMED);
        shown.omitted = omitted.into_iter().map(|line| format!("Picture not shown: {line}")).collect();
        if untold > 0 {
            shown.omitted.push(format!("Picture not shown: and {untold} more"));
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use python_interpreter::wire::ExecuteResponse;

    use super::*;
    use crate::interpreter::{ExecutionOutcome, Reading};

    /// Returns the same picture for every id, and nothing ever for "slow".
    struct FakeFiles {
        picture: Vec<u8>,
        asked: tokio::sync::Notify,
    }

    impl FileSource for FakeFiles {
        fn read<'a>(&'a self, id: &'a str, offset: u64, length: u64) -> Reading<'a> {
            Box::pin(async move {
                let is_all = length >= self.picture.len() as u64;
                if id == "slow" && is_all {
                    self.asked.notify_one();
                    std::future::pending::<()>().await;
                }
                let bytes = self.picture.iter().skip(offset as usize).take(length as usize).copied().collect();
                Ok(Part { bytes, total: self.picture.len() as u64 })
            })
        }
    }

    fn with_picture(id: &str) -> Execution {
        let files = [("/workspace/a.png".to_owned(), id.to_owned())].into();
        let response = ExecuteResponse { files, ..ExecuteResponse::default() };
        Execution {
            response,
            outcome: ExecutionOutcome::Finished,
            interpreter: String::new(),
            has_files: true,
            error: None,
        }
    }

    #[tokio::test]
    async fn a_picture_that_is_slow_to_read_delays_no_other() {
        for pixels in [8, 400] {
            // Noise, which PNG cannot compress: the second picture is larger than the first read.
            let mut state = 1_u32;
            let picture = image::GrayImage::from_fn(pixels, pixels, |_, _| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                image::Luma([(state >> 24) as u8])
            });
            let mut bytes = std::io::Cursor::new(Vec::new());
            picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
            let files = FakeFiles { picture: bytes.into_inner(), asked: tokio::sync::Notify::new() };
            assert_eq!(files.picture.len() as u64 > FIRST_BYTES, pixels == 400);
            let (turns, slow, quick) = (PictureTurns::default(), with_picture("slow"), with_picture("quick"));
            let slow = Shown::of(&slow, &files, &turns);
            let quick = async {
                files.asked.notified().await;
                Shown::of(&quick, &files, &turns).await
            };
            tokio::select! {
                _ = slow => panic!("its content never comes"),
                shown = quick => assert_eq!(shown.pictures.len(), 1),
                () = tokio::time::sleep(std::time::Duration::from_secs(30)) => panic!("the quick one waits for the slow one"),
            }
        }
    }
}
