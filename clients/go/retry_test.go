package openorder

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/durationpb"

	orderv1 "github.com/openorder/openorder/clients/go/openorder/order/v1"
)

// Waits that a test does not feel.
var quick = RetryPolicy{
	MaxAttempts: 5, InitialBackoff: time.Millisecond, MaxBackoff: 4 * time.Millisecond, BudgetTokens: 100, BudgetTokensPerSuccess: 0.2,
}

func refusal(code codes.Code, details ...protoadapt.MessageV1) error {
	s, err := status.New(code, "no").WithDetails(details...)
	if err != nil {
		panic(err)
	}
	return s.Err()
}

func retryAfter(delay time.Duration) *errdetails.RetryInfo {
	return &errdetails.RetryInfo{RetryDelay: durationpb.New(delay)}
}

// Fails with these errors, one an attempt, then succeeds. It keeps the request ids.
type failing struct {
	mutex  sync.Mutex
	errors []error
	ids    []string
}

func (f *failing) server() orderServer {
	return orderServer{create: func(_ context.Context, r *orderv1.CreateOrderRequest) (*orderv1.CreateOrderResponse, error) {
		f.mutex.Lock()
		defer f.mutex.Unlock()
		f.ids = append(f.ids, r.GetRequestId())
		if attempt := len(f.ids); attempt <= len(f.errors) {
			return nil, f.errors[attempt-1]
		}
		return &orderv1.CreateOrderResponse{Order: &orderv1.Order{OrderId: r.GetRequestId()}}, nil
	}}
}

func TestRetries(t *testing.T) {
	unavailable := refusal(codes.Unavailable)
	for name, test := range map[string]struct {
		errors   []error
		code     codes.Code
		attempts int
	}{
		"nothing to retry":                      {nil, codes.OK, 1},
		"UNAVAILABLE":                           {[]error{unavailable, unavailable}, codes.OK, 3},
		"RESOURCE_EXHAUSTED with RetryInfo":     {[]error{refusal(codes.ResourceExhausted, retryAfter(time.Millisecond))}, codes.OK, 2},
		"RESOURCE_EXHAUSTED without RetryInfo":  {[]error{refusal(codes.ResourceExhausted)}, codes.ResourceExhausted, 1},
		"ABORTED":                               {[]error{refusal(codes.Aborted, retryAfter(time.Millisecond))}, codes.Aborted, 1},
		"INTERNAL":                              {[]error{refusal(codes.Internal)}, codes.Internal, 1},
		"DEADLINE_EXCEEDED":                     {[]error{refusal(codes.DeadlineExceeded)}, codes.DeadlineExceeded, 1},
		"UNKNOWN":                               {[]error{errors.New("no status")}, codes.Unknown, 1},
		"never well: as often as MaxAttempts":   {slices.Repeat([]error{unavailable}, 9), codes.Unavailable, 5},
		"first UNAVAILABLE, then another error": {[]error{unavailable, refusal(codes.NotFound)}, codes.NotFound, 2},
	} {
		t.Run(name, func(t *testing.T) {
			service := &failing{errors: test.errors}
			client := connect(t, serve(t, service.server()), WithPlaintext(), WithRetries(quick))
			request := &orderv1.CreateOrderRequest{CustomerId: "anna"}
			_, err := client.Orders.CreateOrder(t.Context(), request)

			equal(t, "code", status.Code(err), test.code)
			equal(t, "attempts", len(service.ids), test.attempts)
			equal(t, "different request ids", len(slices.Compact(slices.Clone(service.ids))), 1)
			if _, err := uuid.Parse(service.ids[0]); err != nil {
				t.Errorf("request id: %v", err)
			}
			equal(t, "the caller's own request", request.GetRequestId(), "")
			var failure *Error
			if errors.As(err, &failure) {
				equal(t, "the error's attempts", failure.Attempts, test.attempts)
				equal(t, "the error's request id", failure.RequestID, service.ids[0])
				equal(t, "the error's method", failure.Method, orderv1.OrderService_CreateOrder_FullMethodName)
			}
		})
	}
}

func TestRetryOfAGatewayThatIsNotThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, listener.Close())
	client := connect(t, listener.Addr().String(), WithPlaintext(), WithRetries(quick))
	_, err = client.Orders.CreateOrder(t.Context(), &orderv1.CreateOrderRequest{})
	var failure *Error
	if !errors.As(err, &failure) || failure.Code != codes.Unavailable || failure.Attempts != quick.MaxAttempts {
		t.Errorf("%#v", err)
	}
}

func TestRequestIDOfTheCaller(t *testing.T) {
	service := &failing{errors: []error{refusal(codes.Unavailable)}}
	client := connect(t, serve(t, service.server()), WithPlaintext(), WithRetries(quick))
	_, err := client.Orders.CreateOrder(t.Context(), &orderv1.CreateOrderRequest{RequestId: "mine"})
	must(t, err)
	equal(t, "ids", strings.Join(service.ids, " "), "mine mine")
}

// The contract's comments say whether a request id is the caller's to choose. It is filled in there, and nowhere else: a
// filter of ListAuditEntries stays empty.
func TestRequestIDsAreFilledInWhereTheContractWantsThem(t *testing.T) {
	field := regexp.MustCompile(`(?m)((?:^  //.*\n)+)  string request_id = `)
	message := regexp.MustCompile(`(?m)^message (\w+) \{`)
	filled, left := 0, 0
	for path, text := range contract(t) {
		pkg := strings.ReplaceAll(filepath.Dir(path), "/", ".")
		for _, at := range field.FindAllStringSubmatchIndex(text, -1) {
			names := message.FindAllStringSubmatch(text[:at[0]], -1)
			name := names[len(names)-1][1]
			if !strings.HasSuffix(name, "Request") {
				continue
			}
			messageType, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(pkg + "." + name))
			must(t, err)
			_, id := withRequestID(messageType.New().Interface())
			chosen := strings.HasPrefix(strings.TrimSpace(text[at[2]:at[3]]), "// Chosen by the caller")
			equal(t, name, id != "", chosen)
			if chosen {
				filled++
			} else {
				left++
			}
		}
	}
	if filled < 10 || left < 2 {
		t.Errorf("the contract was not understood: %d are filled in, %d are not", filled, left)
	}
}

