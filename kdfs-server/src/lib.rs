//! The kDFS daemon of a node: partition linkers, the FUSE mount, the admin socket
