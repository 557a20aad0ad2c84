//! A node's registered memory: slabs, slots, the object index, hits
