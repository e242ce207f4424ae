//go:build !unix

package runtimes

import (
	"errors"
	"os"
)

// errNoFreeze: programs are not frozen where the system cannot stop them.
var errNoFreeze = errors.ErrUnsupported

func pause(*os.Process) error { return errNoFreeze }

func resume(*os.Process) error { return errNoFreeze }
