// Package faas is how a function meets its platform. A [Function] is one http.Handler for
// requests and one [EventFunc] for events, and nothing above them knows the platform; the
// entry, chosen by XINGHE_ENTRY, brings both to where the function runs. One binary has all
// of them.
//
//	func main() { os.Exit(faas.Main(os.Getenv, os.Stdout, os.Stderr, build)) }
//
// # The entries
//
// "http" is a plain HTTP server.
//
// "fc-web" is a web function of Function Compute: the same server, which streams, on all
// interfaces and the platform's port. The platform's own calls (POST /invoke for timers and
// other events, POST /initialize, GET /pre-stop) are told from those of callers by the path
// and by the header x-fc-control-path, which callers cannot set there; in all other entries
// headers that begin with x-fc- are removed, and handlers see them in none.
//
// "fc-event" is an event function of Function Compute (runtime go1) through its SDK: timers,
// invocations, and requests of an HTTP trigger, whose answers come whole and cannot have two
// cookies.
//
// "lambda-url" is Lambda behind a Function URL with InvokeMode RESPONSE_STREAM: what a
// handler writes goes out at once. "lambda-event" answers requests of Function URLs in mode
// BUFFERED and of HTTP APIs (payload format 2.0) whole. Both take events: of EventBridge, of
// EventBridge Scheduler, batches of SQS, whose failed messages they name, and invocations.
// Build them with the tag lambda.norpc, which saves a third of the binary.
//
// # Deadlines and ends
//
// The context of a request or event ends somewhat before the platform's deadline: a fifth of
// the time, 2 s at most. The platform itself cuts without a word. After SIGTERM, and before
// Function Compute destroys an instance, what is in flight may end within the grace; shortly
// before that is over its contexts end, as by a deadline, so that streams can say so. What
// has no end of its own ends at once, by [Leaving]. On Lambda, which as a rule sends SIGKILL
// only, an internal extension is registered to get SIGTERM, some 300 ms before.
//
// A client that leaves cancels the context in http and fc-web. Lambda and fc-event never
// tell, and the handler runs to its end.
//
// A panic before the first byte is a 500; one after it breaks the answer off in a way that
// the client or the platform sees as an error. The process survives both.
//
// # Freezing
//
// Platforms freeze an instance when nothing is in flight, for milliseconds or for hours.
// Making a function therefore touches no network; what works beside requests starts with the
// first of them; each waits up to 200 ms for Function.Flush, on Lambda after its answer is
// out; and the first one after a pause of 20 s calls Function.Thaw.
//
// # Events
//
// Events are told apart by what is in them. [Direct] serves those that are requests. Timers
// and other sources repeat: [Event.ID] is the same then. EventBridge Scheduler hands over
// nothing but its Input, and gives each attempt another id; an Input in the form
//
//	{"source":"aws.scheduler","detail-type":"Scheduled Event","time":"<aws.scheduler.scheduled-time>",
//	 "resources":["<aws.scheduler.schedule-arn>"],"detail":{…}}
//
// makes repeats known as such.
//
// Answers that come whole have the platforms' limits, 6 MB on Lambda. REST APIs and load
// balancers of AWS (payload format 1.0), and batches of other sources than SQS, are not
// served.
package faas
