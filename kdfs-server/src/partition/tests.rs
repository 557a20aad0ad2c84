//! The partition over a disk in memory that can crash after any write.

mod crash;
mod disk;
mod full;
mod opening;
mod running;
mod whole;
mod world;
