// Package xingchentest checks whether what answers at an address behaves as the documents of
// Xingchen (通义星尘) say: the service itself, a stand-in, or a proxy in front of either. The
// checks are written once against the client, so that a stand-in can be held to the same
// sentences as the service.
//
//	func TestConformance(t *testing.T) {
//		xingchentest.Exercise(t, xingchentest.Target{Client: client})
//	}
//
// A check asserts what the pages "Xingchen HTTP API" and the official SDKs say, and nothing
// that they leave open: status codes behind an error key, types of reminders, bounds of a
// time window, what a reset leaves in the history, and the like.
//
// It talks: about a dozen questions to a model, which a real account pays for. Users have names
// that no other run uses. Characters that it makes it deletes again; what was said stays in
// the histories, because the API has no call to remove it.
package xingchentest
