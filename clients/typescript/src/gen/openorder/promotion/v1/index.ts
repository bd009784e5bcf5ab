export * from "./promotion_events_pb.js";
export * from "./promotion_pb.js";
export * from "./promotion_service_pb.js";
