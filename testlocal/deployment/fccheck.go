package deployment

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"xinghe/shared/env"
	"xinghe/shared/faas"
	"xinghe/shared/jobs"
)

// Limits of Function Compute ("Create web functions", "Configure environment variables").
const (
	fcMaxTimeout     = 86400
	fcMaxMemory      = 32768
	fcMaxConcurrency = 200
	fcMaxEnvironment = 4 << 10
)

// executable is what the zips hold.
const executable = "bootstrap"

// webMethods are those that the functions' routes have, HEAD beside GET, and OPTIONS for
// browsers.
var webMethods = []string{"GET", "HEAD", "OPTIONS", "POST"}

func (c *check) checkFC() {
	equal(c, c.fc.Edition, "3.0.0", "s.yaml: edition")
	equal(c, c.fc.Name, module, "s.yaml: name")
	equal(c, c.fc.Access, "default", "s.yaml: access")
	equal(c, strings.Join(slices.Sorted(maps.Keys(c.fc.Vars)), " "), "prefix region", "s.yaml: vars")
	for _, name := range slices.Sorted(maps.Keys(c.fc.Resources)) {
		resource := c.fc.Resources[name]
		equal(c, resource.Component, "fc3", "%s: component", name)
		c.checkFCFunction(name, resource.Props)
	}
	for name, program := range c.programs {
		if len(program.Open) > 0 {
			c.fault("%s: reads a variable whose name is not known before it runs: %s", name, strings.Join(program.Open, ", "))
		}
		if _, ok := c.fc.Resources[name]; !ok {
			c.fault("s.yaml: no function %s, but there is functions/%s", name, name)
		}
	}
}

func (c *check) checkFCFunction(name string, p fcProps) {
	folder, program, ok := c.program(name)
	if !ok {
		c.fault("%s: there is no functions/%s", name, folder)
		return
	}
	equal(c, p.Region, "${vars.region}", "%s: region", name)
	equal(c, p.FunctionName, "${vars.prefix}-"+name, "%s: functionName", name)
	equal(c, p.Code, "./dist/fc/"+folder+".zip", "%s: code", name)
	equal(c, p.LogConfig, "auto", "%s: logConfig", name)
	within(c, p.Timeout, 1, fcMaxTimeout, "%s: timeout", name)
	if p.VPC != nil && (p.VPC.ID == "" || len(p.VPC.Switches) == 0 || p.VPC.SecurityGroup == "") {
		c.fault("%s: vpcConfig wants vpcId, vSwitchIds and securityGroupId", name)
	}
	if p.InternetAccess != nil && !*p.InternetAccess {
		c.fault("%s: internetAccess: upstream is outside", name)
	}
	c.checkSize(name, p)
	if strings.HasSuffix(name, events) {
		c.checkEventFunction(name, p)
	} else {
		c.checkWebFunction(name, p)
	}
	c.checkHooks(name, p)
	c.checkTriggers(name, p)
	c.checkFCEnvironment(name, p, program)
}

// checkSize holds processor, memory and disk to what can be had together.
func (c *check) checkSize(name string, p fcProps) {
	within(c, p.MemorySize, 128, fcMaxMemory, "%s: memorySize", name)
	if p.MemorySize%64 != 0 {
		c.fault("%s: memorySize: %d is no multiple of 64", name, p.MemorySize)
	}
	within(c, p.CPU, 0.05, 16, "%s: cpu", name)
	if steps := p.CPU * 20; steps != float64(int(steps+0.5)) {
		c.fault("%s: cpu: %v is no multiple of 0.05", name, p.CPU)
	}
	within(c, float64(p.MemorySize)/1024/p.CPU, 1, 4, "%s: GB of memory for each vCPU", name)
	if p.DiskSize != 512 && p.DiskSize != 10240 {
		c.fault("%s: diskSize: %d, want 512 or 10240", name, p.DiskSize)
	}
}

