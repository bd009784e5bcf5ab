// What a caller and a consumer write: only compiled.
import { create, fromBinary, getOption } from "@bufbuild/protobuf";
import { event } from "./openorder/event/v1/options_pb";
import { OrderCreatedSchema, type OrderCreated } from "./openorder/order/v1/order_events_pb";
import { CreateOrderRequestSchema, OrderService } from "./openorder/order/v1/order_service_pb";

export const created: { type: string; topic: string } = getOption(OrderCreatedSchema, event);
export const decode = (value: Uint8Array): OrderCreated => fromBinary(OrderCreatedSchema, value);
export const request = create(CreateOrderRequestSchema, { requestId: "1", customerId: "anna" });
export const method: "unary" = OrderService.method.createOrder.methodKind;
