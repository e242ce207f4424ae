package emulator

import (
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ReadAssumptions reads switches from YAML or JSON: {"xingchen":{"strict":true,"imageDelay":"5s"},"beebot":{…}}. Names are
// those of the fields of [Assumptions], in any case; durations are texts such as "5s". Unknown names are errors.
func ReadAssumptions(r io.Reader) (Assumptions, error) {
	var assume Assumptions
	var written map[string]map[string]any
	if err := yaml.NewDecoder(r).Decode(&written); err != nil {
		return assume, fmt.Errorf("decode assumptions: %w", err)
	}
	lower := make(map[string]map[string]any, len(written))
	for service, switches := range written {
		lowered := make(map[string]any, len(switches))
		for name, value := range switches {
			lowered[strings.ToLower(name)] = value
		}
		lower[strings.ToLower(service)] = lowered
	}
	text, err := yaml.Marshal(lower)
	if err != nil {
		return assume, fmt.Errorf("decode assumptions: %w", err)
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&assume); err != nil {
		return assume, fmt.Errorf("decode assumptions: %w", err)
	}
	return assume, nil
}
