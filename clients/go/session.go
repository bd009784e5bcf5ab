package openorder

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	userv1 "github.com/openorder/openorder/clients/go/openorder/user/v1"
)

const (
	// How long a refresh may take, all its attempts together. It belongs to no call: whoever waits for it waits no longer
	// than its own deadline, and one who leaves does not take the answer along that the session goes on with.
	refreshTimeout = 10 * time.Second
	// After a refresh that failed and may succeed later, no other is begun for so long.
	refreshPause = time.Second
	// An access token is renewed when such a part of its life is over: at random in between, so that clients that signed in
	// together do not come back together.
	renewFrom, renewTo = 0.75, 0.9
)

// ErrSessionEnded is true (errors.Is) for the errors of calls after the client's session was ended by somebody else: it was
// revoked, or its refresh token was refused. The error's Reason says which. SignIn begins another session.
var ErrSessionEnded = errors.New("openorder: the session has ended: sign in again")

// SignIn signs the client in by password: from then on, all its calls are made as this user, with access tokens that are
// renewed before they end. It takes the place of the session of before, which is not ended by that: see SignOut.
//
// A call that is refused because its token has ended, or was revoked, is sent once more with a new one. When there is none,
// because the session has ended, that call and all later ones fail with ErrSessionEnded.
//
// It refuses to send a password in plaintext to another machine, unless WithInsecureCredentials is given, and when the client
// has a token of its own (WithToken). What the service refuses is an *Error: ErrCredentialsRefused, ErrSignInDelayed.
func (c *Client) SignIn(ctx context.Context, email, password string) (*userv1.User, error) {
	switch {
	case c.settings.token != nil:
		return nil, errors.New("openorder: the client has a token already, and needs no session")
	case !c.settings.maySendSecrets:
		return nil, fmt.Errorf("openorder: a password is not sent in plaintext to %s", c.connection.Target())
	}
	response, err := c.Users.Authenticate(ctx, &userv1.AuthenticateRequest{Email: email, Password: password})
	if err != nil {
		return nil, err
	}
	c.session.begin(response.GetSession())
	return response.GetUser(), nil
}

// SignOut ends the session, and forgets its tokens also where the service cannot be told: then it returns why. Without a
// session it does nothing.
func (c *Client) SignOut(ctx context.Context) error {
	refresh := c.session.forget()
	if refresh == "" {
		return nil
	}
	request := &userv1.SignOutRequest{Target: &userv1.SignOutRequest_RefreshToken{RefreshToken: refresh}}
	_, err := c.Users.SignOut(withoutToken(ctx), request)
	return err
}

func (c *Client) refreshSession(token string) (*userv1.Session, error) {
	ctx, cancel := context.WithTimeout(context.Background(), refreshTimeout)
	defer cancel()
	response, err := c.Users.RefreshToken(ctx, &userv1.RefreshTokenRequest{RefreshToken: token})
	return response.GetSession(), err
}

// The session of a client. It is never a value of its own: as a pointer, it is printed as an address.
type session struct {
	// Asks for a new session; set once.
	renew func(refresh string) (*userv1.Session, error)

	mutex           sync.Mutex
	access, refresh string
	// When the access token is to be renewed, and when it ends; zero: not known, as where the clocks differ by more than it
	// lives. Then it is good until it is refused.
	renewAt, endAt time.Time
	// By which the access token was refused.
	refused *Error
	// The refresh that is under way: one, whatever the number of calls.
	underWay *refresh
	// Why the last one failed, and until when there is no other.
	failure     *Error
	pausedUntil time.Time
	// Why there is no session any more.
	ended *Error
}

type refresh struct {
	done chan struct{}
	// Set before done is closed: one of them.
	access  string
	failure *Error
}

func (s *session) begin(given *userv1.Session) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.clear()
	s.take(given)
}

// Forgets everything, and returns the refresh token.
func (s *session) forget() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	token := s.refresh
	s.clear()
	return token
}

func (s *session) clear() {
	s.access, s.refresh = "", ""
	s.renewAt, s.endAt, s.pausedUntil = time.Time{}, time.Time{}, time.Time{}
	s.refused, s.failure, s.ended, s.underWay = nil, nil, nil, nil
}

func (s *session) take(given *userv1.Session) {
	s.clear()
	s.access, s.refresh = given.GetAccessToken(), given.GetRefreshToken()
	now := time.Now()
	if life := given.GetAccessTokenExpireTime().AsTime().Sub(now); life > 0 {
		part := renewFrom + (renewTo-renewFrom)*rand.Float64()
		s.renewAt, s.endAt = now.Add(time.Duration(part*float64(life))), now.Add(life)
	}
}

