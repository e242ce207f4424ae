package deployment

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"xinghe/shared/faas"
)

// Limits of Lambda.
const (
	lambdaMaxTimeout = 900
	lambdaMaxMemory  = 10240
)

// pseudo are the platform's own parameters that the template uses.
var pseudo = []string{"AWS::StackName", "AWS::Partition", "AWS::AccountId"}

func (c *check) checkSAM(text []byte) {
	equal(c, c.sam.Version, "2010-09-09", "template.yaml: AWSTemplateFormatVersion")
	equal(c, c.sam.Transform, "AWS::Serverless-2016-10-31", "template.yaml: Transform")
	g := c.sam.Globals.Function
	equal(c, g.Runtime, "provided.al2023", "template.yaml: Runtime")
	equal(c, strings.Join(g.Architectures, " "), "arm64", "template.yaml: Architectures")
	equal(c, g.Handler, executable, "template.yaml: Handler")
	c.checkNames(text)
	functions := c.sam.functions()
	for _, id := range slices.Sorted(maps.Keys(functions)) {
		c.checkSAMFunction(id, functions[id])
	}
	for id, resource := range c.sam.Resources {
		switch {
		case resource.role != nil:
			c.checkRole(id, resource.role)
		case resource.queue != nil:
			equal(c, resource.queue.Encrypted, true, "%s: SqsManagedSseEnabled", id)
		case resource.logs != nil:
			equal(c, resource.logs.Retention, ref("LogRetentionDays"), "%s: RetentionInDays", id)
		}
	}
}

// checkNames looks at each !Ref, !Sub and !GetAtt, at what is never used, and for aliases,
// which CloudFormation does not read.
func (c *check) checkNames(text []byte) {
	var document yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&document); err != nil {
		c.fault("template.yaml: %v", err)
		return
	}
	used := map[string]bool{}
	var walk func(*yaml.Node)
	walk = func(n *yaml.Node) {
		if n.Kind == yaml.AliasNode || n.Anchor != "" {
			c.fault("template.yaml: line %d: CloudFormation reads no anchors and aliases", n.Line)
			return
		}
		if n.Kind == yaml.ScalarNode && strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
			for _, name := range (value{n.Tag, n.Value}).names() {
				used[name] = true
				c.checkName(n.Line, name)
			}
		}
		for _, child := range n.Content {
			walk(child)
		}
	}
	walk(&document)
	for name, parameter := range c.sam.Parameters {
		if !used[name] {
			c.fault("template.yaml: parameter %s is not used", name)
		}
		if parameter.NoEcho || strings.Contains(name, "Key") && !strings.HasSuffix(name, "Keys") || strings.Contains(name, "Password") {
			c.fault("template.yaml: parameter %s: secrets come from AWS Secrets Manager", name)
		}
	}
}

func (c *check) checkName(line int, name string) {
	_, parameter := c.sam.Parameters[name]
	_, resource := c.sam.Resources[name]
	functionURL := false
	if id, ok := strings.CutSuffix(name, "Url"); ok && c.sam.Resources[id].function != nil {
		functionURL = c.sam.Resources[id].function.URL != nil
	}
	if !parameter && !resource && !functionURL && !slices.Contains(pseudo, name) {
		c.fault("template.yaml: line %d: there is no %s", line, name)
	}
}

func (c *check) checkSAMFunction(id string, f *samFunction) {
	name := c.named(id)
	folder, program, ok := c.program(name)
	if !ok {
		return // told by the comparison with s.yaml
	}
	equal(c, f.FunctionName, sub("${AWS::StackName}-"+name), "%s: FunctionName", id)
	equal(c, f.CodeURI, "dist/lambda/"+folder+".zip", "%s: CodeUri", id)
	within(c, f.Timeout, 1, lambdaMaxTimeout, "%s: Timeout", id)
	within(c, f.MemorySize, 128, lambdaMaxMemory, "%s: MemorySize", id)
	equal(c, f.Logging.Format, "JSON", "%s: LogFormat", id)
	equal(c, f.Logging.Application, "DEBUG", "%s: ApplicationLogLevel, as LOG_LEVEL decides", id)
	equal(c, f.Logging.Group, ref(id+"Logs"), "%s: LogGroup", id)
	if logs := c.sam.Resources[id+"Logs"].logs; logs != nil {
		equal(c, logs.Name, sub("/aws/lambda/"+f.FunctionName.text), "%sLogs: LogGroupName", id)
	}
	c.checkSAMEntry(id, f)
	c.checkEvents(id, f)
	c.checkSAMEnvironment(id, folder, f, program)
	c.checkRights(id, f, program)
}

// named is the name in s.yaml of a function of template.yaml.
func (c *check) named(id string) string {
	for name := range c.fc.Resources {
		if logical(name) == id {
			return name
		}
	}
	return id
}

