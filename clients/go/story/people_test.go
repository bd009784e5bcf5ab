package story

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	openorder "github.com/openorder/openorder/clients/go"
	orderv1 "github.com/openorder/openorder/clients/go/openorder/order/v1"
	paymentv1 "github.com/openorder/openorder/clients/go/openorder/payment/v1"
	userv1 "github.com/openorder/openorder/clients/go/openorder/user/v1"
)

// Who calls in the story, each by a client of its own, and the steps that are about that.
type people struct {
	story script
	// Signed in from the beginning to the end.
	operator *openorder.Client
	// Without a token.
	nobody *openorder.Client
	// Signed in by the step `sign in`.
	customer, stranger *openorder.Client
	customerID         string
	strangerID         string
	programID          string
	// The API key of a program that acts for customers.
	key string
	// An access token that nobody renews, and when it was given.
	first   string
	firstAt time.Time
}

func newPeople(t *testing.T, story script) *people {
	p := &people{
		story: story, operator: connect(t), nobody: connect(t), customer: connect(t), stranger: connect(t),
	}
	_, err := p.operator.SignIn(t.Context(), os.Getenv("STORY_OPERATOR_EMAIL"), os.Getenv("STORY_OPERATOR_PASSWORD"))
	must(t, err)
	return p
}

