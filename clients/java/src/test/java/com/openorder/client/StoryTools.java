package com.openorder.client;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import com.openorder.client.events.EventReader;
import com.openorder.user.v1.AuthenticateRequest;
import com.openorder.user.v1.CreateApiKeyRequest;
import com.openorder.user.v1.RegisterUserRequest;
import com.openorder.user.v1.UserRole;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** What the story reads and does beside the client: its inputs, other people's records, Jaeger's answers, a program out of the README. */
final class StoryTools {
    static final String TOPIC = "order.lifecycle.v1";

    /** In the place of {run}, so that a story can be told twice to one system. */
    static final String RUN = Long.toString(System.currentTimeMillis(), 36);

    static final JsonObject STORY = load();

    private StoryTools() {}

    private static JsonObject load() {
        try {
            String text = Files.readString(Path.of("../story.json")).replace("{run}", RUN);
            return JsonParser.parseString(text).getAsJsonObject();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** A client of the gateway, that nobody signed in. */
    static OpenOrder.Builder gateway() {
        // A killed gateway may take a minute to come back where the machine is busy.
        return OpenOrder.builder(variable("STORY_GATEWAY"))
                .defaultDeadline(Duration.ofSeconds(60))
                .maxAttempts(30);
    }

    /** A client of whose story it is. */
    static OpenOrder operator() {
        OpenOrder client = gateway().build();
        client.signIn(variable("STORY_OPERATOR_EMAIL"), variable("STORY_OPERATOR_PASSWORD"));
        return client;
    }

    /** An access token that nobody renews, and when it was given. */
    record Given(String token, Instant time) {}

    private static Given first;

    /** The first time, it is given. */
    static synchronized Given firstToken(OpenOrder client) {
        if (first == null) {
            AuthenticateRequest request = AuthenticateRequest.newBuilder()
                    .setEmail(variable("STORY_OPERATOR_EMAIL"))
                    .setPassword(variable("STORY_OPERATOR_PASSWORD"))
                    .build();
            first = new Given(client.users().authenticate(request).getSession().getAccessToken(), Instant.now());
        }
        return first;
    }

    /** A program that acts for customers, by its API key. */
    record Program(String userId, String key) {}

    private static Program program;

    static synchronized Program programOf(OpenOrder operator) {
        if (program == null) {
            RegisterUserRequest request =
                    registration("program").addRoles(UserRole.USER_ROLE_SERVICE).build();
            String userId = operator.users().registerUser(request).getUser().getUserId();
            CreateApiKeyRequest key = CreateApiKeyRequest.newBuilder()
                    .setUserId(userId)
                    .setDisplayName("story")
                    .build();
            program = new Program(userId, operator.users().createApiKey(key).getKey());
        }
        return program;
    }

    static RegisterUserRequest.Builder registration(String person) {
        return RegisterUserRequest.newBuilder()
                .setEmail(text(person, "email"))
                .setPassword(text(person, "password"))
                .setDisplayName(text(person, "display_name"));
    }

    static JsonObject step(String name) {
        return STORY.getAsJsonObject(name);
    }

    static String text(String step, String name) {
        return step(step).get(name).getAsString();
    }

    static int number(String step, String name) {
        return step(step).get(name).getAsInt();
    }

    static List<String> texts(JsonArray array) {
        List<String> texts = new ArrayList<>();
        for (JsonElement element : array) texts.add(element.getAsString());
        return texts;
    }

    static <B extends Message.Builder> B read(JsonElement json, B into) throws Exception {
        JsonFormat.parser().merge(json.toString(), into);
        return into;
    }

    static void control(String what) throws Exception {
        Process process = new ProcessBuilder(variable("STORY_CONTROL"), "gateway", what).inheritIO().start();
        assertEquals(0, process.waitFor(), what);
    }

    static String variable(String name) {
        String value = System.getenv(name);
        assertTrue(value != null && !value.isEmpty(), name + " is not set: dev/story java");
        return value;
    }

    /** What somebody else may put there, and a copy of the order's first record. */
    static void putForeignRecords(String key, String orderId) throws Exception {
        ConsumerRecord<byte[], byte[]> first = firstRecordOf(orderId);
        Map<String, Object> kafka = Map.of("bootstrap.servers", variable("STORY_KAFKA_BROKERS"));
        try (KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(kafka, new ByteArraySerializer(), new ByteArraySerializer())) {
            byte[] anyKey = key.getBytes(UTF_8);
            ProducerRecord<byte[], byte[]> unknown = new ProducerRecord<>(first.topic(), anyKey, new byte[] {8, 1});
            unknown.headers().add("ce_type", "order.lifecycle.painted".getBytes(UTF_8));
            ProducerRecord<byte[], byte[]> garbage = new ProducerRecord<>(first.topic(), anyKey, new byte[] {-1, -1});
            garbage.headers().add("ce_type", "order.lifecycle.created".getBytes(UTF_8));
            garbage.headers().add("ce_id", UUID.randomUUID().toString().getBytes(UTF_8));
            List<ProducerRecord<byte[], byte[]>> records = List.of(
                    unknown,
                    new ProducerRecord<>(first.topic(), anyKey, new byte[] {1}),
                    garbage,
                    new ProducerRecord<>(
                            first.topic(), null, first.timestamp(), first.key(), first.value(), first.headers()));
            for (ProducerRecord<byte[], byte[]> record : records) producer.send(record).get();
        }
    }

    static ConsumerRecord<byte[], byte[]> firstRecordOf(String orderId) {
        Map<String, Object> kafka =
                Map.of("bootstrap.servers", variable("STORY_KAFKA_BROKERS"), "enable.auto.commit", false);
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(kafka, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = consumer.partitionsFor(variable("STORY_TOPIC_PREFIX") + TOPIC).stream()
                    .map(partition -> new TopicPartition(partition.topic(), partition.partition()))
                    .toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            for (int poll = 0; poll < 30; poll++) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    if (orderId.equals(new String(record.key(), UTF_8))) return record;
                }
            }
        }
        throw new AssertionError("the order has no record");
    }

