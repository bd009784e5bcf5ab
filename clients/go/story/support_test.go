package story

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	openorder "github.com/openorder/openorder/clients/go"
)

// clients/story.json.
type script struct {
	Product product
	SoldOut product `json:"sold_out"`
	Wallet  struct {
		UserID      string `json:"user_id"`
		AmountMinor int64  `json:"amount_minor"`
	}
	Order struct {
		CustomerID string `json:"customer_id"`
		Quantity   int32
	}
	Timeline []string
	Cart     struct {
		CustomerID string `json:"customer_id"`
		Quantity   int32
	}
	Pages struct {
		CustomerID string `json:"customer_id"`
		Orders     int
		PageSize   int32 `json:"page_size"`
	}
	BadInput struct {
		Request json.RawMessage
		Fields  []string
	} `json:"bad_input"`
	Deadline struct {
		CustomerID string        `json:"customer_id"`
		TimeoutMS  time.Duration `json:"timeout_ms"`
		LateMSMax  time.Duration `json:"late_ms_max"`
	}
	KilledGateway struct {
		CustomerID      string `json:"customer_id"`
		Orders, Callers int
	} `json:"killed_gateway"`
	Shipped struct {
		CustomerID string `json:"customer_id"`
	}
	Customer, Stranger, Program person
	WrongPassword               string `json:"wrong_password"`
	ExpiredToken                struct {
		AfterMS time.Duration `json:"after_ms"`
	} `json:"expired_token"`
	RevokedToken struct {
		WithinMS time.Duration `json:"within_ms"`
	} `json:"revoked_token"`
}

type person struct {
	Email, Password string
	DisplayName     string `json:"display_name"`
}

type product struct {
	Request    json.RawMessage
	PriceMinor int64 `json:"price_minor"`
	Currency   string
}

func readmeExample(t *testing.T) string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	must(t, err)
	return regexp.MustCompile("(?s)```go\n(package main\n.*?)```").FindStringSubmatch(string(readme))[1]
}

// Runs `go run` or the like on a program, which has what the client's module has.
func goCommand(t *testing.T, ctx context.Context, program string, arguments ...string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "main.go")
	must(t, os.WriteFile(file, []byte(program), 0o644))
	command := exec.CommandContext(ctx, "go", append(arguments, file)...)
	command.Dir = ".."
	output, err := command.CombinedOutput()
	return string(output), err
}

// The name of the message that an event of an order is: its type's last word.
func (script) messageOf(eventType string) string {
	word := eventType[strings.LastIndexByte(eventType, '.')+1:]
	return "openorder.order.v1.Order" + strings.ToUpper(word[:1]) + word[1:]
}

func messageName(message proto.Message) string {
	return string(message.ProtoReflect().Descriptor().FullName())
}

// What is missing of a consumer's span of ours in the trace, whose parent is a span of the trace.
func consumerSpans(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	must(t, err)
	defer response.Body.Close()
	var traces struct {
		Data []struct {
			Spans []struct {
				SpanID, ProcessID string
				References        []struct{ RefType, SpanID string }
				Tags              []struct {
					Key   string
					Value any
				}
			}
			Processes map[string]struct{ ServiceName string }
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&traces); err != nil || len(traces.Data) == 0 {
		return fmt.Sprintf("no trace yet: %s %v", response.Status, err)
	}
	ids, ours := map[string]bool{}, 0
	for _, span := range traces.Data[0].Spans {
		ids[span.SpanID] = true
	}
	for _, span := range traces.Data[0].Spans {
		if traces.Data[0].Processes[span.ProcessID].ServiceName != "story-go" {
			continue
		}
		isConsumer := false
		for _, tag := range span.Tags {
			isConsumer = isConsumer || (tag.Key == "span.kind" && tag.Value == "consumer")
		}
		if isConsumer && len(span.References) == 1 && span.References[0].RefType == "CHILD_OF" && ids[span.References[0].SpanID] {
			ours++
		}
	}
	if ours == 0 {
		return fmt.Sprintf("no span of ours among %d", len(ids))
	}
	return ""
}

func firstRecord(t *testing.T, ctx context.Context, kafka *kgo.Client, key string) *kgo.Record {
	t.Helper()
	for {
		fetches := kafka.PollFetches(ctx)
		must(t, fetches.Err())
		for _, record := range fetches.Records() {
			if string(record.Key) == key {
				return record
			}
		}
	}
}

func control(t *testing.T, what string) {
	t.Helper()
	if output, err := exec.Command(os.Getenv("STORY_CONTROL"), "gateway", what).CombinedOutput(); err != nil {
		t.Errorf("gateway %s: %v: %s", what, err, output)
	}
}

func failureOf(t *testing.T, err error) *openorder.Error {
	t.Helper()
	var failure *openorder.Error
	if !errors.As(err, &failure) {
		t.Fatalf("%#v", err)
	}
	return failure
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
