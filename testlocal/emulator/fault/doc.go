// Package fault lets the emulator misbehave the way production does.
//
// An [Engine] holds rules. Each request of either half of the emulator is matched against them and gets a [Plan]: the
// faults that strike this one request. The half asks the plan for what happens before the answer (latency, a refusal, a
// reset), writes its stream through [Frames] and its JSON through [Plan.Respond], and looks up faults of meaning
// (history rows, pictures, tokens) with [Plan.Has].
//
//	plan := engine.Match(r.Context(), fault.Request{Route: "/v2/api/chat/send", Key: key, User: user})
//	if !plan.Begin(w, r) {
//		return // the connection is gone
//	}
//	if refusal, ok := plan.Refusal(); ok {
//		... answer refusal.Status in the service's own error shape, after refusal.SetHeader(w)
//	}
//	frames := fault.NewFrames(r.Context(), w, plan, pace)
//	frames.ErrorFrame = []byte("event:error\ndata:{…}\n\n")
//	err := frames.Write(frame, last)
//
// Everything is decided by the seed and by the count of requests that a (rule, route, key, user) has seen, so a run can
// be replayed. A nil *Plan is a request that nothing happens to. The package knows neither service.
package fault
