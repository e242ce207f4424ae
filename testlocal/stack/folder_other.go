//go:build !unix || aix || solaris

package stack

import (
	"errors"
	"os"
)

// lock: these systems lock otherwise, and nobody has needed it there.
func lock(*os.File) error { return errors.ErrUnsupported }
