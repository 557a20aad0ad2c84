//! Paths, for administration.

use crate::permission::Caller;
use crate::{Attributes, FileSystem, Result};

impl FileSystem {
    /// What lies at `path`, seen from the root of the file system with the eyes of root; symbolic links are not
    /// followed.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENAMETOOLONG`.
    pub async fn resolve(&self, path: &[u8]) -> Result<Attributes> {
        let mut found = self.getattr(self.root()).await?;
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            found = self.lookup(&Caller::ROOT, found.file, name).await?;
        }
        Ok(found)
    }
}
