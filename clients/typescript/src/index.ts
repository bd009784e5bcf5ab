/** The client of OpenOrder over any transport. It needs no Node.js. */
export { Code } from "@connectrpc/connect";
export { client, type ClientOptions, type OpenOrder } from "./client.js";
export { type FieldViolation, isReason, OpenOrderError } from "./errors.js";
export { type Money, MoneySchema } from "./gen/google/type/money_pb.js";
export { decimalPlaces, MoneyError, toMinorUnits, toMoney } from "./money.js";
export { pages } from "./pages.js";
export { type KnownReason, knownReasons, type Reason } from "./reasons.js";
export { defaultRetryPolicy, type RetryPolicy } from "./retry.js";
export { type Credential, SessionEndedError } from "./session.js";
