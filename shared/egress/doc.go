// Package egress fetches what others name: pictures at addresses that upstream hands out,
// and webhooks at addresses that customers give. Its client goes to the public internet
// only, so that nobody can make it read what only the inside of a network may:
//
//	client, err := egress.New(egress.FromEnv(vars))
//	defer client.Close()
//	resp, err := client.Do(req)
//	var refused *egress.RefusedError
//	errors.As(err, &refused) // refused.Reason says why
//
// What counts is the address that is dialled, after every name has been resolved: a name
// that leads to a private address, now or only the second time it is asked for, is refused
// as that address itself is. So is each stop of a chain of redirects. Refused are loopback,
// link-local and private addresses, those of metadata services and carriers' networks, all
// that the IANA keeps for special purposes, and the forms of IPv6 that carry an IPv4 address.
//
// XINGHE_ALLOW_HOSTS names the exceptions, for local work and for services of one's own.
//
// It never uses a proxy from the environment, keeps no cookies, and asks for no compression:
// what is read is what was sent.
package egress