func TestRetriesEndWithTheDeadline(t *testing.T) {
	t.Run("a wait that would pass it is not begun", func(t *testing.T) {
		service := &failing{errors: []error{refusal(codes.Unavailable, retryAfter(5*time.Second))}}
		client := connect(t, serve(t, service.server()), WithPlaintext(), WithDefaultTimeout(3*time.Second))
		begin := time.Now()
		_, err := client.Orders.CreateOrder(t.Context(), &orderv1.CreateOrderRequest{})
		equal(t, "code", status.Code(err), codes.Unavailable)
		if took := time.Since(begin); took > time.Second {
			t.Errorf("took %s", took)
		}
	})
	t.Run("one deadline over all attempts", func(t *testing.T) {
		attempts := 0
		client := connect(t, serve(t, orderServer{create: func(ctx context.Context, _ *orderv1.CreateOrderRequest) (*orderv1.CreateOrderResponse, error) {
			if attempts++; attempts < 3 {
				time.Sleep(100 * time.Millisecond)
				return nil, refusal(codes.Unavailable)
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}}), WithPlaintext(), WithRetries(quick), WithDefaultTimeout(500*time.Millisecond))
		begin := time.Now()
		_, err := client.Orders.CreateOrder(t.Context(), &orderv1.CreateOrderRequest{})
		equal(t, "code", status.Code(err), codes.DeadlineExceeded)
		if took := time.Since(begin); took < 490*time.Millisecond || took > time.Second {
			t.Errorf("took %s", took)
		}
	})
	t.Run("the wait is what RetryInfo says, and a little more", func(t *testing.T) {
		service := &failing{errors: []error{refusal(codes.ResourceExhausted, retryAfter(200*time.Millisecond))}}
		client := connect(t, serve(t, service.server()), WithPlaintext(), WithRetries(quick))
		begin := time.Now()
		_, err := client.Orders.CreateOrder(t.Context(), &orderv1.CreateOrderRequest{})
		must(t, err)
		if took := time.Since(begin); took < 200*time.Millisecond || took > 800*time.Millisecond {
			t.Errorf("took %s", took)
		}
	})
	t.Run("a caller that leaves ends the wait", func(t *testing.T) {
		service := &failing{errors: []error{refusal(codes.Unavailable, retryAfter(5*time.Second))}}
		client := connect(t, serve(t, service.server()), WithPlaintext(), WithDefaultTimeout(time.Minute))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		_, err := client.Orders.CreateOrder(ctx, &orderv1.CreateOrderRequest{})
		equal(t, "code", status.Code(err), codes.Canceled)
		equal(t, "errors.Is", errors.Is(err, context.Canceled), true)
	})
}

func TestRetryBudgetIsShared(t *testing.T) {
	policy := quick
	policy.MaxAttempts, policy.BudgetTokens, policy.BudgetTokensPerSuccess = 3, 3, 0.5
	service := &failing{errors: slices.Repeat([]error{refusal(codes.Unavailable)}, 5)}
	client := connect(t, serve(t, service.server()), WithPlaintext(), WithRetries(policy))
	attempts := []int{}
	call := func() { // 3 of 3 tokens
		before := len(service.ids)
		_, _ = client.Orders.CreateOrder(t.Context(), &orderv1.CreateOrderRequest{})
		attempts = append(attempts, len(service.ids)-before)
	}
	call() // fails, 1 token left
	call() // fails, the second retry has no token
	call() // succeeds, half a token
	service.errors = slices.Repeat([]error{refusal(codes.Unavailable)}, 100)
	call() // fails, no token
	if !slices.Equal(attempts, []int{3, 2, 1, 1}) {
		t.Errorf("attempts: %v", attempts)
	}
}

func TestWaits(t *testing.T) {
	policy := DefaultRetryPolicy()
	none := newError(refusal(codes.Unavailable))
	// A deadline that no wait may pass shows how long the wait would have been.
	for failures, bound := range []time.Duration{1: 100 * time.Millisecond, 3: 400 * time.Millisecond, 6: 3200 * time.Millisecond, 9: 5 * time.Second} {
		if bound == 0 {
			continue
		}
		longer := 0
		for range 200 {
			ctx, cancel := context.WithDeadline(context.Background(), time.Now().Add(bound))
			cancel() // a wait that fits ends at once
			if policy.wait(ctx, none, failures).Code == codes.Unavailable {
				longer++
			}
			ctx, cancel = context.WithDeadline(context.Background(), time.Now().Add(bound/2))
			cancel()
			if policy.wait(ctx, none, failures).Code == codes.Unavailable {
				longer += 1000
			}
		}
		if over, half := longer%1000, longer/1000; over > 2 || half < 60 || half > 140 {
			t.Errorf("after %d failures: %d of 200 waits over %s, %d over half of it", failures, over, bound, half)
		}
	}
}

func TestErrors(t *testing.T) {
	service := &failing{errors: []error{
		refusal(codes.FailedPrecondition, &errdetails.ErrorInfo{Reason: "OUT_OF_STOCK", Domain: "openorder", Metadata: map[string]string{"sku": "chair"}}),
		refusal(codes.InvalidArgument,
			&errdetails.ErrorInfo{Reason: "INVALID_ARGUMENT", Domain: "openorder"},
			&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "lines[0].sku", Description: "must be a SKU", Reason: "SKU_MALFORMED"}}}),
		refusal(codes.NotFound, &errdetails.ErrorInfo{Reason: "OUT_OF_STOCK", Domain: "elsewhere"}),
		refusal(codes.FailedPrecondition, &errdetails.ErrorInfo{Reason: "ADDED_LATER", Domain: "openorder"}),
	}}
	client := connect(t, serve(t, service.server()), WithPlaintext())
	call := func() *Error {
		_, err := client.Orders.CreateOrder(t.Context(), &orderv1.CreateOrderRequest{})
		var failure *Error
		if !errors.As(err, &failure) {
			t.Fatalf("%#v", err)
		}
		return failure
	}

	err := call()
	equal(t, "is OUT_OF_STOCK", errors.Is(err, ErrOutOfStock), true)
	equal(t, "is ORDER_NOT_FOUND", errors.Is(err, ErrOrderNotFound), false)
	equal(t, "reason", ReasonOf(errors.Join(err)), ErrOutOfStock)
	equal(t, "metadata", err.Metadata["sku"], "chair")
	s, ok := status.FromError(err)
	equal(t, "status", ok && s.Code() == codes.FailedPrecondition && len(s.Details()) == 1, true)

	err = call()
	equal(t, "violations", len(err.Violations), 1)
	equal(t, "field", err.Violations[0].GetField(), "lines[0].sku")
	equal(t, "field's reason", err.Violations[0].GetReason(), "SKU_MALFORMED")
	equal(t, "text", err.Error(), "CreateOrder: InvalidArgument (INVALID_ARGUMENT): no; lines[0].sku must be a SKU")

	equal(t, "another domain's reason", errors.Is(call(), ErrOutOfStock), false)
	equal(t, "an unknown reason", errors.Is(call(), Reason("ADDED_LATER")), true)
	equal(t, "no reason", ReasonOf(errors.New("other")), "")
}

