package deployment

// The shape of s.yaml: the keys of Serverless Devs and of its component fc3 that it uses.
type fcFile struct {
	Edition   string                `yaml:"edition"`
	Name      string                `yaml:"name"`
	Access    string                `yaml:"access"`
	Vars      map[string]string     `yaml:"vars"`
	Resources map[string]fcResource `yaml:"resources"`
}

type fcResource struct {
	Component string  `yaml:"component"`
	Props     fcProps `yaml:"props"`
}

type fcProps struct {
	Region               string            `yaml:"region"`
	FunctionName         string            `yaml:"functionName"`
	Description          string            `yaml:"description"`
	Runtime              string            `yaml:"runtime"`
	Handler              string            `yaml:"handler"`
	Code                 string            `yaml:"code"`
	CPU                  float64           `yaml:"cpu"`
	MemorySize           int               `yaml:"memorySize"`
	DiskSize             int               `yaml:"diskSize"`
	Timeout              int               `yaml:"timeout"`
	InstanceConcurrency  int               `yaml:"instanceConcurrency"`
	CustomRuntime        *fcCustomRuntime  `yaml:"customRuntimeConfig"`
	Lifecycle            fcLifecycle       `yaml:"instanceLifecycleConfig"`
	EnvironmentVariables map[string]string `yaml:"environmentVariables"`
	LogConfig            string            `yaml:"logConfig"`
	VPC                  *fcVPC            `yaml:"vpcConfig"`
	InternetAccess       *bool             `yaml:"internetAccess"`
	AsyncInvoke          *fcAsyncInvoke    `yaml:"asyncInvokeConfig"`
	Triggers             []fcTrigger       `yaml:"triggers"`
}

// fcVPC is for those whose NATS has no public address.
type fcVPC struct {
	ID            string   `yaml:"vpcId"`
	Switches      []string `yaml:"vSwitchIds"`
	SecurityGroup string   `yaml:"securityGroupId"`
}

type fcCustomRuntime struct {
	Command []string      `yaml:"command"`
	Port    int           `yaml:"port"`
	Health  fcHealthCheck `yaml:"healthCheckConfig"`
}

type fcHealthCheck struct {
	HTTPGetURL          string `yaml:"httpGetUrl"`
	InitialDelaySeconds int    `yaml:"initialDelaySeconds"`
	PeriodSeconds       int    `yaml:"periodSeconds"`
	TimeoutSeconds      int    `yaml:"timeoutSeconds"`
	FailureThreshold    int    `yaml:"failureThreshold"`
	SuccessThreshold    int    `yaml:"successThreshold"`
}

type fcLifecycle struct {
	Initializer *fcHook `yaml:"initializer"`
	PreStop     *fcHook `yaml:"preStop"`
}

type fcHook struct {
	Handler string `yaml:"handler"`
	Timeout int    `yaml:"timeout"`
}

type fcAsyncInvoke struct {
	Attempts int `yaml:"maxAsyncRetryAttempts"`
	Age      int `yaml:"maxAsyncEventAgeInSeconds"`
}

type fcTrigger struct {
	Name      string          `yaml:"triggerName"`
	Type      string          `yaml:"triggerType"`
	Qualifier string          `yaml:"qualifier"`
	Config    fcTriggerConfig `yaml:"triggerConfig"`
}

// fcTriggerConfig is that of both types of triggers.
type fcTriggerConfig struct {
	// Of type http.
	AuthType           string   `yaml:"authType,omitempty"`
	DisableURLInternet *bool    `yaml:"disableURLInternet,omitempty"`
	Methods            []string `yaml:"methods,omitempty"`
	// Of type timer.
	CronExpression string `yaml:"cronExpression,omitempty"`
	Enable         *bool  `yaml:"enable,omitempty"`
	Payload        string `yaml:"payload,omitempty"`
}

// trigger returns the only trigger of a type, or nil.
func (p fcProps) trigger(kind string) *fcTriggerConfig {
	var found *fcTriggerConfig
	for i := range p.Triggers {
		if p.Triggers[i].Type != kind {
			continue
		}
		if found != nil {
			return nil
		}
		found = &p.Triggers[i].Config
	}
	return found
}