func (c *check) checkWebFunction(name string, p fcProps) {
	equal(c, p.Runtime, "custom.debian12", "%s: runtime", name)
	equal(c, p.Handler, "", "%s: handler", name)
	equal(c, p.EnvironmentVariables["XINGHE_ENTRY"], faas.EntryFCWeb, "%s: XINGHE_ENTRY", name)
	within(c, p.InstanceConcurrency, 1, fcMaxConcurrency, "%s: instanceConcurrency", name)
	if p.CustomRuntime == nil {
		c.fault("%s: customRuntimeConfig is missing", name)
		return
	}
	equal(c, strings.Join(p.CustomRuntime.Command, " "), "/code/"+executable, "%s: command", name)
	listens := faas.FromEnv(env.New(func(variable string) string { return p.EnvironmentVariables[variable] })).Addr
	equal(c, fmt.Sprintf("0.0.0.0:%d", p.CustomRuntime.Port), listens, "%s: port", name)
	health := p.CustomRuntime.Health
	equal(c, health.HTTPGetURL, "/healthz", "%s: httpGetUrl", name)
	within(c, health.InitialDelaySeconds, 0, 120, "%s: initialDelaySeconds", name)
	within(c, health.PeriodSeconds, 1, 120, "%s: periodSeconds", name)
	within(c, health.TimeoutSeconds, 1, 3, "%s: timeoutSeconds", name)
	within(c, health.FailureThreshold, 1, 120, "%s: failureThreshold", name)
	within(c, health.SuccessThreshold, 1, 120, "%s: successThreshold", name)
	http := p.trigger("http")
	if http == nil {
		c.fault("%s: want one trigger of type http", name)
		return
	}
	equal(c, http.AuthType, "anonymous", "%s: authType", name)
	equal(c, http.DisableURLInternet != nil && !*http.DisableURLInternet, true, "%s: reachable from the internet", name)
	equal(c, strings.Join(slices.Sorted(slices.Values(http.Methods)), " "), strings.Join(webMethods, " "), "%s: methods", name)
}

func (c *check) checkEventFunction(name string, p fcProps) {
	equal(c, p.Runtime, "go1", "%s: runtime", name)
	equal(c, p.Handler, executable, "%s: handler", name)
	equal(c, p.EnvironmentVariables["XINGHE_ENTRY"], faas.EntryFCEvent, "%s: XINGHE_ENTRY", name)
	equal(c, p.InstanceConcurrency, 0, "%s: instanceConcurrency, which go1 has not", name)
	equal(c, p.CustomRuntime == nil, true, "%s: no customRuntimeConfig, which go1 has not", name)
	if p.trigger("http") != nil {
		c.fault("%s: requests go to the web function", name)
	}
	if p.AsyncInvoke == nil {
		c.fault("%s: asyncInvokeConfig is missing", name)
		return
	}
	within(c, p.AsyncInvoke.Attempts, 0, 8, "%s: maxAsyncRetryAttempts", name)
	within(c, p.AsyncInvoke.Age, 1, 604800, "%s: maxAsyncEventAgeInSeconds", name)
}

// checkHooks wants more time than requests in flight may take to end.
func (c *check) checkHooks(name string, p fcProps) {
	if p.Lifecycle.PreStop == nil {
		c.fault("%s: preStop is missing, and the platform sends no signal", name)
	}
	for hook, h := range map[string]*fcHook{"initializer": p.Lifecycle.Initializer, "preStop": p.Lifecycle.PreStop} {
		if h != nil {
			equal(c, h.Handler != "", true, "%s: %s has a handler", name, hook)
			within(c, h.Timeout, 10, 90, "%s: timeout of %s", name, hook)
		}
	}
}