func TestReasonsAreThoseOfTheContract(t *testing.T) {
	source, err := os.ReadFile("errors.go")
	must(t, err)
	known := map[string]bool{}
	for _, match := range regexp.MustCompile(`= Reason\("(\w+)"\)`).FindAllStringSubmatch(string(source), -1) {
		known[match[1]] = true
	}
	comment := regexp.MustCompile(`(?i)reasons?[: (](?:[^\n]*\n\s*//)*[^\n]*`)
	word := regexp.MustCompile(`\b[A-Z]+(?:_[A-Z]+)+\b`)
	found := map[string]bool{}
	for path, text := range contract(t) {
		if !strings.HasSuffix(path, "_service.proto") {
			continue
		}
		service := text[strings.Index(text, "\nservice "):]
		for _, sentence := range comment.FindAllString(service[:strings.Index(service, "\n}")], -1) {
			for _, reason := range word.FindAllString(sentence, -1) {
				var code codes.Code
				if code.UnmarshalJSON([]byte(`"`+reason+`"`)) != nil && reason != "COMPENSATION_FAILED" {
					found[reason] = true
				}
			}
		}
	}
	for reason := range found {
		equal(t, reason, known[reason], true)
	}
	if len(found) < 30 {
		t.Errorf("the contract was not understood: %v", found)
	}
}

// The public contract, by path.
func contract(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	paths, err := filepath.Glob("../../proto/openorder/*/v1/*.proto")
	must(t, err)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		must(t, err)
		files[strings.TrimPrefix(path, "../../proto/")] = string(text)
	}
	if len(files) == 0 {
		t.Skip("the contract is not beside this module")
	}
	return files
}

func TestPages(t *testing.T) {
	pages := map[string]*orderv1.ListOrdersResponse{
		"":  {Orders: []*orderv1.Order{{OrderId: "1"}, {OrderId: "2"}}, NextPageToken: "b"},
		"b": {NextPageToken: "c"},
		"c": {Orders: []*orderv1.Order{{OrderId: "3"}}},
	}
	asked := []string{}
	client := connect(t, serve(t, orderServer{list: func(_ context.Context, r *orderv1.ListOrdersRequest) (*orderv1.ListOrdersResponse, error) {
		asked = append(asked, r.GetCustomerId()+"/"+r.GetPageToken())
		if page, ok := pages[r.GetPageToken()]; ok {
			return page, nil
		}
		return nil, refusal(codes.InvalidArgument)
	}}), WithPlaintext())
	read := func(request *orderv1.ListOrdersRequest, most int) (ids string, failure error) {
		before := proto.CloneOf(request)
		for order, err := range All(t.Context(), client.Orders.ListOrders, request, (*orderv1.ListOrdersResponse).GetOrders) {
			if err != nil {
				failure = err
				continue // there is nothing after it
			}
			if ids += order.GetOrderId(); len(ids) == most {
				break
			}
		}
		equal(t, "the request is as it was", proto.Equal(before, request), true)
		return ids, failure
	}

	ids, err := read(&orderv1.ListOrdersRequest{CustomerId: "anna"}, 9)
	must(t, err)
	equal(t, "ids", ids, "123")
	equal(t, "asked", strings.Join(asked, " "), "anna/ anna/b anna/c")

	asked = nil
	ids, err = read(&orderv1.ListOrdersRequest{}, 1)
	must(t, err)
	equal(t, "left after the first", ids+strings.Join(asked, " "), "1/")

	pages["b"].NextPageToken = "nonsense"
	ids, err = read(&orderv1.ListOrdersRequest{}, 9)
	equal(t, "before the error", ids, "12")
	equal(t, "code", status.Code(err), codes.InvalidArgument)
}

