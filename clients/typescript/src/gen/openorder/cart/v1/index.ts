export * from "./cart_pb.js";
export * from "./cart_service_pb.js";