// The access token to send; empty without a session. Near its end it is renewed beside the calls; after it, they wait for
// that, no longer than their context.
func (s *session) token(ctx context.Context) (string, error) {
	s.mutex.Lock()
	now := time.Now()
	good := s.refused == nil && (s.endAt.IsZero() || now.Before(s.endAt))
	switch {
	case s.ended != nil:
		defer s.mutex.Unlock()
		return "", s.ended
	case s.access == "", good && (s.renewAt.IsZero() || now.Before(s.renewAt)):
		defer s.mutex.Unlock()
		return s.access, nil
	case s.underWay == nil && now.Before(s.pausedUntil):
		defer s.mutex.Unlock()
		if good {
			return s.access, nil
		}
		return "", s.failure
	}
	if s.underWay == nil {
		s.underWay = &refresh{done: make(chan struct{})}
		go s.carryOut(s.underWay, s.refresh)
	}
	underWay, access := s.underWay, s.access
	s.mutex.Unlock()
	if good {
		return access, nil
	}
	select {
	case <-underWay.done:
		if underWay.failure != nil {
			return "", underWay.failure
		}
		return underWay.access, nil
	case <-ctx.Done():
		return "", newError(status.FromContextError(ctx.Err()).Err())
	}
}

func (s *session) carryOut(underWay *refresh, token string) {
	given, err := s.renew(token)
	if err == nil && given.GetAccessToken() == "" {
		err = status.Error(codes.Internal, "the session came without an access token")
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	defer close(underWay.done)
	if s.underWay != underWay {
		underWay.failure = newError(status.Error(codes.Unauthenticated, "the client signed in or out meanwhile"))
		return
	}
	if err == nil {
		s.take(given)
		underWay.access = s.access
		return
	}
	failure := asError(err)
	if failure.Code == codes.DeadlineExceeded || failure.Code == codes.Canceled {
		// It was the refresh that had no time left, and not the call.
		failure = newError(status.Error(codes.Unavailable, "the access token could not be renewed in time"))
	}
	if failure.Code == codes.Unauthenticated {
		// What the call was refused by says more than that the refresh was, too.
		if s.refused != nil && s.refused.Reason == ErrTokenRevoked {
			failure = s.refused
		}
		ended := *failure
		ended.sessionEnded = true
		s.clear()
		s.ended, underWay.failure = &ended, &ended
		return
	}
	s.underWay, s.failure, s.pausedUntil = nil, failure, time.Now().Add(refreshPause)
	underWay.failure = failure
}

// Whether a call that was refused so is to be made again: it came with a token of the session that is not good any more. The
// next token is a new one, or there is none.
func (s *session) isStale(token string, failure *Error) bool {
	if token == "" || failure.Domain != Domain || (failure.Reason != ErrTokenExpired && failure.Reason != ErrTokenRevoked) {
		return false
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if token == s.access {
		s.refused = failure
	}
	return s.access != "" || s.ended != nil
}

// What a call is sent with, as values of its context. Nothing else can read them, interceptors neither.
type (
	tokenKey        struct{}
	withoutTokenKey struct{}
)

// As a pointer, a context shows its type alone.
type secret struct{ text string }

func withoutToken(ctx context.Context) context.Context {
	return context.WithValue(ctx, withoutTokenKey{}, true)
}

// The context of an attempt, with the token to send in it, and that token where it is one of the session.
func (c *Client) withToken(ctx context.Context, method string) (context.Context, string, error) {
	if ctx.Value(withoutTokenKey{}) != nil ||
		method == userv1.UserService_Authenticate_FullMethodName || method == userv1.UserService_RefreshToken_FullMethodName {
		return ctx, "", nil
	}
	source := c.settings.token
	if source == nil {
		token, err := c.session.token(ctx)
		return context.WithValue(ctx, tokenKey{}, &secret{token}), token, err
	}
	token, err := source(ctx)
	if err == nil && token != "" && !isToken(token) {
		err = errNoToken
	}
	if err != nil {
		if _, ok := status.FromError(err); !ok {
			err = status.Errorf(codes.Unauthenticated, "there is no token: %v", err)
		}
		return ctx, "", err
	}
	return context.WithValue(ctx, tokenKey{}, &secret{token}), "", nil
}

var errNoToken = errors.New("what was given as a token has characters that no token has")

// RFC 6750 and API keys: visible ASCII characters. An error of gRPC about others would show them.
func isToken(token string) bool {
	for _, character := range []byte(token) {
		if character <= ' ' || character > '~' {
			return false
		}
	}
	return true
}

// Sends what withToken found. Here, and not among the metadata of the call: no interceptor of the caller's sees it, and gRPC
// refuses to send it over a connection that is not as secure as was said.
type bearer struct{ plaintext bool }

func (b bearer) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, ok := ctx.Value(tokenKey{}).(*secret)
	if !ok || token.text == "" {
		return nil, nil
	}
	return map[string]string{"authorization": "Bearer " + token.text}, nil
}

func (b bearer) RequireTransportSecurity() bool { return !b.plaintext }
