package deployment

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// events ends the name of a function that takes events only.
const events = "-events"

// Check compares s.yaml and template.yaml with each other and with the programs below
// functions/, by the names of their folders. The error joins every fault.
func Check(fcText, samText []byte, programs map[string]Program) error {
	c := &check{programs: programs}
	for file, text := range map[string][]byte{"s.yaml": fcText, "template.yaml": samText} {
		if found := planted.Find(text); found != nil {
			c.fault("%s: %.8s… looks like a credential", file, found)
		}
	}
	if err := decode(fcText, &c.fc); err != nil {
		c.fault("s.yaml: %v", err)
	}
	if err := decode(samText, &c.sam); err != nil {
		c.fault("template.yaml: %v", err)
	}
	if len(c.faults) > 0 { // what is not understood cannot be compared
		return c.err()
	}
	c.checkFC()
	c.checkSAM(samText)
	c.compare()
	return c.err()
}

// check gathers faults.
type check struct {
	programs map[string]Program
	fc       fcFile
	sam      samFile
	faults   []string
}

func (c *check) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

func (c *check) err() error {
	slices.Sort(c.faults)
	errs := make([]error, len(c.faults))
	for i, text := range c.faults {
		errs[i] = errors.New(text)
	}
	return errors.Join(errs...)
}

// equal notes a value that is not the one that is wanted.
func equal[T comparable](c *check, got, want T, what string, args ...any) {
	if got != want {
		c.fault("%s: %v, want %v", fmt.Sprintf(what, args...), got, want)
	}
}

// within notes a number outside of its limits.
func within[T int | float64](c *check, got, low, high T, what string, args ...any) {
	if got < low || got > high {
		c.fault("%s: %v, want %v to %v", fmt.Sprintf(what, args...), got, low, high)
	}
}

// program returns what the code of a function says, whose name may end in -events.
func (c *check) program(name string) (folder string, p Program, ok bool) {
	folder = strings.TrimSuffix(name, events)
	p, ok = c.programs[folder]
	return folder, p, ok
}

// logical is a function's name in template.yaml: HistoryExport for history-export.
func logical(name string) string {
	parts := strings.Split(name, "-")
	for i, part := range parts {
		parts[i] = strings.ToUpper(part[:1]) + part[1:]
	}
	return strings.Join(parts, "")
}

// functions are those of template.yaml by their logical names.
func (f samFile) functions() map[string]*samFunction {
	found := map[string]*samFunction{}
	for id, resource := range f.Resources {
		if resource.function != nil {
			found[id] = resource.function
		}
	}
	return found
}

// compare holds the two files against each other.
func (c *check) compare() {
	functions := c.sam.functions()
	for name, resource := range c.fc.Resources {
		id := logical(name)
		function, ok := functions[id]
		if !ok {
			c.fault("template.yaml: no function %s, but s.yaml has %s", id, name)
			continue
		}
		delete(functions, id)
		c.compareFunction(name, resource.Props, function)
	}
	for _, id := range slices.Sorted(maps.Keys(functions)) {
		c.fault("s.yaml: no function for %s of template.yaml", id)
	}
}

func (c *check) compareFunction(name string, fc fcProps, sam *samFunction) {
	equal(c, sam.Description, fc.Description, "%s: description of template.yaml", name)
	equal(c, sam.Timeout, fc.Timeout, "%s: timeout of template.yaml", name)
	if sam.MemorySize > fc.MemorySize {
		c.fault("%s: template.yaml gives one request %d MB, but s.yaml %d MB to many", name, sam.MemorySize, fc.MemorySize)
	}
	for variable, text := range fc.EnvironmentVariables {
		set, there := sam.Environment.Variables[variable]
		fallback, _ := readShell(text)
		if there && variable != "XINGHE_ENTRY" && !fallback.required {
			c.compareDefault(name, variable, fallback.fallback, set)
		}
	}
	timer, schedule := fc.trigger("timer"), sam.schedule()
	if (timer == nil) != (schedule == nil) {
		c.fault("%s: one file has a schedule and the other has none", name)
	}
	if timer != nil && schedule != nil {
		c.compareSchedule(name, *timer, *schedule)
	}
	if (fc.AsyncInvoke == nil) != (sam.Invoke == nil) {
		c.fault("%s: one file limits the retries of events and the other does not", name)
	} else if fc.AsyncInvoke != nil {
		equal(c, sam.Invoke.Attempts, fc.AsyncInvoke.Attempts, "%s: retries of template.yaml", name)
		equal(c, sam.Invoke.Age, fc.AsyncInvoke.Age, "%s: age of events of template.yaml", name)
	}
}

// compareDefault wants a variable to mean the same in both files where nobody sets it.
func (c *check) compareDefault(name, variable, want string, set value) {
	if set.tag != "!Ref" {
		return // a secret, or made of parameters, which is checked elsewhere
	}
	parameter := c.sam.Parameters[set.text]
	switch {
	case parameter.Default == nil:
		c.fault("%s: %s is %q by default in s.yaml, but must be given in template.yaml", name, variable, want)
	case *parameter.Default != want:
		c.fault("%s: %s is %q by default in s.yaml, but %q in template.yaml", name, variable, want, *parameter.Default)
	}
}

func (c *check) compareSchedule(name string, fc fcTriggerConfig, sam samSchedule) {
	if input, err := sam.envelope(); err == nil { // else told already
		equal(c, string(input.Detail), fc.Payload, "%s: detail of the schedule's input in template.yaml", name)
	}
	equal(c, sam.State == "ENABLED", fc.Enable != nil && *fc.Enable, "%s: schedule of template.yaml is enabled", name)
	timer, err := parseTimer(fc.CronExpression)
	if err != nil {
		return // told already
	}
	want := fmt.Sprintf("cron(%s %s * * ? *) in %s", timer.minute, timer.hour, timer.zone)
	equal(c, fmt.Sprintf("%s in %s", sam.Expression, sam.Timezone), want, "%s: schedule of template.yaml", name)
}

// schedule returns the only schedule of a function, or nil.
func (f *samFunction) schedule() *samSchedule {
	for _, event := range f.Events {
		if event.schedule != nil {
			return event.schedule
		}
	}
	return nil
}
