package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/tsdb"
	"gopkg.in/yaml.v3"
)

// What the file of tests holds. Values of a series are written as promtool has them: `0x5` is 0 six times, `_x5` no
// sample five times, `1+2x3` is 1 3 5 7.
type testFile struct {
	// Between two samples, and between two evaluations.
	Interval model.Duration `yaml:"interval"`
	Tests    []ruleTest     `yaml:"tests"`
}

type ruleTest struct {
	Alert  string `yaml:"alert"`
	Series []struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	} `yaml:"series"`
	// Summaries of the alerts that fire, by the time since the first sample; in order.
	Firing []struct {
		At        model.Duration `yaml:"at"`
		Summaries []string       `yaml:"summaries"`
	} `yaml:"firing"`
}

// Evaluates every test, and asks for one of every alert: firing at one time and silent at another.
func test(groupsOf func() ([]*rules.AlertingRule, error), path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var file testFile
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if file.Interval <= 0 {
		return fmt.Errorf("%s: interval is missing", path)
	}
	var problems []error
	fired, silent := map[string]bool{}, map[string]bool{}
	for _, one := range file.Tests {
		// Anew for each test: a rule remembers what was active.
		alerts, err := groupsOf()
		if err != nil {
			return err
		}
		at := slices.IndexFunc(alerts, func(alert *rules.AlertingRule) bool { return alert.Name() == one.Alert })
		if at < 0 {
			problems = append(problems, fmt.Errorf("%s: there is no alert of this name", one.Alert))
			continue
		}
		for _, expected := range one.Firing {
			fired[one.Alert] = fired[one.Alert] || len(expected.Summaries) > 0
			silent[one.Alert] = silent[one.Alert] || len(expected.Summaries) == 0
		}
		if err := one.run(alerts[at], time.Duration(file.Interval)); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", one.Alert, err))
		}
	}
	alerts, err := groupsOf()
	if err != nil {
		return err
	}
	for _, alert := range alerts {
		if !fired[alert.Name()] || !silent[alert.Name()] {
			problems = append(problems, fmt.Errorf("%s: no test has it fire at one time and be silent at another", alert.Name()))
		}
	}
	if len(problems) == 0 {
		fmt.Printf("%s: %d tests of %d alerts\n", path, len(file.Tests), len(alerts))
	}
	return errors.Join(problems...)
}

func (one ruleTest) run(alert *rules.AlertingRule, interval time.Duration) error {
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
	begin := time.Unix(0, 0).UTC()
	if err := one.load(storage, begin, interval); err != nil {
		return err
	}
	// As Prometheus looks back: a series without a sample for five minutes is gone.
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 50_000_000, Timeout: time.Minute})
	defer engine.Close()
	query := rules.EngineQueryFunc(engine, storage)
	at := begin
	for _, expected := range one.Firing {
		for ; !at.After(begin.Add(time.Duration(expected.At))); at = at.Add(interval) {
			if _, err := alert.Eval(context.Background(), 0, at, query, nil, 0); err != nil {
				return err
			}
		}
		var summaries []string
		for _, active := range alert.ActiveAlerts() {
			if active.State == rules.StateFiring {
				summaries = append(summaries, active.Annotations.Get("summary"))
			}
		}
		slices.Sort(summaries)
		if !slices.Equal(summaries, expected.Summaries) {
			return fmt.Errorf("at %s it fires as %q, not as %q", expected.At, summaries, expected.Summaries)
		}
	}
	return nil
}

func (one ruleTest) load(storage *tsdb.DB, begin time.Time, interval time.Duration) error {
	appender := storage.Appender(context.Background())
	for _, series := range one.Series {
		labels, values, err := parser.ParseSeriesDesc(series.Series + " " + series.Values)
		if err != nil {
			return fmt.Errorf("%s: %w", series.Series, err)
		}
		for step, value := range values {
			if value.Omitted {
				continue
			}
			at := begin.Add(time.Duration(step) * interval)
			if _, err := appender.Append(0, labels, at.UnixMilli(), value.Value); err != nil {
				return fmt.Errorf("%s: %w", series.Series, err)
			}
		}
	}
	return appender.Commit()
}
