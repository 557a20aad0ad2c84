//! The cluster file, its key, the node-id rule and the paths of an installed node
