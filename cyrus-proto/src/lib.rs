//! Mail protocol sessions without I/O, and the mio core that serves them.
