// A service of users, whose tokens are `access-N` and `refresh-N`, and one of orders, which takes the last ones alone.
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import { OrderService, OrderStatus } from "@openorder/client/order/v1";
import { UserService } from "@openorder/client/user/v1";
import { setTimeout as pause } from "node:timers/promises";
import { refusal } from "./server.js";

export const password = "correct horse battery staple";

export class Shop {
    /** How long an access token says that it lives. */
    lifeMs = 60_000;
    /** What becomes of a refresh before it is answered, by its number from 1; it may throw, or take its time. */
    onRefresh: (attempt: number) => void | Promise<void> = () => undefined;
    /** What came as authorization, in the order of arrival. */
    readonly orders: string[] = [];
    readonly refreshes: string[] = [];
    readonly signOuts: string[] = [];
    #number = 0;
    #refusedTo = 0;
    #reason = "";

    /** Refuses the access tokens of so far. */
    refuse(reason: string, upTo = this.#number): void {
        this.#reason = reason;
        this.#refusedTo = upTo;
    }

    #session() {
        const number = ++this.#number;
        return {
            accessToken: `access-${number}`,
            refreshToken: `refresh-${number}`,
            accessTokenExpireTime: timestampFromMs(Date.now() + this.lifeMs),
        };
    }

    #check({ requestHeader }: HandlerContext): string {
        const token = requestHeader.get("authorization") ?? "";
        this.orders.push(token);
        const number = Number(/^Bearer access-(\d+)$/.exec(token)?.[1] ?? Infinity);
        if (number <= this.#refusedTo) throw refusal(Code.Unauthenticated, this.#reason);
        return token;
    }

    readonly routes = (router: ConnectRouter): void => {
        const bare = ({ requestHeader }: HandlerContext) => requestHeader.get("authorization") ?? "";
        router.service(UserService, {
            authenticate: (request, context) => {
                if (request.password !== password || bare(context) !== "") {
                    throw refusal(Code.Unauthenticated, "CREDENTIALS_REFUSED");
                }
                return { user: { userId: "ada" }, session: this.#session() };
            },
            refreshToken: async (request, context) => {
                const attempt = this.refreshes.push(request.refreshToken + bare(context));
                await this.onRefresh(attempt);
                return { session: this.#session() };
            },
            signOut: ({ target }, context) => {
                this.signOuts.push(`${target.value}${bare(context)}`);
                return { endedSessions: 1 };
            },
        });
        const check = (context: HandlerContext) => this.#check(context);
        router.service(OrderService, {
            getOrder: (_, context) => ({ order: { orderId: check(context) } }),
            async *watchOrder(_, context) {
                for (let version = 1n; !context.signal.aborted; version++) {
                    yield { order: { orderId: check(context), version, status: OrderStatus.PENDING } };
                    await pause(10);
                }
            },
        });
    };
}
