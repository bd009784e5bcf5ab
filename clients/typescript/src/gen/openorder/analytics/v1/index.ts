export * from "./analytics_pb.js";
export * from "./analytics_service_pb.js";
