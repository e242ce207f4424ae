// Package webhook signs and verifies messages after the Standard Webhooks specification,
// version 1.0.0, with symmetric signatures (v1).
//
//	secrets, err := webhook.ParseSecrets(current, former)
//	err = secrets.Sign(req.Header, webhook.ID(event.ID), time.Now(), body)   // to send
//	id, at, err := secrets.Verify(req.Header, body, time.Now(), webhook.Tolerance) // what came
//
// What is signed is the body as it is on the wire: verify before anything is decoded.
//
// It remembers no ids, so a message that comes twice within the tolerance is good twice: keep
// a record of ids where that matters. Asymmetric signatures (v1a) are neither made nor
// checked.
//
// The reference library does the same with the clock and the tolerance fixed, and copies the
// body for each secret; here it serves as the tests' second opinion.
package webhook
