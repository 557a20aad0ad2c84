//! Cluster files and keys on disk. The only place of this crate that touches the file system.

use crate::{Cluster, ClusterError, ClusterId, KEY_BYTES, Key};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

impl Cluster {
    /// Reads and checks the cluster file `file`.
    ///
    /// # Errors
    /// Says what is wrong, where, and what to do.
    pub fn load(file: &Path) -> Result<Cluster, ClusterError> {
        let text = fs::read_to_string(file).map_err(|error| ClusterError::Read {
            file: file.to_owned(),
            error,
            remedy:
                "the cluster file lists the nodes: see docs/operations.md, or give another with config=FILE"
                    .to_owned(),
        })?;
        Cluster::parse(&text, file)
    }

    /// Writes the cluster file `file`, whole or not at all.
    ///
    /// # Errors
    /// The directory is missing, not writable, or full.
    pub fn save(&self, file: &Path) -> Result<(), ClusterError> {
        let temporary = file.with_extension("toml.new");
        write_new(&temporary, 0o644, self.to_text(file).as_bytes(), true)
            .and_then(|()| fs::rename(&temporary, file))
            .map_err(|error| ClusterError::Write { file: file.to_owned(), error })
    }

    /// The key that the cluster file names.
    ///
    /// # Errors
    /// As [`Key::load`].
    pub fn key(&self) -> Result<Key, ClusterError> {
        Key::load(&self.key_file)
    }
}

impl ClusterId {
    /// A new name that no other cluster has.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn generate() -> Result<ClusterId, ClusterError> {
        random().map(ClusterId)
    }
}

impl Key {
    /// Reads the key file `file`.
    ///
    /// # Errors
    /// There is no such file, others may read it, or it holds no key.
    pub fn load(file: &Path) -> Result<Key, ClusterError> {
        let read = |error| ClusterError::Read {
            file: file.to_owned(),
            error,
            remedy: format!(
                "make the cluster key once with `kddm key new {}` and copy that file to every node",
                file.display()
            ),
        };
        let mut opened = File::open(file).map_err(read)?;
        let mode = opened.metadata().map_err(read)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(ClusterError::KeyOpen { file: file.to_owned(), mode });
        }
        let mut bytes = Vec::new();
        (&mut opened).take(1024).read_to_end(&mut bytes).map_err(read)?;
        let key = std::str::from_utf8(&bytes).ok().and_then(Key::parse);
        key.ok_or_else(|| ClusterError::KeyText { file: file.to_owned() })
    }

    /// Makes a new key in `file`, which must not exist: a key in use is never overwritten.
    ///
    /// # Errors
    /// The file exists or cannot be written; or the system has no randomness to give.
    pub fn create(file: &Path) -> Result<Key, ClusterError> {
        let key = Key::from_bytes(random::<KEY_BYTES>()?);
        write_new(file, 0o600, key.text().as_bytes(), false)
            .map_err(|error| ClusterError::Write { file: file.to_owned(), error })?;
        Ok(key)
    }
}

fn write_new(file: &Path, mode: u32, bytes: &[u8], replace: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).mode(mode);
    let mut opened = match replace {
        true => options.create(true).truncate(true).open(file)?,
        false => options.create_new(true).open(file)?,
    };
    opened.write_all(bytes)?;
    opened.sync_all()
}

fn random<const N: usize>() -> Result<[u8; N], ClusterError> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0; N];
    File::open(source).and_then(|mut file| file.read_exact(&mut bytes)).map_err(|error| {
        ClusterError::Read {
            file: source.to_owned(),
            error,
            remedy: "randomness comes from there: mount a /dev that has it".to_owned(),
        }
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_private_loads_again_and_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cluster.key");
        let key = Key::create(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(Key::load(&file).unwrap(), key);
        assert!(matches!(Key::create(&file), Err(ClusterError::Write { .. })));
        assert_eq!(Key::load(&file).unwrap(), key);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_command_to_run() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cluster.key");
        Key::create(&file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Key::load(&file).unwrap_err().to_string();
        assert!(error.contains(&format!("chmod 600 {}", file.display())), "{error}");
    }

    #[test]
    fn a_missing_or_damaged_key_says_how_to_make_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cluster.key");
        assert!(Key::load(&file).unwrap_err().to_string().contains("kddm key new"));
        write_new(&file, 0o600, &[0xff; 64], false).unwrap();
        assert!(Key::load(&file).unwrap_err().to_string().contains("64 hexadecimal digits"));
    }

    #[test]
    fn a_cluster_file_is_saved_and_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cluster.toml");
        assert!(Cluster::load(&file).unwrap_err().to_string().contains("docs/operations.md"));
        let text = format!(
            "id = \"{}\"\nkey_file = \"k\"\n[[node]]\naddress = \"127.0.0.1\"\n",
            ClusterId::generate().unwrap()
        );
        let cluster = Cluster::parse(&text, &file).unwrap();
        cluster.save(&file).unwrap();
        cluster.save(&file).unwrap();
        assert_eq!(Cluster::load(&file).unwrap(), cluster);
    }
}
