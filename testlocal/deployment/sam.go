package deployment

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The shape of template.yaml: the keys of SAM and CloudFormation that it uses.
type samFile struct {
	Version     string                  `yaml:"AWSTemplateFormatVersion"`
	Transform   string                  `yaml:"Transform"`
	Description string                  `yaml:"Description"`
	Parameters  map[string]samParameter `yaml:"Parameters"`
	Globals     samGlobals              `yaml:"Globals"`
	Resources   map[string]samResource  `yaml:"Resources"`
	Outputs     map[string]samOutput    `yaml:"Outputs"`
}

type samParameter struct {
	Type          string   `yaml:"Type"`
	Default       *string  `yaml:"Default"`
	Description   string   `yaml:"Description"`
	AllowedValues []string `yaml:"AllowedValues"`
	MinLength     int      `yaml:"MinLength"`
	NoEcho        bool     `yaml:"NoEcho"`
}

type samGlobals struct {
	Function struct {
		Runtime       string   `yaml:"Runtime"`
		Architectures []string `yaml:"Architectures"`
		Handler       string   `yaml:"Handler"`
	} `yaml:"Function"`
}

type samOutput struct {
	Description string `yaml:"Description"`
	Value       value  `yaml:"Value"`
}

// samResource holds one of the kinds of resources; the others are nil.
type samResource struct {
	function *samFunction
	logs     *samLogGroup
	role     *samRole
	queue    *samQueue
}

// UnmarshalYAML reads the properties as the type asks for.
func (r *samResource) UnmarshalYAML(node *yaml.Node) error {
	var head struct {
		Type       string    `yaml:"Type"`
		Properties yaml.Node `yaml:"Properties"`
	}
	if err := strict(node, &head); err != nil {
		return err
	}
	var into any
	switch head.Type {
	case "AWS::Serverless::Function":
		r.function = &samFunction{}
		into = r.function
	case "AWS::Logs::LogGroup":
		r.logs = &samLogGroup{}
		into = r.logs
	case "AWS::IAM::Role":
		r.role = &samRole{}
		into = r.role
	case "AWS::SQS::Queue":
		r.queue = &samQueue{}
		into = r.queue
	default:
		return fmt.Errorf("type %q is not known here", head.Type)
	}
	return strict(&head.Properties, into)
}

type samFunction struct {
	FunctionName value  `yaml:"FunctionName"`
	Description  string `yaml:"Description"`
	CodeURI      string `yaml:"CodeUri"`
	MemorySize   int    `yaml:"MemorySize"`
	Timeout      int    `yaml:"Timeout"`
	Role         value  `yaml:"Role"`
	Logging      struct {
		Format      string `yaml:"LogFormat"`
		Application string `yaml:"ApplicationLogLevel"`
		System      string `yaml:"SystemLogLevel"`
		Group       value  `yaml:"LogGroup"`
	} `yaml:"LoggingConfig"`
	URL *struct {
		AuthType   string `yaml:"AuthType"`
		InvokeMode string `yaml:"InvokeMode"`
	} `yaml:"FunctionUrlConfig"`
	Environment struct {
		Variables map[string]value `yaml:"Variables"`
	} `yaml:"Environment"`
	Invoke *samInvoke          `yaml:"EventInvokeConfig"`
	Events map[string]samEvent `yaml:"Events"`
}

type samInvoke struct {
	Attempts    int `yaml:"MaximumRetryAttempts"`
	Age         int `yaml:"MaximumEventAgeInSeconds"`
	Destination struct {
		OnFailure struct {
			Type        string `yaml:"Type"`
			Destination value  `yaml:"Destination"`
		} `yaml:"OnFailure"`
	} `yaml:"DestinationConfig"`
}

// samEvent is a schedule or a queue; the other is nil.
type samEvent struct {
	schedule *samSchedule
	queue    *samQueueEvent
}

type samSchedule struct {
	Expression string `yaml:"ScheduleExpression"`
	Timezone   string `yaml:"ScheduleExpressionTimezone"`
	Window     struct {
		Mode string `yaml:"Mode"`
	} `yaml:"FlexibleTimeWindow"`
	State string `yaml:"State"`
	Input string `yaml:"Input"`
	Retry struct {
		Attempts int `yaml:"MaximumRetryAttempts"`
		Age      int `yaml:"MaximumEventAgeInSeconds"`
	} `yaml:"RetryPolicy"`
	RoleArn value `yaml:"RoleArn"`
	Dead    struct {
		Arn value `yaml:"Arn"`
	} `yaml:"DeadLetterConfig"`
}

