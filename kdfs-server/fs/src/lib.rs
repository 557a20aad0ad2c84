//! POSIX operations over coherent objects
