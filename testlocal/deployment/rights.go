package deployment

import (
	"fmt"
	"slices"
	"strings"
)

// checkRights wants of a function's role what the function needs, and nothing else.
func (c *check) checkRights(id string, f *samFunction, program Program) {
	equal(c, f.Role, attribute(id+"Role.Arn"), "%s: Role", id)
	want := []string{right(attribute(id+"Logs.Arn"), "logs:CreateLogStream", "logs:PutLogEvents")}
	if program.Bucket {
		want = append(want,
			right(sub("arn:${AWS::Partition}:s3:::${Bucket}/${Prefix}/*"), "s3:GetObject"),
			right(sub("arn:${AWS::Partition}:s3:::${Bucket}"), "s3:ListBucket"))
	}
	for _, event := range f.Events {
		if event.queue != nil {
			want = append(want, right(event.queue.Queue, "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"))
		}
	}
	if f.Invoke != nil {
		want = append(want, right(f.Invoke.Destination.OnFailure.Destination, "sqs:SendMessage"))
	}
	c.checkRoleRights(id+"Role", "lambda.amazonaws.com", want)
	if schedule := f.schedule(); schedule != nil {
		c.checkRoleRights("ScheduleRole", "scheduler.amazonaws.com", []string{
			right(attribute(id+".Arn"), "lambda:InvokeFunction"), right(schedule.Dead.Arn, "sqs:SendMessage"),
		})
	}
}

// right is a permission as a text that can be compared.
func right(resource value, actions ...string) string {
	return fmt.Sprintf("%s on %s", strings.Join(slices.Sorted(slices.Values(actions)), ", "), resource)
}

func (c *check) checkRoleRights(id, service string, want []string) {
	role := c.sam.Resources[id].role
	if role == nil {
		c.fault("template.yaml: no role %s", id)
		return
	}
	if len(role.Assume.Statement) == 1 {
		equal(c, role.Assume.Statement[0].Principal["Service"], service, "%s: who may take it", id)
	}
	var got []string
	for _, policy := range role.Policies {
		for _, statement := range policy.Document.Statement {
			got = append(got, right(statement.Resource, statement.Action...))
		}
	}
	for _, missing := range without(want, got) {
		c.fault("%s: lacks %s", id, missing)
	}
	for _, surplus := range without(got, want) {
		c.fault("%s: need not have %s", id, surplus)
	}
}

// without are the members of list that are not in other.
func without(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(item string) bool { return slices.Contains(other, item) })
}

// checkRole holds for every role: it allows named things, to one service.
func (c *check) checkRole(id string, role *samRole) {
	equal(c, role.Assume.Version, "2012-10-17", "%s: Version", id)
	equal(c, len(role.Assume.Statement), 1, "%s: statements of who may take it", id)
	for _, statement := range role.Assume.Statement {
		equal(c, strings.Join(statement.Action, " "), "sts:AssumeRole", "%s: Action of who may take it", id)
	}
	for _, policy := range role.Policies {
		equal(c, policy.Document.Version, "2012-10-17", "%s: Version", id)
		for _, statement := range policy.Document.Statement {
			equal(c, statement.Effect, "Allow", "%s: Effect", id)
			for _, action := range statement.Action {
				if strings.Contains(action, "*") {
					c.fault("%s: %s is more than one action", id, action)
				}
			}
			if statement.Resource.tag == "" {
				c.fault("%s: %s is no resource of the template", id, statement.Resource)
			}
		}
	}
}
