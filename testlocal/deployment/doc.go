// Package deployment checks the files by which functions are deployed, s.yaml for Function
// Compute and template.yaml for Lambda, against each other and against the code: functions,
// entries, ports, timeouts, memory, variables, triggers, permissions and every key.
//
// The tools of both platforms let much of that through: a misspelt key is ignored, a
// variable that nobody set is empty, and it shows when a user calls. This package knows only
// the keys that the two files use, so a new one is added here before it is used there.
//
//	code, err := deployment.ReadCode("../..", "functions")
//	faults := deployment.Check(fcYAML, samYAML, code)
//
// It asks no platform anything.
package deployment
