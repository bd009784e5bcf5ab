package openorder

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	orderv1 "github.com/openorder/openorder/clients/go/openorder/order/v1"
)

// An order service whose answers a test writes.
type orderServer struct {
	orderv1.UnimplementedOrderServiceServer
	create func(context.Context, *orderv1.CreateOrderRequest) (*orderv1.CreateOrderResponse, error)
	list   func(context.Context, *orderv1.ListOrdersRequest) (*orderv1.ListOrdersResponse, error)
	watch  func(*orderv1.WatchOrderRequest, grpc.ServerStreamingServer[orderv1.WatchOrderResponse]) error
}

func (s orderServer) CreateOrder(ctx context.Context, r *orderv1.CreateOrderRequest) (*orderv1.CreateOrderResponse, error) {
	return s.create(ctx, r)
}

func (s orderServer) ListOrders(ctx context.Context, r *orderv1.ListOrdersRequest) (*orderv1.ListOrdersResponse, error) {
	return s.list(ctx, r)
}

func (s orderServer) WatchOrder(r *orderv1.WatchOrderRequest, stream grpc.ServerStreamingServer[orderv1.WatchOrderResponse]) error {
	return s.watch(r, stream)
}

// Its address, on this machine.
func serve(t *testing.T, orders orderServer, options ...grpc.ServerOption) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := grpc.NewServer(options...)
	orderv1.RegisterOrderServiceServer(server, orders)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func connect(t *testing.T, address string, options ...Option) *Client {
	t.Helper()
	client, err := Connect(address, options...)
	must(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[V comparable](t *testing.T, name string, got, want V) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", name, got, want)
	}
}

// Answers with the caller's authorization as the order's id.
var echoToken = orderServer{create: func(ctx context.Context, _ *orderv1.CreateOrderRequest) (*orderv1.CreateOrderResponse, error) {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	return &orderv1.CreateOrderResponse{Order: &orderv1.Order{OrderId: strings.Join(values, ",")}}, nil
}}

func TestTLS(t *testing.T) {
	authority := newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(authority.certificate)
	address := serve(t, echoToken, grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{authority.issue(t, "gateway")},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
	})))
	ours := &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{authority.issue(t, "client")}}

	t.Run("own authority, client certificate, token", func(t *testing.T) {
		client := connect(t, address, WithTLS(ours), WithToken("secret"))
		response, err := client.Orders.CreateOrder(t.Context(), &orderv1.CreateOrderRequest{})
		must(t, err)
		equal(t, "authorization", response.GetOrder().GetOrderId(), "Bearer secret")
	})
	for name, option := range map[string]Option{
		"no client certificate": WithTLS(&tls.Config{RootCAs: pool}),
		"unknown authority":     WithTLS(&tls.Config{Certificates: ours.Certificates}),
		"plaintext":             WithPlaintext(),
	} {
		t.Run(name, func(t *testing.T) {
			client := connect(t, address, option, WithRetries(RetryPolicy{MaxAttempts: 1, InitialBackoff: 1, MaxBackoff: 1}))
			_, err := client.Orders.CreateOrder(t.Context(), &orderv1.CreateOrderRequest{})
			equal(t, "code", status.Code(err), codes.Unavailable)
		})
	}
}

func TestToken(t *testing.T) {
	address := serve(t, echoToken)
	t.Run("plaintext on this machine, asked for with each call", func(t *testing.T) {
		calls := 0
		client := connect(t, address, WithPlaintext(), WithTokenSource(func(context.Context) (string, error) {
			calls++
			return strings.Repeat("x", calls), nil
		}))
		for _, want := range []string{"Bearer x", "Bearer xx"} {
			response, err := client.Orders.CreateOrder(t.Context(), &orderv1.CreateOrderRequest{})
			must(t, err)
			equal(t, "authorization", response.GetOrder().GetOrderId(), want)
		}
	})
	t.Run("a source that fails", func(t *testing.T) {
		client := connect(t, address, WithPlaintext(), WithTokenSource(func(context.Context) (string, error) {
			return "", errors.New("no token today")
		}))
		_, err := client.Orders.CreateOrder(t.Context(), &orderv1.CreateOrderRequest{})
		equal(t, "code", status.Code(err), codes.Unauthenticated)
	})
	t.Run("plaintext to others is refused", func(t *testing.T) {
		for address, refused := range map[string]bool{
			"127.0.0.1:8080": false, "127.8.8.8:8080": false, "[::1]:8080": false, "localhost:8080": false,
			"dns:///localhost:8080": false, "gateway:8080": true, "10.0.0.1:8080": true, "localhost.example.com:8080": true,
			"[::]:8080": true, "0.0.0.0:8080": true, "127.0.0.1.example.com:8080": true, "localhost": true,
		} {
			client, err := Connect(address, WithPlaintext(), WithToken("secret"))
			equal(t, address, err != nil, refused)
			if err == nil {
				must(t, client.Close())
			}
		}
	})
}

func TestConnectRefusesWhatMakesNoSense(t *testing.T) {
	for name, option := range map[string]Option{
		"TLS and plaintext": func(s *settings) { WithTLS(&tls.Config{})(s); WithPlaintext()(s) },
		"no time":           WithDefaultTimeout(0),
		"no attempt":        WithRetries(RetryPolicy{InitialBackoff: 1, MaxBackoff: 1}),
		"no wait":           WithRetries(RetryPolicy{MaxAttempts: 2}),
		"negative tokens":   WithRetries(RetryPolicy{MaxAttempts: 2, InitialBackoff: 1, MaxBackoff: 1, BudgetTokens: -1}),
	} {
		if _, err := Connect("127.0.0.1:1", option); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	certificate, err := x509.ParseCertificate(der)
	must(t, err)
	return authority{certificate, key}
}

func (a authority) issue(t *testing.T, name string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
