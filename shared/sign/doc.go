// Package sign holds what has to do with secrets: the Beebot stream signature, checking
// it, a [Secret] that cannot be printed by accident, and the redaction of addresses and
// errors that carry credentials.
//
//	signature := sign.Stream(access.StreamSecret.Reveal(), "1716192000000")
//
// It does not sign RPC calls: the Alibaba Cloud SDK does that.
package sign
