package story

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	api "go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/openorder/openorder/clients/go/events"
	orderv1 "github.com/openorder/openorder/clients/go/openorder/order/v1"
)

// A Kafka in this process, with one partition of order.lifecycle.v1 and these records in it.
func kafkaWith(t *testing.T, records []*kgo.Record, options ...kfake.Opt) []string {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(1, "test."+lifecycle)}, options...)...)
	must(t, err)
	t.Cleanup(cluster.Close)
	produce(t, cluster.ListenAddrs(), records...)
	return cluster.ListenAddrs()
}

func produce(t *testing.T, brokers []string, records ...*kgo.Record) {
	t.Helper()
	if len(records) == 0 {
		return
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic("test."+lifecycle), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	must(t, err)
	defer client.Close()
	must(t, client.ProduceSync(t.Context(), records...).FirstErr())
}

func event(id string, headers ...string) *kgo.Record {
	value, err := proto.Marshal(&orderv1.OrderPaid{OrderId: id})
	if err != nil {
		panic(err)
	}
	record := &kgo.Record{Key: []byte("order"), Value: value}
	for i, headers := 0, append([]string{"ce_type", "order.lifecycle.paid", "ce_id", id}, headers...); i < len(headers); i += 2 {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return record
}

func eventsUpTo(last int) []*kgo.Record {
	records := []*kgo.Record{}
	for i := range last {
		records = append(records, event(strconv.Itoa(i+1)))
	}
	return records
}

func unreadable() *kgo.Record {
	record := event("unreadable")
	record.Value = []byte("\xff\xff\xff")
	return record
}

func newReader(t *testing.T, config events.Config) *events.Reader {
	t.Helper()
	config.Group, config.Topics, config.TopicPrefix = "group", []string{lifecycle}, "test."
	reader, err := events.NewReader(config)
	must(t, err)
	return reader
}

// The ids of the events up to this one, where the loop is left; and the error that ended it before.
func readUntil(t *testing.T, reader *events.Reader, last string) (ids string, failure error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for event, err := range reader.Events(ctx) {
		if err != nil {
			failure = err
			continue // it is the last
		}
		ids += event.ID
		if event.ID == last {
			break
		}
	}
	return ids, failure
}

func TestWhatWasHandledIsCommittedAndNothingElse(t *testing.T) {
	brokers := kafkaWith(t, eventsUpTo(6))
	first := newReader(t, events.Config{Brokers: brokers})
	ids, err := readUntil(t, first, "3")
	must(t, err)
	equal(t, "first loop", ids, "123")
	ids, err = readUntil(t, first, "4")
	must(t, err)
	equal(t, "what was left in its midst comes again", ids, "34")
	equal(t, "handled", first.Counts(), events.Counts{Handled: 3})
	must(t, first.Close())

	second := newReader(t, events.Config{Brokers: brokers})
	ids, err = readUntil(t, second, "6")
	must(t, err)
	equal(t, "after a restart", ids, "456")
	must(t, second.Close())

	if _, err := readUntil(t, second, ""); !errors.Is(err, kgo.ErrClientClosed) {
		t.Errorf("a closed reader: %v", err)
	}
}

// Without Close, as after a crash.
func TestCommitsWhileItReads(t *testing.T) {
	brokers := kafkaWith(t, eventsUpTo(2))
	crashed := newReader(t, events.Config{Brokers: brokers, CommitInterval: 100 * time.Millisecond})
	_, err := readUntil(t, crashed, "2")
	must(t, err)
	admin, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	must(t, err)
	defer admin.Close()
	committed := int64(-1)
	for begin := time.Now(); committed != 1 && time.Since(begin) < 10*time.Second; time.Sleep(50 * time.Millisecond) {
		committed = committedOffset(t, admin)
	}
	equal(t, "committed", committed, 1)
	must(t, crashed.Close())
	equal(t, "committed by Close", committedOffset(t, admin), 1)
}

func committedOffset(t *testing.T, client *kgo.Client) int64 {
	t.Helper()
	request := kmsg.NewPtrOffsetFetchRequest()
	request.Group = "group"
	response, err := request.RequestWith(t.Context(), client)
	must(t, err)
	if len(response.Topics) == 0 {
		return -1
	}
	return response.Topics[0].Partitions[0].Offset
}

func TestCloseInTheLoop(t *testing.T) {
	reader := newReader(t, events.Config{Brokers: kafkaWith(t, eventsUpTo(3))})
	ids := ""
	for event, err := range reader.Events(t.Context()) {
		if err != nil {
			equal(t, "the end", errors.Is(err, kgo.ErrClientClosed), true)
			break
		}
		ids += event.ID
		must(t, reader.Close())
	}
	equal(t, "ids", ids, "1")
}

func TestUnreadableRecords(t *testing.T) {
	// Anew for each Kafka: the client that sends them writes into them.
	records := func() []*kgo.Record { return append(eventsUpTo(1), unreadable(), event("2")) }
	t.Run("end the loop, and come again", func(t *testing.T) {
		brokers := kafkaWith(t, records())
		for _, want := range []string{"1", ""} {
			reader := newReader(t, events.Config{Brokers: brokers})
			ids, err := readUntil(t, reader, "2")
			equal(t, "ids", ids, want)
			var failure *events.UnreadableError
			if !errors.As(err, &failure) || failure.Record.Offset != 1 || failure.Type != "order.lifecycle.paid" {
				t.Errorf("%v", err)
			}
			must(t, reader.Close())
		}
	})
	t.Run("are handed over", func(t *testing.T) {
		offsets := []int64{}
		reader := newReader(t, events.Config{
			Brokers: kafkaWith(t, records()),
			OnUnreadable: func(_ context.Context, err *events.UnreadableError) error {
				offsets = append(offsets, err.Record.Offset)
				return nil
			},
		})
		ids, err := readUntil(t, reader, "2")
		must(t, err)
		equal(t, "ids", ids, "12")
		equal(t, "offsets", fmt.Sprint(offsets), "[1]")
		equal(t, "counts", reader.Counts(), events.Counts{Handled: 1, Unreadable: 1})
		must(t, reader.Close())
	})
	t.Run("whose handler fails", func(t *testing.T) {
		full := errors.New("the disk is full")
		reader := newReader(t, events.Config{
			Brokers:      kafkaWith(t, records()),
			OnUnreadable: func(context.Context, *events.UnreadableError) error { return full },
		})
		_, err := readUntil(t, reader, "2")
		equal(t, "the end", errors.Is(err, full), true)
		equal(t, "counts", reader.Counts(), events.Counts{Handled: 1})
		must(t, reader.Close())
	})
}

func TestWhatIsPassedOver(t *testing.T) {
	unknown, foreign, empty := event("u"), event("f"), event("e")
	unknown.Headers[0].Value = []byte("order.lifecycle.invented")
	foreign.Headers = nil
	empty.Value = nil
	reader := newReader(t, events.Config{
		Brokers:       kafkaWith(t, []*kgo.Record{event("1"), unknown, foreign, empty, event("1"), event("2"), event("3"), event("2"), event("1"), event("9")}),
		RememberedIDs: 2,
	})
	ids, err := readUntil(t, reader, "9")
	must(t, err)
	equal(t, "ids: the 1 is forgotten after two others", ids, "12319")
	equal(t, "counts", reader.Counts(), events.Counts{Handled: 4, Copies: 2, UnknownType: 1, Foreign: 2})
	must(t, reader.Close())
}

// A way to the brokers that can be cut.
type way struct {
	mutex       sync.Mutex
	cut         bool
	connections []net.Conn
}

func (w *way) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.cut {
		address = "127.0.0.1:1" // where nobody listens
	}
	connection, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil {
		w.connections = append(w.connections, connection)
	}
	return connection, err
}

func (w *way) set(cut bool) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.cut = cut
	for _, connection := range w.connections {
		_ = connection.Close()
	}
	w.connections = nil
}

