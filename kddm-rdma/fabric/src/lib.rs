//! Fabrics: where messages and object bytes move between nodes
