// Package runtimes does to a function what the platforms do to it: it runs the program that
// is deployed and calls it as Function Compute or Lambda would, on this machine.
//
//	f, err := runtimes.Start(ctx, runtimes.Config{Entry: faas.EntryLambdaURL, Name: "chat", Program: path, Env: env})
//	...
//	defer f.Close()
//	http.Serve(listener, f)               // the HTTP trigger, or the Function URL
//	f.Invoke(ctx, runtimes.Event{Payload: runtimes.Timer("nightly", time.Now(), spec)})
//
// There are four of them, by the entries that functions have for them: Function Compute's
// front of web functions (fc-web), its runtime API for the built-in Go runtime (fc-event),
// and Lambda's runtime API behind a Function URL that streams (lambda-url) or behind an HTTP
// API and event sources (lambda-event). They hold to what the platforms document: headers
// added and taken away, limits, one call at a time where that is so, deadlines, more
// instances under load, freezing between calls, and the way to the end. What is documented
// nowhere, such as the status of a call that was cut, is told in docs/runtimes.md.
//
// They do not check signatures, keep no queue of asynchronous calls and no schedule, and
// limit neither memory nor processor time.
package runtimes
