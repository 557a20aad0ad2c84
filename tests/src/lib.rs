//! Tests that cross crates: model, schedules, cluster, POSIX, tidy
