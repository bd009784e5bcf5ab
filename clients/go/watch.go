package openorder

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	orderv1 "github.com/openorder/openorder/clients/go/openorder/order/v1"
)

// WatchOrder is an order as it stands, and again after each change, until it has reached the status `until`, is past it, or
// has a final one (DELIVERED, CANCELLED, REJECTED): the last one given says which. With ORDER_STATUS_UNSPECIFIED only a
// final status ends it. Versions rise; changes in quick succession may come as one.
//
// It goes on by itself after UNAVAILABLE, after RESOURCE_EXHAUSTED that comes with RetryInfo, and after a lost connection,
// with the waits of the client's RetryPolicy. It gives up after MaxAttempts attempts without progress, which is an order
// that was not given before, or a stream that stood for MaxBackoff; the retry budget is not asked. It has no deadline but
// that of its context. After an error it ends.
//
// It outlives its access token. When the stream is refused because the token has ended or was revoked, it goes on with a new
// one, and ends with ErrSessionEnded where there is none.
func (c *Client) WatchOrder(ctx context.Context, orderID string, until orderv1.OrderStatus) iter.Seq2[*orderv1.Order, error] {
	return func(yield func(*orderv1.Order, error) bool) {
		// Leaving the loop ends the stream as well.
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		request := &orderv1.WatchOrderRequest{OrderId: orderID, Until: until}
		version, failures, isRenewed := int64(0), 0, false
		for {
			begin := time.Now()
			stream, err := c.Orders.WatchOrder(ctx, request)
			for err == nil {
				var response *orderv1.WatchOrderResponse
				if response, err = stream.Recv(); err != nil {
					break
				}
				order := response.GetOrder()
				if order.GetVersion() <= version {
					continue
				}
				version, failures, isRenewed = order.GetVersion(), 0, false
				if !yield(order, nil) || isReached(order.GetStatus(), until) {
					return
				}
			}
			if time.Since(begin) >= c.settings.retries.MaxBackoff {
				failures = 0
			}
			broken := watchError(err)
			if broken.staleToken && !isRenewed {
				isRenewed = true
				continue
			}
			failures++
			if failure := c.settings.retries.wait(ctx, broken, failures); failure != nil {
				failure.Method, failure.Attempts = orderv1.OrderService_WatchOrder_FullMethodName, failures
				yield(nil, failure)
				return
			}
		}
	}
}

func watchError(err error) *Error {
	if errors.Is(err, io.EOF) {
		// The stream ended well and before its time: its server may have gone in between.
		return newError(status.Error(codes.Unavailable, "the stream ended before the order had the status"))
	}
	return asError(err)
}

// The numbers of statuses rise along an order's way, and the final ones are the highest.
func isReached(current, until orderv1.OrderStatus) bool {
	if current >= orderv1.OrderStatus_ORDER_STATUS_DELIVERED {
		return true
	}
	return until != orderv1.OrderStatus_ORDER_STATUS_UNSPECIFIED && current >= until
}
