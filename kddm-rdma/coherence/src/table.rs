//! A hash map that can itself be compared and hashed, so that a whole core can be a state of the model.
