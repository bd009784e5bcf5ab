export * from "./payment_events_pb.js";
export * from "./payment_pb.js";
export * from "./payment_service_pb.js";