    /** Whether Jaeger's trace has a span of this service, of kind consumer, whose parent is another service's. */
    static boolean hasOurSpan(String answer) {
        JsonElement data = JsonParser.parseString(answer).getAsJsonObject().get("data");
        if (data == null || !data.isJsonArray() || data.getAsJsonArray().isEmpty()) return false;
        JsonObject trace = data.getAsJsonArray().get(0).getAsJsonObject();
        JsonObject processes = trace.getAsJsonObject("processes");
        Set<String> others = new HashSet<>();
        List<JsonObject> ours = new ArrayList<>();
        for (JsonElement element : trace.getAsJsonArray("spans")) {
            JsonObject span = element.getAsJsonObject();
            JsonObject process = processes.getAsJsonObject(span.get("processID").getAsString());
            if (process.get("serviceName").getAsString().equals("story-java")) {
                ours.add(span);
            } else {
                others.add(span.get("spanID").getAsString());
            }
        }
        return ours.stream().anyMatch(span -> stream(span, "tags")
                        .anyMatch(tag -> tag.get("key").getAsString().equals("span.kind")
                                && tag.get("value").getAsString().equals("consumer"))
                && stream(span, "references").anyMatch(r -> others.contains(r.get("spanID").getAsString())));
    }

    static Stream<JsonObject> stream(JsonObject span, String array) {
        List<JsonObject> objects = new ArrayList<>();
        for (JsonElement element : span.getAsJsonArray(array)) objects.add(element.getAsJsonObject());
        return objects.stream();
    }

    /** Compiles and runs the example of README.md as printed, but for the addresses, with a token; what it printed. */
    static String runReadmeExample(Path folder, String token) throws Exception {
        Matcher example = Pattern.compile("```java\n(import .*?)```", Pattern.DOTALL)
                .matcher(Files.readString(Path.of("README.md")));
        assertTrue(example.find());
        String source = replaceOnce(example.group(1), "127.0.0.1:8080", variable("STORY_GATEWAY"));
        source = replaceOnce(source, "127.0.0.1:19092", variable("STORY_KAFKA_BROKERS"));
        source = replaceOnce(source, "topicPrefix(\"\")", "topicPrefix(\"" + variable("STORY_TOPIC_PREFIX") + "\")");
        Path file = Files.writeString(folder.resolve("Example.java"), source);
        // What a program has that depends on the client: nothing of its tests.
        String classPath = Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
                .filter(entry -> !entry.contains("test-classes"))
                .collect(Collectors.joining(File.pathSeparator));
        String classes = folder.toString();
        run(folder, token, "javac", "-Xlint:all,-processing", "-Werror", "-cp", classPath, "-d", classes, file.toString());
        return run(folder, token, "java", "-cp", classPath + File.pathSeparator + folder, "Example");
    }

    private static String replaceOnce(String text, String what, String with) {
        assertEquals(2, text.split(Pattern.quote(what), -1).length, what);
        return text.replace(what, with);
    }

    private static String run(Path folder, String token, String program, String... arguments) throws Exception {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", program).toString());
        command.addAll(List.of(arguments));
        Path output = folder.resolve(program + ".out");
        ProcessBuilder builder =
                new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(output.toFile());
        builder.environment().put("OPENORDER_TOKEN", token);
        Process process = builder.start();
        boolean ended = process.waitFor(60, TimeUnit.SECONDS);
        if (!ended) process.destroyForcibly().waitFor();
        String printed = Files.readString(output);
        assertTrue(ended, program + " did not end; it printed:\n" + printed);
        assertEquals(0, process.exitValue(), printed);
        return printed;
    }

    static EventReader.Builder reader(String group) {
        return EventReader.builder(variable("STORY_KAFKA_BROKERS"), group + "-" + RUN, TOPIC)
                .topicPrefix(variable("STORY_TOPIC_PREFIX"))
                .idleTimeout(Duration.ofSeconds(8));
    }
}
