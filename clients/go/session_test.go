package openorder

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	orderv1 "github.com/openorder/openorder/clients/go/openorder/order/v1"
	userv1 "github.com/openorder/openorder/clients/go/openorder/user/v1"
)

const password = "correct horse battery staple"

// A service of users, whose tokens are `access-N` and `refresh-N`, and one of orders, which takes the last access token
// alone.
type shop struct {
	userv1.UnimplementedUserServiceServer
	orderServer
	// How long an access token says that it lives.
	life time.Duration
	// What becomes of a refresh instead of an answer, if it returns an error; it may take its time.
	onRefresh func(attempt int) error

	mutex     sync.Mutex
	number    int
	refused   Reason // of all access tokens up to refusedTo
	refusedTo int
	refreshes []string
	signOuts  []string
	orders    []string // what came as authorization, in the order of arrival
}

func (s *shop) session() *userv1.Session {
	s.number++
	return &userv1.Session{
		SessionId: "1", AccessToken: fmt.Sprintf("access-%d", s.number), RefreshToken: fmt.Sprintf("refresh-%d", s.number),
		AccessTokenExpireTime: timestamppb.New(time.Now().Add(s.life)),
	}
}

func authorization(ctx context.Context) string {
	return strings.Join(metadata.ValueFromIncomingContext(ctx, "authorization"), ",")
}

func (s *shop) Authenticate(ctx context.Context, r *userv1.AuthenticateRequest) (*userv1.AuthenticateResponse, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if r.GetPassword() != password || authorization(ctx) != "" {
		return nil, because(codes.Unauthenticated, ErrCredentialsRefused)
	}
	return &userv1.AuthenticateResponse{User: &userv1.User{UserId: "ada"}, Session: s.session()}, nil
}

func (s *shop) RefreshToken(ctx context.Context, r *userv1.RefreshTokenRequest) (*userv1.RefreshTokenResponse, error) {
	s.mutex.Lock()
	s.refreshes = append(s.refreshes, r.GetRefreshToken()+authorization(ctx))
	attempt := len(s.refreshes)
	s.mutex.Unlock()
	if s.onRefresh != nil {
		if err := s.onRefresh(attempt); err != nil {
			return nil, err
		}
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return &userv1.RefreshTokenResponse{Session: s.session()}, nil
}

func (s *shop) SignOut(ctx context.Context, r *userv1.SignOutRequest) (*userv1.SignOutResponse, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.signOuts = append(s.signOuts, r.GetRefreshToken()+authorization(ctx))
	return &userv1.SignOutResponse{EndedSessions: 1}, nil
}

// Refuses the access tokens of so far.
func (s *shop) refuse(reason Reason) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.refused, s.refusedTo = reason, s.number
}

func (s *shop) check(ctx context.Context) (string, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	token := authorization(ctx)
	s.orders = append(s.orders, token)
	var number int
	if _, err := fmt.Sscanf(token, "Bearer access-%d", &number); err == nil && number <= s.refusedTo {
		return "", because(codes.Unauthenticated, s.refused)
	}
	return token, nil
}

func (s *shop) CreateOrder(ctx context.Context, _ *orderv1.CreateOrderRequest) (*orderv1.CreateOrderResponse, error) {
	token, err := s.check(ctx)
	return &orderv1.CreateOrderResponse{Order: &orderv1.Order{OrderId: token}}, err
}

