//! What each request does.

use super::{files, objects, program::Program, sets};
use kddm_rdma::BoxFuture;
use kddm_ring::{Done, Refusal, Region, Request, Tag};
use std::{future::Future, sync::Arc};

/// How a request ended.
pub type Outcome = Result<Done, Refusal>;

/// A request that was begun.
pub enum Work {
    /// And has ended.
    Done(Outcome),
    /// And may wait.
    Waits(BoxFuture<'static, Outcome>),
}

impl Work {
    /// Begins what a program asks for. Regions are looked at here: nothing is begun whose result would have no place.
    #[inline]
    pub fn of(program: &Arc<Program>, tag: Tag, request: &Request) -> Work {
        if let Err(refusal) = check(program, request) {
            return Work::Done(Err(refusal));
        }
        match *request {
            Request::Nothing | Request::Cancel { .. } => Work::Done(Ok(Done::default())),
            Request::Put { hold, changed } => Work::Done(objects::put(program, hold, changed)),
            Request::Prefetch { key, count } => Work::Done(objects::prefetch(program, key, count)),
            Request::Local { after, any, into } => Work::Done(objects::local(program, after, any, into)),
            Request::Close { file } => Work::Done(files::close(program, file)),
            Request::Hold { key, hold, first_touch, wait, into } => {
                match objects::admit(program, key, hold, into) {
                    Err(refusal) => Work::Done(Err(refusal)),
                    Ok(()) => {
                        Work::waits(objects::hold(program.clone(), tag, (key, hold, first_touch, wait), into))
                    }
                }
            }
            Request::HoldRange { key, count, hold, into } => {
                match objects::admit_range(program, key, count, hold, into) {
                    Err(refusal) => Work::Done(Err(refusal)),
                    Ok(size) => {
                        Work::waits(objects::hold_range(program.clone(), tag, (key, count, hold), into, size))
                    }
                }
            }
            Request::Remove { key } => Work::waits(objects::remove(program.clone(), key)),
            Request::Flush { key } => Work::waits(objects::flush(program.clone(), key)),
            Request::Sync { key } => Work::waits(objects::sync(program.clone(), key)),
            Request::CreateSet { .. }
            | Request::OpenSet { .. }
            | Request::DestroySet { .. }
            | Request::ListSets { .. } => Work::waits(sets::answer(program.clone(), *request)),
            _ => Work::waits(files::answer(program.clone(), tag, *request)),
        }
    }

    fn waits(future: impl Future<Output = Outcome> + Send + 'static) -> Work {
        Work::Waits(Box::pin(future))
    }
}

#[inline]
fn check(program: &Program, request: &Request) -> Result<(), Refusal> {
    let lies_inside = |region: &Region| program.window.has(*region);
    if request.regions().iter().flatten().all(lies_inside) { Ok(()) } else { Err(Refusal::Region) }
}

/// The bytes of a region that was found to lie in the window.
pub fn bytes_of(program: &Program, region: Region) -> Result<Vec<u8>, Refusal> {
    let mut bytes = vec![0; region.length as usize];
    program.window.read(region, &mut bytes).ok_or(Refusal::Region)?;
    Ok(bytes)
}

/// Hands `bytes` to the program.
pub fn tell(program: &Program, into: Region, bytes: &[u8], value: u64) -> Outcome {
    let length = bytes.len() as u32;
    if length > into.length {
        return Err(Refusal::TooSmall(length));
    }
    program.window.write(into, bytes).ok_or(Refusal::Region)?;
    Ok(Done { value, length })
}