func connect(t *testing.T, options ...openorder.Option) *openorder.Client {
	t.Helper()
	// More time than by default: on a machine with much to do a gateway takes seconds to come back.
	options = append(options, openorder.WithPlaintext(), openorder.WithDefaultTimeout(30*time.Second))
	client, err := openorder.Connect(os.Getenv("STORY_GATEWAY"), options...)
	must(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func request(who person, roles ...userv1.UserRole) *userv1.RegisterUserRequest {
	return &userv1.RegisterUserRequest{Email: who.Email, Password: who.Password, DisplayName: who.DisplayName, Roles: roles}
}

func (p *people) register(t *testing.T) {
	ctx := t.Context()
	for _, who := range []person{p.story.Customer, p.story.Stranger} {
		registered, err := p.nobody.Users.RegisterUser(ctx, request(who))
		must(t, err)
		user := registered.GetUser()
		equal(t, "roles", fmt.Sprint(user.GetRoles()), fmt.Sprint([]userv1.UserRole{userv1.UserRole_USER_ROLE_CUSTOMER}))
		equal(t, "email", user.GetEmail(), who.Email)
		if who == p.story.Customer {
			p.customerID = user.GetUserId()
		} else {
			p.strangerID = user.GetUserId()
		}
	}
	_, err := p.nobody.Users.RegisterUser(ctx, request(p.story.Customer))
	equal(t, "twice", errors.Is(err, openorder.ErrEmailTaken), true)
	_, err = p.nobody.Users.RegisterUser(ctx, request(p.story.Program, userv1.UserRole_USER_ROLE_SERVICE))
	equal(t, "with a role", errors.Is(err, openorder.ErrRoleRequired), true)
	registered, err := p.operator.Users.RegisterUser(ctx, request(p.story.Program, userv1.UserRole_USER_ROLE_SERVICE))
	must(t, err)
	p.programID = registered.GetUser().GetUserId()
}

func (p *people) signIn(t *testing.T) {
	ctx, who, self := t.Context(), p.story.Customer, &userv1.GetUserRequest{UserId: p.customerID}
	_, err := p.customer.SignIn(ctx, who.Email, p.story.WrongPassword)
	equal(t, "a wrong password", errors.Is(err, openorder.ErrCredentialsRefused), true)
	_, err = p.customer.Users.GetUser(ctx, self)
	equal(t, "without a token", errors.Is(err, openorder.ErrTokenMissing), true)
	user, err := p.customer.SignIn(ctx, who.Email, who.Password)
	must(t, err)
	equal(t, "who signed in", user.GetUserId(), p.customerID)
	read, err := p.customer.Users.GetUser(ctx, self)
	must(t, err)
	equal(t, "the user itself", read.GetUser().GetEmail(), who.Email)
	_, err = p.stranger.SignIn(ctx, p.story.Stranger.Email, p.story.Stranger.Password)
	must(t, err)
	answer, err := p.nobody.Users.Authenticate(ctx, &userv1.AuthenticateRequest{Email: who.Email, Password: who.Password})
	must(t, err)
	p.first, p.firstAt = answer.GetSession().GetAccessToken(), time.Now()

	made, err := p.operator.Users.CreateApiKey(ctx, &userv1.CreateApiKeyRequest{UserId: p.programID, DisplayName: "story"})
	must(t, err)
	p.key = made.GetKey()
	program, err := connect(t, openorder.WithToken(p.key)).Users.GetUser(ctx, &userv1.GetUserRequest{UserId: p.programID})
	must(t, err)
	equal(t, "who has the key", program.GetUser().GetEmail(), p.story.Program.Email)
}

func (p *people) notMine(t *testing.T, lines []*orderv1.RequestedLine) {
	ctx := t.Context()
	amount, err := openorder.NewMoney(p.story.Wallet.AmountMinor, p.story.Product.Currency)
	must(t, err)
	charge := &paymentv1.ChargeWalletRequest{UserId: p.customerID, Amount: amount}
	_, err = p.customer.Payments.ChargeWallet(ctx, charge)
	must(t, err)
	order := &orderv1.CreateOrderRequest{CustomerId: p.customerID, Lines: lines}
	created, err := p.customer.Orders.CreateOrder(ctx, order)
	must(t, err)
	id := created.GetOrder().GetOrderId()
	last := orderv1.OrderStatus_ORDER_STATUS_UNSPECIFIED
	for order, err := range p.customer.WatchOrder(ctx, id, preparing) {
		must(t, err)
		last = order.GetStatus()
	}
	equal(t, "the customer's own order", last, preparing)

	_, err = p.stranger.Orders.GetOrder(ctx, &orderv1.GetOrderRequest{OrderId: id})
	equal(t, "its order", errors.Is(err, openorder.ErrOrderNotFound), true)
	for _, err := range p.stranger.WatchOrder(ctx, id, preparing) {
		equal(t, "watching it", errors.Is(err, openorder.ErrOrderNotFound), true)
	}
	_, err = p.stranger.Payments.ChargeWallet(ctx, charge)
	equal(t, "its wallet", errors.Is(err, openorder.ErrNotYourWallet), true)
	_, err = p.stranger.Orders.CreateOrder(ctx, order)
	equal(t, "an order in its name", errors.Is(err, openorder.ErrCustomerMismatch), true)
}

func (p *people) expiredToken(t *testing.T) {
	time.Sleep(time.Until(p.firstAt.Add(p.story.ExpiredToken.AfterMS * time.Millisecond)))
	self := &userv1.GetUserRequest{UserId: p.customerID}
	_, err := connect(t, openorder.WithToken(p.first)).Users.GetUser(t.Context(), self)
	equal(t, "a token that nobody renewed", errors.Is(err, openorder.ErrTokenExpired), true)
	_, err = p.customer.Users.GetUser(t.Context(), self)
	must(t, err)
}

func (p *people) revokedToken(t *testing.T) {
	ctx, self := t.Context(), &userv1.GetUserRequest{UserId: p.customerID}
	within := p.story.RevokedToken.WithinMS * time.Millisecond
	_, err := p.operator.Users.AssignRole(ctx, &userv1.AssignRoleRequest{
		UserId: p.strangerID, Roles: []userv1.UserRole{userv1.UserRole_USER_ROLE_CUSTOMER, userv1.UserRole_USER_ROLE_VIEWER},
	})
	must(t, err)
	for begin := time.Now(); time.Since(begin) < within; time.Sleep(50 * time.Millisecond) {
		if _, err = p.stranger.Users.ListUsers(ctx, &userv1.ListUsersRequest{PageSize: 1}); !errors.Is(err, openorder.ErrRoleRequired) {
			break
		}
	}
	must(t, err)

	orders, err := p.customer.Orders.ListOrders(ctx, &orderv1.ListOrdersRequest{CustomerId: p.customerID})
	must(t, err)
	id := orders.GetOrders()[0].GetOrderId()
	watching, watched := make(chan struct{}), make(chan error, 1)
	go func() {
		seen := 0
		for _, err := range p.customer.WatchOrder(ctx, id, delivered) {
			if seen++; seen == 1 {
				close(watching)
			}
			if err != nil {
				watched <- err
			}
		}
	}()
	<-watching
	target := &userv1.SignOutRequest_UserId{UserId: p.customerID}
	_, err = p.operator.Users.SignOut(ctx, &userv1.SignOutRequest{Target: target})
	must(t, err)
	for begin := time.Now(); err == nil && time.Since(begin) < within; time.Sleep(50 * time.Millisecond) {
		_, err = p.customer.Users.GetUser(ctx, self)
	}
	equal(t, "ended", errors.Is(err, openorder.ErrSessionEnded), true)
	reason := openorder.ReasonOf(err)
	equal(t, "why", reason == openorder.ErrTokenRevoked || reason == openorder.ErrRefreshTokenRefused, true)
	select {
	case err := <-watched:
		equal(t, "the watch", errors.Is(err, openorder.ErrSessionEnded), true)
	case <-time.After(within):
		t.Error("the watch goes on")
	}
	_, err = p.customer.SignIn(ctx, p.story.Customer.Email, p.story.Customer.Password)
	must(t, err)
	_, err = p.customer.Users.GetUser(ctx, self)
	must(t, err)
	must(t, p.customer.SignOut(ctx))
	_, err = p.customer.Users.GetUser(ctx, self)
	equal(t, "signed out", errors.Is(err, openorder.ErrTokenMissing), true)
}
