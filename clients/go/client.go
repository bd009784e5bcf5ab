// Package openorder is the client of an OpenOrder gateway: the generated services of the contract, with request ids,
// retries, deadlines and errors taken care of; money, pages and the watching of orders beside them. The package events
// reads what OpenOrder publishes to Kafka.
package openorder

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	analyticsv1 "github.com/openorder/openorder/clients/go/openorder/analytics/v1"
	cartv1 "github.com/openorder/openorder/clients/go/openorder/cart/v1"
	historyv1 "github.com/openorder/openorder/clients/go/openorder/history/v1"
	inventoryv1 "github.com/openorder/openorder/clients/go/openorder/inventory/v1"
	notificationv1 "github.com/openorder/openorder/clients/go/openorder/notification/v1"
	operationsv1 "github.com/openorder/openorder/clients/go/openorder/operations/v1"
	orderv1 "github.com/openorder/openorder/clients/go/openorder/order/v1"
	paymentv1 "github.com/openorder/openorder/clients/go/openorder/payment/v1"
	productv1 "github.com/openorder/openorder/clients/go/openorder/product/v1"
	promotionv1 "github.com/openorder/openorder/clients/go/openorder/promotion/v1"
	shippingv1 "github.com/openorder/openorder/clients/go/openorder/shipping/v1"
	userv1 "github.com/openorder/openorder/clients/go/openorder/user/v1"
)

// Version of this client; its module has the same.
const Version = "0.1.0"

const (
	// What the gateway sends at most in one answer (its gateway.answer_bytes_max); grpc-go alone would refuse more than
	// 4 MiB.
	answerBytesMax = 8 << 20
	// After so long without a sign of life the gateway is asked for one, while calls are open; after so long without an
	// answer the connection is given up.
	keepaliveInterval, keepaliveTimeout = 30 * time.Second, 10 * time.Second
	connectTimeout                      = 5 * time.Second
	// A lost connection is tried again at least so often: one a client, whatever the number of its calls. A call that is
	// sent again while there is none fails at once.
	reconnectBackoffMax = time.Second
)

// Client calls one gateway. It is safe for concurrent use, and one is enough for a program. Each unary method of its
// services fills in the request id, keeps the default deadline, is retried, and answers with *Error. Their streams answer
// with *Error as well, and the rest is the caller's: see WatchOrder.
type Client struct {
	Orders        orderv1.OrderServiceClient
	Products      productv1.ProductServiceClient
	Inventory     inventoryv1.InventoryServiceClient
	Payments      paymentv1.PaymentServiceClient
	Notifications notificationv1.NotificationServiceClient
	Promotions    promotionv1.PromotionServiceClient
	Shipments     shippingv1.ShippingServiceClient
	Analytics     analyticsv1.AnalyticsServiceClient
	History       historyv1.HistoryServiceClient
	Carts         cartv1.CartServiceClient
	Users         userv1.UserServiceClient
	Operations    operationsv1.OperationsServiceClient

	connection *grpc.ClientConn
	settings   settings
	budget     budget
	session    *session
}

type settings struct {
	tls            *tls.Config
	plaintext      bool
	maySendSecrets bool
	token          func(context.Context) (string, error)
	defaultTimeout time.Duration
	retries        RetryPolicy
	dial           []grpc.DialOption
}

// Option of Connect.
type Option func(*settings)

// WithTLS sets what TLS needs beyond the system's certificate authorities: one's own in RootCAs, a client certificate in
// Certificates.
func WithTLS(config *tls.Config) Option {
	return func(s *settings) { s.tls = config }
}

// WithPlaintext does without TLS, as a gateway on the same machine or behind a mesh may.
func WithPlaintext() Option {
	return func(s *settings) { s.plaintext = true }
}

// WithToken sends `authorization: Bearer token` with each call: an API key, or an access token. Who signs in by password
// uses SignIn instead.
func WithToken(token string) Option {
	return WithTokenSource(func(context.Context) (string, error) {
		if token == "" {
			return "", errors.New("an empty token was given")
		}
		return token, nil
	})
}

// WithTokenSource asks for the token before each attempt of a call: the source keeps it, and renews it in time. When it
// fails, the call does, with UNAUTHENTICATED or the status of its error. An empty token is not sent.
func WithTokenSource(source func(context.Context) (string, error)) Option {
	return func(s *settings) { s.token = source }
}

// TokenVariable is the environment variable that WithEnvironmentToken reads.
const TokenVariable = "OPENORDER_TOKEN"

