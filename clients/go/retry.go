package openorder

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// RetryPolicy says how often and after which waits a unary call is sent again. It is, after UNAVAILABLE, and after
// RESOURCE_EXHAUSTED that comes with RetryInfo; after nothing else. All attempts of a call have its one deadline and its
// one request id.
type RetryPolicy struct {
	// Attempts of one call, the first included; 1: no retries. Of WatchOrder: attempts without progress.
	MaxAttempts int
	// The wait before a retry is random, between 0 and InitialBackoff, doubled for each retry up to MaxBackoff. Where the
	// answer has RetryInfo, it is the delay in there, and up to a fifth of it and InitialBackoff more.
	InitialBackoff, MaxBackoff time.Duration
	// All calls of a client share these tokens: a retry takes 1, a success gives BudgetTokensPerSuccess back, up to
	// BudgetTokens. Without a token there is no retry: callers do not multiply the load of a gateway that is away.
	BudgetTokens, BudgetTokensPerSuccess float64
}

// DefaultRetryPolicy is what a client has unless WithRetries is given.
func DefaultRetryPolicy() RetryPolicy {
	return RetryPolicy{
		MaxAttempts:            10,
		InitialBackoff:         100 * time.Millisecond,
		MaxBackoff:             5 * time.Second,
		BudgetTokens:           100,
		BudgetTokensPerSuccess: 0.2,
	}
}

func (p RetryPolicy) validate() error {
	switch {
	case p.MaxAttempts < 1:
		return errors.New("openorder: a retry policy needs at least one attempt")
	case p.InitialBackoff <= 0 || p.MaxBackoff < p.InitialBackoff:
		return errors.New("openorder: a retry policy needs 0 < InitialBackoff <= MaxBackoff")
	case p.BudgetTokens < 0 || p.BudgetTokensPerSuccess < 0:
		return errors.New("openorder: a retry policy has no negative tokens")
	}
	return nil
}

// Waits before the attempt after so many failed ones, and returns nil. Otherwise there is to be none: the error is not of
// the retried ones, or the attempts are used up, or the wait would pass the deadline (then it returns at once), or the
// caller left meanwhile.
func (p RetryPolicy) wait(ctx context.Context, failure *Error, failures int) *Error {
	if failures >= p.MaxAttempts || !failure.isRetried() {
		return failure
	}
	var delay time.Duration
	if failure.HasRetryDelay {
		delay = failure.RetryDelay + rand.N(failure.RetryDelay/5+p.InitialBackoff)
	} else {
		bound := p.InitialBackoff
		for i := 1; i < failures && bound < p.MaxBackoff; i++ {
			bound *= 2
		}
		delay = rand.N(min(bound, p.MaxBackoff))
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= delay {
		return failure
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return newError(status.FromContextError(ctx.Err()).Err())
	case <-timer.C:
		return nil
	}
}

// Tokens of a client's retries.
type budget struct {
	mutex       sync.Mutex
	tokens, max float64
}

func (b *budget) fill(max float64) { b.tokens, b.max = max, max }

func (b *budget) put(tokens float64) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.tokens = min(b.max, b.tokens+tokens)
}

func (b *budget) take() bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// One unary call, all its attempts.
func (c *Client) interceptUnary(
	ctx context.Context, method string, request, response any,
	connection *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.settings.defaultTimeout)
		defer cancel()
	}
	request, requestID := withRequestID(request)
	isRenewed := false
	for attempts := 1; ; attempts++ {
		attempt, token, err := c.withToken(ctx, method)
		if err == nil {
			err = invoke(attempt, method, request, response, connection, options...)
		}
		if err == nil {
			c.budget.put(c.settings.retries.BudgetTokensPerSuccess)
			return nil
		}
		failure := asError(err)
		if !isRenewed && c.session.isStale(token, failure) {
			isRenewed = true
			continue
		}
		if failure.isRetried() && c.budget.take() {
			if failure = c.settings.retries.wait(ctx, failure, attempts); failure == nil {
				continue
			}
			// Not sent again after all.
			c.budget.put(1)
		}
		failure.Method, failure.RequestID, failure.Attempts = method, requestID, attempts
		return failure
	}
}

// Requests whose request_id names an act of before, and does not make the call repeatable.
var namesAnotherRequest = map[protoreflect.FullName]bool{
	"openorder.operations.v1.CancelReplayRequest":     true,
	"openorder.operations.v1.ListAuditEntriesRequest": true,
}

// The request to send, and its request id: a copy with a new one where the caller's has none. Empty for a request without
// such a field.
func withRequestID(request any) (any, string) {
	message, ok := request.(proto.Message)
	if !ok {
		return request, ""
	}
	reflected := message.ProtoReflect()
	field := reflected.Descriptor().Fields().ByName("request_id")
	if field == nil || field.Kind() != protoreflect.StringKind || field.IsList() {
		return request, ""
	}
	if id := reflected.Get(field).String(); id != "" || namesAnotherRequest[reflected.Descriptor().FullName()] {
		return request, id
	}
	// Version 7 sorts by time, as the server's ids do. Its random numbers cannot fail on the systems that Go runs on.
	id := uuid.Must(uuid.NewV7()).String()
	message = proto.Clone(message)
	message.ProtoReflect().Set(field, protoreflect.ValueOfString(id))
	return message, id
}

func (c *Client) interceptStream(
	ctx context.Context, description *grpc.StreamDesc, connection *grpc.ClientConn, method string,
	open grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	ctx, token, err := c.withToken(ctx, method)
	if err != nil {
		return nil, c.streamError(err, method, "")
	}
	stream, err := open(ctx, description, connection, method, options...)
	if err != nil {
		return nil, c.streamError(err, method, token)
	}
	return errorStream{stream, c, method, token}, nil
}

// A stream whose errors are *Error.
type errorStream struct {
	grpc.ClientStream
	client *Client
	method string
	token  string
}

func (s errorStream) RecvMsg(message any) error {
	return s.client.streamError(s.ClientStream.RecvMsg(message), s.method, s.token)
}

func (c *Client) streamError(err error, method, token string) error {
	if err == nil || err == io.EOF { // grpc-go gives this very value
		return err
	}
	failure := asError(err)
	failure.Method, failure.Attempts = method, 1
	failure.staleToken = c.session.isStale(token, failure)
	return failure
}

// UNAVAILABLE, and RESOURCE_EXHAUSTED that says when to come again.
func (e *Error) isRetried() bool {
	return e.Code == codes.Unavailable || (e.Code == codes.ResourceExhausted && e.HasRetryDelay)
}
