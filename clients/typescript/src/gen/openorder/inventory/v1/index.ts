export * from "./inventory_events_pb.js";
export * from "./inventory_pb.js";
export * from "./inventory_service_pb.js";
