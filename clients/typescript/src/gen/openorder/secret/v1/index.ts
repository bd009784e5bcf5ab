export * from "./secret_pb.js";
