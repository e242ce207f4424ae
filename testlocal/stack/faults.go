package stack

import (
	"context"
	"errors"
	"fmt"

	"xinghe/functions/chat/chatapi"
	"xinghe/functions/webhook/webhookapi"
	"xinghe/shared/env"
	"xinghe/shared/httpapi"
	"xinghe/shared/idempotency"
	"xinghe/shared/sink/chain"
	"xinghe/testlocal/emulator/model"
	"xinghe/workers/delivery"
	"xinghe/workers/image"
)

// faults tells everything that is wrong with the variables, of which own are the stack's, each
// fault once. It reads what the parts read when they start, and opens nothing: they would tell
// one after another, and some only when ports are open. The character function reads nothing
// that others do not.
func (s *Stack) faults(ctx context.Context, cfg Config, own *env.Vars) error {
	model.FromEnv(own)
	vars := env.New(s.upstream(cfg))
	httpapi.FromEnv(vars, s.log)
	idempotency.FromEnv(vars, nil)
	chat := chatapi.FromEnv(vars)
	err := chat.Equip(vars, nil, s.log) //nolint:contextcheck // without a queue it starts nothing
	if !vars.Secret(webhookapi.EnvSources).IsZero() {
		webhookapi.FromEnv(vars)
	}
	image.FromEnv(vars)
	delivery.FromEnv(vars)
	_, unnamed := chain.Parse(ctx, vars.String("XINGHE_SINK", "folder:"+s.Exports))
	vars.Fault("XINGHE_SINK", unnamed)
	told := distinct(own.Err(), vars.Err(), err)
	if told == nil {
		return nil
	}
	return fmt.Errorf("the configuration does not do:\n%w", told)
}

// distinct joins faults, those that say the same into one: what several parts read, each of
// them faults.
func distinct(joined ...error) error {
	var list []error
	seen := map[string]bool{"": true}
	for _, err := range joined {
		faults := []error{err}
		if several, ok := err.(interface{ Unwrap() []error }); ok {
			faults = several.Unwrap()
		}
		for _, fault := range faults {
			if fault != nil && !seen[fault.Error()] {
				seen[fault.Error()] = true
				list = append(list, fault)
			}
		}
	}
	return errors.Join(list...)
}
