//! Independent operations side by side.

use crate::Result;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Operations in flight together: enough to hide a network's round trip, few enough to be polled again at each wake-up.
const WIDTH: usize = 32;

/// Does all of these, which take no holds that others of them wait for. After an error no more are begun, and those under way
/// are waited for; the answer is the first error.
pub(crate) async fn abreast<F: Future<Output = Result<()>>>(
    operations: impl Iterator<Item = F>,
) -> Result<()> {
    let mut operations = operations.fuse();
    let mut flying: Vec<Pin<Box<F>>> = Vec::with_capacity(WIDTH);
    let mut result = Ok(());
    poll_fn(|context| {
        loop {
            while result.is_ok() && flying.len() < WIDTH {
                let Some(next) = operations.next() else { break };
                flying.push(Box::pin(next));
            }
            let before = flying.len();
            flying.retain_mut(|operation| match operation.as_mut().poll(context) {
                Poll::Pending => true,
                Poll::Ready(end) => {
                    result = result.and(end);
                    false
                }
            });
            match flying.len() {
                0 if before == 0 => return Poll::Ready(result),
                left if left == before => return Poll::Pending,
                _ => (),
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Errno;
    use futures_lite::future::{block_on, yield_now};
    use std::cell::Cell;

    #[test]
    fn all_are_done_and_few_at_once() {
        let (begun, ended, most) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let operation = async |number: usize| {
            begun.set(begun.get() + 1);
            for _ in 0..number % 5 {
                yield_now().await;
            }
            most.set(most.get().max(begun.get() - ended.get()));
            ended.set(ended.get() + 1);
            Ok(())
        };
        assert_eq!(block_on(abreast((0..1000).map(operation))), Ok(()));
        assert_eq!(ended.get(), 1000);
        assert!((2..=WIDTH).contains(&most.get()), "{} at once", most.get());
    }

    #[test]
    fn after_an_error_no_more_are_begun() {
        let begun = Cell::new(0);
        let operation = async |number: usize| {
            begun.set(begun.get() + 1);
            yield_now().await;
            if number == 3 { Err(Errno::EIO) } else { Ok(()) }
        };
        assert_eq!(block_on(abreast((0..1000).map(operation))), Err(Errno::EIO));
        assert!(begun.get() <= 2 * WIDTH);
    }
}
