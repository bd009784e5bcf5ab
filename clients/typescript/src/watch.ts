import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { isTransient, OpenOrderError } from "./errors.js";
import { type Order, type OrderService, OrderStatus } from "./gen/openorder/order/v1/index.js";
import { type RetryPolicy, sleep, waitMs } from "./retry.js";
import { isMarkedStale } from "./session.js";

/**
 * Orders as WatchOrder sends them, over as many streams as it takes.
 *
 * @param answerMs how long a stream may take to send its first order, in milliseconds.
 */
export async function* watch(
    orders: Client<typeof OrderService>,
    orderId: string,
    until: OrderStatus,
    answerMs: number,
    policy: RetryPolicy,
    signal?: AbortSignal,
): AsyncGenerator<Order, void, undefined> {
    let version = 0n;
    let isRenewed = false;
    for (let failures = 0; ;) {
        const stream = new AbortController();
        const late = new ConnectError("the stream sent no order in time", Code.Unavailable);
        const timer = setTimeout(() => stream.abort(late), answerMs);
        const opened = performance.now();
        try {
            const signals = signal ? AbortSignal.any([signal, stream.signal]) : stream.signal;
            for await (const { order } of orders.watchOrder({ orderId, until }, { signal: signals })) {
                clearTimeout(timer);
                if (order === undefined || order.version <= version) continue;
                version = order.version;
                failures = 0;
                isRenewed = false;
                yield order;
                if (isEnd(order.status, until)) return;
            }
            return;
        } catch (cause) {
            const error = OpenOrderError.from(cause, signal);
            if (isMarkedStale(error) && !isRenewed) {
                isRenewed = true;
                continue;
            }
            // A stream that held for long is progress, too: an order may stand still for days.
            if (performance.now() - opened > policy.maxBackoffMs + answerMs) failures = 0;
            failures += 1;
            if (!isTransient(error) || failures >= policy.maxAttempts) throw error;
            await sleep(waitMs(error, failures, policy), signal);
        } finally {
            clearTimeout(timer);
            stream.abort();
        }
    }
}

/** As the server has it: the status is reached or passed, or final. The numbers rise along an order's way. */
function isEnd(status: OrderStatus, until: OrderStatus): boolean {
    return (
        status >= (until === OrderStatus.UNSPECIFIED ? OrderStatus.DELIVERED : Math.min(until, OrderStatus.DELIVERED))
    );
}