func (s *shop) WatchOrder(_ *orderv1.WatchOrderRequest, stream grpc.ServerStreamingServer[orderv1.WatchOrderResponse]) error {
	for version := int64(1); ; version++ {
		token, err := s.check(stream.Context())
		if err != nil {
			return err
		}
		order := &orderv1.Order{OrderId: token, Version: version, Status: orderv1.OrderStatus_ORDER_STATUS_PENDING}
		if err := stream.Send(&orderv1.WatchOrderResponse{Order: order}); err != nil {
			return err
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func because(code codes.Code, reason Reason) error {
	return refusal(code, &errdetails.ErrorInfo{Reason: string(reason), Domain: Domain})
}

func (s *shop) open(t *testing.T, options ...Option) *Client {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := grpc.NewServer()
	orderv1.RegisterOrderServiceServer(server, s)
	userv1.RegisterUserServiceServer(server, s)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return connect(t, listener.Addr().String(), append([]Option{WithPlaintext(), WithRetries(quick)}, options...)...)
}

func (s *shop) signedIn(t *testing.T, options ...Option) *Client {
	t.Helper()
	client := s.open(t, options...)
	user, err := client.SignIn(t.Context(), "ada@example.com", password)
	must(t, err)
	equal(t, "user", user.GetUserId(), "ada")
	return client
}

// The token that a call was made with.
func callWith(t *testing.T, client *Client) (string, error) {
	t.Helper()
	response, err := client.Orders.CreateOrder(t.Context(), &orderv1.CreateOrderRequest{})
	return response.GetOrder().GetOrderId(), err
}

func mustCallWith(t *testing.T, client *Client, want string) {
	t.Helper()
	got, err := callWith(t, client)
	must(t, err)
	equal(t, "authorization", got, want)
}

func TestSignInAndOut(t *testing.T) {
	shop := &shop{life: time.Minute}
	client := shop.open(t)
	mustCallWith(t, client, "")
	_, err := client.SignIn(t.Context(), "ada@example.com", "a guess")
	equal(t, "refused", errors.Is(err, ErrCredentialsRefused) && !errors.Is(err, ErrSessionEnded), true)
	mustCallWith(t, client, "")
	_, err = client.SignIn(t.Context(), "ada@example.com", password)
	must(t, err)
	mustCallWith(t, client, "Bearer access-1")
	must(t, client.SignOut(t.Context()))
	must(t, client.SignOut(t.Context()))
	mustCallWith(t, client, "")
	equal(t, "sign-outs, without the token", strings.Join(shop.signOuts, " "), "refresh-1")
	equal(t, "refreshes", len(shop.refreshes), 0)
}

func TestATokenIsRenewedBeforeItEndsOnceForAllCalls(t *testing.T) {
	release := make(chan struct{})
	shop := &shop{life: time.Minute, onRefresh: func(int) error { <-release; return nil }}
	client := shop.signedIn(t)
	// Near its end, calls go on with the old one while it is renewed.
	client.session.renewAt = time.Now()
	for range 5 {
		mustCallWith(t, client, "Bearer access-1")
	}
	// After it, they wait.
	client.session.endAt = time.Now()
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			if token, err := callWith(t, client); err != nil || token != "Bearer access-2" {
				t.Errorf("%q, %v", token, err)
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	close(release)
	calls.Wait()
	equal(t, "refreshes, without an access token", strings.Join(shop.refreshes, " "), "refresh-1")
}

func TestWhenATokenIsRenewed(t *testing.T) {
	life := 100 * time.Second
	for range 100 {
		session := &session{}
		begin := time.Now()
		session.begin(&userv1.Session{AccessToken: "a", AccessTokenExpireTime: timestamppb.New(begin.Add(life))})
		if after := session.renewAt.Sub(begin); after < 74*time.Second || after > 91*time.Second {
			t.Errorf("after %s of %s", after, life)
		}
	}
	// The clocks differ by more than it lives: it is good until it is refused.
	shop := &shop{life: -time.Minute}
	client := shop.signedIn(t)
	for range 3 {
		mustCallWith(t, client, "Bearer access-1")
	}
	equal(t, "refreshes", len(shop.refreshes), 0)
}

func TestACallIsSentOnceMoreWithANewToken(t *testing.T) {
	for _, reason := range []Reason{ErrTokenExpired, ErrTokenRevoked} {
		t.Run(string(reason), func(t *testing.T) {
			shop := &shop{life: time.Minute}
			client := shop.signedIn(t)
			shop.refuse(reason)
			var calls sync.WaitGroup
			for range 20 {
				calls.Go(func() {
					if token, err := callWith(t, client); err != nil || token != "Bearer access-2" {
						t.Errorf("%q, %v", token, err)
					}
				})
			}
			calls.Wait()
			equal(t, "refreshes", strings.Join(shop.refreshes, " "), "refresh-1")
		})
	}
	t.Run("and not twice", func(t *testing.T) {
		shop := &shop{life: time.Minute}
		shop.onRefresh = func(int) error { defer func() { shop.refusedTo = 99 }(); return nil }
		client := shop.signedIn(t)
		shop.refuse(ErrTokenExpired)
		_, err := callWith(t, client)
		equal(t, "errors.Is", errors.Is(err, ErrTokenExpired) && !errors.Is(err, ErrSessionEnded), true)
		equal(t, "orders", strings.Join(shop.orders, " "), "Bearer access-1 Bearer access-2")
	})
	t.Run("a fixed token is not renewed", func(t *testing.T) {
		shop := &shop{}
		client := shop.open(t, WithToken("access-0"))
		shop.refuse(ErrTokenExpired)
		_, err := callWith(t, client)
		equal(t, "errors.Is", errors.Is(err, ErrTokenExpired), true)
		equal(t, "calls", len(shop.orders)+len(shop.refreshes), 1)
	})
}

func TestASessionThatHasEnded(t *testing.T) {
	for name, test := range map[string]struct{ call, refresh, reason Reason }{
		"revoked":                        {ErrTokenRevoked, ErrRefreshTokenRefused, ErrTokenRevoked},
		"expired, and refused":           {ErrTokenExpired, ErrRefreshTokenRefused, ErrRefreshTokenRefused},
		"whose refresh token was reused": {ErrTokenExpired, ErrRefreshTokenReused, ErrRefreshTokenReused},
	} {
		t.Run(name, func(t *testing.T) {
			shop := &shop{life: time.Minute, onRefresh: func(int) error { return because(codes.Unauthenticated, test.refresh) }}
			client := shop.signedIn(t)
			shop.refuse(test.call)
			for range 3 {
				_, err := callWith(t, client)
				equal(t, "ended", errors.Is(err, ErrSessionEnded), true)
				equal(t, "reason", ReasonOf(err), test.reason)
				equal(t, "code", status.Code(err), codes.Unauthenticated)
				for _, err := range client.WatchOrder(t.Context(), "1", orderv1.OrderStatus_ORDER_STATUS_PAID) {
					equal(t, "a watch", errors.Is(err, ErrSessionEnded), true)
				}
			}
			equal(t, "calls", len(shop.orders), 1)
			equal(t, "refreshes", len(shop.refreshes), 1)
			shop.onRefresh = nil
			_, err := client.SignIn(t.Context(), "ada@example.com", password)
			must(t, err)
			mustCallWith(t, client, "Bearer access-2")
		})
	}
}

func TestARefreshThatFailsEndsNothing(t *testing.T) {
	shop := &shop{life: time.Minute}
	shop.onRefresh = func(attempt int) error {
		if attempt <= quick.MaxAttempts {
			return refusal(codes.Unavailable)
		}
		return nil
	}
	client := shop.signedIn(t)
	shop.refuse(ErrTokenExpired)
	_, err := callWith(t, client)
	equal(t, "code", status.Code(err), codes.Unavailable)
	equal(t, "ended", errors.Is(err, ErrSessionEnded), false)
	// It is not asked for again at once, however many calls there are.
	for range 5 {
		_, err = callWith(t, client)
		equal(t, "code", status.Code(err), codes.Unavailable)
	}
	equal(t, "refreshes", len(shop.refreshes), quick.MaxAttempts)
	time.Sleep(refreshPause + 50*time.Millisecond)
	mustCallWith(t, client, "Bearer access-2")
	equal(t, "refresh tokens", strings.Join(slices.Compact(shop.refreshes), " "), "refresh-1")
}

func TestWaitingForATokenEndsWithTheDeadline(t *testing.T) {
	release := make(chan struct{})
	shop := &shop{life: time.Minute, onRefresh: func(int) error { <-release; return nil }}
	client := shop.signedIn(t)
	shop.refuse(ErrTokenExpired)
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := client.Orders.CreateOrder(ctx, &orderv1.CreateOrderRequest{})
	equal(t, "errors.Is", errors.Is(err, context.DeadlineExceeded), true)
	if took := time.Since(begin); took < 190*time.Millisecond || took > time.Second {
		t.Errorf("took %s", took)
	}
	// The answer that it did not wait for is what the session goes on with.
	close(release)
	mustCallWith(t, client, "Bearer access-2")
	equal(t, "refreshes", len(shop.refreshes), 1)
}

func TestAWatchOutlivesItsToken(t *testing.T) {
	shop := &shop{life: time.Minute}
	client := shop.signedIn(t)
	tokens := []string{}
	for order, err := range client.WatchOrder(t.Context(), "1", orderv1.OrderStatus_ORDER_STATUS_PAID) {
		must(t, err)
		tokens = append(tokens, order.GetOrderId())
		if order.GetOrderId() == "Bearer access-2" {
			break
		}
		if len(tokens) == 2 {
			shop.refuse(ErrTokenRevoked)
		}
	}
	equal(t, "tokens", strings.Join(slices.Compact(tokens), " "), "Bearer access-1 Bearer access-2")
	equal(t, "refreshes", len(shop.refreshes), 1)
}

func TestSigningOutWhileATokenIsRenewed(t *testing.T) {
	release := make(chan struct{})
	shop := &shop{life: time.Minute, onRefresh: func(int) error { <-release; return nil }}
	client := shop.signedIn(t)
	shop.refuse(ErrTokenExpired)
	failed := make(chan error)
	go func() { _, err := callWith(t, client); failed <- err }()
	for begin := time.Now(); time.Since(begin) < 5*time.Second; time.Sleep(time.Millisecond) {
		shop.mutex.Lock()
		begun := len(shop.refreshes)
		shop.mutex.Unlock()
		if begun > 0 {
			break
		}
	}
	must(t, client.SignOut(t.Context()))
	close(release)
	equal(t, "code", status.Code(<-failed), codes.Unauthenticated)
	mustCallWith(t, client, "")
}

func TestTokensThatAreGiven(t *testing.T) {
	t.Run("an API key", func(t *testing.T) {
		client := (&shop{}).open(t, WithToken("oo_id_secret"))
		mustCallWith(t, client, "Bearer oo_id_secret")
		_, err := client.SignIn(t.Context(), "ada@example.com", password)
		equal(t, "SignIn is refused", err != nil, true)
	})
	t.Run("out of the environment", func(t *testing.T) {
		client := (&shop{}).open(t, WithEnvironmentToken())
		t.Setenv(TokenVariable, "")
		mustCallWith(t, client, "")
		t.Setenv(TokenVariable, "oo_id_secret\n")
		mustCallWith(t, client, "Bearer oo_id_secret")
	})
	for _, token := range []string{"", "secret\n", "a secret", "sécret"} {
		client := (&shop{}).open(t, WithToken(token))
		_, err := callWith(t, client)
		equal(t, "code", status.Code(err), codes.Unauthenticated)
		if text := err.Error(); token != "" && (strings.Contains(text, token) || strings.Contains(text, "cret")) {
			t.Errorf("the token stands in %q", text)
		}
	}
}

func TestSecretsAreNotSentInPlaintextToOthers(t *testing.T) {
	for _, options := range [][]Option{{WithPlaintext()}, {WithPlaintext(), WithRetries(quick)}} {
		client := connect(t, "192.0.2.1:8080", options...)
		_, err := client.SignIn(t.Context(), "ada@example.com", password)
		if err == nil || !strings.Contains(err.Error(), "in plaintext") || strings.Contains(err.Error(), password) {
			t.Errorf("%v", err)
		}
	}
	for _, options := range [][]Option{{WithToken("t"), WithInsecureCredentials(), WithPlaintext()}, {WithToken("t")}} {
		connect(t, "192.0.2.1:8080", options...)
	}
	client := connect(t, "192.0.2.1:8080", WithPlaintext(), WithInsecureCredentials(), WithDefaultTimeout(time.Millisecond))
	_, err := client.SignIn(t.Context(), "ada@example.com", password)
	var failure *Error
	equal(t, "it was tried", errors.As(err, &failure), true)
}

func TestTokensStandInNoText(t *testing.T) {
	shop := &shop{life: time.Minute}
	seen := []string{}
	client := shop.signedIn(t, WithDialOptions(grpc.WithChainUnaryInterceptor(
		func(ctx context.Context, method string, request, response any, connection *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
			sent, _ := metadata.FromOutgoingContext(ctx)
			seen = append(seen, fmt.Sprint(sent, ctx))
			return invoke(ctx, method, request, response, connection, options...)
		})))
	mustCallWith(t, client, "Bearer access-1")
	shop.onRefresh = func(int) error { return because(codes.Unauthenticated, ErrRefreshTokenReused) }
	shop.refuse(ErrTokenExpired)
	_, err := callWith(t, client)
	texts := append(seen, fmt.Sprintf("%v %+v %#v", client, client, client), fmt.Sprintf("%v %+v %#v", err, err, err))
	for _, text := range texts {
		for _, secret := range []string{"access-", "refresh-", password} {
			if strings.Contains(text, secret) {
				t.Errorf("%s stands in %s", secret, text)
			}
		}
	}
	equal(t, "interceptors of the caller's own saw calls", len(seen) >= 2, true)
}
