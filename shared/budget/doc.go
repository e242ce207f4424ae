// Package budget shares one rate of requests a second, which an upstream key has, among all
// functions and workers that use the key. Chat comes first; bulk work, such as exports and
// ratings, takes what chat leaves.
//
//	b, err := budget.New(budget.Config{Name: "xingchen", Rate: 20, Queue: q})
//	go b.Run(ctx) // and wait for it in the end
//
//	waited, err := b.Wait(ctx, budget.Chat)
//	if none, ok := errors.AsType[*budget.ExhaustedError](err); ok {
//		// answer 429 with none.RetryAfter
//	}
//	…
//	b.Penalize(retryAfter) // upstream answered 429
//
// # In one process
//
// A token bucket. Chat calls go before bulk calls, and bulk calls leave the bucket's last
// tokens to chat, so that a chat call rarely waits for bulk work of its own process. A chat
// call that would wait for longer than Config.MaxWait is refused at once; bulk calls wait as
// long as their contexts allow.
//
// # Among processes
//
// Run keeps a record of this member in a key-value bucket of JetStream: how many requests a
// second it wants, for chat and for bulk, and the share that it claims. It follows the
// records of the others. All members compute from them, alike, what each may have: a little
// for everybody, then chat demand, then bulk demand, each divided evenly up to what is asked,
// and an equal part of what is left. Nothing of this happens in Wait.
//
// A member that is to have less takes less at once. One that is to have more claims it, as
// far as it is not claimed by others, and takes it when its own claim has come back: records
// come to all members in one order, so that of two claims that do not fit together the later
// one is withdrawn. So the shares never add up to more than the rate, however late records
// arrive. Chat does not wait for members whose records are overdue by half an interval: they
// are dead or cut off.
//
// # Limits
//
// In any window of t seconds the members together begin at most Rate·t + Burst + 2·members
// requests; bulk work alone Rate·t + members, and a twentieth of a second's worth to make up
// for late timers. Set Rate as far below upstream's limit as that. To this comes
//   - the share of a member that is cut off from NATS, which the others divide 3 intervals
//     after its last record (for chat after 1.5), while it goes on with it;
//   - what a new member does before it knows of the others: chat only, at Rate·Share, usually
//     for some milliseconds; bulk work waits for up to 2 intervals.
//
// Without NATS a member goes on with the smaller of its last share and Rate·Share; if chat has
// to wait, with what chat would be given by what was last known, also at most Rate·Share, from
// 1.5 intervals after its last record on. A member that dies returns its share after 3
// intervals, one whose Run ends at once, and so does one that was frozen: it has no right to
// its share any more when it wakes up, and claims anew. If members have different rates, the
// smallest one holds.
//
// # What it does not do
//
// It counts requests, not tokens of a model or money, and does not retry. It promises no
// member a fixed share. It does not know upstream's limit but what it is told.
package budget
