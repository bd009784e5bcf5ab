export * from "./audit_pb.js";
export * from "./dead_letter_pb.js";
export * from "./operations_service_pb.js";
export * from "./pipeline_pb.js";
