package deployment_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	_ "time/tzdata" // the schedules name a time zone

	"xinghe/testlocal/deployment"
)

// root of the repository.
const root = "../.."

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// programs reads the code once.
var programs = sync.OnceValues(func() (map[string]deployment.Program, error) {
	return deployment.ReadCode(root, "functions", "workers")
})

// functions are the programs that the two files deploy.
func functions(t *testing.T) map[string]deployment.Program {
	t.Helper()
	all, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	all = maps.Clone(all)
	delete(all, "workers")
	return all
}

func workers(t *testing.T) deployment.Program {
	t.Helper()
	all, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return all["workers"]
}

func TestFilesMatchTheCode(t *testing.T) {
	t.Parallel()
	if err := deployment.Check([]byte(read(t, "s.yaml")), []byte(read(t, "template.yaml")), functions(t)); err != nil {
		t.Error(err)
	}
}

const (
	fc  = "s.yaml"
	sam = "template.yaml"
)

func TestPlantedMistakes(t *testing.T) {
	t.Parallel()
	code := functions(t)
	files := map[string]string{fc: read(t, fc), sam: read(t, sam)}
	for _, tc := range []struct{ name, file, old, new, want string }{
		{"an unknown key of a function", fc, "memorySize: 512", "memry: 512", "field memry not found"},
		{"an unknown key of a trigger", fc, "authType: anonymous", "authTyp: anonymous", "field authTyp not found"},
		{"an unknown key of the health check", fc, "periodSeconds: 10", "intervalSeconds: 10", "field intervalSeconds not found"},
		{"an unknown key at the top", fc, "vars:", "services: {}\nvars:", "field services not found"},
		{"a word instead of a number", fc, "timeout: 300", "timeout: long", "cannot unmarshal"},
		{"a key twice", fc, "diskSize: 512", "diskSize: 512\n      timeout: 1", `"timeout" already defined`},
		{"a secret", fc, "${env('XINGCHEN_API_KEY')}", "0123456789abcdef", "chat: XINGCHEN_API_KEY is secret"},
		{"a secret's default", fc, "${env('BEEBOT_AGENT_KEY', '')}", "${env('BEEBOT_AGENT_KEY', 'a0b1')}", "chat: BEEBOT_AGENT_KEY is secret"},
		{"a password", fc, "${env('NATS_URL_CHAT')}", "tls://chat:hunter2@nats.example.com", "looks like a credential"},
		{"an access key", fc, "description: Chat", "description: LTAI5tAbCdEfGh1234 Chat", "looks like a credential"},
		{"the deployer's own key", fc, "${env('XINGHE_ACCESS_KEY_ID', '')}", "${env('ALIBABA_CLOUD_ACCESS_KEY_ID', '')}", "credentials of whoever deploys"},
		{"a variable that is missing", fc, "XINGCHEN_RPS: ${env('XINGCHEN_RPS', '0')}", "", "s.yaml: chat: XINGCHEN_RPS is not set, but read by "},
		{"a variable of the bucket that is missing", fc, "AWS_REGION: ${env('SINK_REGION', 'us-east-1')}", "", "AWS_REGION is not set, but read by the library of S3"},
		{"a variable that nothing reads", fc, "XINGCHEN_RPS:", "XINGCHEN_RPM:", "s.yaml: chat: XINGCHEN_RPM is set, but not read"},
		{"a variable of the platform", fc, "XINGCHEN_RPS:", "FC_REGION: x\n        XINGCHEN_RPS:", "FC_REGION cannot be set"},
		{"two variables in one value", fc, "${env('XINGCHEN_RPS', '0')}", "${env('A', '')}${env('B', '')}", "XINGCHEN_RPS: want a text"},
		{"too many variables", fc, "${env('XINGCHEN_RPS', '0')}", "${env('XINGCHEN_RPS', '" + strings.Repeat("0", 2048) + "')}", "bytes of variables"},
		{"another port", fc, "port: 9000", "port: 8080", "chat: port: 0.0.0.0:8080, want 0.0.0.0:9000"},
		{"another command", fc, "[/code/bootstrap]", "[/code/main]", "chat: command"},
		{"another health path", fc, "httpGetUrl: /healthz", "httpGetUrl: /", "chat: httpGetUrl"},
		{"another entry", fc, "XINGHE_ENTRY: fc-web", "XINGHE_ENTRY: http", "chat: XINGHE_ENTRY: http, want fc-web"},
		{"another runtime", fc, "runtime: go1", "runtime: custom", "history-export-events: runtime"},
		{"another handler", fc, "handler: bootstrap", "handler: main", "history-export-events: handler"},
		{"concurrency on go1", fc, "runtime: go1", "runtime: go1\n      instanceConcurrency: 10", "instanceConcurrency, which go1 has not"},
		{"too much concurrency", fc, "instanceConcurrency: 100", "instanceConcurrency: 1000", "chat: instanceConcurrency"},
		{"odd memory", fc, "memorySize: 512", "memorySize: 500", "memorySize: 500 is no multiple of 64"},
		{"little memory for the processor", fc, "cpu: 0.5", "cpu: 1", "chat: GB of memory for each vCPU"},
		{"half a VPC", fc, "diskSize: 512", "diskSize: 512\n      vpcConfig: {vpcId: vpc-1}", "vpcConfig wants"},
		{"no way to upstream", fc, "diskSize: 512", "diskSize: 512\n      internetAccess: false", "internetAccess: upstream is outside"},
		{"no pre-stop", fc, "        preStop:\n          handler: pre-stop\n          timeout: 15\n      environmentVariables:\n        XINGHE_ENTRY: fc-event", "        initializer:\n          handler: x\n          timeout: 15\n      environmentVariables:\n        XINGHE_ENTRY: fc-event", "history-export-events: preStop is missing"},
		{"a pre-stop that cuts streams", fc, "timeout: 15", "timeout: 5", "timeout of preStop"},
		{"a zip of another function", fc, "dist/fc/character.zip", "dist/fc/chat.zip", "character: code"},
		{"a method that is missing", fc, "[GET, HEAD, POST, OPTIONS]", "[GET, POST]", "chat: methods"},
		{"settings of another trigger", fc, "enable: true", "enable: true\n            authType: anonymous", "settings of another type"},
		{"a timer without seconds", fc, "0 0 3 * * *", "0 3 * * *", "is no daily timer"},
		{"a time that is none", fc, "0 0 3 * * *", "0 0 24 * * *", "has no such time"},
		{"a time zone that is none", fc, "Asia/Shanghai", "Asia/Peking", "no such time zone"},
		{"a spec that is none", fc, `"users":"directory",`, "", "payload of trigger nightly: {users"},
		{"a spec that fails at first", fc, `"from":"2025-01-01T00:00:00Z",`, "", "want a watermark, and from"},
		{"a misspelt spec", fc, `"users":"directory",`, `"users":"directory","formt":"csv",`, `unknown field "formt"`},
		{"a function that is missing", fc, "\n  character:\n", "\n  charcter:\n", "s.yaml: no function character, but there is functions/character"},

		{"another timeout", sam, "Timeout: 300", "Timeout: 60", "chat: timeout of template.yaml: 60, want 300"},
		{"a timeout that Lambda has not", sam, "Timeout: 900", "Timeout: 3600", "HistoryExport: Timeout"},
		{"an unknown key of a Lambda", sam, "MemorySize: 256", "Memory: 256", "field Memory not found"},
		{"an unknown key of the globals", sam, "Handler: bootstrap", "Handler: bootstrap\n    FunctionUrlConfig: {}", "field FunctionUrlConfig not found"},
		{"an unknown type", sam, "Type: AWS::SQS::Queue", "Type: AWS::SNS::Topic", `type "AWS::SNS::Topic" is not known`},
		{"a tag that is not known", sam, "Role: !GetAtt ChatRole.Arn", "Role: !ImportValue ChatRole", "!ImportValue is not known"},
		{"no streaming", sam, "InvokeMode: RESPONSE_STREAM", "InvokeMode: BUFFERED", "Chat: InvokeMode"},
		{"another entry of Lambda", sam, "XINGHE_ENTRY: lambda-event", "XINGHE_ENTRY: lambda-url", "HistoryExportEvents: XINGHE_ENTRY"},
		{"another architecture", sam, "[arm64]", "[x86_64]", "Architectures"},
		{"a default that differs", sam, "Default: 24h", "Default: 12h", `XINGHE_IDEMPOTENCY_TTL is "24h" by default in s.yaml, but "12h"`},
		{"a default that is missing", sam, "XingchenRps: {Type: String, Default: \"0\", ", "XingchenRps: {Type: String, ", "must be given in template.yaml"},
		{"another function's secret", sam, "${Secrets}/character:SecretString:NATS_URL}}", "${Secrets}/chat:SecretString:NATS_URL}}", "Character: NATS_URL"},
		{"a secret as a parameter", sam, "Secrets:\n", "NatsPassword: {Type: String}\n  Secrets:\n", "parameter NatsPassword: secrets come from"},
		{"a parameter that is not used", sam, "Secrets:\n", "Stage: {Type: String}\n  Secrets:\n", "parameter Stage is not used"},
		{"a name that there is not", sam, "!Ref XingchenRps", "!Ref XingchenRpm", "there is no XingchenRpm"},
		{"a variable that is fixed", sam, "!Ref XingchenRps", `"5"`, "Chat: XINGCHEN_RPS is fixed"},
		{"a variable that Lambda sets", sam, "XINGCHEN_RPS:", "AWS_REGION: !Ref XingchenRps\n          XINGCHEN_RPS:", "AWS_REGION cannot be set"},
		{"a right too many", sam, `Resource: !GetAtt CharacterLogs.Arn}`, "Resource: !GetAtt CharacterLogs.Arn}\n              - {Effect: Allow, Action: [\"s3:GetObject\"], Resource: !Sub \"arn:${AWS::Partition}:s3:::${Bucket}/*\"}", "CharacterRole: need not have s3:GetObject"},
		{"all rights", sam, `["s3:GetObject"]`, `["s3:*"]`, "s3:* is more than one action"},
		{"a right too few", sam, `Action: ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]`, `Action: ["sqs:ReceiveMessage"]`, "HistoryExportEventsRole: lacks sqs:DeleteMessage"},
		{"any resource", sam, "Resource: !GetAtt ChatLogs.Arn", `Resource: "*"`, "ChatRole: * is no resource of the template"},
		{"a role for somebody else", sam, "Service: scheduler.amazonaws.com", "Service: events.amazonaws.com", "ScheduleRole: who may take it"},
		{"another hour", sam, "cron(0 3 * * ? *)", "cron(0 4 * * ? *)", "schedule of template.yaml: cron(0 4"},
		{"another spec", sam, `"lookback":"1h"`, `"lookback":"2h"`, "detail of the schedule's input"},
		{"a firing without its time", sam, "<aws.scheduler.scheduled-time>", "<aws.scheduler.time>", "Input of Nightly: time"},
		{"a spec without what stands around it", sam, `{"source":"aws.scheduler",`, `{"name":"nightly","source":"aws.scheduler",`, `Input of Nightly: json: unknown field "name"`},
		{"a schedule that sleeps", sam, "State: ENABLED", "State: DISABLED", "is enabled: false, want true"},
		{"a queue that repeats too soon", sam, "VisibilityTimeout: 360", "VisibilityTimeout: 30", "VisibilityTimeout 30, want at least six"},
		{"a batch that fails as a whole", sam, "FunctionResponseTypes: [ReportBatchItemFailures]", "FunctionResponseTypes: []", "FunctionResponseTypes of Queue"},
		{"an output that is missing", sam, "  WebhookUrl: {", "  WebhookAddress: {", "output WebhookUrl is there: false"},
		{"a log group of another", sam, "LogGroup: !Ref ChatLogs", "LogGroup: !Ref CharacterLogs", "Chat: LogGroup"},
		{"an alias", sam, "AllowedValues: [cancel, drain]", "AllowedValues: &words [cancel, drain]", "reads no anchors"},
		{"a function of one file only", sam, "\n  Character:\n", "\n  Charakter:\n", "template.yaml: no function Character, but s.yaml has character"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			changed := maps.Clone(files)
			changed[tc.file] = strings.Replace(files[tc.file], tc.old, tc.new, 1)
			if changed[tc.file] == files[tc.file] {
				t.Fatalf("%s has no %q to change", tc.file, tc.old)
			}
			err := deployment.Check([]byte(changed[fc]), []byte(changed[sam]), code)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("want %q among:\n%v", tc.want, err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the password is shown: %v", err)
			}
		})
	}
}
