//! A kDDM node: coherent objects for the programs of a cluster
