//! Questions about many things, asked in parts whose answers fit.

use tonic::Status;

use crate::status::is_answer_too_large;

/// Asks about `items` in parts of at most `part_max`, in their order, and about half as many where the answer of a part
/// would be too large. The answers of all parts, in the same order.
///
/// # Errors
///
/// The first status that halving does not mend, such as of one item whose answer is too large by itself.
pub async fn ask_in_parts<I, T, F>(
    items: &[I],
    part_max: usize,
    mut ask: impl FnMut(&[I]) -> F,
) -> Result<Vec<T>, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    let mut answers = Vec::new();
    // The next one stands last.
    let mut parts: Vec<&[I]> = items.chunks(part_max.max(1)).rev().collect();
    while let Some(part) = parts.pop() {
        match ask(part).await {
            Ok(answer) => answers.push(answer),
            Err(status) if part.len() > 1 && is_answer_too_large(&status) => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.push(second);
                parts.push(first);
            }
            Err(status) => return Err(status),
        }
    }
    Ok(answers)
}
