//! Takes records out of a queue and brings them to an HTTP service.
