// Package events reads what OpenOrder publishes to Kafka: each record decoded to its generated message, in the trace that
// it was published in. It is a package of its own so that a program without Kafka neither builds nor downloads a client
// of it.
package events

import (
	"context"
	"errors"
	"iter"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
)

// Config of a Reader. Brokers, Group and Topics are required.
type Config struct {
	// Brokers to begin with, each `host:port`.
	Brokers []string
	// Group is a consumer group of one's own: `order`, `inventory`, `payment` and `notification` are OpenOrder's. A new
	// one begins with the oldest records.
	Group string
	// Topics without the prefix, such as `order.lifecycle.v1`.
	Topics []string
	// TopicPrefix of the deployment, its kafka.topic_prefix.
	TopicPrefix string

	// OnUnreadable gets each record of a known type that is not that message. After nil it is passed over; an error ends
	// the loop with that error, and the record comes again to the next reader. Not given: the loop ends with
	// *UnreadableError.
	OnUnreadable func(context.Context, *UnreadableError) error
	// OnInterruption is told what the reader goes on after by itself: brokers that are away, a lost place in the group,
	// records that Kafka no longer has.
	OnInterruption func(error)
	// RememberedIDs is how many event ids are remembered to drop copies by, the oldest forgotten first; 0: 100,000.
	RememberedIDs int
	// CommitInterval is the time between commits of what was handled; 0: 1 s. Close commits as well.
	CommitInterval time.Duration
	// CheckInterval: as long as no record comes, the brokers are asked for an answer this often, so that what keeps the
	// reader from them does not stay unknown; 0: 10 s.
	CheckInterval time.Duration
	// CloseTimeout is how long Close takes at most to commit and to leave the group; 0: 10 s.
	CloseTimeout time.Duration
	// TracerProvider of the spans; nil: the global one.
	TracerProvider trace.TracerProvider
	// Kafka holds further options of the Kafka client: TLS, SASL, a logger.
	Kafka []kgo.Opt
}

// Reader is a member of a consumer group. One loop at a time reads from it.
type Reader struct {
	config Config
	client *kgo.Client
	tracer trace.Tracer
	seen   *recentIDs
	// Polled and not handled yet: a loop was left in its midst.
	current *kgo.Record
	counts  struct{ handled, copies, unknownType, foreign, unreadable atomic.Int64 }
}

// Counts of records that a reader is done with.
type Counts struct {
	// Handled by the caller.
	Handled int64
	// Copies of events that were handled before.
	Copies int64
	// UnknownType: of a type that this version of the contract does not have. They are no error.
	UnknownType int64
	// Foreign: without a type or a value; somebody else's.
	Foreign int64
	// Unreadable: given to OnUnreadable, and passed over.
	Unreadable int64
}

// NewReader returns a reader. It reaches for the brokers by itself, and waits for them as long as it must.
func NewReader(config Config) (*Reader, error) {
	if len(config.Brokers) == 0 || config.Group == "" || len(config.Topics) == 0 {
		return nil, errors.New("events: a reader needs brokers, a group and topics")
	}
	if config.RememberedIDs < 0 || config.CommitInterval < 0 || config.CheckInterval < 0 || config.CloseTimeout < 0 {
		return nil, errors.New("events: bounds of a reader are not negative")
	}
	setDefault(&config.RememberedIDs, 100_000)
	setDefault(&config.CommitInterval, time.Second)
	setDefault(&config.CheckInterval, 10*time.Second)
	setDefault(&config.CloseTimeout, 10*time.Second)
	if config.TracerProvider == nil {
		config.TracerProvider = otel.GetTracerProvider()
	}
	topics := slices.Clone(config.Topics)
	for i := range topics {
		topics[i] = config.TopicPrefix + topics[i]
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(config.Brokers...),
		kgo.ConsumerGroup(config.Group),
		kgo.ConsumeTopics(topics...),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		// Only what was handled is committed, and no partition moves to another member while one of its records is being
		// handled.
		kgo.AutoCommitMarks(),
		kgo.AutoCommitInterval(config.CommitInterval),
		kgo.BlockRebalanceOnPoll(),
	}, config.Kafka...)...)
	if err != nil {
		return nil, err
	}
	return &Reader{
		config: config,
		client: client,
		tracer: config.TracerProvider.Tracer("github.com/openorder/openorder/clients/go/events"),
		seen:   newRecentIDs(config.RememberedIDs),
	}, nil
}

func setDefault[Value comparable](value *Value, otherwise Value) {
	var zero Value
	if *value == zero {
		*value = otherwise
	}
}

