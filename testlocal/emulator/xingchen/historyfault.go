package xingchen

import "xinghe/testlocal/emulator/fault"

// hideLate leaves the newest rows out, as rows are that arrive after the time they carry.
func (v *view) hideLate(c *call) {
	if rule, ok := c.plan.Rule(fault.LateRows); ok {
		v.to = max(v.from, v.to-rowsOf(rule))
	}
}

func rowsOf(rule fault.Rule) int {
	if rule.Rows > 0 {
		return rule.Rows
	}
	return 3
}

// total counts the rows; with TotalDrift it differs from page to page.
func (v *view) total(c *call, p page) int {
	count := v.count()
	if rule, ok := c.plan.Rule(fault.TotalDrift); ok {
		count += p.number % (rowsOf(rule) + 1)
	}
	return count
}

// shownRows turns messages into rows, struck by the faults of paging.
func (s *Server) shownRows(c *call, p page, all rows, found []*message) []historyRow {
	shown := make([]historyRow, 0, len(found))
	for _, m := range found {
		shown = append(shown, s.showRow(all, m))
	}
	if len(shown) == 0 || c.plan == nil {
		return shown
	}
	if c.plan.Has(fault.RepeatRow) && len(shown) > 1 {
		shown = append([]historyRow{shown[len(shown)-1]}, shown...)
		shown = shown[:min(len(shown), p.size)]
	}
	if c.plan.Has(fault.DropRow) {
		shown = shown[1:]
	}
	if c.plan.Has(fault.EqualTimes) {
		for i := range shown {
			shown[i].GmtCreate = shown[i].GmtCreate / 10_000 * 10_000
		}
	}
	return shown
}
