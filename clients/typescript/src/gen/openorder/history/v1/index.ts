export * from "./history_pb.js";
export * from "./history_service_pb.js";