func TestWatchOrder(t *testing.T) {
	type stream = grpc.ServerStreamingServer[orderv1.WatchOrderResponse]
	send := func(s stream, version int64, status orderv1.OrderStatus) {
		_ = s.Send(&orderv1.WatchOrderResponse{Order: &orderv1.Order{Version: version, Status: status}})
	}
	const pending, paid, preparing, rejected = orderv1.OrderStatus_ORDER_STATUS_PENDING, orderv1.OrderStatus_ORDER_STATUS_PAID,
		orderv1.OrderStatus_ORDER_STATUS_PREPARING, orderv1.OrderStatus_ORDER_STATUS_REJECTED
	unavailable := refusal(codes.Unavailable)
	for name, test := range map[string]struct {
		attempts []func(stream) error // the last again and again
		versions []int64
		code     codes.Code
		made     int
	}{
		"ends at the status": {[]func(stream) error{
			func(s stream) error { send(s, 1, pending); send(s, 2, preparing); <-s.Context().Done(); return nil },
		}, []int64{1, 2}, codes.OK, 1},
		"ends past the status": {[]func(stream) error{
			func(s stream) error { send(s, 4, rejected); <-s.Context().Done(); return nil },
		}, []int64{4}, codes.OK, 1},
		"goes on after breaks, and drops what it gave": {[]func(stream) error{
			func(stream) error { return unavailable },
			func(s stream) error { send(s, 1, pending); return unavailable },
			func(s stream) error {
				send(s, 1, pending)
				send(s, 3, paid)
				return refusal(codes.ResourceExhausted, retryAfter(0))
			},
			func(s stream) error { send(s, 2, pending); send(s, 3, paid); return nil }, // well, and too early
			func(s stream) error { send(s, 5, preparing); return nil },
		}, []int64{1, 3, 5}, codes.OK, 5},
		"gives up without progress": {[]func(stream) error{
			func(s stream) error { send(s, 1, pending); return unavailable },
		}, []int64{1}, codes.Unavailable, 5},
		"what is not retried": {[]func(stream) error{
			func(s stream) error { send(s, 1, pending); return refusal(codes.NotFound) },
		}, []int64{1}, codes.NotFound, 1},
	} {
		t.Run(name, func(t *testing.T) {
			made := 0
			// On a busy machine, a stream of a moment is not to count as one that stood.
			policy := quick
			policy.MaxBackoff = 5 * time.Second
			client := connect(t, serve(t, orderServer{watch: func(r *orderv1.WatchOrderRequest, s stream) error {
				equal(t, "until", r.GetUntil(), preparing)
				made++
				return test.attempts[min(made, len(test.attempts))-1](s)
			}}), WithPlaintext(), WithRetries(policy))
			versions, code := []int64{}, codes.OK
			for order, err := range client.WatchOrder(t.Context(), "1", preparing) {
				if err != nil {
					code = status.Code(err)
					continue
				}
				versions = append(versions, order.GetVersion())
			}
			if !slices.Equal(versions, test.versions) {
				t.Errorf("versions: %v", versions)
			}
			equal(t, "code", code, test.code)
			equal(t, "attempts", made, test.made)
		})
	}
	t.Run("a caller that leaves ends the stream", func(t *testing.T) {
		ended := make(chan struct{})
		client := connect(t, serve(t, orderServer{watch: func(_ *orderv1.WatchOrderRequest, s stream) error {
			send(s, 1, pending)
			<-s.Context().Done()
			close(ended)
			return nil
		}}), WithPlaintext())
		for range client.WatchOrder(t.Context(), "1", preparing) {
			break
		}
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Error("the stream is still open")
		}
	})
}
