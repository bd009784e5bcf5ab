// Package story holds the tests that need more than the client alone: the story of clients/STORY.md against a running
// OpenOrder, and the reader of events against Kafka.
package story

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/format"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	openorder "github.com/openorder/openorder/clients/go"
	"github.com/openorder/openorder/clients/go/events"
	cartv1 "github.com/openorder/openorder/clients/go/openorder/cart/v1"
	orderv1 "github.com/openorder/openorder/clients/go/openorder/order/v1"
	paymentv1 "github.com/openorder/openorder/clients/go/openorder/payment/v1"
	productv1 "github.com/openorder/openorder/clients/go/openorder/product/v1"
)

const (
	preparing = orderv1.OrderStatus_ORDER_STATUS_PREPARING
	shipped   = orderv1.OrderStatus_ORDER_STATUS_SHIPPED
	delivered = orderv1.OrderStatus_ORDER_STATUS_DELIVERED
	lifecycle = "order.lifecycle.v1"
)

func TestStory(t *testing.T) {
	if os.Getenv("STORY_GATEWAY") == "" {
		t.Skip("dev/story go gives it a system")
	}
	ctx := t.Context()
	run := strconv.FormatInt(time.Now().UnixMilli(), 36)
	text, err := os.ReadFile("../../story.json")
	must(t, err)
	var story script
	must(t, json.Unmarshal([]byte(strings.ReplaceAll(string(text), "{run}", run)), &story))

	people := newPeople(t, story)
	client := people.operator
	order := &orderv1.Order{}
	var sku, soldOutSKU string
	lines := func(sku string) []*orderv1.RequestedLine {
		return []*orderv1.RequestedLine{{Sku: sku, Quantity: story.Order.Quantity}}
	}
	create := func(t *testing.T, customer string) *orderv1.Order {
		t.Helper()
		response, err := client.Orders.CreateOrder(ctx, &orderv1.CreateOrderRequest{CustomerId: customer, Lines: lines(sku)})
		must(t, err)
		return response.GetOrder()
	}
	ordersOf := func(t *testing.T, customer string, pageSize int32) []*orderv1.Order {
		t.Helper()
		orders := []*orderv1.Order{}
		request := &orderv1.ListOrdersRequest{CustomerId: customer, PageSize: pageSize}
		for order, err := range openorder.All(ctx, client.Orders.ListOrders, request, (*orderv1.ListOrdersResponse).GetOrders) {
			must(t, err)
			orders = append(orders, order)
		}
		return orders
	}
	// Without the steps before it, a step says nothing.
	step := func(name string, body func(t *testing.T)) {
		if !t.Run(name, body) {
			t.FailNow()
		}
	}

	step("register", people.register)
	step("sign in", people.signIn)

	step("product", func(t *testing.T) {
		for sku, product := range map[*string]product{&sku: story.Product, &soldOutSKU: story.SoldOut} {
			request := &productv1.CreateProductRequest{}
			must(t, protojson.Unmarshal(product.Request, request))
			*sku = request.GetSku()
			price, err := openorder.NewMoney(product.PriceMinor, product.Currency)
			must(t, err)
			request.Price = price
			created, err := client.Products.CreateProduct(ctx, request)
			must(t, err)
			key := &productv1.GetProductRequest_ProductId{ProductId: created.GetProduct().GetProductId()}
			read, err := client.Products.GetProduct(ctx, &productv1.GetProductRequest{Key: key})
			must(t, err)
			equal(t, "the price as Money", proto.Equal(read.GetProduct().GetPrice(), price), true)
			minor, err := openorder.MinorUnits(read.GetProduct().GetPrice())
			must(t, err)
			equal(t, "the price", minor, product.PriceMinor)
		}
	})

	step("wallet", func(t *testing.T) {
		amount, err := openorder.NewMoney(story.Wallet.AmountMinor, story.Product.Currency)
		must(t, err)
		charged, err := client.Payments.ChargeWallet(ctx, &paymentv1.ChargeWalletRequest{UserId: story.Wallet.UserID, Amount: amount})
		must(t, err)
		balance, err := openorder.MinorUnits(charged.GetWallet().GetBalance())
		must(t, err)
		equal(t, "the balance", balance, story.Wallet.AmountMinor)
	})

	step("order", func(t *testing.T) {
		order = create(t, story.Order.CustomerID)
		total, err := openorder.MinorUnits(order.GetTotal())
		must(t, err)
		equal(t, "the total", total, int64(story.Order.Quantity)*story.Product.PriceMinor)
		equal(t, "the trace id's digits", len(order.GetTraceId()), 32)
	})

	step("watch", func(t *testing.T) {
		last := orderv1.OrderStatus_ORDER_STATUS_UNSPECIFIED
		for order, err := range client.WatchOrder(ctx, order.GetOrderId(), preparing) {
			must(t, err)
			if order.GetStatus() < last {
				t.Errorf("%s after %s", order.GetStatus(), last)
			}
			last = order.GetStatus()
		}
		equal(t, "the last status", last, preparing)
	})

	step("timeline", func(t *testing.T) {
		types := []string{}
		request := &orderv1.GetOrderTimelineRequest{OrderId: order.GetOrderId(), PageSize: 2}
		for entry, err := range openorder.All(ctx, client.Orders.GetOrderTimeline, request, (*orderv1.GetOrderTimelineResponse).GetEvents) {
			must(t, err)
			types = append(types, entry.GetEventType())
		}
		equal(t, "the types", fmt.Sprint(types), fmt.Sprint(story.Timeline))
	})

	step("cart", func(t *testing.T) {
		visitor, customer := uuid.NewString(), story.Cart.CustomerID
		_, err := client.Carts.AddItem(ctx, &cartv1.AddItemRequest{VisitorId: visitor, Sku: sku, Quantity: story.Cart.Quantity})
		must(t, err)
		merged, err := client.Carts.MergeCart(ctx, &cartv1.MergeCartRequest{VisitorId: visitor, CustomerId: customer})
		must(t, err)
		cart := merged.GetCart()
		total, err := openorder.MinorUnits(cart.GetTotal())
		must(t, err)
		equal(t, "the cart's total", total, int64(story.Cart.Quantity)*story.Product.PriceMinor)
		ordered, err := client.Carts.Checkout(ctx, &cartv1.CheckoutRequest{
			CustomerId: customer, ExpectedVersion: cart.GetVersion(), ExpectedTotal: cart.GetTotal(),
		})
		must(t, err)
		equal(t, "the order's total", proto.Equal(ordered.GetOrder().GetTotal(), cart.GetTotal()), true)
		for until := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			left, err := client.Carts.GetCart(ctx, &cartv1.GetCartRequest{CustomerId: customer})
			must(t, err)
			if len(left.GetCart().GetLines()) == 0 {
				break
			}
			if time.Now().After(until) {
				t.Fatal("what was ordered is still in the cart")
			}
		}
	})

	step("pages", func(t *testing.T) {
		made := []string{}
		for range story.Pages.Orders {
			made = append(made, create(t, story.Pages.CustomerID).GetOrderId())
		}
		slices.Reverse(made)
		listed := []string{}
		for _, order := range ordersOf(t, story.Pages.CustomerID, story.Pages.PageSize) {
			listed = append(listed, order.GetOrderId())
		}
		equal(t, "all orders, the newest first", fmt.Sprint(listed), fmt.Sprint(made))
	})

	step("bad input", func(t *testing.T) {
		request := &orderv1.CreateOrderRequest{}
		must(t, protojson.Unmarshal(story.BadInput.Request, request))
		_, err := client.Orders.CreateOrder(ctx, request)
		failure := failureOf(t, err)
		equal(t, "code", failure.Code, codes.InvalidArgument)
		fields := []string{}
		for _, violation := range failure.Violations {
			fields = append(fields, violation.GetField())
		}
		slices.Sort(fields)
		slices.Sort(story.BadInput.Fields)
		equal(t, "fields", fmt.Sprint(fields), fmt.Sprint(story.BadInput.Fields))
	})

	step("reused request id", func(t *testing.T) {
		request := &orderv1.CreateOrderRequest{RequestId: uuid.NewString(), CustomerId: story.Order.CustomerID, Lines: lines(sku)}
		first, err := client.Orders.CreateOrder(ctx, request)
		must(t, err)
		second, err := client.Orders.CreateOrder(ctx, request)
		must(t, err)
		equal(t, "order id", second.GetOrder().GetOrderId(), first.GetOrder().GetOrderId())
		request.Lines[0].Quantity++
		_, err = client.Orders.CreateOrder(ctx, request)
		equal(t, "errors.Is", errors.Is(err, openorder.ErrRequestIDReused), true)
	})

	step("missing order", func(t *testing.T) {
		_, err := client.Orders.GetOrder(ctx, &orderv1.GetOrderRequest{OrderId: uuid.NewString()})
		equal(t, "errors.Is", errors.Is(err, openorder.ErrOrderNotFound), true)
		failure := failureOf(t, err)
		equal(t, "reason", failure.Reason, "ORDER_NOT_FOUND")
		equal(t, "domain", failure.Domain, "openorder")
	})

	step("deadline", func(t *testing.T) {
		timeout, lateMax := story.Deadline.TimeoutMS*time.Millisecond, story.Deadline.LateMSMax*time.Millisecond
		request := &orderv1.CreateOrderRequest{CustomerId: story.Deadline.CustomerID, Lines: lines(sku)}
		control(t, "freeze")
		begin := time.Now()
		limited, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		_, err := client.Orders.CreateOrder(limited, request)
		took := time.Since(begin)
		control(t, "thaw")
		failure := failureOf(t, err)
		equal(t, "code", failure.Code, codes.DeadlineExceeded)
		if took < timeout || took > timeout+lateMax {
			t.Errorf("took %s", took)
		}
		request.RequestId = failure.RequestID
		_, err = client.Orders.CreateOrder(ctx, request)
		must(t, err)
		equal(t, "orders", len(ordersOf(t, story.Deadline.CustomerID, 0)), 1)
	})

	step("out of stock", func(t *testing.T) {
		request := &orderv1.CreateOrderRequest{
			CustomerId: story.Order.CustomerID, Lines: lines(soldOutSKU), ReservationMode: orderv1.ReservationMode_RESERVATION_MODE_IMMEDIATE,
		}
		_, err := client.Orders.CreateOrder(ctx, request)
		equal(t, "errors.Is", errors.Is(err, openorder.ErrOutOfStock), true)
		request.ReservationMode = orderv1.ReservationMode_RESERVATION_MODE_DEFERRED
		created, err := client.Orders.CreateOrder(ctx, request)
		must(t, err)
		last := created.GetOrder()
		for order, err := range client.WatchOrder(ctx, last.GetOrderId(), orderv1.OrderStatus_ORDER_STATUS_UNSPECIFIED) {
			must(t, err)
			last = order
		}
		equal(t, "status", last.GetStatus(), orderv1.OrderStatus_ORDER_STATUS_REJECTED)
		equal(t, "status_reason", last.GetStatusReason(), "OUT_OF_STOCK")
	})

	step("not mine", func(t *testing.T) { people.notMine(t, lines(sku)) })

	step("killed gateway", func(t *testing.T) {
		var made, begun atomic.Int64
		var callers sync.WaitGroup
		killed := make(chan struct{})
		ids := sync.Map{}
		for range story.KilledGateway.Callers {
			callers.Go(func() {
				for begun.Add(1) <= int64(story.KilledGateway.Orders) {
					request := &orderv1.CreateOrderRequest{CustomerId: story.KilledGateway.CustomerID, Lines: lines(sku)}
					response, err := client.Orders.CreateOrder(ctx, request)
					if err != nil {
						t.Errorf("after %d attempts: %v", failureOf(t, err).Attempts, err)
						continue
					}
					ids.Store(response.GetOrder().GetOrderId(), true)
					if made.Add(1) == int64(story.KilledGateway.Orders/3) {
						go func() { defer close(killed); control(t, "kill") }()
					}
				}
			})
		}
		callers.Wait()
		<-killed
		orders := ordersOf(t, story.KilledGateway.CustomerID, 0)
		equal(t, "orders", len(orders), story.KilledGateway.Orders)
		for _, order := range orders {
			if _, known := ids.LoadAndDelete(order.GetOrderId()); !known {
				t.Errorf("no caller was given the order %s, or it is there twice", order.GetOrderId())
			}
		}
	})

	step("watch through a killed gateway", func(t *testing.T) {
		watched := create(t, story.Shipped.CustomerID)
		move := func(from, to orderv1.OrderStatus) {
			_, err := client.Orders.UpdateOrderStatus(ctx, &orderv1.UpdateOrderStatusRequest{
				OrderId: watched.GetOrderId(), PreviousStatus: from, CurrentStatus: to,
			})
			must(t, err)
		}
		last := orderv1.OrderStatus_ORDER_STATUS_UNSPECIFIED
		for order, err := range client.WatchOrder(ctx, watched.GetOrderId(), delivered) {
			must(t, err)
			if order.GetStatus() <= last {
				t.Errorf("%s after %s", order.GetStatus(), last)
			}
			if last = order.GetStatus(); last == preparing {
				control(t, "kill")
				move(preparing, shipped)
				move(shipped, delivered)
			}
		}
		equal(t, "the last status", last, delivered)
	})

	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(os.Getenv("STORY_OTLP_ENDPOINT")), otlptracegrpc.WithInsecure())
	must(t, err)
	// Room for all: the topic is read from its beginning, and has the orders of other stories too.
	tracing := trace.NewTracerProvider(trace.WithBatcher(exporter, trace.WithMaxQueueSize(100_000)),
		trace.WithResource(resource.NewSchemaless(attribute.String("service.name", "story-go"))))

	step("events", func(t *testing.T) {
		topic := os.Getenv("STORY_TOPIC_PREFIX") + lifecycle
		brokers := strings.Split(os.Getenv("STORY_KAFKA_BROKERS"), ",")
		kafka, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		must(t, err)
		defer kafka.Close()
		limited, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		first := firstRecord(t, limited, kafka, order.GetOrderId())
		header := func(name, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: name, Value: []byte(value)} }
		must(t, kafka.ProduceSync(limited,
			&kgo.Record{Topic: topic, Key: first.Key, Value: []byte("x"), Headers: []kgo.RecordHeader{header("ce_type", "order.lifecycle.invented")}},
			&kgo.Record{Topic: topic, Key: first.Key, Value: []byte("x")},
			&kgo.Record{Topic: topic, Key: []byte("unreadable-" + run), Value: []byte("\xff\xff\xff"), Headers: []kgo.RecordHeader{header("ce_type", story.Timeline[0])}},
			&kgo.Record{Topic: topic, Partition: first.Partition, Key: first.Key, Value: first.Value, Headers: first.Headers},
			// Behind the copy, in its partition.
			&kgo.Record{Topic: topic, Partition: first.Partition, Key: first.Key, Value: first.Value, Headers: []kgo.RecordHeader{
				header("ce_type", story.Timeline[0]), header("ce_id", "last-"+run),
			}},
		).FirstErr())

		unreadable := []string{}
		var unreadableSeen, lastSeen atomic.Bool
		reader, err := events.NewReader(events.Config{
			Brokers:     brokers,
			Group:       "story-go-" + run,
			Topics:      []string{lifecycle},
			TopicPrefix: os.Getenv("STORY_TOPIC_PREFIX"),
			OnUnreadable: func(_ context.Context, err *events.UnreadableError) error {
				// A story that was told before has left some as well.
				if key := string(err.Record.Key); key == "unreadable-"+run {
					unreadable = append(unreadable, key)
					unreadableSeen.Store(true)
				}
				return nil
			},
			TracerProvider: tracing,
		})
		must(t, err)
		reading, done := context.WithCancel(limited)
		// Behind what is passed over, in each of the two partitions.
		go func() {
			for reading.Err() == nil {
				time.Sleep(50 * time.Millisecond)
				if unreadableSeen.Load() && lastSeen.Load() {
					done()
				}
			}
		}()
		types, position := []string{}, int64(0)
		for event, err := range reader.Events(reading) {
			if err != nil {
				equal(t, "the end", errors.Is(err, context.Canceled), true)
				break
			}
			if event.ID == "last-"+run {
				lastSeen.Store(true)
			}
			if event.Key != order.GetOrderId() || event.ID == "last-"+run {
				continue
			}
			types = append(types, event.Type)
			if event.Position <= position {
				t.Errorf("position %d after %d", event.Position, position)
			}
			position = event.Position
			equal(t, "the message of "+event.Type, messageName(event.Message), story.messageOf(event.Type))
			equal(t, "the message's order", event.Message.(interface{ GetOrderId() string }).GetOrderId(), order.GetOrderId())
			equal(t, "source", event.Source, "/openorder/order")
			equal(t, "topic", event.Topic, lifecycle)
			if age := time.Since(event.Time); event.ID == "" || age < 0 || age > time.Hour {
				t.Errorf("id %q, %s old", event.ID, age)
			}
		}
		must(t, reader.Close())
		must(t, limited.Err())
		if counts := reader.Counts(); counts.Copies < 1 || counts.UnknownType < 1 || counts.Foreign < 1 {
			t.Errorf("%+v", counts)
		}
		equal(t, "types", fmt.Sprint(types), fmt.Sprint(story.Timeline))
		equal(t, "unreadable", fmt.Sprint(unreadable), fmt.Sprint([]string{"unreadable-" + run}))
	})

	step("trace", func(t *testing.T) {
		must(t, tracing.Shutdown(ctx))
		url := os.Getenv("STORY_JAEGER_URL") + "/api/traces/" + order.GetTraceId()
		found := ""
		for begin := time.Now(); time.Since(begin) < 60*time.Second; time.Sleep(200 * time.Millisecond) {
			if found = consumerSpans(t, url); found == "" {
				return
			}
		}
		t.Errorf("%s: %s", url, found)
	})

	step("readme", func(t *testing.T) {
		example := readmeExample(t)
		for _, at := range [][2]string{
			{`"127.0.0.1:8080"`, strconv.Quote(os.Getenv("STORY_GATEWAY"))},
			{`"127.0.0.1:19092"`, strconv.Quote(os.Getenv("STORY_KAFKA_BROKERS"))},
			{`TopicPrefix: ""`, "TopicPrefix: " + strconv.Quote(os.Getenv("STORY_TOPIC_PREFIX"))},
		} {
			equal(t, at[0]+" in the example", strings.Count(example, at[0]), 1)
			example = strings.Replace(example, at[0], at[1], 1)
		}
		limited, cancel := context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
		t.Setenv(openorder.TokenVariable, people.key)
		output, err := goCommand(t, limited, example, "run")
		t.Logf("%s", output)
		must(t, err)
		equal(t, "it printed the last status", strings.Contains(output, "PREPARING"), true)
	})

	step("expired token", people.expiredToken)
	step("revoked token", people.revokedToken)
}

func TestReadmeExample(t *testing.T) {
	example := readmeExample(t)
	formatted, err := format.Source([]byte(example))
	must(t, err)
	equal(t, "the example is formatted", string(formatted), example)
	output, err := goCommand(t, t.Context(), example, "vet")
	if err != nil {
		t.Errorf("%v: %s", err, output)
	}
	output, err = goCommand(t, t.Context(), strings.Replace(example, "CustomerId:", "Customer:", 1), "vet")
	if err == nil || !strings.Contains(output, "unknown field Customer") {
		t.Errorf("a mistake in it is not found: %v: %s", err, output)
	}
}
