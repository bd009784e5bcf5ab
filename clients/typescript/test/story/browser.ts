// The page of examples/browser in a real browser: it signs in, orders and watches over Connect. And the gateway's own page.
import type { OpenOrder } from "@openorder/client";
import { OrderStatus } from "@openorder/client/order/v1";
import { type Browser, chromium, type Page } from "playwright-core";
import assert from "node:assert/strict";
import { access, constants, readFile } from "node:fs/promises";
import { once } from "node:events";
import { createServer } from "node:http";
import { delimiter, join } from "node:path";
import type { TestContext } from "node:test";
import { gateway, type Person, variable } from "./system.js";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** How long anything on a page may take, in milliseconds. */
const WAIT_MS = 20_000;

export interface Given {
    sku: string;
    /** Who registers on the page. */
    person: Person;
    wrongPassword: string;
    /** A token for the gateway's own page. */
    key: string;
    operator: OpenOrder;
    /** Kills the gateway; it comes back. */
    kill: () => Promise<unknown>;
}

export async function inBrowser(t: TestContext, given: Given): Promise<void> {
    const executablePath = await findChromium();
    if (executablePath === undefined) {
        console.error("browser: LEFT OUT: no Chromium is installed (Debian's package chromium; or name one in CHROMIUM)");
        t.skip("left out: no Chromium is installed");
        return;
    }
    const site = await servePage(t);
    // As root, which only tests are, Chromium has no sandbox.
    const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
    const browser = await chromium.launch({ executablePath, args: [...args, "--disable-dev-shm-usage"] });
    t.after(() => browser.close());
    await order(browser, site, given);
    await docs(browser, given);
}

async function findChromium(): Promise<string | undefined> {
    const folders = (process.env.PATH ?? "").split(delimiter);
    const named = process.env.CHROMIUM ? [process.env.CHROMIUM] : [];
    for (const file of [...named, ...NAMES.flatMap((name) => folders.map((folder) => join(folder, name)))]) {
        if (await access(file, constants.X_OK).then(() => true, () => false)) return file;
    }
    return undefined;
}

/** The page's site, which `gateway.cors_origins` names; `build/browser/index.html` is all that it has. */
async function servePage(t: TestContext): Promise<string> {
    const page = await readFile(new URL("../browser/index.html", import.meta.url));
    const [host, port] = variable("STORY_PAGE").split(":");
    const server = createServer((request, response) => {
        const isPage = request.url?.split("?")[0] === "/";
        response.writeHead(isPage ? 200 : 404, { "content-type": "text/html; charset=utf-8" });
        response.end(isPage ? page : undefined);
    });
    server.listen(Number(port), host);
    await once(server, "listening");
    t.after(() => {
        server.closeAllConnections();
        server.close();
    });
    return `http://${host}:${port}`;
}

/** A page, and where all that it asks for comes from, and what it complains of. */
async function visit(browser: Browser, url: string) {
    const page = await browser.newPage();
    page.setDefaultTimeout(WAIT_MS);
    const origins = new Set<string>();
    const complaints: string[] = [];
    page.on("request", (request) => {
        const { protocol, origin } = new URL(request.url());
        if (protocol !== "data:") origins.add(origin);
    });
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (message) => {
        // A refusal is a line of Chromium's own; what a policy forbids is another.
        if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) {
            complaints.push(message.text());
        }
    });
    await page.goto(url);
    return { page, origins, complaints };
}

const shows = (page: Page, id: string, text: string | RegExp) =>
    page.locator(`#${id}`).filter({ hasText: text }).waitFor({ state: "visible" });

async function order(browser: Browser, site: string, given: Given): Promise<void> {
    const { sku, person, wrongPassword } = given;
    const { page, origins, complaints } = await visit(browser, `${site}/?gateway=http://${gateway}`);
    const press = (name: string) => page.getByRole("button", { name, exact: true }).click();

    await page.getByLabel("Mail address").fill(person.email);
    await page.getByLabel("Password").fill(person.password);
    await press("Register");
    await shows(page, "who", `signed in as ${person.email}`);
    await press("Sign out");
    await shows(page, "who", "nobody is signed in");

    await page.getByLabel("Password").fill(wrongPassword);
    await press("Sign in");
    await shows(page, "refusal", "CREDENTIALS_REFUSED");
    await page.getByLabel("Password").fill(person.password);
    await press("Sign in");
    await shows(page, "who", `signed in as ${person.email}`);

    await press("Charge the wallet");
    await shows(page, "balance", "the wallet holds 500.00 euros");

    await page.getByLabel("Product").fill(sku);
    await page.getByLabel("Pieces").fill("0");
    await press("Order");
    await shows(page, "refusal", /lines\[0\]\.quantity: /);
    assert.equal(await page.getByLabel("Pieces").getAttribute("aria-invalid"), "true");
    await page.getByLabel("Pieces").fill("2");
    await press("Order");
    await shows(page, "statuses", "PREPARING");
    await given.kill();
    await ship(given);
    await shows(page, "statuses", "SHIPPED");
    assert.equal(await page.locator("#refusal").textContent(), "");
    const statuses = await page.locator("#statuses li").allTextContents();
    assert.deepEqual(statuses, [...new Set(statuses)]);

    await page.getByLabel("Product").fill("_no_");
    await press("Order");
    await shows(page, "refusal", /lines\[0\]\.sku: /);
    await press("Sign out");
    await shows(page, "who", "nobody is signed in");
    await page.getByLabel("Product").fill(sku);
    await press("Order");
    await shows(page, "refusal", "TOKEN_MISSING");

    assert.deepEqual([...origins].sort(), [site, `http://${gateway}`].sort(), "no other host is asked");
    assert.deepEqual(complaints, []);
    assert.deepEqual(await page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]"), ["", 0, 0]);
    await page.close();
}

/** The carrier has the only order of who registered on the page. */
async function ship({ operator, person }: Given): Promise<void> {
    const { users } = await operator.users.listUsers({ email: person.email });
    const { orders } = await operator.orders.listOrders({ customerId: users[0]!.userId });
    const { PREPARING: previousStatus, SHIPPED: currentStatus } = OrderStatus;
    await operator.orders.updateOrderStatus({ orderId: orders[0]!.orderId, previousStatus, currentStatus });
}

async function docs(browser: Browser, { sku, key }: Given): Promise<void> {
    const { page, origins, complaints } = await visit(browser, `http://${gateway}/docs`);
    const method = page
        .locator("details")
        .filter({ has: page.locator("summary b.get") })
        .filter({ has: page.locator('summary code:text-is("/v1/skus/{sku}")') });
    const call = () => method.getByRole("button", { name: "Call", exact: true }).click();
    const answers = (text: RegExp) => method.getByRole("status").filter({ hasText: text }).waitFor();
    await method.locator("summary").click();
    await method.getByLabel(/^sku/).fill(sku);
    await call();
    await answers(/^401 after \d+ ms/);
    await page.getByLabel("Bearer token").fill(key);
    await call();
    await answers(/^200 after \d+ ms/);
    assert.ok((await method.locator("pre:not([hidden])").textContent())?.includes(`"sku": "${sku}"`));
    assert.deepEqual([...origins], [`http://${gateway}`], "no other host is asked");
    assert.deepEqual(complaints, []);
    await page.close();
}
