package deployment

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// undeclared are variables that functions read and that neither file sets, and why.
var undeclared = map[string]string{
	"XINGHE_ADDR":                  "is of the entry http; the platforms name the port",
	"XINGHE_DATA":                  "is a folder for work on one machine; XINGHE_SINK is set",
	"GOGC":                         "is a setting of Go's runtime",
	"NATS_CONTEXT":                 "names a file of the nats command line, and a zip has none",
	"HOME":                         "is where that file is looked for",
	"XDG_CONFIG_HOME":              "is where that file is looked for",
	"ALIBABA_CLOUD_SECURITY_TOKEN": "belongs to a key pair that expires, which cannot be deployed",
	"AWS_LAMBDA_LOG_LEVEL":         "is set by Lambda",
}

// ofPlatform reports whether a platform itself sets a variable.
func ofPlatform(name string) bool {
	return strings.HasPrefix(name, "FC_") || strings.HasPrefix(name, "AWS_LAMBDA_")
}

// forOSS is where variables are read that only a bucket of OSS needs, which template.yaml
// has not.
const forOSS = "shared/sink/oss"

// bucketVariables are read by the library of S3. Lambda sets them by itself.
var bucketVariables = []string{"AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_SECRET_ACCESS_KEY"}

// secretVariables hold credentials, though the code does not take all of them for such.
var secretVariables = []string{
	"ALIBABA_CLOUD_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "NATS_URL", "XINGHE_API_KEYS", "XINGHE_WEBHOOK_SOURCES",
}

func (p Program) secret(name string) bool {
	return p.Secrets[name] || slices.Contains(secretVariables, name)
}

// declares are the variables that a file must set for the program; bucket are those that the
// library of S3 reads. A file instead of a secret is for machines that have files.
func (p Program) declares(bucket []string, oss bool) map[string]string {
	want := map[string]string{}
	for name, places := range p.Variables {
		_, excused := undeclared[name]
		elsewhere := !oss && !slices.ContainsFunc(places, func(at string) bool { return !strings.HasPrefix(at, forOSS) })
		if !excused && !elsewhere && !ofPlatform(name) && !strings.HasSuffix(name, "_FILE") {
			want[name] = "read by " + places[0]
		}
	}
	if p.Bucket {
		for _, name := range bucket {
			want[name] = "read by the library of S3"
		}
	}
	return want
}

// checkDeclared compares the variables that are set with those that are wanted.
func (c *check) checkDeclared(who string, set, want map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, ok := set[name]; !ok {
			c.fault("%s: %s is not set, but %s", who, name, want[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if _, ok := want[name]; !ok {
			c.fault("%s: %s is set, but not read", who, name)
		}
	}
}

// variableName is what both platforms take.
var variableName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// interpolated is a value of s.yaml that comes from the shell.
var interpolated = regexp.MustCompile(`^\$\{env\('([A-Z][A-Z0-9_]*)'(?:, '([^']*)')?\)\}$`)

// shellValue is a value of s.yaml: what it is by itself or without the shell's variable.
type shellValue struct {
	from     string // the shell's variable; empty for a text
	fallback string // the text, or what holds without the variable
	required bool   // there is no fallback
}

// readShell reads a value of s.yaml; ok is false if it is neither a text nor one variable.
func readShell(text string) (v shellValue, ok bool) {
	if !strings.Contains(text, "${") {
		return shellValue{fallback: text}, true
	}
	match := interpolated.FindStringSubmatch(text)
	if match == nil {
		return v, false
	}
	return shellValue{from: match[1], fallback: match[2], required: !strings.Contains(text, ", '")}, true
}

// Environment is what s.yaml sets for a function where the shell has set what it wants.
func Environment(text []byte, function string, shell map[string]string) (map[string]string, error) {
	var file fcFile
	if err := decode(text, &file); err != nil {
		return nil, fmt.Errorf("s.yaml: %w", err)
	}
	set := map[string]string{}
	for variable, text := range file.Resources[function].Props.EnvironmentVariables {
		v, ok := readShell(text)
		given, there := shell[v.from]
		switch {
		case !ok, v.required && !there:
			return nil, fmt.Errorf("s.yaml: %s: %s: %s", function, variable, text)
		case there:
			set[variable] = given
		default:
			set[variable] = v.fallback
		}
	}
	return set, nil
}

// planted looks like a credential, wherever it stands.
var planted = regexp.MustCompile(`LTAI[0-9A-Za-z]{10,}|AKIA[0-9A-Z]{12,}|\b(?:sk|lm)-[0-9A-Za-z+/=]{12,}|[a-z+]+://[^/\s:@$]+:[^/\s@]+@|-----BEGIN|\bS[UA][A-Z2-7]{54,}`)
