export * from "./order_events_pb.js";
export * from "./order_pb.js";
export * from "./order_service_pb.js";
export * from "./saga_pb.js";
