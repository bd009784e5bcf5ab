export * from "./user_events_pb.js";
export * from "./user_pb.js";
export * from "./user_profile_pb.js";
export * from "./user_service_pb.js";
