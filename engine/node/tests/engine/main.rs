//! The engine end to end over fakes of its ports.

mod accounts;
mod background;
mod faults;
mod keyring;
mod multipart;
mod objects;
mod support;
