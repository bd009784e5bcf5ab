export * from "./shipping_events_pb.js";
export * from "./shipping_pb.js";
export * from "./shipping_service_pb.js";