func TestGoesOnThroughAnOutage(t *testing.T) {
	brokers := kafkaWith(t, eventsUpTo(2))
	way := &way{cut: true}
	interruptions := 0
	reader := newReader(t, events.Config{
		Brokers:        brokers,
		Kafka:          []kgo.Opt{kgo.Dialer(way.dial)},
		CheckInterval:  time.Second,
		OnInterruption: func(error) { interruptions++ },
	})
	// There are no brokers when it begins, and none between the events 2 and 3.
	time.AfterFunc(3*time.Second, func() { way.set(false) })
	ids, third := "", event("3")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for event, err := range reader.Events(ctx) {
		must(t, err)
		ids += event.ID
		if event.ID == "2" {
			way.set(true)
			produce(t, brokers, third)
			time.AfterFunc(4*time.Second, func() { way.set(false) })
		}
		if event.ID == "3" {
			break
		}
	}
	must(t, reader.Close())
	equal(t, "ids", ids, "123")
	if interruptions < 2 {
		t.Errorf("%d interruptions were told", interruptions)
	}
}

func TestCloseWithoutBrokers(t *testing.T) {
	way := &way{}
	reader := newReader(t, events.Config{
		Brokers:        kafkaWith(t, eventsUpTo(2)),
		Kafka:          []kgo.Opt{kgo.Dialer(way.dial)},
		CommitInterval: time.Minute,
		CloseTimeout:   2 * time.Second,
	})
	_, err := readUntil(t, reader, "2")
	must(t, err)
	way.set(true)
	begin := time.Now()
	if err := reader.Close(); err == nil {
		t.Error("nothing could be committed, and Close did not say so")
	}
	if took := time.Since(begin); took > 6*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestWhatDoesNotPassEndsTheLoop(t *testing.T) {
	user := func(password string) []kgo.Opt {
		return []kgo.Opt{kgo.SASL(plain.Auth{User: "anna", Pass: password}.AsMechanism())}
	}
	secured := func(t *testing.T) *kfake.Cluster {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "test."+lifecycle),
			kfake.EnableSASL(), kfake.EnableACLs(), kfake.User("PLAIN", "anna", "secret"))
		must(t, err)
		t.Cleanup(cluster.Close)
		return cluster
	}
	t.Run("missing rights", func(t *testing.T) {
		reader := newReader(t, events.Config{Brokers: secured(t).ListenAddrs(), Kafka: user("secret")})
		_, err := readUntil(t, reader, "")
		if !errors.Is(err, kerr.TopicAuthorizationFailed) && !errors.Is(err, kerr.GroupAuthorizationFailed) {
			t.Errorf("%v", err)
		}
		must(t, reader.Close())
	})
	t.Run("a wrong password", func(t *testing.T) {
		cluster := secured(t)
		// The fake one closes the connection, Kafka answers.
		cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(request kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			response := request.ResponseKind().(*kmsg.SASLAuthenticateResponse)
			response.ErrorCode = kerr.SaslAuthenticationFailed.Code
			return response, nil, true
		})
		reader := newReader(t, events.Config{Brokers: cluster.ListenAddrs(), Kafka: user("wrong"), CheckInterval: time.Second})
		_, err := readUntil(t, reader, "")
		if !errors.Is(err, kerr.SaslAuthenticationFailed) {
			t.Errorf("%v", err)
		}
		must(t, reader.Close())
	})
}

