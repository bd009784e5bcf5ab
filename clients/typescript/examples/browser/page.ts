/** A page that signs in, places an order and watches it: `run page` makes one file of it, which any server can serve. */
import { type OpenOrder, OpenOrderError, pages, SessionEndedError, toMinorUnits, toMoney } from "@openorder/client";
import { OrderStatus } from "@openorder/client/order/v1";
import type { User } from "@openorder/client/user/v1";
import { connect } from "@openorder/client/web";

function element<T extends HTMLElement>(id: string): T {
    return document.getElementById(id) as T;
}

function field(form: HTMLFormElement, name: string): HTMLInputElement {
    return form.elements.namedItem(name) as HTMLInputElement;
}

const account = element<HTMLFormElement>("account");
const wallet = element<HTMLFormElement>("wallet");
const order = element<HTMLFormElement>("order");

let openorder: OpenOrder | undefined;
let user: User | undefined;
/** Ends what is watched. */
let watching = new AbortController();

function client(): OpenOrder {
    // A session belongs to its client, and to nothing that is stored: it ends with the page.
    openorder ??= connect(field(account, "gateway").value);
    return openorder;
}

function show(who: User | undefined): void {
    user = who;
    element("who").textContent = who ? `signed in as ${who.email} (${who.userId})` : "nobody is signed in";
}

/** Where the contract's fields stand in this page. */
const inputs: [RegExp, HTMLInputElement][] = [
    [/^email$/, field(account, "email")],
    [/^password$/, field(account, "password")],
    [/^amount/, field(wallet, "amount")],
    [/^lines\[0\]\.sku$/, field(order, "sku")],
    [/^lines\[0\]\.quantity$/, field(order, "quantity")],
];

/** Does something for a form, and shows how it was refused: by reason, and at the fields. */
function on(form: HTMLFormElement, act: (event: SubmitEvent) => Promise<void>): void {
    form.addEventListener("submit", async (event) => {
        event.preventDefault();
        element("refusal").textContent = "";
        for (const [, input] of inputs) input.removeAttribute("aria-invalid");
        try {
            await act(event);
        } catch (error) {
            refuse(error);
        }
    });
}

function refuse(error: unknown): void {
    if (error instanceof SessionEndedError) show(undefined);
    if (!(error instanceof OpenOrderError)) {
        element("refusal").textContent = String(error);
        return;
    }
    const lines = [`${error.reason || "no reason"}: ${error.message}`];
    for (const { field: path, description } of error.violations) {
        lines.push(`${path}: ${description}`);
        for (const [names, input] of inputs) if (names.test(path)) input.setAttribute("aria-invalid", "true");
    }
    element("refusal").textContent = lines.join("\n");
}

on(account, async ({ submitter }) => {
    const [email, password] = [field(account, "email").value, field(account, "password").value];
    const act = (submitter as HTMLButtonElement | null)?.value ?? "sign-in";
    if (act === "sign-out") {
        watching.abort();
        show(undefined);
        await openorder?.signOut();
        return;
    }
    openorder = undefined;
    if (act === "register") await client().users.registerUser({ email, password });
    show(await client().signIn(email, password));
    const products = element("products");
    products.replaceChildren();
    for await (const { sku } of pages(client().products.listProducts, { pageSize: 50 }, "products")) {
        products.append(Object.assign(document.createElement("option"), { value: sku }));
        if (products.childElementCount >= 50) break;
    }
});

on(wallet, async () => {
    const amount = toMoney(BigInt(field(wallet, "amount").value) * 100n, "EUR");
    const { wallet: charged } = await client().payments.chargeWallet({ userId: user?.userId ?? "", amount });
    const cents = charged?.balance ? toMinorUnits(charged.balance) : 0n;
    element("balance").textContent = `the wallet holds ${cents / 100n}.${String(cents % 100n).padStart(2, "0")} euros`;
});

on(order, async () => {
    watching.abort();
    watching = new AbortController();
    const { signal } = watching;
    const list = element("statuses");
    list.replaceChildren();
    const lines = [{ sku: field(order, "sku").value, quantity: Number(field(order, "quantity").value) }];
    const made = await client().orders.createOrder({ customerId: user?.userId ?? "", lines });
    try {
        for await (const { status, statusReason } of client().watchOrder(made.order!.orderId, undefined, { signal })) {
            const text = [OrderStatus[status], statusReason].filter(Boolean).join(": ");
            list.append(Object.assign(document.createElement("li"), { textContent: text }));
        }
    } catch (error) {
        if (!signal.aborted) throw error;
    }
});

field(account, "gateway").value = new URLSearchParams(location.search).get("gateway") ?? "http://127.0.0.1:8080";
