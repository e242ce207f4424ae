package budget

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDivide(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		members []demand
		want    []float64
	}{
		{"Nobody", nil, []float64{}},
		{"Alone", []demand{{}}, []float64{100}},
		{"NothingWanted", []demand{{member: "a"}, {member: "b"}}, []float64{50, 50}},
		{"BulkOnly", []demand{{"a", 0, 100}, {"b", 0, 100}}, []float64{50, 50}},
		{"SmallBulkIsMet", []demand{{"a", 0, 10}, {"b", 0, 100}}, []float64{10, 90}},
		{"ChatFirst", []demand{{"a", 60, 0}, {"b", 0, 100}}, []float64{60, 40}},
		{"TooMuchChat", []demand{{"a", 90, 0}, {"b", 30, 100}}, []float64{70, 30}},
		{"BulkKeepsTheFloor", []demand{{"a", 100, 0}, {"b", 0, 100}}, []float64{99, 1}},
		{"TheRestIsSplit", []demand{{"a", 20, 0}, {"b", 0, 40}}, []float64{40, 60}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := divide(100, test.members)
			if diff := cmp.Diff(test.want, got, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
				t.Errorf("shares (-want +got):\n%s", diff)
			}
		})
	}
}

func randomMembers(random *rand.Rand, rate float64) []demand {
	members := make([]demand, 1+random.IntN(12))
	for i := range members {
		members[i].member = fmt.Sprintf("m%d", i)
		if random.IntN(3) > 0 {
			members[i].chat = rate * random.ExpFloat64() / float64(1+random.IntN(10))
		}
		if random.IntN(3) > 0 {
			members[i].bulk = rate * random.Float64()
		}
	}
	return members
}

func TestDivideProperties(t *testing.T) {
	t.Parallel()
	const rounding = 1e-9
	for seed := range uint64(20_000) {
		random := rand.New(rand.NewPCG(seed, 2))
		rate := math.Exp(random.Float64()*12 - 3) // 0.05 to 8,000
		members := randomMembers(random, rate)
		shares := divide(rate, members)
		close := func(a, b float64) bool { return math.Abs(a-b) <= rounding*rate }

		sum, chat := 0.0, 0.0
		for i, share := range shares {
			sum, chat = sum+share, chat+members[i].chat
			if floor := rate * floorPart / float64(len(members)); share < floor-rounding*rate {
				t.Fatalf("seed %d: share %g is below the floor %g", seed, share, floor)
			}
		}
		if !close(sum, rate) {
			t.Fatalf("seed %d: sum %g of rate %g", seed, sum, rate)
		}
		for i, share := range shares {
			if chat <= rate*(1-floorPart) && share < members[i].chat-rounding*rate {
				t.Fatalf("seed %d: chat %g of member %d has %g, though there is enough", seed, members[i].chat, i, share)
			}
			for j := range shares { // max-min: who has more than another, has it for what it asked
				if chat > rate && shares[j] > share+rate*floorPart && share < members[i].chat-rate*floorPart {
					t.Fatalf("seed %d: member %d has %g of %g, member %d has %g", seed, i, share, members[i].chat, j, shares[j])
				}
			}
		}

		order := random.Perm(len(members))
		shuffled := make([]demand, len(members))
		for to, from := range order {
			shuffled[to] = members[from]
		}
		for to, share := range divide(rate, shuffled) {
			if share != shares[order[to]] {
				t.Fatalf("seed %d: share %g, in another order %g", seed, shares[order[to]], share)
			}
		}

		i := random.IntN(len(members))
		before := shares[i]
		members[i].chat += rate * random.Float64() * float64(random.IntN(2))
		members[i].bulk += rate * random.Float64()
		if after := divide(rate, members)[i]; after < before-rounding*rate {
			t.Fatalf("seed %d: wanting more gave %g instead of %g", seed, after, before)
		}
		if after := divide(rate*2, members)[i]; after < divide(rate, members)[i]-rounding*rate {
			t.Fatalf("seed %d: a higher rate gave less", seed)
		}
	}
}