func (c *check) checkSAMEntry(id string, f *samFunction) {
	entry := f.Environment.Variables["XINGHE_ENTRY"].text
	output, told := c.sam.Outputs[id+"Url"]
	if f.URL == nil {
		equal(c, entry, faas.EntryLambdaEvent, "%s: XINGHE_ENTRY", id)
		return
	}
	equal(c, entry, faas.EntryLambdaURL, "%s: XINGHE_ENTRY", id)
	equal(c, f.URL.InvokeMode, "RESPONSE_STREAM", "%s: InvokeMode", id)
	equal(c, f.URL.AuthType, "NONE", "%s: AuthType", id)
	equal(c, len(f.Events), 0, "%s: events of a function for requests", id)
	equal(c, told, true, "template.yaml: output %sUrl is there", id)
	if told {
		equal(c, output.Value, attribute(id+"Url.FunctionUrl"), "template.yaml: output %sUrl", id)
	}
}

func (c *check) checkEvents(id string, f *samFunction) {
	for name, event := range f.Events {
		if s := event.schedule; s != nil {
			equal(c, s.Window.Mode, "OFF", "%s: FlexibleTimeWindow of %s", id, name)
			within(c, s.Retry.Attempts, 0, 185, "%s: MaximumRetryAttempts of %s", id, name)
			within(c, s.Retry.Age, 60, 86400, "%s: MaximumEventAgeInSeconds of %s", id, name)
			equal(c, s.RoleArn, attribute("ScheduleRole.Arn"), "%s: RoleArn of %s", id, name)
			c.checkQueue(id+": dead letters of "+name, s.Dead.Arn)
			what := fmt.Sprintf("%s: Input of %s", id, name)
			input, err := s.envelope()
			if err != nil {
				c.fault("%s: %v", what, err)
				continue
			}
			equal(c, input.Source+", "+input.Type, "aws.scheduler, Scheduled Event", "%s: source and detail-type", what)
			equal(c, input.Time, "<aws.scheduler.scheduled-time>", "%s: time", what)
			equal(c, strings.Join(input.Resources, " "), "<aws.scheduler.schedule-arn>", "%s: resources", what)
			c.checkSpec(what, string(input.Detail))
		}
		if q := event.queue; q != nil {
			within(c, q.BatchSize, 1, 10, "%s: BatchSize of %s", id, name)
			equal(c, strings.Join(q.ResponseTypes, " "), "ReportBatchItemFailures", "%s: FunctionResponseTypes of %s", id, name)
			queue := c.checkQueue(id+": queue of "+name, q.Queue)
			if queue == nil {
				continue
			}
			if queue.VisibilityTimeout < 6*f.Timeout {
				c.fault("%s: VisibilityTimeout %d, want at least six times the function's timeout", q.Queue, queue.VisibilityTimeout)
			}
			if queue.Redrive == nil {
				c.fault("%s: RedrivePolicy is missing", q.Queue)
				continue
			}
			c.checkQueue(id+": dead letters of "+q.Queue.text, queue.Redrive.Target)
		}
	}
	if f.Invoke != nil {
		equal(c, f.Invoke.Destination.OnFailure.Type, "SQS", "%s: Type of OnFailure", id)
		c.checkQueue(id+": OnFailure", f.Invoke.Destination.OnFailure.Destination)
	}
}

// checkQueue wants the address of a queue of the template, and returns it.
func (c *check) checkQueue(what string, arn value) *samQueue {
	name, _, _ := strings.Cut(arn.text, ".")
	queue := c.sam.Resources[name].queue
	if queue == nil || arn != attribute(name+".Arn") {
		c.fault("%s: %v is no queue's Arn", what, arn)
	}
	return queue
}

func (c *check) checkSAMEnvironment(id, folder string, f *samFunction, program Program) {
	set := map[string]string{}
	for variable, v := range f.Environment.Variables {
		set[variable] = v.text
		secret := sub("{{resolve:secretsmanager:${Secrets}/" + folder + ":SecretString:" + variable + "}}")
		if program.secret(variable) {
			equal(c, v, secret, "%s: %s", id, variable)
		} else if strings.Contains(v.text, "{{resolve:") {
			c.fault("%s: %s is not secret", id, variable)
		}
		if v.tag == "" && variable != "XINGHE_ENTRY" {
			c.fault("%s: %s is fixed; make it a parameter", id, variable)
		}
		if !variableName.MatchString(variable) || strings.HasPrefix(variable, "AWS_") {
			c.fault("%s: %s cannot be set by a function's owner", id, variable)
		}
	}
	c.checkDeclared("template.yaml: "+id, set, program.declares(nil, false))
	if program.Bucket {
		equal(c, f.Environment.Variables["XINGHE_SINK"], sub("s3://${Bucket}/${Prefix}"), "%s: XINGHE_SINK", id)
	}
}