// samInput is what the scheduler hands over, which it fills in between "<" and ">".
type samInput struct {
	Source    string          `json:"source"`
	Type      string          `json:"detail-type"`
	Time      string          `json:"time"`
	Resources []string        `json:"resources"`
	Detail    json.RawMessage `json:"detail"`
}

func (s *samSchedule) envelope() (samInput, error) {
	var input samInput
	decoder := json.NewDecoder(strings.NewReader(s.Input))
	decoder.DisallowUnknownFields()
	return input, decoder.Decode(&input)
}

type samQueueEvent struct {
	Queue         value    `yaml:"Queue"`
	BatchSize     int      `yaml:"BatchSize"`
	ResponseTypes []string `yaml:"FunctionResponseTypes"`
}

// UnmarshalYAML reads the properties as the type asks for.
func (e *samEvent) UnmarshalYAML(node *yaml.Node) error {
	var head struct {
		Type       string    `yaml:"Type"`
		Properties yaml.Node `yaml:"Properties"`
	}
	if err := strict(node, &head); err != nil {
		return err
	}
	switch head.Type {
	case "ScheduleV2":
		e.schedule = &samSchedule{}
		return strict(&head.Properties, e.schedule)
	case "SQS":
		e.queue = &samQueueEvent{}
		return strict(&head.Properties, e.queue)
	}
	return fmt.Errorf("event of type %q is not known here", head.Type)
}

type samLogGroup struct {
	Name      value `yaml:"LogGroupName"`
	Retention value `yaml:"RetentionInDays"`
}

type samQueue struct {
	VisibilityTimeout int  `yaml:"VisibilityTimeout"`
	Retention         int  `yaml:"MessageRetentionPeriod"`
	Encrypted         bool `yaml:"SqsManagedSseEnabled"`
	Redrive           *struct {
		Target   value `yaml:"deadLetterTargetArn"`
		Attempts int   `yaml:"maxReceiveCount"`
	} `yaml:"RedrivePolicy"`
}

type samRole struct {
	Assume   samPolicy `yaml:"AssumeRolePolicyDocument"`
	Policies []struct {
		Name     string    `yaml:"PolicyName"`
		Document samPolicy `yaml:"PolicyDocument"`
	} `yaml:"Policies"`
}

type samPolicy struct {
	Version   string         `yaml:"Version"`
	Statement []samStatement `yaml:"Statement"`
}

type samStatement struct {
	Effect    string                      `yaml:"Effect"`
	Principal map[string]string           `yaml:"Principal"`
	Action    actions                     `yaml:"Action"`
	Resource  value                       `yaml:"Resource"`
	Condition map[string]map[string]value `yaml:"Condition"`
}

// actions are one or a list.
type actions []string

// UnmarshalYAML reads both.
func (a *actions) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*a = actions{node.Value}
		return nil
	}
	return node.Decode((*[]string)(a))
}

// value is a text, or what CloudFormation makes one of: !Ref, !Sub or !GetAtt.
type value struct{ tag, text string }

func ref(name string) value       { return value{"!Ref", name} }
func sub(text string) value       { return value{"!Sub", text} }
func attribute(name string) value { return value{"!GetAtt", name} }

// UnmarshalYAML takes the three short forms only.
func (v *value) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: want a text, !Ref, !Sub or !GetAtt", node.Line)
	}
	v.text = node.Value
	if strings.HasPrefix(node.Tag, "!!") {
		return nil
	}
	switch v.tag = node.Tag; v.tag {
	case "!Ref", "!Sub", "!GetAtt":
		return nil
	}
	return fmt.Errorf("line %d: %s is not known here", node.Line, node.Tag)
}

// String shows the value as it stands in the file.
func (v value) String() string { return strings.TrimSpace(v.tag + " " + v.text) }

var subbed = regexp.MustCompile(`\$\{([^}]+)\}`)

// names are what the value stands on: parameters, resources, and the platform's own.
func (v value) names() []string {
	switch v.tag {
	case "!Ref":
		return []string{v.text}
	case "!GetAtt":
		resource, _, _ := strings.Cut(v.text, ".")
		return []string{resource}
	case "!Sub":
		var names []string
		for _, match := range subbed.FindAllStringSubmatch(v.text, -1) {
			name, _, _ := strings.Cut(match[1], ".")
			names = append(names, name)
		}
		return names
	}
	return nil
}
