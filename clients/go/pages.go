package openorder

import (
	"context"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// All is what a method lists, over all its pages, each asked for when it is needed:
//
//	request := &orderv1.ListOrdersRequest{CustomerId: "anna"}
//	for order, err := range openorder.All(ctx, client.Orders.ListOrders, request, (*orderv1.ListOrdersResponse).GetOrders) {
//
// It begins at the request's page_token, and leaves the request as it is. After an error it ends.
func All[Request interface {
	proto.Message
	GetPageToken() string
}, Response interface{ GetNextPageToken() string }, Item any](
	ctx context.Context,
	list func(context.Context, Request, ...grpc.CallOption) (Response, error),
	request Request,
	items func(Response) []Item,
) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		page := proto.CloneOf(request)
		token := page.ProtoReflect().Descriptor().Fields().ByName("page_token")
		for {
			response, err := list(ctx, page)
			if err != nil {
				var none Item
				yield(none, err)
				return
			}
			// A page may be empty and not the last.
			for _, item := range items(response) {
				if !yield(item, nil) {
					return
				}
			}
			if response.GetNextPageToken() == "" {
				return
			}
			page.ProtoReflect().Set(token, protoreflect.ValueOfString(response.GetNextPageToken()))
		}
	}
}
