// Package beebottest checks whether what answers at an address behaves as the documents of
// Beebot (智能对话机器人, edition 通义) say: the service itself, a stand-in, or a proxy in front
// of either. The checks are written once against the client, so that a stand-in can be held
// to the same sentences as the service.
//
//	func TestConformance(t *testing.T) {
//		beebottest.Exercise(t, beebottest.Target{Client: client, InstanceID: "chatbot-cn-…"})
//	}
//
// A check asserts what the pages "Beebot" say, and nothing that they leave open: the codes
// of refused streams, what a repeated message id gets, how long sessions live, and the like.
//
// It talks: five questions to the robots, which a real account pays for, from visitors
// with names that no other run uses.
package beebottest
