package budget

import (
	"cmp"
	"slices"
)

// floorPart of the rate is divided evenly before all else: a member of which nobody knows yet
// what it wants is not starved.
const floorPart = 0.02

// demand is what a member wants, in requests per second.
type demand struct {
	member string
	chat   float64
	bulk   float64
}

// divide says how much of rate each member has, in the order of members. The sum is rate if
// there is a member, and does not depend on the order; nobody loses by wanting more.
func divide(rate float64, members []demand) []float64 {
	n := len(members)
	shares := make([]float64, n)
	if n == 0 || rate <= 0 {
		return shares
	}
	// Sums in one order, so that all members get the very same result.
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(members[a].member, members[b].member) })

	floor := rate * floorPart / float64(n)
	for i := range shares {
		shares[i] = floor
	}
	left := rate - floor*float64(n)
	wants := make([]float64, n)
	for _, want := range []func(demand) float64{
		func(d demand) float64 { return d.chat },
		func(d demand) float64 { return d.chat + d.bulk },
	} {
		for i, m := range members {
			wants[i] = max(0, want(m)-shares[i])
		}
		left -= fill(left, wants, shares, order)
	}
	for _, i := range order {
		shares[i] += max(0, left) / float64(n)
	}
	return shares
}

// fill gives each member the same amount, but no more than it wants, until nothing is left
// (max-min fairness), and returns what it gave.
func fill(left float64, wants, shares []float64, order []int) float64 {
	byWant := slices.Clone(order)
	slices.SortStableFunc(byWant, func(a, b int) int { return cmp.Compare(wants[a], wants[b]) })
	given := 0.0
	for k, i := range byWant {
		part := min(wants[i], max(0, left-given)/float64(len(byWant)-k))
		shares[i] += part
		given += part
	}
	return given
}
