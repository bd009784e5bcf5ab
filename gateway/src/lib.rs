//! The generic gRPC edge of OpenOrder: one port in front of every service, and no business rule.
