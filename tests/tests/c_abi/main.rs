//! libkddm as it is installed: programs in C that are compiled against it, on clusters of real processes.
#![forbid(unsafe_code)]

mod installed;
mod page;
mod programs;