// WithEnvironmentToken sends what the environment variable OPENORDER_TOKEN holds, such as an API key, and nothing where it is
// not set.
func WithEnvironmentToken() Option {
	return WithTokenSource(func(context.Context) (string, error) { return strings.TrimSpace(os.Getenv(TokenVariable)), nil })
}

// WithInsecureCredentials sends tokens and passwords without TLS to other machines as well: everybody on the way can read and
// use them. For networks that encrypt by themselves.
func WithInsecureCredentials() Option {
	return func(s *settings) { s.maySendSecrets = true }
}

// WithDefaultTimeout sets the time that a unary call has where its context has no deadline: 10 s if this is not given. It
// spans all attempts.
func WithDefaultTimeout(timeout time.Duration) Option {
	return func(s *settings) { s.defaultTimeout = timeout }
}

// WithRetries replaces DefaultRetryPolicy.
func WithRetries(policy RetryPolicy) Option {
	return func(s *settings) { s.retries = policy }
}

// WithDialOptions hands options to gRPC as they are, such as a stats handler. Interceptors among them see each attempt of a
// call.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) { s.dial = append(s.dial, options...) }
}

// Connect returns a client of the gateway at this address, `host:port` or a target of gRPC. It speaks TLS unless
// WithPlaintext is given. The connection is made with the first call, and made anew by itself.
//
// It refuses to send a token in plaintext to anything but this machine, unless WithInsecureCredentials is given, and settings
// that make no sense.
func Connect(address string, options ...Option) (*Client, error) {
	s := settings{defaultTimeout: 10 * time.Second, retries: DefaultRetryPolicy()}
	for _, option := range options {
		option(&s)
	}
	s.maySendSecrets = s.maySendSecrets || !s.plaintext || isLoopback(address)
	switch {
	case s.plaintext && s.tls != nil:
		return nil, errors.New("openorder: both TLS and plaintext are asked for")
	case s.token != nil && !s.maySendSecrets:
		return nil, fmt.Errorf("openorder: a token is not sent in plaintext to %s", address)
	case s.defaultTimeout <= 0:
		return nil, errors.New("openorder: the default timeout must be more than 0")
	}
	if err := s.retries.validate(); err != nil {
		return nil, err
	}
	client := &Client{settings: s, session: &session{}}
	client.budget.fill(s.retries.BudgetTokens)

	transport := insecure.NewCredentials()
	if !s.plaintext {
		transport = credentials.NewTLS(s.tls)
	}
	reconnect := backoff.DefaultConfig
	reconnect.BaseDelay, reconnect.MaxDelay = s.retries.InitialBackoff, reconnectBackoffMax
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithUserAgent("openorder-go/" + Version),
		grpc.WithChainUnaryInterceptor(client.interceptUnary),
		grpc.WithChainStreamInterceptor(client.interceptStream),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(answerBytesMax)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveInterval, Timeout: keepaliveTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: connectTimeout}),
		grpc.WithPerRPCCredentials(bearer{plaintext: s.plaintext}),
		// What is retried is decided here alone, and by no text in DNS.
		grpc.WithDisableServiceConfig(),
	}
	connection, err := grpc.NewClient(address, append(dial, s.dial...)...)
	if err != nil {
		return nil, fmt.Errorf("openorder: %w", err)
	}
	client.connection = connection
	client.Orders = orderv1.NewOrderServiceClient(connection)
	client.Products = productv1.NewProductServiceClient(connection)
	client.Inventory = inventoryv1.NewInventoryServiceClient(connection)
	client.Payments = paymentv1.NewPaymentServiceClient(connection)
	client.Notifications = notificationv1.NewNotificationServiceClient(connection)
	client.Promotions = promotionv1.NewPromotionServiceClient(connection)
	client.Shipments = shippingv1.NewShippingServiceClient(connection)
	client.Analytics = analyticsv1.NewAnalyticsServiceClient(connection)
	client.History = historyv1.NewHistoryServiceClient(connection)
	client.Carts = cartv1.NewCartServiceClient(connection)
	client.Users = userv1.NewUserServiceClient(connection)
	client.Operations = operationsv1.NewOperationsServiceClient(connection)
	client.session.renew = client.refreshSession
	return client, nil
}

// Close ends the connection, and the calls that are open with CANCELLED.
func (c *Client) Close() error { return c.connection.Close() }

// Connection is what the services call over, for others such as grpc.health.v1.Health.
func (c *Client) Connection() *grpc.ClientConn { return c.connection }

// Only what is certainly this machine: `localhost`, 127.0.0.0/8 and ::1, with a port.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address[strings.LastIndexByte(address, '/')+1:])
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
