package events

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	eventv1 "github.com/openorder/openorder/clients/go/openorder/event/v1"
	// Their messages are the types that are known.
	_ "github.com/openorder/openorder/clients/go/openorder/inventory/v1"
	_ "github.com/openorder/openorder/clients/go/openorder/notification/v1"
	_ "github.com/openorder/openorder/clients/go/openorder/order/v1"
	_ "github.com/openorder/openorder/clients/go/openorder/payment/v1"
	_ "github.com/openorder/openorder/clients/go/openorder/product/v1"
	_ "github.com/openorder/openorder/clients/go/openorder/promotion/v1"
	_ "github.com/openorder/openorder/clients/go/openorder/shipping/v1"
	_ "github.com/openorder/openorder/clients/go/openorder/user/v1"
)

// Event is one record, decoded.
type Event struct {
	// ID is the event's: the same whenever it comes again.
	ID string
	// Type, such as `order.lifecycle.paid`.
	Type string
	// Message is the event itself, by its type: *orderv1.OrderPaid.
	Message proto.Message
	// Source is the service that published it, such as `/openorder/order`.
	Source string
	// Position rises with each event of a source, over all topics, with gaps in each; 0 where there is none. In records
	// that have a header ce_time it is the version of the aggregate instead.
	Position int64
	// Key is the id of what stays in order: the order, the user, the product, the SKU.
	Key string
	// Subject is the aggregate that changed: Key, unless the record names another.
	Subject string
	// Time at which the event was decided.
	Time time.Time
	// Topic without the prefix.
	Topic     string
	Partition int32
	Offset    int64
	// Record as it came from Kafka.
	Record *kgo.Record

	ctx context.Context
}

// Context of the loop, with the span that the event is handled in.
func (e *Event) Context() context.Context { return e.ctx }

// UnreadableError is a record whose value is not the message that its type promises.
type UnreadableError struct {
	// Type that the record claims to have.
	Type string
	// Record as it came from Kafka.
	Record *kgo.Record
	// Err says why it cannot be decoded.
	Err error
}

func (e *UnreadableError) Error() string {
	r := e.Record
	return fmt.Sprintf("events: the record at %s/%d/%d is no %s: %v", r.Topic, r.Partition, r.Offset, e.Type, e.Err)
}

// Unwrap returns the error of the decoding.
func (e *UnreadableError) Unwrap() error { return e.Err }

var (
	errForeign     = errors.New("events: a record without a type or a value")
	errUnknownType = errors.New("events: a record of an unknown type")
)

// The messages by event type, as their options say. Those of other contracts of the program are among them.
var messageTypes = sync.OnceValue(func() map[string]protoreflect.MessageType {
	types := map[string]protoreflect.MessageType{}
	protoregistry.GlobalTypes.RangeMessages(func(message protoreflect.MessageType) bool {
		options, _ := proto.GetExtension(message.Descriptor().Options(), eventv1.E_Event).(*eventv1.EventOptions)
		if options.GetType() != "" {
			types[options.GetType()] = message
		}
		return true
	})
	return types
})

func decode(record *kgo.Record, topicPrefix string) (*Event, error) {
	headers := recordHeaders{record}
	eventType := headers.Get("ce_type")
	if eventType == "" || record.Value == nil {
		return nil, errForeign
	}
	messageType, ok := messageTypes()[eventType]
	if !ok {
		return nil, errUnknownType
	}
	message := messageType.New().Interface()
	if err := proto.Unmarshal(record.Value, message); err != nil {
		return nil, &UnreadableError{Type: eventType, Record: record, Err: err}
	}
	// Not set by other producers than OpenOrder: then 0.
	position, _ := strconv.ParseInt(headers.Get("ce_sequence"), 10, 64)
	event := &Event{
		ID:        headers.Get("ce_id"),
		Type:      eventType,
		Message:   message,
		Source:    headers.Get("ce_source"),
		Position:  position,
		Key:       string(record.Key),
		Subject:   headers.Get("ce_subject"),
		Time:      record.Timestamp,
		Topic:     strings.TrimPrefix(record.Topic, topicPrefix),
		Partition: record.Partition,
		Offset:    record.Offset,
		Record:    record,
	}
	if event.Subject == "" {
		event.Subject = event.Key
	}
	return event, nil
}

// Begins the span of handling, and puts it into the event's context.
func (e *Event) startSpan(tracer trace.Tracer, group string) trace.Span {
	parent := propagation.TraceContext{}.Extract(e.ctx, recordHeaders{e.Record})
	var span trace.Span
	e.ctx, span = tracer.Start(parent, "process "+e.Record.Topic,
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(
			semconv.MessagingSystemKafka,
			semconv.MessagingOperationTypeProcess,
			semconv.MessagingOperationName("process"),
			semconv.MessagingDestinationName(e.Record.Topic),
			semconv.MessagingDestinationPartitionID(strconv.Itoa(int(e.Partition))),
			semconv.MessagingConsumerGroupName(group),
			semconv.MessagingKafkaOffset(int(e.Offset)),
			semconv.MessagingKafkaMessageKey(e.Key),
			semconv.MessagingMessageID(e.ID),
			semconv.CloudEventsEventType(e.Type),
		))
	return span
}

// Headers of a record, by name; as the propagator wants to have them.
type recordHeaders struct{ record *kgo.Record }

func (h recordHeaders) Get(name string) string {
	for _, header := range h.record.Headers {
		if header.Key == name {
			return string(header.Value)
		}
	}
	return ""
}

// Set is never called: nothing is published here.
func (h recordHeaders) Set(string, string) {}

func (h recordHeaders) Keys() []string {
	names := make([]string, len(h.record.Headers))
	for i, header := range h.record.Headers {
		names[i] = header.Key
	}
	return names
}
