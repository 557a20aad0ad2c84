//! A set tied to files: object 7 of the set is the file `7` of a directory of its home.
//!
//! ```text
//! cargo run --example files -- DIR
//! ```
//!
//! Node 2 writes objects, node 1 reads them and syncs them: they are in files of DIR then, and a second run finds them there.

mod two_nodes;

use futures_lite::future::block_on;
use kddm_rdma::{Durability, Home, Inserted, IoLinker, NodeId, ObjectKey, SetFamily, SetId, SetPolicy};
use std::{error::Error, fs, io, path::PathBuf, sync::Arc};

const PORT: u16 = 7341;
const NOTES: SetId = SetId::from_parts(1, 0, 0);

/// The linker: what is asked of it at the home of an object becomes calls on a file.
struct Files(PathBuf);

impl Files {
    fn path(&self, key: ObjectKey) -> PathBuf {
        self.0.join(key.object.to_string())
    }
}

impl IoLinker for Files {
    fn insert_object(&self, key: ObjectKey, bytes: &mut [u8]) -> io::Result<Inserted> {
        match fs::read(self.path(key)) {
            Ok(stored) if stored.len() == bytes.len() => bytes.copy_from_slice(&stored),
            Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Inserted::Absent),
            Err(error) => return Err(error),
        }
        Ok(Inserted::Filled)
    }

    fn sync_object(&self, key: ObjectKey, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.path(key).with_extension("new");
        fs::write(&temporary, bytes)?;
        fs::rename(temporary, self.path(key))
    }

    fn remove_object(&self, key: ObjectKey) -> io::Result<()> {
        match fs::remove_file(self.path(key)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The sets of kind 1: objects of 4 KiB whose home, and whose files, are node 1's.
struct Notes(Option<Arc<Files>>);

impl SetFamily for Notes {
    fn kind(&self) -> u8 {
        NOTES.kind()
    }
    fn name(&self) -> &str {
        "notes"
    }
    fn policy(&self, _set: SetId) -> Option<SetPolicy> {
        let home = Home::Node(NodeId::new(1).ok()?);
        Some(SetPolicy { object_size: 4096, home, durability: Durability::WriteBack })
    }
    fn linker(&self) -> Option<Arc<dyn IoLinker>> {
        Some(self.0.clone()?)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory =
        PathBuf::from(std::env::args().nth(1).ok_or("which directory? give one as the argument")?);
    fs::create_dir_all(&directory)?;
    let one = two_nodes::start(1, PORT, vec![Arc::new(Notes(Some(Arc::new(Files(directory.clone())))))])?;
    let two = two_nodes::start(2, PORT, vec![Arc::new(Notes(None))])?;
    block_on(async {
        two.connected().await;
        for object in 0..10 {
            let key = ObjectKey::new(NOTES, object);
            let mut note = two.grab(key).await?;
            println!("{}: the file had {:?}", object, first_line(&note));
            note.fill(0);
            let text = format!("note {object}, written by node 2\n");
            note[..text.len()].copy_from_slice(text.as_bytes());
            drop(note);
            assert_eq!(first_line(&one.get(key).await?), text.trim());
            one.sync(key).await?;
        }
        println!("ten files are in {}", directory.display());
        Ok(())
    })
}

fn first_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().trim_matches('\0').to_owned()
}
