// Command compose-check loads compose files the way `docker compose config --quiet` does. No engine is needed.
//
//	compose-check FILE...
//
// Exit code 1 and a message when a file is not valid: unknown keys, wrong types, missing services, variables that
// are required and not set. Beyond that, what every file here has to keep:
//
//   - one service builds an image, and the others of its name never build or pull it: several builds of one name are
//     several images, or an error of the engine;
//   - ports are published on 127.0.0.1 alone.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: compose-check FILE...")
		os.Exit(2)
	}
	if err := check(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "compose-check:", err)
		os.Exit(1)
	}
}

func check(files []string) error {
	options, err := cli.NewProjectOptions(files, cli.WithOsEnv, cli.WithDotEnv, cli.WithProfiles([]string{"*"}))
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	return errors.Join(builtOnce(project.Services), publishedOnLoopback(project.Services))
}

// builtOnce holds when each image that is built here has one builder, and its other users wait for that one.
func builtOnce(services types.Services) error {
	builders := map[string][]string{}
	for name, service := range services {
		if service.Build != nil {
			builders[service.Image] = append(builders[service.Image], name)
		}
	}
	var problems []error
	for image, names := range builders {
		if len(names) > 1 {
			slices.Sort(names)
			problems = append(problems, fmt.Errorf("%s build the one image %q; let one of them do it", strings.Join(names, ", "), image))
		}
	}
	for name, service := range services {
		if len(builders[service.Image]) > 0 && service.Build == nil && service.PullPolicy != types.PullPolicyNever {
			problems = append(problems, fmt.Errorf("%s: its image %q is built here and needs pull_policy: never", name, service.Image))
		}
	}
	return errors.Join(problems...)
}

// publishedOnLoopback holds when nobody beyond this machine reaches a port.
func publishedOnLoopback(services types.Services) error {
	var problems []error
	for name, service := range services {
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				problems = append(problems, fmt.Errorf("%s: port %d is published on %q, not on 127.0.0.1", name, port.Target, port.HostIP))
			}
		}
	}
	return errors.Join(problems...)
}
