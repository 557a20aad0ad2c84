//! The on-disk format of a kDFS partition