func (c *check) checkTriggers(name string, p fcProps) {
	var names []string
	for _, t := range p.Triggers {
		if slices.Contains(names, t.Name) || t.Name == "" {
			c.fault("%s: two triggers are called %q, or one has no name", name, t.Name)
		}
		names = append(names, t.Name)
		equal(c, t.Qualifier, "LATEST", "%s: qualifier of trigger %s", name, t.Name)
		http := t.Config.AuthType != "" || t.Config.DisableURLInternet != nil || t.Config.Methods != nil
		timer := t.Config.CronExpression != "" || t.Config.Enable != nil || t.Config.Payload != ""
		switch {
		case t.Type != "http" && t.Type != "timer":
			c.fault("%s: trigger %s: type %q is not known here", name, t.Name, t.Type)
		case t.Type == "http" && timer, t.Type == "timer" && http:
			c.fault("%s: trigger %s: settings of another type", name, t.Name)
		case t.Type == "timer":
			if _, err := parseTimer(t.Config.CronExpression); err != nil {
				c.fault("%s: trigger %s: %v", name, t.Name, err)
			}
			c.checkSpec(fmt.Sprintf("%s: payload of trigger %s", name, t.Name), t.Config.Payload)
		}
	}
}

// checkSpec wants a payload that history-export takes.
func (c *check) checkSpec(what, text string) {
	var spec jobs.ExportSpec
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&spec); err != nil {
		c.fault("%s: %v", what, err)
		return
	}
	for _, fault := range spec.WithDefaults().Check() {
		c.fault("%s: %v", what, fault)
	}
	if spec.Watermark == nil || spec.From.IsZero() {
		c.fault("%s: want a watermark, and from for the first run", what)
	}
}

func (c *check) checkFCEnvironment(name string, p fcProps, program Program) {
	c.checkDeclared("s.yaml: "+name, p.EnvironmentVariables, program.declares(bucketVariables, true))
	size := 0
	for variable, text := range p.EnvironmentVariables {
		if !variableName.MatchString(variable) || strings.HasPrefix(variable, "FC_") {
			c.fault("%s: %s cannot be set by a function's owner", name, variable)
		}
		v, ok := readShell(text)
		size += len(variable) + len(v.fallback)
		switch {
		case !ok:
			c.fault("%s: %s: want a text, ${env('NAME')} or ${env('NAME', 'default')}", name, variable)
		case program.secret(variable) && (v.from == "" || v.fallback != ""):
			c.fault("%s: %s is secret: want ${env('NAME')}, or ${env('NAME', '')} where it may be missing", name, variable)
		case strings.HasPrefix(v.from, "ALIBABA_CLOUD_") || strings.HasPrefix(v.from, "AWS_"):
			c.fault("%s: %s would be the credentials of whoever deploys: %s", name, variable, v.from)
		}
	}
	// What the shell adds is not known here; half of the room is left to it.
	within(c, size, 0, fcMaxEnvironment/2, "%s: bytes of variables, without what the shell gives", name)
}

// timer is a daily timer's time.
type timer struct{ hour, minute, zone string }

var daily = regexp.MustCompile(`^CRON_TZ=(\S+) 0 (\d+) (\d+) \* \* \*$`)

// parseTimer reads the expression of a timer that comes once a day, seconds first.
func parseTimer(expression string) (timer, error) {
	match := daily.FindStringSubmatch(expression)
	if match == nil {
		return timer{}, fmt.Errorf("%q is no daily timer such as CRON_TZ=Asia/Shanghai 0 0 3 * * *", expression)
	}
	minute, _ := strconv.Atoi(match[2])
	hour, _ := strconv.Atoi(match[3])
	if minute > 59 || hour > 23 {
		return timer{}, fmt.Errorf("%q has no such time", expression)
	}
	if _, err := time.LoadLocation(match[1]); err != nil || path.IsAbs(match[1]) {
		return timer{}, errors.Join(fmt.Errorf("%q has no such time zone", expression), err)
	}
	return timer{hour: match[3], minute: match[2], zone: match[1]}, nil
}