func TestSpans(t *testing.T) {
	const traceparent, tracestate = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1"
	recorder := tracetest.NewSpanRecorder()
	reader := newReader(t, events.Config{
		Brokers:        kafkaWith(t, []*kgo.Record{event("1", "traceparent", traceparent, "tracestate", tracestate), event("2"), event("3")}),
		TracerProvider: trace.NewTracerProvider(trace.WithSpanProcessor(recorder)),
	})
	spans := map[string]api.SpanContext{}
	for event, err := range reader.Events(t.Context()) {
		must(t, err)
		spans[event.ID] = api.SpanContextFromContext(event.Context())
		if event.ID == "2" {
			break
		}
	}
	must(t, reader.Close())
	equal(t, "spans", len(recorder.Ended()), 2)
	span := recorder.Ended()[0]
	equal(t, "name", span.Name(), "process test.order.lifecycle.v1")
	equal(t, "kind", span.SpanKind(), api.SpanKindConsumer)
	equal(t, "trace", span.SpanContext().TraceID().String(), "0af7651916cd43dd8448eb211c80319c")
	equal(t, "parent", span.Parent().SpanID().String(), "b7ad6b7169203331")
	equal(t, "trace state", span.SpanContext().TraceState().String(), tracestate)
	equal(t, "the body's span", spans["1"].SpanID(), span.SpanContext().SpanID())
	attributes := attribute.NewSet(span.Attributes()...)
	for name, want := range map[attribute.Key]string{
		"messaging.system": "kafka", "messaging.destination.name": "test.order.lifecycle.v1", "messaging.operation.type": "process",
		"messaging.destination.partition.id": "0", "messaging.kafka.offset": "0", "messaging.consumer.group.name": "group",
		"messaging.kafka.message.key": "order", "messaging.message.id": "1",
	} {
		value, _ := attributes.Value(name)
		equal(t, string(name), value.Emit(), want)
	}
	equal(t, "a record without a trace has no parent", recorder.Ended()[1].Parent().IsValid(), false)
}

func TestReaderRefusesWhatMakesNoSense(t *testing.T) {
	for _, config := range []events.Config{
		{}, {Brokers: []string{"127.0.0.1:1"}, Group: "g"}, {Brokers: []string{"127.0.0.1:1"}, Topics: []string{lifecycle}},
		{Group: "g", Topics: []string{lifecycle}}, {Brokers: []string{"127.0.0.1:1"}, Group: "g", Topics: []string{lifecycle}, RememberedIDs: -1},
	} {
		if _, err := events.NewReader(config); err == nil {
			t.Errorf("accepted: %+v", config)
		}
	}
}
