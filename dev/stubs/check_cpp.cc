
// `operator` is a keyword: protoc appends an underscore.
std::string subject_of(const openorder::order::v1::OrderCompensationSettled& settled) { return settled.operator_(); }

// The extension is an object of the package's namespace.
std::string type_of(const google::protobuf::Descriptor& message) {
  return message.options().GetExtension(openorder::event::v1::event).type();
}
