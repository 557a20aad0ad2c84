//! CRC-32 over a page, in a field of that page that counts as zeros.

use crate::{FormatError, PAGE_SIZE};

/// Fills in the checksum field at `offset`. A page of zeros was never written and stays zeros.
pub(crate) fn seal(page: &mut [u8; PAGE_SIZE], offset: usize) {
    page[offset..offset + 4].fill(0);
    if page.iter().any(|&byte| byte != 0) {
        let checksum = crc32fast::hash(page);
        page[offset..offset + 4].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// Checks the checksum field at `offset` and clears it. A page of zeros is good.
pub(crate) fn verify(
    page: &mut [u8; PAGE_SIZE],
    offset: usize,
    what: &'static str,
) -> Result<(), FormatError> {
    if page.iter().all(|&byte| byte == 0) {
        return Ok(());
    }
    let field = &mut page[offset..offset + 4];
    let found = u32::from_le_bytes([field[0], field[1], field[2], field[3]]);
    field.fill(0);
    let expected = crc32fast::hash(page);
    if expected != found {
        return Err(FormatError::Checksum { what, expected, found });
    }
    Ok(())
}
