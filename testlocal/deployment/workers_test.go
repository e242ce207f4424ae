package deployment_test

import (
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"xinghe/testlocal/deployment"
)

// manifest is what is looked at of an object of Kubernetes.
type manifest struct {
	Kind string            `yaml:"kind"`
	Data map[string]string `yaml:"data"`
	Spec struct {
		Template struct {
			Spec struct {
				Grace    int `yaml:"terminationGracePeriodSeconds"`
				Security struct {
					NonRoot bool `yaml:"runAsNonRoot"`
				} `yaml:"securityContext"`
			} `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

// isRead reports whether the workers read a variable, by themselves or by the library of S3.
func isRead(workers deployment.Program, name string) bool {
	secret, file := strings.CutSuffix(name, "_FILE")
	return workers.Variables[name] != nil || strings.HasPrefix(name, "AWS_") || file && workers.Secrets[secret]
}

func TestWorkersOnKubernetes(t *testing.T) {
	t.Parallel()
	workers := workers(t)
	decoder := yaml.NewDecoder(strings.NewReader(read(t, "deploy/kubernetes.yaml")))
	var kinds []string
	for {
		var m manifest
		err := decoder.Decode(&m)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, m.Kind)
		for name := range m.Data {
			if !isRead(workers, name) {
				t.Errorf("%s is set, but not read", name)
			}
			if workers.Secrets[name] && name != "NATS_URL" { // which has no password there
				t.Errorf("%s is secret, and does not belong into a %s", name, m.Kind)
			}
		}
		pod := m.Spec.Template.Spec
		if m.Kind == "Deployment" && (pod.Grace < 30 || !pod.Security.NonRoot) {
			t.Errorf("grace %d s, not root: %v", pod.Grace, pod.Security.NonRoot)
		}
	}
	if want := []string{"ConfigMap", "ServiceAccount", "Deployment", "PodDisruptionBudget"}; !slices.Equal(kinds, want) {
		t.Errorf("kinds %v, want %v", kinds, want)
	}
}

func TestWorkersUnderSystemd(t *testing.T) {
	t.Parallel()
	workers := workers(t)
	unit := read(t, "deploy/xinghe-workers.service")
	found := regexp.MustCompile(`\b([A-Z][A-Z_]+)=%d/([a-z.-]+)`).FindAllStringSubmatch(unit, -1)
	if len(found) == 0 {
		t.Error("the unit sets no secrets")
	}
	for _, match := range found {
		if !isRead(workers, match[1]) {
			t.Errorf("%s is set, but not read", match[1])
		}
		if !strings.Contains(unit, "LoadCredential="+match[2]+":") {
			t.Errorf("%s is not loaded", match[2])
		}
	}
}
