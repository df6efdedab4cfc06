//! Others' tools have to agree with us. They come from the Debian packages bind9-utils and ldnsutils; a tool that is
//! missing fails the test, so that nothing passes unseen.

mod generate;
mod mutate;
mod parse;
mod tools;
