// All files of the contract.
import { file_openorder_analytics_v1_analytics } from "./openorder/analytics/v1/analytics_pb.js";
import { file_openorder_analytics_v1_analytics_service } from "./openorder/analytics/v1/analytics_service_pb.js";
import { file_openorder_cart_v1_cart } from "./openorder/cart/v1/cart_pb.js";
import { file_openorder_cart_v1_cart_service } from "./openorder/cart/v1/cart_service_pb.js";
import { file_openorder_event_v1_options } from "./openorder/event/v1/options_pb.js";
import { file_openorder_history_v1_history } from "./openorder/history/v1/history_pb.js";
import { file_openorder_history_v1_history_service } from "./openorder/history/v1/history_service_pb.js";
import { file_openorder_inventory_v1_inventory_events } from "./openorder/inventory/v1/inventory_events_pb.js";
import { file_openorder_inventory_v1_inventory } from "./openorder/inventory/v1/inventory_pb.js";
import { file_openorder_inventory_v1_inventory_service } from "./openorder/inventory/v1/inventory_service_pb.js";
import { file_openorder_notification_v1_notification_events } from "./openorder/notification/v1/notification_events_pb.js";
import { file_openorder_notification_v1_notification } from "./openorder/notification/v1/notification_pb.js";
import { file_openorder_notification_v1_notification_service } from "./openorder/notification/v1/notification_service_pb.js";
import { file_openorder_operations_v1_audit } from "./openorder/operations/v1/audit_pb.js";
import { file_openorder_operations_v1_dead_letter } from "./openorder/operations/v1/dead_letter_pb.js";
import { file_openorder_operations_v1_operations_service } from "./openorder/operations/v1/operations_service_pb.js";
import { file_openorder_operations_v1_pipeline } from "./openorder/operations/v1/pipeline_pb.js";
import { file_openorder_order_v1_order_events } from "./openorder/order/v1/order_events_pb.js";
import { file_openorder_order_v1_order } from "./openorder/order/v1/order_pb.js";
import { file_openorder_order_v1_order_service } from "./openorder/order/v1/order_service_pb.js";
import { file_openorder_order_v1_saga } from "./openorder/order/v1/saga_pb.js";
import { file_openorder_payment_v1_payment_events } from "./openorder/payment/v1/payment_events_pb.js";
import { file_openorder_payment_v1_payment } from "./openorder/payment/v1/payment_pb.js";
import { file_openorder_payment_v1_payment_service } from "./openorder/payment/v1/payment_service_pb.js";
import { file_openorder_product_v1_product_events } from "./openorder/product/v1/product_events_pb.js";
import { file_openorder_product_v1_product } from "./openorder/product/v1/product_pb.js";
import { file_openorder_product_v1_product_service } from "./openorder/product/v1/product_service_pb.js";
import { file_openorder_promotion_v1_promotion_events } from "./openorder/promotion/v1/promotion_events_pb.js";
import { file_openorder_promotion_v1_promotion } from "./openorder/promotion/v1/promotion_pb.js";
import { file_openorder_promotion_v1_promotion_service } from "./openorder/promotion/v1/promotion_service_pb.js";
import { file_openorder_secret_v1_secret } from "./openorder/secret/v1/secret_pb.js";
import { file_openorder_shipping_v1_shipping_events } from "./openorder/shipping/v1/shipping_events_pb.js";
import { file_openorder_shipping_v1_shipping } from "./openorder/shipping/v1/shipping_pb.js";
import { file_openorder_shipping_v1_shipping_service } from "./openorder/shipping/v1/shipping_service_pb.js";
import { file_openorder_user_v1_user_events } from "./openorder/user/v1/user_events_pb.js";
import { file_openorder_user_v1_user } from "./openorder/user/v1/user_pb.js";
import { file_openorder_user_v1_user_profile } from "./openorder/user/v1/user_profile_pb.js";
import { file_openorder_user_v1_user_service } from "./openorder/user/v1/user_service_pb.js";

export const files = [
  file_openorder_analytics_v1_analytics,
  file_openorder_analytics_v1_analytics_service,
  file_openorder_cart_v1_cart,
  file_openorder_cart_v1_cart_service,
  file_openorder_event_v1_options,
  file_openorder_history_v1_history,
  file_openorder_history_v1_history_service,
  file_openorder_inventory_v1_inventory_events,
  file_openorder_inventory_v1_inventory,
  file_openorder_inventory_v1_inventory_service,
  file_openorder_notification_v1_notification_events,
  file_openorder_notification_v1_notification,
  file_openorder_notification_v1_notification_service,
  file_openorder_operations_v1_audit,
  file_openorder_operations_v1_dead_letter,
  file_openorder_operations_v1_operations_service,
  file_openorder_operations_v1_pipeline,
  file_openorder_order_v1_order_events,
  file_openorder_order_v1_order,
  file_openorder_order_v1_order_service,
  file_openorder_order_v1_saga,
  file_openorder_payment_v1_payment_events,
  file_openorder_payment_v1_payment,
  file_openorder_payment_v1_payment_service,
  file_openorder_product_v1_product_events,
  file_openorder_product_v1_product,
  file_openorder_product_v1_product_service,
  file_openorder_promotion_v1_promotion_events,
  file_openorder_promotion_v1_promotion,
  file_openorder_promotion_v1_promotion_service,
  file_openorder_secret_v1_secret,
  file_openorder_shipping_v1_shipping_events,
  file_openorder_shipping_v1_shipping,
  file_openorder_shipping_v1_shipping_service,
  file_openorder_user_v1_user_events,
  file_openorder_user_v1_user,
  file_openorder_user_v1_user_profile,
  file_openorder_user_v1_user_service,
];

// The files that have events.
export type EventFiles =
  | typeof import("./openorder/inventory/v1/inventory_events_pb.js")
  | typeof import("./openorder/notification/v1/notification_events_pb.js")
  | typeof import("./openorder/order/v1/order_events_pb.js")
  | typeof import("./openorder/payment/v1/payment_events_pb.js")
  | typeof import("./openorder/product/v1/product_events_pb.js")
  | typeof import("./openorder/promotion/v1/promotion_events_pb.js")
  | typeof import("./openorder/shipping/v1/shipping_events_pb.js")
  | typeof import("./openorder/user/v1/user_events_pb.js")
;
