export * from "./notification_events_pb.js";
export * from "./notification_pb.js";
export * from "./notification_service_pb.js";
