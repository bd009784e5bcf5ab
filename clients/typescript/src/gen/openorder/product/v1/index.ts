export * from "./product_events_pb.js";
export * from "./product_pb.js";
export * from "./product_service_pb.js";
