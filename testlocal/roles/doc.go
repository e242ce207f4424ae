// Package roles tries the permissions of deploy/nats.conf: a NATS server with them, with TLS,
// and every function, worker and command as a process of its own that has its role only. All
// must be able to do their work, and none what is another's. It holds tests only.
package roles
