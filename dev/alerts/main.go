// Checks alert rules with Prometheus' own code, without a Prometheus server.
//
//	alerts-check RULES                          the file is right
//	alerts-check RULES TESTS                    and its alerts fire when the file of tests says so, and only then
//	alerts-check RULES URL [SCRAPES [STEP]]     scrapes URL once a second, SCRAPES times (default 3), as if STEP
//	                                            (default 60s) had passed between any two, and prints the alerts:
//	                                            NAME <tab> STATE <tab> LABELS, a line each
//
// The exit code is 0 when the file is right and its tests hold and, with a URL, all scrapes and rules worked; 1 otherwise.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/tsdb"
)

const bodyBytesMax = 64 << 20

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "alerts-check:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) < 1 || len(arguments) > 4 {
		return errors.New("usage: alerts-check RULES [TESTS | URL [SCRAPES [STEP]]]")
	}
	groups, errs := rulefmt.ParseFile(arguments[0], false)
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	alerts, err := alertingRules(groups)
	if err != nil {
		return err
	}
	if len(arguments) == 1 {
		fmt.Printf("%s: %d alerts\n", arguments[0], len(alerts))
		return nil
	}
	if !strings.Contains(arguments[1], "://") {
		return test(func() ([]*rules.AlertingRule, error) { return alertingRules(groups) }, arguments[1])
	}
	scrapes, step := 3, time.Minute
	if len(arguments) > 2 {
		if scrapes, err = strconv.Atoi(arguments[2]); err != nil || scrapes < 1 || scrapes > 1000 {
			return fmt.Errorf("SCRAPES must be a number from 1 to 1000, not %q", arguments[2])
		}
	}
	if len(arguments) > 3 {
		if step, err = time.ParseDuration(arguments[3]); err != nil || step <= 0 {
			return fmt.Errorf("STEP must be a time such as 60s, not %q", arguments[3])
		}
	}
	return watch(alerts, arguments[1], scrapes, step)
}

func alertingRules(groups *rulefmt.RuleGroups) ([]*rules.AlertingRule, error) {
	var alerts []*rules.AlertingRule
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "" {
				continue
			}
			if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" || rule.Labels["severity"] == "" {
				return nil, fmt.Errorf("%s: an alert has a severity, a summary and a description", rule.Alert)
			}
			expression, err := parser.ParseExpr(rule.Expr)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", rule.Alert, err)
			}
			alerts = append(alerts, rules.NewAlertingRule(rule.Alert, expression, time.Duration(rule.For),
				time.Duration(rule.KeepFiringFor), labels.FromMap(rule.Labels), labels.FromMap(rule.Annotations),
				labels.EmptyLabels(), "", true, slog.New(slog.DiscardHandler)))
		}
	}
	return alerts, nil
}

func watch(alerts []*rules.AlertingRule, url string, scrapes int, step time.Duration) error {
	folder, err := os.MkdirTemp("", "alerts-check")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	storage, err := tsdb.Open(folder, slog.New(slog.DiscardHandler), nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		return err
	}
	defer storage.Close()
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: 5 * step})
	defer engine.Close()
	query := rules.EngineQueryFunc(engine, storage)
	// Begins in the past and ends now.
	at := time.Now().Add(-step * time.Duration(scrapes))
	for scrape := range scrapes {
		if scrape > 0 {
			time.Sleep(time.Second)
		}
		at = at.Add(step)
		if err := store(storage, url, at); err != nil {
			return fmt.Errorf("%s: %w", url, err)
		}
		for _, alert := range alerts {
			if _, err := alert.Eval(context.Background(), 0, at, query, nil, 0); err != nil {
				return fmt.Errorf("%s: %w", alert.Name(), err)
			}
		}
	}
	var lines []string
	for _, alert := range alerts {
		for _, active := range alert.ActiveAlerts() {
			lines = append(lines, fmt.Sprintf("%s\t%s\t%s", alert.Name(), active.State, active.Labels))
		}
	}
	sort.Strings(lines)
	for _, line := range lines {
		fmt.Println(line)
	}
	return nil
}

// Stores one scrape of the text format.
func store(storage *tsdb.DB, url string, at time.Time) error {
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, bodyBytesMax))
	if err != nil {
		return err
	}
	appender := storage.Appender(context.Background())
	parse := textparse.NewPromParser(body, labels.NewSymbolTable(), false)
	for {
		entry, err := parse.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if entry != textparse.EntrySeries {
			continue
		}
		_, _, value := parse.Series()
		var series labels.Labels
		parse.Labels(&series)
		for parse.Exemplar(&exemplar.Exemplar{}) {
		}
		if _, err := appender.Append(0, series, at.UnixMilli(), value); err != nil {
			return err
		}
	}
	// What Prometheus itself says of a target that answers.
	up := labels.FromStrings(labels.MetricName, "up", "job", "openorder", "instance", url)
	if _, err := appender.Append(0, up, at.UnixMilli(), 1); err != nil {
		return err
	}
	return appender.Commit()
}
