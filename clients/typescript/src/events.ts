/** OpenOrder's events from Kafka. Needs the packages `@platformatic/kafka` and `@opentelemetry/api`. */
import {
    type DescMessage,
    fromBinary,
    getOption,
    hasOption,
    type Message,
    type MessageShape,
} from "@bufbuild/protobuf";
import { context, propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { Consumer, type ConsumerOptions, type Message as KafkaRecord, type MessagesStream } from "@platformatic/kafka";
import { type EventFiles, files } from "./gen/files.js";
import { event as eventOption } from "./gen/openorder/event/v1/options_pb.js";
import { defaultRetryPolicy, sleep } from "./retry.js";

type MessagesOf<Module> = Module extends unknown
    ? { [Name in keyof Module]: Module[Name] extends DescMessage ? MessageShape<Module[Name]> : never }[keyof Module]
    : never;

/** Any event of the contract: `$typeName` tells them apart, `switch (message.$typeName)` narrows the type. */
export type EventMessage = MessagesOf<EventFiles>;

/** The messages that are published, by their type: what the contract says in the option `openorder.event.v1.event`. */
export const eventSchemas: ReadonlyMap<string, DescMessage> = new Map(
    files
        .flatMap((file) => file.messages)
        .filter((message) => hasOption(message, eventOption))
        .map((message) => [getOption(message, eventOption).type, message]),
);

/** Where a record is, and what it holds beside its value. */
export interface EventRecord {
    /** Topic without the deployment's prefix, such as `order.lifecycle.v1`. */
    readonly topic: string;
    readonly partition: number;
    readonly offset: bigint;
    /** What stays in order, such as the order id. */
    readonly key: string;
    /** When the event was decided, by the publisher's clock. */
    readonly time: Date;
    /** Type of the event, such as `order.lifecycle.paid`. */
    readonly type: string;
    /** UUID of the event: the same whenever it comes again. Empty where its publisher gave none. */
    readonly id: string;
    /** The service that published it, such as `/openorder/order`. */
    readonly source: string;
    /** Its position in its source's log: it rises with each event of a source, with gaps. Undefined where there is none. */
    readonly position: bigint | undefined;
    /** All headers of the record as text. */
    readonly headers: ReadonlyMap<string, string>;
}

/** An event, decoded to the message that its type names. */
export interface OpenOrderEvent extends EventRecord {
    readonly message: EventMessage;
}

/** A record of a known type whose value is not the message that the type names. */
export class UnreadableRecordError extends Error {
    override readonly name = "UnreadableRecordError";

    constructor(
        readonly record: EventRecord,
        readonly value: Uint8Array,
        cause: unknown,
    ) {
        super(`${record.topic}/${record.partition}/${record.offset} is no ${record.type}`, { cause });
    }
}

/** What is read, and how. */
export interface EventReaderOptions {
    /** Brokers to begin with, each `host:port`. */
    readonly brokers: string[];
    /** Consumer group of your own: each event goes to one of its readers. */
    readonly group: string;
    /** Topics without the deployment's prefix, such as `order.lifecycle.v1`. */
    readonly topics: string[];
    /** What stands before each topic's name in this deployment (`kafka.topic_prefix`); nothing. */
    readonly topicPrefix?: string;
    /** Ends the reading: the record in hand is finished, offsets are committed, and the iteration ends without an error. */
    readonly signal?: AbortSignal;
    /** What to do with a record that cannot be decoded. Without it, reading ends with the error; else it goes on. */
    readonly onUnreadable?: (error: UnreadableRecordError) => void | Promise<void>;
    /** Told of each failure to reach Kafka, before it is tried again. */
    readonly onOutage?: (error: Error) => void;
    /** How long Kafka may be out of reach before its error is thrown, in milliseconds; for ever. */
    readonly maxOutageMs?: number;
    /** The longest wait between attempts to reach Kafka, in milliseconds; 5,000. */
    readonly maxBackoffMs?: number;
    /** How many event ids are remembered to drop copies; 100,000. */
    readonly rememberedIds?: number;
    /** How long handled records wait for their commit while more are there to be read, in milliseconds; 1,000. */
    readonly commitIntervalMs?: number;
    /** Records that are fetched ahead, about; 1,024. */
    readonly bufferedRecords?: number;
    /** Other settings of the Kafka client: `tls`, `sasl`, `clientId`, `sessionTimeout`, … */
    readonly kafka?: Partial<ConsumerOptions<string, Buffer, string, string>>;
}

type KafkaMessage = KafkaRecord<string, Buffer, string, string>;
type KafkaStream = MessagesStream<string, Buffer, string, string>;
type KafkaConsumer = Consumer<string, Buffer, string, string>;

/**
 * Reads events in a consumer group, from the earliest on that is there:
 *
 * ```ts
 * await new EventReader({ brokers, group, topics: ["order.lifecycle.v1"] }).run(async (event) => { … });
 * ```
 *
 * or `for await (const event of reader) { … }`. Both hand over one event at a time. A record's offset is committed after
 * the handler ended well, or after the loop asked for the next event: what a loop leaves by `break` or an error comes again.
 *
 * Copies are dropped by the event's id, out of the last `rememberedIds` that this reader handled. It does not remember them
 * over a restart, and the readers of a group do not share them: an effect that must not happen twice keeps the event's id,
 * or per topic, key and source the highest position, in the transaction of the effect.
 */
export class EventReader implements AsyncIterable<OpenOrderEvent> {
    readonly #options: EventReaderOptions;
    readonly #topics: string[];
    readonly #stop = new AbortController();
    readonly #handledIds = new Set<string>();
    readonly #uncommitted = new Map<string, KafkaMessage>();
    #committedAtMs = 0;
    #reading = false;
    #skipped = 0;
    #copies = 0;

    constructor(options: EventReaderOptions) {
        this.#options = options;
        this.#topics = options.topics.map((topic) => (options.topicPrefix ?? "") + topic);
        if (options.signal?.aborted) this.close();
        else options.signal?.addEventListener("abort", () => this.close(), { once: true });
    }

    /** Records that were passed over: of a type that this version does not know, or of none. */
    get skipped(): number {
        return this.#skipped;
    }

    /** Records that were dropped because their event was handled before. */
    get copies(): number {
        return this.#copies;
    }

    /** Ends the reading as `signal` does. */
    close(): void {
        this.#stop.abort();
    }

    /**
     * Hands each event to a handler, until the reader is closed. Where OpenTelemetry's SDK is set up, the handler runs in a
     * span of kind CONSUMER, a child of the span that the event was made in.
     *
     * @throws what the handler throws. The reading has ended then, and the event comes again.
     */
    async run(handler: (event: OpenOrderEvent) => void | Promise<void>): Promise<void> {
        for await (const event of this) await inSpan(event, this.#options, handler);
    }

    /**
     * The events one by one.
     *
     * @throws UnreadableRecordError without `onUnreadable`; Kafka's error where it says that this reader may not read.
     */
    async *[Symbol.asyncIterator](): AsyncGenerator<OpenOrderEvent, void, undefined> {
        if (this.#reading) throw new TypeError("this reader is being read already");
        this.#reading = true;
        try {
            for await (const record of this.#records()) {
                const event = await this.#decode(record);
                if (event === undefined) continue;
                yield event;
                this.#remember(event.id);
            }
        } finally {
            this.#reading = false;
        }
    }

    /** The event of a record; undefined for what is passed over. */
    async #decode(record: KafkaMessage): Promise<OpenOrderEvent | undefined> {
        const { headers, partition, offset } = record;
        const type = headers.get("ce_type") ?? "";
        const schema = eventSchemas.get(type);
        const id = headers.get("ce_id") ?? "";
        if (schema === undefined) {
            this.#skipped += 1;
            return undefined;
        }
        if (this.#handledIds.has(id)) {
            this.#copies += 1;
            return undefined;
        }
        // Records with `ce_time` are of an earlier version, and have the aggregate's version in `ce_sequence`.
        const sequence = headers.has("ce_time") ? "" : (headers.get("ce_sequence") ?? "");
        const event: EventRecord = {
            topic: record.topic.slice(this.#options.topicPrefix?.length ?? 0),
            partition,
            offset,
            key: record.key,
            time: new Date(Number(record.timestamp)),
            type,
            id,
            source: headers.get("ce_source") ?? "",
            position: /^\d+$/.test(sequence) ? BigInt(sequence) : undefined,
            headers,
        };
        try {
            return { ...event, message: fromBinary(schema, record.value) as Message as EventMessage };
        } catch (cause) {
            const error = new UnreadableRecordError(event, record.value, cause);
            if (this.#options.onUnreadable === undefined) throw error;
            await this.#options.onUnreadable(error);
            return undefined;
        }
    }

    #remember(id: string): void {
        if (id === "") return;
        this.#handledIds.add(id);
        if (this.#handledIds.size <= (this.#options.rememberedIds ?? 100_000)) return;
        for (const oldest of this.#handledIds) {
            this.#handledIds.delete(oldest);
            break;
        }
    }

    /** Records for as long as the reader is open, over outages. Whoever asks for the next one has handled the one before. */
    async *#records(): AsyncGenerator<KafkaMessage, void, undefined> {
        const { maxOutageMs = Infinity, maxBackoffMs = defaultRetryPolicy.maxBackoffMs, onOutage } = this.#options;
        const stop = this.#stop.signal;
        // One consumer for all the time: a new one would wait until the group has missed the one before.
        const consumer = this.#consumer();
        let stream: KafkaStream | undefined;
        let failure: unknown;
        const end = () => stream?.destroy();
        // After a rebalance, what was fetched may be another reader's: it is forgotten, and reading begins at the commits.
        consumer.on("consumer:group:join", end);
        consumer.on("error", (error: Error) => {
            failure ??= error;
            end();
        });
        stop.addEventListener("abort", end);
        // Subscribed for all the time: a new stream does not make the group share out anew.
        for (const topic of this.#topics) consumer.topics.track(topic);
        let failures = 0;
        let reachedAtMs = performance.now();
        try {
            while (!stop.aborted) {
                try {
                    failure = undefined;
                    if (!consumer.isActive()) await orAborted(consumer.joinGroup({}), stop);
                    const generation = consumer.generationId;
                    const offsets = await orAborted(this.#beginning(consumer), stop);
                    const opened: KafkaStream = await consumer.consume({
                        topics: this.#topics,
                        mode: "manual",
                        offsets,
                        fallbackMode: "earliest",
                    });
                    stream = opened;
                    if (consumer.generationId !== generation || stop.aborted) end();
                    for await (const record of opened) {
                        failures = 0;
                        reachedAtMs = performance.now();
                        yield record;
                        this.#uncommitted.set(`${record.topic}/${record.partition}`, record);
                        if (stop.aborted) return;
                        const dueAtMs = this.#committedAtMs + (this.#options.commitIntervalMs ?? 1_000);
                        if (opened.readableLength === 0 || performance.now() >= dueAtMs) await this.#commit(consumer);
                    }
                } catch (error) {
                    if ((error as NodeJS.ErrnoException).code !== "ERR_STREAM_PREMATURE_CLOSE") failure ??= error;
                } finally {
                    stream?.destroy();
                    // What cannot be committed comes again.
                    await orAborted(this.#commit(consumer), AbortSignal.timeout(CLOSE_MS)).catch(() => undefined);
                }
                if (failure === undefined || stop.aborted) continue;
                if (isFinal(failure) || performance.now() - reachedAtMs > maxOutageMs) throw failure;
                onOutage?.(failure as Error);
                const backoffMs = Math.min(
                    defaultRetryPolicy.initialBackoffMs * 2 ** Math.min(failures++, 30),
                    maxBackoffMs,
                );
                await sleep(Math.random() * backoffMs, stop).catch(() => undefined);
            }
        } finally {
            stop.removeEventListener("abort", end);
            await orAborted(Promise.resolve(consumer.close(true)), AbortSignal.timeout(CLOSE_MS)).catch(
                () => undefined,
            );
        }
    }

    #consumer(): KafkaConsumer {
        const text = (bytes?: Buffer) => bytes?.toString() ?? "";
        return new Consumer({
            clientId: "openorder-client",
            ...this.#options.kafka,
            bootstrapBrokers: this.#options.brokers,
            groupId: this.#options.group,
            autocommit: false,
            highWaterMark: this.#options.bufferedRecords ?? 1_024,
            deserializers: {
                key: text,
                headerKey: text,
                headerValue: text,
                value: (bytes) => bytes ?? Buffer.alloc(0),
            },
        });
    }

    /** Where to begin: at what the group has committed, or at the earliest record where that is not there (any more). */
    async #beginning(consumer: KafkaConsumer): Promise<{ topic: string; partition: number; offset: bigint }[]> {
        const assigned = consumer.assignments ?? [];
        if (assigned.length === 0) return [];
        const [earliest, latest, committed] = await Promise.all([
            consumer.listOffsets({ topics: this.#topics, timestamp: -2n }),
            consumer.listOffsets({ topics: this.#topics, timestamp: -1n }),
            consumer.listCommittedOffsets({ topics: assigned }),
        ]);
        return assigned.flatMap(({ topic, partitions }) =>
            partitions.map((partition) => {
                const first = earliest.get(topic)?.[partition] ?? 0n;
                const offset = committed.get(topic)?.[partition] ?? -1n;
                return {
                    topic,
                    partition,
                    offset: offset < first || offset > (latest.get(topic)?.[partition] ?? 0n) ? first : offset,
                };
            }),
        );
    }

    /** Commits what was handled, of the partitions that are still this reader's. */
    async #commit(consumer: KafkaConsumer): Promise<void> {
        const assigned = new Set(
            consumer.assignments?.flatMap(({ topic, partitions }) => partitions.map((p) => `${topic}/${p}`)),
        );
        const offsets = [...this.#uncommitted]
            .filter(([place]) => assigned.has(place))
            .map(([, { topic, partition, offset }]) => ({ topic, partition, offset: offset + 1n, leaderEpoch: -1 }));
        this.#uncommitted.clear();
        this.#committedAtMs = performance.now();
        if (offsets.length > 0) await consumer.commit({ offsets });
    }
}

/** How long Kafka may take to hear that a reader leaves, in milliseconds; the group misses it by itself later. */
const CLOSE_MS = 5_000;

/** Rejects when the signal is aborted first. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
        const aborted = () => reject(signal.reason as Error);
        if (signal.aborted) aborted();
        signal.addEventListener("abort", aborted, { once: true });
        void work.then(resolve, reject).finally(() => signal.removeEventListener("abort", aborted));
    });
}

/** Errors of Kafka that waiting does not mend. */
function isFinal(error: unknown): boolean {
    const { code = "", apiId = "", errors = [] } = error as { code?: string; apiId?: string; errors?: unknown[] };
    return (
        ["PLT_KFK_AUTHENTICATION", "PLT_KFK_UNSUPPORTED_COMPRESSION"].includes(code) ||
        apiId.endsWith("_AUTHORIZATION_FAILED") ||
        errors.some(isFinal)
    );
}

/** Runs a handler in a span of its own, in the trace of the event. */
async function inSpan(
    event: OpenOrderEvent,
    { group, topicPrefix = "" }: EventReaderOptions,
    handler: (event: OpenOrderEvent) => void | Promise<void>,
): Promise<void> {
    const parent = propagation.extract(ROOT_CONTEXT, event.headers, {
        keys: (headers) => [...headers.keys()],
        get: (headers, name) => headers.get(name),
    });
    const attributes = {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": topicPrefix + event.topic,
        "messaging.destination.partition.id": String(event.partition),
        "messaging.consumer.group.name": group,
        "messaging.message.id": event.id,
        "messaging.kafka.offset": Number(event.offset),
        "messaging.kafka.message.key": event.key,
        "openorder.event.type": event.type,
    };
    const span = trace
        .getTracer("@openorder/client")
        .startSpan(`process ${topicPrefix}${event.topic}`, { kind: SpanKind.CONSUMER, attributes }, parent);
    try {
        await context.with(trace.setSpan(parent, span), () => handler(event));
    } catch (error) {
        span.recordException(error as Error);
        span.setStatus({ code: SpanStatusCode.ERROR });
        throw error;
    } finally {
        span.end();
    }
}