// Events is an endless loop over the events, in the order of each partition:
//
//	for event, err := range reader.Events(ctx) {
//
// The body runs in a span of kind CONSUMER, a child of the event's own; event.Context() carries it. When the body is done,
// the event counts as handled: its offset is committed within CommitInterval, and a copy of it is dropped. An event whose
// body is left by break, return or a panic was not handled: it is the first of the next loop, and comes again after a
// restart. A body must end within Kafka's rebalance timeout (60 s, kgo.RebalanceTimeout), and after a loop that was left
// the next one begins or Close is called in that time; or the group goes on without this member, and the event comes to
// another one.
//
// An error is the last: that of ctx, that of OnUnreadable, kgo.ErrClientClosed, or one of Kafka that does not pass, such
// as missing rights.
//
// Copies are dropped among the last RememberedIDs events that this reader handled. It remembers none across a restart, nor
// what another member of the group handled: an effect that must not happen twice is stored with the event's ID, or with
// the highest position for its topic, key and source, in one transaction.
func (r *Reader) Events(ctx context.Context) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		for {
			if err := r.poll(ctx); err != nil {
				yield(nil, err)
				return
			}
			event, count, err := r.read(ctx, r.current)
			if err != nil {
				yield(nil, err)
				return
			}
			if event != nil && !r.hand(event, yield) {
				return
			}
			count.Add(1)
			r.client.MarkCommitRecords(r.current)
			r.current = nil
		}
	}
}

// Makes the next record current, unless the one before was not handled.
func (r *Reader) poll(ctx context.Context) error {
	for r.current == nil && ctx.Err() == nil {
		r.client.AllowRebalance()
		limited, cancel := context.WithTimeout(ctx, r.config.CheckInterval)
		// One at a time: what waits in the client is of the partitions that this member has, also after they moved.
		fetches := r.client.PollRecords(limited, 1)
		cancel()
		if records := fetches.Records(); len(records) == 1 {
			r.current = records[0]
		}
		for _, fetchError := range fetches.Errors() {
			err := fetchError.Err
			if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				// Kafka's client keeps to itself why it reaches nobody.
				err = r.client.Ping(ctx)
			}
			switch {
			case err == nil || ctx.Err() != nil:
			case !passes(err):
				return err
			case r.config.OnInterruption != nil:
				r.config.OnInterruption(err)
			}
		}
	}
	if r.current == nil {
		r.client.AllowRebalance()
	}
	return ctx.Err()
}

// Whether Kafka's client goes on after this error by itself.
func passes(err error) bool {
	for _, lasting := range []error{
		kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
		kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism, kerr.InvalidTopicException, kerr.InvalidGroupID,
	} {
		if errors.Is(err, lasting) {
			return false
		}
	}
	var session *kgo.ErrGroupSession
	var lost *kgo.ErrDataLoss
	var network *net.OpError
	return errors.As(err, &session) || errors.As(err, &lost) || errors.As(err, &network) ||
		kgo.IsRetryableBrokerErr(err) || kerr.IsRetriable(err)
}

// The event of a record, or nil where there is none for the caller; and where it counts when it is done with.
func (r *Reader) read(ctx context.Context, record *kgo.Record) (*Event, *atomic.Int64, error) {
	event, err := decode(record, r.config.TopicPrefix)
	var unreadable *UnreadableError
	switch {
	case errors.Is(err, errForeign):
		return nil, &r.counts.foreign, nil
	case errors.Is(err, errUnknownType):
		return nil, &r.counts.unknownType, nil
	case errors.As(err, &unreadable) && r.config.OnUnreadable != nil:
		return nil, &r.counts.unreadable, r.config.OnUnreadable(ctx, unreadable)
	case err != nil:
		return nil, nil, err
	case r.seen.has(event.ID):
		return nil, &r.counts.copies, nil
	}
	event.ctx = ctx
	return event, &r.counts.handled, nil
}

// Runs the body of the loop; false when it was left.
func (r *Reader) hand(event *Event, yield func(*Event, error) bool) bool {
	span := event.startSpan(r.tracer, r.config.Group)
	defer span.End()
	if !yield(event, nil) {
		return false
	}
	r.seen.add(event.ID)
	return true
}

// Counts of the records so far. It may be called at any time.
func (r *Reader) Counts() Counts {
	return Counts{
		Handled:     r.counts.handled.Load(),
		Copies:      r.counts.copies.Load(),
		UnknownType: r.counts.unknownType.Load(),
		Foreign:     r.counts.foreign.Load(),
		Unreadable:  r.counts.unreadable.Load(),
	}
}

// Close commits what was handled and leaves the group. The error is that of the commit: what it should have committed
// comes again.
func (r *Reader) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), r.config.CloseTimeout)
	defer cancel()
	r.client.AllowRebalance()
	err := r.client.CommitMarkedOffsets(ctx)
	r.client.LeaveGroupContext(ctx)
	r.client.Close()
	return err
}

// The last event ids, up to a bound.
type recentIDs struct {
	ids   map[string]struct{}
	ring  []string
	next  int
	bound int
}

func newRecentIDs(bound int) *recentIDs {
	return &recentIDs{ids: map[string]struct{}{}, bound: bound}
}

func (r *recentIDs) has(id string) bool {
	_, ok := r.ids[id]
	return ok
}

func (r *recentIDs) add(id string) {
	if id == "" || r.has(id) {
		return
	}
	if len(r.ring) < r.bound {
		r.ring = append(r.ring, id)
	} else {
		delete(r.ids, r.ring[r.next])
		r.ring[r.next] = id
		r.next = (r.next + 1) % r.bound
	}
	r.ids[id] = struct{}{}
}
