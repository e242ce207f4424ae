package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"xinghe/cmd/xinghe/doctor"
)

// newDoctorCommand is "xinghe doctor".
func newDoctorCommand(getenv func(string) string) *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Look at the configuration in the environment, and say what is wrong with it",
		Long: `Look at the configuration in the environment, and say what is wrong with it.

Run it where a function or a worker is to run, with the same variables. It reads them
as functions and workers do, and calls what they name: Xingchen, Beebot, NATS, the
sink, and with XINGHE_URL and XINGHE_KEY a deployment. A variable that is not set is no
fault. It leaves nothing behind. The exit code is 1 if anything is wrong.`,
		Args: exactly(0),
		// What is wrong with the variables is what it is asked for.
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		RunE: func(cmd *cobra.Command, _ []string) error {
			wrong := false
			show := newFindingView(cmd.OutOrStdout())
			for finding := range doctor.Examine(cmd.Context(), getenv) {
				wrong = wrong || finding.State == doctor.Wrong
				if err := show(finding); err != nil {
					return err
				}
			}
			if wrong {
				return &outcomeError{code: exitFailed}
			}
			return nil
		},
	}
}

// newFindingView shows findings as they come: in columns for humans, a line of JSON each for
// programs.
func newFindingView(out io.Writer) func(doctor.Finding) error {
	if !isTerminal(out) {
		return func(f doctor.Finding) error { return json.NewEncoder(out).Encode(f) }
	}
	return func(f doctor.Finding) error {
		detail := strings.ReplaceAll(f.Detail, "\n", "\n"+strings.Repeat(" ", 21)) // below the first
		_, err := fmt.Fprintf(out, "%-8s %-11s %s\n", f.State, f.Name, detail)
		return err
	}
}
