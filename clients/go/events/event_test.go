package events

import (
	"errors"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	orderv1 "github.com/openorder/openorder/clients/go/openorder/order/v1"
)

func TestTypesAreThoseOfTheDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../../docs/consuming-events.md")
	if err != nil {
		t.Skip("the documentation is not beside this module")
	}
	rows := regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\| `(openorder\\.[\\w.]+)` \\|").FindAllStringSubmatch(string(page), -1)
	types := messageTypes()
	for _, row := range rows {
		message, ok := types[row[1]]
		if !ok || string(message.Descriptor().FullName()) != row[2] {
			t.Errorf("%s: %v", row[1], message)
		}
	}
	if len(rows) != len(types) || len(rows) < 30 {
		t.Errorf("%d types are documented, %d are known", len(rows), len(types))
	}
}

func headers(pairs ...string) []kgo.RecordHeader {
	headers := []kgo.RecordHeader{}
	for i := 0; i < len(pairs); i += 2 {
		headers = append(headers, kgo.RecordHeader{Key: pairs[i], Value: []byte(pairs[i+1])})
	}
	return headers
}

func TestDecode(t *testing.T) {
	paid := &orderv1.OrderPaid{OrderId: "1", Version: 1<<62 + 1}
	value, err := proto.Marshal(paid)
	if err != nil {
		t.Fatal(err)
	}
	record := &kgo.Record{
		Key: []byte("1"), Value: value, Topic: "test.order.lifecycle.v1", Partition: 2, Offset: 7, Timestamp: time.UnixMilli(1_700_000_000_123),
		Headers: headers("added_later", "x", "ce_type", "order.lifecycle.paid", "ce_id", "e", "ce_source", "/openorder/order", "ce_sequence", "9007199254740993"),
	}
	event, err := decode(record, "test.")
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(event.Message, paid) || event.Message.(*orderv1.OrderPaid).GetVersion() != 1<<62+1 {
		t.Errorf("message: %v", event.Message)
	}
	event.Message = nil
	if *event != (Event{
		ID: "e", Type: "order.lifecycle.paid", Source: "/openorder/order", Position: 9007199254740993, Key: "1", Subject: "1",
		Time: time.UnixMilli(1_700_000_000_123), Topic: "order.lifecycle.v1", Partition: 2, Offset: 7, Record: record,
	}) {
		t.Errorf("%+v", event)
	}

	record.Headers = append(record.Headers, headers("ce_subject", "2")...)
	if event, err := decode(record, ""); err != nil || event.Subject != "2" || event.Topic != "test.order.lifecycle.v1" {
		t.Errorf("%+v, %v", event, err)
	}
}

func TestDecodeOfWhatIsNoEvent(t *testing.T) {
	var unreadable *UnreadableError
	paid := headers("ce_type", "order.lifecycle.paid")
	if _, err := decode(&kgo.Record{Value: []byte("\xff"), Headers: paid}, ""); !errors.As(err, &unreadable) || unreadable.Type != "order.lifecycle.paid" {
		t.Error(err)
	}
	for name, test := range map[string]struct {
		record kgo.Record
		err    error
	}{
		"no headers":   {kgo.Record{Value: []byte("x")}, errForeign},
		"no value":     {kgo.Record{Headers: paid}, errForeign},
		"unknown type": {kgo.Record{Value: []byte("\xff"), Headers: headers("ce_type", "order.lifecycle.invented")}, errUnknownType},
	} {
		if _, err := decode(&test.record, ""); !errors.Is(err, test.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRecentIDs(t *testing.T) {
	ids := newRecentIDs(2)
	for _, id := range []string{"a", "b", "", "a", "c"} {
		ids.add(id)
	}
	if ids.has("a") || !ids.has("b") || !ids.has("c") || ids.has("") || len(ids.ids) != 2 {
		t.Error(ids.ids)
	}
}
