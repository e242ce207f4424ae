package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// errTaken is what lock says of a file that another process has locked.
var errTaken = errors.New("taken by another process")

// takeFolder takes the folder of data for this stack alone, until leaveFolder: of two NATS
// servers on one store each would lose what the other writes. The kernel frees the folder of
// a process that was killed. Where nothing can be locked nobody is refused.
func (s *Stack) takeFolder(context.Context, Config) error {
	if err := os.MkdirAll(s.Data, 0o750); err != nil {
		return fmt.Errorf("XINGHE_DATA: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(s.Data, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("XINGHE_DATA: %w", err)
	}
	err = lock(file)
	switch {
	case err == nil, errors.Is(err, errors.ErrUnsupported):
		s.leaveFolder = file.Close
		return nil
	case errors.Is(err, errTaken):
		err = fmt.Errorf("another local stack works in the folder %s: stop it, or set XINGHE_DATA to another folder for this one", s.Data)
	default:
		err = fmt.Errorf("XINGHE_DATA: lock %s: %w", file.Name(), err)
	}
	return errors.Join(err, file.Close())
}
